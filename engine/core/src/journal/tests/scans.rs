//! Reading segments back: what was written, where it ends, and what must not have gone.

use super::*;

/// A segment of blocks with several records each, some of several pages, of which each says that
/// the log is durable up to the beginning of the block `lag` before it.
fn draft(lag: usize) -> Draft {
    let mut draft = Draft::new(head(2, 7_000), 16);
    for lens in [&[3, 100][..], &[9_000, 1, 2], &[50], &[4_000, 4_000], &[7, 8, 9]] {
        let durable = match draft.blocks.len().checked_sub(lag) {
            None => draft.head.start,
            Some(at) => draft.blocks.get(at).map_or(draft.lsn, |block| block.lsn),
        };
        draft.block(durable, &values(lens));
    }
    draft
}

#[test]
fn records_are_read_in_order_with_their_places_and_the_log_goes_on_behind_the_last() {
    let draft = draft(0);
    let found = draft.scan();
    let values = draft.values.clone();
    assert_eq!(found, Found { values, lsn: draft.lsn, tail: Ok(Tail::Clean) });
    assert_eq!(draft.values.len(), 11);
    assert_eq!(draft.values[0].0, Lsn(7_000));
    // Positions count the bytes of records, and no heads or padding.
    let lens = draft.values.iter().map(|(_, value)| write_put(&mut Vec::new(), value));
    assert_eq!(draft.lsn, Lsn(7_000).plus(lens.sum()));
}

#[test]
fn a_scan_says_where_it_is_and_how_far_the_log_was_durable() {
    let draft = draft(0);
    let mut scan = SegmentScan::new(&draft.bytes, &draft.head);
    assert_eq!((scan.lsn(), scan.durable(), scan.tail()), (Lsn(7_000), Lsn(7_000), None));
    for block in &draft.blocks {
        for index in 0..block.records.len() {
            let (offset, lsn) = block.record(index);
            let (found, _) = scan.next_record().expect("it is whole").expect("it is there");
            assert_eq!(found, lsn);
            assert_eq!(scan.durable(), block.durable);
            assert!(scan.offset() > offset && scan.lsn() > lsn);
        }
        assert_eq!(scan.lsn(), block.end());
    }
    assert_eq!(scan.next_record(), Ok(None));
    assert_eq!(scan.next_record(), Ok(None), "and there it stays");
    assert_eq!((scan.lsn(), scan.tail()), (draft.lsn, Some(&Tail::Clean)));
}

#[test]
fn blocks_without_records_are_passed_over_wherever_they_are() {
    let mut draft = Draft::new(head(2, 7_000), 9);
    for lens in [&[][..], &[5], &[], &[], &[6, 7], &[]] {
        draft.durable_block(&values(lens));
    }
    let values = draft.values.clone();
    assert_eq!(values.len(), 3);
    assert_eq!(draft.scan(), Found { values, lsn: draft.lsn, tail: Ok(Tail::Clean) });
    let mut scan = SegmentScan::new(&draft.bytes, &draft.head);
    while scan.next_record().expect("nothing is damaged").is_some() {}
    assert_eq!(scan.durable(), draft.lsn, "the last one says it");
}

#[test]
fn a_segment_without_blocks_ends_cleanly_where_it_begins() {
    let lsn = Lsn(7_000);
    for pages in [1, 2, 5] {
        let draft = Draft::new(head(2, 7_000), pages);
        assert_eq!(draft.scan(), Found { values: vec![], lsn, tail: Ok(Tail::Clean) });
    }
}

#[test]
fn a_segment_ends_cleanly_at_the_end_of_its_file() {
    let draft = draft(0);
    let expected = draft.scan();
    for len in [draft.at, draft.at + 1, draft.at + BLOCK_HEAD_BYTES - 1, draft.at + BLOCK_ALIGN] {
        assert_eq!(scan(&draft.bytes[..len], &draft.head), expected, "{len} bytes of file");
    }
}

#[test]
fn a_segment_ends_cleanly_where_a_former_one_in_its_place_goes_on() {
    // Of an earlier use of the journal, of another place in the log, or of both.
    for former in [head(1, 7_000), head(2, 3_000), head(1, 0)] {
        let mut old = Draft::new(former, 16);
        while old.at < old.bytes.len() {
            old.durable_block(&values(&[900, 5]));
        }
        let mut draft = Draft::over(head(2, 7_000), old.bytes);
        for lens in [&[3, 100][..], &[9_000, 1, 2]] {
            draft.durable_block(&values(lens));
            let values = draft.values.clone();
            assert_eq!(draft.scan(), Found { values, lsn: draft.lsn, tail: Ok(Tail::Clean) });
        }
    }
}

#[test]
fn a_block_of_a_later_segment_behind_the_end_says_that_the_head_was_written_over() {
    for later in [head(3, 7_000), head(2, 8_000), head(3, 0)] {
        for blocks in 0..3 {
            let mut draft = Draft::new(head(2, 7_000), 16);
            for _ in 0..blocks {
                draft.durable_block(&values(&[900, 5]));
            }
            // What closes a journal does not excuse it.
            for is_closed in [false, true] {
                if is_closed {
                    draft.durable_block(&[]);
                }
                let mut bytes = draft.bytes.clone();
                seal_block(&mut bytes[draft.at..], &later, later.start, later.start, &[]);
                let damage = scan(&bytes, &draft.head).tail.expect_err("it is no former one");
                assert_eq!((damage.offset, damage.lsn), (draft.at, draft.lsn));
                assert!(damage.why.contains("written over"), "{damage}");
            }
        }
    }
}

#[test]
fn a_closed_segment_ends_cleanly_whatever_stands_behind() {
    let mut draft = Draft::new(head(2, 7_000), 8);
    draft.durable_block(&values(&[900, 5]));
    draft.bytes[draft.at..].fill(0x77);
    let open = draft.scan();
    assert!(matches!(open.tail, Ok(Tail::Torn { offset, .. }) if offset == draft.at));
    draft.durable_block(&[]);
    assert_eq!(draft.scan(), Found { tail: Ok(Tail::Clean), ..open });
}

#[test]
fn a_file_that_ends_within_a_block_is_torn_there() {
    // Only the last block, of which no other bears witness.
    let draft = draft(0);
    let last = draft.blocks.last().expect("several");
    for len in [last.offset + BLOCK_HEAD_BYTES, last.offset + BLOCK_HEAD_BYTES + last.len - 1] {
        let found = scan(&draft.bytes[..len], &draft.head);
        let why = "the file ends within a block".to_owned();
        let tail = Ok(Tail::Torn { offset: last.offset, why });
        let values = draft.values_before(last.lsn);
        assert_eq!(found, Found { values, lsn: last.lsn, tail });
    }
}

/// What can become of a block.
fn spoilt(draft: &Draft, index: usize) -> Vec<(Vec<u8>, usize, Lsn)> {
    let block = &draft.blocks[index];
    let taken = block_bytes(block.len);
    let mut found = Vec::new();
    let mut spoil = |change: &dyn Fn(&mut [u8]), offset, lsn| {
        let mut bytes = draft.bytes.clone();
        change(&mut bytes[block.offset..block.offset + taken]);
        found.push((bytes, offset, lsn));
    };
    // It never arrived, it holds what it held before, its head is damaged.
    spoil(&|it: &mut [u8]| it.fill(0), block.offset, block.lsn);
    spoil(&|it: &mut [u8]| it.fill(0x77), block.offset, block.lsn);
    let former = |it: &mut [u8]| {
        seal_block(it, &head(1, 7_000), Lsn(9_999_999), Lsn(9_999_999), &[]);
    };
    spoil(&former, block.offset, block.lsn);
    for at in [0, 9, BLOCK_HEAD_BYTES - 1] {
        spoil(&|it: &mut [u8]| it[at] ^= 0x10, block.offset, block.lsn);
    }
    for record in 0..block.records.len() {
        let (offset, lsn) = block.record(record);
        for byte in [0, 5, RECORD_HEAD_BYTES, RECORD_HEAD_BYTES + 3] {
            spoil(&|it: &mut [u8]| it[offset - block.offset + byte] ^= 0x10, offset, lsn);
        }
    }
    found
}

#[test]
fn what_cannot_be_read_is_damage_if_any_block_behind_it_says_that_it_was_durable_else_torn() {
    for lag in 0..4 {
        let draft = draft(lag);
        for index in 0..draft.blocks.len() {
            let behind = draft.blocks[index + 1..].iter().map(|block| block.durable);
            let witnessed = behind.max().unwrap_or_default();
            for (bytes, offset, lsn) in spoilt(&draft, index) {
                let found = scan(&bytes, &draft.head);
                assert_eq!(found.values, draft.values_before(lsn), "block {index}, lag {lag}");
                assert_eq!(found.lsn, lsn);
                let is_damage = witnessed > lsn;
                match found.tail {
                    Err(damage) => {
                        assert!(is_damage, "block {index} was not durable, lag {lag}: {damage}");
                        assert_eq!((damage.offset, damage.lsn), (offset, lsn));
                    }
                    Ok(Tail::Torn { offset: at, .. }) => {
                        assert!(!is_damage, "block {index} was durable, lag {lag}");
                        assert_eq!(at, offset);
                    }
                    Ok(Tail::Clean) => {
                        assert_eq!(index + 1, draft.blocks.len(), "others are in flight behind it");
                        assert_eq!((lsn, is_damage), (draft.blocks[index].lsn, false));
                    }
                }
            }
        }
    }
}

#[test]
fn a_journal_that_was_closed_in_order_has_no_torn_tail() {
    let mut draft = draft(0);
    let last = draft.blocks.len() - 1;
    draft.durable_block(&[]);
    for index in 0..=last {
        for (bytes, offset, lsn) in spoilt(&draft, index) {
            let damage = scan(&bytes, &draft.head).tail.expect_err("it was durable");
            assert_eq!((damage.offset, damage.lsn), (offset, lsn), "block {index}");
        }
    }
    // What spoils the witness itself loses nothing.
    for (bytes, ..) in spoilt(&draft, last + 1) {
        let found = scan(&bytes, &draft.head);
        assert_eq!((found.values, found.lsn), (draft.values.clone(), draft.lsn));
        assert!(found.tail.is_ok());
    }
}

#[test]
fn a_block_of_another_place_in_the_log_is_not_taken_for_the_next_one() {
    let (good, mut other) = (draft(0), draft(0));
    let at = good.at;
    // One is missing before it, or it comes a second time.
    for lsn in [good.lsn.plus(1), good.blocks[2].lsn] {
        other.bytes[at..].fill(0);
        let mut bytes = Vec::new();
        write_put(&mut bytes, b"stray");
        seal_block(&mut other.bytes[at..], &good.head, lsn, Lsn::ZERO, &bytes);
        let found = scan(&other.bytes, &good.head);
        assert_eq!((found.values, found.lsn), (good.values.clone(), good.lsn));
        let why = format!("the next block is that of log position {lsn}");
        assert_eq!(found.tail, Ok(Tail::Torn { offset: at, why }));
    }
}

#[test]
fn damage_is_told_with_its_place_in_the_file_and_in_the_log_and_with_its_reason() {
    let draft = draft(0);
    let (offset, lsn) = draft.blocks[1].record(1);
    let mut bytes = draft.bytes.clone();
    bytes[offset + RECORD_HEAD_BYTES + 2] ^= 1;
    let damage = scan(&bytes, &draft.head).tail.expect_err("a later block bears witness");
    let text = damage.to_string();
    for part in [format!("byte {offset}"), lsn.to_string(), "checksum".into(), "durable".into()] {
        assert!(text.contains(&part), "{text:?} does not say {part:?}");
    }
}
