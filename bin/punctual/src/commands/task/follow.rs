//! Waiting for a job: how far it is, and what fails on the way.

use super::bar::Bar;
use super::rows::{What, grouped};
use super::status::PAGE;
use super::text::{last_line, shown};
use punctual_dashboard::documents::reason;
use punctual_runtime::tasks::{
    JobId, OwnedSelection, StateCounts, StateSet, TaskClient, TaskClientError, TaskId, TaskRow,
    TaskState, Verb,
};
use serde::Serialize;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

/// Failures that are told as they happen.
const TOLD_MAX: usize = 20;
/// Failures that are kept for the report.
pub(super) const KEPT_MAX: usize = 1000;
/// How often to look for an interruption.
const LOOK: Duration = Duration::from_millis(100);
/// The shortest pause between two looks at how far a job is.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Parts of the time that has gone by, and of that which is left, to wait before looking again.
const PARTS_OF_ELAPSED: u32 = 32;
const PARTS_OF_REST: u32 = 8;
/// Characters of a command and of an output line.
const SHOWN_CHARS: usize = 160;

/// A task that failed for good.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Failure {
    id: String,
    task: String,
    reason: String,
    /// The last line of its standard error.
    stderr: Option<String>,
    worker: String,
    attempts: u32,
}

impl Failure {
    fn new(row: &TaskRow<'_>) -> Self {
        let end = row.end.as_ref();
        let stderr = end.and_then(|end| last_line(end.stderr.tail));
        Self {
            id: row.id.to_string(),
            task: What::of(row.payload).title(SHOWN_CHARS),
            reason: end.map_or_else(|| "failed".to_owned(), reason),
            stderr: stderr.map(|line| shown(line, SHOWN_CHARS)),
            worker: shown(row.worker, 64),
            attempts: row.attempt.0,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "task {} failed: {}: {}", self.id, self.task, self.reason)?;
        self.stderr.as_ref().map_or(Ok(()), |line| write!(f, ": {line}"))
    }
}

/// The failures of a job.
#[derive(Debug, Default)]
pub(super) struct Failures {
    list: Vec<Failure>,
    ids: HashSet<TaskId>,
    told: usize,
}

impl Failures {
    /// Those that are known.
    pub(super) fn list(&self) -> &[Failure] {
        &self.list
    }

    /// How many of them people have heard of.
    pub(super) fn told(&self) -> usize {
        self.told
    }

    /// Asks for those that are not known yet, if there are any.
    fn update(
        &mut self,
        client: &mut TaskClient,
        job: JobId,
        failed: u64,
    ) -> Result<(), TaskClientError> {
        // Those that were tried again do not matter any more, but stay.
        if failed <= self.list.len() as u64 || self.list.len() >= KEPT_MAX {
            return Ok(());
        }
        let states = StateSet::NONE.with(TaskState::Failed);
        let selection = OwnedSelection { states, job: Some(job), ..OwnedSelection::default() };
        client.rows(&selection, PAGE, true, |row| {
            if self.list.len() >= KEPT_MAX {
                return ControlFlow::Break(());
            }
            if self.ids.insert(row.id) {
                self.list.push(Failure::new(row));
            }
            ControlFlow::Continue(())
        })
    }

    /// Tells people of those that they have not heard of, up to a number.
    fn tell(&mut self, bar: &Bar) {
        for failure in self.list.iter().skip(self.told).take(TOLD_MAX - self.told.min(TOLD_MAX)) {
            bar.say(&failure.to_string());
            self.told += 1;
            if self.told == TOLD_MAX {
                bar.say("there may be more failures; they are not shown one by one any more");
            }
        }
    }
}

/// How long not to look at a job of which so many tasks have ended in some time and so many are
/// left: looking costs the tasks time, and the end should be seen when it comes. News are waited
/// for in any case, so this may be nothing.
pub(super) fn pause(elapsed: Duration, ended: u64, left: u64) -> Duration {
    if ended == 0 {
        return Duration::ZERO;
    }
    let rest = elapsed.mul_f64(left as f64 / ended as f64) / PARTS_OF_REST;
    let pause = rest.min(elapsed / PARTS_OF_ELAPSED).min(LOOK);
    if pause < PAUSE_MIN { Duration::ZERO } else { pause }
}

/// How the waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// All tasks of the job are at an end.
    Over,
    /// Somebody did not want to wait.
    Interrupted,
}

/// Waits for a job.
pub(super) struct Follow<'a> {
    pub(super) client: &'a mut TaskClient,
    pub(super) job: JobId,
    pub(super) bar: &'a Bar,
    pub(super) failures: Failures,
    /// Failures are told as they happen.
    pub(super) tells: bool,
    /// The first failure cancels the rest.
    pub(super) fails_fast: bool,
    /// How many were at an end before, and how many of those had failed.
    pub(super) before: u64,
    pub(super) failed_before: u64,
    pub(super) began: Instant,
}

impl Follow<'_> {
    /// Waits until all tasks are at an end, or `look`, which is called several times a second,
    /// does not want to wait any more.
    pub(super) fn wait(
        &mut self,
        mut look: impl FnMut() -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<(StateCounts, Ending)> {
        let (mut seen, mut latest) = (0, StateCounts::default());
        loop {
            if look()?.is_break() {
                return Ok((self.latest(latest)?, Ending::Interrupted));
            }
            let news = self.client.progress(Some(self.job), seen, LOOK)?;
            let Some((version, counts)) = news else { continue };
            (seen, latest) = (version, counts);
            self.show(&counts)?;
            if counts.unfinished() == 0 {
                return Ok((counts, Ending::Over));
            }
            if self.fails_fast && counts[TaskState::Failed] > self.failed_before {
                self.fails_fast = false;
                self.cancel_rest()?;
            }
            // Every look costs the tasks time, so that there are few while many are left.
            let left = counts.unfinished();
            let ended = (counts.total() - left).saturating_sub(self.before);
            thread::sleep(pause(self.began.elapsed(), ended, left));
        }
    }

    /// The counts of now, as far as they can be had.
    fn latest(&mut self, before: StateCounts) -> anyhow::Result<StateCounts> {
        let counts = self.client.progress(Some(self.job), 0, LOOK)?;
        let counts = counts.map_or(before, |(_, counts)| counts);
        self.show(&counts)?;
        Ok(counts)
    }

    fn show(&mut self, counts: &StateCounts) -> anyhow::Result<()> {
        let failed = counts[TaskState::Failed];
        self.failures.update(self.client, self.job, failed)?;
        if self.tells {
            self.failures.tell(self.bar);
        }
        let (running, left) = (counts[TaskState::Leased], counts.unfinished());
        self.bar.set_total(counts.total());
        let failed_text = match failed {
            0 => String::new(),
            failed => format!(", {} failed", grouped(failed)),
        };
        let remark = format!("  {} running{failed_text}", grouped(running));
        self.bar.set(counts.total() - left, remark);
        Ok(())
    }

    fn cancel_rest(&mut self) -> anyhow::Result<()> {
        let unfinished = TaskState::ALL.into_iter().filter(|state| !state.is_final());
        let selection = OwnedSelection {
            states: unfinished.collect(),
            job: Some(self.job),
            ..OwnedSelection::default()
        };
        let cancelled = self.client.control(Verb::Cancel, &selection)?;
        self.bar.say(&format!(
            "a task failed, so {} others were cancelled (--fail-fast)",
            grouped(cancelled)
        ));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_rare_in_the_middle_and_frequent_at_both_ends() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(second, 0, 1_000), Duration::ZERO);
        assert_eq!(pause(second, 1_000, 100_000), second / 32);
        assert_eq!(pause(100 * second, 1_000, 100_000), LOOK);
        assert_eq!(pause(second, 1_000, 10), second / 100 / 8);
        assert_eq!(pause(second, 1_000, 1), Duration::ZERO);
    }
}
