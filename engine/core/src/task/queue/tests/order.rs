//! Which task goes out first.

use super::*;
use std::cmp::Reverse;

#[test]
fn tasks_go_out_by_priority_and_then_as_they_came() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    let priorities = [0, 5, i32::MIN, 5, i32::MAX, 0];
    let drafts: Vec<Draft> =
        (1..).zip(priorities).map(|(key, priority)| draft(job, key).priority(priority)).collect();
    rig.submit(client, &drafts);
    let mut hand = rig.worker("w", capacity(1, 0));
    let mut order = Vec::new();
    while let [run] = rig.runs(&hand)[..] {
        order.push(run.task.sequence());
        rig.report(&mut hand, run, exited(0));
    }
    assert_eq!(order, [5, 2, 4, 1, 6, 3]);
}

/// The original looked at twenty random ones of them.
#[test]
fn defect_15_priority_holds_in_the_whole_of_a_long_queue() {
    const TASKS: u64 = 3_000;
    let mut rig = Rig::new();
    rig.is_audited = false;
    let client = rig.client();
    let job = rig.job(client, "job");
    let priority = |key: u64| i32::try_from(key * 7_919 % 50).expect("a small number");
    let drafts: Vec<Draft> =
        (1..=TASKS).map(|key| draft(job, key.into()).priority(priority(key))).collect();
    rig.submit(client, &drafts);
    let mut hand = rig.worker("w", capacity(1, 0));
    let mut order = Vec::new();
    while let [run] = rig.runs(&hand)[..] {
        order.push(run.task.sequence());
        rig.report(&mut hand, run, exited(0));
    }
    let mut expected: Vec<u64> = (1..=TASKS).collect();
    expected.sort_by_key(|key| Reverse(priority(*key)));
    assert_eq!(order, expected);
    audit(&rig.queue);
}

#[test]
fn the_order_holds_across_tasks_that_ask_for_different_things() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    let drafts = [
        draft(job, 1).memory(10),
        draft(job, 2).memory(20),
        Draft { cores_milli: 10, ..draft(job, 3).memory(10) },
        draft(job, 4).memory(10),
        draft(job, 5).memory(30).priority(1),
    ];
    rig.submit(client, &drafts);
    let hand = rig.worker("w", capacity(9, 0));
    assert_eq!(sequences(&rig.runs(&hand)), [5, 1, 2, 3, 4]);
}

#[test]
fn many_different_requests_are_all_served() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    // More than there are classes: the later ones are rounded.
    let request = |key: u64| draft(job, key.into()).memory(1_000_000 + 7 * key);
    let drafts: Vec<Draft> = (1..=1500).map(request).collect();
    rig.is_audited = false;
    rig.submit(client, &drafts);
    audit(&rig.queue);
    let hand = rig.worker("w", capacity(1_500, 0));
    let runs = rig.runs(&hand);
    audit(&rig.queue);
    assert_eq!(sequences(&runs), (1..=1500).collect::<Vec<_>>());
    let memory = |sequence| rig.queue.book.classes.get(rig.task(sequence).class).memory;
    assert_eq!(memory(1_000), 1_007_000);
    assert_eq!(memory(1_500), 1 << 20, "more than it asked for, never less");
}

#[test]
fn a_task_that_does_not_fit_lets_smaller_ones_pass() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    let drafts = [draft(job, 1).memory(8), draft(job, 2).memory(8), draft(job, 3).memory(2)];
    rig.submit(client, &drafts);
    let mut hand = rig.worker("w", Capacity { memory: 10, ..capacity(4, 0) });
    let runs = rig.runs(&hand);
    assert_eq!(sequences(&runs), [1, 3]);
    rig.report(&mut hand, runs[0], exited(0));
    assert_eq!(sequences(&rig.runs(&hand)), [2]);
}

#[test]
fn a_task_that_comes_back_goes_before_its_equals() {
    let mut rig = Rig::new();
    rig.with_tasks(3);
    let mut hand = rig.worker("w", capacity(2, 0));
    let runs = rig.runs(&hand);
    assert_eq!(sequences(&runs), [1, 2]);
    rig.give_back(&mut hand, runs[1], ReturnReason::LowMemory);
    assert_eq!(rig.runs(&hand), [Run::new(2, 2)]);
}

#[test]
fn a_cancelled_task_leaves_its_place_and_comes_back_at_the_end() {
    let mut rig = Rig::new();
    let (client, _) = rig.with_tasks(4);
    assert_eq!(rig.control(client, Verb::Cancel, one(1)), 1);
    assert_eq!(rig.control(client, Verb::Cancel, one(3)), 1);
    assert_eq!(rig.control(client, Verb::Retry, one(1)), 1);
    let hand = rig.worker("w", capacity(9, 0));
    assert_eq!(sequences(&rig.runs(&hand)), [2, 4, 1]);
}
