//! Group commit with several writes under way, and what a crash makes of those.

use super::files::Files;
use crate::farm::tuning::DiskTuning;
use crate::rng::Rng;
use punctual_core::journal::{
    BLOCK_HEAD_BYTES, Lsn, SEGMENT_HEAD_BYTES, SegmentHead, block_bytes, seal_block, split_records,
};
use std::collections::VecDeque;

/// What the disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// More than this waits with the queue.
const WAITING_MAX: usize = 64 << 10;

/// A write under way.
#[derive(Debug)]
struct Write {
    /// Where in the segment.
    at: usize,
    bytes: Vec<u8>,
    /// Once it is done, and all before it, the log is durable up to there.
    end: Lsn,
    /// True time.
    done_at: i64,
    is_done: bool,
}

/// Writes the log of a queue, from a start to a crash.
#[derive(Debug)]
pub(super) struct Writer {
    /// The head of the segment at hand.
    head: SegmentHead,
    /// Where the next block goes in it. Zero: its head is not written either.
    at: usize,
    /// Records that wait to be written, the first of them at `lsn`.
    waiting: Vec<u8>,
    lsn: Lsn,
    durable: Lsn,
    /// In the order of the log.
    writes: VecDeque<Write>,
}

impl Writer {
    /// Goes on where `head` says, in a segment that was just added.
    pub(super) fn new(head: SegmentHead) -> Self {
        let (lsn, durable) = (head.start, head.start);
        Self { head, at: 0, waiting: Vec::new(), lsn, durable, writes: VecDeque::new() }
    }

    pub(super) fn durable(&self) -> Lsn {
        self.durable
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < WAITING_MAX
    }

    /// Takes records, of which the first stands at `lsn`.
    pub(super) fn push(&mut self, lsn: Lsn, records: &[u8]) {
        assert_eq!(lsn, self.lsn.plus(self.waiting.len()), "the log has no gaps");
        self.waiting.extend_from_slice(records);
    }

    /// When the next write is done, in true time.
    pub(super) fn next_done(&self) -> Option<i64> {
        self.under_way().map(|write| write.done_at).min()
    }

    fn under_way(&self) -> impl Iterator<Item = &Write> {
        self.writes.iter().filter(|write| !write.is_done)
    }

    /// Notes which writes are done.
    pub(super) fn advance(&mut self, now: i64, files: &mut Files) {
        let Some(segment) = files.segments.back_mut() else { return };
        let due = |write: &&mut Write| !write.is_done && write.done_at <= now;
        for write in self.writes.iter_mut().filter(due) {
            write.is_done = true;
            segment.bytes[write.at..][..write.bytes.len()].copy_from_slice(&write.bytes);
        }
        while let Some(write) = self.writes.front().filter(|write| write.is_done) {
            self.durable = write.end;
            self.writes.pop_front();
        }
    }

    /// Begins as many writes as may be under way; `latency` says how long each takes. Returns how
    /// many.
    pub(super) fn submit(
        &mut self,
        now: i64,
        files: &mut Files,
        tuning: &DiskTuning,
        latency: &mut dyn FnMut() -> i64,
    ) -> u64 {
        let mut begun = 0;
        while !self.waiting.is_empty() && self.under_way().count() < tuning.writes_max {
            let front = if self.at == 0 { SEGMENT_HEAD_BYTES } else { 0 };
            let room = tuning.segment_bytes.saturating_sub(self.at + front + BLOCK_HEAD_BYTES);
            let len = split_records(&self.waiting, room.min(tuning.records_max));
            if len > 0 {
                self.begin(front, len, now + latency());
                begun += 1;
            } else if self.writes.is_empty() {
                assert!(self.at > 0, "every record has room in a new segment");
                (self.head.start, self.at) = (self.lsn, 0);
                files.begin(self.lsn, tuning.segment_bytes);
            } else {
                // A segment is finished before the next one begins.
                return begun;
            }
        }
        begun
    }

    /// Begins the write of the next `len` bytes of records, behind so many bytes of a head.
    fn begin(&mut self, front: usize, len: usize, done_at: i64) {
        let mut bytes = vec![0; front + block_bytes(len)];
        let (head, block) = bytes.split_at_mut(front);
        if front > 0 {
            head.copy_from_slice(&self.head.to_block());
        }
        seal_block(block, &self.head, self.lsn, self.durable, &self.waiting[..len]);
        self.waiting.drain(..len);
        let at = self.at;
        self.at += bytes.len();
        self.lsn = self.lsn.plus(len);
        self.writes.push_back(Write { at, bytes, end: self.lsn, done_at, is_done: false });
    }

    /// The machine stops: each write under way is whole, or lost, or, where the disk tears, some of
    /// its sectors are there, whichever. Returns how many are not whole.
    pub(super) fn crash(self, files: &mut Files, tears: bool, rng: &mut Rng) -> u64 {
        let Some(segment) = files.segments.back_mut() else { return 0 };
        let mut harmed = 0;
        for write in self.under_way() {
            let fate = rng.below(if tears { 4 } else { 2 });
            harmed += u64::from(fate > 0);
            let sectors = write.bytes.len() / SECTOR_BYTES;
            let front = rng.index(sectors);
            for (sector, bytes) in write.bytes.chunks(SECTOR_BYTES).enumerate() {
                let is_kept = match fate {
                    0 => true,
                    1 => false,
                    2 => sector < front,
                    _ => rng.chance(500_000),
                };
                if is_kept {
                    let at = write.at + sector * SECTOR_BYTES;
                    segment.bytes[at..][..bytes.len()].copy_from_slice(bytes);
                }
            }
        }
        harmed
    }
}
