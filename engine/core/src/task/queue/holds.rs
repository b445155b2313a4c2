//! Workers that are held for a task which would not get its turn otherwise.
//!
//! Where small tasks take whatever gets free at once, one that needs much of a worker would wait
//! for ever. So it is counted how often the first of each class is overtaken, and after a while one
//! worker starts nothing more that comes after it, until it has room for it. What runs there may
//! run for very long, and nobody knows: after a while in vain it is another worker's turn. Nothing
//! of that is durable: a queue that goes on from its journal counts anew.

use super::TaskQueue;
use super::book::Book;
use super::classes::{Class, Classes, Entry, Pick};
use super::crew::Crew;
use super::dispatch::is_current;
use super::table::Table;
use crate::SessionId;

/// When a task was overtaken so many times as often as when its worker was chosen, another worker
/// is held instead. It is a multiple so that each has more time than the one before: in the end
/// enough, however long the tasks take that run there, unless they run for ever.
const PATIENCE: u32 = 8;

/// A worker that starts nothing that comes after a task. There is at most one a worker and one a
/// class; some may be of no use any more, until they are released.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hold {
    pub(super) task: Pick,
    pub(super) worker: u32,
    /// That of the worker: another one may get its index.
    pub(super) session: SessionId,
    /// Once the task was overtaken so often another worker is held for it.
    moves_at: u32,
}

impl Hold {
    /// Whether the worker may start a task: not if it comes after the one that it is held for. Of
    /// the same class whatever is first may, as in there the order is not only by arrival.
    pub(super) fn lets(&self, pick: &Pick) -> bool {
        pick.class == self.task.class || pick.order() <= self.task.order()
    }

    /// Whether the task can still be had, and the worker can still take it.
    fn is_needed(&self, classes: &Classes, crew: &Crew, table: &Table) -> bool {
        let (sequence, ticket) = (self.task.sequence, self.task.ticket);
        if !is_current(table, (sequence, ticket)) {
            return false;
        }
        let worker = crew.get(self.worker).filter(|worker| worker.session == self.session);
        let class = classes.get(self.task.class);
        worker.is_some_and(|worker| {
            worker.is_at_work()
                && worker.could_run(class)
                && crew.may_have(table, worker, class, sequence)
        })
    }
}

impl TaskQueue {
    pub(super) fn hold_of(&self, worker: u32) -> Option<Hold> {
        self.holds.iter().find(|hold| hold.worker == worker).copied()
    }

    /// Lets go of the workers whose task needs them no more.
    pub(super) fn release_holds(&mut self) {
        let Book { classes, crew, table, .. } = &mut self.book;
        self.holds.retain(|hold| {
            let is_needed = hold.is_needed(classes, crew, table);
            if !is_needed && let Some(worker) = crew.get_mut(hold.worker) {
                // What it could not have so far it can have now.
                worker.starved_at = [None; 2];
            }
            is_needed
        });
    }

    /// Counts whom a task has overtaken that a worker was just given, and holds a worker for each
    /// of those that were overtaken too often.
    pub(super) fn note_overtaken(&mut self, index: u32, pick: &Pick) {
        let Book { classes, crew, table, .. } = &mut self.book;
        let (crew, table) = (&*crew, &*table);
        let Some(worker) = crew.get(index) else { return };
        let has_no_room = |class: &Class| worker.could_run(class) && !worker.can_run(class);
        let is_current = |entry: Entry| is_current(table, entry);
        let may_have = |class: &Class, sequence: u64| crew.may_have(table, worker, class, sequence);
        let overdue = classes.note_overtaken(pick, has_no_room, is_current, may_have);
        for (task, times) in &overdue {
            self.hold_for(task, *times);
        }
    }

    /// Holds the worker that has most of what a task needs free, if there is one to be held. If one
    /// is held in vain, the next one.
    fn hold_for(&mut self, task: &Pick, times: u32) {
        let held = self.holds.iter().position(|hold| hold.task.class == task.class);
        let before = held.map(|at| self.holds[at]);
        if before.is_some_and(|hold| times < hold.moves_at) {
            return;
        }
        let Book { classes, crew, table, .. } = &self.book;
        let class = classes.get(task.class);
        let free = crew.iter().filter(|(index, worker)| {
            // What waits there already would take the room that gets free.
            worker.ahead == 0
                && worker.is_at_work()
                && worker.could_run(class)
                && self.hold_of(*index).is_none()
                && crew.may_have(table, worker, class, task.sequence)
        });
        let best = match before {
            // In turns, so that it is not the same two again and again.
            Some(hold) => free.min_by_key(|(index, _)| (*index <= hold.worker, *index)),
            None => free.min_by_key(|(_, worker)| worker.missing_milli(class)),
        };
        let Some((worker, session)) = best.map(|(index, worker)| (index, worker.session)) else {
            return;
        };
        let moves_at = times.saturating_mul(PATIENCE);
        let hold = Hold { task: *task, worker, session, moves_at };
        let Some(at) = held else { return self.holds.push(hold) };
        let old = std::mem::replace(&mut self.holds[at], hold);
        if let Some(worker) = self.book.crew.get_mut(old.worker) {
            // What it could not have so far it can have now.
            worker.starved_at = [None; 2];
        }
    }
}
