//! A coordinator worker and the load on it.

use super::choose::{Choice, Keyspace};
use super::config::{SimArrivals, SimBenchConfig};
use super::estimates::Estimates;
use super::ledger::{Flight, Ledger};
use super::network::bound_ns;
use super::post::{Layout, Parcel, Post, ShardWriters};
use super::random::{exponential, fraction};
use super::service::{Costs, Turn};
use super::shard::ShardNode;
use super::world::{shown, true_time};
use crate::rng::Rng;
use punctual_core::{
    Completion, Coordinator, CoordinatorConfig, EstimatorKind, Nanos, OwdConfig, OwdSample,
    SessionId, ShardId, SubmitError, Transaction,
};
use punctual_wire::{FrameReader, Limits, TxnSequence, WordOp};
use std::time::Duration;

/// A piece that met a busy shard is sent again after this, and a transaction that was not taken is
/// submitted again.
const BUSY_BACKOFF: Duration = Duration::from_millis(1);
const PS_PER_S: f64 = 1e12;
const PS_PER_NS: i64 = 1_000;

/// When a coordinator submits.
#[derive(Debug)]
enum Pace {
    /// Whenever it has less in flight than it may.
    Closed,
    /// By a schedule: when the next one is meant to start, in picoseconds.
    Open { next_ps: i64, mean_ps: i64, arrivals: SimArrivals },
}

/// A transaction that could not be submitted when it was made.
#[derive(Debug)]
struct Blocked {
    transaction: Transaction,
    choice: Choice,
    adds: Vec<(u16, u16)>,
    flight: Flight,
    /// When it is submitted again, if there is no turn before.
    again_at: i64,
}

/// A coordinator worker.
#[derive(Debug)]
pub(super) struct CoordinatorNode {
    pub(super) coordinator: Coordinator,
    /// When it begins to submit.
    pub(super) begins: i64,
    session: SessionId,
    index: u32,
    pace: Pace,
    rng: Rng,
    /// By slot.
    flights: Vec<Flight>,
    /// Increments on each shard, so many places for each slot.
    adds: Vec<(u16, u16)>,
    blocked: Option<Box<Blocked>>,
    /// Nothing will be submitted any more.
    is_done: bool,
}

/// What all coordinators have in common, and what they use during a turn and leave empty.
#[derive(Debug)]
pub(super) struct CoordinatorDesk {
    layout: Layout,
    pub(super) costs: Costs,
    burst: u32,
    in_flight: u32,
    ops: u16,
    span: u16,
    cross: f64,
    reads: f64,
    /// Headroom and epsilon together.
    wait_ns: i64,
    pub(super) keyspace: Keyspace,
    pub(super) writers: ShardWriters,
    pub(super) ledger: Ledger,
    /// Coordinators that have something to submit still, in an open loop.
    pub(super) open: u32,
    transaction: Transaction,
    choice: Choice,
    made: Vec<(u16, u16)>,
    places: Vec<usize>,
}

impl CoordinatorDesk {
    pub(super) fn new(config: &SimBenchConfig, keyspace: Keyspace, begin: i64) -> Self {
        Self {
            layout: Layout::new(config),
            costs: Costs::from(&config.service.coordinator),
            burst: config.burst(),
            in_flight: config.in_flight,
            ops: config.ops,
            span: config.span,
            cross: config.cross,
            reads: config.reads,
            wait_ns: (Nanos::from(config.headroom) + config.epsilon.into()).0,
            keyspace,
            writers: ShardWriters::new(config.shards, config.batch),
            ledger: Ledger::new(config, begin),
            open: if config.rate.is_some() { config.coordinators } else { 0 },
            transaction: Transaction::new(config.shards, Limits::DEFAULT),
            choice: Choice::default(),
            made: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Draws a transaction into `choice`, `transaction` and `made`. Returns its shards.
    fn draw(&mut self, rng: &mut Rng) -> u16 {
        let Self { keyspace, choice, transaction, made, ops, span, cross, reads, .. } = self;
        let is_cross = *cross > 0.0 && fraction(rng) < *cross;
        let span = if is_cross { *span } else { 1 };
        keyspace.choose(rng, (*ops, span), choice);
        made.clear();
        let mut keys = choice.keys.iter();
        for (shard, count) in &choice.shards {
            let mut adds = 0;
            for &key in keys.by_ref().take((*count).into()) {
                let is_add = fraction(rng) >= *reads;
                transaction.word(WordOp { key, is_add, delta: is_add.into() });
                adds += u16::from(is_add);
            }
            made.push((*shard, adds));
        }
        span
    }
}

impl CoordinatorNode {
    /// A coordinator that begins to submit at `begins`.
    pub(super) fn new(index: u32, config: &SimBenchConfig, begins: i64, mut rng: Rng) -> Self {
        let settings = CoordinatorConfig {
            shards: config.shards,
            limits: Limits::DEFAULT,
            in_flight_max: config.in_flight,
            request_timeout: config.request_timeout(),
            deadline: config.deadline(),
            busy_backoff: BUSY_BACKOFF,
            headroom: config.headroom.into(),
            // It is told before each stamp what its place estimates, and believes just that.
            owd: OwdConfig {
                kind: EstimatorKind::WindowMax,
                window: 1,
                silence: Duration::ZERO,
                ..config.owd
            },
        };
        let slots = config.in_flight as usize;
        Self {
            coordinator: Coordinator::new(settings),
            begins,
            session: SessionId(rng.draw()),
            index,
            pace: Pace::new(config, begins, &mut rng),
            rng,
            flights: vec![Flight::default(); slots],
            adds: vec![(0, 0); slots * usize::from(config.span_max())],
            blocked: None,
            is_done: false,
        }
    }

    /// Takes what has arrived, submits what is wanted, and packs what is to be sent. Returns
    /// whether there is more to submit at once.
    pub(super) fn turn(
        &mut self,
        turn: &mut Turn,
        inbox: &mut Vec<Parcel>,
        (desk, shards): (&mut CoordinatorDesk, &mut [ShardNode]),
        estimates: &mut Estimates,
        post: &mut Post,
    ) -> bool {
        turn.spend(desk.costs.turn, 1);
        let place = post.place(desk.layout.shards + self.index);
        for parcel in inbox.drain(..) {
            let bytes = post.open(parcel);
            let mut frames = FrameReader::new(&bytes, Limits::DEFAULT, false);
            let from = ShardId(parcel.from as u16);
            while let Some(frame) = frames.next_frame().expect("a writer makes valid frames") {
                turn.spend(desk.costs.frame, 1);
                let at = turn.now();
                let Self { coordinator, flights, adds, .. } = self;
                let width = adds.len() / flights.len();
                let sent_at =
                    |sequence: TxnSequence| shown(flights[usize::from(sequence.slot())].sent);
                estimates.replied(shown(at), place, (from, &frame), sent_at);
                let taken = coordinator.on_reply(shown(at), from, &frame, |done| {
                    let slot = usize::from(done.sequence.slot());
                    let adds = &adds[slot * width..][..width];
                    desk.ledger.ended(at, &flights[slot], adds, &done);
                });
                taken.expect("a shard sends valid replies");
            }
            post.give_back(parcel, bytes);
        }
        self.look_at_timers(turn, desk);
        let wants_more = self.submit_burst(turn, desk, shards, (&*estimates, &*post));
        let frames = desk.writers.pack(post);
        turn.spend(desk.costs.frame, frames);
        if !self.is_done && self.has_finished(turn.now(), desk.ledger.end) {
            self.is_done = true;
            desk.open = desk.open.saturating_sub(1);
        }
        wants_more
    }

    fn look_at_timers(&mut self, turn: &mut Turn, desk: &mut CoordinatorDesk) {
        let at = turn.now();
        let now = shown(at);
        if self.coordinator.next_deadline().is_none_or(|due| due > now) {
            return;
        }
        let Self { coordinator, flights, adds, .. } = self;
        let width = adds.len() / flights.len();
        let CoordinatorDesk { writers, ledger, .. } = desk;
        coordinator.on_timer(now, writers, |done| {
            let slot = usize::from(done.sequence.slot());
            ledger.ended(at, &flights[slot], &adds[slot * width..][..width], &done);
        });
    }

    /// Submits what is wanted now, up to a burst. Returns whether that was not all.
    fn submit_burst(
        &mut self,
        turn: &mut Turn,
        desk: &mut CoordinatorDesk,
        shards: &mut [ShardNode],
        way: (&Estimates, &Post),
    ) -> bool {
        for _ in 0..desk.burst {
            if let Some(mut blocked) = self.blocked.take() {
                let Blocked { transaction, choice, adds, flight, .. } = &mut *blocked;
                std::mem::swap(&mut desk.transaction, transaction);
                std::mem::swap(&mut desk.choice, choice);
                std::mem::swap(&mut desk.made, adds);
                let flight = *flight;
                if !self.submit(turn, desk, shards, way, flight) {
                    return false;
                }
                continue;
            }
            let Some(intended) = self.next_intended(turn.now(), desk) else { return false };
            let span = desk.draw(&mut self.rng);
            turn.spend(desk.costs.piece, span.into());
            turn.spend(desk.costs.op, desk.ops.into());
            turn.spend(desk.costs.stamped, if span > 1 { span.into() } else { 0 });
            let flight = Flight { intended, span, ..Flight::default() };
            if !self.submit(turn, desk, shards, way, flight) {
                return false;
            }
        }
        self.wants(turn.now(), desk)
    }

    /// Whether the next transaction is due and there is room for it.
    fn wants(&self, now: i64, desk: &CoordinatorDesk) -> bool {
        let is_due = match self.pace {
            Pace::Closed => now < desk.ledger.end,
            Pace::Open { next_ps, .. } => {
                let next = next_ps / PS_PER_NS;
                next <= now && next < desk.ledger.end
            }
        };
        is_due && self.coordinator.in_flight() < desk.in_flight
    }

    /// When the next transaction is meant to start, if that is now or was before; the schedule goes
    /// on.
    fn next_intended(&mut self, now: i64, desk: &CoordinatorDesk) -> Option<i64> {
        if !self.wants(now, desk) {
            return None;
        }
        let Self { pace, rng, .. } = self;
        match pace {
            Pace::Closed => Some(now),
            Pace::Open { next_ps, mean_ps, arrivals } => {
                let intended = *next_ps / PS_PER_NS;
                *next_ps += match arrivals {
                    SimArrivals::Poisson => exponential(rng, *mean_ps),
                    SimArrivals::Constant => *mean_ps,
                };
                Some(intended)
            }
        }
    }

    /// Submits what was drawn, or keeps it for later. Returns whether it was taken.
    fn submit(
        &mut self,
        turn: &Turn,
        desk: &mut CoordinatorDesk,
        shards: &mut [ShardNode],
        (estimates, post): (&Estimates, &Post),
        mut flight: Flight,
    ) -> bool {
        let now = shown(turn.now());
        let place = post.place(desk.layout.shards + self.index);
        for at in 0..desk.choice.shards.len() {
            let (shard, _) = desk.choice.shards[at];
            self.connect(now, &mut shards[usize::from(shard)], &mut desk.writers);
            let shard = ShardId(shard);
            if flight.span > 1
                && let Some(owd) = estimates.estimate(now, place, shard)
            {
                self.coordinator.owd_sample(now, shard, OwdSample { owd, rtt: None });
            }
        }
        let CoordinatorDesk { transaction, writers, .. } = desk;
        match self.coordinator.submit(now, transaction, 0, writers) {
            Ok(sequence) => {
                flight.sent = turn.now();
                flight.bound = self.bound(desk, post);
                let slot = usize::from(sequence.slot());
                self.flights[slot] = flight;
                let width = self.adds.len() / self.flights.len();
                let adds = &mut self.adds[slot * width..][..width];
                adds.fill((0, 0));
                adds[..desk.made.len()].copy_from_slice(&desk.made);
                desk.ledger.sent(&flight);
                true
            }
            Err(SubmitError::Invalid(error)) => unreachable!("a drawn transaction: {error}"),
            Err(_) => {
                let shards = shards.len() as u16;
                let empty = Transaction::new(shards, Limits::DEFAULT);
                let transaction = std::mem::replace(&mut desk.transaction, empty);
                let choice = std::mem::take(&mut desk.choice);
                let adds = std::mem::take(&mut desk.made);
                let again_at = turn.now() + Nanos::from(BUSY_BACKOFF).0;
                let blocked = Blocked { transaction, choice, adds, flight, again_at };
                self.blocked = Some(Box::new(blocked));
                false
            }
        }
    }

    /// Connects to a shard when it is first needed.
    fn connect(&mut self, now: Nanos, shard: &mut ShardNode, writers: &mut ShardWriters) {
        if shard.knows(self.index) {
            return;
        }
        let epoch = shard.connect(now, self.index, self.session, self.coordinator.in_flight_max());
        let (id, run) = (shard.shard.id(), shard.shard.session());
        let nothing = |_: Completion<'_>| {};
        self.coordinator.on_link_up(now, id, run, epoch, writers, nothing);
    }

    /// The least time that the drawn transaction takes.
    fn bound(&self, desk: &mut CoordinatorDesk, post: &Post) -> i64 {
        let CoordinatorDesk { places, choice, layout, wait_ns, .. } = desk;
        places.clear();
        places.extend(choice.shards.iter().map(|(shard, _)| post.place((*shard).into())));
        let own = post.place(layout.shards + self.index);
        let delay = |from: usize, to: usize| post.mean_delay(from, to);
        bound_ns(&delay, *wait_ns, own, places)
    }

    /// Whether nothing is left to be submitted.
    fn has_finished(&self, now: i64, end: i64) -> bool {
        let is_over = match self.pace {
            Pace::Closed => now >= end,
            Pace::Open { next_ps, .. } => next_ps / PS_PER_NS >= end,
        };
        is_over && self.blocked.is_none()
    }

    /// When it has something to do without being told.
    pub(super) fn next_timer(&self) -> Option<i64> {
        let deadline = self.coordinator.next_deadline().map(true_time);
        let start = match self.pace {
            Pace::Open { next_ps, .. } if !self.is_done && self.has_room() => {
                Some(next_ps / PS_PER_NS)
            }
            _ => None,
        };
        let again = self.blocked.as_ref().map(|blocked| blocked.again_at);
        deadline.into_iter().chain(start).chain(again).min()
    }

    fn has_room(&self) -> bool {
        self.blocked.is_none() && self.coordinator.in_flight() < self.coordinator.in_flight_max()
    }

    /// About how many transactions of an open loop were never sent.
    pub(super) fn unsent(&self, end: i64) -> u64 {
        let Pace::Open { next_ps, mean_ps, .. } = self.pace else { return 0 };
        let missed = (end - next_ps / PS_PER_NS).max(0) / (mean_ps / PS_PER_NS).max(1);
        missed.unsigned_abs() + u64::from(self.blocked.is_some())
    }
}

impl Pace {
    fn new(config: &SimBenchConfig, begins: i64, rng: &mut Rng) -> Self {
        let Some(rate) = config.rate else { return Self::Closed };
        let mean_ps = (PS_PER_S * f64::from(config.coordinators) / rate).round() as i64;
        let mean_ps = mean_ps.max(1);
        let arrivals = config.arrivals;
        let first = match arrivals {
            SimArrivals::Poisson => exponential(rng, mean_ps),
            SimArrivals::Constant => rng.between(0, mean_ps),
        };
        Self::Open { next_ps: begins * PS_PER_NS + first, mean_ps, arrivals }
    }
}
