//! What a client asks and orders.

use super::line::Line;
use super::{Step, TaskClient};
use crate::tasks::{OwnedJob, OwnedSelection, OwnedWorker, TaskClientError};
use punctual_core::Nanos;
use punctual_core::task::TaskLatencies;
use punctual_wire::BatchWriter;
use punctual_wire::task::{
    JobId, QueuePush, StateCounts, TaskFault, TaskId, TaskRow, ToQueue, Verb,
};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::Duration;

/// What there is to know of a question.
enum Heard<'a> {
    /// An answer, or a part of it.
    Push(&'a QueuePush<'a>),
    /// The link was lost: it is asked again, and all parts of the answer come again.
    Again,
}

/// What becomes of a question when the link is lost before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// It is asked again: nothing comes of that.
    Safe,
    /// It must not be done twice.
    Never,
}

/// Whether an answer is whole, with what it comes to.
type Answer<T> = ControlFlow<Result<T, TaskClientError>>;

/// The question that an answer belongs to.
fn request_of(push: &QueuePush<'_>) -> Option<u32> {
    match *push {
        QueuePush::JobOpened { request, .. }
        | QueuePush::Progress { request, .. }
        | QueuePush::Row { request, .. }
        | QueuePush::JobRow { request, .. }
        | QueuePush::WorkerRow { request, .. }
        | QueuePush::Latencies { request, .. }
        | QueuePush::End { request, .. }
        | QueuePush::Fault { request, .. } => Some(request),
        _ => None,
    }
}

/// A question under way.
struct Question {
    request: u32,
    repeat: Repeat,
    /// On which link it was asked, and when.
    asked: Option<(u64, Nanos)>,
}

impl Question {
    /// Does what can be done for it now.
    fn step<T>(
        &mut self,
        line: &mut Line,
        now: Nanos,
        write: &impl Fn(u32, &mut BatchWriter),
        take: &mut impl FnMut(Heard<'_>) -> Answer<T>,
    ) -> Result<Step<T>, TaskClientError> {
        let request = self.request;
        let mut answer = None;
        let mut work = line.turn(now, &mut |push| {
            if answer.is_some() || request_of(push) != Some(request) {
                return;
            }
            answer = match push {
                QueuePush::Fault { fault, .. } => Some(Err((*fault).into())),
                _ => take(Heard::Push(push)).break_value(),
            };
            // Whatever it is, the queue is at it: that is as good as a new question.
            self.asked = self.asked.map(|(epoch, _)| (epoch, now));
        })?;
        if let Some(answer) = answer {
            return answer.map(Step::Done);
        }
        let is_lost = |(epoch, _): (u64, Nanos)| epoch != line.epoch() || !line.is_up();
        if self.asked.is_some_and(is_lost) {
            if self.repeat == Repeat::Never {
                return Err(line.unsure());
            }
            self.asked = None;
            if let ControlFlow::Break(answer) = take(Heard::Again) {
                return answer.map(Step::Done);
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
        Ok(if work > 0 { Step::Busy } else { Step::Idle(due.unwrap_or(Nanos::MAX)) })
    }
}

impl TaskClient {
    /// Asks, and takes what is answered until it is whole.
    fn ask<T>(
        &mut self,
        repeat: Repeat,
        write: impl Fn(u32, &mut BatchWriter),
        mut take: impl FnMut(Heard<'_>) -> Answer<T>,
    ) -> Result<T, TaskClientError> {
        let request = self.line.new_request();
        let mut question = Question { request, repeat, asked: None };
        self.run(|line, now| question.step(line, now, &write, &mut take))
    }

    /// The number of the job with a name, which is made if need be.
    ///
    /// # Errors
    /// When no job can have that name, there are too many, or the queue is out of reach.
    pub fn open_job(&mut self, name: &str) -> Result<JobId, TaskClientError> {
        let name = name.as_bytes();
        if name.len() > punctual_wire::task::JOB_NAME_BYTES_MAX {
            return Err(TaskFault::BadName.into());
        }
        self.ask(
            Repeat::Safe,
            |request, out| ToQueue::OpenJob { request, name }.write(out),
            |heard| match heard {
                Heard::Push(QueuePush::JobOpened { job, .. }) => ControlFlow::Break(Ok(*job)),
                _ => ControlFlow::Continue(()),
            },
        )
    }

    /// How many tasks of a job, or of all, are in which state, as soon as there is news beyond the
    /// version `seen` (0: at once). With the counts comes the version to ask beyond the next time.
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
        let due = self.line.now() + patience.into();
        let mut has_begun = false;
        self.run(|line, now| {
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
                0 => Step::Idle(due),
                _ => Step::Busy,
            })
        })
    }

    /// Shows `visit` the tasks that are meant, ascending by id, until it has seen enough. They are
    /// asked for `page` at a time. A task may change, or go, while others are looked at.
    ///
    /// # Errors
    /// When the queue is out of reach.
    pub fn rows(
        &mut self,
        selection: &OwnedSelection,
        page: u32,
        with_output: bool,
        mut visit: impl FnMut(&TaskRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), TaskClientError> {
        // What was seen is not asked for again, not even on another link.
        let from = Cell::new(selection.from);
        loop {
            let limit = page.max(1);
            let next = self.ask(
                Repeat::Safe,
                |request, out| {
                    let selection = selection.starting(from.get());
                    ToQueue::Query { request, selection, limit, with_output }.write(out);
                },
                |heard| match heard {
                    Heard::Push(QueuePush::Row { row, .. }) => {
                        from.set(TaskId(row.id.0 + 1));
                        // One of them was asked for, and it was seen.
                        let is_last = visit(row).is_break() || selection.task.is_some();
                        if is_last {
                            return ControlFlow::Break(Ok(None));
                        }
                        ControlFlow::Continue(())
                    }
                    Heard::Push(QueuePush::End { next, more, .. }) => {
                        ControlFlow::Break(Ok(more.then_some(*next)))
                    }
                    _ => ControlFlow::Continue(()),
                },
            )?;
            match next {
                Some(next) => from.set(next),
                None => return Ok(()),
            }
        }
    }

    /// Does something with all tasks that are meant. Returns with how many.
    ///
    /// # Errors
    /// When the queue is out of reach, or was when it was not yet known whether everything was done
    /// that must not be done twice.
    pub fn control(
        &mut self,
        verb: Verb,
        selection: &OwnedSelection,
    ) -> Result<u64, TaskClientError> {
        // Whoever was put back and has ended meanwhile would run once more.
        let repeat = if verb == Verb::Requeue { Repeat::Never } else { Repeat::Safe };
        let (mut from, mut changed) = (selection.from, 0);
        loop {
            let (some, next) = self.ask(
                repeat,
                |request, out| {
                    let selection = selection.starting(from);
                    ToQueue::Control { request, verb, selection }.write(out);
                },
                |heard| match heard {
                    Heard::Push(QueuePush::End { changed, next, more, .. }) => {
                        ControlFlow::Break(Ok((*changed, more.then_some(*next))))
                    }
                    _ => ControlFlow::Continue(()),
                },
            )?;
            changed += some;
            match next {
                Some(next) => from = next,
                None => return Ok(changed),
            }
        }
    }

    /// All jobs of the queue.
    ///
    /// # Errors
    /// When the queue is out of reach.
    pub fn jobs(&mut self) -> Result<Vec<OwnedJob>, TaskClientError> {
        let mut jobs = Vec::new();
        self.ask(
            Repeat::Safe,
            |request, out| ToQueue::Jobs { request }.write(out),
            |heard| match heard {
                Heard::Push(QueuePush::JobRow { row, .. }) => {
                    jobs.push(OwnedJob::from(row));
                    ControlFlow::Continue(())
                }
                Heard::Push(QueuePush::End { .. }) => {
                    ControlFlow::Break(Ok(std::mem::take(&mut jobs)))
                }
                Heard::Push(_) => ControlFlow::Continue(()),
                Heard::Again => {
                    jobs.clear();
                    ControlFlow::Continue(())
                }
            },
        )
    }

    /// All workers that the queue knows, connected or not.
    ///
    /// # Errors
    /// When the queue is out of reach.
    pub fn workers(&mut self) -> Result<Vec<OwnedWorker>, TaskClientError> {
        let mut workers = Vec::new();
        self.ask(
            Repeat::Safe,
            |request, out| ToQueue::Workers { request }.write(out),
            |heard| match heard {
                Heard::Push(QueuePush::WorkerRow { row, .. }) => {
                    workers.push(OwnedWorker::from(row));
                    ControlFlow::Continue(())
                }
                Heard::Push(QueuePush::End { .. }) => {
                    ControlFlow::Break(Ok(std::mem::take(&mut workers)))
                }
                Heard::Push(_) => ControlFlow::Continue(()),
                Heard::Again => {
                    workers.clear();
                    ControlFlow::Continue(())
                }
            },
        )
    }

    /// How long tasks took since the queue started.
    ///
    /// # Errors
    /// When the queue is out of reach.
    pub fn latencies(&mut self) -> Result<TaskLatencies, TaskClientError> {
        self.ask(
            Repeat::Safe,
            |request, out| ToQueue::Latencies { request }.write(out),
            |heard| match heard {
                Heard::Push(QueuePush::Latencies { wait, lease, .. }) => {
                    let (wait, lease) = ((*wait).into(), (*lease).into());
                    ControlFlow::Break(Ok(TaskLatencies { wait, lease }))
                }
                _ => ControlFlow::Continue(()),
            },
        )
    }

    /// Has the worker with a name, or all of them if it is empty, finish what it runs and stop.
    /// Returns how many were told.
    ///
    /// # Errors
    /// When no worker has this name, or the queue is out of reach.
    pub fn stop_worker(&mut self, name: &str) -> Result<u64, TaskClientError> {
        let name = name.as_bytes();
        if name.len() > punctual_wire::task::TEXT_BYTES_MAX {
            return Err(TaskFault::UnknownWorker.into());
        }
        self.ask(
            Repeat::Safe,
            |request, out| ToQueue::StopWorker { request, name }.write(out),
            |heard| match heard {
                Heard::Push(QueuePush::End { changed, .. }) => ControlFlow::Break(Ok(*changed)),
                _ => ControlFlow::Continue(()),
            },
        )
    }
}
