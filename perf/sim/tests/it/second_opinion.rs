//! The crate `adya`, which knows nothing of this project, judges histories of lists.

use adya::{History, Opts, Report, Valid, check};
use punctual_core::{Mutation, Nanos};
use punctual_sim::{Faults, SimConfig, SimDurability, Workload, list_append_history};

/// A run of lists in which no shard loses its memory.
fn lists(seed: u64) -> SimConfig {
    let config = SimConfig::from_seed(seed);
    let faults = Faults { crashes_shard: false, ..config.faults };
    SimConfig { workload: Workload::ListAppend, faults, ..config }
}

fn judge(history: &str, model: &str) -> Report {
    let history = History::from_json(history).expect("a well-formed history");
    let options = Opts { models: vec![model.into()], ..Opts::default() };
    check(&history, adya::Workload::ListAppend, &options)
}

#[test]
fn a_published_checker_finds_the_histories_of_many_seeds_in_order() {
    for seed in 0..40 {
        let config = lists(seed);
        let (report, history) = list_append_history(&config);
        assert!(report.is_clean(), "seed {seed}: {:?}", report.violations);
        assert!(history.lines().count() > 20, "seed {seed} is too short");
        let model = if config.is_strict() { "strict-serializable" } else { "serializable" };
        let opinion = judge(&history, model);
        assert_eq!(opinion.valid, Valid::True, "seed {seed}: {:?}", opinion.anomaly_types);
    }
}

#[test]
fn a_published_checker_finds_the_histories_in_order_though_shards_crash_if_they_have_journals() {
    let mut recoveries = 0;
    for seed in 0..20 {
        let drawn = lists(seed);
        let faults = Faults { crashes_shard: true, disk: true, ..drawn.faults };
        let config = SimConfig { durability: SimDurability::Journal, faults, ..drawn };
        let (report, history) = list_append_history(&config);
        assert!(report.is_clean(), "seed {seed}: {:?}", report.violations);
        recoveries += report.counts.recoveries;
        let model = if config.is_strict() { "strict-serializable" } else { "serializable" };
        let opinion = judge(&history, model);
        assert_eq!(opinion.valid, Valid::True, "seed {seed}: {:?}", opinion.anomaly_types);
    }
    assert!(recoveries > 20, "hardly any shard crashed: {recoveries}");
}

#[test]
fn a_published_checker_sees_a_broken_rule_in_the_history_as_well() {
    for seed in 0..200 {
        let config = SimConfig {
            shards: 2,
            coordinators: 3,
            durability: SimDurability::Memory,
            faults: Faults::none(),
            duration: Nanos(60_000_000),
            mutation: Mutation::IgnoreConflict,
            ..lists(seed)
        };
        let (_, history) = list_append_history(&config);
        if judge(&history, "strict-serializable").valid == Valid::False {
            return;
        }
    }
    panic!("the histories of broken runs look fine");
}
