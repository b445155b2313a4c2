//! The links between queues and their workers and clients: ordered streams that are slow, stall
//! and break.
//!
//! A link has one connection after the other. When one breaks, what is under way is lost, and both
//! ends notice it when it suits them: meanwhile the queue may hear the same worker over a new one.
//! Queue 0 accepts all connections, and hands on those that are for others.

use super::events::{Event, Events};
use super::layout::{Layout, QUEUE, Side};
use super::tuning::Tuning;
use crate::faults::Faults;
use crate::rng::Rng;
use punctual_core::SessionId;
use punctual_wire::{BatchWriter, CloseReason, Frame, FrameReader, Limits};

/// What a message needs at least.
const DELAY_MIN: i64 = 1_000;
/// What it takes to hand a connection to the thread of another queue.
const HAND_OVER: i64 = 5_000;

/// What a connection carries.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// The caller says who it is.
    Hello { session: SessionId, is_worker: bool },
    /// The queue is there, and so many of them in all.
    Welcome { queues: u16 },
    /// One whole frame.
    Frame(Vec<u8>),
    /// The connection is no more, with the reason if the other side gave one.
    Closed(Option<CloseReason>),
}

#[derive(Debug)]
struct Link {
    /// The connection that the caller has, or waits for.
    conn: Option<u32>,
    /// It cannot connect before.
    cut_until: i64,
    /// Nothing arrives before.
    stalled_until: i64,
    /// Typical delays, by who sends.
    delays: [i64; 2],
}

#[derive(Debug)]
struct Conn {
    link: usize,
    is_dead: bool,
    /// Who has closed it in good order, and hears nothing more.
    hung_up: [bool; 2],
    /// When the last message arrives, by who sends.
    last_arrivals: [i64; 2],
}

/// All links.
#[derive(Debug)]
pub(super) struct Net {
    layout: Layout,
    links: Vec<Link>,
    conns: Vec<Conn>,
    faults: Faults,
    tuning: Tuning,
    rng: Rng,
    pub(super) frames: u64,
    pub(super) cuts: u64,
}

impl Net {
    pub(super) fn new(layout: Layout, faults: Faults, tuning: &Tuning, mut rng: Rng) -> Self {
        let delay = tuning.delay;
        let link = |_| {
            let mut delay = || delay * rng.between(50, 150) / 100;
            let delays = [delay(), delay()];
            Link { conn: None, cut_until: 0, stalled_until: 0, delays }
        };
        let links = (0..layout.links()).map(link).collect();
        let (conns, tuning) = (Vec::new(), tuning.clone());
        Self { layout, links, conns, faults, tuning, rng, frames: 0, cuts: 0 }
    }

    pub(super) fn link_of(&self, conn: u32) -> usize {
        self.conns[conn as usize].link
    }

    /// The queue that a connection is for.
    pub(super) fn queue_of(&self, conn: u32) -> usize {
        self.layout.queue(self.link_of(conn))
    }

    /// Queue 0 gives a connection to the queue that it is for.
    pub(super) fn hand_over(&self, events: &mut Events, now: i64, conn: u32, hello: Content) {
        let to = self.queue_of(conn);
        events.plan(now + HAND_OVER, Event::Deliver { to, conn, content: hello });
    }

    /// From now on nothing goes wrong.
    pub(super) fn heal(&mut self, now: i64) {
        self.faults = Faults::none();
        for link in &mut self.links {
            link.cut_until = link.cut_until.min(now);
            link.stalled_until = link.stalled_until.min(now);
        }
    }

    pub(super) fn stall(&mut self, link: usize, until: i64) {
        let link = &mut self.links[link];
        link.stalled_until = link.stalled_until.max(until);
    }

    /// Whether the caller of a link may try to connect.
    pub(super) fn is_free(&self, link: usize) -> bool {
        self.links[link].conn.is_none()
    }

    pub(super) fn is_open(&self, link: usize, now: i64) -> bool {
        self.links[link].cut_until <= now
    }

    /// Makes a connection, as the caller sees it.
    pub(super) fn connect(&mut self, link: usize) -> u32 {
        let (is_dead, hung_up, last_arrivals) = (false, [false; 2], [0; 2]);
        self.conns.push(Conn { link, is_dead, hung_up, last_arrivals });
        let conn = self.conns.len() as u32 - 1;
        self.links[link].conn = Some(conn);
        conn
    }

    /// Whether this is the connection that the caller of its link has, or waits for.
    pub(super) fn is_current(&self, conn: u32) -> bool {
        self.links[self.link_of(conn)].conn == Some(conn)
    }

    /// The caller knows that its connection is gone.
    pub(super) fn forget(&mut self, link: usize) {
        self.links[link].conn = None;
    }

    /// A message is there. What is left of it, if anything: of a broken connection no more can be
    /// heard than that it is broken.
    pub(super) fn arrive(&self, conn: u32, to: Side, content: Content) -> Option<Content> {
        let conn = &self.conns[conn as usize];
        match content {
            _ if conn.hung_up[to as usize] => None,
            Content::Closed(_) if conn.is_dead => Some(Content::Closed(None)),
            _ if conn.is_dead => None,
            content => Some(content),
        }
    }

    /// Breaks all connections of a link. Both ends are told, each after a while of its own.
    pub(super) fn cut(&mut self, events: &mut Events, now: i64, link: usize, until: i64) {
        self.cuts += 1;
        let cut_until = &mut self.links[link].cut_until;
        *cut_until = until.max(*cut_until);
        let Self { layout, conns, rng, tuning, .. } = self;
        for (at, conn) in conns.iter_mut().enumerate() {
            if conn.link != link || conn.is_dead {
                continue;
            }
            conn.is_dead = true;
            for to in [layout.caller(link), layout.queue(link)] {
                let mut noticed = now + DELAY_MIN + rng.exponential(10 * tuning.delay);
                if rng.chance(tuning.late_notice) {
                    noticed += rng.between(0, tuning.outage_max);
                }
                let content = Content::Closed(None);
                events.plan(noticed, Event::Deliver { to, conn: at as u32, content });
            }
        }
    }

    /// Closes a connection in good order: the other side is told behind everything else.
    pub(super) fn hang_up(
        &mut self,
        events: &mut Events,
        now: i64,
        conn: u32,
        from: Side,
        reason: Option<CloseReason>,
    ) {
        self.send(events, now, conn, from, Content::Closed(reason));
        let state = &mut self.conns[conn as usize];
        state.hung_up[from as usize] = true;
        let link = &mut self.links[state.link];
        if from == Side::Caller && link.conn == Some(conn) {
            link.conn = None;
        }
    }

    /// Sends what is in a writer, frame by frame, and empties it; `see` is shown each frame.
    pub(super) fn send_frames(
        &mut self,
        events: &mut Events,
        now: i64,
        conn: u32,
        from: Side,
        out: &mut BatchWriter,
        mut see: impl FnMut(&Frame<'_>),
    ) {
        out.seal();
        let bytes = out.sealed();
        let mut reader = FrameReader::new(bytes, Limits::DEFAULT, false);
        let mut start = 0;
        while let Some(frame) = reader.next_frame().expect("own frames are valid") {
            see(&frame);
            let frame = &bytes[start..reader.taken()];
            start = reader.taken();
            self.frames += 1;
            // A stream that loses something is broken.
            if self.faults.loss && self.rng.chance(self.tuning.loss) {
                let link = self.link_of(conn);
                self.cut(events, now, link, now);
            }
            self.send(events, now, conn, from, Content::Frame(frame.to_vec()));
        }
        debug_assert_eq!(start, bytes.len(), "whole frames only");
        out.clear_sealed();
    }

    /// Sends one message, which arrives unless its connection breaks.
    pub(super) fn send(
        &mut self,
        events: &mut Events,
        now: i64,
        conn: u32,
        from: Side,
        content: Content,
    ) {
        let Self { layout, links, conns, faults, tuning, rng, .. } = self;
        let state = &mut conns[conn as usize];
        if state.is_dead || state.hung_up[from as usize] {
            return;
        }
        let link = &links[state.link];
        let mut at = now.max(link.stalled_until) + DELAY_MIN;
        at += link.delays[from as usize] + rng.exponential(tuning.jitter);
        if faults.delay && rng.chance(tuning.spike) {
            at += rng.between(0, tuning.spike_max);
        }
        let last = &mut state.last_arrivals[from as usize];
        *last = at.max(*last + 1);
        let to = match from.other() {
            Side::Queue if matches!(content, Content::Hello { .. }) => QUEUE,
            Side::Queue => layout.queue(state.link),
            Side::Caller => layout.caller(state.link),
        };
        events.plan(*last, Event::Deliver { to, conn, content });
    }
}
