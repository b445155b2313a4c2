//! A task as it is submitted.

use super::parts::{head, len32, part, unknown, within};
use super::{JobId, PAYLOAD_BYTES_MAX, TaskKey};
use crate::WireError;
use zerocopy::little_endian::{I32, U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Longest name of a job, in bytes.
pub const JOB_NAME_BYTES_MAX: usize = 255;

/// Most tasks that one task may come after.
pub const AFTER_MAX: usize = 1024;

/// Keys of the tasks that must succeed before: little-endian numbers that lie where they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct After<'a>(&'a [[u8; 16]]);

impl<'a> After<'a> {
    /// These keys, in the form of [`to_bytes_of`](Self::to_bytes_of).
    #[must_use]
    pub fn new(keys: &'a [[u8; 16]]) -> Self {
        Self(keys)
    }

    /// The form in which keys are written.
    #[must_use]
    pub fn to_bytes_of(keys: &[TaskKey]) -> Vec<[u8; 16]> {
        keys.iter().map(|key| key.0.to_le_bytes()).collect()
    }

    /// How many there are.
    #[inline]
    #[must_use]
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[inline]
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order in which they were given.
    pub fn iter(self) -> impl ExactSizeIterator<Item = TaskKey> + Clone + use<'a> {
        self.0.iter().map(|bytes| TaskKey(u128::from_le_bytes(*bytes)))
    }
}

/// The fixed part of a task; the keys that it comes after and its payload follow.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct SpecHead {
    key: U128,
    memory: U64,
    timeout_ms: U64,
    job: U32,
    priority: I32,
    cores_milli: U32,
    payload_len: U32,
    attempts_max: U16,
    after_count: U16,
}
const _: () = assert!(size_of::<SpecHead>() == 52);

/// A task as it is submitted. The same bytes are in a message and in the queue's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskSpec<'a> {
    /// The job that it belongs to.
    pub job: JobId,
    /// What makes it the same task as another one of its job.
    pub key: TaskKey,
    /// Higher first.
    pub priority: i32,
    /// Bytes of memory that it asks for.
    pub memory: u64,
    /// Thousandths of a core that it asks for.
    pub cores_milli: u32,
    /// It is killed after so many milliseconds; 0: never.
    pub timeout_ms: u64,
    /// How often it may be tried in all, at least 1.
    pub attempts_max: u16,
    /// What must succeed before; at most [`AFTER_MAX`].
    pub after: After<'a>,
    /// A [`TaskPayload`](super::TaskPayload) of at most [`PAYLOAD_BYTES_MAX`] bytes.
    pub payload: &'a [u8],
}

impl<'a> TaskSpec<'a> {
    /// Bytes that [`write_to`](Self::write_to) appends.
    #[inline]
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        size_of::<SpecHead>() + size_of_val(self.after.0) + self.payload.len()
    }

    /// Appends the task. That it is within the limits is for the caller to see to.
    #[inline]
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(SpecHead::new(self).as_bytes());
        for part in self.parts() {
            out.extend_from_slice(part);
        }
    }

    /// Reads a task from the start of `bytes`, and says how many of them it takes.
    ///
    /// # Errors
    /// When it is cut short, over a limit, or may never be tried.
    #[inline]
    pub fn read_from(bytes: &'a [u8]) -> Result<(Self, usize), WireError> {
        let mut rest = bytes;
        let head: &SpecHead = head(&mut rest, "task")?;
        let spec = head.read(&mut rest)?;
        Ok((spec, bytes.len() - rest.len()))
    }

    /// What follows the head.
    #[inline]
    pub(super) fn parts(&self) -> [&'a [u8]; 2] {
        [self.after.0.as_flattened(), self.payload]
    }
}

impl SpecHead {
    #[inline]
    pub(super) fn new(spec: &TaskSpec<'_>) -> Self {
        debug_assert!(spec.attempts_max >= 1, "a task is tried at least once");
        debug_assert!(spec.after.len() <= AFTER_MAX, "a task comes after too many");
        debug_assert!(spec.payload.len() <= PAYLOAD_BYTES_MAX, "the payload of a task is too long");
        Self {
            key: U128::new(spec.key.0),
            memory: U64::new(spec.memory),
            timeout_ms: U64::new(spec.timeout_ms),
            job: U32::new(spec.job.0),
            priority: I32::new(spec.priority),
            cores_milli: U32::new(spec.cores_milli),
            payload_len: len32(spec.payload),
            attempts_max: U16::new(spec.attempts_max),
            after_count: U16::new(u16::try_from(spec.after.len()).unwrap_or(u16::MAX)),
        }
    }

    /// Reads what follows the head, and moves on.
    #[inline]
    pub(super) fn read<'a>(&self, rest: &mut &'a [u8]) -> Result<TaskSpec<'a>, WireError> {
        let attempts_max = self.attempts_max.get();
        if attempts_max == 0 {
            return Err(unknown("number of attempts of a task", 0));
        }
        let payload_len = self.payload_len.get() as usize;
        within(payload_len, PAYLOAD_BYTES_MAX, "the length of a payload in bytes")?;
        let after = read_after(rest, self.after_count.get().into())?;
        Ok(TaskSpec {
            job: JobId(self.job.get()),
            key: TaskKey(self.key.get()),
            priority: self.priority.get(),
            memory: self.memory.get(),
            cores_milli: self.cores_milli.get(),
            timeout_ms: self.timeout_ms.get(),
            attempts_max,
            after,
            payload: part(rest, payload_len, "payload of a task")?,
        })
    }
}

#[inline]
fn read_after<'a>(rest: &mut &'a [u8], count: usize) -> Result<After<'a>, WireError> {
    within(count, AFTER_MAX, "the number of tasks that one comes after")?;
    let (keys, after) = <[[u8; 16]]>::ref_from_prefix_with_elems(rest, count)
        .map_err(|_| WireError::Truncated { what: "keys of the tasks that one comes after" })?;
    *rest = after;
    Ok(After(keys))
}
