//! A worker: it has leases of tasks, decides which of them runs when, and tells the queue what came
//! of them.
//!
//! It starts nothing itself: [`TaskWorker::next_action`] says what its host is to start, to stop
//! and to kill, and the host says what came of it. Leases wait in the order of their priority, then
//! of their arrival; a slot, the memory and the cores that a task asks for, and the memory that the
//! machine really has left decide whether it fits. What the machine could not start for want of
//! something goes back to the queue. Whatever came of a lease is kept until the queue has
//! acknowledged it, over any number of links.

mod admission;
mod ending;
mod leases;
mod prefetch;
mod runs;
mod session;
#[cfg(test)]
mod tests;
mod throttle;
mod types;

use crate::Nanos;
use admission::Admission;
use prefetch::PrefetchEstimator;
use punctual_wire::BatchWriter;
use punctual_wire::task::{Capacity, ReturnReason};
use runs::{Ending, Phase, Run, Runs};
use session::{Facts, Session};
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

/// Most leases that wait; a queue that gives more is mistaken.
pub const WAITING_MAX: usize = 1 << 16;

/// A worker that drains and has nothing left to run waits at most so long for a link, and for the
/// queue's word that it gives it nothing more. Then it gives up what was not acknowledged.
pub const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

/// A worker of the task farm.
#[derive(Debug)]
pub struct TaskWorker {
    config: TaskWorkerConfig,
    runs: Runs,
    admission: Admission,
    throttle: Throttle,
    session: Session,
    estimator: PrefetchEstimator,
    /// What the host is to do with runs that were started.
    actions: VecDeque<Action>,
    /// When runs are to be stopped or killed, by slot.
    timers: BTreeSet<(Nanos, u32)>,
    usage: Option<Usage>,
    /// The latest time that it was told.
    now: Nanos,
    draining_since: Option<Nanos>,
    /// It waited long enough for the queue.
    has_given_up: bool,
    stats: TaskWorkerStats,
}

impl TaskWorker {
    /// A worker without a link.
    #[must_use]
    pub fn new(config: TaskWorkerConfig) -> Self {
        let config = TaskWorkerConfig { slots: config.slots.clamp(1, SLOTS_MAX), ..config };
        Self {
            admission: Admission::new(&config),
            throttle: Throttle::default(),
            config,
            runs: Runs::new(),
            session: Session::new(),
            estimator: PrefetchEstimator::default(),
            actions: VecDeque::new(),
            timers: BTreeSet::new(),
            usage: None,
            now: Nanos::ZERO,
            draining_since: None,
            has_given_up: false,
            stats: TaskWorkerStats::default(),
        }
    }

    /// A link to the queue is up: it is told who this is, everything that it has not acknowledged,
    /// and which leases there are.
    pub fn on_link_up(&mut self, now: Nanos) {
        self.now = now;
        self.session.link_up(now, self.usage.is_some());
    }

    /// The link is down. What runs goes on; what waits goes on being started until the leases must
    /// have been given to others.
    pub fn on_link_down(&mut self, now: Nanos) {
        self.now = now;
        self.session.link_down(now);
    }

    /// The queue gave this worker up, and its tasks to others: everything is killed and forgotten,
    /// and the link with it. The host takes a new session for the next link.
    pub fn on_expired(&mut self, now: Nanos) {
        self.now = now;
        let lost = self.session.forget(now) as u64;
        if !std::mem::take(&mut self.has_given_up) {
            self.stats.unacked_lost += lost;
        }
        while let Some(at) = self.runs.first_waiting() {
            self.runs.remove_waiting(at);
        }
        for at in self.running_slots() {
            let run = self.runs.get_mut(at);
            run.ending = Some(Ending::Dropped);
            if !run.is_killed {
                self.kill(at);
            }
        }
    }

    /// Takes other settings: slots, and the two thresholds of free memory, as in
    /// [`TaskWorkerConfig`]. What runs goes on; the queue is told what there is room for now.
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
        for at in self.running_slots() {
            if self.runs.get(at).ending.is_none() {
                self.end_run(now, at, Ending::Returned(ReturnReason::Draining));
            }
        }
    }

    fn running_slots(&self) -> Vec<u32> {
        let running = self.runs.used().filter(|(_, run)| run.phase == Phase::Running);
        running.map(|(at, _)| at).collect()
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
        done += usize::from(self.session.on_turn(now));
        if self.give_up_at().is_some_and(|at| at <= now) {
            self.has_given_up = true;
            self.stats.unacked_lost += self.session.unacked() as u64;
            done += 1;
        }
        done
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
            && self.runs.running() < self.throttle.slots(self.config.slots)
            && !self.session.is_full()
            && self.session.is_trusted(self.now);
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
    /// of them are looked at than may be.
    fn pick(&mut self) -> Option<u32> {
        let mut passed = 0;
        let mut found = None;
        for at in self.runs.waiting() {
            let run = self.runs.get(at);
            if self.fits(run) {
                found = Some(at);
                break;
            }
            if run.overtaken >= OVERTAKEN_MAX || passed >= OVERTAKEN_MAX as usize {
                break;
            }
            passed += 1;
        }
        if found.is_some() && passed > 0 {
            self.runs.mark_overtaken(passed);
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

    /// Writes what the queue is to be told, up to some hundred kilobytes a call; to be called while
    /// the link has room. Returns how many messages.
    pub fn write(&mut self, now: Nanos, out: &mut BatchWriter) -> usize {
        self.now = now;
        let unknown = Usage { memory_free: self.config.memory, cores_used_milli: 0 };
        let facts = Facts {
            capacity: self.capacity(),
            config: &self.config,
            usage: self.usage.unwrap_or(unknown),
            runs: &self.runs,
        };
        self.session.write(now, &facts, out)
    }

    /// Whether [`write`](Self::write) has anything to write.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.session.has_output(&self.capacity())
    }

    /// What the worker offers now. While memory is short that is what runs, and no more; while the
    /// machine is short of something else, what it could start.
    fn capacity(&self) -> Capacity {
        let TaskWorkerConfig { slots, memory, cores_milli, prefetch, .. } = self.config;
        let slots = self.throttle.slots(slots);
        let is_draining = self.draining_since.is_some();
        let whole = Capacity { slots, memory, cores_milli, prefetch: 0, is_draining };
        if is_draining {
            return whole;
        }
        if !self.admission.is_open() {
            return Capacity { slots: self.runs.running(), ..whole };
        }
        let prefetch = match prefetch {
            Prefetch::Off => 0,
            // What would wait here may find more room elsewhere.
            _ if self.throttle.is_bound() => 0,
            Prefetch::Fixed(count) => count.min(PREFETCH_MAX),
            Prefetch::Auto => self.estimator.advise(slots, self.session.told_prefetch()),
        };
        Capacity { prefetch, ..whole }
    }

    /// When [`on_turn`](Self::on_turn) has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let timer = self.timers.first().map(|(due, _)| *due);
        let own = [timer, self.throttle.due(), self.session.next_beat(), self.give_up_at()];
        own.into_iter().flatten().min()
    }

    /// When a worker that has nothing else to do stops waiting for the queue.
    fn give_up_at(&self) -> Option<Nanos> {
        let draining_since = self.draining_since?;
        let is_done = self.has_given_up || self.session.is_settled();
        if is_done || self.runs.running() > 0 {
            return None;
        }
        let since = match self.session.down_at() {
            Some(down_at) => draining_since.max(down_at),
            // As long as there is a link, what was reported will be acknowledged.
            None if self.session.unacked() > 0 => return None,
            None => draining_since,
        };
        Some(since + DRAIN_PATIENCE.into())
    }

    /// Whether a worker that drains is done: nothing runs, and the queue has acknowledged
    /// everything and gives it nothing more, or cannot be reached.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let is_settled = self.session.is_settled() || self.has_given_up;
        self.draining_since.is_some() && self.runs.running() == 0 && is_settled
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> &TaskWorkerStats {
        &self.stats
    }

    /// Its name: the one that the queue gave it, once it did.
    #[must_use]
    pub fn name(&self) -> &str {
        self.session.name().unwrap_or(&self.config.name)
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
