//! The files of a journal, and what can be read from them.
//!
//! Reading keeps to the rules of the runtime, which reads real files: the newest snapshot, then the
//! log behind it; each segment but the last is read exactly to where the next one begins, and only
//! the last may have a torn tail.

use punctual_core::journal::{
    Lsn, Record, SEGMENT_HEAD_BYTES, SegmentError, SegmentHead, SegmentKind, SegmentScan, Tail,
    block_bytes, seal_block,
};
use punctual_core::{Procedures, Replay, SessionId, ShardConfig};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

/// Segments out of use that are kept to be used again.
const SPARES_MAX: usize = 4;
/// A snapshot gets a new block after so many bytes of records.
const SNAPSHOT_BLOCK: usize = 16 << 10;

/// A file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    /// Where it begins in the log. Whoever reads it takes that from its head.
    pub(super) start: Lsn,
    pub(super) bytes: Vec<u8>,
}

/// Which part of the log to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All that there is.
    All,
    /// All before the segment that is being written.
    Finished,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) replay: Replay,
    /// Where the log goes on.
    pub(super) end: Lsn,
    /// The head of the latest use; none of a journal that was never written.
    pub(super) head: Option<SegmentHead>,
    pub(super) is_torn: bool,
    pub(super) has_snapshot: bool,
    /// The sessions of coordinators, by their places.
    pub(super) sessions: BTreeMap<u32, SessionId>,
}

impl Found {
    /// A journal that was never written.
    pub(super) fn nothing(config: &ShardConfig, procedures: &Arc<Procedures>) -> Self {
        Self {
            replay: Replay::new(config.clone(), Arc::clone(procedures)),
            end: Lsn::ZERO,
            head: None,
            is_torn: false,
            has_snapshot: false,
            sessions: BTreeMap::new(),
        }
    }
}

/// The files of a journal.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// The log in order. The last one is being written.
    pub(super) segments: VecDeque<Segment>,
    /// Segments that are not in use: their heads are blank, and behind them they hold what they
    /// held when they were.
    spares: Vec<Vec<u8>>,
    /// Whole ones, the newest last.
    pub(super) snapshots: VecDeque<Vec<u8>>,
}

impl Files {
    /// Adds a segment, with a blank head.
    pub(super) fn begin(&mut self, start: Lsn, bytes: usize) {
        let bytes = self.spares.pop().unwrap_or_else(|| vec![0; bytes]);
        self.segments.push_back(Segment { start, bytes });
    }

    /// Removes a segment whose head was never written. It must not be used again: of the write that
    /// was lost with the head, a block may be there, and the next use of the journal has the same
    /// generation and begins at the same place, so it would take that block for its own.
    pub(super) fn trim(&mut self) {
        self.segments.truncate(self.written());
    }

    /// Takes segments wholly below a position out of use, and older snapshots than the newest.
    pub(super) fn retire(&mut self, below: Lsn) {
        while self.segments.get(1).is_some_and(|next| next.start <= below)
            && let Some(Segment { mut bytes, .. }) = self.segments.pop_front()
        {
            if self.spares.len() < SPARES_MAX {
                bytes[..SEGMENT_HEAD_BYTES].fill(0);
                self.spares.push(bytes);
            }
        }
        while self.snapshots.len() > 1 {
            self.snapshots.pop_front();
        }
    }

    /// How many segments have a head, if only that of the last one can be missing.
    fn written(&self) -> usize {
        let is_blank = |it: &Segment| SegmentHead::read(&it.bytes) == Err(SegmentError::Blank);
        self.segments.len() - usize::from(self.segments.back().is_some_and(is_blank))
    }

    /// Does again what the files say.
    pub(super) fn read(
        &self,
        config: &ShardConfig,
        procedures: &Arc<Procedures>,
        part: Part,
    ) -> Result<Found, String> {
        let (count, limit) = match part {
            Part::All => (self.written(), None),
            Part::Finished => {
                let limit = self.segments.back().map(|segment| segment.start);
                (self.segments.len().saturating_sub(1), limit)
            }
        };
        let snapshot = self.snapshots.back();
        let log = self.segments.iter().take(count).map(|segment| &segment.bytes);
        let mut files = Vec::new();
        for bytes in snapshot.into_iter().chain(log) {
            let head = SegmentHead::read(bytes).map_err(|error| format!("a file: {error}"))?;
            files.push((head, bytes.as_slice()));
        }
        let Some(session) = files.first().map(|(head, _)| head.session) else {
            return Ok(Found::nothing(config, procedures));
        };
        let whose = (config.id, config.shards, session, config.limits);
        let fits = |head: &SegmentHead| (head.shard, head.shards, head.session, head.limits);
        if let Some((head, _)) = files.iter().find(|(head, _)| fits(head) != whose) {
            return Err(format!("a file is of {whose:?} and another one is {head:?}"));
        }
        let config = ShardConfig { session, ..config.clone() };
        let mut reader = Reader {
            replay: Replay::new(config, Arc::clone(procedures)),
            sessions: BTreeMap::new(),
            end: Lsn::ZERO,
            is_torn: false,
        };
        let (snapshots, log) = files.split_at(usize::from(snapshot.is_some()));
        for snapshot in snapshots {
            reader.snapshot(snapshot)?;
        }
        reader.log(log, limit)?;
        let Reader { replay, sessions, end, is_torn } = reader;
        let head = files.iter().map(|(head, _)| *head).max_by_key(|head| head.generation);
        Ok(Found { replay, end, head, is_torn, has_snapshot: !snapshots.is_empty(), sessions })
    }

    /// Makes the file of a snapshot from the one before it and the finished segments, as a shard
    /// does in the background. Returns how much of the log it stands for, and its bytes.
    pub(super) fn snapshot(
        &self,
        config: &ShardConfig,
        procedures: &Arc<Procedures>,
    ) -> Result<(Lsn, Vec<u8>), String> {
        let found = self.read(config, procedures, Part::Finished)?;
        let head = found.head.ok_or("there is no finished segment")?;
        let head = SegmentHead { kind: SegmentKind::Snapshot, start: found.end, ..head };
        let mut file = head.to_block().to_vec();
        let (mut lsn, mut records) = (head.start, Vec::new());
        let mut seal = |records: &mut Vec<u8>| {
            let at = file.len();
            file.resize(at + block_bytes(records.len()), 0);
            seal_block(&mut file[at..], &head, lsn, lsn, records);
            lsn = lsn.plus(records.len());
            records.clear();
        };
        let Ok(()) = found.replay.snapshot(|record| {
            record.write(&mut records);
            if records.len() >= SNAPSHOT_BLOCK {
                seal(&mut records);
            }
            Ok::<(), Infallible>(())
        });
        seal(&mut records);
        Ok((head.start, file))
    }
}

/// Reads files, one after the other.
struct Reader {
    replay: Replay,
    sessions: BTreeMap<u32, SessionId>,
    /// How much of the log was done.
    end: Lsn,
    is_torn: bool,
}

impl Reader {
    fn snapshot(&mut self, file: &(SegmentHead, &[u8])) -> Result<(), String> {
        let (head, _) = file;
        if head.kind != SegmentKind::Snapshot {
            return Err(format!("a part of the log is where a snapshot should be: {head:?}"));
        }
        let (end, is_torn) = self.records(file, head.start, None)?;
        if is_torn || !self.replay.is_whole() {
            return Err(format!("the snapshot of {} ends at {end} and is not whole", head.start));
        }
        self.end = head.start;
        Ok(())
    }

    /// Reads segments, which must begin where the snapshot ends at the latest, up to `limit` or to
    /// the end of the last one.
    fn log(&mut self, log: &[(SegmentHead, &[u8])], limit: Option<Lsn>) -> Result<(), String> {
        let from = self.end;
        let first = log.iter().rposition(|(head, _)| head.start <= from);
        let start = log.first().map_or(from, |(head, _)| head.start);
        if first.is_none() && start > from {
            return Err(format!("the log begins at {start}, but {from} is needed"));
        }
        for (at, file) in log.iter().enumerate().skip(first.unwrap_or(0)) {
            if file.0.kind != SegmentKind::Log {
                return Err(format!("a snapshot is where a segment should be: {:?}", file.0));
            }
            let next = log.get(at + 1).map(|(head, _)| head.start).or(limit);
            (self.end, self.is_torn) = self.records(file, from, next)?;
        }
        if self.end < from || limit.is_some_and(|limit| limit != self.end) {
            return Err(format!("the log ends at {}, the snapshot before it at {from}", self.end));
        }
        Ok(())
    }

    /// Does again what a file says from one position of the log to another, or to its end. Returns
    /// where it ends, and whether a torn tail is behind that.
    fn records(
        &mut self,
        (head, bytes): &(SegmentHead, &[u8]),
        from: Lsn,
        limit: Option<Lsn>,
    ) -> Result<(Lsn, bool), String> {
        let mut scan = SegmentScan::new(bytes, head);
        while limit.is_none_or(|limit| scan.lsn() < limit) {
            let next = scan.next_record().map_err(|damage| damage.to_string())?;
            let Some((lsn, record)) = next else { break };
            if lsn >= from {
                self.record(lsn, &record)?;
            }
        }
        let end = scan.lsn();
        if let Some(limit) = limit.filter(|limit| *limit != end) {
            let start = head.start;
            return Err(format!("the segment of {start} ends at {end} and should at {limit}"));
        }
        Ok((end, matches!(scan.tail(), Some(Tail::Torn { .. }))))
    }

    fn record(&mut self, lsn: Lsn, record: &Record<'_>) -> Result<(), String> {
        match *record {
            Record::SessionOpened { id, index, .. } => {
                self.sessions.insert(index, id);
            }
            Record::SessionEnded { id } => self.sessions.retain(|_, known| *known != id),
            _ => {}
        }
        self.replay.apply(record).map_err(|error| format!("the record at {lsn}: {error}"))
    }
}
