//! `punctual bench`: the benches, their options, and what they print.

mod micro;
mod pingpong;
mod roofline;

use crate::commands::UsageError;
use crate::eprintln_line;
use anyhow::Context;
use clap::{Args, Subcommand};
use punctual_load::environment::Build;
use punctual_runtime::Transport;
use punctual_runtime::config::parse_duration;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Measure throughput and latency; every run checks its results
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  punctual bench micro --transport tcp --duration 10s --json run.json
  punctual bench pingpong --transport tcp      the bare link, for comparison
  punctual bench roofline                      the ceiling of this machine, for comparison")]
pub(crate) enum BenchCommand {
    Micro(micro::MicroArgs),
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
        let Some(path) = &self.json else { return Ok(Output::Summary) };
        if path == Path::new("-") {
            return Ok(Output::Json);
        }
        match File::create(path) {
            Ok(file) => Ok(Output::Both { file, path: path.clone() }),
            Err(error) => {
                let path = path.display();
                Err(UsageError(format!("--json {path} cannot be written: {error}")))
            }
        }
    }
}

/// Where the result of a run goes.
enum Output {
    /// The summary to standard output.
    Summary,
    /// The document to standard output, the summary to standard error.
    Json,
    /// The summary to standard output, the document to a file.
    Both { file: File, path: PathBuf },
}

impl Output {
    /// Shows the summary and writes the document.
    fn write(self, summary: &str, report: &impl serde::Serialize) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(report)? + "\n";
        let print = |text: &str| {
            std::io::stdout().write_all(text.as_bytes()).context("writing to standard output")
        };
        match self {
            Self::Summary => print(summary),
            Self::Json => {
                eprintln_line(summary.trim_end());
                print(&json)
            }
            Self::Both { mut file, path } => {
                print(summary)?;
                let written = file.write_all(json.as_bytes());
                written.with_context(|| format!("writing {}", path.display()))
            }
        }
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

fn build() -> Build {
    Build {
        git_commit: option_env!("PUNCTUAL_GIT_COMMIT").map(str::to_owned),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// A number with a separator every three digits.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A row of a table for people.
fn row(name: &str, value: &str) -> String {
    format!("  {name:<14} {value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three_digits() {
        let texts = [0.0, 999.4, 1_000.0, 1_234_567.0].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
