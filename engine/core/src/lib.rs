//! The rules of Punctual: what a coordinator, a shard and a store do, and when.
//!
//! Everything here is a state machine without I/O. Input is `(now, message)`, output is pushed into
//! a [`BatchWriter`](punctual_wire::BatchWriter) that the caller owns. No clock is read, no socket
//! opened, no thread started, nothing is logged and nothing is shared: the same code runs pinned to
//! a core and in a simulator under virtual time. Rules are cited as `protocol R6`; they stand in
//! `docs/protocol.md`.
#![forbid(unsafe_code)]
#![warn(clippy::cast_possible_truncation)]

mod coordinator;
mod ids;
pub mod journal;
mod owd;
mod prober;
mod procedure;
mod shard;
mod store;
pub mod task;
mod time;

pub use coordinator::{
    Completion, Coordinator, CoordinatorConfig, CoordinatorStats, Outbox, Outcome, ReplyError,
    SubmitError, Timing, Transaction, TransactionError, UnknownReason,
};
pub use ids::{SessionId, ShardId};
pub use owd::{EstimatorKind, OwdConfig, OwdEstimator, OwdSample};
pub use prober::{ProbeRow, ProbeSample, Prober, ProberConfig, answer_probes};
pub use procedure::{Procedure, ProcedureContext, Procedures, ProceduresError, Verdict};
pub use shard::{
    Mutation, Replay, ReplayError, SessionError, SessionIndex, Shard, ShardConfig, ShardSetup,
    ShardStats,
};
pub use store::{MemoryHooks, Store, Value};
pub use time::Nanos;
