//! Sessions and their outcome tables after a crash: a retry finds what it would have found (R8).

use super::*;

/// Shard 0 with a transaction that is undecided, and behind it one on that shard alone.
fn with_one_that_waits() -> (World, Txn, Request) {
    let mut world = World::new();
    let t = adds(seq(0, 1), 100, &[0, 1]);
    world.at(100).admit(&t, &[0]);
    let waits = piece(seq(1, 1), &[add_to(0, 0)]);
    assert!(world.at(200).cluster.send(0, &waits).is_empty());
    world.sync(0);
    (world, t, waits)
}

/// Lets what is undecided be decided, and run with all that waits for it.
fn decide(world: &mut World, t: &Txn) {
    world.admit(t, &[1]);
    world.pass_until(2 * MS);
    assert!(world.cluster.is_idle());
}

#[test]
fn a_retry_is_answered_as_before_whatever_became_of_the_transaction() {
    let (mut harness, mut tape) = journaled(Durability::Journal);
    let requests = [
        piece(seq(0, 1), &[add(1, 5), Op::Append { key: Key::from("log"), value: b"!" }]),
        call(seq(1, 1), BUMP, &bump_args(1, COMMITS)),
        piece(seq(2, 7), &[add(2, 1)]),
    ];
    harness.run(10, &requests);
    tape.sync(&mut harness.shard);
    let answers = harness.held();
    assert_eq!(answers.len(), 3);
    let end = tape.end();
    revive(&mut harness, &mut tape, 20, end);
    assert_eq!(harness.run(30, &requests), answers);
    assert_eq!(harness.shard.stats().repeated, 3);
    // What is older than the latest use of its slot is dropped as before.
    assert!(harness.run(30, &[piece(seq(2, 6), &[add(2, 1)])]).is_empty());
    assert_eq!((harness.number(1), harness.number(2)), (Some(6), Some(1)));
}

#[test]
fn what_was_not_written_down_runs_again_when_it_is_asked_for_again() {
    let (mut harness, mut tape) = journaled(Durability::Journal);
    let requests = [
        piece(seq(0, 1), &[get(1)]),
        piece(seq(1, 1), &[get(2), get(3)]),
        call(seq(2, 1), 99, b""),
    ];
    let before = harness.run(10, &requests);
    let end = tape.end();
    revive(&mut harness, &mut tape, 20, end);
    let after = harness.run(30, &requests);
    let statuses = |answers: &[Answer]| answers.iter().map(|it| it.status).collect::<Vec<_>>();
    assert_eq!((after.len(), statuses(&after)), (3, statuses(&before)));
    assert_eq!(harness.shard.stats().repeated, 0);
}

#[test]
fn what_waited_for_others_is_forgotten_and_taken_again() {
    let (mut world, t, waits) = with_one_that_waits();
    world.at(300).restart(0);
    assert_eq!(world.shard(0).stats().held, 1);
    assert!(world.cluster.send(0, &waits).is_empty());
    assert_eq!(world.shard(0).stats().held, 2);
    decide(&mut world, &t);
    assert_eq!(world.end_of(0, &waits), committed(seq(1, 1), 300));
    assert_eq!(world.cluster.counter(0, 0), Some(2));
}

#[test]
fn the_latest_use_of_a_slot_counts_although_an_older_one_ran_after_it() {
    let (mut world, t, waits) = with_one_that_waits();
    // The coordinator has given up what waits, and uses its slot again.
    let newer = piece(seq(1, 2), &[add_to(0, 1)]);
    assert_eq!(world.end_of(0, &newer), committed(seq(1, 2), 200));
    decide(&mut world, &t);
    assert_eq!(world.cluster.counter(0, 0), Some(2));
    world.at(5 * MS).restart(0);
    assert_eq!(world.end_of(0, &newer), committed(seq(1, 2), 200));
    assert_eq!(world.cluster.counter(0, 1), Some(1), "it ran once");
    assert!(world.cluster.send(0, &waits).is_empty());
    assert_eq!(world.cluster.counter(0, 0), Some(2));
}

#[test]
fn a_newer_use_of_a_slot_on_several_shards_is_answered_although_an_older_one_ran_before_it() {
    let (mut world, t, _) = with_one_that_waits();
    let newer = adds_to(1, seq(1, 2), 50 * MS, &[0, 1]);
    world.admit(&newer, &[0, 1]);
    world.admit(&t, &[1]);
    world.pass_until(2 * MS);
    assert_eq!((world.cluster.counter(0, 0), world.shard(0).stats().held), (Some(2), 1));
    world.restart(0);
    world.pass_until(60 * MS);
    assert_eq!(world.end_of(0, &newer.pieces[&0]), committed(seq(1, 2), 50 * MS));
    assert_eq!(world.cluster.counter(0, 1), Some(1));
}

#[test]
fn what_ran_after_its_session_had_ended_is_done_again_without_one() {
    for comes_back in [false, true] {
        let (mut world, t, _) = with_one_that_waits();
        let harness = world.cluster.shard(0);
        harness.shard.end_session(harness.session);
        if comes_back {
            let opened = harness.shard.open_session(Nanos(300), SESSION, 1);
            harness.session = opened.expect("there is room");
        }
        decide(&mut world, &t);
        assert_eq!(world.cluster.counter(0, 0), Some(2));
        world.at(5 * MS).restart(0);
        assert_eq!(world.cluster.counter(0, 0), Some(2), "comes back: {comes_back}");
    }
}

#[test]
fn sessions_keep_their_tables_and_new_ones_get_others() {
    let (mut harness, mut tape) = journaled(Durability::Journal);
    let open = |harness: &mut Harness, now, id, slots| {
        harness.shard.open_session(Nanos(now), SessionId(id), slots).expect("there is room")
    };
    let second = open(&mut harness, 10, 8, 4);
    let third = open(&mut harness, 10, 9, 4);
    let epochs = [harness.session, second, third].map(|it| harness.shard.session_epoch(it));
    harness.shard.end_session(third);
    assert_eq!(open(&mut harness, 20, 8, 16), second, "it wants more slots");
    harness.session = second;
    harness.run(20, &[piece(seq(15, 1), &[add(1, 1)])]);
    tape.sync(&mut harness.shard);
    let answers = harness.held();
    let end = tape.end();
    revive(&mut harness, &mut tape, 30, end);
    assert_eq!(harness.shard.session_epoch(harness.session), epochs[0]);
    assert_eq!((open(&mut harness, 30, 8, 16), open(&mut harness, 30, 8, 1)), (second, second));
    assert_eq!(harness.shard.session_epoch(second), epochs[1]);
    let again = open(&mut harness, 30, 9, 4);
    assert!(!epochs.contains(&harness.shard.session_epoch(again)));
    harness.session = second;
    // The new session is not durable yet.
    assert!(harness.run(40, &[piece(seq(15, 1), &[add(1, 1)])]).is_empty());
    tape.sync(&mut harness.shard);
    assert_eq!(harness.held(), answers);
}

#[test]
fn every_session_has_the_full_time_again_for_its_coordinator_to_come_back() {
    let config = ShardConfig {
        durability: Durability::Journal,
        sessions_max: 1,
        session_retention: Duration::from_nanos(100),
        ..config(Limits::DEFAULT)
    };
    let mut harness = Harness::new(config, Procedures::new());
    harness.shard.close_session(Nanos(10), harness.session);
    let mut tape = Tape::default();
    tape.sync(&mut harness.shard);
    let pages = tape.pages();
    let mut shard = replay(&harness.shard, &pages.records()).finish(Nanos(5_000), tape.end());
    let full = SessionError::TooManySessions { max: 1 };
    assert_eq!(shard.open_session(Nanos(5_099), SessionId(8), 4), Err(full));
    assert!(shard.open_session(Nanos(5_100), SessionId(8), 4).is_ok());
    assert_eq!(shard.open_session(Nanos(5_100), SESSION, 4), Err(full), "it is open");
}

#[test]
fn what_a_session_had_is_gone_with_it_when_another_took_its_place() {
    let config = ShardConfig {
        durability: Durability::Journal,
        sessions_max: 1,
        session_retention: Duration::from_nanos(100),
        ..config(Limits::DEFAULT)
    };
    let mut harness = Harness::new(config, Procedures::new());
    let mut tape = Tape::default();
    harness.run(5, &[piece(seq(0, 1), &[add(1, 1)])]);
    harness.shard.close_session(Nanos(10), harness.session);
    let other = harness.shard.open_session(Nanos(200), SessionId(8), 4).expect("time is over");
    assert_eq!(other, harness.session);
    harness.run(210, &[piece(seq(0, 1), &[add(1, 10)])]);
    tape.sync(&mut harness.shard);
    let answers = harness.held();
    let pages = tape.pages();
    let shard = replay(&harness.shard, &pages.records()).finish(Nanos(300), tape.end());
    harness.shard = shard;
    harness.session = harness.shard.open_session(Nanos(300), SessionId(8), 4).expect("it is kept");
    assert_eq!(harness.run(310, &[piece(seq(0, 1), &[add(1, 10)])]), answers);
    assert_eq!((harness.number(1), harness.shard.stats().repeated), (Some(11), 1));
}
