//! Writing: group commit with several writes under way, and what a crash makes of those.

use super::files::Files;
use super::settings::DiskSettings;
use crate::rng::Rng;
use punctual_core::journal::{
    BLOCK_HEAD_BYTES, Lsn, SEGMENT_HEAD_BYTES, SegmentHead, block_bytes, seal_block, split_records,
};
use std::collections::VecDeque;

/// What the disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// Batches that may wait; whatever else there is stays with the shard meanwhile.
const BATCHES_MAX: u32 = 2;

/// A write under way.
#[derive(Debug)]
struct Write {
    /// Where in the segment.
    at: usize,
    bytes: Vec<u8>,
    /// Bytes that say something; behind them it is padding.
    used: usize,
    /// Once it is done, and all before it, the log is durable up to there.
    end: Lsn,
    /// True time.
    done_at: i64,
    is_done: bool,
}

/// Writes the log of a shard, from a start to a crash.
#[derive(Debug)]
pub(super) struct Writer {
    /// The head of the segment at hand.
    head: SegmentHead,
    /// Where the next block goes in it. Zero: its head is not written either.
    at: usize,
    /// Records that wait to be written, beginning at `taken`.
    waiting: Vec<u8>,
    taken: usize,
    batches: u32,
    /// Where the first of them stands.
    lsn: Lsn,
    durable: Lsn,
    /// In the order of the log.
    writes: VecDeque<Write>,
    /// Memory for writes.
    free: Vec<Vec<u8>>,
}

impl Writer {
    /// Goes on where `head` says, in a segment that was just added.
    pub(super) fn new(head: SegmentHead) -> Self {
        Self {
            head,
            at: 0,
            waiting: Vec::new(),
            taken: 0,
            batches: 0,
            lsn: head.start,
            durable: head.start,
            writes: VecDeque::new(),
            free: Vec::new(),
        }
    }

    pub(super) fn durable(&self) -> Lsn {
        self.durable
    }

    /// Whether it takes another batch.
    pub(super) fn has_room(&self) -> bool {
        self.batches < BATCHES_MAX
    }

    /// Takes records, of which the first stands at `lsn`.
    pub(super) fn push(&mut self, lsn: Lsn, records: &[u8]) {
        let waiting = self.waiting.len() - self.taken;
        assert_eq!(lsn, self.lsn.plus(waiting), "the log has no gaps");
        self.waiting.extend_from_slice(records);
        self.batches += 1;
    }

    /// When the next write is done, in true time.
    pub(super) fn next_done(&self) -> Option<i64> {
        self.writes.iter().filter(|write| !write.is_done).map(|write| write.done_at).min()
    }

    /// Notes which writes are done.
    pub(super) fn advance(&mut self, now: i64, files: &mut Files) {
        let Some(segment) = files.segments.back_mut() else { return };
        for write in &mut self.writes {
            if !write.is_done && write.done_at <= now {
                write.is_done = true;
                segment.bytes[write.at..][..write.bytes.len()].copy_from_slice(&write.bytes);
            }
        }
        while self.writes.front().is_some_and(|write| write.is_done)
            && let Some(write) = self.writes.pop_front()
        {
            self.durable = write.end;
            self.free.push(write.bytes);
        }
    }

    /// Begins as many writes as may be under way; `latency` says how long each takes. Returns how
    /// many.
    pub(super) fn submit(
        &mut self,
        now: i64,
        files: &mut Files,
        settings: &DiskSettings,
        latency: &mut dyn FnMut() -> i64,
    ) -> u64 {
        let mut begun = 0;
        while self.taken < self.waiting.len() && self.under_way() < settings.writes_max {
            let front = if self.at == 0 { SEGMENT_HEAD_BYTES } else { 0 };
            let room = settings.segment_bytes - self.at - front;
            let room = room.saturating_sub(BLOCK_HEAD_BYTES).min(settings.records_max);
            let len = split_records(&self.waiting[self.taken..], room);
            if len == 0 {
                assert!(self.at > 0, "every record has room in a new segment");
                if !self.writes.is_empty() {
                    // A segment is finished before the next one begins.
                    return begun;
                }
                self.head.start = self.lsn;
                self.at = 0;
                files.begin(self.lsn, settings.segment_bytes);
                continue;
            }
            let done_at = now + latency();
            self.begin(front, len, done_at);
            begun += 1;
        }
        begun
    }

    fn under_way(&self) -> usize {
        self.writes.iter().filter(|write| !write.is_done).count()
    }

    /// Begins the write of the next `len` bytes of records, behind so many bytes of a head.
    fn begin(&mut self, front: usize, len: usize, done_at: i64) {
        let records = &self.waiting[self.taken..][..len];
        let mut bytes = self.free.pop().unwrap_or_default();
        bytes.resize(front + block_bytes(len), 0);
        let (head, block) = bytes.split_at_mut(front);
        if front > 0 {
            head.copy_from_slice(&self.head.to_block());
        }
        seal_block(block, &self.head, self.lsn, self.durable, records);
        let at = self.at;
        self.at += bytes.len();
        self.lsn = self.lsn.plus(len);
        self.taken += len;
        if self.taken == self.waiting.len() {
            self.waiting.clear();
            (self.taken, self.batches) = (0, 0);
        }
        let used = front + BLOCK_HEAD_BYTES + len;
        self.writes.push_back(Write { at, bytes, used, end: self.lsn, done_at, is_done: false });
    }

    /// The machine stops: each write under way is whole, or lost, or, where the disk tears, some of
    /// its sectors are there, whichever. Returns how many are not whole.
    pub(super) fn crash(self, files: &mut Files, tears: bool, rng: &mut Rng) -> u64 {
        let Some(segment) = files.segments.back_mut() else { return 0 };
        let mut harmed = 0;
        for write in self.writes.iter().filter(|write| !write.is_done) {
            let fate = rng.below(if tears { 4 } else { 2 });
            harmed += u64::from(fate > 0);
            let front = rng.index(write.used.div_ceil(SECTOR_BYTES));
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
