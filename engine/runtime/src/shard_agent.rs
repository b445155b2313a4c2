//! A shard with its links, as an agent of a core.

use crate::agent::Agent;
use crate::clock::Clock;
use crate::counters::{Counter, CounterBlock, LinkCounts};
use punctual_core::{Nanos, SessionError, SessionId, SessionIndex, Shard};
use punctual_link::{
    HandshakeError, Identity, Link, LinkError, OUTGOING_BYTES_MAX, ParkHandle, ServerHandshake,
};
use punctual_wire::{
    BatchWriter, CloseReason, Features, Frame, FrameKind, FrameReader, Handshake, Limits, Role,
    WireError,
};
use std::sync::Arc;
use std::time::Duration;

/// A visitor that has not said who it is by then is shown out.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A stopping shard says goodbye in the first turn in which nothing arrives; peers that never
/// pause get it after this.
const STOP_PATIENCE: Duration = Duration::from_millis(500);
/// How long a stopping shard waits for its peers to take their last replies.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections that may wait for their handshake; one more shows the oldest out.
const STRANGERS_MAX: usize = 64;
/// The control queue and strangers are looked at every so many turns.
const CONTROL_TURNS: u32 = 32;

/// What the control plane tells a shard.
pub(crate) enum ShardControl {
    /// Somebody connected.
    Attach(Box<dyn Link>),
    /// Answer what has arrived, then stop.
    Stop,
}

/// What a link is used for.
#[derive(Debug, Clone, Copy)]
enum Use {
    /// Nobody has said hello yet.
    Shaking { since: Nanos },
    /// A coordinator worker.
    Session { index: SessionIndex, checksum: bool },
    /// Ping-pong on the bare link.
    Echo { checksum: bool },
}

struct Connection {
    link: Box<dyn Link>,
    used_for: Use,
    /// When a `Goodbye` was written: what still arrives is dropped, and so is the link once the
    /// peer has hung up.
    leaving: Option<Nanos>,
}

impl Connection {
    /// When it came, if it has not said yet who it is. Links within the process need not: theirs
    /// are as many as the workers, and they have no second try.
    fn stranger_since(&self) -> Option<Nanos> {
        match self.used_for {
            Use::Shaking { since } if self.leaving.is_none() && !self.link.is_local() => {
                Some(since)
            }
            _ => None,
        }
    }
}

/// A shard and everything that talks to it.
pub(crate) struct ShardAgent {
    shard: Shard,
    clock: Clock,
    limits: Limits,
    identity: Identity,
    control: flume::Receiver<ShardControl>,
    connections: Vec<Connection>,
    /// Links of all kinds: one for each session, and the strangers.
    connections_max: usize,
    park: Option<ParkHandle>,
    turns: u32,
    stopping_since: Option<Nanos>,
    finished: bool,
    counts: LinkCounts,
    block: Arc<CounterBlock>,
}

/// Why a connection ends.
enum End {
    Link(LinkError),
    Handshake(HandshakeError),
    Session(SessionError),
    Reason(CloseReason),
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        Self::Link(LinkError::Wire(error))
    }
}

impl From<LinkError> for End {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl ShardAgent {
    pub(crate) fn new(
        shard: Shard,
        clock: Clock,
        limits: Limits,
        identity: Identity,
        sessions_max: u32,
        control: flume::Receiver<ShardControl>,
    ) -> Self {
        let block = CounterBlock::new(format!("shard{}", shard.id().0));
        Self {
            shard,
            clock,
            limits,
            identity,
            control,
            connections: Vec::new(),
            connections_max: sessions_max as usize + STRANGERS_MAX,
            park: None,
            turns: 0,
            stopping_since: None,
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
        if let Some(park) = &self.park
            && let Err(error) = link.register(park)
        {
            tracing::warn!(peer = link.peer(), %error, "a link cannot be watched and is dropped");
            return;
        }
        self.counts.opened += 1;
        if !link.is_local() {
            self.make_room(now);
            if self.connections.len() >= self.connections_max {
                self.counts.closed += 1;
                self.counts.refused += 1;
                tracing::warn!(peer = link.peer(), "too many connections: one is refused");
                ServerHandshake::reject(link.as_mut(), CloseReason::TooManySessions);
                return;
            }
        }
        let used_for = Use::Shaking { since: now };
        self.connections.push(Connection { link, used_for, leaving: None });
    }

    /// Shows the oldest stranger out if there are as many as there may be.
    fn make_room(&mut self, now: Nanos) {
        let stranger = |(at, connection): (usize, &Connection)| {
            let since = connection.stranger_since()?;
            Some((since, at))
        };
        let strangers = self.connections.iter().enumerate().filter_map(stranger);
        if strangers.clone().count() < STRANGERS_MAX {
            return;
        }
        if let Some((_, at)) = strangers.min() {
            let end = self.time_out(at);
            self.close(now, at, &end);
        }
    }

    /// Tells a stranger that its time is up.
    fn time_out(&mut self, at: usize) -> End {
        let reason = CloseReason::HandshakeTimeout;
        ServerHandshake::reject(self.connections[at].link.as_mut(), reason);
        End::Handshake(HandshakeError::Rejected(reason))
    }

    /// Serves either the strangers or all others. Returns how much was done.
    #[inline]
    fn serve_all(&mut self, now: Nanos, strangers: bool) -> usize {
        let mut work = 0;
        let mut at = 0;
        while let Some(connection) = self.connections.get(at) {
            if connection.stranger_since().is_some() != strangers {
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

    /// Polls one connection and answers what came. Returns how much was done.
    #[inline]
    fn serve(&mut self, now: Nanos, at: usize) -> Result<usize, End> {
        let connection = &mut self.connections[at];
        if let Some(since) = connection.leaving {
            return leave(connection.link.as_mut(), now, since);
        }
        match connection.used_for {
            Use::Shaking { .. } => self.shake(now, at),
            Use::Session { index, checksum } => self.serve_session(at, index, checksum),
            Use::Echo { checksum } => self.serve_echo(at, checksum),
        }
    }

    #[inline]
    fn serve_session(
        &mut self,
        at: usize,
        session: SessionIndex,
        checksum: bool,
    ) -> Result<usize, End> {
        let Self { shard, clock, limits, connections, counts, .. } = self;
        let answer = |frame: &Frame<'_>, out: &mut BatchWriter| match frame.kind {
            // The clock is read here, after the frame was taken from its link (R2).
            FrameKind::Dispatch => Ok(shard.on_dispatch(clock.now(), session, frame, out)?),
            FrameKind::Goodbye => Err(End::Reason(Handshake::read_goodbye(frame)?)),
            kind => Err(WireError::UnexpectedKind(kind).into()),
        };
        exchange(connections[at].link.as_mut(), *limits, checksum, counts, answer)
    }

    fn serve_echo(&mut self, at: usize, checksum: bool) -> Result<usize, End> {
        let answer = |frame: &Frame<'_>, out: &mut BatchWriter| match frame.kind {
            FrameKind::Ping => {
                let len = frame.body.len();
                out.message(FrameKind::Pong, len, |bytes| bytes.extend_from_slice(frame.body));
                Ok(())
            }
            FrameKind::Goodbye => Err(End::Reason(Handshake::read_goodbye(frame)?)),
            kind => Err(WireError::UnexpectedKind(kind).into()),
        };
        let link = self.connections[at].link.as_mut();
        exchange(link, self.limits, checksum, &mut self.counts, answer)
    }

    fn shake(&mut self, now: Nanos, at: usize) -> Result<usize, End> {
        let since = self.connections[at].stranger_since();
        if since.is_some_and(|since| now.since(since) > HANDSHAKE_TIMEOUT) {
            return Err(self.time_out(at));
        }
        let id = self.shard.id().0;
        let link = self.connections[at].link.as_mut();
        let visitor = match ServerHandshake::step(link, self.limits, &self.identity, id) {
            Ok(None) => return Ok(0),
            Ok(Some(visitor)) => visitor,
            Err(error) => return Err(End::Handshake(error)),
        };
        let checksum = visitor.features.contains(Features::CHECKSUM);
        let used_for = match visitor.role {
            Role::Pinger => Use::Echo { checksum },
            Role::Coordinator => {
                let session = SessionId(visitor.session);
                match self.shard.open_session(now, session, visitor.slots) {
                    Ok(index) => {
                        self.replace_older(now, at, index);
                        Use::Session { index, checksum }
                    }
                    Err(error) => {
                        let reason = match error {
                            SessionError::TooManySessions { .. } => CloseReason::TooManySessions,
                            SessionError::TooManySlots { .. } => CloseReason::TooManySlots,
                        };
                        ServerHandshake::reject(self.connections[at].link.as_mut(), reason);
                        return Err(End::Session(error));
                    }
                }
            }
        };
        let epoch = match used_for {
            Use::Session { index, .. } => self.shard.session_epoch(index),
            _ => 0,
        };
        let connection = &mut self.connections[at];
        // First of all: if the visitor is gone already, its session has to be closed with the link.
        connection.used_for = used_for;
        let link = connection.link.as_mut();
        ServerHandshake::accept(link, &self.identity, id, epoch, visitor.features);
        connection.link.flush()?;
        tracing::debug!(shard = id, peer = connection.link.peer(), ?visitor, "welcome");
        Ok(1)
    }

    /// A coordinator that connects again has given up its older link.
    fn replace_older(&mut self, now: Nanos, at: usize, session: SessionIndex) {
        for (other, connection) in self.connections.iter_mut().enumerate() {
            let same =
                matches!(connection.used_for, Use::Session { index, .. } if index == session);
            if other != at && same {
                Handshake::write_goodbye(connection.link.outgoing(), CloseReason::Replaced);
                connection.used_for = Use::Echo { checksum: false };
                connection.leaving = Some(now);
            }
        }
    }

    /// Removes a connection, says why once, and tells the peer if it can still be told.
    fn close(&mut self, now: Nanos, at: usize, end: &End) {
        let mut connection = self.connections.swap_remove(at);
        let (shard, peer) = (self.shard.id().0, connection.link.peer());
        self.counts.closed += 1;
        match end {
            End::Reason(CloseReason::Stopping) => tracing::debug!(shard, peer, "the link is done"),
            End::Reason(reason) => tracing::info!(shard, peer, %reason, "the link was closed"),
            End::Link(LinkError::Wire(error)) => {
                self.counts.malformed += 1;
                tracing::warn!(shard, peer, %error, "the link was closed for malformed bytes");
                ServerHandshake::reject(connection.link.as_mut(), CloseReason::from(error));
            }
            End::Link(LinkError::Closed) => tracing::info!(shard, peer, "the peer is gone"),
            End::Link(LinkError::Io(error)) => tracing::warn!(shard, peer, %error, "link lost"),
            End::Handshake(error) => {
                self.counts.refused += 1;
                if let HandshakeError::Link(LinkError::Wire(error)) = error {
                    ServerHandshake::reject(connection.link.as_mut(), CloseReason::from(error));
                }
                tracing::warn!(shard, peer, %error, "the handshake failed");
            }
            End::Session(error) => {
                self.counts.refused += 1;
                tracing::warn!(shard, peer, %error, "a session was refused");
            }
        }
        if let Use::Session { index, .. } = connection.used_for {
            match end {
                // Nothing is in flight, and a session of that number will not come back.
                End::Reason(CloseReason::Stopping) => self.shard.end_session(index),
                _ => self.shard.close_session(now, index),
            }
        }
    }

    /// Says goodbye on every link whose replies are out, and finishes when all are gone.
    fn drain(&mut self, now: Nanos, since: Nanos) {
        for connection in &mut self.connections {
            if connection.leaving.is_none() {
                Handshake::write_goodbye(connection.link.outgoing(), CloseReason::Stopping);
                connection.leaving = Some(now);
            }
        }
        if self.connections.is_empty() || now.since(since) >= DRAIN_TIMEOUT {
            self.connections.clear();
            self.finished = true;
        }
    }
}

/// Sends what is left and waits for the peer to hang up: closing a socket with unread input would
/// reset it and might take the last replies with it.
fn leave(link: &mut dyn Link, now: Nanos, since: Nanos) -> Result<usize, End> {
    let mut work = link.flush()?;
    let polled = link.poll();
    let (bytes, _) = link.parts();
    let unread = bytes.len();
    link.consume(unread);
    match polled {
        Ok(_) if now.since(since) >= DRAIN_TIMEOUT => Err(End::Reason(CloseReason::Stopping)),
        Ok(bytes) => {
            work += bytes;
            Ok(usize::from(work > 0))
        }
        Err(_) => Err(End::Reason(CloseReason::Stopping)),
    }
}

/// Answers every whole frame of a link, then flushes it: one write for all the answers.
#[inline]
fn exchange(
    link: &mut dyn Link,
    limits: Limits,
    checksum: bool,
    counts: &mut LinkCounts,
    mut answer: impl FnMut(&Frame<'_>, &mut BatchWriter) -> Result<(), End>,
) -> Result<usize, End> {
    let polled = link.poll();
    let (bytes, out) = link.parts();
    let mut work = 0;
    let mut outcome = Ok(());
    let mut taken = 0;
    if !bytes.is_empty() {
        let mut reader = FrameReader::new(bytes, limits, checksum);
        // Whoever does not take its replies gets no more work done (R10).
        while outcome.is_ok() && out.len() < OUTGOING_BYTES_MAX {
            outcome = match reader.next_frame() {
                Ok(Some(frame)) => {
                    work += 1;
                    answer(&frame, out)
                }
                Ok(None) => break,
                Err(error) => Err(error.into()),
            };
        }
        counts.back_pressure += u64::from(out.len() >= OUTGOING_BYTES_MAX);
        taken = reader.taken();
    }
    link.consume(taken);
    counts.frames_received += work as u64;
    if let Ok(bytes) = &polled {
        counts.bytes_received += *bytes as u64;
        // Part of a frame is work too: nobody may park while the rest waits in the socket.
        work += usize::from(*bytes > 0);
    }
    work += flush(link, counts)?;
    outcome?;
    // What came before the end was answered first.
    match polled {
        Err(error) if work == 0 => Err(error.into()),
        _ => Ok(work),
    }
}

/// Flushes a link and counts. Returns 1 if something moved.
#[inline]
pub(crate) fn flush(link: &mut dyn Link, counts: &mut LinkCounts) -> Result<usize, LinkError> {
    if link.pending() == 0 {
        return Ok(0);
    }
    let out = link.outgoing();
    out.seal();
    let (frames, messages) = out.take_counts();
    counts.frames_sent += frames;
    counts.messages_sent += messages;
    let bytes = link.flush()?;
    counts.bytes_sent += bytes as u64;
    counts.short_sends += u64::from(link.pending() > 0);
    Ok(usize::from(bytes > 0))
}

impl Agent for ShardAgent {
    fn start(&mut self, park: Option<&ParkHandle>) {
        self.park = park.cloned();
    }

    #[inline]
    fn do_work(&mut self, now: Nanos) -> usize {
        let mut work = 0;
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(CONTROL_TURNS) || !self.control.is_empty() {
            work += self.take_control(now);
        }
        work += self.serve_all(now, false);
        // A read that finds nothing costs as much as one that finds something: strangers do not
        // slow down those who work.
        if work == 0 || self.turns.is_multiple_of(CONTROL_TURNS) {
            work += self.serve_all(now, true);
        }
        // A turn without work ends the shard: everything that had arrived is answered.
        if let Some(since) = self.stopping_since
            && !self.finished
            && (work == 0 || now.since(since) >= STOP_PATIENCE)
        {
            self.drain(now, since);
        }
        work
    }

    fn next_deadline(&self) -> Option<Nanos> {
        let stop = self.stopping_since.map(|since| since + DRAIN_TIMEOUT.into());
        let strangers = self.connections.iter().filter_map(Connection::stranger_since);
        let shaking = strangers.map(|since| since + HANDSHAKE_TIMEOUT.into());
        let leaving = self.connections.iter().filter_map(|connection| connection.leaving);
        let leaving = leaving.map(|since| since + DRAIN_TIMEOUT.into());
        stop.into_iter().chain(shaking).chain(leaving).min()
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    fn publish(&mut self) {
        let stats = self.shard.stats();
        let block = &self.block;
        self.counts.publish(block);
        block.set(Counter::Committed, stats.committed);
        block.set(Counter::Aborted, stats.aborted);
        block.set(Counter::Refused, stats.refused);
        block.set(Counter::Repeated, stats.repeated);
        block.set(Counter::Stale, stats.stale);
        block.set(Counter::Ops, stats.ops);
        block.set(Counter::Busy, stats.busy);
        block.set(Counter::Keys, self.shard.store().len() as u64);
        block.set(Counter::StoreBytes, self.shard.store().bytes());
    }

    fn counters(&self) -> Arc<CounterBlock> {
        Arc::clone(&self.block)
    }
}
