//! What a task writes: the end of it in memory, and all of it in a file if wanted.

use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The last bytes of something long.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Grows up to the bound; then the oldest byte is at `start`.
    bytes: Vec<u8>,
    start: usize,
    bytes_max: usize,
    /// All bytes that there were.
    total: u64,
}

impl Tail {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let bytes = &bytes[bytes.len().saturating_sub(self.bytes_max)..];
        let (grow, mut rest) = bytes.split_at(bytes.len().min(self.bytes_max - self.bytes.len()));
        self.bytes.extend_from_slice(grow);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.bytes_max - self.start));
            self.bytes[self.start..self.start + now.len()].copy_from_slice(now);
            self.start = (self.start + now.len()) % self.bytes_max;
            rest = later;
        }
        debug_assert!(self.bytes.len() <= self.bytes_max, "a tail is bounded");
    }

    /// How many bytes there were, and the last of them.
    pub(crate) fn into_parts(mut self) -> (u64, Vec<u8>) {
        self.bytes.rotate_left(self.start);
        (self.total, self.bytes)
    }
}

/// A file of an output. It is made at the first byte.
#[derive(Debug)]
enum OutputFile {
    /// There will be none.
    Off,
    /// There will be this one.
    NotYet(PathBuf),
    Open {
        file: File,
        path: PathBuf,
    },
    /// It could not be written, and this is why.
    Failed(String),
}

/// How a reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// There is nothing more for now.
    Dry,
    /// There may be more, but it is the turn of others.
    More,
    /// Nobody can write to it any more.
    Ended,
}

/// One output of a task, from its pipe to its report.
#[derive(Debug)]
pub(crate) struct Stream {
    pipe: Option<OwnedFd>,
    tail: Tail,
    file: OutputFile,
    /// Bytes that may yet be written to the file.
    file_room: u64,
}

impl Stream {
    /// A stream, and the end of its pipe that the task gets.
    pub(crate) fn new(
        tail_bytes: usize,
        file: Option<PathBuf>,
        file_bytes: u64,
    ) -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = io::pipe()?;
        let pipe = OwnedFd::from(reader);
        // Ours alone: programs do not expect that of their end.
        rustix::fs::fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
        let file = match file {
            Some(path) if file_bytes > 0 => OutputFile::NotYet(path),
            _ => OutputFile::Off,
        };
        let tail = Tail::new(tail_bytes);
        let stream = Self { pipe: Some(pipe), tail, file, file_room: file_bytes };
        Ok((stream, above_standard(OwnedFd::from(writer))?))
    }

    /// The pipe, until everybody has closed the other end.
    pub(crate) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Takes up to `budget` bytes, and at most one buffer more.
    pub(crate) fn read(&mut self, buffer: &mut [u8], budget: usize) -> Flow {
        let mut taken = 0;
        while let Some(pipe) = &self.pipe {
            match rustix::io::read(pipe, &mut *buffer) {
                Ok(0) => self.pipe = None,
                Ok(len) => {
                    self.take(&buffer[..len]);
                    taken += len;
                    if taken >= budget {
                        return Flow::More;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Flow::Dry,
                // No error of a pipe goes away.
                Err(_) => self.pipe = None,
            }
        }
        Flow::Ended
    }

    fn take(&mut self, bytes: &[u8]) {
        self.tail.append(bytes);
        let len = usize::try_from(self.file_room).map_or(bytes.len(), |room| room.min(bytes.len()));
        if len == 0 || matches!(self.file, OutputFile::Off | OutputFile::Failed(_)) {
            return;
        }
        self.file_room -= len as u64;
        if let OutputFile::NotYet(path) = &mut self.file {
            let path = std::mem::take(path);
            self.file = match create(&path) {
                Ok(file) => OutputFile::Open { file, path },
                Err(error) => OutputFile::Failed(trouble(&path, &error)),
            };
        }
        if let OutputFile::Open { file, path } = &mut self.file
            && let Err(error) = file.write_all(&bytes[..len])
        {
            self.file = OutputFile::Failed(trouble(path, &error));
        }
    }

    /// Adds a line of ours.
    pub(crate) fn note(&mut self, text: &str) {
        self.tail.append(text.as_bytes());
    }

    /// What went wrong with the file, once.
    pub(crate) fn take_trouble(&mut self) -> Option<String> {
        match &mut self.file {
            OutputFile::Failed(trouble) => Some(std::mem::take(trouble)),
            OutputFile::Off | OutputFile::NotYet(_) | OutputFile::Open { .. } => None,
        }
    }

    /// How many bytes there were, and the last of them.
    pub(crate) fn into_parts(self) -> (u64, Vec<u8>) {
        self.tail.into_parts()
    }
}

/// Begins a file. A task may have put something else in its place: a link is not followed, and a
/// pipe that nobody reads is not waited for.
fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

fn trouble(path: &Path, error: &io::Error) -> String {
    format!(
        "punctual: {} could not be written: {error}; the rest of this output is not in it\n",
        path.display()
    )
}

/// The highest descriptor that a process expects to be open.
const STANDARD_FD_MAX: RawFd = 2;

/// The same file under a number that is no standard one. In a process that has closed its own
/// standard files any descriptor may be; a child would then overwrite one with another.
pub(crate) fn above_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > STANDARD_FD_MAX {
        return Ok(fd);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(&fd, STANDARD_FD_MAX + 1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(bytes_max: usize, pieces: &[&[u8]]) -> (u64, Vec<u8>) {
        let mut tail = Tail::new(bytes_max);
        for piece in pieces {
            tail.append(piece);
        }
        tail.into_parts()
    }

    #[test]
    fn a_tail_has_the_last_bytes_and_counts_all() {
        assert_eq!(tail(4, &[]), (0, vec![]));
        assert_eq!(tail(4, &[b"ab", b"", b"c"]), (3, b"abc".to_vec()));
        assert_eq!(tail(4, &[b"ab", b"cd"]), (4, b"abcd".to_vec()));
        assert_eq!(tail(4, &[b"abc", b"de"]), (5, b"bcde".to_vec()));
        assert_eq!(tail(4, &[b"abc", b"de", b"fgh"]), (8, b"efgh".to_vec()));
        assert_eq!(tail(4, &[b"x", b"abcdefghij"]), (11, b"ghij".to_vec()));
        assert_eq!(tail(0, &[b"abc"]), (3, vec![]));
    }

    #[test]
    fn a_tail_is_right_whatever_the_pieces_are() {
        let text: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        for bytes_max in [1, 2, 7, 64] {
            for piece in 1..=70 {
                let pieces: Vec<&[u8]> = text.chunks(piece).collect();
                let expected = text[text.len() - bytes_max..].to_vec();
                assert_eq!(tail(bytes_max, &pieces), (1_000, expected), "{bytes_max} {piece}");
            }
        }
    }

    fn write_all(fd: &OwnedFd, bytes: &[u8]) {
        assert_eq!(rustix::io::write(fd, bytes).expect("room in the pipe"), bytes.len());
    }

    #[test]
    fn a_stream_ends_when_nobody_can_write_and_is_read_in_turns() {
        let (mut stream, writer) = Stream::new(8, None, 0).expect("a pipe");
        let mut buffer = [0; 4];
        assert_eq!(stream.read(&mut buffer, 100), Flow::Dry);
        write_all(&writer, b"0123456789");
        assert_eq!(stream.read(&mut buffer, 6), Flow::More);
        assert_eq!(stream.read(&mut buffer, 100), Flow::Dry);
        drop(writer);
        assert_eq!(stream.read(&mut buffer, 100), Flow::Ended);
        assert!(stream.pipe().is_none());
        assert_eq!(stream.take_trouble(), None);
        assert_eq!(stream.into_parts(), (10, b"23456789".to_vec()));
    }

    #[test]
    fn a_file_begins_with_the_first_byte_and_ends_at_its_bound() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("stdout");
        let (mut stream, writer) = Stream::new(8, Some(path.clone()), 6).expect("a pipe");
        let mut buffer = [0; 4];
        stream.read(&mut buffer, 100);
        assert!(!path.exists());
        write_all(&writer, b"0123456789");
        stream.read(&mut buffer, 100);
        assert_eq!(std::fs::read(&path).expect("a file"), b"012345");
        assert_eq!(stream.take_trouble(), None);
        assert_eq!(stream.into_parts(), (10, b"23456789".to_vec()));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_of_and_stops_nothing() {
        let full = PathBuf::from("/dev/full");
        let missing = PathBuf::from("/proc/no/such/file");
        let folder = tempfile::tempdir().expect("a directory");
        let [pipe, link, other] = ["pipe", "link", "other"].map(|name| folder.path().join(name));
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0)
            .expect("a pipe that nobody reads");
        std::os::unix::fs::symlink(&other, &link).expect("a link");
        for path in [full, missing, pipe, link] {
            let (mut stream, writer) = Stream::new(8, Some(path.clone()), 6).expect("a pipe");
            write_all(&writer, b"0123456789");
            assert_eq!(stream.read(&mut [0; 4], 100), Flow::Dry);
            let trouble = stream.take_trouble().expect("a file that cannot be written");
            assert!(trouble.contains(&path.display().to_string()), "{trouble}");
            assert_eq!(stream.into_parts(), (10, b"23456789".to_vec()));
        }
        assert!(!other.exists(), "what the link leads to is not ours");
    }
}
