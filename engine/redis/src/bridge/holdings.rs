//! The tasks that the worker has, and what it could have beside them.

use punctual_wire::task::{Attempt, Capacity, TaskId};
use std::collections::{BTreeMap, HashMap};

/// A task that the worker has.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) line: Box<[u8]>,
    pub(super) attempt: Attempt,
    pub(super) priority: i32,
    pub(super) memory: u64,
    pub(super) cores_milli: u32,
    /// The worker was asked to give it back.
    pub(super) is_recalled: bool,
}

#[derive(Debug)]
struct Entry {
    held: Held,
    /// How many were given to the worker before it.
    order: u64,
}

/// All of them, in the order in which they were given to the worker: first those that run, as far
/// as can be told from what they ask for, then those that wait there.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    capacity: Capacity,
    entries: HashMap<TaskId, Entry>,
    running: BTreeMap<u64, TaskId>,
    ahead: BTreeMap<u64, TaskId>,
    /// How many there have been.
    count: u64,
    memory_used: u64,
    cores_used: u64,
}

/// What the worker can still be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Tasks that could start at once.
    pub(super) slots: u32,
    /// Tasks that may wait there.
    pub(super) ahead: u32,
    pub(super) memory: u64,
    pub(super) cores_milli: u64,
}

impl Room {
    pub(super) fn is_none(&self) -> bool {
        self.slots == 0 && self.ahead == 0
    }

    /// Takes the room for a task, if there is any. None starts before one that waits already.
    pub(super) fn admit(&mut self, memory: u64, cores_milli: u32) -> bool {
        let cores = u64::from(cores_milli);
        if self.slots > 0 && memory <= self.memory && cores <= self.cores_milli {
            self.slots -= 1;
            self.memory -= memory;
            self.cores_milli -= cores;
            return true;
        }
        if self.ahead == 0 {
            return false;
        }
        self.ahead -= 1;
        self.slots = 0;
        true
    }
}

impl Holdings {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// How many wait at the worker.
    pub(super) fn ahead(&self) -> usize {
        self.ahead.len()
    }

    pub(super) fn get(&self, task: TaskId) -> Option<&Held> {
        self.entries.get(&task).map(|entry| &entry.held)
    }

    /// Tasks and their lines, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TaskId, &Held)> {
        self.entries.iter().map(|(task, entry)| (*task, &entry.held))
    }

    /// Those from the `from`-th on, counted since the beginning; the latest ones are not among them
    /// if there are more than `max`. Also says where to go on; 0 is from the beginning.
    pub(super) fn some_from(&self, from: u64, max: usize) -> (Vec<TaskId>, u64) {
        let numbered = self.running.range(from..).chain(self.ahead.range(from..));
        let mut tasks: Vec<(u64, TaskId)> = numbered.map(|(order, task)| (*order, *task)).collect();
        tasks.sort_unstable_by_key(|(order, _)| *order);
        let next = tasks.get(max).map_or(0, |(order, _)| *order);
        tasks.truncate(max);
        (tasks.into_iter().map(|(_, task)| task).collect(), next)
    }

    /// Those that wait at the worker and were not asked for, latest first.
    pub(super) fn latest_ahead(&self) -> impl Iterator<Item = (TaskId, &Held)> {
        let held = self.ahead.values().rev().filter_map(|task| Some((*task, self.get(*task)?)));
        held.filter(|(_, held)| !held.is_recalled)
    }

    pub(super) fn mark_recalled(&mut self, task: TaskId) {
        if let Some(entry) = self.entries.get_mut(&task) {
            entry.held.is_recalled = true;
        }
    }

    /// Whether a task could ever run at the worker.
    pub(super) fn could_run(&self, memory: u64, cores_milli: u32) -> bool {
        memory <= self.capacity.memory && cores_milli <= self.capacity.cores_milli
    }

    /// What the worker can still be given.
    pub(super) fn room(&self) -> Room {
        let Capacity { slots, memory, cores_milli, prefetch, is_draining } = self.capacity;
        let count = |tasks: &BTreeMap<u64, TaskId>| u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        let is_full = is_draining || !self.ahead.is_empty();
        Room {
            slots: if is_full { 0 } else { slots.saturating_sub(count(&self.running)) },
            ahead: if is_draining { 0 } else { prefetch.saturating_sub(count(&self.ahead)) },
            memory: memory.saturating_sub(self.memory_used),
            cores_milli: u64::from(cores_milli).saturating_sub(self.cores_used),
        }
    }

    /// The worker offers something else: which of its tasks run is told anew.
    pub(super) fn set_capacity(&mut self, capacity: Capacity) {
        if self.capacity == capacity {
            return;
        }
        self.capacity = capacity;
        let mut all = std::mem::take(&mut self.running);
        all.append(&mut self.ahead);
        (self.memory_used, self.cores_used) = (0, 0);
        for (order, task) in all {
            self.place(order, task);
        }
    }

    /// Notes a task that the worker is given, in place of an earlier attempt at it.
    pub(super) fn add(&mut self, task: TaskId, held: Held) {
        self.remove(task);
        let order = self.count;
        self.count += 1;
        self.entries.insert(task, Entry { held, order });
        self.place(order, task);
    }

    /// Notes that the worker does not have a task any more: one that waited there may run now.
    pub(super) fn remove(&mut self, task: TaskId) -> Option<Held> {
        let Entry { held, order } = self.entries.remove(&task)?;
        if self.running.remove(&order).is_some() {
            self.memory_used -= held.memory;
            self.cores_used -= u64::from(held.cores_milli);
        } else {
            self.ahead.remove(&order);
        }
        while let Some((&order, &task)) = self.ahead.first_key_value() {
            if !self.has_room(task) {
                break;
            }
            self.ahead.remove(&order);
            self.run(order, task);
        }
        Some(held)
    }

    /// Takes all of them away.
    pub(super) fn take(&mut self) -> Vec<Held> {
        let capacity = self.capacity;
        let entries = std::mem::take(self).entries;
        self.capacity = capacity;
        entries.into_values().map(|entry| entry.held).collect()
    }

    fn place(&mut self, order: u64, task: TaskId) {
        if self.ahead.is_empty() && self.has_room(task) {
            self.run(order, task);
        } else {
            self.ahead.insert(order, task);
        }
    }

    fn has_room(&self, task: TaskId) -> bool {
        let Some(Held { memory, cores_milli, .. }) = self.get(task) else { return false };
        self.running.len() < self.capacity.slots as usize
            && self.memory_used.saturating_add(*memory) <= self.capacity.memory
            && self.cores_used + u64::from(*cores_milli) <= self.capacity.cores_milli.into()
    }

    fn run(&mut self, order: u64, task: TaskId) {
        let Some(Held { memory, cores_milli, .. }) = self.get(task) else { return };
        let (memory, cores) = (*memory, u64::from(*cores_milli));
        self.memory_used += memory;
        self.cores_used += cores;
        self.running.insert(order, task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holdings(slots: u32, prefetch: u32) -> Holdings {
        let mut holdings = Holdings::default();
        let (memory, cores_milli) = (8, 4000);
        let is_draining = false;
        holdings.set_capacity(Capacity { slots, memory, cores_milli, prefetch, is_draining });
        holdings
    }

    fn add(holdings: &mut Holdings, task: u64, memory: u64) {
        let line = format!("task {task}").into_bytes().into();
        let (attempt, priority, cores_milli, is_recalled) = (Attempt(1), 0, 0, false);
        let held = Held { line, attempt, priority, memory, cores_milli, is_recalled };
        holdings.add(TaskId(task), held);
    }

    #[test]
    fn tasks_run_while_they_fit_and_wait_then_in_their_order() {
        let mut holdings = holdings(3, 2);
        for task in 1..=5 {
            add(&mut holdings, task, 3);
        }
        assert_eq!((holdings.running(), holdings.ahead()), (2, 3), "8 bytes have room for two");
        assert!(holdings.room().is_none());
        holdings.remove(TaskId(1));
        assert_eq!((holdings.running(), holdings.ahead()), (2, 2));
        let latest: Vec<u64> = holdings.latest_ahead().map(|(task, _)| task.0).collect();
        assert_eq!(latest, [5, 4]);
        holdings.mark_recalled(TaskId(5));
        assert_eq!(holdings.latest_ahead().count(), 1);
    }

    #[test]
    fn what_may_wait_has_room_only_behind_what_runs() {
        let mut room = holdings(2, 1).room();
        assert!(room.admit(8, 0), "it starts");
        assert!(room.admit(8, 0), "it waits");
        assert!(!room.admit(0, 0), "nothing starts before one that waits");
        let mut room = holdings(2, 0).room();
        assert!(room.admit(8, 0));
        assert!(!room.admit(1, 0));
        assert!(room.admit(0, 0), "one that does not fit is overtaken if nothing may wait");
    }

    #[test]
    fn with_another_capacity_it_is_told_anew_what_runs() {
        let mut holdings = holdings(1, 4);
        for task in 1..=4 {
            add(&mut holdings, task, 0);
        }
        assert_eq!((holdings.running(), holdings.ahead()), (1, 3));
        holdings.set_capacity(Capacity { slots: 3, ..holdings.capacity });
        assert_eq!((holdings.running(), holdings.ahead()), (3, 1));
        holdings.set_capacity(Capacity { is_draining: true, ..holdings.capacity });
        assert!(holdings.room().is_none());
        assert_eq!(holdings.take().len(), 4);
        assert!(holdings.is_empty() && holdings.capacity.is_draining);
    }

    #[test]
    fn a_new_attempt_takes_the_place_of_the_one_before() {
        let mut holdings = holdings(2, 0);
        add(&mut holdings, 1, 8);
        add(&mut holdings, 1, 4);
        assert_eq!((holdings.len(), holdings.running()), (1, 1));
        assert_eq!(holdings.room().memory, 4);
    }

    #[test]
    fn all_tasks_are_looked_at_in_turn() {
        let mut holdings = holdings(2, 8);
        for task in 1..=5 {
            add(&mut holdings, task, 0);
        }
        let mut seen = Vec::new();
        let mut from = 0;
        loop {
            let (tasks, next) = holdings.some_from(from, 2);
            seen.extend(tasks.iter().map(|task| task.0));
            from = next;
            if from == 0 {
                break;
            }
        }
        assert_eq!(seen, [1, 2, 3, 4, 5]);
    }
}
