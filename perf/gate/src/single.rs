//! A coordinator and one shard: transactions that are stamped on arrival and run at once.

use crate::{IN_FLIGHT, LIMITS, OPS, writer};
use punctual_core::{
    Coordinator, CoordinatorConfig, Nanos, Outbox, Outcome, OwdConfig, Procedures, SessionId,
    SessionIndex, Shard, ShardConfig, ShardId, Transaction,
};
use punctual_wire::{BatchWriter, FrameReader, Key, WordOp};
use std::sync::Arc;
use std::time::Duration;

/// Keys in the store: a prime number, so that every walk comes to all of them.
const KEYS: u64 = 10_007;
/// From one key of a walk to the next: far apart, and never twice in one transaction.
const KEY_STEP: u64 = 7_919;
/// Virtual time from the dispatch of a turn to its replies.
const TURN: Nanos = Nanos(20_000);

/// The only link.
struct Link(BatchWriter);

impl Outbox for Link {
    fn to_shard(&mut self, _: ShardId) -> Option<&mut BatchWriter> {
        Some(&mut self.0)
    }
}

struct Engine {
    coordinator: Coordinator,
    transaction: Transaction,
    link: Link,
    shard: Shard,
    session: SessionIndex,
    replies: BatchWriter,
    now: Nanos,
    last_key: u64,
    committed: u64,
}

/// Runs so many turns, the first ones to warm up.
///
/// # Panics
/// When a transaction does not commit, or the store is not what the transactions make of it.
pub(crate) fn run(warm_up_turns: u64, turns: u64) {
    let mut engine = Engine::new();
    for _ in 0..warm_up_turns + turns {
        engine.turn();
    }
    let transactions = (warm_up_turns + turns) * u64::from(IN_FLIGHT);
    assert_eq!(engine.committed, transactions, "every transaction commits");
    assert_eq!(engine.sum(), transactions * OPS / 2, "every increment is in the store, once");
}

impl Engine {
    fn new() -> Self {
        let config = CoordinatorConfig {
            shards: 1,
            limits: LIMITS,
            in_flight_max: IN_FLIGHT,
            request_timeout: Duration::from_secs(1),
            deadline: Duration::from_secs(2),
            busy_backoff: Duration::from_millis(1),
            headroom: Nanos::ZERO,
            owd: OwdConfig::default(),
        };
        let mut shard = Shard::new(ShardConfig::new(ShardId(0), 1), Arc::new(Procedures::new()));
        let session = shard.open_session(Nanos::ZERO, SessionId(1), IN_FLIGHT);
        let session = session.expect("an empty shard has room");
        Self {
            coordinator: Coordinator::new(config),
            transaction: Transaction::new(1, LIMITS),
            link: Link(writer()),
            shard,
            session,
            replies: writer(),
            now: Nanos::ZERO,
            last_key: 0,
            committed: 0,
        }
    }

    /// Submits as many transactions as may be in flight, and takes what became of them.
    fn turn(&mut self) {
        for _ in 0..IN_FLIGHT {
            self.submit();
        }
        self.now = self.now + TURN;
        self.dispatch();
        self.reply();
        self.coordinator.on_timer(self.now, &mut self.link, |_| panic!("nothing takes that long"));
        assert_eq!(self.coordinator.in_flight(), 0);
    }

    fn submit(&mut self) {
        for op in 0..OPS {
            self.last_key = (self.last_key + KEY_STEP) % KEYS;
            let is_add = op % 2 == 1;
            self.transaction.word(WordOp { key: self.last_key, is_add, delta: is_add.into() });
        }
        let taken = self.coordinator.submit(self.now, &mut self.transaction, 0, &mut self.link);
        taken.expect("there is room for all transactions of a turn");
    }

    /// Carries all frames to the shard.
    fn dispatch(&mut self) {
        let Self { link: Link(link), shard, session, replies, now, .. } = self;
        link.seal();
        let mut frames = FrameReader::new(link.sealed(), LIMITS, false);
        while let Some(frame) = frames.next_frame().expect("a coordinator writes valid frames") {
            let outcome = shard.on_dispatch(*now, *session, &frame, replies);
            outcome.expect("a coordinator writes valid pieces");
        }
        link.clear_sealed();
        shard.on_turn(*now);
    }

    /// Carries the replies back.
    fn reply(&mut self) {
        let Self { coordinator, replies, now, committed, .. } = self;
        replies.seal();
        let mut frames = FrameReader::new(replies.sealed(), LIMITS, false);
        while let Some(frame) = frames.next_frame().expect("a shard writes valid frames") {
            let outcome = coordinator.on_reply(*now, ShardId(0), &frame, |completion| {
                *committed += u64::from(matches!(completion.outcome, Outcome::Committed { .. }));
            });
            outcome.expect("a shard writes true replies");
        }
        replies.clear_sealed();
    }

    /// What all counters add up to.
    fn sum(&self) -> u64 {
        let values = (0..KEYS).filter_map(|key| self.shard.store().get(Key::Word(key)));
        let numbers = values.map(|value| {
            u64::from_le_bytes(value.as_bytes().try_into().expect("a number has eight bytes"))
        });
        numbers.sum()
    }
}
