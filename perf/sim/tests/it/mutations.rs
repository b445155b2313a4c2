//! Who watches the watchmen: each rule that is broken on purpose must be noticed.
//!
//! The same runs without the broken rule are clean, so it is the rule that is noticed.

use crate::run_clean;
use punctual_core::{Mutation, Nanos};
use punctual_sim::{Faults, SimConfig, SimDurability, ViolationKind, Workload, run};

/// Few shards, without journals, close together in time: transactions meet often.
fn crowded(seed: u64, faults: &str) -> SimConfig {
    let config = SimConfig::from_seed(seed);
    SimConfig {
        shards: config.shards.clamp(2, 3),
        coordinators: config.coordinators.max(2),
        durability: SimDurability::Memory,
        faults: faults.parse().expect("known faults"),
        duration: Nanos(60_000_000),
        epsilon: Nanos::ZERO,
        ..config
    }
}

/// Runs seeds until a violation; the same run without the fault is clean.
fn caught_within(seeds: u64, healthy: impl Fn(u64) -> SimConfig, broken: impl Fn(&mut SimConfig)) {
    for seed in 0..seeds {
        let healthy = healthy(seed);
        let mut config = healthy;
        broken(&mut config);
        if !run(&config).is_clean() {
            run_clean(&healthy);
            return;
        }
    }
    panic!("{seeds} seeds ran without anybody noticing");
}

fn mutation_caught_within(seeds: u64, mutation: Mutation, faults: &str) {
    caught_within(seeds, |seed| crowded(seed, faults), |config| config.mutation = mutation);
}

#[test]
fn admission_at_a_stamp_that_is_past_is_caught() {
    mutation_caught_within(200, Mutation::AdmitBelowClock, "delay");
}

#[test]
fn a_clock_that_was_read_before_the_message_was_taken_is_caught() {
    mutation_caught_within(3_000, Mutation::EarlyAdmissionClock, "loss,delay,pause");
}

#[test]
fn taking_the_own_time_instead_of_the_latest_is_caught() {
    mutation_caught_within(50, Mutation::OwnTimestamp, "none");
}

#[test]
fn running_before_the_time_is_agreed_is_caught() {
    mutation_caught_within(50, Mutation::ReleaseBeforeAgreed, "none");
}

#[test]
fn overtaking_an_earlier_transaction_that_conflicts_is_caught() {
    mutation_caught_within(200, Mutation::IgnoreConflict, "none");
}

#[test]
fn a_refusal_that_is_forgotten_is_caught() {
    let faults = "loss,duplicate,reorder,delay,partition";
    mutation_caught_within(3_000, Mutation::ForgetTombstone, faults);
}

#[test]
fn running_a_retry_again_is_caught() {
    mutation_caught_within(100, Mutation::RunRetryAgain, "loss");
}

/// Four shards that often die two at a time, on links that lose much.
fn dying(seed: u64) -> SimConfig {
    SimConfig {
        shards: 4,
        coordinators: 2,
        duration: Nanos(250_000_000),
        deaths: true,
        ..crowded(seed, "loss,crash-shard")
    }
}

#[test]
fn counting_a_promise_that_leaves_out_some_of_the_dead_is_caught() {
    caught_within(1_000, dying, |config| config.mutation = Mutation::CountAnyVote);
}

/// Three shards with journals on slow disks. They crash all the time, and are back soon.
fn restarting(seed: u64) -> SimConfig {
    SimConfig {
        shards: 3,
        coordinators: 2,
        durability: SimDurability::Journal,
        duration: Nanos(150_000_000),
        restarts: true,
        ..crowded(seed, "crash-shard,disk")
    }
}

#[test]
fn a_proposal_that_leaves_before_it_is_durable_is_caught() {
    caught_within(100, restarting, |config| config.mutation = Mutation::ProposeBeforeDurable);
}

#[test]
fn an_answer_that_leaves_before_it_is_durable_is_caught() {
    caught_within(100, restarting, |config| config.mutation = Mutation::AnswerBeforeDurable);
}

#[test]
fn forgetting_what_was_undecided_at_a_crash_is_caught() {
    caught_within(100, restarting, |config| config.mutation = Mutation::ForgetUndecided);
}

#[test]
fn a_bound_of_the_clocks_that_is_too_small_breaks_real_time_and_nothing_else() {
    let apart = |seed| SimConfig {
        clock_bound: Nanos(2_000_000),
        epsilon: Nanos(2_000_000),
        strict: true,
        workload: Workload::Counters,
        faults: Faults { clock_offset: true, ..Faults::none() },
        ..crowded(seed, "none")
    };
    caught_within(500, apart, |config| config.epsilon = Nanos::ZERO);
    for seed in 0..50 {
        let report = run(&SimConfig { epsilon: Nanos::ZERO, ..apart(seed) });
        let others = report.violations.iter().find(|it| it.kind != ViolationKind::RealTime);
        assert_eq!(others, None, "seed {seed}");
    }
}

#[test]
fn every_mutation_of_the_core_has_a_test_here() {
    let source = include_str!("mutations.rs");
    for mutation in Mutation::ALL {
        let name = format!("Mutation::{mutation:?}");
        let is_used = |end: &str| source.contains(&format!("{name}{end}"));
        assert!(is_used(",") || is_used(")"), "{name} is not tried");
    }
}
