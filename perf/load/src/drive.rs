//! What all workloads have in common on a coordinator worker: the phases of a run, what is sent
//! when, and what is recorded.
//!
//! One driver a worker. It goes through the phases that the bench sets for all workers at once:
//! load, run (warm up, then measure), drain, verify. What it learns it sends to the bench; nothing
//! it does on the way of a transaction waits or allocates.

mod driver;
mod pace;
mod totals;

pub use driver::LoadDriver;
pub use totals::{KindTotals, Punctuality, RunTotals};

use crate::arrivals::Schedule;
use crate::workload::Generator;
use hdrhistogram::Histogram;
use punctual_runtime::{CloseReason, ShardId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How long an open loop goes on after its end with what was meant to start before it.
pub const BACKLOG_TIME_MAX: Duration = Duration::from_secs(10);

/// How often a worker reports its progress.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// The same where intervals are written to a log, to see what happens within a second. It costs a
/// worker some ten microseconds each time.
pub const INTERVAL_LOGGED: Duration = Duration::from_millis(250);

/// How transactions are sent, whatever they are.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadSettings {
    /// When they are meant to start, at all workers together; `None` for a closed loop.
    pub schedule: Option<Schedule>,
    /// Seed of everything random.
    pub seed: u64,
    /// Transactions submitted in one turn, so that one frame leaves while the next is made.
    pub burst: u32,
    /// Transactions in flight a worker.
    pub in_flight: u32,
}

/// Where all workers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Put what is there before the run.
    Load,
    /// Run, without recording.
    WarmUp,
    /// Run and record.
    Measure,
    /// Submit no more and wait for what is in flight.
    Drain,
    /// Read the store.
    Verify,
    /// Stop.
    Done,
}

impl Phase {
    const ALL: [Self; 6] =
        [Self::Load, Self::WarmUp, Self::Measure, Self::Drain, Self::Verify, Self::Done];
}

/// The phase, set by the bench and looked at by every worker once a turn.
#[derive(Debug, Clone)]
pub struct PhaseCell(Arc<AtomicU8>);

impl Default for PhaseCell {
    fn default() -> Self {
        Self(Arc::new(AtomicU8::new(Phase::Load as u8)))
    }
}

impl PhaseCell {
    /// Moves all workers on.
    pub fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Release);
    }

    fn get(&self) -> Phase {
        Phase::ALL[usize::from(self.0.load(Ordering::Acquire)).min(Phase::ALL.len() - 1)]
    }
}

/// What a worker tells the bench.
#[derive(Debug)]
pub enum LoadEvent<G: Generator> {
    /// The links to all shards are up for the first time.
    Connected,
    /// A link is up.
    LinkUp {
        /// To which shard.
        shard: ShardId,
    },
    /// A link went down or could not be brought up.
    LinkDown {
        /// To which shard.
        shard: ShardId,
        /// What happened.
        why: String,
    },
    /// Its part of the loading is done.
    Loaded,
    /// A transaction can never work.
    Failed(String),
    /// A shard will not have us, and will not be asked again.
    Refused {
        /// Which shard.
        shard: ShardId,
        /// What it said.
        reason: CloseReason,
    },
    /// Progress while running.
    Interval {
        /// Whether it belongs to the measured part.
        measured: bool,
        /// Transactions that committed since the last one.
        committed: u64,
        /// Response times since the last one, in nanoseconds.
        latency: Box<Histogram<u64>>,
        /// The generator's lag since the last one; open loop only.
        lag: Option<Box<Histogram<u64>>>,
    },
    /// All that was measured, and what was done; sent when the worker has drained.
    Drained(Box<(RunTotals, G::Done)>),
    /// What its part of the store holds.
    Verified(Box<G::Found>),
}
