//! The rows in which a queue shows its tasks, jobs and workers.

use super::capacity::CapacityBytes;
use super::parts::{
    TEXT_BYTES_MAX, cut, flag, head, len16, len32, part, put, text, unknown, within,
};
use super::report::EndHead;
use super::view::CountBytes;
use super::{
    Attempt, Capacity, JOB_NAME_BYTES_MAX, JobId, PAYLOAD_BYTES_MAX, StateCounts, TaskEnd, TaskId,
    TaskKey, TaskState,
};
use crate::{BatchWriter, FrameKind, WireError};
use zerocopy::little_endian::{I32, I64, U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const KIND: FrameKind = FrameKind::TaskPush;

/// When what happened to a task, in nanoseconds since 1970; 0: not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskTimes {
    /// It was submitted.
    pub submitted: i64,
    /// It was given to a worker, the last time.
    pub leased: i64,
    /// Its last run ended.
    pub ended: i64,
    /// It will be tried again, if it is delayed.
    pub due: i64,
}

/// A task as a client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskRow<'a> {
    /// Which.
    pub id: TaskId,
    /// What it is known by in its job.
    pub key: TaskKey,
    /// Its job.
    pub job: JobId,
    /// Where it is in its life.
    pub state: TaskState,
    /// It is leased, and waits at its worker.
    pub is_ahead: bool,
    /// Higher first.
    pub priority: i32,
    /// Bytes of memory that it asks for.
    pub memory: u64,
    /// Thousandths of a core that it asks for.
    pub cores_milli: u32,
    /// It is killed after so many milliseconds; 0: never.
    pub timeout_ms: u64,
    /// How often it was given out.
    pub attempt: Attempt,
    /// How often it failed.
    pub failures: u16,
    /// How often it may.
    pub attempts_max: u16,
    /// When what happened to it.
    pub times: TaskTimes,
    /// The worker that has or had it; empty: none yet.
    pub worker: &'a [u8],
    /// A [`TaskPayload`](super::TaskPayload).
    pub payload: &'a [u8],
    /// How the last run ended, without what it wrote unless that was asked for.
    pub end: Option<TaskEnd<'a>>,
    /// The workers that it failed at, separated by commas; at most [`TEXT_BYTES_MAX`] bytes of it.
    pub failed_on: &'a [u8],
}

const IS_AHEAD: u8 = 1;
const HAS_END: u8 = 2;

/// The fixed part of a task's row. The worker, the payload, the workers that it failed at and the
/// end follow.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct TaskRowHead {
    tag: u8,
    state: u8,
    /// Bit 0: it waits at its worker; bit 1: there is an end.
    flags: u8,
    request: U32,
    id: U64,
    key: U128,
    job: U32,
    priority: I32,
    memory: U64,
    timeout_ms: U64,
    cores_milli: U32,
    attempt: U32,
    failures: U16,
    attempts_max: U16,
    submitted: I64,
    leased: I64,
    ended: I64,
    due: I64,
    payload_len: U32,
    worker_len: U16,
    failed_on_len: U16,
}
const _: () = assert!(size_of::<TaskRowHead>() == 107);

impl<'a> TaskRow<'a> {
    pub(super) fn put(&self, out: &mut BatchWriter, tag: u8, request: u32) {
        debug_assert!(self.payload.len() <= PAYLOAD_BYTES_MAX, "a payload is too long");
        let (worker, failed_on) =
            (cut(self.worker, TEXT_BYTES_MAX), cut(self.failed_on, TEXT_BYTES_MAX));
        let is_ahead = if self.is_ahead { IS_AHEAD } else { 0 };
        let has_end = if self.end.is_some() { HAS_END } else { 0 };
        let head = TaskRowHead {
            tag,
            state: self.state as u8,
            flags: is_ahead | has_end,
            request: U32::new(request),
            id: U64::new(self.id.0),
            key: U128::new(self.key.0),
            job: U32::new(self.job.0),
            priority: I32::new(self.priority),
            memory: U64::new(self.memory),
            timeout_ms: U64::new(self.timeout_ms),
            cores_milli: U32::new(self.cores_milli),
            attempt: U32::new(self.attempt.0),
            failures: U16::new(self.failures),
            attempts_max: U16::new(self.attempts_max),
            submitted: I64::new(self.times.submitted),
            leased: I64::new(self.times.leased),
            ended: I64::new(self.times.ended),
            due: I64::new(self.times.due),
            payload_len: len32(self.payload),
            worker_len: len16(worker),
            failed_on_len: len16(failed_on),
        };
        match self.end {
            None => put(out, KIND, &head, [worker, self.payload, failed_on]),
            Some(end) => {
                let (end_head, [stdout, stderr]) = (EndHead::new(&end), end.parts());
                let end_head = end_head.as_bytes();
                let parts = [worker, self.payload, failed_on, end_head, stdout, stderr];
                put(out, KIND, &head, parts);
            }
        }
    }

    /// Takes a row, and says which request it answers.
    pub(super) fn read(rest: &mut &'a [u8]) -> Result<(u32, Self), WireError> {
        const WHAT: &str = "row of a task";
        let head: &TaskRowHead = head(rest, WHAT)?;
        if head.flags & !(IS_AHEAD | HAS_END) != 0 {
            return Err(unknown("flags of the row of a task", head.flags));
        }
        let state = TaskState::from_code(head.state)
            .ok_or_else(|| unknown("state of a task", head.state))?;
        let payload_len = head.payload_len.get() as usize;
        within(payload_len, PAYLOAD_BYTES_MAX, "the length of a payload in bytes")?;
        let row = Self {
            id: TaskId(head.id.get()),
            key: TaskKey(head.key.get()),
            job: JobId(head.job.get()),
            state,
            is_ahead: head.flags & IS_AHEAD != 0,
            priority: head.priority.get(),
            memory: head.memory.get(),
            cores_milli: head.cores_milli.get(),
            timeout_ms: head.timeout_ms.get(),
            attempt: Attempt(head.attempt.get()),
            failures: head.failures.get(),
            attempts_max: head.attempts_max.get(),
            times: TaskTimes {
                submitted: head.submitted.get(),
                leased: head.leased.get(),
                ended: head.ended.get(),
                due: head.due.get(),
            },
            // In the order in which they lie there.
            worker: text(rest, head.worker_len)?,
            payload: part(rest, payload_len, WHAT)?,
            failed_on: text(rest, head.failed_on_len)?,
            end: (head.flags & HAS_END != 0).then(|| TaskEnd::read(rest)).transpose()?,
        };
        Ok((head.request.get(), row))
    }
}

/// A job as a client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobRow<'a> {
    /// Its number.
    pub job: JobId,
    /// Its name.
    pub name: &'a [u8],
    /// When it was opened, in nanoseconds since 1970.
    pub opened: i64,
    /// How many of its tasks are in each state.
    pub counts: StateCounts,
}

/// The fixed part of a job's row; its name follows.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct JobRowHead {
    tag: u8,
    name_len: u8,
    request: U32,
    job: U32,
    opened: I64,
    counts: CountBytes,
}
const _: () = assert!(size_of::<JobRowHead>() == 74);

impl<'a> JobRow<'a> {
    pub(super) fn put(&self, out: &mut BatchWriter, tag: u8, request: u32) {
        let name = cut(self.name, JOB_NAME_BYTES_MAX);
        let head = JobRowHead {
            tag,
            name_len: u8::try_from(name.len()).unwrap_or(u8::MAX),
            request: U32::new(request),
            job: U32::new(self.job.0),
            opened: I64::new(self.opened),
            counts: self.counts.to_bytes(),
        };
        put(out, KIND, &head, [name]);
    }

    /// Takes a row, and says which request it answers.
    pub(super) fn read(rest: &mut &'a [u8]) -> Result<(u32, Self), WireError> {
        const WHAT: &str = "row of a job";
        let head: &JobRowHead = head(rest, WHAT)?;
        let row = Self {
            job: JobId(head.job.get()),
            name: part(rest, head.name_len.into(), WHAT)?,
            opened: head.opened.get(),
            counts: StateCounts::from_bytes(&head.counts),
        };
        Ok((head.request.get(), row))
    }
}

/// A worker as a client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerRow<'a> {
    /// What it is called.
    pub name: &'a [u8],
    /// The machine that it is on.
    pub host: &'a [u8],
    /// Its process there.
    pub pid: u32,
    /// What it offers.
    pub capacity: Capacity,
    /// Whether there is a link to it now.
    pub is_linked: bool,
    /// When it was last heard of, in nanoseconds since 1970.
    pub heard: i64,
    /// When it enlisted, in nanoseconds since 1970.
    pub enlisted: i64,
    /// Its tasks that run, as far as the queue knows.
    pub running: u32,
    /// Its tasks that wait there.
    pub ahead: u32,
    /// Tasks that succeeded at it.
    pub done: u64,
    /// Runs that failed at it.
    pub failed: u64,
    /// Leases that it lost.
    pub lost: u64,
    /// Bytes of memory that are free at its machine.
    pub memory_free: u64,
    /// Thousandths of cores that are in use there.
    pub cores_used_milli: u32,
    /// How long its tasks run on average, in nanoseconds; 0: unknown.
    pub mean_ns: u64,
}

/// The fixed part of a worker's row; its name and host follow.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct WorkerRowHead {
    tag: u8,
    is_linked: u8,
    request: U32,
    pid: U32,
    capacity: CapacityBytes,
    heard: I64,
    enlisted: I64,
    running: U32,
    ahead: U32,
    done: U64,
    failed: U64,
    lost: U64,
    memory_free: U64,
    cores_used_milli: U32,
    mean_ns: U64,
    name_len: U16,
    host_len: U16,
}
const _: () = assert!(size_of::<WorkerRowHead>() == 103);

impl<'a> WorkerRow<'a> {
    pub(super) fn put(&self, out: &mut BatchWriter, tag: u8, request: u32) {
        let (name, host) = (cut(self.name, TEXT_BYTES_MAX), cut(self.host, TEXT_BYTES_MAX));
        let head = WorkerRowHead {
            tag,
            is_linked: self.is_linked.into(),
            request: U32::new(request),
            pid: U32::new(self.pid),
            capacity: CapacityBytes::new(self.capacity),
            heard: I64::new(self.heard),
            enlisted: I64::new(self.enlisted),
            running: U32::new(self.running),
            ahead: U32::new(self.ahead),
            done: U64::new(self.done),
            failed: U64::new(self.failed),
            lost: U64::new(self.lost),
            memory_free: U64::new(self.memory_free),
            cores_used_milli: U32::new(self.cores_used_milli),
            mean_ns: U64::new(self.mean_ns),
            name_len: len16(name),
            host_len: len16(host),
        };
        put(out, KIND, &head, [name, host]);
    }

    /// Takes a row, and says which request it answers.
    pub(super) fn read(rest: &mut &'a [u8]) -> Result<(u32, Self), WireError> {
        let head: &WorkerRowHead = head(rest, "row of a worker")?;
        let row = Self {
            name: text(rest, head.name_len)?,
            host: text(rest, head.host_len)?,
            pid: head.pid.get(),
            capacity: head.capacity.read()?,
            is_linked: flag(head.is_linked, "flags of the row of a worker")?,
            heard: head.heard.get(),
            enlisted: head.enlisted.get(),
            running: head.running.get(),
            ahead: head.ahead.get(),
            done: head.done.get(),
            failed: head.failed.get(),
            lost: head.lost.get(),
            memory_free: head.memory_free.get(),
            cores_used_milli: head.cores_used_milli.get(),
            mean_ns: head.mean_ns.get(),
        };
        Ok((head.request.get(), row))
    }
}
