//! The memory that the machine really has left.

use super::*;

/// Nothing starts below 100 MiB; below 40 MiB something is killed.
fn thrifty(slots: u32) -> TaskWorkerConfig {
    TaskWorkerConfig { accept_free: 100 * MIB, return_free: 40 * MIB, ..config(slots) }
}

#[test]
fn until_the_memory_was_measured_tasks_start() {
    let mut rig = Rig::new(thrifty(1));
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
}

#[test]
fn with_little_memory_nothing_starts_and_what_waits_is_given_back() {
    let mut rig = Rig::new(TaskWorkerConfig { prefetch: Prefetch::Fixed(8), ..thrifty(2) });
    rig.lease(&[task(1), task(2), task(3)]);
    assert_eq!(rig.started(), [1, 2]);
    rig.measure(100 * MIB);
    assert!(rig.said().is_empty(), "that is enough");
    rig.measure(100 * MIB - 1);
    let said = rig.said();
    let running =
        Capacity { slots: 2, memory: 100 * MIB, cores_milli: 8_000, ..Capacity::default() };
    let back = Said::Return { seq: 1, task: 3, reason: ReturnReason::LowMemory };
    assert_eq!(said, [Said::Credit(running), back], "credit first, or the queue fills up again");
    rig.lease(&[task(4)]);
    assert!(rig.started().is_empty());
    assert_eq!(returns(&rig.said()), [(2, 4, ReturnReason::LowMemory)]);
    rig.succeed(1);
    let said = rig.said();
    assert_eq!(credits(&said), [Capacity { slots: 1, ..running }], "the slot is not to be filled");
    assert_eq!(reports(&said), [(3, 1, EndKind::Exited, 0)]);
}

#[test]
fn it_takes_more_memory_to_start_again_than_to_stop_starting() {
    let mut rig = Rig::new(thrifty(2));
    rig.measure(99 * MIB);
    assert_eq!(credits(&rig.said())[0].slots, 0);
    rig.measure(105 * MIB);
    assert!(rig.said().is_empty());
    rig.lease(&[task(1)]);
    assert!(rig.started().is_empty());
    rig.said();
    rig.measure(105 * MIB + 1);
    assert_eq!(credits(&rig.said())[0].slots, 2);
    rig.lease(&[task(2)]);
    assert_eq!(rig.started(), [2]);
}

#[test]
fn with_very_little_memory_the_youngest_task_is_killed_and_returned() {
    let mut rig = Rig::new(thrifty(3));
    rig.lease(&[task(1), Task { priority: 1, ..task(2) }]);
    assert_eq!(rig.started(), [2, 1]);
    rig.measure(40 * MIB);
    assert!(rig.asked().is_empty(), "that is enough");
    rig.measure(40 * MIB - 1);
    assert_eq!(rig.asked(), [Asked::Kill(1)]);
    assert!(returns(&rig.said()).is_empty(), "it is not gone yet");
    rig.exit(1, killed());
    assert_eq!(returns(&rig.said()), [(1, 1, ReturnReason::LowMemory)]);
    assert_eq!((rig.worker.stats().killed_for_memory, rig.worker.stats().failed), (1, 0));
}

#[test]
fn one_task_is_killed_at_a_time_and_the_memory_measured_in_between() {
    let mut rig = Rig::new(thrifty(3));
    rig.lease(&[task(1), task(2), task(3)]);
    assert_eq!(rig.started(), [1, 2, 3]);
    rig.measure(0);
    rig.measure(0);
    assert_eq!(rig.asked(), [Asked::Kill(3)]);
    rig.exit(3, killed());
    rig.pass_ms(1);
    assert!(rig.asked().is_empty(), "perhaps that was enough");
    rig.measure(0);
    assert_eq!(rig.asked(), [Asked::Kill(2)]);
}

#[test]
fn a_task_that_is_alone_fails_with_the_memory_that_it_had() {
    let mut rig = Rig::new(thrifty(3));
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    rig.measure(0);
    assert_eq!(rig.asked(), [Asked::Kill(1)]);
    rig.exit(1, Exit { memory: 1_234 * MIB + 5, ..killed() });
    let said = rig.said();
    assert_eq!(reports(&said), [(1, 1, EndKind::OutOfMemory, 1_234)]);
    assert!(returns(&said).is_empty());
    assert_eq!((rig.worker.stats().killed_for_memory, rig.worker.stats().failed), (1, 1));
}

#[test]
fn a_task_that_was_done_before_it_could_be_killed_is_done() {
    let mut rig = Rig::new(thrifty(3));
    rig.lease(&[task(1), task(2)]);
    assert_eq!(rig.started(), [1, 2]);
    rig.measure(0);
    rig.succeed(2);
    rig.measure(0);
    rig.succeed(1);
    let said = rig.said();
    assert_eq!(reports(&said), [(1, 2, EndKind::Exited, 0), (2, 1, EndKind::Exited, 0)]);
    assert!(returns(&said).is_empty());
}

#[test]
fn what_is_about_to_end_is_killed_before_the_youngest() {
    let mut rig = Rig::new(thrifty(3));
    rig.lease(&[task(1), task(2), task(3)]);
    assert_eq!(rig.started(), [1, 2, 3]);
    rig.cancel(1);
    assert_eq!(rig.asked(), [Asked::Stop(1)]);
    rig.measure(0);
    assert_eq!(rig.asked(), [Asked::Kill(1)]);
    rig.exit(1, killed());
    let said = rig.said();
    assert!(reports(&said).is_empty() && returns(&said).is_empty(), "it was cancelled");
    assert_eq!(rig.worker.stats().killed_for_memory, 0);
}

#[test]
fn a_cancel_of_what_is_killed_for_memory_leaves_nothing_to_return() {
    let mut rig = Rig::new(thrifty(3));
    rig.lease(&[task(1), task(2)]);
    assert_eq!(rig.started(), [1, 2]);
    rig.measure(0);
    rig.cancel(2);
    assert_eq!(rig.asked(), [Asked::Kill(2)]);
    rig.exit(2, killed());
    assert!(returns(&rig.said()).is_empty());
    rig.measure(0);
    assert_eq!(rig.asked(), [Asked::Kill(1)], "the next one may be killed");
}

#[test]
fn without_thresholds_free_memory_does_not_matter() {
    let mut rig = Rig::new(config(1));
    rig.measure(0);
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    rig.measure(0);
    assert!(rig.asked().is_empty());
    assert!(rig.said().is_empty());
}

#[test]
fn nothing_starts_that_would_be_killed_at_once() {
    let mut rig = Rig::new(TaskWorkerConfig { accept_free: 0, ..thrifty(1) });
    rig.measure(40 * MIB - 1);
    rig.lease(&[task(1)]);
    assert!(rig.started().is_empty());
    assert_eq!(returns(&rig.said()), [(1, 1, ReturnReason::LowMemory)]);
}
