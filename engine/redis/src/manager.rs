//! What the original's manager does, with whatever the tasks are kept in.

mod redis;

pub use self::redis::RedisManager;

use crate::RedisError;
use punctual_runtime::tasks::TaskClientError;
use punctual_taskfile::TaskDraft;
use thiserror::Error;

/// Why a broker did not do what it was asked for.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// A Redis.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// A task server of ours.
    #[error(transparent)]
    Queue(#[from] TaskClientError),
}

impl BrokerError {
    /// Whether the user can mend it by using the program otherwise.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Redis(error) => error.is_usage(),
            Self::Queue(error) => error.is_usage(),
        }
    }
}

/// A task that is to be loaded: as it stands in its file, and as it was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerTask {
    /// The line, without its end. In Redis this is what makes it the same task as another.
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
    /// Those that the broker cannot keep: in Redis, tasks that come after others.
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

/// The verbs of the original's manager.
pub trait TaskBroker {
    /// Forgets all tasks and workers. With `everything`, all else that the broker keeps as well, as
    /// the original does: in Redis, all databases of the server.
    ///
    /// # Errors
    /// When the broker cannot be asked, or does not do it. So with all the others.
    fn init(&mut self, everything: bool) -> Result<(), BrokerError>;

    /// Adds tasks, except those that are there already: in any state but failed.
    ///
    /// # Errors
    /// As above. What was loaded before the error stays, and can be loaded again.
    fn load(
        &mut self,
        tasks: &mut dyn Iterator<Item = BrokerTask>,
    ) -> Result<LoadReport, BrokerError>;

    /// All tasks.
    ///
    /// # Errors
    /// As above.
    fn check(&mut self) -> Result<FarmTasks, BrokerError>;

    /// All workers, by name.
    ///
    /// # Errors
    /// As above.
    fn workers(&mut self) -> Result<Vec<FarmWorker>, BrokerError>;

    /// Strikes off workers that were not heard of for twenty intervals of their reports; their
    /// tasks wait again. Takes two intervals more if there seem to be any, to be sure.
    ///
    /// # Errors
    /// As above.
    fn cleanup(&mut self) -> Result<CleanupReport, BrokerError>;

    /// Forgets tasks that succeeded. Returns how many.
    ///
    /// # Errors
    /// As above.
    fn remove_finished(&mut self) -> Result<u64, BrokerError>;

    /// Lets tasks wait that run, whether their workers live or not. Returns how many.
    ///
    /// # Errors
    /// As above.
    fn requeue_in_progress(&mut self) -> Result<u64, BrokerError>;

    /// Lets tasks wait that failed, as if they never had. Returns how many.
    ///
    /// # Errors
    /// As above.
    fn requeue_failed(&mut self) -> Result<u64, BrokerError>;

    /// All workers finish what they run, and end.
    ///
    /// # Errors
    /// As above.
    fn stop_workers(&mut self) -> Result<(), BrokerError>;

    /// Takes such an order back, without which no worker would do anything. Returns whether there
    /// was one.
    ///
    /// # Errors
    /// As above.
    fn allow_workers(&mut self) -> Result<bool, BrokerError>;
}
