//! Who has a log, and who goes on from one: all that the machinery of a journal knows of them.

use super::{Holder, Lsn, Record, SegmentHead, SegmentKind};
use crate::{ReplayError, SessionId, ShardId};
use punctual_wire::Limits;
use std::fmt;

/// Whose a journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOwner {
    /// What it is.
    pub holder: Holder,
    /// Which shard of them.
    pub shard: ShardId,
    /// How many shards there are.
    pub shards: u16,
    /// Which run of it.
    pub session: SessionId,
    /// Bounds that what its records come to depends on.
    pub limits: Limits,
}

impl LogOwner {
    /// The head of a segment of its journal.
    #[must_use]
    pub fn head(&self, kind: SegmentKind, generation: u32, start: Lsn) -> SegmentHead {
        let Self { holder, shard, shards, session, limits } = *self;
        SegmentHead { kind, holder, shard, shards, session, generation, start, limits }
    }
}

/// Something at work that appends what happens to a log in memory.
pub trait Logged {
    /// Which shard it is.
    fn id(&self) -> ShardId;

    /// How many bytes [`take_log`](Self::take_log) would give.
    fn log_len(&self) -> usize;

    /// Takes what was appended since the last time, as records without checksums, into `buffer`,
    /// which is cleared first. Returns where the first of them stands. The host seals it into
    /// blocks, writes those in this order, and calls [`on_durable`](Self::on_durable).
    fn take_log(&mut self, buffer: &mut Vec<u8>) -> Lsn;

    /// Notes that everything before `lsn` is durable: what waited for it may leave.
    fn on_durable(&mut self, lsn: Lsn);

    /// Says whether the journal is out of room. While it is, what would have to be written down is
    /// refused, as far as it can be.
    fn set_journal_full(&mut self, is_full: bool);
}

/// Something that does again what a journal says, to become what has written it, or to write a
/// snapshot of it.
pub trait Replica: Sized + 'static {
    /// What one is made with. Snapshots are made from it on another thread.
    type Setup: Clone + Send + Sync + fmt::Debug + 'static;

    /// One before the first record.
    #[must_use]
    fn new(setup: &Self::Setup) -> Self;

    /// Whose journal it goes on from. The session is that of a new one.
    #[must_use]
    fn owner(setup: &Self::Setup) -> LogOwner;

    /// The same for the run that an old journal is of.
    #[must_use]
    fn with_session(setup: Self::Setup, session: SessionId) -> Self::Setup;

    /// Does what a record says.
    ///
    /// # Errors
    /// When it does not fit what was there before; the journal cannot be gone on from then.
    fn apply(&mut self, record: &Record<'_>) -> Result<(), ReplayError>;

    /// Hands the records of a snapshot to `put`: applied to a new one in this order they make one
    /// that equals this one. The last of them, and no other, is [`Record::End`]: by that even those
    /// who do not apply them see that a snapshot is whole.
    ///
    /// # Errors
    /// What `put` fails with.
    fn snapshot<E>(&self, put: impl FnMut(&Record<'_>) -> Result<(), E>) -> Result<(), E>;

    /// Whether the last record of a snapshot was done.
    #[must_use]
    fn is_whole(&self) -> bool;

    /// What was done so far, and what there is.
    #[must_use]
    fn tally(&self) -> ReplayTally;
}

/// What a [`Replica`] has done, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayTally {
    /// Records done so far.
    pub records: u64,
    /// Transactions among them that ran, or runs of tasks that ended.
    pub done: u64,
    /// Keys or tasks that there are.
    pub kept: u64,
    /// Transactions that are not decided, or not run; of a task queue, tasks that are leased.
    pub open: usize,
}
