//! The Punctual program: serve shards, run tasks, run benches, simulate, look at the network, at
//! journals and at the machine.
//!
//! Exit codes: 0 fine, 1 the work failed, 2 bad usage or configuration, 130 interrupted for a
//! second time, or before a sweep of simulations, a study, a run of tasks or a bench of them had
//! ended.
#![forbid(unsafe_code)]

mod commands;
mod interrupt;

use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Sharded transactions on time: a thread-per-core engine, its benches, and a look at the machine.
#[derive(Debug, Parser)]
#[command(name = "punctual", version, max_term_width = 100)]
#[command(after_help = "Examples:
  punctual bench micro                       everything in one process, through memory
  punctual bench micro --transport tcp       the same over loopback TCP
  punctual serve --config cluster.toml       serve shards to other processes
  punctual owd --config cluster.toml         how long messages take to each shard
  punctual sim --seeds 1000                  the protocol under faults and virtual time
  punctual study run batching --quick        a whole experiment, with pictures and a report
  punctual env                               what this machine offers, and what would help
  punctual journal check .punctual/data      whether the journals of served shards are sound
  punctual task run sweep.task               the tasks of a file, as many at once as fit
  punctual top                               a task server, or an engine, in this terminal

Set PUNCTUAL_LOG=debug (or info, warn, error) to hear more or less of what happens.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(commands::serve::ServeArgs),
    #[command(subcommand)]
    Bench(commands::bench::BenchCommand),
    Owd(commands::owd::OwdArgs),
    Sim(commands::sim::SimArgs),
    #[command(subcommand)]
    Study(commands::study::StudyCommand),
    Report(commands::report::ReportArgs),
    Env(commands::env::EnvArgs),
    #[command(subcommand)]
    Journal(commands::journal::JournalCommand),
    #[command(subcommand)]
    Task(commands::task::TaskCommand),
    Top(Box<commands::top::TopArgs>),
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("PUNCTUAL_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Colours are for terminals: in a file they are noise.
    let log = if std::io::stderr().is_terminal() { log } else { log.with_ansi(false) };
    log.init();
    let outcome = match Cli::parse().command {
        Command::Serve(args) => commands::serve::run(&args),
        Command::Bench(command) => commands::bench::run(&command),
        Command::Owd(args) => commands::owd::run(&args),
        Command::Sim(args) => commands::sim::run(&args),
        Command::Study(command) => commands::study::run(&command),
        Command::Report(args) => commands::report::run(&args),
        Command::Env(args) => commands::env::run(&args),
        Command::Journal(command) => commands::journal::run(&command),
        Command::Task(command) => commands::task::run(&command),
        Command::Top(args) => commands::top::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        let code = commands::exit_code(&error);
        eprintln_line(&format!("error: {error:#}"));
        ExitCode::from(code)
    })
}

/// Writes a line for people to standard error. One that nobody reads is no failure.
pub(crate) fn eprintln_line(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
