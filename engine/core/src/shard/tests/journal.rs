//! Shards with journals. The test is the disk: what it has taken from a shard is written, and the
//! test says when that is durable.

mod clock;
mod crashes;
mod digest;
mod early;
mod errors;
mod gates;
mod histories;
mod holder;
mod peers;
mod play;
mod recovery;
mod room;
mod slots;
mod snapshots;

use super::cluster::*;
use super::*;
use crate::journal::{
    Holder, Lsn, SEGMENT_HEAD_BYTES, SegmentHead, SegmentKind, SegmentScan, Tail, block_bytes,
    seal_block,
};
use crate::procedure::{ProcedureContext, Verdict};
use punctual_wire::PeerMessage;
use std::convert::Infallible;

const BUMP: u16 = 1;
const COMMITS: u8 = 0;
const ABORTS: u8 = 1;
/// Reads only.
const LOOKS: u8 = 2;

/// Adds one to the number whose key its arguments begin with, reports the sum, and then does what
/// their last byte says. Or it only looks.
fn bump(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    let (key, how) = args.split_first_chunk::<8>().expect("a key");
    let key = Key::Word(u64::from_le_bytes(*key));
    let sum = match how {
        [LOOKS] => context.number(key),
        _ => context.add(key, 1),
    };
    // A value that is no number.
    let sum = sum.unwrap_or(-1);
    assert!(context.result(&sum.to_le_bytes()));
    if how == [ABORTS] { Verdict::Abort } else { Verdict::Commit }
}

fn bumping() -> Procedures {
    let mut procedures = Procedures::new();
    procedures.register(BUMP, "bump", bump).expect("a free id");
    procedures
}

fn bump_args(word: u64, how: u8) -> Vec<u8> {
    let mut args = word.to_le_bytes().to_vec();
    args.push(how);
    args
}

/// Records as they are read back: in a block, behind the head of a segment.
struct Pages {
    head: SegmentHead,
    bytes: Vec<u8>,
}

impl Pages {
    /// Seals records of which the first stands at `start`.
    fn new(start: Lsn, records: &[u8]) -> Self {
        let head = SegmentHead {
            kind: SegmentKind::Log,
            holder: Holder::Shard,
            shard: ShardId(0),
            shards: SHARDS,
            session: SessionId(1),
            generation: 1,
            start,
            limits: Limits::DEFAULT,
        };
        let mut bytes = vec![0; SEGMENT_HEAD_BYTES + block_bytes(records.len())];
        seal_block(&mut bytes[SEGMENT_HEAD_BYTES..], &head, start, start, records);
        Self { head, bytes }
    }

    fn records(&self) -> Vec<(Lsn, Record<'_>)> {
        let mut scan = SegmentScan::new(&self.bytes, &self.head);
        let mut records = Vec::new();
        while let Some(found) = scan.next_record().expect("nothing is damaged") {
            records.push(found);
        }
        assert_eq!(scan.tail(), Some(&Tail::Clean));
        records
    }
}

/// What was written of a shard's log, from its beginning.
#[derive(Debug, Clone, Default)]
struct Tape {
    bytes: Vec<u8>,
}

impl Tape {
    /// Writes what the shard has appended. It is not durable yet.
    fn take(&mut self, shard: &mut Shard) {
        let mut batch = vec![0xee; 3];
        let at = shard.take_log(&mut batch);
        assert_eq!(at, self.end(), "the log goes on where it was");
        self.bytes.extend_from_slice(&batch);
        assert_eq!((shard.log_ends().0, shard.log_len()), (self.end(), 0));
    }

    /// Writes it, and makes all of it durable.
    fn sync(&mut self, shard: &mut Shard) {
        self.take(shard);
        shard.on_durable(self.end());
        assert!(shard.is_durable());
    }

    fn end(&self) -> Lsn {
        Lsn(self.bytes.len() as u64)
    }

    fn pages(&self) -> Pages {
        self.pages_from(Lsn::ZERO)
    }

    fn pages_from(&self, start: Lsn) -> Pages {
        let at = usize::try_from(start.0).expect("a short log");
        Pages::new(start, &self.bytes[at..])
    }

    /// What a crash leaves of it.
    fn until(&self, end: Lsn) -> Self {
        let len = usize::try_from(end.0).expect("a short log");
        Self { bytes: self.bytes[..len].to_vec() }
    }

    /// Where each record begins, and where the last one ends.
    fn boundaries(&self) -> Vec<Lsn> {
        let pages = self.pages();
        pages.records().iter().map(|(lsn, _)| *lsn).chain([self.end()]).collect()
    }

    /// Where the last record begins.
    fn last(&self) -> Lsn {
        let boundaries = self.boundaries();
        boundaries[boundaries.len() - 2]
    }

    /// The kinds of the records from a position on.
    fn kinds(&self, from: Lsn) -> Vec<String> {
        self.pages_from(from).records().iter().map(|(_, record)| kind(record)).collect()
    }
}

/// What a record is called.
fn kind(record: &Record<'_>) -> String {
    let text = format!("{record:?}");
    text.split([' ', '{']).next().unwrap_or_default().to_owned()
}

/// Does records again, on a shard like this one.
fn replay(like: &Shard, records: &[(Lsn, Record<'_>)]) -> Replay {
    let mut replay = Replay::new(like.config.clone(), Arc::clone(&like.procedures));
    for (lsn, record) in records {
        if let Err(error) = replay.apply(record) {
            panic!("{record:?} at {lsn}: {error}");
        }
    }
    replay
}

/// The records of a snapshot.
fn snapshot_of(replay: &Replay) -> Pages {
    let mut bytes = Vec::new();
    let outcome: Result<(), Infallible> = replay.snapshot(|record| {
        record.write(&mut bytes);
        Ok(())
    });
    outcome.expect("nothing fails");
    Pages::new(Lsn(77), &bytes)
}

/// A shard of its own, with a session that is durable, and a procedure.
fn journaled(durability: Durability) -> (Harness, Tape) {
    let config = ShardConfig { durability, ..config(Limits::DEFAULT) };
    let mut harness = Harness::new(config, bumping());
    // Something at the time zero, so that the clock is written down.
    harness.run(0, &[piece(seq(63, 1), &[get(0)])]);
    let mut tape = Tape::default();
    tape.sync(&mut harness.shard);
    harness.held();
    (harness, tape)
}

/// Replaces a shard by what its log says up to `until`, as after a crash.
fn revive(harness: &mut Harness, tape: &mut Tape, now: i64, until: Lsn) {
    *tape = tape.until(until);
    let pages = tape.pages();
    let mut shard = replay(&harness.shard, &pages.records()).finish(Nanos(now), until);
    assert_eq!(shard.session(), harness.shard.session());
    assert_eq!(shard.log_ends().1, until);
    let session = shard.open_session(Nanos(now), SESSION, SLOTS).expect("there is room");
    *harness = Harness { shard, session, limits: harness.limits };
}

/// A cluster whose shards have journals.
struct World {
    cluster: Cluster,
    tapes: Vec<Tape>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {}, bumping)
    }

    /// One of shards that are configured like that, unless it says otherwise with journals.
    fn with(configure: impl Fn(&mut ShardConfig), procedures: impl Fn() -> Procedures) -> Self {
        let configure = |config: &mut ShardConfig| {
            config.durability = Durability::Journal;
            configure(config);
        };
        let tapes = vec![Tape::default(); usize::from(SHARDS)];
        let mut world = Self { cluster: Cluster::with(configure, procedures), tapes };
        // The first watermarks.
        world.exchange();
        world
    }

    fn at(&mut self, now: i64) -> &mut Self {
        self.cluster.at(now);
        self
    }

    fn shard(&mut self, id: u16) -> &mut Shard {
        &mut self.cluster.shard(id).shard
    }

    fn tape(&self, id: u16) -> &Tape {
        &self.tapes[usize::from(id)]
    }

    /// Writes what a shard has logged, and does not say when it is durable.
    fn take(&mut self, id: u16) {
        self.tapes[usize::from(id)].take(&mut self.cluster.shard(id).shard);
    }

    /// Makes durable what a shard has logged.
    fn sync(&mut self, id: u16) {
        self.tapes[usize::from(id)].sync(&mut self.cluster.shard(id).shard);
    }

    fn sync_all(&mut self) {
        (0..SHARDS).for_each(|id| self.sync(id));
    }

    /// Makes everything durable and carries letters, until nobody has more to say.
    fn exchange(&mut self) {
        for _ in 0..100 {
            self.sync_all();
            let letters = self.cluster.letters();
            if letters.is_empty() {
                return;
            }
            self.cluster.deliver_all(&letters);
        }
        panic!("the shards never fall silent");
    }

    /// Lets time pass: each millisecond every shard has a turn and all letters are carried.
    fn pass_until(&mut self, end: i64) {
        while self.cluster.now < end {
            self.cluster.now = (self.cluster.now + MS).min(end);
            self.cluster.turn();
            self.exchange();
        }
    }

    /// A shard crashes, and comes back with its log up to `until`. What it had not sent is lost.
    fn crash(&mut self, id: u16, until: Lsn) {
        let now = self.cluster.clock(id).0;
        revive(self.cluster.shard(id), &mut self.tapes[usize::from(id)], now, until);
        self.relink(id);
    }

    /// As [`crash`](Self::crash), with nothing of the log lost.
    fn restart(&mut self, id: u16) {
        self.take(id);
        self.crash(id, self.tape(id).end());
    }

    /// A shard comes back as another run of itself, without any memory.
    fn restart_empty(&mut self, id: u16) {
        self.cluster.restart(id);
        self.tapes[usize::from(id)] = Tape::default();
    }

    /// Joins a shard that was started again to the others.
    fn relink(&mut self, id: u16) {
        for peer in (0..SHARDS).filter(|peer| *peer != id) {
            let (own, theirs) = (self.shard(id).session(), self.shard(peer).session());
            self.shard(peer).on_peer_down(ShardId(id));
            self.cluster.link(peer, id, own);
            self.cluster.link(id, peer, theirs);
        }
    }

    /// Sends a piece, perhaps not for the first time, makes everything there durable, and returns
    /// how it ended.
    fn end_of(&mut self, id: u16, request: &Request) -> End {
        let mut ends = self.cluster.send_for_end(id, request);
        self.sync(id);
        ends.extend(self.cluster.ends(id));
        ends.retain(|(sequence, ..)| *sequence == request.sequence);
        assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
        *ends.first().expect("it has ended")
    }

    /// Lets a transaction be admitted by these shards, which tell nobody yet.
    fn admit(&mut self, txn: &Txn, shards: &[u16]) {
        for id in shards {
            self.cluster.dispatch(*id, txn);
        }
    }
}

/// What one shard asks another about a transaction whose time it proposes.
fn ask(txn: &Txn, from: u16, to: u16, local: i64) -> Letter {
    let letter = proposal(txn, from, to, local);
    let PeerMessage::Propose { txn, local, to: run, .. } = letter.message else {
        unreachable!("it is a proposal")
    };
    Letter { message: PeerMessage::Propose { txn, local, to: run, answer: true }, ..letter }
}
