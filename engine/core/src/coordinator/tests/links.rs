//! Links that come back, shards that come back without their memory, and the end.

use super::*;

/// Two transactions in flight on shard 0 and one on shard 1, both links up since the start.
fn three_in_flight() -> (Harness, [TxnSequence; 3]) {
    let mut harness = Harness::new(4);
    harness.link_up(0, 0, 70);
    harness.link_up(0, 1, 71);
    let sequences = [(0, 1), (1, 2), (0, 3)].map(|(shard, tag)| harness.submit(1, shard, tag));
    (harness, sequences)
}

#[test]
fn the_first_link_to_a_shard_is_no_restart() {
    let mut harness = Harness::new(4);
    harness.submit(0, 0, 1);
    let first = harness.sent(0);
    harness.link_up(1, 0, 70);
    assert_eq!((harness.sent(0), harness.ended()), (first, vec![]));
}

#[test]
fn a_link_that_comes_back_to_the_same_shard_gets_all_that_is_in_flight_to_it_again() {
    let (mut harness, sequences) = three_in_flight();
    let first = harness.sent(0);
    harness.sent(1);
    harness.busy(2, 0, sequences[2]);
    harness.link_up(5, 0, 70);
    assert_eq!((harness.sent(0), harness.sent(1)), (first, vec![]));
    assert_eq!((harness.ended(), harness.coordinator.stats().retries), (vec![], 2));
    // Both wait for a whole timeout again, also the one that had backed off.
    harness.tick(104);
    assert_eq!((harness.sent(0).len(), harness.sent(1).len()), (0, 1));
    harness.tick(105);
    assert_eq!(harness.sent(0).len(), 2);
}

#[test]
fn a_shard_that_lost_its_memory_leaves_its_transactions_unknown_and_no_others() {
    let (mut harness, sequences) = three_in_flight();
    harness.sent(0);
    harness.link_up(5, 0, 99);
    let restarted = Outcome::Unknown(UnknownReason::ShardRestarted);
    assert_eq!(harness.ended(), [(1, restarted), (3, restarted)]);
    assert!(harness.sent(0).is_empty(), "nothing is sent again that may have run");
    assert_eq!(harness.coordinator.in_flight(), 1);
    harness.commit(6, 0, sequences[0]);
    assert_eq!(harness.coordinator.stats().stale_replies, 1);
    // From now on the new session is the one to compare with.
    harness.submit(7, 0, 4);
    harness.link_up(8, 0, 99);
    assert!(harness.ended().is_empty());
    harness.link_up(9, 0, 70);
    assert_eq!(harness.ended(), [(4, restarted)]);
    harness.commit(10, 1, sequences[1]);
    assert_eq!(harness.ended(), [(2, Outcome::Committed { at: Nanos(10) })]);
}

#[test]
fn a_shard_that_forgot_the_session_leaves_its_transactions_unknown_and_runs_none_twice() {
    let (mut harness, sequences) = three_in_flight();
    harness.sent(0);
    harness.link_up_to(5, 0, 70, 2);
    let restarted = Outcome::Unknown(UnknownReason::ShardRestarted);
    assert_eq!(harness.ended(), [(1, restarted), (3, restarted)]);
    assert!(harness.sent(0).is_empty(), "nothing is sent again that may have run");
    harness.submit(6, 0, 4);
    let sent = harness.sent(0);
    harness.link_up_to(7, 0, 70, 2);
    assert_eq!((harness.sent(0), harness.ended()), (sent, vec![]));
    harness.commit(8, 1, sequences[1]);
    assert_eq!(harness.ended(), [(2, Outcome::Committed { at: Nanos(8) })]);
}

#[test]
fn a_restart_without_transactions_in_flight_is_noticed_too() {
    let mut harness = Harness::new(4);
    harness.link_up(0, 0, 70);
    harness.link_up(1, 0, 99);
    harness.submit(2, 0, 1);
    harness.link_up(3, 0, 99);
    assert!(harness.ended().is_empty(), "it went to the session that is still there");
}

#[test]
fn a_link_that_keeps_breaking_does_not_put_off_the_deadline() {
    let mut harness = Harness::new(4);
    harness.link_up(0, 0, 70);
    harness.submit(0, 0, 1);
    let mut now = 0;
    while harness.done.is_empty() && now < 1_000 {
        now += 50;
        harness.tick(now);
        harness.link_up(now, 0, 70);
    }
    assert_eq!((now, harness.ended()), (350, vec![(1, Outcome::Unknown(UnknownReason::Deadline))]));
}

#[test]
fn a_link_that_comes_back_opens_the_window() {
    let mut harness = Harness::new(4);
    let sequence = harness.submit(0, 0, 1);
    harness.busy(1, 0, sequence);
    assert_eq!(harness.window(0), 1);
    harness.link_up(2, 0, 70);
    assert_eq!(harness.window(0), 4);
}

#[test]
fn abandoning_ends_everything_in_flight_whatever_it_waits_for() {
    let (mut harness, sequences) = three_in_flight();
    harness.busy(2, 0, sequences[2]);
    let done = |completion: Completion<'_>| harness.done.push(Done::copy(completion));
    harness.coordinator.abandon(done);
    let mut ended = harness.ended();
    ended.sort_by_key(|(tag, _)| *tag);
    let stopped = Outcome::Unknown(UnknownReason::Stopped);
    assert_eq!(ended, [(1, stopped), (2, stopped), (3, stopped)]);
    assert_eq!(harness.coordinator.in_flight(), 0);
    assert_eq!(harness.coordinator.next_deadline(), None);
    assert_eq!(harness.coordinator.stats().unknown, 3);
    harness.commit(3, 0, sequences[0]);
    assert!(harness.ended().is_empty());
}
