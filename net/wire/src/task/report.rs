//! How a run of a task ended.

use super::parts::{head, len32, part, unknown, within};
use super::{Attempt, TaskId};
use crate::WireError;
use std::fmt;
use zerocopy::little_endian::{I32, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of each of stdout and stderr that a report carries at most: the end of it.
pub const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EndKind {
    /// By itself, with an exit code.
    Exited = 0,
    /// By a signal, whose number is the code.
    Signaled = 1,
    /// It was killed at its time limit.
    TimedOut = 2,
    /// It was killed for want of memory; the code is how many MiB it had.
    OutOfMemory = 3,
    /// It did not begin; the code is the system's number of the error.
    NotStarted = 4,
    /// Its worker was lost, too often. Only the queue says so.
    Lost = 5,
}

impl EndKind {
    /// All, in the order of their codes.
    pub const ALL: [Self; 6] = [
        Self::Exited,
        Self::Signaled,
        Self::TimedOut,
        Self::OutOfMemory,
        Self::NotStarted,
        Self::Lost,
    ];

    /// The kind with this code.
    #[inline]
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// A name for JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Signaled => "signaled",
            Self::TimedOut => "timed_out",
            Self::OutOfMemory => "out_of_memory",
            Self::NotStarted => "not_started",
            Self::Lost => "lost",
        }
    }
}

/// How a run ended, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EndSummary {
    /// How.
    pub kind: EndKind,
    /// What it means depends on the kind.
    pub code: i32,
}

impl fmt::Display for EndSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code;
        match self.kind {
            EndKind::Exited => write!(f, "exit code {code}"),
            EndKind::Signaled => write!(f, "killed by signal {code}"),
            EndKind::TimedOut => f.write_str("timed out"),
            EndKind::OutOfMemory => write!(f, "killed for want of memory with {code} MiB"),
            EndKind::NotStarted => write!(f, "could not be started: errno {code}"),
            EndKind::Lost => f.write_str("lost with its worker"),
        }
    }
}

/// The end of what a task wrote, and how much that was in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Captured<'a> {
    /// Bytes that it wrote.
    pub bytes: u64,
    /// The last of them, at most [`OUTPUT_BYTES_MAX`].
    pub tail: &'a [u8],
}

/// The fixed part of the end of a run; the two outputs follow.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct EndHead {
    kind: u8,
    code: I32,
    waited_ns: U64,
    ran_ns: U64,
    cpu_ns: U64,
    memory: U64,
    stdout_bytes: U64,
    stderr_bytes: U64,
    stdout_len: U32,
    stderr_len: U32,
}
const _: () = assert!(size_of::<EndHead>() == 61);

/// How a run ended, what it took and what it wrote. The same bytes are in a message and in the
/// queue's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskEnd<'a> {
    /// How it ended.
    pub kind: EndKind,
    /// What it means depends on the kind.
    pub code: i32,
    /// Nanoseconds from its arrival at the worker to its start.
    pub waited_ns: u64,
    /// Nanoseconds that it ran.
    pub ran_ns: u64,
    /// Nanoseconds of processor time that it used.
    pub cpu_ns: u64,
    /// The most memory that it had, in bytes.
    pub memory: u64,
    /// What it wrote to its standard output.
    pub stdout: Captured<'a>,
    /// What it wrote to its standard error.
    pub stderr: Captured<'a>,
}

impl<'a> TaskEnd<'a> {
    /// Whether the task succeeded: it ended by itself, with exit code 0.
    #[inline]
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.kind == EndKind::Exited && self.code == 0
    }

    /// How it ended, in words.
    #[must_use]
    pub fn summary(&self) -> EndSummary {
        EndSummary { kind: self.kind, code: self.code }
    }

    /// Bytes that [`write_to`](Self::write_to) appends.
    #[inline]
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        size_of::<EndHead>() + self.stdout.tail.len() + self.stderr.tail.len()
    }

    /// Appends the end. That it is within the limits is for the caller to see to.
    #[inline]
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(EndHead::new(self).as_bytes());
        for part in self.parts() {
            out.extend_from_slice(part);
        }
    }

    /// Reads an end from the start of `bytes`, and says how many of them it takes.
    ///
    /// # Errors
    /// When it is cut short, over a limit, or its kind unknown.
    #[inline]
    pub fn read_from(bytes: &'a [u8]) -> Result<(Self, usize), WireError> {
        let mut rest = bytes;
        let end = Self::read(&mut rest)?;
        Ok((end, bytes.len() - rest.len()))
    }

    /// Reads an end with its head, and moves on.
    #[inline]
    pub(super) fn read(rest: &mut &'a [u8]) -> Result<Self, WireError> {
        let head: &EndHead = head(rest, "end of a task")?;
        head.read(rest)
    }

    /// What follows the head.
    #[inline]
    pub(super) fn parts(&self) -> [&'a [u8]; 2] {
        [self.stdout.tail, self.stderr.tail]
    }
}

impl EndHead {
    #[inline]
    pub(super) fn new(end: &TaskEnd<'_>) -> Self {
        debug_assert!(end.stdout.tail.len() <= OUTPUT_BYTES_MAX, "stdout of a task is too long");
        debug_assert!(end.stderr.tail.len() <= OUTPUT_BYTES_MAX, "stderr of a task is too long");
        Self {
            kind: end.kind as u8,
            code: I32::new(end.code),
            waited_ns: U64::new(end.waited_ns),
            ran_ns: U64::new(end.ran_ns),
            cpu_ns: U64::new(end.cpu_ns),
            memory: U64::new(end.memory),
            stdout_bytes: U64::new(end.stdout.bytes),
            stderr_bytes: U64::new(end.stderr.bytes),
            stdout_len: len32(end.stdout.tail),
            stderr_len: len32(end.stderr.tail),
        }
    }

    /// Reads what follows the head, and moves on.
    #[inline]
    pub(super) fn read<'a>(&self, rest: &mut &'a [u8]) -> Result<TaskEnd<'a>, WireError> {
        let kind = EndKind::from_code(self.kind)
            .ok_or_else(|| unknown("kind of the end of a task", self.kind))?;
        Ok(TaskEnd {
            kind,
            code: self.code.get(),
            waited_ns: self.waited_ns.get(),
            ran_ns: self.ran_ns.get(),
            cpu_ns: self.cpu_ns.get(),
            memory: self.memory.get(),
            stdout: captured(rest, self.stdout_bytes, self.stdout_len)?,
            stderr: captured(rest, self.stderr_bytes, self.stderr_len)?,
        })
    }
}

#[inline]
fn captured<'a>(rest: &mut &'a [u8], bytes: U64, len: U32) -> Result<Captured<'a>, WireError> {
    let len = within(len.get() as usize, OUTPUT_BYTES_MAX, "the length of an output in bytes")?;
    Ok(Captured { bytes: bytes.get(), tail: part(rest, len, "output of a task")? })
}

/// A message about one run of a task that says no more.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RunBytes {
    tag: u8,
    task: U64,
    attempt: U32,
}

impl RunBytes {
    #[inline]
    pub(super) fn new(tag: u8, task: TaskId, attempt: Attempt) -> Self {
        Self { tag, task: U64::new(task.0), attempt: U32::new(attempt.0) }
    }

    #[inline]
    pub(super) fn read(&self) -> (TaskId, Attempt) {
        (TaskId(self.task.get()), Attempt(self.attempt.get()))
    }
}

/// Which run a report or a return is about, and its place among them.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct SeqRun {
    seq: U64,
    task: U64,
    attempt: U32,
}

impl SeqRun {
    #[inline]
    pub(super) fn new(seq: u64, task: TaskId, attempt: Attempt) -> Self {
        Self { seq: U64::new(seq), task: U64::new(task.0), attempt: U32::new(attempt.0) }
    }

    #[inline]
    pub(super) fn read(&self) -> (u64, TaskId, Attempt) {
        (self.seq.get(), TaskId(self.task.get()), Attempt(self.attempt.get()))
    }
}

/// Why a worker gives a task back without an end of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ReturnReason {
    /// The queue asked for it, and it had not begun.
    Recalled = 0,
    /// The worker is about to stop; it had not begun, or was ended for that.
    Draining = 1,
    /// The worker has no memory left for it: it had not begun, or was killed.
    LowMemory = 2,
    /// The worker can never run it.
    Unfit = 3,
    /// The worker's machine was short of what it takes to start any task, such as open files,
    /// processes or disk space; it had not begun.
    Shortage = 4,
}

impl ReturnReason {
    /// All, in the order of their codes.
    pub const ALL: [Self; 5] =
        [Self::Recalled, Self::Draining, Self::LowMemory, Self::Unfit, Self::Shortage];

    /// The reason with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}
