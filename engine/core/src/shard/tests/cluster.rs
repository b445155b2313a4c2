//! Several shards, joined by nothing but the test, which carries what they tell each other.

use super::*;
use punctual_wire::{PeerMessage, PeerReader, TxnId};
use std::collections::BTreeMap;

/// Shards of a cluster. Most transactions involve the first two or all three.
pub(super) const SHARDS: u16 = 3;
/// A millisecond, in nanoseconds. Shards look after time-outs every two of them.
pub(super) const MS: i64 = 1_000_000;
/// What a dispatch may be late, and a stamp early, by default.
pub(super) const SECOND: i64 = 1_000 * MS;

/// Names a run of a shard; transactions are bound to the first one unless a test says otherwise.
pub(super) fn run_of(shard: u16, run: u32) -> SessionId {
    SessionId(0xfeed << 32 | u64::from(run << 16) | u64::from(shard))
}

fn participant(shard: u16, run: u32) -> Participant {
    Participant { shard, incarnation: run_of(shard, run).incarnation() }
}

/// A counter of a shard.
pub(super) fn word(shard: u16, counter: usize) -> u64 {
    let mut words = (0..).filter(|word| shard_of(Key::Word(*word), SHARDS) == shard);
    words.nth(counter).expect("every shard has keys")
}

pub(super) fn add_to(shard: u16, counter: usize) -> Op<'static> {
    add(word(shard, counter), 1)
}

pub(super) fn get_of(shard: u16, counter: usize) -> Op<'static> {
    get(word(shard, counter))
}

/// A transaction on several shards.
#[derive(Debug, Clone)]
pub(super) struct Txn {
    pub(super) id: TxnId,
    pub(super) pieces: BTreeMap<u16, Request>,
}

impl Txn {
    fn new(sequence: TxnSequence, stamp: i64, pieces: BTreeMap<u16, Request>) -> Self {
        let parties: Vec<_> = pieces.keys().map(|shard| participant(*shard, 1)).collect();
        let stamped = |(shard, request): (u16, Request)| {
            (shard, Request { stamp: Some((stamp, parties.clone())), ..request })
        };
        let id = TxnId { session: SESSION.0, sequence };
        Self { id, pieces: pieces.into_iter().map(stamped).collect() }
    }

    /// The same, bound to another run of a shard.
    pub(super) fn bound_to(mut self, shard: u16, run: u32) -> Self {
        for request in self.pieces.values_mut() {
            let (_, parties) = request.stamp.as_mut().expect("it is stamped");
            for party in parties.iter_mut().filter(|party| party.shard == shard) {
                *party = participant(shard, run);
            }
        }
        self
    }
}

/// A transaction of operations on these shards.
pub(super) fn txn(sequence: TxnSequence, stamp: i64, parts: &[(u16, &[Op<'static>])]) -> Txn {
    let pieces = parts.iter().map(|(shard, ops)| (*shard, piece(sequence, ops)));
    Txn::new(sequence, stamp, pieces.collect())
}

/// Adds one to a counter on each of these shards.
pub(super) fn adds_to(counter: usize, sequence: TxnSequence, stamp: i64, shards: &[u16]) -> Txn {
    let request = |shard: &u16| (*shard, piece(sequence, &[add_to(*shard, counter)]));
    Txn::new(sequence, stamp, shards.iter().map(request).collect())
}

/// As [`adds_to`], to the first counter.
pub(super) fn adds(sequence: TxnSequence, stamp: i64, shards: &[u16]) -> Txn {
    adds_to(0, sequence, stamp, shards)
}

/// Calls a procedure with these arguments, shard by shard.
pub(super) fn calls(
    sequence: TxnSequence,
    stamp: i64,
    procedure: u16,
    args: &[(u16, Vec<u8>)],
) -> Txn {
    let pieces = args.iter().map(|(shard, args)| (*shard, call(sequence, procedure, args)));
    Txn::new(sequence, stamp, pieces.collect())
}

/// How a transaction ended on a shard, and when.
pub(super) type End = (TxnSequence, ReplyStatus, i64);

pub(super) fn committed(sequence: TxnSequence, at: i64) -> End {
    (sequence, ReplyStatus::Committed, at)
}

pub(super) fn refused(sequence: TxnSequence, reason: RefusedReason) -> End {
    (sequence, ReplyStatus::Refused(reason), 0)
}

fn end_of(answer: &Answer) -> End {
    (answer.sequence, answer.status, answer.commit)
}

/// A message from one shard to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) from: u16,
    pub(super) to: u16,
    pub(super) message: PeerMessage,
}

impl Letter {
    /// The transaction that it is about, unless it is a watermark.
    pub(super) fn txn(&self) -> Option<TxnId> {
        match self.message {
            PeerMessage::Propose { txn, .. }
            | PeerMessage::Refuse { txn, .. }
            | PeerMessage::Lost { txn, .. }
            | PeerMessage::Relay { txn, .. }
            | PeerMessage::Gone { txn }
            | PeerMessage::Settle { txn, .. }
            | PeerMessage::Decided { txn } => Some(txn),
            PeerMessage::Watermark { .. } => None,
        }
    }

    pub(super) fn goes(&self, from: u16, to: u16) -> bool {
        (self.from, self.to) == (from, to)
    }

    pub(super) fn is_ask(&self) -> bool {
        matches!(self.message, PeerMessage::Propose { answer: true, .. })
    }
}

/// The proposal that a shard sends on admission.
pub(super) fn proposal(txn: &Txn, from: u16, to: u16, local: i64) -> Letter {
    let incarnation = run_of(to, 1).incarnation();
    let message = PeerMessage::Propose { txn: txn.id, local, to: incarnation, answer: false };
    Letter { from, to, message }
}

/// Shards whose links are up, and the time.
pub(super) struct Cluster {
    pub(super) shards: Vec<Harness>,
    pub(super) now: i64,
    /// By how much the clock of each shard is ahead.
    pub(super) ahead: [i64; SHARDS as usize],
}

impl Cluster {
    pub(super) fn new() -> Self {
        Self::with(|_| {}, Procedures::new)
    }

    pub(super) fn with(
        configure: impl Fn(&mut ShardConfig),
        procedures: impl Fn() -> Procedures,
    ) -> Self {
        let start = |id| {
            let mut config = config_of(id, 1);
            configure(&mut config);
            Harness::new(config, procedures())
        };
        let shards = (0..SHARDS).map(start).collect();
        let mut cluster = Self { shards, now: 0, ahead: [0; SHARDS as usize] };
        for (at, peer) in pairs() {
            cluster.link(at, peer, run_of(peer, 1));
        }
        // The first watermarks, so that no test finds them among its letters.
        cluster.turn();
        cluster.exchange();
        cluster
    }

    /// Tells a shard that the link to a peer is up.
    pub(super) fn link(&mut self, at: u16, peer: u16, session: SessionId) {
        let now = self.clock(at);
        self.shard(at).shard.on_peer_up(now, ShardId(peer), session);
    }

    /// Puts the second run of a shard, which remembers nothing, in the place of the first.
    pub(super) fn restart(&mut self, id: u16) {
        *self.shard(id) = Harness::new(config_of(id, 2), Procedures::new());
        for (at, peer) in pairs() {
            if peer == id {
                self.shard(at).shard.on_peer_down(ShardId(id));
                self.link(at, id, run_of(id, 2));
            } else if at == id {
                self.link(id, peer, run_of(peer, 1));
            }
        }
    }

    pub(super) fn at(&mut self, now: i64) -> &mut Self {
        self.now = now;
        self
    }

    pub(super) fn clock(&self, shard: u16) -> Nanos {
        Nanos(self.now + self.ahead[usize::from(shard)])
    }

    pub(super) fn shard(&mut self, id: u16) -> &mut Harness {
        &mut self.shards[usize::from(id)]
    }

    pub(super) fn stats(&self, id: u16) -> ShardStats {
        self.shards[usize::from(id)].shard.stats()
    }

    /// The value of a counter; `None` if nothing was ever added.
    pub(super) fn counter(&self, shard: u16, counter: usize) -> Option<i64> {
        self.shards[usize::from(shard)].number(word(shard, counter))
    }

    /// The first counters of all shards.
    pub(super) fn counters(&self) -> [Option<i64>; SHARDS as usize] {
        [0, 1, 2].map(|shard| self.counter(shard, 0))
    }

    /// How many transactions each shard has not forgotten.
    pub(super) fn kept(&self) -> Vec<usize> {
        self.shards.iter().map(|it| it.shard.pending.live().len()).collect()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.shards.iter().all(|it| it.shard.is_idle())
    }

    /// Sends a piece to a shard; returns what it answers at once.
    pub(super) fn send(&mut self, shard: u16, request: &Request) -> Vec<Answer> {
        let now = self.clock(shard);
        self.shard(shard).run(now.0, std::slice::from_ref(request))
    }

    /// Sends a piece to a shard; returns how it ended, if that was at once.
    pub(super) fn send_for_end(&mut self, shard: u16, request: &Request) -> Vec<End> {
        self.send(shard, request).iter().map(end_of).collect()
    }

    /// Dispatches a transaction to one shard, which holds it.
    pub(super) fn dispatch(&mut self, shard: u16, txn: &Txn) {
        let answers = self.send(shard, &txn.pieces[&shard]);
        assert!(answers.is_empty(), "a transaction on several shards is held: {answers:?}");
    }

    /// Dispatches a transaction to all shards that it involves.
    pub(super) fn dispatch_all(&mut self, txn: &Txn) {
        for shard in txn.pieces.keys() {
            self.dispatch(*shard, txn);
        }
    }

    /// A turn of each shard. Returns how many pieces ran in all.
    pub(super) fn turn(&mut self) -> usize {
        let mut released = 0;
        for id in 0..SHARDS {
            let now = self.clock(id);
            released += self.shard(id).shard.on_turn(now);
        }
        released
    }

    /// How held transactions ended on a shard since this was last asked.
    pub(super) fn ends(&mut self, shard: u16) -> Vec<End> {
        self.shard(shard).held().iter().map(end_of).collect()
    }

    /// Takes what the shards want to tell each other, by sender and then by receiver.
    pub(super) fn letters(&mut self) -> Vec<Letter> {
        let mut letters = Vec::new();
        for (from, to) in pairs() {
            let messages = self.shard(from).messages_to(to);
            letters.extend(messages.into_iter().map(|message| Letter { from, to, message }));
        }
        letters
    }

    /// As [`letters`](Self::letters), but watermarks are delivered at once.
    pub(super) fn talk(&mut self) -> Vec<Letter> {
        let (talk, watermarks): (Vec<_>, Vec<_>) =
            self.letters().into_iter().partition(|letter| letter.txn().is_some());
        self.deliver_all(&watermarks);
        talk
    }

    pub(super) fn deliver(&mut self, letter: Letter) {
        let now = self.clock(letter.to);
        self.shard(letter.to).hear(now.0, letter.from, letter.message);
    }

    pub(super) fn deliver_all(&mut self, letters: &[Letter]) {
        for letter in letters {
            self.deliver(*letter);
        }
    }

    /// Carries letters until nobody has more to say.
    pub(super) fn exchange(&mut self) {
        for _ in 0..100 {
            let letters = self.letters();
            if letters.is_empty() {
                return;
            }
            self.deliver_all(&letters);
        }
        panic!("the shards never fall silent");
    }

    /// Lets time pass: each millisecond every shard has a turn and all letters are carried.
    pub(super) fn pass_until(&mut self, end: i64) {
        while self.now < end {
            self.now = (self.now + MS).min(end);
            self.turn();
            self.exchange();
        }
    }
}

fn config_of(id: u16, run: u32) -> ShardConfig {
    ShardConfig { session: run_of(id, run), ..ShardConfig::new(ShardId(id), SHARDS) }
}

/// All ordered pairs of shards.
fn pairs() -> impl Iterator<Item = (u16, u16)> {
    let all = (0..SHARDS).flat_map(|one| (0..SHARDS).map(move |other| (one, other)));
    all.filter(|(one, other)| one != other)
}

impl Harness {
    /// Takes a message of a peer.
    pub(super) fn hear(&mut self, now: i64, from: u16, message: PeerMessage) {
        let mut out = BatchWriter::new(self.limits, 1, false);
        message.write(&mut out);
        out.seal();
        let mut frames = FrameReader::new(out.sealed(), self.limits, false);
        let frame = frames.next_frame().expect("a valid frame").expect("a whole one");
        let outcome = self.shard.on_peer(Nanos(now), ShardId(from), &frame);
        outcome.expect("the message is well-formed");
    }

    /// What it wants to tell a peer.
    pub(super) fn messages_to(&mut self, peer: u16) -> Vec<PeerMessage> {
        let mut out = BatchWriter::new(self.limits, u16::MAX, false);
        let count = self.shard.write_peer(ShardId(peer), &mut out);
        out.seal();
        let mut frames = FrameReader::new(out.sealed(), self.limits, false);
        let mut messages = Vec::new();
        while let Some(frame) = frames.next_frame().expect("a shard writes valid frames") {
            assert_eq!(frame.kind, FrameKind::Peer);
            let mut reader = PeerReader::new(&frame);
            while let Some(message) = reader.next_message().expect("valid messages") {
                messages.push(message);
            }
        }
        assert_eq!(messages.len(), count);
        messages
    }
}
