//! The workers of a row, each with its bridge.

use super::tally::{Counted, Tally};
use super::{Plan, Switches};
use crate::commands::task::bridge::queue_of;
use crate::commands::task::work::hostname;
use anyhow::bail;
use flume::RecvTimeoutError;
use punctual_process::{Capacity, ProcessConfig, ProcessRunner};
use punctual_redis::{RedisBridge, RedisBridgeConfig};
use punctual_runtime::tasks::{TaskWorkerConfig, TaskWorkerHost};
use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long workers may take to come, to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to look how far they are: an end is known as exactly as this.
const LOOK: Duration = Duration::from_millis(1);

/// What was seen of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Tasks of which Redis knows that they are done.
    pub(super) done: u64,
    /// From the beginning of the first one.
    pub(super) took: Duration,
    /// What was sent to Redis for them.
    pub(super) commands: u64,
}

/// Workers under way.
#[derive(Default)]
pub(super) struct Crew {
    bridges: Vec<RedisBridge>,
    hosts: Vec<TaskWorkerHost>,
}

impl Crew {
    /// Lets them work until everything is done, or for as long as is planned. `None`: it was
    /// interrupted. Whatever comes of it, [`stop`](Self::stop) is next.
    pub(super) fn work(
        &mut self,
        plan: &Plan,
        switches: Switches,
        tally: &Arc<Tally>,
        interrupted: &flume::Receiver<()>,
    ) -> anyhow::Result<Option<Seen>> {
        let names: Vec<String> =
            (1..=plan.workers).map(|number| format!("bench-{number}")).collect();
        for name in &names {
            let config = RedisBridgeConfig {
                pipeline: switches.pipeline,
                polling: Plan::polling(switches),
                ..RedisBridgeConfig::new(plan.address.clone(), name.as_str())
            };
            self.bridges.push(RedisBridge::start(config)?);
        }
        if !self.wait_for_names(interrupted)? {
            return Ok(None);
        }
        // What it takes to be there is not the price of a task.
        let (_, before) = self.progress()?;
        let capacity = Capacity::detect();
        for (name, bridge) in names.iter().zip(&self.bridges) {
            let config = TaskWorkerConfig {
                host: hostname(),
                pid: std::process::id(),
                prefetch: plan.prefetch(switches),
                ..TaskWorkerConfig::new(
                    name.as_str(),
                    plan.slots,
                    capacity.memory,
                    capacity.cores_milli,
                )
            };
            let runner = Counted::new(runner(name)?, Arc::clone(tally));
            self.hosts.push(TaskWorkerHost::start(config, queue_of(bridge), runner)?);
        }
        let seen = self.watch(plan, tally, interrupted)?;
        Ok(seen.map(|seen| Seen { commands: seen.commands - before, ..seen }))
    }

    /// Waits until each has its name in Redis. False if it was interrupted.
    fn wait_for_names(&self, interrupted: &flume::Receiver<()>) -> anyhow::Result<bool> {
        let began = Instant::now();
        loop {
            self.progress()?;
            if self.bridges.iter().all(|bridge| !bridge.view().name.is_empty()) {
                return Ok(true);
            }
            if began.elapsed() > PATIENCE {
                bail!("a worker got no name in the Redis within {PATIENCE:?}");
            }
            if interrupted.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
                return Ok(false);
            }
        }
    }

    fn watch(
        &self,
        plan: &Plan,
        tally: &Tally,
        interrupted: &flume::Receiver<()>,
    ) -> anyhow::Result<Option<Seen>> {
        let began = Instant::now();
        let goal = plan.lines.len() as u64;
        while interrupted.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            let (done, commands) = self.progress()?;
            let now = Instant::now();
            let Some(first) = tally.first() else {
                if now.saturating_duration_since(began) > PATIENCE {
                    bail!("no task was begun within {PATIENCE:?}");
                }
                continue;
            };
            let took = now.saturating_duration_since(first);
            if done >= goal || took >= plan.duration {
                return Ok(Some(Seen { done, took, commands }));
            }
        }
        Ok(None)
    }

    /// Tasks that are done, and commands that were sent, by all of them.
    fn progress(&self) -> anyhow::Result<(u64, u64)> {
        let (mut done, mut commands) = (0, 0);
        for bridge in &self.bridges {
            let view = bridge.view();
            if view.is_ordered_to_stop {
                bail!(
                    "somebody has ordered all workers of the Redis to stop; measure a database \
                     that nobody else uses"
                );
            }
            if !bridge.is_alive() {
                bail!("the thread between a worker and the Redis has ended");
            }
            done += view.stats.finished.saturating_sub(view.unsettled as u64);
            commands += view.stats.commands;
        }
        Ok((done, commands))
    }

    /// Ends all of them in order: what they run is finished, what waits there goes back.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.hosts.iter().for_each(TaskWorkerHost::drain);
        let mut outcome = Ok(());
        for mut host in self.hosts {
            let ended = match host.wait_timeout(PATIENCE) {
                Some(ended) => ended.map_err(anyhow::Error::from),
                None => Err(anyhow::anyhow!("a worker did not end within {PATIENCE:?}")),
            };
            outcome = outcome.and(ended);
        }
        // After the workers: they take what those have to report.
        for bridge in self.bridges {
            outcome = outcome.and(bridge.stop().map_err(anyhow::Error::from));
        }
        outcome
    }
}

/// What runs the tasks of a worker: as processes, without directories.
fn runner(name: &str) -> anyhow::Result<ProcessRunner> {
    let guardian = Some(["task", "guardian"].map(OsString::from).to_vec());
    Ok(ProcessRunner::new(ProcessConfig { guardian, ..ProcessConfig::new(name) })?)
}
