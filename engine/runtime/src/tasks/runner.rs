//! What runs tasks: the part of a worker that the rules know nothing of.

use punctual_core::Nanos;
use punctual_core::task::{Exit, Lease, RunId, Usage};
use punctual_link::ParkHandle;

/// Runs the tasks of a worker, on the worker's own thread. Nothing here may wait.
pub trait TaskRunner: Send + 'static {
    /// Called once, before anything else. `park` is where the thread sleeps: what is registered
    /// there ends a sleep.
    fn start(&mut self, park: Option<&ParkHandle>) {
        let _ = park;
    }

    /// The queue calls the worker this from now on. Its tasks are to see the same name.
    fn set_name(&mut self, name: &str) {
        let _ = name;
    }

    /// Starts what a lease is about.
    ///
    /// # Errors
    /// When it cannot be started: how it ended, then, with the reason among what it wrote to its
    /// standard error. If that [is a shortage](Exit::is_shortage) the task is given back.
    fn launch(&mut self, now: Nanos, lease: &Lease) -> Result<(), Exit>;

    /// Asks a run to end.
    fn stop(&mut self, run: RunId);

    /// Ends a run. It is over when [`poll`](Self::poll) says so.
    fn kill(&mut self, run: RunId);

    /// Hands over the runs that have ended. Returns how many.
    fn poll(&mut self, now: Nanos, exits: &mut dyn FnMut(RunId, Exit)) -> usize;

    /// What the machine has left, if it is time to look.
    fn usage(&mut self, now: Nanos) -> Option<Usage> {
        let _ = now;
        None
    }

    /// When [`poll`](Self::poll) or [`usage`](Self::usage) has something to do even if nothing
    /// wakes the thread.
    fn next_deadline(&self) -> Option<Nanos> {
        None
    }

    /// Runs that have not ended.
    fn running(&self) -> usize;
}

/// Every task succeeds at once, whatever it is: to measure all that is around tasks.
#[derive(Debug, Default)]
pub struct NoopRunner {
    ended: Vec<RunId>,
}

impl NoopRunner {
    /// A runner.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl TaskRunner for NoopRunner {
    #[inline]
    fn launch(&mut self, _now: Nanos, lease: &Lease) -> Result<(), Exit> {
        self.ended.push(lease.run);
        Ok(())
    }

    fn stop(&mut self, _run: RunId) {}

    fn kill(&mut self, _run: RunId) {}

    #[inline]
    fn poll(&mut self, _now: Nanos, exits: &mut dyn FnMut(RunId, Exit)) -> usize {
        let ended = self.ended.len();
        for run in self.ended.drain(..) {
            exits(run, Exit::success());
        }
        ended
    }

    fn running(&self) -> usize {
        self.ended.len()
    }
}
