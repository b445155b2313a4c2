//! Who is who in the task farm.

use std::fmt;

/// Most queues of one task server.
pub const QUEUES_MAX: u16 = 64;

/// The queue among `queues` that has what this is the hash of. Equal shares of all hashes in their
/// order, so it costs a multiplication and no division.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the product's high half is below a u16")]
pub fn queue_of_hash(hash: u64, queues: u16) -> u16 {
    ((u128::from(hash) * u128::from(queues)) >> 64) as u16
}

/// A task for ever: the queue shard that has it, and which of its tasks it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TaskId(pub u64);

impl TaskId {
    /// Bits of the sequence; the shard is above.
    const SEQUENCE_BITS: u32 = 48;
    /// The highest sequence.
    pub const SEQUENCE_MAX: u64 = (1 << Self::SEQUENCE_BITS) - 1;

    /// The `sequence`-th task of a shard.
    #[must_use]
    pub fn new(shard: u16, sequence: u64) -> Self {
        debug_assert!(sequence <= Self::SEQUENCE_MAX, "a shard has at most 2^48 tasks");
        Self(u64::from(shard) << Self::SEQUENCE_BITS | sequence)
    }

    /// The shard.
    #[must_use]
    pub fn shard(self) -> u16 {
        (self.0 >> Self::SEQUENCE_BITS) as u16
    }

    /// Which of its tasks, counted from 1.
    #[must_use]
    pub fn sequence(self) -> u64 {
        self.0 & Self::SEQUENCE_MAX
    }
}

impl fmt::Display for TaskId {
    /// The sequence alone on the first shard, else `SHARD.SEQUENCE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shard() {
            0 => write!(f, "{}", self.sequence()),
            shard => write!(f, "{shard}.{}", self.sequence()),
        }
    }
}

impl std::str::FromStr for TaskId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (shard, sequence) = text.split_once('.').unwrap_or(("0", text));
        let sequence: u64 = sequence.parse()?;
        // Out of range is answered like any number that no task has.
        Ok(Self::new(shard.parse()?, sequence.min(Self::SEQUENCE_MAX)))
    }
}

/// What makes two submissions the same task: the 128-bit hash of its text, or of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TaskKey(pub u128);

impl TaskKey {
    /// The queue among `queues` that has the task, unless it is named or comes after others: those
    /// are, all of a job, where [`queue_of_hash`] of the job's name says.
    #[must_use]
    pub fn queue(self, queues: u16) -> u16 {
        queue_of_hash((self.0 >> 64) as u64, queues)
    }
}

/// A job, by the number that queue 0 of its server gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct JobId(pub u32);

/// How often a task was given out: 1 is the first time. It fences reports: only that of the latest
/// attempt counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Attempt(pub u32);

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum TaskState {
    /// It comes after tasks that have not succeeded yet.
    Blocked = 0,
    /// It failed, and waits before it is tried again.
    Delayed = 1,
    /// A worker can have it.
    Ready = 2,
    /// A worker has it: it runs, or is about to.
    Leased = 3,
    /// It succeeded.
    Done = 4,
    /// It failed, for the last time.
    Failed = 5,
    /// Somebody cancelled it, or something that it comes after cannot succeed.
    Cancelled = 6,
}

impl TaskState {
    /// How many states there are.
    pub const COUNT: usize = 7;
    /// All, in the order of their codes.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Blocked,
        Self::Delayed,
        Self::Ready,
        Self::Leased,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The state with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Whether nothing more will happen to it by itself.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// A name for people and for JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Delayed => "delayed",
            Self::Ready => "ready",
            Self::Leased => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Some of the states, by bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateSet(pub u8);

impl StateSet {
    /// All of them.
    pub const ALL: Self = Self((1 << TaskState::COUNT) - 1);
    /// None.
    pub const NONE: Self = Self(0);

    /// The set with one more.
    #[must_use]
    pub fn with(self, state: TaskState) -> Self {
        Self(self.0 | 1 << state as u8)
    }

    /// Whether a state is in it.
    #[must_use]
    pub fn contains(self, state: TaskState) -> bool {
        self.0 & 1 << state as u8 != 0
    }
}

impl FromIterator<TaskState> for StateSet {
    fn from_iter<I: IntoIterator<Item = TaskState>>(states: I) -> Self {
        states.into_iter().fold(Self::NONE, Self::with)
    }
}

/// Names that stand for several states.
const GROUPS: [(&str, &[TaskState]); 3] = [
    ("todo", &[TaskState::Blocked, TaskState::Delayed, TaskState::Ready]),
    ("unfinished", &[TaskState::Blocked, TaskState::Delayed, TaskState::Ready, TaskState::Leased]),
    ("finished", &[TaskState::Done, TaskState::Failed, TaskState::Cancelled]),
];

/// A name that no state and no group of them has. Its text lists those that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownState(pub String);

impl fmt::Display for UnknownState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = TaskState::ALL.into_iter().map(TaskState::name);
        let names: Vec<&str> = names.chain(GROUPS.map(|(name, _)| name)).collect();
        write!(f, "there is no state {:?}, but {}", self.0, names.join(", "))
    }
}

impl std::error::Error for UnknownState {}

impl std::str::FromStr for StateSet {
    type Err = UnknownState;

    /// The state of this name, or the states that it stands for.
    fn from_str(name: &str) -> Result<Self, UnknownState> {
        let state = TaskState::ALL.into_iter().find(|state| state.name() == name);
        let group = GROUPS.into_iter().find(|(group, _)| *group == name);
        match (state, group) {
            (Some(state), _) => Ok(Self::NONE.with(state)),
            (None, Some((_, states))) => Ok(states.iter().copied().collect()),
            (None, None) => Err(UnknownState(name.to_owned())),
        }
    }
}
