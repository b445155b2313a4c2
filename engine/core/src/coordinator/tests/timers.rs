//! Retries, deadlines, back-off and the window.

use super::*;

#[test]
fn a_piece_without_an_answer_is_sent_again_with_the_same_sequence_and_bytes() {
    let mut harness = Harness::new(4);
    let sequence = harness.submit(0, 0, 1);
    let first = harness.sent(0);
    assert_eq!((first.len(), first[0].sequence), (1, sequence));
    for timeout in [100, 200, 300] {
        harness.tick(timeout - 1);
        assert!(harness.sent(0).is_empty(), "too early at {}", timeout - 1);
        harness.tick(timeout);
        assert_eq!(harness.sent(0), first);
    }
    assert_eq!(harness.coordinator.stats().retries, 3);
    harness.commit(310, 0, sequence);
    harness.tick(10_000);
    assert!(harness.sent(0).is_empty(), "what is done is not sent again");
}

#[test]
fn a_call_is_sent_again_as_a_call() {
    let mut harness = Harness::new(4);
    let mut transaction = transaction();
    transaction.call(1, key_of(0), b"arguments");
    harness.try_submit(0, &mut transaction, 1).expect("there is room");
    let first = harness.sent(0);
    harness.tick(100);
    assert_eq!(harness.sent(0), first);
}

#[test]
fn a_retry_waits_for_a_link_that_is_down() {
    let mut harness = Harness::new(4);
    harness.submit(0, 0, 1);
    let first = harness.sent(0);
    harness.links.up[0] = false;
    harness.tick(100);
    harness.links.up[0] = true;
    assert!(harness.sent(0).is_empty());
    assert_eq!(harness.coordinator.stats().retries, 0);
    harness.tick(200);
    assert_eq!((harness.sent(0), harness.coordinator.stats().retries), (first, 1));
}

#[test]
fn a_transaction_without_an_answer_ends_between_its_deadline_and_one_timeout_later() {
    let submitted_at = 5_000;
    for (timeout, deadline) in [(100, 350), (100, 100), (100, 99), (7, 1_000), (1_000, 10)] {
        let config = CoordinatorConfig {
            request_timeout: Duration::from_nanos(timeout),
            deadline: Duration::from_nanos(deadline),
            ..config(4)
        };
        let mut harness = Harness::with(config);
        harness.submit(submitted_at, 0, 9);
        let mut now = Nanos(submitted_at);
        // The bound is far above the number of retries, and only there to end a broken loop.
        for _ in 0..1_000 {
            let Some(due) = harness.coordinator.next_deadline() else { break };
            assert!(due > now, "the timer moves on: {due} after {now}");
            now = due;
            harness.tick(now.0);
        }
        assert_eq!(harness.ended(), [(9, Outcome::Unknown(UnknownReason::Deadline))]);
        let waited = now.since(Nanos(submitted_at));
        let latest = config.deadline + config.request_timeout;
        assert!((config.deadline..=latest).contains(&waited), "{waited:?} of {latest:?}");
        let stats = harness.coordinator.stats();
        assert_eq!((harness.coordinator.in_flight(), stats.unknown), (0, 1));
    }
}

#[test]
fn an_answer_after_the_deadline_is_stale_and_does_not_touch_the_next_user_of_the_slot() {
    let mut harness = Harness::new(1);
    let first = harness.submit(0, 0, 1);
    for now in [100, 200, 300, 400] {
        harness.tick(now);
    }
    assert_eq!(harness.ended(), [(1, Outcome::Unknown(UnknownReason::Deadline))]);
    let second = harness.submit(400, 0, 2);
    assert_eq!(second.slot(), first.slot());
    harness.commit(410, 0, first);
    assert_eq!((harness.coordinator.stats().stale_replies, harness.done.len()), (1, 0));
    harness.commit(420, 0, second);
    assert_eq!(harness.ended(), [(2, Outcome::Committed { at: Nanos(420) })]);
}

#[test]
fn the_next_deadline_is_that_of_whatever_is_due_first() {
    let mut harness = Harness::new(4);
    let next = |harness: &Harness| harness.coordinator.next_deadline().map(|due| due.0);
    assert_eq!(next(&harness), None);
    let first = harness.submit(0, 0, 1);
    let second = harness.submit(5, 1, 2);
    assert_eq!(next(&harness), Some(100));
    harness.busy(20, 1, second);
    assert_eq!(next(&harness), Some(30), "the back-off ends before the timeout");
    harness.commit(21, 1, second);
    assert_eq!(next(&harness), Some(100));
    let third = harness.submit(40, 0, 3);
    harness.commit(50, 0, first);
    assert_eq!(next(&harness), Some(140));
    harness.tick(140);
    assert_eq!(next(&harness), Some(240));
    harness.commit(150, 0, third);
    assert_eq!(next(&harness), None);
}

#[test]
fn a_piece_that_met_a_busy_shard_is_sent_again_after_the_back_off() {
    let mut harness = Harness::new(4);
    let sequence = harness.submit(0, 0, 1);
    let first = harness.sent(0);
    for met_at in [50, 60, 70] {
        harness.busy(met_at, 0, sequence);
        harness.tick(met_at + 9);
        assert!(harness.sent(0).is_empty());
        harness.tick(met_at + 10);
        assert_eq!(harness.sent(0), first);
    }
    // A second busy for the same piece, say to a retry, starts the back-off again.
    harness.busy(90, 0, sequence);
    harness.busy(95, 0, sequence);
    harness.tick(100);
    assert!(harness.sent(0).is_empty());
    harness.tick(105);
    assert_eq!(harness.sent(0), first);
    assert_eq!(harness.coordinator.stats().busy, 5);
    harness.commit(110, 0, sequence);
    assert_eq!(harness.ended(), [(1, Outcome::Committed { at: Nanos(110) })]);
}

#[test]
fn a_shard_that_is_busy_for_ever_does_not_keep_a_transaction_beyond_its_deadline() {
    let mut harness = Harness::new(4);
    let sequence = harness.submit(0, 0, 1);
    let mut now = 0;
    while harness.done.is_empty() && now < 1_000 {
        harness.busy(now, 0, sequence);
        now += 10;
        harness.tick(now);
    }
    assert_eq!((now, harness.ended()), (350, vec![(1, Outcome::Unknown(UnknownReason::Deadline))]));
}

#[test]
fn the_window_of_a_busy_shard_halves_once_a_back_off() {
    let mut harness = Harness::new(8);
    let sequences = [1, 2, 3, 4, 5, 6, 7, 8].map(|tag| harness.submit(0, 0, tag));
    assert_eq!((harness.window(0), harness.window(1)), (8, 8));
    // All that is in flight was sent under the old window: many answers, one decrease.
    for sequence in sequences {
        harness.busy(10, 0, sequence);
    }
    assert_eq!(harness.window(0), 4);
    harness.commit(11, 0, sequences[0]);
    harness.commit(11, 0, sequences[1]);
    harness.busy(19, 0, sequences[2]);
    assert_eq!(harness.window(0), 4);
    harness.busy(20, 0, sequences[2]);
    assert_eq!(harness.window(0), 3, "half of the six in flight");
    for sequence in &sequences[3..] {
        harness.commit(21, 0, *sequence);
    }
    for now in [30, 40, 50] {
        harness.busy(now, 0, sequences[2]);
        assert_eq!(harness.window(0), 1, "the last one may always go");
    }
    assert_eq!(harness.window(1), 8, "the other shard is not busy");
}

#[test]
fn the_window_grows_by_one_for_each_windowful_of_replies_up_to_the_limit() {
    let mut harness = Harness::new(8);
    let first = harness.submit(0, 0, 0);
    harness.busy(10, 0, first);
    harness.commit(11, 0, first);
    // The reply to the only one in flight was a windowful.
    let mut expected = 2;
    assert_eq!(harness.window(0), expected);
    while expected < 8 {
        for _ in 0..expected {
            assert_eq!(harness.window(0), expected);
            let sequence = harness.submit(20, 0, 0);
            harness.commit(20, 0, sequence);
        }
        expected += 1;
    }
    for _ in 0..20 {
        assert_eq!(harness.window(0), 8);
        let sequence = harness.submit(30, 0, 0);
        harness.commit(30, 0, sequence);
    }
}

/// Submits something to shard 0 at the first of these times and commits it at the second.
fn run_another(harness: &mut Harness, times: Option<(i64, i64)>) {
    let Some((submitted_at, answered_at)) = times else { return };
    let sequence = harness.submit(submitted_at, 0, 9);
    harness.commit(answered_at, 0, sequence);
}

#[test]
fn a_time_out_closes_the_window_of_a_silent_shard_and_not_of_one_that_answers_others() {
    // The times of another transaction, and the window after the time-out.
    for (other, window) in [(None, 2), (Some((5, 9)), 2), (Some((5, 10)), 8), (Some((20, 90)), 8)] {
        let mut harness = Harness::new(8);
        run_another(&mut harness, other.filter(|(submitted_at, _)| *submitted_at < 10));
        for tag in 0..4 {
            harness.submit(10, 0, tag);
        }
        run_another(&mut harness, other.filter(|(submitted_at, _)| *submitted_at > 10));
        harness.tick(110);
        assert_eq!((harness.window(0), harness.window(1)), (window, 8), "after {other:?}");
    }
}

#[test]
fn of_a_transaction_on_several_shards_only_a_silent_one_loses_its_window() {
    let mut harness = Harness::new(8);
    let sequences = [1, 2, 3, 4].map(|tag| harness.submit_on_both(0, tag));
    let other = harness.submit(0, 0, 5);
    harness.commit(50, 0, other);
    harness.tick(100);
    assert_eq!((harness.window(0), harness.window(1)), (8, 2));
    // Now one waits for the others only: its parts are answered.
    for sequence in sequences {
        harness.commit_at(110, 1, sequence, 110);
    }
    harness.link_up(120, 1, 70);
    harness.tick(250);
    assert_eq!((harness.window(0), harness.window(1)), (2, 8));
}
