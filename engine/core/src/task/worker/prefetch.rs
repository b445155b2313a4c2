//! How many leases should wait at a worker: so many that it has work while it asks for more, and
//! no more, for a lease that waits here cannot run elsewhere.

/// Most leases that wait at a worker by its own wish.
pub const PREFETCH_MAX: u32 = 4096;

/// Weight of the latest sample in a mean: one part in so many.
const MEAN_PARTS: u64 = 8;

/// Tasks that take longer than this on average, in nanoseconds, are not worth it: the time to ask
/// for the next one is nothing beside them.
const RUN_LONG_NS: u64 = 1_000_000_000;

/// Shorter runs count as this long, in nanoseconds.
const RUN_MIN_NS: u64 = 1_000;

/// Longer samples count as this long, in nanoseconds: one long task is to be forgotten soon.
const SAMPLE_MAX_NS: u64 = 8 * RUN_LONG_NS;

/// Learns how long tasks run, and how long the queue takes to answer.
#[derive(Debug, Default)]
pub(super) struct PrefetchEstimator {
    run_ns: Option<u64>,
    round_trip_ns: Option<u64>,
}

/// The exponentially weighted mean with one more sample.
fn mean(before: Option<u64>, sample_ns: u64) -> u64 {
    let sample = sample_ns.min(SAMPLE_MAX_NS);
    before.map_or(sample, |mean| mean - mean / MEAN_PARTS + sample / MEAN_PARTS)
}

impl PrefetchEstimator {
    /// A task ran so long.
    #[inline]
    pub(super) fn on_run(&mut self, ran_ns: u64) {
        self.run_ns = Some(mean(self.run_ns, ran_ns));
    }

    /// A report was acknowledged after so long.
    pub(super) fn on_round_trip(&mut self, round_trip_ns: u64) {
        self.round_trip_ns = Some(mean(self.round_trip_ns, round_trip_ns));
    }

    /// How many should wait: twice what all slots together finish in a round trip.
    pub(super) fn ahead(&self, slots: u32) -> u32 {
        let (Some(run), Some(round_trip)) = (self.run_ns, self.round_trip_ns) else { return 0 };
        if run > RUN_LONG_NS {
            return 0;
        }
        let finished = (2 * u64::from(slots)).saturating_mul(round_trip);
        let ahead = finished.div_ceil(run.max(RUN_MIN_NS));
        u32::try_from(ahead).unwrap_or(u32::MAX).clamp(1, PREFETCH_MAX)
    }

    /// The same, where the queue knows another number already: only a change by half or double, or
    /// from or to none, is worth telling it.
    pub(super) fn advise(&self, slots: u32, told: u32) -> u32 {
        let ahead = self.ahead(slots);
        let is_near = ahead > 0 && told > 0 && ahead / 2 < told && told / 2 < ahead;
        if is_near { told } else { ahead }
    }
}
