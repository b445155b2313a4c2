//! What several queues share: each is told what the others leave of the worker, and how many of its
//! leases may wait.

use super::*;

/// So many slots, and no memory or cores.
fn slots(slots: u32) -> Said {
    Said::Occupied(Occupancy { slots, ..Occupancy::default() })
}

#[test]
fn each_queue_is_told_what_tasks_of_the_others_take() {
    let mut rig = Rig::of_two(config(3));
    rig.lease(&[Task { memory: MIB, cores_milli: 1_500, ..task(1) }, task(2)]);
    assert_eq!(rig.started(), [1, 2]);
    assert!(rig.said_to(FIRST).is_empty(), "it knows what it has given");
    let both = Occupancy { slots: 2, memory: MIB, cores_milli: 1_500 };
    assert_eq!(rig.said_to(SECOND), [Said::Occupied(both)]);
    assert!(rig.said_to(SECOND).is_empty(), "once");
    rig.lease(&[of_second(1)]);
    assert_eq!(rig.started(), [of_second(1).id]);
    assert_eq!(rig.said_to(FIRST), [slots(1)]);
    assert!(rig.said_to(SECOND).is_empty());
    rig.succeed(1);
    assert_eq!(rig.said_to(SECOND), [slots(1)]);
}

#[test]
fn what_waits_takes_nothing() {
    let mut rig = Rig::of_two(config(1));
    rig.lease(&[task(1), task(2), task(3)]);
    assert!(rig.said_to(SECOND).is_empty());
    assert_eq!(rig.started(), [1]);
    assert_eq!(rig.said_to(SECOND), [slots(1)]);
    rig.succeed(1);
    assert_eq!(rig.started(), [2]);
    assert!(rig.said_to(SECOND).is_empty(), "one for another is nothing new");
}

#[test]
fn a_task_that_was_cancelled_takes_its_slot_until_it_is_gone() {
    let mut rig = Rig::of_two(config(1));
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    assert_eq!(rig.said_to(SECOND), [slots(1)]);
    rig.cancel(1);
    assert_eq!(rig.asked(), [Asked::Stop(1)]);
    assert!(rig.said_to(SECOND).is_empty());
    rig.exit(1, killed());
    assert_eq!(rig.said_to(SECOND), [slots(0)]);
}

#[test]
fn what_others_take_is_told_before_a_report_makes_room() {
    let mut rig = Rig::of_two(config(1));
    rig.lease(&[of_second(1), task(1)]);
    assert_eq!(rig.started(), [of_second(1).id]);
    rig.succeed(of_second(1).id);
    assert_eq!(rig.started(), [1]);
    let said = rig.said_to(SECOND);
    assert_eq!(said[0], slots(1), "or the queue fills what is not free");
    assert_eq!(reports(&said[1..]), [(1, of_second(1).id, EndKind::Exited, 0)]);
}

#[test]
fn a_new_link_is_told_what_others_take_right_after_who_this_is() {
    let mut rig = Rig::of_two(config(2));
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    assert_eq!(rig.said_to(SECOND), [slots(1)]);
    rig.worker.on_link_down(rig.now, SECOND);
    assert_eq!(rig.enlist_at(SECOND)[1..], [slots(1), Said::Held]);
    rig.worker.on_link_down(rig.now, SECOND);
    rig.succeed(1);
    assert_eq!(rig.enlist_at(SECOND)[1..], [Said::Held], "nothing is what a queue begins with");
}

#[test]
fn a_worker_of_one_queue_says_nothing_of_others() {
    let mut rig = Rig::new(config(2));
    rig.lease(&[task(1), task(2), task(3)]);
    assert_eq!(rig.started(), [1, 2]);
    assert!(rig.said().is_empty());
    rig.succeed(1);
    assert_eq!(rig.started(), [3]);
    let said = rig.said();
    assert!(matches!(said[..], [Said::Report(_)]), "{said:?}");
    rig.worker.on_link_down(rig.now, FIRST);
    assert!(!rig.enlist().iter().any(|said| matches!(said, Said::Occupied(_))));
}

#[test]
fn what_still_runs_of_a_queue_that_is_gone_takes_room_from_those_that_are_left() {
    let mut rig = Rig::unlinked(config(2));
    let third = task(TaskId::new(2, 1).0);
    rig.worker.set_queues(rig.now, 3);
    for queue in 0..3 {
        rig.enlist_at(ShardId(queue));
    }
    rig.lease(&[third]);
    assert_eq!(rig.started(), [third.id]);
    assert_eq!(rig.said_to(SECOND), [slots(1)]);
    rig.worker.set_queues(rig.now, 2);
    assert_eq!(rig.asked(), [Asked::Kill(third.id)]);
    assert!(rig.said_to(SECOND).is_empty(), "it is not over yet");
    // There are as many as before by then.
    rig.worker.set_queues(rig.now, 3);
    rig.exit(third.id, killed());
    assert_eq!(rig.said_to(SECOND), [slots(0)]);
}

#[test]
fn queues_share_what_may_wait_and_each_may_have_one_lease_there() {
    let offered = |prefetch, queues| {
        let mut rig = Rig::unlinked(TaskWorkerConfig { prefetch, ..config(1) });
        rig.worker.set_queues(rig.now, queues);
        let said = rig.enlist();
        let Said::Enlist { capacity, .. } = &said[0] else { panic!("{said:?}") };
        capacity.prefetch
    };
    assert_eq!((offered(Prefetch::Off, 1), offered(Prefetch::Off, 2)), (0, 1));
    assert_eq!((offered(Prefetch::Fixed(7), 2), offered(Prefetch::Fixed(7), 64)), (4, 1));
    assert_eq!((offered(Prefetch::Auto, 1), offered(Prefetch::Auto, 2)), (0, 1));
}

#[test]
fn what_a_worker_learns_of_one_queue_counts_for_all() {
    let mut rig = Rig::of_two(TaskWorkerConfig { prefetch: Prefetch::Auto, ..config(2) });
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    rig.exit(1, Exit { ran_ns: MS, ..Exit::success() });
    assert_eq!(reports(&rig.said_to(FIRST)).len(), 1);
    rig.pass_ms(10);
    rig.acked(1);
    for queue in [FIRST, SECOND] {
        let told = credits(&rig.said_to(queue));
        let told: Vec<_> = told.iter().map(|capacity| capacity.prefetch).collect();
        assert_eq!(told, [20], "half of what all slots finish in two round trips");
    }
}

#[test]
fn with_little_memory_each_queue_gets_back_what_waits_and_nothing_may_wait() {
    let mut rig = Rig::of_two(TaskWorkerConfig { accept_free: 100 * MIB, ..config(1) });
    rig.lease(&[task(1), of_second(1), task(2)]);
    assert_eq!(rig.started(), [1]);
    rig.measure(99 * MIB);
    let running =
        Capacity { slots: 1, memory: 100 * MIB, cores_milli: 8_000, ..Capacity::default() };
    let back = |task: Task| Said::Return { seq: 1, task: task.id, reason: ReturnReason::LowMemory };
    assert_eq!(rig.said_to(FIRST), [Said::Credit(running), back(task(2))]);
    let told = [Said::Credit(running), slots(1), back(of_second(1))];
    assert_eq!(rig.said_to(SECOND), told, "so that it gives nothing for that slot");
}

#[test]
fn where_the_machine_is_short_or_the_worker_drains_nothing_may_wait_from_any_queue() {
    let mut rig = Rig::of_two(config(2));
    rig.lease(&[task(1), of_second(1)]);
    assert_eq!(rig.started(), [1, of_second(1).id]);
    rig.exit(of_second(1).id, shortage());
    for queue in [FIRST, SECOND] {
        let told = credits(&rig.said_to(queue));
        assert_eq!((told[0].slots, told[0].prefetch), (1, 0));
    }
    rig.worker.drain(rig.now);
    for queue in [FIRST, SECOND] {
        let told = credits(&rig.said_to(queue));
        assert_eq!((told[0].is_draining, told[0].prefetch), (true, 0));
    }
}
