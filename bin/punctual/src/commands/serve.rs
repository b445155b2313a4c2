//! `punctual serve`: shards for other processes.

use crate::commands::http::HttpArgs;
use crate::commands::{UsageError, journal};
use crate::{eprintln_line, interrupt};
use anyhow::bail;
use clap::Args;
use clap::builder::PossibleValuesParser;
use flume::RecvTimeoutError;
use punctual_dashboard::Source;
use punctual_load::workload;
use punctual_runtime::config::{Config, DurabilityMode, Modes, NetworkWait};
use punctual_runtime::{Counter, Engine, OwdWatch, ProbeRow, Procedures};
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
  punctual serve --config docs/examples/one-shard.toml --durability journal --journal-dir data
  punctual serve --config docs/examples/one-shard.toml --http 7472    with a page to watch
  punctual serve --config docs/examples/one-shard.toml --workload ycsb    for a bench of ycsb

What a shard holds is in memory and gone when the process ends, unless the shard has a journal as
well (--durability, or the section [durability] of the file). Then it goes on from that at the next
start. Exit code 1 means that a core died, such as one whose disk failed.")]
pub(crate) struct ServeArgs {
    /// Configuration of the cluster and of this process
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Shards to serve here, such as 0,2, instead of those the file names
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    shards: Option<Vec<u16>>,

    /// What outlives the process: memory (nothing), journal (what was answered), journal-async
    /// (the same a moment later); one for all shards or one for each, instead of what the file says
    #[arg(long, value_name = "MODE[,MODE...]")]
    durability: Option<Modes>,

    /// Where the journals are, instead of where the file says: each shard has a directory in DIR
    #[arg(long, value_name = "DIR")]
    journal_dir: Option<PathBuf>,

    /// Register the procedures of this workload, for a bench of it in another process
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(workload::names()))]
    workload: Option<String>,

    #[command(flatten)]
    http: HttpArgs,
}

/// Runs the command.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    args.http.check()?;
    let config = config(args)?;
    let interrupted = interrupt::install()?;
    let procedures = procedures(args);
    let engine = Engine::serve(config.clone()).procedures(procedures).start_shards()?;
    let info = engine.info();
    for warning in &info.warnings {
        eprintln_line(&format!("warning: {warning}"));
    }
    for ((shard, endpoint), core) in info.endpoints.iter().zip(&info.shard_cores) {
        eprintln_line(&format!("shard {shard} serves at {endpoint} on core {core}"));
    }
    journal::show_recoveries(&info.recoveries);
    let counters = engine.counters().clone();
    let source = Source::counters(&counters).with_owd(delays(config, args.workload.clone()));
    let dashboard = args.http.start("shards", &info.shard_cores, source)?;
    eprintln_line("ready; Ctrl-C stops");
    wait(&interrupted, &engine)?;
    if let Some(dashboard) = dashboard {
        dashboard.stop();
    }
    engine.stop()?;
    let sum = |counter| counters.sum("shard", counter);
    eprintln_line(&format!(
        "stopped; {} transactions committed, {} keys",
        sum(Counter::Committed),
        sum(Counter::Keys)
    ));
    Ok(ExitCode::SUCCESS)
}

/// The procedures of a workload, if there is one.
fn procedures_of(workload: Option<&str>) -> Procedures {
    workload.and_then(workload::procedures_of).unwrap_or_default()
}

/// The procedures of the workload that was asked for; says which.
fn procedures(args: &ServeArgs) -> Procedures {
    let procedures = procedures_of(args.workload.as_deref());
    let names: Vec<&str> = procedures.names().map(|(_, name)| name).collect();
    if !names.is_empty() {
        eprintln_line(&format!("procedures: {}", names.join(", ")));
    }
    procedures
}

/// Measures the ways to all shards of the cluster from the first time on that somebody looks.
fn delays(
    mut config: Config,
    workload: Option<String>,
) -> impl FnMut() -> Vec<ProbeRow> + Send + 'static {
    if let Some(network) = &mut config.process.network {
        // The shards' emulator has the core to itself: this one is for a few probes.
        (network.core, network.wait) = (None, NetworkWait::Hybrid);
    }
    let mut watch = None;
    move || {
        let watch = watch.get_or_insert_with(|| {
            let started = OwdWatch::connect(&config, &procedures_of(workload.as_deref()));
            if let Err(error) = &started {
                eprintln_line(&format!("warning: no delays to look at: {error}"));
            }
            started.ok()
        });
        watch.as_ref().map(OwdWatch::rows).unwrap_or_default()
    }
}

/// The configuration of the file, with the options on top.
fn config(args: &ServeArgs) -> anyhow::Result<Config> {
    let mut config = Config::load(&args.config)?;
    let process = &mut config.process;
    if let Some(shards) = &args.shards {
        process.serve = Some(shards.clone());
    }
    if let Some(modes) = &args.durability {
        process.durability.modes = modes.clone();
    }
    if let Some(dir) = &args.journal_dir {
        process.durability.dir = dir.clone();
    }
    config.validate()?;
    let process = &config.process;
    let served = process.serve.clone().unwrap_or_else(|| (0..config.cluster.shards).collect());
    if served.is_empty() {
        let text = "no shard is to be served here; give --shards, or set serve.shards";
        return Err(UsageError(text.to_owned()).into());
    }
    let mode_of = |shard: &u16| process.durability.modes.mode_of(*shard);
    let has_journal = served.iter().any(|shard| mode_of(shard) != DurabilityMode::Memory);
    if args.journal_dir.is_some() && !has_journal {
        let text = "--journal-dir is for shards with a journal, and there is none here; give \
                    --durability journal as well";
        return Err(UsageError(text.to_owned()).into());
    }
    Ok(config)
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
