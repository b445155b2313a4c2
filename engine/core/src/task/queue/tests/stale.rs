//! Reports that do not count, and acknowledgements.

use super::*;

/// What a queue knows of a task that must not change.
fn facts(rig: &Rig) -> (TaskState, Attempt, u16, bool) {
    let task = rig.task(1);
    (task.state, task.attempt, task.failures, task.end.is_some())
}

#[test]
fn a_report_of_an_older_attempt_changes_nothing_and_is_acknowledged() {
    let mut rig = Rig::new();
    rig.with_tasks(1);
    let mut hand = rig.worker("w", capacity(1, 0));
    let old = rig.runs(&hand)[0];
    rig.give_back(&mut hand, old, ReturnReason::LowMemory);
    assert_eq!(rig.runs(&hand), [Run::new(1, 2)]);
    let before = facts(&rig);
    rig.report(&mut hand, old, exited(0));
    rig.give_back(&mut hand, old, ReturnReason::LowMemory);
    rig.report(&mut hand, Run::new(1, 3), exited(0));
    assert_eq!(rig.hear(hand.party), [Push::Acked(4)]);
    assert_eq!(facts(&rig), before);
    assert_eq!(rig.queue.stats().stale, 3);
}

#[test]
fn a_report_of_a_task_that_another_worker_has_changes_nothing() {
    let mut rig = Rig::new();
    rig.with_tasks(1);
    let first = rig.worker("first", capacity(1, 0));
    let run = rig.runs(&first)[0];
    let mut second = rig.worker("second", capacity(1, 0));
    let before = facts(&rig);
    rig.report(&mut second, run, exited(0));
    rig.give_back(&mut second, run, ReturnReason::Draining);
    assert_eq!(rig.hear(second.party), [Push::Acked(2)]);
    assert_eq!(facts(&rig), before);
}

#[test]
fn reports_of_tasks_that_there_are_not_are_acknowledged() {
    let mut rig = Rig::new();
    rig.with_tasks(1);
    let mut hand = rig.worker("w", capacity(1, 0));
    let run = rig.runs(&hand)[0];
    let before = facts(&rig);
    for task in [TaskId::new(0, 2), TaskId::new(0, 0), TaskId::new(9, 1), TaskId(u64::MAX)] {
        rig.report(&mut hand, Run { task, ..run }, exited(0));
    }
    assert_eq!(rig.hear(hand.party), [Push::Acked(4)]);
    assert_eq!(facts(&rig), before);
}

#[test]
fn a_task_that_is_reported_twice_counts_once() {
    let mut rig = Rig::new();
    rig.with_tasks(1);
    let mut hand = rig.worker("w", capacity(1, 0));
    let run = rig.runs(&hand)[0];
    rig.report(&mut hand, run, exited(0));
    rig.report(&mut hand, run, exited(1));
    assert_eq!(rig.state(1), TaskState::Done);
    let stats = rig.queue.stats();
    assert_eq!((stats.done, stats.failed, stats.stale), (1, 0, 1));
}

#[test]
fn what_is_sent_again_on_a_new_link_is_acknowledged_as_far_as_it_ever_was() {
    let mut rig = Rig::new();
    rig.with_tasks(2);
    let mut hand = rig.worker("w", capacity(2, 0));
    let runs = rig.runs(&hand);
    for run in &runs {
        rig.report(&mut hand, *run, exited(0));
    }
    // The worker has heard of neither. A worker without leases is forgotten with its link.
    rig.close(hand.party);
    assert_eq!(rig.queue.workers(), 0);
    hand.seq = 0;
    rig.relink(&mut hand, "w", capacity(2, 0), &[]);
    for run in &runs {
        rig.report(&mut hand, *run, exited(0));
    }
    let heard = rig.hear(hand.party);
    assert_eq!(heard, [Push::Enlisted { name: "w".to_owned() }, Push::Acked(2)]);
    assert_eq!((rig.queue.stats().done, rig.queue.stats().stale), (2, 2));
}

#[test]
fn acknowledgements_leave_although_there_are_always_reports_that_are_not_durable() {
    let mut rig = Rig::with(journaled());
    rig.with_tasks(50);
    let mut hand = rig.worker("w", capacity(50, 0));
    let runs = rig.runs(&hand);
    let mut acked = 0;
    for run in runs {
        // The disk is always one report behind.
        let end = rig.take_log();
        rig.report(&mut hand, run, exited(0));
        rig.queue.on_durable(end);
        for push in rig.hear(hand.party) {
            let Push::Acked(seq) = push else { panic!("{push:?}") };
            assert!(seq < hand.seq, "it is not durable");
            assert!(seq > acked);
            acked = seq;
        }
        assert!(acked + 3 >= hand.seq, "{acked} of {}", hand.seq);
    }
    rig.sync();
    assert_eq!(rig.hear(hand.party).pop(), Some(Push::Acked(50)));
}
