//! Messages between shards and probes: where each byte is, and which bytes are refused.

use punctual_wire::{
    BatchWriter, FRAME_HEADER_BYTES, Frame, FrameKind, Limits, PeerMessage, PeerReader, Probe,
    ProbeReader, RefusedReason, TxnId, TxnSequence, WireError,
};

const TXN: TxnId =
    TxnId { session: 0x1122_3344_5566_7788, sequence: TxnSequence(0x0a0b_0c0d_0e0f_0102) };

/// Session and sequence of it.
const TXN_BYTES: [u8; 16] = [
    0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x02, 0x01, 0x0f, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a,
];

const ZERO: [u8; 8] = [0; 8];
const MINUS_TWO: [u8; 8] = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

/// Each message with kind, detail, shard and incarnation, and with what is where a time would be.
fn messages() -> [(PeerMessage, [u8; 8], [u8; 8]); 9] {
    let (txn, to, shard) = (TXN, 0x0102_0304, 0x0506);
    let reason = RefusedReason::DispatchTimeout;
    let propose = |answer| PeerMessage::Propose { txn, local: -2, to, answer };
    // The second, the third and the last of 64 participants.
    let dead = 1 << 1 | 1 << 2 | 1 << 63;
    [
        (propose(false), [1, 0, 0, 0, 4, 3, 2, 1], MINUS_TWO),
        (propose(true), [1, 1, 0, 0, 4, 3, 2, 1], MINUS_TWO),
        (PeerMessage::Refuse { txn, reason }, [2, 5, 0, 0, 0, 0, 0, 0], ZERO),
        (
            PeerMessage::Lost { txn, shard, to, dead },
            [3, 0, 6, 5, 4, 3, 2, 1],
            [6, 0, 0, 0, 0, 0, 0, 0x80],
        ),
        (PeerMessage::Relay { txn, shard, local: -2 }, [4, 0, 6, 5, 0, 0, 0, 0], MINUS_TWO),
        (PeerMessage::Gone { txn }, [5, 0, 0, 0, 0, 0, 0, 0], ZERO),
        (PeerMessage::Watermark { at: -2 }, [6, 0, 0, 0, 0, 0, 0, 0], MINUS_TWO),
        (PeerMessage::Settle { txn, to }, [7, 0, 0, 0, 4, 3, 2, 1], ZERO),
        (PeerMessage::Decided { txn }, [8, 0, 0, 0, 0, 0, 0, 0], ZERO),
    ]
}

/// The bytes of a message, put together by hand.
fn by_hand(message: PeerMessage, head: [u8; 8], time: [u8; 8]) -> Vec<u8> {
    let is_watermark = matches!(message, PeerMessage::Watermark { .. });
    let txn = if is_watermark { [0; 16] } else { TXN_BYTES };
    [&head[..], &txn, &time].concat()
}

/// The one frame that `write` makes: its kind, how many messages it has, and the messages.
fn written(write: impl FnOnce(&mut BatchWriter)) -> (u8, u64, Vec<u8>) {
    let mut out = BatchWriter::new(Limits::DEFAULT, 256, false);
    write(&mut out);
    out.seal();
    let (frames, count) = out.take_counts();
    assert_eq!(frames, 1, "messages of one frame");
    (out.sealed()[4], count, out.sealed()[FRAME_HEADER_BYTES..].to_vec())
}

/// Reads to the end, or to the first mistake.
fn read_peers(count: u16, body: &[u8]) -> Result<Vec<PeerMessage>, WireError> {
    let mut reader = PeerReader::new(&Frame { kind: FrameKind::Peer, count, body });
    let mut messages = Vec::new();
    while let Some(message) = reader.next_message()? {
        messages.push(message);
    }
    Ok(messages)
}

#[test]
fn messages_between_shards_of_all_kinds_share_a_frame() {
    let all = messages();
    let (kind, count, bytes) = written(|out| all.iter().for_each(|it| it.0.write(out)));
    assert_eq!((kind, count), (FrameKind::Peer as u8, 9));
    let expected = all.map(|(message, head, time)| by_hand(message, head, time)).concat();
    assert_eq!(bytes, expected);
    assert_eq!(read_peers(9, &bytes), Ok(all.map(|it| it.0).to_vec()));
}

#[test]
fn what_a_message_between_shards_does_not_use_is_ignored() {
    let (propose, lost, relay, watermark, settle) = (1, 3, 4, 6, 7);
    for (message, head, time) in messages() {
        let kind = head[0];
        let mut bytes = by_hand(message, head, time);
        if ![lost, relay].contains(&kind) {
            bytes[2..4].fill(0xff);
        }
        if ![propose, lost, settle].contains(&kind) {
            bytes[4..8].fill(0xff);
        }
        if kind == watermark {
            bytes[8..24].fill(0xff);
        }
        if ![propose, lost, relay, watermark].contains(&kind) {
            bytes[24..].fill(0xff);
        }
        assert_eq!(read_peers(1, &bytes), Ok(vec![message]));
    }
}

#[test]
fn any_set_of_the_dead_is_read_as_it_was_written() {
    // Only the receiver knows how many participants there are.
    for dead in [0, 1, 1 << 63, u64::MAX] {
        let message = PeerMessage::Lost { txn: TXN, shard: 0, to: 0, dead };
        let (_, _, bytes) = written(|out| message.write(out));
        assert_eq!(bytes[24..], dead.to_le_bytes());
        assert_eq!(read_peers(1, &bytes), Ok(vec![message]));
    }
}

#[test]
fn a_message_between_shards_that_is_cut_anywhere_is_cut_short() {
    for (message, head, time) in messages() {
        let whole = by_hand(message, head, time);
        assert_eq!(whole.len(), 32);
        for cut in 0..whole.len() {
            let error = WireError::Truncated { what: "peer message" };
            assert_eq!(read_peers(1, &whole[..cut]), Err(error), "{message:?} cut at {cut}");
            let second = [&whole[..], &whole[..cut]].concat();
            assert_eq!(read_peers(2, &second), Err(error), "{message:?} cut at {cut}");
            let trailing = WireError::Trailing { what: "the last peer message", bytes: cut + 1 };
            let long = [&whole[..], &whole[..=cut]].concat();
            assert_eq!(read_peers(1, &long), Err(trailing));
        }
    }
}

#[test]
fn a_message_between_shards_with_an_unknown_code_is_refused() {
    let read = |kind: u8, detail: u8| {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&[kind, detail]);
        read_peers(1, &bytes).map(|messages| messages.len())
    };
    let unknown = |what, value: u8| -> Result<usize, WireError> {
        Err(WireError::UnknownValue { what, value: value.into() })
    };
    for kind in [0, 9, 0x80, u8::MAX] {
        assert_eq!(read(kind, 0), unknown("kind of a peer message", kind));
        assert_eq!(read(kind, 1), unknown("kind of a peer message", kind));
    }
    for detail in [2, 3, 0x80, u8::MAX] {
        assert_eq!(read(1, detail), unknown("detail of a peer message", detail));
    }
    for kind in 3..=8 {
        assert_eq!(read(kind, 0), Ok(1));
        for detail in [1, 0x80, u8::MAX] {
            assert_eq!(read(kind, detail), unknown("detail of a peer message", detail));
        }
    }
    for reason in [0, 8, u8::MAX] {
        assert_eq!(read(2, reason), unknown("reason of a refusal", reason));
    }
    for reason in RefusedReason::ALL {
        assert_eq!(read(2, reason as u8), Ok(1));
    }
}

/// A request that was sent late, and the answer to another one.
const PROBES: [Probe; 2] = [
    Probe { id: 0x0102_0304, is_reply: false, late: true, t1: -2, t2: 0, t3: 0, t4: 5 },
    Probe { id: 7, is_reply: true, late: false, t1: 1, t2: 2, t3: -2, t4: 4 },
];

/// Reads to the end, or to the first mistake.
fn read_probes(count: u16, body: &[u8]) -> Result<Vec<Probe>, WireError> {
    let mut reader = ProbeReader::new(&Frame { kind: FrameKind::Probe, count, body });
    let mut probes = Vec::new();
    while let Some(probe) = reader.next_probe()? {
        probes.push(probe);
    }
    Ok(probes)
}

#[test]
fn probes_share_a_frame() {
    let (kind, count, bytes) = written(|out| PROBES.iter().for_each(|probe| probe.write(out)));
    assert_eq!((kind, count), (FrameKind::Probe as u8, 2));
    let word = |value: u8| [value, 0, 0, 0, 0, 0, 0, 0];
    let late = [[4, 3, 2, 1, 2, 0, 0, 0], MINUS_TWO, ZERO, ZERO, word(5)];
    let reply = [[7, 0, 0, 0, 1, 0, 0, 0], word(1), word(2), MINUS_TWO, word(4)];
    assert_eq!(bytes, [late, reply].concat().concat());
    assert_eq!(read_probes(2, &bytes), Ok(PROBES.to_vec()));
}

#[test]
fn a_probe_that_is_not_one_is_refused() {
    for probe in PROBES {
        let (_, _, whole) = written(|out| probe.write(out));
        assert_eq!(whole.len(), 40);
        for cut in 0..whole.len() {
            let error = WireError::Truncated { what: "probe" };
            assert_eq!(read_probes(1, &whole[..cut]), Err(error), "cut at {cut}");
        }
        let trailing = WireError::Trailing { what: "the last probe", bytes: 40 };
        assert_eq!(read_probes(1, &whole.repeat(2)), Err(trailing));
        for flags in [4, 7, 0x80, u8::MAX] {
            let mut bytes = whole.clone();
            bytes[4] = flags;
            let value = u64::from(flags);
            let error = WireError::UnknownValue { what: "flags of a probe", value };
            assert_eq!(read_probes(1, &bytes), Err(error));
        }
        let mut bytes = whole;
        bytes[5..8].fill(0xff);
        assert_eq!(read_probes(1, &bytes), Ok(vec![probe]), "reserved bytes are ignored");
    }
}
