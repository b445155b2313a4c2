//! Journals made by hand, for tests: what a real shard logs, in files in whatever state a crash or
//! a disk can leave them.

use crate::config::JournalBackend;
use crate::journal::dir::JournalDir;
use crate::journal::error::JournalError;
use crate::journal::{JournalPlan, Recovered, recover};
use punctual_core::journal::{
    BLOCK_HEAD_BYTES, Durability, Lsn, Replica, SEGMENT_HEAD_BYTES, SegmentHead, SegmentKind,
    seal_block,
};
use punctual_core::{
    Nanos, Procedures, Replay, SessionId, SessionIndex, Shard, ShardConfig, ShardId, ShardSetup,
    Store,
};
use punctual_wire::{
    BatchWriter, FrameReader, Key, Limits, Op, Participant, Piece, TxnSequence, shard_of,
    write_call_head,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) const SEGMENT_BYTES: usize = 64 << 10;
/// The session of the shard in a new journal.
pub(crate) const SESSION: SessionId = SessionId(0xabcd);
const SHARDS: u16 = 2;
/// Transaction `n` adds `n` to one of so many keys.
const KEYS: usize = 7;
const SLOTS: u32 = 64;

/// The word keys of shard 0.
fn key(index: usize) -> Key<'static> {
    let own = |word: &u64| shard_of(Key::Word(*word), SHARDS) == 0;
    Key::Word((0..).filter(own).nth(index).expect("every shard has keys"))
}

/// A directory for a journal, and who uses it.
pub(crate) struct Home {
    _temp: TempDir,
    pub(crate) plan: JournalPlan,
    pub(crate) config: ShardConfig,
}

impl Home {
    pub(crate) fn new() -> Self {
        let temp = tempfile::tempdir().expect("a directory for the test");
        let dir = temp.path().join("data/shard-0");
        fs::create_dir_all(&dir).expect("a directory for the journal");
        let config = ShardConfig {
            session: SESSION,
            durability: Durability::Journal,
            ..ShardConfig::new(ShardId(0), SHARDS)
        };
        let plan = JournalPlan {
            dir,
            segment_bytes: SEGMENT_BYTES as u64,
            snapshot_after: 0,
            backend: JournalBackend::default(),
            core: None,
        };
        Self { _temp: temp, plan, config }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.plan.dir
    }

    pub(crate) fn log(&self, number: u64) -> PathBuf {
        self.dir().join(format!("log-{number:06}"))
    }

    /// What the shard is made with.
    pub(crate) fn setup(&self) -> ShardSetup {
        ShardSetup { config: self.config.clone(), procedures: Arc::new(Procedures::new()) }
    }

    pub(crate) fn recover(&self) -> Result<Recovered<Replay>, JournalError> {
        recover(&self.plan, &self.setup())
    }

    /// Recovers where that must be possible.
    pub(crate) fn recovered(&self) -> Recovered<Replay> {
        self.recover().unwrap_or_else(|error| panic!("it should be recovered: {error}"))
    }

    /// The error of a recovery that must fail.
    pub(crate) fn refused(&self) -> JournalError {
        match self.recover() {
            Ok(recovered) => panic!("it should not be recovered: {}", recovered.report),
            Err(error) => error,
        }
    }

    pub(crate) fn open(&self) -> JournalDir {
        JournalDir::open(self.dir()).expect("nobody else has it")
    }

    /// The head of the first file of a new journal.
    pub(crate) fn first_head(&self) -> SegmentHead {
        Replay::owner(&self.setup()).head(SegmentKind::Log, 1, Lsn::ZERO)
    }

    /// Writes a log whose files have so many transactions each.
    pub(crate) fn write(&self, counts: &[u64]) -> Vec<Pages> {
        let mut author = Author::new(&self.config);
        self.write_by(&mut author, counts)
    }

    pub(crate) fn write_by(&self, author: &mut Author, counts: &[u64]) -> Vec<Pages> {
        let mut all: Vec<Pages> = Vec::new();
        for count in counts {
            let mut pages = match all.last() {
                None => Pages::new(1, self.first_head()),
                Some(last) => last.next(),
            };
            for _ in 0..*count {
                pages.block(&author.run());
            }
            pages.save(self.dir());
            all.push(pages);
        }
        all
    }
}

/// Goes on from a recovery that found so many transactions, with `more` of them.
pub(crate) fn go_on(recovered: Recovered<Replay>, count: u64, more: u64) -> Pages {
    let Recovered { replay, dir, head, number, .. } = recovered;
    let mut author = Author::resume(replay.finish(Nanos(1), head.start), count);
    let mut pages = Pages::new(number, head);
    for _ in 0..more {
        pages.block(&author.run());
    }
    pages.save(dir.path());
    pages
}

/// Checks that the first `count` transactions have run, and no others.
pub(crate) fn assert_ran(replay: &Replay, count: u64) {
    assert_totals(replay.shard().store(), count);
}

pub(crate) fn assert_totals(store: &Store, count: u64) {
    let mut totals = [0_i64; KEYS];
    for n in 1..=count {
        totals[n as usize % KEYS] += n as i64;
    }
    for (index, total) in totals.into_iter().enumerate() {
        let expected = (total != 0).then_some(total.to_le_bytes());
        let found = store.get(key(index)).map(|value| value.as_bytes().to_vec());
        assert_eq!(found, expected.map(|bytes| bytes.to_vec()), "key {index} after {count}");
    }
}

/// A shard that is given transactions.
pub(crate) struct Author {
    pub(crate) shard: Shard,
    session: SessionIndex,
    limits: Limits,
    /// Transactions so far.
    pub(crate) count: u64,
}

impl Author {
    pub(crate) fn new(config: &ShardConfig) -> Self {
        Self::with(config, Procedures::new())
    }

    pub(crate) fn with(config: &ShardConfig, procedures: Procedures) -> Self {
        Self::resume(Shard::new(config.clone(), Arc::new(procedures)), 0)
    }

    /// A shard that has had so many already.
    pub(crate) fn resume(mut shard: Shard, count: u64) -> Self {
        let session = shard.open_session(Nanos(1), SessionId(7), SLOTS).expect("there is room");
        Self { shard, session, limits: Limits::DEFAULT, count }
    }

    fn sequence(&self) -> TxnSequence {
        let slot = self.count % u64::from(SLOTS);
        TxnSequence::new(slot as u16, self.count / u64::from(SLOTS) + 1)
    }

    /// Runs the next transaction, and returns what was logged.
    pub(crate) fn run(&mut self) -> Vec<u8> {
        self.count += 1;
        self.run_latest()
    }

    /// Sends the latest transaction, again if it ran before.
    pub(crate) fn run_latest(&mut self) -> Vec<u8> {
        let (n, mut body) = (self.count, Vec::new());
        Op::Add { key: key(n as usize % KEYS), delta: n as i64 }.write(&mut body);
        let sequence = self.sequence();
        self.send(|out| Piece::write(out, sequence, false, 1, &body))
    }

    /// Has a transaction admitted that waits for the other shard, and returns what was logged.
    pub(crate) fn wait(&mut self) -> Vec<u8> {
        self.count += 1;
        let mut body = Vec::new();
        Op::Put { key: key(KEYS), value: b"waits" }.write(&mut body);
        let sequence = self.sequence();
        let own = self.shard.session().incarnation();
        let parties =
            [Participant { shard: 0, incarnation: own }, Participant { shard: 1, incarnation: 5 }];
        self.send(|out| Piece::write_stamped(out, sequence, 5, &parties, false, 1, &body))
    }

    /// Calls a procedure, and returns what was logged.
    pub(crate) fn call(&mut self, procedure: u16) -> Vec<u8> {
        self.count += 1;
        let mut body = Vec::new();
        write_call_head(&mut body, procedure);
        let sequence = self.sequence();
        self.send(|out| Piece::write(out, sequence, true, 0, &body))
    }

    fn send(&mut self, write: impl FnOnce(&mut BatchWriter)) -> Vec<u8> {
        let mut input = BatchWriter::new(self.limits, u16::MAX, false);
        write(&mut input);
        input.seal();
        let mut frames = FrameReader::new(input.sealed(), self.limits, false);
        let frame = frames.next_frame().expect("a valid frame").expect("a whole one");
        let mut out = BatchWriter::new(self.limits, u16::MAX, false);
        let now = Nanos(1000 * self.count as i64);
        let done = self.shard.on_dispatch(now, self.session, &frame, &mut out);
        done.expect("the piece is well-formed");
        let mut log = Vec::new();
        self.shard.take_log(&mut log);
        log
    }
}

/// A block of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageBlock {
    /// Where in the file.
    pub(crate) at: usize,
    pub(crate) lsn: Lsn,
    /// Bytes of records.
    pub(crate) len: usize,
}

impl PageBlock {
    /// Where its records begin in the file.
    pub(crate) fn records_at(&self) -> usize {
        self.at + BLOCK_HEAD_BYTES
    }
}

/// A file of the log, in memory.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    pub(crate) number: u64,
    pub(crate) head: SegmentHead,
    pub(crate) bytes: Vec<u8>,
    pub(crate) blocks: Vec<PageBlock>,
    /// Where the next block goes.
    pub(crate) at: usize,
    pub(crate) lsn: Lsn,
}

impl Pages {
    pub(crate) fn new(number: u64, head: SegmentHead) -> Self {
        let mut bytes = vec![0; SEGMENT_BYTES];
        bytes[..SEGMENT_HEAD_BYTES].copy_from_slice(&head.to_block());
        let (blocks, at) = (Vec::new(), SEGMENT_HEAD_BYTES);
        Self { number, head, bytes, blocks, at, lsn: head.start }
    }

    /// The file behind this one, in the same use of the journal.
    pub(crate) fn next(&self) -> Self {
        Self::new(self.number + 1, SegmentHead { start: self.lsn, ..self.head })
    }

    /// Adds a block, written when everything before it was durable.
    pub(crate) fn block(&mut self, records: &[u8]) {
        self.block_when(self.lsn, records);
    }

    /// Adds a block, written when the log was durable up to here.
    pub(crate) fn block_when(&mut self, durable: Lsn, records: &[u8]) {
        let Self { at, lsn, .. } = *self;
        let out = &mut self.bytes[at..];
        self.at += seal_block(out, &self.head, lsn, durable, records);
        self.blocks.push(PageBlock { at, lsn, len: records.len() });
        self.lsn = lsn.plus(records.len());
    }

    /// Undoes the writing of a part: the file was all zeros before.
    pub(crate) fn lose(&mut self, range: impl std::slice::SliceIndex<[u8], Output = [u8]>) {
        self.bytes[range].fill(0);
    }

    pub(crate) fn save(&self, dir: &Path) -> PathBuf {
        let path = dir.join(format!("log-{:06}", self.number));
        fs::write(&path, &self.bytes).expect("the file can be written");
        path
    }
}
