//! What goes wrong, and nodes that come and go.

use super::{Host, Shard, World};
use crate::farm::disk::Opened;
use crate::farm::env::Env;
use crate::farm::events::{Event, Trouble};
use crate::farm::layout::{Kind, QUEUE};
use crate::farm::queue_node::QueueNode;
use punctual_core::SessionId;

/// A server that starts again may find its clock set back or forward by up to this.
const CLOCK_STEP_MAX: i64 = 50_000_000;

impl World {
    pub(super) fn suffer(&mut self, trouble: Trouble) {
        let now = self.now;
        let is_healed = self.env.is_healed;
        match trouble {
            Trouble::Cut { link, until } if !is_healed => {
                let Env { net, events, .. } = &mut self.env;
                net.cut(events, now, link, until);
            }
            Trouble::Stall { link, until } if !is_healed => self.env.net.stall(link, until),
            Trouble::Kill { node, until } if self.hosts[node].is_up && !is_healed => {
                self.kill(node);
                self.env.events.plan(until, Event::Trouble(Trouble::Start { node }));
            }
            Trouble::Start { node } if !self.hosts[node].is_up => self.start(node),
            Trouble::Freeze { node, until } if !is_healed => {
                self.env.ledger.counts.freezes += 1;
                let host = &mut self.hosts[node];
                host.frozen_until = host.frozen_until.max(until);
            }
            Trouble::Jump { by } if !is_healed => {
                for shard in &mut self.shards {
                    shard.clock.jump(by);
                }
            }
            Trouble::Drain { node } if !is_healed => {
                if let Kind::Worker(worker) = self.env.layout.kind(node) {
                    self.workers[worker].drain(now);
                }
                self.request_turn(node, now);
            }
            Trouble::Heal => self.heal(),
            _ => {}
        }
    }

    fn start(&mut self, node: usize) {
        let now = self.now;
        self.note(5, node);
        match self.env.layout.kind(node) {
            Kind::Queue(_) => {
                let ready_at = self.start_server();
                for queue in 0..self.shards.len() {
                    self.start_host(queue, ready_at);
                }
                return;
            }
            Kind::Worker(worker) => self.workers[worker].start(&mut self.env, now),
            Kind::Client(client) => self.clients[client].start(&mut self.env, now),
        }
        // Queue 0 first: it says how many others there are.
        let link = self.env.layout.link(node, QUEUE);
        self.env.events.plan(now, Event::Connect { link });
        self.start_host(node, now);
    }

    fn start_host(&mut self, node: usize, ready_at: i64) {
        self.hosts[node] = Host { is_up: true, busy_until: ready_at, ..Host::default() };
        self.request_turn(node, ready_at);
    }

    /// Starts all queues from their disks, one after the other. Returns when they can work.
    fn start_server(&mut self) -> i64 {
        if self.config.faults.clock_offset {
            // The machine was set right, or wrong, meanwhile.
            let offset = self.rng.between(-CLOCK_STEP_MAX, CLOCK_STEP_MAX);
            for shard in &mut self.shards {
                shard.clock.set(offset);
            }
        }
        let Self { shards, env, rng, now, .. } = self;
        let (mut at, mut replays) = (*now, Vec::new());
        for Shard { disk, clock, .. } in &mut *shards {
            let session = SessionId(rng.draw());
            let shown = clock.machine(at);
            let opened = disk.open(at, shown, session, &mut env.ledger.findings);
            let Opened { replay, end, ready_at } = opened;
            clock.set_floor(replay.clock_floor());
            replays.push((replay, end));
            at = ready_at;
        }
        let mut times = Vec::new();
        for (queue, (shard, (replay, end))) in shards.iter_mut().zip(replays).enumerate() {
            let shown = shard.clock.read(at);
            shard.node = Some(QueueNode::new(queue, replay.finish(shown, end)));
            times.push(shown);
        }
        env.ledger.restarted(&times);
        at
    }

    /// A node is gone with everything that it had in memory.
    pub(super) fn kill(&mut self, node: usize) {
        let now = self.now;
        self.note(6, node);
        let layout = self.env.layout;
        let kind = layout.kind(node);
        if matches!(kind, Kind::Queue(_)) {
            return self.kill_server();
        }
        self.stop_host(node);
        let Env { net, events, ledger, .. } = &mut self.env;
        for link in layout.links_of(node) {
            net.cut(events, now, link, now);
            net.forget(link);
        }
        match kind {
            Kind::Worker(worker) => {
                ledger.counts.worker_kills += 1;
                self.workers[worker].crash(&mut self.env, now);
            }
            Kind::Client(client) => {
                ledger.counts.client_kills += 1;
                self.clients[client].crash();
            }
            Kind::Queue(_) => {}
        }
    }

    /// All queues are gone at once, for they are threads of one process.
    fn kill_server(&mut self) {
        let now = self.now;
        for queue in 0..self.shards.len() {
            self.stop_host(queue);
        }
        let Env { layout, net, events, ledger, .. } = &mut self.env;
        for link in 0..layout.links() {
            net.cut(events, now, link, now);
        }
        ledger.counts.queue_kills += 1;
        for Shard { node, disk, .. } in &mut self.shards {
            if let Some(node) = node.take() {
                ledger.add_stats(node.queue.stats());
            }
            disk.crash(now);
        }
    }

    fn stop_host(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        (host.is_up, host.turn_at) = (false, None);
        host.inbox.clear();
    }

    /// A worker has stopped in good order.
    pub(super) fn stop(&mut self, node: usize) {
        self.note(8, node);
        self.stop_host(node);
        for link in self.env.layout.links_of(node) {
            self.env.net.forget(link);
        }
    }

    /// Somebody starts a worker again after a while.
    pub(super) fn start_soon(&mut self, node: usize) {
        let at = self.now + self.rng.between(1_000_000, 50_000_000);
        self.env.events.plan(at, Event::Trouble(Trouble::Start { node }));
    }

    /// Mends everything: nothing goes wrong any more, and nobody wants anything new.
    fn heal(&mut self) {
        let now = self.now;
        (self.env.is_healed, self.env.plans.may_kill) = (true, false);
        self.env.net.heal(now);
        for shard in &mut self.shards {
            shard.disk.heal();
        }
        for node in 0..self.hosts.len() {
            let host = &mut self.hosts[node];
            host.frozen_until = host.frozen_until.min(now);
            if host.is_up {
                // A turn that was put off until the end of a freeze is due now.
                host.turn_at = None;
                self.request_turn(node, now);
            } else {
                self.env.events.plan(now, Event::Trouble(Trouble::Start { node }));
            }
        }
    }
}
