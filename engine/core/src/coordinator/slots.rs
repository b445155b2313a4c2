//! The in-flight table: slots, a free list, and lists of those that wait for a time.

use super::Timing;
use super::transaction::Parts;
use crate::Nanos;
use punctual_wire::TxnSequence;

/// A body that took more memory than this is given back when its slot is free again.
const BODY_BYTES_KEPT: usize = 64 << 10;

/// Ends a list.
pub(super) const NONE: u32 = u32::MAX;

/// Which list a slot is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not in use.
    Free,
    /// Sent: due when the request timeout has passed.
    Waiting,
    /// The shard was busy: due when the back-off has passed.
    BackingOff,
}

/// What is known of a transaction on several shards as a whole.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Common {
    pub(super) stamp: Nanos,
    /// The commit time that the first reply named.
    pub(super) commit: Option<Nanos>,
    pub(super) times_differ: bool,
    pub(super) committed: usize,
    pub(super) aborted: usize,
    pub(super) timing: Timing,
}

/// A transaction in flight.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) generation: u64,
    pub(super) state: State,
    /// Whether anything of it was sent more than once.
    pub(super) was_resent: bool,
    pub(super) tag: u64,
    pub(super) submitted_at: Nanos,
    pub(super) due: Nanos,
    pub(super) parts: Parts,
    /// What its parts have in common, where there are several.
    pub(super) common: Common,
    previous: u32,
    next: u32,
}

/// A doubly linked list of slots in the order of their due times. Since all that wait in one list
/// wait equally long, appending keeps the order, and the head is always the next that is due.
#[derive(Debug, Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
}

/// The table.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: u32,
    in_use: u32,
    waiting: List,
    backing_off: List,
}

impl Slots {
    pub(super) fn new(count: u32) -> Self {
        let count = count.clamp(1, TxnSequence::SLOTS_MAX);
        let slots = (0..count)
            .map(|at| Slot {
                generation: 0,
                state: State::Free,
                was_resent: false,
                tag: 0,
                submitted_at: Nanos::ZERO,
                due: Nanos::ZERO,
                parts: Parts::new(),
                common: Common::default(),
                previous: NONE,
                next: if at + 1 == count { NONE } else { at + 1 },
            })
            .collect();
        let empty = List { head: NONE, tail: NONE };
        Self { slots, free: 0, in_use: 0, waiting: empty, backing_off: empty }
    }

    pub(super) fn in_use(&self) -> u32 {
        self.in_use
    }

    pub(super) fn capacity(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// Takes a free slot; its generation is a new one and it is in no list yet.
    #[inline]
    pub(super) fn take(&mut self) -> Option<u32> {
        let at = self.free;
        let slot = self.slots.get_mut(at as usize)?;
        self.free = slot.next;
        slot.generation += 1;
        self.in_use += 1;
        Some(at)
    }

    #[inline]
    pub(super) fn get(&self, at: u32) -> &Slot {
        &self.slots[at as usize]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, at: u32) -> &mut Slot {
        &mut self.slots[at as usize]
    }

    /// The sequence of what is in a slot.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "there are at most 2^16 slots")]
    pub(super) fn sequence(&self, at: u32) -> TxnSequence {
        TxnSequence::new(at as u16, self.get(at).generation)
    }

    /// The slot of a sequence that is in flight.
    #[inline]
    pub(super) fn find(&self, sequence: TxnSequence) -> Option<u32> {
        let at = u32::from(sequence.slot());
        let slot = self.slots.get(at as usize)?;
        (slot.state != State::Free && slot.generation == sequence.generation()).then_some(at)
    }

    fn list(&mut self, state: State) -> &mut List {
        match state {
            State::BackingOff => &mut self.backing_off,
            State::Waiting | State::Free => &mut self.waiting,
        }
    }

    /// Puts a slot at the end of a list.
    #[inline]
    pub(super) fn append(&mut self, at: u32, state: State, due: Nanos) {
        let tail = std::mem::replace(&mut self.list(state).tail, at);
        let slot = self.get_mut(at);
        slot.state = state;
        slot.due = due;
        slot.previous = tail;
        slot.next = NONE;
        if tail == NONE {
            self.list(state).head = at;
        } else {
            debug_assert!(self.get(tail).due <= due, "equal waits keep the order");
            self.get_mut(tail).next = at;
        }
    }

    /// Takes a slot out of its list.
    #[inline]
    pub(super) fn unlink(&mut self, at: u32) {
        let Slot { state, previous, next, .. } = *self.get(at);
        debug_assert!(state != State::Free, "a free slot is in no list of times");
        match previous {
            NONE => self.list(state).head = next,
            _ => self.get_mut(previous).next = next,
        }
        match next {
            NONE => self.list(state).tail = previous,
            _ => self.get_mut(next).previous = previous,
        }
    }

    /// Gives a slot back that is in no list any more.
    #[inline]
    pub(super) fn release(&mut self, at: u32) {
        let free = self.free;
        let slot = self.get_mut(at);
        slot.state = State::Free;
        slot.next = free;
        slot.parts.shrink(BODY_BYTES_KEPT);
        self.free = at;
        self.in_use -= 1;
    }

    /// The first of a list, if it is due.
    #[inline]
    pub(super) fn due(&self, state: State, now: Nanos) -> Option<u32> {
        let head = match state {
            State::BackingOff => self.backing_off.head,
            State::Waiting | State::Free => self.waiting.head,
        };
        (head != NONE && self.get(head).due <= now).then_some(head)
    }

    /// When the next slot is due.
    pub(super) fn next_due(&self) -> Option<Nanos> {
        [self.waiting.head, self.backing_off.head]
            .into_iter()
            .filter(|head| *head != NONE)
            .map(|head| self.get(head).due)
            .min()
    }

    /// All slots in use, by index.
    pub(super) fn used(&self) -> impl Iterator<Item = u32> {
        (0..self.capacity()).filter(|at| self.get(*at).state != State::Free)
    }
}
