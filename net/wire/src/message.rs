//! The messages of `Dispatch` and `Reply` frames.

use crate::{BatchWriter, Frame, FrameKind, Limits, OpReader, ResultReader, WireError};
use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Names a transaction within its coordinator's session: a slot of the in-flight table and how
/// often that slot was used before.
///
/// The slot is in the low 16 bits, so a shard finds the outcome of a retry by index, and knows from
/// a newer use of the slot that the coordinator is done with every older one (the session slots of
/// NFS 4.1, RFC 8881 section 2.10.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TxnSequence(pub u64);

impl TxnSequence {
    /// Most slots of a session.
    pub const SLOTS_MAX: u32 = 1 << 16;

    /// The sequence of a slot's `generation`-th use.
    #[must_use]
    pub fn new(slot: u16, generation: u64) -> Self {
        debug_assert!(generation < 1 << 48, "a slot is used at most 2^48 times");
        Self(generation << 16 | u64::from(slot))
    }

    /// The slot.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are the slot")]
    pub fn slot(self) -> u16 {
        self.0 as u16
    }

    /// How often the slot was used before.
    #[must_use]
    pub fn generation(self) -> u64 {
        self.0 >> 16
    }
}

/// The head of one piece in a `Dispatch` frame.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct PieceHead {
    body_len: U32,
    op_count: U16,
    kind: u8,
    reserved: u8,
    sequence: U64,
}

/// Size of the head of a piece.
pub const PIECE_HEAD_BYTES: usize = 16;
const _: () = assert!(size_of::<PieceHead>() == PIECE_HEAD_BYTES);

const PIECE_OPS: u8 = 0;
const PIECE_CALL: u8 = 1;

/// The head of a procedure call; the argument blob follows.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct CallHead {
    procedure: U16,
}
const _: () = assert!(size_of::<CallHead>() == 2);

/// What a piece asks the shard to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceBody<'a> {
    /// Operations, in order.
    Ops {
        /// How many.
        count: u16,
        /// Encoded by [`Op::write`](crate::Op::write).
        bytes: &'a [u8],
    },
    /// A registered procedure.
    Call {
        /// Its id.
        procedure: u16,
        /// Its argument blob.
        args: &'a [u8],
    },
}

/// One transaction's part on one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Which transaction of the session.
    pub sequence: TxnSequence,
    /// What to do.
    pub body: PieceBody<'a>,
}

impl<'a> Piece<'a> {
    /// Appends a piece whose body is encoded already. `is_call` says that it starts with a call
    /// head.
    pub fn write(
        out: &mut BatchWriter,
        sequence: TxnSequence,
        is_call: bool,
        op_count: u16,
        body: &[u8],
    ) {
        let head = PieceHead {
            body_len: U32::new(u32::try_from(body.len()).expect("a body is below its limit")),
            op_count: U16::new(op_count),
            kind: if is_call { PIECE_CALL } else { PIECE_OPS },
            reserved: 0,
            sequence: U64::new(sequence.0),
        };
        out.message(FrameKind::Dispatch, PIECE_HEAD_BYTES + body.len(), |buffer| {
            buffer.extend_from_slice(head.as_bytes());
            buffer.extend_from_slice(body);
        });
    }

    /// The operations, for a piece that has them.
    #[must_use]
    pub fn ops(&self) -> Option<OpReader<'a>> {
        match self.body {
            PieceBody::Ops { bytes, .. } => Some(OpReader::new(bytes)),
            PieceBody::Call { .. } => None,
        }
    }
}

/// Appends the head of a procedure call to a body; the argument blob follows it.
pub fn write_call_head(out: &mut Vec<u8>, procedure: u16) {
    out.extend_from_slice(CallHead { procedure: U16::new(procedure) }.as_bytes());
}

/// Reads the pieces of a `Dispatch` frame.
#[derive(Debug, Clone)]
pub struct PieceReader<'a> {
    rest: &'a [u8],
    left: u16,
    ops_max: u16,
    value_bytes_max: u32,
}

impl<'a> PieceReader<'a> {
    /// Reads the pieces of `frame`.
    #[must_use]
    pub fn new(frame: &Frame<'a>, limits: &Limits) -> Self {
        Self {
            rest: frame.body,
            left: frame.count,
            ops_max: limits.ops_max,
            value_bytes_max: limits.value_bytes_max,
        }
    }

    /// The next piece, or `None` after the last.
    ///
    /// The operations inside are not read here: whoever runs them must have read all of them once
    /// first, so that a malformed one stops the piece before it did anything.
    ///
    /// # Errors
    /// When heads are cut short, limits are exceeded or bytes are left over.
    #[inline]
    pub fn next_piece(&mut self) -> Result<Option<Piece<'a>>, WireError> {
        if self.left == 0 {
            return no_trailing(self.rest, "the last piece").map(|()| None);
        }
        self.left -= 1;
        let (head, rest) = PieceHead::ref_from_prefix(self.rest)
            .map_err(|_| WireError::Truncated { what: "piece head" })?;
        let (body, rest) = rest
            .split_at_checked(head.body_len.get() as usize)
            .ok_or(WireError::Truncated { what: "piece" })?;
        self.rest = rest;
        let sequence = TxnSequence(head.sequence.get());
        let body = match head.kind {
            PIECE_OPS => {
                let count = head.op_count.get();
                if count == 0 || count > self.ops_max {
                    return Err(WireError::OverLimit {
                        what: "the number of operations (at least 1)",
                        value: u64::from(count),
                        max: u64::from(self.ops_max),
                    });
                }
                PieceBody::Ops { count, bytes: body }
            }
            PIECE_CALL => {
                let (call, args) = CallHead::ref_from_prefix(body)
                    .map_err(|_| WireError::Truncated { what: "call head" })?;
                if args.len() as u64 > u64::from(self.value_bytes_max) {
                    return Err(WireError::OverLimit {
                        what: "the length of a call's arguments in bytes",
                        value: args.len() as u64,
                        max: u64::from(self.value_bytes_max),
                    });
                }
                PieceBody::Call { procedure: call.procedure.get(), args }
            }
            value => {
                return Err(WireError::UnknownValue {
                    what: "piece kind",
                    value: u64::from(value),
                });
            }
        };
        Ok(Some(Piece { sequence, body }))
    }
}

/// The head of one reply in a `Reply` frame.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ReplyHead {
    body_len: U32,
    op_count: U16,
    status: u8,
    reason: u8,
    sequence: U64,
    commit: I64,
}

/// Size of the head of a reply.
pub const REPLY_HEAD_BYTES: usize = 24;
const _: () = assert!(size_of::<ReplyHead>() == REPLY_HEAD_BYTES);

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

/// One reply.
#[derive(Debug, Clone)]
pub struct Reply<'a> {
    /// Which transaction of the session.
    pub sequence: TxnSequence,
    /// How it ended.
    pub status: ReplyStatus,
    /// The commit timestamp in nanoseconds of the shard's clock; zero where nothing ran.
    pub commit: i64,
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
        out.message(FrameKind::Reply, REPLY_HEAD_BYTES + body.len(), |buffer| {
            Self::write_to(buffer, sequence, status, commit, op_count, body);
        });
    }

    /// As [`write`](Self::write), to a plain buffer: the form in which a shard remembers outcomes.
    #[inline]
    fn write_to(
        buffer: &mut Vec<u8>,
        sequence: TxnSequence,
        status: ReplyStatus,
        commit: i64,
        op_count: u16,
        body: &[u8],
    ) {
        let (status, reason) = match status {
            ReplyStatus::Committed => (0, 0),
            ReplyStatus::Aborted => (1, 0),
            ReplyStatus::Busy => (2, 0),
            ReplyStatus::Refused(reason) => (3, reason as u8),
        };
        let head = ReplyHead {
            body_len: U32::new(u32::try_from(body.len()).expect("a body is below its limit")),
            op_count: U16::new(op_count),
            status,
            reason,
            sequence: U64::new(sequence.0),
            commit: I64::new(commit),
        };
        buffer.extend_from_slice(head.as_bytes());
        buffer.extend_from_slice(body);
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
        let (body, rest) = rest
            .split_at_checked(head.body_len.get() as usize)
            .ok_or(WireError::Truncated { what: "reply" })?;
        self.rest = rest;
        let status = match (head.status, head.reason) {
            (0, 0) => ReplyStatus::Committed,
            (1, 0) => ReplyStatus::Aborted,
            (2, 0) => ReplyStatus::Busy,
            (3, 1) => ReplyStatus::Refused(RefusedReason::StoreFull),
            (3, 2) => ReplyStatus::Refused(RefusedReason::WrongShard),
            (3, 3) => ReplyStatus::Refused(RefusedReason::UnknownProcedure),
            (status, reason) => {
                return Err(WireError::UnknownValue {
                    what: "reply status",
                    value: u64::from(status) << 8 | u64::from(reason),
                });
            }
        };
        Ok(Some(Reply {
            sequence: TxnSequence(head.sequence.get()),
            status,
            commit: head.commit.get(),
            op_count: head.op_count.get(),
            results: ResultReader::new(body),
        }))
    }
}

fn no_trailing(rest: &[u8], what: &'static str) -> Result<(), WireError> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(WireError::Trailing { what, bytes: rest.len() })
}
