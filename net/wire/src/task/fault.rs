//! Why a task queue does not do what it was asked for.

use thiserror::Error;

/// Why a queue did not take a task in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[repr(u8)]
pub enum RefusedTask {
    /// The queue is at its limit of memory.
    #[error("the queue has no memory left for it; submit it again when there are fewer tasks")]
    Full = 1,
    /// The queue's journal has no room.
    #[error("the queue's journal is full; make room on its disk, then submit it again")]
    JournalFull = 2,
    /// It comes after a task that there is not.
    #[error("it comes after a task that its job does not have; submit that one first")]
    UnknownAfter = 3,
    /// Its job is not one of the queue's.
    #[error("the queue has no such job; open the job, then submit it again")]
    UnknownJob = 4,
    /// It is larger than the queue takes.
    #[error("it is too large; put what it needs in a file and let its command read that")]
    TooLarge = 5,
}

impl RefusedTask {
    /// All, in the order of their codes.
    pub const ALL: [Self; 5] =
        [Self::Full, Self::JournalFull, Self::UnknownAfter, Self::UnknownJob, Self::TooLarge];

    /// The reason with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == code)
    }
}

/// Why a queue did not do what a client asked for. Nothing of it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[repr(u8)]
pub enum TaskFault {
    /// There is no such job.
    #[error("the queue has no such job; ask it which jobs there are")]
    UnknownJob = 1,
    /// The queue keeps as many jobs as it may.
    #[error("the queue has as many jobs as it may; use one of those that there are")]
    TooManyJobs = 2,
    /// A name that nothing can have.
    #[error("the name cannot be used; give one of 1 to {max} bytes, without control characters",
        max = super::JOB_NAME_BYTES_MAX)]
    BadName = 3,
    /// There is no such worker.
    #[error("no worker has this name; ask the queue which workers there are")]
    UnknownWorker = 4,
    /// The client has asked for too much at once.
    #[error("the queue is still busy with what was asked before; ask again when that is answered")]
    Busy = 5,
    /// A job was to get a number that it cannot have.
    #[error(
        "the job has another number already, or the number is another job's; open it at queue 0 \
        first, and at the others with the number from there"
    )]
    JobNumber = 6,
}

impl TaskFault {
    /// All, in the order of their codes.
    pub const ALL: [Self; 6] = [
        Self::UnknownJob,
        Self::TooManyJobs,
        Self::BadName,
        Self::UnknownWorker,
        Self::Busy,
        Self::JobNumber,
    ];

    /// The fault with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| *fault as u8 == code)
    }
}
