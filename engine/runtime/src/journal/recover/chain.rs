//! Which files of a directory make up the log, and reading them in order.

use super::TornTail;
use crate::journal::dir::LogFile;
use crate::journal::error::JournalError;
use crate::journal::threads::read_whole;
use punctual_core::ReplayError;
use punctual_core::journal::{
    BLOCK_ALIGN, BlockHead, Damage, Lsn, Record, SegmentHead, SegmentScan, Tail, block_bytes,
};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// A file that is a part of the log, by its number and head.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) head: SegmentHead,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) file: &'a Path,
    pub(crate) offset: u64,
    pub(crate) lsn: Lsn,
}

/// How far one file, or the whole log, was read.
#[derive(Debug)]
pub(crate) struct End {
    /// Where the log goes on.
    pub(crate) lsn: Lsn,
    /// Where in the last file: what should come there does not.
    pub(crate) offset: u64,
    pub(crate) torn: Option<TornTail>,
    /// The visitor wanted no more.
    pub(crate) is_stopped: bool,
}

/// The files of a directory in their parts.
///
/// The log is the files that have heads, in the order of their numbers, and begins with the one
/// that holds the position up to which a snapshot stands for it. Positions and generations ascend
/// from file to file. Where they do not, a file whose head was readable was given a new number by
/// someone who needed it no more: then all of it is in a snapshot.
#[derive(Debug)]
pub(crate) struct Chain {
    dir: PathBuf,
    /// Wholly in the snapshot, and not removed yet.
    pub(crate) past: Vec<Link>,
    /// The log.
    pub(crate) used: Vec<Link>,
    /// Between or before those, and without a usable head.
    pub(crate) aside: Vec<LogFile>,
    /// Behind the last one with a head: spares, or what a crash left of them.
    pub(crate) behind: Vec<LogFile>,
}

impl Chain {
    /// Sorts the files of `dir`, which are in the order of their numbers. A snapshot stands for the
    /// log up to `base`; another one that is not usable may stand for it up to `retired`.
    pub(crate) fn new(
        dir: &Path,
        files: Vec<LogFile>,
        base: Lsn,
        retired: Lsn,
    ) -> Result<Self, JournalError> {
        let mut used: Vec<Link> = Vec::new();
        let (mut aside, mut behind) = (Vec::new(), Vec::new());
        for file in files {
            let Ok(head) = file.head else {
                behind.push(file);
                continue;
            };
            let before = used.last().map(|last| (last.head.start, last.head.generation));
            let (start, generation) = (head.start, head.generation);
            if before.is_none_or(|before| start >= before.0 && generation >= before.1) {
                aside.append(&mut behind);
                let LogFile { number, path, bytes, .. } = file;
                used.push(Link { number, path, bytes, head });
            } else if start <= retired {
                behind.push(file);
            } else {
                let why = format!(
                    "it begins at log position {start}, in generation {generation}, and does not \
                     follow the file before it"
                );
                let damage = Damage { offset: 0, lsn: start, why };
                return Err(JournalError::damage(&file.path, damage));
            }
        }
        let first = used.iter().rposition(|link| link.head.start <= base);
        if let (None, Some(next)) = (first, used.first()) {
            let (to, next) = (next.head.start, next.path.clone());
            if let Some(file) = aside.first() {
                return Err(no_head(file, base, to));
            }
            return Err(JournalError::MissingSegment { dir: dir.to_owned(), from: base, to, next });
        }
        let past = used.drain(..first.unwrap_or(0)).collect();
        Ok(Self { dir: dir.to_owned(), past, used, aside, behind })
    }

    /// Sees that a file begins at `base`, where a snapshot ends. One did when it was made, and that
    /// one goes no earlier than the snapshot.
    pub(crate) fn check_joined(&self, base: Lsn, snapshot: &Path) -> Result<(), JournalError> {
        if self.used.first().is_some_and(|link| link.head.start == base) {
            return Ok(());
        }
        let why = "the file of the log that begins where this snapshot ends is lost".to_owned();
        Err(JournalError::damage(snapshot, Damage { offset: 0, lsn: base, why }))
    }

    /// The number of the file behind the log that is the first to be begun.
    pub(crate) fn first_behind(&self) -> Option<u64> {
        self.behind.iter().find(|file| file.head.is_err()).map(|file| file.number)
    }

    /// Reads the log from `base` on, to its end or to `until`, and hands its records to `visit`.
    pub(crate) fn read<F>(
        &self,
        base: Lsn,
        until: Option<Lsn>,
        mut visit: F,
    ) -> Result<End, JournalError>
    where
        F: FnMut(Place<'_>, &Record<'_>) -> Result<ControlFlow<()>, JournalError>,
    {
        let mut end = End { lsn: base, offset: 0, torn: None, is_stopped: false };
        let mut is_first = true;
        for (index, link) in self.used.iter().enumerate() {
            // What comes after `until` is another use of the journal, as far as this one can tell.
            let stop = until.map(|start| SegmentHead { start, generation: u32::MAX, ..link.head });
            let next = self.used.get(index + 1).map(|next| next.head).or(stop);
            end = link.read(next.as_ref(), |place, record| {
                if place.lsn < base {
                    return Ok(ControlFlow::Continue(()));
                }
                if std::mem::take(&mut is_first) && place.lsn != base {
                    let why = format!("no record begins at {base}, where the snapshot ends");
                    return Err(place.damage(why));
                }
                visit(place, record)
            })?;
            if end.is_stopped {
                return Ok(end);
            }
            if let Some(next) = next
                && end.lsn != next.start
            {
                return Err(self.gap(index, &end, next.start));
            }
        }
        Ok(end)
    }

    /// Why the log does not go on to `to` behind its file of this index.
    pub(crate) fn gap(&self, index: usize, end: &End, to: Lsn) -> JournalError {
        let link = &self.used[index];
        let next = self.used.get(index + 1);
        let next_number = next.map_or(u64::MAX, |next| next.number);
        let is_between = |file: &&LogFile| (link.number..next_number).contains(&file.number);
        if let Some(file) = self.aside.iter().find(is_between) {
            return no_head(file, end.lsn, to);
        }
        match next {
            Some(next) if next.number > link.number + 1 => JournalError::MissingSegment {
                dir: self.dir.clone(),
                from: end.lsn,
                to,
                next: next.path.clone(),
            },
            _ => {
                let torn = end.torn.as_ref();
                let why = torn.map_or("it ends there", |torn| torn.why.as_str());
                let why = format!("{why}, but the log goes on at {to} in the next file");
                let (file, offset, lsn) = (link.path.clone(), end.offset, end.lsn);
                JournalError::Damage { file, offset, lsn, why }
            }
        }
    }
}

impl Place<'_> {
    /// That something is wrong here.
    pub(crate) fn damage(&self, why: String) -> JournalError {
        let Self { file, offset, lsn } = *self;
        JournalError::Damage { file: file.to_owned(), offset, lsn, why }
    }

    /// That the record here does not fit those before it.
    pub(crate) fn not_replayed(&self, source: ReplayError) -> JournalError {
        let Self { file, offset, lsn } = *self;
        JournalError::Replay { file: file.to_owned(), offset, lsn, source }
    }
}

impl Link {
    /// Hands the records to `visit`, up to where the segment of the head `next` begins, if there is
    /// one.
    pub(crate) fn read<F>(
        &self,
        next: Option<&SegmentHead>,
        mut visit: F,
    ) -> Result<End, JournalError>
    where
        F: FnMut(Place<'_>, &Record<'_>) -> Result<ControlFlow<()>, JournalError>,
    {
        let file = self.path.as_path();
        let damaged = |damage| JournalError::damage(file, damage);
        let bytes = read_whole(file).map_err(|error| JournalError::io(file, "read", error))?;
        let mut scan = SegmentScan::new(&bytes, &self.head);
        let (mut offset, mut is_stopped) = (scan.offset() as u64, false);
        while !is_stopped && next.is_none_or(|next| scan.lsn() < next.start) {
            let Some((lsn, record)) = scan.next_record().map_err(damaged)? else { break };
            offset = scan.offset() as u64 - (scan.lsn().0 - lsn.0);
            let place = Place { file, offset, lsn };
            if let Some(next) = next.filter(|next| scan.lsn() > next.start) {
                let why = format!("a record reaches beyond {}", next.start);
                return Err(place.damage(format!("{why}, where the next file begins")));
            }
            is_stopped = visit(place, &record)?.is_break();
            offset = scan.offset() as u64;
        }
        let lsn = scan.lsn();
        let is_followed = next.is_some_and(|next| lsn == next.start);
        // A file of the same use begins where this one was full. Only a later use may have found
        // less here than was written.
        if let Some(next) = next
            && !is_stopped
            && is_followed
            && next.generation == self.head.generation
            && let Some((lsn, _)) = scan.next_record().map_err(damaged)?
        {
            let why = "it has more records, but the next file begins here".to_owned();
            return Err(Place { file, offset, lsn }.damage(why));
        }
        let torn = match scan.tail() {
            Some(Tail::Torn { offset, why }) if !is_followed => Some(TornTail {
                file: self.path.clone(),
                offset: *offset as u64,
                bytes: written_behind(&bytes, &self.head, *offset),
                why: why.clone(),
            }),
            _ => None,
        };
        let offset = torn.as_ref().map_or(offset, |torn| torn.offset);
        Ok(End { lsn, offset, torn, is_stopped })
    }
}

/// That a file should hold the log between two positions.
fn no_head(file: &LogFile, from: Lsn, to: Lsn) -> JournalError {
    let why = format!("it has no usable head, and the log goes on at {to} in a later file");
    JournalError::damage(&file.path, Damage { offset: 0, lsn: from, why })
}

/// How many bytes at and behind `offset` were being written to a segment, as far as can be told.
fn written_behind(bytes: &[u8], head: &SegmentHead, offset: usize) -> u64 {
    let blocks = bytes.chunks(BLOCK_ALIGN).enumerate().filter_map(|(index, chunk)| {
        let block = BlockHead::read(chunk)?;
        let is_of = block.generation == head.generation && block.segment == head.start;
        is_of.then(|| index * BLOCK_ALIGN + block_bytes(block.len))
    });
    let end = blocks.max().unwrap_or(0).min(bytes.len());
    if end > offset {
        return (end - offset) as u64;
    }
    // No head of a block arrived: what is there up to the next empty place.
    let from = offset / BLOCK_ALIGN * BLOCK_ALIGN;
    let is_written = |chunk: &&[u8]| chunk.iter().any(|byte| *byte != 0);
    let chunks = bytes[from..].chunks(BLOCK_ALIGN).take_while(is_written);
    let written: usize = chunks.map(<[u8]>::len).sum();
    (from + written).saturating_sub(offset) as u64
}
