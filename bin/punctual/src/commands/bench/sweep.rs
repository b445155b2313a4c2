//! `punctual bench sweep`.

use super::BenchCommand;
use super::runner::Repeatable;
use crate::commands::UsageError;
use crate::commands::output::{Output, grouped};
use crate::{eprintln_line, interrupt};
use clap::{Args, Parser};
use punctual_load::BenchError;
use punctual_load::arrivals::{RATE_MAX, RATE_MIN, Rates, is_rate};
use punctual_load::summary::fmt_ns;
use punctual_load::sweep::{KNEE_FACTOR, Point, Spread, SweepRun, auto_rates, knee};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Rates of one sweep at most.
const RATES_MAX: usize = 64;

/// Response times at rate after rate, and where they begin to rise
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual bench sweep --auto micro                      rates by what a closed loop does
  punctual bench sweep --rates 10000,50000,100000 micro --shards 2 --cross 0.5
  punctual bench sweep --auto --repeats 5 ycsb --mix b --duration 10s

Every rate is run several times, in turns, and the table has the median and the range. The knee is
the highest rate up to which every rate was kept with a p99 of at most five times that at the lowest
one. Runs in which the generator did not keep up are marked as invalid and not counted.")]
pub(crate) struct SweepArgs {
    /// Transactions a second to try, such as 1000,2000,5000
    #[arg(long, value_name = "LIST", value_delimiter = ',', required_unless_present = "auto")]
    rates: Vec<f64>,

    /// Choose the rates by the throughput of a closed loop
    #[arg(long, conflicts_with = "rates")]
    auto: bool,

    /// Runs at each rate
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: u32,

    /// Also write the result as JSON to FILE; with -, print JSON, and the table to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// The workload and its options, without --rate, --json, --hdr and --http
    #[arg(value_name = "WORKLOAD", trailing_var_arg = true, allow_hyphen_values = true)]
    #[arg(required = true)]
    bench: Vec<String>,
}

/// The command line of the bench that is repeated.
#[derive(Debug, Parser)]
#[command(name = "punctual bench", no_binary_name = true)]
struct Inner {
    #[command(subcommand)]
    bench: BenchCommand,
}

/// The result.
#[derive(Debug, Serialize)]
struct SweepReport {
    schema: u32,
    program: &'static str,
    /// The bench that was repeated, as a command line.
    bench: String,
    repeats: u32,
    /// What a closed loop did; only where the rates were chosen by it.
    closed_tps: Option<f64>,
    points: Vec<Point>,
    /// The highest rate before response times rise; `null` where the lowest is above it.
    knee_tps: Option<f64>,
    self_check: String,
}

/// Runs the command.
pub(super) fn run(args: &SweepArgs) -> anyhow::Result<ExitCode> {
    let inner = Inner::try_parse_from(&args.bench).map_err(|error| {
        UsageError(format!("bench {}: {}", args.bench.join(" "), first_line(&error.to_string())))
    })?;
    let Some(bench) = inner.bench.repeatable() else {
        return Err(UsageError(format!("{} has no rate to sweep", args.bench[0])).into());
    };
    bench.check_in_sweep()?;
    if args.rates.len() > RATES_MAX {
        return Err(UsageError(format!("more than {RATES_MAX} rates in --rates")).into());
    }
    if let Some(rate) = args.rates.iter().find(|rate| !is_rate(**rate)) {
        let text = format!("--rates: {rate} is no rate from {RATE_MIN} to {RATE_MAX:e}");
        return Err(UsageError(text).into());
    }
    let output = Output::open(args.json.as_deref())?;
    let interrupted = interrupt::install()?;
    let (mut rates, mut closed_tps) = (args.rates.clone(), None);
    if args.auto {
        eprintln_line("closed loop, to choose the rates by");
        let report = bench.measure(None, &interrupted)??;
        closed_tps = Some(report.throughput_tps);
        rates = auto_rates(report.throughput_tps);
    }
    rates.sort_by(f64::total_cmp);
    let points = measure(bench, &rates, args.repeats, &interrupted)?;
    if points.is_empty() {
        return Err(BenchError::Interrupted.into());
    }
    let failed = points.iter().flat_map(|point| &point.runs).find(|run| run.self_check != "ok");
    let report = SweepReport {
        schema: 1,
        program: "bench sweep",
        bench: args.bench.join(" "),
        repeats: args.repeats,
        closed_tps,
        knee_tps: knee(&points),
        self_check: failed.map_or_else(|| "ok".to_owned(), |run| run.self_check.clone()),
        points,
    };
    output.write(&table(&report), &report)?;
    Ok(if report.self_check == "ok" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a parser's error says before its hints.
fn first_line(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line)
}

/// Runs every rate, then every rate again: a machine that changes does so for all of them. Ends
/// early where the user interrupts it, with the runs that were through.
fn measure(
    bench: &dyn Repeatable,
    rates: &[f64],
    repeats: u32,
    interrupted: &flume::Receiver<()>,
) -> anyhow::Result<Vec<Point>> {
    let mut points: Vec<Point> =
        rates.iter().map(|rate| Point { rate: *rate, runs: Vec::new() }).collect();
    'all: for repeat in 1..=repeats {
        for point in &mut points {
            // A simulation does not look for an interruption by itself.
            let ran = match interrupted.try_recv() {
                Ok(()) => Err(BenchError::Interrupted),
                Err(_) => bench.measure(Some(Rates::Steady(point.rate)), interrupted)?,
            };
            if matches!(ran, Err(BenchError::Interrupted)) {
                eprintln_line("interrupted: what follows is of the runs that were through");
                break 'all;
            }
            let run = SweepRun::of(&ran?);
            let p99 = run.response_ns.p99.map_or_else(|| "-".to_owned(), fmt_ns);
            let mark = if run.valid { "" } else { "  INVALID: the generator lagged" };
            eprintln_line(&format!(
                "{repeat}/{repeats} at {:>11}/s: {:>11} txn/s, p99 {p99}{mark}",
                grouped(point.rate),
                grouped(run.throughput_tps),
            ));
            point.runs.push(run);
        }
    }
    points.retain(|point| !point.runs.is_empty());
    Ok(points)
}

/// The result for people.
fn table(report: &SweepReport) -> String {
    let runs = if report.repeats == 1 { "run" } else { "runs" };
    let mut text = format!("bench {}: {} {runs} at each rate\n", report.bench, report.repeats);
    if let Some(closed) = report.closed_tps {
        let _ = writeln!(text, "closed loop: {} txn/s", grouped(closed));
    }
    let heads = ["rate/s", "txn/s", "p50", "p99", "p99.9", "lag p99", "valid"];
    let _ = writeln!(
        text,
        "{:>11} {:>11} {:>24} {:>24} {:>24} {:>9} {:>6}",
        heads[0], heads[1], heads[2], heads[3], heads[4], heads[5], heads[6]
    );
    for point in &report.points {
        let time = |of: fn(&SweepRun) -> Option<u64>| {
            point
                .spread(|run| of(run).map(|ns| ns as f64))
                .map_or_else(|| "-".to_owned(), fmt_spread)
        };
        let lag = point.spread(|run| run.lag_ns.p99.map(|ns| ns as f64));
        let valid = point.runs.iter().filter(|run| run.valid).count();
        let _ = writeln!(
            text,
            "{:>11} {:>11} {:>24} {:>24} {:>24} {:>9} {:>6}",
            grouped(point.rate),
            point.spread(|run| Some(run.throughput_tps)).map_or("-".into(), |s| grouped(s.median)),
            time(|run| run.response_ns.p50),
            time(|run| run.response_ns.p99),
            time(|run| run.response_ns.p99_9),
            lag.map_or("-".into(), |spread| fmt_ns(spread.median as u64)),
            format!("{valid}/{}", point.runs.len()),
        );
    }
    let knee = match report.knee_tps {
        Some(knee) => format!(
            "{}/s, the highest rate with a p99 of at most {KNEE_FACTOR} times that at the lowest",
            grouped(knee)
        ),
        None => "below the lowest rate".to_owned(),
    };
    let _ = writeln!(text, "knee: {knee}\nself-check: {}", report.self_check);
    text
}

fn fmt_spread(spread: Spread) -> String {
    let [min, median, max] = [spread.min, spread.median, spread.max].map(|ns| fmt_ns(ns as u64));
    if min == max { median } else { format!("{median} [{min}, {max}]") }
}
