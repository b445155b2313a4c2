//! The messages of `Reply` frames.

use crate::message::no_trailing;
use crate::{BatchWriter, Frame, FrameKind, ResultReader, TxnSequence, WireError};
use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The head of one reply in a `Reply` frame.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ReplyHead {
    body_len: U32,
    op_count: U16,
    /// Bit 7 says that a timing follows the head, before the body.
    status: u8,
    reason: u8,
    sequence: U64,
    commit: I64,
}

/// Size of the head of a reply, without a timing.
pub const REPLY_HEAD_BYTES: usize = 24;
const _: () = assert!(size_of::<ReplyHead>() == REPLY_HEAD_BYTES);

/// Bit of the status: a timing follows.
const TIMED: u8 = 0x80;

/// A timing as it is on the wire.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct TimingBytes {
    received_at: I64,
    agreed_after: U32,
    released_after: U32,
}

/// Size of the timing that may follow the head of a reply.
pub const REPLY_TIMING_BYTES: usize = 16;
const _: () = assert!(size_of::<TimingBytes>() == REPLY_TIMING_BYTES);

/// Why a shard refuses a transaction for good. Nothing of it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RefusedReason {
    /// The store is at its limit and the transaction might add to it.
    StoreFull = 1,
    /// A key of the piece belongs to another shard.
    WrongShard = 2,
    /// No procedure is registered under this id.
    UnknownProcedure = 3,
    /// The timestamp is further ahead of the shard's clock than the shard holds a transaction.
    StampTooFar = 4,
    /// A shard that takes part knew of it from others only, and its own piece did not come in time.
    DispatchTimeout = 5,
    /// It is bound to a run of a shard that is over.
    PeerLost = 6,
    /// The journal has no room for the transaction.
    JournalFull = 7,
}

impl RefusedReason {
    /// All reasons, in the order of their codes.
    pub const ALL: [Self; 7] = [
        Self::StoreFull,
        Self::WrongShard,
        Self::UnknownProcedure,
        Self::StampTooFar,
        Self::DispatchTimeout,
        Self::PeerLost,
        Self::JournalFull,
    ];

    /// The reason with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == code)
    }
}

/// How a piece ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplyStatus {
    /// It ran; the results follow.
    Committed,
    /// A procedure decided to change nothing; its results follow.
    Aborted,
    /// The shard has no room now and did nothing. Send it again later.
    Busy,
    /// The shard will never run it and did nothing.
    Refused(RefusedReason),
}

impl ReplyStatus {
    /// Status and reason as they are on the wire.
    #[inline]
    fn codes(self) -> (u8, u8) {
        match self {
            Self::Committed => (0, 0),
            Self::Aborted => (1, 0),
            Self::Busy => (2, 0),
            Self::Refused(reason) => (3, reason as u8),
        }
    }

    #[inline]
    fn from_codes(status: u8, reason: u8) -> Option<Self> {
        match (status, reason) {
            (0, 0) => Some(Self::Committed),
            (1, 0) => Some(Self::Aborted),
            (2, 0) => Some(Self::Busy),
            (3, reason) => RefusedReason::from_code(reason).map(Self::Refused),
            _ => None,
        }
    }

    /// Status and reason in one number: the status in the low byte.
    #[must_use]
    pub fn code(self) -> u16 {
        let (status, reason) = self.codes();
        u16::from_le_bytes([status, reason])
    }

    /// The status with this code.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        let [status, reason] = code.to_le_bytes();
        Self::from_codes(status, reason)
    }
}

/// What a shard measured while it held a transaction on several shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplyTiming {
    /// The shard's clock when the piece was admitted, in nanoseconds.
    pub received_at: i64,
    /// Nanoseconds from then until all proposals were in; `u32::MAX` stands for anything longer.
    pub agreed_after: u32,
    /// Nanoseconds from then until it ran; `u32::MAX` stands for anything longer.
    pub released_after: u32,
}

/// One reply.
#[derive(Debug, Clone)]
pub struct Reply<'a> {
    /// Which transaction of the session.
    pub sequence: TxnSequence,
    /// How it ended.
    pub status: ReplyStatus,
    /// The commit timestamp in nanoseconds of the shard's clock; zero where nothing ran.
    pub commit: i64,
    /// What the shard measured, if it held the piece.
    pub timing: Option<ReplyTiming>,
    /// Number of results.
    pub op_count: u16,
    /// The results.
    pub results: ResultReader<'a>,
}

impl Reply<'_> {
    /// Appends a reply whose results are encoded already.
    #[inline]
    pub fn write(
        out: &mut BatchWriter,
        sequence: TxnSequence,
        status: ReplyStatus,
        commit: i64,
        op_count: u16,
        body: &[u8],
    ) {
        let head = ReplyHead::new(sequence, status, commit, op_count, body);
        out.message(FrameKind::Reply, REPLY_HEAD_BYTES + body.len(), |buffer| {
            buffer.extend_from_slice(head.as_bytes());
            buffer.extend_from_slice(body);
        });
    }

    /// As [`write`](Self::write), with what the shard measured.
    pub fn write_timed(
        out: &mut BatchWriter,
        sequence: TxnSequence,
        status: ReplyStatus,
        commit: i64,
        timing: ReplyTiming,
        op_count: u16,
        body: &[u8],
    ) {
        let mut head = ReplyHead::new(sequence, status, commit, op_count, body);
        head.status |= TIMED;
        let timing = TimingBytes {
            received_at: I64::new(timing.received_at),
            agreed_after: U32::new(timing.agreed_after),
            released_after: U32::new(timing.released_after),
        };
        let len = REPLY_HEAD_BYTES + REPLY_TIMING_BYTES + body.len();
        out.message(FrameKind::Reply, len, |buffer| {
            buffer.extend_from_slice(head.as_bytes());
            buffer.extend_from_slice(timing.as_bytes());
            buffer.extend_from_slice(body);
        });
    }
}

impl ReplyHead {
    #[inline]
    fn new(
        sequence: TxnSequence,
        status: ReplyStatus,
        commit: i64,
        op_count: u16,
        body: &[u8],
    ) -> Self {
        let (status, reason) = status.codes();
        Self {
            body_len: U32::new(u32::try_from(body.len()).expect("a body is below its limit")),
            op_count: U16::new(op_count),
            status,
            reason,
            sequence: U64::new(sequence.0),
            commit: I64::new(commit),
        }
    }
}

/// Reads the replies of a `Reply` frame.
#[derive(Debug, Clone)]
pub struct ReplyReader<'a> {
    rest: &'a [u8],
    left: u16,
}

impl<'a> ReplyReader<'a> {
    /// Reads the replies of `frame`.
    #[must_use]
    pub fn new(frame: &Frame<'a>) -> Self {
        Self { rest: frame.body, left: frame.count }
    }

    /// The next reply, or `None` after the last.
    ///
    /// # Errors
    /// When heads are cut short, codes unknown or bytes left over.
    #[inline]
    pub fn next_reply(&mut self) -> Result<Option<Reply<'a>>, WireError> {
        if self.left == 0 {
            return no_trailing(self.rest, "the last reply").map(|()| None);
        }
        self.left -= 1;
        let (head, rest) = ReplyHead::ref_from_prefix(self.rest)
            .map_err(|_| WireError::Truncated { what: "reply head" })?;
        let (timing, rest) = match head.status & TIMED {
            0 => (None, rest),
            _ => read_timing(rest).map(|(timing, rest)| (Some(timing), rest))?,
        };
        let (body, rest) = rest
            .split_at_checked(head.body_len.get() as usize)
            .ok_or(WireError::Truncated { what: "reply" })?;
        self.rest = rest;
        let status = ReplyStatus::from_codes(head.status & !TIMED, head.reason).ok_or(
            WireError::UnknownValue {
                what: "reply status",
                value: u64::from(head.status) << 8 | u64::from(head.reason),
            },
        )?;
        Ok(Some(Reply {
            sequence: TxnSequence(head.sequence.get()),
            status,
            commit: head.commit.get(),
            timing,
            op_count: head.op_count.get(),
            results: ResultReader::new(body),
        }))
    }
}

/// Reads the timing at the start of `bytes`, and returns what follows it.
fn read_timing(bytes: &[u8]) -> Result<(ReplyTiming, &[u8]), WireError> {
    let (timing, rest) = TimingBytes::ref_from_prefix(bytes)
        .map_err(|_| WireError::Truncated { what: "reply timing" })?;
    let timing = ReplyTiming {
        received_at: timing.received_at.get(),
        agreed_after: timing.agreed_after.get(),
        released_after: timing.released_after.get(),
    };
    Ok((timing, rest))
}
