//! How long tasks take, counted in buckets: a sum says nothing of the slowest, and every single
//! time would be too many to keep.
//!
//! Four buckets for each power of two are exact to an eighth, which is enough to see where time
//! goes, and cost a shift and two additions. Two readings can be subtracted from each other, so
//! whoever reads them now and then knows the distribution of the time between.

use super::TaskQueue;
use crate::Nanos;
use punctual_wire::task::{BUCKETS_MAX, Distribution};

/// Buckets of a distribution. The last one has everything from ten days on.
const BUCKETS: usize = 160;
/// Below 2 to the power of this, in nanoseconds, everything is in one bucket.
const FIRST_OCTAVE: u32 = 10;
/// Each power of two has 2 to the power of this buckets.
const PART_BITS: u32 = 2;
const PARTS: usize = 1 << PART_BITS;

const _: () = assert!(BUCKETS <= BUCKETS_MAX);

/// A distribution of times: how many there were in each bucket. Its layout is on the page about the
/// wire format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatencyBuckets {
    counts: [u64; BUCKETS],
    sum_ns: u128,
}

/// How long tasks took since a queue started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskLatencies {
    /// From when a task could be had to when it was given to a worker.
    pub wait: LatencyBuckets,
    /// From then to the report of its end. Leases that came back without one are not counted.
    pub lease: LatencyBuckets,
}

impl Default for LatencyBuckets {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], sum_ns: 0 }
    }
}

impl LatencyBuckets {
    /// How many buckets there are.
    pub const COUNT: usize = BUCKETS;

    /// Counts a time.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.counts[bucket_of(ns)] += 1;
        self.sum_ns += u128::from(ns);
    }

    /// How many times were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        // What another queue told may be anything.
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// All of them together, in nanoseconds.
    #[must_use]
    pub fn sum_ns(&self) -> u128 {
        self.sum_ns
    }

    /// How many there are in each bucket.
    #[must_use]
    pub fn counts(&self) -> &[u64; BUCKETS] {
        &self.counts
    }

    /// Where a bucket begins, in nanoseconds: the one before it has shorter times only.
    #[must_use]
    pub const fn floor_ns(bucket: usize) -> u64 {
        let Some(index) = bucket.checked_sub(1) else { return 0 };
        let top = (PARTS + index % PARTS) as u64;
        top << (index / PARTS + (FIRST_OCTAVE - PART_BITS) as usize)
    }

    /// The time that so many thousandths of all times are not above, exact to an eighth; `None`
    /// without any.
    #[must_use]
    pub fn quantile_ns(&self, thousandths: u64) -> Option<u64> {
        let rank = self.count().saturating_mul(thousandths).div_ceil(1_000).max(1);
        let mut below = 0;
        let holds_it = |count: &u64| {
            below = count.saturating_add(below);
            below >= rank
        };
        let bucket = self.counts.iter().position(holds_it)?;
        // Its middle; the last one has no end.
        let end = if bucket + 1 < BUCKETS { bucket + 1 } else { bucket };
        Some(Self::floor_ns(bucket).midpoint(Self::floor_ns(end)))
    }

    /// What came since an earlier reading; `None` if that was of another queue.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let mut since = self.clone();
        for (count, before) in since.counts.iter_mut().zip(&earlier.counts) {
            *count = count.checked_sub(*before)?;
        }
        since.sum_ns = self.sum_ns.checked_sub(earlier.sum_ns)?;
        Some(since)
    }
}

impl From<Distribution<'_>> for LatencyBuckets {
    /// As it was told. Buckets that there are none of here are added to the last one.
    fn from(told: Distribution<'_>) -> Self {
        let mut buckets = Self { sum_ns: told.sum_ns, ..Self::default() };
        for (at, count) in told.counts().enumerate() {
            let here = &mut buckets.counts[at.min(BUCKETS - 1)];
            *here = here.saturating_add(count);
        }
        buckets
    }
}

impl TaskLatencies {
    /// What came since an earlier reading; `None` if that was of another queue.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let wait = self.wait.since(&earlier.wait)?;
        Some(Self { wait, lease: self.lease.since(&earlier.lease)? })
    }
}

#[inline]
fn bucket_of(ns: u64) -> usize {
    let Some(octave) = (ns | 1).ilog2().checked_sub(FIRST_OCTAVE) else { return 0 };
    // What is left are the highest bit and those after it that tell the parts apart.
    let top = usize::try_from(ns >> (octave + FIRST_OCTAVE - PART_BITS)).unwrap_or(0);
    (1 + octave as usize * PARTS + top % PARTS).min(BUCKETS - 1)
}

impl TaskQueue {
    /// How long tasks took since the queue started.
    #[must_use]
    pub fn latencies(&self) -> &TaskLatencies {
        &self.latencies
    }

    /// A task was given to a worker.
    #[inline]
    pub(super) fn note_wait(&mut self, sequence: u64) {
        let Some(task) = self.book.table.get(sequence) else { return };
        // What could be had before the queue started has waited here since then only.
        let since = Nanos(task.ready_at).max(self.started_at);
        self.latencies.wait.record(ns_between(since, self.clock));
    }

    /// A run that was given out at some time was reported.
    #[inline]
    pub(super) fn note_lease(&mut self, leased_at: i64) {
        self.latencies.lease.record(ns_between(Nanos(leased_at), self.clock));
    }
}

fn ns_between(from: Nanos, to: Nanos) -> u64 {
    u64::try_from((to - from).0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(times: &[u64]) -> LatencyBuckets {
        let mut buckets = LatencyBuckets::default();
        for ns in times {
            buckets.record(*ns);
        }
        buckets
    }

    #[test]
    fn every_bucket_begins_where_the_one_before_it_ends() {
        for bucket in 1..LatencyBuckets::COUNT {
            let floor = LatencyBuckets::floor_ns(bucket);
            assert_eq!((bucket_of(floor - 1), bucket_of(floor)), (bucket - 1, bucket), "{floor}");
        }
        assert_eq!((bucket_of(0), bucket_of(1), bucket_of(1_023)), (0, 0, 0));
        assert_eq!(bucket_of(u64::MAX), LatencyBuckets::COUNT - 1);
        assert_eq!(LatencyBuckets::floor_ns(1), 1_024);
    }

    #[test]
    fn quantiles_are_of_what_was_counted_and_of_nothing_there_are_none() {
        assert_eq!(of(&[]).quantile_ns(500), None);
        let mut buckets = of(&[2_000; 99]);
        buckets.record(5_000_000);
        assert_eq!((buckets.count(), buckets.sum_ns()), (100, 99 * 2_000 + 5_000_000));
        for (thousandths, ns) in [(0, 2_000), (500, 2_000), (990, 2_000), (991, 5_000_000)] {
            let found = buckets.quantile_ns(thousandths).expect("there are some");
            assert!(found.abs_diff(ns) * 8 <= ns, "{thousandths}: {found}");
        }
        assert!(of(&[u64::MAX]).quantile_ns(1_000).is_some(), "the last bucket has no end");
    }

    #[test]
    fn a_reading_of_another_queue_cannot_be_subtracted() {
        let (few, many) = (of(&[5_000]), of(&[5_000, 70_000, 70_000]));
        assert_eq!(many.since(&few), Some(of(&[70_000, 70_000])));
        assert_eq!(few.since(&many), None);
        let latencies = |wait: &LatencyBuckets, lease: &LatencyBuckets| TaskLatencies {
            wait: wait.clone(),
            lease: lease.clone(),
        };
        assert_eq!(latencies(&many, &few).since(&latencies(&few, &many)), None);
    }

    #[test]
    fn counts_that_nothing_can_have_do_no_harm() {
        let bytes = Distribution::to_bytes_of(&[u64::MAX; BUCKETS]);
        let told = LatencyBuckets::from(Distribution::new(u128::MAX, &bytes));
        assert_eq!(told.count(), u64::MAX);
        assert_eq!(told.quantile_ns(990), Some(512), "they are all in the first bucket");
    }

    proptest! {
        #[test]
        fn a_time_is_found_again_to_an_eighth(ns in 1_024..1_u64 << 49) {
            let found = of(&[ns]).quantile_ns(500).expect("there is one");
            prop_assert!(found.abs_diff(ns) <= ns / 8 + 1, "{} for {}", found, ns);
        }

        #[test]
        fn a_distribution_comes_back_as_it_was_told(
            times in prop::collection::vec(any::<u64>(), 0..50),
        ) {
            let buckets = of(&times);
            let counts = Distribution::to_bytes_of(buckets.counts());
            let told = Distribution::new(buckets.sum_ns(), &counts);
            prop_assert_eq!(LatencyBuckets::from(told), buckets);
        }
    }
}
