//! What several queues tell, put together as if it were one server that told it.

use crate::tasks::{OwnedJob, OwnedWorker};
use punctual_core::task::{LatencyBuckets, TaskLatencies};
use punctual_wire::task::{Distribution, JobId, StateCounts};
use std::collections::HashMap;

/// Adds the counts of some tasks to those of others.
pub(super) fn add_counts(sum: &mut StateCounts, more: &StateCounts) {
    for (sum, more) in sum.0.iter_mut().zip(more.0) {
        *sum = sum.saturating_add(more);
    }
}

/// The jobs of all queues: one has the same number everywhere.
pub(super) fn jobs(lists: Vec<Vec<OwnedJob>>) -> Vec<OwnedJob> {
    let mut jobs: Vec<OwnedJob> = Vec::new();
    let mut places: HashMap<JobId, usize> = HashMap::new();
    for row in lists.into_iter().flatten() {
        if let Some(at) = places.get(&row.job) {
            let job = &mut jobs[*at];
            add_counts(&mut job.counts, &row.counts);
            job.opened = job.opened.min(row.opened);
        } else {
            places.insert(row.job, jobs.len());
            jobs.push(row);
        }
    }
    jobs.sort_by_key(|job| job.job);
    jobs
}

/// A worker as the queues that were heard so far see it.
struct Merged {
    row: OwnedWorker,
    /// Queues that it is linked to.
    links: usize,
    /// Runs whose mean is known, and what they took.
    runs: u128,
    ran_ns: u128,
}

/// How many runs a mean is of; none if it is not known.
fn runs_of(row: &OwnedWorker) -> u128 {
    // One that has a mean has run something.
    let runs = row.done.saturating_add(row.failed).max(1);
    if row.mean_ns > 0 { runs.into() } else { 0 }
}

impl Merged {
    fn new(row: OwnedWorker) -> Self {
        let runs = runs_of(&row);
        let ran_ns = runs * u128::from(row.mean_ns);
        Self { links: row.is_linked.into(), runs, ran_ns, row }
    }

    fn add(&mut self, more: &OwnedWorker) {
        let runs = runs_of(more);
        self.links += usize::from(more.is_linked);
        self.runs += runs;
        self.ran_ns = self.ran_ns.saturating_add(runs * u128::from(more.mean_ns));
        let row = &mut self.row;
        if more.heard > row.heard {
            row.heard = more.heard;
            row.memory_free = more.memory_free;
            row.cores_used_milli = more.cores_used_milli;
        }
        row.enlisted = row.enlisted.min(more.enlisted);
        row.running = row.running.saturating_add(more.running);
        row.ahead = row.ahead.saturating_add(more.ahead);
        row.done = row.done.saturating_add(more.done);
        row.failed = row.failed.saturating_add(more.failed);
        row.lost = row.lost.saturating_add(more.lost);
        // It offers the same everywhere, but each queue may keep tasks waiting there.
        let prefetch = &mut row.capacity.prefetch;
        *prefetch = prefetch.saturating_add(more.capacity.prefetch);
    }

    fn finish(mut self, queues: usize) -> OwnedWorker {
        self.row.is_linked = self.links == queues;
        if let Some(mean_ns) = self.ran_ns.checked_div(self.runs) {
            self.row.mean_ns = u64::try_from(mean_ns).unwrap_or(u64::MAX);
        }
        self.row
    }
}

/// The workers of all queues: one has the same name everywhere, and a queue knows a name once.
pub(super) fn workers(mut lists: Vec<Vec<OwnedWorker>>) -> Vec<OwnedWorker> {
    let queues = lists.len();
    if queues == 1 {
        return lists.remove(0);
    }
    let mut workers: Vec<Merged> = Vec::new();
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    for row in lists.into_iter().flatten() {
        if let Some(at) = places.get(&row.name) {
            workers[*at].add(&row);
        } else {
            places.insert(row.name.clone(), workers.len());
            workers.push(Merged::new(row));
        }
    }
    workers.into_iter().map(|worker| worker.finish(queues)).collect()
}

/// The times of all queues.
pub(super) fn latencies(parts: &[TaskLatencies]) -> TaskLatencies {
    TaskLatencies {
        wait: buckets(parts.iter().map(|part| &part.wait)),
        lease: buckets(parts.iter().map(|part| &part.lease)),
    }
}

fn buckets<'a>(parts: impl Iterator<Item = &'a LatencyBuckets>) -> LatencyBuckets {
    let (mut counts, mut sum_ns) = ([0_u64; LatencyBuckets::COUNT], 0_u128);
    for part in parts {
        for (count, more) in counts.iter_mut().zip(part.counts()) {
            *count = count.saturating_add(*more);
        }
        sum_ns = sum_ns.saturating_add(part.sum_ns());
    }
    LatencyBuckets::from(Distribution::new(sum_ns, &Distribution::to_bytes_of(&counts)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_wire::task::{Capacity, TaskState};

    fn job(number: u32, name: &str, opened: i64, done: u64) -> OwnedJob {
        let mut counts = StateCounts::default();
        counts[TaskState::Done] = done;
        OwnedJob { job: JobId(number), name: name.into(), opened, counts }
    }

    fn worker(name: &str, heard: i64) -> OwnedWorker {
        OwnedWorker {
            name: name.into(),
            host: b"host".to_vec(),
            pid: 7,
            capacity: Capacity { slots: 4, prefetch: 2, ..Capacity::default() },
            is_linked: true,
            heard,
            enlisted: heard,
            running: 1,
            ahead: 2,
            done: 3,
            failed: 1,
            lost: 5,
            memory_free: heard.unsigned_abs(),
            cores_used_milli: 6,
            mean_ns: 0,
        }
    }

    #[test]
    fn a_job_of_several_queues_is_one_with_the_tasks_of_all() {
        let first = vec![job(0, "a", 10, 1), job(1, "b", 20, 2)];
        let second = vec![job(1, "b", 19, 5)];
        let merged = [job(0, "a", 10, 1), job(1, "b", 19, 7)];
        assert_eq!(jobs(vec![first.clone(), second.clone()]), merged);
        assert_eq!(jobs(vec![second, first.clone()]), merged);
        assert_eq!(jobs(vec![first.clone()]), first);
    }

    #[test]
    fn a_worker_of_several_queues_is_one_that_is_linked_if_it_is_to_all() {
        let (mut early, mut late) = (worker("w", 10), worker("w", 20));
        (early.mean_ns, late.mean_ns, late.done) = (100, 400, 11);
        let alone = worker("alone", 30);
        let merged = workers(vec![vec![early.clone(), alone.clone()], vec![late]]);
        let [both, other] = merged.as_slice() else { panic!("{merged:?}") };
        assert_eq!((both.running, both.ahead, both.lost), (2, 4, 10));
        assert_eq!((both.done, both.failed), (14, 2));
        assert_eq!((both.heard, both.enlisted, both.memory_free), (20, 10, 20));
        assert_eq!((both.capacity.slots, both.capacity.prefetch), (4, 4));
        // 4 runs of 100 and 12 of 400.
        assert_eq!(both.mean_ns, 325);
        assert!(both.is_linked);
        assert_eq!(*other, OwnedWorker { is_linked: false, ..alone });
        assert_eq!(workers(vec![vec![early.clone()]]), [early]);
    }

    #[test]
    fn a_mean_that_only_some_queues_know_is_theirs() {
        let known = OwnedWorker { mean_ns: 70, ..worker("w", 1) };
        let unknown = worker("w", 2);
        for lists in [[known.clone(), unknown.clone()], [unknown.clone(), known]] {
            let merged = workers(lists.map(|row| vec![row]).into());
            assert_eq!(merged[0].mean_ns, 70);
        }
        assert_eq!(workers(vec![vec![unknown.clone()], vec![unknown]])[0].mean_ns, 0);
    }

    #[test]
    fn times_of_several_queues_are_counted_together() {
        let times = |all: &[u64]| {
            let mut buckets = LatencyBuckets::default();
            for ns in all {
                buckets.record(*ns);
            }
            buckets
        };
        let part =
            |wait: &[u64], lease: &[u64]| TaskLatencies { wait: times(wait), lease: times(lease) };
        let parts = [part(&[1, u64::MAX], &[5]), part(&[1_000_000], &[]), part(&[], &[7, 5_000])];
        let all = part(&[1, u64::MAX, 1_000_000], &[5, 7, 5_000]);
        assert_eq!(latencies(&parts), all);
        assert_eq!(latencies(&[]), TaskLatencies::default());
    }
}
