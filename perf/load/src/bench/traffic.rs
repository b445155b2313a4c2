//! What coordinators and shards counted between two moments.

use crate::report::ShardFigures;
use punctual_runtime::{Counter, CounterBlock, Counters};

/// Readings of the counters before the last one is taken as it is.
const READS_MAX: usize = 100;

/// What was counted up to some moment, or between two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) frames: u64,
    pub(super) messages: u64,
    pub(super) busy: u64,
    pub(super) retries: u64,
    /// Proposals of the shards of this process, and the frames that these shards sent in all.
    pub(super) proposals: u64,
    pub(super) shard_frames: u64,
    /// What the shards of this process wrote to their journals, and for how long.
    pub(super) journal_bytes: u64,
    pub(super) journal_writes: u64,
    pub(super) journal_write_ns: u64,
    /// The shards of this process.
    pub(super) shards: Vec<ShardFigures>,
}

impl Traffic {
    pub(super) fn read(counters: &Counters) -> Self {
        // Cores publish now and then while this reads. Two equal readings belong together.
        let mut last = Self::read_once(counters);
        for _ in 0..READS_MAX {
            let next = Self::read_once(counters);
            if next == last {
                break;
            }
            last = next;
        }
        last
    }

    fn read_once(counters: &Counters) -> Self {
        let sum = |counter| counters.sum("worker", counter) + counters.sum("shard", counter);
        Self {
            frames: sum(Counter::FramesSent),
            messages: sum(Counter::MessagesSent),
            busy: counters.sum("worker", Counter::Busy),
            retries: counters.sum("worker", Counter::Retries),
            proposals: counters.sum("shard", Counter::ProposalsSent),
            shard_frames: counters.sum("shard", Counter::FramesSent),
            journal_bytes: counters.sum("shard", Counter::JournalBytes),
            journal_writes: counters.sum("shard", Counter::JournalWrites),
            journal_write_ns: counters.sum("shard", Counter::JournalWriteNs),
            shards: counters.blocks().iter().filter_map(|block| figures(block)).collect(),
        }
    }

    /// What was counted since an earlier moment.
    pub(super) fn since(self, earlier: &Self) -> Self {
        let shards = self.shards.into_iter().map(|now| {
            let before = earlier.shards.iter().find(|before| before.shard == now.shard);
            before.map_or(now, |before| difference(now, before))
        });
        Self {
            frames: self.frames.saturating_sub(earlier.frames),
            messages: self.messages.saturating_sub(earlier.messages),
            busy: self.busy.saturating_sub(earlier.busy),
            retries: self.retries.saturating_sub(earlier.retries),
            proposals: self.proposals.saturating_sub(earlier.proposals),
            shard_frames: self.shard_frames.saturating_sub(earlier.shard_frames),
            journal_bytes: self.journal_bytes.saturating_sub(earlier.journal_bytes),
            journal_writes: self.journal_writes.saturating_sub(earlier.journal_writes),
            journal_write_ns: self.journal_write_ns.saturating_sub(earlier.journal_write_ns),
            shards: shards.collect(),
        }
    }
}

/// The figures of a shard since its start, if the counters are those of a shard.
fn figures(block: &CounterBlock) -> Option<ShardFigures> {
    Some(ShardFigures {
        shard: block.name().strip_prefix("shard")?.parse().ok()?,
        committed: block.get(Counter::Committed),
        ops: block.get(Counter::Ops),
        stamped: block.get(Counter::Stamped),
        late: block.get(Counter::Late),
        held: block.get(Counter::Held),
    })
}

/// What a shard did between two moments. What it holds is no difference.
fn difference(now: ShardFigures, before: &ShardFigures) -> ShardFigures {
    ShardFigures {
        shard: now.shard,
        committed: now.committed.saturating_sub(before.committed),
        ops: now.ops.saturating_sub(before.ops),
        stamped: now.stamped.saturating_sub(before.stamped),
        late: now.late.saturating_sub(before.late),
        held: now.held,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(frames: u64, shards: &[ShardFigures]) -> Traffic {
        Traffic {
            frames,
            messages: 0,
            busy: 0,
            retries: 0,
            proposals: frames * 2,
            shard_frames: 0,
            journal_bytes: frames * 4096,
            journal_writes: frames,
            journal_write_ns: 0,
            shards: shards.to_vec(),
        }
    }

    #[test]
    fn what_was_counted_since_is_a_difference_shard_by_shard_but_what_is_held_is_not() {
        let figures =
            |shard, committed, held| ShardFigures { shard, committed, held, ..Default::default() };
        let before = traffic(10, &[figures(0, 100, 7), figures(1, 200, 9)]);
        let after = traffic(15, &[figures(0, 150, 3), figures(1, 260, 4)]);
        let since = after.since(&before);
        assert_eq!((since.frames, since.proposals), (5, 10));
        assert_eq!((since.journal_bytes, since.journal_writes), (5 * 4096, 5));
        assert_eq!(since.shards, [figures(0, 50, 3), figures(1, 60, 4)]);
    }
}
