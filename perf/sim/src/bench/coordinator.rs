//! A coordinator worker and the load on it.

use super::config::{SimArrivals, SimBenchConfig};
use super::estimates::Estimates;
use super::ledger::{Flight, Ledger};
use super::network::bound_ns;
use super::post::{Layout, Parcel, Post, ShardWriters};
use super::random::exponential;
use super::service::{Costs, Turn};
use super::shard::ShardNode;
use super::source::Sources;
use super::world::{shown, true_time};
use crate::rng::Rng;
use punctual_core::{
    Completion, Coordinator, CoordinatorConfig, EstimatorKind, Nanos, OwdConfig, OwdSample,
    SessionId, ShardId, SubmitError, Transaction,
};
use punctual_load::workload::{Generator, Workload};
use punctual_wire::{FrameReader, Limits, TxnSequence};
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
    blocked: Option<Box<Blocked>>,
    /// Nothing will be submitted any more.
    is_done: bool,
}

/// What was done: the figures, and the account that the generators keep.
#[derive(Debug)]
pub(super) struct Books<G> {
    pub(super) ledger: Ledger,
    pub(super) sources: Sources<G>,
}

impl<G: Generator> Books<G> {
    /// A transaction of a coordinator has ended.
    fn ended(&mut self, coordinator: u32, now: i64, flights: &[Flight], mut done: Completion<'_>) {
        let flight = &flights[usize::from(done.sequence.slot())];
        self.ledger.ended(now, flight, &done);
        self.sources.ended(coordinator, flight.slot, &mut done);
    }
}

/// What all coordinators have in common, and what they use during a turn and leave empty.
#[derive(Debug)]
pub(super) struct CoordinatorDesk<G> {
    layout: Layout,
    pub(super) costs: Costs,
    burst: u32,
    in_flight: u32,
    /// Headroom and epsilon together.
    wait_ns: i64,
    pub(super) writers: ShardWriters,
    pub(super) books: Books<G>,
    /// Coordinators that have something to submit still, in an open loop.
    pub(super) open: u32,
    /// Why the workload can go no further.
    pub(super) failed: Option<String>,
    transaction: Transaction,
    places: Vec<usize>,
}

impl<G: Generator> CoordinatorDesk<G> {
    pub(super) fn new<W: Workload<Generator = G>>(
        config: &SimBenchConfig,
        workload: &W,
        layout: Layout,
        begin: i64,
    ) -> Self {
        Self {
            layout,
            costs: Costs::from(&config.service.coordinator),
            burst: config.burst(workload.shards_each(config.shards)),
            in_flight: config.in_flight,
            wait_ns: (Nanos::from(config.headroom) + config.epsilon.into()).0,
            writers: ShardWriters::new(config.shards, config.batch),
            books: Books {
                ledger: Ledger::new(config, begin, workload.kinds().len()),
                sources: Sources::new(workload, config),
            },
            open: if config.rate.is_some() { config.coordinators } else { 0 },
            failed: None,
            transaction: Transaction::new(config.shards, Limits::DEFAULT),
            places: Vec::new(),
        }
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
            blocked: None,
            is_done: false,
        }
    }

    /// Takes what has arrived, submits what is wanted, and packs what is to be sent. Returns
    /// whether there is more to submit at once.
    pub(super) fn turn<G: Generator>(
        &mut self,
        turn: &mut Turn,
        inbox: &mut Vec<Parcel>,
        (desk, shards): (&mut CoordinatorDesk<G>, &mut [ShardNode]),
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
                let Self { coordinator, flights, index, .. } = self;
                let sent_at =
                    |sequence: TxnSequence| shown(flights[usize::from(sequence.slot())].sent);
                estimates.replied(shown(at), place, (from, &frame), sent_at);
                let taken = coordinator.on_reply(shown(at), from, &frame, |done| {
                    desk.books.ended(*index, at, flights, done);
                });
                taken.expect("a shard sends valid replies");
            }
            post.give_back(parcel, bytes);
        }
        self.look_at_timers(turn, desk);
        let wants_more = self.submit_burst(turn, desk, shards, (&*estimates, &*post));
        let frames = desk.writers.pack(post);
        turn.spend(desk.costs.frame, frames);
        if !self.is_done && self.has_finished(turn.now(), desk.books.ledger.end) {
            self.is_done = true;
            desk.open = desk.open.saturating_sub(1);
        }
        wants_more
    }

    fn look_at_timers<G: Generator>(&mut self, turn: &mut Turn, desk: &mut CoordinatorDesk<G>) {
        let at = turn.now();
        let now = shown(at);
        if self.coordinator.next_deadline().is_none_or(|due| due > now) {
            return;
        }
        let Self { coordinator, flights, index, .. } = self;
        let CoordinatorDesk { writers, books, .. } = desk;
        coordinator.on_timer(now, writers, |done| books.ended(*index, at, flights, done));
    }

    /// Submits what is wanted now, up to a burst. Returns whether that was not all.
    fn submit_burst<G: Generator>(
        &mut self,
        turn: &mut Turn,
        desk: &mut CoordinatorDesk<G>,
        shards: &mut [ShardNode],
        way: (&Estimates, &Post),
    ) -> bool {
        for _ in 0..desk.burst {
            let flight = if let Some(mut blocked) = self.blocked.take() {
                std::mem::swap(&mut desk.transaction, &mut blocked.transaction);
                blocked.flight
            } else {
                let Some(intended) = self.next_intended(turn.now(), desk) else { return false };
                let Some(flight) = self.make(turn, desk, way.1, intended) else { return false };
                flight
            };
            if !self.submit(turn, desk, shards, way, flight) {
                return false;
            }
        }
        self.wants(turn.now(), desk)
    }

    /// Makes the next transaction. None if there can be no other.
    fn make<G: Generator>(
        &self,
        turn: &mut Turn,
        desk: &mut CoordinatorDesk<G>,
        post: &Post,
        intended: i64,
    ) -> Option<Flight> {
        let CoordinatorDesk { costs, books, transaction, failed, .. } = desk;
        let made = books.sources.make(self.index, transaction);
        let (kind, slot) = made.map_err(|why| *failed = Some(why)).ok()?;
        let span = transaction.shard_count() as u16;
        turn.spend(costs.piece, span.into());
        turn.spend(costs.op, transaction.op_count().into());
        turn.spend(costs.stamped, if span > 1 { span.into() } else { 0 });
        let bound = self.bound(desk, post);
        Some(Flight { intended, sent: intended, bound, span, kind, slot })
    }

    /// Whether the next transaction is due and there is room for it.
    fn wants<G>(&self, now: i64, desk: &CoordinatorDesk<G>) -> bool {
        let is_due = match self.pace {
            Pace::Closed => now < desk.books.ledger.end,
            Pace::Open { next_ps, .. } => {
                let next = next_ps / PS_PER_NS;
                next <= now && next < desk.books.ledger.end
            }
        };
        is_due && self.coordinator.in_flight() < desk.in_flight
    }

    /// When the next transaction is meant to start, if that is now or was before; the schedule goes
    /// on.
    fn next_intended<G>(&mut self, now: i64, desk: &CoordinatorDesk<G>) -> Option<i64> {
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

    /// Submits what was made, or keeps it for later. Returns whether it was taken.
    fn submit<G: Generator>(
        &mut self,
        turn: &Turn,
        desk: &mut CoordinatorDesk<G>,
        shards: &mut [ShardNode],
        (estimates, post): (&Estimates, &Post),
        flight: Flight,
    ) -> bool {
        let now = shown(turn.now());
        let place = post.place(desk.layout.shards + self.index);
        let CoordinatorDesk { transaction, writers, books, failed, .. } = desk;
        for shard in transaction.shards() {
            self.connect(now, &mut shards[usize::from(shard.0)], writers);
            if flight.span > 1
                && let Some(owd) = estimates.estimate(now, place, shard)
            {
                self.coordinator.owd_sample(now, shard, OwdSample { owd, rtt: None });
            }
        }
        match self.coordinator.submit(now, transaction, 0, writers) {
            Ok(sequence) => {
                let flight = Flight { sent: turn.now(), ..flight };
                self.flights[usize::from(sequence.slot())] = flight;
                books.ledger.sent(&flight);
                true
            }
            Err(SubmitError::Invalid(error)) => {
                *failed = Some(error.to_string());
                false
            }
            Err(_) => {
                let empty = Transaction::new(shards.len() as u16, Limits::DEFAULT);
                let transaction = std::mem::replace(transaction, empty);
                let again_at = turn.now() + Nanos::from(BUSY_BACKOFF).0;
                self.blocked = Some(Box::new(Blocked { transaction, flight, again_at }));
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

    /// The least time that the transaction takes that was made.
    fn bound<G>(&self, desk: &mut CoordinatorDesk<G>, post: &Post) -> i64 {
        let CoordinatorDesk { places, transaction, layout, wait_ns, .. } = desk;
        places.clear();
        places.extend(transaction.shards().map(|shard| post.place(shard.0.into())));
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
