//! A shard with its links, as an agent of a core.
//!
//! A turn reads all links, lets the shard release what is due, hands its journal what was appended
//! to the log, collects the answers and the messages for other shards that may leave, and then
//! flushes each link once.

mod connection;
mod journaling;
mod serve;
mod strangers;

use crate::agent::Agent;
use crate::clock::Clock;
use crate::counters::{Counter, CounterBlock, LinkCounts};
use crate::journal::Journal;
use crate::links::{Lost, ShardLinks, flush, shard_id};
use connection::{Connection, Group, Use};
pub(crate) use connection::{DRAIN_TIMEOUT, End, end_of, see_off};
pub(crate) use journaling::{close_journal, fail_stop, publish_journal};
use punctual_core::{Nanos, Outbox, Shard};
use punctual_link::{Identity, Link, LinkError, ParkHandle};
use punctual_wire::{CloseReason, Limits};
use std::sync::Arc;
use std::time::Duration;
pub(crate) use strangers::{
    HANDSHAKE_TIMEOUT, STRANGERS_MAX, refuse, register, reject, surplus_stranger,
};

/// A stopping shard says goodbye in the first turn in which nothing arrives; peers that never
/// pause get it after this.
const STOP_PATIENCE: Duration = Duration::from_millis(500);
/// How long a stopping shard waits for what is undecided, or not durable.
const DECIDE_TIMEOUT: Duration = Duration::from_secs(2);
/// The control queue and strangers are looked at every so many turns.
const CONTROL_TURNS: u32 = 32;
/// While there is work, links that nobody waits for are looked at every so many turns.
const QUIET_TURNS: u32 = 8;

/// What the control plane tells a shard.
pub(crate) enum ShardControl {
    /// Somebody connected.
    Attach(Box<dyn Link>),
    /// Answer what has arrived, then stop.
    Stop,
}

/// A shard and everything that talks to it.
pub(crate) struct ShardAgent {
    shard: Shard,
    /// What makes its log durable, unless it keeps to memory.
    journal: Option<Journal>,
    /// For how long anything waited at most to be durable.
    lag_max: Duration,
    clock: Clock,
    limits: Limits,
    identity: Identity,
    control: flume::Receiver<ShardControl>,
    connections: Vec<Connection>,
    /// Links of all kinds: sessions, as many probers, the other shards and the strangers.
    connections_max: usize,
    /// Links to the shards with higher ids; those with lower ids connect here.
    peers: ShardLinks,
    park: Option<ParkHandle>,
    turns: u32,
    stopping_since: Option<Nanos>,
    /// When everybody was told goodbye.
    draining_since: Option<Nanos>,
    finished: bool,
    counts: LinkCounts,
    block: Arc<CounterBlock>,
}

impl ShardAgent {
    pub(crate) fn new(
        shard: Shard,
        clock: Clock,
        limits: Limits,
        identity: Identity,
        sessions_max: u32,
        peers: ShardLinks,
        control: flume::Receiver<ShardControl>,
    ) -> Self {
        let block = CounterBlock::new(format!("shard{}", shard.id().0));
        Self {
            shard,
            journal: None,
            lag_max: Duration::ZERO,
            clock,
            limits,
            identity,
            control,
            connections: Vec::new(),
            connections_max: 2 * sessions_max as usize + peers.count() + STRANGERS_MAX,
            peers,
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

    fn attach(&mut self, now: Nanos, mut link: Box<dyn Link>) {
        if !register(link.as_mut(), self.park.as_ref()) {
            return;
        }
        self.counts.opened += 1;
        if !link.is_local() {
            self.make_room(now);
            if self.connections.len() >= self.connections_max {
                refuse(link.as_mut(), &mut self.counts);
                return;
            }
        }
        let used_for = Use::Shaking { since: now };
        self.connections.push(Connection { link, used_for, checksum: false, leaving: None });
    }

    /// Shows the oldest stranger out if there are as many as there may be.
    fn make_room(&mut self, now: Nanos) {
        let since = self.connections.iter().map(Connection::stranger_since);
        if let Some(at) = surplus_stranger(since) {
            let link = self.connections[at].link.as_mut();
            let end = reject(link, CloseReason::HandshakeTimeout);
            self.close(now, at, &end);
        }
    }

    /// Reads what has arrived on all links whose turn it is.
    #[inline]
    fn read(&mut self, now: Nanos) -> usize {
        let mut work = self.serve_all(now, Group::Working);
        let every = |turns: u32, work: usize| work == 0 || self.turns.is_multiple_of(turns);
        let quiet = every(QUIET_TURNS, work);
        let seldom = every(CONTROL_TURNS, work);
        // Whoever waits for a proposal looks for it; one that comes before its dispatch has time.
        if quiet || !self.shard.is_idle() {
            work += self.serve_all(now, Group::Peers) + self.serve_peers(now);
        }
        // Probes in every turn: one that waits for others would say that the way is longer.
        work += self.serve_all(now, Group::Probers);
        if seldom {
            work += self.serve_all(now, Group::Strangers);
        }
        work
    }

    /// Serves the connections of one group. Returns how much was done.
    #[inline]
    fn serve_all(&mut self, now: Nanos, group: Group) -> usize {
        let mut work = 0;
        let mut at = 0;
        while let Some(connection) = self.connections.get(at) {
            if connection.group() != group {
                at += 1;
                continue;
            }
            match self.serve(now, at) {
                Ok(done) => {
                    work += done;
                    at += 1;
                }
                Err(end) => {
                    self.close(now, at, &end);
                    work += 1;
                }
            }
        }
        work
    }

    /// Removes a connection, says why once, and tells the peer if it can still be told.
    fn close(&mut self, now: Nanos, at: usize, end: &End) {
        let mut connection = self.connections.swap_remove(at);
        end.conclude(connection.link.as_mut(), self.shard.id(), &mut self.counts);
        match connection.used_for {
            Use::Welcoming { index, .. } => self.shard.close_session(now, index),
            Use::Session { index } => match end {
                // Nothing is in flight, and a session of that number will not come back. But who
                // only hung up because this shard stops asks again when it goes on.
                End::Reason(CloseReason::Stopping) if connection.leaving.is_none() => {
                    self.shard.end_session(index);
                }
                _ => self.shard.close_session(now, index),
            },
            Use::Peer { shard } => self.shard.on_peer_down(shard),
            _ => {}
        }
    }

    /// Collects what the shard has to say and flushes each link.
    #[inline]
    fn write(&mut self, now: Nanos) -> usize {
        let mut work = 0;
        let mut at = 0;
        while at < self.connections.len() {
            match self.write_to(at) {
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
        for at in self.opened_peers() {
            let peer = shard_id(at);
            if let Some(out) = self.peers.to_shard(peer) {
                work += self.shard.write_peer(peer, out);
            }
            work += match self.peers.flush(at) {
                Ok(moved) => moved,
                Err(error) => self.lose_peer(now, at, &Lost::Link(error)),
            };
        }
        work
    }

    #[inline]
    fn write_to(&mut self, at: usize) -> Result<usize, LinkError> {
        let Self { shard, connections, counts, .. } = self;
        let Connection { link, used_for, leaving, .. } = &mut connections[at];
        let link = link.as_mut();
        let mut work = 0;
        if leaving.is_none() && link.has_room() {
            work = match *used_for {
                Use::Session { index } => shard.write_replies(index, link.outgoing()),
                Use::Peer { shard: peer } => shard.write_peer(peer, link.outgoing()),
                _ => 0,
            };
        }
        Ok(work + flush(link, counts)?)
    }

    /// Says goodbye once nothing is undecided, all is durable and nothing more arrives, and
    /// finishes when everybody is gone.
    fn stop(&mut self, now: Nanos, since: Nanos, work: usize) {
        if self.draining_since.is_none() {
            let waited = now.since(since);
            let settled = self.shard.is_idle() && self.shard.is_durable();
            let decided = settled || waited >= DECIDE_TIMEOUT;
            // A turn without work says that everything that had arrived is answered.
            if !decided || (work > 0 && waited < STOP_PATIENCE) {
                return;
            }
            self.draining_since = Some(now);
            let opened = self.peers.take_open().into_iter();
            self.connections.extend(opened.map(|(link, checksum)| Connection {
                link,
                used_for: Use::Nothing,
                checksum,
                leaving: None,
            }));
        }
        for connection in self.connections.iter_mut().filter(|it| it.leaving.is_none()) {
            connection.leave(now, CloseReason::Stopping);
        }
        let drained = self.draining_since.is_some_and(|since| now.since(since) >= DRAIN_TIMEOUT);
        if drained || (self.connections.is_empty() && self.shard.is_durable()) {
            self.connections.clear();
            if let Some(journal) = self.journal.take() {
                close_journal(journal, &mut self.shard, self.lag_max, &self.block);
            }
            self.finished = true;
        }
    }
}

impl Agent for ShardAgent {
    fn start(&mut self, park: Option<&ParkHandle>) {
        self.park = park.cloned();
        self.peers.set_park(park);
        if let Some(journal) = &mut self.journal {
            journal.set_waker(park.map(|park| Arc::clone(park.waker())));
        }
    }

    #[inline]
    fn do_work(&mut self, now: Nanos) -> usize {
        if self.finished {
            return 0;
        }
        let mut work = 0;
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(CONTROL_TURNS) || !self.control.is_empty() {
            work += self.take_control(now);
        }
        work += self.read(now);
        // A shard without peers holds nothing.
        let shards = self.peers.count();
        if shards > 1 || (shards == 1 && self.has_early_answers()) {
            work += self.shard.on_turn(self.clock.now());
        }
        work += self.pump(now);
        work += self.write(now);
        if let Some(since) = self.stopping_since {
            self.stop(now, since, work);
        }
        work
    }

    fn next_deadline(&self) -> Option<Nanos> {
        if self.finished {
            return None;
        }
        let drained = |since: Nanos| since + DRAIN_TIMEOUT.into();
        let decided = self.stopping_since.map(|since| since + DECIDE_TIMEOUT.into());
        let stop = self.draining_since.map(drained).or(decided);
        let strangers = self.connections.iter().filter_map(Connection::stranger_since);
        let shaking = strangers.map(|since| since + HANDSHAKE_TIMEOUT.into());
        let leaving = self.connections.iter().filter_map(|connection| connection.leaving);
        // What is undecided when everybody was told goodbye stays so: there is nothing to wake for.
        let is_at_work = self.draining_since.is_none();
        let due = if is_at_work { self.shard.next_deadline() } else { None };
        let others = [stop, due, self.peers.next_deadline()];
        others.into_iter().flatten().chain(shaking).chain(leaving.map(drained)).min()
    }

    fn is_expecting(&self) -> bool {
        !self.shard.is_idle() || self.is_writing()
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    fn publish(&mut self) {
        let stats = self.shard.stats();
        let block = &self.block;
        self.counts.plus(self.peers.counts()).publish(block);
        block.set(Counter::Committed, stats.committed);
        block.set(Counter::Aborted, stats.aborted);
        block.set(Counter::Refused, stats.refused);
        block.set(Counter::Repeated, stats.repeated);
        block.set(Counter::Stale, stats.stale);
        block.set(Counter::Ops, stats.ops);
        block.set(Counter::Busy, stats.busy);
        block.set(Counter::Stamped, stats.stamped);
        block.set(Counter::Late, stats.late);
        block.set(Counter::Held, stats.held);
        block.set(Counter::Blocked, stats.blocked);
        block.set(Counter::ProposalsSent, stats.proposals_sent);
        block.set(Counter::Asked, stats.asked);
        block.set(Counter::RefusedByTimeout, stats.refused_by_timeout);
        block.set(Counter::PeerLost, stats.peer_lost);
        block.set(Counter::Foreign, stats.foreign);
        block.set(Counter::PeerDropped, stats.peer_dropped);
        block.set(Counter::Keys, self.shard.store().len() as u64);
        block.set(Counter::StoreBytes, self.shard.store().bytes());
        if let Some(journal) = &self.journal {
            publish_journal(journal, self.lag_max, block);
        }
    }

    fn counters(&self) -> Arc<CounterBlock> {
        Arc::clone(&self.block)
    }
}
