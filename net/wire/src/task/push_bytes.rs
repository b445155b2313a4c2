//! The messages of `TaskPush` frames: how they are written and read.

use super::latencies::DistributionHead;
use super::parts::{
    TEXT_BYTES_MAX, cut, flag, head, len16, len32, part, put, text, unknown, within,
};
use super::report::RunBytes;
use super::view::CountBytes;
use super::{
    Attempt, Distribution, JOB_NAME_BYTES_MAX, JobId, JobRow, PAYLOAD_BYTES_MAX, QueuePush,
    RefusedTask, StateCounts, TaskFault, TaskId, TaskRow, WorkerRow,
};
use crate::message::no_trailing;
use crate::{BatchWriter, Frame, FrameKind, WireError};
use zerocopy::little_endian::{I32, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const JOB_OPENED: u8 = 1;
const SUBMITTED: u8 = 2;
const REFUSED: u8 = 3;
const PROGRESS: u8 = 4;
const ROW: u8 = 5;
const JOB_ROW: u8 = 6;
const WORKER_ROW: u8 = 7;
const END: u8 = 8;
const FAULT: u8 = 9;
const ENLISTED: u8 = 10;
const LEASE: u8 = 11;
const RECALL: u8 = 12;
const CANCEL: u8 = 13;
const ACKED: u8 = 14;
const DRAIN: u8 = 15;
const LATENCIES: u8 = 16;

/// For errors.
const WHAT: &str = "message of a task queue";
const KIND: FrameKind = FrameKind::TaskPush;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct JobOpenedBytes {
    tag: u8,
    request: U32,
    job: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SubmittedBytes {
    tag: u8,
    ticket: U64,
    added: U32,
    known: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RefusedBytes {
    tag: u8,
    reason: u8,
    ticket: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ProgressBytes {
    tag: u8,
    request: U32,
    version: U64,
    counts: CountBytes,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct EndBytes {
    tag: u8,
    more: u8,
    request: U32,
    changed: U64,
    next: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct FaultBytes {
    tag: u8,
    fault: u8,
    request: U32,
}

/// The counts of both distributions follow.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct LatenciesHead {
    tag: u8,
    request: U32,
    wait: DistributionHead,
    lease: DistributionHead,
}
const _: () = assert!(size_of::<LatenciesHead>() == 41);

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct EnlistedHead {
    tag: u8,
    lease_timeout_ms: U32,
    heartbeat_ms: U32,
    name_len: U16,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct LeaseHead {
    tag: u8,
    job_len: u8,
    task: U64,
    attempt: U32,
    priority: I32,
    memory: U64,
    timeout_ms: U64,
    cores_milli: U32,
    payload_len: U32,
}
const _: () = assert!(size_of::<LeaseHead>() == 42);
const _: () = assert!(JOB_NAME_BYTES_MAX <= u8::MAX as usize);

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct AckedBytes {
    tag: u8,
    seq: U64,
}

impl QueuePush<'_> {
    /// Appends the message. Names are cut to their limits; that a payload and the end of a task are
    /// within theirs is for the caller to see to.
    #[inline]
    pub fn write(&self, out: &mut BatchWriter) {
        match *self {
            Self::JobOpened { request, job } => {
                let (request, job) = (U32::new(request), U32::new(job.0));
                put(out, KIND, &JobOpenedBytes { tag: JOB_OPENED, request, job }, []);
            }
            Self::Submitted { ticket, added, known } => {
                let (ticket, added, known) = (U64::new(ticket), U32::new(added), U32::new(known));
                put(out, KIND, &SubmittedBytes { tag: SUBMITTED, ticket, added, known }, []);
            }
            Self::Refused { ticket, reason } => {
                let (reason, ticket) = (reason as u8, U64::new(ticket));
                put(out, KIND, &RefusedBytes { tag: REFUSED, reason, ticket }, []);
            }
            Self::Progress { request, version, counts } => {
                let (request, version) = (U32::new(request), U64::new(version));
                let counts = counts.to_bytes();
                put(out, KIND, &ProgressBytes { tag: PROGRESS, request, version, counts }, []);
            }
            Self::Row { request, row } => row.put(out, ROW, request),
            Self::JobRow { request, row } => row.put(out, JOB_ROW, request),
            Self::WorkerRow { request, row } => row.put(out, WORKER_ROW, request),
            Self::End { request, changed, next, more } => {
                let (request, changed) = (U32::new(request), U64::new(changed));
                let (more, next) = (more.into(), U64::new(next.0));
                put(out, KIND, &EndBytes { tag: END, more, request, changed, next }, []);
            }
            Self::Fault { request, fault } => {
                let (fault, request) = (fault as u8, U32::new(request));
                put(out, KIND, &FaultBytes { tag: FAULT, fault, request }, []);
            }
            Self::Latencies { request, wait, lease } => put_latencies(out, request, &wait, &lease),
            Self::Enlisted { name, lease_timeout_ms, heartbeat_ms } => {
                put_enlisted(out, name, lease_timeout_ms, heartbeat_ms);
            }
            Self::Lease {
                task,
                attempt,
                priority,
                memory,
                cores_milli,
                timeout_ms,
                job,
                payload,
            } => {
                debug_assert!(payload.len() <= PAYLOAD_BYTES_MAX, "a payload is too long");
                let job = cut(job, JOB_NAME_BYTES_MAX);
                let head = LeaseHead {
                    tag: LEASE,
                    job_len: u8::try_from(job.len()).unwrap_or(u8::MAX),
                    task: U64::new(task.0),
                    attempt: U32::new(attempt.0),
                    priority: I32::new(priority),
                    memory: U64::new(memory),
                    timeout_ms: U64::new(timeout_ms),
                    cores_milli: U32::new(cores_milli),
                    payload_len: len32(payload),
                };
                put(out, KIND, &head, [job, payload]);
            }
            Self::Recall { task, attempt } => put_run(out, RECALL, task, attempt),
            Self::Cancel { task, attempt } => put_run(out, CANCEL, task, attempt),
            Self::Acked { seq } => {
                put(out, KIND, &AckedBytes { tag: ACKED, seq: U64::new(seq) }, []);
            }
            Self::Drain => put(out, KIND, &DRAIN, []),
        }
    }
}

fn put_run(out: &mut BatchWriter, tag: u8, task: TaskId, attempt: Attempt) {
    put(out, KIND, &RunBytes::new(tag, task, attempt), []);
}

fn put_latencies(
    out: &mut BatchWriter,
    request: u32,
    wait: &Distribution<'_>,
    lease: &Distribution<'_>,
) {
    let head = LatenciesHead {
        tag: LATENCIES,
        request: U32::new(request),
        wait: DistributionHead::new(wait),
        lease: DistributionHead::new(lease),
    };
    put(out, KIND, &head, [wait.part(), lease.part()]);
}

fn put_enlisted(out: &mut BatchWriter, name: &[u8], lease_timeout_ms: u32, heartbeat_ms: u32) {
    let name = cut(name, TEXT_BYTES_MAX);
    let head = EnlistedHead {
        tag: ENLISTED,
        lease_timeout_ms: U32::new(lease_timeout_ms),
        heartbeat_ms: U32::new(heartbeat_ms),
        name_len: len16(name),
    };
    put(out, KIND, &head, [name]);
}

impl<'a> QueuePush<'a> {
    /// Takes the first message.
    #[inline]
    fn read(rest: &mut &'a [u8]) -> Result<Self, WireError> {
        match rest.first() {
            Some(&LEASE) => Self::read_lease(rest),
            Some(&ACKED) => Ok(Self::Acked { seq: head::<AckedBytes>(rest, WHAT)?.seq.get() }),
            Some(&SUBMITTED) => {
                let bytes: &SubmittedBytes = head(rest, WHAT)?;
                let (added, known) = (bytes.added.get(), bytes.known.get());
                Ok(Self::Submitted { ticket: bytes.ticket.get(), added, known })
            }
            Some(&tag @ (ENLISTED..=CANCEL | DRAIN)) => Self::read_for_worker(tag, rest),
            Some(&tag) => Self::read_answer(tag, rest),
            None => Err(WireError::Truncated { what: WHAT }),
        }
    }

    #[inline]
    fn read_lease(rest: &mut &'a [u8]) -> Result<Self, WireError> {
        let head: &LeaseHead = head(rest, WHAT)?;
        let payload_len = head.payload_len.get() as usize;
        within(payload_len, PAYLOAD_BYTES_MAX, "the length of a payload in bytes")?;
        Ok(Self::Lease {
            task: TaskId(head.task.get()),
            attempt: Attempt(head.attempt.get()),
            priority: head.priority.get(),
            memory: head.memory.get(),
            cores_milli: head.cores_milli.get(),
            timeout_ms: head.timeout_ms.get(),
            job: part(rest, head.job_len.into(), WHAT)?,
            payload: part(rest, payload_len, WHAT)?,
        })
    }

    /// Takes what only a worker is told, leases and acknowledgements excepted.
    fn read_for_worker(tag: u8, rest: &mut &'a [u8]) -> Result<Self, WireError> {
        Ok(match tag {
            ENLISTED => {
                let head: &EnlistedHead = head(rest, WHAT)?;
                Self::Enlisted {
                    name: text(rest, head.name_len)?,
                    lease_timeout_ms: head.lease_timeout_ms.get(),
                    heartbeat_ms: head.heartbeat_ms.get(),
                }
            }
            RECALL => {
                let (task, attempt) = head::<RunBytes>(rest, WHAT)?.read();
                Self::Recall { task, attempt }
            }
            CANCEL => {
                let (task, attempt) = head::<RunBytes>(rest, WHAT)?.read();
                Self::Cancel { task, attempt }
            }
            DRAIN => head::<u8>(rest, WHAT).map(|_| Self::Drain)?,
            _ => return Err(unknown("tag of a message of a task queue", tag)),
        })
    }

    /// Takes what only a client is told.
    fn read_answer(tag: u8, rest: &mut &'a [u8]) -> Result<Self, WireError> {
        Ok(match tag {
            JOB_OPENED => {
                let bytes: &JobOpenedBytes = head(rest, WHAT)?;
                Self::JobOpened { request: bytes.request.get(), job: JobId(bytes.job.get()) }
            }
            REFUSED => {
                let bytes: &RefusedBytes = head(rest, WHAT)?;
                let reason = RefusedTask::from_code(bytes.reason)
                    .ok_or_else(|| unknown("reason of a refused task", bytes.reason))?;
                Self::Refused { ticket: bytes.ticket.get(), reason }
            }
            PROGRESS => {
                let bytes: &ProgressBytes = head(rest, WHAT)?;
                Self::Progress {
                    request: bytes.request.get(),
                    version: bytes.version.get(),
                    counts: StateCounts::from_bytes(&bytes.counts),
                }
            }
            ROW => {
                let (request, row) = TaskRow::read(rest)?;
                Self::Row { request, row }
            }
            JOB_ROW => {
                let (request, row) = JobRow::read(rest)?;
                Self::JobRow { request, row }
            }
            WORKER_ROW => {
                let (request, row) = WorkerRow::read(rest)?;
                Self::WorkerRow { request, row }
            }
            END => {
                let bytes: &EndBytes = head(rest, WHAT)?;
                Self::End {
                    request: bytes.request.get(),
                    changed: bytes.changed.get(),
                    next: TaskId(bytes.next.get()),
                    more: flag(bytes.more, "flags of the end of an answer")?,
                }
            }
            LATENCIES => {
                let head: &LatenciesHead = head(rest, WHAT)?;
                Self::Latencies {
                    request: head.request.get(),
                    // In the order in which they lie there.
                    wait: head.wait.read(rest)?,
                    lease: head.lease.read(rest)?,
                }
            }
            FAULT => {
                let bytes: &FaultBytes = head(rest, WHAT)?;
                let fault = TaskFault::from_code(bytes.fault)
                    .ok_or_else(|| unknown("fault of a request", bytes.fault))?;
                Self::Fault { request: bytes.request.get(), fault }
            }
            _ => return Err(unknown("tag of a message of a task queue", tag)),
        })
    }
}

/// Reads the messages of a `TaskPush` frame.
#[derive(Debug, Clone)]
pub struct PushReader<'a> {
    rest: &'a [u8],
    left: u16,
}

impl<'a> PushReader<'a> {
    /// Reads the messages of `frame`.
    #[must_use]
    pub fn new(frame: &Frame<'a>) -> Self {
        Self { rest: frame.body, left: frame.count }
    }

    /// The next message, or `None` after the last.
    ///
    /// # Errors
    /// When a message is cut short, over a limit or holds unknown codes, or bytes are left over.
    #[inline]
    pub fn next_message(&mut self) -> Result<Option<QueuePush<'a>>, WireError> {
        if self.left == 0 {
            return no_trailing(self.rest, "the last message of a task queue").map(|()| None);
        }
        self.left -= 1;
        QueuePush::read(&mut self.rest).map(Some)
    }
}
