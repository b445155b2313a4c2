//! Plans what goes wrong on the farm, and when.

use super::config::FarmConfig;
use super::events::{Event, Events, Trouble};
use super::layout::{Layout, QUEUE};
use super::tuning::Tuning;
use crate::rng::Rng;

const STREAM: u64 = 22;
/// Most times that one kind of thing goes wrong in a run.
const TIMES_MAX: u64 = 5;
/// The farthest that the clock of the server jumps.
const JUMP_MAX: i64 = 300_000_000;

/// Plans everything that goes wrong in a run, and that it is mended in the end.
pub(super) fn plan(config: &FarmConfig, layout: Layout, tuning: &Tuning, events: &mut Events) {
    let mut plan = Plan {
        rng: Rng::new(config.seed, STREAM),
        layout,
        duration: config.duration.0.max(1),
        outage_max: tuning.outage_max,
        events,
    };
    let faults = config.faults;
    if faults.partitions {
        plan.several(Plan::partition);
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
            let node = layout.worker(plan.rng.index(layout.callers()));
            let until = at + plan.outage();
            plan.trouble(at, Trouble::Kill { node, until });
        });
    }
    if faults.pauses {
        plan.several(|plan, at| {
            // Mostly a worker, now and then the thread of a queue.
            let node = match plan.rng.chance(100_000) {
                true => plan.any_queue(),
                false => plan.any_worker(),
            };
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
        let node = plan.any_worker();
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
    layout: Layout,
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

    fn any_worker(&mut self) -> usize {
        self.layout.worker(self.rng.index(self.layout.workers))
    }

    /// Nothing is drawn for a server with one queue.
    fn any_queue(&mut self) -> usize {
        if self.layout.queues > 1 { self.rng.index(self.layout.queues) } else { QUEUE }
    }

    /// One caller or one link breaks or is stuck, or about a third of them.
    fn partition(&mut self, at: i64) {
        let until = at + self.outage();
        let breaks = self.rng.chance(600_000);
        let many = self.rng.chance(300_000);
        let Layout { queues, .. } = self.layout;
        // A machine loses all its connections, or each of them goes its own way.
        let together = if queues > 1 && self.rng.chance(500_000) { queues } else { 1 };
        let groups = self.layout.links() / together;
        let one = self.rng.index(groups);
        for group in 0..groups {
            if group == one || (many && self.rng.chance(330_000)) {
                for link in group * together..(group + 1) * together {
                    let trouble = match breaks {
                        true => Trouble::Cut { link, until },
                        false => Trouble::Stall { link, until },
                    };
                    self.trouble(at, trouble);
                }
            }
        }
    }
}
