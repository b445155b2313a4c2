//! How often each task was run, counted where runs begin.

use punctual_link::ParkHandle;
use punctual_runtime::Nanos;
use punctual_runtime::tasks::{Exit, Lease, RunId, TaskRunner, Usage};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Counts runs. Tasks are told apart by their priorities, which follow each other.
#[derive(Debug)]
pub(super) struct Tally {
    base: i32,
    runs: Vec<AtomicU32>,
    strangers: AtomicU64,
    first: OnceLock<Instant>,
}

impl Tally {
    pub(super) fn new(base: i32, tasks: usize) -> Arc<Self> {
        let runs = std::iter::repeat_with(AtomicU32::default).take(tasks).collect();
        let (strangers, first) = (AtomicU64::default(), OnceLock::new());
        Arc::new(Self { base, runs, strangers, first })
    }

    fn note(&self, priority: i32) {
        self.first.get_or_init(Instant::now);
        let place = priority.checked_sub(self.base).and_then(|place| usize::try_from(place).ok());
        if let Some(runs) = place.and_then(|place| self.runs.get(place)) {
            runs.fetch_add(1, Ordering::Relaxed);
        } else {
            self.strangers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// When the first run began.
    pub(super) fn first(&self) -> Option<Instant> {
        self.first.get().copied()
    }

    /// How often each task was run.
    pub(super) fn runs(&self) -> Vec<u32> {
        self.runs.iter().map(|runs| runs.load(Ordering::Relaxed)).collect()
    }

    /// Runs of other tasks.
    pub(super) fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }
}

/// A runner whose runs are counted.
pub(super) struct Counted<R> {
    inner: R,
    tally: Arc<Tally>,
}

impl<R> Counted<R> {
    pub(super) fn new(inner: R, tally: Arc<Tally>) -> Self {
        Self { inner, tally }
    }
}

impl<R: TaskRunner> TaskRunner for Counted<R> {
    fn start(&mut self, park: Option<&ParkHandle>) {
        self.inner.start(park);
    }

    fn set_name(&mut self, name: &str) {
        self.inner.set_name(name);
    }

    fn launch(&mut self, now: Nanos, lease: &Lease) -> Result<(), Exit> {
        self.tally.note(lease.priority);
        self.inner.launch(now, lease)
    }

    fn stop(&mut self, run: RunId) {
        self.inner.stop(run);
    }

    fn kill(&mut self, run: RunId) {
        self.inner.kill(run);
    }

    fn poll(&mut self, now: Nanos, exits: &mut dyn FnMut(RunId, Exit)) -> usize {
        self.inner.poll(now, exits)
    }

    fn usage(&mut self, now: Nanos) -> Option<Usage> {
        self.inner.usage(now)
    }

    fn next_deadline(&self) -> Option<Nanos> {
        self.inner.next_deadline()
    }

    fn running(&self) -> usize {
        self.inner.running()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_counted_by_task_and_those_of_others_apart() {
        let tally = Tally::new(10, 3);
        assert!(tally.first().is_none());
        for priority in [10, 12, 10, 9, 13, i32::MIN] {
            tally.note(priority);
        }
        assert_eq!((tally.runs(), tally.strangers()), (vec![2, 0, 1], 3));
        assert!(tally.first().is_some());
    }
}
