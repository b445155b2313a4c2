//! How many sessions there may be, and which of them may be forgotten.

use super::*;

const RETENTION_NS: i64 = 100;

/// A shard with room for two sessions and none open.
fn small_shard() -> Shard {
    let config = ShardConfig {
        sessions_max: 2,
        slots_max: 16,
        session_retention: Duration::from_nanos(100),
        ..ShardConfig::new(ShardId(0), 1)
    };
    Shard::new(config, Arc::new(Procedures::new()))
}

/// The same, to be talked to once a session is open.
fn small_harness() -> Harness {
    Harness { shard: small_shard(), session: SessionIndex(0), limits: Limits::DEFAULT }
}

fn open(shard: &mut Shard, now: i64, id: u64) -> Result<SessionIndex, SessionError> {
    shard.open_session(Nanos(now), SessionId(id), 4)
}

const FULL: Result<SessionIndex, SessionError> = Err(SessionError::TooManySessions { max: 2 });

#[test]
fn no_more_sessions_are_open_than_the_limit_says() {
    let mut shard = small_shard();
    let first = open(&mut shard, 0, 1).expect("room for two");
    let second = open(&mut shard, 0, 2).expect("room for two");
    assert_ne!(first, second);
    // However much time passes: nobody is thrown out while connected.
    for now in [0, RETENTION_NS, 1_000 * RETENTION_NS] {
        assert_eq!(open(&mut shard, now, 3), FULL);
    }
    assert_eq!((open(&mut shard, 0, 1), open(&mut shard, 0, 2)), (Ok(first), Ok(second)));
}

#[test]
fn a_session_needs_at_least_one_slot_and_at_most_the_limit() {
    let mut shard = small_shard();
    for slots in [0, 17, u32::MAX] {
        let outcome = shard.open_session(Nanos::ZERO, SessionId(1), slots);
        assert_eq!(outcome, Err(SessionError::TooManySlots { slots, max: 16 }));
    }
    assert!(shard.open_session(Nanos::ZERO, SessionId(1), 16).is_ok());
}

#[test]
fn only_what_was_closed_long_enough_makes_room_and_the_longest_closed_goes_first() {
    let mut shard = small_shard();
    let first = open(&mut shard, 0, 1).expect("room for two");
    let second = open(&mut shard, 0, 2).expect("room for two");
    shard.close_session(Nanos(20), first);
    shard.close_session(Nanos(10), second);
    assert_eq!(open(&mut shard, 109, 3), FULL);
    assert_eq!(open(&mut shard, 125, 3), Ok(second));
    assert_eq!(open(&mut shard, 125, 4), Ok(first));
    assert_eq!(open(&mut shard, 125, 1), FULL);
}

#[test]
fn a_session_that_came_back_is_not_forgotten() {
    let mut shard = small_shard();
    let first = open(&mut shard, 0, 1).expect("room for two");
    open(&mut shard, 0, 2).expect("room for two");
    shard.close_session(Nanos(10), first);
    assert_eq!(open(&mut shard, 50, 1), Ok(first));
    assert_eq!(open(&mut shard, 10_000, 3), FULL);
    // The time counts anew from the last closing.
    shard.close_session(Nanos(10_000), first);
    assert_eq!(open(&mut shard, 10_099, 3), FULL);
    assert_eq!(open(&mut shard, 10_100, 3), Ok(first));
}

#[test]
fn a_session_that_was_forgotten_has_another_epoch_until_it_is_forgotten_again() {
    let mut shard = small_shard();
    let first = open(&mut shard, 0, 1).expect("room for two");
    let second = open(&mut shard, 0, 2).expect("room for two");
    let epoch = shard.session_epoch(first);
    assert_ne!(epoch, shard.session_epoch(second));
    shard.close_session(Nanos(10), first);
    assert_eq!(open(&mut shard, 20, 1), Ok(first));
    assert_eq!(shard.session_epoch(first), epoch);
    // Another session takes its place, and gives it back.
    shard.close_session(Nanos(30), first);
    assert_eq!(open(&mut shard, 200, 3), Ok(first));
    shard.close_session(Nanos(300), first);
    assert_eq!(open(&mut shard, 500, 1), Ok(first));
    let new = shard.session_epoch(first);
    assert_ne!(new, epoch);
    // Nobody may have heard the first welcome: the second one says the same.
    assert_eq!(open(&mut shard, 501, 1), Ok(first));
    assert_eq!(shard.session_epoch(first), new);
}

#[test]
fn a_session_in_the_place_of_another_starts_without_outcomes() {
    let mut harness = small_harness();
    let request = piece(seq(0, 1), &[add(1, 1)]);
    harness.session = open(&mut harness.shard, 0, 1).expect("room for two");
    open(&mut harness.shard, 0, 2).expect("room for two");
    harness.run_one(1, &request);
    harness.shard.close_session(Nanos(2), harness.session);
    assert_eq!(open(&mut harness.shard, 200, 3), Ok(harness.session));
    harness.run_one(201, &request);
    assert_eq!((harness.number(1), harness.shard.stats().repeated), (Some(2), 0));
}

#[test]
fn reopening_keeps_outcomes_and_adds_slots_but_takes_none_away() {
    let mut harness = small_harness();
    let (low, high) = (piece(seq(0, 1), &[add(1, 1)]), piece(seq(9, 1), &[add(2, 1)]));
    let reopen = |harness: &mut Harness, now: i64, slots: u32| {
        harness.shard.close_session(Nanos(now), harness.session);
        harness.session = harness
            .shard
            .open_session(Nanos(now + 1), SessionId(1), slots)
            .expect("its place is kept");
    };
    reopen(&mut harness, 0, 4);
    let first = harness.run_one(10, &low);
    assert!(harness.run(11, std::slice::from_ref(&high)).is_empty());
    reopen(&mut harness, 20, 16);
    assert_eq!(harness.run_one(30, &low), first);
    let second = harness.run_one(31, &high);
    reopen(&mut harness, 40, 1);
    assert_eq!(harness.run(50, &[low, high]), [first, second]);
    assert_eq!((harness.number(1), harness.number(2)), (Some(1), Some(1)));
}

#[test]
fn a_session_that_was_ended_leaves_its_place_at_once() {
    let mut shard = small_shard();
    let first = open(&mut shard, 0, 1).expect("room for two");
    open(&mut shard, 0, 2).expect("room for two");
    assert_eq!(open(&mut shard, 0, 3), FULL);
    shard.end_session(first);
    assert_eq!(open(&mut shard, 0, 3), Ok(first));
}
