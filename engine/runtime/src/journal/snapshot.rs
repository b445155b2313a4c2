//! Snapshots: the state of a shard at a position of its log, so that the log before it can go.
//!
//! A snapshot is made by reading, not by asking: a second shard does again what the finished files
//! of the log say, behind the snapshot before, and is written out. The shard that works never
//! notices, but for the memory and the disk that both use.
//!
//! Other than a file of the log, a snapshot gets its name when all of it is durable. Whatever of it
//! cannot be read is damage. It may be as large as the store, so it is read block by block.

use super::dir::{JournalDir, log_files};
use super::error::JournalError;
use super::recover::{Chain, Place};
use super::threads::{Aligned, PIECE_BYTES, create_durable};
use punctual_core::journal::{
    BLOCK_ALIGN, BLOCK_HEAD_BYTES, BlockHead, Damage, Holder, Lsn, Record, Replica,
    SEGMENT_HEAD_BYTES, SegmentError, SegmentHead, SegmentKind, block_bytes, seal_block,
};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Records are gathered up to this size before they are written as a block.
const BLOCK_RECORDS_BYTES: usize = 1 << 20;

/// A snapshot that is being read.
#[derive(Debug)]
pub(super) struct SnapshotFile {
    path: PathBuf,
    file: File,
    pub(super) head: SegmentHead,
}

impl SnapshotFile {
    /// Opens a snapshot and reads its head.
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        let failed = |error| JournalError::io(path, "read", error);
        let mut file = File::open(path).map_err(failed)?;
        let mut front = Vec::with_capacity(SEGMENT_HEAD_BYTES);
        let head_bytes = SEGMENT_HEAD_BYTES as u64;
        Read::by_ref(&mut file).take(head_bytes).read_to_end(&mut front).map_err(failed)?;
        match SegmentHead::read(&front) {
            Ok(head) => Ok(Self { path: path.to_owned(), file, head }),
            Err(source @ SegmentError::Version(_)) => {
                Err(JournalError::Unreadable { file: path.to_owned(), source })
            }
            Err(error) => {
                let damage = Damage { offset: 0, lsn: Lsn::ZERO, why: error.to_string() };
                Err(JournalError::damage(path, damage))
            }
        }
    }

    /// Hands the records to `visit`, until it wants no more. Returns where the records end, as a
    /// position that is counted from the one of the head.
    pub(super) fn read<F>(self, mut visit: F) -> Result<Lsn, JournalError>
    where
        F: FnMut(Place<'_>, &Record<'_>) -> Result<ControlFlow<()>, JournalError>,
    {
        let Self { path, file: mut input, head } = self;
        let file = path.as_path();
        let (mut lsn, mut at) = (head.start, SEGMENT_HEAD_BYTES as u64);
        let mut block = Vec::new();
        loop {
            let place = Place { file, offset: at, lsn };
            let Some(len) = next_block(&mut input, &head, place, &mut block)? else {
                return Ok(lsn);
            };
            let records = &block[BLOCK_HEAD_BYTES..BLOCK_HEAD_BYTES + len];
            let mut taken = 0;
            while taken < records.len() {
                let offset = at + (BLOCK_HEAD_BYTES + taken) as u64;
                let place = Place { file, offset, lsn };
                let (record, len) = Record::read(&records[taken..], lsn)
                    .map_err(|error| place.damage(error.to_string()))?;
                if visit(place, &record)?.is_break() {
                    return Ok(lsn);
                }
                (taken, lsn) = (taken + len, lsn.plus(len));
            }
            at += block.len() as u64;
        }
    }
}

/// Reads the block that stands at a place of a snapshot. Returns how many bytes of records it has,
/// or nothing at the end of the file.
fn next_block(
    input: &mut File,
    snapshot: &SegmentHead,
    place: Place<'_>,
    block: &mut Vec<u8>,
) -> Result<Option<usize>, JournalError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => place.damage("it ends within a block".to_owned()),
        _ => JournalError::io(place.file, "read", error),
    };
    block.resize(BLOCK_ALIGN, 0);
    if input.read(&mut block[..1]).map_err(failed)? == 0 {
        return Ok(None);
    }
    input.read_exact(&mut block[1..]).map_err(failed)?;
    let is_next = |head: &BlockHead| {
        let is_of = head.generation == snapshot.generation && head.segment == snapshot.start;
        is_of && head.lsn == place.lsn
    };
    let Some(head) = BlockHead::read(block).filter(is_next) else {
        return Err(place.damage("there is no block of this snapshot".to_owned()));
    };
    block.resize(block_bytes(head.len), 0);
    input.read_exact(&mut block[BLOCK_ALIGN..]).map_err(failed)?;
    Ok(Some(head.len))
}

/// A shard as a snapshot has it, or an empty one.
#[derive(Debug)]
pub(super) struct Base<R> {
    pub(super) replay: R,
    /// How much of the log it stands for.
    pub(super) lsn: Lsn,
    /// The snapshot, if there is one.
    pub(super) path: Option<PathBuf>,
    pub(super) bytes: u64,
    /// What is wrong with the newest snapshot, if it is not this one.
    pub(super) skipped: Option<JournalError>,
    /// Told to, in the middle: there is nothing to be done with it.
    is_stopped: bool,
}

impl<R: Replica> Base<R> {
    /// Reads the newest snapshot that is whole; they are given by age.
    pub(super) fn load(
        snapshots: &[(Lsn, PathBuf)],
        setup: &R::Setup,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Self, JournalError> {
        let mut skipped = None;
        for (lsn, path) in snapshots.iter().rev() {
            let mut replay = R::new(setup);
            match replay_snapshot(&mut replay, *lsn, path, is_stopped) {
                Ok(bytes) => {
                    let (lsn, path, is_stopped) = (*lsn, Some(path.clone()), bytes.is_none());
                    let bytes = bytes.unwrap_or_default();
                    return Ok(Self { replay, lsn, path, bytes, skipped, is_stopped });
                }
                Err(error @ JournalError::Damage { .. }) => {
                    tracing::warn!(%error, "the log has to do without this snapshot");
                    skipped = skipped.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        let replay = R::new(setup);
        let (lsn, path, bytes, is_stopped) = (Lsn::ZERO, None, 0, false);
        Ok(Self { replay, lsn, path, bytes, skipped, is_stopped })
    }
}

/// Does the records of a snapshot. Returns how many bytes they are, or nothing if told to stop.
fn replay_snapshot<R: Replica>(
    replay: &mut R,
    lsn: Lsn,
    path: &Path,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Option<u64>, JournalError> {
    let file = SnapshotFile::open(path)?;
    let start = file.head.start;
    if start != lsn {
        let why = format!("it stands for the log up to {start}, and its name says otherwise");
        return Err(JournalError::damage(path, Damage { offset: 0, lsn: start, why }));
    }
    let mut was_stopped = false;
    let end = file.read(|place, record| {
        if is_stopped() {
            was_stopped = true;
            return Ok(ControlFlow::Break(()));
        }
        if replay.is_whole() {
            return Err(place.damage("there are records behind its end".to_owned()));
        }
        replay.apply(record).map_err(|source| place.not_replayed(source))?;
        Ok(ControlFlow::Continue(()))
    })?;
    if was_stopped {
        return Ok(None);
    }
    if !replay.is_whole() {
        let why = "its end is missing".to_owned();
        let offset = fs::metadata(path).map_or(0, |file| file.len());
        return Err(Place { file: path, offset, lsn: end }.damage(why));
    }
    Ok(Some(end.0 - start.0))
}

/// A snapshot that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotReport {
    /// How much of the log it stands for.
    pub(crate) lsn: Lsn,
    pub(crate) path: PathBuf,
    /// Size of the file.
    pub(crate) bytes: u64,
    pub(crate) holder: Holder,
    /// Keys or tasks in it.
    pub(crate) kept: u64,
    pub(crate) took: Duration,
}

impl fmt::Display for SnapshotReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lsn, path, bytes, holder, kept, took } = self;
        let (path, what) = (path.display(), holder.kept());
        write!(f, "{path}: {kept} {what} at log position {lsn}, {bytes} bytes, in {took:.1?}")
    }
}

/// A snapshot; nothing if whoever was to make it was told to stop.
pub(super) type Made = Result<Option<SnapshotReport>, JournalError>;

/// Makes the snapshot of a log up to a position, unless the flag tells it to stop. It is all that
/// the threads of a journal know of whose it is.
pub(super) type MakeSnapshot = Arc<dyn Fn(Lsn, &AtomicBool) -> Made + Send + Sync>;

/// Makes snapshots in the journal of whoever is set up like that.
pub(super) fn snapshots_in<R: Replica>(dir: &Arc<JournalDir>, setup: R::Setup) -> MakeSnapshot {
    let dir = Arc::clone(dir);
    Arc::new(move |end: Lsn, stop: &AtomicBool| make_snapshot::<R>(&dir, &setup, end, stop))
}

/// Makes a snapshot of the shard at the log position `end`, which is where the file begins that is
/// being written. What it makes superfluous is left where it is. Nothing if told to `stop`.
pub(super) fn make_snapshot<R: Replica>(
    dir: &JournalDir,
    setup: &R::Setup,
    end: Lsn,
    stop: &AtomicBool,
) -> Made {
    let began = Instant::now();
    let is_stopped = || stop.load(Ordering::Relaxed);
    let mut snapshots = dir.snapshots()?;
    snapshots.retain(|(lsn, _)| *lsn <= end);
    let newest = snapshots.last().map_or(Lsn::ZERO, |(lsn, _)| *lsn);
    // The file that is being written may be in any state, and so may the spares behind it.
    let mut files = log_files(dir.path())?;
    files.retain(|file| file.head.as_ref().is_ok_and(|head| head.start < end));
    let generation = files.iter().filter_map(|file| Some(file.head.as_ref().ok()?.generation));
    let generation = generation.max().unwrap_or(1);

    let loaded = Base::<R>::load(&snapshots, setup, &is_stopped)?;
    if loaded.is_stopped {
        return Ok(None);
    }
    let Base { mut replay, lsn: base, skipped, .. } = loaded;
    let chain = Chain::new(dir.path(), files, base, newest);
    let chain = chain.map_err(|error| skipped.unwrap_or(error))?;
    let read = chain.read(base, Some(end), |place, record| {
        if is_stopped() {
            return Ok(ControlFlow::Break(()));
        }
        replay.apply(record).map_err(|source| place.not_replayed(source))?;
        Ok(ControlFlow::Continue(()))
    })?;
    if read.is_stopped {
        return Ok(None);
    }
    if read.lsn != end {
        let (from, next, dir) = (read.lsn, dir.path().to_owned(), dir.path().to_owned());
        return Err(JournalError::MissingSegment { dir, from, to: end, next });
    }
    let owner = R::owner(setup);
    let head = owner.head(SegmentKind::Snapshot, generation, end);
    let Some(bytes) = write_snapshot(dir, &replay, head, &is_stopped)? else { return Ok(None) };
    let (path, kept, holder) = (dir.snapshot_path(end), replay.tally().kept, owner.holder);
    let report = SnapshotReport { lsn: end, path, bytes, holder, kept, took: began.elapsed() };
    tracing::info!("snapshot {report}");
    Ok(Some(report))
}

/// Writes what a replica is, and gives it its name when all of it is durable. Returns its size, or
/// nothing if told to stop.
fn write_snapshot<R: Replica>(
    dir: &JournalDir,
    replay: &R,
    head: SegmentHead,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Option<u64>, JournalError> {
    let unfinished = dir.unfinished_snapshot_path();
    let path = dir.snapshot_path(head.start);
    let written = write_to(&unfinished, replay, head, is_stopped);
    let named = |bytes| fs::rename(&unfinished, &path).map(|()| bytes).map_err(Interrupted::Failed);
    match written.and_then(named) {
        Ok(bytes) => dir.sync().map(|()| Some(bytes)),
        Err(why) => {
            // Where it stays, the next one overwrites it.
            let _ = fs::remove_file(&unfinished);
            match why {
                Interrupted::Told => Ok(None),
                Interrupted::Failed(error) => Err(JournalError::io(&unfinished, "written", error)),
            }
        }
    }
}

fn write_to<R: Replica>(
    path: &Path,
    replay: &R,
    head: SegmentHead,
    is_stopped: &dyn Fn() -> bool,
) -> Result<u64, Interrupted> {
    let mut writer = SnapshotWriter::new(create_durable(path)?, head)?;
    let put = |record: &Record<'_>| match is_stopped() {
        true => Err(Interrupted::Told),
        false => writer.put(record),
    };
    replay.snapshot(put)?;
    writer.finish()
}

/// Why a snapshot was not written to its end.
enum Interrupted {
    Told,
    Failed(io::Error),
}

impl From<io::Error> for Interrupted {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// A snapshot that is being written.
struct SnapshotWriter {
    file: File,
    head: SegmentHead,
    /// Where the records that were gathered begin.
    lsn: Lsn,
    records: Vec<u8>,
    block: Aligned,
    bytes: u64,
}

impl SnapshotWriter {
    fn new(file: File, head: SegmentHead) -> Result<Self, Interrupted> {
        let (records, block) = (Vec::new(), Aligned::default());
        let mut writer = Self { file, head, lsn: head.start, records, block, bytes: 0 };
        let block = head.to_block();
        writer.block.bytes_mut(block.len()).copy_from_slice(&block);
        writer.write(block.len())?;
        Ok(writer)
    }

    fn put(&mut self, record: &Record<'_>) -> Result<(), Interrupted> {
        record.write(&mut self.records);
        if self.records.len() >= BLOCK_RECORDS_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes what was gathered as a block.
    fn flush(&mut self) -> Result<(), Interrupted> {
        let len = block_bytes(self.records.len());
        let block = self.block.bytes_mut(len);
        seal_block(block, &self.head, self.lsn, self.lsn, &self.records);
        self.write(len)?;
        self.lsn = self.lsn.plus(self.records.len());
        self.records.clear();
        Ok(())
    }

    /// Writes so many bytes of the block, in pieces that leave the disk to others in between.
    fn write(&mut self, len: usize) -> Result<(), Interrupted> {
        for piece in self.block.bytes_mut(len).chunks(PIECE_BYTES) {
            self.file.write_all(piece)?;
        }
        self.bytes += len as u64;
        Ok(())
    }

    /// Waits until all of it is durable. Returns the size of the file.
    fn finish(mut self) -> Result<u64, Interrupted> {
        self.flush()?;
        self.file.sync_all()?;
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests;
