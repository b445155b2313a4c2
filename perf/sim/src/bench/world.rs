//! The run: nodes, the cores that they are on, events, and the true time.

use super::Progress;
use super::clerk::{self, Clerk};
use super::config::{SimBenchConfig, SimBenchError};
use super::coordinator::{CoordinatorDesk, CoordinatorNode};
use super::estimates::Estimates;
use super::ledger::KindBook;
use super::post::{ClientWriters, Event, Kind, Layout, Parcel, Post};
use super::procedures::PriceList;
use super::report::{SimBenchReport, SimKindFigures, SimShardFigures};
use super::service::Turn;
use super::shard::{ShardDesk, ShardNode};
use crate::rng::Rng;
use punctual_core::{MemoryHooks, Nanos, Prober, ProberConfig, SessionId, ShardId, ShardStats};
use punctual_load::workload::{Generator, Sum, Workload};
use punctual_wire::{FrameReader, Limits};
use std::time::Duration;

const STREAM: u64 = 20;
/// What all clocks show at the start: far from zero, so that no time is negative.
const EPOCH: i64 = 1_000_000_000_000_000;
/// When the clerk begins to load: a million seconds before. It needs two or three milliseconds for
/// so many transactions as it has in flight, so memory ends before that.
pub(super) const LOADED_FROM: Nanos = Nanos(1_000_000_000);
/// What was under way when the last transaction ended has arrived by then.
const AFTER: Nanos = Nanos(1_000_000);
const NEVER: i64 = i64::MAX;
/// Progress is told every so many events.
const PROGRESS_EVENTS: u64 = 1 << 16;
/// Coordinators begin within this, or within three ways, if that is more.
const SPREAD_MIN: Duration = Duration::from_micros(100);
/// Probers have so long, and three ways, before the first coordinator begins.
const PROBING: Duration = Duration::from_millis(20);
/// After the end of the run it may go on for this, and two deadlines.
const DRAIN: Duration = Duration::from_secs(10);

/// What a clock shows. All are perfect.
pub(super) fn shown(at: i64) -> Nanos {
    Nanos(EPOCH + at)
}

/// When a clock shows that.
pub(super) fn true_time(shown: Nanos) -> i64 {
    shown.0.saturating_sub(EPOCH)
}

/// What the machinery knows of a node.
#[derive(Debug)]
struct Host {
    core: usize,
    inbox: Vec<Parcel>,
    /// When its next turn is planned.
    turn_at: i64,
    /// When it looks at its timers next.
    timer_at: i64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Core {
    busy_until: i64,
    /// How long it was at work in the measured part.
    busy_ns: i64,
}

/// What a workload has done, by what was acknowledged.
type DoneOf<W> = <<W as Workload>::Generator as Generator>::Done;
/// What is in the stores of a workload.
type FoundOf<W> = <<W as Workload>::Generator as Generator>::Found;

/// A run.
#[derive(Debug)]
pub(super) struct World<'a, W: Workload> {
    config: &'a SimBenchConfig,
    workload: &'a W,
    layout: Layout,
    now: i64,
    events: u64,
    post: Post,
    hosts: Vec<Host>,
    cores: Vec<Core>,
    shards: Vec<ShardNode>,
    coordinators: Vec<CoordinatorNode>,
    probers: Vec<Prober>,
    estimates: Estimates,
    shard_desk: ShardDesk,
    desk: CoordinatorDesk<W::Generator>,
    prices: PriceList,
    clerk: Clerk,
    /// The parcels of the present turn.
    inbox: Vec<Parcel>,
    /// What each shard had done at the beginning and at the end of the measured part.
    marks: Vec<Vec<ShardStats>>,
}

impl<'a, W: Workload> World<'a, W> {
    /// A cluster whose stores are loaded.
    pub(super) fn new(config: &'a SimBenchConfig, workload: &'a W) -> Result<Self, SimBenchError> {
        let layout = Layout::new(config);
        let mut rng = Rng::new(config.seed, STREAM);
        let ways = config.network.longest() * 3;
        let spread = Nanos::from(SPREAD_MIN.max(ways)).0;
        let start = if layout.probers > 0 { Nanos::from(PROBING + ways).0 } else { 0 };
        let begin = start + spread + Nanos::from(config.warmup).0;
        let prices = PriceList::new(workload.procedures(), &config.service);
        let mut shard = |id| {
            let (session, memory) = (SessionId(rng.draw()), MemoryHooks::default());
            ShardNode::new(id, session, config, (&prices.procedures, &prices.meter), memory)
        };
        let shards = (0..config.shards).map(&mut shard).collect();
        let mut coordinator = |index| {
            let begins = start + if index == 0 { 0 } else { rng.between(0, spread) };
            CoordinatorNode::new(index, config, begins, Rng::new(rng.draw(), 0))
        };
        let coordinators = (0..config.coordinators).map(&mut coordinator).collect();
        let clerk = Clerk::new(config, SessionId(rng.draw()), LOADED_FROM);
        let prober = |_| Prober::new(prober_config(config, rng.draw()));
        let (hosts, cores) = hosts(config, layout);
        let writers = ClientWriters::new(layout.clients(), config.batch);
        let mut world = Self {
            config,
            workload,
            layout,
            now: 0,
            events: 0,
            post: Post::new(config, layout),
            hosts,
            cores,
            shards,
            coordinators,
            probers: (0..layout.probers).map(prober).collect(),
            estimates: Estimates::new(config, layout),
            shard_desk: ShardDesk { layout, writers },
            desk: CoordinatorDesk::new(config, workload, layout, begin),
            prices,
            clerk,
            inbox: Vec::new(),
            marks: Vec::new(),
        };
        world.load()?;
        world.start();
        Ok(world)
    }

    /// Connects the shards and loads their stores. All that is over before the first moment.
    fn load(&mut self) -> Result<(), SimBenchError> {
        let Self { clerk, shards, desk, prices, .. } = self;
        clerk.connect(shards);
        for generator in desk.books.sources.generators() {
            clerk.load(shards, generator)?;
        }
        clerk.settle(shards);
        shards.iter_mut().for_each(ShardNode::forget_costs);
        prices.forget_calls();
        Ok(())
    }

    /// Connects the probers, and plans what each node does first.
    fn start(&mut self) {
        for prober in &mut self.probers {
            for shard in 0..self.config.shards {
                prober.on_link_up(shown(0), ShardId(shard));
            }
        }
        let Layout { shards, coordinators, .. } = self.layout;
        for node in 0..self.layout.nodes() {
            self.set_timer(node);
        }
        for index in 0..coordinators {
            let begins = self.coordinators[index as usize].begins;
            self.request_turn(shards + index, begins);
        }
    }

    /// Simulates everything, checks it, and says what it came to.
    pub(super) fn run(
        mut self,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<SimBenchReport, SimBenchError> {
        let (begin, end) = (self.desk.books.ledger.begin, self.desk.books.ledger.end);
        let limit = end + Nanos::from(DRAIN + self.config.deadline() * 2).0;
        while let Some((at, event)) = self.post.next_before(limit) {
            if at >= end && self.desk.books.ledger.in_flight == 0 && self.desk.open == 0 {
                break;
            }
            self.now = at;
            self.events += 1;
            if self.events.is_multiple_of(PROGRESS_EVENTS) {
                progress(self.progress());
                clerk::check_stores(&self.shards)?;
            }
            if at >= begin && self.marks.is_empty() {
                self.mark();
            }
            if at >= end && self.marks.len() == 1 {
                self.mark();
            }
            self.handle(event);
            if let Some(why) = self.desk.failed.take() {
                return Err(SimBenchError::Workload(why));
            }
        }
        while self.marks.len() < 2 {
            self.mark();
        }
        progress(self.progress());
        Ok(self.report())
    }

    fn progress(&self) -> Progress {
        let ledger = &self.desk.books.ledger;
        let virtual_ns = self.now.min(ledger.end).max(0);
        Progress {
            virtual_time: Duration::from_nanos(virtual_ns.unsigned_abs()),
            total: Duration::from_nanos(ledger.end.unsigned_abs()),
            events: self.events,
            committed: ledger.whole.committed,
        }
    }

    fn mark(&mut self) {
        self.marks.push(self.shards.iter().map(|node| node.shard.stats()).collect());
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrival { to, parcel } => {
                self.hosts[to as usize].inbox.push(parcel);
                self.request_turn(to, self.now);
            }
            Event::Turn { node } => {
                let host = &mut self.hosts[node as usize];
                // Otherwise an earlier one was planned instead.
                if host.turn_at == self.now {
                    host.turn_at = NEVER;
                    self.turn(node);
                }
            }
            Event::Timer { node } => {
                let host = &mut self.hosts[node as usize];
                if host.timer_at == self.now {
                    host.timer_at = NEVER;
                    self.set_timer(node);
                }
            }
        }
    }

    /// Plans a turn of a node, unless there will be one before.
    fn request_turn(&mut self, node: u32, at: i64) {
        let host = &mut self.hosts[node as usize];
        let at = at.max(self.cores[host.core].busy_until).max(self.now);
        if at < host.turn_at {
            host.turn_at = at;
            self.post.plan(at, Event::Turn { node });
        }
    }

    /// Plans a turn for when something is due, or a look at what is due then. A node has one timer,
    /// however often what it waits for changes.
    fn set_timer(&mut self, node: u32) {
        let due = match self.layout.kind(node) {
            Kind::Shard(at) => self.shards[usize::from(at)].shard.next_deadline().map(true_time),
            Kind::Coordinator(at) => self.coordinators[at as usize].next_timer(),
            Kind::Prober(at) => self.probers[at as usize].next_deadline().map(true_time),
        };
        let Some(due) = due else { return };
        let host = &mut self.hosts[node as usize];
        if due <= self.now.max(self.cores[host.core].busy_until) {
            return self.request_turn(node, due);
        }
        if due < host.timer_at {
            host.timer_at = due;
            self.post.plan(due, Event::Timer { node });
        }
    }

    /// A node takes what has arrived, does what is due, and sends.
    fn turn(&mut self, node: u32) {
        let host = &mut self.hosts[node as usize];
        let core = host.core;
        let busy_until = self.cores[core].busy_until;
        if busy_until > self.now {
            // Another node on this core was first.
            return self.request_turn(node, busy_until);
        }
        std::mem::swap(&mut host.inbox, &mut self.inbox);
        let Self {
            post, inbox, shards, coordinators, probers, desk, shard_desk, estimates, ..
        } = self;
        let mut turn = Turn::new(self.now);
        let mut wants_more = false;
        match self.layout.kind(node) {
            Kind::Shard(at) => shards[usize::from(at)].turn(&mut turn, inbox, shard_desk, post),
            Kind::Coordinator(at) => {
                let coordinator = &mut coordinators[at as usize];
                let around = (&mut *desk, &mut shards[..]);
                wants_more = coordinator.turn(&mut turn, inbox, around, estimates, post);
            }
            Kind::Prober(at) => {
                let place = at as usize;
                probe((place, &mut probers[place]), &mut turn, inbox, (desk, estimates), post);
            }
        }
        let end = turn.end();
        post.send(node, end);
        let ledger = &self.desk.books.ledger;
        let counted = end.min(ledger.end) - self.now.max(ledger.begin);
        let core = &mut self.cores[core];
        core.busy_until = end;
        core.busy_ns += counted.max(0);
        if wants_more {
            self.request_turn(node, end);
        }
        self.set_timer(node);
    }

    /// What is wrong with the stores, or `ok`.
    fn self_check(&mut self, done: &DoneOf<W>) -> String {
        let in_flight = self.desk.books.ledger.in_flight;
        if in_flight > 0 {
            return format!("{in_flight} transactions did not end");
        }
        let differ = |node: &CoordinatorNode| node.coordinator.stats().commit_mismatch;
        let differ: u64 = self.coordinators.iter().map(differ).sum();
        if differ > 0 {
            return format!("{differ} transactions had different times on their shards");
        }
        let differs = match self.find() {
            Ok(found) => self.workload.check_store(done, &found).err(),
            Err(error) => Some(format!("not run: {error}")),
        };
        differs.unwrap_or_else(|| "ok".to_owned())
    }

    /// Reads the stores.
    fn find(&mut self) -> Result<FoundOf<W>, SimBenchError> {
        let busy_until = self.cores.iter().map(|core| core.busy_until).max().unwrap_or(0);
        let after = shown(self.now.max(busy_until)) + AFTER;
        let Self { clerk, shards, desk, .. } = self;
        let mut all = FoundOf::<W>::default();
        for generator in desk.books.sources.generators() {
            clerk.verify(after, shards, generator)?;
            all.add(&generator.found());
        }
        Ok(all)
    }

    fn report(mut self) -> SimBenchReport {
        let (per_shard, (busy_mean, busy_max)) = (self.shard_figures(), self.coordinator_busy());
        let warnings: Vec<String> = self.prices.warning(&self.config.service).into_iter().collect();
        let done = self.desk.books.sources.done();
        let self_check = self.self_check(&done);
        let stats = || self.coordinators.iter().map(|node| node.coordinator.stats());
        let (busy, retries) = (stats().map(|it| it.busy).sum(), stats().map(|it| it.retries).sum());
        let end = self.desk.books.ledger.end;
        let unsent = self.coordinators.iter().map(|node| node.unsent(end)).sum();
        let Self { config, workload, desk, post, now, events, .. } = self;
        let ledger = desk.books.ledger;
        let bound_mean_ns = ledger.bound_mean();
        let is_open_loop = config.rate.is_some();
        let to_the_last = (ledger.last_commit - ledger.begin).max(ledger.end - ledger.begin);
        let measured_ns = if is_open_loop { to_the_last } else { ledger.end - ledger.begin };
        let duration = Duration::from_nanos(measured_ns.unsigned_abs());
        SimBenchReport {
            seed: config.seed,
            duration,
            warmup: config.warmup,
            virtual_time: Duration::from_nanos(now.unsigned_abs()),
            events,
            trace: post.trace,
            submitted: ledger.submitted,
            committed: ledger.measured.committed,
            aborted: ledger.measured.aborted,
            refused: ledger.measured.refused,
            unknown: ledger.whole.unknown,
            stamped: ledger.stamped,
            late: ledger.late,
            busy,
            retries,
            unsent,
            throughput_tps: ledger.measured.committed as f64 / duration.as_secs_f64(),
            latency: ledger.latency,
            response: is_open_loop.then_some(ledger.response),
            lag: is_open_loop.then_some(ledger.lag),
            hold: ledger.hold,
            agreement: ledger.agreement,
            lateness: ledger.lateness,
            bound_mean_ns,
            frames_sent: post.frames,
            messages_sent: post.messages,
            per_shard,
            coordinator_busy_mean: busy_mean,
            coordinator_busy_max: busy_max,
            self_check,
            kinds: kinds(workload.kinds(), ledger.kinds),
            figures: workload.figures(&done),
            warnings,
        }
    }

    /// The part of the measured time in which a core was at work.
    fn busy(&self, core: usize) -> f64 {
        let ledger = &self.desk.books.ledger;
        self.cores[core].busy_ns as f64 / (ledger.end - ledger.begin) as f64
    }

    /// The mean and the most of all cores of coordinators.
    fn coordinator_busy(&self) -> (f64, f64) {
        let (first, count) = cores_of(self.config);
        let busy = (first..first + count).map(|core| self.busy(core));
        let (sum, most) = busy.fold((0.0, 0.0_f64), |(sum, most), it| (sum + it, most.max(it)));
        (sum / count as f64, most)
    }

    fn shard_figures(&self) -> Vec<SimShardFigures> {
        let figures = |(shard, host): (u16, &Host)| {
            let at = usize::from(shard);
            let (before, after) = (&self.marks[0][at], &self.marks[1][at]);
            SimShardFigures {
                shard,
                committed: after.committed - before.committed,
                ops: after.ops - before.ops,
                stamped: after.stamped - before.stamped,
                late: after.late - before.late,
                held: after.held,
                busy: self.busy(host.core),
            }
        };
        (0..self.config.shards).zip(&self.hosts).map(figures).collect()
    }
}

/// The figures of each kind of transactions.
fn kinds(names: &[&'static str], books: Vec<KindBook>) -> Vec<SimKindFigures> {
    let figures = |(name, book): (&'static str, KindBook)| {
        let KindBook { committed, aborted, latency } = book;
        SimKindFigures { name, committed, aborted, latency }
    };
    names.iter().copied().zip(books).map(figures).collect()
}

/// All nodes, idle, and the cores that they are on.
fn hosts(config: &SimBenchConfig, layout: Layout) -> (Vec<Host>, Vec<Core>) {
    let (shard_cores, coordinator_cores) = cores_of(config);
    let core = |node: u32| match layout.kind(node) {
        Kind::Shard(shard) => usize::from(shard) % shard_cores,
        Kind::Coordinator(at) => shard_cores + at as usize % coordinator_cores,
        Kind::Prober(at) => shard_cores + coordinator_cores + at as usize,
    };
    let host = |node| Host { core: core(node), inbox: Vec::new(), turn_at: NEVER, timer_at: NEVER };
    let cores = shard_cores + coordinator_cores + layout.probers as usize;
    ((0..layout.nodes()).map(host).collect(), vec![Core::default(); cores])
}

/// How many cores the shards have, and how many the coordinators.
fn cores_of(config: &SimBenchConfig) -> (usize, usize) {
    let shards = config.shard_cores.unwrap_or(config.shards);
    let coordinators = config.coordinator_cores.unwrap_or(config.coordinators);
    (shards.into(), coordinators as usize)
}

/// A prober's defaults are those of the engine; it waits longer where the way is long.
fn prober_config(config: &SimBenchConfig, seed: u64) -> ProberConfig {
    let defaults = ProberConfig::new(config.shards, seed);
    let lost_after = defaults.lost_after.max(config.network.longest() * 4);
    ProberConfig { owd: config.owd, lost_after, ..defaults }
}

/// The turn of a prober. It has a core of its own, and needs for turns and frames what a
/// coordinator needs, so that its probes tell of that as well.
fn probe<G>(
    (place, prober): (usize, &mut Prober),
    turn: &mut Turn,
    inbox: &mut Vec<Parcel>,
    (desk, estimates): (&mut CoordinatorDesk<G>, &mut Estimates),
    post: &mut Post,
) {
    turn.spend(desk.costs.turn, 1);
    for parcel in inbox.drain(..) {
        let bytes = post.open(parcel);
        let mut frames = FrameReader::new(&bytes, Limits::DEFAULT, false);
        let from = ShardId(parcel.from as u16);
        while let Some(frame) = frames.next_frame().expect("a writer makes valid frames") {
            turn.spend(desk.costs.frame, 1);
            let now = shown(turn.now());
            let taken = prober.on_frame(now, from, &frame, |it| estimates.probed(place, &it));
            taken.expect("a shard answers probes");
        }
        post.give_back(parcel, bytes);
    }
    prober.on_timer(shown(turn.now()), &mut desk.writers);
    let frames = desk.writers.pack(post);
    turn.spend(desk.costs.frame, frames);
}
