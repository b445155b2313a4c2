//! What starts when, by what tasks ask for.

use super::*;
use punctual_core::task::{OVERTAKEN_MAX, WAITING_MAX};

#[test]
fn waiting_leases_start_by_priority_and_then_in_order_of_arrival() {
    let mut rig = Rig::new(config(1));
    let with = |id, priority| Task { priority, ..task(id) };
    rig.lease(&[with(1, 0), with(2, 5), with(3, -1), with(4, 5), with(5, 0)]);
    for expected in [2, 4, 1, 5, 3] {
        assert_eq!(rig.started(), [expected]);
        rig.succeed(expected);
    }
    assert!(rig.started().is_empty());
}

#[test]
fn no_more_tasks_run_at_once_than_there_are_slots() {
    let mut rig = Rig::new(config(3));
    rig.lease(&[task(1), task(2), task(3), task(4), task(5)]);
    assert_eq!(rig.started(), [1, 2, 3]);
    assert_eq!((rig.worker.running(), rig.worker.waiting()), (3, 2));
    rig.succeed(2);
    assert_eq!(rig.started(), [4]);
    rig.succeed(1);
    rig.succeed(3);
    rig.succeed(4);
    assert_eq!(rig.started(), [5]);
}

/// The original looked for the next task only every 8 s once it was full.
#[test]
fn defect_13_a_slot_that_gets_free_is_filled_at_once() {
    const TASKS: u64 = 100;
    const SLOTS: u64 = 32;
    let mut rig = Rig::new(config(32));
    let beat = rig.worker.next_deadline();
    let all: Vec<_> = (1..=TASKS).map(task).collect();
    rig.lease(&all);
    assert_eq!(rig.started().len() as u64, SLOTS);
    for next in SLOTS + 1..=TASKS {
        rig.pass_ms(3);
        rig.succeed(next - SLOTS);
        // The end of one is all that the next one waits for: no time passes, and nothing is due.
        assert_eq!(rig.started(), [next]);
        assert_eq!(rig.worker.next_deadline(), beat, "the sign of life alone");
    }
    assert_eq!(rig.worker.running() as u64, SLOTS);
}

#[test]
fn a_lease_says_what_to_run_and_how_long_it_waited_is_reported() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[Task { memory: MIB, cores_milli: 1_500, ..task(7) }]);
    let arrived = rig.now;
    rig.pass_ms(3);
    assert_eq!(rig.started(), [7]);
    let lease = rig.worker.lease(rig.runs[&7]).expect("it runs").clone();
    assert_eq!((lease.task, lease.attempt, lease.arrived), (TaskId(7), Attempt(1), arrived));
    assert_eq!((lease.memory, lease.cores_milli), (MIB, 1_500));
    assert_eq!((&*lease.job, &*lease.payload), (&b"job"[..], &b"payload"[..]));
    rig.pass_ms(10);
    rig.exit(7, failure(3));
    assert_eq!(rig.worker.lease(lease.run), None, "it is gone");
    let said = rig.said();
    let [Said::Report(report)] = &said[..] else { panic!("{said:?}") };
    assert_eq!((report.seq, report.task, report.attempt), (1, 7, 1));
    assert_eq!((report.kind, report.code), (EndKind::Exited, 3));
    assert_eq!(report.waited_ns, 3 * MS);
    assert_eq!((rig.worker.stats().started, rig.worker.stats().failed), (1, 1));
}

#[test]
fn a_run_is_named_as_none_before_it_in_the_same_slot() {
    let mut rig = Rig::new(config(1));
    let mut seen = std::collections::BTreeSet::new();
    for id in 1..=100 {
        rig.lease(&[task(id)]);
        assert_eq!(rig.started(), [id]);
        assert!(seen.insert(rig.runs[&id]), "task {id} has the run of another one");
        rig.succeed(id);
    }
    let old = *seen.first().expect("a hundred runs");
    rig.lease(&[task(101)]);
    assert_eq!(rig.started(), [101]);
    rig.worker.on_exit(rig.now, old, Exit::success());
    assert_eq!(rig.worker.running(), 1, "the end of an old run ends no other one");
}

#[test]
fn memory_that_tasks_ask_for_bounds_what_runs_together() {
    let mut rig = Rig::new(config(10));
    let with = |id, mib| Task { memory: mib * MIB, ..task(id) };
    rig.lease(&[with(1, 60), with(2, 60), with(3, 40), with(4, 1)]);
    assert_eq!(rig.started(), [1, 3], "2 and 4 do not fit beside them");
    rig.succeed(3);
    assert_eq!(rig.started(), [4]);
    rig.succeed(1);
    assert_eq!(rig.started(), [2]);
}

#[test]
fn cores_that_tasks_ask_for_bound_what_runs_together() {
    let mut rig = Rig::new(config(10));
    let with = |id, cores_milli| Task { cores_milli, ..task(id) };
    rig.lease(&[with(1, 5_000), with(2, 3_001), with(3, 3_000), with(4, 0)]);
    assert_eq!(rig.started(), [1, 3, 4]);
    rig.succeed(1);
    assert_eq!(rig.started(), [2]);
}

#[test]
fn a_task_that_does_not_fit_is_overtaken_a_bounded_number_of_times() {
    let mut rig = Rig::new(config(1_000));
    let whole = |id| Task { memory: 100 * MIB, ..task(id) };
    rig.lease(&[Task { memory: MIB, ..task(1) }, whole(2)]);
    let small: Vec<_> = (10..210).map(task).collect();
    rig.lease(&small);
    let started = rig.started();
    assert_eq!(started.len(), 1 + OVERTAKEN_MAX as usize);
    assert!(!started.contains(&2));
    for id in started.into_iter().filter(|id| *id != 1) {
        rig.succeed(id);
    }
    assert!(rig.started().is_empty(), "the others wait for it now, whatever room there is");
    rig.succeed(1);
    let started = rig.started();
    assert_eq!(started.first(), Some(&2));
    assert_eq!(started.len(), 1 + small.len() - OVERTAKEN_MAX as usize);
}

#[test]
fn something_of_higher_priority_does_not_overtake() {
    let mut rig = Rig::new(config(1_000));
    rig.lease(&[Task { memory: MIB, ..task(1) }, Task { memory: 100 * MIB, ..task(2) }]);
    assert_eq!(rig.started(), [1]);
    for id in 10..210 {
        rig.lease(&[Task { priority: 1, ..task(id) }]);
        assert_eq!(rig.started(), [id], "it goes before, and is counted for nothing");
    }
    rig.lease(&[task(300)]);
    assert_eq!(rig.started(), [300], "so there is still leave to overtake");
}

#[test]
fn a_task_that_is_larger_than_the_worker_is_given_back() {
    let mut rig = Rig::new(config(2));
    let memory = Task { memory: 100 * MIB + 1, ..task(1) };
    let cores = Task { cores_milli: 8_001, ..task(2) };
    let whole = Task { memory: 100 * MIB, cores_milli: 8_000, ..task(3) };
    rig.lease(&[memory, cores, whole]);
    assert_eq!(rig.started(), [3]);
    let said = rig.said();
    assert_eq!(returns(&said), [(1, 1, ReturnReason::Unfit), (2, 2, ReturnReason::Unfit)]);
    assert_eq!(rig.worker.stats().returned, 2);
}

#[test]
fn a_lease_that_it_has_already_is_ignored() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1), task(2), task(2)]);
    assert_eq!(rig.started(), [1]);
    rig.lease(&[task(1)]);
    rig.succeed(1);
    assert_eq!(rig.started(), [2]);
    rig.succeed(2);
    assert!(rig.started().is_empty());
    assert_eq!(reports(&rig.said()).len(), 2);
    assert_eq!(rig.worker.stats().stale, 2);
}

#[test]
fn a_later_attempt_waits_until_the_earlier_one_is_gone() {
    let mut rig = Rig::new(config(4));
    let again = Task { attempt: 2, ..task(1) };
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    let first = rig.runs[&1];
    rig.lease(&[again, task(2)]);
    assert_eq!(rig.asked(), [Asked::Stop(1), Asked::Start(2)]);
    rig.worker.on_exit(rig.now, first, killed());
    assert_eq!(rig.started(), [1]);
    rig.succeed(1);
    let said = rig.said();
    let [Said::Report(report)] = &said[..] else { panic!("{said:?}") };
    assert_eq!((report.task, report.attempt), (1, 2), "of the first one nothing is said");
}

#[test]
fn a_later_attempt_takes_the_place_of_one_that_waits() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1), task(2), Task { attempt: 2, ..task(2) }]);
    assert_eq!(rig.started(), [1]);
    assert_eq!(rig.worker.waiting(), 1);
    rig.lease(&[task(2)]);
    assert_eq!(rig.worker.waiting(), 1, "the earlier one does not come back");
    rig.succeed(1);
    assert_eq!(rig.started(), [2]);
    let lease = rig.worker.lease(rig.runs[&2]).expect("it runs");
    assert_eq!(lease.attempt, Attempt(2));
}

#[test]
fn a_queue_that_gives_leases_without_end_is_mistaken() {
    let mut rig = Rig::new(config(1));
    let room: Vec<_> = (0..WAITING_MAX as u64).map(task).collect();
    rig.lease(&room);
    assert_eq!(rig.worker.waiting(), WAITING_MAX);
    let refused = rig.try_push(&[task(WAITING_MAX as u64).push()]);
    assert!(matches!(refused, Err(WireError::OverLimit { .. })), "{refused:?}");
}
