//! What a shard does with transactions that are on it alone: it reads, admits and runs their
//! pieces and writes the replies, all in one call. `docs/profiling.md` says how to run it.

use criterion::{BatchSize, Criterion, Throughput};
use punctual_core::{Nanos, Procedures, SessionId, SessionIndex, Shard, ShardConfig, ShardId};
use punctual_wire::{BatchWriter, FrameReader, Key, Limits, Op, Piece, TxnSequence};
use std::sync::Arc;

const LIMITS: Limits = Limits::DEFAULT;
/// Pieces of a frame, each in a slot of its own.
const BATCH: u16 = 64;
/// Keys of the store: a prime number, so that a walk comes to all of them.
const KEYS: u64 = 100_003;
/// From one key of the walk to the next.
const KEY_STEP: u64 = 61_813;
/// Keys that one transaction loads.
const PRELOAD_OPS: u64 = 256;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("admission");
    group.throughput(Throughput::Elements(BATCH.into()));
    for load in [
        Load { name: "1 word", ops: 1, value_bytes: 8 },
        Load { name: "10 words", ops: 10, value_bytes: 8 },
        Load { name: "10 values of 100 bytes", ops: 10, value_bytes: 100 },
    ] {
        let (mut frames, mut rig) = (Frames::new(load), Rig::new());
        rig.take(&frames.preload());
        let before = rig.shard.stats().committed;
        group.bench_function(load.name, |bencher| {
            bencher.iter_batched_ref(
                || frames.next(),
                |bytes| rig.take(bytes),
                BatchSize::SmallInput,
            );
        });
        // A filter on the command line may have left this one out.
        let ran = rig.shard.stats().committed - before;
        assert_eq!(ran, u64::from(BATCH) * (frames.generation - frames.first), "all commit");
    }
    group.finish();
    criterion.final_summary();
}

/// What transactions are like.
#[derive(Debug, Clone, Copy)]
struct Load {
    name: &'static str,
    ops: u16,
    value_bytes: usize,
}

/// Writes the frames of a coordinator that has exactly one batch in flight.
struct Frames {
    load: Load,
    out: BatchWriter,
    body: Vec<u8>,
    value: Vec<u8>,
    generation: u64,
    /// The first one after the store was loaded.
    first: u64,
    last_key: u64,
}

impl Frames {
    fn new(load: Load) -> Self {
        Self {
            load,
            out: BatchWriter::new(LIMITS, LIMITS.batch_max, false),
            body: Vec::new(),
            value: vec![7; load.value_bytes],
            generation: 0,
            first: 0,
            last_key: 0,
        }
    }

    /// Puts a value under every key.
    fn preload(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut left = KEYS;
        while left > 0 {
            self.generation += 1;
            for slot in 0..BATCH {
                let ops = left.min(PRELOAD_OPS);
                if ops == 0 {
                    break;
                }
                left -= ops;
                self.body.clear();
                for _ in 0..ops {
                    let key = self.draw_key();
                    Op::Put { key, value: &self.value }.write(&mut self.body);
                }
                let ops = u16::try_from(ops).expect("a small number");
                let sequence = TxnSequence::new(slot, self.generation);
                Piece::write(&mut self.out, sequence, false, ops, &self.body);
            }
            self.seal_into(&mut bytes);
        }
        self.first = self.generation;
        bytes
    }

    /// The next frame: reads and writes in turns.
    fn next(&mut self) -> Vec<u8> {
        self.generation += 1;
        for slot in 0..BATCH {
            self.body.clear();
            for op in 0..self.load.ops {
                let key = self.draw_key();
                let op = match (op % 2 == 1, self.load.value_bytes) {
                    (false, _) => Op::Get { key },
                    (true, 8) => Op::Add { key, delta: 1 },
                    (true, _) => Op::Put { key, value: &self.value },
                };
                op.write(&mut self.body);
            }
            let sequence = TxnSequence::new(slot, self.generation);
            Piece::write(&mut self.out, sequence, false, self.load.ops, &self.body);
        }
        let mut bytes = Vec::new();
        self.seal_into(&mut bytes);
        bytes
    }

    fn draw_key(&mut self) -> Key<'static> {
        self.last_key = (self.last_key + KEY_STEP) % KEYS;
        Key::Word(self.last_key)
    }

    fn seal_into(&mut self, bytes: &mut Vec<u8>) {
        self.out.seal();
        bytes.extend_from_slice(self.out.sealed());
        self.out.clear_sealed();
    }
}

/// A shard with one session.
struct Rig {
    shard: Shard,
    session: SessionIndex,
    replies: BatchWriter,
    now: Nanos,
}

impl Rig {
    fn new() -> Self {
        let mut shard = Shard::new(ShardConfig::new(ShardId(0), 1), Arc::new(Procedures::new()));
        let session = shard.open_session(Nanos::ZERO, SessionId(1), BATCH.into());
        let session = session.expect("an empty shard has room");
        let replies = BatchWriter::new(LIMITS, LIMITS.batch_max, false);
        Self { shard, session, replies, now: Nanos::ZERO }
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut frames = FrameReader::new(bytes, LIMITS, false);
        while let Some(frame) = frames.next_frame().expect("a valid frame") {
            self.now = self.now + Nanos(20_000);
            let taken = self.shard.on_dispatch(self.now, self.session, &frame, &mut self.replies);
            taken.expect("valid pieces");
            self.replies.seal();
            self.replies.clear_sealed();
        }
    }
}
