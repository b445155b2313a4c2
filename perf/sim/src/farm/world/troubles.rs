//! What goes wrong, and nodes that come and go.

use super::{Host, World};
use crate::farm::disk::Opened;
use crate::farm::env::Env;
use crate::farm::events::{Event, Trouble};
use crate::farm::net::QUEUE;
use crate::farm::queue_node::QueueNode;
use punctual_core::SessionId;

/// A queue that starts again may find its clock set back or forward by up to this.
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
            Trouble::Jump { by } if !is_healed => self.clock.jump(by),
            Trouble::Drain { node } if !is_healed => {
                self.workers[node - 1].drain(now);
                self.request_turn(node, now);
            }
            Trouble::Heal => self.heal(),
            _ => {}
        }
    }

    fn start(&mut self, node: usize) {
        let now = self.now;
        let workers = self.workers.len();
        self.note(5, node);
        let ready_at = if node == QUEUE {
            self.start_queue()
        } else if node <= workers {
            self.workers[node - 1].start(&mut self.env, now);
            now
        } else {
            self.clients[node - 1 - workers].start(&mut self.env, now);
            now
        };
        let host = &mut self.hosts[node];
        *host = Host { is_up: true, busy_until: ready_at, ..Host::default() };
        if node != QUEUE {
            self.env.events.plan(ready_at, Event::Connect { link: node - 1 });
        }
        self.request_turn(node, ready_at);
    }

    /// Starts the queue from its disk. Returns when it is ready to work.
    fn start_queue(&mut self) -> i64 {
        let now = self.now;
        if self.config.faults.clock_offset {
            // The machine was set right, or wrong, meanwhile.
            let offset = self.rng.between(-CLOCK_STEP_MAX, CLOCK_STEP_MAX);
            self.clock.set(offset);
        }
        let session = SessionId(self.rng.draw());
        let shown = self.clock.machine(now);
        let Opened { replay, end, ready_at } =
            self.disk.open(now, shown, session, &mut self.env.ledger.findings);
        self.clock.set_floor(replay.clock_floor());
        let shown = self.clock.read(ready_at);
        self.env.ledger.restarted(shown);
        self.queue = Some(QueueNode::new(replay.finish(shown, end)));
        ready_at
    }

    /// A node is gone with everything that it had in memory.
    pub(super) fn kill(&mut self, node: usize) {
        let now = self.now;
        self.note(6, node);
        self.stop_host(node);
        let workers = self.workers.len();
        let Env { net, events, ledger, .. } = &mut self.env;
        if node == QUEUE {
            for link in 0..net.links() {
                net.cut(events, now, link, now);
            }
            ledger.counts.queue_kills += 1;
            if let Some(node) = self.queue.take() {
                ledger.add_stats(node.queue.stats());
            }
            self.disk.crash(now);
            return;
        }
        net.cut(events, now, node - 1, now);
        net.forget(node - 1);
        if node <= workers {
            ledger.counts.worker_kills += 1;
            self.workers[node - 1].crash(&mut self.env, now);
        } else {
            ledger.counts.client_kills += 1;
            self.clients[node - 1 - workers].crash();
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
        self.env.net.forget(node - 1);
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
        self.disk.heal();
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
