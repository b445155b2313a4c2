//! The parts of a worker by themselves. As a whole it is tested from outside.

use super::PREFETCH_MAX;
use super::prefetch::{PrefetchEstimator, share};
use super::runs::{Offer, Runs};
use crate::Nanos;
use proptest::prelude::*;
use punctual_wire::task::{Attempt, Occupancy, TaskId};

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
/// What every task of the random plays asks for.
const CORES_MILLI: u32 = 7;
/// Queues of the random plays.
const QUEUES: u16 = 3;

fn estimator(run_ns: u64, round_trip_ns: u64) -> PrefetchEstimator {
    let mut estimator = PrefetchEstimator::default();
    estimator.on_run(run_ns);
    estimator.on_round_trip(round_trip_ns);
    estimator
}

#[test]
fn twice_what_the_slots_finish_in_a_round_trip_waits_and_at_least_one() {
    assert_eq!(estimator(MS, 10 * MS).ahead(2), 40);
    assert_eq!(estimator(3 * MS, 10 * MS).ahead(1), 7, "rounded up");
    assert_eq!(estimator(SECOND, MS).ahead(2), 1);
}

#[test]
fn nothing_waits_while_a_figure_is_missing_or_tasks_take_over_a_second() {
    let mut unknown = PrefetchEstimator::default();
    assert_eq!(unknown.ahead(2), 0);
    unknown.on_run(MS);
    assert_eq!(unknown.ahead(2), 0);
    assert_eq!(estimator(SECOND + 1, MS).ahead(2), 0);
}

#[test]
fn what_waits_is_bounded_and_the_shortest_runs_count_as_a_microsecond() {
    assert_eq!(estimator(0, 100 * US).ahead(1), 200);
    assert_eq!(estimator(0, SECOND).ahead(1_000), PREFETCH_MAX);
}

#[test]
fn only_half_or_double_the_number_and_from_or_to_none_are_worth_telling() {
    let forty = estimator(MS, 10 * MS);
    for (told, advice) in [(0, 40), (20, 40), (21, 21), (40, 40), (79, 79), (80, 40)] {
        assert_eq!(forty.advise(2, 1, told), advice, "{told} is known");
    }
    let none = estimator(2 * SECOND, 10 * MS);
    assert_eq!(none.advise(2, 1, 1), 0);
}

#[test]
fn several_queues_share_the_number_and_one_may_wait_from_each() {
    let forty = estimator(MS, 10 * MS);
    let two = [(2, 0, 20), (2, 10, 20), (2, 11, 11), (2, 39, 39), (2, 40, 20)];
    let more = [(3, 0, 14), (40, 0, 1), (64, 0, 1), (64, 1, 1)];
    for (queues, told, advice) in two.into_iter().chain(more) {
        assert_eq!(forty.advise(2, queues, told), advice, "{told} is known, of {queues} queues");
    }
    assert_eq!(PrefetchEstimator::default().advise(2, 2, 0), 1, "even if nothing is known");
    assert_eq!((share(0, 1), share(0, 2), share(7, 1), share(7, 2)), (0, 1, 7, 4));
}

#[test]
fn one_long_task_among_short_ones_is_forgotten_soon() {
    let mut estimator = estimator(MS, 10 * MS);
    estimator.on_run(3_600 * SECOND);
    assert_eq!(estimator.ahead(2), 0, "the mean is over a second now");
    for _ in 0..8 {
        estimator.on_run(MS);
    }
    assert!(estimator.ahead(2) > 0);
}

#[derive(Debug, Clone)]
enum Step {
    Add {
        queue: u16,
        priority: i32,
    },
    /// Of those that wait, in their order.
    Remove {
        nth: usize,
    },
    Begin {
        nth: usize,
    },
    /// Of those that run.
    End {
        nth: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..QUEUES, -50..50_i32).prop_map(|(queue, priority)| Step::Add { queue, priority }),
        1 => any::<usize>().prop_map(|nth| Step::Remove { nth }),
        2 => any::<usize>().prop_map(|nth| Step::Begin { nth }),
        2 => any::<usize>().prop_map(|nth| Step::End { nth }),
    ]
}

fn offer(task: TaskId, priority: i32) -> Offer<'static> {
    Offer {
        task,
        attempt: Attempt(1),
        priority,
        memory: task.sequence(),
        cores_milli: CORES_MILLI,
        timeout_ms: 0,
        job: b"job",
        payload: b"payload",
    }
}

/// Compares what others take of each queue with a count of all that run.
fn check_occupancy(runs: &Runs, running: &[TaskId], queues: u16) -> Result<(), TestCaseError> {
    for queue in 0..queues {
        let mut by_others = Occupancy::default();
        for task in running.iter().filter(|task| task.shard() != queue) {
            by_others.slots += 1;
            by_others.memory += task.sequence();
            by_others.cores_milli += CORES_MILLI;
        }
        prop_assert_eq!(runs.occupied_by_others(queue), by_others);
        prop_assert_eq!(runs.running_of(queue) + by_others.slots, runs.running());
    }
    Ok(())
}

proptest! {
    #[test]
    fn leases_wait_in_order_and_are_found_whatever_comes_and_goes(
        steps in prop::collection::vec(step(), 1..400),
    ) {
        let mut runs = Runs::new();
        runs.set_queues(QUEUES.into());
        let mut waiting: Vec<(i32, TaskId)> = Vec::new();
        let mut running: Vec<TaskId> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Add { queue, priority } => {
                    let task = TaskId::new(queue, number as u64);
                    runs.add(Nanos::ZERO, &offer(task, priority), None);
                    let at = waiting.partition_point(|(other, _)| *other >= priority);
                    waiting.insert(at, (priority, task));
                }
                Step::Remove { nth } if !waiting.is_empty() => {
                    let (_, task) = waiting.remove(nth % waiting.len());
                    runs.remove_waiting(runs.of_task(task).expect("it waits"));
                    prop_assert_eq!(runs.of_task(task), None);
                }
                Step::Begin { nth } if !waiting.is_empty() => {
                    let (_, task) = waiting.remove(nth % waiting.len());
                    runs.begin(runs.of_task(task).expect("it waits"), Nanos::ZERO, 0);
                    running.push(task);
                }
                Step::End { nth } if !running.is_empty() => {
                    let task = running.swap_remove(nth % running.len());
                    let at = runs.of_task(task).expect("it runs");
                    let run = runs.get(at).lease.run;
                    prop_assert_eq!(runs.find(run), Some(at));
                    runs.remove_running(at);
                    prop_assert_eq!(runs.find(run), None);
                }
                Step::Remove { .. } | Step::Begin { .. } | Step::End { .. } => {}
            }
            let in_order: Vec<_> = runs.waiting().map(|at| runs.get(at).lease.task).collect();
            let expected: Vec<_> = waiting.iter().map(|(_, task)| *task).collect();
            prop_assert_eq!(in_order, expected);
            prop_assert_eq!(runs.waiting_len(), waiting.len());
            prop_assert_eq!(runs.running() as usize, running.len());
            for task in &running {
                let at = runs.of_task(*task).expect("it runs");
                prop_assert_eq!(runs.get(at).lease.task, *task);
            }
            check_occupancy(&runs, &running, QUEUES)?;
        }
        // What still runs of a queue that is gone takes room from those that are left.
        runs.set_queues(usize::from(QUEUES) - 1);
        while let Some(task) = running.pop() {
            runs.remove_running(runs.of_task(task).expect("it runs"));
            check_occupancy(&runs, &running, QUEUES - 1)?;
        }
        runs.set_queues(1);
        prop_assert_eq!(runs.occupied_by_others(0), Occupancy::default());
    }
}
