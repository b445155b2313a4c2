//! The clocks of the nodes: each has an offset, a drift and jumps, and none runs backwards.

use punctual_core::Nanos;

/// What a perfect clock shows at the start: far from zero, so that no offset makes time negative.
const EPOCH: i64 = 1_000_000_000_000;

/// The clock of a node, as a function of the true time.
#[derive(Debug, Clone)]
pub(crate) struct SimClock {
    offset: i64,
    /// Nanoseconds that it gains or loses in each second.
    drift_ppb: i64,
    /// It drifts until then and keeps its distance afterwards, so that the distance is bounded.
    drift_until: i64,
    jumped: i64,
}

impl SimClock {
    pub(crate) fn new(offset: i64, drift_ppb: i64, drift_until: i64) -> Self {
        Self { offset, drift_ppb, drift_until, jumped: 0 }
    }

    /// Jumps forward.
    pub(crate) fn jump(&mut self, by: i64) {
        debug_assert!(by >= 0, "no clock runs backwards");
        self.jumped += by;
    }

    pub(crate) fn read(&self, at: i64) -> Nanos {
        let drifting = i128::from(at.min(self.drift_until));
        let drift = (drifting * i128::from(self.drift_ppb) / 1_000_000_000) as i64;
        Nanos(EPOCH + at + self.offset + self.jumped + drift)
    }

    /// The first moment from `from` on at which it shows `shown` or more, if it does not jump.
    pub(crate) fn when(&self, shown: Nanos, from: i64) -> i64 {
        if self.read(from) >= shown {
            return from;
        }
        // It gains at most as much as it drifts, so this is never much too late.
        let mut at = from;
        loop {
            let missing = shown - self.read(at);
            if missing <= Nanos::ZERO {
                break;
            }
            let gain = i128::from(missing.0) * i128::from(self.drift_ppb.max(0)) / 1_000_000_000;
            at = at.saturating_add((missing.0 - gain as i64).max(1));
            if at >= i64::MAX / 4 {
                return i64::MAX / 4;
            }
        }
        // The drift is rounded, which may have been a step too many.
        while at > from && self.read(at - 1) >= shown {
            at -= 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_when_the_clock_shows_it_and_not_before() {
        for drift_ppb in [0, 250_000, -250_000, 40_000_000, -40_000_000] {
            let mut clock = SimClock::new(-700, drift_ppb, 1_000_000);
            for jump in [0, 5_000] {
                clock.jump(jump);
                for ahead in [1, 17, 1_000, 999_999, 3_000_000] {
                    let shown = clock.read(0) + Nanos(ahead);
                    let at = clock.when(shown, 0);
                    assert!(clock.read(at) >= shown, "{drift_ppb} {ahead}");
                    assert!(clock.read(at - 1) < shown, "{drift_ppb} {ahead}");
                }
            }
        }
    }

    #[test]
    fn a_clock_never_runs_backwards() {
        let clock = SimClock::new(0, -999_999, 5_000);
        assert!((0..10_000).all(|at| clock.read(at) <= clock.read(at + 1)));
    }
}
