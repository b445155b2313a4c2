//! Snapshots: all that a shard is, as records.

use super::digest::{assert_alike, contents};
use super::*;
use std::collections::BTreeMap;

/// A replay of what a shard has logged.
fn replay_of(shard: &mut Shard, tape: &mut Tape) -> Replay {
    tape.sync(shard);
    let pages = tape.pages();
    replay(shard, &pages.records())
}

/// A replay of a snapshot of another one, which it equals.
fn copy_of(whole: &Replay) -> Replay {
    let pages = snapshot_of(whole);
    let copy = replay(whole.shard(), &pages.records());
    assert!(copy.is_whole() && !whole.is_whole());
    assert_alike(whole, &copy);
    copy
}

#[test]
fn keys_and_values_of_all_lengths_come_through_the_log_and_through_a_snapshot() {
    let (mut harness, mut tape) = journaled(Durability::Journal);
    let long = vec![9; 70_000];
    let keys: [&[u8]; 6] = [b"", b"a", b"seven77", b"eight888", b"nine99999", &[0; 8]];
    let values: [&[u8]; 5] = [b"", b"1", b"12345678", b"123456789", &long];
    let mut slot = 0;
    let mut expected = BTreeMap::new();
    // Each key gets each value, and keeps another one.
    for (index, key) in keys.into_iter().enumerate() {
        for at in 0..values.len() {
            let value = values[(index + at) % values.len()];
            let put = Op::Put { key: Key::new(key), value };
            harness.run(10, &[piece(seq(slot, 1), &[put])]);
            expected.insert(key.to_vec(), value.to_vec());
            slot += 1;
        }
    }
    let delete = Op::Delete { key: Key::new(b"a") };
    harness.run(10, &[piece(seq(slot, 1), &[delete])]);
    expected.remove(&b"a"[..]);
    let whole = replay_of(&mut harness.shard, &mut tape);
    assert_eq!(contents(&harness.shard), expected);
    assert_eq!(contents(whole.shard()), expected);
    let copy = copy_of(&whole);
    let end = tape.end();
    harness.shard = copy.finish(Nanos(20), end);
    for (key, value) in &expected {
        assert_eq!(harness.value(key).as_ref(), Some(value));
    }
}

#[test]
fn a_store_of_many_words_takes_a_record_for_every_few_thousand_of_them() {
    let (mut harness, mut tape) = journaled(Durability::Journal);
    for first in (0..10_000).step_by(1_000) {
        let ops: Vec<_> = (first..first + 1_000).map(|key| add(key, 1)).collect();
        harness.run(10, &[piece(seq(0, 2 + first), &ops)]);
    }
    let whole = replay_of(&mut harness.shard, &mut tape);
    let pages = snapshot_of(&whole);
    let words = |record: &Record<'_>| match record {
        Record::Words { words } => Some(words.len()),
        _ => None,
    };
    let lens: Vec<_> = pages.records().iter().filter_map(|(_, record)| words(record)).collect();
    assert_eq!((lens.iter().sum::<usize>(), lens.len()), (10_000, 3));
    assert_eq!(contents(copy_of(&whole).shard()).len(), 10_000);
}

#[test]
fn a_snapshot_of_nothing_is_whole() {
    let harness = Harness::plain();
    let whole = replay(&harness.shard, &[]);
    let copy = copy_of(&whole);
    assert_eq!((copy.undecided(), copy.transactions()), (0, 0));
}

#[test]
fn a_snapshot_has_what_is_undecided_what_is_kept_for_others_and_what_was_refused() {
    let mut world = World::new();
    let [ran, open, dead] = [0, 1, 2].map(|slot: u16| {
        adds_to(usize::from(slot), seq(slot, 1), 500, if slot == 2 { &[0, 1, 2] } else { &[0, 1] })
    });
    world.at(100).admit(&ran, &[0, 1]);
    world.exchange();
    assert_eq!(world.at(501).cluster.turn(), 2);
    world.admit(&open, &[0]);
    world.admit(&dead, &[0, 2]);
    world.sync_all();
    world.cluster.letters();
    world.at(600).restart_empty(1);
    let far = adds(seq(3, 1), 9 * SECOND, &[0, 1]).bound_to(1, 2);
    let answers = world.cluster.send(0, &far.pieces[&0]);
    assert!(answers.is_empty());
    let held = world.shard(0).stats().held;
    world.take(0);
    let pages = world.tape(0).pages();
    let whole = replay(world.shard(0), &pages.records());
    assert_eq!(whole.undecided() as u64, held);
    let copy = copy_of(&whole);
    let kinds: Vec<_> =
        snapshot_of(&copy).records().iter().map(|(_, record)| kind(record)).collect();
    for expected in ["Kept", "Admitted", "Buried", "Outcome", "SessionOpened", "End"] {
        assert!(kinds.iter().any(|kind| kind == expected), "{kinds:?} without {expected}");
    }
    // It goes on from the snapshot as from the log.
    let (now, end) = (Nanos(700), world.tape(0).end());
    let mut shard = copy.finish(now, end);
    let session = shard.open_session(now, SESSION, SLOTS).expect("there is room");
    *world.cluster.shard(0) = Harness { shard, session, limits: Limits::DEFAULT };
    world.at(700).relink(0);
    world.pass_until(50 * MS);
    assert_eq!(world.end_of(0, &ran.pieces[&0]), committed(seq(0, 1), 500));
    for (txn, reason) in [
        (&open, RefusedReason::PeerLost),
        (&dead, RefusedReason::PeerLost),
        (&far, RefusedReason::StampTooFar),
    ] {
        assert_eq!(world.end_of(0, &txn.pieces[&0]), refused(txn.id.sequence, reason));
    }
    assert!(world.cluster.is_idle());
}

#[test]
fn what_put_fails_with_ends_the_snapshot() {
    let (mut harness, mut tape) = journaled(Durability::Journal);
    harness.run(10, &[piece(seq(0, 1), &[add(1, 1), Op::Put { key: Key::Word(2), value: b"" }])]);
    let whole = replay_of(&mut harness.shard, &mut tape);
    let pages = snapshot_of(&whole);
    let count = pages.records().len();
    for fails_at in 0..count {
        let mut put = 0;
        let outcome = whole.snapshot(|_| {
            put += 1;
            if put > fails_at { Err(fails_at) } else { Ok(()) }
        });
        assert_eq!((outcome, put), (Err(fails_at), fails_at + 1));
    }
}
