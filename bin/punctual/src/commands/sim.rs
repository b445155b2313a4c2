//! `punctual sim`: the whole cluster in one thread, under virtual time and under faults.

mod farm;
mod sweep;

use crate::commands::UsageError;
use crate::commands::output::{Output, grouped, row};
use crate::{eprintln_line, interrupt};
use clap::Args;
use punctual_load::summary::fmt_ns;
use punctual_runtime::Nanos;
use punctual_runtime::config::parse_duration;
use punctual_sim::farm::FarmConfig;
use punctual_sim::{Faults, SimConfig, SimDurability, SimReport, Workload, replay_command};
use serde::Serialize;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use sweep::{Progress, Simulation, Sweep};

/// Version of the JSON document; it changes when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;
/// A sweep was interrupted: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

/// Run the protocol in a simulator with faults and check every history
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["seed", "seeds"])))]
#[command(after_help = "Examples:
  punctual sim --seeds 1000                  a thousand different runs
  punctual sim --seed 7                      one run, the same every time
  punctual sim --seed 7 --faults loss,crash  the same with other faults
  punctual sim --seeds 100 --shards 5 --workload list-append --jobs 1
  punctual sim --seeds 1000 --durability journal --faults disk,crash
  punctual sim --tasks --seeds 1000          the task farm: its queues, workers and clients

What is not given is drawn from the seed. Exit code 1 means that a run broke a promise; the last
line is then the command that repeats it.")]
pub(crate) struct SimArgs {
    /// One run, of this seed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// So many runs, each of another seed; the first failure ends it
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,

    /// The first seed of many
    #[arg(long, value_name = "N", default_value_t = 0, requires = "seeds")]
    from: u64,

    /// Runs of the task farm instead of transactions
    #[arg(long, conflicts_with_all = ["shards", "coordinators", "workload", "durability"])]
    tasks: bool,

    /// Number of queues that the task server has
    #[arg(long, value_name = "N", requires = "tasks")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    queues: Option<u16>,

    /// Number of shards
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: Option<u16>,

    /// Number of coordinators
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    coordinators: Option<u16>,

    /// What the transactions do: bank, counters, list-append, mixed
    #[arg(long, value_name = "NAME")]
    workload: Option<Workload>,

    /// What shards still have after a crash: memory (nothing), journal (all they promised), mixed
    #[arg(long, value_name = "NAME")]
    durability: Option<SimDurability>,

    /// What goes wrong: a list such as loss,pause, or all, or none
    #[arg(long, value_name = "LIST")]
    faults: Option<Faults>,

    /// How long a run submits transactions, in virtual time, such as 300ms
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,

    /// Threads for many runs (default: one for each core)
    #[arg(long, value_name = "N", requires = "seeds")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,

    /// Also write the result as JSON to FILE; with -, print JSON, and the summary to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What happened in one run or in all runs of a sweep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct Totals {
    runs: u64,
    submitted: u64,
    committed: u64,
    aborted: u64,
    refused: u64,
    unknown: u64,
    stamped: u64,
    late: u64,
    retries: u64,
    /// Of shards and of coordinators.
    crashes: u64,
    frames: u64,
    /// Frames lost, repeated, overtaken or much delayed.
    frames_harmed: u64,
    events: u64,
    virtual_ns: u64,
}

impl Totals {
    fn add(&mut self, report: &SimReport) {
        let counts = &report.counts;
        self.runs += 1;
        self.submitted += counts.submitted;
        self.committed += counts.committed;
        self.aborted += counts.aborted;
        self.refused += counts.refused;
        self.unknown += counts.unknown;
        self.stamped += counts.stamped;
        self.late += counts.late;
        self.retries += counts.retries;
        self.crashes += counts.shard_crashes + counts.coordinator_crashes;
        self.frames += counts.frames;
        self.frames_harmed += counts.frames_harmed;
        self.events += counts.events;
        self.virtual_ns += report.virtual_time.0.unsigned_abs();
    }
}

/// The JSON document.
#[derive(Debug, Serialize)]
struct Document {
    schema: u32,
    program: &'static str,
    first_seed: u64,
    #[serde(flatten)]
    totals: Totals,
    wall_s: f64,
    /// Virtual time by wall time.
    ratio: f64,
    interrupted: bool,
    failed: Option<Failed>,
}

/// A run that broke a promise.
#[derive(Debug, Serialize)]
struct Failed {
    seed: u64,
    /// The first of them.
    violations: Vec<String>,
    violation_count: u64,
    /// The command that repeats it.
    replay: String,
}

impl Failed {
    fn new(config: &SimConfig, report: &SimReport) -> Self {
        Self {
            seed: config.seed,
            violations: report.violations.iter().map(ToString::to_string).collect(),
            violation_count: report.violation_count,
            replay: replay_command(config),
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &SimArgs) -> anyhow::Result<ExitCode> {
    let output = Output::open(args.json.as_deref())?;
    match (args.seed, args.seeds) {
        (Some(seed), _) if args.tasks => farm::run_one(&args.farm(seed), output),
        (None, Some(count)) if args.tasks => farm::run_many(args, count, output),
        (Some(seed), _) => run_one(&args.config(seed), output),
        (None, Some(count)) => run_many(args, count, output),
        (None, None) => Err(UsageError("give --seed or --seeds".to_owned()).into()),
    }
}

impl SimArgs {
    /// The run of a seed, with the options on top.
    fn config(&self, seed: u64) -> SimConfig {
        let drawn = SimConfig::from_seed(seed);
        SimConfig {
            shards: self.shards.unwrap_or(drawn.shards),
            coordinators: self.coordinators.unwrap_or(drawn.coordinators),
            workload: self.workload.unwrap_or(drawn.workload),
            durability: self.durability.unwrap_or(drawn.durability),
            faults: self.faults.unwrap_or(drawn.faults),
            duration: self.duration.map_or(drawn.duration, Nanos::from),
            ..drawn
        }
    }

    /// The same for the task farm.
    fn farm(&self, seed: u64) -> FarmConfig {
        let drawn = FarmConfig::from_seed(seed);
        FarmConfig {
            queues: self.queues.unwrap_or(drawn.queues),
            faults: self.faults.unwrap_or(drawn.faults),
            duration: self.duration.map_or(drawn.duration, Nanos::from),
            ..drawn
        }
    }

    /// The seeds of many runs, and on how many threads.
    fn range(&self, count: u64) -> Result<(Range<u64>, usize), UsageError> {
        let Some(end) = self.from.checked_add(count) else {
            let most = u64::MAX - self.from;
            return Err(UsageError(format!("--seeds {count} are more than {most} from --from")));
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok((self.from..end, self.jobs.map_or(cores, usize::from)))
    }
}

impl Simulation for SimConfig {
    type Report = SimReport;
    type Totals = Totals;

    fn seed(&self) -> u64 {
        self.seed
    }

    fn run(&self) -> SimReport {
        punctual_sim::run(self)
    }

    fn replay(&self) -> String {
        replay_command(self)
    }

    fn is_clean(report: &SimReport) -> bool {
        report.is_clean()
    }

    fn add(totals: &mut Totals, report: &SimReport) {
        totals.add(report);
    }
}

/// One run. What it prints depends on nothing but the options.
fn run_one(config: &SimConfig, output: Output) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let report = punctual_sim::run(config);
    let wall = began.elapsed();
    let mut totals = Totals::default();
    totals.add(&report);
    let failed = (!report.is_clean()).then(|| Failed::new(config, &report));
    let SimConfig { seed, shards, coordinators, workload, durability, faults, .. } = config;
    let verdict = if failed.is_some() { "FAILED" } else { "no violation" };
    let mut text = format!("sim of seed {seed}: {verdict}\n");
    let cluster = format!("{shards} shards, {coordinators} coordinators, workload {workload}");
    text += &row("cluster", &cluster);
    text += &row("durability", durability.name());
    text += &row("faults", &faults.to_string());
    text += &row("virtual time", &fmt_ns(totals.virtual_ns));
    text += &counts(&totals);
    text += &row("trace", &format!("{:016x}", report.trace));
    text += &failure(failed.as_ref());
    eprintln_line(&format!("{} of wall time", fmt_ns(nanos(wall))));
    finish(output, &text, *seed, totals, wall, failed, false)
}

/// Many runs on several threads, up to the first failure.
fn run_many(args: &SimArgs, count: u64, output: Output) -> anyhow::Result<ExitCode> {
    let (seeds, jobs) = args.range(count)?;
    let interrupted = interrupt::install()?;
    let configure = |seed| args.config(seed);
    let Sweep { totals, wall, failed, was_interrupted } =
        sweep::sweep::<SimConfig>(&configure, seeds, jobs, &interrupted, &mut show);
    let failed = failed.map(|failure| Failed::new(&failure.0, &failure.1));
    let verdict = match &failed {
        Some(failed) => format!("seed {} FAILED", failed.seed),
        None if was_interrupted => "interrupted, no violation so far".to_owned(),
        None => "no violation".to_owned(),
    };
    let runs = grouped(as_f64(totals.runs));
    let mut text = format!("sim of {runs} seeds from {}: {verdict}\n", args.from);
    let (virtual_s, wall_s) = (totals.virtual_ns as f64 / 1e9, wall.as_secs_f64());
    let ratio = ratio(totals.virtual_ns, wall);
    let times = format!("{virtual_s:.1} s in {wall_s:.1} s of wall time: {ratio:.0} times as fast");
    text += &row("virtual time", &times);
    text += &counts(&totals);
    text += &failure(failed.as_ref());
    finish(output, &text, args.from, totals, wall, failed, was_interrupted)
}

fn show(progress: &Progress<Totals>) {
    let Progress { totals, seeds, elapsed } = progress;
    let rate = as_f64(totals.runs) / elapsed.as_secs_f64().max(1e-9);
    eprintln_line(&format!(
        "{:>5.0}s {:>10} of {} seeds, {} a second, {} committed",
        elapsed.as_secs_f64(),
        grouped(as_f64(totals.runs)),
        grouped(as_f64(*seeds)),
        grouped(rate),
        grouped(as_f64(totals.committed)),
    ));
}

/// How transactions ended.
fn counts(totals: &Totals) -> String {
    let Totals { aborted, refused, unknown, crashes, .. } = totals;
    let [committed, stamped, late] =
        [totals.committed, totals.stamped, totals.late].map(|count| grouped(as_f64(count)));
    let ends = format!("{committed}; {aborted} aborted, {refused} refused, {unknown} unknown");
    let mut text = row("committed", &ends);
    text += &row("stamped", &format!("{stamped}, {late} of them late somewhere"));
    let [frames, harmed, events] =
        [totals.frames, totals.frames_harmed, totals.events].map(|count| grouped(as_f64(count)));
    text += &row("frames", &format!("{frames}, {harmed} lost, repeated, overtaken or held up"));
    text += &row("events", &format!("{events}, {crashes} crashes among them"));
    text
}

/// What was broken, and the command that repeats it, on the last line.
fn failure(failed: Option<&Failed>) -> String {
    let Some(failed) = failed else { return String::new() };
    let told = failed.violations.iter().map(|violation| row("violation", violation));
    let mut text: String = told.collect();
    let more = failed.violation_count.saturating_sub(failed.violations.len() as u64);
    if more > 0 {
        text += &row("violations", &format!("{more} more"));
    }
    text + &failed.replay + "\n"
}

/// Writes the result; the exit code.
fn finish(
    output: Output,
    text: &str,
    first_seed: u64,
    totals: Totals,
    wall: Duration,
    failed: Option<Failed>,
    interrupted: bool,
) -> anyhow::Result<ExitCode> {
    let code = exit_code(failed.is_some(), interrupted);
    let document = Document {
        schema: SCHEMA,
        program: "sim",
        first_seed,
        totals,
        wall_s: wall.as_secs_f64(),
        ratio: ratio(totals.virtual_ns, wall),
        interrupted,
        failed,
    };
    output.write(text, &document)?;
    Ok(code)
}

fn exit_code(has_failed: bool, interrupted: bool) -> ExitCode {
    match (has_failed, interrupted) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(INTERRUPTED),
        (false, false) => ExitCode::SUCCESS,
    }
}

/// How much faster virtual time went than time.
fn ratio(virtual_ns: u64, wall: Duration) -> f64 {
    virtual_ns as f64 / 1e9 / wall.as_secs_f64().max(1e-9)
}

fn as_f64(count: u64) -> f64 {
    count as f64
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_repeats_a_failure_is_the_last_line() {
        let failed = Failed {
            seed: 7,
            violations: vec!["Sum: 1 too many".to_owned(), "NotIdle: shard 0".to_owned()],
            violation_count: 5,
            replay: "punctual sim --seed 7".to_owned(),
        };
        let text = failure(Some(&failed));
        let lines: Vec<&str> = text.lines().collect();
        let shown = ["  violation      Sum: 1 too many", "  violation      NotIdle: shard 0"];
        assert_eq!(lines[..2], shown);
        assert_eq!(lines[2..], ["  violations     3 more", "punctual sim --seed 7"]);
        assert!(text.ends_with('\n'));
        assert_eq!(failure(None), "");
    }
}
