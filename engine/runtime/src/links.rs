//! Links to the shards of the cluster, as workers, shards and the prober open them: connecting,
//! the handshake, and trying again when a link is lost.

use crate::counters::LinkCounts;
use crate::driver::LinkEvent;
use crate::network::AgentNetwork;
use punctual_core::{Nanos, Outbox, ReplyError, ShardId};
use punctual_link::{
    ClientHandshake, Endpoint, HandshakeError, Identity, Link, LinkError, ParkHandle, StreamLink,
};
use punctual_wire::{
    BatchWriter, CloseReason, Features, Frame, FrameKind, FrameReader, Handshake, Limits, Role,
    Welcome, WireError,
};
use std::time::Duration;

/// First pause before a link is tried again; it doubles with each failure.
const RECONNECT_MIN: Duration = Duration::from_millis(10);
/// Longest pause between two tries.
const RECONNECT_MAX: Duration = Duration::from_millis(250);
/// Pause after a refusal that takes people to mend.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// How a shard is reached.
pub(crate) enum Route {
    /// Through memory; there is no second try.
    Ring(Option<Box<dyn Link>>),
    /// Over a socket.
    Socket(Endpoint),
    /// Not from here: the other side connects, or there is nothing to say.
    Absent,
}

/// What all links of an agent have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkSettings {
    pub(crate) limits: Limits,
    pub(crate) batch_max: u16,
    pub(crate) identity: Identity,
    pub(crate) role: Role,
    /// The shard that a peer is; else zero.
    pub(crate) from: u16,
    /// Transactions in flight of a coordinator; else zero.
    pub(crate) slots: u32,
    /// A connection that is not welcomed by then is given up and tried again.
    pub(crate) connect_timeout: Duration,
}

impl LinkSettings {
    /// Whether a shard that will not have us is left alone for good. Whoever has a coordinator, or
    /// a client or worker of a task queue, wants to know and to stop; a shard or a prober runs on
    /// and is there when the mistake is mended.
    fn gives_up(&self) -> bool {
        matches!(self.role, Role::Coordinator | Role::TaskClient | Role::TaskWorker)
    }
}

enum LinkState {
    /// There will be no link.
    Absent,
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

impl ShardLink {
    fn new(route: Route) -> Self {
        let state = match route {
            Route::Absent => LinkState::Absent,
            Route::Ring(_) | Route::Socket(_) => LinkState::Down { retry_at: Nanos(i64::MIN) },
        };
        Self { route, state, pause: RECONNECT_MIN }
    }
}

/// The links of an agent, at most one a shard; the index of a link is the id of its shard.
pub(crate) struct ShardLinks {
    links: Vec<ShardLink>,
    settings: LinkSettings,
    /// What lies between the agent and the shards.
    network: Option<AgentNetwork>,
    park: Option<ParkHandle>,
    counts: LinkCounts,
}

impl Outbox for ShardLinks {
    #[inline]
    fn to_shard(&mut self, shard: ShardId) -> Option<&mut BatchWriter> {
        match &mut self.links.get_mut(usize::from(shard.0))?.state {
            LinkState::Up { link, .. } if link.has_room() => Some(link.outgoing()),
            _ => None,
        }
    }
}

impl ShardLinks {
    pub(crate) fn new(routes: Vec<Route>, settings: LinkSettings) -> Self {
        let links = routes.into_iter().map(ShardLink::new).collect();
        Self { links, settings, network: None, park: None, counts: LinkCounts::default() }
    }

    /// Puts an emulated network into every link that is opened from now on.
    pub(crate) fn set_network(&mut self, network: AgentNetwork) {
        self.network = Some(network);
    }

    /// Where the core sleeps, so that the links can wake it.
    pub(crate) fn set_park(&mut self, park: Option<&ParkHandle>) {
        self.park = park.cloned();
    }

    /// How many shards there are; none once the links were closed for good.
    pub(crate) fn count(&self) -> usize {
        self.links.len()
    }

    pub(crate) fn counts(&self) -> &LinkCounts {
        &self.counts
    }

    #[inline]
    pub(crate) fn is_up(&self, at: usize) -> bool {
        matches!(self.links[at].state, LinkState::Up { .. })
    }

    /// Whether all links that there will be are up.
    pub(crate) fn all_up(&self) -> bool {
        let is_up =
            |link: &ShardLink| matches!(link.state, LinkState::Up { .. } | LinkState::Absent);
        self.links.iter().all(is_up)
    }

    #[expect(clippy::cast_possible_truncation, reason = "there are at most 2^16 shards")]
    pub(crate) fn shards(&self) -> u16 {
        self.links.len() as u16
    }

    pub(crate) fn limits(&self) -> Limits {
        self.settings.limits
    }

    /// Opens the link to a shard, or says what stands against it.
    fn open(&mut self, at: usize) -> Result<Box<dyn Link>, String> {
        let LinkSettings { limits, batch_max, .. } = self.settings;
        let mut link: Box<dyn Link> = match &mut self.links[at].route {
            Route::Ring(link) => link.take().ok_or("the shard in this process has stopped")?,
            Route::Socket(endpoint) => Box::new(
                StreamLink::connect(endpoint, limits, batch_max)
                    .map_err(|error| format!("{endpoint}: {error}"))?,
            ),
            Route::Absent => return Err("there is no way to the shard from here".to_owned()),
        };
        if let Some(network) = &mut self.network {
            // Before it is registered: the inner link wakes the emulator, and that wakes this core.
            let carried = network.carry(at, limits, link);
            link = carried.map_err(|error| format!("the emulated network: {error}"))?;
        }
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

    /// Does the next step towards a working link: the welcome once it is up, or an event that says
    /// why it is not.
    pub(crate) fn step(&mut self, now: Nanos, at: usize) -> Option<Result<Welcome, LinkEvent>> {
        match &mut self.links[at].state {
            LinkState::Down { retry_at } if *retry_at <= now => match self.open(at) {
                Ok(link) => {
                    let shard = shard_id(at).0;
                    let LinkSettings { identity, role, from, slots, .. } = &self.settings;
                    let handshake = ClientHandshake::new(identity, *role, shard, *from, *slots);
                    self.links[at].state = LinkState::Shaking { link, handshake, since: now };
                    None
                }
                Err(why) => {
                    self.down(now, at);
                    Some(Err(LinkEvent::Down { why }))
                }
            },
            LinkState::Shaking { .. } => self.shake(now, at),
            _ => None,
        }
    }

    fn shake(&mut self, now: Nanos, at: usize) -> Option<Result<Welcome, LinkEvent>> {
        let LinkState::Shaking { link, handshake, since } = &mut self.links[at].state else {
            return None;
        };
        // A link within the process has no second try: its shard may take its time.
        let late = !link.is_local() && now.since(*since) > self.settings.connect_timeout;
        let error = match handshake.step(link.as_mut(), self.settings.limits) {
            Ok(Some(welcome)) => {
                self.up(at, &welcome);
                return Some(Ok(welcome));
            }
            Ok(None) if !late => return None,
            Ok(None) => {
                let why = format!("{}: no welcome in time", link.peer());
                self.down(now, at);
                return Some(Err(LinkEvent::Down { why }));
            }
            Err(error) => error,
        };
        let why = format!("{}: {error}", link.peer());
        if let HandshakeError::Refused(reason) | HandshakeError::Rejected(reason) = error
            && !is_passing(reason)
        {
            self.counts.refused += 1;
            if self.settings.gives_up() {
                self.links[at].state = LinkState::Refused;
                return Some(Err(LinkEvent::Refused(reason)));
            }
            // It takes people to mend this: there is no hurry.
            self.links[at].pause = REFUSED_PAUSE;
        }
        self.down(now, at);
        Some(Err(LinkEvent::Down { why }))
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

    /// Takes every whole frame that has arrived from a shard; a goodbye ends the link.
    #[inline]
    pub(crate) fn take_frames(
        &mut self,
        at: usize,
        mut take: impl FnMut(&Frame<'_>) -> Result<(), Lost>,
    ) -> Result<usize, Lost> {
        let limits = self.settings.limits;
        let LinkState::Up { link, checksum } = &mut self.links[at].state else { return Ok(0) };
        // What is taken here is not answered on the spot, so there is no bound to wait for.
        let room = Room::UNLIMITED;
        exchange(link.as_mut(), limits, *checksum, &mut self.counts, room, |frame, _| {
            match frame.kind {
                FrameKind::Goodbye => Err(Lost::Reason(Handshake::read_goodbye(frame)?)),
                _ => take(frame),
            }
        })
    }

    /// Gives a link up, to be tried again.
    pub(crate) fn lose(&mut self, now: Nanos, at: usize, lost: &Lost) {
        let malformed = matches!(lost, Lost::Reply(_) | Lost::Link(LinkError::Wire(_)));
        self.counts.closed += 1;
        self.counts.malformed += u64::from(malformed);
        self.down(now, at);
    }

    /// Sends everything: one write a link.
    #[inline]
    pub(crate) fn flush(&mut self, at: usize) -> Result<usize, LinkError> {
        match &mut self.links[at].state {
            LinkState::Up { link, .. } => flush(link.as_mut(), &mut self.counts),
            _ => Ok(0),
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Nanos> {
        let of_link = |link: &ShardLink| match &link.state {
            LinkState::Down { retry_at } => Some(*retry_at),
            LinkState::Shaking { link, since, .. } if !link.is_local() => {
                Some(*since + self.settings.connect_timeout.into())
            }
            _ => None,
        };
        self.links.iter().filter_map(of_link).min()
    }

    /// Closes all links for good.
    pub(crate) fn say_goodbye(&mut self) {
        for (mut link, _) in self.take_open() {
            Handshake::write_goodbye(link.outgoing(), CloseReason::Stopping);
            // A peer that is gone does not miss it.
            let _ = link.flush();
        }
    }

    /// Hands over the links that are up, each with whether its frames carry checksums, and opens no
    /// others.
    pub(crate) fn take_open(&mut self) -> Vec<(Box<dyn Link>, bool)> {
        let open = |link: ShardLink| match link.state {
            LinkState::Up { link, checksum } => Some((link, checksum)),
            _ => None,
        };
        self.links.drain(..).filter_map(open).collect()
    }
}

/// Whether a refusal may pass by itself, so that it is worth trying again.
fn is_passing(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::Stopping | CloseReason::HandshakeTimeout | CloseReason::TooManySessions
    )
}

/// The shard of a link.
#[expect(clippy::cast_possible_truncation, reason = "there are at most 2^16 shards")]
pub(crate) fn shard_id(at: usize) -> ShardId {
    ShardId(at as u16)
}

/// Why a link went down.
pub(crate) enum Lost {
    Link(LinkError),
    Reply(ReplyError),
    Reason(CloseReason),
}

impl From<WireError> for Lost {
    fn from(error: WireError) -> Self {
        Self::Link(error.into())
    }
}

impl From<LinkError> for Lost {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
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

/// How much of what a link brought is taken in one turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Frames.
    pub(crate) frames_max: usize,
    /// Bytes of answers that may wait to be sent.
    pub(crate) out_bytes_max: usize,
}

impl Room {
    /// Whatever there is.
    pub(crate) const UNLIMITED: Self = Self { frames_max: usize::MAX, out_bytes_max: usize::MAX };
}

/// Takes in what has arrived on a link and hands whole frames to `answer`, as many as there is
/// room for: whoever does not take its replies gets no more work done (R10). Flushes nothing.
/// Returns how much was done.
#[inline]
pub(crate) fn exchange<E: From<LinkError> + From<WireError>>(
    link: &mut dyn Link,
    limits: Limits,
    checksum: bool,
    counts: &mut LinkCounts,
    Room { frames_max, out_bytes_max }: Room,
    mut answer: impl FnMut(&Frame<'_>, &mut BatchWriter) -> Result<(), E>,
) -> Result<usize, E> {
    // What was left over by intent is taken before more is read, which might have to move it.
    let is_left_over = frames_max < usize::MAX && FrameReader::is_whole(link.parts().0);
    let polled = if is_left_over { Ok(0) } else { link.poll() };
    let (bytes, out) = link.parts();
    if bytes.is_empty() {
        return polled.map(|_| 0).map_err(Into::into);
    }
    let mut reader = FrameReader::new(bytes, limits, checksum);
    let mut work = 0;
    let mut outcome: Result<(), E> = Ok(());
    while outcome.is_ok() && work < frames_max && out.len() < out_bytes_max {
        outcome = match reader.next_frame() {
            Ok(Some(frame)) => {
                work += 1;
                answer(&frame, out)
            }
            Ok(None) => break,
            Err(error) => Err(error.into()),
        };
    }
    let held_back = out.len() >= out_bytes_max;
    let taken = reader.taken();
    link.consume(taken);
    counts.back_pressure += u64::from(held_back);
    counts.frames_received += work as u64;
    if let Ok(bytes) = &polled {
        counts.bytes_received += *bytes as u64;
        // Part of a frame is work too: nobody may park while the rest waits in the socket.
        work += usize::from(*bytes > 0);
    }
    outcome?;
    // What came before the end is answered first.
    match polled {
        Err(error) if work == 0 && !held_back => Err(error.into()),
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
