//! `punctual task serve`.

use super::connect::{DEFAULT, TokenArgs, parse};
use super::rows::grouped;
use super::work::hostname;
use crate::commands::http::HttpArgs;
use crate::commands::{UsageError, journal};
use crate::{eprintln_line, interrupt};
use anyhow::bail;
use clap::{Args, ValueEnum};
use flume::RecvTimeoutError;
use punctual_dashboard::Source;
use punctual_runtime::config::{Address, JournalBackend, parse_bytes, parse_duration};
use punctual_runtime::tasks::{TaskClient, TaskDurability, TaskServer, TaskServerConfig};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Where the journal is if nobody says otherwise.
const JOURNAL_DIR: &str = ".punctual/tasks";
/// How often a server looks whether its threads are alive.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Keep a task queue, or several, for clients and workers, until Ctrl-C or SIGTERM
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual task serve
  punctual task serve --listen 0.0.0.0:7470 --token-file token
  punctual task serve --durability memory            nothing outlives the server
  punctual task serve --http 7471                    with a page to watch
  punctual task serve --queues 4 --cores 0,1,2,3     for very many very short tasks

Whatever a client or worker was told is in the journal, and the server goes on from there at the
next start. Workers go on with what they run while it is away. Whoever can reach the server can run
commands on its workers: at an address that others can reach it needs a token.

One queue is enough for tasks that are processes. Several look like one to clients and workers,
which need not be told. Each has a thread and a journal of its own; tasks are spread over them by
their text, and those of a job that have an id, or come after others, stay together in one. A server
that goes on from its journal must have as many queues as at its first start.")]
pub(crate) struct ServeArgs {
    /// Where to listen: HOST:PORT or unix:PATH
    #[arg(long, value_name = "ADDR", default_value = DEFAULT, value_parser = parse)]
    listen: Address,

    #[command(flatten)]
    token: TokenArgs,

    /// Queues that share the tasks, each on a thread of its own, 64 at most; with a journal always
    /// as many as at the first start
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    queues: u16,

    /// Keep the threads of the queues to these cores, one each, such as 0,1 (default: any)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cores: Vec<usize>,

    /// What of the tasks outlives the server
    #[arg(long, value_enum, value_name = "MODE", default_value = "journal")]
    durability: Durability,

    /// Give the tasks of a worker to others when nothing was heard of it for so long
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    lease_timeout: Duration,

    /// How often workers say that they are alive
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    heartbeat: Duration,

    /// Give the tasks of a worker to others when its link is down for so long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    reconnect_grace: Duration,

    /// Most memory for tasks and what they wrote; beyond that no more are taken in
    #[arg(long, value_name = "BYTES", default_value = "2GiB", value_parser = parse_bytes)]
    memory_max: u64,

    /// Pause before a failed task is tried again; it doubles with each failure, up to the second
    #[arg(long, value_name = "MIN..MAX", default_value = "1s..1m", value_parser = pauses)]
    retry_after: (Duration, Duration),

    /// How often a task may be lost with its worker before it counts as failed
    #[arg(long, value_name = "N", default_value_t = 5)]
    losses_max: u16,

    #[command(flatten)]
    journal: JournalArgs,

    #[command(flatten)]
    http: HttpArgs,
}

/// What of the tasks outlives their server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Durability {
    /// Nothing
    Memory,
    /// Whatever a client or worker was told
    Journal,
}

/// Options about the journal.
#[derive(Debug, Args)]
#[command(next_help_heading = "Journal")]
pub(super) struct JournalArgs {
    /// Directory of the journal
    #[arg(long, value_name = "DIR")]
    pub(super) journal_dir: Option<PathBuf>,

    /// Size of a file of the log, such as 64MiB
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    segment_bytes: Option<u64>,

    /// Make a snapshot whenever the log has grown by so much, such as 1GiB; 0: never
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    snapshot_after: Option<u64>,

    /// What writes the journal: auto, glommio, threads
    #[arg(long, value_name = "BACKEND")]
    journal_backend: Option<JournalBackend>,
}

impl JournalArgs {
    /// Whether any of them was given.
    pub(super) fn is_given(&self) -> bool {
        let Self { journal_dir, segment_bytes, snapshot_after, journal_backend } = self;
        let is_sized = segment_bytes.is_some() || snapshot_after.is_some();
        journal_dir.is_some() || is_sized || journal_backend.is_some()
    }

    /// A journal in the given directory, or in this one.
    pub(super) fn durability(&self, default_dir: &Path) -> TaskDurability {
        let dir = self.journal_dir.as_deref().unwrap_or(default_dir);
        match TaskDurability::journal(dir) {
            TaskDurability::Journal { dir, segment_bytes, snapshot_after, backend } => {
                TaskDurability::Journal {
                    dir,
                    segment_bytes: self.segment_bytes.unwrap_or(segment_bytes),
                    snapshot_after: self.snapshot_after.unwrap_or(snapshot_after),
                    backend: self.journal_backend.unwrap_or(backend),
                }
            }
            TaskDurability::Memory => TaskDurability::Memory,
        }
    }
}

/// Reads the pauses before tries.
fn pauses(text: &str) -> Result<(Duration, Duration), String> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let read = |text: &str| parse_duration(text).map_err(|error| error.to_string());
    let (least, most) = (read(least)?, read(most)?);
    if most < least {
        return Err("has a shorter time after the dots; write it as 1s..1m".to_owned());
    }
    Ok((least, most))
}

/// Runs the command.
pub(super) fn serve(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    args.http.check()?;
    let config = config(args)?;
    let is_durable = config.durability != TaskDurability::Memory;
    let interrupted = interrupt::install()?;
    punctual_process::raise_file_limit();
    let server = TaskServer::start(config)?;
    for warning in server.warnings() {
        eprintln_line(&format!("warning: {warning}"));
    }
    journal::show_recoveries(server.recovery());
    if let Some(endpoint) = server.endpoint() {
        eprintln_line(&format!("the task server listens at {endpoint}"));
    }
    if args.queues > 1 {
        eprintln_line(&format!("its {} queues share the tasks", args.queues));
    }
    if !is_durable {
        eprintln_line("its tasks are in memory alone, and gone when it ends");
    }
    let title = format!("tasks at {}", hostname());
    let dashboard = args.http.start(&title, &args.cores, Source::of(&server))?;
    eprintln_line("ready; Ctrl-C stops");
    wait(&interrupted, &server)?;
    if let Some(dashboard) = dashboard {
        dashboard.stop();
    }
    // Before it stops: nobody could ask it afterwards.
    let left = unfinished(&server);
    server.stop()?;
    let what = if is_durable { "kept in the journal" } else { "gone" };
    eprintln_line(&match left {
        Some(left) => format!("stopped; {} unfinished tasks, {what}", grouped(left)),
        None => "stopped".to_owned(),
    });
    Ok(ExitCode::SUCCESS)
}

fn config(args: &ServeArgs) -> anyhow::Result<TaskServerConfig> {
    let token = args.token.token()?;
    if token.is_empty() && !args.listen.is_local() {
        let text = format!(
            "--listen {} can be reached from other machines, and whoever reaches the server can \
             run commands on its workers; give it a token, as in --token-file FILE",
            args.listen
        );
        return Err(UsageError(text).into());
    }
    let durability = match args.durability {
        Durability::Memory if args.journal.is_given() => {
            let text = "--durability memory keeps no journal; leave the options about it away";
            return Err(UsageError(text.to_owned()).into());
        }
        Durability::Memory => TaskDurability::Memory,
        Durability::Journal => args.journal.durability(Path::new(JOURNAL_DIR)),
    };
    let (backoff_min, backoff_max) = args.retry_after;
    Ok(TaskServerConfig {
        queues: args.queues,
        cores: args.cores.clone(),
        durability,
        lease_timeout: args.lease_timeout,
        heartbeat: args.heartbeat,
        reconnect_grace: args.reconnect_grace,
        backoff_min,
        backoff_max,
        losses_max: args.losses_max,
        memory_max: args.memory_max,
        ..TaskServerConfig::listening(args.listen.clone(), token)
    })
}

/// Waits until the server is to stop, or a thread of it has died: stopping it says why.
fn wait(interrupted: &flume::Receiver<()>, server: &TaskServer) -> anyhow::Result<()> {
    loop {
        match interrupted.recv_timeout(LOOK_INTERVAL) {
            Ok(()) => return Ok(()),
            Err(RecvTimeoutError::Timeout) if server.is_alive() => {}
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => bail!("the signal handler is gone"),
        }
    }
}

/// How many tasks are not at an end, if the queues still say so.
fn unfinished(server: &TaskServer) -> Option<u64> {
    if !server.is_alive() {
        return None;
    }
    let jobs = TaskClient::local(&server.local()).ok()?.jobs().ok()?;
    Some(jobs.iter().map(|job| job.counts.unfinished()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Options {
        #[command(flatten)]
        serve: ServeArgs,
    }

    #[test]
    fn without_options_leases_end_as_the_library_has_it() {
        let options = Options::parse_from(["test", "--token", ""]);
        let found = config(&options.serve).expect("a configuration");
        let usual = TaskServerConfig::default();
        assert_eq!(found.lease_timeout, usual.lease_timeout);
        assert_eq!(found.reconnect_grace, usual.reconnect_grace);
        assert_eq!(found.losses_max, usual.losses_max);
    }

    #[test]
    fn there_is_one_queue_on_any_core_unless_something_else_is_asked_for() {
        let parse = |args: &[&str]| {
            let args = ["test", "--token", ""].iter().chain(args).copied();
            let found = config(&Options::parse_from(args).serve).expect("a configuration");
            (found.queues, found.cores)
        };
        assert_eq!(parse(&[]), (1, vec![]));
        assert_eq!(parse(&["--queues", "2", "--cores", "0,3"]), (2, vec![0, 3]));
        for wrong in ["0", "65"] {
            let refused = Options::try_parse_from(["test", "--queues", wrong]);
            let error = refused.expect_err("it must be refused").to_string();
            assert!(error.contains("--queues") && error.contains("1..=64"), "{error}");
        }
    }

    #[test]
    fn pauses_are_one_time_or_two() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(pauses("1s..1m"), Ok((second, minute)));
        assert_eq!(pauses("1s"), Ok((second, second)));
        assert!(pauses("1m..1s").is_err());
        assert!(pauses("..").unwrap_err().contains("duration"));
    }
}
