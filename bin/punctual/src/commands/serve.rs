//! `punctual serve`: shards for other processes.

use crate::commands::UsageError;
use crate::{eprintln_line, interrupt};
use anyhow::bail;
use clap::Args;
use flume::RecvTimeoutError;
use punctual_runtime::config::Config;
use punctual_runtime::{Counter, Engine};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How often a server looks whether all its cores are alive.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Serve shards to coordinators in other processes, until Ctrl-C or SIGTERM
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual serve --config docs/examples/one-shard.toml
  punctual serve --config docs/examples/two-shards.toml --shards 0    first terminal
  punctual serve --config docs/examples/two-shards.toml --shards 1    second terminal

What the shards hold is in memory: it is gone when the process ends.")]
pub(crate) struct ServeArgs {
    /// Configuration of the cluster and of this process
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Shards to serve here, such as 0,2, instead of those the file names
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    shards: Option<Vec<u16>>,
}

/// Runs the command.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let mut config = Config::load(&args.config)?;
    if let Some(shards) = &args.shards {
        config.process.serve = Some(shards.clone());
    }
    config.validate()?;
    if config.process.serve.as_ref().is_some_and(Vec::is_empty) {
        let text = "no shard is to be served here; give --shards, or set serve.shards".to_owned();
        return Err(UsageError(text).into());
    }
    let interrupted = interrupt::install()?;
    let engine = Engine::serve(config).start_shards()?;
    let info = engine.info();
    for warning in &info.warnings {
        eprintln_line(&format!("warning: {warning}"));
    }
    for ((shard, endpoint), core) in info.endpoints.iter().zip(&info.shard_cores) {
        eprintln_line(&format!("shard {shard} serves at {endpoint} on core {core}"));
    }
    eprintln_line("ready; Ctrl-C stops");
    wait(&interrupted, &engine)?;
    let counters = engine.counters().clone();
    engine.stop()?;
    let sum = |counter| counters.sum("shard", counter);
    eprintln_line(&format!(
        "stopped; {} transactions committed, {} keys",
        sum(Counter::Committed),
        sum(Counter::Keys)
    ));
    Ok(ExitCode::SUCCESS)
}

/// Waits until the server is to stop, or one of its cores has died: stopping it says which and why.
fn wait(interrupted: &flume::Receiver<()>, engine: &Engine) -> anyhow::Result<()> {
    loop {
        match interrupted.recv_timeout(LOOK_INTERVAL) {
            Ok(()) => return Ok(()),
            Err(RecvTimeoutError::Timeout) if engine.is_alive() => {}
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => bail!("the signal handler is gone"),
        }
    }
}
