//! The queues of a worker: how many there are, their links, and what each of them is told.
//!
//! A server has one queue or several, all of which the worker serves with the same slots. Each has
//! a session of its own: what came of its leases goes there, and only with it they are lost. Every
//! queue is told the whole of what the worker offers, and what tasks of the others take of that; so
//! it gives what can start. Two queues may give a lease for the same slot at the same moment. Then
//! one of these waits, and its queue can have it back.

use super::runs::Ending;
use super::session::{Facts, News, Session, Standing};
use super::types::{Prefetch, TaskWorkerConfig, Usage};
use super::{PREFETCH_MAX, TaskWorker, prefetch};
use crate::{Nanos, ShardId};
use punctual_wire::BatchWriter;
use punctual_wire::task::{Attempt, Capacity, QUEUES_MAX, TaskId};

impl TaskWorker {
    /// How many queues there are: 1 until [`set_queues`](Self::set_queues) says something else.
    #[inline]
    #[must_use]
    pub fn queues(&self) -> u16 {
        u16::try_from(self.sessions.len()).expect("at most `QUEUES_MAX`")
    }

    /// The server has so many queues, at least 1 and at most [`QUEUES_MAX`]. New ones have no link
    /// yet. Leases of those that are gone are lost with them, as if the queue had given this worker
    /// up.
    pub fn set_queues(&mut self, now: Nanos, count: u16) {
        self.now = now;
        let count = usize::from(count.clamp(1, QUEUES_MAX));
        if count == self.sessions.len() {
            return;
        }
        for gone in self.sessions.iter_mut().skip(count) {
            self.stats.unacked_lost += gone.forget(now) as u64;
        }
        self.sessions.resize_with(count, Session::new);
        self.lose_leases(|task| usize::from(task.shard()) >= count);
        self.runs.set_queues(count);
    }

    /// The session with a queue, if there is such a queue.
    #[inline]
    fn session_with(&mut self, queue: ShardId) -> Option<&mut Session> {
        self.sessions.get_mut(usize::from(queue.0))
    }

    /// A link to a queue is up: it is told who this is, everything that it has not acknowledged,
    /// and which of its leases there are. Other queues than the first are not told before the first
    /// has given the worker its name, which is then the same everywhere.
    pub fn on_link_up(&mut self, now: Nanos, queue: ShardId) {
        self.now = now;
        let is_measured = self.usage.is_some();
        if let Some(session) = self.session_with(queue) {
            session.link_up(now, is_measured);
        }
    }

    /// The link to a queue is down. What runs goes on; what waits goes on being started until the
    /// leases must have been given to others.
    pub fn on_link_down(&mut self, now: Nanos, queue: ShardId) {
        self.now = now;
        if let Some(session) = self.session_with(queue) {
            session.link_down(now);
        }
    }

    /// A queue gave this worker up, and its tasks to others: those are killed and forgotten, and
    /// the link with them. The host takes a new session for the next link to it.
    pub fn on_expired(&mut self, now: Nanos, queue: ShardId) {
        self.now = now;
        let Some(session) = self.session_with(queue) else { return };
        let lost = session.forget(now) as u64;
        self.stats.unacked_lost += lost;
        self.lose_leases(|task| task.shard() == queue.0);
    }

    /// Kills and forgets leases that are not this worker's own any more.
    fn lose_leases(&mut self, is_lost: impl Fn(TaskId) -> bool) {
        let of = |at: &u32| self.runs.get(*at).lease.task;
        let waiting: Vec<u32> = self.runs.waiting().filter(|at| is_lost(of(at))).collect();
        for at in waiting {
            self.runs.remove_waiting(at);
        }
        for at in self.runs.running_slots() {
            let run = self.runs.get_mut(at);
            if is_lost(run.lease.task) {
                run.ending = Some(Ending::Dropped);
                if !run.is_killed {
                    self.kill(at);
                }
            }
        }
    }

    /// Keeps what came of a lease until its queue has acknowledged it.
    pub(super) fn keep(&mut self, task: TaskId, attempt: Attempt, news: News) {
        // What is left of a queue that is gone is dropped, so nothing comes of it.
        if let Some(session) = self.session_with(ShardId(task.shard())) {
            session.keep(task, attempt, news);
        }
    }

    /// Writes what a queue is to be told, up to some hundred kilobytes a call; to be called while
    /// its link has room. Returns how many messages.
    pub fn write(&mut self, now: Nanos, queue: ShardId, out: &mut BatchWriter) -> usize {
        self.now = now;
        let Some(standing) = self.standing(queue) else { return 0 };
        // The first is told the wish, and the others what came of it.
        let given = self.name.as_deref().filter(|_| queue.0 > 0);
        let unknown = Usage { memory_free: self.config.memory, cores_used_milli: 0 };
        let facts = Facts {
            queue: queue.0,
            name: given.unwrap_or(&self.config.name),
            config: &self.config,
            standing,
            usage: self.usage.unwrap_or(unknown),
            runs: &self.runs,
        };
        self.sessions[usize::from(queue.0)].write(now, &facts, out)
    }

    /// Whether [`write`](Self::write) has anything to write for a queue.
    #[must_use]
    pub fn has_output(&self, queue: ShardId) -> bool {
        let session = self.sessions.get(usize::from(queue.0));
        let standing = self.standing(queue);
        session.zip(standing).is_some_and(|(session, standing)| session.has_output(&standing))
    }

    #[inline]
    fn standing(&self, queue: ShardId) -> Option<Standing> {
        let session = self.sessions.get(usize::from(queue.0))?;
        Some(Standing {
            capacity: self.capacity(session.told_prefetch()),
            by_others: self.runs.occupied_by_others(queue.0),
            is_named: queue.0 == 0 || self.name.is_some(),
        })
    }

    /// What the worker offers now to a queue that knows this number of leases to wait. While memory
    /// is short that is what runs, of any queue, and no more; while the machine is short of
    /// something else, what it could start.
    fn capacity(&self, told_prefetch: u32) -> Capacity {
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
        let queues = self.queues();
        let prefetch = match prefetch {
            // What would wait here may find more room elsewhere.
            _ if self.throttle.is_bound() => 0,
            Prefetch::Off => prefetch::share(0, queues),
            Prefetch::Fixed(count) => prefetch::share(count.min(PREFETCH_MAX), queues),
            Prefetch::Auto => self.estimator.advise(slots, queues, told_prefetch),
        };
        Capacity { prefetch, ..whole }
    }
}
