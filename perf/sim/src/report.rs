//! What a run came to.

use crate::tuning::QUOTAS;
use crate::violation::{Violation, ViolationKind};
use punctual_core::{CoordinatorStats, Nanos, ShardStats};
use std::ops::AddAssign;

/// What happened how often, in one run or in many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SimCounts {
    /// Transactions submitted.
    pub submitted: u64,
    /// Transactions that committed.
    pub committed: u64,
    /// Transactions that their procedures aborted.
    pub aborted: u64,
    /// Transactions that were refused.
    pub refused: u64,
    /// Transactions that ended without anybody knowing whether they ran, those of crashed
    /// coordinators among them.
    pub unknown: u64,
    /// Transactions on several shards.
    pub stamped: u64,
    /// Of these the committed ones that came late to a shard.
    pub late: u64,
    /// Pieces sent again.
    pub retries: u64,
    /// Pieces answered as busy.
    pub busy: u64,
    /// Retries answered from outcome tables.
    pub repeated: u64,
    /// Pieces that waited for a conflicting one.
    pub blocked: u64,
    /// Proposals asked for again.
    pub asked: u64,
    /// Transactions refused because their dispatch did not come.
    pub refused_by_timeout: u64,
    /// Transactions refused because a shard lost its memory.
    pub peer_lost: u64,
    /// Messages that told a shard that a proposal is lost.
    pub losses: u64,
    /// Those of them that knew of several dead.
    pub losses_of_several: u64,
    /// Messages that passed on a proposal of the dead.
    pub relays: u64,
    /// Messages that told a shard that a run of a peer is over.
    pub gone: u64,
    /// Messages that asked whether something is decided.
    pub questions: u64,
    /// Messages that said so.
    pub decisions: u64,
    /// Times that a coordinator came back to the session that it had.
    pub sessions_resumed: u64,
    /// Sessions that were forgotten to make room for others.
    pub sessions_evicted: u64,
    /// Busy answers of shards that share one, two or four transactions with a peer at most.
    pub busy_at_quota: [u64; 3],
    /// Crashes of shards.
    pub shard_crashes: u64,
    /// Starts of shards that went on from a journal.
    pub recoveries: u64,
    /// Those of them that began with a snapshot.
    pub recoveries_from_snapshots: u64,
    /// Those of them that found transactions undecided.
    pub recoveries_undecided: u64,
    /// Crashes in the middle of a recovery.
    pub recovery_crashes: u64,
    /// Records that were done again, those of snapshots among them.
    pub records_replayed: u64,
    /// Recoveries that cut a torn tail off.
    pub torn_tails: u64,
    /// Snapshots made.
    pub snapshots: u64,
    /// Writes to disks.
    pub disk_writes: u64,
    /// Those of them that a crash made lost or torn.
    pub writes_harmed: u64,
    /// Transactions refused because a journal had no room.
    pub journal_full: u64,
    /// Crashes of coordinators.
    pub coordinator_crashes: u64,
    /// Frames sent.
    pub frames: u64,
    /// Frames lost, repeated, overtaken or much delayed.
    pub frames_harmed: u64,
    /// Executions whose time is unknown, since nobody was told: their keys are checked less.
    pub unplaced: u64,
    /// Events simulated.
    pub events: u64,
}

impl SimCounts {
    pub(crate) fn add_coordinator(&mut self, stats: &CoordinatorStats) {
        self.submitted += stats.submitted;
        self.stamped += stats.stamped;
        self.late += stats.late;
        self.retries += stats.retries;
        self.busy += stats.busy;
    }

    pub(crate) fn add_shard(&mut self, stats: &ShardStats, quota: u32) {
        if let Some(at) = QUOTAS.iter().position(|tight| *tight == quota) {
            self.busy_at_quota[at] += stats.busy;
        }
        self.repeated += stats.repeated;
        self.blocked += stats.blocked;
        self.asked += stats.asked;
        self.refused_by_timeout += stats.refused_by_timeout;
        self.peer_lost += stats.peer_lost;
    }
}

impl AddAssign<&Self> for SimCounts {
    fn add_assign(&mut self, other: &Self) {
        self.submitted += other.submitted;
        self.committed += other.committed;
        self.aborted += other.aborted;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.stamped += other.stamped;
        self.late += other.late;
        self.retries += other.retries;
        self.busy += other.busy;
        self.repeated += other.repeated;
        self.blocked += other.blocked;
        self.asked += other.asked;
        self.refused_by_timeout += other.refused_by_timeout;
        self.peer_lost += other.peer_lost;
        self.losses += other.losses;
        self.losses_of_several += other.losses_of_several;
        self.relays += other.relays;
        self.gone += other.gone;
        self.questions += other.questions;
        self.decisions += other.decisions;
        self.sessions_resumed += other.sessions_resumed;
        self.sessions_evicted += other.sessions_evicted;
        for (sum, more) in self.busy_at_quota.iter_mut().zip(other.busy_at_quota) {
            *sum += more;
        }
        self.shard_crashes += other.shard_crashes;
        self.recoveries += other.recoveries;
        self.recoveries_from_snapshots += other.recoveries_from_snapshots;
        self.recoveries_undecided += other.recoveries_undecided;
        self.recovery_crashes += other.recovery_crashes;
        self.records_replayed += other.records_replayed;
        self.torn_tails += other.torn_tails;
        self.snapshots += other.snapshots;
        self.disk_writes += other.disk_writes;
        self.writes_harmed += other.writes_harmed;
        self.journal_full += other.journal_full;
        self.coordinator_crashes += other.coordinator_crashes;
        self.frames += other.frames;
        self.frames_harmed += other.frames_harmed;
        self.unplaced += other.unplaced;
        self.events += other.events;
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SimReport {
    /// The seed of the run.
    pub seed: u64,
    /// The first promises that were broken; none in a run that is as it should be.
    pub violations: Vec<Violation>,
    /// All of them.
    pub violation_count: u64,
    /// What happened how often.
    pub counts: SimCounts,
    /// How long it took, in the time of the simulation.
    pub virtual_time: Nanos,
    /// A hash of all events in their order: equal runs have equal ones.
    pub trace: u64,
}

impl SimReport {
    /// Whether nothing was broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violation_count == 0
    }

    /// The report of a run that stopped at an assertion.
    pub(crate) fn panicked(seed: u64, message: String) -> Self {
        let kind = ViolationKind::Panic;
        let violation = Violation { kind, text: message, transactions: Vec::new() };
        Self { seed, violations: vec![violation], violation_count: 1, ..Self::default() }
    }
}
