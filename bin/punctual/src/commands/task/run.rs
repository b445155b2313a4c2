//! `punctual task run`: server, worker and client in one process.

use super::bar::Bar;
use super::load::{FileArg, LoadArgs, Source, estimate, job_name};
use super::outcome::{Outcome, Waited};
use super::serve::{Durability, JournalArgs};
use super::submit::Job;
use super::work::{WorkArgs, ceiling, offer};
use super::{rows, signals};
use crate::commands::UsageError;
use crate::commands::http::HttpArgs;
use crate::commands::output::Output;
use crate::eprintln_line;
use anyhow::bail;
use clap::Args;
use punctual_dashboard::Source as DashboardSource;
use punctual_runtime::tasks::{
    QueueAddress, TaskClient, TaskDurability, TaskServer, TaskServerConfig, TaskServerError,
    TaskWorkerHost,
};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Where the journal is if there is one and nobody says otherwise.
const JOURNAL_DIR: &str = ".punctual/run";
/// Name of the worker, as its tasks see it.
const WORKER: &str = "run";

/// Run the tasks of a file on this machine, with nothing else to start
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual task run sweep.task
  punctual task run sweep.task --slots 2 --retries 3 --json result.json
  punctual task run sweep.task --journal-dir .punctual/sweep     go on after a crash
  punctual task run tasks.jsonl --fail-fast --work-dir out
  punctual task run sweep.task --http 7471                       with a page to watch

Tasks are in memory alone unless there is a journal (--journal-dir): then the same command goes on
where an earlier one ended, and runs what is done not again. The first Ctrl-C lets what runs finish,
the second ends it. Exit code 0 means that all tasks are done, 1 that some are not or that the file
has lines that are no tasks, 130 an interruption.")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    file: FileArg,

    /// Name of the job (default: that of the file, without its ending)
    #[arg(long, value_name = "NAME")]
    job: Option<String>,

    /// How often a failed task is tried again if it does not say
    #[arg(long, value_name = "N", default_value_t = 0)]
    retries: u16,

    /// First put failed and cancelled tasks of an earlier run back
    #[arg(long)]
    retry_failed: bool,

    /// Cancel the rest when a task fails for good
    #[arg(long)]
    fail_fast: bool,

    /// Run all tasks, whatever fails; this is the default
    #[arg(long, conflicts_with = "fail_fast")]
    keep_going: bool,

    /// No progress bar, and no failures as they happen
    #[arg(long, short)]
    quiet: bool,

    /// Also write the result as JSON to FILE; with -, print JSON, and the summary to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// What of the tasks outlives the run (default: nothing, unless there is a --journal-dir)
    #[arg(long, value_enum, value_name = "MODE")]
    durability: Option<Durability>,

    #[command(flatten)]
    journal: JournalArgs,

    #[command(flatten)]
    load: LoadArgs,

    #[command(flatten)]
    work: WorkArgs,

    #[command(flatten)]
    http: HttpArgs,
}

/// Runs the command.
pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    args.http.check()?;
    let output = Output::open(args.json.as_deref())?;
    let path = &args.file.file;
    let name = job_name(args.job.as_deref(), path)?;
    let durability = durability(args)?;
    let is_durable = durability != TaskDurability::Memory;
    let worker = args.work.worker(WORKER, args.work.conf()?.as_ref())?;
    let mut source = Source::open(path, &args.load, args.retries)?;
    source.limit(ceiling(&worker));
    let interrupted = signals::install()?;
    let runner = args.work.runner(WORKER, None)?;
    if !args.quiet {
        let kept = if is_durable { "kept in a journal" } else { "in memory alone" };
        eprintln_line(&format!("running {name}: {}; tasks are {kept}", offer(&worker)));
    }
    let server = start_server(durability)?;
    let dashboard = args.http.start(&name, &[], DashboardSource::of(&server))?;
    let mut client = TaskClient::local(&server.local())?;
    let mut job = Job::open(&mut client, &name, args.retry_failed)?;
    let host = TaskWorkerHost::start(worker, QueueAddress::Local(server.local()), runner)?;
    let mut crew = Crew { host, interruptions: 0, has_ended: false };

    let bar = Bar::new(0, !args.quiet);
    if !bar.is_hidden() {
        bar.set_total(estimate(path));
    }
    let (submitted, loaded) = job.submit(source, &bar, || interrupted.is_empty())?;
    loaded.say_refused(&submitted.refused);
    let mut follow = job.follow(&bar, !args.quiet, args.fail_fast && !args.keep_going);
    let (counts, ending) = follow.wait(|| crew.look(&interrupted, &server, &bar))?;
    let (before, wall) = (follow.before, follow.began.elapsed());
    let waited = Waited { counts, ending, before, wall, failures: follow.failures };
    bar.finish();
    let outcome = Outcome {
        program: "task run",
        job: &name,
        submitted: &submitted,
        loaded: &loaded,
        waited: Some(&waited),
        allows_bad_lines: args.load.allow_bad_lines,
    };
    crew.end()?;
    if let Some(dashboard) = dashboard {
        dashboard.stop();
    }
    server.stop()?;
    output.write(&outcome.summary(), &outcome.document())?;
    if waited.counts.unfinished() > 0 && is_durable {
        eprintln_line("the same command goes on from here");
    }
    Ok(outcome.exit_code())
}

/// What outlives the run.
fn durability(args: &RunArgs) -> Result<TaskDurability, UsageError> {
    match args.durability {
        Some(Durability::Memory) if args.journal.is_given() => {
            let text = "--durability memory keeps no journal; leave the options about it away";
            Err(UsageError(text.to_owned()))
        }
        Some(Durability::Journal) => Ok(args.journal.durability(Path::new(JOURNAL_DIR))),
        None if args.journal.is_given() => Ok(args.journal.durability(Path::new(JOURNAL_DIR))),
        Some(Durability::Memory) | None => Ok(TaskDurability::Memory),
    }
}

/// Starts the queue. Who failed is tried again soon: there is nobody else whom it could wait for.
fn start_server(durability: TaskDurability) -> anyhow::Result<TaskServer> {
    let server = TaskServer::start(TaskServerConfig {
        durability,
        backoff_min: Duration::from_millis(100),
        backoff_max: Duration::from_secs(10),
        ..TaskServerConfig::default()
    })
    .map_err(refused)?;
    for warning in server.warnings() {
        eprintln_line(&format!("warning: {warning}"));
    }
    for recovery in server.recovery().iter().filter(|recovery| !recovery.is_new) {
        eprintln_line(&recovery.to_string());
    }
    Ok(server)
}

/// Why there is no queue. Unlike a server, a run cannot have several of them.
fn refused(error: TaskServerError) -> anyhow::Error {
    match error {
        TaskServerError::Queues { dir, there, .. } => {
            let dir = dir.display();
            let text = format!(
                "the journals in {dir} are those of a server with --queues {there}, and a run has \
                 one queue; give it another directory (--journal-dir), or submit the file to that \
                 server (punctual task serve --queues {there} --journal-dir {dir})"
            );
            UsageError(text).into()
        }
        error => error.into(),
    }
}

/// The one worker.
struct Crew {
    host: TaskWorkerHost,
    interruptions: u32,
    has_ended: bool,
}

impl Crew {
    /// Passes interruptions on. Nobody waits any more when it has ended.
    fn look(
        &mut self,
        interrupted: &flume::Receiver<()>,
        server: &TaskServer,
        bar: &Bar,
    ) -> anyhow::Result<ControlFlow<()>> {
        while interrupted.try_recv().is_ok() {
            self.interruptions += 1;
            let running = rows::grouped(self.host.view().running as u64);
            if self.interruptions == 1 {
                self.host.drain();
                bar.say(&format!("{running} tasks are finished first; another Ctrl-C ends them"));
            } else {
                self.host.abandon();
                bar.say(&format!("ending {running} tasks"));
            }
        }
        if let Some(outcome) = self.host.wait_timeout(Duration::ZERO) {
            self.has_ended = true;
            outcome?;
            if self.interruptions == 0 {
                bail!("the worker ended before its tasks did");
            }
            return Ok(ControlFlow::Break(()));
        }
        if !server.is_alive() {
            bail!("the task queue has died");
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Waits for its end, which is near: nothing runs.
    fn end(self) -> anyhow::Result<()> {
        if !self.has_ended {
            self.host.drain();
            self.host.wait()?;
        }
        Ok(())
    }
}
