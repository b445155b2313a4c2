//! What a queue knows: its jobs, tasks and workers, and every way in which they change.
//!
//! A change is one function here, called when it happens and again when the log is replayed: what
//! is durable is what was done in this order. Nothing here looks at a clock or decides anything.

use super::classes::{Classes, Place};
use super::crew::{Crew, Worker};
use super::jobs::{Job, Jobs};
use super::table::{Ended, NOBODY, NONE, Table, Task, Ties};
use crate::{Nanos, SessionId};
use punctual_wire::task::{
    Attempt, EndKind, JobId, StateCounts, TaskEnd, TaskKey, TaskSpec, TaskState,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Names of workers that are told apart, by those of all time.
const NAMES_MAX: usize = 1 << 16;

/// Names of workers; tasks remember them by number.
#[derive(Debug, Clone)]
pub(super) struct Names {
    texts: Vec<Box<[u8]>>,
    numbers: BTreeMap<Box<[u8]>, u32>,
}

impl Default for Names {
    /// The first one stands for nobody.
    fn default() -> Self {
        Self { texts: vec![Box::default()], numbers: BTreeMap::new() }
    }
}

impl Names {
    pub(super) fn number_of(&mut self, name: &[u8]) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        if name.is_empty() || self.texts.len() >= NAMES_MAX {
            return 0;
        }
        let number = u32::try_from(self.texts.len()).expect("names are bounded");
        self.texts.push(name.into());
        self.numbers.insert(name.into(), number);
        number
    }

    pub(super) fn text(&self, number: u32) -> &[u8] {
        self.texts.get(number as usize).map_or(&[], |text| text)
    }

    /// All but the first, in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.texts.iter().skip(1).map(|text| &**text)
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<u32> {
        self.numbers.get(name).copied()
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Book {
    pub(super) table: Table,
    pub(super) classes: Classes,
    pub(super) crew: Crew,
    pub(super) names: Names,
    pub(super) jobs: Jobs,
    /// Tasks that wait before they are tried again, by time.
    pub(super) delayed: BTreeSet<(i64, u64)>,
    /// Tasks that ended, in that order, some of which may be at work again or gone.
    pub(super) ended: VecDeque<(u64, u32)>,
    /// Tasks whose output is kept, whatever they do now, and some whose is not, each once.
    pub(super) with_output: VecDeque<u64>,
    pub(super) counts: StateCounts,
    pub(super) version: u64,
    /// What all tasks count for, and their outputs.
    pub(super) bytes: u64,
    pub(super) output_bytes: u64,
    /// The latest time that anything happened.
    pub(super) latest: i64,
    /// The queue's clock, for what is not durable; stands still while a log is replayed.
    pub(super) now: i64,
    /// While a snapshot is read: the last sequence that was given.
    pub(super) target_last: u64,
}

impl Book {
    pub(super) fn note_time(&mut self, at: Nanos) {
        self.latest = self.latest.max(at.0);
    }

    pub(super) fn open_job(&mut self, id: JobId, name: &[u8], at: Nanos) {
        self.note_time(at);
        self.jobs.open(id, name, at);
    }

    pub(super) fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(id)
    }

    fn count(&mut self, job: JobId, from: Option<TaskState>, to: Option<TaskState>) {
        self.version += 1;
        let mut job = self.jobs.get_mut(job);
        if let Some(job) = &mut job {
            job.version += 1;
        }
        for (state, is_more) in [(from, false), (to, true)] {
            let Some(state) = state else { continue };
            let counts = job.as_mut().map(|job| &mut job.counts).into_iter();
            for counts in counts.chain([&mut self.counts]) {
                counts[state] = if is_more { counts[state] + 1 } else { counts[state] - 1 };
            }
        }
    }

    /// Takes a task up. What it comes after is there, or it would have been refused.
    pub(super) fn submit(&mut self, sequence: u64, at: Nanos, spec: &TaskSpec<'_>) {
        self.note_time(at);
        let after = spec.after.iter().filter_map(|key| self.table.find(spec.job, key));
        let mut after: Vec<u64> = after.collect();
        after.sort_unstable();
        after.dedup();
        let class = self.classes.class_of(spec.memory, spec.cores_milli);
        for before in &after {
            self.add_successor(*before, sequence);
        }
        let ties = Ties { after, ..Ties::default() };
        let task = Task {
            key: spec.key,
            payload: spec.payload.into(),
            end: None,
            ties: (!ties.after.is_empty()).then(|| Box::new(ties)),
            timeout_ms: spec.timeout_ms,
            submitted_at: at.0,
            ready_at: 0,
            leased_at: 0,
            turned_at: 0,
            prev: NONE,
            next: NONE,
            job: spec.job,
            class,
            priority: spec.priority,
            attempt: Attempt(0),
            ticket: 0,
            worker: NOBODY,
            worker_name: 0,
            failures: 0,
            attempts_max: spec.attempts_max.max(1),
            losses: 0,
            state: TaskState::Blocked,
            is_ahead: false,
            is_recalled: false,
            is_listed: false,
        };
        self.insert(sequence, task);
        self.unblock(sequence);
    }

    /// Puts a task into the table and counts it.
    pub(super) fn insert(&mut self, sequence: u64, mut task: Task) {
        self.bytes += task.bytes();
        self.output_bytes += task.output_bytes();
        task.is_listed = task.output_bytes() > 0;
        if task.is_listed {
            self.with_output.push_back(sequence);
        }
        self.count(task.job, None, Some(task.state));
        self.table.insert(sequence, task);
    }

    pub(super) fn set_state(&mut self, sequence: u64, state: TaskState) -> &mut Task {
        let task = self.table.get_mut(sequence).expect("a task that is there");
        let (job, from) = (task.job, std::mem::replace(&mut task.state, state));
        task.ticket = task.ticket.wrapping_add(1);
        self.count(job, Some(from), Some(state));
        self.table.get_mut(sequence).expect("it is there")
    }

    pub(super) fn make_ready(&mut self, sequence: u64, place: Place) {
        let now = self.now;
        let task = self.set_state(sequence, TaskState::Ready);
        task.ready_at = now;
        let entry = (sequence, task.ticket);
        let (class, priority) = (task.class, task.priority);
        let place = if task.failed_on().is_empty() { place } else { Place::Retry };
        self.classes.put(class, priority, entry, place);
    }

    /// Takes a task out of wherever it waits or is at work, before its state changes.
    pub(super) fn leave(&mut self, sequence: u64) {
        let task = self.table.get(sequence).expect("a task that is there");
        match task.state {
            TaskState::Ready => {
                let (class, ticket) = (task.class, task.ticket);
                let Self { classes, table, .. } = self;
                classes.drop_one(class, |(other, at)| {
                    (other, at) != (sequence, ticket)
                        && table.get(other).is_some_and(|task| task.ticket == at)
                });
            }
            TaskState::Delayed => {
                self.delayed.remove(&(task.turned_at, sequence));
            }
            TaskState::Leased => self.crew.unlink(&mut self.table, &self.classes, sequence),
            _ => {}
        }
    }

    /// Gives a task to a worker. Its entry among those that can be had is taken out by the caller
    /// or has become stale.
    pub(super) fn lease(&mut self, sequence: u64, worker: u32, at: Nanos) -> Attempt {
        self.note_time(at);
        self.leave(sequence);
        let name = self.crew.get(worker).map_or(0, |worker| worker.name);
        let task = self.set_state(sequence, TaskState::Leased);
        task.attempt = Attempt(task.attempt.0 + 1);
        task.leased_at = at.0;
        (task.worker, task.worker_name, task.is_recalled) = (worker, name, false);
        let attempt = task.attempt;
        self.crew.link(&mut self.table, &self.classes, worker, sequence);
        attempt
    }

    /// Ends an attempt; the task goes on to `next`, if delayed until `due`.
    pub(super) fn end(
        &mut self,
        sequence: u64,
        at: Nanos,
        next: TaskState,
        due: Nanos,
        end: &TaskEnd<'_>,
    ) {
        self.note_time(at);
        self.leave(sequence);
        self.keep_end(sequence, end);
        let task = self.table.get_mut(sequence).expect("a task that is there");
        let name = task.worker_name;
        task.worker = NOBODY;
        if end.kind == EndKind::Lost {
            task.losses = task.losses.saturating_add(1);
        } else if !end.is_success() {
            task.failures = task.failures.saturating_add(1);
            let bytes = task.bytes();
            if !task.failed_on().contains(&name) {
                task.ties_mut().failed_on.push(name);
            }
            self.bytes += task.bytes() - bytes;
        }
        match next {
            TaskState::Ready => self.make_ready(sequence, Place::Front),
            TaskState::Delayed => {
                self.set_state(sequence, TaskState::Delayed).turned_at = due.0;
                self.delayed.insert((due.0, sequence));
            }
            _ => self.finish(sequence, next, at),
        }
    }

    fn keep_end(&mut self, sequence: u64, end: &TaskEnd<'_>) {
        let task = self.table.get_mut(sequence).expect("a task that is there");
        self.bytes -= task.end_bytes();
        self.output_bytes -= task.output_bytes();
        task.end = Some(Box::new(Ended::of(end)));
        self.bytes += task.end_bytes();
        self.output_bytes += task.output_bytes();
        if task.output_bytes() > 0 && !task.is_listed {
            task.is_listed = true;
            self.with_output.push_back(sequence);
        }
    }

    /// Puts a task into a state in which nothing more happens to it.
    fn finish(&mut self, sequence: u64, state: TaskState, at: Nanos) {
        let task = self.set_state(sequence, state);
        task.turned_at = at.0;
        let entry = (sequence, task.ticket);
        let has_more = !task.before().is_empty();
        self.ended.push_back(entry);
        self.compact_ended();
        if has_more {
            self.tell_successors(sequence, state == TaskState::Done);
        }
    }

    /// Entries of tasks that are at work again, or gone, are no more than half. So are those of
    /// outputs that are gone.
    fn compact_ended(&mut self) {
        let counts = &self.counts;
        let live =
            counts[TaskState::Done] + counts[TaskState::Failed] + counts[TaskState::Cancelled];
        let bound = 2 * usize::try_from(live).unwrap_or(usize::MAX) + 4096;
        let Self { table, ended, with_output, .. } = self;
        if ended.len() > bound {
            ended.retain(|(at, ticket)| table.get(*at).is_some_and(|task| task.ticket == *ticket));
        }
        if with_output.len() > 2 * table.len() + 4096 {
            with_output.retain(|at| {
                let Some(task) = table.get_mut(*at) else { return false };
                task.is_listed = task.output_bytes() > 0;
                task.is_listed
            });
        }
    }

    /// A worker does not have a task any more, and nothing came of it.
    pub(super) fn give_back(&mut self, sequence: u64, avoid: bool) {
        self.leave(sequence);
        let task = self.table.get_mut(sequence).expect("a task that is there");
        let name = task.worker_name;
        task.worker = NOBODY;
        if avoid && !task.failed_on().contains(&name) {
            let bytes = task.bytes();
            task.ties_mut().failed_on.push(name);
            self.bytes += task.bytes() - bytes;
        }
        self.make_ready(sequence, Place::Front);
    }

    /// A delayed task is tried again.
    pub(super) fn end_delay(&mut self, sequence: u64) {
        self.leave(sequence);
        self.make_ready(sequence, Place::Back);
    }

    pub(super) fn cancel(&mut self, sequence: u64, at: Nanos) {
        self.note_time(at);
        self.leave(sequence);
        let task = self.table.get_mut(sequence).expect("a task that is there");
        task.worker = NOBODY;
        if let Some(ties) = &mut task.ties {
            ties.cause = NONE;
        }
        self.finish(sequence, TaskState::Cancelled, at);
    }

    /// Forgets a task.
    pub(super) fn remove(&mut self, sequence: u64) {
        self.leave(sequence);
        let Some(task) = self.table.remove(sequence) else { return };
        self.bytes -= task.bytes();
        self.output_bytes -= task.output_bytes();
        self.count(task.job, Some(task.state), None);
        // Whoever waited for it was told when it ended. Those that it came after keep its number,
        // which no other task gets: there may be a great many in their lists.
        for next in task.before() {
            let next = self.table.get_mut(*next).and_then(|next| next.ties.as_mut());
            if let Some(ties) = next {
                ties.after.retain(|it| *it != sequence);
            }
        }
    }

    /// Takes the task from the list whose output is the first to be forgotten.
    pub(super) fn next_output(&mut self) -> Option<u64> {
        while let Some(sequence) = self.with_output.pop_front() {
            let Some(task) = self.table.get_mut(sequence) else { continue };
            task.is_listed = false;
            if task.output_bytes() > 0 {
                return Some(sequence);
            }
        }
        None
    }

    /// Forgets what a task wrote.
    pub(super) fn drop_output(&mut self, sequence: u64) {
        let Some(task) = self.table.get_mut(sequence) else { return };
        let bytes = task.output_bytes();
        if let Some(end) = &mut task.end {
            (end.stdout, end.stderr) = (Box::default(), Box::default());
        }
        self.bytes -= bytes;
        self.output_bytes -= bytes;
    }

    pub(super) fn enlist(&mut self, index: u32, session: SessionId, name: &[u8], at: Nanos) {
        self.note_time(at);
        let name = self.names.number_of(name);
        self.crew.put(index, Worker::new(session, name, at));
    }

    /// A worker is forgotten; it has no leases any more.
    pub(super) fn dismiss(&mut self, index: u32) {
        self.crew.remove(index);
    }

    pub(super) fn find(&self, job: JobId, key: TaskKey) -> Option<u64> {
        self.table.find(job, key)
    }
}
