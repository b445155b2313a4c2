//! `punctual bench`: the benches, their options, and what they print.

mod args;
mod calibrate;
mod durability;
mod micro;
mod observer;
mod pingpong;
mod roofline;
mod runner;
mod simulated;
mod summary;
mod sweep;
mod workloads;

use crate::commands::UsageError;
use crate::commands::output::{Output, grouped, row};
use clap::{Args, Subcommand};
use punctual_load::Report;
use punctual_load::environment::Build;
use punctual_runtime::Transport;
use punctual_runtime::config::parse_duration;
use runner::{BenchArgs, Repeatable};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use workloads::{BankArgs, CountersArgs, PrototypeArgs, TpccArgs, YcsbArgs};

/// Measure throughput and latency; every run checks its results
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  punctual bench micro --transport tcp --duration 10s --json run.json
  punctual bench micro --durability journal    what it costs that nothing is lost
  punctual bench ycsb --mix b --shards 2       reads and a few updates of records
  punctual bench sweep --auto micro            where the knee is
  punctual bench pingpong --transport tcp      the bare link, for comparison
  punctual bench roofline                      the ceiling of this machine, for comparison")]
pub(crate) enum BenchCommand {
    /// Transactions of a few keys, read or incremented; checked against the store afterwards
    #[command(after_help = MICRO_EXAMPLES)]
    Micro(Box<BenchArgs<micro::MicroArgs>>),
    /// Tiga's micro-benchmark: an increment on each of three shards
    #[command(after_help = COUNTERS_EXAMPLES)]
    Counters(Box<BenchArgs<CountersArgs>>),
    /// What the research prototype sends: an operation on every shard, 200 in flight, 10 ms added
    #[command(after_help = PROTOTYPE_EXAMPLES)]
    Prototype(Box<BenchArgs<PrototypeArgs>>),
    /// TPC-C: all nine tables and five transactions, checked by its consistency conditions
    #[command(after_help = TPCC_EXAMPLES)]
    Tpcc(Box<BenchArgs<TpccArgs>>),
    /// The YCSB core workloads A to F: operations on records of ten fields
    #[command(after_help = YCSB_EXAMPLES)]
    Ycsb(Box<BenchArgs<YcsbArgs>>),
    /// Transfers between accounts; their sum must stay what it was
    #[command(after_help = BANK_EXAMPLES)]
    Bank(Box<BenchArgs<BankArgs>>),
    Sweep(sweep::SweepArgs),
    Calibrate(calibrate::CalibrateArgs),
    Pingpong(pingpong::PingPongArgs),
    Roofline(roofline::RooflineArgs),
}

const MICRO_EXAMPLES: &str = "\
Examples:
  punctual bench micro                                   one process, through memory
  punctual bench micro --transport tcp --batch off       what batching is worth
  punctual bench micro --ops 1 --in-flight 1 --idle spin one transaction at a time
  punctual bench micro --rate 200000 --hdr out           open loop, with histogram files
  punctual bench micro --rate 1000..500000               a ramp
  punctual bench micro --shards 2 --cross 0.5            half of them on both shards
  punctual bench micro --config cluster.toml             drive shards served elsewhere
  punctual bench micro --durability journal              answers wait until they are on disk
  punctual bench micro --durability journal --recover    and what a start takes afterwards

The keys are loaded first and set to zero. Exit code 1 means that the sums differed, or that
outcomes stayed unknown. Journals go to a directory below .punctual in the current one, which is
removed after a good run.";

const COUNTERS_EXAMPLES: &str = "\
Examples:
  punctual bench counters                                three shards, a key on each
  punctual bench counters --skew 0.99                    a few keys are in nearly every one
  punctual bench counters --shards 6 --coordinators 2";

const PROTOTYPE_EXAMPLES: &str = "\
Examples:
  punctual bench prototype                               one shard, as it was published
  punctual bench prototype --shards 2 --headroom 0ns     two, without the added wait
  punctual bench prototype --network geo --shards 2      over an emulated network";

const TPCC_EXAMPLES: &str = "\
Examples:
  punctual bench tpcc                                    one warehouse on one shard
  punctual bench tpcc --warehouses 4 --shards 2          the standard's share of remote ones
  punctual bench tpcc --warehouses 2 --shards 2 --remote-items 0.5
  punctual bench tpcc --warehouses 12 --shards 12 --items 10000 --engine sim --network three-regions

No terminals and no think times: the figures are transactions a second, not tpmC.";

const YCSB_EXAMPLES: &str = "\
Examples:
  punctual bench ycsb --mix a                            half reads, half updates
  punctual bench ycsb --mix e --shards 2                 scans that cross shards
  punctual bench ycsb --mix f --records 1000000 --durability journal";

const BANK_EXAMPLES: &str = "\
Examples:
  punctual bench bank --shards 4                         most transfers cross shards
  punctual bench bank --accounts 100 --skew 0.9          over and over the same accounts";

impl BenchCommand {
    /// The bench, if it can be run at one rate after the other.
    fn repeatable(&self) -> Option<&dyn Repeatable> {
        Some(match self {
            Self::Micro(args) => args.as_ref(),
            Self::Counters(args) => args.as_ref(),
            Self::Prototype(args) => args.as_ref(),
            Self::Tpcc(args) => args.as_ref(),
            Self::Ycsb(args) => args.as_ref(),
            Self::Bank(args) => args.as_ref(),
            Self::Sweep(_) | Self::Calibrate(_) | Self::Pingpong(_) | Self::Roofline(_) => {
                return None;
            }
        })
    }
}

/// What all benches have in common.
#[derive(Debug, Args)]
struct Common {
    /// How long to measure, such as 10s or 500ms
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    duration: Duration,

    /// How long to run before that without recording
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    warmup: Duration,

    /// Also write the report as JSON to FILE; with -, print JSON, and the summary to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Common {
    /// Opens what the result goes to. A file that cannot be written must not cost a run.
    fn output(&self) -> Result<Output, UsageError> {
        Output::open(self.json.as_deref())
    }
}

/// How frames travel, as an option.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum TransportArg {
    /// Through memory, from core to core
    Ring,
    /// Over loopback TCP
    Tcp,
    /// Over Unix-domain sockets
    Unix,
}

impl From<TransportArg> for Transport {
    fn from(transport: TransportArg) -> Self {
        match transport {
            TransportArg::Ring => Self::Ring,
            TransportArg::Tcp => Self::Tcp,
            TransportArg::Unix => Self::Unix,
        }
    }
}

/// Runs the command.
pub(crate) fn run(command: &BenchCommand) -> anyhow::Result<ExitCode> {
    match command {
        BenchCommand::Micro(args) => args.run(),
        BenchCommand::Counters(args) => args.run(),
        BenchCommand::Prototype(args) => args.run(),
        BenchCommand::Tpcc(args) => args.run(),
        BenchCommand::Ycsb(args) => args.run(),
        BenchCommand::Bank(args) => args.run(),
        BenchCommand::Sweep(args) => sweep::run(args),
        BenchCommand::Calibrate(args) => calibrate::run(args),
        BenchCommand::Pingpong(args) => pingpong::run(args),
        BenchCommand::Roofline(args) => roofline::run(args),
    }
}

pub(super) fn build() -> Build {
    Build {
        git_commit: option_env!("PUNCTUAL_GIT_COMMIT").map(str::to_owned),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Says what stands against a bench, without running it.
pub(crate) fn check(command: &BenchCommand) -> anyhow::Result<()> {
    command.repeatable().map_or(Ok(()), Repeatable::check)
}

/// A report, as it is shown after a run.
pub(crate) fn render(report: &Report) -> String {
    summary::render(report, None)
}
