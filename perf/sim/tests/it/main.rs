//! The simulator as a whole: clean runs are clean, broken rules are caught, and a published checker
//! agrees.

mod bench;
mod bench_workloads;
mod farm;
mod farm_mutations;
mod mutations;
mod second_opinion;
mod sweep;

use punctual_sim::{SimConfig, SimReport, replay_command, run};

/// Simulates and, if anything was broken, stops with what, and with how to see it again.
fn run_clean(config: &SimConfig) -> SimReport {
    let report = run(config);
    let told: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    let replay = replay_command(config);
    assert!(report.is_clean(), "{replay}\n{config:?}\n{}", told.join("\n"));
    report
}
