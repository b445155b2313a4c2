//! `punctual bench`: the benches, their options, and what they print.

mod durability;
mod micro;
mod observer;
mod pingpong;
mod roofline;

use crate::commands::UsageError;
use crate::commands::output::{Output, grouped, row};
use clap::{Args, Subcommand};
use punctual_load::environment::Build;
use punctual_runtime::Transport;
use punctual_runtime::config::parse_duration;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Measure throughput and latency; every run checks its results
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  punctual bench micro --transport tcp --duration 10s --json run.json
  punctual bench micro --durability journal    what it costs that nothing is lost
  punctual bench pingpong --transport tcp      the bare link, for comparison
  punctual bench roofline                      the ceiling of this machine, for comparison")]
pub(crate) enum BenchCommand {
    Micro(Box<micro::MicroArgs>),
    Pingpong(pingpong::PingPongArgs),
    Roofline(roofline::RooflineArgs),
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
        BenchCommand::Micro(args) => micro::run(args),
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
