//! What arbitrary bytes may do to the readers of everything that a peer can send: be refused, no
//! more. A reader that panics, reads too far or lets through what it promises to refuse fails here.
//!
//! Shared by a property test beside it and by the fuzz target in `fuzz/`.

use punctual_wire::task::{
    PushReader, QueuePush, TaskEnd, TaskPayload, TaskSpec, ToQueue, ToQueueReader, Variables,
};
use punctual_wire::{
    BatchWriter, FRAME_HEADER_BYTES, Frame, FrameKind, FrameReader, Handshake, Key, Limits, Op,
    OpReader, PARTICIPANTS_MAX, PeerReader, PieceBody, PieceReader, ProbeReader, ReplyReader,
    ResultReader, Stamp, WordOp, shard_of,
};

/// Small enough that a few random bytes exceed them.
const SMALL: Limits = Limits {
    frame_bytes_max: 4_096,
    batch_max: 8,
    key_bytes_max: 64,
    value_bytes_max: 256,
    ops_max: 8,
};

/// Feeds the bytes to every reader.
pub(crate) fn explore(bytes: &[u8]) {
    for limits in [SMALL, Limits::DEFAULT] {
        frames(bytes, &limits, false);
        frames(bytes, &limits, true);
    }
    // Directly as bodies too: hardly any random bytes get past a frame's header.
    for kind in (0..=u8::MAX).filter_map(FrameKind::from_code) {
        for count in [1, 3, u16::MAX] {
            messages(&Frame { kind, count, body: bytes }, &SMALL);
        }
    }
    ops(bytes, &SMALL);
    results(bytes);
    parts_of_tasks(bytes);
}

fn frames(bytes: &[u8], limits: &Limits, checksum: bool) {
    let mut reader = FrameReader::new(bytes, *limits, checksum);
    loop {
        let before = reader.taken();
        let Ok(next) = reader.next_frame() else { break };
        let Some(frame) = next else {
            // Nobody makes us buffer more than one frame.
            assert!(bytes.len() - before < limits.frame_bytes_max as usize);
            assert_eq!(reader.taken(), before);
            break;
        };
        let len = FRAME_HEADER_BYTES + frame.body.len();
        assert_eq!(reader.taken(), before + len);
        assert!(len <= limits.frame_bytes_max as usize);
        assert!((1..=limits.batch_max).contains(&frame.count));
        messages(&frame, limits);
    }
}

fn messages(frame: &Frame<'_>, limits: &Limits) {
    assert!(Handshake::read_hello(frame).is_err() || frame.kind == FrameKind::Hello);
    assert!(Handshake::read_welcome(frame).is_err() || frame.kind == FrameKind::Welcome);
    assert!(Handshake::read_goodbye(frame).is_err() || frame.kind == FrameKind::Goodbye);
    match frame.kind {
        FrameKind::Dispatch => pieces(frame, limits),
        FrameKind::Reply => replies(frame),
        FrameKind::Peer => peers(frame),
        FrameKind::Probe => probes(frame),
        FrameKind::Task => to_queue(frame),
        FrameKind::TaskPush => pushes(frame),
        _ => {}
    }
}

fn pieces(frame: &Frame<'_>, limits: &Limits) {
    let mut reader = PieceReader::new(frame, limits);
    let mut left = frame.count;
    while let Ok(Some(piece)) = reader.next_piece() {
        left = left.checked_sub(1).expect("no more pieces than announced");
        assert_eq!(piece.ops().is_some(), matches!(piece.body, PieceBody::Ops { .. }));
        if let Some(stamp) = &piece.stamp {
            assert_ascends(stamp);
        }
        match piece.body {
            PieceBody::Ops { count, bytes } => {
                assert!((1..=limits.ops_max).contains(&count));
                ops(bytes, limits);
            }
            PieceBody::Call { args, .. } => {
                assert!(args.len() <= limits.value_bytes_max as usize);
            }
        }
    }
}

/// The participants are as many as they may be, and each shard is found where it is.
fn assert_ascends(stamp: &Stamp<'_>) {
    let participants = stamp.participants;
    assert!((2..=PARTICIPANTS_MAX).contains(&participants.len()) && !participants.is_empty());
    assert!(participants.iter().is_sorted_by(|before, after| before.shard < after.shard));
    for (index, participant) in participants.iter().enumerate() {
        assert_eq!(participants.get(index), participant);
        assert_eq!(participants.position(participant.shard), Some(index));
    }
}

fn ops(bytes: &[u8], limits: &Limits) {
    let mut reader = OpReader::new(bytes);
    let mut again = Vec::new();
    let mut taken = 0;
    loop {
        let fast = reader.clone();
        let next = reader.next_op();
        assert_peek_agrees(fast, next.ok(), &reader);
        let Ok(op) = next else { break };
        taken = bytes.len() - reader.remaining();
        op.write(&mut again);
        let key_fits = op.key().len() <= usize::from(limits.key_bytes_max);
        assert!(key_fits || op.check(limits).is_err(), "a key over the limit passed");
        assert!(shard_of(op.key(), 7) < 7);
    }
    // There is one way to write each operation, so nothing else can have been read.
    assert_eq!(again, bytes[..taken]);
}

/// The fast path must see what the reader of all operations sees, and go on from the same place.
fn assert_peek_agrees(mut fast: OpReader<'_>, op: Option<Op<'_>>, after: &OpReader<'_>) {
    let peeked = fast.peek_word();
    let word = match op {
        Some(Op::Get { key: Key::Word(key) }) => Some(WordOp { key, is_add: false, delta: 0 }),
        Some(Op::Add { key: Key::Word(key), delta }) => Some(WordOp { key, is_add: true, delta }),
        _ => None,
    };
    assert_eq!(peeked, word);
    if let Some(op) = peeked {
        fast.skip_word(op);
        assert_eq!(fast.remaining(), after.remaining());
    }
}

fn replies(frame: &Frame<'_>) {
    let mut reader = ReplyReader::new(frame);
    let mut left = frame.count;
    while let Ok(Some(reply)) = reader.next_reply() {
        left = left.checked_sub(1).expect("no more replies than announced");
        results(reply.results.rest());
    }
}

fn peers(frame: &Frame<'_>) {
    let mut reader = PeerReader::new(frame);
    let mut count = 0;
    while let Ok(Some(message)) = reader.next_message() {
        count += 1;
        assert!(count <= frame.count, "more messages than announced");
        again(
            |out| message.write(out),
            |frame| {
                assert_eq!(PeerReader::new(frame).next_message(), Ok(Some(message)));
            },
        );
    }
}

fn probes(frame: &Frame<'_>) {
    let mut reader = ProbeReader::new(frame);
    let mut count = 0;
    while let Ok(Some(probe)) = reader.next_probe() {
        count += 1;
        assert!(count <= frame.count, "more probes than announced");
        again(
            |out| probe.write(out),
            |frame| {
                assert_eq!(ProbeReader::new(frame).next_probe(), Ok(Some(probe)));
            },
        );
    }
}

fn to_queue(frame: &Frame<'_>) {
    let mut reader = ToQueueReader::new(frame);
    let mut count = 0;
    while let Ok(Some(message)) = reader.next_message() {
        count += 1;
        assert!(count <= frame.count, "more messages than announced");
        if let ToQueue::Submit { spec, .. } = message {
            parts_of_tasks(spec.payload);
        }
        again(
            |out| message.write(out),
            |frame| {
                assert_eq!(ToQueueReader::new(frame).next_message(), Ok(Some(message)));
            },
        );
    }
}

fn pushes(frame: &Frame<'_>) {
    let mut reader = PushReader::new(frame);
    let mut count = 0;
    while let Ok(Some(message)) = reader.next_message() {
        count += 1;
        assert!(count <= frame.count, "more messages than announced");
        if let QueuePush::Lease { payload, .. } = message {
            parts_of_tasks(payload);
        }
        again(
            |out| message.write(out),
            |frame| {
                assert_eq!(PushReader::new(frame).next_message(), Ok(Some(message)));
            },
        );
    }
}

/// What a queue's journal and a worker read. Each has one way to be written, so what was read comes
/// out of its writer again.
fn parts_of_tasks(bytes: &[u8]) {
    let mut again = Vec::new();
    if let Ok((spec, len)) = TaskSpec::read_from(bytes) {
        spec.write_to(&mut again);
        assert_eq!((again.as_slice(), len), (&bytes[..len], spec.encoded_len()));
        again.clear();
    }
    if let Ok((end, len)) = TaskEnd::read_from(bytes) {
        end.write_to(&mut again);
        assert_eq!((again.as_slice(), len), (&bytes[..len], end.encoded_len()));
        again.clear();
    }
    if let Ok(payload) = TaskPayload::read(bytes) {
        payload.write_to(&mut again);
        assert_eq!((again.as_slice(), bytes.len()), (bytes, payload.encoded_len()));
        again.clear();
    }
    if let Ok(variables) = Variables::read(bytes) {
        Variables::encode(&mut again, variables.iter());
        assert_eq!(again, bytes);
    }
}

/// What was read, written and handed to another reader.
fn again(write: impl FnOnce(&mut BatchWriter), read: impl FnOnce(&Frame<'_>)) {
    let mut out = BatchWriter::new(Limits::DEFAULT, 1, false);
    write(&mut out);
    out.seal();
    let frame = FrameReader::new(out.sealed(), Limits::DEFAULT, false).next_frame();
    read(&frame.expect("a valid frame").expect("a whole frame"));
}

fn results(bytes: &[u8]) {
    let mut reader = ResultReader::new(bytes);
    let mut again = Vec::new();
    let mut count = 0;
    while let Ok(Some(result)) = reader.next_result() {
        again.clear();
        result.write(&mut again);
        assert_eq!(ResultReader::new(&again).next_result(), Ok(Some(result)));
        let has_word = result.value.is_some_and(|value| value.len() >= 8);
        assert_eq!(result.number().is_some(), has_word);
        count += 1;
    }
    // As an iterator it stops where the reader finds a mistake.
    assert_eq!(ResultReader::new(bytes).count(), count);
}
