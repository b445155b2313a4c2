//! Snapshots, made, read and lost.

use super::*;
use crate::journal::Recovered;
use crate::journal::recover::fixture::{
    Author, Home, PageBlock, Pages, SEGMENT_BYTES, assert_ran, go_on,
};
use punctual_core::{Nanos, Replay};

/// Makes a snapshot, which nobody stops.
fn snapshot_at(home: &Home, end: Lsn) -> SnapshotReport {
    let dir = home.open();
    let made = make_snapshot::<Replay>(&dir, &home.setup(), end, &AtomicBool::new(false));
    made.unwrap_or_else(|error| panic!("it should be made: {error}")).expect("nobody stopped it")
}

/// A log of four files with three records each, among them a transaction that waits for another
/// shard; so many others have run.
fn write_with_one_that_waits(home: &Home) -> (Vec<Pages>, u64) {
    let mut author = Author::new(&home.config);
    let mut files = home.write_by(&mut author, &[3]);
    for number in 1..4 {
        let mut pages = files[number - 1].next();
        pages.block(&author.run());
        pages.block(&if number == 1 { author.wait() } else { author.run() });
        pages.block(&author.run());
        pages.save(home.dir());
        files.push(pages);
    }
    (files, author.count)
}

#[test]
fn a_snapshot_and_the_log_behind_it_equal_the_log_alone() {
    let home = Home::new();
    let (files, count) = write_with_one_that_waits(&home);
    let Recovered { replay: alone, head, report: told, .. } = home.recovered();
    for at in 1..4 {
        let end = files[at].head.start;
        let report = snapshot_at(&home, end);
        assert_eq!((report.lsn, &report.path), (end, &home.open().snapshot_path(end)));
        let size = fs::metadata(&report.path).expect("it is there").len();
        assert_eq!(report.bytes, size);
        assert!(report.to_string().contains(" keys at log position "), "{report}");
        for pages in &files[..at] {
            // What it stands for may be gone, from the oldest on.
            let with = home.recovered();
            assert_eq!(with.head, head);
            assert_eq!((with.report.snapshot, with.report.segments), (Some(end), 4 - at));
            assert_eq!((with.report.keys, with.report.undecided), (told.keys, told.undecided));
            assert_eq!(with.replay.clock_floor(), alone.clock_floor());
            assert_same(&with.replay, &alone);
            let mut author = Author::resume(with.replay.finish(Nanos(1), end), count);
            assert!(author.run_latest().is_empty(), "a retry is answered, and not run again");
            drop(with.dir);
            fs::remove_file(pages.save(home.dir())).expect("it can be removed");
        }
        for pages in &files {
            pages.save(home.dir());
        }
    }
    assert_eq!(told.undecided, 1);
}

/// Compares all that two shards are, in an order that does not depend on their pasts.
fn assert_same(one: &Replay, other: &Replay) {
    let records = |replay: &Replay| {
        let mut records = Vec::new();
        let put = |record: &Record<'_>| {
            // The words of the store are one record, in the order of a table.
            match record {
                Record::Words { words } => {
                    records.extend(words.iter().map(|word| format!("{word:?}")));
                }
                _ => records.push(format!("{record:?}")),
            }
            Ok::<_, ()>(())
        };
        replay.snapshot(put).expect("nothing fails");
        records.sort();
        records
    };
    assert_eq!(records(one), records(other));
}

#[test]
fn a_snapshot_is_made_from_the_one_before() {
    let home = Home::new();
    let files = home.write(&[3, 3, 3]);
    snapshot_at(&home, files[1].head.start);
    fs::remove_file(home.log(1)).expect("it can be removed");
    snapshot_at(&home, files[2].head.start);
    fs::remove_file(home.log(2)).expect("it can be removed");
    let Recovered { replay, report, .. } = home.recovered();
    assert_ran(&replay, 9);
    assert_eq!((report.segments, report.snapshot), (1, Some(files[2].head.start)));
}

#[test]
fn a_snapshot_without_the_file_that_begins_where_it_ends_has_lost_it() {
    let home = Home::new();
    let files = home.write(&[3, 3, 0]);
    let end = files[2].head.start;
    let path = snapshot_at(&home, end).path;
    let refused = || {
        let error = home.refused();
        let JournalError::Damage { file, lsn, why, .. } = &error else { panic!("{error}") };
        assert_eq!((file, *lsn), (&path, end), "{error}");
        assert!(why.contains("begins where this snapshot ends is lost"), "{error}");
    };
    // Whatever else is there: the log before it, a spare in the place of the file, nothing at all.
    fs::remove_file(home.log(3)).expect("it can be removed");
    refused();
    fs::write(home.log(3), vec![0; SEGMENT_BYTES]).expect("it can be written");
    refused();
    for number in 1..=3 {
        fs::remove_file(home.log(number)).expect("it can be removed");
    }
    refused();

    files[2].save(home.dir());
    let recovered = home.recovered();
    assert_ran(&recovered.replay, 6);
    assert_eq!((recovered.head.start, recovered.head.generation), (end, 2));
    assert_eq!((recovered.number, recovered.report.is_new), (4, false));
    go_on(recovered, 6, 2);
    assert_ran(&home.recovered().replay, 8);
}

#[test]
fn a_later_use_goes_on_behind_a_cut_tail_and_so_does_its_snapshot() {
    let home = Home::new();
    let mut torn = home.write(&[3]).remove(0);
    let PageBlock { at, lsn, .. } = torn.blocks[2];
    torn.lose(at + 20..);
    torn.save(home.dir());
    let pages = go_on(home.recovered(), 2, 2);
    assert_eq!(pages.head.start, lsn);
    go_on(home.recovered(), 4, 1);
    snapshot_at(&home, pages.lsn);
    for number in [1, 2] {
        fs::remove_file(home.log(number)).expect("it can be removed");
    }
    let recovered = home.recovered();
    assert_ran(&recovered.replay, 5);
    assert_eq!(recovered.head.generation, 4);
}

#[test]
fn nothing_is_left_of_a_snapshot_that_was_stopped() {
    let home = Home::new();
    let files = home.write(&[3, 3]);
    let (dir, setup) = (home.open(), home.setup());
    let (before, stop) = (files[1].head.start, AtomicBool::new(true));
    let made = make_snapshot::<Replay>(&dir, &setup, before, &stop);
    assert_eq!(made.expect("nothing fails"), None);
    // In the middle of being written.
    let replay = <Replay as Replica>::new(&setup);
    let looks = std::cell::Cell::new(0);
    let is_stopped = || looks.replace(looks.get() + 1) == 1;
    let made = write_snapshot(&dir, &replay, head_at(&home, Lsn(77)), &is_stopped);
    assert_eq!(made.expect("nothing fails"), None);
    // While the one before it is read.
    let made = write_snapshot(&dir, &replay, head_at(&home, before), &|| false);
    made.expect("nothing fails").expect("nobody stopped it");
    let snapshots = dir.snapshots().expect("they can be listed");
    let looks = std::cell::Cell::new(0);
    let is_stopped = || looks.replace(looks.get() + 1) == 1;
    let base = Base::<Replay>::load(&snapshots, &setup, &is_stopped);
    let base = base.expect("nothing is wrong with it");
    assert!(base.is_stopped && base.skipped.is_none());
    assert_eq!(looks.get(), 2, "it reads no further");
    dir.remove(&snapshots[0].1).expect("it can be removed");
    assert!(dir.snapshots().expect("they can be listed").is_empty());
    assert!(!dir.unfinished_snapshot_path().exists());
}

#[test]
fn a_snapshot_cannot_be_made_of_a_log_with_a_hole() {
    let home = Home::new();
    let files = home.write(&[3, 3, 3]);
    fs::remove_file(home.log(2)).expect("it can be removed");
    let (end, stop) = (files[2].head.start, AtomicBool::new(false));
    let made = make_snapshot::<Replay>(&home.open(), &home.setup(), end, &stop);
    let error = made.expect_err("a part of the log is missing");
    assert!(matches!(&error, JournalError::Damage { file, .. } if *file == home.log(1)), "{error}");
}

fn head_at(home: &Home, start: Lsn) -> SegmentHead {
    SegmentHead { kind: SegmentKind::Snapshot, start, ..home.first_head() }
}

/// Writes a snapshot of so many large values.
fn write_values(home: &Home, lsn: Lsn, count: u64) -> PathBuf {
    let dir = home.open();
    let path = dir.snapshot_path(lsn);
    let write = || -> Result<u64, Interrupted> {
        let mut writer = SnapshotWriter::new(File::create(&path)?, head_at(home, lsn))?;
        let (last_released, clock) = (Nanos(1), Nanos(2));
        writer.put(&Record::State { last_released, clock, sessions_made: 0 })?;
        for key in 0..count {
            let (key, value) = (format!("key {key}"), vec![7; 60_000]);
            writer.put(&Record::Put { key: key.as_bytes(), value: &value })?;
        }
        writer.put(&Record::End { keys: count })?;
        writer.finish()
    };
    let Ok(bytes) = write() else { panic!("it can be written") };
    assert_eq!(fs::metadata(&path).expect("it is there").len(), bytes);
    path
}

#[test]
fn a_large_snapshot_is_read_block_by_block() {
    let home = Home::new();
    let path = write_values(&home, Lsn(77), 50);
    Pages::new(1, SegmentHead { start: Lsn(77), ..home.first_head() }).save(home.dir());
    let recovered = home.recovered();
    assert_eq!((recovered.report.keys, recovered.head.start), (50, Lsn(77)));
    drop(recovered);

    let whole = fs::read(&path).expect("it can be read");
    assert!(whole.len() > 2 * BLOCK_RECORDS_BYTES, "it has several blocks");
    let damaged = |content: &[u8], what: &str| {
        fs::write(&path, content).expect("it can be written");
        let error = home.refused();
        assert!(matches!(&error, JournalError::Damage { file, .. } if *file == path), "{what}");
    };
    for at in (0..whole.len()).step_by(200_003) {
        // The padding of blocks, and of the head, is of no account.
        if whole[at] != 0 {
            let mut content = whole.clone();
            content[at] ^= 1;
            damaged(&content, &format!("byte {at}"));
        }
        damaged(&whole[..at], &format!("cut at {at}"));
    }
    damaged(&[], "empty");
    damaged(&whole[..whole.len() - BLOCK_ALIGN], "without its last page");
    damaged(&[&whole[..], &whole[whole.len() - BLOCK_ALIGN..]].concat(), "with something behind");
}

#[test]
fn the_log_does_for_a_damaged_snapshot_as_far_as_it_is_there() {
    let home = Home::new();
    let files = home.write(&[3, 3, 3]);
    snapshot_at(&home, files[1].head.start);
    let newest = snapshot_at(&home, files[2].head.start);
    let mut content = fs::read(&newest.path).expect("it can be read");
    content[SEGMENT_HEAD_BYTES + BLOCK_HEAD_BYTES + 12] ^= 1;
    fs::write(&newest.path, content).expect("it can be written");

    let Recovered { replay, report, .. } = home.recovered();
    assert_ran(&replay, 9);
    assert_eq!((report.snapshot, report.segments), (Some(files[1].head.start), 2));
    // Without the part between the two there is no way round.
    fs::remove_file(home.log(2)).expect("it can be removed");
    let error = home.refused();
    let JournalError::Damage { file, offset, .. } = &error else { panic!("{error}") };
    let offset_expected = (SEGMENT_HEAD_BYTES + BLOCK_HEAD_BYTES) as u64;
    assert_eq!((file, *offset), (&newest.path, offset_expected));
    // Nor where the log ends before the snapshot does.
    fs::remove_file(home.log(3)).expect("it can be removed");
    assert!(matches!(&home.refused(), JournalError::Damage { file, .. } if *file == newest.path));
}

#[test]
fn a_snapshot_under_the_name_of_another_is_refused() {
    let home = Home::new();
    let files = home.write(&[3, 3]);
    let report = snapshot_at(&home, files[1].head.start);
    for number in [1, 2] {
        fs::remove_file(home.log(number)).expect("it can be removed");
    }
    let other = home.open().snapshot_path(report.lsn.plus(1));
    fs::rename(&report.path, &other).expect("it can be renamed");
    let error = home.refused();
    assert!(matches!(&error, JournalError::Damage { file, .. } if *file == other), "{error}");
}
