//! `punctual sim --tasks`: the task farm under virtual time and under faults.

use super::sweep::{Progress, Simulation, Sweep, sweep};
use super::{Failed, SCHEMA, SimArgs, as_f64, exit_code, failure, nanos, ratio};
use crate::commands::output::{Output, grouped, row};
use crate::{eprintln_line, interrupt};
use punctual_load::summary::fmt_ns;
use punctual_sim::farm::{FarmConfig, FarmCounts, FarmReport};
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What happened in one run or in all runs of a sweep.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FarmTotals {
    runs: u64,
    virtual_ns: u64,
    counts: FarmCounts,
}

impl Simulation for FarmConfig {
    type Report = FarmReport;
    type Totals = FarmTotals;

    fn seed(&self) -> u64 {
        self.seed
    }

    fn run(&self) -> FarmReport {
        punctual_sim::farm::run(self)
    }

    fn replay(&self) -> String {
        self.replay_command()
    }

    fn is_clean(report: &FarmReport) -> bool {
        report.is_clean()
    }

    fn add(totals: &mut FarmTotals, report: &FarmReport) {
        totals.runs += 1;
        totals.virtual_ns += report.virtual_time.0.unsigned_abs();
        totals.counts += &report.counts;
    }
}

/// The JSON document.
#[derive(Debug, Serialize)]
struct Document {
    schema: u32,
    program: &'static str,
    first_seed: u64,
    runs: u64,
    virtual_ns: u64,
    counts: BTreeMap<&'static str, u64>,
    wall_s: f64,
    /// Virtual time by wall time.
    ratio: f64,
    interrupted: bool,
    failed: Option<Failed>,
}

fn failed(config: &FarmConfig, report: &FarmReport) -> Failed {
    Failed {
        seed: config.seed,
        violations: report.violations.iter().map(ToString::to_string).collect(),
        violation_count: report.violation_count,
        replay: config.replay_command(),
    }
}

/// One run. What it prints depends on nothing but the options.
pub(super) fn run_one(config: &FarmConfig, output: Output) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let report = config.run();
    let wall = began.elapsed();
    let mut totals = FarmTotals::default();
    FarmConfig::add(&mut totals, &report);
    let failed = (!report.is_clean()).then(|| failed(config, &report));
    let FarmConfig { seed, queues, workers, clients, faults, .. } = config;
    let verdict = if failed.is_some() { "FAILED" } else { "no violation" };
    let mut text = format!("sim of tasks of seed {seed}: {verdict}\n");
    let farm = format!("{queues} queues, {workers} workers, {clients} clients");
    text += &row("farm", &farm);
    text += &row("faults", &faults.to_string());
    text += &row("virtual time", &fmt_ns(totals.virtual_ns));
    text += &counts(&totals.counts);
    text += &row("trace", &format!("{:016x}", report.trace));
    text += &failure(failed.as_ref());
    eprintln_line(&format!("{} of wall time", fmt_ns(nanos(wall))));
    finish(output, &text, *seed, &totals, wall, failed, false)
}

/// Many runs on several threads, up to the first failure.
pub(super) fn run_many(args: &SimArgs, count: u64, output: Output) -> anyhow::Result<ExitCode> {
    let (seeds, jobs) = args.range(count)?;
    let interrupted = interrupt::install()?;
    let configure = |seed| args.farm(seed);
    let Sweep { totals, wall, failed: first, was_interrupted } =
        sweep::<FarmConfig>(&configure, seeds, jobs, &interrupted, &mut show);
    let failed = first.map(|failure| failed(&failure.0, &failure.1));
    let verdict = match &failed {
        Some(failed) => format!("seed {} FAILED", failed.seed),
        None if was_interrupted => "interrupted, no violation so far".to_owned(),
        None => "no violation".to_owned(),
    };
    let runs = grouped(as_f64(totals.runs));
    let mut text = format!("sim of tasks of {runs} seeds from {}: {verdict}\n", args.from);
    let ratio = ratio(totals.virtual_ns, wall);
    let (virtual_s, wall_s) = (totals.virtual_ns as f64 / 1e9, wall.as_secs_f64());
    let times = format!("{virtual_s:.1} s in {wall_s:.1} s of wall time: {ratio:.0} times as fast");
    text += &row("virtual time", &times);
    text += &counts(&totals.counts);
    text += &failure(failed.as_ref());
    finish(output, &text, args.from, &totals, wall, failed, was_interrupted)
}

fn show(progress: &Progress<FarmTotals>) {
    let Progress { totals, seeds, elapsed } = progress;
    let rate = as_f64(totals.runs) / elapsed.as_secs_f64().max(1e-9);
    eprintln_line(&format!(
        "{:>5.0}s {:>10} of {} seeds, {} a second, {} tasks done",
        elapsed.as_secs_f64(),
        grouped(as_f64(totals.runs)),
        grouped(as_f64(*seeds)),
        grouped(rate),
        grouped(as_f64(totals.counts.done)),
    ));
}

/// What happened, in a few lines.
fn counts(counts: &FarmCounts) -> String {
    let FarmCounts { failed, cancelled, removed, overlaps, expired, held, .. } = counts;
    let [done, runs, leases, events, frames] =
        [counts.done, counts.runs, counts.leases, counts.events, counts.frames]
            .map(|count| grouped(as_f64(count)));
    let mut text = row("done", &format!("{done}; {failed} failed, {cancelled} cancelled"));
    text += &row("removed", &removed.to_string());
    text += &row("runs", &format!("{runs} of {leases} leases; {overlaps} explained overlaps"));
    text += &row("workers", &format!("{held} leases kept over a break, {expired} taken back"));
    let FarmCounts { queue_kills, worker_kills, client_kills, freezes, cuts, .. } = counts;
    let kills = format!("{queue_kills} of the queue, {worker_kills} of workers");
    let kills = format!("{kills}, {client_kills} of clients; {freezes} freezes, {cuts} cuts");
    text += &row("kills", &kills);
    text + &row("events", &format!("{events}, {frames} frames"))
}

/// Writes the result; the exit code.
fn finish(
    output: Output,
    text: &str,
    first_seed: u64,
    totals: &FarmTotals,
    wall: Duration,
    failed: Option<Failed>,
    interrupted: bool,
) -> anyhow::Result<ExitCode> {
    let code = exit_code(failed.is_some(), interrupted);
    let document = Document {
        schema: SCHEMA,
        program: "sim-tasks",
        first_seed,
        runs: totals.runs,
        virtual_ns: totals.virtual_ns,
        counts: totals.counts.rows().into_iter().collect(),
        wall_s: wall.as_secs_f64(),
        ratio: ratio(totals.virtual_ns, wall),
        interrupted,
        failed,
    };
    output.write(text, &document)?;
    Ok(code)
}
