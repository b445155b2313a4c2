//! The clock of a shard does not go back, also across a crash.

use super::*;

const STEP: i64 = 100 * MS;

fn read(slot: u16) -> Request {
    piece(seq(slot, 1), &[get(1)])
}

#[test]
fn the_clock_is_written_down_every_tenth_of_a_second_before_anything_is_told_by_it() {
    let (mut harness, mut tape) = journaled(Durability::Journal);
    let from = tape.end();
    for (slot, now) in [(0, 1), (1, STEP / 2), (2, STEP)] {
        assert_eq!(harness.run(now, &[read(slot)]).len(), 1, "at {now}");
    }
    tape.take(&mut harness.shard);
    assert!(tape.kinds(from).is_empty());
    assert!(harness.run(STEP + 1, &[read(3)]).is_empty());
    tape.take(&mut harness.shard);
    let pages = tape.pages_from(from);
    let expected = Record::Clock { at: Nanos(STEP + 1) };
    assert_eq!(pages.records(), [(from, expected)]);
    assert!(harness.held().is_empty());
    tape.sync(&mut harness.shard);
    assert_eq!(harness.held().len(), 1);
    // It counts from there.
    assert_eq!(harness.run(2 * STEP + 1, &[read(4)]).len(), 1);
    assert!(harness.run(2 * STEP + 2, &[read(5)]).is_empty());
}

#[test]
fn whoever_goes_on_starts_beyond_all_that_was_promised() {
    let (mut harness, mut tape) = journaled(Durability::Journal);
    for (slot, now) in [(0, STEP - 1), (1, STEP), (2, 3 * STEP), (3, 4 * STEP - 1)] {
        let from = tape.end();
        harness.run(now, &[read(slot)]);
        tape.sync(&mut harness.shard);
        let answers = harness.held();
        let pages = tape.pages();
        let floor = replay(&harness.shard, &pages.records()).clock_floor();
        assert!(floor >= Nanos(now), "{floor} after {answers:?}");
        // It is not for ever far ahead either.
        assert!(floor <= Nanos(now + 2 * STEP), "{floor}");
        assert!(tape.kinds(from).len() <= 1);
    }
    // A transaction may be placed a little ahead of the clock.
    let burst: Vec<_> = (10..60).map(|slot| piece(seq(slot, 1), &[add(1, 1)])).collect();
    harness.run(4 * STEP, &burst);
    tape.sync(&mut harness.shard);
    let last = harness.held().last().expect("they were many").commit;
    assert!(last >= 4 * STEP + 49);
    let pages = tape.pages();
    assert!(replay(&harness.shard, &pages.records()).clock_floor() >= Nanos(last));
}

#[test]
fn a_clock_that_was_set_back_is_taken_as_standing_still_after_a_crash_too() {
    let (mut harness, mut tape) = journaled(Durability::Journal);
    harness.run(3 * STEP, &[piece(seq(0, 1), &[add(1, 1)])]);
    tape.sync(&mut harness.shard);
    let before = harness.held()[0].commit;
    let end = tape.end();
    revive(&mut harness, &mut tape, 5, end);
    let answer = harness.run_one(6, &read(1));
    assert!(answer.commit > before);
    assert_eq!(answer.number(), 1);
}

#[test]
fn the_clock_goes_on_being_written_down_after_a_crash() {
    let (mut harness, mut tape) = journaled(Durability::Journal);
    let end = tape.end();
    revive(&mut harness, &mut tape, STEP, end);
    assert_eq!(harness.run(STEP, &[read(0)]).len(), 1);
    assert!(harness.run(STEP + 1, &[read(1)]).is_empty());
    tape.take(&mut harness.shard);
    assert_eq!(tape.kinds(end), ["Clock"]);
}
