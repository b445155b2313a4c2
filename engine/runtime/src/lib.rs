//! Runs Punctual's state machines on pinned cores, and lets a program embed the engine.
//!
//! ```
//! use punctual_runtime::{Config, Engine, Transport};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (engine, client) = Engine::embedded(Config::embedded(2), Transport::Ring).start()?;
//!
//! // Whichever shards they are on: it happens on all of them, at the same time.
//! let mut transfer = client.transaction();
//! transfer.add("alice", -30).add("bob", 30).get("bob");
//! let result = client.submit(&mut transfer)?.wait()?;
//! assert!(result.is_committed());
//! assert_eq!(result.number(2), Some(30));
//!
//! engine.stop()?;
//! # Ok(())
//! # }
//! ```
//!
//! An [`Engine`] is embedded (shards and coordinator workers in this process), serves shards to
//! others, or connects to served ones. A [`Client`] submits from any thread and hands out
//! [`Pending`] results to poll, wait for or await. Who wants no queue and no allocation on the way
//! writes a [`Driver`] that lives on the worker's core.
//!
//! The same links, journals and threads carry a task farm: see [`tasks`].
//!
//! Shards keep everything in memory alone, unless they are told to keep a [`journal`] as well: see
//! [`DurabilitySettings`](config::DurabilitySettings).

#![deny(unsafe_code)]

mod acceptor;
mod agent;
mod alarm;
mod backend;
mod client;
mod clock;
pub mod config;
mod core_loop;
mod counters;
mod driver;
mod engine;
pub mod host;
pub mod journal;
mod links;
mod network;
mod owd_watch;
mod placement;
mod prober;
mod shard_agent;
mod sys;
pub mod tasks;
mod worker;

pub use client::{Client, ClientError, OwnedResult, Pending, PendingFuture, TransactionResult};
pub use clock::Clock;
pub use config::{Config, IdleStrategy};
pub use counters::{Counter, CounterBlock, Counters};
pub use driver::{Driver, LinkEvent, Submitter};
pub use engine::{Engine, EngineBuilder, EngineError, EngineInfo, Transport};
pub use journal::{JournalError, RecoveryReport, TornTail};
pub use network::{NetworkInfo, NetworkReport};
pub use owd_watch::OwdWatch;
pub use sys::memory_hooks;

pub use punctual_link::Endpoint;

pub use punctual_core::journal::{Durability, Lsn};
pub use punctual_core::{
    Completion, Nanos, Outcome, OwdSample, ProbeRow, ProbeSample, Procedure, ProcedureContext,
    Procedures, ProceduresError, ShardId, SubmitError, Timing, Transaction, TransactionError,
    UnknownReason, Value, Verdict,
};
pub use punctual_wire::{
    CloseReason, Key, Limits, Op, OpResult, Probe, RefusedReason, ResultReader, ResultStatus,
    WordOp,
};
