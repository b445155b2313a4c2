//! What a run of the farm came to.

use punctual_core::Nanos;
use std::fmt;
use std::ops::AddAssign;

/// A promise of the farm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FarmViolationKind {
    /// The code stopped at an assertion of its own.
    Panic,
    /// Somebody sent what the other side cannot read or believe.
    Malformed,
    /// A task that was acknowledged is gone.
    Lost,
    /// There is a task that nobody submitted, or two of one.
    Invented,
    /// What a client was told about its submissions does not add up.
    Counted,
    /// A task that was done or cancelled was given out again, though nobody asked for that.
    LeasedAgain,
    /// A task was given out although somebody had it.
    LeasedTwice,
    /// An attempt was given out twice, or one after a later one.
    AttemptTwice,
    /// A task was given out before those that it comes after were done.
    TooEarly,
    /// A task was given out before one of a higher priority.
    Priority,
    /// A worker got more than it offered, or runs more than it has room for.
    Capacity,
    /// A worker was given up although it was heard of.
    ExpiredEarly,
    /// A task ended in another way than its attempt did.
    WrongEnd,
    /// Two runs of a task overlapped, and no fault explains it.
    Overlap,
    /// A job has two numbers, or a number two jobs.
    JobNumber,
    /// A task waited for long although a worker had room for it.
    Unserved,
    /// Something is not over, though nothing is wrong any more.
    NotIdle,
    /// Virtual time hardly moves: somebody is busy with nothing.
    Livelock,
    /// The queue cannot go on from its journal, or is something else then.
    Recovery,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FarmViolation {
    /// Which promise.
    pub kind: FarmViolationKind,
    /// What happened, and to which task.
    pub text: String,
}

impl fmt::Display for FarmViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.text)
    }
}

/// So many violations are told; one mistake often has thousands of consequences.
const TOLD_MAX: usize = 10;

/// The violations of a run, the first of them.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) told: Vec<FarmViolation>,
    pub(super) count: u64,
}

impl Findings {
    pub(super) fn add(&mut self, kind: FarmViolationKind, text: String) {
        self.count += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(FarmViolation { kind, text });
        }
    }
}

/// Makes a struct of counts that can be added up and listed.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened how often, in one run or in many.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct FarmCounts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl FarmCounts {
            /// All of them, by name.
            #[must_use]
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }

        impl AddAssign<&Self> for FarmCounts {
            fn add_assign(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counts! {
    /// Tasks that clients were told are taken in.
    acknowledged,
    /// Submissions of tasks that were there already.
    known,
    /// Submissions that were refused.
    refused,
    /// Leases that left the queue.
    leases,
    /// Runs that began.
    runs,
    /// Tasks that were done in the end.
    done,
    /// Tasks that had failed in the end.
    failed,
    /// Tasks that were cancelled in the end.
    cancelled,
    /// Tasks that clients had removed.
    removed,
    /// Pairs of runs of one task that overlapped, each explained by a fault or a wish.
    overlaps,
    /// Leases that workers still had when they came back.
    held,
    /// Leases that workers had not got when they came back.
    not_received,
    /// Leases that were taken from workers that were silent or gone.
    expired,
    /// Leases that workers gave back.
    returned,
    /// Leases that were asked back.
    recalled,
    /// Leases that were called off.
    called_off,
    /// Reports and returns of attempts that were not the latest any more.
    stale,
    /// Requests that change tasks.
    controls,
    /// Workers that finished what they ran and stopped.
    drained,
    /// Pairs of tasks whose order was checked by their priority.
    priorities_checked,
    /// Tasks that waited when somebody looked whether any worker had room for them.
    waits_checked,
    /// Times that the server was killed, with all its queues.
    queue_kills,
    /// Times that a worker was killed, by a task of its own or otherwise.
    worker_kills,
    /// Times that a client was killed.
    client_kills,
    /// Times that a worker or a queue was frozen.
    freezes,
    /// Connections that broke.
    cuts,
    /// States of the queue that were compared with its journal, done again.
    replays_compared,
    /// Recoveries that began with a snapshot.
    recoveries_from_snapshots,
    /// Recoveries that cut a torn tail off.
    torn_tails,
    /// Snapshots made.
    snapshots,
    /// Writes to the disk.
    disk_writes,
    /// Those of them that a crash made lost or torn.
    writes_harmed,
    /// Submissions refused because the journal had no room.
    journal_full,
    /// Frames sent.
    frames,
    /// Events simulated.
    events,
}

/// What a run of the farm came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FarmReport {
    /// The seed of the run.
    pub seed: u64,
    /// The first promises that were broken; none in a run that is as it should be.
    pub violations: Vec<FarmViolation>,
    /// How many were broken in all.
    pub violation_count: u64,
    /// What happened how often.
    pub counts: FarmCounts,
    /// How long it took, in the time of the simulation.
    pub virtual_time: Nanos,
    /// A hash of all events in their order: equal runs have equal ones.
    pub trace: u64,
}

impl FarmReport {
    /// Whether nothing was broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violation_count == 0
    }

    /// The report of a run that stopped at an assertion.
    pub(super) fn panicked(seed: u64, text: String) -> Self {
        let violations = vec![FarmViolation { kind: FarmViolationKind::Panic, text }];
        Self { seed, violations, violation_count: 1, ..Self::default() }
    }
}
