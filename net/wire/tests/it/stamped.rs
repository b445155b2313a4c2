//! What a transaction on several shards puts on the wire beside its operations and results: the
//! stamp of a piece and the timing of a reply.

use crate::samples::{LIMITS, StampSample, owned};
use punctual_wire::{
    BatchWriter, FRAME_HEADER_BYTES, Frame, FrameKind, Limits, Op, OpResult, PARTICIPANTS_MAX,
    PIECE_HEAD_BYTES, Participant, Piece, PieceReader, REPLY_HEAD_BYTES, REPLY_TIMING_BYTES,
    RefusedReason, Reply, ReplyReader, ReplyStatus, ReplyTiming, ResultStatus, TxnSequence,
    WireError,
};

const SEQUENCE: TxnSequence = TxnSequence(0x0001_0005);

/// Where the number of participants is, and where the first of them is.
const COUNT_AT: usize = 7;
const LIST_AT: usize = PIECE_HEAD_BYTES + 8;

/// Participants from shard 10 on, one in three shards.
fn participants(count: usize) -> Vec<Participant> {
    let shards = (10..).step_by(3).take(count);
    shards.map(|shard| Participant { shard, incarnation: u32::from(shard) << 20 }).collect()
}

/// The messages of the one frame that `write` makes.
fn written(write: impl FnOnce(&mut BatchWriter)) -> Vec<u8> {
    let mut out = BatchWriter::new(Limits::DEFAULT, 256, false);
    write(&mut out);
    out.seal();
    assert_eq!(out.take_counts().0, 1, "messages of one frame");
    out.sealed()[FRAME_HEADER_BYTES..].to_vec()
}

/// One stamped piece with a short body.
fn stamped(participants: &[Participant]) -> Vec<u8> {
    written(|out| Piece::write_stamped(out, SEQUENCE, 77, participants, false, 1, b"body"))
}

/// What a piece was read as: its sequence, its stamp and its operations, if it has any.
type PieceRead = (u64, Option<StampSample>, Option<usize>);

/// Reads to the end, or to the first mistake.
fn read_pieces(count: u16, body: &[u8]) -> Result<Vec<PieceRead>, WireError> {
    let frame = Frame { kind: FrameKind::Dispatch, count, body };
    let mut reader = PieceReader::new(&frame, &Limits::DEFAULT);
    let mut pieces = Vec::new();
    while let Some(piece) = reader.next_piece()? {
        let ops = piece.ops().map(|ops| ops.remaining());
        pieces.push((piece.sequence.0, piece.stamp.map(owned), ops));
    }
    Ok(pieces)
}

#[test]
fn a_stamp_and_its_participants_lie_between_the_head_of_a_piece_and_its_body() {
    let participants = [
        Participant { shard: 1, incarnation: 0x0a0b_0c0d },
        Participant { shard: 0x0203, incarnation: 7 },
    ];
    let mut body = Vec::new();
    Op::Get { key: 42_u64.into() }.write(&mut body);
    let bytes = written(|out| {
        Piece::write_stamped(out, SEQUENCE, -2, &participants, false, 1, &body);
    });
    let expected: [&[u8]; 8] = [
        &[9, 0, 0, 0],
        &[1, 0, 0, 2],
        &[5, 0, 1, 0, 0, 0, 0, 0],
        &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[1, 0, 0x0d, 0x0c, 0x0b, 0x0a],
        &[0x03, 0x02, 7, 0, 0, 0],
        &[0x41],
        &[42, 0, 0, 0, 0, 0, 0, 0],
    ];
    assert_eq!(bytes, expected.concat());
    let read = (SEQUENCE.0, Some((-2, participants.to_vec())), Some(9));
    assert_eq!(read_pieces(1, &bytes), Ok(vec![read]));
}

#[test]
fn pieces_with_and_without_a_stamp_share_a_frame() {
    let (two, many) = (participants(2), participants(PARTICIPANTS_MAX));
    let bytes = written(|out| {
        Piece::write(out, TxnSequence(1), false, 1, b"a");
        Piece::write_stamped(out, TxnSequence(2), i64::MAX, &two, false, 2, b"bc");
        Piece::write(out, TxnSequence(3), true, 0, &[9, 0, 1]);
        Piece::write_stamped(out, TxnSequence(4), i64::MIN, &many, true, 0, &[9, 0]);
        Piece::write(out, TxnSequence(5), false, 1, b"def");
    });
    let expected = vec![
        (1, None, Some(1)),
        (2, Some((i64::MAX, two)), Some(2)),
        (3, None, None),
        (4, Some((i64::MIN, many)), None),
        (5, None, Some(3)),
    ];
    assert_eq!(read_pieces(5, &bytes), Ok(expected));
}

#[test]
fn a_shard_finds_itself_among_the_participants() {
    let list = participants(5);
    let bytes = stamped(&list);
    let frame = Frame { kind: FrameKind::Dispatch, count: 1, body: &bytes };
    let piece = PieceReader::new(&frame, &LIMITS).next_piece().expect("a valid piece");
    let found = piece.and_then(|piece| piece.stamp).expect("a stamp").participants;
    assert_eq!((found.len(), found.iter().len(), found.is_empty()), (5, 5, false));
    for shard in 0..40 {
        let index = list.iter().position(|participant| participant.shard == shard);
        assert_eq!(found.position(shard), index, "shard {shard}");
        if let Some(index) = index {
            assert_eq!(found.get(index), list[index]);
        }
    }
}

#[test]
fn a_stamped_piece_that_is_cut_anywhere_is_cut_short() {
    for count in [2, 3, PARTICIPANTS_MAX] {
        let whole = stamped(&participants(count));
        let body_at = LIST_AT + 6 * count;
        assert_eq!(whole.len(), body_at + 4);
        for cut in 0..whole.len() {
            let what = match cut {
                _ if cut < PIECE_HEAD_BYTES => "piece head",
                _ if cut < LIST_AT => "stamp",
                _ if cut < body_at => "list of participants",
                _ => "piece",
            };
            let error = WireError::Truncated { what };
            assert_eq!(read_pieces(1, &whole[..cut]), Err(error), "{count}, cut at {cut}");
        }
        let long = [&whole[..], b"x"].concat();
        let trailing = WireError::Trailing { what: "the last piece", bytes: 1 };
        assert_eq!(read_pieces(1, &long), Err(trailing));
    }
}

#[test]
fn a_stamp_is_for_two_to_sixty_four_participants() {
    for count in [2, 64] {
        let read = read_pieces(1, &stamped(&participants(count))).expect("a valid piece");
        assert_eq!(read, [(SEQUENCE.0, Some((77, participants(count))), Some(4))]);
    }
    for count in [1, 65, 128, u8::MAX] {
        let mut bytes = stamped(&participants(PARTICIPANTS_MAX));
        bytes[COUNT_AT] = count;
        let error = WireError::ParticipantCount { count, max: 64 };
        assert_eq!(read_pieces(1, &bytes), Err(error));
        // It is known from the head alone.
        assert_eq!(read_pieces(1, &bytes[..PIECE_HEAD_BYTES]), Err(error));
    }
    let error = WireError::ParticipantCount { count: 65, max: 64 };
    assert_eq!(error.to_string(), "a stamp for 65 participants is outside 2..=64");
}

#[test]
fn participants_that_do_not_ascend_are_refused() {
    // Which participant becomes which shard; they are 10, 13, 16 and 19.
    let cases = [(1, 10, (10, 10)), (1, 9, (9, 10)), (3, 16, (16, 16)), (2, 0, (0, 13))];
    for (index, changed, (shard, before)) in cases {
        let mut bytes = stamped(&participants(4));
        let at = LIST_AT + 6 * index;
        bytes[at..at + 2].copy_from_slice(&u16::to_le_bytes(changed));
        let error = WireError::ParticipantOrder { shard, before };
        assert_eq!(read_pieces(1, &bytes), Err(error), "{index} became {changed}");
    }
    // The first one can also be too large for the second.
    let mut bytes = stamped(&participants(2));
    bytes[LIST_AT] = 200;
    let error = WireError::ParticipantOrder { shard: 13, before: 200 };
    assert_eq!(read_pieces(1, &bytes), Err(error));
    let message = "shard 13 follows shard 200 among participants, which must ascend";
    assert_eq!(error.to_string(), message);
}

#[test]
fn the_longest_body_fits_a_frame_with_the_longest_head() {
    for limits in [LIMITS, Limits::DEFAULT] {
        let body = vec![0; limits.body_bytes_max()];
        let mut out = BatchWriter::new(limits, 1, false);
        let participants = participants(PARTICIPANTS_MAX);
        Piece::write_stamped(&mut out, SEQUENCE, 0, &participants, false, 1, &body);
        out.seal();
        assert_eq!(out.sealed().len(), limits.frame_bytes_max as usize);
        out.clear_sealed();
        let timing = ReplyTiming::default();
        Reply::write_timed(&mut out, SEQUENCE, ReplyStatus::Committed, 0, timing, 1, &body);
        out.seal();
        assert!(out.sealed().len() <= limits.frame_bytes_max as usize);
    }
}

/// Where the results of a timed reply are.
const RESULTS_AT: usize = REPLY_HEAD_BYTES + REPLY_TIMING_BYTES;

const TIMING: ReplyTiming =
    ReplyTiming { received_at: -3, agreed_after: 0x0102_0304, released_after: u32::MAX };

/// Status, timing and number of results.
type ReplyRead = (ReplyStatus, Option<ReplyTiming>, usize);

/// Reads to the end, or to the first mistake.
fn read_replies(count: u16, body: &[u8]) -> Result<Vec<ReplyRead>, WireError> {
    let frame = Frame { kind: FrameKind::Reply, count, body };
    let mut reader = ReplyReader::new(&frame);
    let mut replies = Vec::new();
    while let Some(reply) = reader.next_reply()? {
        replies.push((reply.status, reply.timing, reply.results.count()));
    }
    Ok(replies)
}

/// One timed reply with one result without a value.
fn timed(status: ReplyStatus) -> Vec<u8> {
    let mut body = Vec::new();
    OpResult::bare(ResultStatus::NotFound).write(&mut body);
    written(|out| Reply::write_timed(out, SEQUENCE, status, 9, TIMING, 1, &body))
}

#[test]
fn a_timing_lies_between_the_head_of_a_reply_and_its_results() {
    let bytes = timed(ReplyStatus::Refused(RefusedReason::PeerLost));
    let expected: [&[u8]; 8] = [
        &[1, 0, 0, 0],
        &[1, 0, 0x83, 6],
        &[5, 0, 1, 0, 0, 0, 0, 0],
        &[9, 0, 0, 0, 0, 0, 0, 0],
        &[0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x04, 0x03, 0x02, 0x01],
        &[0xff, 0xff, 0xff, 0xff],
        &[1],
    ];
    assert_eq!(bytes, expected.concat());
}

#[test]
fn replies_with_and_without_a_timing_share_a_frame() {
    let lost = ReplyStatus::Refused(RefusedReason::PeerLost);
    let bytes = written(|out| {
        Reply::write(out, SEQUENCE, ReplyStatus::Busy, 0, 0, &[]);
        Reply::write_timed(out, SEQUENCE, ReplyStatus::Committed, 1, TIMING, 2, &[0, 1]);
        Reply::write(out, SEQUENCE, ReplyStatus::Aborted, 2, 1, &[0]);
        Reply::write_timed(out, SEQUENCE, lost, 0, TIMING, 0, &[]);
    });
    let expected = vec![
        (ReplyStatus::Busy, None, 0),
        (ReplyStatus::Committed, Some(TIMING), 2),
        (ReplyStatus::Aborted, None, 1),
        (lost, Some(TIMING), 0),
    ];
    assert_eq!(read_replies(4, &bytes), Ok(expected));
}

#[test]
fn a_timed_reply_that_is_cut_anywhere_is_cut_short() {
    let whole = timed(ReplyStatus::Committed);
    for cut in 0..whole.len() {
        let what = match cut {
            _ if cut < REPLY_HEAD_BYTES => "reply head",
            _ if cut < RESULTS_AT => "reply timing",
            _ => "reply",
        };
        assert_eq!(read_replies(1, &whole[..cut]), Err(WireError::Truncated { what }), "{cut}");
    }
    let trailing = WireError::Trailing { what: "the last reply", bytes: whole.len() };
    assert_eq!(read_replies(1, &whole.repeat(2)), Err(trailing));
}

#[test]
fn a_timing_does_not_make_an_unknown_status_known() {
    let cases = [(0x84, 0), (0xc0, 0), (0x80, 1), (0x83, 0), (0x83, 8), (0x83, 0xff)];
    for (status, reason) in cases {
        let mut bytes = timed(ReplyStatus::Committed);
        bytes[6..8].copy_from_slice(&[status, reason]);
        let value = u64::from(status) << 8 | u64::from(reason);
        let error = WireError::UnknownValue { what: "reply status", value };
        assert_eq!(read_replies(1, &bytes), Err(error));
    }
}
