//! How good the disks of a run are, and which shards have one: always drawn from the seed.

use crate::config::{NODES_MAX, SimConfig, SimDurability};
use crate::rng::Rng;
use punctual_core::journal::{BLOCK_ALIGN, BLOCK_HEAD_BYTES};

const STREAM: u64 = 10;
const KIB: usize = 1024;
const MICROSECOND: i64 = 1_000;
const MILLISECOND: i64 = 1_000_000;
/// With this many bytes of records a block takes one unit of the disk.
const SMALL_BLOCK: usize = BLOCK_ALIGN - BLOCK_HEAD_BYTES;

/// Times are in nanoseconds, chances in millionths.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DiskSettings {
    /// The shards with a journal, by bits.
    journaled: u64,
    pub(super) segment_bytes: usize,
    /// Most bytes of records in a block.
    pub(super) records_max: usize,
    /// Most writes under way.
    pub(super) writes_max: usize,
    /// Mean time that a write takes.
    latency: i64,
    /// Chance that a write of a bad disk takes up to `slow_max` longer.
    slow: u32,
    slow_max: i64,
    /// Writes are slow now and then, there is no room for a while, and a crash tears what is
    /// being written.
    pub(super) is_bad: bool,
    /// So many finished segments are replaced by a snapshot; zero: never.
    pub(super) snapshot_after: usize,
    /// Shortest time between two snapshots.
    pub(super) snapshot_pause: i64,
    /// Longest time that making a snapshot takes.
    pub(super) snapshot_takes: i64,
    /// Time that a recovery takes, that for the records aside.
    pub(crate) recovery: i64,
    /// How often shards with a journal crash beside what befalls all shards.
    pub(crate) restarts: u64,
}

impl DiskSettings {
    pub(crate) fn draw(config: &SimConfig) -> Self {
        let mut rng = Rng::new(config.seed, STREAM);
        let rng = &mut rng;
        let settings = Self {
            journaled: journaled(config, rng),
            segment_bytes: *rng.pick(&[64, 64, 128, 256]) * KIB,
            records_max: *rng.pick(&[SMALL_BLOCK, 16 * KIB, 1024 * KIB]),
            writes_max: *rng.pick(&[1, 2, 3, 4]),
            latency: *rng.pick(&[5, 20, 100, 400]) * MICROSECOND,
            slow: *rng.pick(&[2_000, 20_000]),
            slow_max: *rng.pick(&[5, 20, 50]) * MILLISECOND,
            is_bad: config.faults.disk,
            snapshot_after: *rng.pick(&[0, 2, 4, 8]),
            snapshot_pause: *rng.pick(&[20, 60]) * MILLISECOND,
            snapshot_takes: *rng.pick(&[100, 5_000, 30_000]) * MICROSECOND,
            recovery: *rng.pick(&[100, 1_000, 5_000]) * MICROSECOND,
            restarts: rng.below(5),
        };
        if config.restarts { settings.with_restarts(config) } else { settings }
    }

    /// Something is always under way, and shards crash all the time.
    fn with_restarts(self, config: &SimConfig) -> Self {
        Self {
            segment_bytes: 64 * KIB,
            records_max: SMALL_BLOCK,
            latency: 300 * MICROSECOND,
            slow: 50_000,
            slow_max: 8 * MILLISECOND,
            snapshot_after: 2,
            snapshot_pause: 5 * MILLISECOND,
            snapshot_takes: 2 * MILLISECOND,
            recovery: 300 * MICROSECOND,
            restarts: (config.duration.0 / (10 * MILLISECOND)).max(1).unsigned_abs(),
            ..self
        }
    }

    /// Whether a shard has a journal.
    pub(crate) fn is_journaled(&self, shard: u16) -> bool {
        (self.journaled >> shard) & 1 != 0
    }

    /// How long a write takes.
    pub(super) fn latency(&self, rng: &mut Rng, can_be_slow: bool) -> i64 {
        let half = self.latency / 2;
        let mut latency = 1 + half + rng.exponential(half);
        if can_be_slow && rng.chance(self.slow) {
            latency += rng.between(0, self.slow_max);
        }
        latency
    }
}

/// Which shards have a journal.
fn journaled(config: &SimConfig, rng: &mut Rng) -> u64 {
    let shards = u64::from(config.shards.clamp(1, NODES_MAX));
    let all = u64::MAX >> (64 - shards);
    let one = 1_u64 << rng.below(shards);
    let some = (rng.draw() & all) | one;
    match config.durability {
        SimDurability::Memory => 0,
        SimDurability::Journal => all,
        SimDurability::Mixed if shards == 1 => all,
        // One has a journal at least, and one has none.
        SimDurability::Mixed if some == all => all & !one,
        SimDurability::Mixed => some,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journaled_shards(config: &SimConfig) -> usize {
        let settings = DiskSettings::draw(config);
        (0..config.shards).filter(|shard| settings.is_journaled(*shard)).count()
    }

    #[test]
    fn a_mixed_run_has_shards_with_a_journal_and_shards_without() {
        for seed in 0..100 {
            let config = SimConfig {
                shards: 2 + (seed % 4) as u16,
                durability: SimDurability::Mixed,
                ..SimConfig::from_seed(seed)
            };
            let count = journaled_shards(&config);
            assert!((1..usize::from(config.shards)).contains(&count), "seed {seed}: {count}");
            let all = SimConfig { durability: SimDurability::Journal, ..config };
            assert_eq!(journaled_shards(&all), usize::from(config.shards));
            let none = SimConfig { durability: SimDurability::Memory, ..config };
            assert_eq!(journaled_shards(&none), 0);
        }
    }

    #[test]
    fn a_bad_disk_is_slow_now_and_then_and_a_good_one_never() {
        let settings = DiskSettings {
            latency: 1_000,
            slow: 20_000,
            slow_max: 50_000_000,
            ..DiskSettings::draw(&SimConfig::from_seed(1))
        };
        let mut rng = Rng::new(1, 0);
        let mut slow_writes = |is_bad| {
            let latencies = (0..10_000).map(|_| settings.latency(&mut rng, is_bad));
            latencies.filter(|latency| *latency > 100_000).count()
        };
        assert_eq!(slow_writes(false), 0);
        assert!((100..400).contains(&slow_writes(true)));
    }
}
