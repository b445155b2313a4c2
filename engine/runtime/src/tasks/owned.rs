//! What clients give and get, in memory of their own.

use punctual_wire::task::{
    AFTER_MAX, After, Capacity, JobId, JobRow, PAYLOAD_BYTES_MAX, Selection, StateCounts, StateSet,
    TaskId, TaskKey, TaskSpec, WorkerRow,
};

/// A task to be submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedSpec {
    /// What makes it the same task as another one of its job.
    pub key: TaskKey,
    /// Higher first.
    pub priority: i32,
    /// Bytes of memory that it asks for.
    pub memory: u64,
    /// Thousandths of a core that it asks for.
    pub cores_milli: u32,
    /// It is killed after so many milliseconds; 0: never.
    pub timeout_ms: u64,
    /// How often it may be tried in all, at least 1.
    pub attempts_max: u16,
    /// What must succeed before: tasks of the same job that were submitted earlier.
    pub after: Vec<TaskKey>,
    /// Others may come after it, so it stays with those of its job that are named or come after
    /// others: a queue can only wait for tasks of its own.
    pub is_named: bool,
    /// A [`TaskPayload`](super::TaskPayload).
    pub payload: Vec<u8>,
}

impl OwnedSpec {
    /// A task that asks for nothing but a core, comes after nothing and is tried once.
    #[must_use]
    pub fn new(key: TaskKey, payload: Vec<u8>) -> Self {
        Self {
            key,
            priority: 0,
            memory: 0,
            cores_milli: 1000,
            timeout_ms: 0,
            attempts_max: 1,
            after: Vec::new(),
            is_named: false,
            payload,
        }
    }

    /// Whether it is larger than a queue takes.
    pub(super) fn is_too_large(&self) -> bool {
        self.payload.len() > PAYLOAD_BYTES_MAX || self.after.len() > AFTER_MAX
    }

    /// What it counts for while it waits to be acknowledged.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.payload.len() + size_of_val(self.after.as_slice())
    }

    /// As it is sent. `after` is what [`After::to_bytes_of`] makes of the field of that name.
    pub(super) fn spec<'a>(&'a self, job: JobId, after: &'a [[u8; 16]]) -> TaskSpec<'a> {
        TaskSpec {
            job,
            key: self.key,
            priority: self.priority,
            memory: self.memory,
            cores_milli: self.cores_milli,
            timeout_ms: self.timeout_ms,
            attempts_max: self.attempts_max.max(1),
            after: After::new(after),
            payload: &self.payload,
        }
    }
}

/// Which tasks are meant: those that everything here fits. The default means all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedSelection {
    /// In one of these states.
    pub states: StateSet,
    /// Of this job.
    pub job: Option<JobId>,
    /// This one only.
    pub task: Option<TaskId>,
    /// From this id on.
    pub from: TaskId,
    /// With this in the command or the name; empty: with any text.
    pub include: Vec<u8>,
    /// Without this in the command and the name; empty: with any text.
    pub exclude: Vec<u8>,
    /// The worker with this name has or had it; empty: any or none.
    pub worker: Vec<u8>,
}

impl Default for OwnedSelection {
    fn default() -> Self {
        Self {
            states: StateSet::ALL,
            job: None,
            task: None,
            from: TaskId::default(),
            include: Vec::new(),
            exclude: Vec::new(),
            worker: Vec::new(),
        }
    }
}

impl OwnedSelection {
    /// Those of them from an id on.
    pub(super) fn starting(&self, from: TaskId) -> Selection<'_> {
        Selection {
            states: self.states,
            job: self.job,
            task: self.task,
            from,
            include: &self.include,
            exclude: &self.exclude,
            worker: &self.worker,
        }
    }
}

/// A job of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedJob {
    /// Its number.
    pub job: JobId,
    /// Its name.
    pub name: Vec<u8>,
    /// When it was opened, in nanoseconds since 1970.
    pub opened: i64,
    /// Its tasks by state.
    pub counts: StateCounts,
}

impl From<&JobRow<'_>> for OwnedJob {
    fn from(row: &JobRow<'_>) -> Self {
        Self { job: row.job, name: row.name.to_vec(), opened: row.opened, counts: row.counts }
    }
}

/// A worker of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedWorker {
    /// What it is called.
    pub name: Vec<u8>,
    /// The machine that it is on.
    pub host: Vec<u8>,
    /// Its process there.
    pub pid: u32,
    /// What it offers.
    pub capacity: Capacity,
    /// Whether it is connected.
    pub is_linked: bool,
    /// When something was heard of it, in nanoseconds since 1970.
    pub heard: i64,
    /// When it came, in nanoseconds since 1970.
    pub enlisted: i64,
    /// Tasks that it runs.
    pub running: u32,
    /// Tasks that wait there.
    pub ahead: u32,
    /// Runs that succeeded.
    pub done: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Tasks that were lost with it.
    pub lost: u64,
    /// Bytes of memory that are free at its machine.
    pub memory_free: u64,
    /// Thousandths of cores that are in use there.
    pub cores_used_milli: u32,
    /// How long its tasks run on average, in nanoseconds; 0: not known.
    pub mean_ns: u64,
}

impl From<&WorkerRow<'_>> for OwnedWorker {
    fn from(row: &WorkerRow<'_>) -> Self {
        Self {
            name: row.name.to_vec(),
            host: row.host.to_vec(),
            pid: row.pid,
            capacity: row.capacity,
            is_linked: row.is_linked,
            heard: row.heard,
            enlisted: row.enlisted,
            running: row.running,
            ahead: row.ahead,
            done: row.done,
            failed: row.failed,
            lost: row.lost,
            memory_free: row.memory_free,
            cores_used_milli: row.cores_used_milli,
            mean_ns: row.mean_ns,
        }
    }
}
