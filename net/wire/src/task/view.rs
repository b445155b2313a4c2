//! How many tasks there are in which state, and which of them are meant.

use super::parts::{filter, len16, text, unknown};
use super::{JobId, StateSet, TaskId, TaskState};
use crate::WireError;
use std::ops::{Index, IndexMut};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// How many tasks are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StateCounts(pub [u64; TaskState::COUNT]);

/// The counts as they are in a message.
pub(super) type CountBytes = [U64; TaskState::COUNT];

impl StateCounts {
    /// Tasks in any state.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Tasks that something will still happen to by itself.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        TaskState::ALL.into_iter().filter(|state| !state.is_final()).map(|state| self[state]).sum()
    }

    pub(super) fn to_bytes(self) -> CountBytes {
        self.0.map(U64::new)
    }

    pub(super) fn from_bytes(bytes: &CountBytes) -> Self {
        Self(bytes.map(U64::get))
    }
}

impl Index<TaskState> for StateCounts {
    type Output = u64;

    #[inline]
    fn index(&self, state: TaskState) -> &u64 {
        &self.0[state as usize]
    }
}

impl IndexMut<TaskState> for StateCounts {
    #[inline]
    fn index_mut(&mut self, state: TaskState) -> &mut u64 {
        &mut self.0[state as usize]
    }
}

/// Which tasks are meant: those that everything here fits.
///
/// Texts are looked for as bytes, anywhere in the command or the name of a task; none may be longer
/// than [`TEXT_BYTES_MAX`](super::TEXT_BYTES_MAX).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection<'a> {
    /// In one of these states.
    pub states: StateSet,
    /// Of this job.
    pub job: Option<JobId>,
    /// This one only.
    pub task: Option<TaskId>,
    /// From this id on.
    pub from: TaskId,
    /// With this in its text; empty: with any text.
    pub include: &'a [u8],
    /// Without this in its text; empty: with any text.
    pub exclude: &'a [u8],
    /// The worker with this name has or had it; empty: any or none.
    pub worker: &'a [u8],
}

impl Default for Selection<'_> {
    /// All tasks.
    fn default() -> Self {
        Self {
            states: StateSet::ALL,
            job: None,
            task: None,
            from: TaskId(0),
            include: &[],
            exclude: &[],
            worker: &[],
        }
    }
}

const HAS_JOB: u8 = 1;
const HAS_TASK: u8 = 2;

/// The fixed part of a selection; its three texts follow.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct SelectionHead {
    states: u8,
    /// Bit 0: there is a job; bit 1: there is a task.
    flags: u8,
    job: U32,
    task: U64,
    from: U64,
    include_len: U16,
    exclude_len: U16,
    worker_len: U16,
}
const _: () = assert!(size_of::<SelectionHead>() == 28);

impl<'a> Selection<'a> {
    /// What follows the head.
    pub(super) fn parts(&self) -> [&'a [u8]; 3] {
        [filter(self.include), filter(self.exclude), filter(self.worker)]
    }
}

impl SelectionHead {
    pub(super) fn new(selection: &Selection<'_>) -> Self {
        let has_job = if selection.job.is_some() { HAS_JOB } else { 0 };
        let has_task = if selection.task.is_some() { HAS_TASK } else { 0 };
        let [include, exclude, worker] = selection.parts();
        Self {
            states: selection.states.0,
            flags: has_job | has_task,
            job: U32::new(selection.job.unwrap_or_default().0),
            task: U64::new(selection.task.unwrap_or_default().0),
            from: U64::new(selection.from.0),
            include_len: len16(include),
            exclude_len: len16(exclude),
            worker_len: len16(worker),
        }
    }

    /// Reads what follows the head, and moves on.
    pub(super) fn read<'a>(&self, rest: &mut &'a [u8]) -> Result<Selection<'a>, WireError> {
        if self.states & !StateSet::ALL.0 != 0 {
            return Err(unknown("states of a selection", self.states));
        }
        if self.flags & !(HAS_JOB | HAS_TASK) != 0 {
            return Err(unknown("flags of a selection", self.flags));
        }
        Ok(Selection {
            states: StateSet(self.states),
            job: (self.flags & HAS_JOB != 0).then_some(JobId(self.job.get())),
            task: (self.flags & HAS_TASK != 0).then_some(TaskId(self.task.get())),
            from: TaskId(self.from.get()),
            include: text(rest, self.include_len)?,
            exclude: text(rest, self.exclude_len)?,
            worker: text(rest, self.worker_len)?,
        })
    }
}
