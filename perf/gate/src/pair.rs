//! A coordinator and two shards: transactions that both are to run at one time, so that they are
//! stamped, proposed, agreed on, held and released.

use crate::{IN_FLIGHT, LIMITS, OPS, writer};
use punctual_core::{
    Coordinator, CoordinatorConfig, Nanos, Outbox, Outcome, OwdConfig, Procedures, SessionId,
    SessionIndex, Shard, ShardConfig, ShardId, Transaction,
};
use punctual_wire::{BatchWriter, FrameReader, Key, WordOp, shard_of};
use std::sync::Arc;
use std::time::Duration;

const SHARDS: u16 = 2;
/// Keys of each shard: a prime number, so that every walk comes to all of them, and many more than
/// a turn touches, so that nothing conflicts.
const KEYS: usize = 4_099;
/// From one key of a walk to the next.
const KEY_STEP: usize = 1_543;
/// Virtual time of each step of a turn. Stamps lie less than one of them ahead.
const STEP: Nanos = Nanos(50_000);
/// Added to delays in a stamp.
const HEADROOM: Nanos = Nanos(2_000);
/// Samples of a delay that count: soon there are as many.
const WINDOW: usize = 64;

/// A link to each shard.
struct Links(Vec<BatchWriter>);

impl Outbox for Links {
    fn to_shard(&mut self, shard: ShardId) -> Option<&mut BatchWriter> {
        self.0.get_mut(usize::from(shard.0))
    }
}

/// A shard, and where its walk through its keys is.
struct Place {
    shard: Shard,
    session: SessionIndex,
    keys: Vec<u64>,
    last: usize,
}

struct Engine {
    coordinator: Coordinator,
    transaction: Transaction,
    links: Links,
    places: Vec<Place>,
    replies: BatchWriter,
    letters: BatchWriter,
    now: Nanos,
    committed: u64,
}

/// Runs so many turns, the first ones to warm up.
///
/// # Panics
/// When a transaction does not commit, or the stores are not what the transactions make of them.
pub(crate) fn run(warm_up_turns: u64, turns: u64) {
    let mut engine = Engine::new();
    for _ in 0..warm_up_turns + turns {
        engine.turn();
    }
    let transactions = (warm_up_turns + turns) * u64::from(IN_FLIGHT);
    assert_eq!(engine.committed, transactions, "every transaction commits");
    let sum: u64 = engine.places.iter().map(Place::sum).sum();
    assert_eq!(sum, transactions * OPS / 2, "every increment is in a store, once");
}

/// The run of a shard.
fn run_of(shard: u16) -> SessionId {
    SessionId(100 + u64::from(shard))
}

impl Place {
    fn new(id: u16) -> Self {
        let config = ShardConfig { session: run_of(id), ..ShardConfig::new(ShardId(id), SHARDS) };
        let mut shard = Shard::new(config, Arc::new(Procedures::new()));
        shard.on_peer_up(Nanos::ZERO, ShardId(1 - id), run_of(1 - id));
        let session = shard.open_session(Nanos::ZERO, SessionId(1), IN_FLIGHT);
        let session = session.expect("an empty shard has room");
        let own = (0..).filter(|key| shard_of(Key::Word(*key), SHARDS) == id);
        Self { shard, session, keys: own.take(KEYS).collect(), last: 0 }
    }

    fn draw_key(&mut self) -> u64 {
        self.last = (self.last + KEY_STEP) % KEYS;
        self.keys[self.last]
    }

    /// What the counters of this shard add up to.
    fn sum(&self) -> u64 {
        let values = self.keys.iter().filter_map(|key| self.shard.store().get(Key::Word(*key)));
        let numbers = values.map(|value| {
            u64::from_le_bytes(value.as_bytes().try_into().expect("a number has eight bytes"))
        });
        numbers.sum()
    }
}

impl Engine {
    fn new() -> Self {
        let config = CoordinatorConfig {
            shards: SHARDS,
            limits: LIMITS,
            in_flight_max: IN_FLIGHT,
            request_timeout: Duration::from_secs(1),
            deadline: Duration::from_secs(2),
            busy_backoff: Duration::from_millis(1),
            headroom: HEADROOM,
            owd: OwdConfig { window: WINDOW, default_owd: STEP, ..OwdConfig::default() },
        };
        let mut coordinator = Coordinator::new(config);
        let mut links = Links((0..SHARDS).map(|_| writer()).collect());
        for id in 0..SHARDS {
            let (now, shard) = (Nanos::ZERO, ShardId(id));
            coordinator.on_link_up(now, shard, run_of(id), 1, &mut links, |_| {
                panic!("nothing was submitted yet")
            });
        }
        Self {
            coordinator,
            transaction: Transaction::new(SHARDS, LIMITS),
            links,
            places: (0..SHARDS).map(Place::new).collect(),
            replies: writer(),
            letters: writer(),
            now: Nanos::ZERO,
            committed: 0,
        }
    }

    /// Submits as many transactions as may be in flight, and takes what became of them.
    fn turn(&mut self) {
        for _ in 0..IN_FLIGHT {
            self.submit();
        }
        self.now = self.now + STEP;
        for id in 0..SHARDS {
            self.dispatch(id);
        }
        self.exchange();
        // All stamps are in the past then.
        self.now = self.now + STEP + STEP;
        for id in 0..SHARDS {
            self.release(id);
        }
        // What a sweep of the shards has to say.
        self.exchange();
        self.coordinator.on_timer(self.now, &mut self.links, |_| panic!("nothing takes that long"));
        assert_eq!(self.coordinator.in_flight(), 0);
    }

    /// A transaction with half of its operations on each shard.
    fn submit(&mut self) {
        for op in 0..OPS {
            // Two operations here, two there.
            let place = &mut self.places[usize::from(op % 4 >= 2)];
            let (key, is_add) = (place.draw_key(), op % 2 == 1);
            self.transaction.word(WordOp { key, is_add, delta: is_add.into() });
        }
        let taken = self.coordinator.submit(self.now, &mut self.transaction, 0, &mut self.links);
        taken.expect("there is room for all transactions of a turn");
    }

    /// Carries what the coordinator has for a shard.
    fn dispatch(&mut self, id: u16) {
        let link = &mut self.links.0[usize::from(id)];
        let Place { shard, session, .. } = &mut self.places[usize::from(id)];
        link.seal();
        let mut frames = FrameReader::new(link.sealed(), LIMITS, false);
        while let Some(frame) = frames.next_frame().expect("a coordinator writes valid frames") {
            let outcome = shard.on_dispatch(self.now, *session, &frame, &mut self.replies);
            outcome.expect("a coordinator writes valid pieces");
        }
        link.clear_sealed();
        assert!(self.replies.is_empty(), "everything is held");
    }

    /// Carries what the shards tell each other.
    fn exchange(&mut self) {
        for from in 0..SHARDS {
            let to = 1 - from;
            self.places[usize::from(from)].shard.write_peer(ShardId(to), &mut self.letters);
            self.letters.seal();
            let mut frames = FrameReader::new(self.letters.sealed(), LIMITS, false);
            while let Some(frame) = frames.next_frame().expect("a shard writes valid frames") {
                let shard = &mut self.places[usize::from(to)].shard;
                let outcome = shard.on_peer(self.now, ShardId(from), &frame);
                outcome.expect("a shard writes valid messages");
            }
            self.letters.clear_sealed();
        }
    }

    /// Runs what is due on a shard and carries the answers to the coordinator.
    fn release(&mut self, id: u16) {
        let Self { coordinator, places, replies, now, committed, .. } = self;
        let Place { shard, session, .. } = &mut places[usize::from(id)];
        shard.on_turn(*now);
        shard.write_replies(*session, replies);
        replies.seal();
        let mut frames = FrameReader::new(replies.sealed(), LIMITS, false);
        while let Some(frame) = frames.next_frame().expect("a shard writes valid frames") {
            let outcome = coordinator.on_reply(*now, ShardId(id), &frame, |completion| {
                *committed += u64::from(matches!(completion.outcome, Outcome::Committed { .. }));
            });
            outcome.expect("a shard writes true replies");
        }
        replies.clear_sealed();
    }
}
