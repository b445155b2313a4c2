//! What a crash can leave at any moment, and that nothing durable is lost by it.

use super::*;
use punctual_core::Replay;
use punctual_core::journal::{BLOCK_ALIGN, SEGMENT_HEAD_BYTES};

/// Whether everything from `offset` on was there though the rest did not arrive: zeros need not.
fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[test]
fn a_tail_torn_anywhere_is_cut_where_its_records_end() {
    let home = Home::new();
    let files = home.write(&[3, 4]);
    let whole = &files[1];
    for index in [2, 3] {
        let block = whole.blocks[index];
        let end = block.records_at() + block.len;
        for cut in block.at..=end {
            let mut pages = whole.clone();
            pages.lose(cut..);
            pages.save(home.dir());
            // Transactions before the block, and the one in it if all that is lost is zeros.
            let survives = is_blank(&whole.bytes[cut..end]);
            let count = 3 + index as u64 + u64::from(survives);
            let Recovered { replay, head, report, .. } = home.recovered();
            assert_ran(&replay, count);
            let lsn = if survives { block.lsn.plus(block.len) } else { block.lsn };
            assert_eq!((head.start, report.transactions), (lsn, count), "cut at {cut}");
            assert_eq!(report.torn.is_some(), cut > block.at && !survives, "cut at {cut}");
            if let Some(torn) = &report.torn {
                let is_there = (block.at..end).contains(&(torn.offset as usize));
                assert!(torn.file == home.log(2) && is_there && torn.bytes > 0, "{torn}");
                assert!(report.to_string().contains("; cut the torn tail of "), "{report}");
            }
        }
    }
}

#[test]
fn a_cut_tail_stays_cut_however_often_recovery_is_interrupted() {
    let home = Home::new();
    let files = home.write(&[3, 4]);
    let block = files[1].blocks[2];
    let mut pages = files[1].clone();
    // The middle of the record is lost; the block behind it had arrived, and was not durable.
    let mut author = Author::new(&home.config);
    let records: Vec<_> = (0..7).map(|_| author.run()).collect();
    (pages.at, pages.lsn) = (block.at, block.lsn);
    pages.lose(block.at..);
    pages.block(&records[5]);
    pages.block_when(block.lsn, &records[6]);
    let middle = block.records_at() + 20;
    pages.lose(middle..middle + 8);
    pages.save(home.dir());

    for _ in 0..2 {
        let Recovered { head, number, report, .. } = home.recovered();
        assert_eq!((head.start, head.generation, number), (block.lsn, 2, 3));
        let torn = report.torn.expect("the tail is torn");
        let written = block.at + 2 * BLOCK_ALIGN - block.records_at();
        assert_eq!((torn.offset, torn.bytes), (block.records_at() as u64, written as u64));
    }
    // The crash after the first write of the next use, and the one before its first block arrives.
    let mut begun = go_on(home.recovered(), 5, 1);
    begun.lose(SEGMENT_HEAD_BYTES..);
    begun.save(home.dir());
    let recovered = home.recovered();
    assert_eq!((recovered.head.start, recovered.head.generation), (block.lsn, 3));
    assert_eq!((recovered.number, recovered.report.torn.as_ref()), (4, None));
    go_on(recovered, 5, 3);
    // What was torn is there still, and does not count.
    let recovered = home.recovered();
    assert_ran(&recovered.replay, 8);
    assert_eq!((recovered.report.segments, recovered.report.torn.as_ref()), (4, None));
}

#[test]
fn what_arrived_behind_a_hole_does_not_count() {
    let home = Home::new();
    let mut pages = home.write(&[3]).remove(0);
    let durable = pages.lsn;
    let mut author = Author::new(&home.config);
    author.count = 3;
    for _ in 0..3 {
        pages.block_when(durable, &author.run());
    }
    let [.., hole, _, last] = pages.blocks[..] else { panic!("six blocks") };
    pages.lose(hole.at..hole.at + BLOCK_ALIGN);
    pages.save(home.dir());
    let Recovered { replay, head, report, .. } = home.recovered();
    assert_ran(&replay, 3);
    assert_eq!(head.start, durable);
    let torn = report.torn.expect("there is something behind the hole");
    let written = last.at + BLOCK_ALIGN - hole.at;
    assert_eq!((torn.offset, torn.bytes), (hole.at as u64, written as u64));
}

#[test]
fn a_file_whose_head_did_not_arrive_was_not_begun() {
    let home = Home::new();
    let files = home.write(&[3, 3]);
    let head_len = files[1].bytes[..SEGMENT_HEAD_BYTES].iter().rposition(|byte| *byte != 0);
    for arrived in 0..=head_len.expect("a head is not empty") {
        let mut pages = files[0].next();
        pages.lose(arrived..SEGMENT_HEAD_BYTES);
        pages.save(home.dir());
        let Recovered { replay, head, number, report, .. } = home.recovered();
        assert_ran(&replay, 3);
        assert_eq!((head.start, head.generation, number), (files[0].lsn, 2, 2));
        let is_spare = arrived == 0;
        assert_eq!(home.log(2).exists(), is_spare, "{arrived} bytes");
        assert_eq!(report.torn.is_none(), is_spare, "{arrived} bytes");
        if let Some(torn) = report.torn {
            assert_eq!((torn.offset, torn.bytes), (0, SEGMENT_HEAD_BYTES as u64), "{torn}");
        }
    }
}

#[test]
fn a_journal_whose_first_file_was_not_begun_is_new() {
    let home = Home::new();
    for arrived in [1, 8, 10, 16, 30, 54] {
        let mut pages = Pages::new(1, SegmentHead { session: SessionId(9), ..home.first_head() });
        pages.lose(arrived..SEGMENT_HEAD_BYTES);
        pages.save(home.dir());
        fs::write(home.dir().join("log-000002.tmp"), b"half of it").expect("it can be written");
        let Recovered { replay, head, number, report, .. } = home.recovered();
        assert_ran(&replay, 0);
        assert!(report.is_new && report.torn.is_some(), "{arrived}: {report}");
        assert_eq!((head, number), (home.first_head(), 1));
        assert!(!home.log(1).exists() && !home.dir().join("log-000002.tmp").exists());
    }
}

#[test]
fn a_spare_may_have_blocks_of_former_uses_even_from_where_the_log_ends() {
    let home = Home::new();
    home.write(&[3]);
    // Two uses began there, and nothing came of either; of the first there are blocks that did not
    // count, in a file that was recycled since.
    let first = go_on(home.recovered(), 3, 0);
    go_on(home.recovered(), 3, 0);
    let mut spare = Pages { number: 4, ..first };
    let mut author = Author::new(&home.config);
    for _ in 0..2 {
        spare.block_when(spare.head.start, &author.run());
    }
    spare.lose(..SEGMENT_HEAD_BYTES);
    spare.save(home.dir());
    let recovered = home.recovered();
    assert_eq!((recovered.head.start, recovered.head.generation), (spare.head.start, 4));
    assert_eq!((recovered.number, recovered.report.torn.as_ref()), (4, None));
    assert!(home.log(4).exists());
}

#[test]
fn of_the_spares_only_the_first_is_looked_through() {
    let home = Home::new();
    let files = home.write(&[3, 3]);
    // Nothing that can happen: files are begun in their order.
    let mut pages = files[1].next();
    let mut author = Author::new(&home.config);
    pages.block_when(pages.head.start, &author.run());
    pages.lose(..SEGMENT_HEAD_BYTES);
    pages.number = 4;
    pages.save(home.dir());
    home.refused();
    fs::write(home.log(3), vec![0; SEGMENT_BYTES]).expect("it can be written");
    let recovered = home.recovered();
    assert_ran(&recovered.replay, 6);
    assert!(recovered.number == 3 && home.log(4).exists());
}

#[test]
fn a_file_that_was_being_recycled_is_put_aside() {
    let home = Home::new();
    let files = home.write(&[3, 3, 3]);
    let dir = home.open();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let made = crate::journal::snapshot::make_snapshot::<Replay>(
        &dir,
        &home.setup(),
        files[2].head.start,
        &stop,
    );
    made.expect("it can be made").expect("nobody stopped it");
    drop(dir);
    // Blank, and not renamed yet; or under its new name, and with its head after all.
    let mut blank = files[0].clone();
    blank.lose(..SEGMENT_HEAD_BYTES);
    blank.save(home.dir());
    let renamed = Pages { number: 4, ..files[1].clone() };
    renamed.save(home.dir());
    let Recovered { replay, number, report, head, .. } = home.recovered();
    assert_ran(&replay, 9);
    assert_eq!((report.segments, report.snapshot), (1, Some(files[2].head.start)));
    assert_eq!((number, head.start, report.torn), (4, files[2].lsn, None));
    assert!(!home.log(1).exists() && !home.log(4).exists());
    assert!(home.log(2).exists(), "it waits to be retired");
}

#[test]
fn a_recycled_file_begun_again_is_read_up_to_its_new_end() {
    let home = Home::new();
    let old = home.write(&[10]).remove(0);
    // All of it was used before; what the new use has not overwritten is of no account.
    let mut author = Author::new(&home.config);
    let mut first = Pages::new(1, home.first_head());
    first.block(&(0..5).flat_map(|_| author.run()).collect::<Vec<_>>());
    first.save(home.dir());
    let mut second = first.next();
    second.bytes[SEGMENT_HEAD_BYTES..].copy_from_slice(&old.bytes[SEGMENT_HEAD_BYTES..]);
    second.head.generation = 2;
    second.bytes[..SEGMENT_HEAD_BYTES].copy_from_slice(&second.head.to_block());
    for _ in 0..3 {
        second.block(&author.run());
    }
    second.save(home.dir());
    let Recovered { replay, head, report, .. } = home.recovered();
    assert_ran(&replay, 8);
    assert_eq!((head.start, report.torn), (second.lsn, None));
}
