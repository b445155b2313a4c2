//! The messages of `Task` frames: how they are written and read.

use super::capacity::{CapacityBytes, OccupancyBytes};
use super::parts::{TEXT_BYTES_MAX, cut, flag, head, len16, part, put, text, unknown, within};
use super::report::{EndHead, RunBytes, SeqRun};
use super::spec::SpecHead;
use super::view::SelectionHead;
use super::{Capacity, JOB_NAME_BYTES_MAX, JobId, ReturnReason, Selection, ToQueue, Verb};
use crate::message::no_trailing;
use crate::{BatchWriter, Frame, FrameKind, WireError};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const OPEN_JOB: u8 = 1;
const SUBMIT: u8 = 2;
const WATCH: u8 = 3;
const QUERY: u8 = 4;
const CONTROL: u8 = 5;
const JOBS: u8 = 6;
const WORKERS: u8 = 7;
const STOP_WORKER: u8 = 8;
const ENLIST: u8 = 9;
const HOLD: u8 = 10;
const HELD: u8 = 11;
const CREDIT: u8 = 12;
const REPORT: u8 = 13;
const RETURN: u8 = 14;
const BEAT: u8 = 15;
const LATENCIES: u8 = 16;
const OCCUPIED: u8 = 17;

/// Stands for the number of a job that is to get any.
const ANY_JOB: u32 = u32::MAX;

/// For errors.
const WHAT: &str = "message to a task queue";
const KIND: FrameKind = FrameKind::Task;

/// A request that is nothing more.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct BareRequest {
    tag: u8,
    request: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct OpenJobHead {
    tag: u8,
    request: U32,
    job: U32,
    name_len: U16,
}

/// A request about a name, which follows.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct NameRequest {
    tag: u8,
    request: U32,
    name_len: U16,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SubmitHead {
    tag: u8,
    ticket: U64,
    spec: SpecHead,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct WatchBytes {
    tag: u8,
    has_job: u8,
    request: U32,
    job: U32,
    seen: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct QueryHead {
    tag: u8,
    with_output: u8,
    request: U32,
    limit: U32,
    selection: SelectionHead,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ControlHead {
    tag: u8,
    verb: u8,
    request: U32,
    selection: SelectionHead,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct EnlistHead {
    tag: u8,
    pid: U32,
    capacity: CapacityBytes,
    name_len: U16,
    host_len: U16,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct CreditBytes {
    tag: u8,
    capacity: CapacityBytes,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct OccupiedBytes {
    tag: u8,
    by_others: OccupancyBytes,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ReportHead {
    tag: u8,
    run: SeqRun,
    end: EndHead,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ReturnBytes {
    tag: u8,
    reason: u8,
    run: SeqRun,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct BeatBytes {
    tag: u8,
    memory_free: U64,
    cores_used_milli: U32,
    running: U32,
}

impl ToQueue<'_> {
    /// Appends the message. Names are cut to their limits; that a task and its end are within
    /// theirs is for the caller to see to.
    #[inline]
    pub fn write(&self, out: &mut BatchWriter) {
        match *self {
            Self::OpenJob { request, job, name } => put_open_job(out, request, job, name),
            Self::Submit { ticket, spec } => {
                let (ticket, head) = (U64::new(ticket), SpecHead::new(&spec));
                put(out, KIND, &SubmitHead { tag: SUBMIT, ticket, spec: head }, spec.parts());
            }
            Self::Watch { request, job, seen } => put_watch(out, request, job, seen),
            Self::Query { request, selection, limit, with_output } => {
                put_query(out, request, &selection, limit, with_output);
            }
            Self::Control { request, verb, selection } => {
                put_control(out, request, verb, &selection);
            }
            Self::Jobs { request } => put_bare(out, JOBS, request),
            Self::Workers { request } => put_bare(out, WORKERS, request),
            Self::Latencies { request } => put_bare(out, LATENCIES, request),
            Self::StopWorker { request, name } => {
                put_name(out, STOP_WORKER, request, cut(name, TEXT_BYTES_MAX));
            }
            Self::Enlist { name, host, pid, capacity } => {
                put_enlist(out, name, host, pid, capacity);
            }
            Self::Hold { task, attempt } => {
                put(out, KIND, &RunBytes::new(HOLD, task, attempt), []);
            }
            Self::Held => put(out, KIND, &HELD, []),
            Self::Credit { capacity } => {
                let capacity = CapacityBytes::new(capacity);
                put(out, KIND, &CreditBytes { tag: CREDIT, capacity }, []);
            }
            Self::Occupied { by_others } => {
                let by_others = OccupancyBytes::new(by_others);
                put(out, KIND, &OccupiedBytes { tag: OCCUPIED, by_others }, []);
            }
            Self::Report { seq, task, attempt, end } => {
                let run = SeqRun::new(seq, task, attempt);
                let head = ReportHead { tag: REPORT, run, end: EndHead::new(&end) };
                put(out, KIND, &head, end.parts());
            }
            Self::Return { seq, task, attempt, reason } => {
                let run = SeqRun::new(seq, task, attempt);
                put(out, KIND, &ReturnBytes { tag: RETURN, reason: reason as u8, run }, []);
            }
            Self::Beat { memory_free, cores_used_milli, running } => {
                let bytes = BeatBytes {
                    tag: BEAT,
                    memory_free: U64::new(memory_free),
                    cores_used_milli: U32::new(cores_used_milli),
                    running: U32::new(running),
                };
                put(out, KIND, &bytes, []);
            }
        }
    }
}

fn put_bare(out: &mut BatchWriter, tag: u8, request: u32) {
    put(out, KIND, &BareRequest { tag, request: U32::new(request) }, []);
}

fn put_name(out: &mut BatchWriter, tag: u8, request: u32, name: &[u8]) {
    let head = NameRequest { tag, request: U32::new(request), name_len: len16(name) };
    put(out, KIND, &head, [name]);
}

fn put_open_job(out: &mut BatchWriter, request: u32, job: Option<JobId>, name: &[u8]) {
    let name = cut(name, JOB_NAME_BYTES_MAX);
    let head = OpenJobHead {
        tag: OPEN_JOB,
        request: U32::new(request),
        job: U32::new(job.map_or(ANY_JOB, |job| job.0)),
        name_len: len16(name),
    };
    put(out, KIND, &head, [name]);
}

fn put_watch(out: &mut BatchWriter, request: u32, job: Option<JobId>, seen: u64) {
    let bytes = WatchBytes {
        tag: WATCH,
        has_job: job.is_some().into(),
        request: U32::new(request),
        job: U32::new(job.unwrap_or_default().0),
        seen: U64::new(seen),
    };
    put(out, KIND, &bytes, []);
}

fn put_query(
    out: &mut BatchWriter,
    request: u32,
    selection: &Selection<'_>,
    limit: u32,
    with_output: bool,
) {
    let head = QueryHead {
        tag: QUERY,
        with_output: with_output.into(),
        request: U32::new(request),
        limit: U32::new(limit),
        selection: SelectionHead::new(selection),
    };
    put(out, KIND, &head, selection.parts());
}

fn put_control(out: &mut BatchWriter, request: u32, verb: Verb, selection: &Selection<'_>) {
    let head = ControlHead {
        tag: CONTROL,
        verb: verb as u8,
        request: U32::new(request),
        selection: SelectionHead::new(selection),
    };
    put(out, KIND, &head, selection.parts());
}

fn put_enlist(out: &mut BatchWriter, name: &[u8], host: &[u8], pid: u32, capacity: Capacity) {
    let (name, host) = (cut(name, TEXT_BYTES_MAX), cut(host, TEXT_BYTES_MAX));
    let head = EnlistHead {
        tag: ENLIST,
        pid: U32::new(pid),
        capacity: CapacityBytes::new(capacity),
        name_len: len16(name),
        host_len: len16(host),
    };
    put(out, KIND, &head, [name, host]);
}

impl<'a> ToQueue<'a> {
    /// Takes the first message.
    #[inline]
    fn read(rest: &mut &'a [u8]) -> Result<Self, WireError> {
        match rest.first() {
            Some(&SUBMIT) => {
                let head: &SubmitHead = head(rest, WHAT)?;
                Ok(Self::Submit { ticket: head.ticket.get(), spec: head.spec.read(rest)? })
            }
            Some(&REPORT) => {
                let head: &ReportHead = head(rest, WHAT)?;
                let (seq, task, attempt) = head.run.read();
                Ok(Self::Report { seq, task, attempt, end: head.end.read(rest)? })
            }
            Some(&tag @ (ENLIST..=CREDIT | RETURN | BEAT | OCCUPIED)) => {
                Self::read_of_worker(tag, rest)
            }
            Some(&tag) => Self::read_request(tag, rest),
            None => Err(WireError::Truncated { what: WHAT }),
        }
    }

    /// Takes what only a client says.
    fn read_request(tag: u8, rest: &mut &'a [u8]) -> Result<Self, WireError> {
        Ok(match tag {
            OPEN_JOB => {
                let head: &OpenJobHead = head(rest, WHAT)?;
                let (request, job) = (head.request.get(), head.job.get());
                let job = (job != ANY_JOB).then_some(JobId(job));
                let len = usize::from(head.name_len.get());
                within(len, JOB_NAME_BYTES_MAX, "the length of a job's name in bytes")?;
                Self::OpenJob { request, job, name: part(rest, len, WHAT)? }
            }
            WATCH => {
                let bytes: &WatchBytes = head(rest, WHAT)?;
                let has_job = flag(bytes.has_job, "flags of a watch")?;
                Self::Watch {
                    request: bytes.request.get(),
                    job: has_job.then_some(JobId(bytes.job.get())),
                    seen: bytes.seen.get(),
                }
            }
            QUERY => {
                let head: &QueryHead = head(rest, WHAT)?;
                Self::Query {
                    request: head.request.get(),
                    selection: head.selection.read(rest)?,
                    limit: head.limit.get(),
                    with_output: flag(head.with_output, "flags of a query")?,
                }
            }
            CONTROL => {
                let head: &ControlHead = head(rest, WHAT)?;
                let verb = Verb::from_code(head.verb)
                    .ok_or_else(|| unknown("verb of a control", head.verb))?;
                let selection = head.selection.read(rest)?;
                Self::Control { request: head.request.get(), verb, selection }
            }
            JOBS => Self::Jobs { request: head::<BareRequest>(rest, WHAT)?.request.get() },
            WORKERS => Self::Workers { request: head::<BareRequest>(rest, WHAT)?.request.get() },
            LATENCIES => {
                let request = head::<BareRequest>(rest, WHAT)?.request.get();
                Self::Latencies { request }
            }
            STOP_WORKER => {
                let head: &NameRequest = head(rest, WHAT)?;
                let (request, name) = (head.request.get(), text(rest, head.name_len)?);
                Self::StopWorker { request, name }
            }
            _ => return Err(unknown("tag of a message to a task queue", tag)),
        })
    }

    /// Takes what only a worker says, reports excepted.
    fn read_of_worker(tag: u8, rest: &mut &'a [u8]) -> Result<Self, WireError> {
        Ok(match tag {
            ENLIST => {
                let head: &EnlistHead = head(rest, WHAT)?;
                Self::Enlist {
                    name: text(rest, head.name_len)?,
                    host: text(rest, head.host_len)?,
                    pid: head.pid.get(),
                    capacity: head.capacity.read()?,
                }
            }
            HOLD => {
                let (task, attempt) = head::<RunBytes>(rest, WHAT)?.read();
                Self::Hold { task, attempt }
            }
            HELD => head::<u8>(rest, WHAT).map(|_| Self::Held)?,
            CREDIT => Self::Credit { capacity: head::<CreditBytes>(rest, WHAT)?.capacity.read()? },
            OCCUPIED => {
                Self::Occupied { by_others: head::<OccupiedBytes>(rest, WHAT)?.by_others.read() }
            }
            RETURN => {
                let bytes: &ReturnBytes = head(rest, WHAT)?;
                let reason = ReturnReason::from_code(bytes.reason)
                    .ok_or_else(|| unknown("reason of a return", bytes.reason))?;
                let (seq, task, attempt) = bytes.run.read();
                Self::Return { seq, task, attempt, reason }
            }
            BEAT => {
                let bytes: &BeatBytes = head(rest, WHAT)?;
                Self::Beat {
                    memory_free: bytes.memory_free.get(),
                    cores_used_milli: bytes.cores_used_milli.get(),
                    running: bytes.running.get(),
                }
            }
            _ => return Err(unknown("tag of a message to a task queue", tag)),
        })
    }
}

/// Reads the messages of a `Task` frame.
#[derive(Debug, Clone)]
pub struct ToQueueReader<'a> {
    rest: &'a [u8],
    left: u16,
}

impl<'a> ToQueueReader<'a> {
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
    pub fn next_message(&mut self) -> Result<Option<ToQueue<'a>>, WireError> {
        if self.left == 0 {
            return no_trailing(self.rest, "the last message to a task queue").map(|()| None);
        }
        self.left -= 1;
        ToQueue::read(&mut self.rest).map(Some)
    }
}
