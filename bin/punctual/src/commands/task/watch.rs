//! `punctual task watch`.

use super::connect::ClientArgs;
use super::rows::{self, counts_text};
use super::select::find_job;
use super::status::{counts, jobs_text};
use super::text::table;
use super::workers::workers_text;
use crate::commands::output::print;
use crate::{eprintln_line, interrupt};
use clap::Args;
use flume::RecvTimeoutError;
use punctual_runtime::config::parse_duration;
use punctual_runtime::tasks::{JobId, StateSet, TaskState};
use punctual_runtime::tasks::{OwnedSelection, TaskClient};
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

/// Jobs and workers that are shown.
const LISTED_MAX: usize = 16;
/// Running tasks that are shown of a job.
const RUNNING_MAX: usize = 10;

/// Show jobs and workers again and again, until Ctrl-C or, with a job, until that is over
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual task watch
  punctual task watch sweep
  punctual task watch --interval 10s")]
pub(crate) struct WatchArgs {
    /// The job; without it all of them
    #[arg(value_name = "JOB")]
    job: Option<String>,

    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    interval: Duration,

    #[command(flatten)]
    server: ClientArgs,
}

/// Runs the command.
pub(super) fn watch(args: &WatchArgs) -> anyhow::Result<ExitCode> {
    let mut client = args.server.connect()?;
    let job = args.job.as_deref().map(|name| find_job(&mut client, name)).transpose()?;
    let interrupted = interrupt::install()?;
    let is_terminal = std::io::stdout().is_terminal();
    if is_terminal {
        print("\x1b[2J")?;
    } else {
        eprintln_line("Ctrl-C ends");
    }
    loop {
        let (text, is_over) = match job {
            Some(job) => job_text(&mut client, job)?,
            None => (all_text(&mut client)?, false),
        };
        print(&if is_terminal { over_screen(&text) } else { text + "\n" })?;
        if is_over {
            return Ok(ExitCode::SUCCESS);
        }
        match interrupted.recv_timeout(args.interval) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                eprintln_line("tasks go on without being watched");
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// The text that writes lines over a screen, without flicker and without wrapping.
fn over_screen(text: &str) -> String {
    let lines = text.replace('\n', "\x1b[K\n");
    format!("\x1b[H\x1b[?7l{lines}\x1b[J\x1b[?7h")
}

fn all_text(client: &mut TaskClient) -> anyhow::Result<String> {
    let mut jobs = client.jobs()?;
    let all = jobs.len();
    // The newest are those that matter.
    jobs.sort_by_key(|job| std::cmp::Reverse(job.opened));
    jobs.truncate(LISTED_MAX);
    let mut text = jobs_text(&jobs);
    if all > LISTED_MAX {
        text += &format!("... and {} more\n", all - LISTED_MAX);
    }
    Ok(text + "\n" + &crew_text(client)?)
}

fn crew_text(client: &mut TaskClient) -> anyhow::Result<String> {
    let workers = client.workers()?;
    let listed = &workers[..workers.len().min(LISTED_MAX)];
    let mut text = workers_text(listed);
    if workers.len() > LISTED_MAX {
        text += &format!("... and {} more\n", workers.len() - LISTED_MAX);
    }
    Ok(text)
}

/// What there is to see of a job, and whether all its tasks are at an end.
fn job_text(client: &mut TaskClient, job: JobId) -> anyhow::Result<(String, bool)> {
    let counts = counts(client, Some(job))?;
    let mut text = format!("{}\n\n{}", counts_text(&counts), crew_text(client)?);
    let states = StateSet::NONE.with(TaskState::Leased);
    let running = OwnedSelection { states, job: Some(job), ..OwnedSelection::default() };
    let mut cells = vec![rows::HEAD.map(str::to_owned)];
    client.rows(&running, RUNNING_MAX as u32, false, |row| {
        cells.push(rows::cells(row));
        if cells.len() > RUNNING_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if cells.len() > 1 {
        text += &format!("\n{}\n", table(&cells).join("\n"));
    }
    Ok((text, counts.unfinished() == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_on_the_screen_is_written_over() {
        assert_eq!(over_screen("a\nb\n"), "\x1b[H\x1b[?7la\x1b[K\nb\x1b[K\n\x1b[J\x1b[?7h");
    }
}
