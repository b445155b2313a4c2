//! The task farm as a snapshot shows it.

use crate::history::History;
use punctual_runtime::tasks::{
    JobId, LatencyBuckets, OwnedJob, OwnedWorker, StateCounts, TaskLatencies, TaskState,
};
use std::time::Duration;

/// Totals of a [`History`] that a farm has: taken in, done and failed.
pub(crate) const TOTALS: usize = 3;
/// The two windows of rates.
pub(crate) const SHORT: Duration = Duration::from_secs(1);
pub(crate) const LONG: Duration = Duration::from_secs(10);

/// A task queue at one moment.
#[derive(Debug)]
pub(crate) struct Farm {
    /// Its tasks by state.
    pub(crate) counts: StateCounts,
    /// Its jobs, ascending by number.
    pub(crate) jobs: Vec<OwnedJob>,
    pub(crate) workers: Vec<OwnedWorker>,
    /// Over the short and the long window.
    pub(crate) rates: [Rates; 2],
    /// How long tasks run on average, by what workers say; `None` if none has ended.
    pub(crate) run_ns: Option<u64>,
    /// How long a task that is ready now waits if it goes on like this.
    pub(crate) wait_ns: Option<u64>,
    /// How long tasks took since the queue started.
    pub(crate) latencies: Box<TaskLatencies>,
    /// How long they waited and were out over the long window; `None` if none did.
    pub(crate) waits: Option<Spread>,
    pub(crate) leases: Option<Spread>,
}

/// How long something took: as long as this at most, in so many of a hundred cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spread {
    pub(crate) count: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p90_ns: u64,
    pub(crate) p99_ns: u64,
}

impl Spread {
    /// Of what was counted; `None` if nothing was.
    fn of(buckets: &LatencyBuckets) -> Option<Self> {
        Some(Self {
            count: buckets.count(),
            p50_ns: buckets.quantile_ns(500)?,
            p90_ns: buckets.quantile_ns(900)?,
            p99_ns: buckets.quantile_ns(990)?,
        })
    }
}

/// Tasks a second, as far as that is known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    pub(crate) submitted: Option<f64>,
    pub(crate) done: Option<f64>,
    pub(crate) failed: Option<f64>,
}

impl Rates {
    fn over(history: &History, window: Duration) -> Self {
        let [submitted, done, failed] = [0, 1, 2].map(|index| history.rate(index, window));
        Self { submitted, done, failed }
    }
}

impl Farm {
    /// What a queue has answered. Its rates come [later](Self::add_rates).
    pub(crate) fn new(mut jobs: Vec<OwnedJob>, workers: Vec<OwnedWorker>) -> Self {
        jobs.sort_by_key(|job| job.job);
        let mut counts = StateCounts::default();
        for job in &jobs {
            for state in TaskState::ALL {
                counts[state] += job.counts[state];
            }
        }
        let run_ns = mean_ns(&workers);
        Self {
            counts,
            jobs,
            workers,
            rates: [Rates::default(); 2],
            run_ns,
            wait_ns: None,
            latencies: Box::default(),
            waits: None,
            leases: None,
        }
    }

    /// The same with how long tasks took since the queue started.
    pub(crate) fn with_latencies(self, latencies: TaskLatencies) -> Self {
        Self { latencies: Box::new(latencies), ..self }
    }

    /// Adds how long tasks took within the long window, if that is known.
    pub(crate) fn add_latencies(&mut self, latest: Option<&TaskLatencies>) {
        self.waits = latest.and_then(|latest| Spread::of(&latest.wait));
        self.leases = latest.and_then(|latest| Spread::of(&latest.lease));
    }

    /// The totals that rates are made of, by what there is.
    pub(crate) fn totals(&self) -> [u64; TOTALS] {
        let counts = &self.counts;
        [counts.total(), counts[TaskState::Done], counts[TaskState::Failed]]
    }

    /// Adds what follows from the samples of the last seconds, this one among them.
    pub(crate) fn add_rates(&mut self, history: &History) {
        self.rates = [SHORT, LONG].map(|window| Rates::over(history, window));
        let ended =
            self.rates[1].done.zip(self.rates[1].failed).map(|(done, failed)| done + failed);
        self.wait_ns = match (self.counts[TaskState::Ready], ended) {
            (0, _) => Some(0),
            // Little's law: so many are before it, and so many leave in a second.
            (ready, Some(rate)) if rate > 0.0 => Some((ready as f64 / rate * 1e9) as u64),
            _ => None,
        };
    }

    /// The job with a number.
    pub(crate) fn job(&self, id: JobId) -> Option<&OwnedJob> {
        let at = self.jobs.binary_search_by_key(&id, |job| job.job).ok()?;
        self.jobs.get(at)
    }

    /// The jobs that there is room for: those under way before those that are over, and the newest
    /// first.
    pub(crate) fn foremost_jobs(&self, jobs_max: usize) -> Vec<&OwnedJob> {
        let mut jobs: Vec<&OwnedJob> = self.jobs.iter().collect();
        jobs.sort_by_key(|job| {
            (job.counts.unfinished() == 0, std::cmp::Reverse((job.opened, job.job)))
        });
        jobs.truncate(jobs_max);
        jobs
    }
}

/// The mean of the means of workers, by how many tasks each has run.
fn mean_ns(workers: &[OwnedWorker]) -> Option<u64> {
    let (mut sum, mut count) = (0_u128, 0_u128);
    for worker in workers.iter().filter(|worker| worker.mean_ns > 0) {
        // Nobody can have a mean without a task.
        let tasks = u128::from((worker.done + worker.failed).max(1));
        sum += tasks * u128::from(worker.mean_ns);
        count += tasks;
    }
    u64::try_from(sum.checked_div(count)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_runtime::tasks::Capacity;
    use std::time::Instant;

    fn job(id: u32, opened: i64, ready: u64, done: u64) -> OwnedJob {
        let mut counts = StateCounts::default();
        counts[TaskState::Ready] = ready;
        counts[TaskState::Done] = done;
        OwnedJob { job: JobId(id), name: format!("job{id}").into_bytes(), opened, counts }
    }

    fn worker(mean_ns: u64, done: u64) -> OwnedWorker {
        OwnedWorker {
            name: b"w".to_vec(),
            host: Vec::new(),
            pid: 1,
            capacity: Capacity::default(),
            is_linked: true,
            heard: 0,
            enlisted: 0,
            running: 0,
            ahead: 0,
            done,
            failed: 0,
            lost: 0,
            memory_free: 0,
            cores_used_milli: 0,
            mean_ns,
        }
    }

    #[test]
    fn jobs_under_way_come_first_and_then_the_newest() {
        let farm = Farm::new(vec![job(2, 20, 0, 1), job(0, 1, 5, 0), job(1, 10, 0, 1)], vec![]);
        let shown = |jobs_max| -> Vec<u32> {
            farm.foremost_jobs(jobs_max).iter().map(|job| job.job.0).collect()
        };
        assert_eq!(shown(9), [0, 2, 1]);
        assert_eq!(shown(1), [0]);
        assert_eq!(farm.job(JobId(2)).map(|job| job.opened), Some(20));
        assert!(farm.job(JobId(3)).is_none());
        assert_eq!(farm.totals(), [7, 2, 0]);
    }

    #[test]
    fn the_mean_run_counts_workers_by_what_they_ran() {
        assert_eq!(mean_ns(&[]), None);
        assert_eq!(mean_ns(&[worker(0, 3)]), None, "it has measured nothing");
        assert_eq!(mean_ns(&[worker(100, 1), worker(200, 3), worker(0, 9)]), Some(175));
    }

    #[test]
    fn the_wait_ahead_follows_from_what_waits_and_how_fast_it_goes() {
        let mut history = History::default();
        let start = Instant::now();
        history.push(start, vec![0, 0, 0]);
        history.push(start + LONG, vec![100, 40, 10]);
        let mut farm = Farm::new(vec![job(0, 1, 50, 0)], vec![]);
        farm.add_rates(&history);
        assert_eq!(farm.rates[1].submitted, Some(10.0));
        assert_eq!(farm.wait_ns, Some(10_000_000_000), "50 wait, and 5 a second end");
        let mut idle = Farm::new(vec![job(0, 1, 0, 9)], vec![]);
        idle.add_rates(&history);
        assert_eq!(idle.wait_ns, Some(0));
        let mut stuck = Farm::new(vec![job(0, 1, 50, 0)], vec![]);
        stuck.add_rates(&History::default());
        assert_eq!(stuck.wait_ns, None);
    }

    #[test]
    fn how_long_tasks_took_is_known_of_those_that_there_were() {
        let mut latest = TaskLatencies::default();
        for _ in 0..98 {
            latest.wait.record(1_000_000);
        }
        latest.wait.record(900_000_000);
        latest.wait.record(900_000_000);
        let mut farm = Farm::new(vec![], vec![]);
        farm.add_latencies(Some(&latest));
        let waits = farm.waits.expect("there were some");
        assert_eq!(waits.count, 100);
        assert!(waits.p50_ns == waits.p90_ns && waits.p90_ns < 1_200_000, "{waits:?}");
        assert!(waits.p99_ns > 780_000_000, "{waits:?}");
        assert_eq!(farm.leases, None, "none has ended");
        farm.add_latencies(None);
        assert_eq!(farm.waits, None);
    }
}
