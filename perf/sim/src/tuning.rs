//! The finer settings of a run: always drawn from the seed, never given.

use crate::config::SimConfig;
use crate::disk::DiskSettings;
use crate::rng::Rng;
use punctual_core::{EstimatorKind, Nanos, OwdConfig};
use std::time::Duration;

const STREAM: u64 = 2;
const MICROSECOND: i64 = 1_000;
const MILLISECOND: i64 = 1_000_000;

/// About so many transactions are submitted in a run: enough to meet, few enough for thousands of
/// runs a minute.
const TRANSACTIONS_WANTED: i64 = 400;

/// Tight bounds of what two shards may share, which some runs have.
pub(crate) const QUOTAS: [u32; 3] = [1, 2, 4];

/// Delays, timeouts, sizes and how often things go wrong. Times are in nanoseconds, chances in
/// millionths.
#[derive(Debug, Clone)]
pub(crate) struct Tuning {
    /// A typical delay of the network, one way.
    pub(crate) delay: i64,
    /// Mean of what is added at random.
    pub(crate) jitter: i64,
    pub(crate) loss: u32,
    /// The same between shards, if it is more.
    pub(crate) peer_loss: u32,
    pub(crate) duplicate: u32,
    pub(crate) reorder: u32,
    /// A frame that is overtaken is late by up to this.
    pub(crate) reorder_max: i64,
    pub(crate) spike: u32,
    pub(crate) spike_max: i64,
    /// Longest partition, pause and time that a crashed node is gone.
    pub(crate) outage_max: i64,
    /// How often two shards crash one soon after the other.
    pub(crate) pairs: u32,
    /// A frame takes a node up to this to handle.
    pub(crate) service: i64,
    /// Chance that it takes up to `slow` instead: the node was interrupted.
    pub(crate) interrupted: u32,
    pub(crate) slow: i64,
    /// How far coordinators' clocks may be off, which costs time only.
    pub(crate) coordinator_offset: i64,
    pub(crate) disk: DiskSettings,

    pub(crate) request_timeout: Duration,
    pub(crate) deadline: Duration,
    pub(crate) busy_backoff: Duration,
    pub(crate) headroom: Nanos,
    pub(crate) owd: OwdConfig,
    pub(crate) max_hold: Duration,
    pub(crate) dispatch_timeout: Duration,
    pub(crate) ask_after: Duration,
    pub(crate) pending_max: u32,
    pub(crate) held_bytes_max: usize,
    /// Longer than any transaction is in flight, as it has to be.
    pub(crate) session_retention: Duration,
    pub(crate) batch_max: u16,
    pub(crate) has_probers: bool,
    pub(crate) probe_interval: Duration,

    /// Clients of each coordinator, each with one transaction at a time.
    pub(crate) clients: u16,
    /// Mean pause of a client between two transactions.
    pub(crate) think: i64,
    pub(crate) transactions_max: usize,
    pub(crate) keys: usize,
    /// Chance that an operation goes to the hot key of its shard.
    pub(crate) hot: u32,
    pub(crate) single: u32,
    pub(crate) span_max: u16,
    pub(crate) steps_max: u64,
    /// Chance that a transaction is a call of a procedure. Zero: none is registered.
    pub(crate) calls: u32,
}

impl Tuning {
    pub(crate) fn draw(config: &SimConfig) -> Self {
        let mut rng = Rng::new(config.seed, STREAM);
        let rng = &mut rng;
        let delay = *rng.pick(&[5, 20, 50, 200, 1_000]) * MICROSECOND;
        let dispatch_timeout = *rng.pick(&[3, 10, 40]) * MILLISECOND + 8 * delay;
        let request_timeout = *rng.pick(&[1, 4, 10]) * MILLISECOND + 6 * delay;
        let clients = *rng.pick(&[1, 2, 4, 8, 16]);
        let in_flight = i64::from(clients) * i64::from(config.coordinators);
        let small_bounds = rng.chance(100_000);
        let mut tuning = Self {
            delay,
            jitter: delay * rng.between(5, 100) / 100,
            loss: *rng.pick(&[1_000, 10_000, 50_000]),
            duplicate: *rng.pick(&[5_000, 50_000, 200_000]),
            reorder: *rng.pick(&[10_000, 100_000, 300_000]),
            reorder_max: *rng.pick(&[2 * delay, 20 * delay, 2 * dispatch_timeout]),
            spike: *rng.pick(&[1_000, 10_000]),
            spike_max: *rng.pick(&[2 * MILLISECOND, 20 * MILLISECOND, 2 * dispatch_timeout]),
            outage_max: *rng.pick(&[5, 20, 60]) * MILLISECOND,
            service: *rng.pick(&[400, 2_000, 10_000]),
            interrupted: *rng.pick(&[0, 2_000, 20_000]),
            slow: *rng.pick(&[50, 500, 3_000]) * MICROSECOND,
            coordinator_offset: *rng.pick(&[0, 100 * MICROSECOND, 20 * MILLISECOND]),
            request_timeout: nanos(request_timeout),
            deadline: nanos(*rng.pick(&[60, 150]) * MILLISECOND + 40 * delay),
            busy_backoff: nanos(*rng.pick(&[100, 1_000]) * MICROSECOND),
            headroom: Nanos(*rng.pick(&[0, 10, 100, 500]) * MICROSECOND),
            owd: draw_owd(rng),
            max_hold: nanos(*rng.pick(&[10, 1_000, 1_000, 1_000]) * MILLISECOND),
            dispatch_timeout: nanos(dispatch_timeout),
            ask_after: nanos(*rng.pick(&[500, 2_000, 5_000]) * MICROSECOND + 2 * delay),
            pending_max: if small_bounds { *rng.pick(&QUOTAS) } else { 16_384 },
            batch_max: *rng.pick(&[1, 2, 16, 64]),
            has_probers: rng.chance(500_000),
            probe_interval: nanos(*rng.pick(&[5, 20]) * MILLISECOND),
            clients,
            think: (config.duration.0 * in_flight / TRANSACTIONS_WANTED).max(1),
            transactions_max: 3 * TRANSACTIONS_WANTED as usize,
            keys: (*rng.pick(&[2, 4, 8, 16])).max(usize::from(config.shards)),
            hot: *rng.pick(&[0, 300_000, 700_000]),
            single: *rng.pick(&[50_000, 300_000, 600_000]),
            span_max: *rng.pick(&[2, 3, 5, 8]),
            steps_max: *rng.pick(&[1, 2, 4]),
            calls: *rng.pick(&[0, 0, 0, 50_000, 250_000]),
            peer_loss: *rng.pick(&[0, 0, 100_000, 300_000]),
            pairs: *rng.pick(&[0, 2, 6]),
            held_bytes_max: *rng.pick(&[500, 4_000, 1 << 20, 1 << 20, 1 << 20]),
            session_retention: Duration::from_mins(1),
            disk: DiskSettings::draw(config),
        };
        if rng.chance(500_000) {
            tuning.session_retention = tuning.deadline + tuning.request_timeout;
        }
        match (config.deaths, config.restarts) {
            (true, _) => tuning.with_deaths(config, in_flight),
            (_, true) => tuning.with_restarts(config, in_flight),
            _ => tuning,
        }
    }

    /// Many transactions on a fast network, and shards that are away for a short time only: so
    /// whatever a shard says too early has arrived and was acted on when it crashes.
    fn with_restarts(self, config: &SimConfig, in_flight: i64) -> Self {
        Self {
            delay: 20 * MICROSECOND,
            jitter: 10 * MICROSECOND,
            peer_loss: 0,
            outage_max: 3 * MILLISECOND,
            pairs: 0,
            ask_after: nanos(2 * MILLISECOND),
            single: 300_000,
            span_max: 3,
            ..self.with_room(config, in_flight)
        }
    }

    /// Many transactions on many keys, and bounds and nodes that keep none of them waiting.
    fn with_room(self, config: &SimConfig, in_flight: i64) -> Self {
        let transactions_wanted = 3 * TRANSACTIONS_WANTED;
        Self {
            service: 2_000,
            interrupted: 0,
            request_timeout: nanos(4 * MILLISECOND),
            max_hold: nanos(1_000 * MILLISECOND),
            dispatch_timeout: nanos(20 * MILLISECOND),
            pending_max: 16_384,
            held_bytes_max: 1 << 20,
            think: (config.duration.0 * in_flight / transactions_wanted).max(1),
            transactions_max: 2 * transactions_wanted as usize,
            keys: 16_usize.max(usize::from(config.shards)),
            hot: 0,
            ..self
        }
    }

    /// Transactions on all shards, so many that some are always undecided; now and then two shards
    /// die, and whoever is left has heard only some of what they said.
    fn with_deaths(self, config: &SimConfig, in_flight: i64) -> Self {
        Self {
            delay: 50 * MICROSECOND,
            jitter: 25 * MICROSECOND,
            peer_loss: 300_000,
            outage_max: 4 * MILLISECOND,
            pairs: (config.duration.0 / (15 * MILLISECOND)).max(1) as u32,
            ask_after: nanos(4 * MILLISECOND),
            single: 50_000,
            span_max: 8,
            steps_max: 1,
            calls: 0,
            ..self.with_room(config, in_flight)
        }
    }
}

/// Any estimator, with samples that expire soon enough for a run to see it.
fn draw_owd(rng: &mut Rng) -> OwdConfig {
    OwdConfig {
        kind: *rng.pick(&EstimatorKind::ALL),
        default_owd: Nanos(*rng.pick(&[0, 100, 500]) * MICROSECOND),
        window: *rng.pick(&[10, 100, 1_000]),
        expire: nanos(*rng.pick(&[50, 200]) * MILLISECOND),
        silence: nanos(*rng.pick(&[20, 1_000]) * MILLISECOND),
        widen_max: Nanos(5 * MILLISECOND),
        ..OwdConfig::default()
    }
}

fn nanos(count: i64) -> Duration {
    Duration::from_nanos(count.unsigned_abs())
}
