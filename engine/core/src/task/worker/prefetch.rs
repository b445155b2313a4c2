//! How many leases should wait at a worker: so many that it has work while it asks for more, and
//! no more, for a lease that waits here cannot run elsewhere.
//!
//! Several queues share that number. Each may let at least one lease wait, however small the number
//! is, unless the worker drains or its machine is short of something: what starts next is told here
//! alone, among leases of all queues by their priority, so a queue that has none here while others
//! fill every slot that gets free would never get its turn.

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

/// How many leases each of so many queues may let wait, if it is so many in all.
#[inline]
pub(super) fn share(ahead: u32, queues: u16) -> u32 {
    if queues > 1 { ahead.div_ceil(queues.into()).max(1) } else { ahead }
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

    /// The share of one of so many queues in that, where it knows another number already: only a
    /// change by half or double, or from or to none, is worth telling it.
    pub(super) fn advise(&self, slots: u32, queues: u16, told: u32) -> u32 {
        let ahead = share(self.ahead(slots), queues);
        let is_near = ahead > 0 && told > 0 && ahead / 2 < told && told / 2 < ahead;
        if is_near { told } else { ahead }
    }
}
