//! The handshake over a link, for both sides. It never waits: `step` does what is possible now.

use crate::{Link, LinkError};
use punctual_wire::{
    CloseReason, Features, FrameKind, FrameReader, Handshake, Hello, Limits, MAGIC, Role, VERSION,
    Welcome, WireError,
};
use thiserror::Error;

/// Bytes of a frame of the handshake; a stranger cannot make us wait for more.
const HANDSHAKE_BYTES_MAX: u32 = 256;

/// Why a handshake failed.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// The link ended.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The peer closed it and said why.
    #[error("the peer refused: {0}")]
    Refused(CloseReason),
    /// We closed it.
    #[error("the peer was refused: {0}")]
    Rejected(CloseReason),
}

impl From<WireError> for HandshakeError {
    fn from(error: WireError) -> Self {
        Self::Link(LinkError::Wire(error))
    }
}

/// What both sides must agree on, and who we are.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Our session.
    pub session: u64,
    /// Hash of the cluster configuration; for a task queue, of its token.
    pub cluster: u64,
    /// What we offer.
    pub features: Features,
}

/// The connecting side.
#[derive(Debug)]
pub struct ClientHandshake {
    hello: Hello,
    said: bool,
}

impl ClientHandshake {
    /// Prepares a `Hello` for a shard. `from` is the shard that a [`Role::Peer`] is; else zero.
    #[must_use]
    pub fn new(identity: &Identity, role: Role, shard: u16, from: u16, slots: u32) -> Self {
        let hello = Hello {
            magic: MAGIC.into(),
            version: VERSION.into(),
            role: role as u8,
            reserved: 0,
            shard: shard.into(),
            from: from.into(),
            session: identity.session.into(),
            cluster: identity.cluster.into(),
            features: identity.features.0.into(),
            slots: slots.into(),
        };
        Self { hello, said: false }
    }

    /// Does what is possible now; the `Welcome` when the handshake is done.
    ///
    /// # Errors
    /// When the link ended or the peer refused.
    pub fn step(
        &mut self,
        link: &mut dyn Link,
        limits: Limits,
    ) -> Result<Option<Welcome>, HandshakeError> {
        if !self.said {
            Handshake::write_hello(link.outgoing(), &self.hello);
            self.said = true;
        }
        // A peer that hung up before it was greeted may have said why: that is read first.
        let flushed = link.flush();
        let end = link.poll();
        let (bytes, _) = link.parts();
        let mut reader = FrameReader::new(bytes, first_frame(limits), false);
        let Some(frame) = reader.next_frame()? else {
            return flushed.and(end).map(|_| None).map_err(HandshakeError::from);
        };
        if frame.kind == FrameKind::Goodbye {
            return Err(HandshakeError::Refused(Handshake::read_goodbye(&frame)?));
        }
        let welcome = match Handshake::read_welcome(&frame) {
            Err(WireError::Version(_)) => {
                return Err(HandshakeError::Rejected(CloseReason::Version));
            }
            read => read?,
        };
        let taken = reader.taken();
        link.consume(taken);
        if welcome.shard != self.hello.shard {
            return Err(HandshakeError::Rejected(CloseReason::WrongShard));
        }
        let checksum = Features(welcome.features.get()).contains(Features::CHECKSUM);
        link.outgoing().set_checksum(checksum);
        Ok(Some(welcome))
    }
}

/// Who connected.
#[derive(Debug, Clone, Copy)]
pub struct Visitor {
    /// What it is.
    pub role: Role,
    /// The shard that a [`Role::Peer`] says it is, which the caller must judge; else zero.
    pub from: u16,
    /// Its session.
    pub session: u64,
    /// Slots it wants.
    pub slots: u32,
    /// What holds from now on.
    pub features: Features,
}

/// What a visitor said first, still unread.
struct Greeting {
    hello: Hello,
    role: Role,
    /// Bytes of its frame.
    bytes: usize,
}

/// The listening side.
#[derive(Debug)]
pub struct ServerHandshake;

impl ServerHandshake {
    /// Reads the `Hello` if it is there and checks that the visitor belongs here. It must then be
    /// answered by [`accept`](Self::accept) or [`reject`](Self::reject).
    ///
    /// # Errors
    /// When the link ended or the visitor does not belong here; it has been told already.
    pub fn step(
        link: &mut dyn Link,
        limits: Limits,
        identity: &Identity,
        shard: u16,
    ) -> Result<Option<Visitor>, HandshakeError> {
        Self::step_telling(link, limits, identity, shard, CloseReason::ClusterConfig)
    }

    /// As [`step`](Self::step), where [`Identity::cluster`] is the hash of something else than a
    /// configuration: a visitor that has another one is told `mismatch`.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn step_telling(
        link: &mut dyn Link,
        limits: Limits,
        identity: &Identity,
        shard: u16,
        mismatch: CloseReason,
    ) -> Result<Option<Visitor>, HandshakeError> {
        let Some(Greeting { hello, role, bytes }) = Self::greeting(link, limits)? else {
            return Ok(None);
        };
        link.consume(bytes);
        let complaint = if hello.cluster.get() != identity.cluster {
            Some(mismatch)
        } else if hello.shard.get() != shard {
            Some(CloseReason::WrongShard)
        } else {
            None
        };
        if let Some(reason) = complaint {
            Self::reject(link, reason);
            return Err(HandshakeError::Rejected(reason));
        }
        let features = Features(hello.features.get()).intersection(identity.features);
        Ok(Some(Visitor {
            role,
            from: hello.from.get(),
            session: hello.session.get(),
            slots: hello.slots.get(),
            features,
        }))
    }

    /// Which shard the visitor wants, if its whole `Hello` is there. Nothing is consumed: whoever
    /// has that shard can be handed the link and does [`step`](Self::step).
    ///
    /// # Errors
    /// As [`step`](Self::step), when the link ended or what came is no `Hello` of this version.
    pub fn peek_shard(link: &mut dyn Link, limits: Limits) -> Result<Option<u16>, HandshakeError> {
        let greeting = Self::greeting(link, limits)?;
        Ok(greeting.map(|greeting| greeting.hello.shard.get()))
    }

    /// The `Hello`, if all of it has arrived, which stays where it is. Another version is told so.
    fn greeting(link: &mut dyn Link, limits: Limits) -> Result<Option<Greeting>, HandshakeError> {
        let end = link.poll();
        let (bytes, _) = link.parts();
        let mut reader = FrameReader::new(bytes, first_frame(limits), false);
        let Some(frame) = reader.next_frame()? else {
            return end.map(|_| None).map_err(HandshakeError::from);
        };
        let (hello, role) = match Handshake::read_hello(&frame) {
            Err(WireError::Version(_)) => {
                Self::reject(link, CloseReason::Version);
                return Err(HandshakeError::Rejected(CloseReason::Version));
            }
            read => read?,
        };
        Ok(Some(Greeting { hello, role, bytes: reader.taken() }))
    }

    /// Welcomes a visitor. `epoch` says which outcome table of the shard its session has.
    pub fn accept(
        link: &mut dyn Link,
        identity: &Identity,
        shard: u16,
        epoch: u32,
        features: Features,
    ) {
        Self::welcome(link, identity, shard, epoch, 1, features);
    }

    /// Welcomes a visitor of one queue, `shard`, of a task server that has so many `queues`.
    pub fn accept_queue(
        link: &mut dyn Link,
        identity: &Identity,
        shard: u16,
        queues: u16,
        features: Features,
    ) {
        Self::welcome(link, identity, shard, 0, queues, features);
    }

    fn welcome(
        link: &mut dyn Link,
        identity: &Identity,
        shard: u16,
        epoch: u32,
        queues: u16,
        features: Features,
    ) {
        let welcome = Welcome {
            magic: MAGIC.into(),
            version: VERSION.into(),
            shard: shard.into(),
            epoch: epoch.into(),
            session: identity.session.into(),
            features: features.0.into(),
            queues: queues.into(),
            reserved: 0.into(),
        };
        Handshake::write_welcome(link.outgoing(), &welcome);
        link.outgoing().set_checksum(features.contains(Features::CHECKSUM));
    }

    /// Tells a visitor why it cannot stay. The link is to be dropped afterwards.
    pub fn reject(link: &mut dyn Link, reason: CloseReason) {
        Handshake::write_goodbye(link.outgoing(), reason);
        // Whether it still gets there does not matter.
        let _ = link.flush();
    }
}

fn first_frame(limits: Limits) -> Limits {
    Limits { frame_bytes_max: HANDSHAKE_BYTES_MAX, batch_max: 1, ..limits }
}
