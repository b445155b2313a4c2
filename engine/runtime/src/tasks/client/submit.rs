//! Submitting tasks: many under way at once, each until it is acknowledged.
//!
//! A queue knows a task by its job and key, so whatever was not acknowledged when a link was lost
//! is simply submitted again.

use super::line::Line;
use super::{Step, TaskClient};
use crate::tasks::{OwnedSpec, TaskClientError};
use punctual_core::Nanos;
use punctual_wire::task::{After, JobId, QueuePush, RefusedTask, ToQueue};
use std::collections::{BTreeMap, VecDeque};
use std::iter::Fuse;
use std::ops::ControlFlow;
use std::time::Duration;

/// Submissions under way at once,
const WINDOW_MAX: usize = 8192;
/// and their bytes.
const WINDOW_BYTES_MAX: usize = 4 << 20;
/// Pause before what found no room is submitted again; it doubles with each time.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
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

/// A submission under way.
struct Sent {
    ticket: u64,
    /// How many tasks were given before it.
    index: u64,
    spec: OwnedSpec,
    refused: Option<RefusedTask>,
}

/// All submissions of one call.
struct Window<I> {
    job: JobId,
    tasks: Fuse<I>,
    /// Tasks taken from the iterator.
    given: u64,
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
    report: SubmitReport,
    /// The caller has seen enough: what is under way is waited for, and no more is sent.
    is_stopped: bool,
    /// When something was settled, or a link came up.
    moved_at: Nanos,
    told_at: Nanos,
}

impl<I: Iterator<Item = OwnedSpec>> Window<I> {
    fn new(now: Nanos, job: JobId, tasks: I) -> Self {
        Self {
            job,
            tasks: tasks.fuse(),
            given: 0,
            sent: VecDeque::new(),
            bytes: 0,
            written: 0,
            epoch: 0,
            again: BTreeMap::new(),
            again_at: now,
            pause: PAUSE_MIN,
            no_room: None,
            report: SubmitReport::default(),
            is_stopped: false,
            moved_at: now,
            told_at: now,
        }
    }

    /// Takes what the queue says of submissions.
    fn take(&mut self, now: Nanos, push: &QueuePush<'_>) {
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
                self.report.added += u64::from(added);
                self.report.known += u64::from(known);
                if added + known > 0 {
                    (self.pause, self.no_room, self.moved_at) = (PAUSE_MIN, None, now);
                }
                while self.sent.front().is_some_and(|sent| sent.ticket <= ticket) {
                    let Some(sent) = self.sent.pop_front() else { break };
                    self.bytes -= sent.spec.bytes();
                    self.written = self.written.saturating_sub(1);
                    self.settle(now, sent);
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
    fn settle(&mut self, now: Nanos, sent: Sent) {
        let Some(reason) = sent.refused else { return };
        let is_passing = match reason {
            RefusedTask::Full | RefusedTask::JournalFull => true,
            // What it comes after may be what found no room.
            RefusedTask::UnknownAfter => !self.again.is_empty(),
            RefusedTask::UnknownJob | RefusedTask::TooLarge => false,
        };
        if is_passing && !self.is_stopped {
            if self.again.is_empty() {
                self.again_at = now + self.pause.into();
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
            self.no_room = Some(reason);
            self.again.insert(sent.index, (sent.spec, reason));
        } else {
            self.report.refused.push((sent.index, reason));
            self.moved_at = now;
        }
    }

    fn push(&mut self, line: &mut Line, index: u64, spec: OwnedSpec) {
        self.bytes += spec.bytes();
        self.sent.push_back(Sent { ticket: line.new_ticket(), index, spec, refused: None });
    }

    /// Takes tasks from the caller while there is room for them. What found no room in the queue
    /// goes first: others may come after it.
    fn fill(&mut self, line: &mut Line, now: Nanos) {
        if !self.again.is_empty() {
            if self.is_stopped && self.sent.is_empty() {
                let again = std::mem::take(&mut self.again);
                let refused = again.into_iter().map(|(index, (_, reason))| (index, reason));
                self.report.refused.extend(refused);
            } else if self.sent.is_empty() && now >= self.again_at {
                for (index, (spec, _)) in std::mem::take(&mut self.again) {
                    self.push(line, index, spec);
                }
            }
            return;
        }
        while !self.is_stopped && self.sent.len() < WINDOW_MAX && self.bytes < WINDOW_BYTES_MAX {
            let Some(spec) = self.tasks.next() else { return };
            let index = self.given;
            self.given += 1;
            if spec.is_too_large() {
                self.report.refused.push((index, RefusedTask::TooLarge));
            } else {
                self.push(line, index, spec);
            }
        }
    }

    /// Sends what this link has not carried. Returns how much was done.
    fn write(&mut self, line: &mut Line) -> usize {
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

    /// Whether everything that is to be done was done.
    fn is_over(&self, line: &Line) -> bool {
        if self.is_stopped && !line.is_up() {
            // Whoever has seen enough does not wait for a server that is away.
            return true;
        }
        // A window that is empty after it was filled has nothing to be filled with.
        self.sent.is_empty() && self.again.is_empty()
    }

    fn step(
        &mut self,
        line: &mut Line,
        now: Nanos,
        progress: &mut impl FnMut(&SubmitReport) -> ControlFlow<()>,
    ) -> Result<Step<()>, TaskClientError> {
        let settled = self.report.settled();
        let mut work = line.turn(now, &mut |push| self.take(now, push))?;
        if line.is_up() && line.epoch() != self.epoch {
            (self.epoch, self.written, self.moved_at) = (line.epoch(), 0, now);
            for sent in &mut self.sent {
                sent.refused = None;
            }
        }
        if self.report.settled() > settled || now.since(self.told_at) >= PROGRESS_INTERVAL {
            self.told_at = now;
            self.is_stopped |= progress(&self.report).is_break();
        }
        self.fill(line, now);
        work += self.write(line);
        work += line.flush(now)?;
        if self.is_over(line) {
            return Ok(Step::Done(()));
        }
        if line.is_up() && now.since(self.moved_at) >= line.patience() {
            return Err(self.give_up(line));
        }
        if work > 0 {
            return Ok(Step::Busy);
        }
        let again_at = if self.sent.is_empty() { self.again_at } else { Nanos::MAX };
        let told_at = self.told_at + PROGRESS_INTERVAL.into();
        Ok(Step::Idle(again_at.min(told_at)))
    }

    /// Nothing was settled for too long.
    fn give_up(&self, line: &mut Line) -> TaskClientError {
        if !self.sent.is_empty() {
            // Answers that come after all must not be taken for others.
            line.reset();
        }
        let (address, patience) = (line.address(), line.patience());
        match self.no_room {
            Some(reason) => TaskClientError::NoRoom { address, reason, patience },
            None => line.no_answer(),
        }
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
        let mut window = Window::new(self.line.now(), job, tasks.into_iter());
        self.run(|line, now| window.step(line, now, &mut progress))?;
        window.report.refused.sort_unstable_by_key(|(index, _)| *index);
        Ok(window.report)
    }
}
