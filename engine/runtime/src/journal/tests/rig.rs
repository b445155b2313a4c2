//! A journal at work in a directory of its own, and a reader of what it leaves there.

use crate::config::JournalBackend;
use crate::journal::dir::JournalDir;
use crate::journal::handle::Journal;
use crate::journal::keeper::{MakeSpare, Tools, make_in};
use crate::journal::snapshot::snapshots_in;
use crate::journal::{JournalPlan, Recovered, recover, threads};
use punctual_core::journal::{
    Durability, Holder, Lsn, Record, SegmentHead, SegmentKind, SegmentScan,
};
use punctual_core::{Procedures, Replay, SessionId, ShardConfig, ShardId, ShardSetup};
use punctual_link::Parker;
use punctual_wire::{Key, Limits};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const SEGMENT_BYTES: u64 = 64 << 10;

/// The backends that this machine has.
#[expect(clippy::print_stdout, reason = "a test that leaves something out has to say so")]
pub(super) fn backends() -> Vec<JournalBackend> {
    let dir = tempfile::tempdir().expect("a directory");
    let spare = dir.path().join("log-000001");
    fs::write(&spare, vec![0; 4096]).expect("it can be written");
    match threads::probe_direct(&spare).and_then(|()| crate::backend::try_glommio()) {
        Ok(()) => vec![JournalBackend::Threads, JournalBackend::Glommio],
        Err(why) => {
            println!("skipped: glommio not found, {why}");
            vec![JournalBackend::Threads]
        }
    }
}

pub(super) fn head() -> SegmentHead {
    SegmentHead {
        kind: SegmentKind::Log,
        holder: Holder::Shard,
        shard: ShardId(0),
        shards: 1,
        session: SessionId(7),
        generation: 1,
        start: Lsn::ZERO,
        limits: Limits::DEFAULT,
    }
}

pub(super) fn config() -> ShardConfig {
    ShardConfig {
        session: head().session,
        durability: Durability::Journal,
        ..ShardConfig::new(ShardId(0), 1)
    }
}

fn setup() -> ShardSetup {
    ShardSetup { config: config(), procedures: Arc::new(Procedures::new()) }
}

/// What the record of a key has as its value.
fn value(key: u64, len: usize) -> Vec<u8> {
    vec![key.to_le_bytes()[0]; len]
}

/// Appends records with the keys from `first` on.
pub(super) fn records(first: u64, count: u64, value_len: usize) -> Vec<u8> {
    let mut records = Vec::new();
    for key in first..first + count {
        let (key_bytes, value) = (key.to_le_bytes(), value(key, value_len));
        Record::Put { key: &key_bytes, value: &value }.write(&mut records);
    }
    records
}

/// A journal, with who hands records over to it.
pub(super) struct Rig {
    pub(super) plan: JournalPlan,
    /// Nothing when it is closed.
    journal: Option<Journal>,
    parker: Parker,
    /// Where the record of each key ends.
    pub(super) ends: Vec<Lsn>,
    /// Where what was handed over ends.
    pub(super) end: Lsn,
    /// Removed at last.
    _temporary: TempDir,
}

impl Rig {
    /// An empty journal.
    pub(super) fn new(backend: JournalBackend) -> Self {
        Self::with(backend, 0, |dir| make_in(dir, SEGMENT_BYTES))
    }

    /// An empty journal whose keeper makes spares so.
    pub(super) fn with(
        backend: JournalBackend,
        snapshot_after: u64,
        make: impl FnOnce(&Arc<JournalDir>) -> MakeSpare,
    ) -> Self {
        let temporary = tempfile::tempdir().expect("a directory");
        let plan = JournalPlan {
            dir: temporary.path().join("shard-0"),
            segment_bytes: SEGMENT_BYTES,
            snapshot_after,
            backend,
            core: None,
        };
        let dir = JournalDir::open(&plan.dir).expect("a directory of its own");
        let mut rig = Self {
            plan,
            journal: None,
            parker: Parker::new().expect("a place to sleep"),
            ends: Vec::new(),
            end: Lsn::ZERO,
            _temporary: temporary,
        };
        let dir = Arc::new(dir);
        let make = make(&dir);
        rig.start(dir, make, &head(), 1);
        rig
    }

    fn start(&mut self, dir: Arc<JournalDir>, make: MakeSpare, head: &SegmentHead, number: u64) {
        let tools = Tools {
            snapshot: snapshots_in::<Replay>(&dir, setup()),
            dir,
            make,
            shard: head.shard,
            segment_bytes: SEGMENT_BYTES,
            snapshot_after: self.plan.snapshot_after,
        };
        let started = Journal::start_with(&self.plan, tools, head, number);
        let mut journal = started.expect("a journal");
        journal.set_waker(Some(Arc::clone(self.parker.handle().waker())));
        self.journal = Some(journal);
    }

    pub(super) fn journal(&mut self) -> &mut Journal {
        self.journal.as_mut().expect("it is open")
    }

    /// How far it is durable.
    pub(super) fn durable(&mut self) -> Lsn {
        self.journal().counts().durable
    }

    /// Waits for something that the core is woken for.
    pub(super) fn wait(&mut self, what: &str, is_done: impl Fn(&Journal) -> bool) {
        let Self { journal, parker, .. } = self;
        let journal = journal.as_ref().expect("it is open");
        let began = Instant::now();
        while !is_done(journal) {
            let failure = journal.failure();
            assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}; {failure:?}");
            let slept = parker.park(Some(PATIENCE), || usize::from(is_done(journal)));
            slept.expect("a place to sleep");
        }
    }

    /// Hands over a batch of records of the next keys, as soon as there is room for it.
    pub(super) fn hand(&mut self, count: u64, value_len: usize) {
        self.wait("room for a batch", Journal::has_room);
        let first = self.ends.len() as u64;
        let batch = records(first, count, value_len);
        let record_len = batch.len() / usize::try_from(count).expect("a small number");
        let lsn = self.end;
        let ends = (record_len..=batch.len()).step_by(record_len);
        self.ends.extend(ends.map(|len| lsn.plus(len)));
        self.end = lsn.plus(batch.len());
        self.journal().hand(lsn, batch);
    }

    /// Waits until all that was handed over is durable.
    pub(super) fn wait_durable(&mut self) {
        let end = self.end;
        self.wait("what was handed over is durable", |journal| journal.counts().durable >= end);
    }

    pub(super) fn close(&mut self) {
        self.journal.take().expect("it is open").close().expect("an end in order");
    }

    /// Ends it as a crash would, as far as the process is concerned.
    pub(super) fn kill(&mut self) {
        self.journal = None;
    }

    /// Takes the journal out, to see how it ends.
    pub(super) fn take(&mut self) -> Journal {
        self.journal.take().expect("it is open")
    }

    /// Reads the journal, as a start does.
    pub(super) fn recover(&self) -> Recovered<Replay> {
        recover(&self.plan, &setup()).expect("a journal that can be read")
    }

    /// Goes on from what the journal holds. Keys that it does not hold are handed over again.
    pub(super) fn go_on(&mut self, recovered: Recovered<Replay>) {
        let Recovered { replay, dir, head, number, .. } = recovered;
        self.ends.truncate(replay.shard().store().len());
        self.end = head.start;
        let dir = Arc::new(dir);
        let make = make_in(&dir, SEGMENT_BYTES);
        self.start(dir, make, &head, number);
    }

    pub(super) fn path(&self) -> &Path {
        &self.plan.dir
    }

    /// Checks that a recovered store has the keys that were handed over first, and no others, and
    /// says how many.
    pub(super) fn check(&self, recovered: &Recovered<Replay>) -> usize {
        let store = recovered.replay.shard().store();
        for key in 0..store.len() as u64 {
            let found = store.get(Key::new(&key.to_le_bytes()));
            let found = found.unwrap_or_else(|| panic!("key {key} of {}", store.len()));
            let expected = value(key, found.as_bytes().len());
            assert_eq!(found.as_bytes(), expected, "value of key {key}");
        }
        let end = store.len().checked_sub(1).map_or(Lsn::ZERO, |last| self.ends[last]);
        assert_eq!(recovered.head.start, end, "where the log goes on");
        store.len()
    }

    /// How many keys were durable when the log was so far.
    pub(super) fn keys_before(&self, durable: Lsn) -> usize {
        self.ends.iter().filter(|end| **end <= durable).count()
    }
}

/// What can be read of a log.
#[derive(Debug, Default)]
pub(super) struct ReadBack {
    pub(super) keys: Vec<u64>,
    pub(super) end: Lsn,
    pub(super) segments: usize,
    /// How far the log was durable, by its own word.
    pub(super) durable: Lsn,
}

/// Reads the log in a directory from its beginning. Where it is written to meanwhile, it is read at
/// least as far as it was durable before.
pub(super) fn read_back(dir: &Path) -> ReadBack {
    let entries = fs::read_dir(dir).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_log = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("log-") && path.extension().is_none()
    };
    let mut paths: Vec<_> = paths.filter(is_log).collect();
    paths.sort();
    let mut found = ReadBack::default();
    for path in paths {
        let bytes = fs::read(&path).expect("a segment");
        let Ok(head) = SegmentHead::read(&bytes) else { break };
        if head.start != found.end {
            break;
        }
        found.segments += 1;
        let mut scan = SegmentScan::new(&bytes, &head);
        while let Ok(Some((lsn, record))) = scan.next_record() {
            assert_eq!(lsn, found.end, "records follow each other");
            let Record::Put { key, value: found_value } = record else { panic!("{record:?}") };
            let key = u64::from_le_bytes(key.try_into().expect("eight bytes"));
            assert_eq!(found_value, value(key, found_value.len()), "value of key {key}");
            found.keys.push(key);
            found.end = scan.lsn();
        }
        found.durable = found.durable.max(scan.durable());
    }
    found
}
