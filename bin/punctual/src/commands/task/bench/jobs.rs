//! Workers that do nothing must not do so with the tasks of others.

use punctual_runtime::Nanos;
use punctual_runtime::tasks::{EndKind, Exit, Lease, RunId, TaskRunner};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Exit code of a run that was told to end.
const SIGTERM: i32 = 15;

/// Every task of some jobs succeeds at once. Any other one stays, as if it ran, until it is told to
/// end: when the worker leaves, it goes back to its queue as it was.
#[derive(Debug)]
pub(super) struct JobRunner {
    jobs: Vec<Box<[u8]>>,
    ended: Vec<RunId>,
    held: Vec<RunId>,
    told_to_end: Vec<RunId>,
    /// Tasks of others, at all workers together.
    strangers: Arc<AtomicU64>,
}

impl JobRunner {
    /// Does nothing with the tasks of jobs with these names, and counts the others.
    pub(super) fn new(jobs: &[&str], strangers: Arc<AtomicU64>) -> Self {
        let jobs = jobs.iter().map(|job| job.as_bytes().into()).collect();
        Self { jobs, ended: Vec::new(), held: Vec::new(), told_to_end: Vec::new(), strangers }
    }
}

impl TaskRunner for JobRunner {
    fn launch(&mut self, _now: Nanos, lease: &Lease) -> Result<(), Exit> {
        if self.jobs.contains(&lease.job) {
            self.ended.push(lease.run);
        } else {
            self.held.push(lease.run);
            self.strangers.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn stop(&mut self, run: RunId) {
        if let Some(at) = self.held.iter().position(|held| *held == run) {
            self.told_to_end.push(self.held.swap_remove(at));
        }
    }

    fn kill(&mut self, run: RunId) {
        self.stop(run);
    }

    fn poll(&mut self, _now: Nanos, exits: &mut dyn FnMut(RunId, Exit)) -> usize {
        let count = self.ended.len() + self.told_to_end.len();
        for run in self.ended.drain(..) {
            exits(run, Exit::success());
        }
        for run in self.told_to_end.drain(..) {
            exits(run, Exit { kind: EndKind::Signaled, code: SIGTERM, ..Exit::success() });
        }
        count
    }

    fn running(&self) -> usize {
        self.ended.len() + self.held.len() + self.told_to_end.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_runtime::tasks::{Attempt, TaskId};

    fn lease(run: u64, job: &str) -> Lease {
        Lease {
            run: RunId(run),
            task: TaskId(run),
            attempt: Attempt(1),
            priority: 0,
            memory: 0,
            cores_milli: 0,
            timeout_ms: 0,
            job: job.as_bytes().into(),
            payload: Box::default(),
            arrived: Nanos::ZERO,
        }
    }

    fn ended(runner: &mut JobRunner) -> Vec<(RunId, bool)> {
        let mut ended = Vec::new();
        runner.poll(Nanos::ZERO, &mut |run, exit| ended.push((run, exit.is_success())));
        ended
    }

    #[test]
    fn tasks_of_other_jobs_never_succeed_but_end_when_they_are_told_to() {
        let strangers: Arc<AtomicU64> = Arc::default();
        let mut runner = JobRunner::new(&["bench"], Arc::clone(&strangers));
        for (run, job) in [(1, "bench"), (2, "bench-of-others"), (3, "bench")] {
            runner.launch(Nanos::ZERO, &lease(run, job)).expect("it is started");
        }
        assert_eq!(ended(&mut runner), [(RunId(1), true), (RunId(3), true)]);
        assert_eq!((strangers.load(Ordering::Relaxed), runner.running()), (1, 1));
        assert!(ended(&mut runner).is_empty());
        runner.stop(RunId(2));
        runner.kill(RunId(2));
        assert_eq!(ended(&mut runner), [(RunId(2), false)]);
        assert_eq!(runner.running(), 0);
    }
}
