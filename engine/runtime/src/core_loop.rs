//! The loop of one core: run the agents, then idle by strategy.

use crate::agent::Agent;
use crate::alarm::Alarm;
use crate::clock::Clock;
use crate::config::IdleStrategy;
use crate::counters::{Counter, CounterBlock};
use punctual_link::Parker;
use std::sync::Arc;
use std::time::Duration;

/// Idle turns that `backoff` spins before it yields.
const BACKOFF_SPINS: u32 = 2_000;
/// Idle turns that `backoff` yields before it parks.
const BACKOFF_YIELDS: u32 = 200;
/// Idle turns that `backoff` yields while an agent expects something: some milliseconds.
const EXPECTING_YIELDS: u32 = 10_000;
/// The longest sleep; an agent without deadline looks round this often all the same, so that a lost
/// wake-up would cost a moment and not the program.
const PARK_MAX: Duration = Duration::from_millis(100);
/// The same where the core of an idle agent is to cost next to nothing.
const PARK_LONG_MAX: Duration = Duration::from_secs(1);
/// The operating system's poll rounds a timeout up to the next of these: so much is not slept
/// where there is no alarm.
const POLL_STEP: Duration = Duration::from_millis(1);
/// What it takes to wake up after the alarm has rung: so much is not slept in any case.
const WAKE_UP: Duration = Duration::from_micros(50);
/// Counters are published every so many turns, and when the core idles.
const PUBLISH_TURNS: u64 = 1024;

/// How an idle core waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdlePlan {
    pub(crate) strategy: IdleStrategy,
    /// Never spin: there are more threads than cores.
    pub(crate) overprovisioned: bool,
}

impl IdlePlan {
    /// Whether the core ever sleeps, so that its peers have to wake it.
    pub(crate) fn may_park(self) -> bool {
        matches!(self.strategy, IdleStrategy::Backoff | IdleStrategy::Park)
    }

    fn step(self, idle_turns: u32, expecting: bool) -> IdleStep {
        let (spins, yields) = match (self.overprovisioned, expecting) {
            (true, _) => (0, BACKOFF_YIELDS),
            (false, false) => (BACKOFF_SPINS, BACKOFF_YIELDS),
            (false, true) => (BACKOFF_SPINS, EXPECTING_YIELDS),
        };
        match self.strategy {
            IdleStrategy::Spin if self.overprovisioned => IdleStep::Yield,
            IdleStrategy::Spin => IdleStep::Spin,
            IdleStrategy::Yield => IdleStep::Yield,
            IdleStrategy::Park => IdleStep::Park,
            IdleStrategy::Backoff if idle_turns < spins => IdleStep::Spin,
            IdleStrategy::Backoff if idle_turns < spins + yields => IdleStep::Yield,
            IdleStrategy::Backoff => IdleStep::Park,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdleStep {
    Spin,
    Yield,
    Park,
}

/// A core and the agents that live on it.
pub(crate) struct CoreLoop {
    agents: Vec<Box<dyn Agent>>,
    clock: Clock,
    parker: Parker,
    /// Ends sleeps in time; without it the poll's own timeout has to do.
    alarm: Option<Alarm>,
    idle: IdlePlan,
    park_max: Duration,
    idle_turns: u32,
    counters: Arc<CounterBlock>,
    turns: u64,
    idle_total: u64,
    yields: u64,
    parks: u64,
    /// Tells the engine that the core started and that it ended in order. Dropped without the
    /// second message, it tells that the core died.
    alive: Option<flume::Sender<()>>,
}

impl CoreLoop {
    pub(crate) fn new(
        agents: Vec<Box<dyn Agent>>,
        clock: Clock,
        parker: Parker,
        idle: IdlePlan,
        counters: Arc<CounterBlock>,
    ) -> Self {
        let alarm = Alarm::new(parker.handle()).ok();
        Self {
            agents,
            clock,
            parker,
            alarm,
            idle,
            park_max: PARK_MAX,
            idle_turns: 0,
            counters,
            turns: 0,
            idle_total: 0,
            yields: 0,
            parks: 0,
            alive: None,
        }
    }

    /// Looks round less often while there is nothing to do.
    pub(crate) fn sleep_longer(&mut self) {
        self.park_max = PARK_LONG_MAX;
    }

    /// To be called on the core's own thread, before the first turn.
    pub(crate) fn start(&mut self, alive: flume::Sender<()>) {
        let park = self.idle.may_park().then(|| self.parker.handle());
        for agent in &mut self.agents {
            agent.start(park);
        }
        self.alive = Some(alive);
        self.tell_alive();
    }

    /// The channel has room for both messages, and an engine that was dropped does not listen.
    fn tell_alive(&self) {
        if let Some(alive) = &self.alive {
            let _ = alive.try_send(());
        }
    }

    /// Runs every agent once and idles if there was nothing to do. False when all have finished.
    #[inline]
    pub(crate) fn turn(&mut self) -> bool {
        self.turns += 1;
        if self.turns.is_multiple_of(PUBLISH_TURNS) {
            self.publish();
        }
        let work = run(&mut self.agents, &mut self.clock);
        if work > 0 {
            self.idle_turns = 0;
            return true;
        }
        if self.agents.iter().all(|agent| agent.is_finished()) {
            self.publish();
            self.tell_alive();
            return false;
        }
        self.idle_total += 1;
        let expecting = self.idle_turns >= BACKOFF_SPINS && self.is_expecting();
        match self.idle.step(self.idle_turns, expecting) {
            IdleStep::Spin => std::hint::spin_loop(),
            IdleStep::Yield => {
                self.yields += 1;
                std::thread::yield_now();
            }
            IdleStep::Park => self.park(),
        }
        self.idle_turns = self.idle_turns.saturating_add(1);
        true
    }

    fn is_expecting(&self) -> bool {
        self.agents.iter().any(|agent| agent.is_expecting())
    }

    fn park(&mut self) {
        let now = self.clock.now();
        let deadlines = self.agents.iter().filter_map(|agent| agent.next_deadline());
        let left = deadlines.min().map_or(self.park_max, |due| due.since(now));
        let Some(timeout) = self.set_timeout(left) else {
            self.yields += 1;
            std::thread::yield_now();
            return;
        };
        self.publish();
        let (agents, clock) = (&mut self.agents, &mut self.clock);
        match self.parker.park(Some(timeout), || run(agents, clock)) {
            Ok(true) => self.parks += 1,
            Ok(false) => {}
            // Without a place to sleep the loop goes on; giving the slice away is the next best.
            Err(_) => std::thread::yield_now(),
        }
    }

    /// Sees to it that a sleep ends when something is due after `left`, and gives the timeout for
    /// the poll; `None` when that is too near for a sleep.
    fn set_timeout(&self, left: Duration) -> Option<Duration> {
        if let Some(alarm) = &self.alarm
            && left < self.park_max
        {
            let sleep = left.checked_sub(WAKE_UP)?;
            if alarm.set(sleep).is_ok() {
                return Some(self.park_max);
            }
        }
        park_timeout(left, self.park_max)
    }

    fn publish(&mut self) {
        self.counters.set(Counter::Turns, self.turns);
        self.counters.set(Counter::IdleTurns, self.idle_total);
        self.counters.set(Counter::Yields, self.yields);
        self.counters.set(Counter::Parks, self.parks);
        for agent in &mut self.agents {
            agent.publish();
        }
    }
}

/// How long to sleep without an alarm when something is due after `left`; `None` when it is too
/// near for a sleep.
fn park_timeout(left: Duration, park_max: Duration) -> Option<Duration> {
    left.checked_sub(POLL_STEP).map(|timeout| timeout.min(park_max))
}

#[inline]
fn run(agents: &mut [Box<dyn Agent>], clock: &mut Clock) -> usize {
    let now = clock.now();
    agents.iter_mut().map(|agent| agent.do_work(now)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overprovisioned_core_never_spins() {
        for strategy in [IdleStrategy::Spin, IdleStrategy::Yield, IdleStrategy::Backoff] {
            let plan = IdlePlan { strategy, overprovisioned: true };
            assert_ne!(plan.step(0, false), IdleStep::Spin, "{strategy:?}");
        }
    }

    #[test]
    fn backing_off_goes_from_spinning_over_yielding_to_parking() {
        let plan = IdlePlan { strategy: IdleStrategy::Backoff, overprovisioned: false };
        assert_eq!(plan.step(0, false), IdleStep::Spin);
        assert_eq!(plan.step(BACKOFF_SPINS, false), IdleStep::Yield);
        let patient = BACKOFF_SPINS + BACKOFF_YIELDS;
        assert_eq!(plan.step(patient, false), IdleStep::Park);
        assert_eq!(plan.step(patient, true), IdleStep::Yield, "something is under way");
        assert_eq!(plan.step(BACKOFF_SPINS + EXPECTING_YIELDS, true), IdleStep::Park);
    }

    #[test]
    fn no_sleep_ends_after_what_is_due_although_its_end_is_rounded_up() {
        let timeout = |left_us| park_timeout(Duration::from_micros(left_us), PARK_MAX);
        assert_eq!(timeout(0), None);
        assert_eq!(timeout(999), None);
        assert_eq!(timeout(2_500), Some(Duration::from_micros(1_500)));
        assert_eq!(timeout(9_000_000), Some(PARK_MAX));
    }
}
