//! What a client of several queues has heard of jobs at each of them, and has told as a sum.
//!
//! Each queue has versions of its own. A caller sees one number instead, which stands for what it
//! was told; what each queue's version was at that time is kept here, for the latest jobs.

use super::merge::add_counts;
use super::watches::News;
use punctual_wire::task::{JobId, StateCounts};

/// Jobs that are remembered to have been told of. Whoever asks for more is told at once.
const KEPT_MAX: usize = 32;

/// What was heard of a job at a queue.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// The link that it came by.
    epoch: u64,
    news: News,
}

/// What was heard of a job.
#[derive(Debug)]
pub(super) struct Total {
    /// `None`: all of them.
    job: Option<JobId>,
    /// What the caller knows it by; 0: nothing was told yet.
    version: u64,
    /// The latest of each queue.
    parts: Vec<Option<Part>>,
    /// Something was heard that was not told.
    has_news: bool,
}

impl Total {
    /// The version of a queue that was heard; 0: none.
    pub(super) fn seen(&self, queue: usize) -> u64 {
        self.parts[queue].map_or(0, |part| part.news.0)
    }

    /// Forgets what came by an earlier link than this one: the queue may be another one, with other
    /// tasks.
    pub(super) fn renew(&mut self, queue: usize, epoch: u64) {
        self.parts[queue].take_if(|part| part.epoch != epoch);
    }

    /// Whether a queue is to be asked. For a caller that knows nothing one answer of each will do.
    pub(super) fn wants(&self, queue: usize) -> bool {
        self.version != 0 || self.parts[queue].is_none()
    }

    /// Takes what a queue has told on a link.
    pub(super) fn note(&mut self, queue: usize, epoch: u64, news: News) {
        self.parts[queue] = Some(Part { epoch, news });
        self.has_news = true;
    }

    /// The tasks at all queues, if all were heard and something of it is new.
    pub(super) fn news(&self) -> Option<StateCounts> {
        if !self.has_news {
            return None;
        }
        let mut sum = StateCounts::default();
        for part in &self.parts {
            add_counts(&mut sum, &part.as_ref()?.news.1);
        }
        Some(sum)
    }
}

/// The jobs that a client was told of.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// The latest last.
    totals: Vec<Total>,
    /// The version that was told last.
    last: u64,
}

impl Totals {
    /// What is known to a caller that has seen a version of a job. It is taken out until it is
    /// [kept](Self::keep) again.
    pub(super) fn begin(&mut self, job: Option<JobId>, seen: u64, queues: usize) -> Total {
        let at = self.totals.iter().position(|total| total.job == job);
        let known = at.map(|at| self.totals.remove(at));
        known.filter(|total| seen != 0 && total.version == seen).unwrap_or_else(|| Total {
            job,
            version: 0,
            parts: vec![None; queues],
            has_news: false,
        })
    }

    /// Gives what is told a version.
    pub(super) fn tell(&mut self, total: &mut Total) -> u64 {
        self.last += 1;
        (total.version, total.has_news) = (self.last, false);
        self.last
    }

    /// Remembers what was heard, if any of it was ever told.
    pub(super) fn keep(&mut self, total: Total) {
        if total.version == 0 {
            return;
        }
        if self.totals.len() >= KEPT_MAX {
            self.totals.remove(0);
        }
        self.totals.push(total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_wire::task::TaskState;

    const JOB: Option<JobId> = Some(JobId(3));

    fn ready(tasks: u64) -> StateCounts {
        let mut counts = StateCounts::default();
        counts[TaskState::Ready] = tasks;
        counts
    }

    /// Two queues tell a caller who knows nothing.
    fn told(totals: &mut Totals, job: Option<JobId>) -> u64 {
        let mut total = totals.begin(job, 0, 2);
        for queue in 0..2 {
            assert!(total.news().is_none() && total.wants(queue));
            total.note(queue, 1, (7, ready(1)));
            assert!(!total.wants(queue), "it was heard");
        }
        assert_eq!(total.news(), Some(ready(2)));
        let version = totals.tell(&mut total);
        totals.keep(total);
        version
    }

    #[test]
    fn whoever_knows_the_latest_waits_for_news_of_any_queue() {
        let mut totals = Totals::default();
        let seen = told(&mut totals, JOB);
        assert_ne!(seen, 0);
        let mut total = totals.begin(JOB, seen, 2);
        assert_eq!((total.seen(0), total.seen(1), total.news()), (7, 7, None));
        assert!(total.wants(0) && total.wants(1));
        total.note(1, 1, (9, ready(5)));
        // Whoever does not wait for it is told the next time.
        totals.keep(total);
        let mut total = totals.begin(JOB, seen, 2);
        assert_eq!((total.seen(0), total.seen(1), total.news()), (7, 9, Some(ready(6))));
        assert_ne!(totals.tell(&mut total), seen);
        assert_eq!(total.news(), None, "it is told once");
    }

    #[test]
    fn what_came_by_a_link_that_was_lost_is_not_told_again() {
        let mut totals = Totals::default();
        let seen = told(&mut totals, JOB);
        let mut total = totals.begin(JOB, seen, 2);
        total.note(0, 1, (8, ready(4)));
        total.renew(0, 1);
        total.renew(1, 2);
        assert_eq!((total.seen(0), total.seen(1), total.news()), (8, 0, None));
        total.note(1, 2, (1, ready(0)));
        assert_eq!(total.news(), Some(ready(4)));
    }

    #[test]
    fn whoever_knows_something_else_is_told_anew_by_all() {
        let mut totals = Totals::default();
        let old = told(&mut totals, JOB);
        let seen = told(&mut totals, JOB);
        for (job, seen) in [(JOB, 0), (JOB, old), (None, seen)] {
            let total = totals.begin(job, seen, 2);
            assert_eq!((total.seen(0), total.seen(1), total.news()), (0, 0, None));
            totals.keep(total);
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut totals = Totals::default();
        let seen: Vec<u64> = (0..100).map(|job| told(&mut totals, Some(JobId(job)))).collect();
        assert_eq!(totals.totals.len(), KEPT_MAX);
        assert_eq!(totals.begin(Some(JobId(99)), seen[99], 2).seen(0), 7);
        assert_eq!(totals.begin(Some(JobId(0)), seen[0], 2).seen(0), 0);
    }
}
