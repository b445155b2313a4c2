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
use super::net::{Content, Net, QUEUE, Side};
use super::plans::Plans;
use super::queue_node::QueueNode;
use super::report::{FarmReport, FarmViolationKind};
use super::tuning::Tuning;
use super::worker_node::{Verdict, WorkerNode};
use crate::env::mix;
use crate::rng::Rng;
use punctual_core::journal::Durability;
use punctual_core::task::TaskQueueConfig;
use punctual_core::{Nanos, ShardId};
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

#[derive(Debug)]
pub(super) struct World {
    config: FarmConfig,
    now: i64,
    env: Env,
    rng: Rng,
    hosts: Vec<Host>,
    queue: Option<QueueNode>,
    disk: FarmDisk,
    clock: QueueClock,
    workers: Vec<WorkerNode>,
    clients: Vec<ClientNode>,
    trace: u64,
}

impl World {
    pub(super) fn new(config: &FarmConfig) -> Self {
        let config = FarmConfig {
            workers: config.workers.clamp(1, CALLERS_MAX),
            clients: config.clients.clamp(1, CALLERS_MAX),
            ..*config
        };
        let tuning = Tuning::draw(&config);
        let mut rng = Rng::new(config.seed, STREAM);
        let plans = Plans::draw(&tuning, config.faults.crashes_coordinator, &mut rng);
        let settings = queue_config(&config, &tuning);
        let callers = usize::from(config.workers + config.clients);
        let mut env = Env {
            events: Events::default(),
            net: Net::new(callers, config.faults, &tuning, Rng::new(rng.draw(), 0)),
            ledger: Ledger::new(&plans, &settings),
            rng: Rng::new(rng.draw(), 0),
            is_healed: false,
            plans,
            tuning,
        };
        let workers = 1..=usize::from(config.workers);
        let workers = workers.map(|node| WorkerNode::new(node, &mut env)).collect();
        let clients = clients(&config, &mut env);
        chaos::plan(&config, &env.tuning, &mut env.events);
        for node in 0..=callers {
            let at = rng.between(0, 5_000_000);
            env.events.plan(at, Event::Trouble(Trouble::Start { node }));
        }
        let (duration, disk_rng) = (config.duration.0.max(1), Rng::new(rng.draw(), 0));
        Self {
            disk: FarmDisk::new(settings, &env.tuning, config.faults.disk, duration, disk_rng),
            hosts: (0..=callers).map(|_| Host::default()).collect(),
            clock: QueueClock::new(),
            trace: config.seed,
            now: 0,
            queue: None,
            config,
            env,
            rng,
            workers,
            clients,
        }
    }

    /// Simulates everything, checks it, and says what it came to.
    pub(super) fn run(mut self) -> FarmReport {
        let end = self.config.duration.0.max(1) + 1;
        if self.run_until(end, |_| false) && self.come_to_rest() {
            self.look();
        }
        let Self { config, now, env, disk, trace, .. } = self;
        let Ledger { findings, mut counts, .. } = env.ledger;
        counts += &disk.counts;
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
            Event::Trouble(trouble) => self.suffer(trouble),
        }
    }

    fn note(&mut self, what: u64, who: usize) {
        self.trace = mix(mix(mix(self.trace, self.now as u64), what), who as u64);
    }

    fn deliver(&mut self, to: usize, conn: u32, content: Content) {
        let Some(content) = self.env.net.arrive(conn, Side::of(to), content) else { return };
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
        let workers = self.workers.len();
        let next = if node == QUEUE {
            self.turn_queue(inbox)
        } else if node <= workers {
            match self.workers[node - 1].turn(&mut self.env, at, inbox) {
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
            }
        } else {
            self.clients[node - 1 - workers].turn(&mut self.env, at, inbox)
        };
        if let Some(next) = next {
            self.request_turn(node, next);
        }
    }

    fn turn_queue(&mut self, inbox: VecDeque<(u32, Content)>) -> Option<i64> {
        let Self { queue: Some(queue), env, disk, clock, now: at, .. } = self else { return None };
        let at = *at;
        let now = clock.read(at);
        queue.turn(env, disk, at, now, inbox);
        let (deadline, retry) = queue.next_turn(at);
        // What is due already was done, or it cannot be done yet.
        let deadline = deadline.map(|shown| clock.when(shown, at).max(at + 1));
        [deadline, retry, disk.next_change(at)].into_iter().flatten().min()
    }

    /// The caller of a link tries to connect.
    fn connect(&mut self, link: usize) {
        let (node, workers) = (link + 1, self.workers.len());
        if !self.hosts[node].is_up || !self.env.net.is_free(link) {
            return;
        }
        if !self.hosts[QUEUE].is_up || !self.env.net.is_open(link, self.now) {
            return self.env.connect_soon(self.now, link);
        }
        let is_worker = node <= workers;
        let session = match is_worker {
            true => self.workers[node - 1].session(),
            false => self.clients[node - 1 - workers].session(),
        };
        let Some(session) = session else { return };
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
        let queue = self.queue.as_ref().map_or_else(|| "gone".to_owned(), QueueNode::describe);
        let clients: Vec<String> = self.clients.iter().map(ClientNode::describe).collect();
        let busy = self.workers.iter().filter(|worker| !worker.is_idle()).count();
        let text = format!("the queue: {queue}; clients: {clients:?}; {busy} workers not idle");
        self.env.ledger.find(FarmViolationKind::NotIdle, text);
        false
    }

    fn is_at_rest(&self) -> bool {
        let Some(node) = self.queue.as_ref().filter(|node| node.is_idle()) else { return false };
        let counts = node.queue.counts();
        self.env.is_healed
            && self.hosts.iter().all(|host| host.is_up)
            && self.workers.iter().all(WorkerNode::is_idle)
            && self.clients.iter().all(|client| client.is_idle(counts))
    }

    /// Looks at everything that the queue has, and at what its journal says that it has.
    fn look(&mut self) {
        let Self { queue: Some(node), env, disk, clock, now, .. } = self else { return };
        let Env { ledger, plans, .. } = env;
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
        ledger.check_ends(plans, &rows);
        ledger.add_stats(node.queue.stats());
    }
}

/// The settings of the queue.
fn queue_config(config: &FarmConfig, tuning: &Tuning) -> TaskQueueConfig {
    TaskQueueConfig {
        durability: Durability::Journal,
        lease_timeout: tuning.lease_timeout,
        heartbeat: tuning.heartbeat,
        reconnect_grace: tuning.reconnect_grace,
        backoff_min: tuning.backoff_min,
        backoff_max: tuning.backoff_max,
        losses_max: tuning.losses_max,
        mutation: config.mutation,
        ..TaskQueueConfig::new(ShardId(0))
    }
}

/// The clients, each with its share of the tasks; some tasks are submitted by two of them.
fn clients(config: &FarmConfig, env: &mut Env) -> Vec<ClientNode> {
    let count = usize::from(config.clients);
    let mut shares = vec![Vec::new(); count];
    for task in 0..env.plans.all.len() as u32 {
        let first = env.rng.index(count);
        shares[first].push(task);
        let second = (first + 1) % count;
        if second != first && env.rng.chance(env.tuning.shared) {
            shares[second].push(task);
        }
    }
    let nodes = 1 + usize::from(config.workers)..;
    nodes.zip(shares).map(|(node, share)| ClientNode::new(node, share)).collect()
}

/// A number that tells messages apart.
fn hash(content: &Content) -> u64 {
    match content {
        Content::Hello { session, is_worker } => mix(1 + u64::from(*is_worker), session.0),
        Content::Welcome => 3,
        Content::Closed(reason) => mix(4, reason.map_or(0, |reason| reason as u64)),
        Content::Frame(bytes) => {
            let (words, rest) = bytes.as_chunks::<8>();
            let hash = words.iter().fold(5, |hash, word| mix(hash, u64::from_le_bytes(*word)));
            rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
        }
    }
}
