//! The disk of the queue: the files of its journal, who writes them, and what a crash leaves.
//!
//! Blocks and segments are sealed and read by the code of the core. What is simulated is group
//! commit with several writes under way that are done in any order, segments that follow each
//! other, snapshots in the background, and recovery. Beside it a [`Twin`] keeps everything that was
//! ever appended where no crash reaches it, so that what is recovered can be compared.
//!
//! Nothing here is an event: whoever looks at the disk says what time it is, and what was done by
//! then is done.

mod files;
mod twin;
mod writer;

use super::inspect::{Seen, compare, rows_of_copy};
use super::report::{FarmCounts, FarmViolationKind, Findings};
use super::tuning::{DiskTuning, Tuning};
use crate::rng::Rng;
use files::{Files, Found, Part};
use punctual_core::journal::{Logged, Lsn, Replica, SegmentKind};
use punctual_core::task::{TaskQueue, TaskQueueConfig, TaskReplay};
use punctual_core::{Nanos, SessionId};
use std::ops::Range;
use twin::Twin;
use writer::Writer;

/// What a recovery needs for each record.
const RECORD_NS: i64 = 500;

/// A snapshot that is being made.
#[derive(Debug)]
struct Making {
    file: Vec<u8>,
    /// How much of the log it stands for.
    end: Lsn,
    whole_at: i64,
}

/// What a queue finds when it starts.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) replay: TaskReplay,
    /// Where the log goes on.
    pub(super) end: Lsn,
    /// When the recovery is done, in true time.
    pub(super) ready_at: i64,
}

/// The disk of the queue. It stays when the queue is killed.
#[derive(Debug)]
pub(super) struct FarmDisk {
    tuning: DiskTuning,
    /// Writes are slow now and then, and a crash tears what is being written.
    is_bad: bool,
    config: TaskQueueConfig,
    rng: Rng,
    files: Files,
    twin: Twin,
    /// While the queue is up.
    writer: Option<Writer>,
    making: Option<Making>,
    /// When there is no room.
    full: Range<i64>,
    batch: Vec<u8>,
    /// How far the log was durable when the queue was killed last.
    durable: Lsn,
    pub(super) counts: FarmCounts,
}

impl FarmDisk {
    /// An empty disk for the queue with these settings.
    pub(super) fn new(
        config: TaskQueueConfig,
        tuning: &Tuning,
        is_bad: bool,
        duration: i64,
        mut rng: Rng,
    ) -> Self {
        let tuning = tuning.disk;
        let from = rng.between(0, duration);
        let until = from + rng.between(1, tuning.full_max);
        let is_ever_full = is_bad && rng.chance(500_000);
        Self {
            tuning,
            is_bad,
            twin: Twin::new(&config),
            config,
            rng,
            files: Files::default(),
            writer: None,
            making: None,
            full: if is_ever_full { from..until } else { 0..0 },
            batch: Vec::new(),
            durable: Lsn::ZERO,
            counts: FarmCounts::default(),
        }
    }

    /// From now on nothing goes wrong.
    pub(super) fn heal(&mut self) {
        (self.is_bad, self.full) = (false, 0..0);
    }

    /// A queue starts: it goes on from what is here, or makes a journal for this session. `clock`
    /// is what it is told about the time.
    pub(super) fn open(
        &mut self,
        now: i64,
        clock: Nanos,
        session: SessionId,
        findings: &mut Findings,
    ) -> Opened {
        self.files.trim();
        if self.files.is_empty() {
            // Nobody can have been told anything of an earlier one.
            self.config.session = session;
            self.twin = Twin::new(&self.config);
        }
        let mut fail = |why: String| findings.add(FarmViolationKind::Recovery, why);
        let found = self.files.read(&self.config, Part::All).unwrap_or_else(|error| {
            fail(format!("the queue cannot go on from its journal: {error}"));
            // To see what else there is to see.
            self.files = Files::default();
            Found::nothing(&self.config)
        });
        let Found { replay, end, generation, is_torn, has_snapshot } = found;
        if end < self.durable {
            fail(format!("the log was durable up to {}, and is there up to {end}", self.durable));
        }
        if let Err(error) = self.twin.cut(end).and_then(|()| self.compare(clock)) {
            fail(format!("what was recovered is not what was durable: {error}"));
        }
        self.counts.torn_tails += u64::from(is_torn);
        self.counts.recoveries_from_snapshots += u64::from(has_snapshot);
        let owner = TaskReplay::owner(&self.config);
        let head = owner.head(SegmentKind::Log, generation + 1, end);
        self.files.begin(end, self.tuning.segment_bytes);
        self.writer = Some(Writer::new(head));
        let records = RECORD_NS * replay.tally().records.cast_signed();
        let ready_at = now + self.rng.between(1, self.tuning.recovery) + records;
        Opened { replay, end, ready_at }
    }

    /// Compares what is in the files with what was appended.
    pub(super) fn compare(&mut self, clock: Nanos) -> Result<(), String> {
        self.counts.replays_compared += 1;
        let found = self.files.read(&self.config, Part::All)?;
        let mut queue = found.replay.finish(clock, found.end);
        compare(rows_of_copy(&mut queue, clock)?, self.rows(clock)?)
    }

    /// The tasks that there must be by all that was appended.
    pub(super) fn rows(&self, clock: Nanos) -> Result<Vec<Seen>, String> {
        let mut queue = self.twin.again()?.finish(clock, self.twin.end());
        rows_of_copy(&mut queue, clock)
    }

    /// Tells the queue what was done until now, and whether there is room.
    pub(super) fn look(&mut self, now: i64, queue: &mut TaskQueue) {
        self.advance(now);
        queue.set_journal_full(self.full.contains(&now));
        if let Some(writer) = &self.writer {
            queue.on_durable(writer.durable());
        }
    }

    /// Takes what the queue has appended to its log, and tells it what is durable.
    pub(super) fn pump(&mut self, now: i64, queue: &mut TaskQueue, findings: &mut Findings) {
        let Self { tuning, is_bad, rng, files, twin, batch, counts, writer, .. } = self;
        let Some(writer) = writer else { return };
        let mut fail = |why: String| findings.add(FarmViolationKind::Recovery, why);
        if queue.log_len() > 0 && writer.has_room() {
            let lsn = queue.take_log(batch);
            if let Err(error) = twin.append(lsn, batch) {
                fail(format!("the queue has logged what cannot be done again: {error}"));
            }
            writer.push(lsn, batch);
        }
        let mut latency = || {
            let half = tuning.latency / 2;
            let is_slow = *is_bad && rng.chance(tuning.slow);
            let late = if is_slow { rng.between(0, tuning.slow_max) } else { 0 };
            1 + half + rng.exponential(half) + late
        };
        counts.disk_writes += writer.submit(now, files, tuning, &mut latency);
        queue.on_durable(writer.durable());
        if queue.log_len() == 0
            && let Err(error) = twin.compare_counts(queue.counts())
        {
            fail(format!("the log is not what the queue is: {error}"));
        }
        if let Err(error) = self.begin_snapshot(now) {
            fail(format!("the queue cannot make a snapshot: {error}"));
        }
    }

    /// When something will be different that is not yet, in true time.
    pub(super) fn next_change(&self, now: i64) -> Option<i64> {
        let done = self.writer.as_ref().and_then(Writer::next_done);
        let room = self.full.contains(&now).then_some(self.full.end);
        done.into_iter().chain(room).min()
    }

    /// Notes what was done until now.
    fn advance(&mut self, now: i64) {
        if let Some(writer) = &mut self.writer {
            writer.advance(now, &mut self.files);
        }
        if let Some(Making { file, end, .. }) = self.making.take_if(|it| it.whole_at <= now) {
            self.files.replace(file, end);
            self.counts.snapshots += 1;
        }
    }

    /// Begins to make a snapshot if it is time to.
    fn begin_snapshot(&mut self, now: i64) -> Result<(), String> {
        let DiskTuning { snapshot_after, snapshot_takes, .. } = self.tuning;
        let is_enough = snapshot_after > 0 && self.files.finished() >= snapshot_after;
        if is_enough && self.making.is_none() {
            let whole_at = now + self.rng.between(1, snapshot_takes);
            let (end, file) = self.files.snapshot(&self.config)?;
            self.making = Some(Making { file, end, whole_at });
        }
        Ok(())
    }

    /// The queue is killed, and with it whoever wrote.
    pub(super) fn crash(&mut self, now: i64) {
        self.advance(now);
        self.making = None;
        if let Some(writer) = self.writer.take() {
            self.durable = writer.durable();
            let harmed = writer.crash(&mut self.files, self.is_bad, &mut self.rng);
            self.counts.writes_harmed += harmed;
        }
    }
}
