//! What a simulated run came to.

use hdrhistogram::Histogram;
use serde_json::{Map, Value};
use std::time::Duration;

/// The result of a simulated run. Times are virtual, and histograms in nanoseconds.
///
/// In a closed loop the measured transactions are those that ended in the measured part, in an open
/// loop those that were meant to start in it.
#[derive(Debug, Clone, PartialEq)]
pub struct SimBenchReport {
    /// Seed of everything random.
    pub seed: u64,
    /// Length of the measured part; in an open loop up to its last commit, if that came later.
    pub duration: Duration,
    /// Length of the warm-up.
    pub warmup: Duration,
    /// Virtual time in all, from the first probe to the last reply.
    pub virtual_time: Duration,
    /// What was simulated, one step at a time.
    pub events: u64,
    /// A hash of all frames and when they arrived: equal runs have equal traces.
    pub trace: u64,
    /// Transactions taken by coordinators in the whole run.
    pub submitted: u64,
    /// Of the measured transactions: how many committed.
    pub committed: u64,
    /// Were undone.
    pub aborted: u64,
    /// Were turned away.
    pub refused: u64,
    /// Transactions of the whole run whose outcome was not learnt in time.
    pub unknown: u64,
    /// Measured transactions on several shards that committed.
    pub stamped: u64,
    /// Those of them that came to some shard after their time.
    pub late: u64,
    /// Times a shard answered that it was busy, in the whole run.
    pub busy: u64,
    /// Pieces that were sent again in the whole run.
    pub retries: u64,
    /// Transactions of an open loop that were meant to start and were never sent.
    pub unsent: u64,
    /// Committed transactions a second.
    pub throughput_tps: f64,
    /// From sending to the outcome.
    pub latency: Histogram<u64>,
    /// From the intended start to the outcome; open loop only.
    pub response: Option<Histogram<u64>>,
    /// From the intended start to sending; open loop only.
    pub lag: Option<Histogram<u64>>,
    /// From arrival to release, at the shard where that took longest.
    pub hold: Histogram<u64>,
    /// From admission to agreement, at the shard where that took longest.
    pub agreement: Histogram<u64>,
    /// Of those that were late, by how much at the shard where they were latest.
    pub lateness: Histogram<u64>,
    /// What the measured transactions take at least on this network, on average: the mean of
    /// [`protocol_bound`](super::protocol_bound), with the time on the wire. None committed: none.
    pub bound_mean_ns: Option<f64>,
    /// Frames that were sent in the whole run.
    pub frames_sent: u64,
    /// Messages in them.
    pub messages_sent: u64,
    /// What each shard did in the measured part.
    pub per_shard: Vec<SimShardFigures>,
    /// The part of the measured time in which the core of a coordinator worker was at work: of all
    /// on average.
    pub coordinator_busy_mean: f64,
    /// Of the one that was most at work.
    pub coordinator_busy_max: f64,
    /// Whether the stores hold what was acknowledged: `ok`, or what differs.
    pub self_check: String,
    /// The kinds of transactions, where there are several.
    pub kinds: Vec<SimKindFigures>,
    /// What only this workload has to say, about the whole run.
    pub figures: Map<String, Value>,
    /// What makes the figures worth less, a sentence each.
    pub warnings: Vec<String>,
}

/// The transactions of one kind in the measured part.
#[derive(Debug, Clone, PartialEq)]
pub struct SimKindFigures {
    /// Its name.
    pub name: &'static str,
    /// Those that committed.
    pub committed: u64,
    /// Those that were undone for a reason of their own.
    pub aborted: u64,
    /// From sending to the outcome; in an open loop from the intended start.
    pub latency: Histogram<u64>,
}

impl SimBenchReport {
    /// Share of the stamped transactions that were in time on all of their shards.
    #[must_use]
    pub fn on_time_ratio(&self) -> Option<f64> {
        (self.stamped > 0).then(|| 1.0 - self.late as f64 / self.stamped as f64)
    }

    /// Share of the committed transactions that touched several shards.
    #[must_use]
    pub fn cross_share(&self) -> Option<f64> {
        (self.committed > 0).then(|| self.stamped as f64 / self.committed as f64)
    }

    /// Messages in a frame on average.
    #[must_use]
    pub fn messages_per_frame(&self) -> Option<f64> {
        (self.frames_sent > 0).then(|| self.messages_sent as f64 / self.frames_sent as f64)
    }

    /// How many times as long as it must a transaction took on average.
    #[must_use]
    pub fn latency_over_bound(&self) -> Option<f64> {
        let bound = self.bound_mean_ns.filter(|bound| *bound > 0.0)?;
        Some(self.latency.mean() / bound)
    }
}

/// What one shard did while measuring.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SimShardFigures {
    /// Which one.
    pub shard: u16,
    /// Transactions, and pieces of some, that committed there.
    pub committed: u64,
    /// Operations that it ran.
    pub ops: u64,
    /// Stamped pieces that it admitted.
    pub stamped: u64,
    /// Those of them that came after their time.
    pub late: u64,
    /// Entries that it held at the end of the measured part.
    pub held: u64,
    /// The part of the measured time in which its core was at work; of all shards on that core
    /// together.
    pub busy: f64,
}
