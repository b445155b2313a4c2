//! Submitting tasks: those of one call are spread over the queues, and many are under way at once
//! to each of them.

use super::line::Line;
use super::spread::Spread;
use super::window::Window;
use super::{Step, TaskClient, deadline_or};
use crate::tasks::{OwnedSpec, TaskClientError};
use punctual_core::Nanos;
use punctual_wire::task::{JobId, RefusedTask};
use std::iter::Fuse;
use std::ops::ControlFlow;
use std::time::Duration;

/// The caller is told how far things are this often, even if nothing happens.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// What came of submissions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubmitReport {
    /// Tasks that are new.
    pub added: u64,
    /// Tasks that were known already. After a link was lost some of those may be among them that
    /// this call has added.
    pub known: u64,
    /// Tasks that were refused, by how many were given before them, with the reason.
    pub refused: Vec<(u64, RefusedTask)>,
}

impl SubmitReport {
    /// Tasks whose fate is known.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.added + self.known + self.refused.len() as u64
    }
}

/// A task that was taken from the caller, with where it goes.
struct Given {
    queue: usize,
    /// How many tasks were given before it.
    index: u64,
    spec: OwnedSpec,
}

/// All submissions of one call.
struct Submission<I> {
    tasks: Fuse<I>,
    spread: Spread,
    /// Tasks taken from the iterator.
    given: u64,
    /// The latest of them, if its queue has no room for it yet.
    in_hand: Option<Given>,
    /// One for each queue.
    windows: Vec<Window>,
    report: SubmitReport,
    /// The caller has seen enough: what is under way is waited for, and no more is sent.
    is_stopped: bool,
    told_at: Nanos,
}

impl<I: Iterator<Item = OwnedSpec>> Submission<I> {
    fn new(now: Nanos, job: JobId, spread: Spread, queues: usize, tasks: I) -> Self {
        Self {
            tasks: tasks.fuse(),
            spread,
            given: 0,
            in_hand: None,
            windows: (0..queues).map(|_| Window::new(now, job, queues)).collect(),
            report: SubmitReport::default(),
            is_stopped: false,
            told_at: now,
        }
    }

    /// Takes tasks from the caller, in their order, while there is room for them: one whose queue
    /// has none holds up the others.
    fn fill(&mut self, lines: &mut [Line], now: Nanos) {
        while !self.is_stopped && self.windows.iter().any(Window::has_room) {
            let next = self.in_hand.take().or_else(|| self.draw());
            let Some(Given { queue, index, spec }) = next else { return };
            let window = &mut self.windows[queue];
            if !window.has_room() {
                self.in_hand = Some(Given { queue, index, spec });
                return;
            }
            window.add(&mut lines[queue], now, index, spec);
        }
    }

    /// Takes the next task from the caller that is not too large.
    #[inline]
    fn draw(&mut self) -> Option<Given> {
        loop {
            let spec = self.tasks.next()?;
            let index = self.given;
            self.given += 1;
            if !spec.is_too_large() {
                return Some(Given { queue: self.spread.queue_of(&spec), index, spec });
            }
            self.report.refused.push((index, RefusedTask::TooLarge));
        }
    }

    /// Takes what has arrived. Returns how much was done.
    fn take(&mut self, lines: &mut [Line], now: Nanos) -> Result<usize, TaskClientError> {
        let Self { windows, report, is_stopped, .. } = self;
        let mut work = 0;
        for (window, line) in windows.iter_mut().zip(lines) {
            work += line.turn(now, &mut |push| window.take(now, push, report, *is_stopped))?;
            window.renew(line, now);
        }
        Ok(work)
    }

    /// Sends what there is to send. Returns how much was done.
    fn write(&mut self, lines: &mut [Line], now: Nanos) -> Result<usize, TaskClientError> {
        for (window, line) in self.windows.iter_mut().zip(lines.iter_mut()) {
            window.retry(line, now, &mut self.report, self.is_stopped);
        }
        self.fill(lines, now);
        let mut work = 0;
        for (window, line) in self.windows.iter_mut().zip(lines) {
            work += window.write(line);
            work += line.flush(now)?;
        }
        Ok(work)
    }

    fn step(
        &mut self,
        lines: &mut [Line],
        now: Nanos,
        progress: &mut impl FnMut(&SubmitReport) -> ControlFlow<()>,
    ) -> Result<Step<()>, TaskClientError> {
        let settled = self.report.settled();
        let mut work = self.take(lines, now)?;
        if self.report.settled() > settled || now.since(self.told_at) >= PROGRESS_INTERVAL {
            self.told_at = now;
            self.is_stopped |= progress(&self.report).is_break();
        }
        work += self.write(lines, now)?;
        // Windows that are empty after they were filled have nothing to be filled with.
        let mut windows = self.windows.iter().zip(lines.iter());
        if windows.all(|(window, line)| window.is_over(line, self.is_stopped)) {
            return Ok(Step::Done(()));
        }
        for (window, line) in self.windows.iter().zip(lines.iter()) {
            if window.is_late(line, now) {
                return Err(window.why_late(line));
            }
        }
        let told_at = self.told_at + PROGRESS_INTERVAL.into();
        let until = self.windows.iter().map(Window::retry_at).fold(told_at, Ord::min);
        Ok(Step::after(work, deadline_or(lines, until)))
    }
}

impl TaskClient {
    /// Submits tasks to a job, many of them at once, and waits until each was acknowledged: then it
    /// will not be forgotten, whatever happens, as far as the server's durability goes. A task that
    /// the job has already is not taken twice, so a call that failed can simply be made again.
    ///
    /// `progress` is called now and then, at least every tenth of a second; with
    /// [`Break`](ControlFlow::Break) no more tasks are sent, and the report says what came of those
    /// that were.
    ///
    /// # Errors
    /// When the queue is out of reach, silent, or without room for longer than this client waits.
    pub fn submit(
        &mut self,
        job: JobId,
        tasks: impl IntoIterator<Item = OwnedSpec>,
        mut progress: impl FnMut(&SubmitReport) -> ControlFlow<()>,
    ) -> Result<SubmitReport, TaskClientError> {
        let queues = self.lines.len();
        // A job that there is not is refused by whichever queue is asked.
        let name = if queues > 1 { self.complete_job(job)? } else { None };
        let spread = Spread::new(self.queues(), &name.unwrap_or_default());
        let now = self.lines[0].now();
        let mut submission = Submission::new(now, job, spread, queues, tasks.into_iter());
        let outcome = self.run(|lines, now| submission.step(lines, now, &mut progress));
        if let Err(error) = outcome {
            // One queue is enough for that, and others may be about to answer.
            for (window, line) in submission.windows.iter().zip(&mut self.lines) {
                window.give_up(line);
            }
            return Err(error);
        }
        submission.report.refused.sort_unstable_by_key(|(index, _)| *index);
        Ok(submission.report)
    }
}
