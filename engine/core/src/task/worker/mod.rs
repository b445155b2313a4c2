//! A worker: it has leases of tasks, decides which of them runs when, and tells their queues what
//! came of them.
//!
//! It starts nothing itself: [`TaskWorker::next_action`] says what its host is to start, to stop
//! and to kill, and the host says what came of it. Leases wait in the order of their priority, then
//! of their arrival; a slot, the memory and the cores that a task asks for, and the memory that the
//! machine really has left decide whether it fits. What the machine could not start for want of
//! something goes back to its queue. Whatever came of a lease is kept until its queue has
//! acknowledged it, over any number of links.

mod admission;
mod ending;
mod leases;
mod prefetch;
mod queues;
mod runs;
mod session;
#[cfg(test)]
mod tests;
mod throttle;
mod types;

use crate::{Nanos, ShardId};
use admission::Admission;
use prefetch::PrefetchEstimator;
use punctual_wire::task::ReturnReason;
use runs::{Ending, Run, Runs};
use session::Session;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use throttle::Throttle;

pub use prefetch::PREFETCH_MAX;
pub use session::{UNACKED_BYTES_MAX, UNACKED_MAX};
pub use throttle::SHORTAGE_PAUSE;
pub use types::{Action, Exit, Lease, Prefetch, RunId, TaskWorkerConfig, TaskWorkerStats, Usage};

/// How often a lease that does not fit may be overtaken by others behind it that do. After that it
/// is the next of its kind to start, however long that takes.
pub const OVERTAKEN_MAX: u32 = 64;

/// Most tasks that run at once.
pub const SLOTS_MAX: u32 = 1 << 16;

/// Most leases that wait. A queue that gives more is mistaken, unless others give some too: then
/// none of them can know, and what is more goes back.
pub const WAITING_MAX: usize = 1 << 16;

/// A worker that drains and has nothing left to run waits at most so long for a link, and for a
/// queue's word that it gives it nothing more. Then it gives up what that has not acknowledged.
pub const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

/// A worker of the task farm.
#[derive(Debug)]
pub struct TaskWorker {
    config: TaskWorkerConfig,
    runs: Runs,
    admission: Admission,
    throttle: Throttle,
    /// One with each queue.
    sessions: Vec<Session>,
    /// The name that the first queue gave it.
    name: Option<String>,
    estimator: PrefetchEstimator,
    /// What the host is to do with runs that were started.
    actions: VecDeque<Action>,
    /// When runs are to be stopped or killed, by slot.
    timers: BTreeSet<(Nanos, u32)>,
    usage: Option<Usage>,
    /// The latest time that it was told.
    now: Nanos,
    draining_since: Option<Nanos>,
    stats: TaskWorkerStats,
}

impl TaskWorker {
    /// A worker of one queue, without a link.
    #[must_use]
    pub fn new(config: TaskWorkerConfig) -> Self {
        let config = TaskWorkerConfig { slots: config.slots.clamp(1, SLOTS_MAX), ..config };
        Self {
            admission: Admission::new(&config),
            throttle: Throttle::default(),
            config,
            runs: Runs::new(),
            sessions: vec![Session::new()],
            name: None,
            estimator: PrefetchEstimator::default(),
            actions: VecDeque::new(),
            timers: BTreeSet::new(),
            usage: None,
            now: Nanos::ZERO,
            draining_since: None,
            stats: TaskWorkerStats::default(),
        }
    }

    /// Takes other settings: slots, and the two thresholds of free memory, as in
    /// [`TaskWorkerConfig`]. What runs goes on; queues are told what there is room for now.
    pub fn reconfigure(&mut self, now: Nanos, slots: u32, accept_free: u64, return_free: u64) {
        self.now = now;
        self.config.slots = slots.clamp(1, SLOTS_MAX);
        (self.config.accept_free, self.config.return_free) = (accept_free, return_free);
        let memory_free = self.usage.map(|usage| usage.memory_free);
        if self.admission.set_thresholds(accept_free, return_free, memory_free) {
            self.give_back_waiting(ReturnReason::LowMemory);
        }
    }

    /// Finishes what runs and gives back what waits; nothing is started any more.
    pub fn drain(&mut self, now: Nanos) {
        self.now = now;
        if self.draining_since.is_none() {
            self.draining_since = Some(now);
            self.give_back_waiting(ReturnReason::Draining);
        }
    }

    /// Ends what runs and gives it back, with all that waits. That is no failure of the tasks.
    pub fn abandon(&mut self, now: Nanos) {
        self.drain(now);
        for at in self.runs.running_slots() {
            if self.runs.get(at).ending.is_none() {
                self.end_run(now, at, Ending::Returned(ReturnReason::Draining));
            }
        }
    }

    /// Does what is due, and returns how much that was: time limits, kills, signs of life. What can
    /// start does not wait for this.
    pub fn on_turn(&mut self, now: Nanos) -> usize {
        self.now = now;
        let mut done = 0;
        while let Some(&(due, at)) = self.timers.first()
            && due <= now
        {
            self.on_timer(now, at);
            done += 1;
        }
        done += usize::from(self.throttle.on_turn(now, self.config.slots));
        for session in &mut self.sessions {
            done += usize::from(session.on_turn(now));
        }
        done + self.give_up(now)
    }

    /// What the host is to do next, if anything. An [`Action::Start`] has counted as running since
    /// it was returned; the host is to end it with [`on_exit`](Self::on_exit) in any case.
    pub fn next_action(&mut self) -> Option<Action> {
        while let Some(action) = self.actions.pop_front() {
            // It may have ended in the meantime.
            if self.runs.find(action.run()).is_some() {
                return Some(action);
            }
        }
        self.start_next().map(Action::Start)
    }

    fn start_next(&mut self) -> Option<RunId> {
        let may_start = self.runs.waiting_len() > 0
            && self.runs.running() < self.throttle.slots(self.config.slots);
        if !may_start {
            return None;
        }
        // Nothing waits while admission is closed or the worker drains.
        let at = self.pick()?;
        self.runs.begin(at, self.now, self.stats.started);
        self.stats.started += 1;
        let lease = &self.runs.get(at).lease;
        self.admission.begin(lease);
        let (run, timeout_ms) = (lease.run, lease.timeout_ms);
        if timeout_ms > 0 {
            self.set_timer(at, self.now + Duration::from_millis(timeout_ms).into());
        }
        Some(run)
    }

    /// The first that fits. Those before it are overtaken, which may not happen too often; no more
    /// of them are looked at than may be. Leases of a queue of which nothing may start are passed
    /// over, and nobody overtakes them: their time comes when the queue is there again.
    fn pick(&mut self) -> Option<u32> {
        let (now, sessions) = (self.now, &self.sessions);
        if !sessions.iter().any(|session| session.may_start(now)) {
            return None;
        }
        let may_start = |lease: &Lease| sessions[usize::from(lease.task.shard())].may_start(now);
        let mut passed = 0;
        let mut found = None;
        for at in self.runs.waiting() {
            let run = self.runs.get(at);
            if !may_start(&run.lease) {
                continue;
            }
            if self.fits(run) {
                found = Some(at);
                break;
            }
            if run.overtaken >= OVERTAKEN_MAX || passed >= OVERTAKEN_MAX {
                break;
            }
            passed += 1;
        }
        if let Some(at) = found.filter(|_| passed > 0) {
            self.runs.mark_overtaken(at, may_start);
        }
        found
    }

    #[inline]
    fn fits(&self, run: &Run) -> bool {
        let is_free = run.behind.is_none_or(|before| self.runs.find(before).is_none());
        is_free && self.admission.fits(&run.lease)
    }

    /// A lease that waits or runs.
    #[must_use]
    pub fn lease(&self, run: RunId) -> Option<&Lease> {
        self.runs.find(run).map(|at| &self.runs.get(at).lease)
    }

    /// When [`on_turn`](Self::on_turn) has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let timer = self.timers.first().map(|(due, _)| *due);
        let own = [timer, self.throttle.due(), self.give_up_at()];
        let beats = self.sessions.iter().filter_map(Session::next_beat);
        own.into_iter().flatten().chain(beats).min()
    }

    /// Since when it drains, if nothing runs any more.
    fn drained_since(&self) -> Option<Nanos> {
        self.draining_since.filter(|_| self.runs.running() == 0)
    }

    /// When a worker that has nothing else to do stops waiting for one more of its queues.
    fn give_up_at(&self) -> Option<Nanos> {
        let draining_since = self.drained_since()?;
        self.sessions.iter().filter_map(|session| session.give_up_at(draining_since)).min()
    }

    /// Stops waiting for the queues for which it is time to. Returns for how many.
    fn give_up(&mut self, now: Nanos) -> usize {
        let Some(since) = self.drained_since() else { return 0 };
        let mut given_up = 0;
        for session in &mut self.sessions {
            if session.give_up_at(since).is_some_and(|at| at <= now) {
                self.stats.unacked_lost += session.give_up() as u64;
                given_up += 1;
            }
        }
        given_up
    }

    /// Whether a worker that drains is done: nothing runs, and each queue has acknowledged
    /// everything and gives it nothing more, or cannot be reached.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.drained_since().is_some() && self.sessions.iter().all(Session::is_settled)
    }

    /// Whether a worker that drains need not wait for a queue, unless something runs: it has
    /// acknowledged everything and gives nothing more, or could not be reached for too long.
    #[must_use]
    pub fn is_settled(&self, queue: ShardId) -> bool {
        self.sessions.get(usize::from(queue.0)).is_none_or(Session::is_settled)
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> &TaskWorkerStats {
        &self.stats
    }

    /// Its name: the one that the first queue gave it, once it did.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.config.name)
    }

    /// How many tasks run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.runs.running() as usize
    }

    /// How many leases wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.runs.waiting_len()
    }
}
