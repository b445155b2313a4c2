//! The records of a queue's log and of its snapshots.
//!
//! A record says what was done to one job, task or worker. Done again in this order, they make the
//! same queue.

use crate::journal::{Lsn, Record, write_task};
use crate::{Nanos, SessionId};
use punctual_wire::task::{JobId, TaskEnd, TaskSpec, TaskState};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

const JOB_OPENED: u8 = 1;
const SUBMITTED: u8 = 2;
const ENLISTED: u8 = 3;
const DISMISSED: u8 = 4;
const LEASED: u8 = 5;
const ENDED: u8 = 6;
const GIVEN_BACK: u8 = 7;
const CANCELLED: u8 = 8;
const REVIVED: u8 = 9;
const REMOVED: u8 = 10;
const OUTPUT_DROPPED: u8 = 11;
const STATE: u8 = 12;
const KEPT: u8 = 13;
const NAMED: u8 = 14;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskRecord<'a> {
    JobOpened {
        job: JobId,
        at: Nanos,
        name: &'a [u8],
    },
    Submitted {
        sequence: u64,
        at: Nanos,
        spec: TaskSpec<'a>,
    },
    Enlisted {
        worker: u32,
        session: SessionId,
        at: Nanos,
        name: &'a [u8],
    },
    Dismissed {
        worker: u32,
    },
    Leased {
        sequence: u64,
        worker: u32,
        at: Nanos,
    },
    Ended {
        sequence: u64,
        at: Nanos,
        next: TaskState,
        due: Nanos,
        end: TaskEnd<'a>,
    },
    GivenBack {
        sequence: u64,
        avoid: bool,
    },
    Cancelled {
        sequence: u64,
        at: Nanos,
    },
    Revived {
        sequence: u64,
        at: Nanos,
    },
    Removed {
        sequence: u64,
    },
    OutputDropped {
        sequence: u64,
    },
    /// The scalars of a queue; the first record of a snapshot.
    State {
        last: u64,
        latest: Nanos,
    },
    /// A task of a snapshot, all of it.
    Kept {
        sequence: u64,
        kept: Kept<'a>,
    },
    /// The next name of a worker, in a snapshot.
    Named {
        name: &'a [u8],
    },
    /// The last record of a snapshot.
    End {
        tasks: u64,
    },
}

/// A task of a snapshot beside what it was submitted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept<'a> {
    pub(super) spec: TaskSpec<'a>,
    pub(super) state: TaskState,
    pub(super) submitted_at: i64,
    pub(super) leased_at: i64,
    pub(super) turned_at: i64,
    pub(super) attempt: u32,
    pub(super) worker: u32,
    pub(super) worker_name: u32,
    pub(super) failures: u16,
    pub(super) losses: u16,
    pub(super) cause: u64,
    /// Sequences, 8 bytes each.
    pub(super) after: &'a [[u8; 8]],
    /// Numbers of names, 4 bytes each.
    pub(super) failed_on: &'a [[u8; 4]],
    pub(super) end: Option<TaskEnd<'a>>,
}

/// Reads fields one after the other.
struct Fields<'a>(&'a [u8]);

/// Something that a record cannot hold.
pub(super) type Misfit = &'static str;

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Misfit> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or("a record is cut short")?;
        self.0 = rest;
        Ok(*field)
    }

    fn u8(&mut self) -> Result<u8, Misfit> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, Misfit> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Misfit> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Misfit> {
        self.take().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Result<i64, Misfit> {
        self.take().map(i64::from_le_bytes)
    }

    fn nanos(&mut self) -> Result<Nanos, Misfit> {
        self.i64().map(Nanos)
    }

    fn state(&mut self) -> Result<TaskState, Misfit> {
        TaskState::from_code(self.u8()?).ok_or("a state that there is not")
    }

    fn rows<const N: usize>(&mut self) -> Result<&'a [[u8; N]], Misfit> {
        let count = self.u32()? as usize;
        let len = count.checked_mul(N).ok_or("a list that is too long")?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or("a record is cut short")?;
        self.0 = rest;
        Ok(bytes.as_chunks::<N>().0)
    }

    fn spec(&mut self) -> Result<TaskSpec<'a>, Misfit> {
        let (spec, len) = TaskSpec::read_from(self.0).map_err(|_| "a task that cannot be read")?;
        self.0 = &self.0[len..];
        Ok(spec)
    }

    fn end(&mut self) -> Result<TaskEnd<'a>, Misfit> {
        let (end, len) = TaskEnd::read_from(self.0).map_err(|_| "an end that cannot be read")?;
        self.0 = &self.0[len..];
        Ok(end)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

impl<'a> TaskRecord<'a> {
    /// Appends it. Returns its length.
    #[inline]
    pub(super) fn write(&self, out: &mut Vec<u8>) -> usize {
        match *self {
            Self::Leased { sequence, worker, at } => write_task(out, LEASED, |out| {
                out.extend_from_slice(&sequence.to_le_bytes());
                out.extend_from_slice(&worker.to_le_bytes());
                out.extend_from_slice(&at.0.to_le_bytes());
            }),
            Self::Submitted { sequence, at, ref spec } => write_task(out, SUBMITTED, |out| {
                out.extend_from_slice(&sequence.to_le_bytes());
                out.extend_from_slice(&at.0.to_le_bytes());
                spec.write_to(out);
            }),
            Self::Ended { sequence, at, next, due, ref end } => write_task(out, ENDED, |out| {
                out.extend_from_slice(&sequence.to_le_bytes());
                out.extend_from_slice(&at.0.to_le_bytes());
                out.push(next as u8);
                out.extend_from_slice(&due.0.to_le_bytes());
                end.write_to(out);
            }),
            Self::Kept { sequence, ref kept } => write_task(out, KEPT, |out| {
                out.extend_from_slice(&sequence.to_le_bytes());
                kept.write(out);
            }),
            _ => self.write_rare(out),
        }
    }

    fn write_rare(&self, out: &mut Vec<u8>) -> usize {
        let with = |out: &mut Vec<u8>, kind, fields: &[&[u8]]| {
            write_task(out, kind, |out| fields.iter().for_each(|it| out.extend_from_slice(it)))
        };
        match *self {
            Self::JobOpened { job, at, name } => {
                with(out, JOB_OPENED, &[&job.0.to_le_bytes(), &at.0.to_le_bytes(), name])
            }
            Self::Enlisted { worker, session, at, name } => {
                let (worker, session) = (worker.to_le_bytes(), session.0.to_le_bytes());
                with(out, ENLISTED, &[&worker, &session, &at.0.to_le_bytes(), name])
            }
            Self::Dismissed { worker } => with(out, DISMISSED, &[&worker.to_le_bytes()]),
            Self::GivenBack { sequence, avoid } => {
                with(out, GIVEN_BACK, &[&sequence.to_le_bytes(), &[u8::from(avoid)]])
            }
            Self::Cancelled { sequence, at } => {
                with(out, CANCELLED, &[&sequence.to_le_bytes(), &at.0.to_le_bytes()])
            }
            Self::Revived { sequence, at } => {
                with(out, REVIVED, &[&sequence.to_le_bytes(), &at.0.to_le_bytes()])
            }
            Self::Removed { sequence } => with(out, REMOVED, &[&sequence.to_le_bytes()]),
            Self::OutputDropped { sequence } => {
                with(out, OUTPUT_DROPPED, &[&sequence.to_le_bytes()])
            }
            Self::State { last, latest } => {
                with(out, STATE, &[&last.to_le_bytes(), &latest.0.to_le_bytes()])
            }
            Self::Named { name } => with(out, NAMED, &[name]),
            Self::End { tasks } => Record::End { keys: tasks }.write(out),
            _ => unreachable!("the caller has written the others"),
        }
    }

    /// Reads it back.
    #[inline]
    pub(super) fn read(kind: u8, body: &'a [u8]) -> Result<Self, Misfit> {
        let mut fields = Fields(body);
        let record = match kind {
            JOB_OPENED => Self::JobOpened {
                job: JobId(fields.u32()?),
                at: fields.nanos()?,
                name: fields.rest(),
            },
            SUBMITTED => Self::Submitted {
                sequence: fields.u64()?,
                at: fields.nanos()?,
                spec: fields.spec()?,
            },
            ENLISTED => Self::Enlisted {
                worker: fields.u32()?,
                session: SessionId(fields.u64()?),
                at: fields.nanos()?,
                name: fields.rest(),
            },
            DISMISSED => Self::Dismissed { worker: fields.u32()? },
            LEASED => {
                Self::Leased { sequence: fields.u64()?, worker: fields.u32()?, at: fields.nanos()? }
            }
            ENDED => Self::Ended {
                sequence: fields.u64()?,
                at: fields.nanos()?,
                next: fields.state()?,
                due: fields.nanos()?,
                end: fields.end()?,
            },
            GIVEN_BACK => Self::GivenBack { sequence: fields.u64()?, avoid: fields.u8()? != 0 },
            CANCELLED => Self::Cancelled { sequence: fields.u64()?, at: fields.nanos()? },
            REVIVED => Self::Revived { sequence: fields.u64()?, at: fields.nanos()? },
            REMOVED => Self::Removed { sequence: fields.u64()? },
            OUTPUT_DROPPED => Self::OutputDropped { sequence: fields.u64()? },
            STATE => Self::State { last: fields.u64()?, latest: fields.nanos()? },
            KEPT => Self::Kept { sequence: fields.u64()?, kept: Kept::read(&mut fields)? },
            NAMED => Self::Named { name: fields.rest() },
            _ => return Err("a record of a kind that there is not"),
        };
        if fields.0.is_empty() { Ok(record) } else { Err("a record that is too long") }
    }
}

impl<'a> Kept<'a> {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.state as u8);
        for time in [self.submitted_at, self.leased_at, self.turned_at] {
            out.extend_from_slice(&time.to_le_bytes());
        }
        for number in [self.attempt, self.worker, self.worker_name] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.failures.to_le_bytes());
        out.extend_from_slice(&self.losses.to_le_bytes());
        out.extend_from_slice(&self.cause.to_le_bytes());
        let len = |len: usize| u32::try_from(len).expect("ties are bounded").to_le_bytes();
        out.extend_from_slice(&len(self.after.len()));
        out.extend_from_slice(self.after.as_flattened());
        out.extend_from_slice(&len(self.failed_on.len()));
        out.extend_from_slice(self.failed_on.as_flattened());
        self.spec.write_to(out);
        out.push(u8::from(self.end.is_some()));
        if let Some(end) = &self.end {
            end.write_to(out);
        }
    }

    fn read(fields: &mut Fields<'a>) -> Result<Self, Misfit> {
        Ok(Self {
            state: fields.state()?,
            submitted_at: fields.i64()?,
            leased_at: fields.i64()?,
            turned_at: fields.i64()?,
            attempt: fields.u32()?,
            worker: fields.u32()?,
            worker_name: fields.u32()?,
            failures: fields.u16()?,
            losses: fields.u16()?,
            cause: fields.u64()?,
            after: fields.rows()?,
            failed_on: fields.rows()?,
            spec: fields.spec()?,
            end: match fields.u8()? {
                0 => None,
                _ => Some(fields.end()?),
            },
        })
    }
}

impl fmt::Display for TaskRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy;
        match *self {
            Self::JobOpened { job, name, .. } => write!(f, "job {} opened: {}", job.0, text(name)),
            Self::Submitted { sequence, ref spec, .. } => {
                let (job, bytes) = (spec.job.0, spec.payload.len());
                write!(f, "task {sequence} of job {job} submitted, {bytes} bytes")
            }
            Self::Enlisted { worker, session, name, .. } => {
                write!(f, "worker {worker} enlisted: {} ({session})", text(name))
            }
            Self::Dismissed { worker } => write!(f, "worker {worker} dismissed"),
            Self::Leased { sequence, worker, .. } => {
                write!(f, "task {sequence} leased to worker {worker}")
            }
            Self::Ended { sequence, next, ref end, .. } => {
                let (kind, code, next) = (end.kind, end.code, next.name());
                write!(f, "task {sequence} ended: {kind:?} {code}; now {next}")
            }
            Self::GivenBack { sequence, .. } => write!(f, "task {sequence} given back"),
            Self::Cancelled { sequence, .. } => write!(f, "task {sequence} cancelled"),
            Self::Revived { sequence, .. } => write!(f, "task {sequence} to run again"),
            Self::Removed { sequence } => write!(f, "task {sequence} removed"),
            Self::OutputDropped { sequence } => write!(f, "output of task {sequence} dropped"),
            Self::State { last, .. } => write!(f, "queue with tasks up to {last}"),
            Self::Kept { sequence, ref kept } => {
                write!(f, "task {sequence}, {}, attempt {}", kept.state.name(), kept.attempt)
            }
            Self::Named { name } => write!(f, "worker name {}", text(name)),
            Self::End { tasks } => write!(f, "end, {tasks} tasks"),
        }
    }
}

/// What a record of a queue's journal says, for people; nothing if it cannot be read.
#[must_use]
pub fn describe_record(kind: u8, body: &[u8]) -> Option<String> {
    TaskRecord::read(kind, body).ok().map(|record| record.to_string())
}

/// The end of the log, which is in memory.
#[derive(Debug)]
pub(super) struct TaskLog {
    is_on: bool,
    buffer: Vec<u8>,
    pub(super) tail: Lsn,
    pub(super) durable: Lsn,
    /// What was handed out to be written and is not durable, each with when its first record came.
    under_way: VecDeque<(Lsn, Nanos)>,
    since: Nanos,
    pub(super) is_full: bool,
}

impl TaskLog {
    pub(super) fn new(is_on: bool) -> Self {
        Self {
            is_on,
            buffer: Vec::new(),
            tail: Lsn::ZERO,
            durable: Lsn::ZERO,
            under_way: VecDeque::new(),
            since: Nanos::ZERO,
            is_full: false,
        }
    }

    pub(super) fn resume(&mut self, at: Lsn) {
        (self.tail, self.durable) = (at, at);
    }

    #[inline]
    pub(super) fn append(&mut self, now: Nanos, record: &TaskRecord<'_>) {
        if !self.is_on {
            return;
        }
        if self.buffer.is_empty() {
            self.since = now;
        }
        let len = record.write(&mut self.buffer);
        self.tail = self.tail.plus(len);
    }

    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn take(&mut self, buffer: &mut Vec<u8>) -> Lsn {
        buffer.clear();
        let at = Lsn(self.tail.0 - self.buffer.len() as u64);
        if !self.buffer.is_empty() {
            std::mem::swap(buffer, &mut self.buffer);
            self.under_way.push_back((self.tail, self.since));
        }
        at
    }

    pub(super) fn on_durable(&mut self, lsn: Lsn) {
        self.durable = self.durable.max(lsn.min(self.tail));
        while self.under_way.front().is_some_and(|(end, _)| *end <= self.durable) {
            self.under_way.pop_front();
        }
    }

    pub(super) fn lag(&self, now: Nanos) -> Duration {
        let oldest = self.under_way.front().map(|(_, since)| *since);
        let oldest = oldest.or((!self.buffer.is_empty()).then_some(self.since));
        oldest.map_or(Duration::ZERO, |since| now.since(since))
    }
}

impl<'a> TaskRecord<'a> {
    /// The record of a queue that a record of a journal is.
    pub(super) fn of(record: &Record<'a>) -> Option<Result<Self, Misfit>> {
        match *record {
            Record::Task { kind, body } => Some(Self::read(kind, body)),
            Record::End { keys } => Some(Ok(Self::End { tasks: keys })),
            _ => None,
        }
    }
}
