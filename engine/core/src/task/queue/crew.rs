//! The workers of a queue, and which leases each of them has.

use super::classes::{Class, Classes};
use super::outbox::Party;
use super::table::{NONE, Table};
use crate::{Nanos, SessionId};
use punctual_wire::task::{Capacity, Occupancy};
use std::collections::BTreeMap;

/// Weight of the latest task in the mean: one part in so many.
const MEAN_PARTS: i64 = 8;

/// A worker. What it offers and says of itself is not durable: it says so again when it comes back.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) session: SessionId,
    pub(super) name: u32,
    pub(super) enlisted_at: i64,
    pub(super) host: Box<[u8]>,
    pub(super) pid: u32,
    /// Its link, while there is one.
    pub(super) party: Option<Party>,
    /// It has said which leases it has.
    pub(super) is_synced: bool,
    /// Somebody wants it to stop.
    pub(super) is_stopped: bool,
    pub(super) capacity: Capacity,
    /// What of it tasks of other queues take.
    pub(super) occupied: Occupancy,
    pub(super) heard_at: Nanos,
    /// Not heard of until then, it is given up.
    pub(super) deadline: Nanos,
    /// The latest of its reports and returns.
    pub(super) seq: u64,
    /// Its leases in the order in which they were given: first those that run, as far as can be
    /// told from what they ask for, then those that wait there.
    first: u64,
    last: u64,
    first_ahead: u64,
    pub(super) leases: u32,
    pub(super) ahead: u32,
    used_memory: u64,
    used_cores: u64,
    pub(super) memory_free: u64,
    pub(super) cores_used_milli: u32,
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) lost: u64,
    /// Of the time that its tasks run, in nanoseconds; zero: unknown.
    pub(super) mean_ns: i64,
    /// When one of its attempts ended last.
    pub(super) ended_at: Nanos,
    /// Nothing can start there, and nothing can wait there, while the tasks that can be had are of
    /// this version.
    pub(super) starved_at: [Option<u64>; 2],
}

impl Worker {
    pub(super) fn new(session: SessionId, name: u32, at: Nanos) -> Self {
        Self {
            session,
            name,
            enlisted_at: at.0,
            host: Box::default(),
            pid: 0,
            party: None,
            is_synced: false,
            is_stopped: false,
            capacity: Capacity {
                slots: u32::MAX,
                memory: u64::MAX,
                cores_milli: u32::MAX,
                ..Capacity::default()
            },
            occupied: Occupancy::default(),
            heard_at: at,
            deadline: Nanos::MAX,
            seq: 0,
            first: NONE,
            last: NONE,
            first_ahead: NONE,
            leases: 0,
            ahead: 0,
            used_memory: 0,
            used_cores: 0,
            memory_free: 0,
            cores_used_milli: 0,
            done: 0,
            failed: 0,
            lost: 0,
            mean_ns: 0,
            ended_at: at,
            starved_at: [None; 2],
        }
    }

    /// Whether it takes tasks at all now.
    #[inline]
    pub(super) fn is_at_work(&self) -> bool {
        self.party.is_some() && self.is_synced && !self.is_stopped && !self.capacity.is_draining
    }

    /// Tasks that run there, as far as can be told.
    pub(super) fn running(&self) -> u32 {
        self.leases - self.ahead
    }

    /// Whether a task of a class could ever run there, as things are: what other queues have there
    /// ends.
    pub(super) fn could_run(&self, class: &Class) -> bool {
        self.capacity.slots > 0
            && class.memory <= self.capacity.memory
            && class.cores_milli <= self.capacity.cores_milli
    }

    /// Whether so many tasks can run there at once that take this together, beside those of other
    /// queues.
    fn holds(&self, tasks: u32, memory: u64, cores: u64) -> bool {
        let (most, others) = (&self.capacity, &self.occupied);
        tasks <= most.slots.saturating_sub(others.slots)
            && memory <= most.memory.saturating_sub(others.memory)
            && cores <= u64::from(most.cores_milli.saturating_sub(others.cores_milli))
    }

    fn has_room(&self, class: &Class) -> bool {
        let memory = self.used_memory.checked_add(class.memory);
        let cores = self.used_cores + u64::from(class.cores_milli);
        memory.is_some_and(|memory| self.holds(self.running() + 1, memory, cores))
    }

    /// How much of what it offers has yet to get free for a task of a class: thousandths of its
    /// slots, memory and cores, added up.
    pub(super) fn missing_milli(&self, class: &Class) -> u128 {
        let (most, others) = (&self.capacity, &self.occupied);
        let missing = |wanted: u64, here: u64, elsewhere: u64, most: u64| {
            let all = u128::from(wanted) + u128::from(here) + u128::from(elsewhere);
            all.saturating_sub(most.into()) * 1_000 / u128::from(most.max(1))
        };
        let running = self.running().into();
        missing(1, running, others.slots.into(), most.slots.into())
            + missing(class.memory, self.used_memory, others.memory, most.memory)
            + missing(
                class.cores_milli.into(),
                self.used_cores,
                others.cores_milli.into(),
                most.cores_milli.into(),
            )
    }

    /// Slots that are free.
    #[inline]
    pub(super) fn free_slots(&self) -> u32 {
        let slots = self.capacity.slots.saturating_sub(self.occupied.slots);
        slots.saturating_sub(self.running())
    }

    /// Whether a task of a class can start there at once.
    #[inline]
    pub(super) fn can_run(&self, class: &Class) -> bool {
        self.ahead == 0 && self.has_room(class)
    }

    /// Whether a slot is free.
    #[inline]
    pub(super) fn has_slot(&self) -> bool {
        self.ahead == 0 && self.free_slots() > 0
    }

    /// Whether one more task may wait there.
    #[inline]
    pub(super) fn may_wait(&self) -> bool {
        self.ahead < self.capacity.prefetch
    }

    pub(super) fn note_end(&mut self, now: Nanos, ran_ns: u64) {
        let ran = i64::try_from(ran_ns).unwrap_or(i64::MAX);
        self.mean_ns = if self.mean_ns == 0 {
            ran.max(1)
        } else {
            (self.mean_ns + (ran - self.mean_ns) / MEAN_PARTS).max(1)
        };
        self.ended_at = now;
    }

    /// How long the last of those that wait there will wait, as far as can be told.
    pub(super) fn backlog_ns(&self, now: Nanos) -> i64 {
        if self.ahead == 0 {
            return 0;
        }
        let turns = i64::from(self.ahead / self.capacity.slots.max(1) + 1);
        // Whatever runs now may take longer than others did.
        let mean = self.mean_ns.max((now - self.ended_at).0);
        if self.mean_ns == 0 { i64::MAX } else { mean.saturating_mul(turns) }
    }
}

/// All workers, by index.
#[derive(Debug, Clone, Default)]
pub(super) struct Crew {
    workers: Vec<Option<Worker>>,
    by_session: BTreeMap<u64, u32>,
    /// Leases that wait at workers.
    pub(super) ahead: u64,
    /// None of them has a lower priority.
    pub(super) lowest_ahead: i32,
}

impl Crew {
    pub(super) fn len(&self) -> usize {
        self.by_session.len()
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&Worker> {
        self.workers.get(index as usize)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Worker> {
        self.workers.get_mut(index as usize)?.as_mut()
    }

    pub(super) fn find(&self, session: SessionId) -> Option<u32> {
        self.by_session.get(&session.0).copied()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Worker)> {
        let indices = 0_u32..;
        indices.zip(&self.workers).filter_map(|(at, worker)| Some((at, worker.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Worker)> {
        let indices = 0_u32..;
        indices.zip(&mut self.workers).filter_map(|(at, worker)| Some((at, worker.as_mut()?)))
    }

    /// Whether a worker may have a task: one that failed it gets it again only if no other could
    /// take it.
    pub(super) fn may_have(
        &self,
        table: &Table,
        worker: &Worker,
        class: &Class,
        sequence: u64,
    ) -> bool {
        let failed_on = table.get(sequence).map_or(&[][..], |task| task.failed_on());
        let could = |other: &Worker| {
            other.is_at_work() && !failed_on.contains(&other.name) && other.could_run(class)
        };
        !failed_on.contains(&worker.name) || !self.iter().any(|(_, other)| could(other))
    }

    /// Where the next one goes.
    pub(super) fn free_index(&self) -> u32 {
        let free = self.workers.iter().position(Option::is_none);
        u32::try_from(free.unwrap_or(self.workers.len())).expect("workers are bounded")
    }

    pub(super) fn put(&mut self, index: u32, worker: Worker) {
        let at = index as usize;
        if self.workers.len() <= at {
            self.workers.resize_with(at + 1, || None);
        }
        self.by_session.insert(worker.session.0, index);
        self.workers[at] = Some(worker);
    }

    pub(super) fn remove(&mut self, index: u32) {
        let Some(worker) = self.workers.get_mut(index as usize).and_then(Option::take) else {
            return;
        };
        debug_assert_eq!(worker.leases, 0, "its leases were taken from it");
        self.by_session.remove(&worker.session.0);
    }

    /// The leases of a worker, in the order in which they were given.
    pub(super) fn leases(&self, table: &Table, index: u32) -> Vec<u64> {
        let mut leases = Vec::new();
        let mut at = self.get(index).map_or(NONE, |worker| worker.first);
        while at != NONE {
            leases.push(at);
            at = table.get(at).map_or(NONE, |task| task.next);
        }
        leases
    }

    /// The latest leases that wait at a worker, latest first.
    pub(super) fn latest_ahead<'a>(
        &self,
        table: &'a Table,
        index: u32,
    ) -> impl Iterator<Item = u64> + use<'a> {
        let mut at = self.get(index).map_or(NONE, |worker| worker.last);
        std::iter::from_fn(move || {
            let task = table.get(at).filter(|task| task.is_ahead)?;
            Some(std::mem::replace(&mut at, task.prev))
        })
    }

    /// Notes a lease of a worker, as its latest.
    pub(super) fn link(&mut self, table: &mut Table, classes: &Classes, index: u32, sequence: u64) {
        let Some(worker) = self.workers.get_mut(index as usize).and_then(Option::as_mut) else {
            return;
        };
        let task = table.get_mut(sequence).expect("a task that is there");
        let class = classes.get(task.class);
        (task.prev, task.next) = (worker.last, NONE);
        task.is_ahead = !worker.can_run(class);
        let (is_ahead, priority) = (task.is_ahead, task.priority);
        worker.leases += 1;
        if is_ahead {
            worker.ahead += 1;
            if worker.first_ahead == NONE {
                worker.first_ahead = sequence;
            }
        } else {
            worker.used_memory += class.memory;
            worker.used_cores += u64::from(class.cores_milli);
        }
        if let Some(last) = table.get_mut(worker.last) {
            last.next = sequence;
        } else {
            worker.first = sequence;
        }
        worker.last = sequence;
        if is_ahead {
            self.note_ahead(priority);
        }
    }

    /// One more lease waits.
    fn note_ahead(&mut self, priority: i32) {
        self.ahead += 1;
        let lowest = if self.ahead == 1 { priority } else { self.lowest_ahead };
        self.lowest_ahead = lowest.min(priority);
    }

    /// Notes that a worker does not have a lease any more: one that waited there may run now.
    pub(super) fn unlink(&mut self, table: &mut Table, classes: &Classes, sequence: u64) {
        let task = table.get_mut(sequence).expect("a task that is there");
        let (prev, next, index) = (task.prev, task.next, task.worker);
        let (is_ahead, class) = (task.is_ahead, classes.get(task.class));
        (task.prev, task.next, task.is_ahead) = (NONE, NONE, false);
        let Some(worker) = self.workers.get_mut(index as usize).and_then(Option::as_mut) else {
            return;
        };
        worker.leases -= 1;
        worker.starved_at = [None; 2];
        if is_ahead {
            worker.ahead -= 1;
            self.ahead -= 1;
            if worker.first_ahead == sequence {
                worker.first_ahead = next;
            }
        } else {
            worker.used_memory -= class.memory;
            worker.used_cores -= u64::from(class.cores_milli);
        }
        match table.get_mut(prev) {
            Some(before) => before.next = next,
            None => worker.first = next,
        }
        match table.get_mut(next) {
            Some(behind) => behind.prev = prev,
            None => worker.last = prev,
        }
        self.promote(table, classes, index);
    }

    /// Lets those that wait at a worker count as running as far as they fit.
    fn promote(&mut self, table: &mut Table, classes: &Classes, index: u32) {
        let Some(worker) = self.workers.get_mut(index as usize).and_then(Option::as_mut) else {
            return;
        };
        while let Some(task) = table.get_mut(worker.first_ahead) {
            let class = classes.get(task.class);
            if !worker.has_room(class) {
                break;
            }
            task.is_ahead = false;
            worker.ahead -= 1;
            self.ahead -= 1;
            worker.used_memory += class.memory;
            worker.used_cores += u64::from(class.cores_milli);
            worker.first_ahead = task.next;
        }
    }

    /// Lets the last of those that run at a worker count as waiting, unless all of them fit. Says
    /// its priority.
    fn demote(&mut self, table: &mut Table, classes: &Classes, index: u32) -> Option<i32> {
        let worker = self.get_mut(index)?;
        if worker.holds(worker.running(), worker.used_memory, worker.used_cores) {
            return None;
        }
        let last = table.get(worker.first_ahead).map_or(worker.last, |first| first.prev);
        let task = table.get_mut(last)?;
        let class = classes.get(task.class);
        task.is_ahead = true;
        worker.ahead += 1;
        worker.first_ahead = last;
        worker.used_memory -= class.memory;
        worker.used_cores -= u64::from(class.cores_milli);
        Some(task.priority)
    }

    /// There is more or less room at a worker: others of its leases run there. There may be very
    /// many, so only those are looked at of which it is no longer true.
    fn refit(&mut self, table: &mut Table, classes: &Classes, index: u32) {
        let Some(worker) = self.get_mut(index) else { return };
        worker.starved_at = [None; 2];
        while let Some(priority) = self.demote(table, classes, index) {
            self.note_ahead(priority);
        }
        self.promote(table, classes, index);
    }

    /// A worker offers something else.
    pub(super) fn set_capacity(
        &mut self,
        table: &mut Table,
        classes: &Classes,
        index: u32,
        capacity: Capacity,
    ) {
        let Some(worker) = self.get_mut(index) else { return };
        worker.capacity = capacity;
        self.refit(table, classes, index);
    }

    /// Tasks of other queues take more or less of what a worker offers.
    pub(super) fn set_occupied(
        &mut self,
        table: &mut Table,
        classes: &Classes,
        index: u32,
        by_others: Occupancy,
    ) {
        let Some(worker) = self.get_mut(index) else { return };
        worker.occupied = by_others;
        self.refit(table, classes, index);
    }
}

#[cfg(test)]
impl Worker {
    /// Memory and cores of what runs there, as far as can be told.
    pub(super) fn used(&self) -> (u64, u64) {
        (self.used_memory, self.used_cores)
    }
}
