//! The heads of segments, and what is taken for none.

use super::*;
use proptest::prelude::*;

/// Bytes of the head that its checksum covers, or that are compared.
const FIELDS_BYTES: usize = 56;
const MAGIC_BYTES: usize = 8;
const VERSION_END: usize = 12;
const CRC_END: usize = 16;
/// Where it says who has written it.
const HOLDER: usize = 17;

fn any_head() -> impl Strategy<Value = SegmentHead> {
    let kinds = any::<(bool, bool)>();
    let place = any::<(u16, u16, u64, u32, u64)>();
    let limits = any::<(u32, u16, u16, u32, u16)>();
    (kinds, place, limits).prop_map(|((is_log, is_shard), place, limits)| {
        let (shard, shards, session, generation, start) = place;
        let (frame_bytes_max, batch_max, key_bytes_max, value_bytes_max, ops_max) = limits;
        SegmentHead {
            kind: if is_log { SegmentKind::Log } else { SegmentKind::Snapshot },
            holder: if is_shard { Holder::Shard } else { Holder::Tasks },
            shard: ShardId(shard),
            shards,
            session: SessionId(session),
            generation,
            start: Lsn(start),
            limits: Limits { frame_bytes_max, batch_max, key_bytes_max, value_bytes_max, ops_max },
        }
    })
}

proptest! {
    #[test]
    fn the_head_of_a_segment_is_read_as_it_was_written(head in any_head()) {
        let block = head.to_block();
        prop_assert_eq!(block.len(), SEGMENT_HEAD_BYTES);
        prop_assert_eq!(SegmentHead::read(&block), Ok(head));
        // What follows it in the file, or does not, is nothing to it.
        prop_assert_eq!(SegmentHead::read(&block[..FIELDS_BYTES]), Ok(head));
        let longer = [&block[..], &[7; 100]].concat();
        prop_assert_eq!(SegmentHead::read(&longer), Ok(head));
        prop_assert!(block[FIELDS_BYTES..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn a_file_that_was_never_begun_is_blank() {
    let block = head(1, 0).to_block();
    let blanks: [&[u8]; 4] = [&[], &[0; 10], &[0; SEGMENT_HEAD_BYTES], &block[..FIELDS_BYTES - 1]];
    for blank in blanks {
        assert_eq!(SegmentHead::read(blank), Err(SegmentError::Blank), "{} bytes", blank.len());
    }
    // Blocks of another time behind a head that was wiped are nothing.
    let mut recycled = vec![0; 3 * SEGMENT_HEAD_BYTES];
    recycled[SEGMENT_HEAD_BYTES..].fill(0xaa);
    assert_eq!(SegmentHead::read(&recycled), Err(SegmentError::Blank));
}

#[test]
fn no_head_with_a_flipped_bit_is_read() {
    let block = head(1, 0).to_block();
    for bit in 0..8 * FIELDS_BYTES {
        let mut block = block;
        block[bit / 8] ^= 1 << (bit % 8);
        let found = SegmentHead::read(&block);
        match bit / 8 {
            0..MAGIC_BYTES => assert_eq!(found, Err(SegmentError::Foreign)),
            MAGIC_BYTES..VERSION_END => assert!(matches!(found, Err(SegmentError::Version(_)))),
            _ => assert!(matches!(found, Err(SegmentError::Damaged { .. })), "{bit}: {found:?}"),
        }
    }
}

#[test]
fn something_else_is_no_file_of_a_journal() {
    let foreign: [&[u8]; 2] = [&[b'#'; SEGMENT_HEAD_BYTES], &[1; FIELDS_BYTES]];
    for bytes in foreign {
        assert_eq!(SegmentHead::read(bytes), Err(SegmentError::Foreign));
    }
    // A kind or a holder that there is not, although the checksum is right.
    for at in [CRC_END, HOLDER] {
        for code in [2, 255] {
            assert_eq!(SegmentHead::read(&with_byte(at, code)), Err(SegmentError::Foreign));
        }
    }
}

/// The block of a head with another byte in one place, and the right checksum.
fn with_byte(at: usize, byte: u8) -> [u8; SEGMENT_HEAD_BYTES] {
    let mut block = head(1, 0).to_block();
    block[at] = byte;
    let crc = crc32c::crc32c(&block[CRC_END..FIELDS_BYTES]);
    block[VERSION_END..CRC_END].copy_from_slice(&crc.to_le_bytes());
    block
}

#[test]
fn a_head_from_before_there_were_task_queues_is_that_of_a_shard() {
    // What is a holder now was a byte that nobody looked at, and zero.
    assert_eq!(with_byte(HOLDER, 0), head(1, 0).to_block());
    assert_eq!(SegmentHead::read(&with_byte(HOLDER, 0)), Ok(head(1, 0)));
    let of_tasks = SegmentHead { holder: Holder::Tasks, ..head(1, 0) };
    assert_eq!(SegmentHead::read(&with_byte(HOLDER, 1)), Ok(of_tasks));
}

#[test]
fn errors_say_what_was_found_and_what_should_be_there() {
    let mut block = head(1, 0).to_block();
    block[MAGIC_BYTES] = 9;
    let version = SegmentHead::read(&block).expect_err("of another version");
    assert_eq!(version.to_string(), "it is of version 9, and this program knows version 1 only");
    let mut block = head(1, 0).to_block();
    let crc = u32::from_le_bytes(block[VERSION_END..CRC_END].try_into().expect("four bytes"));
    block[VERSION_END] ^= 1;
    let damaged = SegmentHead::read(&block).expect_err("damaged");
    assert_eq!(damaged, SegmentError::Damaged { found: crc ^ 1, expected: crc });
    assert!(damaged.to_string().contains(&format!("{crc:08x}")), "{damaged}");
}
