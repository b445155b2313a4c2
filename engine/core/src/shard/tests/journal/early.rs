//! Answers before they are durable, as long as they are soon.

use super::*;

/// Answers leave at once while nothing has waited for more than a thousand nanoseconds.
const WITHIN: Durability = Durability::JournalAsync { within: Duration::from_nanos(1_000) };

fn write(slot: u16, generation: u64) -> Request {
    piece(seq(slot, generation), &[add(1, 1)])
}

/// The slots of the answers that may leave by now.
fn told(harness: &mut Harness) -> Vec<u16> {
    harness.held().iter().map(|it| it.sequence.slot()).collect()
}

#[test]
fn answers_leave_at_once_until_something_has_waited_too_long_and_wait_then_until_it_is_durable() {
    let (mut harness, mut tape) = journaled(WITHIN);
    assert_eq!(harness.run_one(100, &write(0, 1)).number(), 1);
    assert_eq!(harness.run_one(1_100, &piece(seq(1, 1), &[get(1)])).number(), 1);
    assert!(!harness.shard.is_durable());
    // One tick more, and everything waits: writes, reads and retries.
    assert!(harness.run(1_101, &[write(2, 1)]).is_empty());
    assert!(harness.run(1_101, &[piece(seq(3, 1), &[get(1)])]).is_empty());
    assert!(harness.run(1_102, &[write(0, 1)]).is_empty());
    tape.take(&mut harness.shard);
    assert!(told(&mut harness).is_empty(), "on its way to the disk it is no safer");
    tape.sync(&mut harness.shard);
    assert_eq!(told(&mut harness), [2, 3, 0]);
    assert_eq!(harness.run_one(50_000, &write(4, 1)).number(), 3);
}

#[test]
fn what_is_durable_in_part_is_as_old_as_the_oldest_batch_that_is_not() {
    let (mut harness, mut tape) = journaled(WITHIN);
    harness.run_one(100, &write(0, 1));
    tape.take(&mut harness.shard);
    let first = tape.end();
    harness.run_one(1_000, &write(1, 1));
    tape.take(&mut harness.shard);
    assert!(harness.run(1_200, &[write(2, 1)]).is_empty());
    harness.shard.on_durable(first);
    assert_eq!(told(&mut harness), [2], "the second is young enough");
    assert!(harness.run(2_001, &[write(3, 1)]).is_empty());
    tape.sync(&mut harness.shard);
    assert_eq!(told(&mut harness), [3]);
}

#[test]
fn the_age_of_the_log_counts_from_the_first_record_of_a_batch_that_is_not_durable() {
    for durability in [WITHIN, Durability::Journal] {
        let (mut harness, mut tape) = journaled(durability);
        let lag = |harness: &Harness, now| harness.shard.log_lag(Nanos(now)).as_nanos();
        assert_eq!(lag(&harness, 900), 0);
        harness.run(1_000, &[write(0, 1)]);
        assert_eq!(lag(&harness, 1_500), 500);
        tape.take(&mut harness.shard);
        let first = tape.end();
        harness.run(2_000, &[write(1, 1)]);
        harness.run(2_100, &[write(2, 1)]);
        assert_eq!(lag(&harness, 2_500), 1_500);
        tape.take(&mut harness.shard);
        harness.run(2_200, &[write(3, 1)]);
        harness.shard.on_durable(first);
        assert_eq!(lag(&harness, 2_500), 500);
        tape.sync(&mut harness.shard);
        assert_eq!(lag(&harness, 9_000), 0);
    }
}

#[test]
fn messages_to_other_shards_wait_all_the_same() {
    let mut world = World::with(|config| config.durability = WITHIN, bumping);
    let t = adds(seq(0, 1), 500, &[0, 1]);
    world.at(100).admit(&t, &[0]);
    assert_eq!(world.cluster.letters(), []);
    world.sync(0);
    assert_eq!(world.cluster.letters(), [proposal(&t, 0, 1, 500)]);
}

#[test]
fn an_answer_on_several_shards_waits_for_all_that_its_run_has_seen() {
    let mut world = World::with(|config| config.durability = WITHIN, bumping);
    let t = adds(seq(0, 1), 500, &[0, 1]);
    world.at(100).admit(&t, &[0, 1]);
    world.exchange();
    // It is told at once, and a crash may take it back; but not from under the other one.
    let single = piece(seq(1, 1), &[add_to(0, 0)]);
    assert_eq!(world.at(200).cluster.send(0, &single).len(), 1);
    assert_eq!(world.at(501).cluster.turn(), 2);
    world.take(0);
    assert_eq!(world.cluster.ends(0), []);
    let last = world.tape(0).last();
    world.shard(0).on_durable(last);
    assert_eq!(world.cluster.ends(0), [committed(seq(0, 1), 500)]);
    // So does a retry of it.
    let write = piece(seq(2, 1), &[add_to(0, 1)]);
    assert_eq!(world.cluster.send(0, &write).len(), 1);
    assert!(world.cluster.send(0, &t.pieces[&0]).is_empty());
    world.sync(0);
    assert_eq!(world.cluster.ends(0), [committed(seq(0, 1), 500)]);
}

#[test]
fn a_crash_takes_back_the_latest_transactions_on_the_shard_alone_and_nothing_else() {
    let mut world = World::with(|config| config.durability = WITHIN, bumping);
    let t = adds(seq(0, 1), 500, &[0, 1]);
    world.at(100).admit(&t, &[0, 1]);
    world.exchange();
    let single = piece(seq(1, 1), &[add_to(0, 0)]);
    assert_eq!(world.at(200).cluster.send(0, &single).len(), 1);
    let until = world.tape(0).end();
    assert_eq!(world.at(501).cluster.turn(), 2);
    world.at(MS).crash(0, until);
    world.cluster.turn();
    world.exchange();
    for shard in [0, 1] {
        assert_eq!(world.cluster.ends(shard), [committed(seq(0, 1), 500)]);
        assert_eq!(world.cluster.counter(shard, 0), Some(1));
    }
}
