//! What can be wrong with bytes, and why a link is closed.

use thiserror::Error;

/// Bytes that do not follow the format. The link that carried them cannot be trusted and is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireError {
    /// A frame announces a length outside its bounds.
    #[error("frame of {len} bytes is outside the bounds {min}..={max}")]
    FrameLength {
        /// Length that the header announced.
        len: u32,
        /// Shortest frame that could be valid.
        min: u32,
        /// Longest frame that this link accepts.
        max: u32,
    },
    /// A frame of a kind that this version does not know.
    #[error("unknown frame kind {0}")]
    FrameKind(u8),
    /// A frame of a known kind where that kind does not belong.
    #[error("frame kind {0:?} is not expected here")]
    UnexpectedKind(crate::FrameKind),
    /// Flags that were not negotiated.
    #[error("frame flags {0:#04x} were not negotiated")]
    FrameFlags(u8),
    /// The checksum does not match the bytes.
    #[error("checksum of the frame is {found:#010x}, its bytes give {computed:#010x}")]
    Checksum {
        /// Checksum in the header.
        found: u32,
        /// Checksum of what arrived.
        computed: u32,
    },
    /// More messages in a frame than the limit, or none at all.
    #[error("a batch of {count} messages is outside 1..={max}")]
    BatchCount {
        /// Messages announced.
        count: u16,
        /// Most messages allowed.
        max: u16,
    },
    /// The frame or message ends before what it announced.
    #[error("{what} is cut short")]
    Truncated {
        /// The part that was being read.
        what: &'static str,
    },
    /// Bytes are left over after the last announced message or operation.
    #[error("{bytes} bytes are left over after {what}")]
    Trailing {
        /// The part that was being read.
        what: &'static str,
        /// How many bytes are left.
        bytes: usize,
    },
    /// A field holds a value that means nothing.
    #[error("{what} has the unknown value {value}")]
    UnknownValue {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// Something is longer or more numerous than its limit.
    #[error("{what} is {value}, the limit is {max}")]
    OverLimit {
        /// The limited thing.
        what: &'static str,
        /// Its size.
        value: u64,
        /// The limit.
        max: u64,
    },
    /// A stamped piece has fewer or more participants than a transaction on several shards can
    /// have.
    #[error("a stamp for {count} participants is outside 2..={max}")]
    ParticipantCount {
        /// Participants announced.
        count: u8,
        /// Most participants allowed.
        max: usize,
    },
    /// The participants of a stamped piece do not ascend by shard.
    #[error("shard {shard} follows shard {before} among participants, which must ascend")]
    ParticipantOrder {
        /// The shard that is out of order.
        shard: u16,
        /// The shard before it.
        before: u16,
    },
    /// The handshake does not begin with the magic bytes: this is not a Punctual peer.
    #[error("the peer does not speak the Punctual protocol (magic {0:#018x})")]
    Magic(u64),
    /// The handshake is of another version of the protocol.
    #[error("the peer speaks version {0} of the protocol, not {own}", own = crate::VERSION)]
    Version(u16),
}

/// Why a link was closed; sent to the peer where that is still possible, and counted by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CloseReason {
    /// An orderly stop.
    Stopping = 1,
    /// Malformed, truncated or oversized bytes.
    Malformed = 2,
    /// Another protocol version.
    Version = 3,
    /// The peer's cluster configuration has another hash.
    ClusterConfig = 4,
    /// The peer wanted another shard than the one that listens here.
    WrongShard = 5,
    /// The session table is full.
    TooManySessions = 6,
    /// The session wants more slots than the shard allows.
    TooManySlots = 7,
    /// The handshake did not finish in time.
    HandshakeTimeout = 8,
    /// The same session connected again: the newer link replaces the older.
    Replaced = 9,
    /// A checksum did not match.
    Checksum = 10,
    /// A client or worker of a task queue has another token.
    Token = 11,
    /// A worker of a task queue was silent for too long, and its tasks were given to others.
    LeaseExpired = 12,
}

impl CloseReason {
    /// How many reasons there are; a table indexed by reason has this many rows and one unused.
    pub const COUNT: usize = 13;

    /// All reasons, in the order of their codes.
    pub const ALL: [Self; 12] = [
        Self::Stopping,
        Self::Malformed,
        Self::Version,
        Self::ClusterConfig,
        Self::WrongShard,
        Self::TooManySessions,
        Self::TooManySlots,
        Self::HandshakeTimeout,
        Self::Replaced,
        Self::Checksum,
        Self::Token,
        Self::LeaseExpired,
    ];

    /// The reason with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == code)
    }

    /// A short name for counters and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::ClusterConfig => "cluster_config",
            Self::WrongShard => "wrong_shard",
            Self::TooManySessions => "too_many_sessions",
            Self::TooManySlots => "too_many_slots",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Replaced => "replaced",
            Self::Checksum => "checksum",
            Self::Token => "token",
            Self::LeaseExpired => "lease_expired",
        }
    }
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stopping => "the peer is stopping",
            Self::Malformed => "malformed bytes",
            Self::Version => "another protocol version; run the same release on both sides",
            Self::ClusterConfig => {
                "another cluster configuration; the [cluster] section must be equal everywhere"
            }
            Self::WrongShard => "another shard listens at this address",
            Self::TooManySessions => "the shard has no room for another session",
            Self::TooManySlots => "more transactions in flight than the shard allows a session",
            Self::HandshakeTimeout => "the handshake did not finish in time",
            Self::Replaced => "a newer link of the same session took over",
            Self::Checksum => "a frame's checksum did not match",
            Self::Token => "the token is wrong; give the one that the task server was started with",
            Self::LeaseExpired => {
                "it was not heard of for too long and its tasks were given to others"
            }
        })
    }
}

impl From<&WireError> for CloseReason {
    fn from(error: &WireError) -> Self {
        match error {
            WireError::Checksum { .. } => Self::Checksum,
            WireError::Version(_) => Self::Version,
            _ => Self::Malformed,
        }
    }
}
