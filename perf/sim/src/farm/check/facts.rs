//! What is known for certain of tasks, leases, workers and runs, and what may be.

use punctual_core::{Nanos, SessionId};
use punctual_wire::task::{Attempt, Capacity, Occupancy, TaskId};
use std::collections::BTreeSet;

/// Why the queue may have taken a lease back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The report with this number reached the queue.
    Reported(u64),
    /// The return with this number reached the queue.
    Returned(u64),
    /// Its worker came back without it.
    NotReceived,
    /// Its worker was silent or away for too long, or was replaced.
    Expired,
    /// A client wanted something of the task.
    Touched,
}

/// A lease that has left the queue.
#[derive(Debug)]
pub(super) struct LeaseFacts {
    pub(super) id: TaskId,
    pub(super) attempt: Attempt,
    pub(super) session: SessionId,
    pub(super) ended: Option<Ended>,
    /// Its end reached the queue before a crash, and nobody was told whether it is remembered.
    pub(super) is_unsure: bool,
    /// Whether the run succeeded, once a report of it has reached the queue.
    pub(super) outcome: Option<bool>,
}

impl LeaseFacts {
    pub(super) fn new(id: TaskId, attempt: Attempt, session: SessionId) -> Self {
        Self { id, attempt, session, ended: None, is_unsure: false, outcome: None }
    }

    pub(super) fn is(&self, id: TaskId, attempt: Attempt) -> bool {
        (self.id, self.attempt) == (id, attempt)
    }

    /// The number of the report or return that ended it.
    pub(super) fn seq(&self) -> Option<u64> {
        match self.ended? {
            Ended::Reported(seq) | Ended::Returned(seq) => Some(seq),
            _ => None,
        }
    }
}

/// A success that the queue surely counts once its report is acknowledged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Success {
    pub(super) session: SessionId,
    pub(super) seq: u64,
    pub(super) id: TaskId,
    pub(super) attempt: Attempt,
}

#[derive(Debug, Default)]
pub(super) struct TaskFacts {
    /// The one that has it.
    pub(super) queue: usize,
    /// Some client has sent it, and the queue got it.
    pub(super) is_sent: bool,
    /// Some client will not submit it any more.
    pub(super) is_given_up: bool,
    /// Some client was told that it is there.
    pub(super) is_acked: bool,
    /// In this turn, and it was ready then and has been ever since.
    pub(super) ready_turn: Option<u64>,
    /// It may have been given out in a message that nobody saw: its link broke, or the queue died.
    pub(super) may_be_out: bool,
    /// Usually one.
    pub(super) ids: Vec<TaskId>,
    pub(super) leases: Vec<LeaseFacts>,
    /// How often a client may have changed it.
    pub(super) touched: u64,
    /// When that was, and whether it was more than one wish then: who is served first is open.
    pub(super) touched_turn: Option<u64>,
    pub(super) is_contended: bool,
    pub(super) may_be_cancelled: bool,
    pub(super) may_be_revived: bool,
    pub(super) may_be_removed: bool,
    pub(super) is_surely_cancelled: bool,
    pub(super) pending: Option<Success>,
    pub(super) surely_done: Option<(TaskId, Attempt)>,
    /// A report of a success has reached the queue, be it of any attempt.
    pub(super) has_succeeded: bool,
    pub(super) runs: Vec<RunFacts>,
}

impl TaskFacts {
    pub(super) fn lease(&self, id: TaskId, attempt: Attempt) -> Option<&LeaseFacts> {
        self.leases.iter().find(|lease| lease.is(id, attempt))
    }

    pub(super) fn lease_mut(&mut self, id: TaskId, attempt: Attempt) -> Option<&mut LeaseFacts> {
        self.leases.iter_mut().find(|lease| lease.is(id, attempt))
    }

    /// Leases that the queue must think are out.
    pub(super) fn open_leases(&mut self) -> impl Iterator<Item = &mut LeaseFacts> {
        self.leases.iter_mut().filter(|lease| lease.ended.is_none())
    }
}

/// A run of a task, in true time.
#[derive(Debug)]
pub(super) struct RunFacts {
    pub(super) id: TaskId,
    pub(super) attempt: Attempt,
    pub(super) began: i64,
    pub(super) ended: Option<i64>,
    pub(super) has_succeeded: bool,
}

/// What a worker may have been allowed when a lease was made that leaves now.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Allowed {
    /// Leases in all.
    pub(super) leases: u64,
    pub(super) ahead: u64,
    pub(super) memory: u64,
    pub(super) cores: u64,
}

impl Allowed {
    /// By what it offers, of which tasks of other queues take something.
    pub(super) fn by(capacity: &Capacity, others: &Occupancy) -> Self {
        let ahead = u64::from(capacity.prefetch);
        Self {
            leases: u64::from(capacity.slots.saturating_sub(others.slots)) + ahead,
            ahead,
            memory: capacity.memory.saturating_sub(others.memory),
            cores: capacity.cores_milli.saturating_sub(others.cores_milli).into(),
        }
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self {
            leases: self.leases.max(other.leases),
            ahead: self.ahead.max(other.ahead),
            memory: self.memory.max(other.memory),
            cores: self.cores.max(other.cores),
        }
    }
}

/// A run of a worker as a queue hears it.
#[derive(Debug)]
pub(super) struct SessionFacts {
    pub(super) queue: usize,
    /// What it would like to be called.
    pub(super) name: Vec<u8>,
    /// The connection over which it has enlisted last, while it is there.
    pub(super) conn: Option<u32>,
    pub(super) heard_at: Nanos,
    pub(super) down_at: Option<Nanos>,
    /// It was silent or away for too long, or was replaced, since it has enlisted.
    pub(super) may_be_gone: bool,
    pub(super) capacity: Capacity,
    /// What of it tasks of other queues take.
    pub(super) occupied: Occupancy,
    pub(super) allowed: Allowed,
    /// What it has said it has, while it comes back.
    pub(super) held: BTreeSet<(TaskId, Attempt)>,
    /// The latest report or return that has reached the queue, and the latest acknowledged.
    pub(super) seq: u64,
    pub(super) acked: u64,
}
