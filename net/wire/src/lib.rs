//! The layout of every frame and message that Punctual puts on a wire.
//!
//! A *frame* is a 12-byte [`FrameHeader`] and a batch of *messages* of one [`FrameKind`].
//! Everything is little-endian and unaligned, so a message is read where the kernel (or the peer's
//! core) put it: readers borrow from the receive buffer and never copy a payload. Each struct is
//! the only definition of its layout; writer and reader both use it, and its size is asserted at
//! compile time.
//!
//! This crate does no I/O, reads no clock and has no `unsafe`. The byte-by-byte description for
//! people is `docs/wire-format.md`.
#![forbid(unsafe_code)]
#![warn(clippy::cast_possible_truncation)]

mod error;
mod frame;
mod handshake;
mod limits;
mod message;
mod op;
mod peer;
mod probe;
mod reply;
mod result;
mod route;
mod stamp;
pub mod task;

pub use error::{CloseReason, WireError};
pub use frame::{BatchWriter, FRAME_HEADER_BYTES, Frame, FrameHeader, FrameKind, FrameReader};
pub use handshake::{Features, Handshake, Hello, MAGIC, Role, VERSION, Welcome};
pub use limits::Limits;
pub use message::{
    PIECE_HEAD_BYTES, Piece, PieceBody, PieceReader, TxnId, TxnSequence, write_call_head,
};
pub use op::{Key, Op, OpReader, WordOp};
pub use peer::{PeerMessage, PeerReader};
pub use probe::{Probe, ProbeReader};
pub use reply::{
    REPLY_HEAD_BYTES, REPLY_TIMING_BYTES, RefusedReason, Reply, ReplyReader, ReplyStatus,
    ReplyTiming,
};
pub use result::{OpResult, ResultReader, ResultStatus};
pub use route::{routing_part, shard_of};
pub use stamp::{PARTICIPANTS_MAX, Participant, Participants, STAMP_BYTES_MAX, Stamp};
