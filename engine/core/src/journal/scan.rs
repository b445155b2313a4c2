//! Reading a segment back.

use super::block::{BLOCK_ALIGN, BLOCK_HEAD_BYTES, BlockHead, block_bytes};
use super::{Lsn, Record, SEGMENT_HEAD_BYTES, SegmentHead};
use thiserror::Error;

/// How a segment ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tail {
    /// Behind the last record there is nothing.
    Clean,
    /// Behind the last record there are blocks that were being written when the shard died, not all
    /// of which arrived. Nothing had been promised that depends on them.
    Torn {
        /// Where in the segment they begin.
        offset: usize,
        /// Why the first of them does not count.
        why: String,
    },
}

/// A segment does not hold what it once held.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("at byte {offset}, log position {lsn}: {why}")]
pub struct Damage {
    /// Where in the segment.
    pub offset: usize,
    /// Where in the log.
    pub lsn: Lsn,
    /// What is wrong.
    pub why: String,
}

/// Reads the records of a segment, one after the other.
#[derive(Debug)]
pub struct SegmentScan<'a> {
    bytes: &'a [u8],
    head: SegmentHead,
    /// Where the next block begins.
    next_block: usize,
    /// The records of the block at hand, and where in the segment they begin.
    block: &'a [u8],
    block_at: usize,
    taken: usize,
    lsn: Lsn,
    durable: Lsn,
    /// The latest block has no records, and says that everything before it is durable.
    is_closed: bool,
    tail: Option<Tail>,
}

impl<'a> SegmentScan<'a> {
    /// Reads a segment, given with its head.
    #[must_use]
    pub fn new(bytes: &'a [u8], head: &SegmentHead) -> Self {
        Self {
            bytes,
            head: *head,
            next_block: SEGMENT_HEAD_BYTES,
            block: &[],
            block_at: SEGMENT_HEAD_BYTES,
            taken: 0,
            lsn: head.start,
            durable: head.start,
            is_closed: false,
            tail: None,
        }
    }

    /// Where the next record stands; after the last one, where the log goes on.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Where in the segment the next record stands.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.block_at + self.taken
    }

    /// How far the log was durable by what the blocks say that were read so far.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    /// How the segment ends, once the last record was read.
    #[must_use]
    pub fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }

    /// The next record, with its place; nothing after the last one.
    ///
    /// # Errors
    /// When something is wrong that was right once: a later block says that the log was durable
    /// beyond it.
    pub fn next_record(&mut self) -> Result<Option<(Lsn, Record<'a>)>, Damage> {
        while self.taken == self.block.len() {
            if self.tail.is_some() || !self.open_block()? {
                return Ok(None);
            }
        }
        match Record::read(&self.block[self.taken..], self.lsn) {
            Ok((record, len)) => {
                let lsn = self.lsn;
                self.taken += len;
                self.lsn = lsn.plus(len);
                Ok(Some((lsn, record)))
            }
            Err(error) => {
                let offset = self.offset();
                self.end(offset, error.to_string())?;
                Ok(None)
            }
        }
    }

    /// Goes to the next block. False at the end.
    fn open_block(&mut self) -> Result<bool, Damage> {
        let at = self.next_block;
        let Some(bytes) = self.bytes.get(at..).filter(|rest| rest.len() >= BLOCK_HEAD_BYTES) else {
            self.tail = Some(Tail::Clean);
            return Ok(false);
        };
        let Some(head) = BlockHead::read(bytes).filter(|head| head.is_of(&self.head)) else {
            let why = "there is no block of this segment".to_owned();
            self.end(at, why)?;
            return Ok(false);
        };
        if head.lsn != self.lsn {
            let why = format!("the next block is that of log position {}", head.lsn);
            self.end(at, why)?;
            return Ok(false);
        }
        let Some(records) = bytes.get(BLOCK_HEAD_BYTES..BLOCK_HEAD_BYTES + head.len) else {
            self.end(at, "the file ends within a block".to_owned())?;
            return Ok(false);
        };
        self.durable = self.durable.max(head.durable);
        self.is_closed = head.len == 0 && head.durable == head.lsn;
        (self.block, self.block_at, self.taken) = (records, at + BLOCK_HEAD_BYTES, 0);
        self.next_block = at + block_bytes(head.len);
        Ok(true)
    }

    /// Something at `offset` cannot be read. It was torn off by a crash, if it was not durable.
    fn end(&mut self, offset: usize, why: String) -> Result<(), Damage> {
        (self.block, self.taken) = (&[], 0);
        let later = self.later_blocks();
        let durable = later.clone().map(|head| head.durable).max().unwrap_or(Lsn::ZERO);
        if durable.max(self.durable) > self.lsn {
            let why = format!("{why}, but a block says that the log was durable there");
            return Err(Damage { offset, lsn: self.lsn, why });
        }
        let from = self.next_block.min(self.bytes.len());
        let next = BlockHead::read(&self.bytes[from..]);
        // Whatever was in the file before is older than its head.
        if let Some(next) = next.filter(|next| next.is_younger(&self.head)) {
            let why = format!(
                "a block of a later segment stands there, of generation {} and from {}: the head \
                 of the file was written over",
                next.generation, next.segment
            );
            return Err(Damage { offset, lsn: self.lsn, why });
        }
        let is_blank = self.bytes[from..].iter().take(BLOCK_ALIGN).all(|byte| *byte == 0);
        // A recycled segment has blocks of former times behind its end, which say nothing.
        let former = next.is_some_and(|it| !it.is_of(&self.head));
        let is_over = self.is_closed || ((is_blank || former) && later.count() == 0);
        let is_clean = offset == self.next_block && is_over;
        self.tail = Some(if is_clean { Tail::Clean } else { Tail::Torn { offset, why } });
        Ok(())
    }

    /// The blocks of this segment that stand behind the one at hand and begin later in the log.
    fn later_blocks(&self) -> impl Iterator<Item = BlockHead> + Clone + use<'a> {
        let (head, lsn) = (self.head, self.lsn);
        let rest = self.bytes.get(self.next_block..).unwrap_or_default();
        rest.chunks(BLOCK_ALIGN)
            .filter_map(BlockHead::read)
            .filter(move |block| block.is_of(&head) && block.lsn > lsn)
    }
}
