//! Transactions on several shards that go well: one time, one end, results in their order.

use super::*;
use punctual_wire::PieceBody;

/// A result, copied.
type Found = (ResultStatus, Option<Vec<u8>>);

fn copied(result: &OpResult<'_>) -> Found {
    (result.status, result.value.map(<[u8]>::to_vec))
}

fn timing(received_at: i64, agreed_after: u32, released_after: u32) -> ReplyTiming {
    ReplyTiming { received_at, agreed_after, released_after }
}

#[test]
fn a_transaction_on_several_shards_ends_when_all_have_replied_and_tells_how_it_fared() {
    for order in [[0, 1], [1, 0]] {
        let mut harness = Harness::new(4);
        let sequence = harness.submit_on_both(3, 42);
        let (stamp, _) = stamp_of(&harness.sent(0)[0]).expect("it is stamped");
        // One was early and waited for the other, which was late.
        let timings = [timing(stamp - 5, 7, 9), timing(stamp + 3, 2, 20)];
        for shard in order {
            assert!(harness.done.is_empty());
            let (status, timing) = (ReplyStatus::Committed, timings[usize::from(shard)]);
            let frame = timed_reply(sequence, status, stamp + 3, timing, &[ONE]);
            assert_eq!(harness.deliver(stamp + 50, shard, &frame), Ok(()));
        }
        let done = Done {
            sequence,
            tag: 42,
            outcome: Outcome::Committed { at: Nanos(stamp + 3) },
            submitted_at: Nanos(3),
            results: vec![copied(&ONE); 2],
            timing: Some(Timing { late: Nanos(3), hold: Nanos(20), agreement: Nanos(7) }),
        };
        assert_eq!(harness.done, [done]);
        let none = CoordinatorStats::default();
        let expected = CoordinatorStats { submitted: 1, committed: 1, stamped: 1, late: 1, ..none };
        assert_eq!(harness.coordinator.stats(), expected);
        assert_eq!((harness.in_flight(), harness.coordinator.in_flight()), (vec![0, 0], 0));
        assert_eq!(harness.coordinator.next_deadline(), None);
    }
}

#[test]
fn what_arrived_everywhere_at_its_stamp_or_before_is_not_late() {
    let mut harness = Harness::new(4);
    let sequence = harness.submit_on_both(3, 42);
    let (stamp, _) = stamp_of(&harness.sent(0)[0]).expect("it is stamped");
    for (shard, received_at) in [(0, stamp - 100_000), (1, stamp)] {
        let timing = timing(received_at, 1, 2);
        let frame = timed_reply(sequence, ReplyStatus::Committed, stamp, timing, &[ONE]);
        assert_eq!(harness.deliver(stamp + 9, shard, &frame), Ok(()));
    }
    let found = harness.done[0].timing.expect("it has run on several shards");
    assert_eq!((found.late, harness.coordinator.stats().late), (Nanos::ZERO, 0));
}

#[test]
fn the_pieces_of_a_transaction_have_one_stamp_and_the_same_sorted_participants() {
    let mut harness = Harness::new(4);
    harness.link_up(0, 0, 0x1_0000_0007);
    harness.link_up(0, 1, 0xffff_ffff_8000_0001);
    let sequence = harness.submit_on_both(3, 1);
    let (first, second) = (harness.sent(0).remove(0), harness.sent(1).remove(0));
    assert_eq!((first.sequence, second.sequence), (sequence, sequence));
    let (stamp, participants) = stamp_of(&first).expect("it is stamped");
    let party = |shard, incarnation| Participant { shard, incarnation };
    assert_eq!(participants, [party(0, 7), party(1, 0x8000_0001)]);
    assert_eq!(stamp_of(&second), Some((stamp, participants)));
    // From now on transactions are bound to the new run.
    harness.commit_at(5, 0, sequence, 5);
    harness.commit_at(5, 1, sequence, 5);
    harness.link_up(6, 1, 9);
    harness.submit_on_both(7, 2);
    let (_, participants) = stamp_of(&harness.sent(0)[0]).expect("it is stamped");
    assert_eq!(participants, [party(0, 7), party(1, 9)]);
    harness.submit(8, 0, 3);
    assert_eq!(stamp_of(&harness.sent(0)[0]), None, "one shard needs no stamp");
}

#[test]
fn each_shard_gets_its_own_operations_in_their_order() {
    let [left, right] = [0, 1].map(key_of);
    let mut harness = Harness::new(1);
    let mut transaction = transaction();
    transaction.get(right).add(left, 5).put(right, b"value").get(left).delete(right);
    let involved: Vec<_> = transaction.shards().collect();
    assert_eq!((involved, transaction.op_count()), (vec![ShardId(1), ShardId(0)], 5));
    harness.try_submit(0, &mut transaction, 1).expect("nothing is wrong with it");
    assert_eq!((transaction.shards().count(), transaction.op_count()), (0, 0));
    let (left, right) = (Key::Word(left), Key::Word(right));
    let of_left = [Op::Add { key: left, delta: 5 }, Op::Get { key: left }];
    let of_right = [
        Op::Get { key: right },
        Op::Put { key: right, value: b"value" },
        Op::Delete { key: right },
    ];
    for (shard, ops) in [(0, &of_left[..]), (1, &of_right[..])] {
        let mut body = Vec::new();
        ops.iter().for_each(|op| op.write(&mut body));
        let sent = harness.sent(shard).remove(0);
        assert!(sent.frame.ends_with(&body), "{sent:?}");
        let mut pieces = PieceReader::new(&only_frame(&sent.frame), &Limits::DEFAULT);
        let piece = pieces.next_piece().expect("a valid piece").expect("one piece");
        let reader = piece.ops().expect("operations");
        assert_eq!(reader.remaining(), body.len());
    }
}

#[test]
fn results_come_in_the_order_of_the_operations_whoever_replies_first() {
    let [left, right] = [0, 1].map(key_of);
    let of_left = [
        OpResult::bare(ResultStatus::NotFound),
        ONE,
        OpResult::with(ResultStatus::Mismatch, b"a value of the left one"),
    ];
    let of_right = [
        OpResult::with(ResultStatus::Ok, b""),
        OpResult::with(ResultStatus::Ok, b"a value of the right one"),
        OpResult::bare(ResultStatus::Ok),
    ];
    let expected = [of_right[0], of_left[0], of_left[1], of_right[1], of_right[2], of_left[2]]
        .map(|it| copied(&it));
    let mut harness = Harness::new(4);
    for order in [[0, 1], [1, 0]] {
        let mut transaction = transaction();
        transaction.get(right).get(left).add(left, 1).get(right).delete(right);
        transaction.compare_and_set(left, None, b"");
        let sequence = harness.try_submit(0, &mut transaction, 1).expect("there is room");
        for shard in order {
            let results = [of_left, of_right][usize::from(shard)];
            let frame = reply(sequence, ReplyStatus::Committed, 9, &results);
            assert_eq!(harness.deliver(10, shard, &frame), Ok(()));
        }
        let done = harness.done.pop().expect("it is done");
        assert_eq!(done.results, expected);
    }
}

#[test]
fn calls_go_to_several_shards_and_their_results_come_in_the_order_of_the_calls() {
    let reported = [OpResult::with(ResultStatus::Ok, b"left"), ONE];
    let expected: [Found; 3] = [copied(&ONE), copied(&reported[0]), copied(&reported[1])];
    let ends: [(ReplyStatus, Outcome); 2] = [
        (ReplyStatus::Committed, Outcome::Committed { at: Nanos(9) }),
        (ReplyStatus::Aborted, Outcome::Aborted { at: Nanos(9) }),
    ];
    for (status, outcome) in ends {
        let mut harness = Harness::new(4);
        let mut transaction = transaction();
        transaction.call(1, key_of(1), b"for the right").call(2, key_of(0), b"for the left");
        let sequence = harness.try_submit(0, &mut transaction, 1).expect("there is room");
        for (shard, call) in [(0, (2, &b"for the left"[..])), (1, (1, &b"for the right"[..]))] {
            let sent = harness.sent(shard).remove(0);
            let mut pieces = PieceReader::new(&only_frame(&sent.frame), &Limits::DEFAULT);
            let piece = pieces.next_piece().expect("a valid piece").expect("one piece");
            let (procedure, args) = call;
            assert_eq!(piece.body, PieceBody::Call { procedure, args });
            assert!(piece.stamp.is_some());
        }
        harness.deliver(9, 0, &reply(sequence, status, 9, &reported)).expect("it is fine");
        harness.deliver(9, 1, &reply(sequence, status, 9, &[ONE])).expect("it is fine");
        let done = harness.done.pop().expect("it is done");
        assert_eq!((done.outcome, &done.results[..]), (outcome, &expected[..]));
    }
}

#[test]
fn each_part_counts_for_its_own_shard_until_that_has_replied() {
    let mut harness = Harness::new(4);
    let first = harness.submit_on_both(0, 1);
    let second = harness.submit_on_both(0, 2);
    harness.submit(0, 1, 3);
    assert_eq!((harness.in_flight(), harness.coordinator.in_flight()), (vec![2, 3], 3));
    harness.commit_at(1, 0, first, 1);
    harness.commit_at(1, 0, second, 1);
    assert_eq!((harness.in_flight(), harness.coordinator.in_flight()), (vec![0, 3], 3));
    harness.commit_at(2, 1, first, 1);
    assert_eq!((harness.in_flight(), harness.coordinator.in_flight()), (vec![0, 2], 2));
}

#[test]
fn a_transaction_is_taken_only_if_every_shard_can_take_its_part() {
    let mut harness = Harness::new(4);
    let single = harness.submit(0, 0, 1);
    harness.busy(1, 0, single);
    harness.sent(0);
    let mut waiting = transaction();
    waiting.add(key_of(1), 1).add(key_of(0), 1);
    let outcome = harness.try_submit(2, &mut waiting, 2);
    assert_eq!(outcome, Err(SubmitError::ShardBusy(ShardId(0))));
    harness.commit(3, 0, single);
    harness.links.up[0] = false;
    let outcome = harness.try_submit(4, &mut waiting, 2);
    assert_eq!(outcome, Err(SubmitError::LinkBlocked(ShardId(0))));
    assert_eq!((harness.in_flight(), waiting.op_count()), (vec![0, 0], 2));
    assert!(harness.sent(1).is_empty(), "nobody gets a part of what is not taken");
    assert_eq!(harness.coordinator.stats().stamped, 0);
    harness.links.up[0] = true;
    harness.try_submit(5, &mut waiting, 2).expect("it can be taken now");
    assert_eq!((harness.sent(0).len(), harness.sent(1).len()), (1, 1));
}

#[test]
fn nothing_of_a_transaction_is_left_for_the_next_one_in_its_slot() {
    let mut harness = Harness::new(1);
    let mut transaction = transaction();
    for turn in 0..4 {
        // The memory of the one goes to the other, back and forth.
        transaction.add(key_of(0), 1).add(key_of(1), 1).add(key_of(0), 1);
        let both = harness.try_submit(turn, &mut transaction, 1).expect("there is room");
        harness
            .deliver(turn, 0, &reply(both, ReplyStatus::Committed, 9, &[ONE, ONE]))
            .expect("fine");
        harness.commit_at(turn, 1, both, 9);
        assert_eq!(harness.done.pop().map(|done| done.results.len()), Some(3));
        transaction.add(key_of(1), 1);
        let one = harness.try_submit(turn, &mut transaction, 2).expect("there is room");
        harness.commit(turn, 1, one);
        let done = harness.done.pop().expect("it is done");
        assert_eq!((done.results, done.timing), (vec![copied(&ONE)], None));
    }
    assert_eq!(harness.in_flight(), [0, 0]);
}
