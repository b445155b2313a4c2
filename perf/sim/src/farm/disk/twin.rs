//! Everything that was ever appended to the log, where no crash reaches it.

use punctual_core::journal::{
    Lsn, Replica, SEGMENT_HEAD_BYTES, SegmentKind, SegmentScan, block_bytes, seal_block,
};
use punctual_core::task::{TaskQueueConfig, TaskReplay};
use punctual_wire::task::{StateCounts, TaskState};

#[derive(Debug)]
pub(super) struct Twin {
    config: TaskQueueConfig,
    /// From the beginning of the log on, as they were appended.
    records: Vec<u8>,
    /// What they come to.
    replay: TaskReplay,
}

impl Twin {
    pub(super) fn new(config: &TaskQueueConfig) -> Self {
        let (config, replay) = (config.clone(), TaskReplay::new(config));
        Self { config, records: Vec::new(), replay }
    }

    /// Where the log goes on.
    pub(super) fn end(&self) -> Lsn {
        Lsn(self.records.len() as u64)
    }

    /// Takes what was appended at a position.
    pub(super) fn append(&mut self, lsn: Lsn, records: &[u8]) -> Result<(), String> {
        let end = self.end();
        if lsn != end {
            return Err(format!("the log goes on at {lsn} and not at {end}"));
        }
        self.records.extend_from_slice(records);
        apply(&self.config, &mut self.replay, lsn, records)
    }

    /// What was behind a position never happened.
    pub(super) fn cut(&mut self, end: Lsn) -> Result<(), String> {
        if end > self.end() {
            return Err(format!("the log ends at {end}, behind all that was appended"));
        }
        self.records.truncate(end.0 as usize);
        self.replay = self.again()?;
        Ok(())
    }

    /// Does everything again.
    pub(super) fn again(&self) -> Result<TaskReplay, String> {
        let mut replay = TaskReplay::new(&self.config);
        apply(&self.config, &mut replay, Lsn::ZERO, &self.records)?;
        Ok(replay)
    }

    /// Compares how many tasks there are in which state. That a pause is over is in no record.
    pub(super) fn compare_counts(&self, found: StateCounts) -> Result<(), String> {
        let settled = |mut counts: StateCounts| {
            counts[TaskState::Ready] += std::mem::take(&mut counts[TaskState::Delayed]);
            counts
        };
        let (found, expected) = (settled(found), settled(self.replay.counts()));
        if found == expected { Ok(()) } else { Err(format!("{found:?} against {expected:?}")) }
    }
}

/// Does what records say, which stand at a position of the log.
fn apply(
    config: &TaskQueueConfig,
    replay: &mut TaskReplay,
    lsn: Lsn,
    records: &[u8],
) -> Result<(), String> {
    let head = TaskReplay::owner(config).head(SegmentKind::Log, 1, lsn);
    let mut bytes = vec![0; SEGMENT_HEAD_BYTES + block_bytes(records.len())];
    seal_block(&mut bytes[SEGMENT_HEAD_BYTES..], &head, lsn, lsn, records);
    let mut scan = SegmentScan::new(&bytes, &head);
    while let Some((at, record)) = scan.next_record().map_err(|damage| damage.to_string())? {
        replay.apply(&record).map_err(|error| format!("the record at {at}: {error}"))?;
    }
    let end = lsn.plus(records.len());
    if scan.lsn() == end { Ok(()) } else { Err(format!("the records end at {}", scan.lsn())) }
}
