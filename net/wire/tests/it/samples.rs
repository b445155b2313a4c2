//! Messages that own their bytes: how they are drawn at random, written and compared with what is
//! read.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use punctual_wire::{
    BatchWriter, Frame, FrameKind, FrameReader, Key, Limits, Op, OpReader, OpResult,
    PARTICIPANTS_MAX, Participant, PeerMessage, PeerReader, Piece, PieceBody, PieceReader, Probe,
    ProbeReader, RefusedReason, Reply, ReplyReader, ReplyStatus, ReplyTiming, ResultStatus, Stamp,
    TxnId, TxnSequence, WireError, write_call_head,
};
use std::slice::Iter;

/// Room for a few large messages, so that frames end by this limit as well as by the others.
pub(crate) const LIMITS: Limits = Limits {
    frame_bytes_max: 16_384,
    batch_max: 8,
    key_bytes_max: 300,
    value_bytes_max: 1_000,
    ops_max: 6,
};

/// Every status that a reply can have.
fn reply_statuses() -> Vec<ReplyStatus> {
    let mut statuses = vec![ReplyStatus::Committed, ReplyStatus::Aborted, ReplyStatus::Busy];
    statuses.extend(RefusedReason::ALL.map(ReplyStatus::Refused));
    statuses
}

const RESULT_STATUSES: [ResultStatus; 5] = [
    ResultStatus::Ok,
    ResultStatus::NotFound,
    ResultStatus::WrongType,
    ResultStatus::TooLarge,
    ResultStatus::Mismatch,
];

/// The operands of an operation of any kind; what the kind does not need is not used.
#[derive(Debug, Clone)]
pub(crate) struct OpSample {
    kind: u8,
    key: Vec<u8>,
    value: Vec<u8>,
    expected: Option<Vec<u8>>,
    delta: i64,
}

impl OpSample {
    pub(crate) fn op(&self) -> Op<'_> {
        let key = Key::new(&self.key);
        let value = self.value.as_slice();
        match self.kind {
            0 => Op::Get { key },
            1 => Op::Put { key, value },
            2 => Op::Delete { key },
            3 => Op::Add { key, delta: self.delta },
            4 => Op::Append { key, value },
            _ => Op::CompareAndSet { key, expected: self.expected.as_deref(), value },
        }
    }
}

/// A message of a batch.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    Ops { sequence: u64, stamp: Option<StampSample>, ops: Vec<OpSample> },
    Call { sequence: u64, stamp: Option<StampSample>, procedure: u16, args: Vec<u8> },
    Reply(ReplySample),
    Peer(PeerMessage),
    Probe(Probe),
}

/// Timestamp and participants.
pub(crate) type StampSample = (i64, Vec<Participant>);

#[derive(Debug, Clone)]
pub(crate) struct ReplySample {
    sequence: u64,
    status: ReplyStatus,
    commit: i64,
    timing: Option<ReplyTiming>,
    results: Vec<ResultSample>,
}

pub(crate) type ResultSample = (ResultStatus, Option<Vec<u8>>);

impl Message {
    pub(crate) fn write(&self, out: &mut BatchWriter) {
        let mut body = Vec::new();
        match self {
            Self::Ops { sequence, stamp, ops } => {
                ops.iter().for_each(|op| op.op().write(&mut body));
                write_piece(out, *sequence, stamp.as_ref(), false, count_of(ops), &body);
            }
            Self::Call { sequence, stamp, procedure, args } => {
                write_call_head(&mut body, *procedure);
                body.extend_from_slice(args);
                write_piece(out, *sequence, stamp.as_ref(), true, 0, &body);
            }
            Self::Reply(reply) => reply.write(out),
            Self::Peer(message) => message.write(out),
            Self::Probe(probe) => probe.write(out),
        }
    }

    fn assert_is_piece(&self, piece: &Piece<'_>) {
        match (self, piece.body) {
            (Self::Ops { sequence, stamp, ops }, PieceBody::Ops { count, bytes }) => {
                assert_eq!((piece.sequence, count), (TxnSequence(*sequence), count_of(ops)));
                assert_eq!(piece.stamp.map(owned), *stamp);
                let mut reader = OpReader::new(bytes);
                for op in ops {
                    assert_eq!(reader.next_op(), Ok(op.op()));
                }
                assert_eq!(reader.remaining(), 0);
            }
            (Self::Call { sequence, stamp, procedure, args }, body) => {
                assert_eq!(piece.sequence, TxnSequence(*sequence));
                assert_eq!(piece.stamp.map(owned), *stamp);
                assert_eq!(body, PieceBody::Call { procedure: *procedure, args });
            }
            _ => panic!("{self:?} was written, {piece:?} was read"),
        }
    }

    fn assert_is_reply(&self, reply: &Reply<'_>) {
        let Self::Reply(sample) = self else {
            panic!("{self:?} was written, {reply:?} was read");
        };
        assert_eq!(reply.sequence, TxnSequence(sample.sequence));
        assert_eq!((reply.status, reply.commit), (sample.status, sample.commit));
        assert_eq!((reply.timing, reply.op_count), (sample.timing, count_of(&sample.results)));
        let mut reader = reply.results.clone();
        for sample in &sample.results {
            assert_eq!(reader.next_result(), Ok(Some(borrowed(sample))));
        }
        assert_eq!(reader.next_result(), Ok(None));
    }
}

fn write_piece(
    out: &mut BatchWriter,
    sequence: u64,
    stamp: Option<&StampSample>,
    is_call: bool,
    count: u16,
    body: &[u8],
) {
    let sequence = TxnSequence(sequence);
    match stamp {
        None => Piece::write(out, sequence, is_call, count, body),
        Some((at, participants)) => {
            Piece::write_stamped(out, sequence, *at, participants, is_call, count, body);
        }
    }
}

impl ReplySample {
    fn write(&self, out: &mut BatchWriter) {
        let mut body = Vec::new();
        self.results.iter().for_each(|sample| borrowed(sample).write(&mut body));
        let (sequence, count) = (TxnSequence(self.sequence), count_of(&self.results));
        match self.timing {
            None => Reply::write(out, sequence, self.status, self.commit, count, &body),
            Some(timing) => {
                Reply::write_timed(out, sequence, self.status, self.commit, timing, count, &body);
            }
        }
    }
}

/// A stamp that was read, in the form of the sample that was written.
pub(crate) fn owned(stamp: Stamp<'_>) -> StampSample {
    (stamp.at, stamp.participants.iter().collect())
}

fn borrowed(sample: &ResultSample) -> OpResult<'_> {
    OpResult { status: sample.0, value: sample.1.as_deref() }
}

fn count_of<T>(items: &[T]) -> u16 {
    u16::try_from(items.len()).expect("samples are few")
}

/// Reads the messages of a frame and compares them with those that were written.
pub(crate) fn assert_reads_back(frame: &Frame<'_>, written: &mut Iter<'_, Message>) {
    match frame.kind {
        FrameKind::Dispatch => {
            let mut reader = PieceReader::new(frame, &LIMITS);
            while let Some(piece) = reader.next_piece().expect("pieces as they were written") {
                written.next().expect("no more than was written").assert_is_piece(&piece);
            }
        }
        FrameKind::Reply => {
            let mut reader = ReplyReader::new(frame);
            while let Some(reply) = reader.next_reply().expect("replies as they were written") {
                written.next().expect("no more than was written").assert_is_reply(&reply);
            }
        }
        FrameKind::Peer => {
            let mut reader = PeerReader::new(frame);
            while let Some(message) = reader.next_message().expect("messages as written") {
                let expected = written.next().expect("no more than was written");
                assert!(matches!(expected, Message::Peer(it) if *it == message), "{message:?}");
            }
        }
        FrameKind::Probe => {
            let mut reader = ProbeReader::new(frame);
            while let Some(probe) = reader.next_probe().expect("probes as they were written") {
                let expected = written.next().expect("no more than was written");
                assert!(matches!(expected, Message::Probe(it) if *it == probe), "{probe:?}");
            }
        }
        other => panic!("{other:?} was never written"),
    }
}

/// Messages and how they are put into frames.
#[derive(Debug, Clone)]
pub(crate) struct Talk {
    /// Each with whether the frame is sealed after it.
    pub(crate) messages: Vec<(Message, bool)>,
    pub(crate) batch_max: u16,
    pub(crate) checksum: bool,
}

impl Talk {
    /// Everything written and sealed.
    pub(crate) fn written(&self) -> BatchWriter {
        let mut out = BatchWriter::new(LIMITS, self.batch_max, self.checksum);
        for (message, seal) in &self.messages {
            message.write(&mut out);
            if *seal {
                out.seal();
            }
        }
        out.seal();
        out
    }
}

/// What a whole frame holds, in a form that can be compared.
pub(crate) type Whole<'a> = (FrameKind, u16, &'a [u8]);

/// The whole frames at the start of `bytes`, and how many bytes they take.
pub(crate) fn whole_frames(
    bytes: &[u8],
    checksum: bool,
) -> Result<(Vec<Whole<'_>>, usize), WireError> {
    let mut reader = FrameReader::new(bytes, LIMITS, checksum);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        frames.push((frame.kind, frame.count, frame.body));
    }
    Ok((frames, reader.taken()))
}

/// Bytes of every class of length: empty, around the eight of a word, and long.
fn bytes(long_max: usize) -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![Just(0_usize), Just(7), Just(8), Just(9), 10..=long_max];
    (len, any::<u64>())
        .prop_map(|(len, seed)| seed.to_le_bytes().into_iter().cycle().take(len).collect())
}

fn op() -> impl Strategy<Value = OpSample> {
    let key = bytes(usize::from(LIMITS.key_bytes_max));
    let value = || bytes(LIMITS.value_bytes_max as usize);
    (0..6_u8, key, value(), proptest::option::of(value()), any::<i64>()).prop_map(
        |(kind, key, value, expected, delta)| OpSample { kind, key, value, expected, delta },
    )
}

fn stamp() -> impl Strategy<Value = Option<StampSample>> {
    let participants = prop_oneof![
        3 => btree_map(any::<u16>(), any::<u32>(), 2..=4),
        1 => btree_map(any::<u16>(), any::<u32>(), 2..=PARTICIPANTS_MAX),
    ];
    let list = participants.prop_map(|map| {
        let list = map.into_iter().map(|(shard, incarnation)| Participant { shard, incarnation });
        list.collect::<Vec<_>>()
    });
    proptest::option::of((any::<i64>(), list))
}

fn reply() -> impl Strategy<Value = ReplySample> {
    let value = proptest::option::of(bytes(LIMITS.value_bytes_max as usize));
    let result = (proptest::sample::select(RESULT_STATUSES.to_vec()), value);
    let timing =
        any::<(i64, u32, u32)>().prop_map(|(received_at, agreed_after, released_after)| {
            ReplyTiming { received_at, agreed_after, released_after }
        });
    let sample = (
        any::<(u64, i64)>(),
        proptest::sample::select(reply_statuses()),
        proptest::option::of(timing),
        vec(result, 0..=usize::from(LIMITS.ops_max)),
    );
    sample.prop_map(|((sequence, commit), status, timing, results)| ReplySample {
        sequence,
        status,
        commit,
        timing,
        results,
    })
}

fn peer_message() -> impl Strategy<Value = PeerMessage> {
    let reason = proptest::sample::select(RefusedReason::ALL.to_vec());
    let fields = any::<(u64, u64, u16, u32, i64, bool)>();
    (0..8_u8, fields, reason).prop_map(|(kind, fields, reason)| {
        let (session, sequence, shard, to, time, answer) = fields;
        let txn = TxnId { session, sequence: TxnSequence(sequence) };
        match kind {
            0 => PeerMessage::Propose { txn, local: time, to, answer },
            1 => PeerMessage::Refuse { txn, reason },
            2 => PeerMessage::Lost { txn, shard, to, dead: time.cast_unsigned() },
            3 => PeerMessage::Relay { txn, shard, local: time },
            4 => PeerMessage::Gone { txn },
            5 => PeerMessage::Watermark { at: time },
            6 => PeerMessage::Settle { txn, to },
            _ => PeerMessage::Decided { txn },
        }
    })
}

fn probe() -> impl Strategy<Value = Probe> {
    let fields = any::<(u32, bool, bool, i64, i64, i64, i64)>();
    fields.prop_map(|(id, is_reply, late, t1, t2, t3, t4)| Probe {
        id,
        is_reply,
        late,
        t1,
        t2,
        t3,
        t4,
    })
}

fn message() -> impl Strategy<Value = Message> {
    let value = bytes(LIMITS.value_bytes_max as usize);
    let ops_max = usize::from(LIMITS.ops_max);
    prop_oneof![
        3 => (any::<u64>(), stamp(), vec(op(), 1..=ops_max))
            .prop_map(|(sequence, stamp, ops)| Message::Ops { sequence, stamp, ops }),
        1 => (any::<(u64, u16)>(), stamp(), value)
            .prop_map(|((sequence, procedure), stamp, args)| {
                Message::Call { sequence, stamp, procedure, args }
            }),
        2 => reply().prop_map(Message::Reply),
        1 => peer_message().prop_map(Message::Peer),
        1 => probe().prop_map(Message::Probe),
    ]
}

/// Any messages in any batches; the batch limit that is wished may be out of bounds.
pub(crate) fn talk() -> impl Strategy<Value = Talk> {
    let messages = vec((message(), proptest::bool::weighted(0.2)), 1..24);
    (messages, 0..=LIMITS.batch_max + 1, any::<bool>())
        .prop_map(|(messages, batch_max, checksum)| Talk { messages, batch_max, checksum })
}
