//! Runs that end, by themselves or because they are made to.

use super::TaskWorker;
use super::runs::{Ending, Phase};
use super::session::News;
use super::types::{Action, Exit, Lease, RunId, Usage};
use crate::Nanos;
use punctual_wire::task::{Attempt, EndKind, ReturnReason, TaskId};

impl TaskWorker {
    /// A run has ended. One that is not known is ignored.
    pub fn on_exit(&mut self, now: Nanos, run: RunId, exit: Exit) {
        self.now = now;
        let Some(at) = self.runs.find(run) else { return };
        let slot = self.runs.get(at);
        if slot.phase != Phase::Running {
            return;
        }
        let Lease { task, attempt, arrived, .. } = slot.lease;
        let ending = slot.ending;
        let waited_ns = u64::try_from((slot.started - arrived).0).unwrap_or(0);
        self.admission.end(&slot.lease);
        self.clear_timer(at);
        self.runs.remove_running(at);
        let exit = match ending {
            Some(Ending::Dropped) => return,
            // It may be done before SIGKILL comes. With SIGTERM exit code 0 proves nothing.
            Some(Ending::Returned(ReturnReason::LowMemory) | Ending::OutOfMemory)
                if exit.is_success() =>
            {
                exit
            }
            Some(Ending::Returned(reason)) => {
                self.give_back(task, attempt, reason);
                return;
            }
            Some(Ending::OutOfMemory) => {
                let mib = i32::try_from(exit.memory >> 20).unwrap_or(i32::MAX);
                Exit { kind: EndKind::OutOfMemory, code: mib, ..exit }
            }
            Some(Ending::TimedOut) => Exit { kind: EndKind::TimedOut, code: 0, ..exit },
            None if exit.is_shortage => {
                self.on_shortage(now, task, attempt);
                return;
            }
            None => {
                if matches!(exit.kind, EndKind::Exited | EndKind::Signaled) {
                    self.estimator.on_run(exit.ran_ns);
                }
                exit
            }
        };
        self.report(task, attempt, waited_ns, exit);
    }

    /// The machine could not start a task. That says nothing of the task: it goes back, with all
    /// that waits, to whoever has room for it.
    fn on_shortage(&mut self, now: Nanos, task: TaskId, attempt: Attempt) {
        self.throttle.on_shortage(now, self.runs.running());
        self.give_back(task, attempt, ReturnReason::Shortage);
        self.give_back_waiting(ReturnReason::Shortage);
    }

    fn report(&mut self, task: TaskId, attempt: Attempt, waited_ns: u64, mut exit: Exit) {
        if exit.is_success() {
            self.stats.succeeded += 1;
        } else {
            self.stats.failed += 1;
        }
        exit.cut_outputs();
        self.keep(task, attempt, News::Ended { waited_ns, exit });
    }

    /// Takes a measurement of what the machine has left. With little memory what waits is given
    /// back, with the reason of what had to be killed: only the worker knows the difference. With
    /// very little, something is killed.
    pub fn on_usage(&mut self, now: Nanos, usage: Usage) {
        self.now = now;
        self.usage = Some(usage);
        if self.admission.on_usage(usage.memory_free) {
            self.give_back_waiting(ReturnReason::LowMemory);
        }
        if self.admission.wants_memory(usage.memory_free) {
            self.kill_for_memory();
        }
    }

    /// Kills the youngest run, unless there is one that is about to end anyway.
    fn kill_for_memory(&mut self) {
        let alive = self.runs.used();
        let alive = alive.filter(|(_, run)| run.phase == Phase::Running && !run.is_killed);
        let victim = alive.max_by_key(|(_, run)| (run.ending.is_some(), run.order));
        let Some(at) = victim.map(|(at, _)| at) else { return };
        let is_alone = self.runs.running() == 1;
        let run = self.runs.get_mut(at);
        if run.ending.is_none() {
            let low = Ending::Returned(ReturnReason::LowMemory);
            run.ending = Some(if is_alone { Ending::OutOfMemory } else { low });
            self.stats.killed_for_memory += 1;
        }
        self.admission.killing(run.lease.run);
        self.kill(at);
    }

    pub(super) fn on_timer(&mut self, now: Nanos, at: u32) {
        self.clear_timer(at);
        if self.runs.get(at).ending.is_some() {
            self.kill(at);
        } else {
            self.stats.timed_out += 1;
            self.end_run(now, at, Ending::TimedOut);
        }
    }

    /// Asks a run to end, unless that was done, and sees to it that it does.
    pub(super) fn end_run(&mut self, now: Nanos, at: u32, ending: Ending) {
        let run = self.runs.get_mut(at);
        if run.ending.replace(ending).is_none() {
            self.actions.push_back(Action::Stop(run.lease.run));
            self.set_timer(at, now + self.config.kill_grace.into());
        }
    }

    pub(super) fn kill(&mut self, at: u32) {
        let run = self.runs.get_mut(at);
        run.is_killed = true;
        self.actions.push_back(Action::Kill(run.lease.run));
        self.clear_timer(at);
    }

    pub(super) fn set_timer(&mut self, at: u32, due: Nanos) {
        self.clear_timer(at);
        self.runs.get_mut(at).due = Some(due);
        self.timers.insert((due, at));
    }

    fn clear_timer(&mut self, at: u32) {
        if let Some(due) = self.runs.get_mut(at).due.take() {
            self.timers.remove(&(due, at));
        }
    }
}
