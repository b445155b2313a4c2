//! Stamps (R1), and the samples of delays that replies bring for free.

use super::*;

const DEFAULT_OWD: i64 = 500_000;

fn owd(harness: &Harness, shard: u16) -> i64 {
    harness.coordinator.owd_estimate(Nanos(50), ShardId(shard)).0
}

fn learn(harness: &mut Harness, shard: u16, owd: i64) {
    let sample = OwdSample { owd: Nanos(owd), rtt: None };
    harness.coordinator.owd_sample(Nanos(1), ShardId(shard), sample);
}

/// The stamp of a transaction on both shards that is submitted now.
fn stamp_at(harness: &mut Harness, now: i64) -> i64 {
    harness.submit_on_both(now, 0);
    harness.sent(1);
    stamp_of(&harness.sent(0)[0]).expect("it is stamped").0
}

#[test]
fn a_stamp_is_the_time_when_the_farthest_shard_will_have_its_piece_and_headroom() {
    // Clocks may be apart by more than any delay, in both directions.
    let cases = [
        (None, None, DEFAULT_OWD),
        (Some(20_000), None, DEFAULT_OWD),
        (Some(900_000), None, 900_000),
        (Some(20_000), Some(70_000), 70_000),
        (Some(-80_000), Some(-70_000), -70_000),
        (Some(-80_000), Some(5_000_000_000), 5_000_000_000),
    ];
    for (first, second, longest) in cases {
        let mut harness = Harness::new(4);
        for (shard, known) in [(0, first), (1, second)] {
            if let Some(known) = known {
                learn(&mut harness, shard, known);
            }
        }
        assert_eq!(stamp_at(&mut harness, 7), 7 + longest + HEADROOM.0, "{first:?}, {second:?}");
    }
}

#[test]
fn a_stamp_follows_the_clock_and_the_estimates_and_nothing_else() {
    let mut harness = Harness::new(8);
    let first = stamp_at(&mut harness, 7);
    assert_eq!([7, 8, 100].map(|now| stamp_at(&mut harness, now)), [0, 1, 93].map(|it| first + it));
    learn(&mut harness, 0, 0);
    learn(&mut harness, 1, 0);
    assert_eq!(stamp_at(&mut harness, 100), 100 + HEADROOM.0);
}

#[test]
fn a_reply_of_one_shard_tells_the_delay_by_its_commit_time() {
    let mut harness = Harness::new(4);
    let sequence = harness.submit(40, 1, 1);
    let frame = reply(sequence, ReplyStatus::Committed, 70_040, &[ONE]);
    harness.deliver(50, 1, &frame).expect("it is fine");
    assert_eq!((owd(&harness, 0), owd(&harness, 1)), (DEFAULT_OWD, 70_000));
}

#[test]
fn a_reply_of_several_shards_tells_the_delay_by_the_time_of_arrival() {
    let mut harness = Harness::new(4);
    let sequence = harness.submit_on_both(40, 1);
    for (shard, received_at) in [(0, 30_040), (1, -60_000)] {
        let timing = ReplyTiming { received_at, agreed_after: 5, released_after: 9 };
        let frame = timed_reply(sequence, ReplyStatus::Committed, 999_999, timing, &[ONE]);
        harness.deliver(50, shard, &frame).expect("it is fine");
    }
    assert_eq!((owd(&harness, 0), owd(&harness, 1)), (30_000, -60_040));
}

#[test]
fn what_was_sent_more_than_once_and_what_did_not_run_tells_nothing() {
    type Disturb = fn(&mut Harness, TxnSequence);
    let disturb: [(Disturb, ReplyStatus); 4] = [
        (|harness, _| harness.tick(100), ReplyStatus::Committed),
        (
            |harness, sequence| {
                harness.busy(45, 0, sequence);
                harness.tick(55);
            },
            ReplyStatus::Committed,
        ),
        (|harness, _| harness.link_up(50, 0, 70), ReplyStatus::Committed),
        (|_, _| {}, ReplyStatus::Refused(RefusedReason::StoreFull)),
    ];
    for (disturb, status) in disturb {
        let mut harness = Harness::new(4);
        harness.link_up(0, 0, 70);
        let sequence = harness.submit(0, 0, 1);
        disturb(&mut harness, sequence);
        let results: &[OpResult<'_>] = match status {
            ReplyStatus::Committed => &[ONE],
            _ => &[],
        };
        let frame = reply(sequence, status, 70_000, results);
        harness.deliver(110, 0, &frame).expect("it is fine");
        assert_eq!((harness.done.len(), owd(&harness, 0)), (1, DEFAULT_OWD));
    }
}

#[test]
fn replies_in_quick_succession_tell_the_delay_once() {
    let mut harness = Harness::new(4);
    let mut answer = |submitted_at: i64, now: i64, delay: i64| {
        let sequence = harness.submit(submitted_at, 0, 1);
        let frame = reply(sequence, ReplyStatus::Committed, submitted_at + delay, &[ONE]);
        harness.deliver(now, 0, &frame).expect("it is fine");
        owd(&harness, 0)
    };
    assert_eq!(answer(0, 10, 70_000), 70_000);
    assert_eq!(answer(20, 100_009, 90_000), 70_000);
    assert_eq!(answer(30, 100_010, 90_000), 90_000);
}

#[test]
fn a_cluster_of_one_shard_needs_no_delays() {
    let mut harness = Harness::with(CoordinatorConfig { shards: 1, ..config(4) });
    let mut transaction = Transaction::new(1, Limits::DEFAULT);
    transaction.add(1_u64, 1);
    let sequence = harness.try_submit(0, &mut transaction, 1).expect("there is room");
    let frame = reply(sequence, ReplyStatus::Committed, 70_000, &[ONE]);
    harness.deliver(10, 0, &frame).expect("it is fine");
    assert_eq!((harness.done.len(), owd(&harness, 0)), (1, DEFAULT_OWD));
}
