//! `punctual task submit`.

use super::bar::Bar;
use super::connect::ClientArgs;
use super::follow::{Ending, Failures, Follow};
use super::load::{FileArg, LoadArgs, Loaded, Source, estimate, job_name};
use super::outcome::{Outcome, Waited};
use super::rows::grouped;
use super::signals::INTERRUPTED;
use crate::commands::output::Output;
use crate::{eprintln_line, interrupt};
use clap::Args;
use punctual_runtime::tasks::{
    JobId, OwnedSelection, StateCounts, StateSet, SubmitReport, TaskClient, TaskState, Verb,
};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// How often a failed task is tried again, as the original does it.
pub(super) const RETRIES: u16 = 3;

/// Give the tasks of a file to a task server
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual task submit sweep.task
  punctual task submit sweep.task --job monday --wait
  punctual task submit tasks.jsonl --server node0 --retries 0
  punctual task submit - --job adhoc                 tasks from standard input

A line is `type:priority:memory in GB:cores:command`, as in `shell:4:2:1:./run --fast`, or an object
in JSON with at least a \"command\". A job takes a task once: submitting a file again adds what is
new. Lines that are no tasks are named by their number, and the others are submitted all the same.
Exit code 0 means that all went well, with --wait that all tasks of the job are done; 1 that not.")]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    file: FileArg,

    /// Name of the job (default: that of the file, without its ending)
    #[arg(long, value_name = "NAME")]
    job: Option<String>,

    /// Wait until all tasks of the job are at an end
    #[arg(long)]
    wait: bool,

    /// With --wait: cancel the rest of the job when a task fails for good
    #[arg(long, requires = "wait")]
    fail_fast: bool,

    /// How often a failed task is tried again if it does not say
    #[arg(long, value_name = "N", default_value_t = RETRIES)]
    retries: u16,

    /// First put failed and cancelled tasks of the job back
    #[arg(long)]
    retry_failed: bool,

    /// No progress bar, and no failures as they happen
    #[arg(long, short)]
    quiet: bool,

    /// Also write the result as JSON to FILE; with -, print JSON, and the summary to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    #[command(flatten)]
    load: LoadArgs,

    #[command(flatten)]
    server: ClientArgs,
}

/// Runs the command.
pub(super) fn submit(args: &SubmitArgs) -> anyhow::Result<ExitCode> {
    let output = Output::open(args.json.as_deref())?;
    let path = &args.file.file;
    let name = job_name(args.job.as_deref(), path)?;
    let source = Source::open(path, &args.load, args.retries)?;
    let interrupted = interrupt::install()?;
    let mut client = args.server.connect()?;
    let mut job = Job::open(&mut client, &name, args.retry_failed)?;
    let bar = Bar::new(0, !args.quiet);
    if !bar.is_hidden() {
        bar.set_total(estimate(path));
    }
    let (submitted, loaded) = job.submit(source, &bar, || interrupted.is_empty())?;
    loaded.say_refused(&submitted.refused);
    let waited = if args.wait {
        let tells = !args.quiet;
        let follow = job.follow(&bar, tells, args.fail_fast);
        Some(wait(follow, &interrupted)?)
    } else {
        None
    };
    bar.finish();
    let outcome = Outcome {
        program: "task submit",
        job: &name,
        submitted: &submitted,
        loaded: &loaded,
        waited: waited.as_ref(),
        allows_bad_lines: args.load.allow_bad_lines,
    };
    output.write(&outcome.summary(), &outcome.document())?;
    if waited.as_ref().is_some_and(|waited| waited.ending == Ending::Interrupted) {
        eprintln_line(&format!("the tasks go on; punctual task watch {name} shows them"));
    } else if waited.is_none() && !interrupted.is_empty() {
        eprintln_line("interrupted; the same command submits the rest");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(outcome.exit_code())
}

fn wait(mut follow: Follow<'_>, interrupted: &flume::Receiver<()>) -> anyhow::Result<Waited> {
    let (counts, ending) = follow.wait(|| {
        let goes_on = interrupted.is_empty();
        Ok(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(Waited {
        counts,
        ending,
        before: follow.before,
        wall: follow.began.elapsed(),
        failures: follow.failures,
    })
}

/// A job that tasks are submitted to.
pub(super) struct Job<'a> {
    client: &'a mut TaskClient,
    job: JobId,
    /// Tasks that were at an end before, and those that had failed.
    before: u64,
    failed_before: u64,
    began: Instant,
}

impl<'a> Job<'a> {
    /// Opens the job with a name. What failed there before is tried again if that is wanted.
    pub(super) fn open(
        client: &'a mut TaskClient,
        name: &str,
        retries_failed: bool,
    ) -> anyhow::Result<Self> {
        let began = Instant::now();
        let job = client.open_job(name)?;
        if retries_failed {
            let states =
                [TaskState::Failed, TaskState::Cancelled].into_iter().collect::<StateSet>();
            let selection = OwnedSelection { states, job: Some(job), ..OwnedSelection::default() };
            let retried = client.control(Verb::Retry, &selection)?;
            eprintln_line(&format!("{} tasks are tried again", grouped(retried)));
        }
        let counts = client.progress(Some(job), 0, client.patience())?;
        let counts = counts.map_or_else(StateCounts::default, |(_, counts)| counts);
        let before = counts.total() - counts.unfinished();
        let failed_before = counts[TaskState::Failed];
        Ok(Self { client, job, before, failed_before, began })
    }

    /// Submits what a file has, as long as `goes_on` says so.
    pub(super) fn submit(
        &mut self,
        mut source: Source,
        bar: &Bar,
        goes_on: impl Fn() -> bool,
    ) -> anyhow::Result<(SubmitReport, Loaded)> {
        let submitted = self.client.submit(self.job, source.by_ref(), |report| {
            bar.set(report.settled(), "  submitted".to_owned());
            if goes_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok((submitted, source.finish()?))
    }

    /// Waits for it from now on.
    pub(super) fn follow<'b>(
        &'b mut self,
        bar: &'b Bar,
        tells: bool,
        fails_fast: bool,
    ) -> Follow<'b> {
        Follow {
            client: self.client,
            job: self.job,
            bar,
            failures: Failures::default(),
            tells,
            fails_fast,
            before: self.before,
            failed_before: self.failed_before,
            began: self.began,
        }
    }
}
