//! A shard and what the machinery knows of it.

use super::config::SimBenchConfig;
use super::post::{ClientWriters, Kind, Layout, Parcel, Post};
use super::procedures::Meter;
use super::service::{Costs, Turn};
use super::world::shown;
use punctual_core::{
    MemoryHooks, Nanos, Procedures, SessionId, SessionIndex, Shard, ShardConfig, ShardId,
    ShardStats, answer_probes,
};
use punctual_wire::{BatchWriter, Frame, FrameKind, FrameReader, Limits, PieceReader};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

/// The clerk among the coordinators of sessions: it never asks for anything in a run.
const CLERK: u32 = u32::MAX;

/// A held piece: when it is meant to run, a number that tells it apart, and its session.
type Held = (i64, u64, usize);

/// A shard.
#[derive(Debug)]
pub(super) struct ShardNode {
    pub(super) shard: Shard,
    id: u16,
    shards: u16,
    costs: Costs,
    /// The session of each coordinator that has one here.
    sessions: Vec<Option<SessionIndex>>,
    /// The coordinator of each session.
    clients: Vec<u32>,
    /// Pieces that are held. The shard is asked for the answers of one session at a time, and there
    /// may be thousands of sessions: what runs is looked for among these, the earliest first.
    held: BTreeSet<Held>,
    entered: u64,
    /// What it had done when it was last paid for.
    paid: ShardStats,
    /// What procedures have cost since then, here or elsewhere: shards have their turns one by one.
    meter: Meter,
    peer_out: BatchWriter,
}

/// What a shard's turn uses and leaves empty.
#[derive(Debug)]
pub(super) struct ShardDesk {
    pub(super) layout: Layout,
    pub(super) writers: ClientWriters,
}

impl ShardNode {
    /// A shard that calls these procedures, whose times are read off the meter. In virtual time it
    /// does not matter how its store uses the machine.
    pub(super) fn new(
        id: u16,
        session: SessionId,
        config: &SimBenchConfig,
        (procedures, meter): (&Arc<Procedures>, &Meter),
        memory: MemoryHooks,
    ) -> Self {
        let settings = ShardConfig {
            session,
            sessions_max: config.coordinators + 1,
            epsilon: config.epsilon,
            max_hold: config.hold_max(),
            dispatch_timeout: config.hold_max(),
            seed: config.seed,
            memory,
            ..ShardConfig::new(ShardId(id), config.shards)
        };
        Self {
            shard: Shard::new(settings, Arc::clone(procedures)),
            id,
            shards: config.shards,
            costs: Costs::from(&config.service.shard),
            sessions: vec![None; config.coordinators as usize],
            clients: Vec::new(),
            held: BTreeSet::new(),
            entered: 0,
            paid: ShardStats::default(),
            meter: meter.clone(),
            peer_out: BatchWriter::new(Limits::DEFAULT, config.batch, false),
        }
    }

    /// Whether a coordinator is connected.
    pub(super) fn knows(&self, coordinator: u32) -> bool {
        self.sessions[coordinator as usize].is_some()
    }

    /// Connects the clerk, before any coordinator. Returns its session and epoch.
    pub(super) fn connect_clerk(
        &mut self,
        now: Nanos,
        session: SessionId,
        slots: u32,
    ) -> (SessionIndex, u32) {
        debug_assert!(self.clients.is_empty(), "the clerk is first");
        let opened = self.shard.open_session(now, session, slots);
        let index = opened.expect("there is a session for the clerk");
        self.clients.push(CLERK);
        (index, self.shard.session_epoch(index))
    }

    /// What was done so far has cost nothing.
    pub(super) fn forget_costs(&mut self) {
        self.paid = self.shard.stats();
        self.meter.take();
    }

    /// Connects a coordinator, as if it had been so since before the run. Returns its epoch.
    pub(super) fn connect(
        &mut self,
        now: Nanos,
        coordinator: u32,
        session: SessionId,
        slots: u32,
    ) -> u32 {
        let opened = self.shard.open_session(now, session, slots);
        let index = opened.expect("there are as many sessions as coordinators");
        debug_assert_eq!(index.0, self.clients.len(), "no session ever ends");
        self.clients.push(coordinator);
        self.sessions[coordinator as usize] = Some(index);
        self.shard.session_epoch(index)
    }

    /// Takes what has arrived, does what is due, and packs what is to be sent.
    pub(super) fn turn(
        &mut self,
        turn: &mut Turn,
        inbox: &mut Vec<Parcel>,
        desk: &mut ShardDesk,
        post: &mut Post,
    ) {
        turn.spend(self.costs.turn, 1);
        let refused = self.shard.stats().refused;
        for parcel in inbox.drain(..) {
            let bytes = post.open(parcel);
            let mut frames = FrameReader::new(&bytes, Limits::DEFAULT, false);
            while let Some(frame) = frames.next_frame().expect("a writer makes valid frames") {
                turn.spend(self.costs.frame, 1);
                self.take(turn, parcel.from, &frame, desk);
                self.pay(turn);
            }
            post.give_back(parcel, bytes);
        }
        let released = self.shard.on_turn(shown(turn.now()));
        let refused = self.shard.stats().refused - refused;
        self.pay(turn);
        self.collect(released + refused as usize, desk);
        let frames = desk.writers.pack(desk.layout, post) + self.write_peers(turn, post);
        turn.spend(self.costs.frame, frames);
    }

    /// Takes a frame. What is in it takes its time before the clock is read (R2).
    fn take(&mut self, turn: &mut Turn, from: u32, frame: &Frame<'_>, desk: &mut ShardDesk) {
        let count = u64::from(frame.count);
        match (frame.kind, desk.layout.kind(from)) {
            (FrameKind::Dispatch, Kind::Coordinator(coordinator)) => {
                turn.spend(self.costs.piece, count);
                self.take_dispatch(shown(turn.now()), coordinator, frame, desk);
            }
            (FrameKind::Peer, Kind::Shard(peer)) => {
                turn.spend(self.costs.peer_message, count);
                let taken = self.shard.on_peer(shown(turn.now()), ShardId(peer), frame);
                taken.expect("a shard sends valid messages");
            }
            (FrameKind::Probe, Kind::Prober(prober)) => {
                let now = shown(turn.now());
                let out = desk.writers.of(desk.layout.coordinators + prober);
                answer_probes(|| now, frame, out).expect("a prober asks");
            }
            (kind, from) => unreachable!("a frame of kind {kind:?} from {from:?}"),
        }
    }

    fn take_dispatch(
        &mut self,
        now: Nanos,
        coordinator: u32,
        frame: &Frame<'_>,
        desk: &mut ShardDesk,
    ) {
        let session = self.sessions[coordinator as usize].expect("who sends is connected");
        let held = self.shard.stats().held;
        let out = desk.writers.of(coordinator);
        let taken = self.shard.on_dispatch(now, session, frame, out);
        taken.expect("a coordinator sends valid pieces");
        let held = self.shard.stats().held.saturating_sub(held);
        if held == 0 {
            return;
        }
        // Should some of the pieces have been answered at once, the times may be those of others.
        // Then only the search for what has run takes longer.
        let mut pieces = PieceReader::new(frame, &Limits::DEFAULT);
        for _ in 0..held {
            let piece = pieces.next_piece().expect("a coordinator sends valid pieces");
            let stamp = piece.and_then(|piece| piece.stamp).map_or(now.0, |stamp| stamp.at);
            self.entered += 1;
            self.held.insert((stamp, self.entered, session.0));
        }
    }

    /// Takes the time for what the shard has done since this was last called.
    fn pay(&mut self, turn: &mut Turn) {
        let stats = self.shard.stats();
        turn.spend(self.costs.op, stats.ops - self.paid.ops);
        turn.spend(self.meter.take(), 1);
        turn.spend(self.costs.stamped, stats.stamped - self.paid.stamped);
        self.paid = stats;
    }

    /// Writes the answers of what has been held and has run now, or was refused: so many.
    fn collect(&mut self, count: usize, desk: &mut ShardDesk) {
        let mut left = count;
        let mut after: Bound<Held> = Bound::Unbounded;
        while left > 0 {
            let rest = (after, Bound::Unbounded);
            let Some(&held) = self.held.range::<Held, _>(rest).next() else { return };
            after = Bound::Excluded(held);
            let (.., session) = held;
            let out = desk.writers.of(self.clients[session]);
            let written = self.shard.write_replies(SessionIndex(session), out);
            if written == 0 {
                continue;
            }
            left = left.saturating_sub(written);
            self.held.remove(&held);
            for _ in 1..written {
                let same = self.held.iter().find(|(.., other)| *other == session).copied();
                if let Some(same) = same {
                    self.held.remove(&same);
                }
            }
        }
    }

    /// Packs what is to be told to other shards. Returns how many frames.
    fn write_peers(&mut self, turn: &mut Turn, post: &mut Post) -> u64 {
        let mut frames = 0;
        let own = self.id;
        for peer in (0..self.shards).filter(|peer| *peer != own) {
            loop {
                let written = self.shard.write_peer(ShardId(peer), &mut self.peer_out);
                turn.spend(self.costs.peer_message, written as u64);
                if written == 0 {
                    break;
                }
            }
            frames += post.pack(peer.into(), &mut self.peer_out);
        }
        frames
    }
}
