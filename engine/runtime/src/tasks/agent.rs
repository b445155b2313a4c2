//! A task queue with its links and its journal, as an agent of a core.
//!
//! A turn reads the links, lets the queue give out what can be given out, hands its journal what
//! was appended to the log, collects what may leave, and then flushes each link once.

mod visitors;

use super::address::QueueDoor;
use super::config::FIRST;
use super::connection::{Connection, Parting, Use};
use super::{LIMITS, TaskServerConfig};
use crate::agent::Agent;
use crate::clock::Clock;
use crate::counters::{Counter, CounterBlock, LinkCounts};
use crate::journal::Journal;
use crate::links::{Room, exchange, flush};
use crate::shard_agent::{
    DRAIN_TIMEOUT, End, HANDSHAKE_TIMEOUT, STRANGERS_MAX, ShardControl, close_journal, end_of,
    fail_stop, publish_journal, see_off,
};
use punctual_core::Nanos;
use punctual_core::task::{Party, TaskQueue};
use punctual_link::{Identity, LinkError, OUTGOING_BYTES_MAX, ParkHandle};
use punctual_wire::{BatchWriter, CloseReason, Features, Frame, FrameKind};
use std::sync::Arc;
use std::time::Duration;

/// How long those who were told that the queue stops have to hang up: a client that is doing
/// something else does not hear it.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a stopping queue waits for what is not durable.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);
/// While there is work, links that have brought none for a while are read every so many turns.
const QUIET_TURNS: u32 = 8;
/// What is read is never answered on the spot, but whoever does not take what waits for it gets no
/// more work done.
const ROOM: Room = Room { frames_max: usize::MAX, out_bytes_max: OUTGOING_BYTES_MAX };

/// The server, as its queues know it.
pub(super) struct Farm {
    /// What it was started with.
    pub(super) config: TaskServerConfig,
    /// What visitors must show.
    pub(super) hash: u64,
    /// The doors of all queues, in order.
    pub(super) doors: Arc<[QueueDoor]>,
}

/// A queue and everybody who talks to it.
pub(super) struct TaskAgent {
    queue: TaskQueue,
    /// What makes its log durable, unless it keeps to memory.
    journal: Option<Journal>,
    /// For how long anything waited at most to be durable.
    lag_max: Duration,
    clock: Clock,
    identity: Identity,
    /// How many queues the server has.
    queues: u16,
    /// Where visitors of the other queues are sent, by the queue that everybody comes to first;
    /// empty where nobody is.
    doors: Arc<[QueueDoor]>,
    control: flume::Receiver<ShardControl>,
    connections: Vec<Connection>,
    connections_max: usize,
    park: Option<ParkHandle>,
    turns: u32,
    stopping_since: Option<Nanos>,
    /// When everybody was told goodbye.
    draining_since: Option<Nanos>,
    finished: bool,
    counts: LinkCounts,
    block: Arc<CounterBlock>,
}

impl TaskAgent {
    pub(super) fn new(
        queue: TaskQueue,
        journal: Option<Journal>,
        clock: Clock,
        farm: &Farm,
        control: flume::Receiver<ShardControl>,
    ) -> Self {
        let session = queue.session().0;
        let block = CounterBlock::new(format!("tasks{}", queue.id().0));
        let Farm { config: TaskServerConfig { queues, parties_max, .. }, hash, .. } = *farm;
        let sends_on = queue.id() == FIRST && queues > 1;
        let doors = if sends_on { Arc::clone(&farm.doors) } else { Arc::default() };
        Self {
            queue,
            journal,
            lag_max: Duration::ZERO,
            clock,
            identity: Identity { session, cluster: hash, features: Features::CHECKSUM },
            queues,
            doors,
            control,
            connections: Vec::new(),
            connections_max: parties_max + STRANGERS_MAX,
            park: None,
            turns: 0,
            stopping_since: None,
            draining_since: None,
            finished: false,
            counts: LinkCounts::default(),
            block,
        }
    }

    fn take_control(&mut self, now: Nanos) -> usize {
        let mut taken = 0;
        while let Ok(control) = self.control.try_recv() {
            taken += 1;
            match control {
                ShardControl::Attach(link) => self.attach(now, link),
                ShardControl::Stop => {
                    self.stopping_since.get_or_insert(now);
                }
            }
        }
        taken
    }

    /// Reads what has arrived on all links whose turn it is. A turn that finds nothing has read all
    /// of them.
    #[inline]
    fn read(&mut self, now: Nanos) -> usize {
        let mut work = self.serve_all(now, false);
        if work == 0 || self.turns.is_multiple_of(QUIET_TURNS) {
            work += self.serve_all(now, true);
        }
        work
    }

    /// Serves the quiet connections, or the others. Returns how much was done.
    #[inline]
    fn serve_all(&mut self, now: Nanos, quiet: bool) -> usize {
        let mut work = 0;
        let mut at = 0;
        while let Some(connection) = self.connections.get(at) {
            if connection.is_quiet() != quiet {
                at += 1;
                continue;
            }
            match self.serve(now, at) {
                Ok(done) => {
                    self.connections[at].note(done);
                    work += done;
                    at += 1;
                }
                Err(parting) => {
                    self.part(now, at, &parting);
                    work += 1;
                }
            }
        }
        work
    }

    /// Lets a connection go: to its end, or to another queue.
    fn part(&mut self, now: Nanos, at: usize, parting: &Parting) {
        match parting {
            Parting::End(end) => self.close(now, at, end),
            Parting::Forward { queue } => self.forward(at, *queue),
        }
    }

    /// Reads one connection and takes what came. Returns how much was done.
    #[inline]
    fn serve(&mut self, now: Nanos, at: usize) -> Result<usize, Parting> {
        let connection = &mut self.connections[at];
        let done = match connection.used_for {
            Use::Leaving { since } => {
                see_off(connection.link.as_mut(), LIMITS, connection.checksum, now, since)?
            }
            // What arrives now is answered by the next run, if it is sent again.
            _ if self.stopping_since.is_some() => 0,
            Use::Party { party } => self.serve_party(at, party)?,
            Use::Shaking { .. } => self.shake(now, at)?,
        };
        Ok(done)
    }

    #[inline]
    fn serve_party(&mut self, at: usize, party: Party) -> Result<usize, End> {
        let Self { queue, clock, connections, counts, .. } = self;
        if !queue.has_room(party) {
            counts.back_pressure += 1;
            return Ok(0);
        }
        let take = |frame: &Frame<'_>, _: &mut BatchWriter| match frame.kind {
            FrameKind::Task => Ok(queue.on_frame(clock.now(), party, frame)?),
            _ => Err(end_of(frame)),
        };
        let Connection { link, checksum, .. } = &mut connections[at];
        exchange(link.as_mut(), LIMITS, *checksum, counts, ROOM, take)
    }

    /// Removes a connection, says why once, and tells the peer if it can still be told.
    fn close(&mut self, now: Nanos, at: usize, end: &End) {
        let mut connection = self.connections.swap_remove(at);
        end.conclude(connection.link.as_mut(), self.queue.id(), &mut self.counts);
        if let Use::Party { party } = connection.used_for {
            self.queue.close(now, party);
        }
    }

    /// Hands over what was appended to the log, and takes note of what is durable by now, so that
    /// what waits for it may leave. Returns how much was done.
    ///
    /// # Panics
    /// When the journal cannot be written, as a shard does: nothing may be promised any more.
    #[inline]
    fn pump(&mut self, now: Nanos) -> usize {
        let Some(journal) = &mut self.journal else { return 0 };
        if !self.queue.is_durable() {
            self.lag_max = self.lag_max.max(self.queue.log_lag(now));
        }
        match journal.pump(&mut self.queue) {
            Ok(work) => work,
            Err(error) => fail_stop(self.queue.id(), &error),
        }
    }

    /// Collects what the queue has to say and flushes each link.
    #[inline]
    fn write(&mut self, now: Nanos) -> usize {
        let mut work = 0;
        let mut at = 0;
        while at < self.connections.len() {
            match self.write_to(now, at) {
                Ok(done) => {
                    work += done;
                    at += 1;
                }
                Err(error) => {
                    self.close(now, at, &End::Link(error));
                    work += 1;
                }
            }
        }
        work
    }

    #[inline]
    fn write_to(&mut self, now: Nanos, at: usize) -> Result<usize, LinkError> {
        let Self { queue, connections, counts, .. } = self;
        let connection = &mut connections[at];
        let mut work = 0;
        if let Use::Party { party } = connection.used_for {
            let link = connection.link.as_mut();
            if link.has_room() {
                let room = OUTGOING_BYTES_MAX - link.pending();
                let out = link.outgoing();
                let end = out.len() + room;
                work = queue.write(party, out, |out| out.len() < end);
            }
            if let Some(reason) = queue.closing(party) {
                let shard = queue.id().0;
                tracing::info!(shard, peer = link.peer(), %reason, "the queue closes a link");
                queue.close(now, party);
                connection.leave(now, reason);
            }
        }
        Ok(work + flush(connection.link.as_mut(), counts)?)
    }

    /// Says goodbye once all is durable, and finishes when everybody is gone.
    fn stop(&mut self, now: Nanos, since: Nanos) {
        if self.draining_since.is_none() {
            if !self.queue.is_durable() && now.since(since) < SETTLE_TIMEOUT {
                return;
            }
            self.draining_since = Some(now);
            // The queue is not told that they are gone: the next run finds them linked, and gives
            // them the time to come back.
            for connection in &mut self.connections {
                if connection.leaving_since().is_none() {
                    connection.leave(now, CloseReason::Stopping);
                }
            }
        }
        let drained = self.draining_since.is_some_and(|since| now.since(since) >= STOP_TIMEOUT);
        if drained || self.connections.is_empty() {
            self.connections.clear();
            if let Some(journal) = self.journal.take() {
                close_journal(journal, &mut self.queue, self.lag_max, &self.block);
            }
            self.finished = true;
        }
    }
}

impl Agent for TaskAgent {
    fn start(&mut self, park: Option<&ParkHandle>) {
        self.park = park.cloned();
        if let Some(journal) = &mut self.journal {
            journal.set_waker(park.map(|park| Arc::clone(park.waker())));
        }
    }

    #[inline]
    fn do_work(&mut self, now: Nanos) -> usize {
        if self.finished {
            return 0;
        }
        self.turns = self.turns.wrapping_add(1);
        let mut work = self.take_control(now);
        work += self.read(now);
        if self.stopping_since.is_none() {
            work += self.queue.on_turn(self.clock.now());
        }
        work += self.pump(now);
        work += self.write(now);
        if let Some(since) = self.stopping_since {
            self.stop(now, since);
        }
        work
    }

    fn next_deadline(&self) -> Option<Nanos> {
        if self.finished {
            return None;
        }
        let drained = |since: Nanos| since + DRAIN_TIMEOUT.into();
        let settled = self.stopping_since.map(|since| since + SETTLE_TIMEOUT.into());
        let stop = self.draining_since.map(|since| since + STOP_TIMEOUT.into()).or(settled);
        let is_at_work = self.stopping_since.is_none();
        let strangers = self.connections.iter().filter_map(Connection::stranger_since);
        // Nobody is heard any more while it stops, and so nobody is shown out either.
        let strangers = strangers.filter(|_| is_at_work);
        let shaking = strangers.map(|since| since + HANDSHAKE_TIMEOUT.into());
        let leaving = self.connections.iter().filter_map(Connection::leaving_since);
        let due = if is_at_work { self.queue.next_deadline() } else { None };
        [stop, due].into_iter().flatten().chain(shaking).chain(leaving.map(drained)).min()
    }

    fn is_expecting(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::is_waiting)
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    fn publish(&mut self) {
        let (stats, block) = (self.queue.stats(), &self.block);
        self.counts.publish(block);
        block.set(Counter::TasksSubmitted, stats.submitted);
        block.set(Counter::TasksKnown, stats.known);
        block.set(Counter::TasksRefused, stats.refused);
        block.set(Counter::TasksLeased, stats.leased);
        block.set(Counter::TasksDone, stats.done);
        block.set(Counter::TasksFailed, stats.failed);
        block.set(Counter::TasksRetried, stats.retried);
        block.set(Counter::TasksExpired, stats.expired);
        block.set(Counter::TasksReturned, stats.returned);
        block.set(Counter::TasksRecalled, stats.recalled);
        block.set(Counter::TasksRemoved, stats.removed);
        block.set(Counter::Stale, stats.stale);
        block.set(Counter::TasksUnfinished, self.queue.counts().unfinished());
        block.set(Counter::TaskBytes, self.queue.bytes());
        block.set(Counter::TaskWorkers, self.queue.workers() as u64);
        block.set(Counter::TaskHolds, self.queue.held_workers() as u64);
        if let Some(journal) = &self.journal {
            publish_journal(journal, self.lag_max, block);
        }
    }

    fn counters(&self) -> Arc<CounterBlock> {
        Arc::clone(&self.block)
    }
}
