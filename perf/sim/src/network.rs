//! The network: links between nodes, the connections that they have one after the other, and how
//! long what is sent takes, if it arrives.
//!
//! A connection is an ordered stream unless a fault says otherwise: a frame that takes long holds
//! up those behind it, and when the connection breaks, what is under way is lost. Loss, repetition
//! and overtaking strike single frames. No real connection does that; the rules tolerate it, and it
//! reaches states that breaking connections alone would reach seldom.

use crate::config::SimConfig;
use crate::faults::Faults;
use crate::queue::{Event, Queue};
use crate::rng::Rng;
use crate::tuning::Tuning;
use punctual_core::SessionId;
use punctual_wire::{BatchWriter, FrameReader, Limits};

const STREAM: u64 = 3;
/// What a node needs at least to hand something to itself or to the network.
const DELAY_MIN: i64 = 1_000;

/// What a connection carries.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// The connecting side says who it is.
    Hello { session: SessionId, slots: u32 },
    /// The other side says who it is; for a coordinator also which outcome table it has.
    Welcome { session: SessionId, epoch: u32 },
    /// One whole frame.
    Frame(Vec<u8>),
    /// The connection is no more.
    Closed,
}

/// Two nodes that talk to each other; one of them connects.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: usize,
    pub(crate) server: usize,
    /// The connection as the client sees it.
    pub(crate) client_conn: Option<u32>,
    /// It cannot connect before.
    broken_until: i64,
    /// Nothing arrives before.
    stalled_until: i64,
    /// Typical delays: from the client and back.
    delays: [i64; 2],
}

/// One connection of a link.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) link: usize,
    pub(crate) is_dead: bool,
    /// When the last frame arrives, each way.
    last_arrivals: [i64; 2],
}

/// All links.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) links: Vec<Link>,
    pub(crate) conns: Vec<Conn>,
    /// The nodes below are shards.
    shards: usize,
    faults: Faults,
    tuning: Tuning,
    rng: Rng,
    /// Frames that were given to it.
    pub(crate) frames: u64,
    /// Frames that did not arrive, or twice, or late.
    pub(crate) harmed: u64,
}

impl Network {
    pub(crate) fn new(config: &SimConfig, tuning: &Tuning) -> Self {
        Self {
            links: Vec::new(),
            conns: Vec::new(),
            shards: usize::from(config.shards),
            faults: config.faults,
            tuning: tuning.clone(),
            rng: Rng::new(config.seed, STREAM),
            frames: 0,
            harmed: 0,
        }
    }

    /// Adds a link and returns its number.
    pub(crate) fn add_link(&mut self, client: usize, server: usize) -> usize {
        let Self { rng, tuning, .. } = self;
        let mut delay = || tuning.delay * rng.between(50, 150) / 100;
        let delays = [delay(), delay()];
        self.links.push(Link {
            client,
            server,
            client_conn: None,
            broken_until: 0,
            stalled_until: 0,
            delays,
        });
        self.links.len() - 1
    }

    /// From now on nothing goes wrong.
    pub(crate) fn heal(&mut self, now: i64) {
        self.faults = Faults::none();
        for link in &mut self.links {
            link.broken_until = link.broken_until.min(now);
            link.stalled_until = link.stalled_until.min(now);
        }
    }

    /// Whether a link can be opened.
    pub(crate) fn is_open(&self, link: usize, now: i64) -> bool {
        self.links[link].broken_until <= now
    }

    pub(crate) fn stall(&mut self, link: usize, until: i64) {
        let link = &mut self.links[link];
        link.stalled_until = link.stalled_until.max(until);
    }

    /// Makes a connection, as the client sees it.
    pub(crate) fn connect(&mut self, link: usize) -> u32 {
        self.conns.push(Conn { link, is_dead: false, last_arrivals: [0; 2] });
        let conn = self.conns.len() as u32 - 1;
        self.links[link].client_conn = Some(conn);
        conn
    }

    /// Who is at the other end of a connection.
    pub(crate) fn other_end(&self, conn: u32, node: usize) -> usize {
        let Link { client, server, .. } = self.links[self.conns[conn as usize].link];
        if node == client { server } else { client }
    }

    pub(crate) fn link_of(&self, conn: u32) -> usize {
        self.conns[conn as usize].link
    }

    pub(crate) fn is_dead(&self, conn: u32) -> bool {
        self.conns[conn as usize].is_dead
    }

    /// Breaks all connections of a link. Both ends are told, each after a while of its own.
    pub(crate) fn break_link(&mut self, queue: &mut Queue, now: i64, link: usize, until: i64) {
        let Link { client, server, .. } = self.links[link];
        let broken_until = &mut self.links[link].broken_until;
        *broken_until = until.max(*broken_until);
        for conn in 0..self.conns.len() {
            if self.conns[conn].link != link || self.conns[conn].is_dead {
                continue;
            }
            self.conns[conn].is_dead = true;
            for to in [client, server] {
                let noticed = now + DELAY_MIN + self.rng.exponential(10 * self.tuning.delay);
                let event = Event::Deliver { to, conn: conn as u32, content: Content::Closed };
                queue.plan(noticed, event);
            }
        }
    }

    /// Sends what is in a writer, frame by frame, and empties it.
    pub(crate) fn send_frames(
        &mut self,
        queue: &mut Queue,
        now: i64,
        from: usize,
        conn: u32,
        out: &mut BatchWriter,
    ) {
        out.seal();
        self.send_bytes(queue, now, from, conn, out.sealed());
        out.clear_sealed();
    }

    /// The chance that a frame is lost.
    fn loss(&self, conn: u32) -> u32 {
        let Link { client, server, .. } = self.links[self.link_of(conn)];
        let Tuning { loss, peer_loss, .. } = self.tuning;
        if client.max(server) < self.shards { loss.max(peer_loss) } else { loss }
    }

    /// Sends sealed frames.
    pub(crate) fn send_bytes(
        &mut self,
        queue: &mut Queue,
        now: i64,
        from: usize,
        conn: u32,
        bytes: &[u8],
    ) {
        let mut reader = FrameReader::new(bytes, Limits::DEFAULT, false);
        let mut start = 0;
        let loss = self.loss(conn);
        while reader.next_frame().expect("a writer makes valid frames").is_some() {
            let frame = &bytes[start..reader.taken()];
            start = reader.taken();
            self.frames += 1;
            if self.faults.loss && self.rng.chance(loss) {
                self.harmed += 1;
                continue;
            }
            self.send(queue, now, from, conn, Content::Frame(frame.to_vec()));
            if self.faults.duplicate && self.rng.chance(self.tuning.duplicate) {
                self.harmed += 1;
                self.send(queue, now, from, conn, Content::Frame(frame.to_vec()));
            }
        }
        debug_assert_eq!(start, bytes.len(), "whole frames only");
    }

    /// Sends one message, which arrives unless its connection breaks.
    pub(crate) fn send(
        &mut self,
        queue: &mut Queue,
        now: i64,
        from: usize,
        conn: u32,
        content: Content,
    ) {
        if self.is_dead(conn) {
            return;
        }
        let to = self.other_end(conn, from);
        let at = self.arrival(now, from, conn, matches!(content, Content::Frame(_)));
        queue.plan(at, Event::Deliver { to, conn, content });
    }

    /// When something that is sent now arrives.
    fn arrival(&mut self, now: i64, from: usize, conn: u32, is_frame: bool) -> i64 {
        let Self { links, conns, faults, tuning, rng, harmed, .. } = self;
        let conn = &mut conns[conn as usize];
        let link = &links[conn.link];
        let way = usize::from(from != link.client);
        let mut at = now.max(link.stalled_until) + DELAY_MIN;
        at += link.delays[way] + rng.exponential(tuning.jitter);
        if faults.delay && rng.chance(tuning.spike) {
            *harmed += 1;
            at += rng.between(0, tuning.spike_max);
        }
        if is_frame && faults.reorder && rng.chance(tuning.reorder) {
            *harmed += 1;
            return at + rng.between(0, tuning.reorder_max);
        }
        let last = &mut conn.last_arrivals[way];
        *last = at.max(*last + 1);
        *last
    }
}
