//! What a bench of the queue has measured, for programs and for people.

use super::check::Checked;
use super::queue::{slots, tasks};
use super::{BenchArgs, environment};
use crate::commands::output::row;
use crate::commands::task::rows::{grouped, size_of_process};
use crate::commands::task::text::size;
use punctual_load::report::Environment;
use punctual_load::summary::{LatencySummary, fmt_ns_or_dash};
use punctual_runtime::tasks::Prefetch;
use serde::Serialize;
use std::time::Duration;

/// Version of the JSON document; it changes when a field changes its meaning or goes away.
pub(super) const SCHEMA: u32 = 1;
/// What it is about.
pub(super) const PROGRAM: &str = "task bench";

/// The JSON document.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema: u32,
    program: &'static str,
    /// The server, if it is not of this process.
    broker: Option<String>,
    tasks: u64,
    queues: u16,
    workers: u16,
    slots: u32,
    prefetch: String,
    /// That of another server is not known.
    durability: Option<&'static str>,
    payload_bytes: usize,
    /// Tasks of a lower priority that were there before.
    queued: u64,
    /// From the first submission, or with `queued` from the start of the workers, until the client
    /// has heard that all are done.
    duration_s: f64,
    throughput_tps: f64,
    /// Of the submission alone.
    submit_tps: f64,
    /// By the clock of the queue; with a queue that is always full this is mostly waiting.
    submit_to_done_ns: LatencySummary,
    lease_to_done_ns: LatencySummary,
    /// Least and most tasks of a worker, as parts of an equal share.
    share_min: f64,
    share_max: f64,
    /// Bytes of the process: at most, and how many more once everything was in the queue.
    memory_peak_bytes: u64,
    memory_queued_bytes: Option<u64>,
    /// `ok`, or what is wrong.
    pub(super) self_check: String,
    environment: Environment,
}

/// What was measured.
pub(super) struct Setting {
    pub(super) transport: &'static str,
    pub(super) queues: u16,
    pub(super) durability: Option<&'static str>,
    pub(super) broker: Option<String>,
}

/// How prefetching is said.
pub(super) fn prefetch_text(prefetch: Prefetch) -> String {
    match prefetch {
        Prefetch::Off => "off".to_owned(),
        Prefetch::Auto => "auto".to_owned(),
        Prefetch::Fixed(count) => count.to_string(),
    }
}

/// What was measured from outside.
pub(super) struct Figures {
    pub(super) wall: Duration,
    pub(super) submitting: Duration,
    pub(super) memory_queued_bytes: Option<u64>,
}

/// The document of a run.
pub(super) fn report(
    args: &BenchArgs,
    setting: Setting,
    figures: &Figures,
    checked: Checked,
) -> Report {
    let Setting { transport, queues, durability, broker } = setting;
    let tasks = tasks(args);
    let share = |count: u64| count as f64 * f64::from(args.workers) / tasks as f64;
    let rate = |time: Duration| tasks as f64 / time.as_secs_f64();
    Report {
        schema: SCHEMA,
        program: PROGRAM,
        environment: environment(args, transport, broker.as_deref()),
        broker,
        tasks,
        queues,
        workers: args.workers,
        slots: slots(args),
        prefetch: prefetch_text(args.prefetch),
        durability,
        payload_bytes: args.payload,
        queued: args.queued,
        duration_s: figures.wall.as_secs_f64(),
        throughput_tps: rate(figures.wall),
        submit_tps: rate(figures.submitting),
        submit_to_done_ns: checked.submit_to_done,
        lease_to_done_ns: checked.lease_to_done,
        share_min: share(checked.least),
        share_max: share(checked.most),
        memory_peak_bytes: size_of_process("VmHWM"),
        memory_queued_bytes: figures.memory_queued_bytes,
        self_check: checked.verdict,
    }
}

/// The same for people.
pub(super) fn summary(report: &Report) -> String {
    let (tasks, workers) = (grouped(report.tasks), report.workers);
    let mut text = format!("task queue over {}", report.environment.transport);
    if let Some(broker) = &report.broker {
        text += &format!(" at {broker}");
    }
    text += &format!(": {tasks} tasks, ");
    if report.queues > 1 {
        text += &format!("{} queues, ", report.queues);
    }
    text += &format!("{workers} workers");
    if let Some(durability) = report.durability {
        text += &format!(", {durability}");
    }
    text.push('\n');
    let rate = |tps: f64| format!("{}/s", grouped(tps as u64));
    text += &row("throughput", &rate(report.throughput_tps));
    text += &row("submitted at", &rate(report.submit_tps));
    for (name, latency) in
        [("submit to done", &report.submit_to_done_ns), ("lease to done", &report.lease_to_done_ns)]
    {
        let (p50, p99) = (fmt_ns_or_dash(latency.p50), fmt_ns_or_dash(latency.p99));
        text += &row(name, &format!("p50 {p50}, p99 {p99}"));
    }
    if report.workers > 1 {
        let (least, most) = (report.share_min, report.share_max);
        text += &row("shares", &format!("{least:.2} to {most:.2} of an equal one"));
    }
    let mut memory = format!("{} at most", size(report.memory_peak_bytes));
    if let Some(queued) = report.memory_queued_bytes {
        let tasks = grouped(report.queued + report.tasks);
        memory += &format!(", {} for {tasks} queued tasks", size(queued));
    }
    // That of another server is not known here.
    if report.broker.is_none() {
        text += &row("memory", &memory);
    }
    text + &row("self-check", &report.self_check)
}
