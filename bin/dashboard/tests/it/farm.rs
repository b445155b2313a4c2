//! A task server with a worker and a dashboard. What becomes of a task is in its command.

use crate::http::{Listener, PATIENCE, get};
use punctual_dashboard::{Dashboard, DashboardConfig, Source};
use punctual_runtime::Nanos;
use punctual_runtime::tasks::{
    EndKind, Exit, JobId, Lease, OwnedSpec, PayloadKind, QueueAddress, RunId, TaskClient, TaskKey,
    TaskPayload, TaskRunner, TaskServer, TaskServerConfig, TaskWorkerConfig, TaskWorkerHost,
    Variables,
};
use serde_json::Value;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Instant;

/// Where dashboards of tests listen: the system chooses the port.
pub(crate) const ANY: &str = "127.0.0.1:0";
/// The name of the worker.
pub(crate) const WORKER: &str = "w 1/ä";

/// Runs tasks by their command: `ok` succeeds, `fail` fails, `flaky` fails the first time only, and
/// `hold` runs until it is stopped. What follows the word does not matter.
#[derive(Debug, Default)]
struct Actor {
    held: Vec<RunId>,
    ended: Vec<(RunId, Exit)>,
}

impl TaskRunner for Actor {
    fn launch(&mut self, _now: Nanos, lease: &Lease) -> Result<(), Exit> {
        let payload = TaskPayload::read(&lease.payload).expect("a payload");
        let command = String::from_utf8_lossy(payload.command);
        let exit = match command.split(' ').next() {
            Some("hold") => {
                self.held.push(lease.run);
                return Ok(());
            }
            Some("ok") => success(),
            Some("flaky") if lease.attempt.0 > 1 => success(),
            _ => failure(),
        };
        self.ended.push((lease.run, exit));
        Ok(())
    }

    fn stop(&mut self, run: RunId) {
        self.kill(run);
    }

    fn kill(&mut self, run: RunId) {
        if let Some(at) = self.held.iter().position(|held| *held == run) {
            let run = self.held.swap_remove(at);
            self.ended.push((run, Exit { kind: EndKind::Signaled, code: 15, ..success() }));
        }
    }

    fn poll(&mut self, _now: Nanos, exits: &mut dyn FnMut(RunId, Exit)) -> usize {
        let ended = self.ended.len();
        for (run, exit) in self.ended.drain(..) {
            exits(run, exit);
        }
        ended
    }

    fn running(&self) -> usize {
        self.held.len() + self.ended.len()
    }
}

fn success() -> Exit {
    Exit { ran_ns: 2_000_000, stdout_bytes: 5, stdout: b"fine\n".to_vec(), ..Exit::success() }
}

fn failure() -> Exit {
    let stderr = b"it broke: <b>\xff</b>\n".to_vec();
    Exit { code: 3, stderr_bytes: 1_000_000, stderr, ..success() }
}

/// A task server with a dashboard.
pub(crate) struct Farm {
    pub(crate) server: TaskServer,
    pub(crate) client: TaskClient,
    pub(crate) dashboard: Dashboard,
    pub(crate) at: SocketAddr,
}

impl Farm {
    /// One that keeps everything in memory, without a worker and without a token.
    pub(crate) fn new() -> Self {
        Self::with(TaskServerConfig::default())
    }

    /// One of this configuration, without a worker and without a token.
    pub(crate) fn with(config: TaskServerConfig) -> Self {
        let server = TaskServer::start(config).expect("the server starts");
        let config = DashboardConfig::new(ANY.parse().expect("an address"), "a farm of a test");
        let dashboard =
            Dashboard::start(config, Source::of(&server)).expect("the dashboard starts");
        let client = TaskClient::local(&server.local()).expect("the server answers");
        let at = dashboard.address();
        Self { server, client, dashboard, at }
    }

    /// Adds a worker with two slots.
    pub(crate) fn hire(&self) -> TaskWorkerHost {
        let config = TaskWorkerConfig::new(WORKER, 2, 1 << 30, 2_000);
        let queue = QueueAddress::Local(self.server.local());
        TaskWorkerHost::start(config, queue, Actor::default()).expect("a worker")
    }

    /// Submits tasks with these commands to a job.
    pub(crate) fn submit(&mut self, job: &str, commands: &[&str]) -> JobId {
        let id = self.client.open_job(job).expect("a job");
        let specs = commands.iter().enumerate().map(|(key, command)| spec(key as u128, command));
        let report = self.client.submit(id, specs, |_| ControlFlow::Continue(()));
        let report = report.expect("the server takes them");
        assert_eq!(report.added, commands.len() as u64, "{report:?}");
        id
    }

    /// Waits until so many tasks are in some states.
    pub(crate) fn until(&self, counts: &[(&str, u64)]) -> Value {
        Listener::open(self.at, 200).until(|summary| {
            counts.iter().all(|(state, count)| summary["tasks"]["counts"][state] == *count)
        })
    }

    /// A task, as it is shown alone.
    pub(crate) fn task(&self, id: &str) -> Value {
        get(self.at, &format!("/api/tasks/{id}")).json()
    }

    /// Waits until a task is in a state.
    pub(crate) fn until_state(&self, id: &str, state: &str) -> Value {
        let start = Instant::now();
        loop {
            let task = self.task(id);
            if task["state"] == state {
                return task;
            }
            assert!(start.elapsed() < PATIENCE, "it stays as it is: {task:#}");
            std::thread::yield_now();
        }
    }

    /// The numbers of the tasks that a query finds, and where the next page begins.
    pub(crate) fn found(&self, query: &str) -> (Vec<u64>, Option<String>) {
        let page = get(self.at, &format!("/api/tasks?{query}")).json();
        let tasks = page["tasks"].as_array().expect("a list");
        let id = |task: &Value| task["id"].as_str().and_then(|id| id.parse().ok());
        let ids = tasks.iter().map(|task| id(task).expect("a number")).collect();
        (ids, page["next"].as_str().map(str::to_owned))
    }

    /// Ends it in order.
    pub(crate) fn stop(self) {
        drop(self.client);
        self.dashboard.stop();
        self.server.stop().expect("an orderly stop");
    }
}

/// A task that fails for good when it fails once. Of two queues the highest bit of its key chooses
/// one, so they have every other task.
fn spec(key: u128, command: &str) -> OwnedSpec {
    let payload = TaskPayload {
        kind: PayloadKind::Shell,
        name: if command.starts_with("ok") { b"good" } else { b"" },
        cwd: b"",
        command: command.as_bytes(),
        variables: Variables::default(),
    };
    let mut bytes = Vec::new();
    payload.write_to(&mut bytes);
    OwnedSpec::new(TaskKey((key << 127) | key), bytes)
}
