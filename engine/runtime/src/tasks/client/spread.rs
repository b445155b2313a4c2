//! Which queue of a server has which task, and what a client has to know for that.
//!
//! Tasks are spread by their keys, so whoever submits a task again finds it where it is. A queue
//! can only wait for tasks of its own: those of a job that others may come after, and those that
//! come after others, are all at one queue, which the name of the job tells.

use super::TaskClient;
use super::question::{Heard, Repeat};
use crate::tasks::{OwnedSpec, TaskClientError};
use punctual_wire::BatchWriter;
use punctual_wire::task::{JobId, QueuePush, ToQueue, queue_of_hash};
use std::collections::HashMap;
use std::ops::ControlFlow;
use xxhash_rust::xxh3::xxh3_64;

/// Jobs whose names are kept; those of more are asked for again.
const KEPT_MAX: usize = 4096;

/// Where the tasks of a job go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    queues: u16,
    /// The queue of those that belong together.
    together: u16,
}

impl Spread {
    pub(super) fn new(queues: u16, job_name: &[u8]) -> Self {
        Self { queues, together: queue_of_hash(xxh3_64(job_name), queues) }
    }

    /// The queue that has a task.
    #[inline]
    pub(super) fn queue_of(self, spec: &OwnedSpec) -> usize {
        let is_tied = spec.is_named || !spec.after.is_empty();
        usize::from(if is_tied { self.together } else { spec.key.queue(self.queues) })
    }
}

/// A job that is open at all queues.
#[derive(Debug)]
struct OpenJob {
    name: Box<[u8]>,
    /// The link to the first queue on which it was opened: on another one it may be gone.
    epoch: u64,
}

/// The jobs that a client knows to be open at all queues.
#[derive(Debug, Default)]
pub(super) struct OpenJobs {
    jobs: HashMap<JobId, OpenJob>,
}

impl OpenJobs {
    /// The name of a job that was opened on this link to the first queue.
    fn name_of(&self, job: JobId, epoch: u64) -> Option<&[u8]> {
        let open = self.jobs.get(&job).filter(|open| open.epoch == epoch)?;
        Some(&open.name)
    }

    fn note(&mut self, job: JobId, epoch: u64, name: &[u8]) {
        if self.jobs.len() >= KEPT_MAX {
            self.jobs.clear();
        }
        self.jobs.insert(job, OpenJob { name: name.into(), epoch });
    }
}

/// Takes the number of a job.
fn opened(heard: &Heard<'_>) -> ControlFlow<JobId> {
    match heard {
        Heard::Push(QueuePush::JobOpened { job, .. }) => ControlFlow::Break(*job),
        _ => ControlFlow::Continue(()),
    }
}

impl TaskClient {
    /// Opens a job at all queues: the first one gives it its number.
    pub(super) fn open_everywhere(&mut self, name: &[u8]) -> Result<JobId, TaskClientError> {
        let job = self.ask(
            Repeat::Safe,
            0,
            |request, out| ToQueue::OpenJob { request, job: None, name }.write(out),
            |heard| opened(&heard),
        )?;
        let epoch = self.lines[0].epoch();
        if self.lines.len() == 1 || self.open_jobs.name_of(job, epoch) == Some(name) {
            return Ok(job);
        }
        let others: Vec<usize> = (1..self.lines.len()).collect();
        let write = |_, request, out: &mut BatchWriter| {
            ToQueue::OpenJob { request, job: Some(job), name }.write(out);
        };
        let take = |_, heard: Heard<'_>| opened(&heard);
        for answer in self.ask_each(Repeat::Safe, &others, write, take)? {
            answer?;
        }
        self.open_jobs.note(job, epoch, name);
        Ok(job)
    }

    /// Sees to it that a job is open at all queues, also if whoever opened it has died meanwhile.
    /// Its name, or nothing if there is no such job.
    pub(super) fn complete_job(&mut self, job: JobId) -> Result<Option<Vec<u8>>, TaskClientError> {
        let epoch = self.lines[0].epoch();
        if let Some(name) = self.open_jobs.name_of(job, epoch) {
            return Ok(Some(name.to_vec()));
        }
        self.reopen_job(job)
    }

    /// As [`complete_job`](Self::complete_job), whatever this client remembers.
    pub(super) fn reopen_job(&mut self, job: JobId) -> Result<Option<Vec<u8>>, TaskClientError> {
        self.open_jobs.jobs.remove(&job);
        let known = self.jobs()?.into_iter().find(|known| known.job == job);
        let Some(name) = known.map(|known| known.name) else { return Ok(None) };
        // A job keeps its number for ever, unless the server has forgotten everything.
        let is_same = self.open_everywhere(&name)? == job;
        Ok(is_same.then_some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_wire::task::{QUEUES_MAX, TaskKey};

    /// A task whose key is a hash, as keys are.
    fn spec(number: u64) -> OwnedSpec {
        let high = xxh3_64(&number.to_le_bytes());
        OwnedSpec::new(TaskKey(u128::from(high) << 64 | u128::from(number)), Vec::new())
    }

    #[test]
    fn tasks_are_spread_evenly_and_each_of_them_goes_to_the_same_queue_whatever_the_job() {
        const TASKS: u64 = 10_000;
        for queues in [1, 2, 3, QUEUES_MAX] {
            let (spread, other) = (Spread::new(queues, b"job"), Spread::new(queues, b"other"));
            let mut counts = vec![0_u64; queues.into()];
            for spec in (0..TASKS).map(spec) {
                let queue = spread.queue_of(&spec);
                assert_eq!(other.queue_of(&spec), queue);
                counts[queue] += 1;
            }
            let share = TASKS / u64::from(queues);
            for count in counts {
                assert!(count > share / 2 && count < share * 2, "{count} of {share} at {queues}");
            }
        }
    }

    #[test]
    fn what_is_named_or_comes_after_others_is_at_one_queue_of_its_job() {
        let mut queues_used = [false; 4];
        for job in 0..100 {
            let spread = Spread::new(4, format!("job {job}").as_bytes());
            let named = OwnedSpec { is_named: true, ..spec(1) };
            let queue = spread.queue_of(&named);
            for number in 0..100 {
                let after = OwnedSpec { after: vec![named.key], ..spec(number) };
                let named = OwnedSpec { is_named: true, ..spec(number) };
                assert_eq!([&after, &named].map(|spec| spread.queue_of(spec)), [queue; 2]);
            }
            queues_used[queue] = true;
        }
        assert_eq!(queues_used, [true; 4], "other jobs are at other queues");
    }

    #[test]
    fn a_job_is_not_known_on_another_link_and_not_many_are_known() {
        let mut jobs = OpenJobs::default();
        jobs.note(JobId(3), 1, b"job");
        assert_eq!(jobs.name_of(JobId(3), 1), Some(&b"job"[..]));
        assert_eq!((jobs.name_of(JobId(3), 2), jobs.name_of(JobId(4), 1)), (None, None));
        for number in 0..2 * KEPT_MAX {
            jobs.note(JobId(u32::try_from(number).expect("a small number")), 1, b"job");
            assert!(jobs.jobs.len() <= KEPT_MAX);
        }
    }
}
