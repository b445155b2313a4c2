//! Random histories of a cluster in which two shards keep journals and the third loses its memory
//! now and then: whoever does again what a journal says, at any point of it, knows what the shard
//! knew there.

use super::digest::{Digest, Ledger, assert_alike, digest};
use super::*;
use crate::store::tests::{Step, step};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;

/// The shards with journals.
const JOURNALED: [u16; 2] = [0, 1];
/// The shard without.
const FORGETFUL: u16 = 2;
/// Sessions of coordinators; each shard has room for two of them.
const WORKERS: u64 = 3;
/// Few, so that each slot is used again, also while its last transaction waits.
const SLOTS_USED: u16 = 3;

/// What a transaction does.
#[derive(Debug, Clone)]
enum Work {
    /// Operations, each on the shard of its key.
    Ops(Vec<Step>),
    /// A call on each of these shards.
    Calls(Vec<u16>, u8),
}

impl Work {
    fn pieces(&self, sequence: TxnSequence) -> BTreeMap<u16, Request> {
        match self {
            Self::Ops(steps) => {
                let mut parts: BTreeMap<u16, Vec<Op<'_>>> = BTreeMap::new();
                for op in steps.iter().map(Step::op) {
                    parts.entry(shard_of(op.key(), SHARDS)).or_default().push(op);
                }
                parts.iter().map(|(shard, ops)| (*shard, piece(sequence, ops))).collect()
            }
            Self::Calls(shards, how) => {
                let call =
                    |shard: &u16| (*shard, call(sequence, BUMP, &bump_args(word(*shard, 0), *how)));
                shards.iter().map(call).collect()
            }
        }
    }
}

fn work() -> impl Strategy<Value = Work> {
    let shards = prop::sample::subsequence(vec![0_u16, 1, 2], 1..=3);
    prop_oneof![
        3 => prop::collection::vec(step(0..6), 1..5).prop_map(Work::Ops),
        1 => (shards, 0..3_u8).prop_map(|(shards, how)| Work::Calls(shards, how)),
    ]
}

#[derive(Debug, Clone)]
enum Act {
    /// A worker gives up what a slot had, and begins something new there, stamped so far ahead.
    Begin(u64, u16, i64, Work),
    /// Sends a piece that was not sent yet, or again.
    Dispatch(Index),
    Retry(Index),
    /// Delivers a letter, or a copy of it, or loses it.
    Deliver(Index),
    Copy(Index),
    Lose(Index),
    /// Lets time pass, then every shard has a turn.
    Turn(i64),
    /// Makes durable what a shard has logged.
    Sync(u16),
    /// A worker connects to a shard with so many slots, is cut off, or stops.
    Open(u16, u64, u32),
    Close(u16, u64),
    End(u16, u64),
    /// The third shard comes back without its memory.
    Forget,
}

fn act() -> impl Strategy<Value = Act> {
    let index = any::<Index>;
    let link = || (0..SHARDS, 0..WORKERS);
    let begin = (0..WORKERS, 0..SLOTS_USED, -200..900_i64, work());
    prop_oneof![
        8 => begin.prop_map(|(worker, slot, ahead, work)| Act::Begin(worker, slot, ahead, work)),
        14 => index().prop_map(Act::Dispatch),
        3 => index().prop_map(Act::Retry),
        10 => index().prop_map(Act::Deliver),
        2 => index().prop_map(Act::Copy),
        2 => index().prop_map(Act::Lose),
        6 => prop_oneof![6 => 0..600_i64, 3 => 0..20 * MS, 1 => 0..SECOND].prop_map(Act::Turn),
        9 => (0..SHARDS).prop_map(Act::Sync),
        3 => (link(), 2..5_u32).prop_map(|((id, worker), slots)| Act::Open(id, worker, slots)),
        2 => link().prop_map(|(shard, worker)| Act::Close(shard, worker)),
        1 => link().prop_map(|(shard, worker)| Act::End(shard, worker)),
        1 => Just(Act::Forget),
    ]
}

/// A shard with a journal, and one that follows it.
struct Watched {
    follower: Replay,
    read: Lsn,
    ledger: Ledger,
}

struct Run {
    world: World,
    watched: Vec<Watched>,
    generations: BTreeMap<(u64, u16), u64>,
    /// Pieces that are still to be sent, and that were, as long as their slots have nothing newer.
    waiting: Vec<(u64, u16, Request)>,
    sent: Vec<(u64, u16, Request)>,
    /// Which session a worker has where it is connected, and the table that it had last.
    links: BTreeMap<(u16, u64), SessionIndex>,
    epochs: BTreeMap<(u16, u64), u32>,
    letters: Vec<Letter>,
    /// Which run of the third shard there is.
    run: u32,
}

fn configure(config: &mut ShardConfig) {
    config.sessions_max = 2;
    config.session_retention = Duration::from_millis(1);
    if config.id.0 == FORGETFUL {
        config.durability = Durability::Memory;
    }
}

/// The session of a worker. The first one is that of all tests.
fn session_of(worker: u64) -> SessionId {
    SessionId(SESSION.0 + worker)
}

impl Run {
    fn new() -> Self {
        let mut world = World::with(configure, bumping);
        let watched = JOURNALED.map(|id| {
            let shard = world.shard(id);
            let follower = replay(shard, &[]);
            Watched { follower, read: Lsn::ZERO, ledger: Ledger::default() }
        });
        let links = (0..SHARDS).map(|id| ((id, 0), world.cluster.shard(id).session)).collect();
        let mut run = Self {
            world,
            watched: watched.into(),
            generations: BTreeMap::new(),
            waiting: Vec::new(),
            sent: Vec::new(),
            links,
            epochs: BTreeMap::new(),
            letters: Vec::new(),
            run: 1,
        };
        JOURNALED.iter().for_each(|id| run.follow(*id));
        run
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Begin(worker, slot, ahead, work) => self.begin(worker, slot, ahead, &work),
            Act::Dispatch(index) if !self.waiting.is_empty() => {
                let piece = self.waiting.remove(index.index(self.waiting.len()));
                self.send(&piece);
                self.sent.push(piece);
            }
            Act::Retry(index) if !self.sent.is_empty() => {
                let piece = index.get(&self.sent).clone();
                self.send(&piece);
            }
            Act::Deliver(index) if !self.letters.is_empty() => {
                let letter = self.letters.remove(index.index(self.letters.len()));
                self.world.cluster.deliver(letter);
            }
            Act::Copy(index) if !self.letters.is_empty() => {
                self.world.cluster.deliver(*index.get(&self.letters));
            }
            Act::Lose(index) if !self.letters.is_empty() => {
                self.letters.remove(index.index(self.letters.len()));
            }
            Act::Turn(pause) => {
                self.world.cluster.now += pause;
                self.world.cluster.turn();
            }
            Act::Sync(id) => self.world.sync(id),
            Act::Open(id, worker, slots) => self.open(id, worker, slots),
            Act::Close(id, worker) => {
                let now = self.world.cluster.clock(id);
                if let Some(index) = self.links.remove(&(id, worker)) {
                    self.world.shard(id).close_session(now, index);
                }
            }
            Act::End(id, worker) => {
                if let Some(index) = self.links.remove(&(id, worker)) {
                    self.world.shard(id).end_session(index);
                }
            }
            Act::Forget => self.forget(),
            _ => {}
        }
        let letters = self.world.cluster.letters();
        self.letters.extend(letters);
        JOURNALED.iter().for_each(|id| self.follow(*id));
    }

    fn begin(&mut self, worker: u64, slot: u16, ahead: i64, work: &Work) {
        let of_slot = |(owner, _, request): &(u64, u16, Request)| {
            (*owner, request.sequence.slot()) == (worker, slot)
        };
        self.waiting.retain(|piece| !of_slot(piece));
        self.sent.retain(|piece| !of_slot(piece));
        let generation = self.generations.entry((worker, slot)).or_default();
        *generation += 1;
        let pieces = work.pieces(seq(slot, *generation));
        let party = |shard: &u16| Participant {
            shard: *shard,
            incarnation: self.world.cluster.shards[usize::from(*shard)]
                .shard
                .session()
                .incarnation(),
        };
        let parties: Vec<_> = pieces.keys().map(party).collect();
        for (shard, mut request) in pieces {
            if parties.len() > 1 {
                request.stamp = Some((self.world.cluster.now + ahead, parties.clone()));
            }
            self.waiting.push((worker, shard, request));
        }
    }

    /// Sends a piece, if its worker is connected.
    fn send(&mut self, (worker, id, request): &(u64, u16, Request)) {
        if let Some(index) = self.links.get(&(*id, *worker)) {
            self.world.cluster.shard(*id).session = *index;
            self.world.cluster.send(*id, request);
        }
    }

    /// Whoever finds another table does not send again what it had sent before.
    fn open(&mut self, id: u16, worker: u64, slots: u32) {
        let now = self.world.cluster.clock(id);
        let opened = self.world.shard(id).open_session(now, session_of(worker), slots);
        let Ok(index) = opened else { return };
        self.links.insert((id, worker), index);
        let epoch = self.world.shard(id).session_epoch(index);
        if self.epochs.insert((id, worker), epoch) != Some(epoch) {
            let is_old = |piece: &(u64, u16, Request)| (piece.1, piece.0) == (id, worker);
            self.waiting.retain(|piece| !is_old(piece));
            self.sent.retain(|piece| !is_old(piece));
        }
    }

    fn forget(&mut self) {
        self.run += 1;
        let mut config = self.world.shard(FORGETFUL).config.clone();
        config.session = run_of(FORGETFUL, self.run);
        *self.world.cluster.shard(FORGETFUL) = Harness::new(config, bumping());
        self.world.tapes[usize::from(FORGETFUL)] = Tape::default();
        self.world.relink(FORGETFUL);
        self.links.retain(|(id, _), _| *id != FORGETFUL);
        self.links.insert((FORGETFUL, 0), self.world.cluster.shard(FORGETFUL).session);
        self.letters.retain(|letter| letter.from != FORGETFUL && letter.to != FORGETFUL);
    }

    /// Lets the follower of a shard do again what the shard has logged, and compares them.
    fn follow(&mut self, id: u16) {
        self.world.take(id);
        let tape = self.world.tape(id);
        let Watched { follower, read, ledger } = &mut self.watched[usize::from(id)];
        for (lsn, record) in tape.pages_from(*read).records() {
            ledger.log(&record);
            if let Err(error) = follower.apply(&record) {
                panic!("{record:?} at {lsn} of shard {id}: {error}");
            }
        }
        *read = tape.end();
        let shard = &self.world.cluster.shards[usize::from(id)].shard;
        ledger.note(shard);
        ledger.check(follower.shard());
        assert_eq!(digest(shard), digest(follower.shard()), "shard {id}");
        assert!(follower.shard().last_released <= shard.last_released);
        // Several may be placed at one reading of the clock.
        assert!(shard.last_released <= follower.clock_floor() + Nanos(1_000));
    }

    /// Replays the log with a snapshot in the middle, and without.
    fn check_snapshot(&mut self, id: u16, cut: Index) {
        let pages = self.world.tape(id).pages();
        let (records, end) = (pages.records(), self.world.tape(id).end());
        let (before, after) = records.split_at(cut.index(records.len() + 1));
        let now = self.world.cluster.clock(id) + Nanos(SECOND);
        let mut whole = replay(self.world.shard(id), before);
        let mut copy = replay(whole.shard(), &snapshot_of(&whole).records());
        assert_alike(&whole, &copy);
        for (_, record) in after {
            assert_eq!((whole.apply(record), copy.apply(record)), (Ok(()), Ok(())));
        }
        assert_alike(&whole, &copy);
        assert_alike(&whole, &self.watched[usize::from(id)].follower);
        // They work alike: they ask, say and run the same.
        let [one, other] = [whole, copy].map(|replay| self.wake(id, replay.finish(now, end)));
        assert_eq!(one, other);
    }

    /// What a shard says and holds when it goes on.
    fn wake(&self, id: u16, mut shard: Shard) -> (Vec<String>, Digest) {
        let now = self.world.cluster.clock(id) + Nanos(2 * SECOND);
        let peers: Vec<_> = (0..SHARDS).filter(|peer| *peer != id).collect();
        for peer in &peers {
            let session = self.world.cluster.shards[usize::from(*peer)].shard.session();
            shard.on_peer_up(now, ShardId(*peer), session);
        }
        shard.on_turn(now);
        Tape { bytes: vec![0; usize::try_from(shard.log_ends().1.0).expect("a short log")] }
            .sync(&mut shard);
        let mut harness = Harness { shard, session: SessionIndex(0), limits: Limits::DEFAULT };
        let mut letters = Vec::new();
        for to in peers {
            let messages = harness.messages_to(to);
            letters.extend(messages.iter().map(|message| format!("{to}: {message:?}")));
        }
        letters.sort();
        (letters, digest(&harness.shard))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn whoever_does_again_what_a_journal_says_knows_what_the_shard_knew_at_any_point_of_it(
        acts in prop::collection::vec(act(), 1..150),
        cuts in prop::collection::vec(any::<Index>(), 2),
    ) {
        let mut run = Run::new();
        for act in acts {
            run.act(act);
        }
        for (id, cut) in JOURNALED.into_iter().zip(cuts) {
            run.check_snapshot(id, cut);
        }
    }
}
