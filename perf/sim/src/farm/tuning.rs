//! The finer settings of a run of the farm: always drawn from the seed, never given.

use super::config::FarmConfig;
use crate::rng::Rng;
use std::time::Duration;

const STREAM: u64 = 21;
const KIB: usize = 1024;
const MICROSECOND: i64 = 1_000;
const MILLISECOND: i64 = 1_000_000;

/// How good the disk of the queue is. Times are in nanoseconds, chances in millionths.
#[derive(Debug, Clone, Copy)]
pub(super) struct DiskTuning {
    pub(super) segment_bytes: usize,
    /// Most bytes of records in a block.
    pub(super) records_max: usize,
    /// Most writes under way.
    pub(super) writes_max: usize,
    /// Mean time that a write takes.
    pub(super) latency: i64,
    /// Chance that a write of a bad disk takes up to `slow_max` longer.
    pub(super) slow: u32,
    pub(super) slow_max: i64,
    /// So many finished segments are replaced by a snapshot; zero: never.
    pub(super) snapshot_after: usize,
    /// Longest time that making a snapshot takes.
    pub(super) snapshot_takes: i64,
    /// Longest time that a recovery takes.
    pub(super) recovery: i64,
    /// Longest time without room.
    pub(super) full_max: i64,
}

/// Delays, timeouts, sizes and how often things happen. Times are in nanoseconds, chances in
/// millionths.
#[derive(Debug, Clone)]
pub(super) struct Tuning {
    /// A typical delay of the network, one way.
    pub(super) delay: i64,
    /// Mean of what is added at random.
    pub(super) jitter: i64,
    /// Chance that a frame takes up to `spike_max` longer.
    pub(super) spike: u32,
    pub(super) spike_max: i64,
    /// Chance that a frame is lost, and its connection with it.
    pub(super) loss: u32,
    /// Chance that an end of a broken connection notices that late.
    pub(super) late_notice: u32,
    /// Longest time that a link is cut or stalled, or a node frozen or gone.
    pub(super) outage_max: i64,
    pub(super) batch_max: u16,
    /// A writer of the queue takes no more than so many bytes at a time.
    pub(super) room_bytes: usize,
    pub(super) disk: DiskTuning,

    pub(super) lease_timeout: Duration,
    pub(super) heartbeat: Duration,
    pub(super) reconnect_grace: Duration,
    pub(super) backoff_min: Duration,
    pub(super) backoff_max: Duration,
    pub(super) losses_max: u16,
    /// Whether a worker that starts again has the name that it had.
    pub(super) keeps_names: bool,
    /// Chance that a worker has little memory free when it looks.
    pub(super) low_memory: u32,

    /// Tasks in all.
    pub(super) tasks: usize,
    pub(super) jobs: usize,
    /// Mean time that a task runs.
    pub(super) run: i64,
    /// Chance that a task is of a kind that does not just succeed.
    pub(super) nasty: u32,
    /// Chance that a task comes after others.
    pub(super) after: u32,
    /// Chance that a second client submits a task as well.
    pub(super) shared: u32,
    /// Different priorities.
    pub(super) priorities: u64,
    /// Whether tasks ask for memory and cores.
    pub(super) has_requests: bool,
    /// Submissions of a client that are not acknowledged.
    pub(super) window: usize,
    /// Mean pause of a client between two bursts of submissions,
    pub(super) think: i64,
    /// and between two other requests.
    pub(super) ask: i64,
    /// How often workers are told to stop.
    pub(super) drains: u64,
}

impl Tuning {
    pub(super) fn draw(config: &FarmConfig) -> Self {
        let mut rng = Rng::new(config.seed, STREAM);
        let rng = &mut rng;
        let delay = *rng.pick(&[20, 100, 500, 2_000]) * MICROSECOND;
        let lease_timeout = *rng.pick(&[60, 150, 400]) * MILLISECOND;
        let tasks = *rng.pick(&[20, 50, 90, 140]);
        let bursts = tasks as i64 / 4;
        Self {
            delay,
            jitter: delay * rng.between(5, 100) / 100,
            spike: *rng.pick(&[2_000, 20_000]),
            spike_max: *rng.pick(&[10 * MILLISECOND, 3 * lease_timeout / 2]),
            loss: *rng.pick(&[500, 3_000, 15_000]),
            late_notice: *rng.pick(&[0, 200_000, 600_000]),
            outage_max: *rng.pick(&[30, 120, 500]) * MILLISECOND,
            batch_max: *rng.pick(&[1, 4, 64, 256]),
            room_bytes: *rng.pick(&[600, 4 * KIB, 1024 * KIB]),
            disk: DiskTuning::draw(rng),
            lease_timeout: nanos(lease_timeout),
            heartbeat: nanos(lease_timeout / 4),
            reconnect_grace: nanos(*rng.pick(&[10, 50, 200]) * MILLISECOND),
            backoff_min: nanos(*rng.pick(&[1, 10, 40]) * MILLISECOND),
            backoff_max: nanos(*rng.pick(&[50, 200]) * MILLISECOND),
            losses_max: *rng.pick(&[2, 5, 50]),
            keeps_names: rng.chance(700_000),
            low_memory: *rng.pick(&[0, 0, 30_000, 200_000]),
            tasks,
            jobs: *rng.pick(&[1, 2, 3]),
            run: *rng.pick(&[500, 5_000, 30_000]) * MICROSECOND,
            nasty: *rng.pick(&[0, 100_000, 300_000]),
            after: *rng.pick(&[0, 100_000, 400_000]),
            shared: *rng.pick(&[0, 100_000, 500_000]),
            priorities: *rng.pick(&[1, 2, 5]),
            has_requests: rng.chance(600_000),
            window: *rng.pick(&[1, 4, 16, 64]),
            think: (config.duration.0 / 2 / bursts.max(1)).max(1),
            ask: *rng.pick(&[10, 40, 200]) * MILLISECOND,
            drains: *rng.pick(&[0, 0, 1, 3]),
        }
    }
}

impl DiskTuning {
    fn draw(rng: &mut Rng) -> Self {
        Self {
            segment_bytes: *rng.pick(&[32, 64, 256]) * KIB,
            records_max: *rng.pick(&[1, 4, 16]) * KIB,
            writes_max: *rng.pick(&[1, 2, 4]),
            latency: *rng.pick(&[20, 200, 1_000]) * MICROSECOND,
            slow: *rng.pick(&[2_000, 20_000]),
            slow_max: *rng.pick(&[5, 50]) * MILLISECOND,
            snapshot_after: *rng.pick(&[0, 1, 3]),
            snapshot_takes: *rng.pick(&[100, 5_000, 30_000]) * MICROSECOND,
            recovery: *rng.pick(&[100, 5_000]) * MICROSECOND,
            full_max: *rng.pick(&[5, 60]) * MILLISECOND,
        }
    }
}

fn nanos(nanos: i64) -> Duration {
    Duration::from_nanos(nanos.unsigned_abs())
}
