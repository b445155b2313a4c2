//! What a client has asked for news of jobs, and heard.
//!
//! A queue keeps such a question until there is something to say, and nobody can take it back. So
//! whoever has waited long enough leaves it behind, and the next call that wants the same waits for
//! its answer instead of asking once more. All of this is about one link: on the next one the queue
//! may be another, with versions of its own.

use punctual_wire::task::{JobId, QueuePush, StateCounts, TaskFault};

/// Questions that may be left behind. A queue takes twice as many before it refuses more.
const ASKED_MAX: usize = 32;
/// Jobs that are remembered to have been asked about.
const HEARD_MAX: usize = 32;

/// A version, and how many tasks are in which state.
pub(super) type News = (u64, StateCounts);

/// A question that was not answered.
#[derive(Debug)]
struct Asked {
    request: u32,
    /// `None`: all of them.
    job: Option<JobId>,
    seen: u64,
}

/// A job of which something was heard.
#[derive(Debug)]
struct Heard {
    job: Option<JobId>,
    /// The latest, if nobody has taken it.
    news: Option<News>,
    /// Nobody has taken anything yet.
    is_first: bool,
}

/// The questions on a link, and their answers.
#[derive(Debug, Default)]
pub(super) struct Watches {
    asked: Vec<Asked>,
    /// The oldest first.
    heard: Vec<Heard>,
    fault: Option<(Option<JobId>, TaskFault)>,
}

impl Watches {
    /// Begins anew, on another link.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether so much is unanswered that nothing more may be asked on this link.
    pub(super) fn is_full(&self) -> bool {
        self.asked.len() >= ASKED_MAX
    }

    /// A call begins. What was heard before is too old for one that has seen nothing, and what went
    /// wrong with other questions does not matter to it.
    pub(super) fn begin(&mut self, job: Option<JobId>, seen: u64) {
        self.fault = None;
        if seen == 0
            && let Some(heard) = self.heard.iter_mut().find(|heard| heard.job == job)
        {
            heard.news = None;
        }
    }

    /// The version to ask beyond, unless that was asked already. The first question about a job is
    /// about any version: the one that the caller has seen may be of another queue, and be the same
    /// by accident.
    pub(super) fn question(&self, job: Option<JobId>, seen: u64) -> Option<u64> {
        let is_known = self.heard.iter().any(|heard| heard.job == job);
        let seen = if is_known { seen } else { 0 };
        let is_asked = self.asked.iter().any(|asked| asked.job == job && asked.seen == seen);
        (!is_asked).then_some(seen)
    }

    /// Notes that it was asked.
    pub(super) fn add(&mut self, request: u32, job: Option<JobId>, seen: u64) {
        self.asked.push(Asked { request, job, seen });
    }

    /// Takes a message. Returns whether it answers one of these questions, or did long ago.
    pub(super) fn note(&mut self, push: &QueuePush<'_>) -> bool {
        let (request, answer) = match *push {
            QueuePush::Progress { request, version, counts } => (request, Ok((version, counts))),
            QueuePush::Fault { request, fault } => (request, Err(fault)),
            _ => return false,
        };
        let Some(at) = self.asked.iter().position(|asked| asked.request == request) else {
            return answer.is_ok();
        };
        let job = self.asked.swap_remove(at).job;
        match answer {
            Ok(news) => self.hear(job, news),
            Err(fault) => self.fault = Some((job, fault)),
        }
        true
    }

    fn hear(&mut self, job: Option<JobId>, news: News) {
        if let Some(heard) = self.heard.iter_mut().find(|heard| heard.job == job) {
            heard.news = Some(news);
            return;
        }
        if self.heard.len() >= HEARD_MAX {
            self.heard.remove(0);
        }
        self.heard.push(Heard { job, news: Some(news), is_first: true });
    }

    /// What is news to somebody who has seen a version of a job.
    pub(super) fn take(
        &mut self,
        job: Option<JobId>,
        seen: u64,
    ) -> Option<Result<News, TaskFault>> {
        if let Some((_, fault)) = self.fault.take_if(|(of, _)| *of == job) {
            return Some(Err(fault));
        }
        let heard = self.heard.iter_mut().find(|heard| heard.job == job)?;
        let news = heard.news.take()?;
        let is_first = std::mem::take(&mut heard.is_first);
        (is_first || seen == 0 || news.0 != seen).then_some(Ok(news))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: Option<JobId> = Some(JobId(3));

    /// The queue answers a question with a version.
    fn answer(watches: &mut Watches, request: u32, version: u64) -> bool {
        let counts = StateCounts::default();
        watches.note(&QueuePush::Progress { request, version, counts })
    }

    fn version(watches: &mut Watches, seen: u64) -> Option<u64> {
        watches.take(JOB, seen).map(|news| news.expect("no fault").0)
    }

    #[test]
    fn the_first_question_on_a_link_is_about_any_version_and_its_answer_is_news() {
        let mut watches = Watches::default();
        for _ in 0..2 {
            assert_eq!(watches.question(JOB, 7), Some(0));
            watches.add(1, JOB, 0);
            assert_eq!(watches.question(JOB, 7), None, "it is asked");
            assert!(answer(&mut watches, 1, 7));
            assert_eq!(version(&mut watches, 7), Some(7), "perhaps of another queue");
            assert_eq!(watches.question(JOB, 7), Some(7));
            watches.clear();
        }
    }

    #[test]
    fn a_question_that_was_left_behind_is_not_asked_again_and_its_answer_is_kept() {
        let mut watches = Watches::default();
        watches.add(1, JOB, 0);
        assert!(answer(&mut watches, 1, 7));
        assert_eq!(version(&mut watches, 0), Some(7));
        watches.add(2, JOB, 7);
        // Whoever wants to know at once asks, and what was left behind stays.
        watches.begin(JOB, 0);
        assert_eq!(watches.question(JOB, 0), Some(0));
        watches.add(3, JOB, 0);
        assert!(answer(&mut watches, 3, 7));
        assert_eq!(version(&mut watches, 0), Some(7));
        assert_eq!(watches.question(JOB, 7), None);
        assert!(answer(&mut watches, 2, 8));
        watches.begin(JOB, 7);
        assert_eq!(version(&mut watches, 7), Some(8));
        assert_eq!(version(&mut watches, 8), None, "it is told once");
    }

    #[test]
    fn what_was_seen_is_no_news_and_what_is_old_none_for_who_wants_to_know_at_once() {
        let mut watches = Watches::default();
        watches.add(1, JOB, 0);
        assert!(answer(&mut watches, 1, 7));
        assert_eq!(version(&mut watches, 0), Some(7));
        watches.add(2, JOB, 5);
        assert!(answer(&mut watches, 2, 7));
        assert_eq!(version(&mut watches, 7), None);
        watches.add(3, JOB, 7);
        assert!(answer(&mut watches, 3, 8));
        watches.begin(JOB, 0);
        assert_eq!(version(&mut watches, 0), None);
    }

    #[test]
    fn faults_are_of_their_own_question_and_other_answers_of_nobody() {
        let mut watches = Watches::default();
        let fault = |request| QueuePush::Fault { request, fault: TaskFault::Busy };
        assert!(!watches.note(&fault(1)), "somebody else has asked");
        assert!(answer(&mut watches, 9, 4), "whoever has asked does not wait any more");
        watches.add(1, JOB, 0);
        assert!(watches.note(&fault(1)));
        assert_eq!(watches.take(None, 0), None, "that is about another job");
        assert_eq!(watches.take(JOB, 0), Some(Err(TaskFault::Busy)));
        watches.add(2, JOB, 0);
        assert!(watches.note(&fault(2)));
        watches.begin(JOB, 0);
        assert_eq!(watches.take(JOB, 0), None, "an earlier call had asked");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut watches = Watches::default();
        for request in 1..=100 {
            assert!(!watches.is_full());
            watches.add(request, Some(JobId(request)), 0);
            assert!(answer(&mut watches, request, 1));
        }
        assert_eq!(watches.heard.len(), HEARD_MAX);
        for request in 0..u32::try_from(ASKED_MAX).expect("a small number") {
            assert!(!watches.is_full());
            watches.add(request, JOB, request.into());
        }
        assert!(watches.is_full());
    }
}
