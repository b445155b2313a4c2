//! What a manager is given and what it gives back.

use punctual_taskfile::TaskDraft;

/// A task that is to be loaded: as it stands in its file, and as it was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisTask {
    /// The line, without its end. It is what makes it the same task as another.
    pub line: Vec<u8>,
    /// What it says.
    pub draft: TaskDraft,
}

/// What came of loading tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadReport {
    /// Tasks that were there to be loaded.
    pub loaded: u64,
    /// Those of them that are new.
    pub added: u64,
    /// Those that cannot be kept there: tasks that come after others.
    pub refused: u64,
    /// Those that the original's workers cannot read, and stumble over: with a colon in the
    /// command, a timeout, or in JSON. Ours can.
    pub ours_only: u64,
}

/// All tasks, by the original's states. A task that failed and is tried again is among those to do
/// and among those that failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FarmTasks {
    /// Lines of those that wait.
    pub todo: Vec<Vec<u8>>,
    /// Lines of those that run, each with its worker.
    pub in_progress: Vec<(Vec<u8>, Vec<u8>)>,
    /// Lines of those that succeeded, each with its worker and what it wrote:
    /// `WORKER: "OUTPUT IN JSON"`.
    pub finished: Vec<(Vec<u8>, Vec<u8>)>,
    /// Lines of those that failed, each with the workers where it did, a comma behind each.
    pub failed: Vec<(Vec<u8>, Vec<u8>)>,
    /// Lines of those that failed, each with why.
    pub reasons: Vec<(Vec<u8>, Vec<u8>)>,
    /// There is an order to stop for all workers.
    pub is_stopping: bool,
}

/// A worker, as it says itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FarmWorker {
    /// Its name.
    pub name: String,
    /// How long ago it said so, by the clock of this machine; negative if its own is ahead.
    pub seconds_ago: i64,
    /// Cores in use at its machine.
    pub cores_used: f64,
    /// All cores.
    pub cores_total: f64,
    /// Memory in use at its machine, in GB.
    pub memory_used: f64,
    /// All memory, in GB.
    pub memory_total: f64,
    /// Tasks that it has.
    pub running: u64,
    /// Tasks that it finished.
    pub finished: u64,
}

/// What a cleanup did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CleanupReport {
    /// Workers that were struck off.
    pub dismissed: Vec<String>,
    /// Their tasks, which wait again.
    pub moved: u64,
    /// Workers that live, and whose clocks differ so much from this one that they seemed dead.
    pub wrong_clocks: Vec<String>,
}
