//! Tails that a crash has torn: whatever arrived of what was under way, nothing before it is lost
//! and nothing is made up.

use super::*;
use proptest::prelude::*;

/// What the file holds where the last block did not arrive.
fn under_it(kind: usize, pages: usize) -> Vec<u8> {
    match kind {
        0 => vec![0; pages * BLOCK_ALIGN],
        1 => vec![0xaa; pages * BLOCK_ALIGN],
        _ => {
            let mut old = Draft::new(head(1, 7_000), pages);
            while old.at < old.bytes.len() {
                old.durable_block(&[vec![0x41; 40], vec![0x42; 41]]);
            }
            old.bytes
        }
    }
}

#[test]
fn of_a_block_that_arrived_up_to_any_byte_all_whole_records_are_kept() {
    for kind in 0..3 {
        let old = under_it(kind, 8);
        let mut draft = Draft::over(head(2, 7_000), old.clone());
        draft.durable_block(&values(&[10, 20]));
        draft.durable_block(&values(&[30, 5_000, 1, 40]));
        let last = draft.blocks[1].clone();
        let taken = block_bytes(last.len);
        for cut in 0..=taken {
            let mut bytes = draft.bytes.clone();
            let lost = last.offset + cut..last.offset + taken;
            bytes[lost.clone()].copy_from_slice(&old[lost]);
            let is_as_before = bytes[last.offset..] == old[last.offset..];
            let ends = last.records[1..].iter().copied().chain([last.len]);
            let whole = ends.filter(|end| BLOCK_HEAD_BYTES + end <= cut).count();
            let at = last.records.get(whole).copied().unwrap_or(last.len);
            let found = scan(&bytes, &draft.head);
            assert_eq!(found.lsn, last.lsn.plus(at), "cut at {cut} over {kind}");
            assert_eq!(found.values, draft.values_before(found.lsn));
            let is_whole = whole == last.records.len();
            match found.tail.expect("nothing durable is lost") {
                Tail::Clean => assert!(is_whole || is_as_before, "cut at {cut} over {kind}"),
                Tail::Torn { offset, .. } => {
                    let places = [last.offset, last.offset + BLOCK_HEAD_BYTES + at];
                    // Over garbage the end cannot be told from a torn one.
                    let behind = is_whole && kind == 1 && offset == draft.at;
                    assert!(behind || places.contains(&offset), "{offset} at {cut} over {kind}");
                }
            }
        }
    }
}

/// What became of a block that was under way.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Arrived,
    Lost,
    /// Up to this part of it, in thousandths.
    Cut(usize),
    /// All but this part of it.
    Hole(usize),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Arrived),
        1 => Just(Fate::Lost),
        2 => (0..1_000_usize).prop_map(Fate::Cut),
        2 => (0..1_000_usize).prop_map(Fate::Hole),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_arrives_of_blocks_under_way_the_durable_ones_are_read_and_nothing_is_made_up(
        // Lengths of values, how many blocks the durable end is behind, and what becomes of it.
        blocks in prop::collection::vec(
            (prop::collection::vec(0..3_000_usize, 0..5), 0..4_usize, fate()),
            1..12,
        ),
        durable in any::<prop::sample::Index>(),
        kind in 0..3_usize,
    ) {
        let durable = durable.index(blocks.len() + 1);
        let old = under_it(kind, 60);
        let mut draft = Draft::over(head(2, 7_000), old.clone());
        for (index, (lens, lag, _)) in blocks.iter().enumerate() {
            let known = index.saturating_sub(*lag).min(durable);
            let lsn = draft.blocks.get(known).map_or(draft.lsn, |block| block.lsn);
            draft.block(lsn, &values(lens));
        }
        let mut bytes = draft.bytes.clone();
        for ((_, _, fate), block) in blocks.iter().zip(&draft.blocks).skip(durable) {
            let taken = block_bytes(block.len);
            let lost = match fate {
                Fate::Arrived => 0..0,
                Fate::Lost => 0..taken,
                Fate::Cut(part) => part * taken / 1_000..taken,
                Fate::Hole(part) => {
                    let page = part * taken / 1_000 / BLOCK_ALIGN * BLOCK_ALIGN;
                    page..page + BLOCK_ALIGN
                }
            };
            let lost = block.offset + lost.start..block.offset + lost.end;
            bytes[lost.clone()].copy_from_slice(&old[lost]);
        }
        let found = scan(&bytes, &draft.head);
        prop_assert!(found.tail.is_ok(), "{:?}", found.tail);
        let safe = draft.blocks.get(durable).map_or(draft.lsn, |block| block.lsn);
        prop_assert!(found.lsn >= safe, "{} is before {}", found.lsn, safe);
        prop_assert_eq!(found.values, draft.values_before(found.lsn));
    }
}
