//! One running task: its process, its outputs and its directory.

use crate::output::Stream;
use crate::sys::{self, Child, Status};
use punctual_core::Nanos;
use punctual_core::task::Exit;
use punctual_wire::task::EndKind;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Instant;

/// Bytes of an output that are read in one go; then it is the turn of others.
const READ_BUDGET: usize = 1 << 20;
/// The exit code of a process whose own is not to be had.
const CODE_UNKNOWN: i32 = 255;

/// A run, from the start of its process to its report.
#[derive(Debug)]
pub(crate) struct Run {
    child: Child,
    started: Nanos,
    stdout: Stream,
    stderr: Stream,
    folder: Option<PathBuf>,
    /// The most memory that all its processes were seen to have together, in bytes.
    memory: u64,
    /// Its process has ended, and somebody else has its outputs open. They are waited for until
    /// then.
    until: Option<Nanos>,
}

impl Run {
    pub(crate) fn new(
        child: Child,
        started: Nanos,
        [stdout, stderr]: [Stream; 2],
        folder: Option<PathBuf>,
    ) -> Self {
        Self { child, started, stdout, stderr, folder, memory: 0, until: None }
    }

    /// Number of its process, of its process group and of its session.
    pub(crate) fn session(&self) -> i32 {
        self.child.pid.as_raw_pid()
    }

    pub(crate) fn started(&self) -> Nanos {
        self.started
    }

    /// Until when it waits for its outputs, if that is all that it does.
    pub(crate) fn until(&self) -> Option<Nanos> {
        self.until
    }

    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// The pipes that are still open.
    pub(crate) fn pipes(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [self.stdout.pipe(), self.stderr.pipe()]
    }

    /// Whether nobody can write to its outputs any more.
    pub(crate) fn is_silent(&self) -> bool {
        self.pipes().iter().all(Option::is_none)
    }

    /// Sends a signal to all processes of its group. While this run exists the number of the group
    /// is its own: the process is not reaped before.
    pub(crate) fn signal(&self, signal: Signal) {
        // A group that is gone is no error.
        let _ = rustix::process::kill_process_group(self.child.pid, signal);
    }

    /// Kills all processes of its group, and its first one even if it has left the group.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
        let _ = rustix::process::pidfd_send_signal(&self.child.pidfd, Signal::KILL);
    }

    /// Reads what there is of both outputs, within bounds.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) {
        self.stdout.read(buffer, READ_BUDGET);
        self.stderr.read(buffer, READ_BUDGET);
    }

    pub(crate) fn wait_until(&mut self, until: Nanos) {
        self.until = Some(until);
    }

    /// All its processes together have so much memory now.
    pub(crate) fn note_memory(&mut self, bytes: u64) {
        self.memory = self.memory.max(bytes);
    }

    /// Kills it and forgets it. Waits for its end, but not beyond the deadline: a process that
    /// hangs in the kernel ends when it can.
    pub(crate) fn abandon(self, deadline: Instant) {
        self.kill();
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        let mut fds = [PollFd::new(&self.child.pidfd, PollFlags::IN)];
        if matches!(rustix::event::poll(&mut fds, timeout.as_ref()), Ok(1..)) {
            let _ = sys::reap(self.pidfd());
        }
        self.remove_folder();
    }

    /// The report of a run whose process has ended.
    pub(crate) fn into_exit(mut self, now: Nanos) -> Exit {
        let ended = sys::reap(self.pidfd());
        let ended = ended.and_then(|ended| ended.ok_or_else(|| io::Error::other("it runs")));
        for trouble in [self.stdout.take_trouble(), self.stderr.take_trouble()] {
            self.stderr.note(&trouble.unwrap_or_default());
        }
        if let Err(error) = &ended {
            let why = "this program, or who started it, ignores SIGCHLD";
            self.stderr.note(&format!("punctual: its exit code is not known: {error}; {why}\n"));
        }
        let (kind, code) = match ended.as_ref().map(|ended| ended.status) {
            Ok(Status::Exited(code)) => (EndKind::Exited, code),
            Ok(Status::Signaled(signal)) => (EndKind::Signaled, signal),
            Err(_) => (EndKind::Exited, CODE_UNKNOWN),
        };
        let (cpu, peak) = ended.map(|ended| (ended.cpu, ended.memory_peak)).unwrap_or_default();
        // A peak that is not above our own says nothing about the task.
        let peak = if sys::is_above_own_peak(peak) { peak } else { 0 };
        self.remove_folder();
        let (stdout_bytes, stdout) = self.stdout.into_parts();
        let (stderr_bytes, stderr) = self.stderr.into_parts();
        Exit {
            kind,
            code,
            ran_ns: nanos(now.since(self.started)),
            cpu_ns: nanos(cpu),
            memory: self.memory.max(peak),
            stdout_bytes,
            stdout,
            stderr_bytes,
            stderr,
            is_shortage: false,
        }
    }

    /// Removes its directory, unless there is something in it.
    fn remove_folder(&self) {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
