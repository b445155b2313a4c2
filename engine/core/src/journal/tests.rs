//! Records, blocks and segments, there and back.

mod blocks;
mod records;
mod scans;
mod segments;
mod tasks;
mod torn;

use super::*;
use crate::{SessionId, ShardId};
use punctual_wire::Limits;

/// The head of a segment that begins at `start`.
fn head(generation: u32, start: u64) -> SegmentHead {
    SegmentHead {
        kind: SegmentKind::Log,
        holder: Holder::Shard,
        shard: ShardId(1),
        shards: 3,
        session: SessionId(0xfeed),
        generation,
        start: Lsn(start),
        limits: Limits::DEFAULT,
    }
}

/// Appends a record without a checksum, whose length the value decides. No value of these tests
/// ends with a zero, so that a record that is cut short is another one even where zeros follow.
fn write_put(out: &mut Vec<u8>, value: &[u8]) -> usize {
    Record::Put { key: b"key", value }.write(out)
}

/// A block of a [`Draft`].
#[derive(Debug, Clone)]
struct Placed {
    offset: usize,
    lsn: Lsn,
    durable: Lsn,
    /// Where each of its records begins, in bytes behind the head of the block.
    records: Vec<usize>,
    /// Bytes of all of them.
    len: usize,
}

impl Placed {
    /// Where a record begins in the segment and in the log.
    fn record(&self, index: usize) -> (usize, Lsn) {
        let at = self.records[index];
        (self.offset + BLOCK_HEAD_BYTES + at, self.lsn.plus(at))
    }

    /// Where the log goes on behind it.
    fn end(&self) -> Lsn {
        self.lsn.plus(self.len)
    }
}

/// A segment as a journal writes it.
#[derive(Debug, Clone)]
struct Draft {
    head: SegmentHead,
    bytes: Vec<u8>,
    blocks: Vec<Placed>,
    values: Vec<(Lsn, Vec<u8>)>,
    /// Where the next block goes, in the segment and in the log.
    at: usize,
    lsn: Lsn,
}

impl Draft {
    /// An empty segment of so many pages, the head among them.
    fn new(head: SegmentHead, pages: usize) -> Self {
        Self::over(head, vec![0; pages * BLOCK_ALIGN])
    }

    /// A segment in the place of what was there before.
    fn over(head: SegmentHead, mut bytes: Vec<u8>) -> Self {
        bytes[..SEGMENT_HEAD_BYTES].copy_from_slice(&head.to_block());
        let (blocks, values) = (Vec::new(), Vec::new());
        Self { head, bytes, blocks, values, at: SEGMENT_HEAD_BYTES, lsn: head.start }
    }

    /// Writes a block with a record for each value.
    fn block(&mut self, durable: Lsn, values: &[Vec<u8>]) {
        let (mut bytes, mut records) = (Vec::new(), Vec::new());
        for value in values {
            records.push(bytes.len());
            self.values.push((self.lsn.plus(bytes.len()), value.clone()));
            write_put(&mut bytes, value);
        }
        let out = &mut self.bytes[self.at..];
        let taken = seal_block(out, &self.head, self.lsn, durable, &bytes);
        assert_eq!(taken, block_bytes(bytes.len()));
        let (offset, lsn, len) = (self.at, self.lsn, bytes.len());
        self.blocks.push(Placed { offset, lsn, durable, records, len });
        self.at += taken;
        self.lsn = lsn.plus(len);
    }

    /// As [`block`](Self::block), with everything before it durable.
    fn durable_block(&mut self, values: &[Vec<u8>]) {
        self.block(self.lsn, values);
    }

    /// What a crash at `lsn` leaves of the values.
    fn values_before(&self, lsn: Lsn) -> Vec<(Lsn, Vec<u8>)> {
        self.values.iter().filter(|(at, _)| *at < lsn).cloned().collect()
    }

    fn scan(&self) -> Found {
        scan(&self.bytes, &self.head)
    }
}

/// What was read of a segment.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    values: Vec<(Lsn, Vec<u8>)>,
    /// Where the log goes on.
    lsn: Lsn,
    tail: Result<Tail, Damage>,
}

fn scan(bytes: &[u8], head: &SegmentHead) -> Found {
    let mut scan = SegmentScan::new(bytes, head);
    let mut values = Vec::new();
    let tail = loop {
        match scan.next_record() {
            Ok(Some((lsn, Record::Put { key: b"key", value }))) => {
                values.push((lsn, value.to_vec()));
            }
            Ok(Some(other)) => panic!("nobody has written {other:?}"),
            Ok(None) => break Ok(scan.tail().expect("a scan ends with a tail").clone()),
            Err(damage) => break Err(damage),
        }
    };
    Found { values, lsn: scan.lsn(), tail }
}

/// Several values of these lengths, each made of its own bytes.
fn values(lens: &[usize]) -> Vec<Vec<u8>> {
    let value = |(byte, len): (u8, &usize)| vec![byte; *len];
    (0x51..=0xff).zip(lens).map(value).collect()
}
