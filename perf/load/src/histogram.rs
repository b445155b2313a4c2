//! Where latencies are recorded: one recorder a core, merged when the run is over.
//!
//! All histograms have the same fixed bounds, so that recording never allocates and merging never
//! fails. A latency goes into one histogram only, that of the interval; the total is added up when
//! an interval is taken.

use hdrhistogram::Histogram;

/// The shortest latency that is told from shorter ones.
pub const LATENCY_NS_MIN: i64 = 1;
/// The longest latency that is told from longer ones: a minute.
pub const LATENCY_NS_MAX: i64 = 60_000_000_000;
/// Significant decimal digits: values are kept to a thousandth.
pub const DIGITS: u8 = 3;

/// An empty histogram with the bounds that all latencies here are kept in; about 220 kB.
#[must_use]
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_NS_MIN.unsigned_abs(), LATENCY_NS_MAX.unsigned_abs(), DIGITS)
        .expect("the constant bounds are valid")
}

/// Records latencies by interval and in total.
#[derive(Debug, Clone)]
pub struct Recorder {
    interval: Histogram<u64>,
    /// Everything of the intervals that were taken.
    taken: Histogram<u64>,
    below_range: u64,
    above_range: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    /// A recorder with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self { interval: new_histogram(), taken: new_histogram(), below_range: 0, above_range: 0 }
    }

    /// Records one latency. What lies outside the bounds is recorded at the bound, and counted: a
    /// negative latency is a clock at fault, one above a minute makes the maximum a lower limit.
    #[inline]
    pub fn record(&mut self, latency_ns: i64) {
        let kept_ns = latency_ns.clamp(LATENCY_NS_MIN, LATENCY_NS_MAX);
        if kept_ns != latency_ns {
            self.below_range += u64::from(latency_ns < 0);
            self.above_range += u64::from(latency_ns > LATENCY_NS_MAX);
        }
        self.interval.saturating_record(kept_ns.unsigned_abs());
    }

    /// Takes what was recorded since the last call and starts the next interval.
    ///
    /// This adds up some ten thousand counters and allocates the next histogram, some ten
    /// microseconds: call it a few times a second, not once a transaction.
    pub fn take_interval(&mut self) -> Histogram<u64> {
        add(&mut self.taken, &self.interval);
        std::mem::replace(&mut self.interval, new_histogram())
    }

    /// Everything recorded so far, whether its interval was taken or not.
    #[must_use]
    pub fn total(&self) -> Histogram<u64> {
        let mut total = self.taken.clone();
        add(&mut total, &self.interval);
        total
    }

    /// Adds everything another recorder has recorded to this one's total; its intervals stay its
    /// own.
    pub fn merge(&mut self, other: &Self) {
        add(&mut self.taken, &other.taken);
        add(&mut self.taken, &other.interval);
        self.below_range += other.below_range;
        self.above_range += other.above_range;
    }

    /// Forgets everything: the warm-up is over.
    pub fn clear(&mut self) {
        self.interval.reset();
        self.taken.reset();
        self.below_range = 0;
        self.above_range = 0;
    }

    /// How many latencies were recorded in all.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.taken.len() + self.interval.len()
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many latencies were negative and stand in the total as one nanosecond.
    #[must_use]
    pub fn below_range(&self) -> u64 {
        self.below_range
    }

    /// How many latencies exceeded [`LATENCY_NS_MAX`] and stand in the total as that.
    #[must_use]
    pub fn above_range(&self) -> u64 {
        self.above_range
    }
}

fn add(sum: &mut Histogram<u64>, part: &Histogram<u64>) {
    sum.add(part).expect("all histograms have the same bounds");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder(latencies_ns: &[i64]) -> Recorder {
        let mut recorder = Recorder::new();
        for latency_ns in latencies_ns {
            recorder.record(*latency_ns);
        }
        recorder
    }

    #[test]
    fn an_interval_holds_only_its_own_latencies_and_the_total_all() {
        let mut recorder = recorder(&[100, 200]);
        let first = recorder.take_interval();
        recorder.record(300);
        let second = recorder.take_interval();
        recorder.record(400);
        assert_eq!((first.len(), first.max()), (2, 200));
        assert_eq!((second.len(), second.max()), (1, 300));
        let total = recorder.total();
        assert_eq!((total.len(), total.min(), total.max()), (4, 100, 400));
        assert_eq!(recorder.len(), 4);
    }

    #[test]
    fn latencies_outside_the_bounds_are_kept_at_the_bounds_and_counted() {
        let recorder = recorder(&[-5, i64::MIN, 0, 1, LATENCY_NS_MAX, i64::MAX]);
        assert_eq!((recorder.below_range(), recorder.above_range()), (2, 1));
        let total = recorder.total();
        assert_eq!(total.count_at(1), 4);
        assert_eq!(total.count_at(LATENCY_NS_MAX.unsigned_abs()), 2);
        assert_eq!(total.len(), 6);
    }

    #[test]
    fn merging_adds_totals_and_leaves_intervals_alone() {
        let mut ours = recorder(&[10, -1]);
        let mut theirs = recorder(&[20, i64::MAX]);
        drop(theirs.take_interval());
        theirs.record(30);
        ours.merge(&theirs);
        assert_eq!(ours.len(), 5);
        assert_eq!(ours.total().count_at(30), 1);
        assert_eq!((ours.below_range(), ours.above_range()), (1, 1));
        assert_eq!(ours.take_interval().len(), 2);
        assert_eq!(theirs.len(), 3);
    }

    #[test]
    fn values_are_kept_to_a_thousandth() {
        let total = recorder(&[123_456_789]).total();
        let error = total.max() as f64 / 123_456_789.0 - 1.0;
        assert!((0.0..0.001).contains(&error), "{error}");
    }

    #[test]
    fn clearing_forgets_the_warm_up() {
        let mut recorder = recorder(&[1_000_000, -1]);
        drop(recorder.take_interval());
        recorder.record(2_000_000);
        recorder.clear();
        assert!(recorder.is_empty());
        assert_eq!(recorder.below_range(), 0);
        recorder.record(9);
        assert_eq!(recorder.total().max(), 9);
    }
}
