//! What the worker and one queue tell each other: the greeting of a link, what came of leases until
//! the queue has it for good, credit, what others leave of it, and signs of life.
//!
//! Reports and returns are kept, in the order of their numbers, and written from where they lie;
//! how many of them this link has carried is one number. So a new link begins with all of them
//! again, and nothing is copied for that.

use super::DRAIN_PATIENCE;
use super::runs::Runs;
use super::types::{Exit, TaskWorkerConfig, Usage};
use crate::Nanos;
use punctual_wire::task::{Attempt, Capacity, Occupancy, ReturnReason, TaskId, ToQueue};
use punctual_wire::{BatchWriter, WireError};
use std::collections::VecDeque;
use std::time::Duration;

/// With so many reports and returns unacknowledged no task starts.
pub const UNACKED_MAX: usize = 8192;
/// With so many bytes of their outputs no task starts.
pub const UNACKED_BYTES_MAX: usize = 16 << 20;

/// One call writes no more than about this, in bytes, so that the link can say when it has enough.
const WRITE_BYTES: usize = 256 << 10;
/// From one sign of life to the next until the queue says how often it wants one.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// What came of a lease.
#[derive(Debug)]
pub(super) enum News {
    Ended { waited_ns: u64, exit: Exit },
    Returned(ReturnReason),
}

impl News {
    fn output_len(&self) -> usize {
        match self {
            Self::Ended { exit, .. } => exit.output_len(),
            Self::Returned(_) => 0,
        }
    }
}

#[derive(Debug)]
struct Kept {
    task: TaskId,
    attempt: Attempt,
    news: News,
}

/// What a new link has still to carry before anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Greeting {
    /// Who this is.
    Enlist,
    /// What is unacknowledged, then the leases that it has.
    Leases,
    Done,
}

/// What the queue is to know of the worker at the moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) capacity: Capacity,
    /// What of that tasks of other queues take.
    pub(super) by_others: Occupancy,
    /// It can be told who this is: the worker has the name that it is to have there.
    pub(super) is_named: bool,
}

/// What of the worker goes into messages.
pub(super) struct Facts<'a> {
    pub(super) queue: u16,
    /// What it would like to be called there.
    pub(super) name: &'a str,
    pub(super) config: &'a TaskWorkerConfig,
    pub(super) standing: Standing,
    pub(super) usage: Usage,
    pub(super) runs: &'a Runs,
}

/// One life of the worker in the eyes of one queue.
#[derive(Debug)]
pub(super) struct Session {
    /// Since when the link is down; `None`: it is up.
    down_at: Option<Nanos>,
    greeting: Greeting,
    /// The queue has answered on this link.
    is_enlisted: bool,
    /// What this link was greeted with said that the worker drains.
    has_greeted_draining: bool,
    /// The queue was told that it may give leases, and has not said that it gives no more: there
    /// may be some on their way.
    is_counted_on: bool,
    /// The leases count as this worker's own for so long without a link.
    trusted_until: Nanos,
    lease_timeout: Nanos,
    heartbeat: Nanos,
    beat_at: Nanos,
    is_beat_due: bool,
    /// The capacity that the queue knows.
    told: Capacity,
    /// What it knows to be taken by tasks of others.
    told_by_others: Occupancy,
    unacked: VecDeque<Kept>,
    /// Number of the first of them.
    first_seq: u64,
    /// The highest number that was ever written.
    written_seq: u64,
    /// How many of them this link has carried.
    sent: usize,
    output_bytes: usize,
    /// A number, and when it was written: its acknowledgement tells how long a round trip takes.
    sample: Option<(u64, Nanos)>,
    /// The worker drains, and has waited long enough for this queue.
    is_given_up: bool,
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            down_at: Some(Nanos::ZERO),
            greeting: Greeting::Enlist,
            is_enlisted: false,
            has_greeted_draining: false,
            is_counted_on: false,
            trusted_until: Nanos(i64::MIN),
            lease_timeout: Nanos::ZERO,
            heartbeat: HEARTBEAT.into(),
            beat_at: Nanos::MAX,
            is_beat_due: false,
            told: Capacity::default(),
            told_by_others: Occupancy::default(),
            unacked: VecDeque::new(),
            first_seq: 1,
            written_seq: 0,
            sent: 0,
            output_bytes: 0,
            sample: None,
            is_given_up: false,
        }
    }

    /// Starts a new life, after the queue gave the old one up. Returns what was never acknowledged,
    /// unless that was counted before.
    pub(super) fn forget(&mut self, now: Nanos) -> usize {
        let old = std::mem::replace(self, Self { down_at: Some(now), ..Self::new() });
        if old.is_given_up { 0 } else { old.unacked.len() }
    }

    /// A new link carries everything from the start, and what the machine has left if that was
    /// measured: the queue need not wait for it until the first sign of life is due.
    pub(super) fn link_up(&mut self, now: Nanos, is_measured: bool) {
        self.down_at = None;
        self.greeting = Greeting::Enlist;
        self.is_enlisted = false;
        self.sent = 0;
        self.sample = None;
        self.is_beat_due = is_measured;
        self.beat_at = now + self.heartbeat;
    }

    pub(super) fn link_down(&mut self, now: Nanos) {
        if self.down_at.is_some() {
            return;
        }
        self.down_at = Some(now);
        if std::mem::take(&mut self.is_enlisted) {
            self.trusted_until = now + self.lease_timeout;
        }
    }

    /// Whether the leases are most likely still this worker's own. After a long time without the
    /// queue they have been given to others: to start them would only be to run them twice.
    #[inline]
    fn is_trusted(&self, now: Nanos) -> bool {
        self.is_enlisted || now < self.trusted_until
    }

    /// Whether leases of this queue may be started.
    #[inline]
    pub(super) fn may_start(&self, now: Nanos) -> bool {
        !self.is_full() && self.is_trusted(now)
    }

    /// The number of leases to wait that the queue knows.
    pub(super) fn told_prefetch(&self) -> u32 {
        self.told.prefetch
    }

    /// Whether the queue has everything, and has nothing on its way, or is not waited for any more:
    /// a worker that drains may end.
    pub(super) fn is_settled(&self) -> bool {
        self.is_given_up || (self.unacked.is_empty() && !self.is_counted_on)
    }

    /// When a worker that drains since then, and has nothing else to do, stops waiting for the
    /// queue.
    pub(super) fn give_up_at(&self, draining_since: Nanos) -> Option<Nanos> {
        if self.is_settled() {
            return None;
        }
        let since = match self.down_at {
            Some(down_at) => draining_since.max(down_at),
            // As long as there is a link, what was reported will be acknowledged.
            None if !self.unacked.is_empty() => return None,
            None => draining_since,
        };
        Some(since + DRAIN_PATIENCE.into())
    }

    /// Stops waiting for the queue. Returns how many reports and returns it has not acknowledged.
    pub(super) fn give_up(&mut self) -> usize {
        self.is_given_up = true;
        self.unacked.len()
    }

    /// The queue gives no more leases: what it has given before has arrived.
    pub(super) fn on_last_lease(&mut self) {
        self.is_counted_on = false;
    }

    /// Whether so much is unacknowledged that nothing may be started.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.unacked.len() >= UNACKED_MAX || self.output_bytes >= UNACKED_BYTES_MAX
    }

    /// Keeps what came of a lease until it is acknowledged.
    pub(super) fn keep(&mut self, task: TaskId, attempt: Attempt, news: News) {
        self.output_bytes += news.output_len();
        self.unacked.push_back(Kept { task, attempt, news });
    }

    /// The queue has taken it in.
    pub(super) fn on_enlisted(&mut self, now: Nanos, lease_timeout: Duration, heartbeat: Duration) {
        self.is_enlisted = true;
        if self.has_greeted_draining {
            // It gives nothing on this link, and has taken back what an earlier one has lost.
            self.is_counted_on = false;
        }
        self.lease_timeout = lease_timeout.into();
        let heartbeat = if heartbeat.is_zero() { HEARTBEAT } else { heartbeat };
        self.heartbeat = heartbeat.into();
        self.beat_at = now + self.heartbeat;
    }

    /// The queue has everything up to a number for good. Returns how long a round trip took, if
    /// this tells.
    pub(super) fn on_acked(&mut self, now: Nanos, seq: u64) -> Result<Option<Nanos>, WireError> {
        if seq > self.written_seq {
            let what = "the number of the report that is acknowledged";
            return Err(WireError::UnknownValue { what, value: seq });
        }
        while self.first_seq <= seq {
            let Some(kept) = self.unacked.pop_front() else { break };
            self.output_bytes -= kept.news.output_len();
            self.first_seq += 1;
            // What came before this link was known there already.
            self.sent = self.sent.saturating_sub(1);
        }
        let sample = self.sample.take_if(|(sampled, _)| *sampled <= seq);
        Ok(sample.map(|(_, at)| now - at))
    }

    /// Notes that a sign of life is due. Returns whether it just became so.
    ///
    /// It does not matter what else was written: it is the only message that tells what the
    /// machine has left, so a busy worker sends it as well.
    pub(super) fn on_turn(&mut self, now: Nanos) -> bool {
        let is_due = self.next_beat().is_some_and(|at| at <= now);
        self.is_beat_due |= is_due;
        is_due
    }

    /// When the next sign of life becomes due.
    pub(super) fn next_beat(&self) -> Option<Nanos> {
        (self.down_at.is_none() && !self.is_beat_due).then_some(self.beat_at)
    }

    /// Whether there is anything to write.
    #[inline]
    pub(super) fn has_output(&self, standing: &Standing) -> bool {
        let is_idle = match self.greeting {
            Greeting::Enlist => !standing.is_named,
            Greeting::Leases => false,
            Greeting::Done => {
                standing.capacity == self.told
                    && standing.by_others == self.told_by_others
                    && self.sent == self.unacked.len()
                    && !self.is_beat_due
            }
        };
        self.down_at.is_none() && !is_idle
    }

    /// Writes what there is to say, up to about [`WRITE_BYTES`]. Returns how many messages.
    pub(super) fn write(&mut self, now: Nanos, facts: &Facts<'_>, out: &mut BatchWriter) -> usize {
        let end = out.len() + WRITE_BYTES;
        let mut written = 0;
        while self.has_output(&facts.standing) && out.len() < end {
            written += self.write_next(now, facts, out);
        }
        written
    }

    /// Writes the next message; the leases of a greeting go together. Credit, and what others leave
    /// of it, come before reports, so that the queue does not fill a slot that is not to be filled.
    fn write_next(&mut self, now: Nanos, facts: &Facts<'_>, out: &mut BatchWriter) -> usize {
        let Standing { capacity, by_others, .. } = facts.standing;
        if self.greeting == Greeting::Enlist {
            let TaskWorkerConfig { host, pid, .. } = facts.config;
            let (name, host) = (facts.name.as_bytes(), host.as_bytes());
            ToQueue::Enlist { name, host, pid: *pid, capacity }.write(out);
            self.greeting = Greeting::Leases;
            self.told = capacity;
            // That is what a queue takes it for until it hears more.
            self.told_by_others = Occupancy::default();
            self.has_greeted_draining = capacity.is_draining;
            self.is_counted_on |= !capacity.is_draining;
        } else if capacity != self.told {
            ToQueue::Credit { capacity }.write(out);
            self.told = capacity;
        } else if by_others != self.told_by_others {
            ToQueue::Occupied { by_others }.write(out);
            self.told_by_others = by_others;
        } else if self.sent < self.unacked.len() {
            self.write_kept(now, out);
        } else if self.greeting == Greeting::Leases {
            self.greeting = Greeting::Done;
            return write_leases(facts, out);
        } else {
            let Usage { memory_free, cores_used_milli } = facts.usage;
            let running = facts.runs.running_of(facts.queue);
            ToQueue::Beat { memory_free, cores_used_milli, running }.write(out);
            self.is_beat_due = false;
            self.beat_at = now + self.heartbeat;
        }
        1
    }

    /// Writes the first report or return that this link has not carried.
    fn write_kept(&mut self, now: Nanos, out: &mut BatchWriter) {
        let seq = self.first_seq + self.sent as u64;
        let Kept { task, attempt, news } = &self.unacked[self.sent];
        let (task, attempt) = (*task, *attempt);
        match news {
            News::Ended { waited_ns, exit } => {
                ToQueue::Report { seq, task, attempt, end: exit.end(*waited_ns) }.write(out);
            }
            News::Returned(reason) => {
                ToQueue::Return { seq, task, attempt, reason: *reason }.write(out);
            }
        }
        self.sent += 1;
        self.written_seq = self.written_seq.max(seq);
        if self.sample.is_none() {
            self.sample = Some((seq, now));
        }
    }
}

/// Says which leases of the queue the worker has, in one go: what has ended by now was reported
/// just before, and what ends later is one of these.
fn write_leases(facts: &Facts<'_>, out: &mut BatchWriter) -> usize {
    let mut written = 1;
    for (task, attempt) in facts.runs.held(facts.queue) {
        ToQueue::Hold { task, attempt }.write(out);
        written += 1;
    }
    ToQueue::Held.write(out);
    written
}
