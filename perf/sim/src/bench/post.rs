//! What is under way and what will happen: frames between the nodes, and the nodes' own times.
//!
//! There may be a million links, so a link is two numbers here, and the buffers that frames travel
//! in are used again.

use super::config::SimBenchConfig;
use super::network::SimPath;
use crate::env::mix;
use crate::queue::Queue;
use crate::rng::Rng;
use punctual_core::{Outbox, ShardId};
use punctual_wire::{BatchWriter, Limits};

const STREAM: u64 = 21;

/// Nodes are numbered: the shards first, then the coordinators, then the probers, one a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) shards: u32,
    pub(super) coordinators: u32,
    pub(super) probers: u32,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Shard(u16),
    Coordinator(u32),
    Prober(u32),
}

impl Layout {
    /// One shard needs no stamps, and so no probers: as in the engine.
    pub(super) fn new(config: &SimBenchConfig) -> Self {
        let probers = if config.shards > 1 { config.network.places.len() } else { 0 };
        let (shards, coordinators) = (config.shards.into(), config.coordinators);
        Self { shards, coordinators, probers: probers as u32 }
    }

    pub(super) fn nodes(self) -> u32 {
        self.shards + self.coordinators + self.probers
    }

    /// Coordinators and probers: who connects to shards.
    pub(super) fn clients(self) -> u32 {
        self.coordinators + self.probers
    }

    pub(super) fn kind(self, node: u32) -> Kind {
        let client = node.checked_sub(self.shards);
        match client.map(|client| (client, client.checked_sub(self.coordinators))) {
            None => Kind::Shard(node as u16),
            Some((client, None)) => Kind::Coordinator(client),
            Some((_, Some(prober))) => Kind::Prober(prober),
        }
    }

    /// The number of a way: each pair of nodes that talk has two.
    fn way(self, from: u32, to: u32) -> usize {
        let [from, to, shards] = [from, to, self.shards].map(|it| it as usize);
        match (from < shards, to < shards) {
            (true, true) => from * shards + to,
            (false, _) => shards * shards + 2 * ((from - shards) * shards + to),
            (true, false) => shards * shards + 2 * ((to - shards) * shards + from) + 1,
        }
    }

    fn ways(self) -> usize {
        let [clients, shards] = [self.clients(), self.shards].map(|it| it as usize);
        shards * shards + 2 * clients * shards
    }
}

/// Something that happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// Frames arrive.
    Arrival { to: u32, parcel: Parcel },
    /// It has a turn.
    Turn { node: u32 },
    /// It looks whether something is due.
    Timer { node: u32 },
}

/// Frames in a buffer, and who sent them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parcel {
    pub(super) from: u32,
    pub(super) buffer: u32,
}

/// The events to come, and the frames under way.
#[derive(Debug)]
pub(super) struct Post {
    layout: Layout,
    queue: Queue<Event>,
    buffers: Vec<Vec<u8>>,
    free: Vec<u32>,
    /// When the last frame of each way arrives: those behind it arrive later.
    last: Vec<i64>,
    /// Where each node is.
    places: Vec<u16>,
    paths: Vec<SimPath>,
    place_count: usize,
    wire_ns: i64,
    rng: Rng,
    /// Packed in this turn, to be sent at its end.
    outgoing: Vec<(u32, u32)>,
    pub(super) frames: u64,
    pub(super) messages: u64,
    /// A hash of everything that was sent.
    pub(super) trace: u64,
}

impl Post {
    pub(super) fn new(config: &SimBenchConfig, layout: Layout) -> Self {
        let network = &config.network;
        let place = |node: u32| match layout.kind(node) {
            Kind::Shard(shard) => network.place_of_shard(shard.into()),
            Kind::Coordinator(at) => network.place_of_coordinator(at as usize),
            Kind::Prober(place) => place as usize,
        };
        Self {
            layout,
            queue: Queue::default(),
            buffers: Vec::new(),
            free: Vec::new(),
            last: vec![0; layout.ways()],
            places: (0..layout.nodes()).map(|node| place(node) as u16).collect(),
            paths: network.paths.clone(),
            place_count: network.places.len(),
            wire_ns: config.service.wire_ns.round() as i64,
            rng: Rng::new(config.seed, STREAM),
            outgoing: Vec::new(),
            frames: 0,
            messages: 0,
            trace: config.seed,
        }
    }

    /// Where a node is.
    pub(super) fn place(&self, node: u32) -> usize {
        self.places[node as usize].into()
    }

    /// How long a frame takes from place to place on average.
    pub(super) fn mean_delay(&self, from: usize, to: usize) -> i64 {
        self.wire_ns + self.paths[from * self.place_count + to].delay_ns.cast_signed()
    }

    pub(super) fn plan(&mut self, at: i64, event: Event) {
        self.queue.plan(at, event);
    }

    /// The next event that happens before `limit`, and when.
    pub(super) fn next_before(&mut self, limit: i64) -> Option<(i64, Event)> {
        self.queue.next_before(limit)
    }

    /// Packs what is in a writer, to be sent at the end of the turn. Returns how many frames.
    pub(super) fn pack(&mut self, to: u32, out: &mut BatchWriter) -> u64 {
        out.seal();
        let (frames, messages) = out.take_counts();
        if frames == 0 {
            return 0;
        }
        let buffer = self.free.pop().unwrap_or_else(|| {
            self.buffers.push(Vec::new());
            self.buffers.len() as u32 - 1
        });
        out.swap_sealed(&mut self.buffers[buffer as usize]);
        self.outgoing.push((to, buffer));
        self.frames += frames;
        self.messages += messages;
        frames
    }

    /// Sends what was packed.
    pub(super) fn send(&mut self, from: u32, at: i64) {
        let mut outgoing = std::mem::take(&mut self.outgoing);
        for (to, buffer) in outgoing.drain(..) {
            let path = self.place(from) * self.place_count + self.place(to);
            let arrival = at + self.wire_ns + self.paths[path].sample(&mut self.rng);
            let last = &mut self.last[self.layout.way(from, to)];
            *last = arrival.max(*last);
            let arrival = *last;
            let len = self.buffers[buffer as usize].len() as u64;
            self.trace = mix(mix(self.trace, arrival.cast_unsigned()), u64::from(to) << 32 | len);
            self.plan(arrival, Event::Arrival { to, parcel: Parcel { from, buffer } });
        }
        self.outgoing = outgoing;
    }

    /// The bytes of a parcel that has arrived.
    pub(super) fn open(&mut self, parcel: Parcel) -> Vec<u8> {
        std::mem::take(&mut self.buffers[parcel.buffer as usize])
    }

    /// Takes the buffer of a parcel back.
    pub(super) fn give_back(&mut self, parcel: Parcel, mut bytes: Vec<u8>) {
        bytes.clear();
        self.buffers[parcel.buffer as usize] = bytes;
        self.free.push(parcel.buffer);
    }
}

/// Where a coordinator or prober writes during its turn: one writer a shard, used by all of them in
/// turn, since nothing stays in it.
#[derive(Debug)]
pub(super) struct ShardWriters {
    writers: Vec<BatchWriter>,
    touched: Vec<u16>,
    is_touched: Vec<bool>,
}

impl ShardWriters {
    pub(super) fn new(shards: u16, batch: u16) -> Self {
        let writer = |_| BatchWriter::new(Limits::DEFAULT, batch, false);
        Self {
            writers: (0..shards).map(writer).collect(),
            touched: Vec::new(),
            is_touched: vec![false; shards.into()],
        }
    }

    /// Packs everything. Returns how many frames.
    pub(super) fn pack(&mut self, post: &mut Post) -> u64 {
        let mut frames = 0;
        for shard in self.touched.drain(..) {
            self.is_touched[usize::from(shard)] = false;
            frames += post.pack(shard.into(), &mut self.writers[usize::from(shard)]);
        }
        frames
    }
}

impl Outbox for ShardWriters {
    fn to_shard(&mut self, shard: ShardId) -> Option<&mut BatchWriter> {
        let at = usize::from(shard.0);
        if !std::mem::replace(&mut self.is_touched[at], true) {
            self.touched.push(shard.0);
        }
        Some(&mut self.writers[at])
    }
}

/// Where a shard writes during its turn: a writer for each client that it has something for.
#[derive(Debug)]
pub(super) struct ClientWriters {
    writers: Vec<BatchWriter>,
    /// The clients of the writers in use.
    clients: Vec<u32>,
    /// The writer of each client, if it has one.
    of_client: Vec<Option<u32>>,
    batch: u16,
}

impl ClientWriters {
    pub(super) fn new(clients: u32, batch: u16) -> Self {
        let of_client = vec![None; clients as usize];
        Self { writers: Vec::new(), clients: Vec::new(), of_client, batch }
    }

    /// The writer for a client.
    pub(super) fn of(&mut self, client: u32) -> &mut BatchWriter {
        let Self { writers, clients, of_client, batch } = self;
        let at = *of_client[client as usize].get_or_insert_with(|| {
            clients.push(client);
            if writers.len() < clients.len() {
                writers.push(BatchWriter::new(Limits::DEFAULT, *batch, false));
            }
            clients.len() as u32 - 1
        });
        &mut writers[at as usize]
    }

    /// Packs everything. Returns how many frames.
    pub(super) fn pack(&mut self, layout: Layout, post: &mut Post) -> u64 {
        let mut frames = 0;
        for (client, writer) in self.clients.drain(..).zip(&mut self.writers) {
            self.of_client[client as usize] = None;
            frames += post.pack(layout.shards + client, writer);
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_way_between_those_who_talk_has_a_number_of_its_own() {
        let layout = Layout { shards: 3, coordinators: 4, probers: 2 };
        let mut ways = BTreeSet::new();
        for (from, to) in (0..9).flat_map(|from| (0..9).map(move |to| (from, to))) {
            if from < 3 || to < 3 {
                let way = layout.way(from, to);
                assert!(ways.insert(way) && way < layout.ways(), "{from} to {to}: {way}");
            }
        }
        assert_eq!(ways.len(), layout.ways());
        let kinds = [0, 2, 3, 6, 7, 8].map(|node| layout.kind(node));
        let [a, b, c, d, e, f] = kinds;
        assert_eq!([a, b], [Kind::Shard(0), Kind::Shard(2)]);
        assert_eq!([c, d], [Kind::Coordinator(0), Kind::Coordinator(3)]);
        assert_eq!([e, f], [Kind::Prober(0), Kind::Prober(1)]);
    }

    #[test]
    fn what_is_sent_first_over_a_way_arrives_first_whatever_the_jitter() {
        let path = SimPath::normal_us(100, 90);
        let network = super::super::SimNetwork::even("wild", path);
        let config = SimBenchConfig { network, ..SimBenchConfig::default() };
        let layout = Layout::new(&config);
        let mut post = Post::new(&config, layout);
        let mut out = BatchWriter::new(Limits::DEFAULT, 1, false);
        for at in 0..1_000 {
            out.message(punctual_wire::FrameKind::Peer, 8, |bytes| bytes.extend([at as u8; 8]));
            assert_eq!(post.pack(0, &mut out), 1);
            post.send(1, at * 1_000);
        }
        let mut sent = 0;
        while let Some((_, Event::Arrival { to, parcel })) = post.next_before(i64::MAX) {
            assert_eq!((to, parcel.from), (0, 1));
            let bytes = post.open(parcel);
            assert_eq!(bytes.last(), Some(&(sent as u8)));
            post.give_back(parcel, bytes);
            sent += 1;
        }
        assert_eq!(sent, 1_000);
    }
}
