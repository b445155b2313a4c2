//! What a crash cannot have done: it stops the start, and says where.

use super::*;
use punctual_core::journal::SEGMENT_HEAD_BYTES;

/// Checks that recovery fails with damage in a file, and returns where: byte and log position.
fn damaged(home: &Home, number: u64) -> (u64, Lsn) {
    let error = home.refused();
    let JournalError::Damage { file, offset, lsn, .. } = &error else { panic!("{error}") };
    assert_eq!(*file, home.log(number), "{error}");
    assert!(!error.is_usage() && error.to_string().contains("punctual journal check"), "{error}");
    (*offset, *lsn)
}

#[test]
fn damage_in_any_block_but_the_last_is_found_where_it_is() {
    let home = Home::new();
    let files = home.write(&[4, 3, 4]);
    for whole in &files {
        for (index, block) in whole.blocks.iter().enumerate() {
            let is_last = whole.number == 3 && index == 3;
            for (at, found_at) in [
                (block.at + 9, block.at),
                (block.records_at() + 12, block.records_at()),
                (block.records_at() + 1, block.records_at()),
            ] {
                let mut pages = whole.clone();
                pages.bytes[at] ^= 0x10;
                pages.save(home.dir());
                if is_last {
                    // Nobody knows that it was durable.
                    let torn = home.recovered().report.torn.expect("it looks torn");
                    assert_eq!((torn.offset, torn.file), (found_at as u64, home.log(3)));
                    continue;
                }
                let found = damaged(&home, whole.number);
                assert_eq!(found, (found_at as u64, block.lsn), "block {index}, byte {at}");
            }
            whole.save(home.dir());
        }
    }
    assert_ran(&home.recovered().replay, 11);
}

#[test]
fn a_file_that_lost_its_head_is_missed() {
    let home = Home::new();
    let files = home.write(&[3, 3, 3]);
    for whole in &files {
        for byte in [0, 9, 13, 20, 55] {
            for lost in [byte..byte + 1, 0..SEGMENT_HEAD_BYTES] {
                let mut pages = whole.clone();
                pages.bytes[lost.clone()].iter_mut().for_each(|byte| *byte ^= 0x10);
                let is_newer = (8..12).contains(&byte) && lost.len() == 1;
                if lost.len() > 1 {
                    pages.lose(lost);
                }
                pages.save(home.dir());
                let error = home.refused();
                match &error {
                    JournalError::Unreadable { file, .. } if is_newer => {
                        assert_eq!(*file, home.log(whole.number));
                    }
                    JournalError::Damage { file, offset: 0, .. } if !is_newer => {
                        assert_eq!(*file, home.log(whole.number));
                    }
                    _ => panic!("{error}"),
                }
            }
        }
        whole.save(home.dir());
    }
    assert_ran(&home.recovered().replay, 9);
}

#[test]
fn a_damaged_head_is_no_torn_one_though_nothing_behind_it_was_known_to_be_durable() {
    let home = Home::new();
    let files = home.write(&[3, 1]);
    for byte in 0..56 {
        let mut pages = files[1].clone();
        pages.bytes[byte] ^= 0x10;
        pages.save(home.dir());
        let error = home.refused();
        let is_newer = (8..12).contains(&byte);
        assert_eq!(matches!(error, JournalError::Unreadable { .. }), is_newer, "{byte}: {error}");
        assert_eq!(matches!(error, JournalError::Damage { .. }), !is_newer, "{byte}: {error}");
    }
}

#[test]
fn a_file_with_blocks_where_the_log_ends_and_no_head_has_lost_it() {
    let home = Home::new();
    let files = home.write(&[3]);
    let end = files[0].lsn;
    let next = files[0].next();
    // Of the last use of the journal, or of the next one, which was begun and died.
    for head in [next.head, SegmentHead { generation: 2, ..next.head }] {
        for (kept, is_last_only) in [(0, false), (0, true), (20, false)] {
            let mut author = Author::new(&home.config);
            let mut pages = Pages::new(2, head);
            for _ in 0..2 {
                // Nothing says that it was durable, but that the head was before it.
                pages.block_when(end, &author.run());
            }
            pages.lose(kept..SEGMENT_HEAD_BYTES);
            if is_last_only {
                pages.lose(pages.blocks[0].at..pages.blocks[1].at);
            }
            pages.save(home.dir());
            assert_eq!(damaged(&home, 2), (0, end));
        }
    }
    fs::remove_file(home.log(2)).expect("it can be removed");
    assert_ran(&home.recovered().replay, 3);
}

#[test]
fn a_head_that_was_written_over_by_an_older_one_is_damage() {
    let home = Home::new();
    let files = home.write(&[3]);
    let mut next = go_on(home.recovered(), 3, 2);
    // A write of the killed use arrives late: the file looks as if it were of that use, and empty.
    next.head.generation = 1;
    next.bytes[..SEGMENT_HEAD_BYTES].copy_from_slice(&next.head.to_block());
    next.save(home.dir());
    assert_eq!(damaged(&home, 2), (SEGMENT_HEAD_BYTES as u64, files[0].lsn));
}

#[test]
fn a_lost_file_is_missed_wherever_it_was() {
    let home = Home::new();
    let files = home.write(&[3, 3, 3]);
    for number in [1, 2] {
        fs::remove_file(home.log(number)).expect("it can be removed");
        let error = home.refused();
        let JournalError::MissingSegment { dir, from, to, next } = &error else {
            panic!("{error}")
        };
        let lost = &files[number as usize - 1];
        assert_eq!((dir.as_path(), next), (home.dir(), &home.log(number + 1)), "{error}");
        assert_eq!((*from, *to), (lost.head.start, lost.lsn), "{error}");
        lost.save(home.dir());
    }
    // Behind the last one nothing would be missed, but for what comes after it.
    fs::remove_file(home.log(2)).expect("it can be removed");
    let mut pages = files[2].clone();
    pages.lose(..SEGMENT_HEAD_BYTES);
    pages.save(home.dir());
    assert_eq!(damaged(&home, 3), (0, files[0].lsn));
}

#[test]
fn files_that_do_not_fit_together_are_refused() {
    let home = Home::new();
    let files = home.write(&[3, 3]);

    let mut other = Pages::new(2, SegmentHead { session: SessionId(1), ..files[1].head });
    other.save(home.dir());
    let error = home.refused();
    let JournalError::MixedSessions { file, expected, found } = &error else { panic!("{error}") };
    assert_eq!((file, *expected, *found), (&home.log(2), SESSION, SessionId(1)));

    // A file that begins before the end of the one before it, in the same use.
    other = Pages::new(2, SegmentHead { start: files[0].blocks[2].lsn, ..files[1].head });
    other.save(home.dir());
    assert_eq!(damaged(&home, 1).1, files[0].blocks[2].lsn);

    // One that begins within a record.
    other = Pages::new(2, SegmentHead { start: Lsn(files[0].lsn.0 - 1), ..files[1].head });
    other.save(home.dir());
    assert_eq!(damaged(&home, 1).1, files[0].blocks[2].lsn);

    // One of an earlier use, which no snapshot stands for.
    files[1].save(home.dir());
    other = Pages::new(3, SegmentHead { generation: 0, start: files[1].lsn, ..files[1].head });
    other.save(home.dir());
    assert_eq!(damaged(&home, 3), (0, files[1].lsn));

    // One that is something else than its name says.
    other = Pages::new(3, SegmentHead { kind: SegmentKind::Snapshot, ..files[1].next().head });
    other.save(home.dir());
    assert_eq!(damaged(&home, 3).0, 0);
}

#[test]
fn nothing_is_changed_where_recovery_fails() {
    let home = Home::new();
    let files = home.write(&[3, 3]);
    let mut pages = files[0].clone();
    pages.bytes[files[0].blocks[1].records_at() + 9] ^= 1;
    pages.save(home.dir());
    let mut begun = files[1].next();
    begun.lose(10..SEGMENT_HEAD_BYTES);
    begun.save(home.dir());
    fs::write(home.dir().join("snapshot.tmp"), b"half of it").expect("it can be written");
    let listed = || -> Vec<_> {
        let entries = fs::read_dir(home.dir()).expect("it can be listed");
        let path = |entry: std::io::Result<fs::DirEntry>| entry.expect("it can be listed").path();
        let mut paths: Vec<_> = entries.map(path).collect();
        paths.sort();
        paths.into_iter().map(|path| (fs::read(&path).expect("it can be read"), path)).collect()
    };
    damaged(&home, 1);
    let before = listed();
    damaged(&home, 1);
    assert!(listed() == before, "the same files with the same content");
    assert_eq!(before.len(), 5);
}
