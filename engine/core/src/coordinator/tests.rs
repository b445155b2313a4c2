//! A coordinator against shards that the test plays by hand; in `simulation` against real ones.

mod building;
mod delays;
mod links;
mod replies;
mod several;
mod simulation;
mod submitting;
mod timers;
mod trouble;

use super::*;
use punctual_wire::{FrameReader, Key, Limits, Op, OpResult, PieceReader, ResultStatus, shard_of};

const SHARDS: u16 = 2;

/// Timers of these tests: a timeout of 100 ns, a deadline of 350 and a back-off of 10.
fn config(in_flight_max: u32) -> CoordinatorConfig {
    CoordinatorConfig {
        shards: SHARDS,
        limits: Limits::DEFAULT,
        in_flight_max,
        request_timeout: Duration::from_nanos(100),
        deadline: Duration::from_nanos(350),
        busy_backoff: Duration::from_nanos(10),
        headroom: HEADROOM,
        owd: OwdConfig::default(),
    }
}

const HEADROOM: Nanos = Nanos(1_000);

/// Links that are no more than their outgoing batches.
struct Links {
    batches: Vec<BatchWriter>,
    up: Vec<bool>,
}

impl Outbox for Links {
    fn to_shard(&mut self, shard: ShardId) -> Option<&mut BatchWriter> {
        let at = usize::from(shard.0);
        self.up[at].then_some(&mut self.batches[at])
    }
}

impl Links {
    fn new(batch_max: u16) -> Self {
        let batch = |_| BatchWriter::new(Limits::DEFAULT, batch_max, false);
        let batches = (0..SHARDS).map(batch).collect();
        Self { batches, up: vec![true; usize::from(SHARDS)] }
    }

    /// Takes the frames that go to a shard.
    fn take_frames(&mut self, shard: u16) -> Vec<Vec<u8>> {
        let batch = &mut self.batches[usize::from(shard)];
        batch.seal();
        let frames = split_frames(batch.sealed());
        batch.clear_sealed();
        frames
    }
}

fn split_frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = FrameReader::new(bytes, Limits::DEFAULT, false);
    let mut frames = Vec::new();
    let mut start = 0;
    while reader.next_frame().expect("a writer makes valid frames").is_some() {
        frames.push(bytes[start..reader.taken()].to_vec());
        start = reader.taken();
    }
    assert_eq!(start, bytes.len(), "whole frames only");
    frames
}

fn only_frame(bytes: &[u8]) -> Frame<'_> {
    let mut reader = FrameReader::new(bytes, Limits::DEFAULT, false);
    reader.next_frame().expect("a valid frame").expect("a whole frame")
}

/// A frame that a shard was sent, with the one piece in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    sequence: TxnSequence,
    frame: Vec<u8>,
}

/// A completion, copied.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Done {
    sequence: TxnSequence,
    tag: u64,
    outcome: Outcome,
    submitted_at: Nanos,
    results: Vec<(ResultStatus, Option<Vec<u8>>)>,
    timing: Option<Timing>,
}

impl Done {
    fn copy(completion: Completion<'_>) -> Self {
        let Completion { sequence, tag, outcome, submitted_at, results, timing } = completion;
        let copied = results.map(|it| (it.status, it.value.map(<[u8]>::to_vec)));
        Self { sequence, tag, outcome, submitted_at, results: copied.collect(), timing }
    }
}

/// A coordinator, its links and what it has completed.
struct Harness {
    coordinator: Coordinator,
    links: Links,
    done: Vec<Done>,
}

impl Harness {
    fn new(in_flight_max: u32) -> Self {
        Self::with(config(in_flight_max))
    }

    fn with(config: CoordinatorConfig) -> Self {
        Self { coordinator: Coordinator::new(config), links: Links::new(1), done: Vec::new() }
    }

    fn try_submit(
        &mut self,
        now: i64,
        transaction: &mut Transaction,
        tag: u64,
    ) -> Result<TxnSequence, SubmitError> {
        self.coordinator.submit(Nanos(now), transaction, tag, &mut self.links)
    }

    /// Submits an addition on a shard.
    fn submit(&mut self, now: i64, shard: u16, tag: u64) -> TxnSequence {
        let mut transaction = transaction();
        transaction.add(key_of(shard), 1);
        self.try_submit(now, &mut transaction, tag).expect("it can be taken")
    }

    /// Submits an addition on each shard, the second one first.
    fn submit_on_both(&mut self, now: i64, tag: u64) -> TxnSequence {
        let mut transaction = transaction();
        transaction.add(key_of(1), 1).add(key_of(0), 1);
        self.try_submit(now, &mut transaction, tag).expect("it can be taken")
    }

    /// What a shard was sent since the last call.
    fn sent(&mut self, shard: u16) -> Vec<Sent> {
        let sent = |frame: Vec<u8>| {
            let mut pieces = PieceReader::new(&only_frame(&frame), &Limits::DEFAULT);
            let piece = pieces.next_piece().expect("a valid piece").expect("one piece");
            Sent { sequence: piece.sequence, frame }
        };
        self.links.take_frames(shard).into_iter().map(sent).collect()
    }

    /// Delivers a frame of replies.
    fn deliver(&mut self, now: i64, from: u16, frame: &[u8]) -> Result<(), ReplyError> {
        let frame = only_frame(frame);
        let done = |completion: Completion<'_>| self.done.push(Done::copy(completion));
        self.coordinator.on_reply(Nanos(now), ShardId(from), &frame, done)
    }

    /// Delivers one good reply.
    fn answer(
        &mut self,
        now: i64,
        from: u16,
        sequence: TxnSequence,
        status: ReplyStatus,
        results: &[OpResult<'_>],
    ) {
        let frame = reply(sequence, status, now, results);
        self.deliver(now, from, &frame).expect("the reply is fine");
    }

    /// Commits an addition.
    fn commit(&mut self, now: i64, from: u16, sequence: TxnSequence) {
        self.answer(now, from, sequence, ReplyStatus::Committed, &[ONE]);
    }

    /// Commits an addition of several at a time that both shards name.
    fn commit_at(&mut self, now: i64, from: u16, sequence: TxnSequence, commit: i64) {
        let frame = reply(sequence, ReplyStatus::Committed, commit, &[ONE]);
        self.deliver(now, from, &frame).expect("the reply is fine");
    }

    fn busy(&mut self, now: i64, from: u16, sequence: TxnSequence) {
        self.answer(now, from, sequence, ReplyStatus::Busy, &[]);
    }

    fn tick(&mut self, now: i64) {
        let done = |completion: Completion<'_>| self.done.push(Done::copy(completion));
        self.coordinator.on_timer(Nanos(now), &mut self.links, done);
    }

    /// A link to a shard that knows our session.
    fn link_up(&mut self, now: i64, shard: u16, session: u64) {
        self.link_up_to(now, shard, session, 1);
    }

    fn link_up_to(&mut self, now: i64, shard: u16, session: u64, epoch: u32) {
        let done = |completion: Completion<'_>| self.done.push(Done::copy(completion));
        let (shard, session) = (ShardId(shard), SessionId(session));
        self.coordinator.on_link_up(Nanos(now), shard, session, epoch, &mut self.links, done);
    }

    /// Tags and outcomes of what ended since the last call.
    fn ended(&mut self) -> Vec<(u64, Outcome)> {
        self.done.drain(..).map(|done| (done.tag, done.outcome)).collect()
    }

    fn window(&self, shard: u16) -> u32 {
        self.coordinator.shards[usize::from(shard)].window
    }

    /// Transactions in flight to each shard.
    fn in_flight(&self) -> Vec<u32> {
        self.coordinator.shards.iter().map(|view| view.in_flight).collect()
    }
}

/// The result of adding one to nothing.
const ONE: OpResult<'static> =
    OpResult { status: ResultStatus::Ok, value: Some(&[1, 0, 0, 0, 0, 0, 0, 0]) };

/// A frame with one reply.
fn reply(
    sequence: TxnSequence,
    status: ReplyStatus,
    commit: i64,
    results: &[OpResult<'_>],
) -> Vec<u8> {
    let mut body = Vec::new();
    for result in results {
        result.write(&mut body);
    }
    let count = u16::try_from(results.len()).expect("few results");
    raw_reply(sequence, status, commit, count, &body)
}

/// As `reply`, with results that may be anything.
fn raw_reply(
    sequence: TxnSequence,
    status: ReplyStatus,
    commit: i64,
    count: u16,
    body: &[u8],
) -> Vec<u8> {
    let mut batch = BatchWriter::new(Limits::DEFAULT, 1, false);
    Reply::write(&mut batch, sequence, status, commit, count, body);
    batch.seal();
    batch.sealed().to_vec()
}

/// A frame with one reply that says what the shard measured.
fn timed_reply(
    sequence: TxnSequence,
    status: ReplyStatus,
    commit: i64,
    timing: ReplyTiming,
    results: &[OpResult<'_>],
) -> Vec<u8> {
    let mut body = Vec::new();
    for result in results {
        result.write(&mut body);
    }
    let count = u16::try_from(results.len()).expect("few results");
    let mut batch = BatchWriter::new(Limits::DEFAULT, 1, false);
    Reply::write_timed(&mut batch, sequence, status, commit, timing, count, &body);
    batch.seal();
    batch.sealed().to_vec()
}

/// Stamp and participants of a piece that was sent.
fn stamp_of(sent: &Sent) -> Option<(i64, Vec<Participant>)> {
    let mut pieces = PieceReader::new(&only_frame(&sent.frame), &Limits::DEFAULT);
    let piece = pieces.next_piece().expect("a valid piece").expect("one piece");
    piece.stamp.map(|stamp| (stamp.at, stamp.participants.iter().collect()))
}

fn transaction() -> Transaction {
    Transaction::new(SHARDS, Limits::DEFAULT)
}

/// A key that belongs to a shard.
fn key_of(shard: u16) -> u64 {
    let of_shard = |word: &u64| shard_of(Key::Word(*word), SHARDS) == shard;
    (0..).find(of_shard).expect("every shard has keys")
}
