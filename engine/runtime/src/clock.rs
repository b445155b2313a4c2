//! The clock of a process: one source, read by every core, never running backwards.

use crate::config::ClockSource;
use punctual_core::Nanos;
use rustix::time::{ClockId, clock_gettime};

const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// Readings among which the one with the least uncertainty sets the offset to the wall clock.
const OFFSET_READINGS: usize = 16;

/// Reads the time. Copies on different cores agree.
///
/// `Monotonic` agrees between all processes of one host. `Realtime` is for clusters of several
/// hosts with synchronised clocks: the wall clock at the start of the process, plus the monotonic
/// time since then. So it follows the slewing of the synchronisation daemon (which slews both) and
/// never the stepping, and cannot go back.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    offset: i64,
}

impl Clock {
    /// A clock of this source. `Auto` counts as `Monotonic`; resolve it with the addresses first.
    /// Copy it to the cores of a process instead of making several.
    #[must_use]
    pub fn new(source: ClockSource) -> Self {
        let offset = match source {
            ClockSource::Realtime => wall_offset(),
            ClockSource::Auto | ClockSource::Monotonic => 0,
        };
        Self { offset }
    }

    /// Sets the clock forward, and with it the copies that are made from now on. It may be behind
    /// what a shard wrote down before a crash: a monotonic clock begins anew when the machine
    /// starts, and a wall clock may have been set back. A shard must not promise again what is
    /// past.
    pub(crate) fn set_forward(&mut self, by: Nanos) {
        self.offset = self.offset.saturating_add(by.0);
    }

    /// The time now.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Nanos {
        Nanos(read(ClockId::Monotonic) + self.offset)
    }
}

#[inline]
fn read(id: ClockId) -> i64 {
    let time = clock_gettime(id);
    time.tv_sec * NANOS_PER_SECOND + time.tv_nsec
}

/// Wall clock minus monotonic clock, from the tightest of several pairs of readings.
fn wall_offset() -> i64 {
    let pair = |_| {
        let before = read(ClockId::Monotonic);
        let wall = read(ClockId::Realtime);
        let after = read(ClockId::Monotonic);
        (after - before, wall - (before + after) / 2)
    };
    (0..OFFSET_READINGS).map(pair).min().map_or(0, |(_, offset)| offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sources_never_go_back() {
        for source in [ClockSource::Monotonic, ClockSource::Realtime] {
            let clock = Clock::new(source);
            let readings: Vec<_> = (0..10_000).map(|_| clock.now()).collect();
            assert!(readings.is_sorted());
        }
    }

    #[test]
    fn a_clock_that_is_set_forward_takes_its_later_copies_along() {
        let mut clock = Clock::new(ClockSource::Monotonic);
        let earlier = clock;
        clock.set_forward(Nanos(5_000_000_000));
        let (before, copy) = (earlier.now(), clock);
        assert!(copy.now() >= before + Nanos(5_000_000_000));
        assert!(copy.now() - earlier.now() <= Nanos(5_000_000_000));
    }

    #[test]
    fn the_realtime_clock_counts_from_1970() {
        let seconds = Clock::new(ClockSource::Realtime).now().0 / NANOS_PER_SECOND;
        let wall = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        assert!(wall.abs_diff(seconds.unsigned_abs()) < 60, "{seconds} against {wall}");
    }
}
