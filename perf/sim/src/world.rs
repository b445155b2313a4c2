//! The run: nodes, events, and the true time.

use crate::chaos;
use crate::check;
use crate::clock::SimClock;
use crate::config::{NODES_MAX, SimConfig};
use crate::disk::{Disk, Opened};
use crate::env::{Env, Kind, Layout, Turn, content_hash, mix};
use crate::history::{End, Ended, History};
use crate::keys::Keyspace;
use crate::network::{Content, Network};
use crate::node::{CoordinatorNode, ProberNode, ShardNode};
use crate::queue::{Event, Fault, Queue};
use crate::report::{SimCounts, SimReport};
use crate::rng::Rng;
use crate::tuning::Tuning;
use crate::violation::{Findings, ViolationKind};
use crate::workload::{Generator, Plan, procedures};
use punctual_core::{Nanos, Procedures, SessionId, Shard, ShardConfig};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

const STREAM: u64 = 6;
/// A run with more events than this is stuck in some loop; a healthy one has some ten thousand.
const EVENTS_MAX: u64 = 4_000_000;
/// So long after everything was mended it must have come to rest.
const REST_WITHIN: i64 = 30_000_000_000;
/// No stamp of a healthy cluster is further ahead than this.
const SURE_HOLD: Duration = Duration::from_millis(500);
/// A node notices what has arrived after up to this.
const WAKE_MAX: i64 = 1_000;

/// What the machinery knows of a node.
#[derive(Debug)]
struct Host {
    is_up: bool,
    inbox: VecDeque<(u32, Content)>,
    /// When its next turn is planned.
    turn_at: Option<i64>,
    busy_until: i64,
    paused_until: i64,
}

/// A run.
#[derive(Debug)]
pub(crate) struct World {
    config: SimConfig,
    now: i64,
    env: Env,
    rng: Rng,
    procedures: Arc<Procedures>,
    clocks: Vec<SimClock>,
    hosts: Vec<Host>,
    shards: Vec<Option<ShardNode>>,
    /// Of the shards that have a journal.
    disks: Vec<Option<Disk>>,
    coordinators: Vec<Option<CoordinatorNode>>,
    probers: Vec<Option<ProberNode>>,
    is_healed: bool,
    counts: SimCounts,
    trace: u64,
}

impl World {
    pub(crate) fn new(config: &SimConfig) -> Self {
        let config = SimConfig {
            shards: config.shards.clamp(1, NODES_MAX),
            coordinators: config.coordinators.clamp(1, NODES_MAX),
            ..*config
        };
        let SimConfig { shards, coordinators, workload, .. } = config;
        let tuning = Tuning::draw(&config);
        let mut rng = Rng::new(config.seed, STREAM);
        let has_probers = tuning.has_probers;
        let layout = Layout { shards, coordinators, has_probers };
        let holds = |key| Generator::holds(workload, key, shards);
        let keys = Keyspace::new(tuning.keys, shards, holds);
        let nodes = layout.nodes();
        let host = |_| Host {
            is_up: false,
            inbox: VecDeque::new(),
            turn_at: None,
            busy_until: 0,
            paused_until: 0,
        };
        let mut world = Self {
            config,
            now: 0,
            procedures: Arc::new(procedures(&tuning)),
            clocks: chaos::clocks(&config, &tuning, layout),
            hosts: (0..nodes).map(host).collect(),
            shards: (0..shards).map(|_| None).collect(),
            disks: Vec::new(),
            coordinators: (0..coordinators).map(|_| None).collect(),
            probers: (0..coordinators).map(|_| None).collect(),
            is_healed: false,
            counts: SimCounts::default(),
            trace: config.seed,
            env: Env {
                layout,
                queue: Queue::default(),
                network: Network::new(&config, &tuning),
                history: History::new(keys),
                findings: Findings::default(),
                generator: Generator::new(&config, shards, &tuning, Rng::new(rng.draw(), 0)),
                rng: Rng::new(rng.draw(), 0),
                tuning,
            },
            rng,
        };
        world.lay_links();
        world.disks = (0..shards).map(|shard| world.disk(shard)).collect();
        let links = world.env.network.links.len();
        let Env { tuning, queue, .. } = &mut world.env;
        chaos::plan(&config, tuning, layout, links, queue);
        for node in 0..nodes {
            let at = world.rng.between(0, 100_000);
            world.env.queue.plan(at, Event::Fault(Fault::Start { node }));
        }
        world
    }

    /// Coordinators and probers connect to all shards, and of two shards the one with the lower
    /// number to the other.
    fn lay_links(&mut self) {
        let Layout { shards, .. } = self.env.layout;
        for client in 0..self.env.layout.nodes() {
            for server in 0..usize::from(shards) {
                let is_shard = client < usize::from(shards);
                if !is_shard || client < server {
                    self.env.network.add_link(client, server);
                }
            }
        }
    }

    /// The disk of a shard, if it has a journal.
    fn disk(&self, shard: u16) -> Option<Disk> {
        let Self { config, procedures, env, .. } = self;
        let settings = env.tuning.disk;
        let shard_config = ShardNode::settings(shard, config, env);
        let is_journaled = settings.is_journaled(shard);
        is_journaled.then(|| Disk::new(config, settings, shard_config, procedures))
    }

    /// Simulates everything, checks it, and says what it came to.
    pub(crate) fn run(mut self) -> (SimReport, History) {
        let end = self.config.duration.0.max(1) + 1;
        let mut goes = self.run_until(end, |_| false);
        goes = goes && self.come_to_rest();
        if goes {
            self.read_everything();
        }
        self.settle();
        let Self { config, env, mut counts, trace, now, .. } = self;
        let Env { mut history, mut findings, network, .. } = env;
        check::check(&config, &mut history, &mut findings, &mut counts);
        counts.frames = network.frames;
        counts.frames_harmed = network.harmed;
        let report = SimReport {
            seed: config.seed,
            violation_count: findings.count(),
            violations: findings.take(|txn| history.describe(txn)),
            counts,
            virtual_time: Nanos(now),
            trace,
        };
        (report, history)
    }

    /// Handles events until `limit`, or until `is_done`. False if the run is beyond hope.
    fn run_until(&mut self, limit: i64, is_done: impl Fn(&Self) -> bool) -> bool {
        while let Some((at, event)) = self.env.queue.next_before(limit) {
            self.now = at;
            self.counts.events += 1;
            if self.counts.events > EVENTS_MAX {
                let text = format!("more than {EVENTS_MAX} events after {at} ns");
                self.env.findings.add(ViolationKind::Livelock, &[], text);
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
            Event::Fault(fault) => self.suffer(fault),
        }
    }

    fn note(&mut self, what: u64, who: usize) {
        self.trace = mix(mix(mix(self.trace, self.now as u64), what), who as u64);
    }

    fn deliver(&mut self, to: usize, conn: u32, content: Content) {
        let is_gone = self.env.network.is_dead(conn) && !matches!(content, Content::Closed);
        if is_gone || !self.hosts[to].is_up {
            return;
        }
        self.note(content_hash(&content), to);
        self.hosts[to].inbox.push_back((conn, content));
        let wake = self.now + self.rng.between(0, WAKE_MAX);
        self.request_turn(to, wake);
    }

    /// Plans a turn of a node, unless there will be one before.
    fn request_turn(&mut self, node: usize, at: i64) {
        let host = &mut self.hosts[node];
        let at = at.max(host.busy_until).max(host.paused_until).max(self.now);
        if host.turn_at.is_some_and(|planned| planned <= at) {
            return;
        }
        host.turn_at = Some(at);
        self.env.queue.plan(at, Event::Turn { node });
    }

    /// A node takes what has arrived, does what is due, and sends.
    fn turn(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        if host.turn_at != Some(self.now) || !host.is_up {
            // An earlier one was planned instead, or the node has crashed since.
            return;
        }
        host.turn_at = None;
        if host.paused_until > self.now {
            let until = host.paused_until;
            return self.request_turn(node, until);
        }
        let inbox = std::mem::take(&mut host.inbox);
        let kind = self.env.layout.kind(node);
        let Self { env, clocks, rng, .. } = self;
        let clock = &clocks[clock_of(env.layout, kind)];
        let tuning = &env.tuning;
        let (service, interrupted, slow) = (tuning.service, tuning.interrupted, tuning.slow);
        let mut turn = Turn { at: self.now, clock, rng, service, interrupted, slow };
        match kind {
            Kind::Shard(at) => {
                let Some(shard) = &mut self.shards[usize::from(at)] else { return };
                for (conn, content) in inbox {
                    shard.take(env, &mut turn, conn, content);
                }
                shard.finish(env, &mut turn, self.disks[usize::from(at)].as_mut());
            }
            Kind::Coordinator(at) => {
                let Some(coordinator) = &mut self.coordinators[usize::from(at)] else { return };
                for (conn, content) in inbox {
                    coordinator.take(env, &mut turn, conn, content);
                }
                coordinator.finish(env, &mut turn);
            }
            Kind::Prober(at) => {
                let Some(prober) = &mut self.probers[usize::from(at)] else { return };
                for (conn, content) in inbox {
                    prober.take(env, &mut turn, conn, content);
                }
                prober.finish(env, &mut turn);
                // It reaches its coordinator at once: they share the memory of a process.
                if let Some(coordinator) = &mut self.coordinators[usize::from(at)] {
                    coordinator.samples.append(&mut prober.samples);
                }
            }
        }
        let end = turn.at;
        self.hosts[node].busy_until = end;
        self.note(end as u64, node);
        self.plan_next(node, kind, end);
    }

    /// Plans the turn that a node needs by itself, after one that ended at `end`.
    fn plan_next(&mut self, node: usize, kind: Kind, end: i64) {
        let clock = &self.clocks[clock_of(self.env.layout, kind)];
        let deadline = match kind {
            Kind::Shard(at) => {
                self.shards[usize::from(at)].as_ref().and_then(ShardNode::next_deadline)
            }
            Kind::Coordinator(at) => {
                self.coordinators[usize::from(at)].as_ref().and_then(CoordinatorNode::next_deadline)
            }
            Kind::Prober(at) => {
                self.probers[usize::from(at)].as_ref().and_then(ProberNode::next_deadline)
            }
        };
        let mut next = deadline.map(|deadline| clock.when(deadline, end));
        if let Kind::Coordinator(at) = kind {
            let submission = self.coordinators[usize::from(at)]
                .as_ref()
                .and_then(CoordinatorNode::next_submission);
            next = next.into_iter().chain(submission).min();
        }
        if let Kind::Shard(at) = kind {
            let written = self.disks[usize::from(at)].as_ref().and_then(Disk::next_done);
            next = next.into_iter().chain(written).min();
        }
        if let Some(next) = next {
            self.request_turn(node, next);
        }
    }

    /// The client of a link tries to connect.
    fn connect(&mut self, link: usize) {
        let (client, server) = {
            let link = &self.env.network.links[link];
            (link.client, link.server)
        };
        if !self.hosts[client].is_up || self.env.network.links[link].client_conn.is_some() {
            return;
        }
        if !self.hosts[server].is_up || !self.env.network.is_open(link, self.now) {
            return self.env.connect_soon(self.now, link);
        }
        let session = match self.env.layout.kind(client) {
            Kind::Shard(at) => self.shards[usize::from(at)].as_ref().map(|it| it.session),
            Kind::Coordinator(at) => {
                self.coordinators[usize::from(at)].as_ref().map(|it| it.session)
            }
            Kind::Prober(_) => Some(SessionId(0)),
        };
        let Some(session) = session else { return };
        let Env { network, queue, tuning, .. } = &mut self.env;
        let conn = network.connect(link);
        let slots = u32::from(tuning.clients);
        network.send(queue, self.now, client, conn, Content::Hello { session, slots });
    }

    fn suffer(&mut self, fault: Fault) {
        let now = self.now;
        match fault {
            Fault::Break { link, until } if !self.is_healed => {
                let Env { network, queue, .. } = &mut self.env;
                network.break_link(queue, now, link, until);
            }
            Fault::Stall { link, until } if !self.is_healed => {
                self.env.network.stall(link, until);
            }
            Fault::Crash { node, until } if self.hosts[node].is_up && !self.is_healed => {
                self.crash(node);
                let start = Event::Fault(Fault::Start { node });
                self.env.queue.plan(until, start);
            }
            Fault::Start { node } if !self.hosts[node].is_up => self.start(node),
            Fault::Pause { node, until } if !self.is_healed => {
                let host = &mut self.hosts[node];
                host.paused_until = host.paused_until.max(until);
            }
            Fault::Jump { node, by } => self.clocks[node].jump(by),
            Fault::Heal => self.heal(),
            _ => {}
        }
    }

    fn start(&mut self, node: usize) {
        let session = SessionId(self.rng.draw());
        let now = self.now;
        let mut ready_at = now;
        self.note(5, node);
        match self.env.layout.kind(node) {
            Kind::Shard(at) => ready_at = self.start_shard(at, session),
            Kind::Coordinator(at) => {
                let mut coordinator = CoordinatorNode::new(now, at, session, &mut self.env);
                if self.is_healed {
                    coordinator.stop();
                }
                self.coordinators[usize::from(at)] = Some(coordinator);
            }
            Kind::Prober(at) => {
                self.probers[usize::from(at)] = Some(ProberNode::new(at, &mut self.env));
            }
        }
        let host = &mut self.hosts[node];
        host.is_up = true;
        host.busy_until = ready_at;
        host.paused_until = now;
        for link in 0..self.env.network.links.len() {
            if self.env.network.links[link].client == node {
                self.env.queue.plan(ready_at, Event::Connect { link });
            }
        }
        self.request_turn(node, ready_at);
    }

    /// Starts a shard, from its journal if it has one. Returns when it is ready to work.
    fn start_shard(&mut self, at: u16, session: SessionId) -> i64 {
        let now = self.now;
        let index = usize::from(at);
        let Self { config, procedures, env, disks, clocks, .. } = self;
        let Some(disk) = &mut disks[index] else {
            let settings = ShardConfig { session, ..ShardNode::settings(at, config, env) };
            let incarnation = env.history.born(at, session, now);
            let shard = Shard::new(settings, Arc::clone(procedures));
            self.shards[index] = Some(ShardNode::new(shard, incarnation, &[], env));
            return now;
        };
        let Opened { replay, end, is_new, sessions, ready_at } =
            disk.open(now, session, &mut env.findings);
        let shard = replay.finish(clocks[index].read(ready_at), end);
        let incarnation = match is_new {
            true => env.history.born(at, session, now),
            false => env.history.resumed(at, shard.session(), now),
        };
        self.shards[index] = Some(ShardNode::new(shard, incarnation, &sessions, env));
        ready_at
    }

    /// A node is gone with everything that it had in memory.
    fn crash(&mut self, node: usize) {
        let now = self.now;
        self.note(6, node);
        let host = &mut self.hosts[node];
        host.is_up = false;
        host.turn_at = None;
        host.inbox.clear();
        let Env { network, queue, .. } = &mut self.env;
        for link in 0..network.links.len() {
            if network.links[link].client == node || network.links[link].server == node {
                network.break_link(queue, now, link, now);
            }
            if network.links[link].client == node {
                network.links[link].client_conn = None;
            }
        }
        match self.env.layout.kind(node) {
            Kind::Shard(at) => {
                self.counts.shard_crashes += 1;
                if let Some(disk) = &mut self.disks[usize::from(at)] {
                    disk.crash(now);
                }
                self.bury_shard(at, Some(now));
            }
            Kind::Coordinator(at) => {
                self.counts.coordinator_crashes += 1;
                self.bury_coordinator(at);
                self.orphan(at);
            }
            Kind::Prober(at) => self.probers[usize::from(at)] = None,
        }
    }

    /// Keeps what is left of a shard for the checks.
    fn bury_shard(&mut self, at: u16, crashed_at: Option<i64>) {
        let Some(node) = self.shards[usize::from(at)].take() else { return };
        self.counts.add_shard(&node.shard.stats(), self.env.tuning.pending_max);
        self.counts += &node.counts;
        let has_journal = self.disks[usize::from(at)].is_some();
        self.env.history.buried(node.incarnation, crashed_at, has_journal, node.shard);
    }

    fn bury_coordinator(&mut self, at: u16) {
        let Some(node) = self.coordinators[usize::from(at)].take() else { return };
        let stats = node.coordinator.stats();
        self.counts.add_coordinator(&stats);
        if stats.commit_mismatch + stats.verdicts_differ > 0 {
            let text = format!(
                "coordinator {at} met {} transactions with different commit times and {} with \
                 different verdicts",
                stats.commit_mismatch, stats.verdicts_differ
            );
            self.env.findings.add(ViolationKind::Disagreement, &[], text);
        }
    }

    /// Ends what a crashed coordinator had in flight.
    fn orphan(&mut self, coordinator: u16) {
        let end = End { at: self.now, how: Ended::Orphaned, results: Vec::new() };
        for txn in &mut self.env.history.txns {
            if txn.coordinator == coordinator && txn.end.is_none() {
                txn.end = Some(end.clone());
            }
        }
    }

    /// Mends everything: nothing goes wrong any more, and nobody wants anything new.
    fn heal(&mut self) {
        let now = self.now;
        self.is_healed = true;
        self.env.network.heal(now);
        for disk in self.disks.iter_mut().flatten() {
            disk.heal();
        }
        for coordinator in self.coordinators.iter_mut().flatten() {
            coordinator.stop();
        }
        for node in 0..self.hosts.len() {
            let host = &mut self.hosts[node];
            host.paused_until = host.paused_until.min(now);
            if host.is_up {
                // A turn that was put off until the end of a pause is due now.
                host.turn_at = None;
                self.request_turn(node, now);
            } else {
                self.env.queue.plan(now, Event::Fault(Fault::Start { node }));
            }
        }
    }

    /// Waits until everything has ended and nobody holds anything. False if that does not happen.
    fn come_to_rest(&mut self) -> bool {
        let limit = self.now + REST_WITHIN;
        let goes = self.run_until(limit, Self::is_at_rest);
        if goes && self.is_at_rest() {
            return true;
        }
        let unended = self.env.history.txns.iter().zip(0_u32..);
        let unended: Vec<u32> =
            unended.filter(|(txn, _)| txn.end.is_none()).map(|(_, at)| at).collect();
        if !unended.is_empty() {
            let text = format!("{} transactions do not end", unended.len());
            self.env.findings.add(ViolationKind::NotEnded, &unended, text);
        }
        for (at, node) in self.shards.iter().enumerate() {
            let held = node.as_ref().map_or(0, |node| node.shard.stats().held);
            if held > 0 {
                let text = format!("shard {at} still holds {held} transactions");
                self.env.findings.add(ViolationKind::NotIdle, &[], text);
            }
            if node.as_ref().is_some_and(|node| !node.shard.is_durable()) {
                let text = format!("shard {at} still waits for its disk");
                self.env.findings.add(ViolationKind::NotIdle, &[], text);
            }
        }
        false
    }

    fn is_at_rest(&self) -> bool {
        self.is_healed
            && self.hosts.iter().all(|host| host.is_up)
            && self.coordinators.iter().flatten().all(CoordinatorNode::is_quiet)
            && self.shards.iter().flatten().all(|node| Self::has_settled(&node.shard))
    }

    /// Whether a shard waits for nothing, its disk included.
    fn has_settled(shard: &Shard) -> bool {
        shard.is_idle() && shard.is_durable()
    }

    /// Reads every key on its shard, and some over all shards: now that nothing is wrong, that has
    /// to work.
    fn read_everything(&mut self) {
        for _attempt in 0..5 {
            let plans = self.unread();
            if plans.is_empty() {
                return;
            }
            if let Some(coordinator) = &mut self.coordinators[0] {
                coordinator.add_script(self.now, plans);
            }
            let node = self.env.layout.node(Kind::Coordinator(0));
            self.request_turn(node, self.now);
            if !self.come_to_rest() {
                return;
            }
        }
        let unread = self.unread();
        if let Some(plan) = unread.first() {
            let text = format!(
                "nothing is wrong any more, but a read of shards {:?} did not commit in five tries",
                plan.shards
            );
            self.env.findings.add(ViolationKind::NotAvailable, &[], text);
        }
    }

    fn unread(&self) -> Vec<Plan> {
        let Env { history, layout, tuning, .. } = &self.env;
        // Where stamps may be refused as too far ahead, only reads of one shard surely work.
        let over_all = tuning.max_hold >= SURE_HOLD;
        check::unread(history, layout.shards, over_all)
    }

    /// Compares what a shard has written with what it is: if it crashed now it would go on as that.
    fn look_at_disk(&mut self, at: u16) {
        let Some(disk) = &self.disks[usize::from(at)] else { return };
        self.counts += &disk.counts;
        let Some(node) = &self.shards[usize::from(at)] else { return };
        if !Self::has_settled(&node.shard) {
            return;
        }
        if let Err(error) = disk.compare(&node.shard, &self.env.history.keys) {
            let text = format!("the journal of shard {at} is not what the shard is: {error}");
            self.env.findings.add(ViolationKind::Recovery, &[], text);
        }
    }

    /// Ends the lives of all nodes that are left.
    fn settle(&mut self) {
        for at in 0..self.env.layout.shards {
            self.look_at_disk(at);
            self.bury_shard(at, None);
        }
        for at in 0..self.env.layout.coordinators {
            self.bury_coordinator(at);
        }
    }
}

/// The clock of a node: a prober has that of its coordinator.
fn clock_of(layout: Layout, kind: Kind) -> usize {
    match kind {
        Kind::Prober(at) => layout.node(Kind::Coordinator(at)),
        _ => layout.node(kind),
    }
}
