//! Going on from what a journal holds.
//!
//! The newest snapshot is read, then the log from the position up to which it stands. Only the last
//! file of the log may end in blocks that did not all arrive: they are cut, which means that the
//! log goes on in a new file that begins where the readable part ends. Nothing is written to the
//! old one, and a later recovery reads it up to there and no further. So this can be done again and
//! again, whenever it is interrupted.
//!
//! Nothing that was durable is dropped in silence. Each block says how far the log was durable when
//! it was written, and each file begins where everything before it was; whatever file is left over
//! is looked through for a block that knows of more than was found.

mod chain;
#[cfg(test)]
pub(super) mod fixture;
mod leftover;
#[cfg(test)]
mod tests;

pub(super) use chain::{Chain, End, Link, Place};
pub(super) use leftover::{Leftover, judge};

use super::JournalPlan;
use super::dir::{JournalDir, LogFile, Owner, log_files};
use super::error::JournalError;
use super::snapshot::{Base, SnapshotFile};
use punctual_core::journal::{
    Holder, LogOwner, Lsn, Replica, SegmentError, SegmentHead, SegmentKind,
};
use punctual_core::{SessionId, ShardId};
use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The end of a file that did not arrive whole before a crash, and was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub file: PathBuf,
    /// Where in the file it begins.
    pub offset: u64,
    /// How many bytes were being written, as far as can be told.
    pub bytes: u64,
    /// Why the first of them does not count.
    pub why: String,
}

impl fmt::Display for TornTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, bytes, why } = self;
        write!(f, "torn tail of {} at byte {offset}, {bytes} bytes: {why}", file.display())
    }
}

/// What recovery found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryReport {
    /// What the journal is of.
    pub holder: Holder,
    /// The shard.
    pub shard: ShardId,
    /// Its directory.
    pub dir: PathBuf,
    /// There was no journal, and one begins.
    pub is_new: bool,
    /// The snapshot it started with, if any, by how much of the log that stands for.
    pub snapshot: Option<Lsn>,
    /// Files of the log that were read.
    pub segments: usize,
    /// Bytes of the snapshot, and of the records behind it.
    pub bytes: u64,
    /// Records that were done again, those of the snapshot included.
    pub records: u64,
    /// Transactions in the log that were run again; of a task queue, runs that ended.
    pub transactions: u64,
    /// Keys in the store at the end; of a task queue, tasks.
    pub keys: u64,
    /// Transactions that are not decided, or not run; of a task queue, tasks that are leased.
    pub undecided: usize,
    /// What was cut. Nothing had been promised that depends on it.
    pub torn: Option<TornTail>,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.shard)?;
        if self.is_new {
            write!(f, "new journal in {}", self.dir.display())?;
        } else {
            let Self { segments, records, transactions, keys, undecided, .. } = self;
            let (done, open) = match self.holder {
                Holder::Shard => ("transactions", "undecided"),
                Holder::Tasks => ("runs", "leased"),
            };
            write!(f, "recovered from {} in {:.1?}: ", self.dir.display(), self.took)?;
            if let Some(snapshot) = self.snapshot {
                write!(f, "snapshot {snapshot}, ")?;
            }
            write!(
                f,
                "{segments} segments, {} bytes, {records} records, {transactions} {done}; {keys} \
                 {}, {undecided} {open}",
                self.bytes,
                self.holder.kept()
            )?;
        }
        self.torn.as_ref().map_or(Ok(()), |torn| write!(f, "; cut the {torn}"))
    }
}

/// A journal that can be gone on with.
#[derive(Debug)]
pub(crate) struct Recovered<R> {
    pub(crate) replay: R,
    pub(crate) dir: JournalDir,
    /// Of the segment to be written next.
    pub(crate) head: SegmentHead,
    /// Of its file. If there is one, it is a spare of the right size.
    pub(crate) number: u64,
    pub(crate) report: RecoveryReport,
}

/// Reads the journal of a shard, or begins one. The session of `setup` is that of a new journal;
/// an old one has its own, and goes on with it.
pub(crate) fn recover<R: Replica>(
    plan: &JournalPlan,
    setup: &R::Setup,
) -> Result<Recovered<R>, JournalError> {
    let began = Instant::now();
    let dir = JournalDir::open(&plan.dir)?;
    // What is promised from now on rests on what is read.
    dir.settle()?;
    let (files, snapshots) = (log_files(dir.path())?, dir.snapshots()?);
    let owner = R::owner(setup);
    let heads = Heads::read(&files, &snapshots, Some(&Owner::of(&owner)))?;
    let owner = LogOwner { session: heads.session.unwrap_or(owner.session), ..owner };
    let setup = R::with_session(setup.clone(), owner.session);
    let newest = snapshots.last().map_or(Lsn::ZERO, |(lsn, _)| *lsn);

    let mut base = Base::<R>::load(&snapshots, &setup, &|| false)?;
    let log = Log::replay(dir.path(), files, &mut base, newest);
    // Without the newest snapshot parts of the log may be missing: then it is the one to mend.
    let Log { chain, end, torn } = match (log, base.skipped) {
        (Ok(log), None) => log,
        (Ok(log), Some(_)) if log.end >= newest => log,
        (_, Some(skipped)) => return Err(skipped),
        (Err(error), None) => return Err(error),
    };

    let head = owner.head(SegmentKind::Log, heads.generation + 1, end);
    let first_spare = chain.behind.first().map_or(1, |file| file.number);
    let number = chain.used.last().map_or(first_spare, |link| link.number + 1);
    let begun = clean(&dir, &chain, &head, plan.segment_bytes)?;

    let replay = base.replay;
    let tally = replay.tally();
    let report = RecoveryReport {
        holder: owner.holder,
        shard: owner.shard,
        dir: plan.dir.clone(),
        is_new: heads.session.is_none(),
        snapshot: base.path.map(|_| base.lsn),
        segments: chain.used.len(),
        bytes: base.bytes + (end.0 - base.lsn.0),
        records: tally.records,
        transactions: tally.done,
        keys: tally.kept,
        undecided: tally.open,
        torn: torn.or(begun),
        took: began.elapsed(),
    };
    Ok(Recovered { replay, dir, head, number, report })
}

/// The log, read and done again.
struct Log {
    chain: Chain,
    end: Lsn,
    torn: Option<TornTail>,
}

impl Log {
    /// Does the log of `dir` again behind a snapshot.
    fn replay<R: Replica>(
        dir: &Path,
        files: Vec<LogFile>,
        base: &mut Base<R>,
        newest: Lsn,
    ) -> Result<Self, JournalError> {
        let chain = Chain::new(dir, files, base.lsn, newest)?;
        if let Some(snapshot) = &base.path {
            chain.check_joined(base.lsn, snapshot)?;
        }
        let replay = &mut base.replay;
        let end = chain.read(base.lsn, None, |place, record| {
            let done = replay.apply(record);
            done.map_err(|source| place.not_replayed(source))?;
            Ok(ControlFlow::Continue(()))
        })?;
        // The log in front of the snapshot may be shorter: that part of it is not needed.
        let torn = end.torn.filter(|_| end.lsn >= base.lsn);
        Ok(Self { chain, end: end.lsn.max(base.lsn), torn })
    }
}

/// Removes the files that are neither a part of the log nor ready to become one, now that all that
/// they could tell is known. Says if one of them was just being begun.
fn clean(
    dir: &JournalDir,
    chain: &Chain,
    next: &SegmentHead,
    segment_bytes: u64,
) -> Result<Option<TornTail>, JournalError> {
    let mut useless: Vec<&LogFile> = chain.aside.iter().collect();
    let (mut begun, first) = (None, chain.first_behind());
    for file in &chain.behind {
        let is_first = first == Some(file.number);
        if let Leftover::Useless(torn) = judge(file, next, segment_bytes, is_first)? {
            useless.push(file);
            begun = begun.or(torn);
        }
    }
    for file in useless {
        dir.remove(&file.path)?;
    }
    dir.remove_unfinished()?;
    Ok(begun)
}

/// What the heads of all files say together.
pub(super) struct Heads {
    /// Whose journal it is; nothing if there is no journal.
    pub(super) session: Option<SessionId>,
    /// The latest generation.
    pub(super) generation: u32,
}

impl Heads {
    /// Reads and compares them. Where nobody says whose they should be, the first one does.
    pub(super) fn read(
        files: &[LogFile],
        snapshots: &[(Lsn, PathBuf)],
        owner: Option<&Owner>,
    ) -> Result<Self, JournalError> {
        let mut heads = Self { session: None, generation: 0 };
        let mut owner = owner.copied();
        for LogFile { path, head, .. } in files {
            match head {
                Ok(head) => heads.add(path, head, SegmentKind::Log, &mut owner)?,
                // Zero is what is read where the version did not arrive before a crash.
                Err(source @ SegmentError::Version(1..)) => {
                    return Err(JournalError::Unreadable {
                        file: path.clone(),
                        source: source.clone(),
                    });
                }
                Err(_) => {}
            }
        }
        for (_, path) in snapshots {
            match SnapshotFile::open(path) {
                Ok(file) => heads.add(path, &file.head, SegmentKind::Snapshot, &mut owner)?,
                Err(JournalError::Damage { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(heads)
    }

    fn add(
        &mut self,
        path: &Path,
        head: &SegmentHead,
        kind: SegmentKind,
        owner: &mut Option<Owner>,
    ) -> Result<(), JournalError> {
        if head.kind != kind {
            let (lsn, why) = (head.start, "its name says that it is something else".to_owned());
            return Err(JournalError::Damage { file: path.to_owned(), offset: 0, lsn, why });
        }
        let SegmentHead { holder, shard, shards, limits, .. } = *head;
        let first = Owner { holder, shard, shards, limits };
        owner.get_or_insert(first).check(path, head)?;
        let expected = *self.session.get_or_insert(head.session);
        if head.session != expected {
            let (file, found) = (path.to_owned(), head.session);
            return Err(JournalError::MixedSessions { file, expected, found });
        }
        self.generation = self.generation.max(head.generation);
        Ok(())
    }
}
