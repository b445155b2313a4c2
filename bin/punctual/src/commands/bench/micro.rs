//! `punctual bench micro`.

use super::durability::{self, DurabilityArgs, Ending};
use super::observer::Observer;
use super::{Common, TransportArg, build, grouped, row};
use crate::commands::http::HttpArgs;
use crate::commands::{UsageError, journal};
use crate::{eprintln_line, interrupt};
use clap::Args;
use punctual_load::micro::MicroConfig;
use punctual_load::report::ShardFigures;
use punctual_load::summary::fmt_ns_or_dash;
use punctual_load::{Plan, Progress, Report, Stage, Target, bench};
use punctual_runtime::config::{Backend, Config, CoreList, Estimator, parse_duration};
use punctual_runtime::{EngineInfo, IdleStrategy};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Transactions of a few keys, read or incremented; checked against the store afterwards
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual bench micro                                   one process, through memory
  punctual bench micro --transport tcp --batch off       what batching is worth
  punctual bench micro --ops 1 --in-flight 1 --idle spin one transaction at a time
  punctual bench micro --rate 200000 --hdr out           open loop, with histogram files
  punctual bench micro --shards 2 --cross 0.5            half of them on both shards
  punctual bench micro --config cluster.toml             drive shards served elsewhere
  punctual bench micro --durability journal              answers wait until they are on disk
  punctual bench micro --durability journal --recover    and what a start takes afterwards

The keys are loaded first and set to zero. Exit code 1 means that the sums differed, or that
outcomes stayed unknown. Journals go to a directory below .punctual in the current one, which is
removed after a good run.")]
pub(crate) struct MicroArgs {
    #[command(flatten)]
    common: Common,

    /// How coordinators and shards are connected when all are in this process
    #[arg(long, value_enum, default_value = "ring", conflicts_with = "config")]
    transport: TransportArg,

    /// Drive the shards of this cluster, served by other processes
    #[arg(long, value_name = "FILE", conflicts_with = "shards")]
    config: Option<PathBuf>,

    /// Shards in this process
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    shards: u16,

    /// Coordinator workers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    coordinators: Option<u16>,

    /// Transactions in flight, for each coordinator worker
    #[arg(long, value_name = "N")]
    in_flight: Option<u32>,

    /// Distinct keys of a transaction
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    ops: u16,

    /// Share of the operations that read, 0 to 1; the others add one
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = share)]
    reads: f64,

    /// Share of the transactions that touch several shards, 0 to 1; the others stay on one
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    cross: f64,

    /// Shards that each of those touches: 2 to 64, as many as there are at most
    #[arg(long, value_name = "K", default_value_t = 2, requires = "cross")]
    span: u16,

    /// Keys in the store
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,

    /// Bytes of a value, at least 8
    #[arg(long, value_name = "BYTES", default_value_t = 8)]
    value_size: usize,

    /// Exponent of the keys' popularity (Zipf); 0 is uniform
    #[arg(long, value_name = "S", default_value_t = 0.0, value_parser = skew)]
    skew: f64,

    /// Messages that share a frame and a write, or off
    #[arg(long, value_name = "N|off", value_parser = batch)]
    batch: Option<u16>,

    /// What a core does when it finds no work: spin, yield, backoff, park
    #[arg(long, value_name = "STRATEGY")]
    idle: Option<IdleStrategy>,

    /// What drives the pinned threads: auto, glommio, threads
    #[arg(long, value_name = "BACKEND")]
    backend: Option<Backend>,

    /// Cores of the shards, such as 0 or 0,1
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "config")]
    shard_cores: Option<Vec<usize>>,

    /// Cores of the coordinator workers
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    coordinator_cores: Option<Vec<usize>>,

    /// What a stamp has beyond the longest one-way delay, such as 100us
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    headroom: Option<Duration>,

    /// How one-way delays are estimated: window-percentile, ewma, ema-half-rtt, window-max
    #[arg(long, value_name = "NAME")]
    estimator: Option<Estimator>,

    /// Whether one-way delays are probed; auto: where there are several shards
    #[arg(long, value_enum, value_name = "on|off|auto")]
    prober: Option<ProberArg>,

    /// How long to wait for a shard that cannot be reached, such as 5s
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    connect_timeout: Option<Duration>,

    /// Put a checksum on every frame of a socket (default off; with --config as the file says)
    #[arg(long, conflicts_with = "config")]
    checksum: bool,

    /// Transactions a second, at Poisson arrivals (open loop), instead of as many as possible
    #[arg(long, value_name = "TPS", value_parser = rate)]
    rate: Option<f64>,

    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Write .hlog and .hgrm histogram files into DIR
    #[arg(long, value_name = "DIR")]
    hdr: Option<PathBuf>,

    // The last, because their headings go on to the next.
    #[command(flatten)]
    durability: DurabilityArgs,

    #[command(flatten)]
    http: HttpArgs,
}

/// Whether a prober runs, as an option.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ProberArg {
    On,
    Off,
    Auto,
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let valid = (0.0..=1.0).contains(&share);
    valid.then_some(share).ok_or_else(|| "a share is between 0 and 1".to_owned())
}

pub(super) fn skew(text: &str) -> Result<f64, String> {
    let skew: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let valid = (0.0..=10.0).contains(&skew);
    valid.then_some(skew).ok_or_else(|| "the exponent is between 0 and 10".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let valid = rate.is_finite() && rate > 0.0;
    valid.then_some(rate).ok_or_else(|| "a rate is above 0".to_owned())
}

/// Messages of a frame; off is one.
fn batch(text: &str) -> Result<u16, String> {
    match text {
        "off" => Ok(1),
        _ => text.parse().map_err(|_| "a number of messages, or off".to_owned()),
    }
}

/// Runs the command.
pub(crate) fn run(args: &MicroArgs) -> anyhow::Result<ExitCode> {
    let mut plan = plan(args)?;
    let mut observer = Observer::new(&args.http)?;
    let output = args.common.output()?;
    let interrupted = interrupt::install()?;
    let place = args.durability.place(&mut plan.config)?;
    let ran = bench::run(&plan, &interrupted, &mut |progress| {
        observer.see(&progress);
        show(progress);
    });
    observer.end();
    let Observer { has_started, was_interrupted, .. } = observer;
    let report = match ran {
        Ok(report) => report,
        Err(error) => {
            if let Some(place) = place {
                place.leave_failed(has_started);
            }
            return Err(error.into());
        }
    };
    let is_good = is_good(&report);
    let ending = Ending { has_started, is_good: is_good && !was_interrupted };
    let became = place.map(|place| place.leave(ending));
    output.write(&summary(&report, became), &report)?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the store is as it should be, afterwards and after a start on the journals.
fn is_good(report: &Report) -> bool {
    let recovery = report.durability.as_ref().and_then(|journal| journal.recovery.as_ref());
    let is_recovered = recovery.is_none_or(|recovery| recovery.self_check == "ok");
    report.self_check == "ok" && report.unknown == 0 && is_recovered
}

/// How many transactions a worker makes in one turn: as many as fill a frame for each of a few
/// shards, however few of them a transaction is on.
fn burst(config: &Config, args: &MicroArgs) -> u32 {
    const FRAMES_MAX: f64 = 3.0;
    let shards_each = 1.0 + args.cross * f64::from(args.span.saturating_sub(1));
    let frames = (f64::from(config.cluster.shards) / shards_each).clamp(1.0, FRAMES_MAX);
    let batch = f64::from(config.process.batch.max(16));
    // Rounded to what is next, and far below 2^32.
    (batch * frames).round() as u32
}

fn plan(args: &MicroArgs) -> anyhow::Result<Plan> {
    let (config, target) = config(args)?;
    let micro = MicroConfig {
        ops: args.ops,
        reads: args.reads,
        cross: args.cross,
        span: args.span,
        keys: args.keys,
        value_size: args.value_size,
        skew: args.skew,
        rate: args.rate,
        seed: args.seed,
        burst: burst(&config, args),
        in_flight: config.process.in_flight,
    };
    micro.check(config.cluster.shards, &config.cluster.limits).map_err(UsageError)?;
    Ok(Plan {
        config,
        target,
        micro,
        warmup: args.common.warmup,
        duration: args.common.duration,
        hdr: args.hdr.clone(),
        recover: args.durability.recover(),
        build: build(),
    })
}

/// The engine's configuration: the file's or the default one, with the options on top.
fn config(args: &MicroArgs) -> anyhow::Result<(Config, Target)> {
    let (mut config, target) = match &args.config {
        Some(path) => (Config::load(path)?, Target::Served),
        None => {
            let mut config = Config::embedded(args.shards);
            config.cluster.checksum = args.checksum;
            (config, Target::Embedded(args.transport.into()))
        }
    };
    let process = &mut config.process;
    process.coordinators = args.coordinators.unwrap_or(process.coordinators);
    process.in_flight = args.in_flight.unwrap_or(process.in_flight);
    process.batch = args.batch.unwrap_or(process.batch);
    process.idle = args.idle.unwrap_or(process.idle);
    process.backend = args.backend.unwrap_or(process.backend);
    process.headroom = args.headroom.unwrap_or(process.headroom);
    process.estimator = args.estimator.unwrap_or(process.estimator);
    process.connect_timeout = args.connect_timeout.unwrap_or(process.connect_timeout);
    if let Some(prober) = args.prober {
        process.prober.enabled = match prober {
            ProberArg::On => Some(true),
            ProberArg::Off => Some(false),
            ProberArg::Auto => None,
        };
    }
    if let Some(cores) = &args.shard_cores {
        process.placement.shards = CoreList::Cores(cores.clone());
    }
    if let Some(cores) = &args.coordinator_cores {
        process.placement.coordinators = CoreList::Cores(cores.clone());
    }
    args.durability.apply(&mut config, target)?;
    config.validate()?;
    Ok((config, target))
}

/// Shows how a run goes, on standard error.
fn show(progress: Progress) {
    match progress {
        Progress::Started(info) => show_start(&info),
        Progress::Stage(Stage::Load) => eprintln_line("loading the keys"),
        Progress::Stage(Stage::WarmUp) => eprintln_line("warming up"),
        Progress::Stage(Stage::Measure) => eprintln_line("measuring"),
        Progress::Stage(Stage::Verify) => eprintln_line("checking the store"),
        Progress::Stage(Stage::Recover) => eprintln_line("starting again on the journals"),
        Progress::Recovered(reports) => journal::show_recoveries(&reports),
        Progress::Stage(Stage::Connect | Stage::Drain) | Progress::Counting(_) => {}
        Progress::Second { stage, elapsed, rate_tps, latency } => {
            if rate_tps > 0.0 || elapsed > Duration::from_millis(500) {
                let what = if stage == Stage::Measure { "" } else { "  (warm-up)" };
                eprintln_line(&format!(
                    "{:>5.0}s {:>12} txn/s  p50 {:>8}  p99 {:>8}{what}",
                    elapsed.as_secs_f64(),
                    grouped(rate_tps),
                    fmt_ns_or_dash(latency.p50),
                    fmt_ns_or_dash(latency.p99),
                ));
            }
        }
        Progress::Waiting { why } => eprintln_line(&format!("waiting for {why}")),
        Progress::LinkDown { why } => eprintln_line(&format!("warning: link lost: {why}")),
        Progress::Interrupted => eprintln_line("interrupted: ending early (again to quit at once)"),
    }
}

fn show_start(info: &EngineInfo) {
    for warning in &info.warnings {
        eprintln_line(&format!("warning: {warning}"));
    }
    let shards = match info.shard_cores.as_slice() {
        [] => "served elsewhere".to_owned(),
        cores => format!("on cores {cores:?}"),
    };
    let prober = info.prober_core.map(|core| format!(", prober on core {core}"));
    eprintln_line(&format!(
        "shards {shards}, coordinators on cores {:?}{}, backend {}",
        info.worker_cores,
        prober.unwrap_or_default(),
        info.backend
    ));
    journal::show_recoveries(&info.recoveries);
}

/// The result for people. `became` says what became of the journals.
fn summary(report: &Report, became: Option<&str>) -> String {
    let mut text = String::new();
    let Report { ops, reads, keys, skew, batch, in_flight, .. } = report;
    text += &format!(
        "micro over {}: {ops} ops ({:.0} % reads) on {keys} keys{}, {in_flight} in flight, \
         batch {}\n",
        report.transport,
        reads * 100.0,
        if *skew > 0.0 { format!(" (Zipf {skew})") } else { String::new() },
        if *batch == 1 { "off".to_owned() } else { batch.to_string() },
    );
    let per_frame = report.messages_per_frame.unwrap_or(0.0);
    text += &row("throughput", &format!("{} txn/s", grouped(report.throughput_tps)));
    text += &row("latency", &report.latency_ns.to_string());
    if let Some(latency) = &report.intended_latency_ns {
        text += &row("response", &format!("{latency} (from the intended start)"));
    }
    if let Some(lag) = &report.lag_ns {
        text += &row("generator lag", &lag.to_string());
    }
    text += &row(
        "committed",
        &format!(
            "{} in {:.2} s; {} aborted, {} refused, {} retries; {} unknown in the whole run",
            report.committed,
            report.duration_s,
            report.aborted,
            report.refused,
            report.retries,
            report.unknown,
        ),
    );
    text += &row("frames", &format!("{} sent, {per_frame:.1} messages each", report.frames_sent));
    if report.shards > 1 {
        text += &rows_of_shards(report);
    }
    if let Some(bytes) = report.bytes_per_key {
        text += &row("store", &format!("{bytes:.1} bytes a key"));
    }
    text += &row("self-check", &report.self_check);
    if let (Some(journal), Some(became)) = (&report.durability, became) {
        text += &durability::rows(journal, became);
    }
    for warning in &report.warnings {
        text += &row("warning", warning);
    }
    text
}

/// What there is to say where there are several shards.
fn rows_of_shards(report: &Report) -> String {
    let mut text = String::new();
    if let (Some(span), Some(share)) = (report.span, report.cross_share) {
        let share = share * 100.0;
        text += &row("cross", &format!("{share:.1} % on {span} of {} shards", report.shards));
    }
    if let Some(ratio) = report.on_time_ratio {
        let late_ns = report.late_ns.unwrap_or_default();
        let late_by = match report.late {
            0 => String::new(),
            late => format!(
                "; {late} late, by p50 {}, p99 {}, max {}",
                fmt_ns_or_dash(late_ns.p50),
                fmt_ns_or_dash(late_ns.p99),
                fmt_ns_or_dash(late_ns.max),
            ),
        };
        let share = ratio * 100.0;
        text += &row("on time", &format!("{share:.2} % of {} stamped{late_by}", report.stamped));
    }
    for (name, series) in [("hold", &report.hold_ns), ("agreement", &report.agreement_ns)] {
        if let Some(summary) = series {
            text += &row(name, &summary.to_string());
        }
    }
    if let Some(per_frame) = report.proposals_per_frame.filter(|_| report.stamped > 0) {
        text += &row("proposals", &format!("{per_frame:.1} for each frame of a shard"));
    }
    for figures in &report.per_shard {
        let ShardFigures { shard, committed, ops, stamped, late, held } = figures;
        let counts = format!(
            "{committed} committed, {ops} ops; {stamped} stamped, {late} late, {held} held at the \
             end"
        );
        text += &row(&format!("shard {shard}"), &counts);
    }
    text
}
