//! Transactions' names, and the messages of `Dispatch` frames.

use crate::{
    BatchWriter, Frame, FrameKind, Limits, OpReader, Participant, Stamp, WireError, stamp,
};
use zerocopy::little_endian::{U16, U32, U64};
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

/// Names a transaction for ever: the session of its coordinator and its sequence there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TxnId {
    /// The coordinator's session.
    pub session: u64,
    /// Which transaction of the session.
    pub sequence: TxnSequence,
}

/// The head of one piece in a `Dispatch` frame.
///
/// With `participants` other than zero a stamp and that many participants follow the head, before
/// the body.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct PieceHead {
    body_len: U32,
    op_count: U16,
    kind: u8,
    participants: u8,
    sequence: U64,
}

/// Size of the head of a piece, without a stamp.
pub const PIECE_HEAD_BYTES: usize = 16;
const _: () = assert!(size_of::<PieceHead>() == PIECE_HEAD_BYTES);

impl PieceHead {
    fn new(
        sequence: TxnSequence,
        is_call: bool,
        op_count: u16,
        body: &[u8],
        participants: u8,
    ) -> Self {
        Self {
            body_len: U32::new(u32::try_from(body.len()).expect("a body is below its limit")),
            op_count: U16::new(op_count),
            kind: if is_call { PIECE_CALL } else { PIECE_OPS },
            participants,
            sequence: U64::new(sequence.0),
        }
    }
}

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
    /// When it shall run and who takes part, for a transaction on several shards.
    pub stamp: Option<Stamp<'a>>,
    /// What to do.
    pub body: PieceBody<'a>,
}

impl<'a> Piece<'a> {
    /// Appends a piece of a transaction on one shard. Its body is encoded already; `is_call` says
    /// that it starts with a call head.
    pub fn write(
        out: &mut BatchWriter,
        sequence: TxnSequence,
        is_call: bool,
        op_count: u16,
        body: &[u8],
    ) {
        let head = PieceHead::new(sequence, is_call, op_count, body, 0);
        out.message(FrameKind::Dispatch, PIECE_HEAD_BYTES + body.len(), |buffer| {
            buffer.extend_from_slice(head.as_bytes());
            buffer.extend_from_slice(body);
        });
    }

    /// Appends a piece of a transaction on several shards, stamped `at` nanoseconds; otherwise as
    /// [`write`](Self::write). The `participants` ascend by shard, and there are at least two and
    /// at most [`PARTICIPANTS_MAX`](crate::PARTICIPANTS_MAX).
    pub fn write_stamped(
        out: &mut BatchWriter,
        sequence: TxnSequence,
        at: i64,
        participants: &[Participant],
        is_call: bool,
        op_count: u16,
        body: &[u8],
    ) {
        let count = u8::try_from(participants.len()).expect("participants are below their limit");
        let head = PieceHead::new(sequence, is_call, op_count, body, count);
        let len = PIECE_HEAD_BYTES + stamp::bytes(participants.len()) + body.len();
        out.message(FrameKind::Dispatch, len, |buffer| {
            buffer.extend_from_slice(head.as_bytes());
            stamp::write(buffer, at, participants);
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
        let (stamp, rest) = match head.participants {
            0 => (None, rest),
            count => stamp::read(count, rest).map(|(stamp, rest)| (Some(stamp), rest))?,
        };
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
        Ok(Some(Piece { sequence, stamp, body }))
    }
}

/// The messages of a frame whose messages all have one size.
#[derive(Debug, Clone)]
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
    left: u16,
}

impl<'a> Messages<'a> {
    pub(crate) fn new(frame: &Frame<'a>) -> Self {
        Self { rest: frame.body, left: frame.count }
    }

    /// The next message, or `None` after the last. The names are for errors.
    #[inline]
    pub(crate) fn next<T: FromBytes>(
        &mut self,
        what: &'static str,
        last: &'static str,
    ) -> Result<Option<T>, WireError> {
        if self.left == 0 {
            return no_trailing(self.rest, last).map(|()| None);
        }
        self.left -= 1;
        let (message, rest) =
            T::read_from_prefix(self.rest).map_err(|_| WireError::Truncated { what })?;
        self.rest = rest;
        Ok(Some(message))
    }
}

/// Fails if bytes are left over after `what`.
#[inline]
pub(crate) fn no_trailing(rest: &[u8], what: &'static str) -> Result<(), WireError> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(WireError::Trailing { what, bytes: rest.len() })
}
