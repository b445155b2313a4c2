//! Links that come and go, what is kept over them, and signs of life.

use super::*;
use punctual_core::task::{UNACKED_BYTES_MAX, UNACKED_MAX};
use punctual_wire::task::{JobId, OUTPUT_BYTES_MAX, TaskFault};
use punctual_wire::{Frame, FrameKind};

#[test]
fn a_link_begins_with_who_it_is_and_what_it_offers() {
    let mut rig = Rig::unlinked(config(3));
    assert!(rig.said().is_empty(), "to nobody");
    assert_eq!(rig.worker.name(), "name");
    let capacity =
        Capacity { slots: 3, memory: 100 * MIB, cores_milli: 8_000, ..Capacity::default() };
    let enlist = Said::Enlist { name: b"name".to_vec(), capacity };
    assert_eq!(rig.enlist(), [enlist, Said::Held]);
    assert_eq!(rig.worker.name(), "name#2", "the queue has the last word");
    assert!(rig.said().is_empty());
}

#[test]
fn what_was_measured_before_there_was_a_link_is_told_with_its_greeting() {
    let mut rig = Rig::unlinked(config(3));
    rig.measure(77 * MIB);
    let said = rig.enlist();
    let measured = Said::Beat { memory_free: 77 * MIB, running: 0 };
    assert!(matches!(said[0], Said::Enlist { .. }), "{said:?}");
    assert_eq!(said[1..], [Said::Held, measured]);
    assert!(rig.said().is_empty(), "once");
}

#[test]
fn a_new_link_begins_with_what_is_unacknowledged_and_the_leases_that_there_are() {
    let mut rig = Rig::new(config(2));
    rig.lease(&[task(1), task(2), task(3), task(4)]);
    assert_eq!(rig.started(), [1, 2]);
    rig.succeed(1);
    rig.succeed(2);
    assert_eq!(reports(&rig.said()).len(), 2);
    rig.acked(1);
    assert_eq!(rig.started(), [3, 4]);
    rig.lease(&[task(5)]);
    rig.cancel(4);
    rig.worker.on_link_down(rig.now, FIRST);
    rig.exit(3, failure(1));
    assert!(rig.said().is_empty());
    let said = rig.enlist();
    assert!(matches!(said[0], Said::Enlist { .. }));
    let unacked = [(2, 2, EndKind::Exited, 0), (3, 3, EndKind::Exited, 1)];
    assert_eq!(reports(&said[1..3]), unacked, "in their order, under their numbers");
    let held = [Said::Hold { task: 5, attempt: 1 }, Said::Held];
    assert_eq!(said[3..], held, "neither what was reported nor what was cancelled");
    rig.acked(3);
    rig.worker.on_link_down(rig.now, FIRST);
    assert!(reports(&rig.enlist()).is_empty());
}

#[test]
fn what_runs_and_what_waits_is_held() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1), Task { attempt: 7, ..task(2) }]);
    assert_eq!(rig.started(), [1]);
    rig.worker.on_link_down(rig.now, FIRST);
    let said = rig.enlist();
    let holds = [Said::Hold { task: 1, attempt: 1 }, Said::Hold { task: 2, attempt: 7 }];
    assert_eq!(said[1..], [&holds[..], &[Said::Held]].concat());
}

#[test]
fn a_report_that_the_queue_had_before_the_link_broke_is_not_sent_twice() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    rig.succeed(1);
    assert_eq!(reports(&rig.said()).len(), 1);
    rig.worker.on_link_down(rig.now, FIRST);
    rig.worker.on_link_up(rig.now, FIRST);
    rig.acked(1);
    assert!(reports(&rig.said()).is_empty());
    rig.push(&[enlisted()]);
    rig.lease(&[task(2)]);
    assert_eq!(rig.started(), [2]);
    rig.succeed(2);
    assert_eq!(reports(&rig.said()), [(2, 2, EndKind::Exited, 0)]);
}

#[test]
fn without_a_link_tasks_start_until_the_leases_must_be_lost() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1), task(2), task(3)]);
    assert_eq!(rig.started(), [1]);
    rig.worker.on_link_down(rig.now, FIRST);
    rig.pass_ms(u64::from(LEASE_TIMEOUT_MS) - 1);
    rig.succeed(1);
    assert_eq!(rig.started(), [2]);
    rig.pass_ms(1);
    rig.succeed(2);
    assert!(rig.started().is_empty(), "others have it by now");
    rig.worker.on_link_up(rig.now, FIRST);
    assert!(rig.started().is_empty(), "the queue has not said that it has not");
    rig.push(&[enlisted()]);
    assert_eq!(rig.started(), [3]);
}

#[test]
fn numbers_ascend_by_one_over_reports_and_returns() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1), task(2), task(3)]);
    assert_eq!(rig.started(), [1]);
    rig.recall(2);
    rig.succeed(1);
    rig.recall(3);
    let said = rig.said();
    assert_eq!(reports(&said), [(2, 1, EndKind::Exited, 0)]);
    let back = [(1, 2, ReturnReason::Recalled), (3, 3, ReturnReason::Recalled)];
    assert_eq!(returns(&said), back);
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_an_error() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    rig.succeed(1);
    let ack = [QueuePush::Acked { seq: 1 }];
    assert!(matches!(rig.try_push(&ack), Err(WireError::UnknownValue { value: 1, .. })));
    rig.said();
    assert_eq!(rig.try_push(&ack), Ok(()));
    assert_eq!(rig.try_push(&ack), Ok(()), "twice says nothing new");
    assert!(rig.try_push(&[QueuePush::Acked { seq: 2 }]).is_err());
}

#[test]
fn messages_and_frames_that_are_not_for_a_worker_are_errors() {
    let mut rig = Rig::new(config(1));
    let opened = QueuePush::JobOpened { request: 17, job: JobId(1) };
    assert!(matches!(rig.try_push(&[opened]), Err(WireError::UnknownValue { value: 17, .. })));
    let submitted = QueuePush::Submitted { ticket: 18, added: 1, known: 0 };
    assert!(matches!(rig.try_push(&[submitted]), Err(WireError::UnknownValue { value: 18, .. })));
    let fault = QueuePush::Fault { request: 19, fault: TaskFault::Busy };
    assert!(matches!(rig.try_push(&[fault]), Err(WireError::UnknownValue { value: 19, .. })));
    let frame = Frame { kind: FrameKind::Task, count: 1, body: &[0] };
    let refused = rig.worker.on_frame(rig.now, FIRST, &frame);
    assert_eq!(refused, Err(WireError::UnexpectedKind(FrameKind::Task)));
}

#[test]
fn a_worker_that_was_given_up_kills_and_forgets_everything() {
    let mut rig = Rig::new(config(2));
    rig.lease(&[task(1), task(2), task(3), task(4)]);
    assert_eq!(rig.started(), [1, 2]);
    rig.succeed(2);
    assert_eq!(rig.started(), [3]);
    rig.worker.on_expired(rig.now, FIRST);
    assert_eq!(rig.asked(), [Asked::Kill(1), Asked::Kill(3)]);
    assert_eq!(rig.worker.waiting(), 0);
    assert_eq!(rig.worker.stats().unacked_lost, 1);
    assert!(rig.said().is_empty(), "the link is gone with it");
    let said = rig.enlist();
    assert!(matches!(said[..], [Said::Enlist { .. }, Said::Held]), "{said:?}");
    rig.exit(1, killed());
    rig.succeed(3);
    assert!(rig.said().is_empty());
    rig.lease(&[task(5)]);
    assert_eq!(rig.started(), [5]);
    rig.succeed(5);
    assert_eq!(reports(&rig.said()), [(1, 5, EndKind::Exited, 0)], "numbers begin anew");
}

#[test]
fn a_lease_of_a_new_life_waits_for_the_same_one_of_the_old() {
    let mut rig = Rig::new(config(2));
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    let old = rig.runs[&1];
    rig.worker.on_expired(rig.now, FIRST);
    assert_eq!(rig.asked(), [Asked::Kill(1)]);
    rig.enlist();
    // A queue without a journal begins its numbers anew.
    rig.lease(&[task(1)]);
    assert!(rig.asked().is_empty());
    rig.worker.on_exit(rig.now, old, killed());
    assert_eq!(rig.started(), [1]);
}

#[test]
fn a_sign_of_life_is_due_as_often_as_the_queue_wishes() {
    let mut rig = Rig::new(config(1));
    assert_eq!(rig.worker.next_deadline(), Some(rig.now + Duration::from_secs(2).into()));
    rig.pass_ms(1_999);
    assert!(rig.said().is_empty());
    rig.pass_ms(1);
    let unmeasured = Said::Beat { memory_free: 100 * MIB, running: 0 };
    assert_eq!(rig.said(), [unmeasured], "what it offers, until it was measured");
    rig.measure(77 * MIB);
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    rig.pass_ms(2_000);
    assert_eq!(rig.said(), [Said::Beat { memory_free: 77 * MIB, running: 1 }]);
    rig.pass_ms(1_999);
    assert!(rig.said().is_empty());
}

/// Without its pause the original looked for tasks all the time, and took most of a core for it.
#[test]
fn defect_14_an_idle_worker_says_now_and_then_that_it_lives_and_nothing_else() {
    let mut rig = Rig::new(config(32));
    let heartbeat = Duration::from_millis(HEARTBEAT_MS.into());
    for _ in 0..100 {
        let due = rig.worker.next_deadline();
        assert_eq!(due, Some(rig.now + heartbeat.into()), "nothing is due before");
        assert!(rig.asked().is_empty() && !rig.worker.has_output(FIRST));
        rig.pass_ms(HEARTBEAT_MS.into());
        let said = rig.said();
        assert!(matches!(said[..], [Said::Beat { running: 0, .. }]), "{said:?}");
    }
}

#[test]
fn a_busy_worker_says_what_it_measured_as_often_as_an_idle_one() {
    let mut rig = Rig::new(config(1));
    let mut beats = 0;
    for id in 0..100 {
        rig.lease(&[task(id)]);
        assert_eq!(rig.started(), [id]);
        rig.pass_ms(100);
        rig.succeed(id);
        let said = rig.said();
        beats += said.iter().filter(|said| matches!(said, Said::Beat { .. })).count();
    }
    assert_eq!(beats, 5, "in ten seconds");
}

#[test]
fn without_a_link_there_are_no_signs_of_life() {
    let mut rig = Rig::new(config(1));
    rig.worker.on_link_down(rig.now, FIRST);
    assert_eq!(rig.worker.next_deadline(), None);
    rig.pass_ms(10_000);
    let said = rig.enlist();
    assert!(matches!(said[..], [Said::Enlist { .. }, Said::Held]), "{said:?}");
}

#[test]
fn with_too_many_reports_unacknowledged_nothing_starts() {
    let mut rig = Rig::new(config(1));
    let last = UNACKED_MAX as u64;
    for id in 1..=last {
        rig.lease(&[task(id)]);
        assert_eq!(rig.started(), [id]);
        rig.succeed(id);
    }
    assert_eq!(reports(&rig.said()).len(), UNACKED_MAX);
    rig.lease(&[task(last + 1)]);
    assert!(rig.started().is_empty());
    rig.acked(1);
    assert_eq!(rig.started(), [last + 1]);
}

#[test]
fn with_too_much_output_unacknowledged_nothing_starts() {
    let mut rig = Rig::new(config(1));
    let last = (UNACKED_BYTES_MAX / OUTPUT_BYTES_MAX) as u64;
    for id in 1..=last {
        rig.lease(&[task(id)]);
        assert_eq!(rig.started(), [id]);
        rig.exit(id, Exit { stdout: vec![b'x'; OUTPUT_BYTES_MAX], ..Exit::success() });
    }
    rig.lease(&[task(last + 1)]);
    assert!(rig.started().is_empty());
    assert_eq!(reports(&rig.said()).len() as u64, last);
    rig.acked(1);
    assert_eq!(rig.started(), [last + 1]);
}

#[test]
fn one_call_writes_a_bounded_number_of_bytes() {
    let mut rig = Rig::new(config(1));
    for id in 1..=64 {
        rig.lease(&[task(id)]);
        assert_eq!(rig.started(), [id]);
        rig.exit(id, Exit { stdout: vec![b'x'; OUTPUT_BYTES_MAX], ..Exit::success() });
    }
    let mut out = BatchWriter::new(LIMITS, LIMITS.batch_max, false);
    let written = rig.worker.write(rig.now, FIRST, &mut out);
    assert!((1..10).contains(&written), "{written} reports of 64 KiB in one call");
    assert!(rig.worker.has_output(FIRST));
}
