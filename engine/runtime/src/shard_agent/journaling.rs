//! A shard's journal, as part of its turn.

use super::ShardAgent;
use crate::counters::{Counter, CounterBlock};
use crate::journal::{Journal, JournalError};
use punctual_core::journal::{Durability, Logged};
use punctual_core::{Nanos, ShardId};
use std::time::Duration;

impl ShardAgent {
    /// Gives the shard the journal that it goes on from.
    pub(crate) fn set_journal(&mut self, journal: Option<Journal>) {
        self.journal = journal;
    }

    /// Hands over what was appended to the log, and takes note of what is durable by now, so that
    /// what waits for it may leave. Returns how much was done.
    ///
    /// # Panics
    /// When the journal cannot be written. Nothing may be promised any more, and what a failed
    /// write has left on the disk is known to nobody: asking again, the system may say that all is
    /// well. So the core dies, and the engine says why; the next start sees what is there.
    #[inline]
    pub(super) fn pump(&mut self, now: Nanos) -> usize {
        let Some(journal) = &mut self.journal else { return 0 };
        // First of all: a core that slept until the writer woke it would see no wait afterwards.
        if !self.shard.is_durable() {
            self.lag_max = self.lag_max.max(self.shard.log_lag(now));
        }
        match journal.pump(&mut self.shard) {
            Ok(work) => work,
            Err(error) => fail_stop(self.shard.id(), &error),
        }
    }

    /// Whether the time decides what may be answered now: it has to go on although nothing arrives.
    #[inline]
    pub(super) fn has_early_answers(&self) -> bool {
        matches!(self.shard.durability(), Durability::JournalAsync { .. })
            && !self.shard.is_durable()
    }

    /// Whether a write is under way.
    pub(super) fn is_writing(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::is_waiting)
    }
}

/// Closes a journal, at the end: everything in the log is durable then, and it says so.
pub(crate) fn close_journal<L: Logged>(
    mut journal: Journal,
    logged: &mut L,
    lag_max: Duration,
    block: &CounterBlock,
) {
    publish_journal(&journal, lag_max, block);
    journal.hand_rest(logged);
    if let Err(error) = journal.close() {
        let shard = logged.id().0;
        tracing::error!(shard, %error, "the journal was not closed in order");
    }
}

/// Publishes what a journal has counted, and for how long anything waited for it at most.
pub(crate) fn publish_journal(journal: &Journal, lag_max: Duration, block: &CounterBlock) {
    let counts = journal.counts();
    let lag_max_ns = u64::try_from(lag_max.as_nanos()).unwrap_or(u64::MAX);
    block.set(Counter::JournalBytes, counts.bytes);
    block.set(Counter::JournalWrites, counts.writes);
    block.set(Counter::JournalSegments, counts.segments);
    block.set(Counter::JournalSnapshots, counts.snapshots);
    block.set(Counter::JournalWriteNs, counts.write_sum_ns);
    block.set(Counter::JournalWriteMaxNs, counts.write_max_ns);
    block.set(Counter::JournalFull, u64::from(counts.is_full));
    block.set(Counter::JournalLagMaxNs, lag_max_ns);
}

/// What becomes of a core whose journal cannot be written any more.
#[cold]
pub(crate) fn fail_stop(shard: ShardId, error: &JournalError) -> ! {
    tracing::error!(shard = shard.0, %error, "the journal failed: the shard stops at once");
    panic!("{error}")
}
