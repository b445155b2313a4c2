//! What a report says of the journals of this process.

use super::measured::{as_f64, ratio};
use super::traffic::Traffic;
use crate::report::JournalFigures;
use punctual_runtime::config::{Config, DurabilityMode};
use punctual_runtime::{Counter, Counters, EngineInfo};
use std::time::Duration;

/// The figures of the journals, if any shard of this process has one.
pub(super) fn figures(
    config: &Config,
    info: &EngineInfo,
    counters: &Counters,
    traffic: &Traffic,
    (committed, duration_s): (u64, f64),
) -> Option<JournalFigures> {
    if info.journals.is_empty() {
        return None;
    }
    let settings = &config.process.durability;
    let is_async = settings.modes.0.contains(&DurabilityMode::JournalAsync);
    let mean_ns = ratio(traffic.journal_write_ns, as_f64(traffic.journal_writes));
    let bytes = traffic.journal_bytes;
    Some(JournalFigures {
        mode: settings.modes.to_string(),
        dir: settings.dir.display().to_string(),
        backend: settings.backend.to_string(),
        bytes,
        bytes_per_s: ratio(bytes, duration_s).unwrap_or(0.0),
        bytes_per_transaction: ratio(bytes, as_f64(committed)),
        writes: traffic.journal_writes,
        write_mean_us: mean_ns.map(|ns| ns / 1e3),
        write_max_us: as_f64(largest(counters, Counter::JournalWriteMaxNs)) / 1e3,
        snapshots: counters.sum("shard", Counter::JournalSnapshots),
        lag_max_us: as_f64(largest(counters, Counter::JournalLagMaxNs)) / 1e3,
        within_us: is_async.then(|| micros(settings.within)),
        recovery: None,
    })
}

/// The largest value of a counter of any shard.
fn largest(counters: &Counters, counter: Counter) -> u64 {
    let shards = counters.blocks().iter().filter(|block| block.name().starts_with("shard"));
    shards.map(|block| block.get(counter)).max().unwrap_or(0)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
