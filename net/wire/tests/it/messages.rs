//! What is written is read back equal.

use crate::samples::{LIMITS, Message, assert_reads_back, talk, whole_frames};
use proptest::prelude::*;
use punctual_wire::{
    BatchWriter, CloseReason, Frame, FrameKind, FrameReader, Key, Limits, Op, OpResult, Piece,
    PieceReader, RefusedReason, ResultReader, ResultStatus, Role, TxnSequence,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read_back_equal_and_in_order(talk in talk()) {
        let mut writer = talk.written();
        let (frames, taken) = whole_frames(writer.sealed(), talk.checksum).expect("valid frames");
        let messages: Vec<Message> = talk.messages.iter().map(|it| it.0.clone()).collect();
        let mut rest = messages.iter();
        for (kind, count, body) in &frames {
            prop_assert!(*count <= talk.batch_max.max(1));
            assert_reads_back(&Frame { kind: *kind, count: *count, body }, &mut rest);
        }
        prop_assert_eq!(rest.len(), 0);
        prop_assert_eq!(taken, writer.sealed().len());
        let counts = (frames.len() as u64, messages.len() as u64);
        prop_assert_eq!(writer.take_counts(), counts);
    }

    #[test]
    fn a_sequence_keeps_its_slot_and_its_generation(
        slot in any::<u16>(),
        generation in 0..1_u64 << 48,
    ) {
        let sequence = TxnSequence::new(slot, generation);
        prop_assert_eq!((sequence.slot(), sequence.generation()), (slot, generation));
    }
}

#[test]
fn operands_of_eight_bytes_take_the_short_form_and_all_others_the_long_one() {
    let long = vec![7; 300];
    let mut encoded = Vec::new();
    let mut encoded_len = |op: Op<'_>| {
        encoded.clear();
        op.write(&mut encoded);
        encoded.len()
    };
    for len in [0, 7, 8, 9, 300] {
        let (key_bytes, value_bytes) = if len == 8 { (8, 8) } else { (2 + len, 4 + len) };
        let (key, value) = (Key::new(&long[..len]), &long[..len]);
        assert_eq!(key.len(), len);
        assert_eq!(encoded_len(Op::Get { key }), 1 + key_bytes);
        assert_eq!(encoded_len(Op::Delete { key }), 1 + key_bytes);
        assert_eq!(encoded_len(Op::Add { key, delta: -1 }), 1 + key_bytes + 8);
        assert_eq!(encoded_len(Op::Put { key, value }), 1 + key_bytes + value_bytes);
        assert_eq!(encoded_len(Op::Append { key, value }), 1 + key_bytes + value_bytes);
        let if_absent = Op::CompareAndSet { key, expected: None, value };
        assert_eq!(encoded_len(if_absent), 1 + key_bytes + 4 + 4 + len);
        let if_equal = Op::CompareAndSet { key, expected: Some(value), value };
        assert_eq!(encoded_len(if_equal), 1 + key_bytes + 4 + len + 4 + len);
    }
}

#[test]
fn a_number_is_the_first_eight_bytes_of_a_result() {
    let mut encoded = Vec::new();
    OpResult::write_word(ResultStatus::Ok, (-5_i64).to_le_bytes(), &mut encoded);
    OpResult::with(ResultStatus::Ok, &[1, 0, 0, 0, 0, 0, 0, 0, 99]).write(&mut encoded);
    OpResult::with(ResultStatus::Ok, &[1; 7]).write(&mut encoded);
    OpResult::bare(ResultStatus::NotFound).write(&mut encoded);
    let numbers: Vec<_> = ResultReader::new(&encoded).map(|result| result.number()).collect();
    assert_eq!(numbers, [Some(-5), Some(1), None, None]);
}

#[test]
fn the_largest_operation_fits_a_frame_of_the_default_limits() {
    let limits = Limits::DEFAULT;
    assert!(u64::from(limits.frame_bytes_max) >= limits.frame_bytes_min());
    let value = vec![1; limits.value_bytes_max as usize];
    let key = vec![2; usize::from(limits.key_bytes_max)];
    let op = Op::CompareAndSet { key: Key::new(&key), expected: Some(&value), value: &value };
    assert_eq!(op.check(&limits), Ok(()));
    let mut body = Vec::new();
    op.write(&mut body);
    assert!(body.len() <= limits.body_bytes_max());
    let mut out = BatchWriter::new(limits, 1, true);
    Piece::write(&mut out, TxnSequence(1), false, 1, &body);
    out.seal();
    let mut reader = FrameReader::new(out.sealed(), limits, true);
    let frame = reader.next_frame().expect("a valid frame").expect("a whole frame");
    let piece = PieceReader::new(&frame, &limits).next_piece().expect("a valid piece");
    let mut ops = piece.expect("one piece").ops().expect("a piece of operations");
    assert_eq!(ops.next_op(), Ok(op));
}

#[test]
fn a_key_of_eight_bytes_has_one_form_on_the_wire_however_it_was_made() {
    let word = Key::new(b"8 bytes!");
    let long = Key::Bytes(b"8 bytes!");
    assert_eq!(long.canonical(), word);
    assert_eq!(Key::Bytes(b"9 bytes!!").canonical(), Key::new(b"9 bytes!!"));
    let (mut written, mut expected) = (Vec::new(), Vec::new());
    Op::Add { key: long, delta: 1 }.write(&mut written);
    Op::Add { key: word, delta: 1 }.write(&mut expected);
    assert_eq!(written, expected);
}

#[test]
fn codes_name_one_kind_and_one_reason_each() {
    let kinds: Vec<_> = (0..=u8::MAX).filter_map(FrameKind::from_code).collect();
    let codes: Vec<_> = kinds.iter().map(|kind| *kind as u8).collect();
    assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    let roles: Vec<_> = (0..=u8::MAX).filter_map(Role::from_code).collect();
    assert_eq!(roles.iter().map(|role| *role as u8).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    let reasons: Vec<_> = (0..=u8::MAX).filter_map(RefusedReason::from_code).collect();
    assert_eq!(reasons, RefusedReason::ALL);
    for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
        assert!((reason as usize) < CloseReason::COUNT, "a table by reason has a row for each");
        assert_eq!(CloseReason::from_code(reason as u8), Some(reason));
        let earlier = &CloseReason::ALL[..index];
        assert!(earlier.iter().all(|other| other.name() != reason.name()), "{reason:?}");
    }
    assert_eq!(CloseReason::from_code(0), None);
    assert_eq!(CloseReason::from_code(u8::MAX), None);
}

#[test]
fn an_operation_is_held_to_the_limits_and_may_reach_them() {
    let long_key = vec![0; usize::from(LIMITS.key_bytes_max) + 1];
    let long = vec![0; LIMITS.value_bytes_max as usize + 1];
    let (key, value) = (Key::new(&long_key[1..]), &long[1..]);
    let good = [
        Op::Get { key },
        Op::Put { key, value },
        Op::Append { key, value },
        Op::CompareAndSet { key, expected: Some(value), value },
    ];
    for op in good {
        assert_eq!(op.check(&LIMITS), Ok(()), "{op:?}");
    }
    let (long_key, long) = (Key::new(&long_key), long.as_slice());
    let bad = [
        (Op::Delete { key: long_key }, "a key's length in bytes is 301, the limit is 300"),
        (Op::Put { key, value: long }, "a value's length in bytes is 1001, the limit is 1000"),
        (Op::Append { key, value: long }, "a value's length in bytes is 1001, the limit is 1000"),
        (
            Op::CompareAndSet { key, expected: Some(long), value },
            "a value's length in bytes is 1001, the limit is 1000",
        ),
        (
            Op::CompareAndSet { key, expected: None, value: long },
            "a value's length in bytes is 1001, the limit is 1000",
        ),
    ];
    for (op, message) in bad {
        let error = op.check(&LIMITS).expect_err("an operand is too long");
        assert_eq!(error.to_string(), message, "{op:?}");
    }
}
