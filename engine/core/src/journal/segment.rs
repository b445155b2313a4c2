//! Segments: the files of a journal, and their first block.

use super::{BLOCK_ALIGN, Lsn};
use crate::{SessionId, ShardId};
use punctual_wire::Limits;
use std::fmt;
use thiserror::Error;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes that the head of a segment takes, padding included.
pub const SEGMENT_HEAD_BYTES: usize = BLOCK_ALIGN;
const MAGIC: [u8; 8] = *b"PUNCTJRN";
const VERSION: u32 = 1;

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentKind {
    /// A part of the log.
    Log,
    /// The state of the shard at a position of the log.
    Snapshot,
}

/// Who keeps a journal. The records of one mean nothing to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A shard that runs transactions.
    Shard,
    /// A queue of tasks.
    Tasks,
}

impl Holder {
    /// The number in a head. Before there were others, every head had that of a shard.
    fn code(self) -> u8 {
        match self {
            Self::Shard => 0,
            Self::Tasks => 1,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Shard, Self::Tasks].into_iter().find(|holder| holder.code() == code)
    }

    /// What it keeps, in the plural.
    #[must_use]
    pub fn kept(self) -> &'static str {
        match self {
            Self::Shard => "keys",
            Self::Tasks => "tasks",
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shard => "transaction shard",
            Self::Tasks => "task queue",
        })
    }
}

/// The head of a segment: whose it is and where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHead {
    /// What it holds.
    pub kind: SegmentKind,
    /// Who has written it.
    pub holder: Holder,
    /// The shard.
    pub shard: ShardId,
    /// How many shards there are: it decides which keys are the shard's.
    pub shards: u16,
    /// The shard's session. Whoever goes on from its journal is still the same run of it.
    pub session: SessionId,
    /// How often the journal was opened before this was written. What an earlier use left behind a
    /// torn tail is never taken for a part of a later one.
    pub generation: u32,
    /// Where it begins in the log; of a snapshot, how much of the log it stands for.
    pub start: Lsn,
    /// Bounds that the results of operations depend on.
    pub limits: Limits,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SegmentBytes {
    magic: [u8; 8],
    version: U32,
    /// Of what follows.
    crc: U32,
    kind: u8,
    holder: u8,
    shard: U16,
    shards: U16,
    ops_max: U16,
    session: U64,
    start: U64,
    generation: U32,
    frame_bytes_max: U32,
    value_bytes_max: U32,
    key_bytes_max: U16,
    batch_max: U16,
}
const CRC_FROM: usize = 16;

/// A file that is no segment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SegmentError {
    /// It is empty, or was never finished.
    #[error("it has no head: it was never finished")]
    Blank,
    /// Something else.
    #[error("it is no file of a journal")]
    Foreign,
    /// Of another version.
    #[error("it is of version {0}, and this program knows version {VERSION} only")]
    Version(u32),
    /// Its head is damaged.
    #[error("its head is damaged: the checksum is {found:08x} and should be {expected:08x}")]
    Damaged {
        /// As written.
        found: u32,
        /// As computed.
        expected: u32,
    },
}

impl SegmentHead {
    /// The first block of the segment.
    #[must_use]
    pub fn to_block(&self) -> [u8; SEGMENT_HEAD_BYTES] {
        let mut bytes = SegmentBytes {
            magic: MAGIC,
            version: U32::new(VERSION),
            crc: U32::new(0),
            kind: u8::from(self.kind == SegmentKind::Snapshot),
            holder: self.holder.code(),
            shard: U16::new(self.shard.0),
            shards: U16::new(self.shards),
            ops_max: U16::new(self.limits.ops_max),
            session: U64::new(self.session.0),
            start: U64::new(self.start.0),
            generation: U32::new(self.generation),
            frame_bytes_max: U32::new(self.limits.frame_bytes_max),
            value_bytes_max: U32::new(self.limits.value_bytes_max),
            key_bytes_max: U16::new(self.limits.key_bytes_max),
            batch_max: U16::new(self.limits.batch_max),
        };
        bytes.crc = U32::new(crc32c::crc32c(&bytes.as_bytes()[CRC_FROM..]));
        let mut block = [0; SEGMENT_HEAD_BYTES];
        block[..size_of::<SegmentBytes>()].copy_from_slice(bytes.as_bytes());
        block
    }

    /// Reads the head of a segment.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(bytes: &[u8]) -> Result<Self, SegmentError> {
        let front = &bytes[..bytes.len().min(SEGMENT_HEAD_BYTES)];
        if front.len() < size_of::<SegmentBytes>() || front.iter().all(|byte| *byte == 0) {
            return Err(SegmentError::Blank);
        }
        let (head, _) = SegmentBytes::ref_from_prefix(front).map_err(|_| SegmentError::Blank)?;
        if head.magic != MAGIC {
            return Err(SegmentError::Foreign);
        }
        if head.version.get() != VERSION {
            return Err(SegmentError::Version(head.version.get()));
        }
        let (found, expected) = (head.crc.get(), crc32c::crc32c(&head.as_bytes()[CRC_FROM..]));
        if found != expected {
            return Err(SegmentError::Damaged { found, expected });
        }
        let kind = match head.kind {
            0 => SegmentKind::Log,
            1 => SegmentKind::Snapshot,
            _ => return Err(SegmentError::Foreign),
        };
        Ok(Self {
            kind,
            holder: Holder::from_code(head.holder).ok_or(SegmentError::Foreign)?,
            shard: ShardId(head.shard.get()),
            shards: head.shards.get(),
            session: SessionId(head.session.get()),
            generation: head.generation.get(),
            start: Lsn(head.start.get()),
            limits: Limits {
                frame_bytes_max: head.frame_bytes_max.get(),
                batch_max: head.batch_max.get(),
                key_bytes_max: head.key_bytes_max.get(),
                value_bytes_max: head.value_bytes_max.get(),
                ops_max: head.ops_max.get(),
            },
        })
    }
}
