//! Looking at a journal without using it: whether all of it can be read, and what it says.
//!
//! Nothing is written, and a journal that is in use is read all the same: then the end of its log
//! may look like anything, because it is being written, and is not judged.

mod dump;
mod record;
#[cfg(test)]
mod tests;

pub use dump::{DumpLine, dump};

use super::dir::{LogFile, is_journal, lock_to_read, log_files, read_head, snapshot_files};
use super::error::JournalError;
use super::recover::{Chain, End, Heads, Leftover, Link, TornTail, judge};
use super::snapshot::SnapshotFile;
use punctual_core::journal::{Damage, Holder, Lsn, Record, SegmentError, SegmentHead, SegmentKind};
use punctual_core::{SessionId, ShardId};
use punctual_wire::Limits;
use record::kind_name;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// What a look at one or more journals found.
#[derive(Debug)]
pub struct CheckReport {
    /// The journals; of a single file, one that has no other.
    pub journals: Vec<JournalCheck>,
}

/// What a look at the journal of one shard found.
#[derive(Debug)]
pub struct JournalCheck {
    /// Its directory, or the single file.
    pub path: PathBuf,
    /// Another process is using it, so that what was found may be out of date.
    pub is_in_use: bool,
    /// Its files: snapshots, then the log.
    pub files: Vec<FileCheck>,
    /// Where the log ends, if it can be read to its end.
    pub end: Option<Lsn>,
    /// What is wrong between the files.
    pub problems: Vec<JournalError>,
}

/// What a file of a journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileRole {
    /// A snapshot.
    Snapshot,
    /// A part of the log.
    Log,
    /// A part of the log that a snapshot stands for: it is not needed any more.
    Past,
    /// Not used yet.
    Spare,
    /// Something that a crash left behind and the next start will remove.
    Leftover,
}

/// What a look at one file found.
#[derive(Debug)]
pub struct FileCheck {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// What it is.
    pub role: FileRole,
    /// Whose it is and where it begins, if it says so.
    pub head: Option<SegmentHead>,
    /// Where its records end, as far as they were read.
    pub end: Option<Lsn>,
    /// How many records of which kind it has.
    pub records: BTreeMap<&'static str, u64>,
    /// What the next start would cut.
    pub torn: Option<TornTail>,
    /// What is wrong with it.
    pub damage: Option<JournalError>,
}

/// Looks at the journal of a shard, at all that are in a directory, or at a single file.
///
/// # Errors
/// When there is none, or it cannot be read at all. What is wrong inside is in the report.
pub fn check(path: &Path) -> Result<CheckReport, JournalError> {
    let journals = match journals_at(path)? {
        None => vec![check_file(path)?],
        Some(dirs) => dirs.iter().map(|dir| check_dir(dir)).collect::<Result<_, _>>()?,
    };
    Ok(CheckReport { journals })
}

impl CheckReport {
    /// Whether nothing is wrong. A torn tail is not wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.journals.iter().all(|journal| journal.errors().next().is_none())
    }
}

impl JournalCheck {
    /// All that is wrong.
    pub fn errors(&self) -> impl Iterator<Item = &JournalError> {
        self.files.iter().filter_map(|file| file.damage.as_ref()).chain(&self.problems)
    }

    /// Takes back what is said of files that were written, or removed, while they were read.
    fn excuse(&mut self) {
        let last = self.files.iter().rposition(|file| file.role == FileRole::Log);
        for (index, file) in self.files.iter_mut().enumerate() {
            let is_written = Some(index) == last || file.role == FileRole::Leftover;
            if is_written || file.damage.as_ref().is_some_and(is_gone) {
                file.damage = None;
            }
        }
        self.problems.retain(|error| !is_gone(error));
    }

    /// Takes a look at the files that are called like those of the log.
    fn add_log(&mut self, chain: &Chain, base: Lsn, generation: u32) {
        let after = |index: usize| chain.used.get(index).map(|link| link.head);
        for (index, link) in chain.past.iter().enumerate() {
            let next = chain.past.get(index + 1).map(|link| link.head).or(after(0));
            let mut file = FileCheck::new(&link.path, link.bytes, FileRole::Past);
            (file.head, file.end) = (Some(link.head), next.map(|next| next.start));
            self.files.push(file);
        }
        let mut end = Some(base);
        for (index, link) in chain.used.iter().enumerate() {
            let next = after(index + 1);
            let (file, read) = FileCheck::of_link(link, next.as_ref());
            self.files.push(file);
            end = end.and(read.as_ref().map(|read| read.lsn.max(base)));
            if let (Some(next), Some(read)) = (next, read)
                && read.lsn != next.start
            {
                self.problems.push(chain.gap(index, &read, next.start));
                end = None;
            }
        }
        self.end = end;
        let first = self.files.iter().rev().find_map(|file| file.head).unwrap_or(NO_HEAD);
        let start = end.or(chain.used.last().map(|link| link.head.start)).unwrap_or(base);
        let next = SegmentHead { kind: SegmentKind::Log, generation, start, ..first };
        let aside = chain.aside.iter();
        let aside = aside.map(|file| FileCheck::new(&file.path, file.bytes, FileRole::Leftover));
        self.files.extend(aside);
        let first = chain.first_behind();
        for file in &chain.behind {
            let is_first = first == Some(file.number);
            self.files.push(FileCheck::of_leftover(file, &next, is_first, end.is_some()));
        }
    }
}

/// Stands for what there is nothing to be read from.
const NO_HEAD: SegmentHead = SegmentHead {
    kind: SegmentKind::Log,
    holder: Holder::Shard,
    shard: ShardId(0),
    shards: 1,
    session: SessionId(0),
    generation: 1,
    start: Lsn::ZERO,
    limits: Limits::DEFAULT,
};

impl FileCheck {
    fn new(path: &Path, bytes: u64, role: FileRole) -> Self {
        let (head, end, torn, damage) = (None, None, None, None);
        let (path, records) = (path.to_owned(), BTreeMap::new());
        Self { path, bytes, role, head, end, records, torn, damage }
    }

    fn count(&mut self, record: &Record<'_>) -> ControlFlow<()> {
        *self.records.entry(kind_name(record)).or_default() += 1;
        ControlFlow::Continue(())
    }

    /// Reads a file of the log, up to where the next one begins.
    fn of_link(link: &Link, next: Option<&SegmentHead>) -> (Self, Option<End>) {
        let mut file = Self::new(&link.path, link.bytes, FileRole::Log);
        file.head = Some(link.head);
        let mut last = link.head.start;
        let read = link.read(next, |place, record| {
            last = place.lsn;
            Ok(file.count(record))
        });
        match read {
            Ok(end) => {
                (file.end, file.torn) = (Some(end.lsn), end.torn.clone());
                (file, Some(end))
            }
            Err(error) => {
                (file.end, file.damage) = (Some(last), Some(error));
                (file, None)
            }
        }
    }

    /// Reads a snapshot, which should stand for the log up to `lsn` if its name says so.
    fn of_snapshot(path: &Path, lsn: Option<Lsn>) -> Self {
        let bytes = fs::metadata(path).map_or(0, |file| file.len());
        let mut file = Self::new(path, bytes, FileRole::Snapshot);
        let mut is_whole = false;
        let read = SnapshotFile::open(path).and_then(|snapshot| {
            file.head = Some(snapshot.head);
            snapshot.read(|_, record| {
                is_whole = matches!(record, Record::End { .. });
                Ok(file.count(record))
            })
        });
        let start = file.head.map(|head| head.start);
        let why = match &read {
            Ok(_) if !is_whole => "its end is missing",
            Ok(_) if lsn.is_some() && lsn != start => "its name says another position",
            _ => "",
        };
        file.end = read.as_ref().ok().copied();
        file.damage = read.err();
        if !why.is_empty() {
            let (lsn, why) = (file.end.unwrap_or_default(), why.to_owned());
            file.damage = Some(JournalError::damage(path, Damage { offset: 0, lsn, why }));
        }
        file
    }

    /// A file that is no part of the log. Where the log could not be read to its end, nothing says
    /// whether this is a part that is missing.
    fn of_leftover(
        leftover: &LogFile,
        next: &SegmentHead,
        is_first: bool,
        is_log_read: bool,
    ) -> Self {
        let mut file = Self::new(&leftover.path, leftover.bytes, FileRole::Leftover);
        file.head = leftover.head.as_ref().ok().copied();
        match judge(leftover, next, leftover.bytes, is_first) {
            Ok(Leftover::Spare) => file.role = FileRole::Spare,
            Ok(Leftover::Useless(torn)) => file.torn = torn,
            Err(error) if is_log_read => file.damage = Some(error),
            Err(_) => {}
        }
        file
    }
}

/// Whether a file was not there.
fn is_gone(error: &JournalError) -> bool {
    matches!(error, JournalError::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

/// The directories of the journals at a path; nothing if it is a file.
fn journals_at(path: &Path) -> Result<Option<Vec<PathBuf>>, JournalError> {
    let not_there = || JournalError::NotThere { path: path.to_owned() };
    let failed = |error| JournalError::io(path, "read", error);
    if path.is_file() {
        return Ok(None);
    }
    if !path.is_dir() {
        return Err(not_there());
    }
    if is_journal(path)? {
        return Ok(Some(vec![path.to_owned()]));
    }
    let mut dirs = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let dir = entry.map_err(failed)?.path();
        let shard = dir.file_name().and_then(|name| name.to_str()?.strip_prefix("shard-"));
        let shard = shard.and_then(|shard| shard.parse::<u16>().ok());
        if let Some(shard) = shard
            && dir.is_dir()
            && is_journal(&dir)?
        {
            dirs.push((shard, dir));
        }
    }
    if dirs.is_empty() {
        return Err(not_there());
    }
    dirs.sort();
    Ok(Some(dirs.into_iter().map(|(_, dir)| dir).collect()))
}

fn check_dir(dir: &Path) -> Result<JournalCheck, JournalError> {
    // Held to the end, if it could be had.
    let lock = lock_to_read(dir)?;
    let mut check = look_at(dir, lock.is_none())?;
    if check.is_in_use && check.errors().next().is_some() {
        // What was listed may have been retired before it was read.
        check = look_at(dir, true)?;
        check.excuse();
    }
    Ok(check)
}

fn look_at(dir: &Path, is_in_use: bool) -> Result<JournalCheck, JournalError> {
    let (files, snapshots) = (log_files(dir)?, snapshot_files(dir)?);
    let mut check = JournalCheck {
        path: dir.to_owned(),
        is_in_use,
        files: Vec::new(),
        end: None,
        problems: Vec::new(),
    };
    check.problems.extend(Heads::read(&files, &snapshots, None).err());
    let read = snapshots.iter().map(|(lsn, path)| FileCheck::of_snapshot(path, Some(*lsn)));
    check.files.extend(read);
    let heads = files.iter().filter_map(|file| file.head.as_ref().ok());
    let heads = heads.chain(check.files.iter().filter_map(|file| file.head.as_ref()));
    let generation = heads.map(|head| head.generation).max().unwrap_or(0) + 1;
    let newest = snapshots.last().map_or(Lsn::ZERO, |(lsn, _)| *lsn);
    let whole = snapshots.iter().zip(&check.files).rev().find(|(_, file)| file.damage.is_none());
    let base = whole.map_or(Lsn::ZERO, |((lsn, _), _)| *lsn);
    let snapshot = whole.map(|((_, path), _)| path);
    match Chain::new(dir, files.clone(), base, newest) {
        Ok(chain) => {
            let joined = snapshot.map_or(Ok(()), |path| chain.check_joined(base, path));
            check.problems.extend(joined.err());
            check.add_log(&chain, base, generation);
        }
        Err(error) => {
            check.problems.push(error);
            check.files.extend(files.iter().map(single_log_file));
        }
    }
    Ok(check)
}

/// A file of the log as far as it can be read without the others.
fn single_log_file(file: &LogFile) -> FileCheck {
    match &file.head {
        Ok(head) => {
            let LogFile { number, bytes, .. } = *file;
            let link = Link { number, path: file.path.clone(), bytes, head: *head };
            FileCheck::of_link(&link, None).0
        }
        Err(SegmentError::Blank) => FileCheck::new(&file.path, file.bytes, FileRole::Spare),
        Err(error) => {
            let mut check = FileCheck::new(&file.path, file.bytes, FileRole::Log);
            let damage = Damage { offset: 0, lsn: Lsn::ZERO, why: error.to_string() };
            check.damage = Some(JournalError::damage(&file.path, damage));
            check
        }
    }
}

fn check_file(path: &Path) -> Result<JournalCheck, JournalError> {
    let read = read_head(path);
    let (bytes, head) = read.map_err(|error| JournalError::io(path, "read", error))?;
    let file = match head {
        Ok(SegmentHead { kind: SegmentKind::Snapshot, .. }) => FileCheck::of_snapshot(path, None),
        Err(SegmentError::Foreign) => {
            return Err(JournalError::NotThere { path: path.to_owned() });
        }
        head => single_log_file(&LogFile { number: 0, path: path.to_owned(), bytes, head }),
    };
    let (is_in_use, end, problems) = (false, file.end, Vec::new());
    Ok(JournalCheck { path: path.to_owned(), is_in_use, files: vec![file], end, problems })
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for journal in &self.journals {
            writeln!(f, "{journal}")?;
        }
        write!(f, "{}", if self.is_sound() { "nothing is wrong" } else { "something is wrong" })
    }
}

impl fmt::Display for JournalCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if self.is_in_use {
            write!(f, " (in use by another process: the end of its log is not judged)")?;
        }
        for file in &self.files {
            write!(f, "\n  {file}")?;
        }
        for error in self.errors() {
            write!(f, "\n  error: {error}")?;
        }
        self.end.map_or(Ok(()), |end| write!(f, "\n  the log ends at {end}"))
    }
}

impl fmt::Display for FileCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            FileRole::Snapshot => "snapshot",
            FileRole::Log => "log",
            FileRole::Past => "log, in the snapshot",
            FileRole::Spare => "spare",
            FileRole::Leftover => "left over, not used",
        };
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        write!(f, "{name}: {role}, {} bytes", self.bytes)?;
        if let Some(SegmentHead { holder, shard, shards, generation, start, .. }) = self.head {
            if holder != Holder::Shard {
                write!(f, ", {holder}")?;
            }
            write!(f, ", {shard} of {shards}, generation {generation}, from {start}")?;
        }
        if let Some(end) = self.end {
            write!(f, " to {end}")?;
        }
        if self.damage.is_some() {
            write!(f, ", DAMAGED")?;
        }
        for (index, (kind, count)) in self.records.iter().enumerate() {
            write!(f, "{} {count} {kind}", if index == 0 { ":" } else { "," })?;
        }
        self.torn.as_ref().map_or(Ok(()), |torn| write!(f, "; {torn}"))
    }
}
