//! Plans what goes wrong, and when; and makes the clocks.

use crate::clock::SimClock;
use crate::config::SimConfig;
use crate::env::{Kind, Layout};
use crate::queue::{Event, Fault, Queue};
use crate::rng::Rng;
use crate::tuning::Tuning;

const STREAM: u64 = 4;
const CLOCK_STREAM: u64 = 5;
const PAIR_STREAM: u64 = 8;
const RESTART_STREAM: u64 = 11;
/// Most times that one kind of thing goes wrong in a run.
const TIMES_MAX: u64 = 4;
/// Share of the bound that clocks use up by jumping; as much by drifting, twice as much by offset.
const SHARES: i64 = 4;

/// The clocks of all nodes. Those of shards stay within the bound of each other for the whole run;
/// those of coordinators may be anywhere, since only the shards' matter for the order. A prober has
/// the clock of its coordinator, and is not in the list.
pub(crate) fn clocks(config: &SimConfig, tuning: &Tuning, layout: Layout) -> Vec<SimClock> {
    let mut rng = Rng::new(config.seed, CLOCK_STREAM);
    let faults = config.faults;
    let duration = config.duration.0.max(1);
    let mut clock = |share: i64, center: i64, spread: i64| {
        let offset = if faults.clock_offset { rng.between(-spread, spread) } else { 0 };
        let drift = if faults.clock_drift { rng.between(-share, share) } else { 0 };
        let drift_ppb = i128::from(drift) * 1_000_000_000 / i128::from(duration);
        // A fast run must not make a clock stand still.
        let drift_ppb = drift_ppb.clamp(-100_000_000, 100_000_000) as i64;
        SimClock::new(center + offset, drift_ppb, duration)
    };
    let share = config.clock_bound.0 / SHARES;
    let mut clocks = Vec::new();
    for _ in 0..layout.shards {
        clocks.push(clock(share, share + share / 2, share / 2));
    }
    for _ in 0..layout.coordinators {
        clocks.push(clock(50_000, 0, tuning.coordinator_offset));
    }
    clocks
}

/// Plans everything that goes wrong in a run, and that it is mended in the end.
pub(crate) fn plan(
    config: &SimConfig,
    tuning: &Tuning,
    layout: Layout,
    links: usize,
    queue: &mut Queue,
) {
    let mut plan = Plan {
        rng: Rng::new(config.seed, STREAM),
        duration: config.duration.0.max(1),
        outage_max: tuning.outage_max,
        queue,
    };
    let faults = config.faults;
    if faults.partitions {
        plan.partitions(links);
    }
    if faults.crashes_shard {
        plan.crashes(layout, |rng| Kind::Shard(rng.below(u64::from(layout.shards)) as u16));
    }
    if faults.crashes_coordinator {
        let any = |rng: &mut Rng| rng.below(u64::from(layout.coordinators)) as u16;
        plan.crashes(layout, |rng| Kind::Coordinator(any(rng)));
    }
    if faults.pauses {
        plan.several(|plan, at| {
            let until = at + plan.outage();
            let node = plan.rng.index(layout.nodes());
            plan.queue.plan(at, Event::Fault(Fault::Pause { node, until }));
        });
    }
    if faults.clock_jumps {
        let by_max = config.clock_bound.0 / SHARES / TIMES_MAX.cast_signed();
        plan.several(|plan, at| {
            let node = plan.rng.index(usize::from(layout.shards));
            let by = plan.rng.between(0, by_max);
            plan.queue.plan(at, Event::Fault(Fault::Jump { node, by }));
        });
    }
    if faults.crashes_shard && layout.shards > 1 {
        let (duration, outage_max) = (config.duration.0.max(1), tuning.outage_max);
        let rng = Rng::new(config.seed, PAIR_STREAM);
        Plan { rng, duration, outage_max, queue }.pairs(tuning, layout);
    }
    if faults.crashes_shard {
        let (duration, outage_max) = (config.duration.0.max(1), tuning.outage_max);
        let rng = Rng::new(config.seed, RESTART_STREAM);
        Plan { rng, duration, outage_max, queue }.restarts(tuning, layout);
    }
    queue.plan(config.duration.0.max(1), Event::Fault(Fault::Heal));
}

struct Plan<'a> {
    rng: Rng,
    duration: i64,
    outage_max: i64,
    queue: &'a mut Queue,
}

impl Plan<'_> {
    /// Does something once to a few times, at random moments.
    fn several(&mut self, mut each: impl FnMut(&mut Self, i64)) {
        for _ in 0..=self.rng.below(TIMES_MAX) {
            let at = self.rng.between(0, self.duration - 1);
            each(self, at);
        }
    }

    fn outage(&mut self) -> i64 {
        self.rng.between(self.outage_max / 20, self.outage_max)
    }

    fn partitions(&mut self, links: usize) {
        self.several(|plan, at| {
            let until = at + plan.outage();
            let breaks = plan.rng.chance(500_000);
            // One link, or about a third of them.
            let many = plan.rng.chance(300_000);
            let one = plan.rng.index(links);
            for link in 0..links {
                if link == one || (many && plan.rng.chance(330_000)) {
                    let fault = match breaks {
                        true => Fault::Break { link, until },
                        false => Fault::Stall { link, until },
                    };
                    plan.queue.plan(at, Event::Fault(fault));
                }
            }
        });
    }

    /// Two shards crash, the second about when the others settle what the first had promised.
    fn pairs(&mut self, tuning: &Tuning, layout: Layout) {
        let shards = usize::from(layout.shards);
        let last = self.duration - 1;
        for _ in 0..tuning.pairs {
            let first = self.rng.index(shards);
            let second = (first + 1 + self.rng.index(shards - 1)) % shards;
            let at = self.rng.between(0, last);
            let until = at + self.outage();
            // The others notice up to three milliseconds later, and some messages to and fro
            // settle it then.
            let second_at = until + self.rng.between(-500_000, 4_000_000 + 10 * tuning.delay);
            let second_at = second_at.clamp(at, last);
            let second_until = second_at + self.outage();
            for (node, at, until) in [(first, at, until), (second, second_at, second_until)] {
                self.queue.plan(at, Event::Fault(Fault::Crash { node, until }));
            }
        }
    }

    /// Shards with a journal crash, some of them once more while they recover.
    fn restarts(&mut self, tuning: &Tuning, layout: Layout) {
        let is_journaled = |shard: &u16| tuning.disk.is_journaled(*shard);
        let journaled: Vec<u16> = (0..layout.shards).filter(is_journaled).collect();
        if journaled.is_empty() {
            return;
        }
        for _ in 0..tuning.disk.restarts {
            let node = layout.node(Kind::Shard(*self.rng.pick(&journaled)));
            let at = self.rng.between(0, self.duration - 1);
            let until = at + self.outage();
            self.queue.plan(at, Event::Fault(Fault::Crash { node, until }));
            if self.rng.chance(400_000) {
                let again = until + self.rng.between(1, tuning.disk.recovery);
                let until = again + self.outage();
                self.queue.plan(again, Event::Fault(Fault::Crash { node, until }));
            }
        }
    }

    fn crashes(&mut self, layout: Layout, whom: impl Fn(&mut Rng) -> Kind) {
        self.several(|plan, at| {
            let until = at + plan.outage();
            let kind = whom(&mut plan.rng);
            let node = layout.node(kind);
            plan.queue.plan(at, Event::Fault(Fault::Crash { node, until }));
            // A prober goes with the process that it is in.
            if let Kind::Coordinator(index) = kind
                && layout.has_probers
            {
                let node = layout.node(Kind::Prober(index));
                plan.queue.plan(at, Event::Fault(Fault::Crash { node, until }));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Faults;
    use punctual_core::Nanos;

    #[test]
    fn clocks_of_shards_stay_within_their_bound() {
        for seed in 0..50 {
            let config = SimConfig {
                faults: Faults::all(),
                clock_bound: Nanos(1_000_000),
                ..SimConfig::from_seed(seed)
            };
            let tuning = Tuning::draw(&config);
            let layout = Layout { shards: 5, coordinators: 2, has_probers: true };
            let mut clocks = clocks(&config, &tuning, layout);
            // All that the jumps of a run may come to, all on one clock.
            clocks[0].jump(config.clock_bound.0 / SHARES);
            for at in [0, config.duration.0 / 2, config.duration.0, 10 * config.duration.0] {
                let shown = clocks[..5].iter().map(|clock| clock.read(at));
                let (first, last) = (shown.clone().min(), shown.max());
                assert!(last.zip(first).is_some_and(|(l, f)| l - f <= config.clock_bound));
            }
        }
    }
}
