//! The directory of a journal: who has it, what its files are called, and what is done to whole
//! files so that a crash leaves either the old state or the new one.

mod settle;
#[cfg(test)]
mod tests;

use super::error::{JournalError, is_no_space};
use super::threads::{Aligned, PIECE_BYTES, past_cache};
use punctual_core::ShardId;
use punctual_core::journal::{
    Holder, LogOwner, Lsn, SEGMENT_HEAD_BYTES, SegmentError, SegmentHead,
};
use punctual_wire::Limits;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Held with an exclusive lock by the process that uses the journal.
const LOCK: &str = "LOCK";
/// Ends the name of a file that is not finished; nothing of it counts.
const UNFINISHED: &str = ".tmp";
/// After so many bytes the disk is waited for: a queue of more would be in the way of the log.
const FILL_SYNC_BYTES: u64 = 8 << 20;

/// Whose a journal must be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) holder: Holder,
    pub(crate) shard: ShardId,
    pub(crate) shards: u16,
    pub(crate) limits: Limits,
}

impl Owner {
    /// An old journal has a session of its own.
    pub(crate) fn of(owner: &LogOwner) -> Self {
        let LogOwner { holder, shard, shards, limits, .. } = *owner;
        Self { holder, shard, shards, limits }
    }

    /// Whether the file of this head was written by the same shard of the same cluster, under the
    /// same bounds, as far as results depend on them.
    pub(crate) fn check(&self, file: &Path, head: &SegmentHead) -> Result<(), JournalError> {
        if head.holder != self.holder {
            let (file, expected, found) = (file.to_owned(), self.holder, head.holder);
            return Err(JournalError::OtherHolder { file, expected, found });
        }
        let (own, its) = (&self.limits, &head.limits);
        let rows = [
            ("shard id", u32::from(self.shard.0), u32::from(head.shard.0)),
            ("number of shards", u32::from(self.shards), u32::from(head.shards)),
            ("cluster.limits.frame_bytes_max", own.frame_bytes_max, its.frame_bytes_max),
            ("cluster.limits.key_bytes_max", own.key_bytes_max.into(), its.key_bytes_max.into()),
            ("cluster.limits.value_bytes_max", own.value_bytes_max, its.value_bytes_max),
            ("cluster.limits.ops_max", own.ops_max.into(), its.ops_max.into()),
        ];
        match rows.into_iter().find(|(_, expected, found)| expected != found) {
            None => Ok(()),
            Some((property, expected, found)) => Err(JournalError::Head {
                file: file.to_owned(),
                property,
                expected: expected.to_string(),
                found: found.to_string(),
            }),
        }
    }
}

/// A file of the log.
#[derive(Debug, Clone)]
pub(crate) struct SegmentFile {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    /// Nothing: it was not used yet.
    pub(crate) head: Option<SegmentHead>,
}

/// A file that is called like one of the log, whatever is in it.
#[derive(Debug, Clone)]
pub(super) struct LogFile {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) head: Result<SegmentHead, SegmentError>,
}

/// The files called like those of the log, by number.
pub(super) fn log_files(dir: &Path) -> Result<Vec<LogFile>, JournalError> {
    let mut files = Vec::new();
    for number in names(dir)?.iter().filter_map(|name| log_number(name)) {
        let path = dir.join(log_name(number));
        match read_head(&path) {
            Ok((bytes, head)) => files.push(LogFile { number, path, bytes, head }),
            // Whoever uses the journal has just removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(JournalError::io(&path, "read", error)),
        }
    }
    files.sort_by_key(|file| file.number);
    Ok(files)
}

/// The snapshots, by how much of the log they stand for.
pub(super) fn snapshot_files(dir: &Path) -> Result<Vec<(Lsn, PathBuf)>, JournalError> {
    let mut found: Vec<_> = names(dir)?.iter().filter_map(|name| snapshot_lsn(name)).collect();
    found.sort();
    Ok(found.into_iter().map(|lsn| (lsn, dir.join(snapshot_name(lsn)))).collect())
}

/// Whether a directory has anything that a journal leaves behind.
pub(crate) fn is_journal(dir: &Path) -> Result<bool, JournalError> {
    let known =
        |name: &String| name == LOCK || log_number(name).is_some() || snapshot_lsn(name).is_some();
    Ok(names(dir)?.iter().any(known))
}

/// Keeps others from starting to use a journal that is to be read; nothing if somebody uses it.
pub(super) fn lock_to_read(dir: &Path) -> Result<Option<File>, JournalError> {
    let path = dir.join(LOCK);
    let file = match File::open(&path) {
        Ok(file) => file,
        // A copy need not have it. What is locked instead keeps nobody away, and nobody comes.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return File::open(dir).map(Some).map_err(|error| JournalError::io(dir, "read", error));
        }
        Err(error) => return Err(JournalError::io(&path, "read", error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(JournalError::io(&path, "locked", error)),
    }
}

/// The directory of a journal, while nobody else can use it.
#[derive(Debug)]
pub(crate) struct JournalDir {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl JournalDir {
    /// Makes the directory if need be, takes it, and sees that it can be written to.
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        make_dirs(path)?;
        let name = path.join(LOCK);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let lock = options.open(&name).map_err(|error| refused(path, &name, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(JournalError::InUse { dir: path.to_owned() });
            }
            Err(TryLockError::Error(error)) => {
                return Err(JournalError::io(&name, "locked", error));
            }
        }
        // The lock may be there from better times.
        let probe = path.join(format!("probe{UNFINISHED}"));
        match File::create(&probe).and_then(|_| fs::remove_file(&probe)) {
            Ok(()) => {}
            // What is there can be read and gone on with, and room may be made later.
            Err(error) if is_no_space(&error) => {}
            Err(error) => return Err(refused(path, &probe, error)),
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The files of the log, by number.
    pub(crate) fn segments(&self) -> Result<Vec<SegmentFile>, JournalError> {
        let mut segments = Vec::new();
        for LogFile { number, path, head, .. } in log_files(&self.path)? {
            let head = match head {
                Ok(head) => Some(head),
                Err(SegmentError::Blank) => None,
                Err(source) => return Err(JournalError::Unreadable { file: path, source }),
            };
            segments.push(SegmentFile { number, path, head });
        }
        Ok(segments)
    }

    /// The snapshots, by how much of the log they stand for.
    pub(crate) fn snapshots(&self) -> Result<Vec<(Lsn, PathBuf)>, JournalError> {
        snapshot_files(&self.path)
    }

    pub(crate) fn segment_path(&self, number: u64) -> PathBuf {
        self.path.join(log_name(number))
    }

    pub(super) fn snapshot_path(&self, lsn: Lsn) -> PathBuf {
        self.path.join(snapshot_name(lsn))
    }

    /// Where a snapshot is written before it is whole.
    pub(super) fn unfinished_snapshot_path(&self) -> PathBuf {
        self.path.join(format!("snapshot{UNFINISHED}"))
    }

    /// Makes a file of zeros for the log. Its blocks are all there, so that writing to it later
    /// changes no metadata. If told to `stop`, it fails as interrupted and leaves nothing.
    pub(crate) fn make_spare(
        &self,
        number: u64,
        bytes: u64,
        stop: &AtomicBool,
    ) -> Result<PathBuf, JournalError> {
        let path = self.segment_path(number);
        let unfinished = self.path.join(format!("{}{UNFINISHED}", log_name(number)));
        let filled = fill(&unfinished, bytes, stop);
        let made = filled.and_then(|()| fs::rename(&unfinished, &path));
        if let Err(error) = made {
            // Without it the next attempt has more room; it is overwritten in any case.
            let _ = fs::remove_file(&unfinished);
            return Err(JournalError::io(&path, "made", error));
        }
        self.sync()?;
        Ok(path)
    }

    /// Makes a file that the log needs no more a spare. Its head goes first, and for good: under
    /// its new name it must not pass for a part of the log, whatever happens in between.
    pub(crate) fn recycle(
        &self,
        old: &Path,
        number: u64,
        bytes: u64,
        stop: &AtomicBool,
    ) -> Result<PathBuf, JournalError> {
        let failed = |error| JournalError::io(old, "made a spare", error);
        let file = OpenOptions::new().write(true).open(old).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() != bytes {
            self.remove(old)?;
            return self.make_spare(number, bytes, stop);
        }
        let path = self.segment_path(number);
        file.write_all_at(&[0; SEGMENT_HEAD_BYTES], 0)
            .and_then(|()| file.sync_data())
            .and_then(|()| fs::rename(old, &path))
            .map_err(failed)?;
        self.sync()?;
        Ok(path)
    }

    /// Removes a file; that it is not there is fine.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), JournalError> {
        match fs::remove_file(path) {
            Ok(()) => self.sync(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(JournalError::io(path, "removed", error)),
        }
    }

    /// Removes what was being made when the last user of the journal died.
    pub(super) fn remove_unfinished(&self) -> Result<(), JournalError> {
        for name in names(&self.path)? {
            let Some(stem) = name.strip_suffix(UNFINISHED) else { continue };
            if log_number(stem).is_some() || ["snapshot", "probe"].contains(&stem) {
                self.remove(&self.path.join(name))?;
            }
        }
        Ok(())
    }

    /// Makes the names of its files durable.
    pub(super) fn sync(&self) -> Result<(), JournalError> {
        sync_dir(&self.path)
    }
}

fn log_name(number: u64) -> String {
    format!("log-{number:06}")
}

fn log_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("log-")?.parse().ok()?;
    (name == log_name(number)).then_some(number)
}

fn snapshot_name(lsn: Lsn) -> String {
    format!("snapshot-{lsn}")
}

fn snapshot_lsn(name: &str) -> Option<Lsn> {
    let lsn = Lsn(u64::from_str_radix(name.strip_prefix("snapshot-")?, 16).ok()?);
    (name == snapshot_name(lsn)).then_some(lsn)
}

/// The names in a directory, as far as they are text.
fn names(dir: &Path) -> Result<Vec<String>, JournalError> {
    let failed = |error| JournalError::io(dir, "listed", error);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}

/// Size and head of a segment.
pub(super) fn read_head(path: &Path) -> io::Result<(u64, Result<SegmentHead, SegmentError>)> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut front = Vec::with_capacity(SEGMENT_HEAD_BYTES);
    file.take(SEGMENT_HEAD_BYTES as u64).read_to_end(&mut front)?;
    Ok((len, SegmentHead::read(&front)))
}

/// Makes a directory and those that it is in, and their entries durable: its own even if it was
/// there, because whoever made it may have died before that.
pub(crate) fn make_dirs(path: &Path) -> Result<(), JournalError> {
    let is_there = |dir: &&Path| dir.as_os_str().is_empty() || dir.exists();
    let missing = path.ancestors().take_while(|dir| !is_there(dir)).count();
    fs::create_dir_all(path).map_err(|source| match is_no_space(&source) {
        true => JournalError::NoSpace { file: path.to_owned(), source },
        false => JournalError::Create { dir: path.to_owned(), source },
    })?;
    for parent in path.ancestors().skip(1).take(missing.max(1)) {
        let is_here = parent.as_os_str().is_empty();
        match sync_dir(if is_here { Path::new(".") } else { parent }) {
            // It belongs to somebody else, who has made this one too.
            Err(JournalError::Io { source, .. })
                if missing == 0 && source.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// Why nothing can be made in a directory.
pub(crate) fn refused(dir: &Path, file: &Path, source: io::Error) -> JournalError {
    match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            JournalError::ReadOnly { dir: dir.to_owned(), source }
        }
        _ => JournalError::io(file, "made", source),
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), JournalError> {
    let synced = File::open(path).and_then(|dir| dir.sync_all());
    synced.map_err(|error| JournalError::io(path, "synced", error))
}

/// Makes a file of so many zeros, and waits until they are durable. Past the page cache where that
/// can be done: it costs the cores nothing then.
fn fill(path: &Path, bytes: u64, stop: &AtomicBool) -> io::Result<()> {
    past_cache(|flags| fill_by(path, bytes, flags, stop))
}

fn fill_by(path: &Path, bytes: u64, flags: i32, stop: &AtomicBool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).custom_flags(flags);
    let mut file = options.open(path)?;
    // Where there is no room for all of it, that is known before others are left without any.
    if let Err(error) = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes)
        && [Errno::NOSPC, Errno::DQUOT].contains(&error)
    {
        return Err(error.into());
    }
    let mut zeros = Aligned::default();
    let zeros = zeros.bytes_mut(PIECE_BYTES);
    let (mut left, mut waiting) = (bytes, 0);
    while left > 0 {
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = left.min(PIECE_BYTES as u64);
        file.write_all(&zeros[..usize::try_from(len).unwrap_or(PIECE_BYTES)])?;
        (left, waiting) = (left - len, waiting + len);
        if waiting >= FILL_SYNC_BYTES {
            file.sync_data()?;
            waiting = 0;
        }
    }
    file.sync_all()
}
