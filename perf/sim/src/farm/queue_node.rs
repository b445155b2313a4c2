//! The node of a queue, hosted as the runtime does it: take what has arrived, do what is due,
//! write the log, send what may leave.

use super::disk::FarmDisk;
use super::env::Env;
use super::layout::Side;
use super::net::Content;
use super::report::FarmViolationKind;
use crate::env::only_frame;
use punctual_core::task::{Party, TaskQueue};
use punctual_core::{Nanos, SessionId};
use punctual_wire::task::TaskState;
use punctual_wire::{BatchWriter, Limits};
use std::collections::{BTreeMap, VecDeque};

/// The pause before a link that had no room is tried again.
const ROOM_PAUSE: i64 = 20_000;

/// A client or a worker that is connected.
#[derive(Debug)]
struct Peer {
    party: Party,
    /// Of a worker.
    session: Option<SessionId>,
    out: BatchWriter,
}

#[derive(Debug)]
pub(super) struct QueueNode {
    /// Which queue of the server.
    at: usize,
    pub(super) queue: TaskQueue,
    peers: BTreeMap<u32, Peer>,
    /// Of those that may not be read now.
    held: VecDeque<(u32, Content)>,
    had_room: bool,
}

impl QueueNode {
    pub(super) fn new(at: usize, queue: TaskQueue) -> Self {
        Self { at, queue, peers: BTreeMap::new(), held: VecDeque::new(), had_room: true }
    }

    /// One turn, at `now` by its clock.
    pub(super) fn turn(
        &mut self,
        env: &mut Env,
        disk: &mut FarmDisk,
        at: i64,
        now: Nanos,
        inbox: VecDeque<(u32, Content)>,
    ) {
        disk.look(at, &mut self.queue);
        let held = std::mem::take(&mut self.held);
        for (conn, content) in held.into_iter().chain(inbox) {
            self.take(env, at, now, conn, content);
        }
        env.ledger.before_turn(self.at, now);
        self.queue.on_turn(now);
        disk.pump(at, &mut self.queue, &mut env.ledger.findings);
        env.ledger.after_turn(self.at, self.queue.log_ends());
        self.write(env, at, now);
    }

    fn take(&mut self, env: &mut Env, at: i64, now: Nanos, conn: u32, content: Content) {
        match content {
            hello @ Content::Hello { .. } if env.net.queue_of(conn) != self.at => {
                env.net.hand_over(&mut env.events, at, conn, hello);
            }
            Content::Hello { session, is_worker } => {
                let opened = match is_worker {
                    true => self.queue.open_worker(now, session),
                    false => self.queue.open_client(now),
                };
                let Ok(party) = opened else {
                    let text = "there is no room for a client or worker".to_owned();
                    return env.ledger.find(FarmViolationKind::Malformed, text);
                };
                let out = BatchWriter::new(Limits::DEFAULT, env.tuning.batch_max, false);
                let session = is_worker.then_some(session);
                self.peers.insert(conn, Peer { party, session, out });
                let welcome = Content::Welcome { queues: env.layout.queues as u16 };
                env.net.send(&mut env.events, at, conn, Side::Queue, welcome);
            }
            Content::Frame(bytes) => self.take_frame(env, now, conn, bytes),
            Content::Closed(_) => {
                self.held.retain(|(other, _)| *other != conn);
                if let Some(peer) = self.peers.remove(&conn) {
                    self.queue.close(now, peer.party);
                    env.ledger.unlinked(self.at, now, conn);
                }
            }
            Content::Welcome { .. } => {}
        }
    }

    fn take_frame(&mut self, env: &mut Env, now: Nanos, conn: u32, bytes: Vec<u8>) {
        let Some(Peer { party, session, .. }) = self.peers.get(&conn) else { return };
        let is_behind = self.held.iter().any(|(other, _)| *other == conn);
        if is_behind || !self.queue.has_room(*party) {
            self.held.push_back((conn, Content::Frame(bytes)));
            return;
        }
        let frame = only_frame(&bytes);
        // Nobody listens to a connection that is about to be closed.
        if self.queue.closing(*party).is_none() {
            match session {
                Some(session) => env.ledger.heard_worker(self.at, now, *session, conn, &frame),
                None => env.ledger.heard_client(&env.plans, self.at, conn, &frame),
            }
        }
        if let Err(error) = self.queue.on_frame(now, *party, &frame) {
            let text = format!("the queue cannot take what it was sent: {error}");
            env.ledger.find(FarmViolationKind::Malformed, text);
        }
    }

    fn write(&mut self, env: &mut Env, at: i64, now: Nanos) {
        let Self { at: id, queue, peers, had_room, .. } = self;
        *had_room = true;
        let mut closed = Vec::new();
        for (conn, Peer { party, session, out }) in &mut *peers {
            let room = env.tuning.room_bytes;
            queue.write(*party, out, |out| out.len() < room);
            *had_room &= out.len() < room;
            let Env { net, events, ledger, plans, .. } = &mut *env;
            net.send_frames(events, at, *conn, Side::Queue, out, |frame| {
                ledger.told(plans, *session, *conn, frame);
            });
            if let Some(reason) = queue.closing(*party) {
                ledger.closing(*session, reason);
                ledger.unlinked(*id, now, *conn);
                queue.close(now, *party);
                net.hang_up(events, at, *conn, Side::Queue, Some(reason));
                closed.push(*conn);
            }
        }
        peers.retain(|conn, _| !closed.contains(conn));
        env.ledger.after_write(&env.plans, *id, *had_room, queue.is_durable());
    }

    /// When it is to have a turn although nothing arrives: by its clock, and in true time.
    pub(super) fn next_turn(&self, at: i64) -> (Option<Nanos>, Option<i64>) {
        let is_waiting = !self.had_room || !self.held.is_empty();
        (self.queue.next_deadline(), is_waiting.then_some(at + ROOM_PAUSE))
    }

    /// Whether all tasks are at their end, and everything is durable.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.counts().unfinished() == 0 && self.queue.is_durable() && self.had_room
    }

    /// What there is to do, for those who wonder why it is not done.
    pub(super) fn describe(&self) -> String {
        let counts = self.queue.counts();
        let count = |state: TaskState| (counts[state] > 0).then(|| (state.name(), counts[state]));
        let counts: Vec<_> = TaskState::ALL.into_iter().filter_map(count).collect();
        let (workers, is_durable) = (self.queue.workers(), self.queue.is_durable());
        format!("{counts:?}, {workers} workers, durable: {is_durable}")
    }
}
