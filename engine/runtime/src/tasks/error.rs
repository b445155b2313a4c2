//! What can go wrong with the task farm, and what the user can do about it.

use crate::config::ConfigError;
use crate::engine::EngineError;
use crate::journal::JournalError;
use punctual_link::Endpoint;
use punctual_wire::CloseReason;
use punctual_wire::task::{RefusedTask, TaskFault};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// Why a task server cannot start, or did not end well.
#[derive(Debug, Error)]
pub enum TaskServerError {
    /// A setting outside its bounds.
    #[error("{what} = {value} {problem}")]
    Setting {
        /// Which one.
        what: &'static str,
        /// What it is.
        value: String,
        /// What is wrong with that, and what would be right.
        problem: &'static str,
    },
    /// A setting of its journal outside its bounds.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Somebody else listens there, or nobody may.
    #[error(
        "the task server cannot listen at {endpoint}: {why}; stop what listens there, or give it \
         another address"
    )]
    Listen {
        /// Where.
        endpoint: Endpoint,
        /// What the system said.
        why: String,
    },
    /// A core outside the allowed mask.
    #[error(
        "core {core} is not allowed; this process may use the cores {allowed:?}: choose among \
         them, or start it with another mask (taskset -c)"
    )]
    CoreNotAllowed {
        /// The core.
        core: usize,
        /// The allowed ones.
        allowed: Vec<usize>,
    },
    /// The journals are of another number of queues.
    #[error(
        "the journals in {dir} were begun with --queues {there}, not {wanted}: their tasks would \
         be looked for where they are not. Start with --queues {there}; or let it finish what it \
         has, and give --queues {wanted} another directory (--journal-dir)"
    )]
    Queues {
        /// Where they are.
        dir: PathBuf,
        /// How many queues they are of.
        there: u16,
        /// How many there should be.
        wanted: u16,
    },
    /// Nobody knows how many queues the journals are of.
    #[error(
        "{file} should say how many queues the journals beside it are of, and says {text:?}: \
         restore it from a copy, or write into it how many directories shard-* there are"
    )]
    QueuesFile {
        /// The file.
        file: PathBuf,
        /// What it says.
        text: String,
    },
    /// A journal that cannot be gone on from.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An address that is none, or a thread that does not start or has died.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl TaskServerError {
    /// Whether the user can mend it by using the program otherwise: bad configuration rather than a
    /// failure at work.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Journal(error) => error.is_usage(),
            Self::Engine(error) => error.is_usage(),
            _ => true,
        }
    }
}

/// Why a client did not get what it asked for.
#[derive(Debug, Error)]
pub enum TaskClientError {
    /// There is nobody at the address, or nobody any more.
    #[error(
        "no task server answers at {address} ({why}): start one with `punctual task serve`, or \
         give the address of one that runs"
    )]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What happened the last time.
        why: String,
    },
    /// The queue in this process is there no more.
    #[error("the task server in this process has stopped")]
    Stopped,
    /// The server will not have us.
    #[error("the task server at {address} refuses: {reason}")]
    Refused {
        /// Where it is.
        address: String,
        /// Its reason.
        reason: CloseReason,
    },
    /// The server was started again with another number of queues: tasks are spread otherwise.
    #[error(
        "the number of queues of the task server at {address} is {now} now and was {before} \
         before; start this again"
    )]
    Queues {
        /// Where it is.
        address: String,
        /// How many they are, or `fewer`.
        now: String,
        /// How many they were when this client connected.
        before: u16,
    },
    /// The server is there, and silent.
    #[error(
        "the task server at {address} did not answer within {patience:?}: look after its machine \
         and its log"
    )]
    NoAnswer {
        /// Where it is.
        address: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// The server has no room for more tasks.
    #[error(
        "the task server at {address} takes no more tasks, for {patience:?} by now ({reason}): \
         remove tasks that have ended, or give it more room, then submit the rest; what was taken \
         already is known and not taken twice"
    )]
    NoRoom {
        /// Where it is.
        address: String,
        /// What it said.
        reason: RefusedTask,
        /// How long it was tried again.
        patience: Duration,
    },
    /// The link was lost when something was asked that must not be done twice.
    #[error(
        "the link to the task server at {address} was lost meanwhile ({why}): whether it was done \
         is not known; look before you ask again"
    )]
    Unsure {
        /// Where it is.
        address: String,
        /// How the link ended.
        why: String,
    },
    /// What was asked cannot be done.
    #[error(transparent)]
    Fault(#[from] TaskFault),
    /// The system has no more file descriptors, for instance.
    #[error("the system does not let a client work: {0}")]
    System(#[from] io::Error),
}

impl TaskClientError {
    /// Whether the user can mend it by using the program otherwise.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Refused { .. } | Self::Fault(_))
    }
}

/// Why a worker cannot start, or ended before it was told to.
#[derive(Debug, Error)]
pub enum TaskWorkerError {
    /// The server will not have it.
    #[error("the task server at {address} refuses this worker: {reason}")]
    Refused {
        /// Where it is.
        address: String,
        /// Its reason.
        reason: CloseReason,
    },
    /// It was told to end, and could not hand over everything that it should have.
    #[error(
        "the task server at {address} was out of reach when the worker ended ({why}): it will give \
         tasks whose end it was not told of to another worker"
    )]
    NotDelivered {
        /// Where it is.
        address: String,
        /// Why there was no link.
        why: String,
    },
    /// A thread that does not start or has died.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl TaskWorkerError {
    /// Whether the user can mend it by using the program otherwise.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Refused { .. } => true,
            Self::NotDelivered { .. } => false,
            Self::Engine(error) => error.is_usage(),
        }
    }
}
