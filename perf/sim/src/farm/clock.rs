//! The clock of the queue.

use crate::clock::SimClock;
use punctual_core::Nanos;

/// The clock of the queue: the real time of its machine, as far as that does not run back.
#[derive(Debug)]
pub(super) struct QueueClock {
    machine: SimClock,
    jumped: i64,
    /// It shows no less.
    floor: Nanos,
}

impl QueueClock {
    /// One that is right.
    pub(super) fn new() -> Self {
        Self { machine: SimClock::new(0, 0, 0), jumped: 0, floor: Nanos::ZERO }
    }

    /// So far from what it should show, beside what it has jumped.
    pub(super) fn set(&mut self, offset: i64) {
        self.machine = SimClock::new(self.jumped + offset, 0, 0);
    }

    pub(super) fn jump(&mut self, by: i64) {
        self.jumped += by;
        self.machine.jump(by);
    }

    /// What the machine shows, which may be earlier than it was.
    pub(super) fn machine(&self, at: i64) -> Nanos {
        self.machine.read(at)
    }

    /// A queue has started that has seen this time before.
    pub(super) fn set_floor(&mut self, floor: Nanos) {
        self.floor = floor;
    }

    pub(super) fn read(&self, at: i64) -> Nanos {
        self.machine.read(at).max(self.floor)
    }

    /// The first moment from `from` on at which it shows `shown` or more.
    pub(super) fn when(&self, shown: Nanos, from: i64) -> i64 {
        if self.floor >= shown { from } else { self.machine.when(shown, from) }
    }
}
