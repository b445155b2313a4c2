//! The micro workload: transactions of a few distinct keys, each read or incremented, on one shard
//! or on several.
//!
//! One driver a coordinator worker. It goes through the phases that the bench sets for all workers
//! at once: load the keys, run (warm up, then measure), drain, verify. What it learns it sends to
//! the bench; nothing it does on the way of a transaction waits or allocates.

mod choose;
mod driver;
mod flights;
#[cfg(test)]
mod tests;
mod totals;

pub use driver::MicroDriver;
pub use totals::{MicroTotals, Punctuality};

use hdrhistogram::Histogram;
use punctual_runtime::{CloseReason, Key, ShardId};
use punctual_wire::{Limits, shard_of};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// Most operations of one transaction while keys are loaded or verified.
const BULK_OPS_MAX: u16 = 64;
/// What an operation or a result takes beside its value, generously.
const OP_HEAD_BYTES: usize = 32;
/// Keys a shard, on average, above which none of them can have too few: nobody has to count.
const KEYS_PER_OP_MANY: u64 = 64;
/// Most shards of one transaction.
pub const SPAN_MAX: u16 = 64;
/// How long an open loop goes on after its end with what was meant to start before it.
pub const BACKLOG_TIME_MAX: Duration = Duration::from_secs(10);

/// What is to be run. The same for all workers but for the seed.
#[derive(Debug, Clone)]
pub struct MicroConfig {
    /// Distinct keys of a transaction.
    pub ops: u16,
    /// Share of the operations that read, 0 to 1; the others add one.
    pub reads: f64,
    /// Share of the transactions that touch several shards, 0 to 1.
    pub cross: f64,
    /// Shards that each of those touches, exactly.
    pub span: u16,
    /// Keys, loaded before the run.
    pub keys: u64,
    /// Bytes of a value, at least 8: the counter and what follows it.
    pub value_size: usize,
    /// Exponent of the keys' popularity; 0 is uniform.
    pub skew: f64,
    /// Intended arrivals a second at all workers together; `None` for a closed loop.
    pub rate: Option<f64>,
    /// Seed of everything random.
    pub seed: u64,
    /// Transactions submitted in one turn, so that one frame leaves while the next is made.
    pub burst: u32,
    /// Transactions in flight a worker.
    pub in_flight: u32,
}

impl MicroConfig {
    /// Says why this workload would not do what it says on a cluster with these limits.
    ///
    /// # Errors
    /// What stands against it, in the words of the command line.
    pub fn check(&self, shards: u16, limits: &Limits) -> Result<(), String> {
        let Self { ops, value_size, .. } = self;
        let value_bytes_max = limits.value_bytes_max as usize;
        if !(8..=value_bytes_max).contains(value_size) {
            return Err(format!("--value-size {value_size} is outside 8..={value_bytes_max}"));
        }
        if *ops > limits.ops_max {
            return Err(format!("--ops {ops} is above the limit of {}", limits.ops_max));
        }
        self.check_span(shards)?;
        self.check_keys(shards)?;
        // A get returns the whole value; long values of a reply that is full are left out.
        let results = usize::from(*ops) * (value_size + OP_HEAD_BYTES);
        let (room, body) = (limits.results_bytes_max(), limits.body_bytes_max());
        if self.reads > 0.0 && results > room {
            return Err(format!(
                "--ops {ops} values of --value-size {value_size} make a reply of up to {results} \
                 bytes, more than {room}; lower one of them or raise frame_bytes_max"
            ));
        }
        let request = usize::from(*ops) * OP_HEAD_BYTES;
        if request > body {
            return Err(format!(
                "--ops {ops} make a request of up to {request} bytes, more than {body}; lower it \
                 or raise frame_bytes_max"
            ));
        }
        Ok(())
    }

    fn check_span(&self, shards: u16) -> Result<(), String> {
        let Self { ops, cross, span, .. } = self;
        if *cross <= 0.0 {
            return Ok(());
        }
        let most = shards.min(SPAN_MAX);
        if shards < 2 {
            return Err(format!("--cross {cross} needs two --shards at least"));
        }
        if !(2..=most).contains(span) {
            return Err(format!("--span {span} is outside 2..={most}"));
        }
        if ops < span {
            return Err(format!(
                "--ops {ops} are too few for a key on each of --span {span} shards"
            ));
        }
        Ok(())
    }

    /// Whether every shard has the keys that a transaction may take of it.
    fn check_keys(&self, shards: u16) -> Result<(), String> {
        let Self { ops, keys, cross, span, .. } = self;
        let of_one_shard = if *cross >= 1.0 { ops.div_ceil(*span) } else { *ops };
        let needed = u64::from(of_one_shard);
        if shards == 1 && *keys < needed {
            return Err(format!("--ops {ops} distinct keys need as many --keys"));
        }
        if shards == 1 || *keys >= needed * u64::from(shards) * KEYS_PER_OP_MANY {
            return Ok(());
        }
        // Keys are not spread evenly over the shards.
        let mut counts = vec![0_u64; usize::from(shards)];
        for key in 0..*keys {
            counts[usize::from(shard_of(Key::Word(key), shards))] += 1;
        }
        match counts.iter().enumerate().find(|(_, count)| **count < needed) {
            None => Ok(()),
            Some((shard, count)) => Err(format!(
                "shard {shard} has only {count} of --keys {keys}, and a transaction takes up to \
                 {needed} of them; give more --keys or fewer --ops"
            )),
        }
    }

    /// Operations of one transaction while keys are loaded or verified: no more than fit a reply.
    fn bulk_ops(&self, limits: &Limits) -> u16 {
        let fit = limits.results_bytes_max() / (self.value_size + OP_HEAD_BYTES);
        let fit = u16::try_from(fit).unwrap_or(u16::MAX);
        fit.clamp(1, limits.ops_max.clamp(1, BULK_OPS_MAX))
    }
}

/// Where all workers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Put every key.
    Load,
    /// Run, without recording.
    WarmUp,
    /// Run and record.
    Measure,
    /// Submit no more and wait for what is in flight.
    Drain,
    /// Read every key.
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
pub enum MicroEvent {
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
    /// Its part of the work of this phase is done.
    PhaseDone(Phase),
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
    },
    /// All that was measured; sent when the worker has drained.
    Drained(Box<MicroTotals>),
    /// Sums of the counters of its keys.
    Verified {
        /// The sum on each shard.
        sums: Vec<i64>,
        /// Keys that were not there.
        missing: u64,
    },
}
