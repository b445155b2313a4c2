//! What clients and workers tell a task queue.

use super::{
    Attempt, Capacity, JobId, Occupancy, ReturnReason, Selection, TaskEnd, TaskId, TaskSpec,
};

/// What is to be done with tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Verb {
    /// They end as cancelled; what runs is stopped.
    Cancel = 0,
    /// Failed and cancelled ones are tried again, with all their attempts anew.
    Retry = 1,
    /// They go back to the queue: leased ones too, whose run is stopped, and those that succeeded.
    Requeue = 2,
    /// Those that ended are forgotten.
    Remove = 3,
}

impl Verb {
    /// All, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Cancel, Self::Retry, Self::Requeue, Self::Remove];

    /// The verb with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// A name for people and for JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Retry => "retry",
            Self::Requeue => "requeue",
            Self::Remove => "remove",
        }
    }
}

/// What a client or a worker tells a queue. `request` numbers are the client's own: answers carry
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToQueue<'a> {
    /// From a client: the number of the job with this name is wanted, which is made if need be.
    OpenJob {
        /// Comes back with the answer.
        request: u32,
        /// The number that it must get, or have: the one that queue 0 gave it, when the client
        /// opens it at another queue of the server. `u32::MAX` is none.
        job: Option<JobId>,
        /// At most [`JOB_NAME_BYTES_MAX`](super::JOB_NAME_BYTES_MAX) bytes.
        name: &'a [u8],
    },
    /// From a client: a task. Submitting one again changes nothing.
    Submit {
        /// Ascends from one submission of the connection to the next.
        ticket: u64,
        /// The task.
        spec: TaskSpec<'a>,
    },
    /// From a client: the counts are wanted as soon as they are newer than the version `seen`.
    Watch {
        /// Comes back with the answer.
        request: u32,
        /// Of one job, or of all.
        job: Option<JobId>,
        /// The newest version that is known; 0: none.
        seen: u64,
    },
    /// From a client: tasks are wanted, ascending by id.
    Query {
        /// Comes back with each answer.
        request: u32,
        /// Which.
        selection: Selection<'a>,
        /// No more than so many.
        limit: u32,
        /// With what they wrote, not just how much.
        with_output: bool,
    },
    /// From a client: something is to be done with tasks.
    Control {
        /// Comes back with the answer.
        request: u32,
        /// What.
        verb: Verb,
        /// With which.
        selection: Selection<'a>,
    },
    /// From a client: all jobs are wanted.
    Jobs {
        /// Comes back with each answer.
        request: u32,
    },
    /// From a client: all workers are wanted.
    Workers {
        /// Comes back with each answer.
        request: u32,
    },
    /// From a client: a worker shall finish what it runs and stop.
    StopWorker {
        /// Comes back with the answer.
        request: u32,
        /// Its name; empty: all workers.
        name: &'a [u8],
    },
    /// From a client: it wants to know how long tasks have waited and were out.
    Latencies {
        /// Comes back with the answer.
        request: u32,
    },
    /// From a worker, first of all: it is there.
    Enlist {
        /// What it would like to be called.
        name: &'a [u8],
        /// The machine that it is on.
        host: &'a [u8],
        /// Its process there.
        pid: u32,
        /// What it offers.
        capacity: Capacity,
    },
    /// From a worker that enlists: a lease that it has.
    Hold {
        /// The task.
        task: TaskId,
        /// Which time of it.
        attempt: Attempt,
    },
    /// From a worker that enlists: those were all of its leases.
    Held,
    /// From a worker: it offers something else than before.
    Credit {
        /// What.
        capacity: Capacity,
    },
    /// From a worker of several queues: so much of what it offers is in use by tasks of the others.
    Occupied {
        /// How much now, instead of what it said before.
        by_others: Occupancy,
    },
    /// From a worker: a run ended.
    Report {
        /// Ascends by one from each report or return of the session to the next.
        seq: u64,
        /// The task.
        task: TaskId,
        /// Which time of it.
        attempt: Attempt,
        /// How it ended.
        end: TaskEnd<'a>,
    },
    /// From a worker: it gives a task back.
    Return {
        /// As of a report.
        seq: u64,
        /// The task.
        task: TaskId,
        /// Which time of it.
        attempt: Attempt,
        /// Why.
        reason: ReturnReason,
    },
    /// From a worker: it is alive.
    Beat {
        /// Bytes of memory that are free at its machine.
        memory_free: u64,
        /// Thousandths of cores that are in use there.
        cores_used_milli: u32,
        /// Its tasks that run now.
        running: u32,
    },
}
