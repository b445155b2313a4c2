//! Waiting for news of jobs.

use super::line::Line;
use super::watches::News;
use super::{Step, TaskClient, deadline_or};
use crate::tasks::TaskClientError;
use punctual_core::Nanos;
use punctual_wire::task::{JobId, StateCounts, TaskFault};
use std::time::Duration;

/// News, if there were any in time; or the queue that knows of none, with its reason.
type Outcome = Result<Option<News>, (usize, TaskFault)>;

impl TaskClient {
    /// How many tasks of a job, or of all, are in which state, as soon as there is news beyond the
    /// version `seen` (0: at once). With the counts comes the version to ask beyond the next time;
    /// it is never 0, and means something to this client only.
    /// `None` if there is no news within `patience`. After the link was lost there is news at once,
    /// whatever its version: the queue may be another one, which counts its versions anew.
    ///
    /// # Errors
    /// When there is no such job, or the queue is out of reach for longer than this client waits.
    pub fn progress(
        &mut self,
        job: Option<JobId>,
        seen: u64,
        patience: Duration,
    ) -> Result<Option<(u64, StateCounts)>, TaskClientError> {
        let due = self.lines[0].now() + patience.into();
        if self.lines.len() == 1 {
            return self.news_of_one(job, seen, due);
        }
        let mut was_reopened = false;
        loop {
            let (queue, fault) = match self.news_of_all(job, seen, due)? {
                Ok(news) => return Ok(news),
                Err(fault) => fault,
            };
            // Whoever opened it may have died before it came to this queue.
            let is_incomplete = queue > 0 && fault == TaskFault::UnknownJob && !was_reopened;
            was_reopened = true;
            let is_found = match job.filter(|_| is_incomplete) {
                Some(job) => self.reopen_job(job)?.is_some(),
                None => false,
            };
            if !is_found {
                return Err(fault.into());
            }
        }
    }

    /// Waits for news of the only queue, whose versions are those of the caller.
    fn news_of_one(
        &mut self,
        job: Option<JobId>,
        seen: u64,
        due: Nanos,
    ) -> Result<Option<News>, TaskClientError> {
        let mut has_begun = false;
        self.run(|lines, now| {
            let line = &mut lines[0];
            let mut work = line.turn(now, &mut |_| {})?;
            // What had arrived before the call is in by now.
            if !std::mem::replace(&mut has_begun, true) {
                line.begin_watch(job, seen);
            }
            if let Some(news) = line.take_news(job, seen) {
                return Ok(Step::Done(Some(news?)));
            }
            work += line.watch(job, seen);
            work += line.flush(now)?;
            Ok(match work {
                _ if now >= due => Step::Done(None),
                0 => Step::Idle(line.deadline_or(due)),
                _ => Step::Busy,
            })
        })
    }

    /// Waits for news of any queue. It is told while there is a link to each of them only: if one
    /// is out of reach, nobody knows how far things are.
    fn news_of_all(
        &mut self,
        job: Option<JobId>,
        seen: u64,
        due: Nanos,
    ) -> Result<Outcome, TaskClientError> {
        let mut total = self.totals.begin(job, seen, self.lines.len());
        let mut has_begun = false;
        let outcome = self.run(|lines, now| {
            let mut work = 0;
            for line in lines.iter_mut() {
                work += line.turn(now, &mut |_| {})?;
            }
            let begins = !std::mem::replace(&mut has_begun, true);
            for (queue, line) in lines.iter_mut().enumerate() {
                total.renew(queue, line.epoch());
                if begins {
                    line.begin_watch(job, total.seen(queue));
                }
                match line.take_news(job, total.seen(queue)) {
                    Some(Ok(news)) => total.note(queue, line.epoch(), news),
                    Some(Err(fault)) => return Ok(Step::Done(Err((queue, fault)))),
                    None => {}
                }
            }
            if lines.iter().all(Line::is_up)
                && let Some(counts) = total.news()
            {
                return Ok(Step::Done(Ok(Some(counts))));
            }
            for (queue, line) in lines.iter_mut().enumerate() {
                if total.wants(queue) {
                    work += line.watch(job, total.seen(queue));
                }
                work += line.flush(now)?;
            }
            Ok(match work {
                _ if now >= due => Step::Done(Ok(None)),
                0 => Step::Idle(deadline_or(lines, due)),
                _ => Step::Busy,
            })
        })?;
        let outcome = outcome.map(|counts| {
            let counts = counts?;
            Some((self.totals.tell(&mut total), counts))
        });
        self.totals.keep(total);
        Ok(outcome)
    }
}
