//! The guardian: a second process that outlives a worker just long enough to clean up after it.
//!
//! A worker that is killed cannot end its tasks. The kernel does it for their first processes (the
//! parent-death signal), but not for what these have started. So the worker tells its guardian,
//! through a pipe, which sessions it has begun and which have ended. When the pipe ends without a
//! word the worker is dead, and the guardian kills whatever is left of these sessions, then ends.
//!
//! The guardian is in a session of its own, so that nothing that is aimed at the worker's terminal
//! or group hits it too.

use crate::output::above_standard;
use crate::procs;
use crate::strings::CStrings;
use crate::sys::{self, Child, Orders, Spawner, Step};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// This program, whatever has become of its file.
const OWN_PROGRAM: &[u8] = b"/proc/self/exe";
/// The name under which the guardian sees itself.
const OWN_NAME: &[u8] = b"punctual";
/// A word to the guardian: the number of a session that has begun, or minus that of one that has
/// ended.
const WORD_BYTES: usize = size_of::<i64>();
/// Words that may wait for a guardian that does not read; then it is given up.
const QUEUE_BYTES_MAX: usize = 64 << 10;
/// Words that are read at once: all that a pipe holds.
const BUFFER_BYTES: usize = 64 << 10;
/// From one reading to the next. There is no hurry, and a guardian that wakes up for each task
/// takes time from the tasks.
const PAUSE: Duration = Duration::from_millis(10);
/// Sessions that a guardian remembers; no machine has more processes that matter.
const SESSIONS_MAX: usize = 1 << 17;

/// The worker's end.
#[derive(Debug)]
pub(crate) struct Guardian {
    child: Child,
    pipe: OwnedFd,
    queued: Vec<u8>,
}

impl Guardian {
    /// Starts this program once more, with these arguments.
    pub(crate) fn start(
        spawner: &mut Spawner,
        null: BorrowedFd<'_>,
        environment: &CStrings,
        arguments: &[OsString],
    ) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let reader = above_standard(OwnedFd::from(reader))?;
        let pipe = OwnedFd::from(writer);
        rustix::fs::fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
        let arguments = arguments.iter().map(|argument| argument.as_bytes());
        let bad = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let step = Step {
            paths: CStrings::of([OWN_PROGRAM]).map_err(bad)?,
            arguments: CStrings::of([OWN_NAME].into_iter().chain(arguments)).map_err(bad)?,
        };
        let orders = Orders {
            steps: &[step],
            environment,
            // It must not keep a file system busy.
            directory: Some(c"/"),
            stdio: [reader.as_fd(), null, null],
            dies_with_parent: false,
            files: None,
            cores: None,
        };
        let child = spawner.spawn(&orders).map_err(|error| io::Error::from(error.errno))?;
        Ok(Self { child, pipe, queued: Vec::new() })
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> i32 {
        self.child.pid.as_raw_pid()
    }

    /// A session has begun.
    pub(crate) fn add(&mut self, session: i32) {
        self.queued.extend_from_slice(&i64::from(session).to_le_bytes());
    }

    /// A session is about to end for good.
    pub(crate) fn remove(&mut self, session: i32) {
        self.queued.extend_from_slice(&(-i64::from(session)).to_le_bytes());
    }

    /// Tells what there is to tell, as far as there is room. An error means that there is no
    /// guardian any more, or one that does not listen.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while !self.queued.is_empty() {
            match rustix::io::write(&self.pipe, &self.queued) {
                Ok(len) => drop(self.queued.drain(..len)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if self.queued.len() <= QUEUE_BYTES_MAX => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        // Whoever drops it has ended the tasks, or starts another one: an old guardian that heard
        // the pipe end would kill what it is not to touch.
        let _ = rustix::process::pidfd_send_signal(&self.child.pidfd, Signal::KILL);
        let _ = sys::wait_and_reap(self.child.pidfd.as_fd());
    }
}

/// The whole of a guardian's process: ignores the signals that are meant for the worker, and
/// guards by what it reads. A program calls it with its standard input when it is started with the
/// arguments in [`ProcessConfig::guardian`](crate::ProcessConfig::guardian), before it does
/// anything else, and ends when it returns.
pub fn guardian_main(input: impl Read) {
    sys::ignore_signals(&[Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM]);
    guard(input);
}

/// Remembers the sessions that it is told of by words of eight bytes (little-endian: a session
/// that has begun, or minus one that has ended), until the input ends; then kills all processes of
/// those that are left.
pub fn guard(mut input: impl Read) {
    let mut sessions: HashSet<i32> = HashSet::new();
    let mut buffer = vec![0_u8; BUFFER_BYTES];
    // Of a word that has not come as a whole.
    let mut kept = 0;
    loop {
        let end = match input.read(&mut buffer[kept..]) {
            Ok(0) => break,
            Ok(len) => kept + len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => kept,
            Err(_) => break,
        };
        let (words, rest) = buffer[..end].as_chunks::<WORD_BYTES>();
        kept = rest.len();
        words.iter().for_each(|word| heed(&mut sessions, i64::from_le_bytes(*word)));
        buffer.copy_within(end - kept..end, 0);
        std::thread::sleep(PAUSE);
    }
    if sessions.is_empty() {
        return;
    }
    if procs::kill_sessions(&sessions).is_err() {
        // Without a /proc what is left is to go by the groups that the sessions began with.
        for group in sessions.into_iter().filter_map(Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

/// Does as a word says; one that means nothing is ignored.
fn heed(sessions: &mut HashSet<i32>, word: i64) {
    // Neither "all processes" (-1 as an argument of kill) nor init can be a task.
    let session = i32::try_from(word.unsigned_abs()).ok().filter(|session| *session > 1);
    let Some(session) = session else { return };
    if word < 0 {
        sessions.remove(&session);
    } else if sessions.len() < SESSIONS_MAX {
        sessions.insert(session);
    }
}
