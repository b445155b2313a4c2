//! Whether a bench has done what it says.

use crate::commands::task::status::PAGE;
use punctual_load::histogram::new_histogram;
use punctual_load::summary::LatencySummary;
use punctual_runtime::tasks::{JobId, OwnedSelection, TaskClient, TaskEnd, TaskId, TaskState};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// The verdict on a good run.
pub(super) const OK: &str = "ok";

/// What the tasks themselves say.
pub(super) struct Checked {
    pub(super) verdict: String,
    pub(super) submit_to_done: LatencySummary,
    pub(super) lease_to_done: LatencySummary,
    /// Tasks of the worker with the fewest, and with the most.
    pub(super) least: u64,
    pub(super) most: u64,
}

/// Looks at every task of the first job, of which there must be `tasks`, all done, and compares
/// those of both that are done with the runs that so many workers have counted.
pub(super) fn check(
    client: &mut TaskClient,
    [job, others]: [JobId; 2],
    tasks: u64,
    succeeded: u64,
    workers: u16,
) -> anyhow::Result<Checked> {
    let selection = OwnedSelection { job: Some(job), ..OwnedSelection::default() };
    let (mut submit_to_done, mut lease_to_done) = (new_histogram(), new_histogram());
    let mut by_worker: HashMap<Vec<u8>, u64> = HashMap::new();
    let (mut rows, mut done, mut last) = (0_u64, 0_u64, TaskId::default());
    let mut is_ascending = true;
    client.rows(&selection, PAGE, false, |row| {
        rows += 1;
        let is_good = row.end.as_ref().is_some_and(TaskEnd::is_success);
        done += u64::from(row.state == TaskState::Done && is_good && row.failures == 0);
        // Each id once: ascending ones are not the same.
        is_ascending &= row.id > last;
        last = row.id;
        let took = |from: i64| row.times.ended.saturating_sub(from).max(1).unsigned_abs();
        submit_to_done.saturating_record(took(row.times.submitted));
        lease_to_done.saturating_record(took(row.times.leased));
        match by_worker.get_mut(row.worker) {
            Some(count) => *count += 1,
            None => {
                by_worker.insert(row.worker.to_vec(), 1);
            }
        }
        ControlFlow::Continue(())
    })?;
    let jobs = client.jobs()?;
    let done_of = |job: JobId| -> u64 {
        let own = jobs.iter().filter(|each| each.job == job);
        own.map(|each| each.counts[TaskState::Done]).sum()
    };
    let of_job = done_of(job);
    let of_all = of_job + done_of(others);
    let verdict = if !is_ascending || rows != tasks {
        format!("{rows} tasks are listed, and {tasks} were submitted")
    } else if done != tasks {
        format!("{done} of {tasks} tasks succeeded at their first try")
    } else if of_job != tasks {
        format!("the queue counts {of_job} of {tasks} tasks as done")
    } else if succeeded != of_all {
        format!("the workers ran {succeeded} tasks, and {of_all} are done")
    } else {
        OK.to_owned()
    };
    let (least, most) = shares(by_worker.values().copied(), workers);
    Ok(Checked {
        verdict,
        submit_to_done: LatencySummary::from_histogram(&submit_to_done),
        lease_to_done: LatencySummary::from_histogram(&lease_to_done),
        least,
        most,
    })
}

/// The fewest tasks and the most that a worker has done, by the counts of those that have done any:
/// where others have done none, that is the fewest.
fn shares(counts: impl ExactSizeIterator<Item = u64> + Clone, workers: u16) -> (u64, u64) {
    let is_somebody_idle = counts.len() < usize::from(workers);
    let least = if is_somebody_idle { None } else { counts.clone().min() };
    (least.unwrap_or(0), counts.max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_has_done_nothing_has_done_the_fewest() {
        let counts = [30, 10, 20].into_iter();
        assert_eq!(shares(counts.clone(), 3), (10, 30));
        assert_eq!(shares(counts, 4), (0, 30));
        assert_eq!(shares(std::iter::empty(), 2), (0, 0));
    }
}
