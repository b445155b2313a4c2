//! What a client asks and orders.

use super::question::{Answer, Heard, Repeat};
use super::{TaskClient, merge};
use crate::tasks::{OwnedJob, OwnedSelection, OwnedWorker, TaskClientError};
use punctual_core::task::TaskLatencies;
use punctual_wire::BatchWriter;
use punctual_wire::task::{JobId, QueuePush, TaskFault, TaskId, TaskRow, ToQueue, Verb};
use std::cell::Cell;
use std::ops::ControlFlow;

/// What follows a page of tasks: the rest of them from an id on, or nothing at this queue. `Break`:
/// no more are wanted, of any queue.
type PageEnd = ControlFlow<(), Option<TaskId>>;

impl TaskClient {
    /// The number of the job with a name, which is made if need be.
    ///
    /// # Errors
    /// When no job can have that name, there are too many, or the queue is out of reach.
    pub fn open_job(&mut self, name: &str) -> Result<JobId, TaskClientError> {
        let name = name.as_bytes();
        if name.len() > punctual_wire::task::JOB_NAME_BYTES_MAX {
            return Err(TaskFault::BadName.into());
        }
        self.open_everywhere(name)
    }

    /// The queues that may have tasks that are meant, each with the id from which on.
    fn starts(&self, selection: &OwnedSelection) -> Vec<(usize, TaskId)> {
        let is_meant = |queue: &u16| match selection.task {
            Some(task) => task.shard() == *queue,
            None => selection.from.shard() <= *queue,
        };
        let start = |queue: u16| (usize::from(queue), selection.from.max(TaskId::new(queue, 0)));
        (0..self.queues()).filter(is_meant).map(start).collect()
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
        // Ids of a queue are all below those of the next one.
        for mut start in self.starts(selection) {
            loop {
                match self.page(selection, start, page.max(1), with_output, &mut visit)? {
                    PageEnd::Continue(Some(next)) => start.1 = next,
                    PageEnd::Continue(None) => break,
                    PageEnd::Break(()) => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// Shows `visit` a page of the tasks of a queue.
    fn page(
        &mut self,
        selection: &OwnedSelection,
        (queue, from): (usize, TaskId),
        limit: u32,
        with_output: bool,
        visit: &mut impl FnMut(&TaskRow<'_>) -> ControlFlow<()>,
    ) -> Result<PageEnd, TaskClientError> {
        // What was seen is not asked for again, not even on another link.
        let from = Cell::new(from);
        self.ask(
            Repeat::Safe,
            queue,
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
                        return ControlFlow::Break(PageEnd::Break(()));
                    }
                    ControlFlow::Continue(())
                }
                Heard::Push(QueuePush::End { next, more, .. }) => {
                    ControlFlow::Break(PageEnd::Continue(more.then_some(*next)))
                }
                _ => ControlFlow::Continue(()),
            },
        )
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
        let (mut starts, mut changed) = (self.starts(selection), 0);
        while !starts.is_empty() {
            let queues: Vec<usize> = starts.iter().map(|(queue, _)| *queue).collect();
            let answers = self.ask_each(
                repeat,
                &queues,
                |at, request, out| {
                    let selection = selection.starting(starts[at].1);
                    ToQueue::Control { request, verb, selection }.write(out);
                },
                |_, heard| match heard {
                    Heard::Push(QueuePush::End { changed, next, more, .. }) => {
                        ControlFlow::Break((*changed, more.then_some(*next)))
                    }
                    _ => ControlFlow::Continue(()),
                },
            )?;
            starts.clear();
            for (queue, answer) in queues.into_iter().zip(answers) {
                let (some, next) = answer?;
                changed += some;
                starts.extend(next.map(|next| (queue, next)));
            }
        }
        Ok(changed)
    }

    /// Asks all queues for what they list. The rows of each.
    fn list<R>(
        &mut self,
        write: impl Fn(u32, &mut BatchWriter),
        row_of: impl Fn(&QueuePush<'_>) -> Option<R>,
    ) -> Result<Vec<Vec<R>>, TaskClientError> {
        let mut lists: Vec<Vec<R>> = self.lines.iter().map(|_| Vec::new()).collect();
        let answers = self.ask_all(Repeat::Safe, write, |queue, heard| {
            match heard {
                Heard::Push(QueuePush::End { .. }) => {
                    return ControlFlow::Break(std::mem::take(&mut lists[queue]));
                }
                Heard::Push(push) => lists[queue].extend(row_of(push)),
                Heard::Again => lists[queue].clear(),
            }
            ControlFlow::Continue(())
        })?;
        Ok(answers.into_iter().collect::<Answer<_>>()?)
    }

    /// All jobs of the server, with their tasks at all of its queues.
    ///
    /// # Errors
    /// When the queue is out of reach.
    pub fn jobs(&mut self) -> Result<Vec<OwnedJob>, TaskClientError> {
        let lists = self.list(
            |request, out| ToQueue::Jobs { request }.write(out),
            |push| match push {
                QueuePush::JobRow { row, .. } => Some(OwnedJob::from(row)),
                _ => None,
            },
        )?;
        Ok(merge::jobs(lists))
    }

    /// All workers that the server knows, connected or not. One is linked if it is to every queue,
    /// and has run what it has for all of them together.
    ///
    /// # Errors
    /// When the queue is out of reach.
    pub fn workers(&mut self) -> Result<Vec<OwnedWorker>, TaskClientError> {
        let lists = self.list(
            |request, out| ToQueue::Workers { request }.write(out),
            |push| match push {
                QueuePush::WorkerRow { row, .. } => Some(OwnedWorker::from(row)),
                _ => None,
            },
        )?;
        Ok(merge::workers(lists))
    }

    /// How long tasks took since the server started.
    ///
    /// # Errors
    /// When the queue is out of reach.
    pub fn latencies(&mut self) -> Result<TaskLatencies, TaskClientError> {
        let answers = self.ask_all(
            Repeat::Safe,
            |request, out| ToQueue::Latencies { request }.write(out),
            |_, heard| match heard {
                Heard::Push(QueuePush::Latencies { wait, lease, .. }) => {
                    let (wait, lease) = ((*wait).into(), (*lease).into());
                    ControlFlow::Break(TaskLatencies { wait, lease })
                }
                _ => ControlFlow::Continue(()),
            },
        )?;
        let parts: Vec<TaskLatencies> = answers.into_iter().collect::<Answer<_>>()?;
        Ok(merge::latencies(&parts))
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
        let answers = self.ask_all(
            Repeat::Safe,
            |request, out| ToQueue::StopWorker { request, name }.write(out),
            |_, heard| match heard {
                Heard::Push(QueuePush::End { changed, .. }) => ControlFlow::Break(*changed),
                _ => ControlFlow::Continue(()),
            },
        )?;
        // One that has just come, or has heard it from another queue, is not at all of them.
        let mut told = None;
        for answer in answers {
            match answer {
                Ok(workers) => told = told.max(Some(workers)),
                Err(TaskFault::UnknownWorker) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        told.ok_or(TaskFault::UnknownWorker.into())
    }
}
