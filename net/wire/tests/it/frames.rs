//! How messages are cut into frames, and frames out of a stream.

use crate::samples::{LIMITS, talk, whole_frames};
use proptest::prelude::*;
use punctual_wire::{BatchWriter, FRAME_HEADER_BYTES, FrameKind, WireError};

/// Appends a message of `len` bytes.
fn put(out: &mut BatchWriter, kind: FrameKind, len: usize) {
    out.message(kind, len, |buffer| buffer.resize(buffer.len() + len, 0xab));
}

/// Kind and number of messages of each frame, after the last one was sealed.
fn shape(out: &mut BatchWriter, checksum: bool) -> Vec<(FrameKind, u16)> {
    out.seal();
    let (frames, taken) = whole_frames(out.sealed(), checksum).expect("valid frames");
    assert_eq!(taken, out.len(), "no bytes beside the frames");
    frames.into_iter().map(|(kind, count, _)| (kind, count)).collect()
}

#[test]
fn messages_share_a_frame_up_to_the_batch_limit() {
    let mut out = BatchWriter::new(LIMITS, 2, false);
    for _ in 0..5 {
        put(&mut out, FrameKind::Reply, 30);
    }
    let reply = |count| (FrameKind::Reply, count);
    assert_eq!(shape(&mut out, false), [reply(2), reply(2), reply(1)]);
    assert_eq!(out.take_counts(), (3, 5));
}

#[test]
fn every_sealed_frame_is_counted_once_whoever_sealed_it() {
    let mut out = BatchWriter::new(LIMITS, 2, false);
    for _ in 0..5 {
        put(&mut out, FrameKind::Reply, 30);
    }
    assert_eq!(out.take_counts(), (2, 4), "the batch limit has sealed two frames");
    out.seal();
    assert_eq!(out.take_counts(), (1, 1));
    assert_eq!(out.take_counts(), (0, 0));
}

#[test]
fn frames_that_are_passed_on_keep_their_bytes_and_their_place_and_are_not_counted_again() {
    let mut source = BatchWriter::new(LIMITS, 2, true);
    for _ in 0..3 {
        put(&mut source, FrameKind::Reply, 30);
    }
    source.seal();
    // The one who passes them on has another batch limit, and an open frame of its own.
    let mut out = BatchWriter::new(LIMITS, 1, false);
    put(&mut out, FrameKind::Ping, 10);
    out.append_sealed(source.sealed());
    out.append_sealed(&[]);
    put(&mut out, FrameKind::Ping, 10);
    out.seal();
    let own = FRAME_HEADER_BYTES + 10;
    assert_eq!(&out.sealed()[own..out.len() - own], source.sealed());
    for ping in [&out.sealed()[..own], &out.sealed()[out.len() - own..]] {
        let (frames, _) = whole_frames(ping, false).expect("a valid frame");
        assert_eq!((frames[0].0, frames[0].1), (FrameKind::Ping, 1));
    }
    assert_eq!(out.take_counts(), (2, 2));
}

#[test]
fn an_empty_buffer_is_kept_unless_it_grew_very_large() {
    for (messages, keeps) in [(1, true), (1_000, false)] {
        let mut out = BatchWriter::new(LIMITS, 8, false);
        for _ in 0..messages {
            put(&mut out, FrameKind::Reply, 10_000);
        }
        out.seal();
        out.clear_sealed();
        let mut buffer = Vec::new();
        out.swap_sealed(&mut buffer);
        assert_eq!(buffer.capacity() > 0, keeps, "after {messages} messages");
    }
}

#[test]
fn messages_share_a_frame_up_to_its_longest_length_and_not_a_byte_more() {
    let half = (LIMITS.frame_bytes_max as usize - FRAME_HEADER_BYTES) / 2;
    let mut out = BatchWriter::new(LIMITS, 8, true);
    put(&mut out, FrameKind::Ping, half);
    put(&mut out, FrameKind::Ping, half);
    assert_eq!(shape(&mut out, true), [(FrameKind::Ping, 2)]);
    assert_eq!(out.len(), LIMITS.frame_bytes_max as usize);
    out.clear_sealed();
    put(&mut out, FrameKind::Ping, half);
    put(&mut out, FrameKind::Ping, half + 1);
    assert_eq!(shape(&mut out, true), [(FrameKind::Ping, 1), (FrameKind::Ping, 1)]);
}

#[test]
fn another_kind_or_a_seal_begins_another_frame() {
    let mut out = BatchWriter::new(LIMITS, 8, false);
    put(&mut out, FrameKind::Dispatch, 9);
    put(&mut out, FrameKind::Reply, 9);
    put(&mut out, FrameKind::Reply, 0);
    out.seal();
    out.seal();
    put(&mut out, FrameKind::Reply, 9);
    let expected = [(FrameKind::Dispatch, 1), (FrameKind::Reply, 2), (FrameKind::Reply, 1)];
    assert_eq!(shape(&mut out, false), expected);
}

#[test]
fn the_wish_for_a_batch_is_held_between_one_and_the_limit() {
    for (wish, held) in [(0, 1), (1, 1), (5, 5), (8, 8), (9, 8), (u16::MAX, 8)] {
        assert_eq!(BatchWriter::new(LIMITS, wish, false).batch_max(), held);
    }
}

#[test]
fn an_open_frame_stays_behind_while_sealed_ones_leave() {
    let mut out = BatchWriter::new(LIMITS, 8, true);
    put(&mut out, FrameKind::Ping, 5);
    assert!(out.sealed().is_empty() && !out.is_empty(), "nothing leaves before it is sealed");
    out.seal();
    let first = out.sealed().to_vec();
    put(&mut out, FrameKind::Pong, 6);
    assert_eq!(out.sealed(), first);
    // A socket took a part, then the rest.
    out.drop_front(3);
    assert_eq!(out.sealed(), &first[3..]);
    out.clear_sealed();
    assert!(out.sealed().is_empty());
    put(&mut out, FrameKind::Pong, 6);
    assert_eq!(shape(&mut out, true), [(FrameKind::Pong, 2)]);
    let sealed = out.sealed().to_vec();
    let mut other = Vec::new();
    out.swap_sealed(&mut other);
    assert_eq!(other, sealed);
    assert!(out.is_empty());
}

#[test]
fn a_change_of_the_checksum_holds_from_the_next_frame_on() {
    let mut out = BatchWriter::new(LIMITS, 8, false);
    put(&mut out, FrameKind::Ping, 5);
    out.set_checksum(true);
    let plain = out.sealed().to_vec();
    out.clear_sealed();
    put(&mut out, FrameKind::Ping, 5);
    out.seal();
    assert_eq!(whole_frames(&plain, false).map(|(frames, _)| frames.len()), Ok(1));
    assert_eq!(whole_frames(&plain, true), Err(WireError::FrameFlags(0)));
    assert_eq!(whole_frames(out.sealed(), true).map(|(frames, _)| frames.len()), Ok(1));
    assert_eq!(whole_frames(out.sealed(), false), Err(WireError::FrameFlags(1)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_stream_that_is_cut_anywhere_yields_its_whole_frames_and_waits_for_the_rest(
        talk in talk(),
        cut in any::<prop::sample::Index>(),
    ) {
        let writer = talk.written();
        let stream = writer.sealed();
        let (all, _) = whole_frames(stream, talk.checksum).expect("valid frames");
        let cut = cut.index(stream.len());
        let (some, taken) = whole_frames(&stream[..cut], talk.checksum).expect("no error yet");
        prop_assert!(some.len() < all.len(), "the last frame cannot be whole");
        prop_assert_eq!(&some[..], &all[..some.len()]);
        let next = FRAME_HEADER_BYTES + all[some.len()].2.len();
        prop_assert!(taken <= cut && cut < taken + next, "a whole frame was withheld");
    }

    #[test]
    fn a_stream_that_comes_byte_by_byte_yields_the_same_frames(talk in talk()) {
        let writer = talk.written();
        let (all, _) = whole_frames(writer.sealed(), talk.checksum).expect("valid frames");
        let mut buffer = Vec::new();
        let mut seen = 0;
        for byte in writer.sealed() {
            buffer.push(*byte);
            let (frames, taken) = whole_frames(&buffer, talk.checksum).expect("no error yet");
            prop_assert_eq!(&frames[..], &all[seen..seen + frames.len()]);
            seen += frames.len();
            buffer.drain(..taken);
        }
        prop_assert_eq!((seen, buffer.len()), (all.len(), 0));
    }
}
