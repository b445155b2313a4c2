//! Many seeds of the task farm.

use punctual_core::Nanos;
use punctual_sim::Faults;
use punctual_sim::farm::{FarmConfig, FarmCounts, FarmReport, run};

const SEEDS: u64 = 200;

/// Simulates and, if anything was broken, stops with what, and with how to see it again.
pub(crate) fn run_clean(config: &FarmConfig) -> FarmReport {
    let report = run(config);
    let told: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    let replay = config.replay_command();
    assert!(report.is_clean(), "{replay}\n{config:?}\n{}", told.join("\n"));
    report
}

fn all_of(seeds: u64, config: impl Fn(u64) -> FarmConfig) -> FarmCounts {
    let mut counts = FarmCounts::default();
    for seed in 0..seeds {
        counts += &run_clean(&config(seed)).counts;
    }
    counts
}

#[test]
fn farms_of_many_seeds_lose_nothing_and_run_nothing_twice_unexplained() {
    let counts = all_of(SEEDS, FarmConfig::from_seed);
    let often = [
        "acknowledged",
        "leases",
        "runs",
        "done",
        "failed",
        "cancelled",
        "held",
        "controls",
        "priorities_checked",
        "cuts",
        "replays_compared",
        "snapshots",
        "disk_writes",
    ];
    for (name, times) in counts.rows() {
        if name == "torn_tails" {
            // It takes a kill in the middle of a write on a bad disk: there is a test for that.
            continue;
        }
        let least = if often.contains(&name) { SEEDS / 4 } else { 1 };
        assert!(times >= least, "{name} happened {times} times only: {counts:?}");
    }
    assert!(counts.done > SEEDS * 10, "hardly anything gets done: {counts:?}");
}

#[test]
fn a_queue_that_is_killed_all_the_time_on_a_bad_disk_goes_on_where_it_was() {
    let counts = all_of(300, |seed| {
        let faults = Faults { crashes_shard: true, disk: true, ..Faults::none() };
        FarmConfig { faults, ..FarmConfig::from_seed(seed) }
    });
    assert!(counts.queue_kills >= 600, "{counts:?}");
    assert!(counts.torn_tails > 0 && counts.recoveries_from_snapshots > 0, "{counts:?}");
}

#[test]
fn everything_at_once_breaks_no_promise() {
    let counts = all_of(40, |seed| {
        let (workers, clients) = (8, 4);
        FarmConfig { workers, clients, faults: Faults::all(), ..FarmConfig::from_seed(seed) }
    });
    assert!(counts.expired > 0 && counts.overlaps > 0 && counts.stale > 0, "{counts:?}");
}

#[test]
fn where_nothing_goes_wrong_no_link_breaks_and_most_tasks_are_done() {
    let counts =
        all_of(40, |seed| FarmConfig { faults: Faults::none(), ..FarmConfig::from_seed(seed) });
    let troubles = counts.queue_kills + counts.worker_kills + counts.client_kills + counts.freezes;
    assert_eq!((troubles, counts.cuts, counts.writes_harmed), (0, 0, 0), "{counts:?}");
    assert!(counts.done > counts.failed + counts.cancelled, "{counts:?}");
}

/// The farm of a seed with several queues: two or three, in turns.
pub(crate) fn several(seed: u64) -> FarmConfig {
    FarmConfig { queues: 2 + u16::from(seed % 2 == 1), ..FarmConfig::from_seed(seed) }
}

#[test]
fn several_queues_together_lose_nothing_and_run_nothing_twice_unexplained() {
    let counts = all_of(SEEDS, several);
    assert!(counts.done > SEEDS * 10, "hardly anything gets done: {counts:?}");
    assert!(counts.queue_kills > SEEDS / 2 && counts.held > SEEDS / 4, "{counts:?}");
    assert!(counts.expired > 0 && counts.overlaps > 0 && counts.stale > 0, "{counts:?}");
}

#[test]
fn several_queues_that_are_killed_all_the_time_go_on_where_they_were() {
    let counts = all_of(100, |seed| {
        let faults = Faults { crashes_shard: true, disk: true, ..Faults::none() };
        FarmConfig { faults, ..several(seed) }
    });
    assert!(counts.queue_kills >= 200, "{counts:?}");
    assert!(counts.torn_tails > 0 && counts.recoveries_from_snapshots > 0, "{counts:?}");
}

#[test]
fn with_several_queues_nothing_waits_for_long_that_a_worker_has_room_for() {
    let counts = all_of(SEEDS, |seed| FarmConfig { faults: Faults::none(), ..several(seed) });
    assert!(counts.waits_checked > SEEDS, "{counts:?}");
    assert!(counts.recalled > 0 && counts.returned > 0, "{counts:?}");
    assert!(counts.done > counts.failed + counts.cancelled, "{counts:?}");
}

#[test]
fn where_there_are_more_queues_than_workers_every_queue_is_served() {
    let counts = all_of(40, |seed| {
        let (queues, workers) = (7, 2);
        FarmConfig { queues, workers, ..FarmConfig::from_seed(seed) }
    });
    assert!(counts.done > 400, "{counts:?}");
}

#[test]
fn the_same_configuration_gives_the_same_farm_event_by_event() {
    let mut traces = Vec::new();
    for seed in 0..12 {
        let config = if seed % 2 == 0 { several(seed) } else { FarmConfig::from_seed(seed) };
        let config = FarmConfig { duration: Nanos(300_000_000), ..config };
        let first = run(&config);
        assert_eq!(first, run(&config), "seed {seed}");
        traces.push(first.trace);
    }
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), 12, "two seeds gave the same run");
}
