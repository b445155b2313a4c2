//! `punctual task worker`.

use super::connect::ServerArgs;
use super::rows::grouped;
use super::signals;
use super::work::{WorkArgs, hostname, offer};
use crate::commands::UsageError;
use crate::eprintln_line;
use clap::Args;
use punctual_runtime::tasks::{QueueAddress, TaskWorkerHost, WorkerView};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Where the directories of tasks are if nobody says otherwise.
const WORK_DIR: &str = ".punctual/work";
/// How often a worker is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Run the tasks of a task server, until Ctrl-C or SIGTERM
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual task worker
  punctual task worker --server node0 --token-file token --slots 8
  punctual task worker --accept-free 4GiB --return-free 2GiB
  punctual task worker --shell /bin/bash --no-task-dirs

The first interruption drains it: what runs is finished, what waits is given back. The second ends
what runs and gives that back as well (exit code 130). A worker that is killed takes its tasks with
it, and they run elsewhere. Tasks find their number, their attempt and what they asked for in the
variables PUNCTUAL_TASK_ID, PUNCTUAL_TASK_ATTEMPT and so on.")]
pub(crate) struct WorkerArgs {
    /// Its name; if another worker has it, a number is added (default: the first part of the name
    /// of the machine)
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    work: WorkArgs,
}

/// Runs the command.
pub(super) fn worker(args: &WorkerArgs) -> anyhow::Result<ExitCode> {
    let name = match &args.name {
        Some(name) if name.is_empty() => {
            return Err(UsageError("--name is empty; give the worker a name".to_owned()).into());
        }
        Some(name) => name.clone(),
        None => hostname().split('.').next().unwrap_or_default().to_owned(),
    };
    let address =
        QueueAddress::Remote { endpoint: args.server.endpoint()?, token: args.server.token()? };
    let config = args.work.worker(&name)?;
    let interrupted = signals::install()?;
    let runner = args.work.runner(&name, Some(Path::new(WORK_DIR)))?;
    eprintln_line(&format!("worker {name}: {}", offer(&config)));
    let server = address.to_string();
    let host = TaskWorkerHost::start(config, address, runner)?;
    let mut work = Work { host, server, shown: WorkerView::default(), interruptions: 0 };
    let outcome = work.go_on(&interrupted);
    let stats = work.host.view().stats;
    eprintln_line(&format!(
        "stopped; {} tasks done, {} failed, {} given back",
        grouped(stats.succeeded),
        grouped(stats.failed),
        grouped(stats.returned)
    ));
    outcome?;
    let was_forced = work.interruptions > 1;
    Ok(if was_forced { ExitCode::from(signals::INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// A worker under way.
struct Work {
    host: TaskWorkerHost,
    /// Where its server is, for people.
    server: String,
    /// What was said last.
    shown: WorkerView,
    interruptions: u32,
}

impl Work {
    /// Waits for its end, passes interruptions on, and says when the link comes and goes.
    fn go_on(&mut self, interrupted: &flume::Receiver<()>) -> anyhow::Result<()> {
        loop {
            while interrupted.try_recv().is_ok() {
                self.interrupt();
            }
            if let Some(outcome) = self.host.wait_timeout(LOOK) {
                return Ok(outcome?);
            }
            self.say();
        }
    }

    fn interrupt(&mut self) {
        self.interruptions += 1;
        let running = self.host.view().running;
        if self.interruptions == 1 {
            self.host.drain();
            eprintln_line(&format!(
                "draining: {running} tasks are finished first; another Ctrl-C gives them back"
            ));
        } else {
            self.host.abandon();
            eprintln_line(&format!("giving {running} tasks back"));
        }
    }

    fn say(&mut self) {
        let view = self.host.view();
        let Self { shown, server, .. } = self;
        match (shown.is_linked, view.is_linked) {
            (false, true) => {
                eprintln_line(&format!("ready as {} at {server}; Ctrl-C drains", view.name));
            }
            (true, false) => {
                eprintln_line(&format!("the link to {server} is lost; it is tried again"));
            }
            (true, true) if shown.name != view.name => {
                eprintln_line(&format!("its name is taken, so here it is {}", view.name));
            }
            (false, false) if shown.why_down.is_none() => {
                if let Some(why) = &view.why_down {
                    eprintln_line(&format!("no link to {server} yet: {why}; it is tried again"));
                }
            }
            _ => {}
        }
        self.shown = view;
    }
}
