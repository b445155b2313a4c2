//! What a queue is told, and what it says.

use super::*;

/// In nanoseconds.
pub(super) const MS: i64 = 1_000_000;

/// One time that a task is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    pub(super) task: TaskId,
    pub(super) attempt: Attempt,
}

impl Run {
    pub(super) fn new(sequence: u64, attempt: u32) -> Self {
        Self { task: TaskId::new(0, sequence), attempt: Attempt(attempt) }
    }
}

/// The sequences of the tasks.
pub(super) fn sequences(runs: &[Run]) -> Vec<u64> {
    runs.iter().map(|run| run.task.sequence()).collect()
}

/// What a row says of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) sequence: u64,
    pub(super) state: TaskState,
    pub(super) is_ahead: bool,
    pub(super) attempt: u32,
    pub(super) failures: u16,
    pub(super) times: TaskTimes,
    pub(super) worker: String,
    pub(super) failed_on: String,
    pub(super) end: Option<(EndKind, i32)>,
    pub(super) stdout: Vec<u8>,
}

/// What the queue says, copied out of its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Push {
    JobOpened { job: JobId },
    Submitted { ticket: u64, added: u32, known: u32 },
    Refused { ticket: u64, reason: RefusedTask },
    Progress { request: u32, version: u64, counts: StateCounts },
    Row(Row),
    JobRow { job: JobId, name: String, counts: StateCounts },
    WorkerRow { name: String, is_linked: bool, running: u32, ahead: u32, ends: [u64; 3] },
    Latencies { wait: Box<LatencyBuckets>, lease: Box<LatencyBuckets> },
    End { request: u32, changed: u64, next: u64, more: bool },
    Fault { request: u32, fault: TaskFault },
    Enlisted { name: String },
    Lease(Run),
    Recall(Run),
    Cancel(Run),
    Acked(u64),
    Drain,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Push {
    pub(super) fn of(push: &QueuePush<'_>) -> Self {
        match *push {
            QueuePush::JobOpened { job, .. } => Self::JobOpened { job },
            QueuePush::Submitted { ticket, added, known } => {
                Self::Submitted { ticket, added, known }
            }
            QueuePush::Refused { ticket, reason } => Self::Refused { ticket, reason },
            QueuePush::Progress { request, version, counts } => {
                Self::Progress { request, version, counts }
            }
            QueuePush::Row { ref row, .. } => Self::Row(Row {
                sequence: row.id.sequence(),
                state: row.state,
                is_ahead: row.is_ahead,
                attempt: row.attempt.0,
                failures: row.failures,
                times: row.times,
                worker: text(row.worker),
                failed_on: text(row.failed_on),
                end: row.end.map(|end| (end.kind, end.code)),
                stdout: row.end.map_or(Vec::new(), |end| end.stdout.tail.to_vec()),
            }),
            QueuePush::JobRow { ref row, .. } => {
                Self::JobRow { job: row.job, name: text(row.name), counts: row.counts }
            }
            QueuePush::WorkerRow { ref row, .. } => Self::WorkerRow {
                name: text(row.name),
                is_linked: row.is_linked,
                running: row.running,
                ahead: row.ahead,
                ends: [row.done, row.failed, row.lost],
            },
            QueuePush::Latencies { wait, lease, .. } => {
                let [wait, lease] = [wait, lease].map(|told| Box::new(told.into()));
                Self::Latencies { wait, lease }
            }
            QueuePush::End { request, changed, next, more } => {
                Self::End { request, changed, next: next.sequence(), more }
            }
            QueuePush::Fault { request, fault } => Self::Fault { request, fault },
            QueuePush::Enlisted { name, .. } => Self::Enlisted { name: text(name) },
            QueuePush::Lease { task, attempt, .. } => Self::Lease(Run { task, attempt }),
            QueuePush::Recall { task, attempt } => Self::Recall(Run { task, attempt }),
            QueuePush::Cancel { task, attempt } => Self::Cancel(Run { task, attempt }),
            QueuePush::Acked { seq } => Self::Acked(seq),
            QueuePush::Drain => Self::Drain,
        }
    }
}

/// A task that is about to be submitted.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) job: JobId,
    pub(super) key: u128,
    pub(super) priority: i32,
    pub(super) memory: u64,
    pub(super) cores_milli: u32,
    pub(super) attempts_max: u16,
    pub(super) after: Vec<u128>,
    pub(super) command: Vec<u8>,
}

/// One that asks for nothing and is tried once.
pub(super) fn draft(job: JobId, key: u128) -> Draft {
    let command = format!("work {key}").into_bytes();
    let (priority, memory, cores_milli, attempts_max) = (0, 0, 0, 1);
    Draft { job, key, priority, memory, cores_milli, attempts_max, after: Vec::new(), command }
}

impl Draft {
    pub(super) fn priority(self, priority: i32) -> Self {
        Self { priority, ..self }
    }

    pub(super) fn memory(self, memory: u64) -> Self {
        Self { memory, ..self }
    }

    pub(super) fn attempts(self, attempts_max: u16) -> Self {
        Self { attempts_max, ..self }
    }

    pub(super) fn after(self, keys: &[u128]) -> Self {
        Self { after: keys.to_vec(), ..self }
    }

    pub(super) fn write(&self, ticket: u64, out: &mut BatchWriter) {
        let mut payload = Vec::new();
        let (kind, variables) = (PayloadKind::Noop, Variables::default());
        let command = &self.command;
        TaskPayload { kind, name: b"", cwd: b"", command, variables }.write_to(&mut payload);
        let keys: Vec<TaskKey> = self.after.iter().map(|key| TaskKey(*key)).collect();
        let after = After::to_bytes_of(&keys);
        let spec = TaskSpec {
            job: self.job,
            key: TaskKey(self.key),
            priority: self.priority,
            memory: self.memory,
            cores_milli: self.cores_milli,
            timeout_ms: 0,
            attempts_max: self.attempts_max,
            after: After::new(&after),
            payload: &payload,
        };
        ToQueue::Submit { ticket, spec }.write(out);
    }
}

/// So many slots and so much prefetch, and more of everything else than any test asks for.
pub(super) fn capacity(slots: u32, prefetch: u32) -> Capacity {
    Capacity { slots, memory: 1 << 40, cores_milli: 1_000_000, prefetch, is_draining: false }
}

/// So many slots are taken by others.
pub(super) fn taken(slots: u32) -> Occupancy {
    Occupancy { slots, ..Occupancy::default() }
}

/// An end by itself.
pub(super) fn exited(code: i32) -> TaskEnd<'static> {
    TaskEnd {
        kind: EndKind::Exited,
        code,
        waited_ns: 0,
        ran_ns: 1_000,
        cpu_ns: 0,
        memory: 0,
        stdout: Captured::default(),
        stderr: Captured::default(),
    }
}

pub(super) fn all() -> Selection<'static> {
    Selection::default()
}

pub(super) fn one(sequence: u64) -> Selection<'static> {
    Selection { task: Some(TaskId::new(0, sequence)), ..all() }
}

pub(super) fn in_state(state: TaskState) -> Selection<'static> {
    Selection { states: StateSet::NONE.with(state), ..all() }
}

pub(super) fn config() -> TaskQueueConfig {
    TaskQueueConfig::new(ShardId(0))
}

pub(super) fn journaled() -> TaskQueueConfig {
    TaskQueueConfig { durability: Durability::Journal, ..config() }
}
