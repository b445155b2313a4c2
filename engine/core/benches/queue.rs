//! What a shard does with transactions that are on two shards: admit, propose, take the other
//! shard's proposals, agree, hold, release and reply. The other shard is played by the bench.
//! `docs/profiling.md` says how to run it.

use criterion::{BatchSize, Criterion, Throughput};
use punctual_core::{Nanos, Procedures, SessionId, SessionIndex, Shard, ShardConfig, ShardId};
use punctual_wire::{
    BatchWriter, FrameKind, FrameReader, Key, Limits, Participant, PeerMessage, Piece, TxnId,
    TxnSequence, WordOp, shard_of,
};
use std::sync::Arc;

const LIMITS: Limits = Limits::DEFAULT;
/// Transactions of a turn, each in a slot of its own.
const BATCH: u16 = 64;
const OPS: u16 = 10;
const SHARDS: u16 = 2;
/// Keys of the shard: a prime number that is larger than what a turn touches.
const KEYS: usize = 10_007;
/// From one key of a walk to the next.
const KEY_STEP: usize = 3_803;
const COORDINATOR: SessionId = SessionId(1);
/// From one turn to the next: the shard looks after its peers each time.
const TURN: Nanos = Nanos(3_000_000);
/// Stamps lie so far ahead of the dispatch.
const AHEAD: Nanos = Nanos(100_000);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("queue");
    group.throughput(Throughput::Elements(BATCH.into()));
    // On one key, each transaction has to wait for the one before it.
    for (name, keys) in [("10 words, no conflict", KEYS), ("10 words, all on one key", 1)] {
        let (mut letters, mut rig) = (Letters::new(keys), Rig::new());
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || letters.next(),
                |turn| rig.take(turn),
                BatchSize::SmallInput,
            );
        });
        let stats = rig.shard.stats();
        assert_eq!(stats.committed, u64::from(BATCH) * letters.generation, "{stats:?}");
    }
    group.finish();
    criterion.final_summary();
}

/// The run of a shard.
fn run_of(shard: u16) -> SessionId {
    SessionId(100 + u64::from(shard))
}

/// What the shard is sent in a turn.
struct Turn {
    now: Nanos,
    dispatch: Vec<u8>,
    proposals: Vec<u8>,
}

/// Writes what coordinator and peer send.
struct Letters {
    out: BatchWriter,
    body: Vec<u8>,
    keys: Vec<u64>,
    last: usize,
    generation: u64,
    now: Nanos,
}

impl Letters {
    fn new(keys: usize) -> Self {
        let own = (0..).filter(|key| shard_of(Key::Word(*key), SHARDS) == 0);
        Self {
            out: BatchWriter::new(LIMITS, LIMITS.batch_max, false),
            body: Vec::new(),
            keys: own.take(keys).collect(),
            last: 0,
            generation: 0,
            now: Nanos::ZERO,
        }
    }

    fn next(&mut self) -> Turn {
        self.generation += 1;
        let promised = self.now;
        self.now = self.now + TURN;
        let stamp = (self.now + AHEAD).0;
        let party = |shard| Participant { shard, incarnation: run_of(shard).incarnation() };
        let participants = [party(0), party(1)];
        for slot in 0..BATCH {
            self.write_body();
            let sequence = TxnSequence::new(slot, self.generation);
            let (out, body) = (&mut self.out, &self.body);
            Piece::write_stamped(out, sequence, stamp, &participants, false, OPS, body);
        }
        let dispatch = self.sealed();
        // What lies further back than this is decided there, so that the shard may forget it.
        PeerMessage::Watermark { at: (promised + AHEAD + AHEAD).0 }.write(&mut self.out);
        for slot in 0..BATCH {
            let sequence = TxnSequence::new(slot, self.generation);
            let txn = TxnId { session: COORDINATOR.0, sequence };
            let to = run_of(0).incarnation();
            PeerMessage::Propose { txn, local: stamp, to, answer: false }.write(&mut self.out);
        }
        Turn { now: self.now, dispatch, proposals: self.sealed() }
    }

    fn write_body(&mut self) {
        self.body.clear();
        for op in 0..OPS {
            self.last = (self.last + KEY_STEP) % self.keys.len();
            let (key, is_add) = (self.keys[self.last], op % 2 == 1);
            WordOp { key, is_add, delta: is_add.into() }.write(&mut self.body);
        }
    }

    fn sealed(&mut self) -> Vec<u8> {
        self.out.seal();
        let bytes = self.out.sealed().to_vec();
        self.out.clear_sealed();
        bytes
    }
}

/// One shard of two, with one session.
struct Rig {
    shard: Shard,
    session: SessionIndex,
    replies: BatchWriter,
    to_peer: BatchWriter,
}

impl Rig {
    fn new() -> Self {
        let config = ShardConfig { session: run_of(0), ..ShardConfig::new(ShardId(0), SHARDS) };
        let mut shard = Shard::new(config, Arc::new(Procedures::new()));
        shard.on_peer_up(Nanos::ZERO, ShardId(1), run_of(1));
        let session = shard.open_session(Nanos::ZERO, COORDINATOR, BATCH.into());
        let session = session.expect("an empty shard has room");
        let writer = || BatchWriter::new(LIMITS, LIMITS.batch_max, false);
        Self { shard, session, replies: writer(), to_peer: writer() }
    }

    fn take(&mut self, turn: &Turn) {
        let Self { shard, session, replies, to_peer } = self;
        for bytes in [&turn.dispatch, &turn.proposals] {
            let mut frames = FrameReader::new(bytes, LIMITS, false);
            while let Some(frame) = frames.next_frame().expect("a valid frame") {
                let taken = match frame.kind {
                    FrameKind::Peer => shard.on_peer(turn.now, ShardId(1), &frame),
                    _ => shard.on_dispatch(turn.now, *session, &frame, replies),
                };
                taken.expect("valid messages");
            }
        }
        shard.write_peer(ShardId(1), to_peer);
        shard.on_turn(turn.now + AHEAD + AHEAD);
        let answers = shard.write_replies(*session, replies);
        assert_eq!(answers, usize::from(BATCH), "all are released");
        for out in [replies, to_peer] {
            out.seal();
            out.clear_sealed();
        }
    }
}
