//! Workers that stop.

use super::*;
use punctual_core::task::DRAIN_PATIENCE;

const PATIENCE_MS: u64 = DRAIN_PATIENCE.as_secs() * 1_000;

#[test]
fn a_draining_worker_returns_what_waits_and_finishes_what_runs() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1), task(2)]);
    assert_eq!(rig.started(), [1]);
    rig.worker.drain(rig.now);
    let said = rig.said();
    assert!(credits(&said)[0].is_draining);
    assert_eq!(returns(&said), [(1, 2, ReturnReason::Draining)]);
    rig.lease(&[task(3)]);
    assert_eq!(returns(&rig.said()), [(2, 3, ReturnReason::Draining)], "that was on its way");
    rig.push(&[QueuePush::Drain]);
    rig.acked(2);
    assert!(!rig.worker.is_finished(), "something runs");
    rig.succeed(1);
    assert_eq!(reports(&rig.said()), [(3, 1, EndKind::Exited, 0)]);
    assert!(!rig.worker.is_finished(), "its report is not acknowledged");
    rig.acked(3);
    assert!(rig.worker.is_finished());
    assert!(rig.asked().is_empty());
    assert_eq!(rig.worker.stats().unacked_lost, 0);
}

#[test]
fn the_queue_can_ask_a_worker_to_drain() {
    let mut rig = Rig::new(config(1));
    assert!(!rig.worker.is_finished());
    rig.push(&[QueuePush::Drain]);
    assert!(rig.worker.is_finished(), "it has nothing to do");
    let said = rig.said();
    assert!(credits(&said)[0].is_draining);
}

#[test]
fn an_idle_worker_ends_when_the_queue_knows_that_it_drains() {
    let mut rig = Rig::new(config(1));
    rig.worker.drain(rig.now);
    assert!(credits(&rig.said())[0].is_draining);
    assert!(!rig.worker.is_finished(), "a lease may be on its way");
    rig.lease(&[task(1)]);
    assert_eq!(returns(&rig.said()), [(1, 1, ReturnReason::Draining)]);
    rig.acked(1);
    assert!(!rig.worker.is_finished(), "and another one");
    rig.push(&[QueuePush::Drain]);
    assert!(rig.worker.is_finished());
    assert!(rig.said().is_empty());
}

#[test]
fn a_queue_that_does_not_answer_is_not_waited_for_for_ever() {
    let mut rig = Rig::new(config(1));
    rig.worker.drain(rig.now);
    rig.pass_ms(PATIENCE_MS - 1);
    rig.said();
    assert!(!rig.worker.is_finished());
    assert_eq!(rig.worker.next_deadline(), Some(rig.now + Duration::from_millis(1).into()));
    rig.pass_ms(1);
    assert!(rig.worker.is_finished());
    assert_eq!(rig.worker.stats().unacked_lost, 0);
}

#[test]
fn a_worker_that_comes_back_draining_needs_no_other_word() {
    let mut rig = Rig::new(config(1));
    rig.worker.on_link_down(rig.now, FIRST);
    rig.worker.drain(rig.now);
    assert!(!rig.worker.is_finished(), "a lease may have been lost with the link");
    rig.worker.on_link_up(rig.now, FIRST);
    let said = rig.said();
    let Said::Enlist { capacity, .. } = &said[0] else { panic!("{said:?}") };
    assert!(capacity.is_draining && !rig.worker.is_finished());
    rig.push(&[enlisted()]);
    assert!(rig.worker.is_finished());
}

#[test]
fn a_worker_that_the_queue_does_not_know_ends_at_once() {
    let mut rig = Rig::unlinked(config(1));
    rig.worker.drain(rig.now);
    assert!(rig.worker.is_finished(), "it was never there");
    let mut rig = Rig::new(config(1));
    rig.worker.drain(rig.now);
    assert!(!rig.worker.is_finished());
    rig.worker.on_expired(rig.now, FIRST);
    assert!(rig.worker.is_finished(), "it is there no more");
}

#[test]
fn a_worker_that_enlists_while_it_drains_says_so() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    rig.worker.on_link_down(rig.now, FIRST);
    rig.worker.drain(rig.now);
    let said = rig.enlist();
    let Said::Enlist { capacity, .. } = &said[0] else { panic!("{said:?}") };
    assert!(capacity.is_draining);
}

#[test]
fn a_draining_worker_waits_for_a_link_but_not_for_ever() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    rig.succeed(1);
    rig.worker.on_link_down(rig.now, FIRST);
    rig.pass_ms(60_000);
    rig.worker.drain(rig.now);
    rig.pass_ms(PATIENCE_MS - 1);
    assert!(!rig.worker.is_finished());
    assert_eq!(rig.worker.next_deadline(), Some(rig.now + Duration::from_millis(1).into()));
    rig.pass_ms(1);
    assert!(rig.worker.is_finished());
    assert_eq!(rig.worker.stats().unacked_lost, 1);
    rig.pass_ms(PATIENCE_MS);
    assert_eq!(rig.worker.stats().unacked_lost, 1, "counted once");
}

#[test]
fn a_draining_worker_without_a_link_finishes_what_runs_however_long() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    rig.worker.on_link_down(rig.now, FIRST);
    rig.worker.drain(rig.now);
    rig.pass_ms(10 * PATIENCE_MS);
    assert!(!rig.worker.is_finished());
    rig.succeed(1);
    let said = rig.enlist();
    assert_eq!(reports(&said), [(1, 1, EndKind::Exited, 0)]);
    rig.acked(1);
    assert!(rig.worker.is_finished());
}

#[test]
fn an_abandoned_worker_stops_everything_and_returns_it() {
    let mut rig = Rig::new(config(2));
    rig.lease(&[task(1), task(2), task(3)]);
    assert_eq!(rig.started(), [1, 2]);
    rig.worker.drain(rig.now);
    rig.worker.abandon(rig.now);
    rig.worker.abandon(rig.now);
    assert_eq!(rig.asked(), [Asked::Stop(1), Asked::Stop(2)]);
    assert_eq!(returns(&rig.said()), [(1, 3, ReturnReason::Draining)]);
    rig.push(&[QueuePush::Drain]);
    // Many a program ends with code 0 when it is asked to, done or not.
    rig.succeed(1);
    assert_eq!(returns(&rig.said()), [(2, 1, ReturnReason::Draining)]);
    rig.pass_ms(5_000);
    assert_eq!(rig.asked(), [Asked::Kill(2)]);
    rig.exit(2, killed());
    let said = rig.said();
    assert_eq!(returns(&said), [(3, 2, ReturnReason::Draining)]);
    assert!(reports(&said).is_empty(), "that is no failure of the task");
    rig.acked(3);
    assert!(rig.worker.is_finished());
    let stats = rig.worker.stats();
    assert_eq!((stats.succeeded, stats.failed, stats.returned), (0, 0, 3));
}

#[test]
fn a_task_that_was_over_its_time_before_its_worker_was_abandoned_has_failed() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[Task { timeout_ms: 10, ..task(1) }]);
    assert_eq!(rig.started(), [1]);
    rig.pass_ms(10);
    rig.worker.abandon(rig.now);
    assert_eq!(rig.asked(), [Asked::Stop(1)]);
    rig.exit(1, killed());
    assert_eq!(reports(&rig.said()), [(1, 1, EndKind::TimedOut, 0)]);
}
