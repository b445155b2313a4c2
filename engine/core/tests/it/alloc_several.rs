//! In the steady state no transaction on several shards allocates either: not in the coordinator,
//! not in the shards, and not in what these tell each other.

use punctual_core::{
    Coordinator, CoordinatorConfig, Nanos, Outbox, Outcome, OwdConfig, Procedures, SessionId,
    SessionIndex, Shard, ShardConfig, ShardId, Transaction,
};
use punctual_wire::{BatchWriter, FrameReader, Key, Limits, shard_of};
use std::sync::Arc;
use std::time::Duration;

const LIMITS: Limits = Limits::DEFAULT;
const SHARDS: u16 = 2;
/// Keys of each shard, a prime number, so that every walk comes to all of them.
const KEYS: usize = 101;
/// Pairs of a read and an increment that a transaction does on each shard.
const PAIRS: usize = 3;
const IN_FLIGHT: u64 = 50;
const WARM_UP_TURNS: u64 = 200;
const MEASURED_TURNS: u64 = 400;
/// Longer than a shard takes from one look at time-outs and watermarks to the next.
const TURN_NS: i64 = 3_000_000;

/// What a shard is told first about a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Both shards are given their pieces, then they tell each other.
    DispatchFirst,
    /// The second shard hears of all transactions before it is given its pieces.
    ProposalFirst,
}

struct Links(Vec<BatchWriter>);

impl Outbox for Links {
    fn to_shard(&mut self, shard: ShardId) -> Option<&mut BatchWriter> {
        self.0.get_mut(usize::from(shard.0))
    }
}

fn writer() -> BatchWriter {
    BatchWriter::new(LIMITS, LIMITS.batch_max, true)
}

fn run_of(shard: u16) -> SessionId {
    SessionId(100 + u64::from(shard))
}

/// A coordinator and two shards, joined by buffers.
struct Engine {
    order: Order,
    coordinator: Coordinator,
    transaction: Transaction,
    links: Links,
    shards: Vec<(Shard, SessionIndex)>,
    /// Keys by shard.
    keys: Vec<Vec<u64>>,
    replies: BatchWriter,
    letters: BatchWriter,
    now: i64,
    drawn: usize,
    committed: u64,
}

impl Engine {
    fn new(order: Order) -> Self {
        let config = CoordinatorConfig {
            shards: SHARDS,
            limits: LIMITS,
            in_flight_max: u32::try_from(IN_FLIGHT).expect("a small number"),
            request_timeout: Duration::from_secs(1),
            deadline: Duration::from_secs(2),
            busy_backoff: Duration::from_millis(1),
            headroom: Nanos(100_000),
            owd: OwdConfig::default(),
        };
        let start = |id: u16| {
            let config =
                ShardConfig { session: run_of(id), ..ShardConfig::new(ShardId(id), SHARDS) };
            let mut shard = Shard::new(config, Arc::new(Procedures::new()));
            shard.on_peer_up(Nanos::ZERO, ShardId(1 - id), run_of(1 - id));
            let slots = u32::try_from(IN_FLIGHT).expect("a small number");
            let session = shard.open_session(Nanos::ZERO, SessionId(1), slots);
            (shard, session.expect("an empty shard has room"))
        };
        let of_shard = |id: u16| -> Vec<u64> {
            (0..).filter(|key| shard_of(Key::Word(*key), SHARDS) == id).take(KEYS).collect()
        };
        let mut links = Links((0..SHARDS).map(|_| writer()).collect());
        let mut coordinator = Coordinator::new(config);
        for id in 0..SHARDS {
            let (now, shard) = (Nanos::ZERO, ShardId(id));
            coordinator.on_link_up(now, shard, run_of(id), 1, &mut links, |_| {
                panic!("nothing was submitted yet")
            });
        }
        Self {
            order,
            coordinator,
            transaction: Transaction::new(SHARDS, LIMITS),
            links,
            shards: (0..SHARDS).map(start).collect(),
            keys: (0..SHARDS).map(of_shard).collect(),
            replies: writer(),
            letters: writer(),
            now: 0,
            drawn: 0,
            committed: 0,
        }
    }

    fn run(&mut self, turns: u64) {
        for _ in 0..turns {
            self.now += TURN_NS;
            for _ in 0..IN_FLIGHT {
                self.submit();
            }
            self.dispatch(0);
            if self.order == Order::ProposalFirst {
                self.exchange();
            }
            self.dispatch(1);
            self.exchange();
            // All stamps are in the past then.
            self.now += TURN_NS;
            for id in 0..SHARDS {
                self.release(id);
            }
            self.exchange();
            assert_eq!(self.coordinator.in_flight(), 0);
        }
    }

    /// A transaction that reads and increments on both shards, and begins now here and now there.
    fn submit(&mut self) {
        for pair in 0..2 * PAIRS {
            let keys = &self.keys[(self.drawn + pair) % 2];
            self.transaction.get(keys[(self.drawn * 7) % KEYS]);
            self.transaction.add(keys[(self.drawn * 11 + pair) % KEYS], 1);
        }
        self.drawn += 1;
        let now = Nanos(self.now);
        let taken = self.coordinator.submit(now, &mut self.transaction, 0, &mut self.links);
        taken.expect("there is room for all transactions of a turn");
    }

    /// Carries what the coordinator has for a shard.
    fn dispatch(&mut self, id: u16) {
        self.now += 1_000;
        let link = &mut self.links.0[usize::from(id)];
        let (shard, session) = &mut self.shards[usize::from(id)];
        link.seal();
        let mut frames = FrameReader::new(link.sealed(), LIMITS, true);
        while let Some(frame) = frames.next_frame().expect("a coordinator writes valid frames") {
            let outcome = shard.on_dispatch(Nanos(self.now), *session, &frame, &mut self.replies);
            outcome.expect("a coordinator writes valid pieces");
        }
        link.clear_sealed();
        assert!(self.replies.is_empty(), "everything is held");
    }

    /// Carries what the shards tell each other.
    fn exchange(&mut self) {
        self.now += 1_000;
        for from in 0..SHARDS {
            let to = 1 - from;
            self.shards[usize::from(from)].0.write_peer(ShardId(to), &mut self.letters);
            self.letters.seal();
            let mut frames = FrameReader::new(self.letters.sealed(), LIMITS, true);
            while let Some(frame) = frames.next_frame().expect("a shard writes valid frames") {
                let (shard, _) = &mut self.shards[usize::from(to)];
                let outcome = shard.on_peer(Nanos(self.now), ShardId(from), &frame);
                outcome.expect("a shard writes valid messages");
            }
            self.letters.clear_sealed();
        }
    }

    /// Runs what is due on a shard and carries the answers to the coordinator.
    fn release(&mut self, id: u16) {
        let now = Nanos(self.now);
        let (shard, session) = &mut self.shards[usize::from(id)];
        assert_eq!(shard.on_turn(now) as u64, IN_FLIGHT);
        shard.write_replies(*session, &mut self.replies);
        self.replies.seal();
        let committed = &mut self.committed;
        let mut frames = FrameReader::new(self.replies.sealed(), LIMITS, true);
        while let Some(frame) = frames.next_frame().expect("a shard writes valid frames") {
            let outcome = self.coordinator.on_reply(now, ShardId(id), &frame, |completion| {
                assert!(matches!(completion.outcome, Outcome::Committed { .. }));
                assert_eq!(completion.results.count(), 4 * PAIRS);
                *committed += 1;
            });
            outcome.expect("a shard writes true replies");
        }
        self.replies.clear_sealed();
    }

    /// What all counters of a shard add up to.
    fn sum(&self, id: usize) -> i64 {
        let store = self.shards[id].0.store();
        let values = self.keys[id].iter().filter_map(|key| store.get(Key::Word(*key)));
        let numbers = values.map(|value| {
            i64::from_le_bytes(value.as_bytes().try_into().expect("a number has eight bytes"))
        });
        numbers.sum()
    }
}

fn assert_nothing_is_allocated(order: Order) {
    let mut engine = Engine::new(order);
    let cold = allocation_counter::measure(|| engine.run(WARM_UP_TURNS));
    assert!(cold.count_total > 0, "the counter does count");
    let steady = allocation_counter::measure(|| engine.run(MEASURED_TURNS));
    let transactions = (WARM_UP_TURNS + MEASURED_TURNS) * IN_FLIGHT;
    assert_eq!(engine.committed, transactions);
    let expected = i64::try_from(transactions).expect("a small number") * PAIRS as i64;
    assert_eq!([engine.sum(0), engine.sum(1)], [expected; 2], "every addition was done");
    for (shard, _) in &engine.shards {
        assert!(shard.is_idle(), "{:?}", shard.stats());
    }
    assert_eq!(steady.count_total, 0, "allocations of {} bytes", steady.bytes_total);
}

#[test]
fn in_the_steady_state_transactions_on_two_shards_allocate_nothing() {
    assert_nothing_is_allocated(Order::DispatchFirst);
}

#[test]
fn in_the_steady_state_proposals_before_their_dispatch_allocate_nothing() {
    assert_nothing_is_allocated(Order::ProposalFirst);
}
