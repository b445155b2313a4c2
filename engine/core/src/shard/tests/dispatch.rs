//! Stamps, malformed bytes and refusals.

use super::*;
use crate::procedure::{ProcedureContext, Verdict};

#[test]
fn commits_strictly_increase_and_are_not_before_now_even_when_the_clock_runs_back() {
    let mut harness = Harness::plain();
    let mut last = i64::MIN;
    let clock: [i64; 10] = [5, 0, 100, 100, 99, 7, 103, 1_000, 3, 1_002];
    for (generation, now) in (1..).zip(clock) {
        let requests: Vec<_> = (0..5).map(|slot| piece(seq(slot, generation), &[get(1)])).collect();
        let answers = harness.run(now, &requests);
        assert_eq!(answers.len(), requests.len());
        for answer in answers {
            assert_eq!(answer.commit, now.max(last.saturating_add(1)), "at {now} after {last}");
            last = answer.commit;
        }
    }
}

#[test]
fn what_is_refused_or_repeated_takes_no_timestamp() {
    let mut harness = Harness::plain();
    let ran = piece(seq(0, 1), &[add(1, 1)]);
    let refused = call(seq(1, 1), 9, b"");
    let later = piece(seq(2, 1), &[add(1, 1)]);
    let answers = harness.run(50, &[ran.clone(), ran, refused, later]);
    let commits: Vec<_> = answers.iter().map(|answer| answer.commit).collect();
    assert_eq!(commits, [50, 50, 0, 51]);
}

const SMALL: Limits = Limits { key_bytes_max: 32, value_bytes_max: 64, ..Limits::DEFAULT };

fn encoded(op: Op<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    op.write(&mut bytes);
    bytes
}

/// Pieces that begin with `good` operations and are malformed after them, with what is wrong.
fn malformed(sequence: TxnSequence, good: &[Op<'_>]) -> Vec<(&'static str, Request)> {
    let head = piece(sequence, good);
    let with = |what: &'static str, more_ops: u16, tail: &[u8]| {
        let mut request = head.clone();
        request.op_count += more_ops;
        request.body.extend_from_slice(tail);
        (what, request)
    };
    let long_key = encoded(Op::Get { key: Key::new(&[b'k'; 33]) });
    let long_value = encoded(Op::Put { key: Key::Word(1), value: &[0; 65] });
    let mut cases = vec![
        with("an unknown operation", 1, &[0x4f; 9]),
        with("an operation cut short", 1, &encoded(add(1, 1))[..16]),
        with("fewer operations than announced", 1, &[]),
        with("bytes left over", 0, &[0]),
        with("a key over its limit", 1, &long_key),
        with("a value over its limit", 1, &long_value),
        with("an 8-byte key in the long form", 1, &[1, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ];
    let headless = Request { body: vec![1], ..call(sequence, 1, b"") };
    cases.push(("a call without its whole head", headless));
    cases.push(("no operations", piece(sequence, &[])));
    cases
}

#[test]
fn a_malformed_piece_and_all_after_it_do_nothing_wherever_it_stands() {
    // At the ends of the windows in which pieces are checked, and inside of them.
    for bad_at in [0, 1, 7, 8, 9, 15, 16, 17, 40] {
        for (what, bad) in malformed(seq(bad_at, 1), &[add(u64::from(bad_at), 1)]) {
            let mut harness = Harness::new(config(SMALL), Procedures::new());
            let good = |at: u16| piece(seq(at, 1), &[add(u64::from(at), 1)]);
            let mut requests: Vec<_> = (0..50).map(good).collect();
            requests[usize::from(bad_at)] = bad;
            let (outcome, bytes) = harness.exchange(5, &requests);
            assert!(outcome.is_err(), "{what} at {bad_at} went unnoticed");
            let ran: Vec<_> =
                (0..50_u16).filter(|at| harness.number(u64::from(*at)).is_some()).collect();
            let answers = answers(&bytes, SMALL);
            let answered: Vec<_> = answers.iter().map(|answer| answer.sequence.slot()).collect();
            assert_eq!(ran, answered, "{what} at {bad_at}");
            assert!(ran.iter().all(|at| *at < bad_at), "{what} at {bad_at}: {ran:?} ran");
            assert_eq!(harness.shard.stats().committed, ran.len() as u64);
        }
    }
}

#[test]
fn good_operations_before_a_bad_one_do_nothing_and_the_shard_serves_on() {
    let good = [add(1, 1), Op::Put { key: Key::from("new"), value: b"x" }, add(2, 1)];
    for (what, bad) in malformed(seq(0, 2), &good) {
        let mut harness = Harness::new(config(SMALL), Procedures::new());
        harness.run(1, &[piece(seq(0, 1), &[add(1, 5)])]);
        let (outcome, bytes) = harness.exchange(2, &[bad]);
        assert!(outcome.is_err(), "{what} went unnoticed");
        assert!(answers(&bytes, SMALL).is_empty(), "{what}");
        assert_eq!((harness.number(1), harness.shard.store().len()), (Some(5), 1), "{what}");
        // The sequence of the bad piece is not used up: nothing was noted about it.
        let answer = harness.run_one(3, &piece(seq(0, 2), &[add(1, 1)]));
        assert_eq!((answer.status, harness.number(1)), (ReplyStatus::Committed, Some(6)), "{what}");
    }
}

#[test]
fn a_frame_with_more_or_fewer_pieces_than_it_announces_is_an_error() {
    for count in [1, 8, 9, 16, 17] {
        for (announced, tail) in [(count - 1, "more"), (count + 1, "fewer")] {
            let mut harness = Harness::plain();
            let mut input = BatchWriter::new(harness.limits, u16::MAX, false);
            for at in 0..count {
                let request = piece(seq(at, 1), &[add(u64::from(at), 1)]);
                request.write(&mut input);
            }
            input.seal();
            let mut frames = FrameReader::new(input.sealed(), harness.limits, false);
            let frame = frames.next_frame().expect("a valid frame").expect("a whole one");
            let frame = Frame { count: announced, ..frame };
            let mut out = BatchWriter::new(harness.limits, u16::MAX, false);
            let error = harness.shard.on_dispatch(Nanos(1), harness.session, &frame, &mut out);
            match tail {
                "more" => assert!(matches!(error, Err(WireError::Trailing { .. })), "{error:?}"),
                _ => assert!(matches!(error, Err(WireError::Truncated { .. })), "{error:?}"),
            }
            let ran = harness.shard.store().len();
            assert!(ran <= usize::from(announced.min(count)), "{ran} of {announced} ran");
        }
    }
}

#[test]
fn pieces_that_find_too_many_replies_waiting_are_busy_and_run_when_they_come_again() {
    let mut harness = Harness::plain();
    let (key, value) = (Key::from("long"), vec![7_u8; 200_000]);
    harness.run(1, &[piece(seq(0, 1), &[Op::Put { key, value: &value }])]);
    let requests: Vec<_> =
        (0..40).map(|slot| piece(seq(slot, 2), &[Op::Get { key }, add(1, 1)])).collect();
    let answers = harness.run(2, &requests);
    assert_eq!(answers.len(), 40);
    // Replies of 4 MiB are what may wait.
    let (ran, busy) = answers.split_at(21);
    assert!(ran.iter().all(|answer| answer.status == ReplyStatus::Committed));
    for answer in busy {
        let Answer { status, commit, results, .. } = answer;
        assert_eq!((*status, *commit, results.len()), (ReplyStatus::Busy, 0, 0));
    }
    assert_eq!((harness.number(1), harness.shard.stats().busy), (Some(21), 19));
    let answers = harness.run(3, &requests[21..]);
    assert!(answers.iter().all(|answer| answer.status == ReplyStatus::Committed));
    let stats = harness.shard.stats();
    assert_eq!((harness.number(1), stats.busy, stats.repeated), (Some(40), 19, 0));
}

#[test]
fn a_key_of_another_shard_refuses_the_whole_piece() {
    let word_of = |shard| (0..).find(|word| shard_of(Key::Word(*word), 2) == shard);
    let own = word_of(1).expect("shard 1 has keys");
    let foreign = word_of(0).expect("shard 0 has keys");
    let mut harness = Harness::new(ShardConfig::new(ShardId(1), 2), Procedures::new());
    for (generation, ops) in [(1, [add(own, 1), add(foreign, 1)]), (2, [get(foreign), get(own)])] {
        let answer = harness.run_one(9, &piece(seq(0, generation), &ops));
        assert_eq!(answer.status, ReplyStatus::Refused(RefusedReason::WrongShard));
        assert_eq!((answer.commit, answer.results.len()), (0, 0));
    }
    assert!(harness.shard.store().is_empty());
    assert_eq!(harness.shard.stats().refused, 2);
    let answer = harness.run_one(9, &piece(seq(0, 3), &[add(own, 1)]));
    assert_eq!(answer.status, ReplyStatus::Committed);
}

#[test]
fn of_many_pieces_in_a_frame_exactly_those_with_a_key_of_another_shard_are_refused() {
    let word_of = |shard| (0..).find(|word| shard_of(Key::Word(*word), 2) == shard);
    let own = word_of(1).expect("shard 1 has keys");
    let foreign = word_of(0).expect("shard 0 has keys");
    // Which pieces, by bits: around the windows in which pieces are checked, and mixed.
    for pattern in [1, 1 << 7, 1 << 8, 1 << 39, 0x00d3_41f0_a5c6, u64::MAX] {
        let mut harness = Harness::new(ShardConfig::new(ShardId(1), 2), Procedures::new());
        let is_foreign = |slot: u16| pattern >> slot & 1 == 1;
        let last = |slot: u16| if is_foreign(slot) { foreign } else { own };
        let request = |slot: u16| piece(seq(slot, 1), &[add(own, 1), add(last(slot), 1)]);
        let requests: Vec<_> = (0..40).map(request).collect();
        let answers = harness.run(9, &requests);
        assert_eq!(answers.len(), 40);
        for answer in answers {
            let refused = answer.status == ReplyStatus::Refused(RefusedReason::WrongShard);
            let slot = answer.sequence.slot();
            assert_eq!(refused, is_foreign(slot), "piece {slot} of {pattern:#x}");
        }
    }
}

#[test]
fn an_unknown_procedure_is_refused() {
    let mut harness = Harness::plain();
    let answer = harness.run_one(9, &call(seq(0, 1), 3, b"arguments"));
    assert_eq!(answer.status, ReplyStatus::Refused(RefusedReason::UnknownProcedure));
    assert_eq!((answer.commit, answer.results.len()), (0, 0));
}

#[test]
fn a_full_store_refuses_whatever_may_write_and_goes_on_reading() {
    let mut procedures = Procedures::new();
    let nothing = |_: &mut ProcedureContext<'_>, _: &[u8]| Verdict::Commit;
    procedures.register(1, "nothing", nothing).expect("the first one");
    // Room for the first chunk of entries and some long values.
    let store_bytes_max = Store::new(0, u64::MAX).bytes() + 200_000;
    let config = ShardConfig { store_bytes_max, ..ShardConfig::new(ShardId(0), 1) };
    let mut harness = Harness::new(config, procedures);
    let full = ReplyStatus::Refused(RefusedReason::StoreFull);
    let refused = (1..1_000).find(|turn| {
        let key = format!("key {turn}");
        let put = Op::Put { key: Key::from(key.as_str()), value: &[7; 1_000] };
        harness.run_one(0, &piece(seq(0, *turn), &[put])).status == full
    });
    assert!(refused.is_some_and(|turn| turn > 1), "{refused:?}");
    let len = harness.shard.store().len();

    let key = Key::from("key 1");
    let writes = [
        Op::Put { key, value: b"y" },
        Op::Delete { key },
        Op::Add { key, delta: 1 },
        Op::Append { key, value: b"y" },
        Op::CompareAndSet { key, expected: None, value: b"y" },
    ];
    for (generation, write) in (2_000..).zip(writes) {
        let request = piece(seq(0, generation), &[Op::Get { key }, write]);
        let answer = harness.run_one(0, &request);
        assert_eq!(answer.status, full, "{write:?}");
    }
    let answer = harness.run_one(0, &call(seq(0, 3_000), 1, b""));
    assert_eq!(answer.status, full);
    let answer = harness.run_one(0, &piece(seq(0, 4_000), &[Op::Get { key }]));
    assert_eq!(answer.status, ReplyStatus::Committed);
    assert_eq!(answer.results, [(ResultStatus::Ok, Some(vec![7; 1_000]))]);
    assert_eq!(harness.shard.store().len(), len);
}
