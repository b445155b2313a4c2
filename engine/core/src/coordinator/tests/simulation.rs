//! A coordinator and real shards over links that lose, repeat, delay and reorder frames, and break.
//!
//! Real links do less harm than these. Time is virtual and all chance comes from a seed, so a
//! failure is repeated by its seed. Every transaction adds one to a key of its own and to a counter
//! that many share: the first shows whether it ran once, the second in which order. Each is on one
//! shard; what shards do to each other is for the simulator of the whole cluster.

use super::*;
use crate::{Procedures, SessionIndex, Shard, ShardConfig, ShardStats};
use punctual_wire::FrameKind;
use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

const SEEDS: u64 = 200;
const TRANSACTIONS: u64 = 120;
const IN_FLIGHT_MAX: u32 = 8;
const COUNTERS: u64 = 8;
/// Steps of a run that is surely stuck; a healthy one takes some hundreds.
const STEPS_MAX: u32 = 100_000;
const SESSION: SessionId = SessionId(5);

/// The generator of Marsaglia (2003, "Xorshift RNGs"), with the shifts 13, 7 and 17.
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        // Spreads neighbouring seeds; zero is the one state that must not be.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number from 0 to `bound` - 1.
    fn below(&mut self, bound: i64) -> i64 {
        (self.draw() % bound.unsigned_abs()).cast_signed()
    }

    fn one_in(&mut self, chances: i64) -> bool {
        self.below(chances) == 0
    }
}

/// A frame on its way from or to a shard.
struct Flight {
    arrives_at: i64,
    shard: u16,
    frame: Vec<u8>,
}

/// How a transaction ended: its results are the sums of its own key and of its counter.
struct End {
    outcome: Outcome,
    submitted_at: Nanos,
    sums: Vec<i64>,
}

struct Simulation {
    seed: u64,
    rng: Rng,
    now: i64,
    coordinator: Coordinator,
    links: Links,
    down_until: Vec<Option<i64>>,
    shards: Vec<(Shard, SessionIndex)>,
    in_transit: Vec<Flight>,
    transaction: Transaction,
    submitted: u64,
    ended: BTreeMap<u64, End>,
}

fn own_key(tag: u64) -> String {
    format!("{{{}}}:{tag}", tag % COUNTERS)
}

fn counter_key(counter: u64) -> String {
    format!("{{{counter}}}")
}

fn note(ended: &mut BTreeMap<u64, End>, completion: Completion<'_>) {
    let Completion { tag, outcome, submitted_at, results, .. } = completion;
    let sums = results.map(|result| result.number().expect("a sum")).collect();
    let before = ended.insert(tag, End { outcome, submitted_at, sums });
    assert!(before.is_none(), "transaction {tag} ended twice");
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let config = CoordinatorConfig {
            shards: SHARDS,
            limits: Limits::DEFAULT,
            in_flight_max: IN_FLIGHT_MAX,
            request_timeout: Duration::from_nanos(200),
            deadline: Duration::from_nanos(2_000),
            busy_backoff: Duration::from_nanos(30),
            headroom: HEADROOM,
            owd: OwdConfig::default(),
        };
        let shard = |id| {
            let config = ShardConfig::new(ShardId(id), SHARDS);
            let mut shard = Shard::new(config, Arc::new(Procedures::new()));
            let session = shard.open_session(Nanos::ZERO, SESSION, IN_FLIGHT_MAX);
            (shard, session.expect("there is room"))
        };
        Self {
            seed,
            rng: Rng::new(seed),
            now: 0,
            coordinator: Coordinator::new(config),
            links: Links::new(4),
            down_until: vec![None; usize::from(SHARDS)],
            shards: (0..SHARDS).map(shard).collect(),
            in_transit: Vec::new(),
            transaction: transaction(),
            submitted: 0,
            ended: BTreeMap::new(),
        }
    }

    /// Runs until every transaction has ended and no frame is under way any more.
    fn run(&mut self) {
        let mut steps = 0;
        while self.submitted < TRANSACTIONS || self.coordinator.in_flight() > 0 {
            steps += 1;
            assert!(steps < STEPS_MAX, "seed {}: it does not come to an end", self.seed);
            self.now += self.rng.below(20);
            self.break_or_mend_links();
            self.submit_what_goes();
            self.take_arrivals();
            let Self { coordinator, links, ended, .. } = self;
            coordinator.on_timer(Nanos(self.now), links, |done| note(ended, done));
            let idle = coordinator.in_flight() == 0;
            assert_eq!(coordinator.next_deadline().is_none(), idle, "seed {}", self.seed);
            self.send_dispatches();
        }
        // What was delayed beyond all deadlines still arrives and must do no harm.
        while let Some(last) = self.in_transit.iter().map(|flight| flight.arrives_at).max() {
            self.now = self.now.max(last);
            self.take_arrivals();
        }
    }

    /// Breaks a link now and then: what is under way is lost, and after a while the same session
    /// connects again.
    fn break_or_mend_links(&mut self) {
        for id in 0..SHARDS {
            let at = usize::from(id);
            let down_until = self.down_until[at];
            let (shard, session) = &mut self.shards[at];
            match down_until {
                Some(until) if until <= self.now => {
                    let opened = shard.open_session(Nanos(self.now), SESSION, IN_FLIGHT_MAX);
                    assert_eq!(opened, Ok(*session), "its place is kept");
                    let epoch = shard.session_epoch(*session);
                    self.down_until[at] = None;
                    self.links.up[at] = true;
                    let Self { coordinator, links, ended, .. } = self;
                    let memory = SessionId(u64::from(id));
                    let now = Nanos(self.now);
                    coordinator.on_link_up(now, ShardId(id), memory, epoch, links, |done| {
                        note(ended, done);
                    });
                }
                None if self.rng.one_in(400) => {
                    shard.close_session(Nanos(self.now), *session);
                    self.down_until[at] = Some(self.now + self.rng.below(3_000));
                    self.links.up[at] = false;
                    self.links.batches[at].seal();
                    self.links.batches[at].clear_sealed();
                    self.in_transit.retain(|flight| flight.shard != id);
                }
                _ => {}
            }
        }
    }

    /// Submits until something is in the way; the transaction that was not taken waits as it is.
    fn submit_what_goes(&mut self) {
        while self.submitted < TRANSACTIONS {
            let tag = self.submitted;
            if self.transaction.op_count() == 0 {
                let counter = counter_key(tag % COUNTERS);
                self.transaction.add(own_key(tag).as_str(), 1).add(counter.as_str(), 1);
            }
            let now = Nanos(self.now);
            let Self { coordinator, transaction, links, .. } = self;
            match coordinator.submit(now, transaction, tag, links) {
                Ok(_) => self.submitted += 1,
                Err(SubmitError::Invalid(error)) => panic!("seed {}: {error}", self.seed),
                Err(_) => return,
            }
        }
    }

    fn send_dispatches(&mut self) {
        for shard in 0..SHARDS {
            for frame in self.links.take_frames(shard) {
                self.send(shard, &frame);
            }
        }
    }

    /// Puts a frame on its way: not at all, once or twice, mostly soon, sometimes very late.
    fn send(&mut self, shard: u16, frame: &[u8]) {
        if self.rng.one_in(8) {
            return;
        }
        let copies = if self.rng.one_in(8) { 2 } else { 1 };
        for _ in 0..copies {
            let delay_max = if self.rng.one_in(20) { 4_000 } else { 150 };
            let arrives_at = self.now + 1 + self.rng.below(delay_max);
            self.in_transit.push(Flight { arrives_at, shard, frame: frame.to_vec() });
        }
    }

    /// Delivers whatever is due, in the order of arrival.
    fn take_arrivals(&mut self) {
        loop {
            let due = self.in_transit.iter().enumerate();
            let due = due.filter(|(_, flight)| flight.arrives_at <= self.now);
            let Some((index, _)) = due.min_by_key(|(_, flight)| flight.arrives_at) else { return };
            let Flight { shard, frame, .. } = self.in_transit.swap_remove(index);
            let frame = only_frame(&frame);
            match frame.kind {
                FrameKind::Dispatch => self.arrive_at_shard(shard, &frame),
                _ => self.arrive_at_coordinator(shard, &frame),
            }
        }
    }

    fn arrive_at_shard(&mut self, id: u16, frame: &Frame<'_>) {
        let mut out = BatchWriter::new(Limits::DEFAULT, 4, false);
        if self.rng.one_in(10) {
            // The shard is busy with something: it answers so and does nothing.
            let mut pieces = PieceReader::new(frame, &Limits::DEFAULT);
            while let Some(piece) = pieces.next_piece().expect("a valid piece") {
                Reply::write(&mut out, piece.sequence, ReplyStatus::Busy, 0, 0, &[]);
            }
        } else {
            let (shard, session) = &mut self.shards[usize::from(id)];
            let outcome = shard.on_dispatch(Nanos(self.now), *session, frame, &mut out);
            outcome.expect("a coordinator writes valid pieces");
        }
        out.seal();
        for frame in split_frames(out.sealed()) {
            self.send(id, &frame);
        }
    }

    fn arrive_at_coordinator(&mut self, from: u16, frame: &Frame<'_>) {
        let Self { coordinator, ended, .. } = self;
        let done = |completion: Completion<'_>| note(ended, completion);
        let outcome = coordinator.on_reply(Nanos(self.now), ShardId(from), frame, done);
        outcome.expect("a shard writes true replies");
    }

    /// The number under a key, wherever it is.
    fn number(&self, key: &str) -> i64 {
        let key = Key::from(key);
        let (shard, _) = &self.shards[usize::from(shard_of(key, SHARDS))];
        let Some(value) = shard.store().get(key) else { return 0 };
        i64::from_le_bytes(value.as_bytes().try_into().expect("a number has eight bytes"))
    }

    /// Each ran at most once, all that committed ran, and nothing ran that was not asked for.
    fn check_what_ran(&self) {
        let seed = self.seed;
        assert_eq!(self.ended.len() as u64, TRANSACTIONS, "seed {seed}");
        let mut ran = BTreeMap::new();
        for (tag, end) in &self.ended {
            let times = self.number(&own_key(*tag));
            match end.outcome {
                Outcome::Committed { .. } => assert_eq!(times, 1, "seed {seed}, {tag} committed"),
                Outcome::Unknown(_) => assert!(times <= 1, "seed {seed}, {tag} ran {times} times"),
                other => panic!("seed {seed}: {tag} ended as {other:?}"),
            }
            *ran.entry(tag % COUNTERS).or_insert(0) += times;
        }
        for (counter, times) in &ran {
            assert_eq!(self.number(&counter_key(*counter)), *times, "seed {seed}, {counter}");
        }
        let on_shards: u64 = self.shards.iter().map(|(shard, _)| shard.stats().committed).sum();
        assert_eq!(ran.values().sum::<i64>().unsigned_abs(), on_shards, "seed {seed}");
        let stats = self.coordinator.stats();
        assert_eq!(stats.submitted, TRANSACTIONS, "seed {seed}");
        assert_eq!(stats.committed + stats.unknown, TRANSACTIONS, "seed {seed}");
    }

    /// The order of commit timestamps is the order in which the sums grew, and none is in the past.
    fn check_order(&self) {
        let seed = self.seed;
        let mut committed: BTreeMap<u64, Vec<(Nanos, i64)>> = BTreeMap::new();
        for (tag, end) in &self.ended {
            let Outcome::Committed { at } = end.outcome else { continue };
            assert!(at >= end.submitted_at, "seed {seed}: {tag} committed before it was submitted");
            assert_eq!((end.sums.len(), end.sums[0]), (2, 1), "seed {seed}, {tag}");
            committed.entry(tag % COUNTERS).or_default().push((at, end.sums[1]));
        }
        for mut of_counter in committed.into_values() {
            of_counter.sort_unstable();
            let ordered = of_counter.windows(2).all(|it| it[0].0 < it[1].0 && it[0].1 < it[1].1);
            assert!(ordered, "seed {seed}: {of_counter:?}");
        }
    }
}

/// Adds what a run counted, to see whether the links were as bad as they should be.
#[derive(Default, Debug)]
struct Totals {
    retries: u64,
    busy: u64,
    stale_replies: u64,
    unknown: u64,
    repeated: u64,
    stale: u64,
}

impl AddAssign<&Simulation> for Totals {
    fn add_assign(&mut self, run: &Simulation) {
        let stats = run.coordinator.stats();
        self.retries += stats.retries;
        self.busy += stats.busy;
        self.stale_replies += stats.stale_replies;
        self.unknown += stats.unknown;
        for (shard, _) in &run.shards {
            let ShardStats { repeated, stale, .. } = shard.stats();
            self.repeated += repeated;
            self.stale += stale;
        }
    }
}

#[test]
fn over_the_worst_links_every_transaction_ends_and_runs_at_most_once() {
    let mut totals = Totals::default();
    for seed in 1..=SEEDS {
        let mut simulation = Simulation::new(seed);
        simulation.run();
        simulation.check_what_ran();
        simulation.check_order();
        totals += &simulation;
    }
    let Totals { retries, busy, stale_replies, unknown, repeated, stale } = totals;
    for happened in [retries, busy, stale_replies, unknown, repeated, stale] {
        assert!(happened >= SEEDS / 2, "the links are too good: {totals:?}");
    }
    assert!(unknown < SEEDS * TRANSACTIONS / 4, "hardly anything commits: {totals:?}");
}
