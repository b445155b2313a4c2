//! Plans what goes wrong on the farm, and when.

use super::config::FarmConfig;
use super::events::{Event, Events, Trouble};
use super::net::QUEUE;
use super::tuning::Tuning;
use crate::rng::Rng;

const STREAM: u64 = 22;
/// Most times that one kind of thing goes wrong in a run.
const TIMES_MAX: u64 = 5;
/// The farthest that the clock of the queue jumps.
const JUMP_MAX: i64 = 300_000_000;

/// Plans everything that goes wrong in a run, and that it is mended in the end.
pub(super) fn plan(config: &FarmConfig, tuning: &Tuning, events: &mut Events) {
    let mut plan = Plan {
        rng: Rng::new(config.seed, STREAM),
        duration: config.duration.0.max(1),
        outage_max: tuning.outage_max,
        events,
    };
    let workers = usize::from(config.workers);
    let callers = workers + usize::from(config.clients);
    let faults = config.faults;
    if faults.partitions {
        plan.several(|plan, at| plan.partition(at, callers));
    }
    if faults.crashes_shard {
        plan.several(|plan, at| {
            let until = at + plan.outage();
            plan.trouble(at, Trouble::Kill { node: QUEUE, until });
            if plan.rng.chance(300_000) {
                // Once more while it recovers, or soon after.
                let again = until + plan.rng.between(1, 10_000_000);
                let until = again + plan.outage();
                plan.trouble(again, Trouble::Kill { node: QUEUE, until });
            }
        });
    }
    if faults.crashes_coordinator {
        plan.several(|plan, at| {
            let node = 1 + plan.rng.index(callers);
            let until = at + plan.outage();
            plan.trouble(at, Trouble::Kill { node, until });
        });
    }
    if faults.pauses {
        plan.several(|plan, at| {
            // Mostly a worker, now and then the queue.
            let node = if plan.rng.chance(100_000) { QUEUE } else { 1 + plan.rng.index(workers) };
            let until = at + 2 * plan.outage();
            plan.trouble(at, Trouble::Freeze { node, until });
        });
    }
    if faults.clock_jumps {
        plan.several(|plan, at| {
            let by = plan.rng.between(0, JUMP_MAX);
            plan.trouble(at, Trouble::Jump { by });
        });
    }
    for _ in 0..tuning.drains {
        let at = plan.rng.between(0, plan.duration - 1);
        let node = 1 + plan.rng.index(workers);
        plan.trouble(at, Trouble::Drain { node });
        if plan.rng.chance(300_000) {
            let again = at + plan.rng.between(1, 20_000_000);
            plan.trouble(again, Trouble::Drain { node });
        }
    }
    plan.trouble(plan.duration, Trouble::Heal);
}

struct Plan<'a> {
    rng: Rng,
    duration: i64,
    outage_max: i64,
    events: &'a mut Events,
}

impl Plan<'_> {
    fn trouble(&mut self, at: i64, trouble: Trouble) {
        self.events.plan(at, Event::Trouble(trouble));
    }

    /// Does something once to a few times, at random moments.
    fn several(&mut self, mut each: impl FnMut(&mut Self, i64)) {
        for _ in 0..=self.rng.below(TIMES_MAX) {
            let at = self.rng.between(0, self.duration - 1);
            each(self, at);
        }
    }

    fn outage(&mut self) -> i64 {
        self.rng.between(self.outage_max / 50, self.outage_max)
    }

    /// One link breaks or is stuck, or about a third of them.
    fn partition(&mut self, at: i64, links: usize) {
        let until = at + self.outage();
        let breaks = self.rng.chance(600_000);
        let many = self.rng.chance(300_000);
        let one = self.rng.index(links);
        for link in 0..links {
            if link == one || (many && self.rng.chance(330_000)) {
                let trouble = match breaks {
                    true => Trouble::Cut { link, until },
                    false => Trouble::Stall { link, until },
                };
                self.trouble(at, trouble);
            }
        }
    }
}
