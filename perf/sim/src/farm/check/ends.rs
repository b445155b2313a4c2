//! What is left in the end.

use super::Ledger;
use super::facts::{Ended, RunFacts, TaskFacts};
use crate::farm::inspect::Seen;
use crate::farm::plans::Plans;
use crate::farm::report::FarmViolationKind as Kind;
use punctual_wire::task::{Attempt, EndKind, TaskId, TaskState};
use std::collections::BTreeMap;

/// What a run writes to its standard output, so that its report is known again.
pub(in crate::farm) fn tag(id: TaskId, attempt: Attempt) -> Vec<u8> {
    format!("{}.{}", id.0, attempt.0).into_bytes()
}

impl Ledger {
    /// Looks at all tasks of all queues, once nothing happens any more.
    pub(in crate::farm) fn check_ends(&mut self, plans: &Plans, rows: &[Seen]) {
        let mut is_there = vec![None; self.tasks.len()];
        for seen in rows {
            let Some(task) = self.row(plans, seen) else { continue };
            if is_there[task as usize].replace(seen.state).is_some() {
                self.find(Kind::Invented, format!("t{task} is there twice"));
            }
        }
        for seen in rows {
            let Some(task) = self.ids.get(&seen.id).copied() else { continue };
            if let Err((kind, why)) = self.judge(plans, task, seen, &is_there) {
                let (state, attempt) = (seen.state.name(), seen.attempt.0);
                let text = format!("t{task} is {state} with attempt {attempt}, but {why}");
                self.find(kind, text);
            }
        }
        for (task, state) in (0_u32..).zip(&is_there) {
            let facts = &self.tasks[task as usize];
            self.counts.removed += u64::from(state.is_none() && facts.may_be_removed);
            if state.is_none() && facts.is_acked && !facts.may_be_removed {
                self.find(Kind::Lost, format!("t{task} was acknowledged, and is gone"));
            }
        }
        self.check_jobs(plans, rows);
        self.check_overlaps();
    }

    /// A job has one number, at all queues, and no other job has that.
    fn check_jobs(&mut self, plans: &Plans, rows: &[Seen]) {
        let (mut numbers, mut jobs) = (BTreeMap::new(), BTreeMap::new());
        for seen in rows {
            let Some(task) = plans.number_of(&seen.payload) else { continue };
            let job = plans.get(task).job;
            let number = *numbers.entry(job).or_insert(seen.job);
            let named = *jobs.entry(seen.job).or_insert(job);
            if (number, named) != (seen.job, job) {
                let text = match number == seen.job {
                    true => format!("{number:?} is job {named} and job {job}"),
                    false => format!("job {job} is {number:?} and {:?}", seen.job),
                };
                return self.find(Kind::JobNumber, text);
            }
        }
    }

    fn judge(
        &mut self,
        plans: &Plans,
        task: u32,
        seen: &Seen,
        states: &[Option<TaskState>],
    ) -> Result<(), (Kind, String)> {
        let facts = &self.tasks[task as usize];
        let pushed = facts.leases.iter().filter(|lease| lease.id == seen.id);
        if pushed.map(|lease| lease.attempt).max() > Some(seen.attempt) {
            return Err((Kind::AttemptTwice, "a later one was given out".to_owned()));
        }
        if facts
            .surely_done
            .is_some_and(|done| seen.state != TaskState::Done || done != (seen.id, seen.attempt))
        {
            let (_, attempt) = facts.surely_done.unwrap_or_default();
            let why = format!("the success of attempt {} was acknowledged", attempt.0);
            return Err((Kind::WrongEnd, why));
        }
        if facts.is_surely_cancelled && seen.state != TaskState::Cancelled {
            return Err((Kind::WrongEnd, "a client was told that it is cancelled".to_owned()));
        }
        if !facts.may_be_revived {
            let (sure, all) = (self.sure_failures(task, seen.id), failures(facts, seen.id));
            let counted = u64::from(seen.failures);
            if counted < sure || counted > all {
                let why = format!("counts {counted} failures of {sure} to {all}");
                return Err((Kind::WrongEnd, why));
            }
        }
        match seen.state {
            TaskState::Done => {
                self.counts.done += 1;
                judge_done(&self.tasks[task as usize], seen)
            }
            TaskState::Failed => {
                self.counts.failed += 1;
                self.judge_failed(task, seen)
            }
            TaskState::Cancelled => {
                self.counts.cancelled += 1;
                self.judge_cancelled(plans, task, states)
            }
            // That it is not at its end is somebody else's business.
            _ => Ok(()),
        }
    }

    fn judge_failed(&self, task: u32, seen: &Seen) -> Result<(), (Kind, String)> {
        let facts = &self.tasks[task as usize];
        let Some(end) = &seen.end else {
            return Err((Kind::WrongEnd, "nobody knows how".to_owned()));
        };
        if end.kind == EndKind::Lost {
            // Leases that never left the queue may count as well.
            let left = facts.leases.iter().filter(|lease| lease.id == seen.id);
            let kept =
                left.filter(|lease| !matches!(lease.ended, Some(Ended::Expired | Ended::Touched)));
            let lost = (seen.attempt.0 as usize).saturating_sub(kept.count());
            return if lost >= usize::from(self.losses_max) || facts.may_be_revived {
                Ok(())
            } else {
                Err((Kind::WrongEnd, format!("it was lost {lost} times at most")))
            };
        }
        if seen.failures < seen.attempts_max {
            let why = format!("it failed {} times of {}", seen.failures, seen.attempts_max);
            return Err((Kind::WrongEnd, why));
        }
        match facts.lease(seen.id, seen.attempt) {
            Some(lease) if lease.outcome == Some(false) && seen.is_of_its_attempt() => Ok(()),
            _ => Err((Kind::WrongEnd, "that attempt did not fail".to_owned())),
        }
    }

    /// It was cancelled by a client, or with something that it comes after.
    fn judge_cancelled(
        &self,
        plans: &Plans,
        task: u32,
        states: &[Option<TaskState>],
    ) -> Result<(), (Kind, String)> {
        let has_cause = |before: &u32| {
            let is_dead = matches!(
                states[*before as usize],
                None | Some(TaskState::Failed | TaskState::Cancelled)
            );
            let facts = &self.tasks[*before as usize];
            is_dead || facts.may_be_cancelled || facts.may_be_removed || facts.may_be_revived
        };
        let is_explained = self.tasks[task as usize].may_be_cancelled
            || plans.get(task).after.iter().any(has_cause);
        let why = || (Kind::WrongEnd, "nobody and nothing has cancelled it".to_owned());
        is_explained.then_some(()).ok_or_else(why)
    }

    /// Two runs of a task at once must be explained by what took the first lease back.
    fn check_overlaps(&mut self) {
        let mut overlaps = Vec::new();
        for (facts, task) in self.tasks.iter().zip(0_u32..) {
            for (at, first) in facts.runs.iter().enumerate() {
                let others = facts.runs[at + 1..].iter().filter(|other| overlap(first, other));
                for other in others {
                    // A lease that is over may still be begun by a worker that has not heard so.
                    let (first, other) =
                        if first.attempt < other.attempt { (first, other) } else { (other, first) };
                    let lease = facts.lease(first.id, first.attempt);
                    let how = lease.and_then(|lease| lease.ended);
                    overlaps.push((task, first.attempt, other.attempt, how));
                }
            }
        }
        for (task, first, other, how) in overlaps {
            self.counts.overlaps += 1;
            if !matches!(how, Some(Ended::Expired | Ended::Touched)) {
                let (first, other) = (first.0, other.0);
                let text = format!("attempts {first} and {other} of t{task}: {how:?}");
                self.find(Kind::Overlap, text);
            }
        }
    }
}

/// Attempts of which a failure was reported, be it too late.
fn failures(facts: &TaskFacts, id: TaskId) -> u64 {
    let leases = facts.leases.iter().filter(|lease| lease.id == id);
    leases.filter(|lease| lease.outcome == Some(false)).count() as u64
}

fn judge_done(facts: &TaskFacts, seen: &Seen) -> Result<(), (Kind, String)> {
    let is_it = |run: &&RunFacts| (run.id, run.attempt) == (seen.id, seen.attempt);
    let why = match facts.runs.iter().find(is_it) {
        None => "that attempt never ran",
        Some(run) if !run.has_succeeded => "that attempt did not succeed",
        _ if !seen.is_of_its_attempt() => "it shows the output of another attempt",
        _ if seen.end.as_ref().is_none_or(|end| end.kind != EndKind::Exited || end.code != 0) => {
            "it shows another end"
        }
        _ => return Ok(()),
    };
    Err((Kind::WrongEnd, why.to_owned()))
}

fn overlap(first: &RunFacts, other: &RunFacts) -> bool {
    let is_before = |ended: Option<i64>, began: i64| ended.is_some_and(|at| at <= began);
    !is_before(first.ended, other.began) && !is_before(other.ended, first.began)
}
