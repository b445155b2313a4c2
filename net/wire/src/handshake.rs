//! The handshake: who is there, does it speak this version, does it belong to this cluster.
//!
//! The connecting side sends one `Hello`, the listening side answers `Welcome` or `Goodbye`. Frames
//! of the handshake never carry a checksum; afterwards the negotiated features hold in both
//! directions.

use crate::task::QUEUES_MAX;
use crate::{CloseReason, Frame, FrameKind, WireError};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first eight bytes of a `Hello` and a `Welcome`: `PUNCTUAL`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"PUNCTUAL");

/// The version of the wire format. Both sides must agree exactly; features are negotiated by bits.
pub const VERSION: u16 = 3;

/// What the connecting side is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// A coordinator worker: it dispatches transactions.
    Coordinator = 1,
    /// A bare link that only plays ping-pong.
    Pinger = 2,
    /// Another shard: it proposes timestamps.
    Peer = 3,
    /// A prober: it measures one-way delays.
    Prober = 4,
    /// A client of a task queue: it submits tasks, looks at them and controls them.
    TaskClient = 5,
    /// A worker of a task queue: it runs tasks.
    TaskWorker = 6,
}

impl Role {
    /// The role with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Coordinator,
            2 => Self::Pinger,
            3 => Self::Peer,
            4 => Self::Prober,
            5 => Self::TaskClient,
            6 => Self::TaskWorker,
            _ => return None,
        })
    }
}

/// Feature bits. A side offers what it can and wants; the intersection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features(pub u64);

impl Features {
    /// Every frame after the handshake carries a CRC-32C.
    pub const CHECKSUM: Self = Self(1);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits that both sides have.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// What the connecting side says first.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Hello {
    /// [`MAGIC`].
    pub magic: U64,
    /// [`VERSION`].
    pub version: U16,
    /// A [`Role`].
    pub role: u8,
    /// Zero.
    pub reserved: u8,
    /// The shard, or the queue of a task server, that the peer wants to talk to.
    pub shard: U16,
    /// The shard that a [`Role::Peer`] is; else zero.
    pub from: U16,
    /// Names this run of the connecting process; unique for ever.
    pub session: U64,
    /// Hash of the cluster section of the configuration; to a task queue, of its token.
    pub cluster: U64,
    /// Offered [`Features`].
    pub features: U64,
    /// Transactions that this session may have in flight: slots of its outcome table.
    pub slots: U32,
}
const _: () = assert!(size_of::<Hello>() == 44);

/// What the listening side answers.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Welcome {
    /// [`MAGIC`].
    pub magic: U64,
    /// [`VERSION`].
    pub version: U16,
    /// The shard, or the queue of a task server, that answers.
    pub shard: U16,
    /// Which of its outcome tables the shard uses for the peer's session: another one than before
    /// means that the outcomes of the session are gone.
    pub epoch: U32,
    /// Names this run of the shard: another one than before means that its memory is gone.
    pub session: U64,
    /// The [`Features`] that hold from now on.
    pub features: U64,
    /// How many queues a task server has, at most [`QUEUES_MAX`]; 1 from all others.
    pub queues: U16,
    /// Zero.
    pub reserved: U16,
}
const _: () = assert!(size_of::<Welcome>() == 36);

/// What a `Hello` and a `Welcome` of every version begin with, whatever their length.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Greeting {
    magic: U64,
    version: U16,
}

/// The body of a `Goodbye`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Goodbye {
    reason: u8,
    reserved: [u8; 3],
}
const _: () = assert!(size_of::<Goodbye>() == 4);

/// Reads and writes the frames of the handshake.
#[derive(Debug)]
pub struct Handshake;

impl Handshake {
    /// Appends a `Hello` frame.
    pub fn write_hello(out: &mut crate::BatchWriter, hello: &Hello) {
        write_single(out, FrameKind::Hello, hello.as_bytes());
    }

    /// Appends a `Welcome` frame.
    pub fn write_welcome(out: &mut crate::BatchWriter, welcome: &Welcome) {
        write_single(out, FrameKind::Welcome, welcome.as_bytes());
    }

    /// Appends a `Goodbye` frame.
    pub fn write_goodbye(out: &mut crate::BatchWriter, reason: CloseReason) {
        let goodbye = Goodbye { reason: reason as u8, reserved: [0; 3] };
        write_single(out, FrameKind::Goodbye, goodbye.as_bytes());
    }

    /// Reads a `Hello`, checking magic, version and role.
    ///
    /// # Errors
    /// When the frame is not a well-formed `Hello`, or one of another version, of any length.
    pub fn read_hello(frame: &Frame<'_>) -> Result<(Hello, Role), WireError> {
        let hello: Hello = read_greeting(frame, FrameKind::Hello, "hello")?;
        let role = Role::from_code(hello.role)
            .ok_or(WireError::UnknownValue { what: "role", value: u64::from(hello.role) })?;
        Ok((hello, role))
    }

    /// Reads a `Welcome`, checking magic, version and how many queues there are: whoever connects
    /// opens a link to each.
    ///
    /// # Errors
    /// When the frame is not a well-formed `Welcome`, or one of another version, of any length.
    pub fn read_welcome(frame: &Frame<'_>) -> Result<Welcome, WireError> {
        let welcome: Welcome = read_greeting(frame, FrameKind::Welcome, "welcome")?;
        let queues = welcome.queues.get();
        if !(1..=QUEUES_MAX).contains(&queues) {
            let value = u64::from(queues);
            return Err(WireError::UnknownValue { what: "number of queues", value });
        }
        Ok(welcome)
    }

    /// Reads the reason of a `Goodbye`.
    ///
    /// # Errors
    /// When the frame is not a well-formed `Goodbye`.
    pub fn read_goodbye(frame: &Frame<'_>) -> Result<CloseReason, WireError> {
        let goodbye: Goodbye = read_body(single_body(frame, FrameKind::Goodbye)?, "goodbye")?;
        CloseReason::from_code(goodbye.reason).ok_or(WireError::UnknownValue {
            what: "close reason",
            value: u64::from(goodbye.reason),
        })
    }
}

/// Reads a message that begins with magic and version. These are judged before its length: another
/// version may have added fields, and is told that it is another version.
fn read_greeting<T: FromBytes>(
    frame: &Frame<'_>,
    kind: FrameKind,
    what: &'static str,
) -> Result<T, WireError> {
    let body = single_body(frame, kind)?;
    let (greeting, _) =
        Greeting::ref_from_prefix(body).map_err(|_| WireError::Truncated { what })?;
    if greeting.magic.get() != MAGIC {
        return Err(WireError::Magic(greeting.magic.get()));
    }
    if greeting.version.get() != VERSION {
        return Err(WireError::Version(greeting.version.get()));
    }
    read_body(body, what)
}

/// The bytes of the one message of a frame of the handshake.
fn single_body<'a>(frame: &Frame<'a>, kind: FrameKind) -> Result<&'a [u8], WireError> {
    if frame.kind != kind {
        return Err(WireError::UnexpectedKind(frame.kind));
    }
    if frame.count != 1 {
        return Err(WireError::BatchCount { count: frame.count, max: 1 });
    }
    Ok(frame.body)
}

/// A message that takes all of `body`.
fn read_body<T: FromBytes>(body: &[u8], what: &'static str) -> Result<T, WireError> {
    let (message, rest) = T::read_from_prefix(body).map_err(|_| WireError::Truncated { what })?;
    if !rest.is_empty() {
        return Err(WireError::Trailing { what, bytes: rest.len() });
    }
    Ok(message)
}

fn write_single(out: &mut crate::BatchWriter, kind: FrameKind, bytes: &[u8]) {
    out.seal();
    out.message(kind, bytes.len(), |buffer| buffer.extend_from_slice(bytes));
    out.seal();
}
