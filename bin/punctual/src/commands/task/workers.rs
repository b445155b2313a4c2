//! `punctual task workers`.

use super::connect::ClientArgs;
use super::lines::Lines;
use super::status::since;
use super::text::{shown, size, span, table};
use crate::commands::output::print;
use clap::Args;
use punctual_dashboard::documents::{WorkerDocument, worker_state};
use punctual_load::summary::fmt_ns;
use punctual_runtime::tasks::OwnedWorker;
use serde::Serialize;
use std::process::ExitCode;

/// The names of the columns.
const HEAD: [&str; 10] = [
    "worker",
    "state",
    "tasks",
    "ahead",
    "cores",
    "memory free",
    "done",
    "failed",
    "mean",
    "heard",
];

/// List the workers, what they have and what they do
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual task workers
  punctual task workers --json")]
pub(crate) struct WorkersArgs {
    /// Print a line of JSON for each
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    server: ClientArgs,
}

/// A worker, as a line for programs.
#[derive(Debug, Serialize)]
struct WorkerLine {
    kind: &'static str,
    #[serde(flatten)]
    worker: WorkerDocument,
}

/// Runs the command.
pub(super) fn workers(args: &WorkersArgs) -> anyhow::Result<ExitCode> {
    let workers = args.server.connect()?.workers()?;
    if !args.json {
        print(&workers_text(&workers))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = Lines::to_stdout();
    for worker in &workers {
        out.write(&WorkerLine { kind: "worker", worker: worker.into() })?;
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// Free memory. A machine that has none runs nothing: a worker with none has not measured it.
fn free(bytes: u64) -> String {
    if bytes == 0 { "-".to_owned() } else { size(bytes) }
}

/// A line for each worker below the names of the columns.
pub(super) fn workers_text(workers: &[OwnedWorker]) -> String {
    let row = |worker: &OwnedWorker| {
        let mean = if worker.mean_ns == 0 { "-".to_owned() } else { fmt_ns(worker.mean_ns) };
        let cores = |milli: u32| f64::from(milli) / 1e3;
        [
            shown(&worker.name, 40),
            worker_state(worker).to_owned(),
            format!("{}/{}", worker.running, worker.capacity.slots),
            worker.ahead.to_string(),
            format!(
                "{:.1}/{:.1}",
                cores(worker.cores_used_milli),
                cores(worker.capacity.cores_milli)
            ),
            format!("{} of {}", free(worker.memory_free), size(worker.capacity.memory)),
            worker.done.to_string(),
            worker.failed.to_string(),
            mean,
            format!("{} ago", span(since(worker.heard))),
        ]
    };
    let rows: Vec<[String; 10]> =
        std::iter::once(HEAD.map(str::to_owned)).chain(workers.iter().map(row)).collect();
    table(&rows).join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::free;

    #[test]
    fn what_was_not_measured_is_not_shown_as_nothing() {
        assert_eq!(free(0), "-");
        assert_eq!(free(3 << 29), "1.5 GiB");
    }
}
