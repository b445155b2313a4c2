//! Leases that come, and those that go without having run.

use super::runs::{Ending, Offer, Phase, Run};
use super::session::News;
use super::types::{Lease, RunId};
use super::{TaskWorker, WAITING_MAX};
use crate::{Nanos, ShardId};
use punctual_wire::task::{Attempt, PushReader, QueuePush, ReturnReason, TaskId};
use punctual_wire::{Frame, FrameKind, WireError};
use std::time::Duration;

impl TaskWorker {
    /// Takes a frame of a queue.
    ///
    /// # Errors
    /// When it does not follow the format or is not for a worker: the link is to be closed.
    /// Messages before the one that is wrong have been taken.
    pub fn on_frame(
        &mut self,
        now: Nanos,
        queue: ShardId,
        frame: &Frame<'_>,
    ) -> Result<(), WireError> {
        self.now = now;
        if queue.0 >= self.queues() {
            let value = queue.0.into();
            return Err(WireError::UnknownValue { what: "the queue of a frame", value });
        }
        if frame.kind != FrameKind::TaskPush {
            return Err(WireError::UnexpectedKind(frame.kind));
        }
        let mut pushes = PushReader::new(frame);
        while let Some(push) = pushes.next_message()? {
            self.on_push(now, queue, &push)?;
        }
        Ok(())
    }

    #[inline]
    fn on_push(
        &mut self,
        now: Nanos,
        queue: ShardId,
        push: &QueuePush<'_>,
    ) -> Result<(), WireError> {
        let session = &mut self.sessions[usize::from(queue.0)];
        match *push {
            QueuePush::Lease {
                task,
                attempt,
                priority,
                memory,
                cores_milli,
                timeout_ms,
                job,
                payload,
            } => {
                check_queue(task, queue)?;
                let offer = Offer {
                    task,
                    attempt,
                    priority,
                    memory,
                    cores_milli,
                    timeout_ms,
                    job,
                    payload,
                };
                self.on_lease(now, &offer)?;
            }
            QueuePush::Acked { seq } => {
                if let Some(round_trip) = session.on_acked(now, seq)? {
                    self.estimator.on_round_trip(u64::try_from(round_trip.0).unwrap_or(0));
                }
            }
            QueuePush::Enlisted { name, lease_timeout_ms, heartbeat_ms } => {
                let lease_timeout = Duration::from_millis(lease_timeout_ms.into());
                let heartbeat = Duration::from_millis(heartbeat_ms.into());
                session.on_enlisted(now, lease_timeout, heartbeat);
                if queue.0 == 0 {
                    self.name = Some(String::from_utf8_lossy(name).into_owned());
                }
            }
            QueuePush::Recall { task, attempt } => {
                check_queue(task, queue)?;
                self.on_recall(task, attempt);
            }
            QueuePush::Cancel { task, attempt } => {
                check_queue(task, queue)?;
                self.on_cancel(now, task, attempt);
            }
            QueuePush::Drain => {
                session.on_last_lease();
                self.drain(now);
            }
            ref other => return Err(not_for_a_worker(other)),
        }
        Ok(())
    }

    fn on_lease(&mut self, now: Nanos, offer: &Offer<'_>) -> Result<(), WireError> {
        let mut behind = None;
        if let Some(at) = self.runs.of_task(offer.task) {
            let old = self.runs.get(at);
            // What was dropped may be of another life of the queue, with other numbers.
            if old.ending != Some(Ending::Dropped) && offer.attempt <= old.lease.attempt {
                self.stats.stale += 1;
                return Ok(());
            }
            behind = self.supersede(now, at);
        }
        if let Some(reason) = self.refusal(offer) {
            self.give_back(offer.task, offer.attempt, reason);
            return Ok(());
        }
        if self.runs.waiting_len() >= WAITING_MAX {
            if self.sessions.len() > 1 {
                self.give_back(offer.task, offer.attempt, ReturnReason::Recalled);
                return Ok(());
            }
            let (value, max) = (WAITING_MAX as u64 + 1, WAITING_MAX as u64);
            return Err(WireError::OverLimit { what: "the number of leases", value, max });
        }
        self.runs.add(now, offer, behind);
        Ok(())
    }

    /// Why a lease is given back at once, if it is.
    fn refusal(&self, offer: &Offer<'_>) -> Option<ReturnReason> {
        if self.draining_since.is_some() {
            Some(ReturnReason::Draining)
        } else if !self.admission.could_run(offer.memory, offer.cores_milli) {
            Some(ReturnReason::Unfit)
        } else if !self.admission.is_open() {
            Some(ReturnReason::LowMemory)
        } else if self.throttle.is_closed() {
            Some(ReturnReason::Shortage)
        } else {
            None
        }
    }

    /// Drops an earlier attempt at a task. Returns what is to be gone before the new one starts:
    /// two at once would be in each other's way.
    fn supersede(&mut self, now: Nanos, at: u32) -> Option<RunId> {
        let Run { phase, behind, .. } = *self.runs.get(at);
        let run = self.runs.get(at).lease.run;
        self.drop_lease(now, at);
        if phase == Phase::Waiting { behind } else { Some(run) }
    }

    /// The slot of an attempt at a task.
    fn slot_of(&self, task: TaskId, attempt: Attempt) -> Option<u32> {
        self.runs.of_task(task).filter(|at| self.runs.get(*at).lease.attempt == attempt)
    }

    /// What runs is not given back: its report will come.
    fn on_recall(&mut self, task: TaskId, attempt: Attempt) {
        let at = self.slot_of(task, attempt);
        if let Some(at) = at.filter(|at| self.runs.get(*at).phase == Phase::Waiting) {
            self.runs.remove_waiting(at);
            self.give_back(task, attempt, ReturnReason::Recalled);
            self.stats.recalled += 1;
        }
    }

    fn on_cancel(&mut self, now: Nanos, task: TaskId, attempt: Attempt) {
        if let Some(at) = self.slot_of(task, attempt) {
            self.drop_lease(now, at);
        }
    }

    /// A lease is not this worker's own any more, and nothing is said of it.
    fn drop_lease(&mut self, now: Nanos, at: u32) {
        let run = self.runs.get(at);
        self.stats.cancelled += u64::from(run.ending != Some(Ending::Dropped));
        if run.phase == Phase::Waiting {
            self.runs.remove_waiting(at);
        } else {
            self.end_run(now, at, Ending::Dropped);
        }
    }

    pub(super) fn give_back(&mut self, task: TaskId, attempt: Attempt, reason: ReturnReason) {
        self.stats.returned += 1;
        self.keep(task, attempt, News::Returned(reason));
    }

    /// Gives back all that waits.
    pub(super) fn give_back_waiting(&mut self, reason: ReturnReason) {
        while let Some(at) = self.runs.first_waiting() {
            let Lease { task, attempt, .. } = self.runs.get(at).lease;
            self.runs.remove_waiting(at);
            self.give_back(task, attempt, reason);
        }
    }
}

/// Refuses a message about a task of another queue: what comes of the task is for its own to know.
#[inline]
fn check_queue(task: TaskId, queue: ShardId) -> Result<(), WireError> {
    if task.shard() == queue.0 {
        return Ok(());
    }
    let value = task.shard().into();
    Err(WireError::UnknownValue { what: "the queue of a task for a worker", value })
}

/// The refusal of a message for clients: this worker has asked nothing that it could answer.
fn not_for_a_worker(push: &QueuePush<'_>) -> WireError {
    let value = match *push {
        QueuePush::Submitted { ticket, .. } | QueuePush::Refused { ticket, .. } => ticket,
        _ => push.request().map_or(0, u64::from),
    };
    WireError::UnknownValue { what: "the request that a message to a worker answers", value }
}
