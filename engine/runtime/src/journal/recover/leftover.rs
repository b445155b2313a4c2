//! Files behind the end of the log: spares, what a crash left of a file that was just being begun,
//! and files that lost their head though they were a part of the log.

use super::TornTail;
use crate::journal::dir::LogFile;
use crate::journal::error::JournalError;
use punctual_core::journal::{
    BLOCK_ALIGN, BlockHead, Damage, Lsn, SEGMENT_HEAD_BYTES, SegmentError, SegmentHead, block_bytes,
};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Files are looked through in pieces of this size.
const LOOK_BYTES: usize = 1 << 20;
/// Bytes of the head that are the same in every file: what it is, and the version.
const HEAD_FRONT_BYTES: usize = 12;

/// What a file behind the end of the log is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Leftover {
    /// Ready to be used.
    Spare,
    /// Not a part of the log and no spare. What was being written to it when the shard died is
    /// nothing that anybody relies on.
    Useless(Option<TornTail>),
}

/// Says what a file behind the end of the log is, where the log goes on with the head `next`.
///
/// The first write to a file brings its head and its first block; others may be under way behind
/// it. So after a crash there may be blocks and no head, or a part of one. Nothing of that was
/// durable; and the file must not be used again, because the next use of the journal, which begins
/// at the same position with the same generation, would take those blocks for its own.
///
/// # Errors
/// When the file was a part of the log: a block in it says that more of the log was durable than
/// was found, or its head is no part of one that was being written.
pub(crate) fn judge(
    file: &LogFile,
    next: &SegmentHead,
    segment_bytes: u64,
) -> Result<Leftover, JournalError> {
    let failed = |error| JournalError::io(&file.path, "read", error);
    let mut front = Vec::new();
    let mut input = File::open(&file.path).map_err(failed)?;
    let head_bytes = SEGMENT_HEAD_BYTES as u64;
    input.by_ref().take(head_bytes).read_to_end(&mut front).map_err(failed)?;
    let written = look_through(&file.path, &mut input, next)?;
    let torn = |bytes: u64, why: &str| {
        let why = format!("{why}: it was being begun");
        TornTail { file: file.path.clone(), offset: 0, bytes, why }
    };
    match &file.head {
        // Blocks of older uses are in the snapshot, with all of the file.
        Ok(_) => Ok(Leftover::Useless(None)),
        Err(SegmentError::Blank) if written > 0 => {
            Ok(Leftover::Useless(Some(torn(written, "the file has blocks and no head"))))
        }
        Err(SegmentError::Blank) if file.bytes == segment_bytes => Ok(Leftover::Spare),
        Err(SegmentError::Blank) => Ok(Leftover::Useless(None)),
        Err(error) if is_cut_short(&front, next) => {
            let bytes = written.max(head_bytes);
            Ok(Leftover::Useless(Some(torn(bytes, &error.to_string()))))
        }
        Err(error) => {
            let damage = Damage { offset: 0, lsn: next.start, why: error.to_string() };
            Err(JournalError::damage(&file.path, damage))
        }
    }
}

/// Looks for blocks that were written where the log goes on with the head `next`. Returns where the
/// last of them ends, or zero.
fn look_through(path: &Path, input: &mut File, next: &SegmentHead) -> Result<u64, JournalError> {
    let mut chunk = Vec::new();
    let (mut at, mut end) = (SEGMENT_HEAD_BYTES as u64, 0);
    loop {
        chunk.clear();
        let read = input.by_ref().take(LOOK_BYTES as u64).read_to_end(&mut chunk);
        read.map_err(|error| JournalError::io(path, "read", error))?;
        if chunk.is_empty() {
            return Ok(end);
        }
        for bytes in chunk.chunks(BLOCK_ALIGN) {
            let block = BlockHead::read(bytes);
            // Everything before is accounted for. Later generations there are none.
            let is_later = |block: &BlockHead| {
                block.segment >= next.start && block.generation <= next.generation
            };
            if let Some(block) = block.filter(is_later) {
                check_block(path, at, &block, next.start)?;
                end = at + block_bytes(block.len) as u64;
            }
            at += bytes.len() as u64;
        }
    }
}

/// Whether a block says that the log was durable beyond its end. That a file was begun at all says
/// that everything before it was.
fn check_block(path: &Path, at: u64, block: &BlockHead, end: Lsn) -> Result<(), JournalError> {
    let durable = block.durable.max(block.segment);
    if durable <= end {
        return Ok(());
    }
    let why = format!(
        "the log ends at {end}, but the block at byte {at} of this file says that it was durable \
         up to {durable}; the head of the file, or a file before it, is lost"
    );
    Err(JournalError::damage(path, Damage { offset: 0, lsn: end, why }))
}

/// Whether `front` can be what had arrived of a head when the writing of it was cut off: it begins
/// like one, if at all, and lacks its end. Disks write at least the 512 bytes of a sector as a
/// whole, and the head is shorter; this is for what promises less.
fn is_cut_short(front: &[u8], head: &SegmentHead) -> bool {
    let whole = head.to_block();
    let last = whole.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    let arrived = front.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let known = arrived.min(HEAD_FRONT_BYTES);
    arrived <= last && front[..known] == whole[..known]
}
