//! The task farm at work: a server that hosts task queues, clients that submit to it, and workers
//! that run what it gives them.
//!
//! The rules are in [`punctual_core::task`]; here are the threads, links and files around them. A
//! [`TaskServer`] keeps one queue or several, each on a thread of its own and with its journal if
//! it has one. A [`TaskClient`] speaks to them from any thread and waits for the answers. A
//! [`TaskWorkerHost`] keeps a worker on a thread, and what a task really is, is left to a
//! [`TaskRunner`].
//!
//! Whoever speaks to a server shows its token in the handshake; nobody else gets any further.

mod address;
mod agent;
mod client;
mod config;
mod connection;
mod error;
mod farm_dir;
mod hosted;
mod link;
mod owned;
mod runner;
mod server;
#[cfg(test)]
mod tests;
mod worker;

pub use address::{LocalQueue, QueueAddress, QueueLinks, Token};
pub use client::{SubmitReport, TaskClient};
pub use config::{TaskDurability, TaskServerConfig};
pub use error::{TaskClientError, TaskServerError, TaskWorkerError};
pub use owned::{OwnedJob, OwnedSelection, OwnedSpec, OwnedWorker};
pub use runner::{NoopRunner, TaskRunner};
pub use server::TaskServer;
pub use worker::{TaskWorkerHost, WorkerView};

pub use punctual_core::task::{
    Action, Exit, LatencyBuckets, Lease, PREFETCH_MAX, Prefetch, RunId, SLOTS_MAX, TaskLatencies,
    TaskWorkerConfig, TaskWorkerStats, Usage,
};
pub use punctual_wire::task::{
    AFTER_MAX, Attempt, Capacity, Captured, EndKind, EndSummary, JOB_NAME_BYTES_MAX, JobId,
    OUTPUT_BYTES_MAX, PAYLOAD_BYTES_MAX, PayloadKind, QUEUES_MAX, RefusedTask, StateCounts,
    StateSet, TEXT_BYTES_MAX, TaskEnd, TaskFault, TaskId, TaskKey, TaskPayload, TaskRow, TaskState,
    TaskTimes, UnknownState, Variables, Verb,
};

use punctual_wire::Limits;

/// The bounds of frames between queues, clients and workers. Both sides must have the same, so they
/// are no matter of configuration.
const LIMITS: Limits = Limits::DEFAULT;
/// Messages that share a frame.
const BATCH_MAX: u16 = LIMITS.batch_max;
