//! `punctual task status` and `punctual task jobs`.

use super::connect::ClientArgs;
use super::lines::Lines;
use super::rows::{self, TaskLine, counts_text, grouped};
use super::select::{FilterArgs, find_job};
use super::text::{last_line, shown, span, table};
use crate::commands::output::print;
use clap::Args;
use punctual_dashboard::documents::{CountsDocument, reason};
use punctual_runtime::tasks::{JobId, StateCounts, TaskRow, TaskState};
use punctual_runtime::tasks::{OwnedJob, TaskClient};
use serde::Serialize;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

/// Tasks that people are shown unless they say how many.
const LIMIT: u64 = 20;
/// Tasks that are asked for at a time.
pub(super) const PAGE: u32 = 512;
/// Characters of a line of output below a task.
const OUTPUT_CHARS: usize = 200;

/// Show how many tasks are in each state, and the tasks themselves
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual task status
  punctual task status sweep --state failed --output
  punctual task status sweep --state running --worker node7
  punctual task status --include lru --exclude 0.01 --limit 100
  punctual task status --json                        a line of JSON for each")]
pub(crate) struct StatusArgs {
    /// The job; without it all of them
    #[arg(value_name = "JOB")]
    job: Option<String>,

    #[command(flatten)]
    filter: FilterArgs,

    /// Also show the end of what each task wrote
    #[arg(long)]
    output: bool,

    /// Show so many tasks at most (default: 20 for people, all with --json)
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// Print JSON lines: the counts, then a line for each task
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    server: ClientArgs,
}

/// List the jobs
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual task jobs
  punctual task jobs --json")]
pub(crate) struct JobsArgs {
    /// Print a line of JSON for each
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    server: ClientArgs,
}

/// The line of counts, for programs.
#[derive(Debug, Serialize)]
struct CountsLine<'a> {
    kind: &'static str,
    /// `null`: all of them.
    job: Option<&'a str>,
    tasks: u64,
    counts: CountsDocument,
}

/// A job, for programs.
#[derive(Debug, Serialize)]
struct JobLine {
    kind: &'static str,
    job: String,
    opened_ns: i64,
    tasks: u64,
    counts: CountsDocument,
}

/// The names of jobs.
#[derive(Debug, Default)]
pub(super) struct JobNames(HashMap<JobId, String>);

impl JobNames {
    /// Asks for them.
    pub(super) fn of(client: &mut TaskClient) -> anyhow::Result<Self> {
        Ok(Self(client.jobs()?.iter().map(|job| (job.job, name_of(job))).collect()))
    }

    /// The name of a job; one that was opened since is nameless.
    pub(super) fn get(&self, job: JobId) -> &str {
        self.0.get(&job).map_or("", String::as_str)
    }
}

/// The name of a job, as text.
pub(super) fn name_of(job: &OwnedJob) -> String {
    String::from_utf8_lossy(&job.name).into_owned()
}

/// How many tasks a job has in each state, or all jobs together.
pub(super) fn counts(client: &mut TaskClient, job: Option<JobId>) -> anyhow::Result<StateCounts> {
    let mut sum = StateCounts::default();
    for each in client.jobs()?.iter().filter(|each| job.is_none_or(|job| each.job == job)) {
        for (total, count) in sum.0.iter_mut().zip(each.counts.0) {
            *total += count;
        }
    }
    Ok(sum)
}

/// Runs `status`.
pub(super) fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let mut client = args.server.connect()?;
    let job = args.job.as_deref().map(|name| find_job(&mut client, name)).transpose()?;
    let counts = counts(&mut client, job)?;
    let outcome = if args.json {
        json(args, &mut client, job, &counts)
    } else {
        print(&format!("{}\n", counts_text(&counts)))?;
        people(args, &mut client, job)
    };
    outcome.map(|()| ExitCode::SUCCESS)
}

fn people(args: &StatusArgs, client: &mut TaskClient, job: Option<JobId>) -> anyhow::Result<()> {
    let limit = args.limit.unwrap_or(LIMIT);
    let selection = args.filter.selection(job);
    let mut shown_rows = vec![rows::HEAD.map(str::to_owned)];
    let mut below: Vec<Vec<String>> = vec![Vec::new()];
    let mut has_more = false;
    // One more than is shown, to know whether there are more.
    let page = u32::try_from(limit.saturating_add(1)).unwrap_or(PAGE).min(PAGE);
    client.rows(&selection, page, true, |row| {
        if shown_rows.len() as u64 > limit {
            has_more = true;
            return ControlFlow::Break(());
        }
        shown_rows.push(rows::cells(row));
        below.push(remarks(row, args.output));
        ControlFlow::Continue(())
    })?;
    if shown_rows.len() == 1 {
        return Ok(());
    }
    let mut text = String::from("\n");
    for (line, remarks) in table(&shown_rows).iter().zip(&below) {
        text += &format!("{line}\n");
        for remark in remarks {
            text += &format!("      {remark}\n");
        }
    }
    if has_more {
        text += &format!("... and more; --limit shows more than {limit}\n");
    }
    print(&text)
}

/// What is to be known of a task beyond its row.
fn remarks(row: &TaskRow<'_>, with_output: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let Some(end) = &row.end else { return lines };
    let is_good = row.state == TaskState::Done;
    if !is_good {
        let stderr = last_line(end.stderr.tail).map(|line| shown(line, OUTPUT_CHARS));
        let why = reason(end);
        lines.push(stderr.map_or_else(|| why.clone(), |stderr| format!("{why}: {stderr}")));
    }
    if with_output {
        for (name, captured) in [("stdout", end.stdout), ("stderr", end.stderr)] {
            if captured.bytes > 0 {
                lines.push(format!("{name}, {} bytes:", grouped(captured.bytes)));
                let text = captured.tail.split(|byte| *byte == b'\n');
                lines.extend(text.map(|line| format!("  {}", shown(line, OUTPUT_CHARS))));
            }
        }
    }
    lines
}

fn json(
    args: &StatusArgs,
    client: &mut TaskClient,
    job: Option<JobId>,
    counts: &StateCounts,
) -> anyhow::Result<()> {
    let names = JobNames::of(client)?;
    let mut out = Lines::to_stdout();
    out.write(&CountsLine {
        kind: "counts",
        job: args.job.as_deref(),
        tasks: counts.total(),
        counts: counts.into(),
    })?;
    let limit = args.limit.unwrap_or(u64::MAX);
    let selection = args.filter.selection(job);
    let (mut written, mut failed) = (0, None);
    let page = u32::try_from(limit).unwrap_or(PAGE).min(PAGE);
    if limit > 0 {
        client.rows(&selection, page, args.output, |row| {
            let line = TaskLine::new(row, names.get(row.job), args.output);
            failed = out.write(&line).err();
            written += 1;
            if failed.is_some() || out.is_closed() || written >= limit {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
    }
    failed.map_or(Ok(()), Err)?;
    out.finish()
}

/// Runs `jobs`.
pub(super) fn jobs(args: &JobsArgs) -> anyhow::Result<ExitCode> {
    let jobs = args.server.connect()?.jobs()?;
    if args.json {
        let mut out = Lines::to_stdout();
        for job in &jobs {
            let counts = &job.counts;
            out.write(&JobLine {
                kind: "job",
                job: name_of(job),
                opened_ns: job.opened,
                tasks: counts.total(),
                counts: counts.into(),
            })?;
        }
        out.finish()?;
    } else {
        print(&jobs_text(&jobs))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A line for each job.
pub(super) fn jobs_text(jobs: &[OwnedJob]) -> String {
    let head = ["job", "opened", "tasks"].map(str::to_owned);
    let row = |job: &OwnedJob| {
        let age = format!("{} ago", span(since(job.opened)));
        [shown(&job.name, 40), age, counts_text(&job.counts)]
    };
    let rows: Vec<[String; 3]> = std::iter::once(head).chain(jobs.iter().map(row)).collect();
    table(&rows).join("\n") + "\n"
}

/// How long ago a moment was, given in ns since 1970, by the clock here.
pub(super) fn since(moment_ns: i64) -> Duration {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let moment = Duration::from_nanos(u64::try_from(moment_ns).unwrap_or(0));
    // Clocks differ: what is said to come from the future has just been.
    now.unwrap_or_default().saturating_sub(moment)
}
