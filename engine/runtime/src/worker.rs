//! A coordinator worker with its links, as an agent of a core.

use crate::agent::Agent;
use crate::clock::Clock;
use crate::counters::{Counter, CounterBlock, LinkCounts};
use crate::driver::{Driver, LinkEvent, Submitter};
use crate::shard_agent::flush;
use punctual_core::{Coordinator, Nanos, Outbox, ReplyError, SessionId, ShardId};
use punctual_link::{
    ClientHandshake, Endpoint, HandshakeError, Identity, Link, LinkError, ParkHandle, StreamLink,
};
use punctual_wire::{
    BatchWriter, CloseReason, Features, FrameKind, FrameReader, Handshake, Limits, Role, Welcome,
    WireError,
};
use std::sync::Arc;
use std::time::Duration;

/// First pause before a link is tried again; it doubles with each failure.
const RECONNECT_MIN: Duration = Duration::from_millis(10);
/// Longest pause between two tries.
const RECONNECT_MAX: Duration = Duration::from_secs(1);
/// The control queue is looked at every so many turns.
const CONTROL_TURNS: u32 = 32;

/// How a shard is reached.
pub(crate) enum Route {
    /// Through memory; there is no second try.
    Ring(Option<Box<dyn Link>>),
    /// Over a socket.
    Socket(Endpoint),
}

enum LinkState {
    /// To be tried at this time.
    Down { retry_at: Nanos },
    /// Connecting, or waiting for the welcome.
    Shaking { link: Box<dyn Link>, handshake: ClientHandshake, since: Nanos },
    /// In use.
    Up { link: Box<dyn Link>, checksum: bool },
    /// The shard will not have us.
    Refused,
}

struct ShardLink {
    route: Route,
    state: LinkState,
    pause: Duration,
}

/// The links of a worker, one a shard.
pub(crate) struct ShardLinks {
    links: Vec<ShardLink>,
    limits: Limits,
    batch_max: u16,
    identity: Identity,
    slots: u32,
    /// A connection that is not welcomed by then is given up and tried again.
    connect_timeout: Duration,
    park: Option<ParkHandle>,
    counts: LinkCounts,
}

impl Outbox for ShardLinks {
    #[inline]
    fn to_shard(&mut self, shard: ShardId) -> Option<&mut BatchWriter> {
        match &mut self.links[usize::from(shard.0)].state {
            LinkState::Up { link, .. } if link.has_room() => Some(link.outgoing()),
            _ => None,
        }
    }
}

impl ShardLinks {
    pub(crate) fn new(
        routes: Vec<Route>,
        limits: Limits,
        batch_max: u16,
        identity: Identity,
        slots: u32,
        connect_timeout: Duration,
    ) -> Self {
        let link = |route| ShardLink {
            route,
            state: LinkState::Down { retry_at: Nanos(i64::MIN) },
            pause: RECONNECT_MIN,
        };
        let links = routes.into_iter().map(link).collect();
        let counts = LinkCounts::default();
        let park = None;
        Self { links, limits, batch_max, identity, slots, connect_timeout, park, counts }
    }

    pub(crate) fn all_up(&self) -> bool {
        self.links.iter().all(|link| matches!(link.state, LinkState::Up { .. }))
    }

    #[expect(clippy::cast_possible_truncation, reason = "there are at most 2^16 shards")]
    pub(crate) fn shards(&self) -> u16 {
        self.links.len() as u16
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Opens the link to a shard, or says what stands against it.
    fn open(&mut self, at: usize) -> Result<Box<dyn Link>, String> {
        let mut link: Box<dyn Link> = match &mut self.links[at].route {
            Route::Ring(link) => link.take().ok_or("the shard in this process has stopped")?,
            Route::Socket(endpoint) => Box::new(
                StreamLink::connect(endpoint, self.limits, self.batch_max)
                    .map_err(|error| format!("{endpoint}: {error}"))?,
            ),
        };
        if let Some(park) = &self.park {
            link.register(park).map_err(|error| error.to_string())?;
        }
        Ok(link)
    }

    /// Notes a failure and when to try again.
    fn down(&mut self, now: Nanos, at: usize) {
        let link = &mut self.links[at];
        link.state = LinkState::Down { retry_at: now + link.pause.into() };
        link.pause = (link.pause * 2).min(RECONNECT_MAX);
    }

    /// Does the next step towards a working link. An event says that the state changed.
    fn step(&mut self, now: Nanos, at: usize) -> Option<Result<Welcome, LinkEvent>> {
        match &mut self.links[at].state {
            LinkState::Down { retry_at } if *retry_at <= now => match self.open(at) {
                Ok(link) => {
                    let shard = u16::try_from(at).unwrap_or(u16::MAX);
                    let role = Role::Coordinator;
                    let handshake = ClientHandshake::new(&self.identity, role, shard, self.slots);
                    self.links[at].state = LinkState::Shaking { link, handshake, since: now };
                    None
                }
                Err(why) => {
                    self.down(now, at);
                    Some(Err(LinkEvent::Down { why }))
                }
            },
            LinkState::Shaking { link, handshake, since } => {
                // A link within the process has no second try: its shard may take its time.
                let late = !link.is_local() && now.since(*since) > self.connect_timeout;
                match handshake.step(link.as_mut(), self.limits) {
                    Ok(Some(welcome)) => Some(Ok(welcome)),
                    Ok(None) if !late => None,
                    Ok(None) => {
                        let why = format!("{}: no welcome in time", link.peer());
                        self.down(now, at);
                        Some(Err(LinkEvent::Down { why }))
                    }
                    Err(HandshakeError::Refused(reason) | HandshakeError::Rejected(reason))
                        if !is_passing(reason) =>
                    {
                        self.counts.refused += 1;
                        self.links[at].state = LinkState::Refused;
                        Some(Err(LinkEvent::Refused(reason)))
                    }
                    Err(error) => {
                        let why = format!("{}: {error}", link.peer());
                        self.down(now, at);
                        Some(Err(LinkEvent::Down { why }))
                    }
                }
            }
            _ => None,
        }
    }

    /// The link is welcome: use it.
    fn up(&mut self, at: usize, welcome: &Welcome) {
        let checksum = Features(welcome.features.get()).contains(Features::CHECKSUM);
        let link = &mut self.links[at];
        let retry_at = Nanos::MAX;
        let state = std::mem::replace(&mut link.state, LinkState::Down { retry_at });
        if let LinkState::Shaking { link: shaken, .. } = state {
            link.state = LinkState::Up { link: shaken, checksum };
            link.pause = RECONNECT_MIN;
            self.counts.opened += 1;
        }
    }

    /// Sends everything: one write a link.
    #[inline]
    fn flush(&mut self, at: usize) -> Result<usize, LinkError> {
        match &mut self.links[at].state {
            LinkState::Up { link, .. } => flush(link.as_mut(), &mut self.counts),
            _ => Ok(0),
        }
    }

    fn next_deadline(&self) -> Option<Nanos> {
        let of_link = |link: &ShardLink| match &link.state {
            LinkState::Down { retry_at } => Some(*retry_at),
            LinkState::Shaking { link, since, .. } if !link.is_local() => {
                Some(*since + self.connect_timeout.into())
            }
            LinkState::Shaking { .. } | LinkState::Up { .. } | LinkState::Refused => None,
        };
        self.links.iter().filter_map(of_link).min()
    }

    fn say_goodbye(&mut self) {
        for link in &mut self.links {
            if let LinkState::Up { link, .. } = &mut link.state {
                Handshake::write_goodbye(link.outgoing(), CloseReason::Stopping);
                // A peer that is gone does not miss it.
                let _ = link.flush();
            }
        }
        self.links.clear();
    }
}

/// Whether a refusal may pass by itself, so that it is worth trying again.
fn is_passing(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::Stopping | CloseReason::HandshakeTimeout | CloseReason::TooManySessions
    )
}

/// Why a link went down.
enum Lost {
    Link(LinkError),
    Reply(ReplyError),
    Reason(CloseReason),
}

impl From<WireError> for Lost {
    fn from(error: WireError) -> Self {
        Self::Link(error.into())
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Link(error) => error.fmt(f),
            Self::Reply(error) => error.fmt(f),
            Self::Reason(reason) => reason.fmt(f),
        }
    }
}

/// What the control plane tells a worker.
pub(crate) enum WorkerControl {
    /// Submit no more, take what is in flight, then stop.
    Stop,
}

/// A coordinator worker.
pub(crate) struct Worker<D> {
    coordinator: Coordinator,
    driver: D,
    links: ShardLinks,
    clock: Clock,
    control: flume::Receiver<WorkerControl>,
    turns: u32,
    finished: bool,
    tell_finished: flume::Sender<()>,
    block: Arc<CounterBlock>,
}

impl<D: Driver> Worker<D> {
    pub(crate) fn new(
        index: usize,
        coordinator: Coordinator,
        driver: D,
        links: ShardLinks,
        clock: Clock,
        control: flume::Receiver<WorkerControl>,
        tell_finished: flume::Sender<()>,
    ) -> Self {
        let block = CounterBlock::new(format!("worker{index}"));
        Self {
            coordinator,
            driver,
            links,
            clock,
            control,
            turns: 0,
            finished: false,
            tell_finished,
            block,
        }
    }

    #[inline]
    fn serve(&mut self, now: Nanos, at: usize) -> usize {
        if let LinkState::Up { .. } = self.links.links[at].state {
            return match self.take_frames(at) {
                Ok(work) => work,
                Err(lost) => {
                    self.lose(now, at, &lost);
                    1
                }
            };
        }
        let shard = shard_id(at);
        match self.links.step(now, at) {
            None => 0,
            Some(Ok(welcome)) => {
                self.links.up(at, &welcome);
                let session = SessionId(welcome.session.get());
                let Self { coordinator, driver, links, .. } = self;
                let epoch = welcome.epoch.get();
                coordinator.on_link_up(now, shard, session, epoch, links, |done| {
                    driver.complete(now, done);
                });
                self.driver.link_changed(shard, LinkEvent::Up);
                1
            }
            Some(Err(event)) => {
                self.driver.link_changed(shard, event);
                1
            }
        }
    }

    /// Takes every whole frame that has arrived.
    #[inline]
    fn take_frames(&mut self, at: usize) -> Result<usize, Lost> {
        let Self { coordinator, driver, links, clock, .. } = self;
        let LinkState::Up { link, checksum } = &mut links.links[at].state else { return Ok(0) };
        let polled = link.poll();
        let (bytes, _) = link.parts();
        if bytes.is_empty() {
            return polled.map(|_| 0).map_err(Lost::Link);
        }
        let mut reader = FrameReader::new(bytes, links.limits, *checksum);
        let mut frames = 0;
        let outcome = loop {
            let frame = match reader.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            };
            frames += 1;
            let now = clock.now();
            let taken = match frame.kind {
                FrameKind::Reply => coordinator
                    .on_reply(now, shard_id(at), &frame, |done| driver.complete(now, done))
                    .map_err(Lost::Reply),
                FrameKind::Goodbye => match Handshake::read_goodbye(&frame) {
                    Ok(reason) => Err(Lost::Reason(reason)),
                    Err(error) => Err(error.into()),
                },
                kind => Err(WireError::UnexpectedKind(kind).into()),
            };
            if taken.is_err() {
                break taken;
            }
        };
        let taken = reader.taken();
        link.consume(taken);
        links.counts.frames_received += frames as u64;
        outcome?;
        match polled {
            Ok(bytes) => {
                links.counts.bytes_received += bytes as u64;
                // Part of a frame is work too: nobody may park while the rest waits in the socket.
                Ok(frames + usize::from(bytes > 0))
            }
            Err(error) if frames == 0 => Err(Lost::Link(error)),
            Err(_) => Ok(frames),
        }
    }

    /// Gives a link up. What is in flight waits for the link to come back, up to its deadline.
    fn lose(&mut self, now: Nanos, at: usize, lost: &Lost) {
        let shard = shard_id(at);
        let malformed = matches!(lost, Lost::Reply(_) | Lost::Link(LinkError::Wire(_)));
        let counts = &mut self.links.counts;
        counts.closed += 1;
        counts.malformed += u64::from(malformed);
        tracing::info!(%shard, reason = %lost, "the link is lost");
        self.links.down(now, at);
        self.driver.link_changed(shard, LinkEvent::Down { why: lost.to_string() });
    }

    fn take_control(&mut self) -> usize {
        let mut taken = 0;
        while let Ok(WorkerControl::Stop) = self.control.try_recv() {
            self.driver.stop();
            taken += 1;
        }
        taken
    }

    fn finish(&mut self, now: Nanos) {
        let Self { coordinator, driver, .. } = self;
        coordinator.abandon(|done| driver.complete(now, done));
        self.links.say_goodbye();
        self.finished = true;
        self.publish();
        // The queue has room for every worker; an engine that was dropped does not listen.
        let _ = self.tell_finished.try_send(());
    }
}

#[expect(clippy::cast_possible_truncation, reason = "there are at most 2^16 shards")]
fn shard_id(at: usize) -> ShardId {
    ShardId(at as u16)
}

impl<D: Driver> Agent for Worker<D> {
    fn start(&mut self, park: Option<&ParkHandle>) {
        self.links.park = park.cloned();
    }

    #[inline]
    fn do_work(&mut self, now: Nanos) -> usize {
        if self.finished {
            return 0;
        }
        let mut work = 0;
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(CONTROL_TURNS) || !self.control.is_empty() {
            work += self.take_control();
        }
        for at in 0..self.links.links.len() {
            work += self.serve(now, at);
        }
        if self.coordinator.next_deadline().is_some_and(|due| due <= now) {
            let Self { coordinator, driver, links, .. } = self;
            coordinator.on_timer(now, links, |done| driver.complete(now, done));
            work += 1;
        }
        let mut submitter =
            Submitter { coordinator: &mut self.coordinator, links: &mut self.links, now };
        work += self.driver.drive(now, &mut submitter);
        for at in 0..self.links.links.len() {
            match self.links.flush(at) {
                Ok(moved) => work += moved,
                Err(error) => {
                    self.lose(now, at, &Lost::Link(error));
                    work += 1;
                }
            }
        }
        if self.driver.is_finished() && self.coordinator.in_flight() == 0 {
            self.finish(now);
        }
        work
    }

    fn next_deadline(&self) -> Option<Nanos> {
        let deadlines = [
            self.coordinator.next_deadline(),
            self.links.next_deadline(),
            self.driver.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    fn publish(&mut self) {
        let stats = self.coordinator.stats();
        let block = &self.block;
        self.links.counts.publish(block);
        block.set(Counter::Committed, stats.committed);
        block.set(Counter::Aborted, stats.aborted);
        block.set(Counter::Refused, stats.refused);
        block.set(Counter::Unknown, stats.unknown);
        block.set(Counter::Retries, stats.retries);
        block.set(Counter::Busy, stats.busy);
        block.set(Counter::Stale, stats.stale_replies);
        block.set(Counter::InFlight, u64::from(self.coordinator.in_flight()));
    }

    fn counters(&self) -> Arc<CounterBlock> {
        Arc::clone(&self.block)
    }
}
