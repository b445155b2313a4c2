//! What a task server is started with.

use super::{TaskServerError, Token};
use crate::config::{
    Address, Backend, Config, DurabilityMode, DurabilitySettings, IdleStrategy, JournalBackend,
    Modes, show_bytes, show_duration,
};
use crate::journal::JournalPlan;
use punctual_core::ShardId;
use punctual_core::task::TaskQueueConfig;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// The first version has one queue a server.
pub(super) const QUEUE: ShardId = ShardId(0);
/// Bounds of what a server waits for.
const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);
/// Least memory for tasks.
const MEMORY_MIN: u64 = 1 << 20;

/// What of the tasks outlives their server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskDurability {
    /// Nothing.
    Memory,
    /// Whatever was acknowledged.
    Journal {
        /// Where the journals are, that of the queue in a directory of its own below.
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

    /// How the journal of the queue is written, if there is one.
    pub(super) fn plan(&self) -> Result<Option<JournalPlan>, TaskServerError> {
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
        let dir = config.process.durability.dir_of(QUEUE.0);
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
    /// Bytes that tasks and what they wrote may take.
    pub memory_max: u64,
    /// Most clients and workers at once.
    pub parties_max: usize,
    /// The core that the queue keeps to; `None` leaves it to the scheduler.
    pub core: Option<usize>,
    /// What the queue's thread does when there is nothing to do. Tasks need the cores: it sleeps,
    /// unless it has a core of its own.
    pub idle: IdleStrategy,
    /// What drives that thread.
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
        } = TaskQueueConfig::new(QUEUE);
        Self {
            listen: None,
            token: Token::default(),
            durability: TaskDurability::Memory,
            lease_timeout,
            heartbeat,
            reconnect_grace,
            backoff_min,
            backoff_max,
            losses_max,
            memory_max,
            parties_max,
            core: None,
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
        if self.memory_max < MEMORY_MIN {
            let value = show_bytes(self.memory_max);
            return setting("memory_max", value, "is too little; give at least 1 MiB");
        }
        if self.parties_max == 0 {
            return setting("parties_max", "0".to_owned(), "lets nobody in; give at least 2");
        }
        let allowed = crate::host::allowed_cores();
        match self.core {
            Some(core) if !allowed.contains(&core) => {
                Err(TaskServerError::CoreNotAllowed { core, allowed })
            }
            _ => Ok(()),
        }
    }

    /// What the queue must know of it.
    pub(super) fn queue(&self) -> TaskQueueConfig {
        TaskQueueConfig {
            lease_timeout: self.lease_timeout,
            heartbeat: self.heartbeat,
            reconnect_grace: self.reconnect_grace,
            backoff_min: self.backoff_min,
            backoff_max: self.backoff_max,
            losses_max: self.losses_max,
            memory_max: self.memory_max,
            parties_max: self.parties_max,
            limits: super::LIMITS,
            ..TaskQueueConfig::new(QUEUE)
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
