//! What a task queue tells its clients and workers.

use super::{
    Attempt, Distribution, JobId, JobRow, RefusedTask, StateCounts, TaskFault, TaskId, TaskRow,
    WorkerRow,
};

/// What a queue tells a client or a worker. `request` is the number that the client gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueuePush<'a> {
    /// To a client: the job that it opened.
    JobOpened {
        /// Of the client's request.
        request: u32,
        /// Its number.
        job: JobId,
    },
    /// To a client: all of its submissions up to `ticket` that were not spoken of before were taken
    /// in or refused.
    Submitted {
        /// The last of them.
        ticket: u64,
        /// How many are new.
        added: u32,
        /// How many were known already.
        known: u32,
    },
    /// To a client: a submission was refused. Comes before the `Submitted` that covers it.
    Refused {
        /// Which.
        ticket: u64,
        /// Why.
        reason: RefusedTask,
    },
    /// To a client: how many tasks there are in each state.
    Progress {
        /// Of the client's request.
        request: u32,
        /// What the client has seen with this; never 0.
        version: u64,
        /// The tasks.
        counts: StateCounts,
    },
    /// To a client: a task.
    Row {
        /// Of the client's request.
        request: u32,
        /// It.
        row: TaskRow<'a>,
    },
    /// To a client: a job.
    JobRow {
        /// Of the client's request.
        request: u32,
        /// It.
        row: JobRow<'a>,
    },
    /// To a client: a worker.
    WorkerRow {
        /// Of the client's request.
        request: u32,
        /// It.
        row: WorkerRow<'a>,
    },
    /// To a client: that were all rows, or all that was done.
    End {
        /// Of the client's request.
        request: u32,
        /// Tasks or workers that something was done with.
        changed: u64,
        /// Where to go on if there is more.
        next: TaskId,
        /// There is more than was asked for: ask again from `next` on.
        more: bool,
    },
    /// To a client: its request cannot be fulfilled.
    Fault {
        /// Of the client's request.
        request: u32,
        /// Why.
        fault: TaskFault,
    },
    /// To a client: how long tasks took since the queue started.
    Latencies {
        /// Of the client's request.
        request: u32,
        /// From when a task could be had to when it was given to a worker.
        wait: Distribution<'a>,
        /// From then to the report of its end; leases without a report are not counted.
        lease: Distribution<'a>,
    },
    /// To a worker: it is enlisted.
    Enlisted {
        /// What it is called, which may not be what it wished.
        name: &'a [u8],
        /// Without a link it has its leases no longer than this.
        lease_timeout_ms: u32,
        /// So often it shall say that it is alive.
        heartbeat_ms: u32,
    },
    /// To a worker: a task to run.
    Lease {
        /// Which.
        task: TaskId,
        /// Which time of it.
        attempt: Attempt,
        /// Higher first.
        priority: i32,
        /// Bytes of memory that it asks for.
        memory: u64,
        /// Thousandths of a core that it asks for.
        cores_milli: u32,
        /// It is to be killed after so many milliseconds; 0: never.
        timeout_ms: u64,
        /// The name of its job.
        job: &'a [u8],
        /// A [`TaskPayload`](super::TaskPayload).
        payload: &'a [u8],
    },
    /// To a worker: the queue would like to have this one back if it has not begun.
    Recall {
        /// Which.
        task: TaskId,
        /// Which time of it.
        attempt: Attempt,
    },
    /// To a worker: stop it; what comes of it does not matter any more.
    Cancel {
        /// Which.
        task: TaskId,
        /// Which time of it.
        attempt: Attempt,
    },
    /// To a worker: its reports and returns up to this one will never be forgotten.
    Acked {
        /// The last of them.
        seq: u64,
    },
    /// To a worker: finish what runs, give the rest back and stop.
    Drain,
}

impl QueuePush<'_> {
    /// The request of a client that it answers, if it answers one.
    #[must_use]
    pub fn request(&self) -> Option<u32> {
        match *self {
            Self::JobOpened { request, .. }
            | Self::Progress { request, .. }
            | Self::Row { request, .. }
            | Self::JobRow { request, .. }
            | Self::WorkerRow { request, .. }
            | Self::End { request, .. }
            | Self::Fault { request, .. }
            | Self::Latencies { request, .. } => Some(request),
            Self::Submitted { .. }
            | Self::Refused { .. }
            | Self::Enlisted { .. }
            | Self::Lease { .. }
            | Self::Recall { .. }
            | Self::Cancel { .. }
            | Self::Acked { .. }
            | Self::Drain => None,
        }
    }
}
