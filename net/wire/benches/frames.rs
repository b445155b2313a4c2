//! What it costs to write and to read frames, per message. `docs/profiling.md` says how to run it.

use criterion::{Criterion, Throughput};
use punctual_wire::{
    BatchWriter, FrameReader, Limits, OpReader, OpResult, Participant, Piece, PieceReader, Reply,
    ReplyReader, ReplyStatus, ResultStatus, TxnSequence, WordOp,
};
use std::hint::black_box;

const LIMITS: Limits = Limits::DEFAULT;
/// Messages of a frame.
const BATCH: u16 = 64;
/// Operations of each: a read and an increment in turns.
const OPS: u16 = 10;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for checksum in [false, true] {
        dispatches(&mut criterion, checksum);
        replies(&mut criterion, checksum);
    }
    stamped(&mut criterion);
    criterion.final_summary();
}

/// The name of a group.
fn named(what: &str, checksum: bool) -> String {
    format!("frame/{what}{}", if checksum { " with checksum" } else { "" })
}

fn writer(checksum: bool) -> BatchWriter {
    BatchWriter::new(LIMITS, LIMITS.batch_max, checksum)
}

/// The operations of a piece, as a transaction keeps them.
fn body() -> Vec<u8> {
    let mut body = Vec::new();
    for op in 0..OPS {
        let is_add = op % 2 == 1;
        WordOp { key: 1_000 * u64::from(op), is_add, delta: is_add.into() }.write(&mut body);
    }
    body
}

fn write_pieces(out: &mut BatchWriter, body: &[u8]) {
    for slot in 0..BATCH {
        Piece::write(out, TxnSequence::new(slot, 1), false, OPS, body);
    }
    out.seal();
}

/// Reads every operation of every piece; how many there are.
fn read_pieces(bytes: &[u8], checksum: bool) -> u64 {
    let mut ops = 0;
    let mut frames = FrameReader::new(bytes, LIMITS, checksum);
    while let Some(frame) = frames.next_frame().expect("a valid frame") {
        let mut pieces = PieceReader::new(&frame, &LIMITS);
        while let Some(piece) = pieces.next_piece().expect("a valid piece") {
            let mut reader: OpReader<'_> = piece.ops().expect("a piece with operations");
            while let Some(op) = reader.peek_word() {
                black_box(op);
                reader.skip_word(op);
                ops += 1;
            }
        }
    }
    ops
}

fn dispatches(criterion: &mut Criterion, checksum: bool) {
    let body = body();
    let mut out = writer(checksum);
    write_pieces(&mut out, &body);
    let bytes = out.sealed().to_vec();
    out.clear_sealed();
    assert_eq!(read_pieces(&bytes, checksum), u64::from(BATCH) * u64::from(OPS));

    let mut group = criterion.benchmark_group(named("dispatch", checksum));
    group.throughput(Throughput::Elements(BATCH.into()));
    group.bench_function("write", |bencher| {
        bencher.iter(|| {
            write_pieces(&mut out, black_box(&body));
            out.clear_sealed();
        });
    });
    group.bench_function("read", |bencher| {
        bencher.iter(|| read_pieces(black_box(&bytes), checksum));
    });
    group.finish();
}

fn write_replies(out: &mut BatchWriter, body: &[u8]) {
    for slot in 0..BATCH {
        let (sequence, commit) = (TxnSequence::new(slot, 1), 1_000_000 + i64::from(slot));
        Reply::write(out, sequence, ReplyStatus::Committed, commit, OPS, body);
    }
    out.seal();
}

/// Reads every result of every reply; how many there are.
fn read_replies(bytes: &[u8], checksum: bool) -> u64 {
    let mut results = 0;
    let mut frames = FrameReader::new(bytes, LIMITS, checksum);
    while let Some(frame) = frames.next_frame().expect("a valid frame") {
        let mut replies = ReplyReader::new(&frame);
        while let Some(mut reply) = replies.next_reply().expect("a valid reply") {
            while let Some(result) = reply.results.next_result().expect("a valid result") {
                black_box(result);
                results += 1;
            }
        }
    }
    results
}

fn replies(criterion: &mut Criterion, checksum: bool) {
    let mut body = Vec::new();
    for op in 0..OPS {
        OpResult::write_word(ResultStatus::Ok, u64::from(op).to_le_bytes(), &mut body);
    }
    let mut out = writer(checksum);
    write_replies(&mut out, &body);
    let bytes = out.sealed().to_vec();
    out.clear_sealed();
    assert_eq!(read_replies(&bytes, checksum), u64::from(BATCH) * u64::from(OPS));

    let mut group = criterion.benchmark_group(named("reply", checksum));
    group.throughput(Throughput::Elements(BATCH.into()));
    group.bench_function("write", |bencher| {
        bencher.iter(|| {
            write_replies(&mut out, black_box(&body));
            out.clear_sealed();
        });
    });
    group.bench_function("read", |bencher| {
        bencher.iter(|| read_replies(black_box(&bytes), checksum));
    });
    group.finish();
}

/// Pieces of transactions on two shards.
fn stamped(criterion: &mut Criterion) {
    let body = body();
    let participants =
        [0, 1].map(|shard| Participant { shard, incarnation: 100 + u32::from(shard) });
    let mut out = writer(false);
    let write = |out: &mut BatchWriter| {
        for slot in 0..BATCH {
            let (sequence, at) = (TxnSequence::new(slot, 1), 1_000_000);
            let participants = black_box(&participants);
            Piece::write_stamped(out, sequence, at, participants, false, OPS, &body);
        }
        out.seal();
    };
    write(&mut out);
    let bytes = out.sealed().to_vec();
    out.clear_sealed();

    let mut group = criterion.benchmark_group("frame/stamped dispatch");
    group.throughput(Throughput::Elements(BATCH.into()));
    group.bench_function("write", |bencher| {
        bencher.iter(|| {
            write(&mut out);
            out.clear_sealed();
        });
    });
    group.bench_function("read", |bencher| {
        bencher.iter(|| read_pieces(black_box(&bytes), false));
    });
    group.finish();
}
