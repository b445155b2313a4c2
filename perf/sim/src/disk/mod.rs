//! The disk of a shard: the files of its journal, who writes them, and what a crash leaves.
//!
//! The files have the layout of real ones, and their blocks are sealed and read by the code of the
//! core. What is simulated is what the runtime does with them: group commit with several writes
//! under way that are done in any order, segments that follow each other and are used again,
//! snapshots in the background, recovery. The rules are those of `docs/durability.md`.
//!
//! Nothing here is an event: whoever looks at the disk says what time it is, and what was done by
//! then is done.

mod files;
mod settings;
mod writer;

use crate::config::SimConfig;
use crate::keys::Keyspace;
use crate::report::SimCounts;
use crate::rng::Rng;
use crate::violation::{Findings, ViolationKind};
use files::{Files, Found, Part};
use punctual_core::journal::{Holder, Lsn, SegmentHead, SegmentKind};
use punctual_core::{
    Procedures, Replay, SessionId, SessionIndex, Shard, ShardConfig, ShardId, Value,
};
pub(crate) use settings::DiskSettings;
use std::ops::Range;
use std::sync::Arc;
use writer::Writer;

/// The disk of each shard draws from a stream of its own, from this one on.
const STREAM: u64 = 100;
/// The longest time without room.
const FULL_MAX: i64 = 10_000_000;
/// What a recovery needs for each record.
const RECORD_NS: i64 = 500;

/// A snapshot that is being made.
#[derive(Debug)]
struct Making {
    /// Its file, until it is whole and has its name.
    file: Option<Vec<u8>>,
    /// How much of the log it stands for.
    end: Lsn,
    whole_at: i64,
    /// When what it replaces is taken out of use.
    retire_at: i64,
}

/// What a shard finds when it starts.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) replay: Replay,
    /// Where the log goes on.
    pub(crate) end: Lsn,
    /// There was no journal.
    pub(crate) is_new: bool,
    /// The coordinators that it knows.
    pub(crate) sessions: Vec<(SessionId, SessionIndex)>,
    /// When the recovery is done, in true time.
    pub(crate) ready_at: i64,
}

/// The disk of a shard. It stays when the shard crashes.
#[derive(Debug)]
pub(crate) struct Disk {
    settings: DiskSettings,
    config: ShardConfig,
    procedures: Arc<Procedures>,
    rng: Rng,
    files: Files,
    /// While the shard is up.
    writer: Option<Writer>,
    making: Option<Making>,
    next_snapshot: i64,
    /// When there is no room.
    full: Range<i64>,
    is_healed: bool,
    ready_at: i64,
    batch: Vec<u8>,
    /// What happened how often.
    pub(crate) counts: SimCounts,
}

impl Disk {
    /// An empty disk for the shard with these settings.
    pub(crate) fn new(
        config: &SimConfig,
        settings: DiskSettings,
        shard: ShardConfig,
        procedures: &Arc<Procedures>,
    ) -> Self {
        let ShardId(id) = shard.id;
        let mut rng = Rng::new(config.seed, STREAM + u64::from(id));
        let from = rng.between(0, config.duration.0.max(1));
        let until = from + rng.between(FULL_MAX / 20, FULL_MAX);
        let is_ever_full = config.faults.disk && rng.chance(500_000);
        Self {
            settings,
            config: shard,
            procedures: Arc::clone(procedures),
            rng,
            files: Files::default(),
            writer: None,
            making: None,
            next_snapshot: 0,
            full: if is_ever_full { from..until } else { 0..0 },
            is_healed: false,
            ready_at: 0,
            batch: Vec::new(),
            counts: SimCounts::default(),
        }
    }

    /// From now on nothing goes wrong.
    pub(crate) fn heal(&mut self) {
        self.is_healed = true;
        self.full = 0..0;
    }

    /// A shard starts: it goes on from what is here, or makes a journal for this session.
    pub(crate) fn open(&mut self, now: i64, session: SessionId, findings: &mut Findings) -> Opened {
        self.files.trim();
        let config = ShardConfig { session, ..self.config.clone() };
        let found = self.files.read(&config, &self.procedures, Part::All);
        let found = found.unwrap_or_else(|error| {
            let text = format!("{} cannot go on from its journal: {error}", config.id);
            findings.add(ViolationKind::Recovery, &[], text);
            // To see what else there is to see.
            self.files = Files::default();
            Found::nothing(&config, &self.procedures)
        });
        self.count(&found);
        let Found { replay, end, head, sessions, .. } = found;
        let head = SegmentHead {
            kind: SegmentKind::Log,
            holder: Holder::Shard,
            shard: config.id,
            shards: config.shards,
            session: replay.shard().session(),
            generation: head.map_or(1, |head| head.generation + 1),
            start: end,
            limits: config.limits,
        };
        self.files.begin(end, self.settings.segment_bytes);
        self.writer = Some(Writer::new(head));
        let records = RECORD_NS * replay.records().cast_signed();
        self.ready_at = now + self.rng.between(1, self.settings.recovery) + records;
        let pause = self.rng.between(0, self.settings.snapshot_pause);
        self.next_snapshot = self.ready_at + pause;
        let place = |(index, id): (u32, SessionId)| (id, SessionIndex(index as usize));
        let sessions = sessions.into_iter().map(place).collect();
        let is_new = head.generation == 1;
        Opened { replay, end, is_new, sessions, ready_at: self.ready_at }
    }

    fn count(&mut self, found: &Found) {
        let Found { replay, head, is_torn, has_snapshot, .. } = found;
        let counts = &mut self.counts;
        counts.recoveries += u64::from(head.is_some());
        counts.recoveries_from_snapshots += u64::from(*has_snapshot);
        counts.recoveries_undecided += u64::from(replay.undecided() > 0);
        counts.records_replayed += replay.records();
        counts.torn_tails += u64::from(*is_torn);
    }

    /// Takes what the shard has appended to its log, and tells it what is durable.
    pub(crate) fn pump(&mut self, now: i64, shard: &mut Shard, findings: &mut Findings) {
        self.advance(now);
        shard.set_journal_full(self.full.contains(&now));
        let settings = self.settings;
        let can_be_slow = settings.is_bad && !self.is_healed;
        let Self { rng, files, batch, counts, writer: Some(writer), .. } = self else { return };
        if shard.log_len() > 0 && writer.has_room() {
            let lsn = shard.take_log(batch);
            writer.push(lsn, batch);
        }
        let mut latency = || settings.latency(rng, can_be_slow);
        counts.disk_writes += writer.submit(now, files, &settings, &mut latency);
        shard.on_durable(writer.durable());
        self.begin_snapshot(now, findings);
    }

    /// When something will be durable that is not yet, in true time.
    pub(crate) fn next_done(&self) -> Option<i64> {
        self.writer.as_ref().and_then(Writer::next_done)
    }

    /// Notes what was done until now.
    fn advance(&mut self, now: i64) {
        if let Some(writer) = &mut self.writer {
            writer.advance(now, &mut self.files);
        }
        let Some(making) = &mut self.making else { return };
        if making.whole_at <= now
            && let Some(file) = making.file.take()
        {
            self.files.snapshots.push_back(file);
            self.counts.snapshots += 1;
        }
        if making.retire_at <= now {
            self.files.retire(making.end);
            self.making = None;
        }
    }

    /// Begins to make a snapshot if it is time to.
    fn begin_snapshot(&mut self, now: i64, findings: &mut Findings) {
        let DiskSettings { snapshot_after, snapshot_takes, snapshot_pause, .. } = self.settings;
        // The last segment is being written.
        let is_enough = snapshot_after > 0 && self.files.segments.len() > snapshot_after;
        if !is_enough || self.making.is_some() || now < self.next_snapshot {
            return;
        }
        let whole_at = now + self.rng.between(1, snapshot_takes);
        self.next_snapshot = whole_at + snapshot_pause;
        match self.files.snapshot(&self.config, &self.procedures) {
            Ok((end, file)) => {
                let retire_at = whole_at + self.rng.between(1, snapshot_takes);
                self.making = Some(Making { file: Some(file), end, whole_at, retire_at });
            }
            Err(error) => {
                let text = format!("{} cannot make a snapshot: {error}", self.config.id);
                findings.add(ViolationKind::Recovery, &[], text);
            }
        }
    }

    /// The shard crashes, and with it whoever wrote.
    pub(crate) fn crash(&mut self, now: i64) {
        self.advance(now);
        self.counts.recovery_crashes += u64::from(now < self.ready_at);
        // What was not whole yet is deleted by the next one who starts.
        self.making = None;
        if let Some(writer) = self.writer.take() {
            let tears = self.settings.is_bad;
            self.counts.writes_harmed += writer.crash(&mut self.files, tears, &mut self.rng);
        }
    }

    /// Says how what is here differs from a shard that has nothing left to write.
    pub(crate) fn compare(&self, shard: &Shard, keys: &Keyspace) -> Result<(), String> {
        let Found { replay, end, .. } =
            self.files.read(&self.config, &self.procedures, Part::All)?;
        let (expected, _) = shard.log_ends();
        if end != expected {
            return Err(format!("the log ends at {end} and not at {expected}"));
        }
        let undecided = replay.undecided();
        if undecided > 0 {
            return Err(format!("{undecided} transactions are undecided"));
        }
        let (found, expected) = (replay.shard().store(), shard.store());
        if found.len() != expected.len() {
            let (found, expected) = (found.len(), expected.len());
            return Err(format!("there are {found} keys and not {expected}"));
        }
        for key in keys.of_shard(shard.id().0) {
            let [found, expected] = [found, expected].map(|store| store.get(keys.key(*key)));
            let [found, expected] = [&found, &expected].map(|it| it.as_ref().map(Value::as_bytes));
            if found != expected {
                return Err(format!("k{key} is {found:?} and not {expected:?}"));
            }
        }
        Ok(())
    }
}
