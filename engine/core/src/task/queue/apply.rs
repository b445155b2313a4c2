//! Records, done again.

use super::book::Book;
use super::classes::Place;
use super::record::{Kept, Misfit, TaskRecord};
use super::table::{Ended, NOBODY, NONE, Task, Ties};
use punctual_wire::task::{Attempt, JobId, TaskKey, TaskState};

impl Book {
    /// Does what a record says.
    pub(super) fn apply(&mut self, record: &TaskRecord<'_>) -> Result<(), Misfit> {
        match *record {
            TaskRecord::JobOpened { job, at, name } => {
                if self.job(job).is_some() || self.jobs.find(name).is_some() {
                    return Err("a job that is there already");
                }
                self.open_job(job, name, at);
            }
            TaskRecord::Submitted { sequence, at, ref spec } => {
                self.check_new(sequence, spec.job, spec.key)?;
                if spec.after.iter().any(|key| self.find(spec.job, key).is_none()) {
                    return Err("a task after one that there is not");
                }
                self.submit(sequence, at, spec);
            }
            TaskRecord::Enlisted { worker, session, at, name } => {
                if self.crew.get(worker).is_some() || self.crew.find(session).is_some() {
                    return Err("a worker that is there already");
                }
                self.enlist(worker, session, name, at);
            }
            TaskRecord::Dismissed { worker } => {
                if self.crew.get(worker).is_none_or(|worker| worker.leases > 0) {
                    return Err("a worker that is not there, or has leases");
                }
                self.dismiss(worker);
            }
            TaskRecord::Leased { sequence, worker, at } => {
                self.expect(sequence, |it| matches!(it, TaskState::Ready | TaskState::Delayed))?;
                if self.crew.get(worker).is_none() {
                    return Err("a lease of a worker that is not there");
                }
                self.lease(sequence, worker, at);
            }
            TaskRecord::Ended { sequence, at, next, due, ref end } => {
                // Under a fault for tests it may be of any attempt.
                self.expect(sequence, |state| !state.is_final())?;
                self.end(sequence, at, next, due, end);
            }
            TaskRecord::GivenBack { sequence, avoid } => {
                self.expect(sequence, |state| state == TaskState::Leased)?;
                self.give_back(sequence, avoid);
            }
            TaskRecord::Cancelled { sequence, at } => {
                self.expect(sequence, |state| !state.is_final())?;
                self.cancel(sequence, at);
            }
            TaskRecord::Revived { sequence, at } => {
                self.expect(sequence, |_| true)?;
                self.revive(sequence, at);
            }
            TaskRecord::Removed { sequence } => {
                self.expect(sequence, TaskState::is_final)?;
                self.remove(sequence);
            }
            TaskRecord::OutputDropped { sequence } => self.drop_output(sequence),
            _ => return self.apply_state(record),
        }
        Ok(())
    }

    fn check_new(&self, sequence: u64, job: JobId, key: TaskKey) -> Result<(), Misfit> {
        if self.job(job).is_none() {
            return Err("a task of a job that there is not");
        }
        if sequence.checked_sub(1) != Some(self.table.last()) {
            return Err("a task out of order");
        }
        if self.find(job, key).is_some() {
            return Err("a task that is there already");
        }
        Ok(())
    }

    fn expect(&self, sequence: u64, fits: impl Fn(TaskState) -> bool) -> Result<(), Misfit> {
        let task = self.table.get(sequence).ok_or("a task that is not there")?;
        if fits(task.state) { Ok(()) } else { Err("a task that is in another state") }
    }

    /// Does what a record of a snapshot says.
    fn apply_state(&mut self, record: &TaskRecord<'_>) -> Result<(), Misfit> {
        match *record {
            TaskRecord::State { last, latest } => {
                self.note_time(latest);
                self.target_last = last;
            }
            TaskRecord::Named { name } => {
                self.names.number_of(name);
            }
            TaskRecord::Kept { sequence, ref kept } => {
                if self.table.get(sequence).is_some() || sequence == NONE {
                    return Err("a task that is there already");
                }
                if sequence > self.target_last || self.job(kept.spec.job).is_none() {
                    return Err("a task out of its place");
                }
                self.keep(sequence, kept)?;
            }
            TaskRecord::End { tasks } => {
                if self.table.len() as u64 != tasks {
                    return Err("another number of tasks than it says");
                }
                self.table.set_last(self.target_last);
                let table = &self.table;
                let ended_at = |at: &u64| table.get(*at).map_or(0, |task| task.turned_at);
                self.ended.make_contiguous().sort_by_key(|(at, _)| ended_at(at));
            }
            _ => unreachable!("the caller has taken the others"),
        }
        Ok(())
    }

    /// Puts a task of a snapshot where it was. What it comes after is there already.
    fn keep(&mut self, sequence: u64, kept: &Kept<'_>) -> Result<(), Misfit> {
        let spec = &kept.spec;
        let after: Vec<u64> = kept.after.iter().map(|at| u64::from_le_bytes(*at)).collect();
        let failed_on = kept.failed_on.iter().map(|name| u32::from_le_bytes(*name)).collect();
        if after.iter().any(|at| self.table.get(*at).is_none()) {
            return Err("a task after one that there is not");
        }
        for before in &after {
            self.add_successor(*before, sequence);
        }
        let ties = Ties { after, failed_on, cause: kept.cause, ..Ties::default() };
        let has_ties = ties != Ties::default();
        let class = self.classes.class_of(spec.memory, spec.cores_milli);
        let task = Task {
            key: spec.key,
            payload: spec.payload.into(),
            end: kept.end.as_ref().map(|end| Box::new(Ended::of(end))),
            ties: has_ties.then(|| Box::new(ties)),
            timeout_ms: spec.timeout_ms,
            submitted_at: kept.submitted_at,
            ready_at: 0,
            leased_at: kept.leased_at,
            turned_at: kept.turned_at,
            prev: NONE,
            next: NONE,
            job: spec.job,
            class,
            priority: spec.priority,
            attempt: Attempt(kept.attempt),
            ticket: 0,
            worker: NOBODY,
            worker_name: kept.worker_name,
            failures: kept.failures,
            attempts_max: spec.attempts_max,
            losses: kept.losses,
            state: kept.state,
            is_ahead: false,
            is_recalled: false,
            is_listed: false,
        };
        self.insert(sequence, task);
        self.place(sequence, kept)
    }

    fn place(&mut self, sequence: u64, kept: &Kept<'_>) -> Result<(), Misfit> {
        let task = self.table.get(sequence).expect("it was just put there");
        match kept.state {
            TaskState::Ready => {
                let is_retry = !task.failed_on().is_empty();
                let place = if is_retry { Place::Retry } else { Place::Back };
                self.classes.put(task.class, task.priority, (sequence, 0), place);
            }
            TaskState::Delayed => {
                self.delayed.insert((kept.turned_at, sequence));
            }
            TaskState::Leased => {
                if self.crew.get(kept.worker).is_none() {
                    return Err("a lease of a worker that is not there");
                }
                self.table.get_mut(sequence).expect("it is there").worker = kept.worker;
                self.crew.link(&mut self.table, &self.classes, kept.worker, sequence);
            }
            TaskState::Blocked => {
                let obstacle = self.obstacle(task).ok_or("a blocked task that nothing blocks")?;
                let task = self.table.get_mut(sequence).expect("it is there");
                task.ties_mut().watched = obstacle.0;
            }
            TaskState::Done | TaskState::Failed | TaskState::Cancelled => {
                self.ended.push_back((sequence, 0));
            }
        }
        Ok(())
    }
}
