//! What a task server is started with.

use super::{TaskServerError, Token};
use crate::config::{
    Address, Backend, Config, DurabilityMode, DurabilitySettings, IdleStrategy, JournalBackend,
    Modes, show_bytes, show_duration,
};
use crate::host::{allowed_cores, show_core_list};
use crate::journal::JournalPlan;
use punctual_core::ShardId;
use punctual_core::task::TaskQueueConfig;
use punctual_wire::task::QUEUES_MAX;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The queue that everybody connects to first.
pub(super) const FIRST: ShardId = ShardId(0);
/// Bounds of what a server waits for.
const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);
/// Least memory for the tasks of a queue.
const MEMORY_MIN: u64 = 1 << 20;

/// What of the tasks outlives their server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskDurability {
    /// Nothing.
    Memory,
    /// Whatever was acknowledged.
    Journal {
        /// Where the journals are, that of each queue in a directory of its own below.
        dir: PathBuf,
        /// Size of one file of a log, a multiple of 4096.
        segment_bytes: u64,
        /// After so many bytes of log a snapshot is made, and takes their place; 0: none ever is.
        snapshot_after: u64,
        /// What writes them.
        backend: JournalBackend,
    },
}

impl TaskDurability {
    /// A journal below `dir`, as large as those of shards are by default.
    #[must_use]
    pub fn journal(dir: impl Into<PathBuf>) -> Self {
        let DurabilitySettings { segment_bytes, snapshot_after, backend, .. } =
            DurabilitySettings::default();
        Self::Journal { dir: dir.into(), segment_bytes, snapshot_after, backend }
    }

    /// Where the journals are, if there are any.
    pub(super) fn dir(&self) -> Option<&Path> {
        match self {
            Self::Memory => None,
            Self::Journal { dir, .. } => Some(dir),
        }
    }

    /// How the journal of a queue is written, if there is one.
    pub(super) fn plan(&self, queue: ShardId) -> Result<Option<JournalPlan>, TaskServerError> {
        let Self::Journal { dir, segment_bytes, snapshot_after, backend } = self else {
            return Ok(None);
        };
        let (segment_bytes, snapshot_after) = (*segment_bytes, *snapshot_after);
        // The bounds are those of shards, and so are the words about them.
        let mut config = Config::embedded(1);
        config.process.durability = DurabilitySettings {
            modes: Modes::from(DurabilityMode::Journal),
            dir: dir.clone(),
            segment_bytes,
            snapshot_after,
            backend: *backend,
            ..DurabilitySettings::default()
        };
        config.validate()?;
        let dir = config.process.durability.dir_of(queue.0);
        let backend = *backend;
        Ok(Some(JournalPlan { dir, segment_bytes, snapshot_after, backend, core: None }))
    }
}

/// What a task server is started with.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskServerConfig {
    /// Where it listens; `None`: it can only be reached from within the process.
    pub listen: Option<Address>,
    /// What clients and workers must show.
    pub token: Token,
    /// What outlives the process.
    pub durability: TaskDurability,
    /// How many queues the tasks are spread over, each with a thread of its own. A journal is of so
    /// many queues for ever.
    pub queues: u16,
    /// A worker that says nothing for so long loses its leases.
    pub lease_timeout: Duration,
    /// How often a worker says something.
    pub heartbeat: Duration,
    /// A worker whose link is down for so long loses its leases.
    pub reconnect_grace: Duration,
    /// Pause before a task that failed once is tried again; it doubles with each failure.
    pub backoff_min: Duration,
    /// The longest such pause.
    pub backoff_max: Duration,
    /// A task that was lost so often with its worker fails.
    pub losses_max: u16,
    /// Bytes that tasks and what they wrote may take; each queue has an equal share of them.
    pub memory_max: u64,
    /// Most clients and workers at once. Each of them is at every queue.
    pub parties_max: usize,
    /// The cores that the queues keep to, one for each; none leaves them to the scheduler.
    pub cores: Vec<usize>,
    /// What a queue's thread does when there is nothing to do. Tasks need the cores: it sleeps,
    /// unless it has a core of its own.
    pub idle: IdleStrategy,
    /// What drives the threads.
    pub backend: Backend,
}

impl Default for TaskServerConfig {
    /// In memory, for this process only.
    fn default() -> Self {
        let TaskQueueConfig {
            lease_timeout,
            heartbeat,
            reconnect_grace,
            backoff_min,
            backoff_max,
            losses_max,
            memory_max,
            parties_max,
            ..
        } = TaskQueueConfig::new(FIRST);
        Self {
            listen: None,
            token: Token::default(),
            durability: TaskDurability::Memory,
            queues: 1,
            lease_timeout,
            heartbeat,
            reconnect_grace,
            backoff_min,
            backoff_max,
            losses_max,
            memory_max,
            parties_max,
            cores: Vec::new(),
            idle: IdleStrategy::Park,
            backend: Backend::Threads,
        }
    }
}

impl TaskServerConfig {
    /// A server for others, which show it `token`.
    #[must_use]
    pub fn listening(listen: Address, token: impl Into<Token>) -> Self {
        let idle = IdleStrategy::Backoff;
        Self { listen: Some(listen), token: token.into(), idle, ..Self::default() }
    }

    /// Checks every bound.
    pub(super) fn check(&self) -> Result<(), TaskServerError> {
        let times = [
            ("lease_timeout", self.lease_timeout),
            ("heartbeat", self.heartbeat),
            ("reconnect_grace", self.reconnect_grace),
            ("backoff_min", self.backoff_min),
            ("backoff_max", self.backoff_max),
        ];
        for (what, time) in times {
            if !TIMES.contains(&time) {
                let value = show_duration(time);
                return setting(what, value, "is outside 1ms..=1d; choose something between");
            }
        }
        if self.lease_timeout < self.heartbeat * 2 {
            let value = show_duration(self.lease_timeout);
            let problem = "is less than two heartbeats: a worker that lives would be given up; \
                           raise it, or let workers say more often that they live";
            return setting("lease_timeout", value, problem);
        }
        if self.backoff_max < self.backoff_min {
            let value = show_duration(self.backoff_max);
            return setting("backoff_max", value, "is less than backoff_min; raise it");
        }
        if self.losses_max == 0 {
            let problem = "would fail every task that is lost once, before it is lost; give at \
                           least 1";
            return setting("losses_max", "0".to_owned(), problem);
        }
        if self.parties_max == 0 {
            return setting("parties_max", "0".to_owned(), "lets nobody in; give at least 2");
        }
        self.check_queues()
    }

    /// Checks how many queues there are, and what each gets.
    fn check_queues(&self) -> Result<(), TaskServerError> {
        if !(1..=QUEUES_MAX).contains(&self.queues) {
            let value = self.queues.to_string();
            return setting("queues", value, "is outside 1..=64; choose something between");
        }
        if self.memory_of_queue() < MEMORY_MIN {
            let value = show_bytes(self.memory_max);
            return setting("memory_max", value, "is too little; give at least 1 MiB a queue");
        }
        let cores = &self.cores;
        if !cores.is_empty() && cores.len() != usize::from(self.queues) {
            let problem = "is not one core for each queue; name as many, or none";
            return setting("cores", show_core_list(cores), problem);
        }
        let repeats = |(at, core): (usize, &usize)| cores[..at].contains(core);
        if cores.iter().enumerate().any(repeats) {
            let problem = "has a core twice, where one queue would wait for another; name others, \
                           or none";
            return setting("cores", show_core_list(cores), problem);
        }
        let allowed = allowed_cores();
        match cores.iter().find(|core| !allowed.contains(core)) {
            Some(&core) => Err(TaskServerError::CoreNotAllowed { core, allowed }),
            None => Ok(()),
        }
    }

    /// The numbers of the queues.
    pub(super) fn queue_ids(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.queues).map(ShardId)
    }

    /// The core of a queue, if it has one of its own.
    pub(super) fn core_of(&self, queue: ShardId) -> Option<usize> {
        self.cores.get(usize::from(queue.0)).copied()
    }

    /// Clients spread the tasks evenly, so the memory is spread evenly too.
    fn memory_of_queue(&self) -> u64 {
        self.memory_max / u64::from(self.queues.max(1))
    }

    /// What a queue must know of it.
    pub(super) fn queue(&self, id: ShardId) -> TaskQueueConfig {
        TaskQueueConfig {
            lease_timeout: self.lease_timeout,
            heartbeat: self.heartbeat,
            reconnect_grace: self.reconnect_grace,
            backoff_min: self.backoff_min,
            backoff_max: self.backoff_max,
            losses_max: self.losses_max,
            memory_max: self.memory_of_queue(),
            parties_max: self.parties_max,
            limits: super::LIMITS,
            ..TaskQueueConfig::new(id)
        }
    }
}

fn setting(
    what: &'static str,
    value: String,
    problem: &'static str,
) -> Result<(), TaskServerError> {
    Err(TaskServerError::Setting { what, value, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(config: &TaskServerConfig) -> String {
        config.check().expect_err("it must be refused").to_string()
    }

    #[test]
    fn each_queue_has_an_equal_share_of_the_memory_and_all_of_the_rest() {
        let config = TaskServerConfig {
            queues: 4,
            memory_max: 4 << 20,
            parties_max: 7,
            ..TaskServerConfig::default()
        };
        config.check().expect("1 MiB for each is enough");
        let ids: Vec<_> = config.queue_ids().collect();
        assert_eq!(ids, [0, 1, 2, 3].map(ShardId));
        for id in ids {
            let queue = config.queue(id);
            assert_eq!((queue.id, queue.memory_max, queue.parties_max), (id, 1 << 20, 7));
        }
        let poor = TaskServerConfig { memory_max: (4 << 20) - 1, ..config };
        assert!(message(&poor).contains("give at least 1 MiB a queue"));
    }

    #[test]
    fn there_is_at_least_one_queue_and_no_more_than_the_protocol_allows() {
        let with = |queues| TaskServerConfig { queues, ..TaskServerConfig::default() };
        for queues in [1, QUEUES_MAX] {
            with(queues).check().expect("it is allowed");
        }
        for queues in [0, QUEUES_MAX + 1, u16::MAX] {
            let expected = format!("queues = {queues} is outside 1..={QUEUES_MAX}; ");
            assert!(message(&with(queues)).starts_with(&expected));
        }
    }

    #[test]
    fn each_queue_has_a_core_of_its_own_or_none_has() {
        let core = allowed_cores()[0];
        let with = |queues, cores: &[usize]| TaskServerConfig {
            queues,
            cores: cores.to_vec(),
            ..TaskServerConfig::default()
        };
        let one = with(1, &[core]);
        one.check().expect("it is allowed");
        assert_eq!((one.core_of(FIRST), with(2, &[]).core_of(FIRST)), (Some(core), None));
        assert!(message(&with(2, &[core])).contains("is not one core for each queue"));
        assert!(message(&with(2, &[core, core])).contains("has a core twice"));
        let error = with(2, &[core, usize::MAX]).check().expect_err("there is no such core");
        let TaskServerError::CoreNotAllowed { core, .. } = error else { panic!("{error}") };
        assert_eq!(core, usize::MAX);
    }
}
