//! The tasks of a run: what they ask for, what they come after, and what becomes of each time that
//! one is run. Their numbers are what everybody here calls them by.

use super::tuning::Tuning;
use crate::env::mix;
use crate::rng::Rng;
use punctual_wire::task::{
    After, EndKind, JobId, PayloadKind, TaskKey, TaskPayload, TaskSpec, Variables, queue_of_hash,
};

/// What the command of every task begins with; its number follows.
const COMMAND: &str = "task ";
/// Bytes of one unit of memory.
const MEMORY_UNIT: u64 = 1 << 30;
const MILLISECOND: i64 = 1_000_000;

/// What a task is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    Good,
    /// It fails so often before it succeeds.
    Flaky(u64),
    /// It fails always.
    Bad,
    /// It cannot be started, as often as not.
    Unstartable,
    /// Its worker dies of it, the first so many times, if workers may die.
    Killer(u64),
    /// It runs until it is stopped: it has a time limit.
    Endless,
    /// As that, and it does not stop when asked.
    Deaf,
}

/// A task, as it is to be submitted.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) job: usize,
    /// Where clients submit it.
    pub(super) queue: usize,
    pub(super) key: TaskKey,
    pub(super) priority: i32,
    pub(super) memory: u64,
    pub(super) cores_milli: u32,
    pub(super) attempts_max: u16,
    timeout_ms: u64,
    /// The tasks that it comes after, by number; all lower than its own.
    pub(super) after: Vec<u32>,
    after_keys: Vec<[u8; 16]>,
    payload: Vec<u8>,
    nature: Nature,
}

impl Plan {
    /// What is sent for it.
    pub(super) fn spec(&self, job: JobId) -> TaskSpec<'_> {
        TaskSpec {
            job,
            key: self.key,
            priority: self.priority,
            memory: self.memory,
            cores_milli: self.cores_milli,
            timeout_ms: self.timeout_ms,
            attempts_max: self.attempts_max,
            after: After::new(&self.after_keys),
            payload: &self.payload,
        }
    }
}

/// What becomes of a run if nobody interferes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fate {
    /// How long it runs; nothing: it does not even begin.
    pub(super) lasts: Option<i64>,
    pub(super) kind: EndKind,
    pub(super) code: i32,
    /// It goes on when asked to stop.
    pub(super) is_deaf: bool,
    /// Its worker ends with it.
    pub(super) kills_worker: bool,
}

/// All tasks of a run.
#[derive(Debug)]
pub(super) struct Plans {
    pub(super) all: Vec<Plan>,
    /// Of each task those that come after it, also by way of others.
    followers: Vec<Vec<u32>>,
    /// Mean time of a run.
    run: i64,
    /// Some runs kill their worker.
    pub(super) may_kill: bool,
}

impl Plans {
    pub(super) fn draw(tuning: &Tuning, queues: u16, may_kill: bool, rng: &mut Rng) -> Self {
        let mut all: Vec<Plan> = Vec::new();
        for number in 0..tuning.tasks as u32 {
            let plan = draw_plan(number, &all, tuning, rng);
            all.push(plan);
        }
        let mut followers = vec![Vec::new(); all.len()];
        let mut before: Vec<Vec<u32>> = Vec::new();
        for (plan, number) in all.iter().zip(0_u32..) {
            let mut ancestors = plan.after.clone();
            ancestors.extend(plan.after.iter().flat_map(|at| &before[*at as usize]));
            ancestors.sort_unstable();
            ancestors.dedup();
            for ancestor in &ancestors {
                followers[*ancestor as usize].push(number);
            }
            before.push(ancestors);
        }
        for (plan, followers) in all.iter_mut().zip(&followers) {
            plan.queue = queue_of(plan, !followers.is_empty(), queues);
        }
        Self { all, followers, run: tuning.run, may_kill }
    }

    pub(super) fn get(&self, number: u32) -> &Plan {
        &self.all[number as usize]
    }

    pub(super) fn followers(&self, number: u32) -> &[u32] {
        &self.followers[number as usize]
    }

    /// The task that a payload is of.
    pub(super) fn number_of(&self, payload: &[u8]) -> Option<u32> {
        let command = TaskPayload::read(payload).ok()?.command;
        let number = std::str::from_utf8(command).ok()?.strip_prefix(COMMAND)?;
        number.parse().ok().filter(|number| (*number as usize) < self.all.len())
    }

    /// What becomes of a run of a task that was begun `runs` times before.
    pub(super) fn fate(&self, number: u32, runs: u64, rng: &mut Rng) -> Fate {
        let lasts = 1 + self.run / 4 + rng.exponential(3 * self.run / 4);
        let good = Fate {
            lasts: Some(lasts),
            kind: EndKind::Exited,
            code: 0,
            is_deaf: false,
            kills_worker: false,
        };
        let forever = Some(3_600_000 * MILLISECOND);
        match self.get(number).nature {
            Nature::Flaky(fails) if runs < fails => Fate { code: 1, ..good },
            Nature::Bad if rng.chance(300_000) => {
                Fate { kind: EndKind::Signaled, code: 11, ..good }
            }
            Nature::Bad => Fate { code: 2, ..good },
            Nature::Unstartable if rng.chance(500_000) => {
                Fate { lasts: None, kind: EndKind::NotStarted, code: 2, ..good }
            }
            Nature::Killer(times) if runs < times && self.may_kill => {
                Fate { kills_worker: true, ..good }
            }
            Nature::Endless => Fate { lasts: forever, ..good },
            Nature::Deaf => Fate { lasts: forever, is_deaf: true, ..good },
            _ => good,
        }
    }
}

/// The queue of a task, as clients reckon it: those that come after others, or that others come
/// after, are in one place, all of a job. Which hash of the job that is does not matter.
fn queue_of(plan: &Plan, has_followers: bool, queues: u16) -> usize {
    let is_tied = has_followers || !plan.after.is_empty();
    usize::from(match is_tied {
        true => queue_of_hash(mix(3, plan.job as u64), queues),
        false => plan.key.queue(queues),
    })
}

fn draw_plan(number: u32, earlier: &[Plan], tuning: &Tuning, rng: &mut Rng) -> Plan {
    let job = rng.index(tuning.jobs);
    let nature = match rng.chance(tuning.nasty) {
        false => Nature::Good,
        true => *rng.pick(&[
            Nature::Flaky(1),
            Nature::Flaky(2),
            Nature::Bad,
            Nature::Unstartable,
            Nature::Killer(1),
            Nature::Killer(3),
            Nature::Endless,
            Nature::Deaf,
        ]),
    };
    let limit_ms = (2 * tuning.run / MILLISECOND).max(2).unsigned_abs();
    let is_endless = matches!(nature, Nature::Endless | Nature::Deaf);
    let has_limit = is_endless || rng.chance(100_000);
    let (memory, cores_milli) = match tuning.has_requests {
        true => (rng.below(4) * MEMORY_UNIT, *rng.pick(&[0, 250, 500, 1_000])),
        false => (0, 0),
    };
    let mut after: Vec<u32> = Vec::new();
    if rng.chance(tuning.after) {
        let same_job = earlier.iter().zip(0_u32..).filter(|(plan, _)| plan.job == job);
        let candidates: Vec<u32> = same_job.map(|(_, number)| number).collect();
        for _ in 0..=rng.below(3).min(candidates.len() as u64) {
            if !candidates.is_empty() {
                after.push(*rng.pick(&candidates));
            }
        }
        after.sort_unstable();
        after.dedup();
    }
    let keys: Vec<TaskKey> = after.iter().map(|at| earlier[*at as usize].key).collect();
    let (name, command) = (format!("t{number}"), format!("{COMMAND}{number}"));
    let mut payload = Vec::new();
    TaskPayload {
        kind: PayloadKind::Shell,
        name: name.as_bytes(),
        cwd: &[],
        command: command.as_bytes(),
        variables: Variables::default(),
    }
    .write_to(&mut payload);
    Plan {
        job,
        queue: 0,
        key: TaskKey(u128::from(mix(1, number.into())) << 64 | u128::from(mix(2, number.into()))),
        priority: rng.below(tuning.priorities) as i32,
        memory,
        cores_milli,
        attempts_max: *rng.pick(&[1, 2, 3, 5]),
        timeout_ms: if has_limit { limit_ms } else { 0 },
        after,
        after_keys: After::to_bytes_of(&keys),
        payload,
        nature,
    }
}

/// The most memory and cores that a task of any run asks for: a worker with as much can run all.
pub(super) const WHOLE_MEMORY: u64 = 4 * MEMORY_UNIT;
pub(super) const WHOLE_CORES: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::super::config::FarmConfig;
    use super::*;

    #[test]
    fn tasks_come_after_earlier_ones_of_their_job_and_know_their_number() {
        let mut with_after = 0;
        let mut in_queue = [0; 3];
        for seed in 0..40 {
            let tuning = Tuning::draw(&FarmConfig::from_seed(seed));
            let plans = Plans::draw(&tuning, 3, true, &mut Rng::new(seed, 0));
            for (plan, number) in plans.all.iter().zip(0_u32..) {
                assert_eq!(plans.number_of(&plan.payload), Some(number));
                in_queue[plan.queue] += 1;
                assert!(plan.memory < WHOLE_MEMORY && plan.cores_milli <= WHOLE_CORES);
                for before in &plan.after {
                    with_after += 1;
                    let earlier = plans.get(*before);
                    assert!(*before < number);
                    assert_eq!((earlier.job, earlier.queue), (plan.job, plan.queue));
                    assert!(plans.followers(*before).contains(&number));
                }
            }
        }
        assert!(with_after > 100, "{with_after}");
        assert!(in_queue.iter().all(|tasks| *tasks > 300), "{in_queue:?}");
    }
}
