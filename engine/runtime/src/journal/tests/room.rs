//! A disk that is full, and one that has room again.

use super::rig::{Rig, SEGMENT_BYTES, backends, config};
use crate::config::JournalBackend;
use crate::journal::dir::JournalDir;
use crate::journal::keeper::{SPARES_MAX, Stock, make_in};
use punctual_core::journal::Lsn;
use punctual_core::{Procedures, Shard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A journal in whose file system there is room as long as the flag says so.
fn rig_with_room(backend: JournalBackend) -> (Rig, Arc<AtomicBool>) {
    let has_room = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&has_room);
    let rig = Rig::with(backend, 0, move |dir| {
        let mut make = make_in(dir, SEGMENT_BYTES);
        Box::new(move |number, stop: &AtomicBool| match asked.load(Ordering::SeqCst) {
            true => make(number, stop),
            false => Ok(None),
        })
    });
    (rig, has_room)
}

#[test]
fn a_journal_without_room_is_full_until_there_is_some() {
    for backend in backends() {
        let (mut rig, has_room) = rig_with_room(backend);
        has_room.store(false, Ordering::SeqCst);
        let mut shard = Shard::new(config(), Arc::new(Procedures::new()));
        for _ in 0..10 {
            rig.hand(1, 4000);
        }
        rig.wait("it is full", |journal| journal.counts().is_full);
        rig.wait_durable();
        assert_eq!(rig.journal().pump(&mut shard).expect("that is no failure"), 2, "durable, full");

        has_room.store(true, Ordering::SeqCst);
        rig.wait("there is room", |journal| !journal.counts().is_full);
        assert_eq!(rig.journal().pump(&mut shard).expect("that is no failure"), 1, "not full");
        for _ in 0..20 {
            rig.hand(1, 4000);
        }
        rig.wait_durable();
        assert!(rig.journal().counts().segments > 1);
        rig.close();
        let recovered = rig.recover();
        assert_eq!(rig.check(&recovered), 30);
    }
}

#[test]
fn a_segment_is_filled_to_its_end_although_there_is_no_other_one() {
    for backend in backends() {
        let (mut rig, has_room) = rig_with_room(backend);
        has_room.store(false, Ordering::SeqCst);
        // More than a segment: the writer has to wait in the middle.
        rig.hand(80, 1000);
        rig.wait("it is full", |journal| journal.counts().is_full);
        let three_quarters = Lsn(SEGMENT_BYTES * 3 / 4);
        rig.wait("most is durable", |journal| journal.counts().durable >= three_quarters);
        assert!(rig.journal().is_waiting());

        has_room.store(true, Ordering::SeqCst);
        rig.wait_durable();
        assert!(!rig.journal().counts().is_full);
    }
}

#[test]
fn closing_a_journal_without_room_says_that_not_all_was_written() {
    for backend in backends() {
        let (mut rig, has_room) = rig_with_room(backend);
        has_room.store(false, Ordering::SeqCst);
        rig.hand(80, 1000);
        rig.wait("it is full", |journal| journal.counts().is_full);
        let error = rig.take().close().expect_err("there is no room for all");
        assert!(error.to_string().contains("there is no room"), "{error}");
        let recovered = rig.recover();
        let found = rig.check(&recovered);
        assert!((40..80).contains(&found), "{found} keys");
    }
}

#[test]
fn a_journal_without_room_can_be_dropped() {
    for backend in backends() {
        let (mut rig, has_room) = rig_with_room(backend);
        has_room.store(false, Ordering::SeqCst);
        rig.hand(80, 1000);
        rig.wait("it is full", |journal| journal.counts().is_full);
        let durable = rig.durable();
        rig.kill();
        let recovered = rig.recover();
        assert!(rig.check(&recovered) >= rig.keys_before(durable));
    }
}

#[test]
fn spares_that_an_earlier_use_left_are_used_if_they_fit() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = JournalDir::open(temporary.path()).expect("a directory of its own");
    let go_on = AtomicBool::new(false);
    for (number, bytes) in [(4, 2), (5, 1), (6, 1), (7, 3), (8, 1)] {
        dir.make_spare(number, bytes * SEGMENT_BYTES, &go_on).expect("room");
    }
    let stock = Stock::take(&dir, 5, SEGMENT_BYTES).expect("spares");
    let numbers: Vec<_> = stock.spares.iter().map(|spare| spare.number).collect();
    assert_eq!(numbers, [5, 6], "the ones that follow the log and each other");
    let left = dir.segments().expect("files");
    assert_eq!(left.iter().map(|file| file.number).collect::<Vec<_>>(), numbers);

    for number in 7..20 {
        dir.make_spare(number, SEGMENT_BYTES, &go_on).expect("room");
    }
    Stock::take(&dir, 5, SEGMENT_BYTES).expect("spares");
    assert_eq!(dir.segments().expect("files").len(), SPARES_MAX, "and no more than are of use");

    let stock = Stock::take(&dir, 100, SEGMENT_BYTES).expect("room");
    assert_eq!(stock.spares.len(), 1, "one is made where there is none");
    assert_eq!(dir.segments().expect("files").len(), 1);
}
