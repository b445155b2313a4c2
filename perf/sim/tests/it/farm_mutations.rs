//! Each rule of the task queue that is broken on purpose must be noticed, and the same runs without
//! that are clean.

use crate::farm::{run_clean, several};
use punctual_core::task::TaskMutation;
use punctual_sim::Faults;
use punctual_sim::farm::{FarmConfig, run};

/// Runs seeds until a violation, and again with several queues; the same run without the fault is
/// clean.
fn caught_within(seeds: u64, mutation: TaskMutation, faults: &str) {
    caught_among(seeds, mutation, faults, FarmConfig::from_seed);
    // Each queue has fewer tasks, with which less can happen.
    caught_among(2 * seeds, mutation, faults, several);
}

fn caught_among(
    seeds: u64,
    mutation: TaskMutation,
    faults: &str,
    config: impl Fn(u64) -> FarmConfig,
) {
    let faults: Faults = faults.parse().expect("known faults");
    for seed in 0..seeds {
        let healthy = FarmConfig { faults, ..config(seed) };
        if !run(&FarmConfig { mutation, ..healthy }).is_clean() {
            run_clean(&healthy);
            return;
        }
    }
    panic!("{seeds} seeds ran without anybody noticing");
}

#[test]
fn acknowledging_what_is_not_durable_is_caught() {
    caught_within(200, TaskMutation::AckBeforeDurable, "crash-shard,disk");
}

#[test]
fn giving_out_what_is_not_durable_is_caught() {
    caught_within(200, TaskMutation::LeaseBeforeDurable, "crash-shard,disk");
}

#[test]
fn counting_a_report_of_an_earlier_attempt_is_caught() {
    caught_within(300, TaskMutation::AcceptStale, "loss,partition,pause");
}

#[test]
fn taking_leases_from_a_worker_that_came_back_with_them_is_caught() {
    caught_within(100, TaskMutation::ForgetHeld, "loss,partition");
}

#[test]
fn never_giving_up_a_worker_is_caught() {
    caught_within(100, TaskMutation::NeverExpire, "crash-coordinator,partition,pause");
}

#[test]
fn starting_what_comes_after_others_at_once_is_caught() {
    caught_within(50, TaskMutation::IgnoreAfter, "none");
}
