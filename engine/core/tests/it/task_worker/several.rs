//! Several queues of one server: each with its own link, its own leases and its own reports.

use super::*;
use punctual_core::task::{DRAIN_PATIENCE, UNACKED_MAX, WAITING_MAX};
use punctual_wire::task::QUEUES_MAX;

const PATIENCE_MS: u64 = DRAIN_PATIENCE.as_secs() * 1_000;

fn name_in(said: &[Said]) -> &[u8] {
    let [Said::Enlist { name, .. }, ..] = said else { panic!("{said:?}") };
    name
}

#[test]
fn the_first_queue_names_the_worker_and_the_others_are_told_that_name() {
    let mut rig = Rig::unlinked(config(1));
    rig.worker.set_queues(rig.now, 2);
    rig.worker.on_link_up(rig.now, SECOND);
    assert!(rig.said_to(SECOND).is_empty(), "it has no name yet");
    assert_eq!(name_in(&rig.enlist_at(FIRST)), b"name");
    assert_eq!(rig.worker.name(), "name#2");
    let said = rig.said_to(SECOND);
    assert_eq!((name_in(&said), &said[1..]), (&b"name#2"[..], &[Said::Held][..]));
    let (lease_timeout_ms, heartbeat_ms) = (LEASE_TIMEOUT_MS, HEARTBEAT_MS);
    let other = QueuePush::Enlisted { name: b"other", lease_timeout_ms, heartbeat_ms };
    rig.push_from(SECOND, &[other]);
    assert_eq!(rig.worker.name(), "name#2", "whatever the others call it");
}

#[test]
fn a_worker_that_the_first_queue_gave_up_keeps_its_name_at_the_others() {
    let mut rig = Rig::of_two(config(1));
    rig.worker.on_expired(rig.now, FIRST);
    rig.worker.on_link_down(rig.now, SECOND);
    assert_eq!(name_in(&rig.enlist_at(SECOND)), b"name#2");
    assert_eq!(name_in(&rig.enlist_at(FIRST)), b"name");
}

#[test]
fn leases_of_all_queues_start_by_priority_and_then_in_order_of_arrival() {
    let mut rig = Rig::of_two(config(1));
    let urgent = Task { priority: 5, ..of_second(3) };
    rig.lease(&[of_second(1), task(1), of_second(2), task(2), urgent]);
    for expected in [urgent.id, of_second(1).id, 1, of_second(2).id, 2] {
        assert_eq!(rig.started(), [expected]);
        rig.succeed(expected);
    }
    assert!(rig.started().is_empty());
}

#[test]
fn each_queue_is_told_what_came_of_its_leases_under_numbers_of_its_own() {
    let mut rig = Rig::of_two(config(3));
    rig.lease(&[task(1), of_second(1), of_second(2), task(2)]);
    assert_eq!(rig.started(), [1, of_second(1).id, of_second(2).id]);
    rig.succeed(1);
    rig.exit(of_second(2).id, failure(3));
    rig.succeed(of_second(1).id);
    rig.recall(2);
    let said = rig.said_to(FIRST);
    assert_eq!(reports(&said), [(1, 1, EndKind::Exited, 0)]);
    assert_eq!(returns(&said), [(2, 2, ReturnReason::Recalled)]);
    let of_both =
        [(1, of_second(2).id, EndKind::Exited, 3), (2, of_second(1).id, EndKind::Exited, 0)];
    assert_eq!(reports(&rig.said_to(SECOND)), of_both);
    rig.push_from(SECOND, &[QueuePush::Acked { seq: 2 }]);
    rig.worker.on_link_down(rig.now, FIRST);
    rig.worker.on_link_down(rig.now, SECOND);
    assert_eq!(reports(&rig.enlist_at(FIRST)).len(), 1, "nothing of it was acknowledged");
    assert!(reports(&rig.enlist_at(SECOND)).is_empty());
}

#[test]
fn a_queue_hears_of_its_own_leases_alone_when_its_link_is_new() {
    let mut rig = Rig::of_two(config(1));
    rig.lease(&[of_second(1), task(1), of_second(2)]);
    assert_eq!(rig.started(), [of_second(1).id]);
    rig.worker.on_link_down(rig.now, FIRST);
    rig.worker.on_link_down(rig.now, SECOND);
    let hold = |task: Task| Said::Hold { task: task.id, attempt: 1 };
    let said = rig.enlist_at(FIRST);
    assert_eq!(said[said.len() - 2..], [hold(task(1)), Said::Held]);
    assert_eq!(rig.enlist_at(SECOND)[1..], [hold(of_second(1)), hold(of_second(2)), Said::Held]);
}

#[test]
fn a_sign_of_life_tells_each_queue_how_many_of_its_tasks_run() {
    let mut rig = Rig::of_two(config(3));
    rig.lease(&[task(1), of_second(1), task(2)]);
    assert_eq!(rig.started().len(), 3);
    rig.said_to(FIRST);
    rig.said_to(SECOND);
    rig.pass_ms(HEARTBEAT_MS.into());
    let memory_free = 100 * MIB;
    assert_eq!(rig.said_to(FIRST), [Said::Beat { memory_free, running: 2 }]);
    assert_eq!(rig.said_to(SECOND), [Said::Beat { memory_free, running: 1 }]);
}

#[test]
fn a_worker_that_one_queue_gave_up_goes_on_with_tasks_of_the_others() {
    let mut rig = Rig::of_two(config(3));
    rig.lease(&[task(1), of_second(1), of_second(2), task(2), of_second(3)]);
    let [running, done, waiting] = [of_second(1).id, of_second(2).id, of_second(3).id];
    assert_eq!(rig.started(), [1, running, done]);
    rig.succeed(done);
    assert_eq!(rig.started(), [2]);
    rig.worker.on_expired(rig.now, SECOND);
    assert_eq!(rig.asked(), [Asked::Kill(running)], "of the other queue nothing");
    assert_eq!((rig.worker.waiting(), rig.worker.stats().unacked_lost), (0, 1));
    rig.exit(running, killed());
    let said = rig.enlist_at(SECOND);
    assert_eq!(said.last(), Some(&Said::Held));
    assert!(!said.contains(&Said::Hold { task: waiting, attempt: 1 }), "{said:?}");
    rig.succeed(1);
    assert_eq!(reports(&rig.said_to(FIRST)), [(1, 1, EndKind::Exited, 0)]);
    rig.lease(&[of_second(3)]);
    assert_eq!(rig.started(), [waiting], "as a new lease");
    rig.succeed(waiting);
    assert_eq!(reports(&rig.said_to(SECOND)), [(1, waiting, EndKind::Exited, 0)]);
}

#[test]
fn while_one_queue_is_away_for_long_tasks_of_the_others_start() {
    let mut rig = Rig::of_two(config(1));
    rig.lease(&[task(1), task(2), of_second(1), of_second(2)]);
    assert_eq!(rig.started(), [1]);
    rig.worker.on_link_down(rig.now, FIRST);
    rig.pass_ms(LEASE_TIMEOUT_MS.into());
    rig.succeed(1);
    for expected in [of_second(1).id, of_second(2).id] {
        assert_eq!(rig.started(), [expected]);
        rig.succeed(expected);
    }
    assert!(rig.started().is_empty(), "others have it by now");
    let said = rig.enlist_at(FIRST);
    assert_eq!(reports(&said), [(1, 1, EndKind::Exited, 0)]);
    assert_eq!(said[2..], [Said::Hold { task: 2, attempt: 1 }, Said::Held]);
    assert_eq!(rig.started(), [2]);
}

#[test]
fn a_lease_whose_queue_is_away_is_overtaken_by_nobody() {
    const OTHERS: u64 = 200;
    let mut rig = Rig::of_two(config(1_000));
    rig.lease(&[Task { memory: MIB, ..of_second(1) }, Task { memory: 100 * MIB, ..task(1) }]);
    assert_eq!(rig.started(), [of_second(1).id]);
    rig.worker.on_link_down(rig.now, FIRST);
    rig.pass_ms(LEASE_TIMEOUT_MS.into());
    let others: Vec<_> = (2..2 + OTHERS).map(of_second).collect();
    rig.lease(&others);
    assert_eq!(rig.started().len() as u64, OTHERS, "far more than may overtake");
    rig.enlist_at(FIRST);
    rig.lease(&[of_second(2 + OTHERS)]);
    assert_eq!(rig.started().len(), 1, "there is still leave to overtake");
}

#[test]
fn with_too_many_reports_unacknowledged_nothing_starts_of_that_queue_alone() {
    let mut rig = Rig::of_two(config(1));
    let last = UNACKED_MAX as u64;
    for id in 1..=last {
        rig.lease(&[task(id)]);
        assert_eq!(rig.started(), [id]);
        rig.succeed(id);
    }
    rig.lease(&[task(last + 1), of_second(1)]);
    assert_eq!(rig.started(), [of_second(1).id]);
    rig.succeed(of_second(1).id);
    assert!(rig.started().is_empty());
    assert_eq!(reports(&rig.said_to(FIRST)).len(), UNACKED_MAX);
    rig.acked(1);
    assert_eq!(rig.started(), [last + 1]);
}

#[test]
fn what_no_worker_can_let_wait_from_several_queues_goes_back() {
    let mut rig = Rig::of_two(config(1));
    let room: Vec<_> = (0..WAITING_MAX as u64).map(task).collect();
    rig.lease(&room);
    rig.lease(&[of_second(1)]);
    assert_eq!(rig.worker.waiting(), WAITING_MAX);
    let back = [(1, of_second(1).id, ReturnReason::Recalled)];
    assert_eq!(returns(&rig.said_to(SECOND)), back);
    assert_eq!(rig.worker.stats().recalled, 0, "nobody has asked for it");
}

#[test]
fn a_message_about_a_task_of_another_queue_is_an_error() {
    let mut rig = Rig::of_two(config(1));
    let (task, attempt) = (TaskId(of_second(1).id), Attempt(1));
    let messages = [
        of_second(1).push(),
        QueuePush::Recall { task, attempt },
        QueuePush::Cancel { task, attempt },
    ];
    for message in messages {
        let refused = rig.try_push_from(FIRST, &[message]);
        assert!(matches!(refused, Err(WireError::UnknownValue { value: 1, .. })), "{refused:?}");
    }
    assert_eq!(rig.worker.waiting(), 0);
    let refused = rig.try_push_from(ShardId(2), &[enlisted()]);
    assert!(matches!(refused, Err(WireError::UnknownValue { value: 2, .. })), "{refused:?}");
}

#[test]
fn a_draining_worker_ends_when_every_queue_knows() {
    let mut rig = Rig::of_two(config(1));
    rig.lease(&[task(1), of_second(1)]);
    assert_eq!(rig.started(), [1]);
    rig.worker.drain(rig.now);
    assert!(credits(&rig.said_to(FIRST))[0].is_draining);
    let said = rig.said_to(SECOND);
    assert!(credits(&said)[0].is_draining);
    assert_eq!(returns(&said), [(1, of_second(1).id, ReturnReason::Draining)]);
    rig.push_from(SECOND, &[QueuePush::Acked { seq: 1 }, QueuePush::Drain]);
    rig.succeed(1);
    rig.said_to(FIRST);
    rig.acked(1);
    assert!(!rig.worker.is_finished(), "there may be a lease of the first on its way");
    rig.push(&[QueuePush::Drain]);
    assert!(rig.worker.is_finished());
}

#[test]
fn any_queue_can_ask_a_worker_to_drain() {
    let mut rig = Rig::of_two(config(1));
    rig.push_from(SECOND, &[QueuePush::Drain]);
    assert!(!rig.worker.is_finished(), "the first does not know yet");
    assert!(credits(&rig.said_to(FIRST))[0].is_draining);
    rig.push(&[QueuePush::Drain]);
    assert!(rig.worker.is_finished());
}

#[test]
fn a_draining_worker_waits_for_a_queue_that_is_away_but_not_for_ever() {
    let mut rig = Rig::of_two(config(1));
    rig.lease(&[of_second(1)]);
    assert_eq!(rig.started(), [of_second(1).id]);
    rig.succeed(of_second(1).id);
    rig.worker.on_link_down(rig.now, SECOND);
    rig.worker.drain(rig.now);
    rig.said_to(FIRST);
    assert!(!rig.worker.is_settled(FIRST), "it has not said that it gives nothing more");
    rig.push(&[QueuePush::Drain]);
    assert!(rig.worker.is_settled(FIRST) && !rig.worker.is_settled(SECOND));
    rig.pass_ms(PATIENCE_MS - 1);
    assert!(!rig.worker.is_finished());
    assert_eq!(rig.worker.next_deadline(), Some(rig.now + Duration::from_millis(1).into()));
    rig.pass_ms(1);
    assert!(rig.worker.is_finished() && rig.worker.is_settled(SECOND));
    assert_eq!(rig.worker.stats().unacked_lost, 1);
    rig.worker.on_expired(rig.now, SECOND);
    assert_eq!(rig.worker.stats().unacked_lost, 1, "counted once");
}

#[test]
fn leases_of_a_queue_that_is_no_more_are_lost_with_it() {
    let mut rig = Rig::of_two(config(2));
    let gone = of_second(1).id;
    rig.lease(&[task(1), of_second(1), of_second(2)]);
    assert_eq!(rig.started(), [1, gone]);
    rig.worker.set_queues(rig.now, 1);
    assert_eq!(rig.worker.queues(), 1);
    assert_eq!(rig.asked(), [Asked::Kill(gone)]);
    assert_eq!(rig.worker.waiting(), 0);
    rig.lease(&[task(2)]);
    assert!(rig.started().is_empty(), "its slot is not free yet");
    rig.exit(gone, killed());
    assert_eq!(rig.started(), [2]);
    assert!(reports(&rig.said_to(FIRST)).is_empty());
    assert!(rig.said_to(SECOND).is_empty());
    rig.succeed(1);
    rig.succeed(2);
    assert_eq!(reports(&rig.said_to(FIRST)).len(), 2);
    rig.worker.drain(rig.now);
    rig.said_to(FIRST);
    rig.push(&[QueuePush::Acked { seq: 2 }, QueuePush::Drain]);
    assert!(rig.worker.is_finished(), "nobody waits for the other one");
}

#[test]
fn what_a_queue_that_is_no_more_has_not_acknowledged_is_counted_as_lost() {
    let mut rig = Rig::of_two(config(1));
    rig.lease(&[of_second(1)]);
    assert_eq!(rig.started(), [of_second(1).id]);
    rig.succeed(of_second(1).id);
    rig.worker.set_queues(rig.now, 2);
    assert_eq!(rig.worker.stats().unacked_lost, 0, "there are as many as before");
    rig.worker.set_queues(rig.now, 1);
    assert_eq!(rig.worker.stats().unacked_lost, 1);
}

#[test]
fn the_number_of_queues_has_bounds() {
    let mut rig = Rig::unlinked(config(1));
    assert_eq!(rig.worker.queues(), 1);
    rig.worker.set_queues(rig.now, 0);
    assert_eq!(rig.worker.queues(), 1);
    rig.worker.set_queues(rig.now, u16::MAX);
    assert_eq!(rig.worker.queues(), QUEUES_MAX);
}
