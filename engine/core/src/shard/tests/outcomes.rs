//! Rule R8: at most once, whatever is repeated, and whatever the link did in between.

use super::*;
use crate::procedure::{ProcedureContext, Verdict};

const ABORTING: u16 = 1;

/// A shard whose procedure writes, reports what it got and aborts.
fn with_aborting() -> Harness {
    let mut procedures = Procedures::new();
    let aborting = |context: &mut ProcedureContext<'_>, args: &[u8]| {
        context.add(Key::Word(1), 1_000);
        context.result(args);
        Verdict::Abort
    };
    procedures.register(ABORTING, "aborting", aborting).expect("the first one");
    Harness::new(config(Limits::DEFAULT), procedures)
}

/// One request for each way to end: committed, aborted, refused.
fn one_of_each() -> [Request; 3] {
    [
        piece(seq(0, 1), &[add(1, 5), get(1), Op::Append { key: Key::from("log"), value: b"!" }]),
        call(seq(1, 1), ABORTING, b"a rather long argument"),
        call(seq(2, 1), 99, b""),
    ]
}

#[test]
fn a_retry_is_answered_with_the_same_bytes_and_does_not_run_again() {
    let mut harness = with_aborting();
    let (_, first) = harness.exchange(10, &one_of_each());
    let statuses: Vec<_> = answers(&first, harness.limits).iter().map(|it| it.status).collect();
    let refused = ReplyStatus::Refused(RefusedReason::UnknownProcedure);
    assert_eq!(statuses, [ReplyStatus::Committed, ReplyStatus::Aborted, refused]);
    let before = harness.shard.stats();
    for turn in 1..=3_u64 {
        let (outcome, again) = harness.exchange(1_000, &one_of_each());
        assert_eq!((outcome, &again), (Ok(()), &first));
        let stats = harness.shard.stats();
        assert_eq!(stats, ShardStats { repeated: 3 * turn, ..before });
    }
    assert_eq!((harness.number(1), harness.value(b"log")), (Some(5), Some(b"!".to_vec())));
}

#[test]
fn a_retry_over_a_new_link_of_the_session_is_answered_with_the_same_bytes() {
    let mut harness = with_aborting();
    let (_, first) = harness.exchange(10, &one_of_each());
    // Once the older link is known to be gone, once the newer one replaces it.
    for closes in [true, false] {
        if closes {
            harness.shard.close_session(Nanos(20), harness.session);
        }
        let reopened = harness.shard.open_session(Nanos(30), SESSION, SLOTS);
        assert_eq!(reopened, Ok(harness.session));
        let (_, again) = harness.exchange(40, &one_of_each());
        assert_eq!(again, first);
    }
    assert_eq!((harness.number(1), harness.value(b"log")), (Some(5), Some(b"!".to_vec())));
}

#[test]
fn a_piece_that_comes_twice_in_a_frame_runs_once_and_is_answered_twice() {
    let mut harness = Harness::plain();
    let requests = vec![piece(seq(3, 1), &[add(1, 1)]); 40];
    let answers = harness.run(1, &requests);
    assert_eq!((answers.len(), harness.number(1)), (40, Some(1)));
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[test]
fn a_newer_use_of_a_slot_replaces_the_outcome_and_an_older_one_is_dropped() {
    let mut harness = Harness::plain();
    let older = piece(seq(5, 3), &[add(1, 1)]);
    let newer = piece(seq(5, 8), &[add(1, 10)]);
    harness.run_one(1, &older);
    let answer = harness.run_one(2, &newer);
    assert!(harness.run(3, &[older]).is_empty());
    let never_seen_but_old = piece(seq(5, 7), &[add(1, 100)]);
    assert!(harness.run(4, &[never_seen_but_old]).is_empty());
    assert_eq!(harness.run_one(5, &newer), answer);
    assert_eq!(harness.number(1), Some(11));
    let stats = harness.shard.stats();
    assert_eq!((stats.committed, stats.repeated, stats.stale), (2, 1, 2));
}

#[test]
fn an_answer_holds_nothing_of_the_one_that_had_the_slot_before() {
    let mut harness = with_aborting();
    harness.run_one(1, &call(seq(0, 1), ABORTING, b"a long result"));
    let answer = harness.run_one(2, &call(seq(0, 2), 99, b""));
    assert_eq!(answer.status, ReplyStatus::Refused(RefusedReason::UnknownProcedure));
    assert_eq!((answer.commit, answer.results), (0, vec![]));
    let answer = harness.run_one(3, &piece(seq(0, 3), &[get(1)]));
    assert_eq!(answer.results, [(ResultStatus::NotFound, None)]);
}

#[test]
fn slots_beyond_those_of_the_session_are_stale() {
    let mut harness = Harness::plain();
    harness.session = harness.shard.open_session(Nanos::ZERO, SessionId(8), 4).expect("room");
    let requests = [3, 4, u16::MAX].map(|slot| piece(seq(slot, 1), &[add(u64::from(slot), 1)]));
    let answers = harness.run(1, &requests);
    let slots: Vec<_> = answers.iter().map(|answer| answer.sequence.slot()).collect();
    assert_eq!((slots, harness.shard.store().len()), (vec![3], 1));
    assert_eq!(harness.shard.stats().stale, 2);
}

#[test]
fn sessions_do_not_see_the_outcomes_of_each_other() {
    let mut harness = Harness::plain();
    let request = piece(seq(0, 1), &[add(1, 1)]);
    harness.run_one(1, &request);
    harness.session = harness.shard.open_session(Nanos(2), SessionId(8), SLOTS).expect("room");
    let answer = harness.run_one(3, &request);
    assert_eq!(answer.results, [(ResultStatus::Ok, Some(2_i64.to_le_bytes().to_vec()))]);
    assert_eq!(harness.shard.stats().repeated, 0);
}
