//! Attempts that fail, and what comes after them.

use super::*;

fn one_task(rig: &mut Rig, attempts: u16) -> Party {
    let client = rig.client();
    let job = rig.job(client, "job");
    rig.submit(client, &[draft(job, 1).attempts(attempts)]);
    rig.hear(client);
    client
}

/// Fails the only task at `hand`, which alone has anything, and lets the pause pass.
fn fail_first(rig: &mut Rig, hand: &mut Hand) {
    let run = rig.runs(hand)[0];
    rig.report(hand, run, exited(1));
    assert_eq!(rig.state(1), TaskState::Delayed);
    rig.advance(60_000);
}

/// Long leases, so that a pause does not end them.
fn patient() -> TaskQueueConfig {
    TaskQueueConfig { lease_timeout: Duration::from_secs(1_000_000), ..config() }
}

#[test]
fn a_task_that_failed_goes_to_another_worker() {
    let mut rig = Rig::with(patient());
    one_task(&mut rig, 3);
    let mut first = rig.worker("first", capacity(1, 1));
    fail_first(&mut rig, &mut first);
    let mut second = rig.worker("second", capacity(1, 1));
    assert_eq!(rig.runs(&second), [Run::new(1, 2)]);
    assert_eq!(rig.runs(&first), []);
    // Both have failed it now: either may have it.
    rig.report(&mut second, Run::new(1, 2), exited(1));
    rig.advance(60_000);
    rig.turn();
    assert_eq!(rig.state(1), TaskState::Leased);
}

#[test]
fn it_waits_for_another_worker_that_is_busy() {
    let mut rig = Rig::with(patient());
    let client = one_task(&mut rig, 3);
    let mut first = rig.worker("first", capacity(1, 0));
    let run = rig.runs(&first)[0];
    let job = rig.job(client, "other");
    rig.submit(client, &[draft(job, 2)]);
    let mut second = rig.worker("second", capacity(1, 0));
    let busy = rig.runs(&second)[0];
    rig.report(&mut first, run, exited(1));
    rig.advance(60_000);
    assert_eq!(rig.runs(&first), []);
    assert_eq!(rig.state(1), TaskState::Ready);
    rig.report(&mut second, busy, exited(0));
    assert_eq!(rig.runs(&second), [Run::new(1, 2)]);
}

/// The original took `node1` for one of those in `node10,`.
#[test]
fn defect_08_what_failed_on_node10_may_go_to_node1() {
    let mut rig = Rig::with(patient());
    let client = rig.client();
    let job = rig.job(client, "job");
    // As long as this one is busy, whatever has failed elsewhere would wait for it.
    rig.submit(client, &[draft(job, 1)]);
    let other = rig.worker("other", capacity(1, 0));
    assert_eq!(rig.runs(&other), [Run::new(1, 1)]);
    rig.submit(client, &[draft(job, 2).attempts(3)]);
    let mut node10 = rig.worker("node10", capacity(1, 0));
    let run = rig.runs(&node10)[0];
    rig.report(&mut node10, run, exited(1));
    rig.advance(60_000);
    assert_eq!(rig.runs(&node10), []);
    assert_eq!(rig.state(2), TaskState::Ready);
    let node1 = rig.worker("node1", capacity(1, 0));
    assert_eq!(rig.runs(&node1), [Run::new(2, 2)]);
}

#[test]
fn it_goes_to_the_same_worker_if_no_other_could_run_it() {
    let mut rig = Rig::with(patient());
    let client = rig.client();
    let job = rig.job(client, "job");
    rig.submit(client, &[draft(job, 1).attempts(3).memory(100)]);
    let mut first = rig.worker("first", capacity(1, 0));
    let small = rig.worker("small", Capacity { memory: 99, ..capacity(1, 1) });
    fail_first(&mut rig, &mut first);
    assert_eq!(rig.runs(&first), [Run::new(1, 2)]);
    assert_eq!(rig.heard_runs(&small), []);
}

#[test]
fn it_goes_to_the_same_worker_as_soon_as_the_others_are_gone() {
    // However they go, and although nothing else happens.
    for how in 0..4 {
        let mut rig = Rig::with(patient());
        let client = one_task(&mut rig, 3);
        let mut first = rig.worker("first", capacity(1, 0));
        let run = rig.runs(&first)[0];
        let job = rig.job(client, "other");
        rig.submit(client, &[draft(job, 2)]);
        let second = rig.worker("second", capacity(1, 0));
        assert_eq!(rig.runs(&second).len(), 1);
        rig.report(&mut first, run, exited(1));
        rig.advance(60_000);
        assert_eq!(rig.runs(&first), []);
        match how {
            0 => rig.close(second.party),
            1 => {
                let draining = Capacity { is_draining: true, ..capacity(1, 0) };
                rig.say(second.party, ToQueue::Credit { capacity: draining });
            }
            2 => rig.say(client, ToQueue::StopWorker { request: 1, name: b"second" }),
            _ => rig.say(second.party, ToQueue::Credit { capacity: capacity(0, 9) }),
        }
        assert_eq!(rig.runs(&first), [Run::new(1, 2)], "way {how}");
    }
}

#[test]
fn the_pause_doubles_with_each_failure_up_to_the_longest() {
    let mut rig = Rig::with(patient());
    one_task(&mut rig, 20);
    let mut hand = rig.worker("w", capacity(1, 0));
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let run = rig.runs(&hand)[0];
        rig.report(&mut hand, run, exited(1));
        let due = rig.queue.next_deadline().expect("it is tried again");
        pauses.push((due - rig.now).0 / MS);
        rig.now = due - Nanos(1);
        assert_eq!(rig.runs(&hand), [], "not before its time");
        rig.now = due;
    }
    assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
}

#[test]
fn a_task_is_tried_as_often_as_it_may_be_and_then_has_failed() {
    let mut rig = Rig::with(patient());
    let client = one_task(&mut rig, 3);
    let mut hand = rig.worker("w", capacity(1, 0));
    for attempt in 1..=3 {
        let run = rig.runs(&hand)[0];
        assert_eq!(run, Run::new(1, attempt));
        rig.report(&mut hand, run, exited(i32::try_from(attempt).expect("a small number")));
        rig.advance(60_000);
    }
    assert_eq!(rig.runs(&hand), []);
    let (rows, ..) = rig.query(client, all(), 9);
    let row = &rows[0];
    assert_eq!(
        (row.state, row.failures, row.end),
        (TaskState::Failed, 3, Some((EndKind::Exited, 3)))
    );
    assert_eq!((row.worker.as_str(), row.failed_on.as_str()), ("w", "w"));
    let stats = rig.queue.stats();
    assert_eq!((stats.failed, stats.retried, stats.done), (3, 2, 0));
}

#[test]
fn whatever_is_not_an_exit_with_zero_is_a_failure() {
    let kinds = [
        (EndKind::Signaled, 9),
        (EndKind::TimedOut, 0),
        (EndKind::OutOfMemory, 0),
        (EndKind::NotStarted, 2),
        (EndKind::Exited, -1),
    ];
    for (kind, code) in kinds {
        let mut rig = Rig::new();
        one_task(&mut rig, 1);
        let mut hand = rig.worker("w", capacity(1, 0));
        let run = rig.runs(&hand)[0];
        rig.report(&mut hand, run, TaskEnd { kind, code, ..exited(0) });
        assert_eq!(rig.state(1), TaskState::Failed, "{kind:?}");
    }
}

#[test]
fn what_a_worker_cannot_run_goes_to_another_one_and_does_not_count_as_a_failure() {
    let mut rig = Rig::new();
    one_task(&mut rig, 1);
    let mut first = rig.worker("first", capacity(1, 0));
    let run = rig.runs(&first)[0];
    let second = rig.worker("second", capacity(1, 0));
    rig.give_back(&mut first, run, ReturnReason::Unfit);
    assert_eq!(rig.runs(&first), []);
    assert_eq!(rig.heard_runs(&second), [Run::new(1, 2)]);
    assert_eq!(rig.task(1).failures, 0);
    assert_eq!(rig.queue.stats().returned, 1);
}

#[test]
fn a_task_that_failed_goes_before_its_equals_but_not_before_higher_ones() {
    let mut rig = Rig::with(patient());
    let client = one_task(&mut rig, 2);
    let mut hand = rig.worker("w", capacity(1, 0));
    let run = rig.runs(&hand)[0];
    rig.report(&mut hand, run, exited(1));
    let job = rig.job(client, "other");
    rig.submit(client, &[draft(job, 2), draft(job, 3).priority(1)]);
    rig.advance(500);
    let mut order = Vec::new();
    while let [run] = rig.runs(&hand)[..] {
        order.push(run.task.sequence());
        rig.report(&mut hand, run, exited(0));
    }
    assert_eq!(order, [3, 1, 2]);
}

#[test]
fn many_that_a_worker_may_not_have_do_not_hide_from_it_for_ever_what_it_may() {
    let mut rig = Rig::with(patient());
    let client = rig.client();
    let job = rig.job(client, "job");
    let drafts: Vec<Draft> = (1..=41).map(|key| draft(job, key).attempts(2)).collect();
    rig.submit(client, &drafts[..40]);
    // All but the last one fail at the first worker, that one at another.
    let mut first = rig.worker("first", capacity(40, 0));
    for run in rig.runs(&first) {
        rig.report(&mut first, run, exited(1));
    }
    rig.submit(client, &drafts[40..]);
    let mut third = rig.worker("third", capacity(1, 0));
    rig.say(first.party, ToQueue::Credit { capacity: capacity(0, 0) });
    let run = rig.runs(&third)[0];
    rig.report(&mut third, run, exited(1));
    rig.close(third.party);
    let mut second = rig.worker("second", capacity(1, 0));
    rig.say(first.party, ToQueue::Credit { capacity: capacity(40, 0) });
    rig.advance(60_000);
    let mut at_first = rig.runs(&first);
    for _ in 0..20 {
        for run in rig.heard_runs(&second) {
            rig.report(&mut second, run, exited(0));
        }
        at_first.extend(rig.runs(&first));
    }
    assert_eq!(at_first, [Run::new(41, 2)]);
}
