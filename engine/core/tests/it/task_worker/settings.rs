//! Settings that change while a worker runs.

use super::*;

#[test]
fn more_slots_are_told_and_filled_at_once() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1), task(2), task(3)]);
    assert_eq!(rig.started(), [1]);
    rig.worker.reconfigure(rig.now, 2, 0, 0);
    assert_eq!(credits(&rig.said())[0].slots, 2);
    assert_eq!(rig.started(), [2]);
    assert!(rig.said().is_empty(), "it is told once");
}

#[test]
fn with_fewer_slots_what_runs_goes_on_and_nothing_starts_before_there_is_room() {
    let mut rig = Rig::new(config(3));
    rig.lease(&[task(1), task(2), task(3), task(4)]);
    assert_eq!(rig.started(), [1, 2, 3]);
    rig.worker.reconfigure(rig.now, 1, 0, 0);
    assert_eq!(credits(&rig.said())[0].slots, 1);
    assert!(rig.asked().is_empty(), "nothing is stopped");
    rig.succeed(1);
    rig.succeed(2);
    assert!(rig.started().is_empty());
    rig.succeed(3);
    assert_eq!(rig.started(), [4]);
    // With none it would be no worker.
    rig.said();
    rig.worker.reconfigure(rig.now, 0, 0, 0);
    assert!(rig.said().is_empty(), "one is the least");
}

#[test]
fn other_thresholds_count_at_once_by_what_was_measured_last() {
    let mut rig = Rig::new(config(2));
    rig.measure(50 * MIB);
    rig.lease(&[task(1), task(2), task(3)]);
    assert_eq!(rig.started(), [1, 2]);
    rig.worker.reconfigure(rig.now, 2, 60 * MIB, 10 * MIB);
    assert_eq!(returns(&rig.said()), [(1, 3, ReturnReason::LowMemory)]);
    rig.worker.reconfigure(rig.now, 2, 50 * MIB, 10 * MIB);
    rig.lease(&[task(4)]);
    rig.succeed(1);
    assert_eq!(rig.started(), [4], "that is enough again");
    // Below this the youngest is killed, once the memory was measured anew.
    rig.worker.reconfigure(rig.now, 2, 0, 60 * MIB);
    assert!(rig.asked().is_empty());
    rig.measure(50 * MIB);
    assert_eq!(rig.asked(), [Asked::Kill(4)]);
}

#[test]
fn what_was_set_without_a_link_is_told_on_the_next_one() {
    let mut rig = Rig::new(config(1));
    rig.worker.on_link_down(rig.now, FIRST);
    rig.worker.reconfigure(rig.now, 5, 0, 0);
    let said = rig.enlist();
    let Said::Enlist { capacity, .. } = &said[0] else { panic!("{said:?}") };
    assert_eq!(capacity.slots, 5);
}
