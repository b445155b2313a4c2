//! `punctual task cancel`, `retry`, `requeue`, `remove` and `stop-worker`.

use super::connect::ClientArgs;
use super::rows::grouped;
use super::select::SelectArgs;
use crate::commands::UsageError;
use crate::commands::output::print;
use clap::Args;
use punctual_runtime::tasks::Verb;
use std::process::ExitCode;

/// Cancel tasks: those that wait never run, those that run are stopped
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual task cancel 17 18
  punctual task cancel --job sweep --state todo      let what runs go on
  punctual task cancel --job sweep --include lru
  punctual task cancel --all

Tasks that come after a cancelled one are cancelled as well. Retrying them undoes that.")]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    control: ControlArgs,
}

/// Give failed and cancelled tasks all their tries anew
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual task retry 17
  punctual task retry --job sweep                    all that failed or was cancelled there
  punctual task retry --job sweep --state failed --include lru")]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    control: ControlArgs,
}

/// Put tasks back to the beginning, whatever became of them: running ones are stopped
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual task requeue 17
  punctual task requeue --worker node7 --state running
  punctual task requeue --job sweep --state done     run all of that again")]
pub(crate) struct RequeueArgs {
    #[command(flatten)]
    control: ControlArgs,
}

/// Forget tasks that are done, failed or cancelled
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual task remove --job sweep --state done
  punctual task remove --all

What was removed can be submitted again and runs again. Tasks that are not finished stay.")]
pub(crate) struct RemoveArgs {
    #[command(flatten)]
    control: ControlArgs,
}

/// What the verbs have in common.
#[derive(Debug, Args)]
struct ControlArgs {
    #[command(flatten)]
    select: SelectArgs,

    #[command(flatten)]
    server: ClientArgs,
}

/// Ask workers to finish what they run, and to end
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual task stop-worker node7
  punctual task stop-worker --all")]
pub(crate) struct StopWorkerArgs {
    /// Names of workers
    #[arg(value_name = "NAME", required_unless_present = "all")]
    names: Vec<String>,

    /// All workers that are there now
    #[arg(long, conflicts_with = "names")]
    all: bool,

    #[command(flatten)]
    server: ClientArgs,
}

/// Runs `cancel`.
pub(super) fn cancel(args: &CancelArgs) -> anyhow::Result<ExitCode> {
    control(&args.control, Verb::Cancel, "cancelled")
}

/// Runs `retry`.
pub(super) fn retry(args: &RetryArgs) -> anyhow::Result<ExitCode> {
    control(&args.control, Verb::Retry, "tried again")
}

/// Runs `requeue`.
pub(super) fn requeue(args: &RequeueArgs) -> anyhow::Result<ExitCode> {
    control(&args.control, Verb::Requeue, "put back")
}

/// Runs `remove`.
pub(super) fn remove(args: &RemoveArgs) -> anyhow::Result<ExitCode> {
    control(&args.control, Verb::Remove, "removed")
}

fn control(args: &ControlArgs, verb: Verb, done: &str) -> anyhow::Result<ExitCode> {
    let mut client = args.server.connect()?;
    let mut changed = 0;
    for selection in args.select.selections(&mut client)? {
        changed += client.control(verb, &selection)?;
    }
    print(&format!("{} {done}\n", tasks(changed)))?;
    Ok(ExitCode::SUCCESS)
}

/// So many tasks, in words.
pub(super) fn tasks(count: u64) -> String {
    format!("{} {}", grouped(count), if count == 1 { "task" } else { "tasks" })
}

/// Runs `stop-worker`.
pub(super) fn stop_worker(args: &StopWorkerArgs) -> anyhow::Result<ExitCode> {
    if args.names.iter().any(String::is_empty) {
        return Err(UsageError("a worker's name is never empty; all of them: --all".into()).into());
    }
    let mut client = args.server.connect()?;
    let mut stopped = 0;
    if args.all {
        stopped = client.stop_worker("")?;
    }
    for name in &args.names {
        stopped += client.stop_worker(name)?;
    }
    let workers = if stopped == 1 { "worker" } else { "workers" };
    print(&format!("{stopped} {workers} asked to stop\n"))?;
    Ok(ExitCode::SUCCESS)
}
