//! A task queue before its agent is made: an empty one, or one that goes on from its journal.

use super::TaskServerError;
use crate::clock::Clock;
use crate::config::show_duration;
use crate::engine::random;
use crate::journal::{Journal, JournalPlan, Recovered, RecoveryReport, recover};
use punctual_core::journal::Durability;
use punctual_core::task::{TaskQueue, TaskQueueConfig, TaskReplay};
use punctual_core::{Nanos, SessionId};
use std::time::Duration;

/// A clock that is further behind a journal than this was set back: what was written down of it is
/// no more than a moment ahead.
const BEHIND_MAX: Duration = Duration::from_secs(1);

/// A queue with its journal, if it has one.
pub(super) struct Hosted {
    pub(super) queue: TaskQueue,
    pub(super) journal: Option<Journal>,
    pub(super) recovery: Option<RecoveryReport>,
    pub(super) warnings: Vec<String>,
}

impl Hosted {
    /// Makes a queue, with what its journal says if there is to be one. `clock` is set forward
    /// where that is needed, so nobody may have a copy of it yet.
    pub(super) fn open(
        config: &TaskQueueConfig,
        plan: Option<JournalPlan>,
        clock: &mut Clock,
    ) -> Result<Self, TaskServerError> {
        let session = SessionId(random());
        let Some(plan) = plan else {
            let queue = TaskQueue::new(TaskQueueConfig { session, ..config.clone() });
            return Ok(Self { queue, journal: None, recovery: None, warnings: Vec::new() });
        };
        let durability = Durability::Journal;
        let setup = TaskQueueConfig { session, durability, ..config.clone() };
        let recovered = recover::<TaskReplay>(&plan, &setup)?;
        let Recovered { replay, dir, head, number, report } = recovered;
        tracing::info!(shard = report.shard.0, "{report}");
        let mut warnings: Vec<String> = catch_up(clock, replay.clock_floor()).into_iter().collect();
        let queue = replay.finish(clock.now(), head.start);
        let journal = Journal::start::<TaskReplay>(&plan, dir, head, number, setup)?;
        warnings.extend(journal.warning());
        Ok(Self { queue, journal: Some(journal), recovery: Some(report), warnings })
    }
}

/// Sees to it that the clock is past everything that a journal speaks of: what happened before must
/// not lie ahead. Says so if the clock was set back.
fn catch_up(clock: &mut Clock, floor: Nanos) -> Option<String> {
    let behind = floor.since(clock.now());
    if behind <= BEHIND_MAX {
        std::thread::sleep(behind);
        return None;
    }
    clock.set_forward(behind.into());
    let behind = show_duration(Duration::from_secs(behind.as_secs()));
    Some(format!(
        "the clock was set back to {behind} before the end of the journal: the task server sets \
         its own forward, and says times by that one. See that nobody sets the clock back"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClockSource;

    #[test]
    fn a_clock_that_was_set_back_is_set_forward_and_one_that_was_not_stays() {
        let mut clock = Clock::new(ClockSource::Realtime);
        let floor = clock.now();
        assert_eq!(catch_up(&mut clock, floor), None);
        assert!(clock.now() >= floor);
        let floor = clock.now() + Duration::from_secs(7_200).into();
        let warning = catch_up(&mut clock, floor).expect("a warning");
        assert!(clock.now() >= floor, "it is behind still");
        assert!(warning.starts_with("the clock was set back to "), "{warning}");
    }
}
