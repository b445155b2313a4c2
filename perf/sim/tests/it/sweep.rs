//! Many seeds.

use crate::run_clean;
use punctual_sim::{Faults, SimConfig, SimCounts, SimDurability, run};

/// In half of these runs shards have journals.
const SEEDS: u64 = 300;

#[test]
fn the_default_runs_of_many_seeds_break_no_promise_though_everything_goes_wrong() {
    let mut counts = SimCounts::default();
    for seed in 0..SEEDS {
        counts += &run_clean(&SimConfig::from_seed(seed)).counts;
    }
    let happened = [
        ("committed", counts.committed),
        ("aborted", counts.aborted),
        ("refused", counts.refused),
        ("unknown", counts.unknown),
        ("stamped", counts.stamped),
        ("late", counts.late),
        ("retries", counts.retries),
        ("busy", counts.busy),
        ("repeated", counts.repeated),
        ("blocked", counts.blocked),
        ("asked", counts.asked),
        ("refused by timeout", counts.refused_by_timeout),
        ("questions", counts.questions),
        ("decisions", counts.decisions),
        ("sessions resumed", counts.sessions_resumed),
        ("shard crashes", counts.shard_crashes),
        ("coordinator crashes", counts.coordinator_crashes),
        ("frames harmed", counts.frames_harmed),
        ("recoveries", counts.recoveries),
        ("records replayed", counts.records_replayed),
        ("snapshots", counts.snapshots),
        ("writes to disks", counts.disk_writes),
    ];
    for (what, times) in happened {
        assert!(times >= SEEDS / 10, "{what} hardly ever happened: {counts:?}");
    }
    // Where all shards have journals nothing is lost.
    for (what, times) in [("peer lost", counts.peer_lost), ("losses", counts.losses)] {
        assert!(times >= SEEDS / 20, "{what} hardly ever happened: {counts:?}");
    }
    let [one, two, four] = counts.busy_at_quota;
    let happened_rarely = [
        ("relays", counts.relays),
        ("sessions evicted", counts.sessions_evicted),
        ("recoveries from snapshots", counts.recoveries_from_snapshots),
        ("recoveries with undecided transactions", counts.recoveries_undecided),
        ("crashes in recoveries", counts.recovery_crashes),
        ("torn tails", counts.torn_tails),
        ("writes harmed", counts.writes_harmed),
        ("refusals for want of room", counts.journal_full),
        ("busy at a quota of one", one),
        ("busy at a quota of two", two),
        ("busy at a quota of four", four),
    ];
    for (what, times) in happened_rarely {
        assert!(times > 0, "{what} never happened: {counts:?}");
    }
    assert!(counts.committed > SEEDS * 100, "too little happened: {counts:?}");
    assert!(counts.committed > counts.unknown * 3, "hardly anything commits: {counts:?}");
    assert!(counts.unplaced < counts.committed / 100, "too much is not checked: {counts:?}");
}

#[test]
fn shards_that_die_two_at_a_time_are_settled_among_those_that_are_left() {
    const SEEDS: u64 = 30;
    let mut counts = SimCounts::default();
    for seed in 0..SEEDS {
        let config = SimConfig {
            shards: 4 + (seed % 2) as u16,
            coordinators: 2,
            durability: SimDurability::Memory,
            faults: Faults { loss: true, crashes_shard: true, ..Faults::none() },
            deaths: true,
            ..SimConfig::from_seed(seed)
        };
        counts += &run_clean(&config).counts;
    }
    let happened = [
        ("peer lost", counts.peer_lost),
        ("losses", counts.losses),
        ("losses that name several dead", counts.losses_of_several),
        ("relays", counts.relays),
        ("gone", counts.gone),
    ];
    for (what, times) in happened {
        assert!(times >= SEEDS / 3, "{what} hardly ever happened: {counts:?}");
    }
    assert!(counts.shard_crashes >= SEEDS * 10, "{counts:?}");
}

#[test]
fn shards_with_journals_that_crash_while_they_write_or_recover_lose_nothing() {
    const SEEDS: u64 = 30;
    let mut counts = SimCounts::default();
    for seed in 0..SEEDS {
        let config = SimConfig {
            shards: 2 + (seed % 3) as u16,
            durability: SimDurability::Journal,
            faults: Faults { crashes_shard: true, disk: true, ..Faults::none() },
            restarts: true,
            ..SimConfig::from_seed(seed)
        };
        counts += &run_clean(&config).counts;
    }
    let happened = [
        ("recoveries", counts.recoveries / 10),
        ("recoveries from snapshots", counts.recoveries_from_snapshots),
        ("recoveries with undecided transactions", counts.recoveries_undecided),
        ("crashes in recoveries", counts.recovery_crashes / 2),
        ("records replayed", counts.records_replayed / 300),
        ("torn tails", counts.torn_tails),
        ("snapshots", counts.snapshots),
        ("writes harmed", counts.writes_harmed),
    ];
    for (what, times) in happened {
        assert!(times >= SEEDS, "{what} happened too seldom: {counts:?}");
    }
    assert_eq!(counts.peer_lost, 0, "a shard with a journal is never lost: {counts:?}");
}

#[test]
fn shards_with_journals_and_shards_without_get_along() {
    let mut counts = SimCounts::default();
    for seed in 0..30 {
        let drawn = SimConfig::from_seed(seed);
        let config = SimConfig {
            shards: drawn.shards.max(3),
            durability: SimDurability::Mixed,
            faults: Faults { crashes_shard: true, disk: true, ..drawn.faults },
            ..drawn
        };
        counts += &run_clean(&config).counts;
    }
    assert!(counts.recoveries >= 30, "{counts:?}");
    assert!(counts.shard_crashes > counts.recoveries, "{counts:?}");
}

#[test]
fn the_same_configuration_gives_the_same_run_event_by_event() {
    let mut traces = Vec::new();
    for seed in 0..12 {
        let config = SimConfig::from_seed(seed);
        let first = run(&config);
        assert_eq!(first, run(&config), "seed {seed}");
        traces.push(first.trace);
    }
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), 12, "two seeds gave the same run");
}

#[test]
fn where_nothing_goes_wrong_nearly_everything_commits() {
    let mut counts = SimCounts::default();
    for seed in 0..30 {
        let config = SimConfig { faults: Faults::none(), ..SimConfig::from_seed(seed) };
        counts += &run_clean(&config).counts;
    }
    let ended_well = counts.committed + counts.aborted;
    assert!(ended_well * 20 >= counts.submitted * 19, "{counts:?}");
    let crashes = counts.shard_crashes + counts.coordinator_crashes;
    assert_eq!(crashes + counts.frames_harmed, 0, "{counts:?}");
}

#[test]
fn many_shards_and_every_fault_at_once_break_no_promise() {
    for durability in SimDurability::ALL {
        for seed in 0..10 {
            let config = SimConfig {
                shards: 9,
                coordinators: 5,
                durability,
                faults: Faults::all(),
                ..SimConfig::from_seed(seed)
            };
            run_clean(&config);
        }
    }
}
