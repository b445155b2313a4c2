//! How many tasks the machine could start: for a while after it could not start one more, no more
//! than that run, and then more of them are tried little by little.

use crate::Nanos;
use std::time::Duration;

/// How long a worker keeps to what its machine could start, before it tries more.
pub const SHORTAGE_PAUSE: Duration = Duration::from_secs(1);

/// A bound below the number of slots, if there is one.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// So many may run, until then.
    bound: Option<(u32, Nanos)>,
}

impl Throttle {
    /// The machine could not start a task beside those that run.
    pub(super) fn on_shortage(&mut self, now: Nanos, running: u32) {
        self.bound = Some((running, now + SHORTAGE_PAUSE.into()));
    }

    /// Tries more when it is time to: one at first, then twice as many as before. Returns whether
    /// it was.
    pub(super) fn on_turn(&mut self, now: Nanos, slots: u32) -> bool {
        let Some((bound, _)) = self.bound.filter(|(_, until)| *until <= now) else { return false };
        let more = bound.saturating_mul(2).max(1);
        self.bound = (more < slots).then(|| (more, now + SHORTAGE_PAUSE.into()));
        true
    }

    /// How many of these slots may be used.
    #[inline]
    pub(super) fn slots(&self, slots: u32) -> u32 {
        self.bound.map_or(slots, |(bound, _)| bound.min(slots))
    }

    /// Whether there is a bound.
    #[inline]
    pub(super) fn is_bound(&self) -> bool {
        self.bound.is_some()
    }

    /// Whether nothing may run.
    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.bound, Some((0, _)))
    }

    /// When it is time to try more.
    pub(super) fn due(&self) -> Option<Nanos> {
        self.bound.map(|(_, until)| until)
    }
}
