//! What a shard does with each kind of link: reading it, and the handshake before.

use super::connection::{Connection, End, Use, end_of, see_off};
use super::{HANDSHAKE_TIMEOUT, ShardAgent, reject};
use crate::driver::LinkEvent;
use crate::links::{Lost, Room, exchange, shard_id};
use punctual_core::journal::Lsn;
use punctual_core::{Nanos, SessionError, SessionId, SessionIndex, ShardId, answer_probes};
use punctual_link::{OUTGOING_BYTES_MAX, ServerHandshake, Visitor};
use punctual_wire::{
    BatchWriter, CloseReason, Features, Frame, FrameKind, FrameReader, Role, WireError,
};
use std::ops::Range;

/// As many frames as there are, while answers have room.
const ANY_FRAMES: Room = Room { frames_max: usize::MAX, out_bytes_max: OUTGOING_BYTES_MAX };
/// Of a coordinator's frames while transactions wait for other shards: what is admitted occupies
/// the caches until it is agreed on, so the rest of a backlog is better left where it is until the
/// peers have been heard.
const FEW_FRAMES: Room = Room { frames_max: 4, ..ANY_FRAMES };

impl ShardAgent {
    /// Polls one connection and takes what came. Returns how much was done.
    #[inline]
    pub(super) fn serve(&mut self, now: Nanos, at: usize) -> Result<usize, End> {
        let connection = &mut self.connections[at];
        if let Some(since) = connection.leaving {
            let (link, checksum) = (connection.link.as_mut(), connection.checksum);
            return see_off(link, self.limits, checksum, now, since);
        }
        match connection.used_for {
            Use::Session { index } => self.serve_session(at, index),
            Use::Welcoming { index, gate, features } => self.welcome(at, index, gate, features),
            Use::Visitor { shard, session } => self.serve_visitor(now, at, shard, session),
            Use::Peer { shard } => self.serve_peer(at, shard),
            Use::Probe => self.serve_probe(at),
            Use::Echo => self.serve_echo(at),
            Use::Shaking { .. } => self.shake(now, at),
            Use::Nothing => Ok(0),
        }
    }

    #[inline]
    fn serve_session(&mut self, at: usize, session: SessionIndex) -> Result<usize, End> {
        let Self { shard, clock, limits, connections, counts, .. } = self;
        let room = if shard.is_idle() { ANY_FRAMES } else { FEW_FRAMES };
        let answer = |frame: &Frame<'_>, out: &mut BatchWriter| match frame.kind {
            // The clock is read here, after the frame was taken from its link (R2).
            FrameKind::Dispatch => Ok(shard.on_dispatch(clock.now(), session, frame, out)?),
            _ => Err(end_of(frame)),
        };
        let Connection { link, checksum, .. } = &mut connections[at];
        exchange(link.as_mut(), *limits, *checksum, counts, room, answer)
    }

    fn serve_peer(&mut self, at: usize, peer: ShardId) -> Result<usize, End> {
        let Self { shard, clock, limits, connections, counts, .. } = self;
        let answer = |frame: &Frame<'_>, _: &mut BatchWriter| match frame.kind {
            FrameKind::Peer => Ok(shard.on_peer(clock.now(), peer, frame)?),
            _ => Err(end_of(frame)),
        };
        let Connection { link, checksum, .. } = &mut connections[at];
        // Two peers that both waited for room before they read would wait for ever; what a shard
        // keeps for its peers has bounds of its own.
        exchange(link.as_mut(), *limits, *checksum, counts, Room::UNLIMITED, answer)
    }

    /// Takes a visitor for the peer that it says it is once it has answered our welcome. A hello
    /// may have been under way since before the death of who sent it, and must not take the place
    /// of a run of the shard that came after it.
    fn serve_visitor(
        &mut self,
        now: Nanos,
        at: usize,
        peer: ShardId,
        session: SessionId,
    ) -> Result<usize, End> {
        let connection = &mut self.connections[at];
        let polled = connection.link.poll();
        let (bytes, _) = connection.link.parts();
        let first = FrameReader::new(bytes, self.limits, connection.checksum).next_frame()?;
        match first.map(|frame| frame.kind) {
            None => return Ok(polled.map(|bytes| usize::from(bytes > 0))?),
            Some(FrameKind::Peer) => {}
            // Whatever else it is, a goodbye above all, is judged there.
            Some(_) => return self.serve_peer(at, peer),
        }
        let is_same = |used_for: &Use| matches!(used_for, Use::Peer { shard } if *shard == peer);
        if self.replace_older(now, at, is_same) {
            self.shard.on_peer_down(peer);
        }
        self.shard.on_peer_up(now, peer, session);
        self.connections[at].used_for = Use::Peer { shard: peer };
        self.serve_peer(at, peer)
    }

    fn serve_probe(&mut self, at: usize) -> Result<usize, End> {
        let clock = self.clock;
        let answer = |frame: &Frame<'_>, out: &mut BatchWriter| match frame.kind {
            FrameKind::Probe => Ok(answer_probes(|| clock.now(), frame, out)?),
            _ => Err(end_of(frame)),
        };
        let Connection { link, checksum, .. } = &mut self.connections[at];
        let counts = &mut self.counts;
        exchange(link.as_mut(), self.limits, *checksum, counts, ANY_FRAMES, answer)
    }

    fn serve_echo(&mut self, at: usize) -> Result<usize, End> {
        let answer = |frame: &Frame<'_>, out: &mut BatchWriter| match frame.kind {
            FrameKind::Ping => {
                let len = frame.body.len();
                out.message(FrameKind::Pong, len, |bytes| bytes.extend_from_slice(frame.body));
                Ok(())
            }
            _ => Err(end_of(frame)),
        };
        let Connection { link, checksum, .. } = &mut self.connections[at];
        let counts = &mut self.counts;
        exchange(link.as_mut(), self.limits, *checksum, counts, ANY_FRAMES, answer)
    }

    /// The links that this shard has opened.
    pub(super) fn opened_peers(&self) -> Range<usize> {
        usize::from(self.shard.id().0) + 1..self.peers.count()
    }

    /// Brings the links to the shards with higher ids up, and reads them.
    #[inline]
    pub(super) fn serve_peers(&mut self, now: Nanos) -> usize {
        self.opened_peers().map(|at| self.serve_opened_peer(now, at)).sum()
    }

    #[inline]
    fn serve_opened_peer(&mut self, now: Nanos, at: usize) -> usize {
        let peer = shard_id(at);
        if self.peers.is_up(at) {
            let Self { shard, clock, peers, .. } = self;
            let taken = peers.take_frames(at, |frame| match frame.kind {
                FrameKind::Peer => Ok(shard.on_peer(clock.now(), peer, frame)?),
                kind => Err(WireError::UnexpectedKind(kind).into()),
            });
            return taken.unwrap_or_else(|lost| self.lose_peer(now, at, &lost));
        }
        let own = self.shard.id().0;
        match self.peers.step(now, at) {
            None => 0,
            Some(Ok(welcome)) => {
                self.shard.on_peer_up(now, peer, SessionId(welcome.session.get()));
                tracing::debug!(shard = own, %peer, "the link to a peer is up");
                1
            }
            Some(Err(LinkEvent::Down { why })) => {
                tracing::debug!(shard = own, %peer, why, "no link to a peer yet");
                1
            }
            Some(Err(_)) => 1,
        }
    }

    /// Gives the link to a peer up; it is tried again. Returns how much that was.
    pub(super) fn lose_peer(&mut self, now: Nanos, at: usize, lost: &Lost) -> usize {
        let (shard, peer) = (self.shard.id().0, shard_id(at));
        tracing::info!(shard, %peer, reason = %lost, "the link to a peer is lost");
        self.peers.lose(now, at, lost);
        self.shard.on_peer_down(peer);
        1
    }

    fn shake(&mut self, now: Nanos, at: usize) -> Result<usize, End> {
        let since = self.connections[at].stranger_since();
        let link = self.connections[at].link.as_mut();
        if since.is_some_and(|since| now.since(since) > HANDSHAKE_TIMEOUT) {
            return Err(reject(link, CloseReason::HandshakeTimeout));
        }
        let id = self.shard.id().0;
        let visitor = match ServerHandshake::step(link, self.limits, &self.identity, id) {
            Ok(None) => return Ok(0),
            Ok(Some(visitor)) => visitor,
            Err(error) => return Err(End::Handshake(error)),
        };
        let used_for = self.use_of(now, at, &visitor)?;
        let connection = &mut self.connections[at];
        // First of all: if the visitor is gone already, its session has to be closed with the link.
        connection.used_for = used_for;
        connection.checksum = visitor.features.contains(Features::CHECKSUM);
        tracing::debug!(shard = id, peer = connection.link.peer(), ?visitor, "a visitor");
        if let Use::Welcoming { index, gate, features } = used_for {
            return self.welcome(at, index, gate, features);
        }
        self.accept(at, 0, visitor.features)
    }

    /// Welcomes a coordinator once its session is durable. Were it told sooner, and the shard
    /// crashed, then its next session there might bear the same epoch and be taken for this one,
    /// without the tombstones that this one had come to have.
    fn welcome(
        &mut self,
        at: usize,
        index: SessionIndex,
        gate: Lsn,
        features: Features,
    ) -> Result<usize, End> {
        if self.shard.log_ends().1 < gate {
            return Ok(0);
        }
        self.connections[at].used_for = Use::Session { index };
        self.accept(at, self.shard.session_epoch(index), features)
    }

    fn accept(&mut self, at: usize, epoch: u32, features: Features) -> Result<usize, End> {
        let link = self.connections[at].link.as_mut();
        ServerHandshake::accept(link, &self.identity, self.shard.id().0, epoch, features);
        link.flush()?;
        Ok(1)
    }

    /// What a visitor is welcome to.
    fn use_of(&mut self, now: Nanos, at: usize, visitor: &Visitor) -> Result<Use, End> {
        match visitor.role {
            Role::Pinger => Ok(Use::Echo),
            Role::Prober => Ok(Use::Probe),
            Role::Coordinator => {
                let session = SessionId(visitor.session);
                let opened = self.shard.open_session(now, session, visitor.slots);
                let index = opened.map_err(|error| {
                    let reason = match error {
                        SessionError::TooManySessions { .. } => CloseReason::TooManySessions,
                        SessionError::TooManySlots { .. } => CloseReason::TooManySlots,
                    };
                    ServerHandshake::reject(self.connections[at].link.as_mut(), reason);
                    End::Session(error)
                })?;
                self.replace_older(now, at, |used_for| match used_for {
                    Use::Session { index: other } | Use::Welcoming { index: other, .. } => {
                        *other == index
                    }
                    _ => false,
                });
                let (gate, _) = self.shard.log_ends();
                Ok(Use::Welcoming { index, gate, features: visitor.features })
            }
            // The one with the lower id connects, so that two shards have one link.
            Role::Peer if visitor.from < self.shard.id().0 => {
                let (shard, session) = (ShardId(visitor.from), SessionId(visitor.session));
                Ok(Use::Visitor { shard, session })
            }
            // Tasks are at a task queue.
            Role::Peer | Role::TaskClient | Role::TaskWorker => {
                Err(reject(self.connections[at].link.as_mut(), CloseReason::WrongShard))
            }
        }
    }

    /// Whoever connects again has given up its older link. Returns whether there was one.
    fn replace_older(&mut self, now: Nanos, at: usize, same: impl Fn(&Use) -> bool) -> bool {
        let mut replaced = false;
        for (other, connection) in self.connections.iter_mut().enumerate() {
            if other != at && same(&connection.used_for) {
                connection.leave(now, CloseReason::Replaced);
                connection.used_for = Use::Nothing;
                replaced = true;
            }
        }
        replaced
    }
}
