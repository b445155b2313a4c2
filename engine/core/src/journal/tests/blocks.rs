//! Blocks: whole records behind a head, in whole pages.

use super::*;
use crate::journal::block::BlockHead;
use proptest::prelude::*;

/// Records with values of these lengths, and where each of them ends.
fn records(lens: &[usize]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = Vec::new();
    let write = |value: &Vec<u8>| {
        write_put(&mut bytes, value);
        bytes.len()
    };
    let ends = values(lens).iter().map(write).collect();
    (bytes, ends)
}

#[test]
fn a_block_takes_whole_pages() {
    let page = BLOCK_ALIGN;
    let fit = page - BLOCK_HEAD_BYTES;
    let cases = [
        (0, page),
        (1, page),
        (fit, page),
        (fit + 1, 2 * page),
        (fit + page, 2 * page),
        (fit + page + 1, 3 * page),
        (10 * page, 11 * page),
    ];
    for (len, expected) in cases {
        assert_eq!(block_bytes(len), expected, "with {len} bytes of records");
    }
}

#[test]
fn a_block_says_where_it_belongs_and_holds_the_records_as_they_were_with_their_checksums() {
    for lens in [&[][..], &[5], &[0, 4_000, 9_000, 1]] {
        let (bytes, ends) = records(lens);
        let mut out = vec![0xee; block_bytes(bytes.len()) + 100];
        let head = head(3, 1_000);
        let taken = seal_block(&mut out, &head, Lsn(1_500), Lsn(1_200), &bytes);
        assert_eq!(taken, block_bytes(bytes.len()));
        let expected = BlockHead {
            generation: 3,
            segment: Lsn(1_000),
            lsn: Lsn(1_500),
            durable: Lsn(1_200),
            len: bytes.len(),
        };
        assert_eq!(BlockHead::read(&out), Some(expected));
        assert!(expected.is_of(&head));
        let mut at = 0;
        for (end, value) in ends.iter().zip(values(lens)) {
            let rest = &out[BLOCK_HEAD_BYTES + at..];
            let found = Record::read(rest, Lsn(1_500).plus(at)).expect("it was sealed");
            assert_eq!(found, (Record::Put { key: b"key", value: &value }, end - at));
            at = *end;
        }
        let padding = &out[BLOCK_HEAD_BYTES + bytes.len()..taken];
        assert!(padding.iter().all(|byte| *byte == 0), "nothing of what was there is written");
        assert!(out[taken..].iter().all(|byte| *byte == 0xee), "nothing behind it is touched");
    }
}

#[test]
fn a_block_is_of_one_segment_and_one_use_of_the_journal() {
    let mut out = vec![0; BLOCK_ALIGN];
    seal_block(&mut out, &head(3, 1_000), Lsn(1_000), Lsn(1_000), &[]);
    let block = BlockHead::read(&out).expect("it was just made");
    let theirs = [(3, 1_000), (2, 1_000), (4, 1_000), (3, 0), (3, 1_001)];
    let found = theirs.map(|(generation, start)| block.is_of(&head(generation, start)));
    assert_eq!(found, [true, false, false, false, false]);
}

#[test]
fn the_head_of_a_block_with_a_flipped_bit_or_cut_short_is_none() {
    let (bytes, _) = records(&[20]);
    let mut out = vec![0; BLOCK_ALIGN];
    seal_block(&mut out, &head(3, 1_000), Lsn(1_500), Lsn(1_200), &bytes);
    for bit in 0..8 * BLOCK_HEAD_BYTES {
        out[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(BlockHead::read(&out), None, "with bit {bit} flipped");
        out[bit / 8] ^= 1 << (bit % 8);
    }
    for cut in 0..BLOCK_HEAD_BYTES {
        assert_eq!(BlockHead::read(&out[..cut]), None);
    }
    assert!(BlockHead::read(&out[..BLOCK_HEAD_BYTES]).is_some());
    assert_eq!(BlockHead::read(&[0; BLOCK_ALIGN]), None);
}

#[test]
#[should_panic]
fn a_block_does_not_fit_into_less_than_its_pages() {
    let (bytes, _) = records(&[5_000]);
    let mut out = vec![0; 2 * BLOCK_ALIGN - 1];
    seal_block(&mut out, &head(1, 0), Lsn::ZERO, Lsn::ZERO, &bytes);
}

proptest! {
    #[test]
    fn as_many_whole_records_are_split_off_as_there_is_room_for(
        lens in prop::collection::vec(0..300_usize, 0..20),
        room in 0..4_000_usize,
    ) {
        let (bytes, ends) = records(&lens);
        let fitting = ends.iter().copied().filter(|end| *end <= room).max().unwrap_or(0);
        prop_assert_eq!(split_records(&bytes, room), fitting);
        for end in ends {
            prop_assert_eq!(split_records(&bytes, end), end);
            prop_assert!(split_records(&bytes, end - 1) < end);
        }
    }
}
