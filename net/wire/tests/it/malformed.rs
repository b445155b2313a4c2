//! Each mistake gets the error that names it.

use crate::samples::{LIMITS, whole_frames};
use punctual_wire::{
    Frame, FrameHeader, FrameKind, OpReader, PIECE_HEAD_BYTES, PieceReader, REPLY_HEAD_BYTES,
    ReplyReader, ResultReader, WireError,
};
use zerocopy::IntoBytes;

const MAX: u32 = LIMITS.frame_bytes_max;
const DISPATCH: u8 = FrameKind::Dispatch as u8;

/// A header alone: every mistake in it must be found before the body is waited for.
fn header(len: u32, kind: u8, flags: u8, count: u16) -> Vec<u8> {
    let (len, count) = (len.into(), count.into());
    FrameHeader { len, kind, flags, count, checksum: 0.into() }.as_bytes().to_vec()
}

#[test]
fn a_mistake_in_a_frame_header_is_found_before_the_body_has_come() {
    let length = |len| WireError::FrameLength { len, min: 12, max: MAX };
    let count = |count| WireError::BatchCount { count, max: 8 };
    let cases = [
        ("no length", header(0, DISPATCH, 0, 1), length(0)),
        ("shorter than a header", header(11, DISPATCH, 0, 1), length(11)),
        ("one byte too long", header(MAX + 1, DISPATCH, 0, 1), length(MAX + 1)),
        ("as long as can be", header(u32::MAX, DISPATCH, 0, 1), length(u32::MAX)),
        ("kind 0", header(40, 0, 0, 1), WireError::FrameKind(0)),
        ("kind 12", header(40, 12, 0, 1), WireError::FrameKind(12)),
        ("kind 255", header(40, 255, 0, 1), WireError::FrameKind(255)),
        ("no messages", header(40, DISPATCH, 0, 0), count(0)),
        ("too many messages", header(40, DISPATCH, 0, 9), count(9)),
        ("a checksum that nobody agreed on", header(40, DISPATCH, 1, 1), WireError::FrameFlags(1)),
        ("a flag that does not exist", header(40, DISPATCH, 2, 1), WireError::FrameFlags(2)),
    ];
    for (name, bytes, error) in cases {
        assert_eq!(whole_frames(&bytes, false), Err(error), "{name}");
    }
    for flags in [0, 2, 3, 0x81] {
        let bytes = header(40, DISPATCH, flags, 1);
        assert_eq!(whole_frames(&bytes, true), Err(WireError::FrameFlags(flags)));
    }
    // The longest frame and the shortest are no mistakes.
    assert_eq!(whole_frames(&header(MAX, DISPATCH, 0, 8), false), Ok((Vec::new(), 0)));
    let empty: &[u8] = &[];
    let shortest = (vec![(FrameKind::Ping, 1, empty)], 12);
    assert_eq!(whole_frames(&header(12, FrameKind::Ping as u8, 0, 1), false), Ok(shortest));
}

#[test]
fn a_wrong_checksum_is_shown_with_the_right_one() {
    let frame = header(12, FrameKind::Ping as u8, 1, 1);
    let Err(WireError::Checksum { found: 0, computed }) = whole_frames(&frame, true) else {
        panic!("a checksum of zero passed");
    };
    let frame = [&frame[..8], &computed.to_le_bytes()].concat();
    assert_eq!(whole_frames(&frame, true).map(|(frames, _)| frames.len()), Ok(1));
}

/// A head of a piece or reply whose body is `body`: length, count, two codes, zeros up to `len`.
fn message(len: usize, count: u16, codes: [u8; 2], body: &[u8]) -> Vec<u8> {
    let body_len = u32::try_from(body.len()).expect("a short body").to_le_bytes();
    let mut bytes = [&body_len[..], &count.to_le_bytes(), &codes].concat();
    bytes.resize(len, 0);
    bytes.extend_from_slice(body);
    bytes
}

fn piece(count: u16, kind: u8, body: &[u8]) -> Vec<u8> {
    message(PIECE_HEAD_BYTES, count, [kind, 0], body)
}

/// Reads to the end: how many pieces, or the first mistake.
fn read_pieces(count: u16, body: &[u8]) -> Result<usize, WireError> {
    let frame = Frame { kind: FrameKind::Dispatch, count, body };
    let mut reader = PieceReader::new(&frame, &LIMITS);
    let mut pieces = 0;
    while reader.next_piece()?.is_some() {
        pieces += 1;
    }
    Ok(pieces)
}

#[test]
fn a_mistake_in_a_piece_is_named() {
    let truncated = |what| Err(WireError::Truncated { what });
    let ops_over = |value| {
        let what = "the number of operations (at least 1)";
        Err(WireError::OverLimit { what, value, max: 6 })
    };
    let args_over = Err(WireError::OverLimit {
        what: "the length of a call's arguments in bytes",
        value: 1_001,
        max: 1_000,
    });
    let good = piece(1, 0, b"x");
    let trailing = |bytes| Err(WireError::Trailing { what: "the last piece", bytes });
    let unknown = Err(WireError::UnknownValue { what: "piece kind", value: 2 });
    let cases = [
        ("a good one", 1, good.clone(), Ok(1)),
        ("two good ones", 2, good.repeat(2), Ok(2)),
        ("no head", 1, Vec::new(), truncated("piece head")),
        ("half a head", 1, good[..15].to_vec(), truncated("piece head")),
        ("no second one", 2, good.clone(), truncated("piece head")),
        ("body cut short", 1, good[..16].to_vec(), truncated("piece")),
        ("no operations", 1, piece(0, 0, b"x"), ops_over(0)),
        ("as many operations as allowed", 1, piece(6, 0, b"x"), Ok(1)),
        ("too many operations", 1, piece(7, 0, b"x"), ops_over(7)),
        ("unknown kind", 1, piece(1, 2, b"x"), unknown),
        ("half a procedure id", 1, piece(0, 1, b"x"), truncated("call head")),
        ("a call without arguments", 1, piece(0, 1, &[0; 2]), Ok(1)),
        ("arguments as long as allowed", 1, piece(0, 1, &[0; 1_002]), Ok(1)),
        ("arguments too long", 1, piece(0, 1, &[0; 1_003]), args_over),
        ("one piece too many", 1, good.repeat(2), trailing(good.len())),
        ("a byte too many", 1, [&good[..], b"y"].concat(), trailing(1)),
    ];
    for (name, count, body, outcome) in cases {
        assert_eq!(read_pieces(count, &body), outcome, "{name}");
    }
}

/// Reads to the end: how many replies, or the first mistake.
fn read_replies(count: u16, body: &[u8]) -> Result<usize, WireError> {
    let frame = Frame { kind: FrameKind::Reply, count, body };
    let mut reader = ReplyReader::new(&frame);
    let mut replies = 0;
    while reader.next_reply()?.is_some() {
        replies += 1;
    }
    Ok(replies)
}

#[test]
fn a_mistake_in_a_reply_is_named() {
    let reply = |status, reason| message(REPLY_HEAD_BYTES, 1, [status, reason], b"x");
    let good = reply(0, 0);
    let truncated = |what| Err(WireError::Truncated { what });
    let unknown = |value| Err(WireError::UnknownValue { what: "reply status", value });
    let trailing = |bytes| Err(WireError::Trailing { what: "the last reply", bytes });
    let cases = [
        ("a good one", 1, good.clone(), Ok(1)),
        ("two good ones", 2, good.repeat(2), Ok(2)),
        ("no head", 1, Vec::new(), truncated("reply head")),
        ("half a head", 1, good[..23].to_vec(), truncated("reply head")),
        ("no second one", 2, good.clone(), truncated("reply head")),
        ("body cut short", 1, good[..24].to_vec(), truncated("reply")),
        ("committed for a reason", 1, reply(0, 1), unknown(0x001)),
        ("busy for a reason", 1, reply(2, 4), unknown(0x204)),
        ("refused for no reason", 1, reply(3, 0), unknown(0x300)),
        ("refused for an unknown reason", 1, reply(3, 8), unknown(0x308)),
        ("unknown status", 1, reply(4, 0), unknown(0x400)),
        ("a bit of the status that means nothing", 1, reply(0x40, 0), unknown(0x4000)),
        ("one reply too many", 1, good.repeat(2), trailing(good.len())),
    ];
    for (name, count, body, outcome) in cases {
        assert_eq!(read_replies(count, &body), outcome, "{name}");
    }
}

#[test]
fn a_mistake_in_an_operation_is_named() {
    let truncated = |what| WireError::Truncated { what };
    let unknown = |value| WireError::UnknownValue { what: "operation", value };
    let long_key = WireError::UnknownValue { what: "length of a long key", value: 8 };
    let long_value = WireError::UnknownValue { what: "length of a long value", value: 8 };
    // Get, put, delete, add, append and compare-and-set are 1 to 6; 0x40: word key, 0x80: word
    // value.
    let cases: [(&str, &[u8], WireError); 24] = [
        ("nothing", &[], truncated("operation")),
        ("no key", &[0x01], truncated("key")),
        ("half a key's length", &[0x01, 1], truncated("key")),
        ("long key cut short", &[0x01, 2, 0, 9], truncated("key")),
        ("word key cut short", &[0x41, 1, 2, 3, 4, 5, 6, 7], truncated("key")),
        ("word in the long form as key", &[0x01, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8], long_key),
        ("operation 0", &[0x00, 0, 0], unknown(0x00)),
        ("operation 7", &[0x07, 0, 0], unknown(0x07)),
        ("operation 15", &[0x0f, 0, 0], unknown(0x0f)),
        ("bit 4", &[0x11, 0, 0], unknown(0x11)),
        ("bit 5", &[0x21, 0, 0], unknown(0x21)),
        ("get with a value", &[0x81, 0, 0], unknown(0x81)),
        ("delete with a value", &[0x83, 0, 0], unknown(0x83)),
        ("add without a word", &[0x04, 0, 0, 0, 0, 0, 0], unknown(0x04)),
        ("compare-and-set with a word", &[0x86, 0, 0, 0, 0, 0, 0], unknown(0x86)),
        ("delta cut short", &[0x84, 0, 0, 1, 2, 3, 4, 5, 6, 7], truncated("delta")),
        ("word to put cut short", &[0x82, 0, 0, 1, 2], truncated("value")),
        ("half a value's length", &[0x02, 0, 0, 1, 0], truncated("value")),
        ("value to append cut short", &[0x05, 0, 0, 2, 0, 0, 0, 1], truncated("value")),
        ("word in the long form put", &[0x02, 0, 0, 8, 0, 0, 0], long_value),
        ("word in the long form appended", &[0x05, 0, 0, 8, 0, 0, 0], long_value),
        ("no expected value", &[0x06, 0, 0], truncated("expected value")),
        ("expected value cut short", &[0x06, 0, 0, 1, 0, 0, 0], truncated("expected value")),
        ("no new value", &[0x06, 0, 0, 255, 255, 255, 255], truncated("value")),
    ];
    for (name, bytes, error) in cases {
        assert_eq!(OpReader::new(bytes).next_op(), Err(error), "{name}");
    }
}

#[test]
fn a_mistake_in_a_result_is_named() {
    let cut = WireError::Truncated { what: "result" };
    let unknown = |value| WireError::UnknownValue { what: "result", value };
    let cases: [(&str, &[u8], WireError); 9] = [
        ("status 5", &[0x05], unknown(0x05)),
        ("status 15", &[0x0f], unknown(0x0f)),
        ("bit 4", &[0x10], unknown(0x10)),
        ("bit 5", &[0x20], unknown(0x20)),
        ("two kinds of value", &[0xc0], unknown(0xc0)),
        ("word cut short", &[0x80, 1, 2, 3, 4, 5, 6, 7], cut),
        ("no length", &[0x40], cut),
        ("half a length", &[0x40, 1, 0], cut),
        ("value cut short", &[0x40, 2, 0, 0, 0, 1], cut),
    ];
    for (name, bytes, error) in cases {
        assert_eq!(ResultReader::new(bytes).next_result(), Err(error), "{name}");
        assert_eq!(ResultReader::new(bytes).next(), None, "{name}");
    }
}
