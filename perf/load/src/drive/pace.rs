//! How many transactions are in flight while the store is loaded or read.
//!
//! As many as the way allows, and not so many that they only wait for each other: the queue in
//! which they wait would delay the probes of one-way delays as well, and those are remembered for
//! seconds. The idea is that of TCP Vegas (Brakmo and Peterson, 1995): more while the time that one
//! takes is near the shortest seen, fewer when it is far above.

use punctual_runtime::Nanos;

/// In flight at the beginning, and at least.
const LIMIT_MIN: u32 = 4;
/// A time is near the shortest up to twice as much and this.
const SLACK: Nanos = Nanos(1_000_000);

/// The limit of what is in flight.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    limit: u32,
    max: u32,
    shortest: Nanos,
    /// What was sent before the limit was lowered says nothing about it.
    lower_after: Nanos,
}

impl Pace {
    pub(super) fn new(max: u32) -> Self {
        let limit = LIMIT_MIN.min(max);
        Self { limit, max, shortest: Nanos::MAX, lower_after: Nanos(i64::MIN) }
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// A transaction has ended `now` that took so long.
    pub(super) fn ended(&mut self, now: Nanos, took: Nanos) {
        self.shortest = self.shortest.min(took);
        let near = Nanos(self.shortest.0.saturating_mul(2).saturating_add(SLACK.0));
        if took <= near {
            self.limit = (self.limit + 1).min(self.max);
        } else if now >= self.lower_after {
            self.limit = (self.limit * 3 / 4).max(LIMIT_MIN.min(self.max));
            self.lower_after = now + took;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn a_long_way_is_filled_and_a_queue_is_not() {
        let mut pace = Pace::new(1_000);
        for at in 0..2_000 {
            pace.ended(Nanos(at * MS), Nanos(300 * MS));
        }
        assert_eq!(pace.limit(), 1_000, "nothing waits, however long the way is");
        let mut pace = Pace::new(1_000);
        let mut now = 0;
        for _ in 0..10_000 {
            // Each of those in flight takes a tenth of a millisecond of the one server.
            let took = i64::from(pace.limit()) * MS / 10;
            now += MS / 10;
            pace.ended(Nanos(now), Nanos(took));
        }
        assert!((5..=30).contains(&pace.limit()), "{}", pace.limit());
    }

    #[test]
    fn one_overload_lowers_the_limit_once() {
        let mut pace = Pace::new(100);
        for at in 0..100 {
            pace.ended(Nanos(at), Nanos(MS));
        }
        let now = 1_000 * MS;
        for at in 0..50 {
            pace.ended(Nanos(now + at), Nanos(50 * MS));
        }
        assert_eq!(pace.limit(), 75);
        pace.ended(Nanos(now + 60 * MS), Nanos(50 * MS));
        assert_eq!(pace.limit(), 56);
    }

    #[test]
    fn the_limit_stays_within_its_bounds() {
        let mut pace = Pace::new(2);
        for at in 0..100 {
            pace.ended(Nanos(at * 1_000 * MS), Nanos(MS + at * at * MS));
        }
        assert_eq!(pace.limit(), 2);
    }
}
