//! A machine that cannot start a task for want of something that every task takes.

use super::*;
use punctual_core::task::SHORTAGE_PAUSE;

const PAUSE_MS: u64 = SHORTAGE_PAUSE.as_millis() as u64;

#[test]
fn what_could_not_be_started_goes_back_with_all_that_waits_and_has_not_failed() {
    let mut rig = Rig::new(TaskWorkerConfig { prefetch: Prefetch::Fixed(8), ..config(3) });
    rig.lease(&[task(1), task(2), task(3), task(4)]);
    assert_eq!(rig.started(), [1, 2, 3]);
    rig.exit(3, shortage());
    let running =
        Capacity { slots: 2, memory: 100 * MIB, cores_milli: 8_000, ..Capacity::default() };
    let back = |seq, task| Said::Return { seq, task, reason: ReturnReason::Shortage };
    let said = rig.said();
    let told = [Said::Credit(running), back(1, 3), back(2, 4)];
    assert_eq!(said, told, "credit first, or the queue fills up again");
    assert_eq!((rig.worker.stats().failed, rig.worker.stats().returned), (0, 2));
}

#[test]
fn as_many_as_ran_then_run_on_one_after_the_other_and_more_are_tried_later() {
    let mut rig = Rig::new(config(3));
    rig.lease(&[task(1), task(2)]);
    assert_eq!(rig.started(), [1, 2]);
    rig.exit(2, shortage());
    rig.said();
    rig.lease(&[task(3), task(4)]);
    assert!(rig.started().is_empty(), "one runs, and that is what the machine could start");
    assert!(returns(&rig.said()).is_empty(), "its turn will come");
    rig.succeed(1);
    assert_eq!(rig.started(), [3]);
    rig.pass_ms(PAUSE_MS);
    assert_eq!(credits(&rig.said())[0].slots, 2);
    assert_eq!(rig.started(), [4]);
    rig.pass_ms(PAUSE_MS);
    assert_eq!(credits(&rig.said())[0].slots, 3, "all that it has");
}

#[test]
fn where_nothing_can_be_started_one_task_is_tried_at_first_and_then_twice_as_many() {
    let mut rig = Rig::new(config(8));
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    rig.exit(1, shortage());
    assert_eq!(credits(&rig.said())[0].slots, 0);
    assert_eq!(rig.worker.next_deadline(), Some(rig.now + SHORTAGE_PAUSE.into()));
    rig.lease(&[task(2)]);
    assert!(rig.started().is_empty());
    assert_eq!(returns(&rig.said()), [(2, 2, ReturnReason::Shortage)], "it was on its way");
    rig.pass_ms(PAUSE_MS - 1);
    assert!(credits(&rig.said()).is_empty());
    rig.pass_ms(1);
    assert_eq!(credits(&rig.said())[0].slots, 1);
    rig.lease(&[task(3)]);
    assert_eq!(rig.started(), [3]);
    for slots in [2, 4, 8] {
        rig.pass_ms(PAUSE_MS);
        assert_eq!(credits(&rig.said())[0].slots, slots);
    }
    rig.pass_ms(PAUSE_MS);
    assert!(credits(&rig.said()).is_empty(), "there are no more");
}

#[test]
fn a_task_that_is_short_again_begins_the_pause_anew() {
    let mut rig = Rig::new(config(2));
    for (seq, id) in [(1, 1), (2, 2), (3, 3)] {
        rig.lease(&[task(id)]);
        assert_eq!(rig.started(), [id]);
        rig.exit(id, shortage());
        let said = rig.said();
        assert_eq!(credits(&said)[0].slots, 0);
        assert_eq!(returns(&said), [(seq, id, ReturnReason::Shortage)]);
        rig.pass_ms(PAUSE_MS);
        assert_eq!(credits(&rig.said())[0].slots, 1);
    }
}
