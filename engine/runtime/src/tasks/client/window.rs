//! Submissions to one queue: many under way at once, each until it is acknowledged.
//!
//! A queue knows a task by its job and key, so whatever was not acknowledged when a link was lost
//! is simply submitted again.

use super::line::Line;
use super::submit::SubmitReport;
use crate::tasks::{OwnedSpec, TaskClientError};
use punctual_core::Nanos;
use punctual_wire::task::{After, JobId, QueuePush, RefusedTask, ToQueue};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Submissions under way at once to a queue,
const COUNT_MAX: usize = 8192;
/// and their bytes.
const BYTES_MAX: usize = 4 << 20;
/// The same for all queues of a server together, which share it evenly.
const COUNT_OF_ALL_MAX: usize = 1 << 16;
const BYTES_OF_ALL_MAX: usize = 32 << 20;
/// Pause before what found no room is submitted again; it doubles with each time.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A submission under way.
struct Sent {
    ticket: u64,
    /// How many tasks were given before it.
    index: u64,
    spec: OwnedSpec,
    refused: Option<RefusedTask>,
}

/// What one call submits to one queue.
pub(super) struct Window {
    job: JobId,
    count_max: usize,
    bytes_max: usize,
    /// Tickets and indices ascend.
    sent: VecDeque<Sent>,
    bytes: usize,
    /// How many of them this link has carried.
    written: usize,
    /// Which link that is.
    epoch: u64,
    /// What found no room, to be submitted again.
    again: BTreeMap<u64, (OwnedSpec, RefusedTask)>,
    again_at: Nanos,
    pause: Duration,
    /// Why, if nothing was taken in since.
    no_room: Option<RefusedTask>,
    /// When something was settled, or a link came up, or there was something to do again.
    moved_at: Nanos,
}

impl Window {
    /// A window of a server with so many queues.
    pub(super) fn new(now: Nanos, job: JobId, queues: usize) -> Self {
        Self {
            job,
            count_max: COUNT_MAX.min(COUNT_OF_ALL_MAX / queues),
            bytes_max: BYTES_MAX.min(BYTES_OF_ALL_MAX / queues),
            sent: VecDeque::new(),
            bytes: 0,
            written: 0,
            epoch: 0,
            again: BTreeMap::new(),
            again_at: now,
            pause: PAUSE_MIN,
            no_room: None,
            moved_at: now,
        }
    }

    /// Takes what the queue says of submissions. Whoever has stopped does not try again.
    pub(super) fn take(
        &mut self,
        now: Nanos,
        push: &QueuePush<'_>,
        report: &mut SubmitReport,
        is_stopped: bool,
    ) {
        match *push {
            QueuePush::Refused { ticket, reason } => {
                if let Some(sent) = self.sent_mut(ticket) {
                    sent.refused = Some(reason);
                }
            }
            QueuePush::Submitted { ticket, added, known } => {
                // Those of an earlier call that was given up.
                if self.sent.front().is_none_or(|first| ticket < first.ticket) {
                    return;
                }
                report.added += u64::from(added);
                report.known += u64::from(known);
                if added + known > 0 {
                    (self.pause, self.no_room, self.moved_at) = (PAUSE_MIN, None, now);
                }
                while self.sent.front().is_some_and(|sent| sent.ticket <= ticket) {
                    let Some(sent) = self.sent.pop_front() else { break };
                    self.bytes -= sent.spec.bytes();
                    self.written = self.written.saturating_sub(1);
                    self.settle(now, sent, report, is_stopped);
                }
            }
            _ => {}
        }
    }

    fn sent_mut(&mut self, ticket: u64) -> Option<&mut Sent> {
        let first = self.sent.front()?.ticket;
        let at = usize::try_from(ticket.checked_sub(first)?).ok()?;
        self.sent.get_mut(at)
    }

    /// Notes what came of a submission that was answered.
    fn settle(&mut self, now: Nanos, sent: Sent, report: &mut SubmitReport, is_stopped: bool) {
        let Some(reason) = sent.refused else { return };
        let is_passing = match reason {
            RefusedTask::Full | RefusedTask::JournalFull => true,
            // What it comes after may be what found no room.
            RefusedTask::UnknownAfter => !self.again.is_empty(),
            RefusedTask::UnknownJob | RefusedTask::TooLarge => false,
        };
        if is_passing && !is_stopped {
            if self.again.is_empty() {
                self.again_at = now + self.pause.into();
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
            self.no_room = Some(reason);
            self.again.insert(sent.index, (sent.spec, reason));
        } else {
            report.refused.push((sent.index, reason));
            self.moved_at = now;
        }
    }

    /// Begins anew on another link.
    pub(super) fn renew(&mut self, line: &Line, now: Nanos) {
        if line.is_up() && line.epoch() != self.epoch {
            (self.epoch, self.written, self.moved_at) = (line.epoch(), 0, now);
            for sent in &mut self.sent {
                sent.refused = None;
            }
        }
    }

    /// Whether everything that it was given is settled.
    fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.again.is_empty()
    }

    /// Whether one more task may be given to it. What found no room in the queue goes first: others
    /// may come after it.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.again.is_empty() && self.sent.len() < self.count_max && self.bytes < self.bytes_max
    }

    /// Takes a task to be submitted.
    pub(super) fn add(&mut self, line: &mut Line, now: Nanos, index: u64, spec: OwnedSpec) {
        if self.is_empty() {
            // Nothing could be settled while there was nothing.
            self.moved_at = now;
        }
        self.push(line, index, spec);
    }

    fn push(&mut self, line: &mut Line, index: u64, spec: OwnedSpec) {
        self.bytes += spec.bytes();
        self.sent.push_back(Sent { ticket: line.new_ticket(), index, spec, refused: None });
    }

    /// Submits again what found no room, once all others are settled and it is time; or gives it
    /// up, for whoever has stopped.
    pub(super) fn retry(
        &mut self,
        line: &mut Line,
        now: Nanos,
        report: &mut SubmitReport,
        is_stopped: bool,
    ) {
        if self.again.is_empty() || !self.sent.is_empty() {
            return;
        }
        if is_stopped {
            let again = std::mem::take(&mut self.again);
            report.refused.extend(again.into_iter().map(|(index, (_, reason))| (index, reason)));
        } else if now >= self.again_at {
            for (index, (spec, _)) in std::mem::take(&mut self.again) {
                self.push(line, index, spec);
            }
        }
    }

    /// Sends what this link has not carried. Returns how much was done.
    pub(super) fn write(&mut self, line: &mut Line) -> usize {
        let before = self.written;
        while let Some(sent) = self.sent.get(self.written)
            && let Some(out) = line.out()
        {
            let after = After::to_bytes_of(&sent.spec.after);
            let spec = sent.spec.spec(self.job, &after);
            ToQueue::Submit { ticket: sent.ticket, spec }.write(out);
            self.written += 1;
        }
        self.written - before
    }

    /// Whether nothing is to be waited for. Whoever has seen enough does not wait for a server that
    /// is away.
    pub(super) fn is_over(&self, line: &Line, is_stopped: bool) -> bool {
        self.is_empty() || (is_stopped && !line.is_up())
    }

    /// When there is something to do although nothing arrives.
    pub(super) fn retry_at(&self) -> Nanos {
        let waits = self.sent.is_empty() && !self.again.is_empty();
        if waits { self.again_at } else { Nanos::MAX }
    }

    /// Whether nothing was settled for too long.
    pub(super) fn is_late(&self, line: &Line, now: Nanos) -> bool {
        !self.is_empty() && line.is_up() && now.since(self.moved_at) >= line.patience()
    }

    /// Why nothing was settled for too long.
    pub(super) fn why_late(&self, line: &Line) -> TaskClientError {
        let (address, patience) = (line.address(), line.patience());
        match self.no_room {
            Some(reason) => TaskClientError::NoRoom { address, reason, patience },
            None => line.no_answer(),
        }
    }

    /// Nobody waits any more for what is under way. Answers that come after all must not be taken
    /// for others.
    pub(super) fn give_up(&self, line: &mut Line) {
        if !self.sent.is_empty() {
            line.reset();
        }
    }
}
