//! A worker of the task farm against queues and a host that the test plays, under virtual time.

mod ahead;
mod alloc;
mod drain;
mod ending;
mod link;
mod memory;
mod order;
mod settings;
mod several;
mod sharing;
mod shortage;

use punctual_core::task::{Action, Exit, Prefetch, RunId, TaskWorker, TaskWorkerConfig, Usage};
use punctual_core::{Nanos, ShardId};
use punctual_wire::task::{
    Attempt, Capacity, EndKind, Occupancy, QueuePush, ReturnReason, TaskId, ToQueue, ToQueueReader,
};
use punctual_wire::{BatchWriter, FrameReader, Limits, WireError};
use std::collections::BTreeMap;
use std::time::Duration;

const LIMITS: Limits = Limits::DEFAULT;
/// The only queue, in most tests.
const FIRST: ShardId = ShardId(0);
const MS: u64 = 1_000_000;
const MIB: u64 = 1 << 20;
const LEASE_TIMEOUT_MS: u32 = 10_000;
const HEARTBEAT_MS: u32 = 2_000;

/// 100 MiB, 8 cores, nothing waits beyond what runs, and 5 s to end when asked.
fn config(slots: u32) -> TaskWorkerConfig {
    let config = TaskWorkerConfig::new("name", slots, 100 * MIB, 8_000);
    TaskWorkerConfig { prefetch: Prefetch::Off, kill_grace: Duration::from_secs(5), ..config }
}

/// What the worker told the queue, copied.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Enlist { name: Vec<u8>, capacity: Capacity },
    Hold { task: u64, attempt: u32 },
    Held,
    Credit(Capacity),
    Occupied(Occupancy),
    Report(Report),
    Return { seq: u64, task: u64, reason: ReturnReason },
    Beat { memory_free: u64, running: u32 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Report {
    seq: u64,
    task: u64,
    attempt: u32,
    kind: EndKind,
    code: i32,
    waited_ns: u64,
    stdout_bytes: u64,
    stdout: Vec<u8>,
}

impl Said {
    fn copy(message: &ToQueue<'_>) -> Self {
        match *message {
            ToQueue::Enlist { name, capacity, .. } => {
                Self::Enlist { name: name.to_vec(), capacity }
            }
            ToQueue::Hold { task, attempt } => Self::Hold { task: task.0, attempt: attempt.0 },
            ToQueue::Held => Self::Held,
            ToQueue::Credit { capacity } => Self::Credit(capacity),
            ToQueue::Occupied { by_others } => Self::Occupied(by_others),
            ToQueue::Report { seq, task, attempt, end } => Self::Report(Report {
                seq,
                task: task.0,
                attempt: attempt.0,
                kind: end.kind,
                code: end.code,
                waited_ns: end.waited_ns,
                stdout_bytes: end.stdout.bytes,
                stdout: end.stdout.tail.to_vec(),
            }),
            ToQueue::Return { seq, task, reason, .. } => Self::Return { seq, task: task.0, reason },
            ToQueue::Beat { memory_free, running, .. } => Self::Beat { memory_free, running },
            ref other => panic!("a worker never says {other:?}"),
        }
    }
}

/// A queue beside the first, in tests of several.
const SECOND: ShardId = ShardId(1);

/// One of its tasks.
fn of_second(sequence: u64) -> Task {
    task(TaskId::new(SECOND.0, sequence).0)
}

/// A task to lease: the first attempt, with no wishes.
#[derive(Debug, Clone, Copy)]
struct Task {
    id: u64,
    attempt: u32,
    priority: i32,
    memory: u64,
    cores_milli: u32,
    timeout_ms: u64,
}

fn task(id: u64) -> Task {
    Task { id, attempt: 1, priority: 0, memory: 0, cores_milli: 0, timeout_ms: 0 }
}

impl Task {
    fn queue(self) -> ShardId {
        ShardId(TaskId(self.id).shard())
    }

    fn push(self) -> QueuePush<'static> {
        QueuePush::Lease {
            task: TaskId(self.id),
            attempt: Attempt(self.attempt),
            priority: self.priority,
            memory: self.memory,
            cores_milli: self.cores_milli,
            timeout_ms: self.timeout_ms,
            job: b"job",
            payload: b"payload",
        }
    }
}

/// What the host was asked to do, with tasks instead of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Start(u64),
    Stop(u64),
    Kill(u64),
}

/// A worker, and what the test knows of it.
struct Rig {
    worker: TaskWorker,
    now: Nanos,
    to_worker: BatchWriter,
    from_worker: BatchWriter,
    /// The latest run of each task that was started.
    runs: BTreeMap<u64, RunId>,
}

impl Rig {
    /// A worker that has no link yet.
    fn unlinked(config: TaskWorkerConfig) -> Self {
        let batch = || BatchWriter::new(LIMITS, LIMITS.batch_max, false);
        Self {
            worker: TaskWorker::new(config),
            now: Nanos(1_000_000_000),
            to_worker: batch(),
            from_worker: batch(),
            runs: BTreeMap::new(),
        }
    }

    /// A worker that the queue knows.
    fn new(config: TaskWorkerConfig) -> Self {
        let mut rig = Self::unlinked(config);
        rig.enlist();
        rig
    }

    /// A worker that two queues know.
    fn of_two(config: TaskWorkerConfig) -> Self {
        let mut rig = Self::unlinked(config);
        rig.worker.set_queues(rig.now, 2);
        rig.enlist_at(FIRST);
        rig.enlist_at(SECOND);
        rig
    }

    /// The link comes up and both sides greet. Returns what the worker said.
    fn enlist(&mut self) -> Vec<Said> {
        self.enlist_at(FIRST)
    }

    /// The same with one of several queues.
    fn enlist_at(&mut self, queue: ShardId) -> Vec<Said> {
        self.worker.on_link_up(self.now, queue);
        let said = self.said_to(queue);
        self.push_from(queue, &[enlisted()]);
        said
    }

    /// Time passes, and what is due is done.
    fn pass_ms(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms).into();
        self.worker.on_turn(self.now);
    }

    fn try_push(&mut self, pushes: &[QueuePush<'_>]) -> Result<(), WireError> {
        self.try_push_from(FIRST, pushes)
    }

    fn try_push_from(&mut self, queue: ShardId, pushes: &[QueuePush<'_>]) -> Result<(), WireError> {
        for push in pushes {
            push.write(&mut self.to_worker);
        }
        self.to_worker.seal();
        let mut taken = Ok(());
        let mut frames = FrameReader::new(self.to_worker.sealed(), LIMITS, false);
        while let Some(frame) = frames.next_frame().expect("a writer makes valid frames") {
            taken = taken.and(self.worker.on_frame(self.now, queue, &frame));
        }
        self.to_worker.clear_sealed();
        taken
    }

    fn push(&mut self, pushes: &[QueuePush<'_>]) {
        self.push_from(FIRST, pushes);
    }

    fn push_from(&mut self, queue: ShardId, pushes: &[QueuePush<'_>]) {
        self.try_push_from(queue, pushes).expect("messages for a worker");
    }

    /// Each task comes from its own queue.
    fn lease(&mut self, tasks: &[Task]) {
        for tasks in tasks.chunk_by(|one, other| one.queue() == other.queue()) {
            let pushes: Vec<_> = tasks.iter().map(|task| task.push()).collect();
            self.push_from(tasks[0].queue(), &pushes);
        }
    }

    fn recall(&mut self, task: u64) {
        self.push(&[QueuePush::Recall { task: TaskId(task), attempt: Attempt(1) }]);
    }

    fn cancel(&mut self, task: u64) {
        self.push(&[QueuePush::Cancel { task: TaskId(task), attempt: Attempt(1) }]);
    }

    fn acked(&mut self, seq: u64) {
        self.push(&[QueuePush::Acked { seq }]);
    }

    /// What the host is asked to do by now.
    fn asked(&mut self) -> Vec<Asked> {
        let mut asked = Vec::new();
        while let Some(action) = self.worker.next_action() {
            let lease = self.worker.lease(action.run()).expect("a lease that there is");
            let task = lease.task.0;
            asked.push(match action {
                Action::Start(run) => {
                    self.runs.insert(task, run);
                    Asked::Start(task)
                }
                Action::Stop(_) => Asked::Stop(task),
                Action::Kill(_) => Asked::Kill(task),
            });
        }
        asked
    }

    /// The same where only tasks are started.
    fn started(&mut self) -> Vec<u64> {
        let asked = self.asked().into_iter();
        let started = asked.map(|asked| match asked {
            Asked::Start(task) => task,
            other => panic!("{other:?} was not expected"),
        });
        started.collect()
    }

    fn exit(&mut self, task: u64, exit: Exit) {
        let run = self.runs.remove(&task).expect("it was started");
        self.worker.on_exit(self.now, run, exit);
    }

    fn succeed(&mut self, task: u64) {
        self.exit(task, Exit::success());
    }

    fn measure(&mut self, memory_free: u64) {
        let usage = Usage { memory_free, cores_used_milli: 500 };
        self.worker.on_usage(self.now, usage);
    }

    /// Everything that the worker has to say.
    fn said(&mut self) -> Vec<Said> {
        self.said_to(FIRST)
    }

    fn said_to(&mut self, queue: ShardId) -> Vec<Said> {
        let mut written = 0;
        while self.worker.has_output(queue) {
            let more = self.worker.write(self.now, queue, &mut self.from_worker);
            assert!(more > 0, "what has output writes");
            written += more;
        }
        self.from_worker.seal();
        let mut said = Vec::new();
        let mut frames = FrameReader::new(self.from_worker.sealed(), LIMITS, false);
        while let Some(frame) = frames.next_frame().expect("a worker writes valid frames") {
            let mut messages = ToQueueReader::new(&frame);
            while let Some(message) = messages.next_message().expect("and valid messages") {
                said.push(Said::copy(&message));
            }
        }
        self.from_worker.clear_sealed();
        assert_eq!(said.len(), written, "it knows how much it wrote");
        said
    }
}

fn enlisted() -> QueuePush<'static> {
    let (lease_timeout_ms, heartbeat_ms) = (LEASE_TIMEOUT_MS, HEARTBEAT_MS);
    QueuePush::Enlisted { name: b"name#2", lease_timeout_ms, heartbeat_ms }
}

/// What the host says of a task that was killed.
fn killed() -> Exit {
    Exit { kind: EndKind::Signaled, code: 9, ..Exit::success() }
}

/// What the host says of a task for which the machine has no more open files.
fn shortage() -> Exit {
    Exit { kind: EndKind::NotStarted, code: 24, is_shortage: true, ..Exit::success() }
}

fn failure(code: i32) -> Exit {
    Exit { code, ..Exit::success() }
}

/// Number, task and end of each report.
fn reports(said: &[Said]) -> Vec<(u64, u64, EndKind, i32)> {
    let report = |said: &Said| match said {
        Said::Report(report) => Some((report.seq, report.task, report.kind, report.code)),
        _ => None,
    };
    said.iter().filter_map(report).collect()
}

/// Number, task and reason of each return.
fn returns(said: &[Said]) -> Vec<(u64, u64, ReturnReason)> {
    let back = |said: &Said| match *said {
        Said::Return { seq, task, reason } => Some((seq, task, reason)),
        _ => None,
    };
    said.iter().filter_map(back).collect()
}

fn credits(said: &[Said]) -> Vec<Capacity> {
    let credit = |said: &Said| match *said {
        Said::Credit(capacity) => Some(capacity),
        _ => None,
    };
    said.iter().filter_map(credit).collect()
}
