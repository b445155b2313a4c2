//! How leases end: recalled, cancelled, out of time, or by themselves.

use super::*;
use punctual_wire::task::OUTPUT_BYTES_MAX;

#[test]
fn a_recalled_lease_is_returned_if_it_has_not_begun() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1), task(2), task(3)]);
    assert_eq!(rig.started(), [1]);
    rig.recall(2);
    assert_eq!(returns(&rig.said()), [(1, 2, ReturnReason::Recalled)]);
    assert_eq!((rig.worker.stats().recalled, rig.worker.stats().returned), (1, 1));
    rig.succeed(1);
    assert_eq!(rig.started(), [3], "2 is not its own any more");
}

#[test]
fn a_recall_of_what_runs_or_of_another_attempt_is_ignored() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1), Task { attempt: 2, ..task(2) }]);
    assert_eq!(rig.started(), [1]);
    rig.recall(1);
    rig.recall(2);
    rig.recall(99);
    assert!(rig.said().is_empty());
    rig.succeed(1);
    assert_eq!(rig.started(), [2]);
    assert_eq!(reports(&rig.said()), [(1, 1, EndKind::Exited, 0)]);
}

#[test]
fn a_cancelled_lease_that_has_not_begun_is_forgotten() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1), task(2)]);
    assert_eq!(rig.started(), [1]);
    rig.cancel(2);
    rig.succeed(1);
    assert!(rig.started().is_empty());
    assert_eq!(reports(&rig.said()), [(1, 1, EndKind::Exited, 0)]);
    assert_eq!(rig.worker.stats().cancelled, 1);
}

#[test]
fn a_cancelled_run_is_stopped_then_killed_and_never_reported() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    rig.cancel(1);
    rig.cancel(1);
    assert_eq!(rig.asked(), [Asked::Stop(1)]);
    rig.pass_ms(4_999);
    assert!(rig.asked().is_empty());
    rig.pass_ms(1);
    assert_eq!(rig.asked(), [Asked::Kill(1)]);
    rig.exit(1, killed());
    assert!(reports(&rig.said()).is_empty());
    assert_eq!(rig.worker.running(), 0);
    assert_eq!((rig.worker.stats().cancelled, rig.worker.stats().failed), (1, 0));
}

#[test]
fn a_cancel_of_another_attempt_stops_nothing() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[Task { attempt: 2, ..task(1) }]);
    assert_eq!(rig.started(), [1]);
    rig.cancel(1);
    assert!(rig.asked().is_empty());
    rig.succeed(1);
    assert_eq!(reports(&rig.said()), [(1, 1, EndKind::Exited, 0)]);
}

#[test]
fn what_stops_when_asked_is_not_killed() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    rig.cancel(1);
    assert_eq!(rig.asked(), [Asked::Stop(1)]);
    rig.exit(1, killed());
    rig.lease(&[task(2)]);
    assert_eq!(rig.started(), [2], "in the same slot");
    rig.pass_ms(60_000);
    assert!(rig.asked().is_empty());
}

#[test]
fn an_action_for_a_run_that_has_ended_is_dropped() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    rig.cancel(1);
    rig.exit(1, killed());
    assert!(rig.asked().is_empty());
}

#[test]
fn a_run_over_its_time_is_stopped_then_killed_and_reported_as_timed_out() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[Task { timeout_ms: 700, ..task(1) }]);
    rig.pass_ms(100);
    assert_eq!(rig.started(), [1]);
    assert_eq!(rig.worker.next_deadline(), Some(rig.now + Duration::from_millis(700).into()));
    rig.pass_ms(699);
    assert!(rig.asked().is_empty());
    rig.pass_ms(1);
    assert_eq!(rig.asked(), [Asked::Stop(1)]);
    rig.pass_ms(5_000);
    assert_eq!(rig.asked(), [Asked::Kill(1)]);
    rig.exit(1, killed());
    assert_eq!(reports(&rig.said()), [(1, 1, EndKind::TimedOut, 0)]);
    assert_eq!((rig.worker.stats().timed_out, rig.worker.stats().failed), (1, 1));
}

#[test]
fn a_run_that_says_success_after_its_time_has_timed_out() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[Task { timeout_ms: 10, ..task(1) }]);
    assert_eq!(rig.started(), [1]);
    rig.pass_ms(10);
    rig.succeed(1);
    assert_eq!(reports(&rig.said()), [(1, 1, EndKind::TimedOut, 0)]);
}

#[test]
fn a_run_that_ends_in_time_leaves_no_timer_behind() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[Task { timeout_ms: 10, ..task(1) }, task(2)]);
    assert_eq!(rig.started(), [1]);
    rig.pass_ms(9);
    rig.succeed(1);
    assert_eq!(rig.started(), [2], "in its slot");
    rig.pass_ms(60_000);
    assert!(rig.asked().is_empty());
    assert_eq!(rig.worker.stats().timed_out, 0);
}

#[test]
fn a_task_that_was_over_its_time_and_is_cancelled_is_not_reported() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[Task { timeout_ms: 10, ..task(1) }]);
    assert_eq!(rig.started(), [1]);
    rig.pass_ms(10);
    rig.cancel(1);
    assert_eq!(rig.asked(), [Asked::Stop(1)], "once is enough");
    rig.pass_ms(5_000);
    assert_eq!(rig.asked(), [Asked::Kill(1)]);
    rig.exit(1, killed());
    assert!(reports(&rig.said()).is_empty());
}

#[test]
fn of_a_long_output_the_end_is_reported_and_how_much_it_was() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    let mut stdout = vec![b'a'; 3 * OUTPUT_BYTES_MAX];
    stdout.extend_from_slice(b"the end");
    let bytes = stdout.len() as u64;
    rig.exit(1, Exit { stdout, ..Exit::success() });
    let said = rig.said();
    let [Said::Report(report)] = &said[..] else { panic!("{} messages", said.len()) };
    assert_eq!(report.stdout_bytes, bytes);
    assert_eq!(report.stdout.len(), OUTPUT_BYTES_MAX);
    assert!(report.stdout.ends_with(b"the end"));
}

#[test]
fn an_output_of_which_the_host_kept_the_end_only_is_told_by_its_whole_length() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1)]);
    assert_eq!(rig.started(), [1]);
    let exit = Exit { stdout_bytes: 1 << 40, stdout: b"end".to_vec(), ..Exit::success() };
    rig.exit(1, exit);
    let said = rig.said();
    let [Said::Report(report)] = &said[..] else { panic!("{said:?}") };
    assert_eq!((report.stdout_bytes, &report.stdout[..]), (1 << 40, &b"end"[..]));
}

#[test]
fn a_task_that_could_not_be_started_is_reported_so() {
    let mut rig = Rig::new(config(1));
    rig.lease(&[task(1), task(2)]);
    assert_eq!(rig.started(), [1]);
    rig.exit(1, Exit { kind: EndKind::NotStarted, code: 2, ..Exit::success() });
    assert_eq!(reports(&rig.said()), [(1, 1, EndKind::NotStarted, 2)]);
    assert_eq!(rig.started(), [2]);
}
