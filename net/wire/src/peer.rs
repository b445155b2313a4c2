//! The messages of `Peer` frames: what shards tell each other about the transactions that they
//! share.
//!
//! All have one size and one layout, so that a frame of them is read like an array. None is ever
//! repeated by the link: who lacks an answer asks again.

use crate::message::Messages;
use crate::{BatchWriter, Frame, FrameKind, RefusedReason, TxnId, TxnSequence, WireError};
use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A message as it is on the wire. What a kind does not use is zero, and ignored when read;
/// `detail` must be zero there.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct PeerBytes {
    kind: u8,
    /// Of a proposal: bit 0, an answer is wanted. Of a refusal: the reason.
    detail: u8,
    shard: U16,
    incarnation: U32,
    session: U64,
    sequence: U64,
    time: I64,
}
const _: () = assert!(size_of::<PeerBytes>() == 32);

const PROPOSE: u8 = 1;
const REFUSE: u8 = 2;
const LOST: u8 = 3;
const RELAY: u8 = 4;
const GONE: u8 = 5;
const WATERMARK: u8 = 6;
const SETTLE: u8 = 7;
const DECIDED: u8 = 8;

const ANSWER: u8 = 1;

/// What one shard tells another. Times are nanoseconds of the sender's clock unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerMessage {
    /// The sender has admitted the transaction.
    Propose {
        /// Which one.
        txn: TxnId,
        /// The local time at which it was admitted.
        local: i64,
        /// The incarnation of the receiver that the transaction is bound to.
        to: u32,
        /// Whether the sender lacks the receiver's proposal.
        answer: bool,
    },
    /// The transaction will never run at the sender, so it runs nowhere.
    Refuse {
        /// Which one.
        txn: TxnId,
        /// Why.
        reason: RefusedReason,
    },
    /// The sender lacks the proposal of a shard whose memory is gone, and takes nothing about the
    /// transaction any more from those in `dead`.
    Lost {
        /// Which transaction.
        txn: TxnId,
        /// The shard whose memory is gone.
        shard: u16,
        /// The incarnation of the receiver that the transaction is bound to.
        to: u32,
        /// The participants whose memory is gone, by bits, in the order of the dispatch.
        dead: u64,
    },
    /// A proposal of another shard, as the sender had it from that shard itself or by relay.
    Relay {
        /// Which transaction.
        txn: TxnId,
        /// The shard that proposed.
        shard: u16,
        /// The local time that it proposed, of its own clock.
        local: i64,
    },
    /// The transaction is bound to an incarnation of the sender that is over.
    Gone {
        /// Which transaction.
        txn: TxnId,
    },
    /// Whatever the sender admitted at a local time below `at`, and shares with the receiver, is
    /// decided there.
    Watermark {
        /// The time.
        at: i64,
    },
    /// The sender keeps the transaction until the receiver has decided it. Has it?
    Settle {
        /// Which one.
        txn: TxnId,
        /// The incarnation of the receiver that the transaction is bound to.
        to: u32,
    },
    /// The sender has decided the transaction: it has all proposals, or it is done with it.
    Decided {
        /// Which one.
        txn: TxnId,
    },
}

impl PeerMessage {
    /// Appends the message.
    #[inline]
    pub fn write(&self, out: &mut BatchWriter) {
        let bytes = self.to_bytes();
        out.message(FrameKind::Peer, size_of::<PeerBytes>(), |buffer| {
            buffer.extend_from_slice(bytes.as_bytes());
        });
    }

    fn to_bytes(self) -> PeerBytes {
        match self {
            Self::Propose { txn, local, to, answer } => PeerBytes {
                detail: if answer { ANSWER } else { 0 },
                incarnation: U32::new(to),
                time: I64::new(local),
                ..about(PROPOSE, txn)
            },
            Self::Refuse { txn, reason } => {
                PeerBytes { detail: reason as u8, ..about(REFUSE, txn) }
            }
            Self::Lost { txn, shard, to, dead } => PeerBytes {
                shard: U16::new(shard),
                incarnation: U32::new(to),
                time: I64::new(dead.cast_signed()),
                ..about(LOST, txn)
            },
            Self::Relay { txn, shard, local } => {
                PeerBytes { shard: U16::new(shard), time: I64::new(local), ..about(RELAY, txn) }
            }
            Self::Gone { txn } => about(GONE, txn),
            Self::Watermark { at } => {
                PeerBytes { kind: WATERMARK, time: I64::new(at), ..PeerBytes::new_zeroed() }
            }
            Self::Settle { txn, to } => {
                PeerBytes { incarnation: U32::new(to), ..about(SETTLE, txn) }
            }
            Self::Decided { txn } => about(DECIDED, txn),
        }
    }

    #[inline]
    fn from_bytes(bytes: PeerBytes) -> Result<Self, WireError> {
        let sequence = TxnSequence(bytes.sequence.get());
        let txn = TxnId { session: bytes.session.get(), sequence };
        let (shard, to, time) = (bytes.shard.get(), bytes.incarnation.get(), bytes.time.get());
        match (bytes.kind, bytes.detail) {
            (PROPOSE, 0 | ANSWER) => {
                Ok(Self::Propose { txn, local: time, to, answer: bytes.detail == ANSWER })
            }
            (REFUSE, code) => match RefusedReason::from_code(code) {
                Some(reason) => Ok(Self::Refuse { txn, reason }),
                None => Err(unknown("reason of a refusal", code)),
            },
            (LOST, 0) => Ok(Self::Lost { txn, shard, to, dead: time.cast_unsigned() }),
            (RELAY, 0) => Ok(Self::Relay { txn, shard, local: time }),
            (GONE, 0) => Ok(Self::Gone { txn }),
            (WATERMARK, 0) => Ok(Self::Watermark { at: time }),
            (SETTLE, 0) => Ok(Self::Settle { txn, to }),
            (DECIDED, 0) => Ok(Self::Decided { txn }),
            (PROPOSE | LOST..=DECIDED, detail) => Err(unknown("detail of a peer message", detail)),
            (kind, _) => Err(unknown("kind of a peer message", kind)),
        }
    }
}

/// A message of this kind about a transaction, all else zero.
fn about(kind: u8, txn: TxnId) -> PeerBytes {
    PeerBytes {
        kind,
        session: U64::new(txn.session),
        sequence: U64::new(txn.sequence.0),
        ..PeerBytes::new_zeroed()
    }
}

fn unknown(what: &'static str, value: u8) -> WireError {
    WireError::UnknownValue { what, value: u64::from(value) }
}

/// Reads the messages of a `Peer` frame.
#[derive(Debug, Clone)]
pub struct PeerReader<'a> {
    messages: Messages<'a>,
}

impl<'a> PeerReader<'a> {
    /// Reads the messages of `frame`.
    #[must_use]
    pub fn new(frame: &Frame<'a>) -> Self {
        Self { messages: Messages::new(frame) }
    }

    /// The next message, or `None` after the last.
    ///
    /// # Errors
    /// When a message is cut short or holds unknown codes, or bytes are left over.
    #[inline]
    pub fn next_message(&mut self) -> Result<Option<PeerMessage>, WireError> {
        let bytes: Option<PeerBytes> =
            self.messages.next("peer message", "the last peer message")?;
        bytes.map(PeerMessage::from_bytes).transpose()
    }
}
