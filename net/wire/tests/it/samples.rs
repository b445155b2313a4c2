//! Messages that own their bytes: how they are drawn at random, written and compared with what is
//! read.

use proptest::collection::vec;
use proptest::prelude::*;
use punctual_wire::{
    BatchWriter, Frame, FrameKind, FrameReader, Key, Limits, Op, OpReader, OpResult, Piece,
    PieceBody, PieceReader, RefusedReason, Reply, ReplyReader, ReplyStatus, ResultStatus,
    TxnSequence, WireError, write_call_head,
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
const REPLY_STATUSES: [ReplyStatus; 6] = [
    ReplyStatus::Committed,
    ReplyStatus::Aborted,
    ReplyStatus::Busy,
    ReplyStatus::Refused(RefusedReason::StoreFull),
    ReplyStatus::Refused(RefusedReason::WrongShard),
    ReplyStatus::Refused(RefusedReason::UnknownProcedure),
];

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
    Ops { sequence: u64, ops: Vec<OpSample> },
    Call { sequence: u64, procedure: u16, args: Vec<u8> },
    Reply { sequence: u64, status: ReplyStatus, commit: i64, results: Vec<ResultSample> },
}

pub(crate) type ResultSample = (ResultStatus, Option<Vec<u8>>);

impl Message {
    pub(crate) fn write(&self, out: &mut BatchWriter) {
        let mut body = Vec::new();
        match self {
            Self::Ops { sequence, ops } => {
                ops.iter().for_each(|op| op.op().write(&mut body));
                Piece::write(out, TxnSequence(*sequence), false, count_of(ops), &body);
            }
            Self::Call { sequence, procedure, args } => {
                write_call_head(&mut body, *procedure);
                body.extend_from_slice(args);
                Piece::write(out, TxnSequence(*sequence), true, 0, &body);
            }
            Self::Reply { sequence, status, commit, results } => {
                results.iter().for_each(|sample| borrowed(sample).write(&mut body));
                let count = count_of(results);
                Reply::write(out, TxnSequence(*sequence), *status, *commit, count, &body);
            }
        }
    }

    fn assert_is_piece(&self, piece: &Piece<'_>) {
        match (self, piece.body) {
            (Self::Ops { sequence, ops }, PieceBody::Ops { count, bytes }) => {
                assert_eq!((piece.sequence, count), (TxnSequence(*sequence), count_of(ops)));
                let mut reader = OpReader::new(bytes);
                for op in ops {
                    assert_eq!(reader.next_op(), Ok(op.op()));
                }
                assert_eq!(reader.remaining(), 0);
            }
            (Self::Call { sequence, procedure, args }, body) => {
                assert_eq!(piece.sequence, TxnSequence(*sequence));
                assert_eq!(body, PieceBody::Call { procedure: *procedure, args });
            }
            _ => panic!("{self:?} was written, {piece:?} was read"),
        }
    }

    fn assert_is_reply(&self, reply: &Reply<'_>) {
        let Self::Reply { sequence, status, commit, results } = self else {
            panic!("{self:?} was written, {reply:?} was read");
        };
        assert_eq!((reply.sequence, reply.status), (TxnSequence(*sequence), *status));
        assert_eq!((reply.commit, reply.op_count), (*commit, count_of(results)));
        let mut reader = reply.results.clone();
        for sample in results {
            assert_eq!(reader.next_result(), Ok(Some(borrowed(sample))));
        }
        assert_eq!(reader.next_result(), Ok(None));
    }
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

fn message() -> impl Strategy<Value = Message> {
    let value = || bytes(LIMITS.value_bytes_max as usize);
    let result =
        (proptest::sample::select(RESULT_STATUSES.to_vec()), proptest::option::of(value()));
    let ops_max = usize::from(LIMITS.ops_max);
    prop_oneof![
        3 => (any::<u64>(), vec(op(), 1..=ops_max))
            .prop_map(|(sequence, ops)| Message::Ops { sequence, ops }),
        1 => (any::<u64>(), any::<u16>(), value())
            .prop_map(|(sequence, procedure, args)| Message::Call { sequence, procedure, args }),
        2 => (
            any::<u64>(),
            proptest::sample::select(REPLY_STATUSES.to_vec()),
            any::<i64>(),
            vec(result, 0..=ops_max),
        )
            .prop_map(|(sequence, status, commit, results)| {
                Message::Reply { sequence, status, commit, results }
            }),
    ]
}

/// Any messages in any batches; the batch limit that is wished may be out of bounds.
pub(crate) fn talk() -> impl Strategy<Value = Talk> {
    let messages = vec((message(), proptest::bool::weighted(0.2)), 1..24);
    (messages, 0..=LIMITS.batch_max + 1, any::<bool>())
        .prop_map(|(messages, batch_max, checksum)| Talk { messages, batch_max, checksum })
}
