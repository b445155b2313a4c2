//! The records of a journal, one after the other.

use super::{journals_at, record};
use crate::journal::dir::{log_files, read_head, snapshot_files};
use crate::journal::error::JournalError;
use crate::journal::recover::{Chain, Link, Place};
use crate::journal::snapshot::SnapshotFile;
use punctual_core::journal::{Lsn, Record, SegmentKind};
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

/// A record and where it stands; printed, it is one line.
#[derive(Debug, Clone, Copy)]
pub struct DumpLine<'a> {
    /// The file.
    pub file: &'a Path,
    /// Where in the file.
    pub offset: u64,
    /// Where in the log. In a snapshot: counted from the position that it stands for.
    pub lsn: Lsn,
    /// The record.
    pub record: Record<'a>,
}

impl fmt::Display for DumpLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.file_name().unwrap_or_default().to_string_lossy();
        write!(f, "{file} {:>8} {} ", self.offset, self.lsn)?;
        record::write(f, &self.record)
    }
}

/// Hands the records of a journal to `take`: of a directory, those of the newest snapshot and of
/// the log behind it, or those of the log at and behind `from`; of a file, all that it has. No more
/// than `limit` of them.
///
/// # Errors
/// When there is no journal, at the first damage, and when `take` fails.
pub fn dump(
    path: &Path,
    from: Option<Lsn>,
    limit: Option<u64>,
    take: &mut dyn FnMut(&DumpLine<'_>) -> io::Result<()>,
) -> Result<(), JournalError> {
    let mut dump = Dump { from, left: limit.unwrap_or(u64::MAX), take };
    match journals_at(path)? {
        None => dump.file(path),
        Some(dirs) => dirs.iter().try_for_each(|dir| dump.dir(dir)),
    }
}

struct Dump<'a> {
    from: Option<Lsn>,
    left: u64,
    take: &'a mut dyn FnMut(&DumpLine<'_>) -> io::Result<()>,
}

impl Dump<'_> {
    fn dir(&mut self, dir: &Path) -> Result<(), JournalError> {
        // Not locked: who prints it may take their time, and a start must not fail for that.
        let (files, snapshots) = (log_files(dir)?, snapshot_files(dir)?);
        let newest = snapshots.last().map_or(Lsn::ZERO, |(lsn, _)| *lsn);
        let mut heads = files.iter().filter_map(|file| file.head.as_ref().ok());
        let first = heads.next().map_or(newest, |head| head.start);
        let base = self.from.map_or(newest, |from| from.max(first));
        let chain = Chain::new(dir, files, base, newest)?;
        let start = match (self.from, snapshots.last()) {
            // Records are as long as they are: `from` need not be where one begins.
            (Some(_), _) => chain.used.first().map_or(base, |link| link.head.start),
            (None, None) => base,
            (None, Some((_, path))) => {
                self.snapshot(path)?;
                base
            }
        };
        chain.read(start, None, |place, record| self.line(place, record)).map(|_| ())
    }

    fn file(&mut self, path: &Path) -> Result<(), JournalError> {
        let read = read_head(path);
        let (bytes, head) = read.map_err(|error| JournalError::io(path, "read", error))?;
        let (file, number) = (path.to_owned(), 0);
        let head = head.map_err(|source| JournalError::Unreadable { file, source })?;
        if head.kind == SegmentKind::Snapshot {
            return self.snapshot(path);
        }
        let link = Link { number, path: path.to_owned(), bytes, head };
        link.read(None, |place, record| self.line(place, record)).map(|_| ())
    }

    fn snapshot(&mut self, path: &Path) -> Result<(), JournalError> {
        let file = SnapshotFile::open(path)?;
        file.read(|place, record| self.line(place, record)).map(|_| ())
    }

    fn line(
        &mut self,
        place: Place<'_>,
        record: &Record<'_>,
    ) -> Result<ControlFlow<()>, JournalError> {
        if self.left == 0 {
            return Ok(ControlFlow::Break(()));
        }
        if self.from.is_none_or(|from| place.lsn >= from) {
            self.left -= 1;
            let Place { file, offset, lsn } = place;
            let line = DumpLine { file, offset, lsn, record: *record };
            (self.take)(&line).map_err(JournalError::Output)?;
        }
        Ok(ControlFlow::Continue(()))
    }
}
