//! `punctual task worker`.

use super::bridge::{RedisArgs, queue_of, work_limits};
use super::conf::ConfWatch;
use super::connect::ServerArgs;
use super::rows::grouped;
use super::signals;
use super::work::{Limits, WorkArgs, hostname, offer};
use crate::commands::UsageError;
use crate::eprintln_line;
use clap::Args;
use punctual_process::Capacity;
use punctual_redis::RedisBridge;
use punctual_runtime::config::parse_duration;
use punctual_runtime::tasks::{QueueAddress, TaskWorkerHost, WorkerView};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Where the directories of tasks are if nobody says otherwise.
const WORK_DIR: &str = ".punctual/work";
/// How often a worker that is at work is looked at: an idle one should cost nothing.
const LOOK: Duration = Duration::from_secs(1);
/// How often one that is about to be linked, or to end.
const CLOSE_LOOK: Duration = Duration::from_millis(50);

/// Run the tasks of a task server, until Ctrl-C or SIGTERM
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual task worker
  punctual task worker --server node0 --token-file token --slots 8
  punctual task worker --accept-free 4GiB --return-free 2GiB
  punctual task worker --shell /bin/bash --no-task-dirs
  punctual task worker --broker redis://:PASSWORD@node0:6400/0 --conf conf.json

The first interruption drains it: what runs is finished, what waits is given back. The second ends
what runs and gives that back as well (exit code 130). A worker that is killed takes its tasks with
it, and they run elsewhere. Tasks find their number, their attempt and what they asked for in the
variables PUNCTUAL_TASK_ID, PUNCTUAL_TASK_ATTEMPT and so on. At redis://[:PASSWORD@]HOST[:PORT][/DB]
it works beside workers of DistComp on their Redis.")]
pub(crate) struct WorkerArgs {
    /// Its name; if another worker has it, a number is added (default: the first part of the name
    /// of the machine)
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Read the --conf file again this often; slots and thresholds may change
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = parse_duration)]
    conf_interval: Duration,

    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    work: WorkArgs,

    #[command(flatten)]
    redis: RedisArgs,
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
    let conf = args.work.conf()?;
    let config = args.work.worker(&name, conf.as_ref())?;
    let interrupted = signals::install()?;
    let (address, server, bridge) = match args.server.redis()? {
        None => {
            let (endpoint, token) = (args.server.endpoint()?, args.server.token()?.into());
            let server = endpoint.to_string();
            (QueueAddress::Remote { endpoint, token }, server, None)
        }
        Some(address) => {
            let (server, limits) = (address.to_string(), Limits::of(&config));
            let bridge = args.redis.start(address, &name, conf.as_ref(), limits)?;
            (queue_of(&bridge), server, Some(bridge))
        }
    };
    let runner = args.work.runner(&name, Some(Path::new(WORK_DIR)))?;
    eprintln_line(&format!("worker {name}: {}", offer(&config)));
    let host = TaskWorkerHost::start(config, address, runner)?;
    let path_and_conf = args.work.conf.clone().zip(conf);
    let conf = path_and_conf.map(|(path, conf)| ConfWatch::new(path, args.conf_interval, conf));
    let shown = WorkerView::default();
    Work { args: &args.work, host, bridge, conf, server, shown, interruptions: 0 }
        .finish(&interrupted)
}

/// A worker under way.
struct Work<'a> {
    args: &'a WorkArgs,
    host: TaskWorkerHost,
    /// What is between it and a Redis, if its tasks are there.
    bridge: Option<RedisBridge>,
    conf: Option<ConfWatch>,
    /// Where its tasks are, for people.
    server: String,
    /// What was said last.
    shown: WorkerView,
    interruptions: u32,
}

impl Work<'_> {
    /// Waits for its end, and says what it did.
    fn finish(mut self, interrupted: &flume::Receiver<()>) -> anyhow::Result<ExitCode> {
        let outcome = self.go_on(interrupted);
        let stats = self.host.view().stats;
        // After the worker: it takes what that has to report.
        let is_ordered =
            self.bridge.as_ref().is_some_and(|bridge| bridge.view().is_ordered_to_stop);
        let told = self.bridge.take().map_or(Ok(()), RedisBridge::stop);
        eprintln_line(&format!(
            "stopped; {} tasks done, {} failed, {} given back",
            grouped(stats.succeeded),
            grouped(stats.failed),
            grouped(stats.returned)
        ));
        if is_ordered {
            eprintln_line(
                "there is an order to stop in the queue, which is for workers that come later as \
                 well; punctual task manager --task allowWorker takes it back",
            );
        }
        outcome?;
        told?;
        let was_forced = self.interruptions > 1;
        Ok(if was_forced { ExitCode::from(signals::INTERRUPTED) } else { ExitCode::SUCCESS })
    }

    /// Waits for its end, passes interruptions on, and says when the link comes and goes.
    fn go_on(&mut self, interrupted: &flume::Receiver<()>) -> anyhow::Result<()> {
        loop {
            let is_settled = self.shown.is_linked && self.interruptions == 0;
            let pause = if is_settled { LOOK } else { CLOSE_LOOK };
            match interrupted.recv_timeout(pause) {
                Ok(()) => self.interrupt(),
                Err(flume::RecvTimeoutError::Timeout) => {}
                Err(flume::RecvTimeoutError::Disconnected) => {
                    anyhow::bail!("the signal handler is gone")
                }
            }
            if let Some(outcome) = self.host.wait_timeout(Duration::ZERO) {
                return Ok(outcome?);
            }
            self.say();
            self.reread();
            if self.bridge.as_ref().is_some_and(|bridge| !bridge.is_alive()) {
                // It says why when it is stopped.
                self.host.abandon();
            }
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

    /// Looks whether the configuration has changed.
    fn reread(&mut self) {
        let Self { args, host, bridge, conf, .. } = self;
        let Some(conf) = conf.as_mut().and_then(|conf| conf.look(Instant::now())) else { return };
        let (limits, warnings) = match args.limits(Some(conf), Capacity::detect()) {
            Ok(found) => found,
            Err(error) => {
                eprintln_line(&format!("warning: {error}; the settings stay as they were"));
                return;
            }
        };
        for warning in warnings {
            eprintln_line(&format!("warning: {warning}"));
        }
        let Limits { slots, accept_free, return_free } = limits;
        host.reconfigure(slots, accept_free, return_free);
        if let Some(bridge) = bridge {
            bridge.set_limits(work_limits(Some(conf), limits));
        }
        eprintln_line(&format!("the configuration has changed: {limits}"));
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
