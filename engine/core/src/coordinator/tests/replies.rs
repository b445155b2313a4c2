//! What replies do, and which of them cannot be true.

use super::*;
use std::collections::{BTreeMap, VecDeque};

#[test]
fn a_completion_carries_tag_outcome_time_and_results() {
    let refused = RefusedReason::StoreFull;
    let value = OpResult::with(ResultStatus::Mismatch, b"what was found");
    let copied = vec![(ResultStatus::Mismatch, Some(b"what was found".to_vec()))];
    let cases = [
        (ReplyStatus::Committed, Outcome::Committed { at: Nanos(7) }, vec![value], copied.clone()),
        (ReplyStatus::Aborted, Outcome::Aborted { at: Nanos(7) }, vec![value], copied),
        (ReplyStatus::Refused(refused), Outcome::Refused(refused), vec![], vec![]),
    ];
    let mut harness = Harness::new(4);
    for (status, outcome, results, expected) in cases {
        let sequence = harness.submit(3, 1, 42);
        harness.answer(7, 1, sequence, status, &results);
        let (submitted_at, results, timing) = (Nanos(3), expected, None);
        let done = Done { sequence, tag: 42, outcome, submitted_at, results, timing };
        assert_eq!(std::mem::take(&mut harness.done), [done]);
    }
    assert_eq!(harness.coordinator.in_flight(), 0);
    let stats = harness.coordinator.stats();
    assert_eq!((stats.submitted, stats.committed, stats.aborted, stats.refused), (3, 1, 1, 1));
}

#[test]
fn a_call_completes_with_as_many_results_as_its_procedure_reported() {
    let mut harness = Harness::new(4);
    for count in [0, 1, 5] {
        let mut transaction = transaction();
        transaction.call(1, key_of(0), b"arguments");
        let sequence = harness.try_submit(0, &mut transaction, 1).expect("there is room");
        harness.answer(1, 0, sequence, ReplyStatus::Committed, &vec![ONE; count]);
        assert_eq!(harness.done.pop().expect("it is done").results.len(), count);
    }
}

#[test]
fn a_frame_of_replies_completes_transactions_in_its_order() {
    let mut harness = Harness::new(4);
    let sequences = [1, 2, 3].map(|tag| harness.submit(0, 0, tag));
    let mut batch = BatchWriter::new(Limits::DEFAULT, 8, false);
    let mut body = Vec::new();
    ONE.write(&mut body);
    for at in [2, 0, 1] {
        Reply::write(&mut batch, sequences[at], ReplyStatus::Committed, 5, 1, &body);
    }
    batch.seal();
    assert_eq!(harness.deliver(6, 0, batch.sealed()), Ok(()));
    let tags: Vec<_> = harness.ended().iter().map(|(tag, _)| *tag).collect();
    assert_eq!(tags, [3, 1, 2]);
}

#[test]
fn replies_to_what_is_not_in_flight_are_counted_and_change_nothing() {
    let mut harness = Harness::new(4);
    let first = harness.submit(0, 0, 1);
    harness.commit(1, 0, first);
    harness.commit(2, 0, first);
    let second = harness.submit(3, 0, 2);
    assert_eq!(second.slot(), first.slot(), "the slot is used again");
    let newer = TxnSequence::new(second.slot(), second.generation() + 1);
    let unused = TxnSequence::new(3, 1);
    let beyond = TxnSequence::new(4, 1);
    for stray in [first, newer, unused, beyond] {
        harness.commit(4, 0, stray);
        harness.busy(4, 0, stray);
    }
    let stats = harness.coordinator.stats();
    assert_eq!((stats.stale_replies, stats.committed, stats.busy), (9, 1, 0));
    assert_eq!(harness.coordinator.in_flight(), 1);
    harness.commit(5, 0, second);
    let committed = |tag: u64, at: i64| (tag, Outcome::Committed { at: Nanos(at) });
    assert_eq!(harness.ended(), [committed(1, 1), committed(2, 5)]);
}

#[test]
fn a_reply_that_cannot_be_true_is_an_error_and_the_transaction_stays_in_flight() {
    let mut harness = Harness::new(4);
    let sequence = harness.submit(0, 0, 1);
    let count = |found, expected| ReplyError::ResultCount { found, expected };
    let committed = ReplyStatus::Committed;
    let refused = ReplyStatus::Refused(RefusedReason::StoreFull);
    let mut one = Vec::new();
    ONE.write(&mut one);
    let unknown = WireError::UnknownValue { what: "result", value: 0xff };
    let cut = WireError::Truncated { what: "result" };
    let wrong_shard = ReplyError::WrongShard { from: ShardId(1) };
    let cases = [
        (1, reply(sequence, committed, 5, &[ONE]), wrong_shard),
        (1, reply(sequence, ReplyStatus::Busy, 5, &[]), wrong_shard),
        (0, reply(sequence, committed, 5, &[]), count(0, 1)),
        (0, reply(sequence, committed, 5, &[ONE, ONE]), count(2, 1)),
        (0, raw_reply(sequence, committed, 5, 2, &one), count(1, 1)),
        (0, raw_reply(sequence, committed, 5, 1, &one.repeat(2)), count(2, 1)),
        (0, reply(sequence, refused, 0, &[ONE]), count(1, 0)),
        (0, raw_reply(sequence, committed, 5, 1, &[0xff]), ReplyError::Wire(unknown)),
        (0, raw_reply(sequence, committed, 5, 1, &one[..8]), ReplyError::Wire(cut)),
    ];
    for (from, frame, error) in cases {
        assert_eq!(harness.deliver(5, from, &frame), Err(error));
        assert_eq!((harness.coordinator.in_flight(), harness.done.len()), (1, 0), "{error}");
    }
    harness.commit(6, 0, sequence);
    assert_eq!(harness.ended(), [(1, Outcome::Committed { at: Nanos(6) })]);
}

#[test]
fn a_call_whose_results_are_not_as_many_as_announced_is_an_error() {
    let mut harness = Harness::new(4);
    let mut transaction = transaction();
    transaction.call(1, key_of(0), b"");
    let sequence = harness.try_submit(0, &mut transaction, 1).expect("there is room");
    let mut one = Vec::new();
    ONE.write(&mut one);
    let frame = raw_reply(sequence, ReplyStatus::Aborted, 5, 2, &one.repeat(3));
    let error = ReplyError::ResultCount { found: 3, expected: 2 };
    assert_eq!(harness.deliver(5, 0, &frame), Err(error));
}

#[test]
fn replies_before_one_that_cannot_be_true_are_taken() {
    let mut harness = Harness::new(4);
    let (first, second) = (harness.submit(0, 0, 1), harness.submit(0, 0, 2));
    let mut batch = BatchWriter::new(Limits::DEFAULT, 8, false);
    let mut body = Vec::new();
    ONE.write(&mut body);
    Reply::write(&mut batch, first, ReplyStatus::Committed, 5, 1, &body);
    Reply::write(&mut batch, second, ReplyStatus::Committed, 5, 0, &[]);
    batch.seal();
    assert!(harness.deliver(6, 0, batch.sealed()).is_err());
    assert_eq!(harness.ended(), [(1, Outcome::Committed { at: Nanos(5) })]);
    assert_eq!(harness.coordinator.in_flight(), 1);
}

#[test]
fn no_two_transactions_ever_have_the_same_sequence() {
    let mut harness = Harness::new(3);
    let mut in_flight = VecDeque::new();
    let mut newest = BTreeMap::new();
    for turn in 0..1_000 {
        let sequence = harness.submit(turn, 0, 0);
        let before = newest.insert(sequence.slot(), sequence.generation()).unwrap_or(0);
        assert!(before < sequence.generation(), "{sequence:?} after {before}");
        in_flight.push_back(sequence);
        // Now the oldest, now the newest ends, so that slots are freed in all orders.
        if in_flight.len() == 3 {
            let ending = match turn % 2 {
                0 => in_flight.pop_front(),
                _ => in_flight.pop_back(),
            };
            harness.commit(turn, 0, ending.expect("three are in flight"));
        }
    }
    assert_eq!(newest.len(), 3, "all slots were in use");
}
