//! Bytes that no writer made: they are refused or wait for more, whatever they are.

use crate::explore::explore;
use crate::samples::{Talk, talk, whole_frames};
use crate::task_samples::{Said, said};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use punctual_wire::{BatchWriter, FRAME_HEADER_BYTES, Limits};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_flipped_bit_under_a_checksum_never_changes_what_is_read(
        talk in talk(),
        bit in any::<Index>(),
    ) {
        let talk = Talk { checksum: true, ..talk };
        let writer = talk.written();
        let (all, _) = whole_frames(writer.sealed(), true).expect("valid frames");
        let mut stream = writer.sealed().to_vec();
        let bit = bit.index(stream.len() * 8);
        stream[bit / 8] ^= 1 << (bit % 8);
        // A longer length makes the reader wait; all else is an error.
        if let Ok((frames, _)) = whole_frames(&stream, true) {
            prop_assert!(frames.len() < all.len(), "bit {bit} went unnoticed");
            prop_assert_eq!(&frames[..], &all[..frames.len()]);
        }
    }

    #[test]
    fn arbitrary_bytes_get_no_reader_to_panic(bytes in vec(any::<u8>(), 0..600)) {
        explore(&bytes);
    }

    #[test]
    fn messages_between_shards_with_any_fields_get_no_reader_to_panic(
        // Kinds and details near those that there are, so that most of it is read.
        messages in vec((0..=9_u8, 0..=2_u8, any::<[u8; 30]>()), 1..4),
    ) {
        let mut body = Vec::new();
        for (kind, detail, fields) in messages {
            body.extend([kind, detail]);
            body.extend(fields);
        }
        explore(&body);
    }

    #[test]
    fn messages_of_the_task_farm_with_any_fields_get_no_reader_to_panic(
        // Bytes that are mostly small, so that most lengths are in reach of what follows.
        messages in vec((0..=16_u8, vec(byte(), 0..200)), 1..4),
    ) {
        let mut body = Vec::new();
        for (tag, fields) in messages {
            body.push(tag);
            body.extend(fields);
        }
        explore(&body);
        // Without a tag it may be a task, an end or a payload.
        explore(&body[1..]);
    }

    #[test]
    fn valid_frames_with_a_few_wrong_bytes_get_no_reader_to_panic(
        talk in talk(),
        wrong in vec((any::<Index>(), any::<u8>()), 1..8),
    ) {
        // Without a checksum, so that the mistakes reach what is inside.
        let writer = Talk { checksum: false, ..talk }.written();
        let mut stream = writer.sealed().to_vec();
        for (place, byte) in wrong {
            let place = place.index(stream.len());
            stream[place] = byte;
        }
        explore(&stream);
        // The first message alone: explored as a body it is read from its head on.
        explore(&stream[FRAME_HEADER_BYTES..]);
    }

    #[test]
    fn messages_of_the_task_farm_with_a_few_wrong_bytes_get_no_reader_to_panic(
        said in vec(said(), 1..4),
        wrong in vec((any::<Index>(), any::<u8>()), 1..8),
    ) {
        let mut out = BatchWriter::new(Limits::DEFAULT, 8, false);
        for Said { to_queue, kind, fields } in &said {
            if *to_queue {
                fields.to_queue(*kind).write(&mut out);
            } else {
                fields.push(*kind).write(&mut out);
            }
        }
        out.seal();
        let mut stream = out.sealed().to_vec();
        for (place, byte) in wrong {
            let place = place.index(stream.len());
            stream[place] = byte;
        }
        explore(&stream);
        explore(&stream[FRAME_HEADER_BYTES..]);
    }
}

fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![6 => Just(0_u8), 3 => 0..=8_u8, 1 => any::<u8>()]
}
