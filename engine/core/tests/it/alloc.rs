//! In the steady state no transaction allocates: not in the coordinator, not in the shard, and not
//! in the bytes between them.

use punctual_core::{
    Completion, Coordinator, CoordinatorConfig, Nanos, Outbox, Outcome, OwdConfig, Procedures,
    SessionId, SessionIndex, Shard, ShardConfig, ShardId, Transaction,
};
use punctual_wire::{BatchWriter, FrameReader, Key, Limits, ResultStatus};
use std::sync::Arc;
use std::time::Duration;

const LIMITS: Limits = Limits::DEFAULT;
const KEYS: u64 = 10_000;
const OPS: u64 = 10;
/// Transactions in flight; the numbers of transactions below are multiples of it.
const IN_FLIGHT: u64 = 50;
const WARM_UP: u64 = 4_000;
const MEASURED: u64 = 10_000;

/// What is written, and so also what is read.
#[derive(Clone, Copy)]
enum Workload {
    /// Numbers, which grow by one.
    Counters,
    /// Values of a hundred bytes, which are overwritten by others.
    Blobs,
}

impl Workload {
    fn preload(self, transaction: &mut Transaction, key: u64) {
        match self {
            Self::Counters => transaction.put(key, &[0; 8]),
            Self::Blobs => transaction.put(key, &[0; 100]),
        };
    }

    fn write(self, transaction: &mut Transaction, key: u64, turn: u64) {
        match self {
            Self::Counters => transaction.add(key, 1),
            Self::Blobs => transaction.put(key, &[turn.to_le_bytes()[0]; 100]),
        };
    }

    fn value_len(self) -> usize {
        match self {
            Self::Counters => 8,
            Self::Blobs => 100,
        }
    }
}

struct Link(BatchWriter);

impl Outbox for Link {
    fn to_shard(&mut self, _: ShardId) -> Option<&mut BatchWriter> {
        Some(&mut self.0)
    }
}

/// A coordinator and a shard, joined by two buffers.
struct Engine {
    workload: Workload,
    coordinator: Coordinator,
    transaction: Transaction,
    link: Link,
    shard: Shard,
    session: SessionIndex,
    replies: BatchWriter,
    turn: u64,
    next_key: u64,
    committed: u64,
}

impl Engine {
    fn new(workload: Workload) -> Self {
        let config = CoordinatorConfig {
            shards: 1,
            limits: LIMITS,
            in_flight_max: u32::try_from(IN_FLIGHT).expect("a small number"),
            request_timeout: Duration::from_millis(1),
            deadline: Duration::from_millis(10),
            busy_backoff: Duration::from_micros(10),
            headroom: Nanos::ZERO,
            owd: OwdConfig::default(),
        };
        let mut shard = Shard::new(ShardConfig::new(ShardId(0), 1), Arc::new(Procedures::new()));
        let session = shard
            .open_session(Nanos::ZERO, SessionId(1), config.in_flight_max)
            .expect("an empty shard has room");
        Self {
            workload,
            coordinator: Coordinator::new(config),
            transaction: Transaction::new(1, LIMITS),
            link: Link(BatchWriter::new(LIMITS, LIMITS.batch_max, true)),
            shard,
            session,
            replies: BatchWriter::new(LIMITS, LIMITS.batch_max, true),
            turn: 0,
            next_key: 0,
            committed: 0,
        }
    }

    /// Puts a value under every key.
    fn preload(&mut self) {
        for first in (0..KEYS).step_by((IN_FLIGHT * OPS) as usize) {
            for number in 0..IN_FLIGHT {
                for op in 0..OPS {
                    let key = first + number * OPS + op;
                    self.workload.preload(&mut self.transaction, key);
                }
                self.submit();
            }
            self.exchange(|_| {});
        }
    }

    /// Runs this many transactions, each of which reads five keys and writes five others.
    fn run(&mut self, transactions: u64) {
        let value_len = self.workload.value_len();
        for _ in 0..transactions / IN_FLIGHT {
            for _ in 0..IN_FLIGHT {
                for _ in 0..OPS / 2 {
                    let key = self.draw_key();
                    self.transaction.get(key);
                    let key = self.draw_key();
                    self.workload.write(&mut self.transaction, key, self.turn);
                }
                self.submit();
            }
            self.exchange(|completion| {
                let mut results = 0;
                for (at, result) in completion.results.enumerate() {
                    assert_eq!(result.status, ResultStatus::Ok);
                    let is_read = at % 2 == 0;
                    assert!(!is_read || result.value.is_some_and(|it| it.len() == value_len));
                    results += 1;
                }
                assert_eq!(results, OPS);
            });
        }
    }

    /// Walks all keys, far from sorted: the step and the number of keys share no divisor.
    fn draw_key(&mut self) -> u64 {
        self.next_key = (self.next_key + 7_919) % KEYS;
        self.next_key
    }

    fn submit(&mut self) {
        let now = Nanos(self.turn.cast_signed());
        let taken = self.coordinator.submit(now, &mut self.transaction, self.turn, &mut self.link);
        taken.expect("there is room for all transactions of a turn");
    }

    /// Carries all frames to the shard and the replies back; every transaction commits.
    fn exchange(&mut self, mut look: impl FnMut(Completion<'_>)) {
        self.turn += 1;
        let now = Nanos(self.turn.cast_signed());
        self.link.0.seal();
        let mut frames = FrameReader::new(self.link.0.sealed(), LIMITS, true);
        while let Some(frame) = frames.next_frame().expect("a coordinator writes valid frames") {
            let outcome = self.shard.on_dispatch(now, self.session, &frame, &mut self.replies);
            outcome.expect("a coordinator writes valid pieces");
        }
        self.link.0.clear_sealed();
        self.replies.seal();
        let committed = &mut self.committed;
        let mut frames = FrameReader::new(self.replies.sealed(), LIMITS, true);
        while let Some(frame) = frames.next_frame().expect("a shard writes valid frames") {
            let outcome = self.coordinator.on_reply(now, ShardId(0), &frame, |completion| {
                assert!(matches!(completion.outcome, Outcome::Committed { .. }));
                *committed += 1;
                look(completion);
            });
            outcome.expect("a shard writes true replies");
        }
        self.replies.clear_sealed();
        self.coordinator.on_timer(now, &mut self.link, |_| panic!("nothing takes that long"));
        assert_eq!(self.coordinator.in_flight(), 0);
    }

    fn sum(&self) -> u64 {
        let numbers = (0..KEYS).map(|key| {
            let value = self.shard.store().get(Key::Word(key)).expect("all keys are there");
            u64::from_le_bytes(value.as_bytes().try_into().expect("a number has eight bytes"))
        });
        numbers.sum()
    }
}

/// Warms an engine up and returns it with the allocations of the transactions after that.
fn steady_state(workload: Workload) -> (Engine, u64) {
    let mut engine = Engine::new(workload);
    let cold = allocation_counter::measure(|| {
        engine.preload();
        engine.run(WARM_UP);
    });
    assert!(cold.count_total > 0, "the counter does count");
    let before = engine.committed;
    let steady = allocation_counter::measure(|| engine.run(MEASURED));
    assert_eq!(engine.committed - before, MEASURED);
    (engine, steady.count_total)
}

#[test]
fn in_the_steady_state_gets_and_adds_of_words_allocate_nothing() {
    let (engine, allocations) = steady_state(Workload::Counters);
    assert_eq!(allocations, 0);
    assert_eq!(engine.sum(), (WARM_UP + MEASURED) * OPS / 2, "every addition was done");
}

#[test]
fn in_the_steady_state_long_values_are_read_and_overwritten_without_allocating() {
    let (engine, allocations) = steady_state(Workload::Blobs);
    assert_eq!(allocations, 0);
    assert_eq!(engine.shard.store().len() as u64, KEYS);
}
