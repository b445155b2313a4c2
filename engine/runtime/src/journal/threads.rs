//! The writer where there is no glommio: a plain thread that writes one block after the other.

use super::keeper::Event;
use super::writer::{Block, Step, WriterTask, check_written, file_failed, no_spare, write_failed};
use punctual_core::journal::BLOCK_ALIGN;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What the disk is asked for at once by those who can wait.
pub(super) const PIECE_BYTES: usize = 256 << 10;
/// `tmpfs`, to `statfs`.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// Writes until the journal ends. With `is_direct`, past the page cache.
pub(super) fn run(task: WriterTask, is_direct: bool) {
    let mut writer = Writer { task, is_direct, segment: None, buffer: Aligned::default() };
    if let Err(why) = writer.work() {
        writer.task.shared.fail(why);
    }
}

struct Writer {
    task: WriterTask,
    is_direct: bool,
    /// The file of the segment at hand.
    segment: Option<(File, PathBuf)>,
    buffer: Aligned,
}

impl Writer {
    fn work(&mut self) -> Result<(), String> {
        loop {
            match self.task.intake.next_step()? {
                Step::Wait => match self.task.intake.commands().recv() {
                    Ok(command) => self.task.intake.accept(command),
                    Err(flume::RecvError::Disconnected) => return Ok(()),
                },
                Step::Roll => self.roll()?,
                Step::Write(block) => self.write(&block)?,
                Step::Last(block) => return self.write(&block),
                Step::Stop => return Ok(()),
            }
        }
    }

    /// Goes on in the next segment. Its head is durable before anything else is in it, so that no
    /// block of a use that was cut short can ever be taken for one of a later use.
    fn roll(&mut self) -> Result<(), String> {
        self.segment = None;
        self.task.tell(Event::Wanted);
        let spare = self.task.spares.recv().map_err(|_| no_spare())?;
        let file = open(&spare.path, self.is_direct)
            .map_err(|error| file_failed(&spare.path, "opened", &error))?;
        let head = self.task.intake.begin_segment();
        let buffer = self.buffer.bytes_mut(head.len());
        buffer.copy_from_slice(&head);
        let (file, path) = self.segment.insert((file, spare.path));
        write_at(&self.task, file, path, buffer, 0)?;
        self.task.shared.count_segment();
        self.task.tell(Event::Began(self.task.intake.position(spare.number)));
        Ok(())
    }

    fn write(&mut self, block: &Block) -> Result<(), String> {
        let (file, path) = self.segment.as_ref().expect("a block belongs to a segment");
        let buffer = self.buffer.bytes_mut(block.bytes());
        let end = self.task.intake.seal(block, buffer);
        write_at(&self.task, file, path, buffer, block.offset)?;
        // Nothing else is under way.
        self.task.shared.advance(end);
        Ok(())
    }
}

/// Writes `buffer` and waits until it is durable.
pub(super) fn write_at(
    task: &WriterTask,
    file: &File,
    path: &Path,
    buffer: &[u8],
    offset: u64,
) -> Result<(), String> {
    let began = Instant::now();
    write_whole(file, buffer, offset).map_err(|error| write_failed(path, offset, &error))?;
    task.shared.count_write(buffer.len(), began.elapsed());
    Ok(())
}

fn write_whole(file: &File, buffer: &[u8], offset: u64) -> io::Result<()> {
    loop {
        match file.write_at(buffer, offset) {
            Ok(written) => return check_written(written, buffer.len()),
            // A signal came before anything was written.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Opens a file to write it so that each write is durable when it returns.
pub(super) fn open(path: &Path, is_direct: bool) -> io::Result<File> {
    let direct = if is_direct { libc::O_DIRECT } else { 0 };
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options.custom_flags(libc::O_DSYNC | direct).open(path)
}

/// Whether a spare can be written past the page cache; the text says why not. Its head is written
/// as it is, which is blank: that needs no room.
pub(super) fn probe_direct(spare: &Path) -> Result<(), String> {
    let kind = rustix::fs::statfs(spare).map(|fs| fs.f_type);
    if kind.is_ok_and(|kind| kind == TMPFS_MAGIC) {
        return Err("tmpfs has no disk: what is in it is gone when the machine stops".to_owned());
    }
    let mut buffer = Aligned::default();
    let written =
        open(spare, true).and_then(|file| write_whole(&file, buffer.bytes_mut(BLOCK_ALIGN), 0));
    written.map_err(|error| format!("the file system takes no direct I/O ({error})"))
}

/// The bytes of a file.
pub(super) struct Whole {
    memory: Aligned,
    len: usize,
}

impl std::ops::Deref for Whole {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory.bytes[self.memory.skip..][..self.len]
    }
}

/// Reads a file piece by piece, past the page cache if that can be done: a large read through it
/// keeps the disk from everybody else for tens of milliseconds.
pub(super) fn read_whole(path: &Path) -> io::Result<Whole> {
    past_cache(|flags| read_by(path, flags))
}

/// Does something with files that are opened with these flags: past the page cache, or through it
/// where the file system does not have it otherwise.
pub(super) fn past_cache<T>(act: impl Fn(i32) -> io::Result<T>) -> io::Result<T> {
    match act(libc::O_DIRECT) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => act(0),
        done => done,
    }
}

fn read_by(path: &Path, flags: i32) -> io::Result<Whole> {
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut memory = Aligned::default();
    let bytes = memory.bytes_mut(len.next_multiple_of(BLOCK_ALIGN));
    let mut at = 0;
    while at < len {
        let to = (at + PIECE_BYTES).min(bytes.len());
        match file.read_at(&mut bytes[at..to], at as u64) {
            Ok(0) => break,
            Ok(read) => at += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Whole { memory, len: at.min(len) })
}

/// Makes a file whose writes are durable one by one; past the page cache if that can be done.
pub(super) fn create_durable(path: &Path) -> io::Result<File> {
    past_cache(|flags| {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).custom_flags(libc::O_DSYNC | flags);
        options.open(path)
    })
}

/// Memory that begins at a multiple of the size of a block, as direct I/O wants it.
#[derive(Default)]
pub(super) struct Aligned {
    bytes: Vec<u8>,
    /// What is left out at the front.
    skip: usize,
}

impl Aligned {
    /// The first `len` bytes, whatever was in them.
    pub(super) fn bytes_mut(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < len + BLOCK_ALIGN {
            self.bytes = vec![0; len + BLOCK_ALIGN];
            self.skip = self.bytes.as_ptr().align_offset(BLOCK_ALIGN);
        }
        &mut self.bytes[self.skip..self.skip + len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn memory_for_direct_io_is_aligned_however_much_is_asked_for() {
        let mut memory = Aligned::default();
        for len in [BLOCK_ALIGN, 1 << 20, 2 * BLOCK_ALIGN, 3 << 20] {
            let bytes = memory.bytes_mut(len);
            assert_eq!(bytes.len(), len);
            assert!(bytes.as_ptr().addr().is_multiple_of(BLOCK_ALIGN));
        }
    }

    #[test]
    fn a_probe_needs_no_file_but_the_spare_and_leaves_that_as_it_was() {
        let dir = tempfile::tempdir().expect("a directory");
        let spare = dir.path().join("log-000001");
        probe_direct(&spare).expect_err("it makes none");
        let blank = vec![0; 4 * BLOCK_ALIGN];
        fs::write(&spare, &blank).expect("it can be written");
        let _ = probe_direct(&spare);
        assert_eq!(fs::read(&spare).expect("it can be read"), blank);
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1);
    }
}
