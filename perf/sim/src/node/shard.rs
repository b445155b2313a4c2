//! A shard with its links.

use crate::config::SimConfig;
use crate::disk::Disk;
use crate::env::{Env, Kind, Turn, only_frame};
use crate::network::Content;
use crate::report::SimCounts;
use crate::violation::ViolationKind;
use punctual_core::journal::{Durability, Lsn};
use punctual_core::{Nanos, SessionId, SessionIndex, Shard, ShardConfig, ShardId, answer_probes};
use punctual_wire::{BatchWriter, Frame, FrameKind, Limits, PeerMessage, PeerReader};

/// Replies kept for a coordinator without a link. Those beyond are lost, as in any crash.
const PARKED_BYTES_MAX: usize = 1 << 16;

/// The shard's end of a link to a coordinator.
#[derive(Debug)]
struct Visitor {
    session: SessionId,
    index: SessionIndex,
    conn: Option<u32>,
    /// It is not welcome yet: how far the log has to be durable before it is, and its epoch.
    welcome: Option<(Lsn, u32)>,
    out: BatchWriter,
    /// What was answered while there was no link.
    parked: Vec<u8>,
}

impl Visitor {
    fn new(session: SessionId, index: SessionIndex, batch_max: u16) -> Self {
        let out = BatchWriter::new(Limits::DEFAULT, batch_max, false);
        Self { session, index, conn: None, welcome: None, out, parked: Vec::new() }
    }

    /// Keeps what was answered until there is a link.
    fn park(&mut self) {
        if self.parked.len() < PARKED_BYTES_MAX {
            self.parked.extend_from_slice(self.out.sealed());
        }
        self.out.clear_sealed();
    }
}

/// The shard's end of a link to a peer or a prober.
#[derive(Debug)]
struct End {
    conn: Option<u32>,
    out: BatchWriter,
}

impl End {
    fn new(batch_max: u16) -> Self {
        Self { conn: None, out: BatchWriter::new(Limits::DEFAULT, batch_max, false) }
    }
}

/// A shard.
#[derive(Debug)]
pub(crate) struct ShardNode {
    node: usize,
    id: ShardId,
    pub(crate) session: SessionId,
    pub(crate) incarnation: u32,
    pub(crate) shard: Shard,
    /// What it was told, and by whom again.
    pub(crate) counts: SimCounts,
    visitors: Vec<Visitor>,
    peers: Vec<End>,
    probers: Vec<End>,
    batch_max: u16,
}

impl ShardNode {
    /// What the shard of this number must know, its session aside.
    pub(crate) fn settings(id: u16, config: &SimConfig, env: &Env) -> ShardConfig {
        let tuning = &env.tuning;
        ShardConfig {
            slots_max: u32::from(tuning.clients),
            session_retention: tuning.session_retention,
            epsilon: config.epsilon.since(Nanos::ZERO),
            max_hold: tuning.max_hold,
            dispatch_timeout: tuning.dispatch_timeout,
            ask_after: tuning.ask_after,
            pending_per_peer_max: tuning.pending_max,
            blocked_max: tuning.pending_max,
            held_bytes_max: tuning.held_bytes_max,
            durability: match tuning.disk.is_journaled(id) {
                true => Durability::Journal,
                false => Durability::Memory,
            },
            mutation: config.mutation,
            seed: config.seed,
            ..ShardConfig::new(ShardId(id), env.layout.shards)
        }
    }

    /// A shard that starts, in this incarnation, and knows these coordinators already.
    pub(crate) fn new(
        shard: Shard,
        incarnation: u32,
        known: &[(SessionId, SessionIndex)],
        env: &Env,
    ) -> Self {
        let layout = env.layout;
        let batch_max = env.tuning.batch_max;
        let ends = |count: u16| (0..count).map(|_| End::new(batch_max)).collect::<Vec<_>>();
        let visitor = |(session, index): &(_, _)| Visitor::new(*session, *index, batch_max);
        Self {
            node: layout.node(Kind::Shard(shard.id().0)),
            id: shard.id(),
            session: shard.session(),
            incarnation,
            shard,
            counts: SimCounts::default(),
            visitors: known.iter().map(visitor).collect(),
            peers: ends(layout.shards),
            probers: ends(if layout.has_probers { layout.coordinators } else { 0 }),
            batch_max,
        }
    }

    /// When it has something to do, by its clock.
    pub(crate) fn next_deadline(&self) -> Option<Nanos> {
        self.shard.next_deadline()
    }

    /// Takes a message.
    pub(crate) fn take(&mut self, env: &mut Env, turn: &mut Turn<'_>, conn: u32, content: Content) {
        let now = turn.spend();
        match env.layout.kind(env.network.other_end(conn, self.node)) {
            Kind::Coordinator(_) => self.take_from_visitor(env, now, turn.at, conn, content),
            Kind::Shard(peer) => self.take_from_peer(env, now, turn.at, conn, peer, content),
            Kind::Prober(prober) => {
                self.take_from_prober(env, now, turn.at, conn, prober, &content);
            }
        }
    }

    fn welcome(&self, env: &mut Env, at: i64, conn: u32, epoch: u32) {
        let content = Content::Welcome { session: self.session, epoch };
        env.network.send(&mut env.queue, at, self.node, conn, content);
    }

    fn take_from_visitor(
        &mut self,
        env: &mut Env,
        now: Nanos,
        at: i64,
        conn: u32,
        content: Content,
    ) {
        let by_conn = |visitor: &Visitor| visitor.conn == Some(conn);
        let visitor = self.visitors.iter().position(by_conn);
        match (content, visitor) {
            (Content::Hello { session, slots }, _) => {
                self.open(env, now, at, conn, session, slots);
            }
            (Content::Frame(bytes), Some(visitor)) => {
                let Visitor { index, out, .. } = &mut self.visitors[visitor];
                let frame = only_frame(&bytes);
                if frame.kind != FrameKind::Dispatch {
                    return env.malformed(self.node, &format!("a frame of kind {:?}", frame.kind));
                }
                if let Err(error) = self.shard.on_dispatch(now, *index, &frame, out) {
                    env.malformed(self.node, &error);
                }
            }
            (Content::Closed, Some(visitor)) => {
                let visitor = &mut self.visitors[visitor];
                (visitor.conn, visitor.welcome) = (None, None);
                self.shard.close_session(now, visitor.index);
            }
            // What comes over an older connection is not listened to.
            (Content::Frame(_) | Content::Closed | Content::Welcome { .. }, _) => {}
        }
    }

    /// A coordinator connects, for the first time or again.
    fn open(
        &mut self,
        env: &mut Env,
        now: Nanos,
        at: i64,
        conn: u32,
        session: SessionId,
        slots: u32,
    ) {
        let index = match self.shard.open_session(now, session, slots) {
            Ok(index) => index,
            Err(error) => {
                let text = format!("{} does not take a session: {error}", self.id);
                return env.findings.add(ViolationKind::NotAvailable, &[], text);
            }
        };
        let epoch = self.shard.session_epoch(index);
        // Where another session was, that one is forgotten.
        let before = self.visitors.len();
        self.visitors.retain(|visitor| visitor.index != index || visitor.session == session);
        self.counts.sessions_evicted += (before - self.visitors.len()) as u64;
        let known = self.visitors.iter().position(|visitor| visitor.session == session);
        self.counts.sessions_resumed += u64::from(known.is_some());
        let known = known.unwrap_or_else(|| {
            self.visitors.push(Visitor::new(session, index, self.batch_max));
            self.visitors.len() - 1
        });
        let visitor = &mut self.visitors[known];
        (visitor.index, visitor.conn) = (index, Some(conn));
        // The epoch names an outcome table, and the coordinator relies on that: a shard that had
        // forgotten the session would give another table the same name.
        let (tail, _) = self.shard.log_ends();
        visitor.welcome = Some((tail, epoch));
        self.welcome_if_durable(env, at, known);
    }

    /// Welcomes a coordinator once its session is durable, and gives it what was answered before.
    fn welcome_if_durable(&mut self, env: &mut Env, at: i64, visitor: usize) {
        let (_, durable) = self.shard.log_ends();
        let visitor = &mut self.visitors[visitor];
        let (Some(conn), Some((gate, epoch))) = (visitor.conn, visitor.welcome) else { return };
        if gate > durable {
            return;
        }
        visitor.welcome = None;
        let parked = std::mem::take(&mut visitor.parked);
        self.welcome(env, at, conn, epoch);
        env.network.send_bytes(&mut env.queue, at, self.node, conn, &parked);
    }

    fn take_from_peer(
        &mut self,
        env: &mut Env,
        now: Nanos,
        at: i64,
        conn: u32,
        peer: u16,
        content: Content,
    ) {
        let end = &mut self.peers[usize::from(peer)];
        let is_current = end.conn == Some(conn);
        match content {
            Content::Hello { session, .. } => {
                end.conn = Some(conn);
                self.shard.on_peer_up(now, ShardId(peer), session);
                self.welcome(env, at, conn, 0);
            }
            Content::Welcome { session, .. } if env.is_current(conn) => {
                end.conn = Some(conn);
                self.shard.on_peer_up(now, ShardId(peer), session);
            }
            Content::Frame(bytes) if is_current => {
                let frame = only_frame(&bytes);
                if frame.kind != FrameKind::Peer {
                    return env.malformed(self.node, &format!("a frame of kind {:?}", frame.kind));
                }
                match self.shard.on_peer(now, ShardId(peer), &frame) {
                    Ok(()) => self.count_messages(&frame),
                    Err(error) => env.malformed(self.node, &error),
                }
            }
            Content::Closed => {
                if is_current {
                    end.conn = None;
                    self.shard.on_peer_down(ShardId(peer));
                }
                env.lost(at, self.node, conn);
            }
            Content::Frame(_) | Content::Welcome { .. } => {}
        }
    }

    /// Counts what a peer said about transactions that are not simply agreed on.
    fn count_messages(&mut self, frame: &Frame<'_>) {
        let mut messages = PeerReader::new(frame);
        while let Ok(Some(message)) = messages.next_message() {
            let counts = &mut self.counts;
            match message {
                PeerMessage::Lost { dead, .. } => {
                    counts.losses += 1;
                    counts.losses_of_several += u64::from(dead.count_ones() > 1);
                }
                PeerMessage::Relay { .. } => counts.relays += 1,
                PeerMessage::Gone { .. } => counts.gone += 1,
                PeerMessage::Settle { .. } => counts.questions += 1,
                PeerMessage::Decided { .. } => counts.decisions += 1,
                PeerMessage::Propose { .. }
                | PeerMessage::Refuse { .. }
                | PeerMessage::Watermark { .. } => {}
            }
        }
    }

    fn take_from_prober(
        &mut self,
        env: &mut Env,
        now: Nanos,
        at: i64,
        conn: u32,
        prober: u16,
        content: &Content,
    ) {
        let end = &mut self.probers[usize::from(prober)];
        let is_current = end.conn == Some(conn);
        match content {
            Content::Hello { .. } => {
                end.conn = Some(conn);
                self.welcome(env, at, conn, 0);
            }
            Content::Frame(bytes) if is_current => {
                if let Err(error) = answer_probes(|| now, &only_frame(bytes), &mut end.out) {
                    env.malformed(self.node, &error);
                }
            }
            Content::Closed if is_current => end.conn = None,
            Content::Frame(_) | Content::Closed | Content::Welcome { .. } => {}
        }
    }

    /// Ends a turn: releases what is due, hands the log to the disk, and sends what may be said.
    pub(crate) fn finish(&mut self, env: &mut Env, turn: &mut Turn<'_>, disk: Option<&mut Disk>) {
        let now = turn.spend();
        self.shard.on_turn(now);
        if let Some(disk) = disk {
            disk.pump(turn.at, &mut self.shard, &mut env.findings);
            for visitor in 0..self.visitors.len() {
                self.welcome_if_durable(env, turn.at, visitor);
            }
        }
        for visitor in &mut self.visitors {
            // Also without a link, to see what ran; what is said then waits for the link.
            self.shard.write_replies(visitor.index, &mut visitor.out);
            visitor.out.seal();
            if visitor.out.is_empty() {
                continue;
            }
            let frames = visitor.out.sealed();
            env.history.observe(self.incarnation, visitor.session, frames, &mut env.findings);
            match visitor.conn.filter(|_| visitor.welcome.is_none()) {
                Some(conn) => {
                    let out = &mut visitor.out;
                    env.network.send_frames(&mut env.queue, turn.at, self.node, conn, out);
                }
                None => visitor.park(),
            }
        }
        for (peer, end) in self.peers.iter_mut().enumerate() {
            let Some(conn) = end.conn else { continue };
            self.shard.write_peer(ShardId(peer as u16), &mut end.out);
            env.network.send_frames(&mut env.queue, turn.at, self.node, conn, &mut end.out);
        }
        for end in &mut self.probers {
            let Some(conn) = end.conn else { continue };
            env.network.send_frames(&mut env.queue, turn.at, self.node, conn, &mut end.out);
        }
    }
}
