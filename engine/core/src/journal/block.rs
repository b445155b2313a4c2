//! Blocks: what is written to a segment in one go.
//!
//! A block is a head and some whole records, padded with zeros to a multiple of [`BLOCK_ALIGN`], so
//! that it can be written past the page cache. Its head says, beside its place in the log, how far
//! the log was durable when it was sealed: so a later block bears witness that an earlier one was
//! once there, and damage is told from a tail that was torn off by a crash.

use super::record::{record_len, seal};
use super::{Lsn, SegmentHead};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Blocks begin and end at multiples of so many bytes.
pub const BLOCK_ALIGN: usize = 4096;
/// Size of the head of a block.
pub const BLOCK_HEAD_BYTES: usize = 48;
const MAGIC: u32 = u32::from_le_bytes(*b"pjb1");

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct BlockBytes {
    magic: U32,
    /// Of the rest of the head.
    crc: U32,
    generation: U32,
    len: U32,
    segment: U64,
    lsn: U64,
    durable: U64,
    /// Zero.
    reserved: U64,
}
const _: () = assert!(size_of::<BlockBytes>() == BLOCK_HEAD_BYTES);

/// What the head of a block says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHead {
    /// Which use of the journal wrote it; see [`SegmentHead::generation`].
    pub generation: u32,
    /// Where its segment begins.
    pub segment: Lsn,
    /// Where its first record stands.
    pub lsn: Lsn,
    /// How far the log was durable when the block was sealed.
    pub durable: Lsn,
    /// Bytes of records.
    pub len: usize,
}

impl BlockHead {
    /// The head at the front of `bytes`, if there is one.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (head, _) = BlockBytes::ref_from_prefix(bytes).ok()?;
        if head.magic.get() != MAGIC || head.crc.get() != crc32c::crc32c(&head.as_bytes()[8..]) {
            return None;
        }
        Some(Self {
            generation: head.generation.get(),
            segment: Lsn(head.segment.get()),
            lsn: Lsn(head.lsn.get()),
            durable: Lsn(head.durable.get()),
            len: head.len.get() as usize,
        })
    }

    /// Whether the block belongs to a segment.
    #[must_use]
    pub fn is_of(&self, segment: &SegmentHead) -> bool {
        self.generation == segment.generation && self.segment == segment.start
    }

    /// Whether the block belongs to a segment that was begun after this one.
    #[must_use]
    pub fn is_younger(&self, segment: &SegmentHead) -> bool {
        (self.generation, self.segment) > (segment.generation, segment.start)
    }
}

/// Size of a block with so many bytes of records.
#[must_use]
pub fn block_bytes(records_len: usize) -> usize {
    (BLOCK_HEAD_BYTES + records_len).next_multiple_of(BLOCK_ALIGN)
}

/// Makes a block of `records`, whole ones of which the first stands at `lsn`, at the front of
/// `out`. Returns how many bytes of `out` it takes: [`block_bytes`]. No records make an empty
/// block, which says only how far the log is durable.
///
/// # Panics
/// If `out` is too short for it.
pub fn seal_block(
    out: &mut [u8],
    segment: &SegmentHead,
    lsn: Lsn,
    durable: Lsn,
    records: &[u8],
) -> usize {
    let len = block_bytes(records.len());
    let head = BlockBytes {
        magic: U32::new(MAGIC),
        crc: U32::new(0),
        generation: U32::new(segment.generation),
        len: U32::new(u32::try_from(records.len()).expect("a block is far below 4 GiB")),
        segment: U64::new(segment.start.0),
        lsn: U64::new(lsn.0),
        durable: U64::new(durable.0),
        reserved: U64::new(0),
    };
    let crc = U32::new(crc32c::crc32c(&head.as_bytes()[8..]));
    let out = &mut out[..len];
    let (front, rest) = out.split_at_mut(BLOCK_HEAD_BYTES);
    front.copy_from_slice(BlockBytes { crc, ..head }.as_bytes());
    let (body, padding) = rest.split_at_mut(records.len());
    body.copy_from_slice(records);
    padding.fill(0);
    seal(body, lsn);
    len
}

/// How many bytes at the front of `records` are whole records that take no more than `bytes_max`;
/// zero if not even the first one does.
#[must_use]
pub fn split_records(records: &[u8], bytes_max: usize) -> usize {
    if records.len() <= bytes_max {
        return records.len();
    }
    let mut at = 0;
    while let Some(len) = record_len(&records[at..])
        && at + len <= bytes_max
    {
        at += len;
    }
    at
}
