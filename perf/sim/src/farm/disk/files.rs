//! The files of the queue's journal, and what can be read from them.
//!
//! Reading keeps to the rules of the runtime, which reads real files: the newest snapshot, then the
//! log behind it; each segment but the last is read exactly to where the next one begins, and only
//! the last may have a torn tail.

use punctual_core::journal::{
    Lsn, Replica, SegmentError, SegmentHead, SegmentKind, SegmentScan, Tail, block_bytes,
    seal_block,
};
use punctual_core::task::{TaskQueueConfig, TaskReplay};
use std::collections::VecDeque;
use std::convert::Infallible;

/// A snapshot gets a new block after so many bytes of records.
const SNAPSHOT_BLOCK: usize = 8 << 10;

/// A file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    start: Lsn,
    pub(super) bytes: Vec<u8>,
}

impl Segment {
    /// Whether its head was never written.
    fn is_blank(&self) -> bool {
        SegmentHead::read(&self.bytes) == Err(SegmentError::Blank)
    }
}

/// Which part of the log to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    All,
    /// All before the segment that is being written.
    Finished,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) replay: TaskReplay,
    /// Where the log goes on.
    pub(super) end: Lsn,
    /// Of the latest use of the journal; zero: there was none.
    pub(super) generation: u32,
    pub(super) is_torn: bool,
    pub(super) has_snapshot: bool,
}

impl Found {
    /// A journal that was never written.
    pub(super) fn nothing(config: &TaskQueueConfig) -> Self {
        let (replay, end) = (TaskReplay::new(config), Lsn::ZERO);
        Self { replay, end, generation: 0, is_torn: false, has_snapshot: false }
    }
}

/// The files of a journal.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// The log in order. The last one is being written.
    pub(super) segments: VecDeque<Segment>,
    snapshot: Option<Vec<u8>>,
}

impl Files {
    /// Adds a segment, with a blank head.
    pub(super) fn begin(&mut self, start: Lsn, bytes: usize) {
        self.segments.push_back(Segment { start, bytes: vec![0; bytes] });
    }

    /// Removes a segment whose head was never written: it is the last one.
    pub(super) fn trim(&mut self) {
        if self.segments.back().is_some_and(Segment::is_blank) {
            self.segments.pop_back();
        }
    }

    /// Whether nothing was ever written.
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.snapshot.is_none()
    }

    /// How many segments are not written any more.
    pub(super) fn finished(&self) -> usize {
        self.segments.len().saturating_sub(1)
    }

    /// Puts a snapshot in the place of the one before, and of the segments that it stands for.
    pub(super) fn replace(&mut self, snapshot: Vec<u8>, end: Lsn) {
        self.snapshot = Some(snapshot);
        while self.segments.get(1).is_some_and(|next| next.start <= end) {
            self.segments.pop_front();
        }
    }

    /// Does again what the files say.
    pub(super) fn read(&self, config: &TaskQueueConfig, part: Part) -> Result<Found, String> {
        let mut found = Found::nothing(config);
        if let Some(bytes) = &self.snapshot {
            let head = head(config, bytes, SegmentKind::Snapshot)?;
            let is_torn = records(&mut found.replay, &head, bytes, head.start, None)?.1;
            if is_torn || !found.replay.is_whole() {
                return Err(format!("the snapshot of {} is not whole", head.start));
            }
            (found.end, found.generation, found.has_snapshot) = (head.start, head.generation, true);
        }
        let count = match part {
            Part::All => self.segments.len(),
            Part::Finished => self.finished(),
        };
        let from = found.end;
        for (at, segment) in self.segments.iter().take(count).enumerate() {
            if at + 1 == self.segments.len() && segment.is_blank() {
                // It is the one that is being written.
                break;
            }
            let head = head(config, &segment.bytes, SegmentKind::Log)?;
            let next = self.segments.get(at + 1).map(|next| next.start);
            if at == 0 && head.start > from {
                return Err(format!("the log begins at {}, but {from} is needed", head.start));
            }
            let limit = if at + 1 < count || part == Part::Finished { next } else { None };
            let (end, is_torn) = records(&mut found.replay, &head, &segment.bytes, from, limit)?;
            found.end = end.max(from);
            found.is_torn = is_torn;
            found.generation = found.generation.max(head.generation);
        }
        Ok(found)
    }

    /// Makes the file of a snapshot from the one before it and the finished segments. Returns how
    /// much of the log it stands for, and its bytes.
    pub(super) fn snapshot(&self, config: &TaskQueueConfig) -> Result<(Lsn, Vec<u8>), String> {
        let found = self.read(config, Part::Finished)?;
        let owner = TaskReplay::owner(config);
        let head = owner.head(SegmentKind::Snapshot, found.generation, found.end);
        let mut file = head.to_block().to_vec();
        let (mut lsn, mut waiting) = (head.start, Vec::new());
        let mut seal = |records: &mut Vec<u8>| {
            let at = file.len();
            file.resize(at + block_bytes(records.len()), 0);
            seal_block(&mut file[at..], &head, lsn, lsn, records);
            lsn = lsn.plus(records.len());
            records.clear();
        };
        let Ok(()) = found.replay.snapshot(|record| {
            record.write(&mut waiting);
            if waiting.len() >= SNAPSHOT_BLOCK {
                seal(&mut waiting);
            }
            Ok::<(), Infallible>(())
        });
        seal(&mut waiting);
        Ok((head.start, file))
    }
}

/// The head of a file, which must be one of this queue.
fn head(config: &TaskQueueConfig, bytes: &[u8], kind: SegmentKind) -> Result<SegmentHead, String> {
    let head = SegmentHead::read(bytes).map_err(|error| format!("a file: {error}"))?;
    let owner = TaskReplay::owner(config);
    if head == owner.head(kind, head.generation, head.start) {
        Ok(head)
    } else {
        Err(format!("a file is of {head:?}, not of {owner:?}"))
    }
}

/// Does again what a file says from one position of the log to another, or to its end. Returns
/// where it ends, and whether a torn tail is behind that.
fn records(
    replay: &mut TaskReplay,
    head: &SegmentHead,
    bytes: &[u8],
    from: Lsn,
    limit: Option<Lsn>,
) -> Result<(Lsn, bool), String> {
    let mut scan = SegmentScan::new(bytes, head);
    while limit.is_none_or(|limit| scan.lsn() < limit) {
        let next = scan.next_record().map_err(|damage| damage.to_string())?;
        let Some((lsn, record)) = next else { break };
        if lsn >= from {
            replay.apply(&record).map_err(|error| format!("the record at {lsn}: {error}"))?;
        }
    }
    let end = scan.lsn();
    if let Some(limit) = limit.filter(|limit| *limit != end) {
        return Err(format!("the segment of {} ends at {end} and should at {limit}", head.start));
    }
    Ok((end, matches!(scan.tail(), Some(Tail::Torn { .. }))))
}
