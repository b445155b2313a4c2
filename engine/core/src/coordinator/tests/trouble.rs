//! Transactions on several shards of which some do not answer, or not as they should.

use super::*;

/// One on both shards, the links to which are up, with the frames that were sent.
fn one_on_both() -> (Harness, TxnSequence, [Vec<Sent>; 2]) {
    let mut harness = Harness::new(8);
    harness.link_up(0, 0, 70);
    harness.link_up(0, 1, 71);
    let sequence = harness.submit_on_both(0, 1);
    let sent = [harness.sent(0), harness.sent(1)];
    (harness, sequence, sent)
}

#[test]
fn only_parts_without_an_answer_are_sent_again_and_with_the_same_bytes() {
    let (mut harness, sequence, [first, second]) = one_on_both();
    harness.tick(100);
    assert_eq!((harness.sent(0), harness.sent(1)), (first, second.clone()));
    harness.commit_at(150, 0, sequence, 150);
    harness.tick(200);
    assert_eq!((harness.sent(0), harness.sent(1)), (vec![], second.clone()));
    // Links that break and come back are the same to a part that was answered.
    harness.link_up(210, 0, 70);
    assert_eq!((harness.sent(0), harness.sent(1)), (vec![], vec![]));
    harness.link_up(220, 1, 71);
    assert_eq!((harness.sent(0), harness.sent(1)), (vec![], second));
    assert_eq!(harness.coordinator.stats().retries, 4);
    harness.commit_at(230, 1, sequence, 150);
    assert_eq!(harness.ended(), [(1, Outcome::Committed { at: Nanos(150) })]);
}

#[test]
fn a_link_that_comes_back_gets_only_the_part_of_its_own_shard_again() {
    let (mut harness, _, [first, _]) = one_on_both();
    harness.link_up(10, 0, 70);
    assert_eq!((harness.sent(0), harness.sent(1)), (first, vec![]));
}

#[test]
fn a_busy_part_is_sent_again_after_the_back_off_and_closes_the_window_of_its_shard_only() {
    for answered in [false, true] {
        let (mut harness, sequence, [first, second]) = one_on_both();
        harness.busy(50, 0, sequence);
        if answered {
            harness.commit_at(55, 1, sequence, 55);
        }
        assert_eq!((harness.window(0), harness.window(1)), (1, 8));
        harness.tick(59);
        assert_eq!((harness.sent(0), harness.sent(1)), (vec![], vec![]));
        harness.tick(60);
        assert_eq!(harness.sent(0), first);
        let again = harness.sent(1);
        assert!(again.is_empty() || (!answered && again == second));
        harness.commit_at(70, 0, sequence, 55);
        if !answered {
            assert!(harness.done.is_empty());
            harness.commit_at(80, 1, sequence, 55);
        }
        assert_eq!(harness.ended(), [(1, Outcome::Committed { at: Nanos(55) })]);
    }
}

#[test]
fn one_refusal_ends_the_transaction_at_once() {
    let cases = [
        (RefusedReason::StoreFull, Outcome::Refused(RefusedReason::StoreFull)),
        (RefusedReason::DispatchTimeout, Outcome::Refused(RefusedReason::DispatchTimeout)),
        // The memory that is gone may have held the transaction.
        (RefusedReason::PeerLost, Outcome::Unknown(UnknownReason::ShardRestarted)),
    ];
    for (reason, outcome) in cases {
        let (mut harness, sequence, _) = one_on_both();
        harness.answer(5, 1, sequence, ReplyStatus::Refused(reason), &[]);
        let done = harness.done.pop().expect("it is done");
        assert_eq!((done.outcome, done.results, done.timing), (outcome, vec![], None));
        assert_eq!((harness.in_flight(), harness.coordinator.in_flight()), (vec![0, 0], 0));
        harness.answer(6, 0, sequence, ReplyStatus::Refused(reason), &[]);
        assert_eq!((harness.done.len(), harness.coordinator.stats().stale_replies), (0, 1));
        assert_eq!(harness.in_flight(), [0, 0]);
    }
}

#[test]
fn a_refusal_of_what_another_shard_has_run_is_a_loud_error_unless_a_memory_is_gone() {
    let cases = [
        (RefusedReason::DispatchTimeout, UnknownReason::VerdictsDiffer, 1),
        (RefusedReason::PeerLost, UnknownReason::ShardRestarted, 0),
    ];
    for (reason, unknown, differ) in cases {
        let (mut harness, sequence, _) = one_on_both();
        harness.commit_at(5, 0, sequence, 5);
        harness.answer(6, 1, sequence, ReplyStatus::Refused(reason), &[]);
        assert_eq!(harness.ended(), [(1, Outcome::Unknown(unknown))]);
        assert_eq!(harness.coordinator.stats().verdicts_differ, differ);
        assert_eq!(harness.in_flight(), [0, 0]);
    }
}

#[test]
fn an_answer_of_one_shard_does_not_put_off_the_deadline() {
    let (mut harness, sequence, _) = one_on_both();
    harness.commit_at(50, 0, sequence, 50);
    for now in [100, 200, 300, 400] {
        assert!(harness.done.is_empty());
        harness.tick(now);
    }
    let done = harness.done.pop().expect("it is done");
    assert_eq!(done.outcome, Outcome::Unknown(UnknownReason::Deadline));
    assert_eq!((done.results, harness.in_flight()), (vec![], vec![0, 0]));
    harness.commit_at(410, 1, sequence, 50);
    assert_eq!((harness.done.len(), harness.coordinator.stats().stale_replies), (0, 1));
}

#[test]
fn a_shard_that_lost_its_memory_before_it_answered_leaves_the_transaction_unknown() {
    let (mut harness, sequence, _) = one_on_both();
    harness.commit_at(5, 1, sequence, 5);
    harness.link_up(6, 0, 99);
    let restarted = Outcome::Unknown(UnknownReason::ShardRestarted);
    assert_eq!((harness.ended(), harness.in_flight()), (vec![(1, restarted)], vec![0, 0]));
    assert!(harness.sent(0).is_empty(), "nothing is sent to a run that it is not bound to");
}

#[test]
fn a_shard_that_lost_its_memory_after_it_answered_changes_nothing() {
    let (mut harness, sequence, _) = one_on_both();
    harness.submit(1, 1, 2);
    harness.commit_at(5, 1, sequence, 5);
    harness.link_up(6, 1, 99);
    let restarted = Outcome::Unknown(UnknownReason::ShardRestarted);
    assert_eq!(harness.ended(), [(2, restarted)], "only what it had not answered");
    harness.commit_at(7, 0, sequence, 5);
    assert_eq!(harness.ended(), [(1, Outcome::Committed { at: Nanos(5) })]);
}

#[test]
fn different_commit_times_are_a_loud_error() {
    let (mut harness, sequence, _) = one_on_both();
    harness.commit_at(5, 0, sequence, 700);
    harness.commit_at(6, 1, sequence, 701);
    assert_eq!(harness.ended(), [(1, Outcome::Unknown(UnknownReason::TimesDiffer))]);
    let stats = harness.coordinator.stats();
    assert_eq!((stats.commit_mismatch, stats.unknown, stats.committed), (1, 1, 0));
    assert_eq!(harness.in_flight(), [0, 0]);
}

#[test]
fn procedures_that_decide_differently_leave_the_transaction_unknown() {
    for verdicts in [[0, 1], [1, 0]] {
        let mut harness = Harness::new(4);
        let mut transaction = transaction();
        transaction.call(1, key_of(0), b"").call(1, key_of(1), b"");
        let sequence = harness.try_submit(0, &mut transaction, 1).expect("there is room");
        for (shard, verdict) in (0..).zip(verdicts) {
            let status = [ReplyStatus::Committed, ReplyStatus::Aborted][verdict];
            harness.deliver(5, shard, &reply(sequence, status, 5, &[])).expect("it is fine");
        }
        assert_eq!(harness.ended(), [(1, Outcome::Unknown(UnknownReason::VerdictsDiffer))]);
        let stats = harness.coordinator.stats();
        assert_eq!((stats.verdicts_differ, stats.commit_mismatch), (1, 0));
    }
}

#[test]
fn an_answer_that_comes_again_counts_once() {
    let (mut harness, sequence, _) = one_on_both();
    for _ in 0..3 {
        harness.commit_at(5, 0, sequence, 5);
        harness.busy(5, 0, sequence);
    }
    let stats = harness.coordinator.stats();
    assert_eq!((stats.stale_replies, stats.busy, harness.in_flight()), (5, 0, vec![0, 1]));
    harness.commit_at(6, 1, sequence, 5);
    assert_eq!(harness.ended(), [(1, Outcome::Committed { at: Nanos(5) })]);
}

#[test]
fn a_part_with_too_many_or_too_few_results_is_an_error_and_the_transaction_stays_in_flight() {
    let (mut harness, sequence, _) = one_on_both();
    for (found, results) in [(0, vec![]), (2, vec![ONE, ONE])] {
        let frame = reply(sequence, ReplyStatus::Committed, 5, &results);
        let error = ReplyError::ResultCount { found, expected: 1 };
        assert_eq!(harness.deliver(5, 1, &frame), Err(error));
    }
    assert_eq!(harness.in_flight(), [1, 1]);
    harness.commit_at(6, 0, sequence, 5);
    harness.commit_at(6, 1, sequence, 5);
    assert_eq!(harness.ended(), [(1, Outcome::Committed { at: Nanos(5) })]);
}

#[test]
fn abandoning_gives_up_answered_and_unanswered_parts_alike() {
    let (mut harness, sequence, _) = one_on_both();
    harness.submit_on_both(0, 2);
    harness.commit_at(5, 0, sequence, 5);
    let done = |completion: Completion<'_>| harness.done.push(Done::copy(completion));
    harness.coordinator.abandon(done);
    let stopped = Outcome::Unknown(UnknownReason::Stopped);
    assert_eq!(harness.ended(), [(1, stopped), (2, stopped)]);
    assert_eq!((harness.in_flight(), harness.coordinator.next_deadline()), (vec![0, 0], None));
}
