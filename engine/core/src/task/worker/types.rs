//! What a worker is made with, what it asks of its host, what it is told, and what it counts.

use crate::Nanos;
use punctual_wire::task::{Attempt, Captured, EndKind, OUTPUT_BYTES_MAX, TaskEnd, TaskId};
use std::time::Duration;

/// How many leases may wait at the worker beyond those that run. Several queues share that number,
/// but one lease of each may wait even with [`Prefetch::Off`]. None waits while the worker drains
/// or its machine is short of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prefetch {
    /// None: a slot that gets free is idle until the queue has heard of it.
    Off,
    /// So many, at most [`PREFETCH_MAX`](super::PREFETCH_MAX).
    Fixed(u32),
    /// As many as run while the queue is asked for more; none if tasks take longer than a second.
    #[default]
    Auto,
}

/// What a worker must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskWorkerConfig {
    /// Its name; the queue may give it another one if it is taken.
    pub name: String,
    /// The machine that it is on, for people.
    pub host: String,
    /// Its process, for people.
    pub pid: u32,
    /// Tasks that run at once, at least 1 and at most [`SLOTS_MAX`](super::SLOTS_MAX).
    pub slots: u32,
    /// Bytes that the tasks that run may have asked for, together.
    pub memory: u64,
    /// Thousandths of cores that they may have asked for, together.
    pub cores_milli: u32,
    /// How many more wait here.
    pub prefetch: Prefetch,
    /// With less free memory than this, in bytes, no task starts. Never below
    /// [`return_free`](Self::return_free): what would be killed at once need not start. If both are
    /// 0, only what tasks ask for counts.
    pub accept_free: u64,
    /// With less free memory than this, in bytes, the youngest task is killed and returned.
    pub return_free: u64,
    /// From asking a task to end to killing it.
    pub kill_grace: Duration,
}

impl TaskWorkerConfig {
    /// The defaults for a worker of that name and size: leases wait as needed, the memory that is
    /// really free does not matter, and a task has 5 s to end when asked.
    #[must_use]
    pub fn new(name: impl Into<String>, slots: u32, memory: u64, cores_milli: u32) -> Self {
        Self {
            name: name.into(),
            host: String::new(),
            pid: 0,
            slots,
            memory,
            cores_milli,
            prefetch: Prefetch::Auto,
            accept_free: 0,
            return_free: 0,
            kill_grace: Duration::from_secs(5),
        }
    }
}

/// One run of one lease at this worker; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub u64);

impl RunId {
    /// The low bits are the slot in the table; above is how often it was used. 2^44 uses take a
    /// year at half a million tasks a second.
    const SLOT_BITS: u32 = 20;

    /// The value of a slot that was never used.
    pub(super) fn of_slot(slot: u32) -> Self {
        debug_assert!(slot < 1 << Self::SLOT_BITS, "the table is bounded");
        Self(u64::from(slot))
    }

    /// The next run in the same slot.
    pub(super) fn next(self) -> Self {
        Self(self.0.wrapping_add(1 << Self::SLOT_BITS))
    }

    /// The slot.
    #[inline]
    pub(super) fn slot(self) -> usize {
        usize::try_from(self.0 & ((1 << Self::SLOT_BITS) - 1)).unwrap_or(usize::MAX)
    }
}

/// A task that this worker has, as the queue gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its run here.
    pub run: RunId,
    /// The task.
    pub task: TaskId,
    /// Which attempt at it.
    pub attempt: Attempt,
    /// Higher first.
    pub priority: i32,
    /// Bytes that it asks for.
    pub memory: u64,
    /// Thousandths of a core that it asks for.
    pub cores_milli: u32,
    /// It is killed after so many milliseconds; 0: never.
    pub timeout_ms: u64,
    /// The name of its job.
    pub job: Box<[u8]>,
    /// What to run: a [`TaskPayload`](punctual_wire::task::TaskPayload), which the worker's rules
    /// do not look into.
    pub payload: Box<[u8]>,
    /// When it came.
    pub arrived: Nanos,
}

/// What came of a run, from whoever ran it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// How it ended.
    pub kind: EndKind,
    /// What it means depends on the kind.
    pub code: i32,
    /// Nanoseconds that it ran.
    pub ran_ns: u64,
    /// Nanoseconds of processor time that it used.
    pub cpu_ns: u64,
    /// The most memory that it had, in bytes.
    pub memory: u64,
    /// Bytes that it wrote to its standard output.
    pub stdout_bytes: u64,
    /// The last of them.
    pub stdout: Vec<u8>,
    /// Bytes that it wrote to its standard error.
    pub stderr_bytes: u64,
    /// The last of them.
    pub stderr: Vec<u8>,
    /// It never began, for its machine was short of what every task takes: it is given back and
    /// has not failed.
    pub is_shortage: bool,
}

impl Exit {
    /// Exit code 0, no time, no output: that of a task that does nothing.
    #[must_use]
    pub fn success() -> Self {
        Self {
            kind: EndKind::Exited,
            code: 0,
            ran_ns: 0,
            cpu_ns: 0,
            memory: 0,
            stdout_bytes: 0,
            stdout: Vec::new(),
            stderr_bytes: 0,
            stderr: Vec::new(),
            is_shortage: false,
        }
    }

    /// Whether the task succeeded: it ended by itself, with exit code 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.kind == EndKind::Exited && self.code == 0
    }

    /// The same as it is reported.
    pub(super) fn end(&self, waited_ns: u64) -> TaskEnd<'_> {
        TaskEnd {
            kind: self.kind,
            code: self.code,
            waited_ns,
            ran_ns: self.ran_ns,
            cpu_ns: self.cpu_ns,
            memory: self.memory,
            stdout: Captured { bytes: self.stdout_bytes, tail: &self.stdout },
            stderr: Captured { bytes: self.stderr_bytes, tail: &self.stderr },
        }
    }

    /// Cuts the outputs to what a report carries.
    pub(super) fn cut_outputs(&mut self) {
        keep_end(&mut self.stdout, &mut self.stdout_bytes);
        keep_end(&mut self.stderr, &mut self.stderr_bytes);
    }

    /// Bytes of its outputs.
    pub(super) fn output_len(&self) -> usize {
        self.stdout.len() + self.stderr.len()
    }
}

/// Keeps the end of an output, and no more memory than it takes: it may wait for long.
fn keep_end(output: &mut Vec<u8>, bytes: &mut u64) {
    *bytes = (*bytes).max(output.len() as u64);
    if output.len() > OUTPUT_BYTES_MAX {
        *output = output.split_off(output.len() - OUTPUT_BYTES_MAX);
    }
    output.shrink_to_fit();
}

/// What the machine has left, measured now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of free memory.
    pub memory_free: u64,
    /// Thousandths of cores in use.
    pub cores_used_milli: u32,
}

/// What the host is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Run it.
    Start(RunId),
    /// Ask it to end: SIGTERM to its group.
    Stop(RunId),
    /// End it: SIGKILL to its group.
    Kill(RunId),
}

impl Action {
    /// Which run is meant.
    #[must_use]
    pub fn run(self) -> RunId {
        match self {
            Self::Start(run) | Self::Stop(run) | Self::Kill(run) => run,
        }
    }
}

/// What a worker has counted since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskWorkerStats {
    /// Runs begun.
    pub started: u64,
    /// Runs reported as successes.
    pub succeeded: u64,
    /// Runs reported as failures.
    pub failed: u64,
    /// Leases given back, for whatever reason.
    pub returned: u64,
    /// Those of them that the queue had asked for.
    pub recalled: u64,
    /// Leases that the queue cancelled.
    pub cancelled: u64,
    /// Runs killed for want of memory.
    pub killed_for_memory: u64,
    /// Runs that reached their time limit.
    pub timed_out: u64,
    /// Leases of attempts that it had already.
    pub stale: u64,
    /// Reports and returns that the queue never acknowledged: it gave this worker up, or was away
    /// when it stopped.
    pub unacked_lost: u64,
}
