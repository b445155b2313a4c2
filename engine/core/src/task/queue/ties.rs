//! Tasks that come after others: they wait for them, are cancelled with them, and come back with
//! them.

use super::book::Book;
use super::classes::Place;
use super::table::{NOBODY, NONE, Task};
use crate::Nanos;
use punctual_wire::task::TaskState;

impl Book {
    /// Notes that a task comes after another one.
    pub(super) fn add_successor(&mut self, of: u64, sequence: u64) {
        let task = self.table.get_mut(of).expect("it was just found");
        let bytes = task.bytes();
        let mut before = std::mem::take(&mut task.ties_mut().before);
        if before.len() == before.capacity() {
            // Those that were removed are in it until the room is needed.
            before.retain(|at| self.table.get(*at).is_some());
            if before.len() > before.capacity() / 2 {
                before.reserve(before.len());
            }
        }
        before.push(sequence);
        let task = self.table.get_mut(of).expect("it is there");
        task.ties_mut().before = before;
        self.bytes += task.bytes() - bytes;
    }

    /// The last of what a task comes after that is not done; whether that can still come about. Of
    /// tasks that end in order it is the one that ends last, so that few have to look again.
    pub(super) fn obstacle(&self, task: &Task) -> Option<(u64, bool)> {
        let open = task.after().iter().rev();
        let open = open.filter_map(|at| Some((*at, self.table.get(*at)?)));
        let mut open = open.filter(|(_, task)| task.state != TaskState::Done).peekable();
        let last = open.peek().map(|(at, _)| *at)?;
        let dead =
            open.find(|(_, it)| matches!(it.state, TaskState::Failed | TaskState::Cancelled));
        Some(dead.map_or((last, true), |(at, _)| (at, false)))
    }

    /// Lets a blocked task go on as far as what it comes after allows.
    pub(super) fn unblock(&mut self, sequence: u64) {
        let task = self.table.get(sequence).expect("a task that is there");
        debug_assert_eq!(task.state, TaskState::Blocked, "only blocked tasks are unblocked");
        match self.obstacle(task) {
            None => self.make_ready(sequence, Place::Back),
            Some((at, true)) => {
                let task = self.table.get_mut(sequence).expect("it is there");
                task.ties_mut().watched = at;
            }
            Some((at, false)) => self.cancel_for(sequence, at),
        }
    }

    /// Lets those that come after a task go on, or cancels them.
    pub(super) fn tell_successors(&mut self, sequence: u64, is_done: bool) {
        let task = self.table.get(sequence).expect("a task that is there");
        for next in task.before().to_vec() {
            let Some(task) = self.table.get(next) else { continue };
            if task.state != TaskState::Blocked {
                continue;
            }
            if !is_done {
                self.cancel_for(next, sequence);
            } else if task.ties.as_ref().is_some_and(|ties| ties.watched == sequence) {
                self.unblock(next);
            }
        }
    }

    /// Cancels a blocked task, and those after it, because `cause` cannot succeed.
    fn cancel_for(&mut self, sequence: u64, cause: u64) {
        let mut stack = vec![(sequence, cause)];
        let at = self.latest;
        while let Some((sequence, cause)) = stack.pop() {
            let is_blocked = |task: &Task| task.state == TaskState::Blocked;
            if !self.table.get(sequence).is_some_and(is_blocked) {
                continue;
            }
            let task = self.set_state(sequence, TaskState::Cancelled);
            task.turned_at = at;
            task.ties_mut().cause = cause;
            let entry = (sequence, task.ticket);
            stack.extend(task.before().iter().map(|next| (*next, sequence)));
            self.ended.push_back(entry);
        }
    }

    /// A task is to run again, with all its attempts anew, and so are those that were cancelled
    /// because of it.
    pub(super) fn revive(&mut self, sequence: u64, at: Nanos) {
        self.note_time(at);
        let mut stack = vec![(sequence, NONE)];
        let mut revived = Vec::new();
        while let Some((sequence, cause)) = stack.pop() {
            let Some(task) = self.table.get(sequence) else { continue };
            let is_due_to = |cause: u64| {
                task.state == TaskState::Cancelled
                    && task.ties.as_ref().is_some_and(|ties| ties.cause == cause)
            };
            if cause != NONE && !is_due_to(cause) {
                continue;
            }
            self.leave(sequence);
            let task = self.set_state(sequence, TaskState::Blocked);
            task.worker = NOBODY;
            (task.failures, task.losses, task.turned_at) = (0, 0, 0);
            if let Some(ties) = &mut task.ties {
                (ties.cause, ties.watched) = (NONE, NONE);
                ties.failed_on.clear();
            }
            stack.extend(task.before().iter().map(|next| (*next, sequence)));
            revived.push(sequence);
        }
        for sequence in revived {
            if self.table.get(sequence).is_some_and(|task| task.state == TaskState::Blocked) {
                self.unblock(sequence);
            }
        }
    }
}
