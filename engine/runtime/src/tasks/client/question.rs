//! A question to one queue or several, and what becomes of it until it is answered.

use super::line::Line;
use super::{Step, TaskClient};
use crate::tasks::TaskClientError;
use punctual_core::Nanos;
use punctual_wire::BatchWriter;
use punctual_wire::task::{QueuePush, TaskFault};
use std::ops::ControlFlow;

/// What there is to know of a question.
pub(super) enum Heard<'a> {
    /// An answer, or a part of it.
    Push(&'a QueuePush<'a>),
    /// The link was lost: it is asked again, and all parts of the answer come again.
    Again,
}

/// What becomes of a question when the link is lost before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It is asked again: nothing comes of that.
    Safe,
    /// It must not be done twice.
    Never,
}

/// What a queue says in the end: what its answers come to, or that it does nothing.
pub(super) type Answer<T> = Result<T, TaskFault>;

/// A question under way to one queue.
struct Question<T> {
    /// Which queue.
    queue: usize,
    request: u32,
    repeat: Repeat,
    /// On which link it was asked, and when.
    asked: Option<(u64, Nanos)>,
    answer: Option<Answer<T>>,
}

impl<T> Question<T> {
    /// Does what can be done for it now.
    fn step(
        &mut self,
        line: &mut Line,
        now: Nanos,
        write: impl Fn(u32, &mut BatchWriter),
        mut take: impl FnMut(Heard<'_>) -> ControlFlow<T>,
    ) -> Result<Step<()>, TaskClientError> {
        let Self { request, asked, answer, .. } = self;
        let request = *request;
        let mut work = line.turn(now, &mut |push| {
            if answer.is_some() || push.request() != Some(request) {
                return;
            }
            *answer = match push {
                QueuePush::Fault { fault, .. } => Some(Err(*fault)),
                _ => take(Heard::Push(push)).break_value().map(Ok),
            };
            // Whatever it is, the queue is at it: that is as good as a new question.
            *asked = asked.map(|(epoch, _)| (epoch, now));
        })?;
        if self.answer.is_some() {
            return Ok(Step::Done(()));
        }
        let is_lost = |(epoch, _): (u64, Nanos)| epoch != line.epoch() || !line.is_up();
        if self.asked.is_some_and(is_lost) {
            if self.repeat == Repeat::Never {
                return Err(line.unsure());
            }
            self.asked = None;
            if let ControlFlow::Break(value) = take(Heard::Again) {
                self.answer = Some(Ok(value));
                return Ok(Step::Done(()));
            }
        }
        let epoch = line.epoch();
        if self.asked.is_none()
            && let Some(out) = line.out()
        {
            write(request, out);
            self.asked = Some((epoch, now));
            work += 1;
        }
        work += line.flush(now)?;
        let due = self.asked.map(|(_, at)| at + line.patience().into());
        if due.is_some_and(|due| now >= due) {
            // Answers that come after all must not be taken for others.
            let error = line.no_answer();
            line.reset();
            return Err(error);
        }
        Ok(Step::after(work, line.deadline_or(due.unwrap_or(Nanos::MAX))))
    }
}

impl TaskClient {
    /// Asks these queues at once, and takes what they answer until all of it is whole. `write` and
    /// `take` are told by its index in `queues` which of them it is.
    pub(super) fn ask_each<T>(
        &mut self,
        repeat: Repeat,
        queues: &[usize],
        write: impl Fn(usize, u32, &mut BatchWriter),
        mut take: impl FnMut(usize, Heard<'_>) -> ControlFlow<T>,
    ) -> Result<Vec<Answer<T>>, TaskClientError> {
        let questions = queues.iter().map(|&queue| {
            let request = self.lines[queue].new_request();
            Question { queue, request, repeat, asked: None, answer: None }
        });
        let mut questions: Vec<Question<T>> = questions.collect();
        self.run(|lines, now| {
            let (mut work, mut left, mut until) = (0, 0, Nanos::MAX);
            let open = questions.iter_mut().enumerate().filter(|(_, it)| it.answer.is_none());
            for (at, question) in open {
                let line = &mut lines[question.queue];
                let write = |request, out: &mut BatchWriter| write(at, request, out);
                match question.step(line, now, write, |heard| take(at, heard))? {
                    Step::Done(()) => continue,
                    Step::Busy => work += 1,
                    Step::Idle(due) => until = until.min(due),
                }
                left += 1;
            }
            Ok(if left == 0 { Step::Done(()) } else { Step::after(work, until) })
        })?;
        Ok(questions.into_iter().filter_map(|question| question.answer).collect())
    }

    /// Asks one queue.
    pub(super) fn ask<T>(
        &mut self,
        repeat: Repeat,
        queue: usize,
        write: impl Fn(u32, &mut BatchWriter),
        mut take: impl FnMut(Heard<'_>) -> ControlFlow<T>,
    ) -> Result<T, TaskClientError> {
        let write = |_, request, out: &mut BatchWriter| write(request, out);
        let mut answers = self.ask_each(repeat, &[queue], write, |_, heard| take(heard))?;
        Ok(answers.remove(0)?)
    }

    /// Asks all queues.
    pub(super) fn ask_all<T>(
        &mut self,
        repeat: Repeat,
        write: impl Fn(u32, &mut BatchWriter),
        take: impl FnMut(usize, Heard<'_>) -> ControlFlow<T>,
    ) -> Result<Vec<Answer<T>>, TaskClientError> {
        let queues: Vec<usize> = (0..self.lines.len()).collect();
        self.ask_each(repeat, &queues, |_, request, out| write(request, out), take)
    }
}
