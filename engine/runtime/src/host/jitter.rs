//! How long a thread that never waits is kept from its core.
//!
//! A pinned thread reads the clock again and again. Two readings are some 20 ns apart; whatever is
//! longer went to an interrupt, to another thread, or to the hypervisor, and is time in which a
//! shard on this core would have answered nobody. The method is that of `sysjitter` and `hiccups`.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Cores that a fixed-size affinity mask can name; asking for another one would panic.
const CORES_MAX: usize = 1024;
/// Gaps above this count as lost time.
const LOST_NS: u64 = 1_000;
/// The longest gap that the histogram tells apart from longer ones.
const GAP_NS_MAX: u64 = 60_000_000_000;
/// Readings before the measurement, so that no page or cache of the loop is cold.
const WARM_UP: u32 = 10_000;

/// Gaps between consecutive readings of the clock on one core.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Jitter {
    /// The core.
    pub core: usize,
    /// Whether the thread could be pinned to it; if not, the other figures are of any core.
    pub pinned: bool,
    /// Gaps that were measured.
    pub samples: u64,
    /// The longest gap.
    pub max_ns: u64,
    /// 99 of 100 gaps were no longer than this.
    pub p99_ns: u64,
    /// Gaps above 1 us.
    pub over_1us: u64,
    /// Gaps above 10 us.
    pub over_10us: u64,
    /// Gaps above 100 us.
    pub over_100us: u64,
    /// Sum of the gaps above 1 us.
    pub lost_ns: u64,
    /// Share of the core's time that the hypervisor gave to others, 0 to 1. The kernel counts it in
    /// ticks, so that a measurement of less than a second shows little.
    pub stolen_share: f64,
}

/// Spins on a core for `duration` and reports what disturbed it.
///
/// It uses a thread of its own, so the caller's affinity stays as it is.
#[must_use]
pub fn measure_jitter(core: usize, duration: Duration) -> Jitter {
    std::thread::scope(|scope| {
        let spinning = scope.spawn(|| {
            let pinned = core < CORES_MAX
                && core_affinity::set_for_current(core_affinity::CoreId { id: core });
            let mut gaps = Gaps::new();
            spin(duration, &mut gaps, core, pinned)
        });
        spinning.join().expect("the spinning thread does not panic")
    })
}

fn spin(duration: Duration, gaps: &mut Gaps, core: usize, pinned: bool) -> Jitter {
    for _ in 0..WARM_UP {
        std::hint::black_box(Instant::now());
    }
    let ticks_before = Ticks::read(core);
    let start = Instant::now();
    let mut last = start;
    loop {
        let now = Instant::now();
        gaps.record(now - last);
        last = now;
        if now - start >= duration {
            break;
        }
    }
    let stolen_share = Ticks::read(core).stolen_share_since(ticks_before);
    gaps.summary(core, pinned, stolen_share)
}

struct Gaps {
    histogram: Histogram<u64>,
    /// Kept beside the histogram, which rounds.
    max_ns: u64,
    over_1us: u64,
    over_10us: u64,
    over_100us: u64,
    lost_ns: u64,
}

impl Gaps {
    fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, GAP_NS_MAX, 3)
            .expect("the bounds are constants that fit each other");
        Self { histogram, max_ns: 0, over_1us: 0, over_10us: 0, over_100us: 0, lost_ns: 0 }
    }

    fn record(&mut self, gap: Duration) {
        let gap_ns = u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(gap_ns);
        self.max_ns = self.max_ns.max(gap_ns);
        if gap_ns > LOST_NS {
            self.lost_ns = self.lost_ns.saturating_add(gap_ns);
            self.over_1us += 1;
            self.over_10us += u64::from(gap_ns > 10_000);
            self.over_100us += u64::from(gap_ns > 100_000);
        }
    }

    fn summary(&self, core: usize, pinned: bool, stolen_share: f64) -> Jitter {
        Jitter {
            core,
            pinned,
            samples: self.histogram.len(),
            max_ns: self.max_ns,
            p99_ns: self.histogram.value_at_quantile(0.99),
            over_1us: self.over_1us,
            over_10us: self.over_10us,
            over_100us: self.over_100us,
            lost_ns: self.lost_ns,
            stolen_share,
        }
    }
}

/// Accounting of one core in `/proc/stat`, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Ticks {
    total: u64,
    stolen: u64,
}

impl Ticks {
    fn read(core: usize) -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        Self::parse(&stat, core).unwrap_or_default()
    }

    /// Fields of a line: user, nice, system, idle, iowait, irq, softirq, steal. What follows is
    /// part of `user` already.
    fn parse(stat: &str, core: usize) -> Option<Self> {
        let name = format!("cpu{core}");
        let mut fields = stat
            .lines()
            .map(str::split_whitespace)
            .find_map(|mut words| (words.next() == Some(name.as_str())).then_some(words))?;
        let mut ticks = Self::default();
        for _ in 0..8 {
            ticks.stolen = fields.next()?.parse().ok()?;
            ticks.total += ticks.stolen;
        }
        Some(ticks)
    }

    fn stolen_share_since(self, before: Self) -> f64 {
        let total = self.total.saturating_sub(before.total);
        let stolen = self.stolen.saturating_sub(before.stolen);
        if total == 0 { 0.0 } else { stolen as f64 / total as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_above_each_threshold() {
        let mut gaps = Gaps::new();
        for gap_ns in [20, 1_000, 1_001, 10_001, 100_001, 5_000_000] {
            gaps.record(Duration::from_nanos(gap_ns));
        }
        let jitter = gaps.summary(3, true, 0.0);
        assert_eq!((jitter.core, jitter.samples, jitter.max_ns), (3, 6, 5_000_000));
        assert_eq!((jitter.over_1us, jitter.over_10us, jitter.over_100us), (4, 3, 2));
        assert_eq!(jitter.lost_ns, 1_001 + 10_001 + 100_001 + 5_000_000);
    }

    #[test]
    fn a_quiet_core_has_lost_nothing() {
        let mut gaps = Gaps::new();
        for _ in 0..99 {
            gaps.record(Duration::from_nanos(20));
        }
        gaps.record(Duration::from_nanos(400));
        let jitter = gaps.summary(0, true, 0.0);
        assert_eq!((jitter.max_ns, jitter.p99_ns, jitter.lost_ns), (400, 20, 0));
    }

    #[test]
    fn stolen_time_is_the_eighth_field_of_the_core() {
        let stat =
            "cpu  9 9 9 9 9 9 9 9 9 9\ncpu1 1 2 3 4 5 6 7 20 0 0\ncpu11 0 0 0 0 0 0 0 0 0 0\n";
        let ticks = Ticks::parse(stat, 1).unwrap();
        assert_eq!(ticks, Ticks { total: 48, stolen: 20 });
        assert_eq!(Ticks::parse(stat, 2), None);
        let before = Ticks { total: 8, stolen: 10 };
        assert!((ticks.stolen_share_since(before) - 0.25).abs() < 1e-9);
        assert!(ticks.stolen_share_since(ticks).abs() < 1e-9);
    }

    #[test]
    fn an_allowed_core_is_measured_and_an_impossible_one_only_reported() {
        let core = super::super::allowed_cores()[0];
        let jitter = measure_jitter(core, Duration::ZERO);
        assert!(jitter.pinned && jitter.samples > 0 && jitter.core == core);
        assert!(!measure_jitter(1 << 20, Duration::ZERO).pinned);
    }
}
