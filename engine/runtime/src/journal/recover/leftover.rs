//! Files behind the end of the log: spares, what a crash left of a file that was just being begun,
//! and files that lost their head though they were a part of the log.

use super::TornTail;
use crate::journal::dir::LogFile;
use crate::journal::error::JournalError;
use punctual_core::journal::{
    BLOCK_ALIGN, BlockHead, Damage, Lsn, SEGMENT_HEAD_BYTES, SegmentError, SegmentHead,
};
use std::fs::File;
use std::io::{self, Read};

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
/// The first write to a file brings its head, and nothing else is written before that is durable.
/// So a crash may leave a part of a head and no blocks; where there are blocks that can have
/// followed the end of the log, there was a head. Files are begun in their order: only the first of
/// them is looked through if it is blank.
///
/// # Errors
/// When the file was a part of the log: there are such blocks, or its head is no part of one that
/// was being written.
pub(crate) fn judge(
    file: &LogFile,
    next: &SegmentHead,
    segment_bytes: u64,
    is_first: bool,
) -> Result<Leftover, JournalError> {
    let is_blank = file.head == Err(SegmentError::Blank);
    if is_blank && !is_first && file.bytes == segment_bytes {
        return Ok(Leftover::Spare);
    }
    let failed = |error| JournalError::io(&file.path, "read", error);
    let damaged = |why: String| {
        let damage = Damage { offset: 0, lsn: next.start, why };
        Err(JournalError::damage(&file.path, damage))
    };
    let mut front = Vec::new();
    let mut input = File::open(&file.path).map_err(failed)?;
    let head_bytes = SEGMENT_HEAD_BYTES as u64;
    input.by_ref().take(head_bytes).read_to_end(&mut front).map_err(failed)?;
    let block = look_through(&mut input, next).map_err(failed)?;
    match (&file.head, block) {
        // Blocks of older uses are in the snapshot, with all of the file.
        (Ok(_), None) => Ok(Leftover::Useless(None)),
        (_, Some((at, block))) => damaged(lost(at, &block, next.start)),
        (Err(SegmentError::Blank), None) if file.bytes == segment_bytes => Ok(Leftover::Spare),
        (Err(SegmentError::Blank), None) => Ok(Leftover::Useless(None)),
        (Err(error), None) if is_cut_short(&front, next) => {
            let (path, why) = (file.path.clone(), format!("{error}: it was being begun"));
            let torn = TornTail { file: path, offset: 0, bytes: head_bytes, why };
            Ok(Leftover::Useless(Some(torn)))
        }
        (Err(error), None) => damaged(error.to_string()),
    }
}

/// Looks for a block that can have followed the end of the log, where it goes on with the head
/// `next`: one of this use of the journal or of the last. Says where it is.
fn look_through(input: &mut File, next: &SegmentHead) -> io::Result<Option<(u64, BlockHead)>> {
    let is_later = |block: &BlockHead| {
        block.segment >= next.start && block.generation.saturating_add(1) >= next.generation
    };
    let mut chunk = Vec::new();
    let mut at = SEGMENT_HEAD_BYTES as u64;
    loop {
        chunk.clear();
        input.by_ref().take(LOOK_BYTES as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            return Ok(None);
        }
        for bytes in chunk.chunks(BLOCK_ALIGN) {
            if let Some(block) = BlockHead::read(bytes).filter(is_later) {
                return Ok(Some((at, block)));
            }
            at += bytes.len() as u64;
        }
    }
}

/// Why a block should not be behind the end of the log. That a file was begun at all says that
/// everything before it was durable.
fn lost(at: u64, block: &BlockHead, end: Lsn) -> String {
    let durable = block.durable.max(block.segment);
    if durable > end {
        return format!(
            "the log ends at {end}, but the block at byte {at} of this file says that it was \
             durable up to {durable}; the head of the file, or a file before it, is lost"
        );
    }
    format!("the head of the file is lost: the block at byte {at} was not written before it")
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
