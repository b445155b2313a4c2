//! What a shard or a task queue writes down so that a crash takes nothing from it that anybody
//! relies on.
//!
//! The journal of a shard is a sequence of [`Record`]s, each at a *log sequence number*
//! ([`Lsn`]): its position in bytes. The shard appends, in memory; whoever hosts it seals what was
//! appended into [blocks](seal_block), writes those into segments, and tells the shard how far they
//! are durable. The rule that makes it right is that of output commit (Strom and Yemini, ACM TOCS
//! 1985): a reply or a message to a peer leaves only when everything that was in the log when it
//! was made is durable. A crash is then a pause in which messages were lost, and the protocol takes
//! both in its stride.
//!
//! Records say what was asked, not what came of it: pieces are deterministic, so running them again
//! in the order of the log gives the same store and the same outcomes.
//!
//! A queue of tasks has one just like that, with records of its own ([`Record::Task`]): who writes
//! a journal, and who reads it, knows no more of its holder than [`Logged`] and [`Replica`] say.
//!
//! Nothing here does I/O. The layout of files is described in `docs/durability.md`.

mod block;
mod record;
mod replica;
mod scan;
mod segment;
#[cfg(test)]
mod tests;

pub use block::{BLOCK_ALIGN, BLOCK_HEAD_BYTES, BlockHead, block_bytes, seal_block, split_records};
pub use record::{RECORD_HEAD_BYTES, Record, RecordError, RecordParties, RecordParty};
pub(crate) use record::{write_single, write_task, write_with_parties};
pub use replica::{LogOwner, Logged, ReplayTally, Replica};
pub use scan::{Damage, SegmentScan, Tail};
pub use segment::{Holder, SEGMENT_HEAD_BYTES, SegmentError, SegmentHead, SegmentKind};

use std::fmt;

/// A position in a log: how many bytes of records were appended before it since the journal was
/// made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The beginning of the log.
    pub const ZERO: Self = Self(0);

    /// The position so many bytes later.
    #[must_use]
    pub fn plus(self, bytes: usize) -> Self {
        Self(self.0 + bytes as u64)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// When an answer may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// At once: nothing is written down, and everything is gone with the process.
    #[default]
    Memory,
    /// When what it depends on is durable.
    Journal,
    /// At once, as long as what it depends on is durable soon after; messages to other shards wait
    /// all the same. A crash may take back the latest transactions on this shard alone.
    JournalAsync {
        /// While anything in the log is older than this and not durable, answers wait.
        within: std::time::Duration,
    },
}

impl Durability {
    /// Whether there is a journal.
    #[must_use]
    pub fn is_on(self) -> bool {
        self != Self::Memory
    }
}
