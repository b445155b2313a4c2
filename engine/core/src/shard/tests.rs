//! A shard that is talked to in frames, as a link would do it; in `cluster` several of them.

mod agreement;
mod blocking;
mod calls;
mod cluster;
mod dispatch;
mod histories;
mod journal;
mod missing;
mod outcomes;
mod procedures;
mod properties;
mod refusals;
mod restarts;
mod room;
mod sessions;

use super::*;
use punctual_wire::{
    FrameKind, FrameReader, Key, Op, Participant, ReplyReader, ReplyTiming, ResultStatus,
    TxnSequence, write_call_head,
};

const SESSION: SessionId = SessionId(7);
const SLOTS: u32 = 64;

/// A shard with one session.
struct Harness {
    shard: Shard,
    session: SessionIndex,
    limits: Limits,
}

/// A reply, copied out of its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    sequence: TxnSequence,
    status: ReplyStatus,
    commit: i64,
    timing: Option<ReplyTiming>,
    results: Vec<(ResultStatus, Option<Vec<u8>>)>,
}

impl Answer {
    /// The number that its first result carries; zero if that is none.
    fn number(&self) -> i64 {
        let first = self.results.first().and_then(|(_, value)| value.as_deref());
        first.map_or(0, |value| i64::from_le_bytes(value.try_into().expect("eight bytes")))
    }
}

/// A piece that is still to be written into a frame.
#[derive(Debug, Clone)]
struct Request {
    sequence: TxnSequence,
    /// Of a transaction on several shards: its time and who takes part.
    stamp: Option<(i64, Vec<Participant>)>,
    is_call: bool,
    op_count: u16,
    body: Vec<u8>,
}

impl Request {
    fn write(&self, out: &mut BatchWriter) {
        let Self { sequence, stamp, is_call, op_count, body } = self;
        match stamp {
            None => Piece::write(out, *sequence, *is_call, *op_count, body),
            Some((at, parties)) => {
                Piece::write_stamped(out, *sequence, *at, parties, *is_call, *op_count, body);
            }
        }
    }
}

impl Harness {
    fn new(config: ShardConfig, procedures: Procedures) -> Self {
        let limits = config.limits;
        let mut shard = Shard::new(config, Arc::new(procedures));
        let session = shard.open_session(Nanos::ZERO, SESSION, SLOTS).expect("there is room");
        Self { shard, session, limits }
    }

    fn plain() -> Self {
        Self::new(config(Limits::DEFAULT), Procedures::new())
    }

    /// Sends all requests, in one frame if they fit, and returns the frames that come back.
    fn exchange(&mut self, now: i64, requests: &[Request]) -> (Result<(), WireError>, Vec<u8>) {
        let mut input = BatchWriter::new(self.limits, u16::MAX, false);
        for request in requests {
            request.write(&mut input);
        }
        input.seal();
        let mut frames = FrameReader::new(input.sealed(), self.limits, false);
        let mut out = BatchWriter::new(self.limits, u16::MAX, false);
        let mut outcome = Ok(());
        while let Some(frame) = frames.next_frame().expect("a writer makes valid frames") {
            outcome = self.shard.on_dispatch(Nanos(now), self.session, &frame, &mut out);
            if outcome.is_err() {
                break;
            }
        }
        out.seal();
        (outcome, out.sealed().to_vec())
    }

    /// As `exchange`, for requests that are well-formed.
    fn run(&mut self, now: i64, requests: &[Request]) -> Vec<Answer> {
        let (outcome, bytes) = self.exchange(now, requests);
        outcome.expect("the requests are well-formed");
        answers(&bytes, self.limits)
    }

    fn run_one(&mut self, now: i64, request: &Request) -> Answer {
        let mut answers = self.run(now, std::slice::from_ref(request));
        assert_eq!(answers.len(), 1, "one request, one answer");
        answers.remove(0)
    }

    /// The answers of held transactions that wait for the session.
    fn held(&mut self) -> Vec<Answer> {
        let mut out = BatchWriter::new(self.limits, u16::MAX, false);
        self.shard.write_replies(self.session, &mut out);
        out.seal();
        answers(out.sealed(), self.limits)
    }

    fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.shard.store().get(Key::new(key)).map(|value| value.as_bytes().to_vec())
    }

    fn number(&self, key: u64) -> Option<i64> {
        let value = self.value(&key.to_le_bytes())?;
        Some(i64::from_le_bytes(value.try_into().expect("a number has eight bytes")))
    }

    /// The number of keys and the values of these ones: what a store can show.
    fn snapshot<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k [u8]>,
    ) -> (usize, Vec<Option<Vec<u8>>>) {
        let values = keys.into_iter().map(|key| self.value(key)).collect();
        (self.shard.store().len(), values)
    }
}

/// A cluster of one shard.
fn config(limits: Limits) -> ShardConfig {
    ShardConfig { limits, ..ShardConfig::new(ShardId(0), 1) }
}

/// Reads frames of replies, checking form, sizes and counts on the way.
fn answers(bytes: &[u8], limits: Limits) -> Vec<Answer> {
    let mut frames = FrameReader::new(bytes, limits, false);
    let mut answers = Vec::new();
    while let Some(frame) = frames.next_frame().expect("a shard writes valid frames") {
        assert_eq!(frame.kind, FrameKind::Reply);
        let mut replies = ReplyReader::new(&frame);
        while let Some(reply) = replies.next_reply().expect("a shard writes valid replies") {
            let (sequence, status, commit) = (reply.sequence, reply.status, reply.commit);
            let timing = reply.timing;
            let copied = reply.results.map(|it| (it.status, it.value.map(<[u8]>::to_vec)));
            let results: Vec<_> = copied.collect();
            assert_eq!(results.len(), usize::from(reply.op_count));
            answers.push(Answer { sequence, status, commit, timing, results });
        }
    }
    assert_eq!(frames.taken(), bytes.len(), "nothing but whole frames comes out");
    answers
}

fn seq(slot: u16, generation: u64) -> TxnSequence {
    TxnSequence::new(slot, generation)
}

fn piece(sequence: TxnSequence, ops: &[Op<'_>]) -> Request {
    let mut body = Vec::new();
    for op in ops {
        op.write(&mut body);
    }
    let op_count = u16::try_from(ops.len()).expect("few operations");
    Request { sequence, stamp: None, is_call: false, op_count, body }
}

fn call(sequence: TxnSequence, procedure: u16, args: &[u8]) -> Request {
    let mut body = Vec::new();
    write_call_head(&mut body, procedure);
    body.extend_from_slice(args);
    Request { sequence, stamp: None, is_call: true, op_count: 0, body }
}

fn add(key: u64, delta: i64) -> Op<'static> {
    Op::Add { key: Key::Word(key), delta }
}

fn get(key: u64) -> Op<'static> {
    Op::Get { key: Key::Word(key) }
}
