//! What all nodes share: the network, the events to come, the record of what happened.

use crate::clock::SimClock;
use crate::history::History;
use crate::network::{Content, Network};
use crate::queue::{Event, Queue};
use crate::rng::Rng;
use crate::tuning::Tuning;
use crate::violation::{Findings, ViolationKind};
use crate::workload::Generator;
use punctual_core::{Nanos, Outbox, ShardId};
use punctual_wire::{BatchWriter, Frame, FrameReader, Limits};

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Shard(u16),
    Coordinator(u16),
    Prober(u16),
}

/// Nodes are numbered: the shards first, then the coordinators, then their probers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) shards: u16,
    pub(crate) coordinators: u16,
    pub(crate) has_probers: bool,
}

impl Layout {
    pub(crate) fn nodes(self) -> usize {
        let probers = if self.has_probers { self.coordinators } else { 0 };
        usize::from(self.shards + self.coordinators + probers)
    }

    pub(crate) fn node(self, kind: Kind) -> usize {
        match kind {
            Kind::Shard(at) => usize::from(at),
            Kind::Coordinator(at) => usize::from(self.shards + at),
            Kind::Prober(at) => usize::from(self.shards + self.coordinators + at),
        }
    }

    pub(crate) fn kind(self, node: usize) -> Kind {
        let node = node as u16;
        match (node.checked_sub(self.shards), node.checked_sub(self.shards + self.coordinators)) {
            (None, _) => Kind::Shard(node),
            (Some(at), None) => Kind::Coordinator(at),
            (_, Some(at)) => Kind::Prober(at),
        }
    }
}

/// What all nodes share.
#[derive(Debug)]
pub(crate) struct Env {
    pub(crate) layout: Layout,
    pub(crate) tuning: Tuning,
    pub(crate) queue: Queue,
    pub(crate) network: Network,
    pub(crate) history: History,
    pub(crate) findings: Findings,
    pub(crate) generator: Generator,
    pub(crate) rng: Rng,
}

impl Env {
    /// The shard at the other end of a node's connection.
    pub(crate) fn shard_of(&self, conn: u32, node: usize) -> Option<ShardId> {
        match self.layout.kind(self.network.other_end(conn, node)) {
            Kind::Shard(shard) => Some(ShardId(shard)),
            Kind::Coordinator(_) | Kind::Prober(_) => None,
        }
    }

    /// Whether this connection is the one that the client of its link has, or waits for.
    pub(crate) fn is_current(&self, conn: u32) -> bool {
        self.network.links[self.network.link_of(conn)].client_conn == Some(conn)
    }

    /// The client of a link has noticed that its connection is gone: it tries again soon.
    pub(crate) fn lost(&mut self, now: i64, node: usize, conn: u32) {
        let at = self.network.link_of(conn);
        let link = &mut self.network.links[at];
        if link.client == node && link.client_conn == Some(conn) {
            link.client_conn = None;
            self.connect_soon(now, at);
        }
    }

    pub(crate) fn connect_soon(&mut self, now: i64, link: usize) {
        let pause = self.rng.between(200_000, 3_000_000);
        self.queue.plan(now + pause, Event::Connect { link });
    }

    pub(crate) fn malformed(&mut self, node: usize, error: &dyn std::fmt::Display) {
        let text = format!("{:?} got what it cannot take: {error}", self.layout.kind(node));
        self.findings.add(ViolationKind::Malformed, &[], text);
    }
}

/// The turn of a node: time passes while it works.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    /// The true time.
    pub(crate) at: i64,
    pub(crate) clock: &'a SimClock,
    pub(crate) rng: &'a mut Rng,
    pub(crate) service: i64,
    pub(crate) interrupted: u32,
    pub(crate) slow: i64,
}

impl Turn<'_> {
    /// Something takes its time, now and then a long one; then the clock is read. So whatever the
    /// node took before this was taken before the clock was read (R2).
    pub(crate) fn spend(&mut self) -> Nanos {
        self.at += self.rng.between(self.service / 2, self.service) + 1;
        if self.rng.chance(self.interrupted) {
            self.at += self.rng.between(0, self.slow);
        }
        self.clock.read(self.at)
    }
}

/// The one frame in these bytes.
pub(crate) fn only_frame(bytes: &[u8]) -> Frame<'_> {
    let mut reader = FrameReader::new(bytes, Limits::DEFAULT, false);
    reader.next_frame().expect("a valid frame").expect("a whole frame")
}

/// The client's end of its link to a shard.
#[derive(Debug)]
pub(crate) struct ShardEnd {
    /// The connection, once it is welcome.
    pub(crate) conn: Option<u32>,
    pub(crate) out: BatchWriter,
}

/// The links of a coordinator or prober, one a shard.
#[derive(Debug)]
pub(crate) struct ShardEnds(Vec<ShardEnd>);

impl ShardEnds {
    pub(crate) fn new(shards: u16, batch_max: u16) -> Self {
        let end =
            |_| ShardEnd { conn: None, out: BatchWriter::new(Limits::DEFAULT, batch_max, false) };
        Self((0..shards).map(end).collect())
    }

    /// Whether a shard is heard over this connection.
    pub(crate) fn is_up(&self, shard: ShardId, conn: u32) -> bool {
        self.0[usize::from(shard.0)].conn == Some(conn)
    }

    pub(crate) fn up(&mut self, shard: ShardId, conn: u32) {
        self.0[usize::from(shard.0)].conn = Some(conn);
    }

    /// Whether that was the connection in use; what waits to be sent is dropped with it.
    pub(crate) fn down(&mut self, shard: ShardId, conn: u32) -> bool {
        let was_up = self.is_up(shard, conn);
        if was_up {
            let end = &mut self.0[usize::from(shard.0)];
            end.conn = None;
            end.out.seal();
            end.out.clear_sealed();
        }
        was_up
    }

    /// Sends everything.
    pub(crate) fn flush(&mut self, env: &mut Env, now: i64, node: usize) {
        for end in &mut self.0 {
            if let Some(conn) = end.conn {
                env.network.send_frames(&mut env.queue, now, node, conn, &mut end.out);
            }
        }
    }
}

impl Outbox for ShardEnds {
    fn to_shard(&mut self, shard: ShardId) -> Option<&mut BatchWriter> {
        let end = &mut self.0[usize::from(shard.0)];
        end.conn.is_some().then_some(&mut end.out)
    }
}

/// Adds something to the hash of a run.
pub(crate) fn mix(hash: u64, value: u64) -> u64 {
    let mixed = (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

/// A number that tells messages apart.
pub(crate) fn content_hash(content: &Content) -> u64 {
    match content {
        Content::Hello { session, .. } => mix(1, session.0),
        Content::Welcome { session, epoch } => mix(mix(2, session.0), u64::from(*epoch)),
        Content::Closed => 3,
        Content::Frame(bytes) => {
            let (words, rest) = bytes.as_chunks::<8>();
            let hash = words.iter().fold(4, |hash, word| mix(hash, u64::from_le_bytes(*word)));
            rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
        }
    }
}
