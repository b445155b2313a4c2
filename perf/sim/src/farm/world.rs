//! The run of a farm: nodes, events, and the true time.

mod troubles;

use super::chaos;
use super::check::Ledger;
use super::client_node::ClientNode;
use super::clock::QueueClock;
use super::config::FarmConfig;
use super::disk::FarmDisk;
use super::env::Env;
use super::events::{Event, Events, Trouble};
use super::inspect;
use super::layout::{Kind, Layout, QUEUE, Side};
use super::net::{Content, Net};
use super::plans::Plans;
use super::queue_node::QueueNode;
use super::report::{FarmReport, FarmViolationKind};
use super::tuning::Tuning;
use super::worker_node::{Room, Verdict, WorkerNode};
use crate::env::mix;
use crate::faults::Faults;
use crate::rng::Rng;
use punctual_core::journal::Durability;
use punctual_core::task::TaskQueueConfig;
use punctual_core::{Nanos, ShardId};
use punctual_wire::task::{QUEUES_MAX, StateCounts};
use std::collections::VecDeque;

const STREAM: u64 = 23;
/// Most workers, and most clients. More asked for is taken as this.
const CALLERS_MAX: u16 = 64;
/// A run with more events than this is stuck in some loop; a healthy one has some ten thousand.
const EVENTS_MAX: u64 = 3_000_000;
/// So long after everything was mended it must have come to rest.
const REST_WITHIN: i64 = 60_000_000_000;
/// A node notices what has arrived after up to this.
const WAKE_MAX: i64 = 2_000;
/// A turn takes up to this.
const TURN_MAX: i64 = 20_000;
/// So long may a task wait although a worker has room for it: many times what it takes to ask a
/// lease back and to give it to another worker, and longer than all but one run in a million, for
/// what is asked back first may turn out to run.
const WAIT_MAX: i64 = 300_000_000;
/// So long after everything was mended nobody counts any more on what is gone.
const SETTLED_AFTER: i64 = 2_000_000_000;

/// What the machinery knows of a node.
#[derive(Debug, Default)]
struct Host {
    is_up: bool,
    inbox: VecDeque<(u32, Content)>,
    /// When its next turn is planned.
    turn_at: Option<i64>,
    busy_until: i64,
    frozen_until: i64,
}

/// A queue of the server, with what stays of it when the server is killed.
#[derive(Debug)]
struct Shard {
    node: Option<QueueNode>,
    disk: FarmDisk,
    clock: QueueClock,
}

#[derive(Debug)]
pub(super) struct World {
    config: FarmConfig,
    now: i64,
    env: Env,
    rng: Rng,
    hosts: Vec<Host>,
    shards: Vec<Shard>,
    workers: Vec<WorkerNode>,
    clients: Vec<ClientNode>,
    trace: u64,
}

impl World {
    pub(super) fn new(config: &FarmConfig) -> Self {
        let config = FarmConfig {
            queues: config.queues.clamp(1, QUEUES_MAX),
            workers: config.workers.clamp(1, CALLERS_MAX),
            clients: config.clients.clamp(1, CALLERS_MAX),
            ..*config
        };
        let tuning = Tuning::draw(&config);
        let layout = Layout::of(&config);
        let mut rng = Rng::new(config.seed, STREAM);
        let may_kill = config.faults.crashes_coordinator;
        let plans = Plans::draw(&tuning, config.queues, may_kill, &mut rng);
        let settings = |queue| queue_config(&config, &tuning, ShardId(queue));
        let ledger = Ledger::new(&plans, layout.queues, &settings(0));
        let net = Net::new(layout, config.faults, &tuning, Rng::new(rng.draw(), 0));
        let rng_of_nodes = Rng::new(rng.draw(), 0);
        let starts: Vec<(usize, i64)> = std::iter::once(QUEUE)
            .chain(layout.caller_nodes())
            .map(|node| (node, rng.between(0, 5_000_000)))
            .collect();
        let duration = config.duration.0.max(1);
        let shard = |queue| {
            let (is_bad, disk_rng) = (config.faults.disk, Rng::new(rng.draw(), 0));
            let disk = FarmDisk::new(settings(queue), &tuning, is_bad, duration, disk_rng);
            Shard { node: None, disk, clock: QueueClock::new() }
        };
        let shards = (0..config.queues).map(shard).collect();
        let mut env = Env {
            layout,
            events: Events::default(),
            net,
            ledger,
            rng: rng_of_nodes,
            is_healed: false,
            plans,
            tuning,
        };
        let workers = (0..layout.workers).map(|at| layout.worker(at));
        let workers = workers.map(|node| WorkerNode::new(node, &mut env)).collect();
        let clients = clients(layout, &mut env);
        chaos::plan(&config, layout, &env.tuning, &mut env.events);
        for (node, at) in starts {
            env.events.plan(at, Event::Trouble(Trouble::Start { node }));
        }
        if layout.queues > 1 {
            let has_trouble = config.faults != Faults::none() || env.tuning.low_memory > 0;
            let first = if has_trouble { duration + SETTLED_AFTER } else { WAIT_MAX };
            env.events.plan(first, Event::Look);
        }
        let hosts = (0..layout.nodes()).map(|_| Host::default()).collect();
        let trace = config.seed;
        Self { now: 0, config, env, rng, hosts, shards, workers, clients, trace }
    }

    /// Simulates everything, checks it, and says what it came to.
    pub(super) fn run(mut self) -> FarmReport {
        let end = self.config.duration.0.max(1) + 1;
        if self.run_until(end, |_| false) && self.come_to_rest() {
            self.look();
        }
        let Self { config, now, env, shards, trace, .. } = self;
        let Ledger { findings, mut counts, .. } = env.ledger;
        for shard in &shards {
            counts += &shard.disk.counts;
        }
        (counts.frames, counts.cuts) = (env.net.frames, env.net.cuts);
        FarmReport {
            seed: config.seed,
            violations: findings.told,
            violation_count: findings.count,
            counts,
            virtual_time: Nanos(now),
            trace,
        }
    }

    /// Handles events until `limit`, or until `is_done`. False if the run is beyond hope.
    fn run_until(&mut self, limit: i64, is_done: impl Fn(&Self) -> bool) -> bool {
        while let Some((at, event)) = self.env.events.next_before(limit) {
            self.now = at;
            self.env.ledger.counts.events += 1;
            if self.env.ledger.counts.events > EVENTS_MAX {
                let text = format!("more than {EVENTS_MAX} events after {at} ns");
                self.env.ledger.find(FarmViolationKind::Livelock, text);
                return false;
            }
            self.handle(event);
            if is_done(self) {
                return true;
            }
        }
        true
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver { to, conn, content } => self.deliver(to, conn, content),
            Event::Turn { node } => self.turn(node),
            Event::Connect { link } => self.connect(link),
            Event::Look => self.look_around(),
            Event::Trouble(trouble) => self.suffer(trouble),
        }
    }

    fn note(&mut self, what: u64, who: usize) {
        self.trace = mix(mix(mix(self.trace, self.now as u64), what), who as u64);
    }

    fn deliver(&mut self, to: usize, conn: u32, content: Content) {
        let side = self.env.layout.side(to);
        let Some(content) = self.env.net.arrive(conn, side, content) else { return };
        if !self.hosts[to].is_up {
            return;
        }
        self.note(hash(&content), to);
        self.hosts[to].inbox.push_back((conn, content));
        let wake = self.now + self.rng.between(0, WAKE_MAX);
        self.request_turn(to, wake);
    }

    /// Plans a turn of a node, unless there will be one before.
    fn request_turn(&mut self, node: usize, at: i64) {
        let host = &mut self.hosts[node];
        let at = at.max(host.busy_until).max(host.frozen_until).max(self.now);
        if host.turn_at.is_some_and(|planned| planned <= at) {
            return;
        }
        host.turn_at = Some(at);
        self.env.events.plan(at, Event::Turn { node });
    }

    /// A node takes what has arrived, does what is due, and sends.
    fn turn(&mut self, node: usize) {
        let at = self.now;
        let host = &mut self.hosts[node];
        if host.turn_at != Some(at) || !host.is_up {
            // An earlier one was planned instead, or the node was killed since.
            return;
        }
        host.turn_at = None;
        if host.frozen_until > at {
            let until = host.frozen_until;
            return self.request_turn(node, until);
        }
        host.busy_until = at + self.rng.between(500, TURN_MAX);
        let inbox = std::mem::take(&mut host.inbox);
        self.note(7, node);
        let next = match self.env.layout.kind(node) {
            Kind::Queue(queue) => self.turn_queue(queue, inbox),
            Kind::Worker(worker) => match self.workers[worker].turn(&mut self.env, at, inbox) {
                Verdict::Next(next) => next,
                Verdict::Killed => {
                    self.kill(node);
                    return self.start_soon(node);
                }
                Verdict::Stopped => {
                    self.env.ledger.counts.drained += 1;
                    self.stop(node);
                    return self.start_soon(node);
                }
            },
            Kind::Client(client) => self.clients[client].turn(&mut self.env, at, inbox),
        };
        if let Some(next) = next {
            self.request_turn(node, next);
        }
    }

    fn turn_queue(&mut self, queue: usize, inbox: VecDeque<(u32, Content)>) -> Option<i64> {
        let Self { shards, env, now: at, .. } = self;
        let Shard { node, disk, clock } = &mut shards[queue];
        let (node, at) = (node.as_mut()?, *at);
        let now = clock.read(at);
        node.turn(env, disk, at, now, inbox);
        let (deadline, retry) = node.next_turn(at);
        // What is due already was done, or it cannot be done yet.
        let deadline = deadline.map(|shown| clock.when(shown, at).max(at + 1));
        [deadline, retry, disk.next_change(at)].into_iter().flatten().min()
    }

    /// The caller of a link tries to connect.
    fn connect(&mut self, link: usize) {
        let layout = self.env.layout;
        let (node, queue) = (layout.caller(link), layout.queue(link));
        if !self.hosts[node].is_up || !self.env.net.is_free(link) {
            return;
        }
        let (session, is_worker) = match layout.kind(node) {
            Kind::Worker(worker) => (self.workers[worker].session(queue), true),
            Kind::Client(client) => (self.clients[client].session(queue), false),
            Kind::Queue(_) => return,
        };
        // It may have started anew, and does not know of this queue yet.
        let Some(session) = session else { return };
        if !self.hosts[QUEUE].is_up || !self.env.net.is_open(link, self.now) {
            return self.env.connect_soon(self.now, link);
        }
        let Env { net, events, .. } = &mut self.env;
        let conn = net.connect(link);
        net.send(events, self.now, conn, Side::Caller, Content::Hello { session, is_worker });
    }

    /// Waits until all tasks are at their end and nobody has anything to do. False if that does not
    /// happen.
    fn come_to_rest(&mut self) -> bool {
        let limit = self.now + REST_WITHIN;
        let goes = self.run_until(limit, Self::is_at_rest);
        if !goes || self.is_at_rest() {
            return goes;
        }
        let describe = |shard: &Shard| match &shard.node {
            Some(node) => node.describe(),
            None => "gone".to_owned(),
        };
        let queues: Vec<String> = self.shards.iter().map(describe).collect();
        let clients: Vec<String> = self.clients.iter().map(ClientNode::describe).collect();
        let busy = self.workers.iter().filter(|worker| !worker.is_idle()).count();
        let text = format!("queues: {queues:?}; clients: {clients:?}; {busy} workers not idle");
        self.env.ledger.find(FarmViolationKind::NotIdle, text);
        false
    }

    fn is_at_rest(&self) -> bool {
        let counts_at_rest = |shard: &Shard| {
            let node = shard.node.as_ref().filter(|node| node.is_idle());
            node.map(|node| node.queue.counts())
        };
        let counts: Option<Vec<StateCounts>> = self.shards.iter().map(counts_at_rest).collect();
        let Some(counts) = counts else { return false };
        self.env.is_healed
            && self.hosts.iter().all(|host| host.is_up)
            && self.workers.iter().all(WorkerNode::is_idle)
            && self.clients.iter().all(|client| client.is_idle(&counts))
    }

    /// Looks whether tasks wait although a worker has had room for them since the last time.
    fn look_around(&mut self) {
        let Self { env, shards, workers, now, .. } = self;
        let since = env.ledger.looked_at();
        let rooms: Vec<Room> = workers.iter().filter_map(|it| it.room(env, since)).collect();
        let mut rows = Vec::new();
        for shard in shards {
            match shard.disk.rows(shard.clock.read(*now)) {
                Ok(more) => rows.extend(more),
                Err(error) => env.ledger.find(FarmViolationKind::Recovery, error),
            }
        }
        env.ledger.look(&env.plans, *now, &rows, &rooms);
        env.events.plan(*now + WAIT_MAX, Event::Look);
    }

    /// Looks at everything that the queues have, and at what their journals say that they have.
    fn look(&mut self) {
        let Self { shards, env, now, .. } = self;
        let Env { ledger, plans, .. } = env;
        let mut all = Vec::new();
        for Shard { node, disk, clock } in shards {
            let Some(node) = node else { return };
            let shown = clock.read(*now);
            let compared = disk.compare(shown);
            let rows = inspect::rows(&mut node.queue, shown, |queue| {
                *now = disk.next_change(*now).map_or(*now + 1, |at| at.max(*now + 1));
                disk.look(*now, queue);
                disk.pump(*now, queue, &mut ledger.findings);
                clock.read(*now)
            });
            let rows = rows.unwrap_or_else(|error| {
                ledger.find(FarmViolationKind::NotIdle, error);
                Vec::new()
            });
            let copy = disk.rows(shown);
            let same = compared.and(copy).and_then(|copy| inspect::compare(rows.clone(), copy));
            if let Err(error) = same {
                let text = format!("the queue is not what its journal says: {error}");
                ledger.find(FarmViolationKind::Recovery, text);
            }
            all.extend(rows);
            ledger.add_stats(node.queue.stats());
        }
        ledger.check_ends(plans, &all);
    }
}

/// The settings of a queue.
fn queue_config(config: &FarmConfig, tuning: &Tuning, id: ShardId) -> TaskQueueConfig {
    TaskQueueConfig {
        durability: Durability::Journal,
        lease_timeout: tuning.lease_timeout,
        heartbeat: tuning.heartbeat,
        reconnect_grace: tuning.reconnect_grace,
        backoff_min: tuning.backoff_min,
        backoff_max: tuning.backoff_max,
        losses_max: tuning.losses_max,
        mutation: config.mutation,
        ..TaskQueueConfig::new(id)
    }
}

/// The clients, each with its share of the tasks; some tasks are submitted by two of them.
fn clients(layout: Layout, env: &mut Env) -> Vec<ClientNode> {
    let nodes = layout.caller_nodes().skip(layout.workers);
    let count = nodes.len();
    let mut shares = vec![Vec::new(); count];
    for task in 0..env.plans.all.len() as u32 {
        let first = env.rng.index(count);
        shares[first].push(task);
        let second = (first + 1) % count;
        if second != first && env.rng.chance(env.tuning.shared) {
            shares[second].push(task);
        }
    }
    nodes.zip(shares).map(|(node, share)| ClientNode::new(node, share)).collect()
}

/// A number that tells messages apart.
fn hash(content: &Content) -> u64 {
    match content {
        Content::Hello { session, is_worker } => mix(1 + u64::from(*is_worker), session.0),
        Content::Welcome { .. } => 3,
        Content::Closed(reason) => mix(4, reason.map_or(0, |reason| reason as u64)),
        Content::Frame(bytes) => {
            let (words, rest) = bytes.as_chunks::<8>();
            let hash = words.iter().fold(5, |hash, word| mix(hash, u64::from_le_bytes(*word)));
            rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
        }
    }
}
