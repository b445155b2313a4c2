//! The task queue: takes tasks in, gives them to workers, and keeps what came of them.
//!
//! Everything durable is a [record](record) in its log, and nothing leaves before the log is
//! durable up to where it was when the message was made (output commit, as shards do it). Leases
//! live by the word of their workers, never by how long a task takes; attempts are numbered, and
//! only a report of the latest one counts.

mod apply;
mod book;
mod classes;
mod crew;
mod dispatch;
mod errands;
mod holds;
mod intake;
mod jobs;
mod latencies;
mod outbox;
mod record;
mod replay;
mod reports;
mod table;
#[cfg(test)]
mod tests;
mod ties;
mod write;

pub use latencies::{LatencyBuckets, TaskLatencies};
pub use outbox::Party;
pub use record::describe_record;
pub use replay::TaskReplay;

use crate::journal::{Durability, Logged, Lsn};
use crate::{Nanos, SessionId, ShardId};
use book::Book;
use holds::Hold;
use outbox::{Out, PartyState, Role, WAITING_MAX};
use punctual_wire::task::{StateCounts, ToQueueReader};
use punctual_wire::{CloseReason, Frame, FrameKind, Limits, WireError};
use record::{TaskLog, TaskRecord};
use std::time::Duration;
use table::Task;
use thiserror::Error;

/// Tasks whose pause is over, taken up in one turn.
const DELAYS_A_TURN: usize = 4096;
/// While so many bytes of the log wait to be written, clients are not read.
const LOG_BYTES_MAX: usize = 64 << 20;

/// Faults that can be put into a queue, so that the simulator shows that it finds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TaskMutation {
    /// None: the queue as it is.
    #[default]
    None,
    /// Submissions and reports are acknowledged before they are durable.
    AckBeforeDurable,
    /// Leases leave before they are durable.
    LeaseBeforeDurable,
    /// Reports count whatever attempt they are of.
    AcceptStale,
    /// A worker that comes back keeps none of its leases.
    ForgetHeld,
    /// Leases of a silent worker never expire.
    NeverExpire,
    /// What comes after others does not wait for them.
    IgnoreAfter,
}

/// What a queue must know.
#[derive(Debug, Clone)]
pub struct TaskQueueConfig {
    /// Which shard of the farm it is.
    pub id: ShardId,
    /// Names this run of it, or that of its journal.
    pub session: SessionId,
    /// Bounds of frames.
    pub limits: Limits,
    /// Whether it has a journal.
    pub durability: Durability,
    /// A worker that says nothing for so long loses its leases.
    pub lease_timeout: Duration,
    /// How often a worker says something.
    pub heartbeat: Duration,
    /// A worker whose link is down for so long loses its leases.
    pub reconnect_grace: Duration,
    /// Pause before a task that failed once is tried again; it doubles with each failure.
    pub backoff_min: Duration,
    /// The longest such pause.
    pub backoff_max: Duration,
    /// A task that was lost so often with its worker fails.
    pub losses_max: u16,
    /// Bytes that tasks and what they wrote may take. Beyond it the oldest that ended are
    /// forgotten, then submissions are refused.
    pub memory_max: u64,
    /// Most jobs, which is also the bound of their numbers.
    pub jobs_max: usize,
    /// Most clients and workers together.
    pub parties_max: usize,
    /// Breaks a rule, for tests of those who check.
    pub mutation: TaskMutation,
}

impl TaskQueueConfig {
    /// The defaults: in memory, leases for 30 s, up to 2 GiB.
    #[must_use]
    pub fn new(id: ShardId) -> Self {
        Self {
            id,
            session: SessionId(0),
            limits: Limits::DEFAULT,
            durability: Durability::Memory,
            lease_timeout: Duration::from_secs(30),
            heartbeat: Duration::from_secs(5),
            reconnect_grace: Duration::from_secs(5),
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(60),
            losses_max: 5,
            memory_max: 2 << 30,
            jobs_max: 1 << 16,
            parties_max: 1 << 14,
            mutation: TaskMutation::None,
        }
    }
}

/// There are as many clients and workers as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("there are {max} clients and workers already, and no more are allowed")]
pub struct TooManyParties {
    /// The bound.
    pub max: usize,
}

/// What a queue has counted since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskQueueStats {
    /// Tasks that were taken in.
    pub submitted: u64,
    /// Submissions of tasks that were there.
    pub known: u64,
    /// Submissions that were refused.
    pub refused: u64,
    /// Leases given.
    pub leased: u64,
    /// Attempts that succeeded.
    pub done: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Failed attempts that were not the last.
    pub retried: u64,
    /// Leases whose worker was given up.
    pub expired: u64,
    /// Leases that came back without an end.
    pub returned: u64,
    /// Leases that were asked back.
    pub recalled: u64,
    /// Reports and returns that changed nothing.
    pub stale: u64,
    /// Tasks that were cancelled on request.
    pub cancelled: u64,
    /// Tasks that were set to run again on request.
    pub revived: u64,
    /// Tasks that were forgotten, on request or for want of memory.
    pub removed: u64,
    /// Outputs that were forgotten for want of memory.
    pub outputs_dropped: u64,
}

/// A queue of tasks. See `docs/tasks.md`.
#[derive(Debug)]
pub struct TaskQueue {
    config: TaskQueueConfig,
    book: Book,
    log: TaskLog,
    parties: Vec<Option<PartyState>>,
    party_count: usize,
    /// Parties with errands, or that watch.
    curious: usize,
    watched_version: u64,
    /// No worker's time is up before.
    expiry_at: Nanos,
    /// When to look again for leases to ask back.
    recall_at: Option<Nanos>,
    /// Which worker is served first.
    first_served: u32,
    /// Whose errands are done first.
    first_asked: usize,
    candidates: Vec<u32>,
    /// Workers that are held for a task. Not durable.
    holds: Vec<Hold>,
    stats: TaskQueueStats,
    latencies: TaskLatencies,
    /// When a queue went on from its journal.
    started_at: Nanos,
    clock: Nanos,
}

impl TaskQueue {
    /// An empty queue.
    #[must_use]
    pub fn new(config: TaskQueueConfig) -> Self {
        Self::with_book(config, Book::default())
    }

    fn with_book(config: TaskQueueConfig, book: Book) -> Self {
        let log = TaskLog::new(config.durability.is_on());
        Self {
            config,
            book,
            log,
            parties: Vec::new(),
            party_count: 0,
            curious: 0,
            watched_version: 0,
            expiry_at: Nanos::MAX,
            recall_at: None,
            first_served: 0,
            first_asked: 0,
            candidates: Vec::new(),
            holds: Vec::new(),
            stats: TaskQueueStats::default(),
            latencies: TaskLatencies::default(),
            started_at: Nanos::ZERO,
            clock: Nanos::ZERO,
        }
    }

    /// Which shard of the farm it is.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.config.id
    }

    /// The session of this run, or of its journal.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.config.session
    }

    /// Tasks by state.
    #[must_use]
    pub fn counts(&self) -> StateCounts {
        self.book.counts
    }

    /// What it has counted.
    #[must_use]
    pub fn stats(&self) -> &TaskQueueStats {
        &self.stats
    }

    /// Bytes that tasks and what they wrote count for.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.book.bytes
    }

    /// Workers that are known, linked or not.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.book.crew.len()
    }

    /// Workers that are held for a task that needs more than is free there.
    #[must_use]
    pub fn held_workers(&self) -> usize {
        self.holds.len()
    }

    /// Leases that wait at their workers.
    #[must_use]
    pub fn ahead(&self) -> u64 {
        self.book.crew.ahead
    }

    /// Whether everything that happened is durable.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.log.durable >= self.log.tail
    }

    /// Where the log ends, and up to where it is durable.
    #[must_use]
    pub fn log_ends(&self) -> (Lsn, Lsn) {
        (self.log.tail, self.log.durable)
    }

    /// For how long the oldest record has waited to be durable.
    #[must_use]
    pub fn log_lag(&self, now: Nanos) -> Duration {
        self.log.lag(now)
    }

    /// A client has connected.
    ///
    /// # Errors
    /// When there are too many.
    pub fn open_client(&mut self, now: Nanos) -> Result<Party, TooManyParties> {
        self.note_time(now);
        self.open(Role::Client)
    }

    /// A worker has connected; it is to enlist.
    ///
    /// # Errors
    /// When there are too many.
    pub fn open_worker(&mut self, now: Nanos, session: SessionId) -> Result<Party, TooManyParties> {
        self.note_time(now);
        self.open(Role::Worker { session, index: None })
    }

    fn open(&mut self, role: Role) -> Result<Party, TooManyParties> {
        let max = self.config.parties_max;
        if self.party_count >= max {
            return Err(TooManyParties { max });
        }
        self.party_count += 1;
        let state = Some(PartyState::new(role));
        let free = self.parties.iter().position(Option::is_none);
        let at = free.unwrap_or(self.parties.len());
        match free {
            Some(at) => self.parties[at] = state,
            None => self.parties.push(state),
        }
        Ok(Party(at))
    }

    /// A link is gone. A worker without it has a while to come back.
    pub fn close(&mut self, now: Nanos, party: Party) {
        self.note_time(now);
        let Some(state) = self.parties.get_mut(party.0).and_then(Option::take) else { return };
        self.party_count -= 1;
        self.curious -= usize::from(state.is_curious());
        let Role::Worker { index: Some(index), .. } = state.role else { return };
        let grace = self.config.reconnect_grace.into();
        let Some(worker) = self.book.crew.get_mut(index) else { return };
        if worker.party != Some(party) {
            return;
        }
        (worker.party, worker.is_synced) = (None, false);
        self.book.classes.note_crew();
        worker.deadline = worker.deadline.min(self.clock + grace);
        self.expiry_at = self.expiry_at.min(worker.deadline);
        if worker.leases == 0 {
            self.dismiss(index);
        }
    }

    /// Takes the messages of a frame.
    ///
    /// # Errors
    /// When they cannot be read or do not belong there: the link is to be closed.
    pub fn on_frame(
        &mut self,
        now: Nanos,
        party: Party,
        frame: &Frame<'_>,
    ) -> Result<(), WireError> {
        self.note_time(now);
        if frame.kind != FrameKind::Task {
            return Err(WireError::UnexpectedKind(frame.kind));
        }
        let Some(state) = self.parties.get(party.0).and_then(Option::as_ref) else {
            return Ok(());
        };
        if state.closing.is_some() {
            return Ok(());
        }
        let reader = ToQueueReader::new(frame);
        match state.role {
            Role::Client => self.take_from_client(party, reader),
            Role::Worker { session, index } => self.take_from_worker(party, session, index, reader),
        }
    }

    /// Does what is due, and gives tasks to those who have room. To be called after all frames of a
    /// turn. Returns how much was done.
    pub fn on_turn(&mut self, now: Nanos) -> usize {
        self.note_time(now);
        let mut work = 0;
        if self.clock >= self.expiry_at {
            work += self.expire();
        }
        work += self.end_delays();
        if self.curious > 0 {
            work += self.run_errands();
        }
        work += self.dispatch();
        if self.curious > 0 && self.watched_version != self.book.version {
            work += self.tell_watchers();
        }
        work
    }

    /// When there is something to do although nothing arrives.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let delayed = self.book.delayed.first().map(|(at, _)| Nanos(*at));
        let expiry = (self.expiry_at < Nanos::MAX).then_some(self.expiry_at);
        let is_asked = |state: &PartyState| !state.errands.is_empty() && state.has_answer_room();
        let errand = self.curious > 0 && self.parties.iter().flatten().any(is_asked);
        let errand = errand.then_some(self.clock);
        [delayed, expiry, self.recall_at, errand].into_iter().flatten().min()
    }

    /// Why the host is to close a link, if it is.
    #[must_use]
    pub fn closing(&self, party: Party) -> Option<CloseReason> {
        self.parties.get(party.0)?.as_ref()?.closing
    }

    /// Whether the party may be read: not while too much waits to be told to it, or to be written.
    #[must_use]
    pub fn has_room(&self, party: Party) -> bool {
        let Some(state) = self.parties.get(party.0).and_then(Option::as_ref) else { return true };
        // What workers say makes room; what clients say takes it.
        let is_worker = matches!(state.role, Role::Worker { .. });
        state.out.len() < WAITING_MAX && (is_worker || self.log.len() < LOG_BYTES_MAX)
    }

    /// Time does not run back, whatever the clock does.
    fn note_time(&mut self, now: Nanos) {
        self.clock = self.clock.max(now);
        self.book.now = self.clock.0;
    }

    fn record(&mut self, record: &TaskRecord<'_>) {
        self.log.append(self.clock, record);
    }

    /// Says something to a party as soon as everything up to now is durable.
    fn tell(&mut self, party: Party, out: Out) {
        let is_ack = matches!(out, Out::Acked { .. } | Out::Submitted { .. });
        let is_early = match self.config.mutation {
            TaskMutation::AckBeforeDurable => is_ack,
            TaskMutation::LeaseBeforeDurable => matches!(out, Out::Lease { .. }),
            _ => false,
        };
        let gate = if is_early { Lsn::ZERO } else { self.log.tail };
        if let Some(state) = self.parties.get_mut(party.0).and_then(Option::as_mut) {
            state.push(gate, out);
        }
    }

    /// Lets the tasks go on whose pause is over.
    fn end_delays(&mut self) -> usize {
        let mut work = 0;
        while let Some(&(due, sequence)) = self.book.delayed.first()
            && due <= self.clock.0
            && work < DELAYS_A_TURN
        {
            self.book.end_delay(sequence);
            work += 1;
        }
        work
    }

    /// A worker is forgotten.
    fn dismiss(&mut self, worker: u32) {
        self.record(&TaskRecord::Dismissed { worker });
        self.book.dismiss(worker);
    }

    /// Forgets the oldest tasks that ended until there is room for `bytes` more. False if there are
    /// none left to forget, or the oldest one is needed.
    fn make_room(&mut self, bytes: u64, is_needed: impl Fn(&Task) -> bool) -> bool {
        while self.book.bytes.saturating_add(bytes) > self.config.memory_max {
            let Some(&(sequence, ticket)) = self.book.ended.front() else { return false };
            let task = self.book.table.get(sequence);
            let task = task.filter(|task| task.ticket == ticket && task.state.is_final());
            if task.is_some_and(&is_needed) {
                return false;
            }
            let is_there = task.is_some();
            self.book.ended.pop_front();
            if is_there {
                self.record(&TaskRecord::Removed { sequence });
                self.book.remove(sequence);
                self.stats.removed += 1;
            }
        }
        true
    }

    /// Forgets the oldest outputs while they take more than a quarter of the memory.
    fn trim_outputs(&mut self) {
        while self.book.output_bytes > self.config.memory_max / 4 {
            let Some(sequence) = self.book.next_output() else { return };
            self.record(&TaskRecord::OutputDropped { sequence });
            self.book.drop_output(sequence);
            self.stats.outputs_dropped += 1;
        }
    }
}

impl Logged for TaskQueue {
    fn id(&self) -> ShardId {
        self.config.id
    }

    fn log_len(&self) -> usize {
        self.log.len()
    }

    fn take_log(&mut self, buffer: &mut Vec<u8>) -> Lsn {
        self.log.take(buffer)
    }

    fn on_durable(&mut self, lsn: Lsn) {
        self.log.on_durable(lsn);
    }

    fn set_journal_full(&mut self, is_full: bool) {
        self.log.is_full = is_full;
    }
}
