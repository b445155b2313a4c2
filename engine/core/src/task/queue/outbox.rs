//! Who is connected, and what waits to be told to them.

use crate::SessionId;
use crate::journal::Lsn;
use punctual_wire::CloseReason;
use punctual_wire::task::{
    Attempt, JobId, RefusedTask, StateCounts, StateSet, TaskFault, TaskId, Verb,
};
use std::collections::{BTreeSet, VecDeque};

/// A client or a worker that is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Party(pub(super) usize);

/// Messages that may wait for one party before it is read no more.
pub(super) const WAITING_MAX: usize = 1 << 16;

/// A message that waits. What can be looked up is looked up when it leaves; if that is not what it
/// was when the message was made, the message waits until it is durable.
#[derive(Debug, Clone)]
pub(super) enum Out {
    JobOpened { request: u32, job: JobId },
    Submitted { ticket: u64, added: u32, known: u32 },
    Refused { ticket: u64, reason: RefusedTask },
    Progress { request: u32, version: u64, counts: Box<StateCounts> },
    Row { request: u32, sequence: u64, ticket: u32, with_output: bool },
    JobRow { request: u32, job: JobId, counts: Box<StateCounts> },
    WorkerRow { request: u32, worker: u32 },
    Latencies { request: u32 },
    End { request: u32, changed: u64, next: TaskId, more: bool },
    Fault { request: u32, fault: TaskFault },
    Enlisted { worker: u32 },
    Lease { sequence: u64, attempt: Attempt },
    Recall { sequence: u64, attempt: Attempt },
    Cancel { sequence: u64, attempt: Attempt },
    Acked { seq: u64 },
    Drain,
}

/// Which tasks somebody means.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) states: StateSet,
    pub(super) job: Option<JobId>,
    pub(super) task: Option<TaskId>,
    pub(super) include: Box<[u8]>,
    pub(super) exclude: Box<[u8]>,
    pub(super) worker: Box<[u8]>,
}

/// A question, or an order about many tasks, that is answered bit by bit.
#[derive(Debug, Clone)]
pub(super) struct Errand {
    pub(super) request: u32,
    pub(super) wanted: Wanted,
    pub(super) kind: ErrandKind,
    /// Where it goes on.
    pub(super) next: u64,
    /// How many rows, or changes, so far.
    pub(super) count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrandKind {
    Query { limit: u32, with_output: bool },
    Control { verb: Verb },
}

/// Somebody who wants to know how a job, or everything, goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    pub(super) request: u32,
    pub(super) job: Option<JobId>,
    pub(super) seen: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    /// With its index once it has enlisted.
    Worker {
        session: SessionId,
        index: Option<u32>,
    },
}

/// What is kept for a party.
#[derive(Debug, Clone)]
pub(super) struct PartyState {
    pub(super) role: Role,
    /// Each message with where the log was when it was made.
    pub(super) out: VecDeque<(Lsn, Out)>,
    pub(super) errands: VecDeque<Errand>,
    pub(super) watches: Vec<Watch>,
    pub(super) closing: Option<CloseReason>,
    /// Of a worker that comes back: the leases that it has said it has.
    pub(super) held: BTreeSet<u64>,
}

impl PartyState {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            out: VecDeque::new(),
            errands: VecDeque::new(),
            watches: Vec::new(),
            closing: None,
            held: BTreeSet::new(),
        }
    }

    /// Whether it has errands, or watches.
    pub(super) fn is_curious(&self) -> bool {
        !self.errands.is_empty() || !self.watches.is_empty()
    }

    /// Whether an answer of many rows may be added to what waits.
    pub(super) fn has_answer_room(&self) -> bool {
        self.out.len() < WAITING_MAX / 2
    }

    #[inline]
    pub(super) fn push(&mut self, gate: Lsn, out: Out) {
        // One acknowledgement stands for those before it. But one always keeps its place, or none
        // would leave as long as reports come faster than they become durable.
        if let Out::Acked { seq } = out {
            let mut latest = self.out.iter_mut().rev();
            if let Some((last_gate, Out::Acked { seq: last })) = latest.next()
                && (*last_gate == gate || matches!(latest.next(), Some((_, Out::Acked { .. }))))
            {
                (*last_gate, *last) = (gate, seq);
                return;
            }
        }
        self.out.push_back((gate, out));
    }
}
