//! One connection of a shard: what it is used for, and how it ends.

use crate::counters::LinkCounts;
use crate::links::flush;
use punctual_core::journal::Lsn;
use punctual_core::{Nanos, SessionError, SessionId, SessionIndex, ShardId};
use punctual_link::{HandshakeError, Link, LinkError, ServerHandshake};
use punctual_wire::{
    CloseReason, Features, Frame, FrameKind, FrameReader, Handshake, Limits, WireError,
};
use std::time::Duration;

/// How long somebody who was told goodbye has to hang up.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// What a link is used for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Use {
    /// Nobody has said hello yet.
    Shaking { since: Nanos },
    /// A coordinator worker whose session is not durable yet: only then is it told which outcome
    /// table it has.
    Welcoming { index: SessionIndex, gate: Lsn, features: Features },
    /// A coordinator worker.
    Session { index: SessionIndex },
    /// Another shard, with a lower id, that has not answered our welcome yet.
    Visitor { shard: ShardId, session: SessionId },
    /// Another shard, with a lower id.
    Peer { shard: ShardId },
    /// A prober.
    Probe,
    /// Ping-pong on the bare link.
    Echo,
    /// Nothing any more: a newer link took over.
    Nothing,
}

/// How soon a link is looked at. A read that finds nothing costs as much as one that finds
/// something, so those who do not work must not slow down those who do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// Those who bring work: each turn.
    Working,
    /// Other shards: each turn while something waits for their word.
    Peers,
    /// Probers: each turn, after those.
    Probers,
    /// Those who have not said hello: seldom.
    Strangers,
}

pub(super) struct Connection {
    pub(super) link: Box<dyn Link>,
    pub(super) used_for: Use,
    /// Whether its frames carry checksums.
    pub(super) checksum: bool,
    /// When a `Goodbye` was written: what still arrives is dropped, and so is the link once the
    /// peer has hung up.
    pub(super) leaving: Option<Nanos>,
}

impl Connection {
    /// When it came, if it has not said yet who it is. Links within the process need not: they are
    /// as many as there are agents, and they have no second try.
    pub(super) fn stranger_since(&self) -> Option<Nanos> {
        match self.used_for {
            Use::Shaking { since } if self.leaving.is_none() && !self.link.is_local() => {
                Some(since)
            }
            _ => None,
        }
    }

    #[inline]
    pub(super) fn group(&self) -> Group {
        if self.leaving.is_some() {
            return Group::Working;
        }
        match self.used_for {
            Use::Welcoming { .. } | Use::Session { .. } | Use::Echo | Use::Nothing => {
                Group::Working
            }
            Use::Visitor { .. } | Use::Peer { .. } => Group::Peers,
            Use::Probe => Group::Probers,
            Use::Shaking { .. } if self.link.is_local() => Group::Working,
            Use::Shaking { .. } => Group::Strangers,
        }
    }

    /// Says goodbye; the link goes once the peer has hung up.
    pub(super) fn leave(&mut self, now: Nanos, reason: CloseReason) {
        Handshake::write_goodbye(self.link.outgoing(), reason);
        self.leaving = Some(now);
    }
}

/// Why a connection ends.
pub(crate) enum End {
    Link(LinkError),
    Handshake(HandshakeError),
    Session(SessionError),
    Reason(CloseReason),
}

impl End {
    /// Sends what can still be sent, says and counts why the link ends, and tells the peer if it
    /// can be told. The link is to be dropped afterwards.
    pub(crate) fn conclude(&self, link: &mut dyn Link, id: ShardId, counts: &mut LinkCounts) {
        let (shard, peer) = (id.0, link.peer());
        counts.closed += 1;
        // What came before the end was answered, and the answers leave if they still can.
        let _ = flush(link, counts);
        match self {
            Self::Reason(CloseReason::Stopping) => tracing::debug!(shard, peer, "the link is done"),
            Self::Reason(reason) => tracing::info!(shard, peer, %reason, "the link was closed"),
            Self::Link(LinkError::Wire(error)) => {
                counts.malformed += 1;
                tracing::warn!(shard, peer, %error, "the link was closed for malformed bytes");
                ServerHandshake::reject(link, CloseReason::from(error));
            }
            Self::Link(LinkError::Closed) => tracing::info!(shard, peer, "the peer is gone"),
            Self::Link(LinkError::Io(error)) => tracing::warn!(shard, peer, %error, "link lost"),
            Self::Handshake(error) => {
                counts.refused += 1;
                if let HandshakeError::Link(LinkError::Wire(error)) = error {
                    ServerHandshake::reject(link, CloseReason::from(error));
                }
                tracing::warn!(shard, peer, %error, "the handshake failed");
            }
            Self::Session(error) => {
                counts.refused += 1;
                tracing::warn!(shard, peer, %error, "a session was refused");
            }
        }
    }
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

/// How a link ends with a frame that does not belong there: in order if it is a goodbye.
#[cold]
pub(crate) fn end_of(frame: &Frame<'_>) -> End {
    match frame.kind {
        FrameKind::Goodbye => Handshake::read_goodbye(frame).map_or_else(End::from, End::Reason),
        kind => WireError::UnexpectedKind(kind).into(),
    }
}

/// Sends what is left and waits for the peer to hang up: closing a socket with unread input would
/// reset it and might take the last replies with it. A peer that says goodbye as well waits for the
/// same, so that is enough.
pub(crate) fn see_off(
    link: &mut dyn Link,
    limits: Limits,
    checksum: bool,
    now: Nanos,
    since: Nanos,
) -> Result<usize, End> {
    let mut work = link.flush()?;
    let polled = link.poll();
    let (bytes, _) = link.parts();
    let (taken, goodbye) = drop_frames(bytes, limits, checksum);
    link.consume(taken);
    match polled {
        Ok(_) if goodbye || now.since(since) >= DRAIN_TIMEOUT => {
            Err(End::Reason(CloseReason::Stopping))
        }
        Ok(bytes) => {
            work += bytes;
            Ok(usize::from(work > 0))
        }
        Err(_) => Err(End::Reason(CloseReason::Stopping)),
    }
}

/// How many bytes to drop unread, and whether there is a goodbye among them.
fn drop_frames(bytes: &[u8], limits: Limits, checksum: bool) -> (usize, bool) {
    let mut reader = FrameReader::new(bytes, limits, checksum);
    loop {
        match reader.next_frame() {
            Ok(Some(frame)) if frame.kind == FrameKind::Goodbye => return (bytes.len(), true),
            Ok(Some(_)) => {}
            Ok(None) => return (reader.taken(), false),
            // Whatever it is, nobody wants it any more.
            Err(_) => return (bytes.len(), false),
        }
    }
}
