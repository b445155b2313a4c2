//! Nothing leaves before it is durable.

use super::*;

/// Nothing is told to the party until the log is durable.
fn told_when_durable(rig: &mut Rig, party: Party) -> Vec<Push> {
    assert_eq!(rig.hear(party), []);
    let end = rig.take_log();
    assert_eq!(rig.hear(party), [], "it is written, not durable");
    rig.queue.on_durable(Lsn(end.0 - 1));
    assert_eq!(rig.hear(party), [], "the last byte is missing");
    rig.queue.on_durable(end);
    rig.hear(party)
}

#[test]
fn jobs_and_submissions_are_answered_when_they_are_durable() {
    let mut rig = Rig::with(journaled());
    let client = rig.client();
    rig.say(client, ToQueue::OpenJob { request: 1, job: None, name: b"job" });
    assert_eq!(told_when_durable(&mut rig, client), [Push::JobOpened { job: JobId(0) }]);
    rig.submit(client, &[draft(JobId(0), 1)]);
    let taken = Push::Submitted { ticket: 1, added: 1, known: 0 };
    assert_eq!(told_when_durable(&mut rig, client), [taken]);
}

#[test]
fn what_is_known_already_is_answered_when_it_is_durable_too() {
    let mut rig = Rig::with(journaled());
    let client = rig.client();
    let job = rig.job(client, "job");
    rig.submit(client, &[draft(job, 1)]);
    let other = rig.client();
    rig.submit(other, &[draft(job, 1)]);
    let known = Push::Submitted { ticket: 2, added: 0, known: 1 };
    assert_eq!(told_when_durable(&mut rig, other), [known]);
}

#[test]
fn leases_and_acknowledgements_leave_when_they_are_durable() {
    let mut rig = Rig::with(journaled());
    rig.with_tasks(2);
    let mut hand = rig.worker("w", capacity(1, 0));
    rig.turn();
    let run = Run::new(1, 1);
    assert_eq!(told_when_durable(&mut rig, hand.party), [Push::Lease(run)]);
    rig.report(&mut hand, run, exited(0));
    assert_eq!(told_when_durable(&mut rig, hand.party), [Push::Acked(1)]);
    rig.turn();
    let second = Run::new(2, 1);
    assert_eq!(told_when_durable(&mut rig, hand.party), [Push::Lease(second)]);
}

#[test]
fn a_run_is_stopped_when_it_is_durable_that_it_was_cancelled() {
    let mut rig = Rig::with(journaled());
    let (client, _) = rig.with_tasks(1);
    let hand = rig.worker("w", capacity(1, 0));
    let run = rig.runs(&hand)[0];
    rig.say(client, ToQueue::Control { request: 1, verb: Verb::Cancel, selection: all() });
    rig.turn();
    assert_eq!(told_when_durable(&mut rig, hand.party), [Push::Cancel(run)]);
    let ended = Push::End { request: 1, changed: 1, next: 2, more: false };
    assert_eq!(rig.hear(client), [ended]);
}

#[test]
fn progress_tells_only_what_is_durable() {
    let mut rig = Rig::with(journaled());
    let client = rig.client();
    let job = rig.job(client, "job");
    rig.say(client, ToQueue::Watch { request: 1, job: Some(job), seen: 1 });
    rig.submit(client, &[draft(job, 1)]);
    rig.turn();
    let watcher = told_when_durable(&mut rig, client);
    let [Push::Submitted { .. }, Push::Progress { counts, .. }] = &watcher[..] else {
        panic!("{watcher:?}");
    };
    assert_eq!(counts[TaskState::Ready], 1);
}

#[test]
fn a_row_tells_what_has_happened_since_it_was_asked_for_only_when_that_is_durable() {
    let mut rig = Rig::with(journaled());
    let (client, _) = rig.with_tasks(2);
    let mut hand = rig.worker("w", capacity(2, 0));
    let runs = rig.runs(&hand);
    let query = ToQueue::Query { request: 1, selection: all(), limit: 9, with_output: true };
    rig.say(client, query);
    rig.say(client, ToQueue::Jobs { request: 2 });
    rig.turn();
    assert!(rig.queue.is_durable(), "there is nothing that it must wait for yet");
    rig.report(&mut hand, runs[1], exited(0));
    let heard = rig.hear(client);
    let [Push::JobRow { counts, .. }, Push::End { .. }, Push::Row(first)] = &heard[..] else {
        panic!("{heard:?}");
    };
    assert_eq!(counts[TaskState::Leased], 2);
    assert_eq!(first.state, TaskState::Leased);
    let rest = told_when_durable(&mut rig, client);
    let [Push::Row(second), Push::End { .. }] = &rest[..] else { panic!("{rest:?}") };
    assert_eq!(second.state, TaskState::Done);
}

#[test]
fn what_is_durable_leaves_although_later_things_are_not() {
    let mut rig = Rig::with(journaled());
    let client = rig.client();
    let job = rig.job(client, "job");
    rig.submit(client, &[draft(job, 1)]);
    let end = rig.take_log();
    rig.submit(client, &[draft(job, 2)]);
    rig.take_log();
    rig.queue.on_durable(end);
    assert_eq!(rig.hear(client), [Push::Submitted { ticket: 1, added: 1, known: 0 }]);
    assert!(!rig.queue.is_durable());
}

#[test]
fn in_memory_everything_leaves_at_once_and_nothing_is_logged() {
    let mut rig = Rig::new();
    let client = rig.client();
    rig.say(client, ToQueue::OpenJob { request: 1, job: None, name: b"job" });
    assert_eq!(rig.hear(client), [Push::JobOpened { job: JobId(0) }]);
    rig.submit(client, &[draft(JobId(0), 1)]);
    assert_eq!(rig.hear(client).len(), 1);
    let mut hand = rig.worker("w", capacity(1, 0));
    rig.turn();
    let run = rig.heard_runs(&hand)[0];
    rig.report(&mut hand, run, exited(0));
    assert_eq!(rig.hear(hand.party), [Push::Acked(1)]);
    assert_eq!((rig.queue.log_len(), rig.queue.is_durable()), (0, true));
}

#[test]
fn a_full_journal_refuses_submissions_and_orders_and_gives_no_leases() {
    let mut rig = Rig::with(journaled());
    let (client, job) = rig.with_tasks(1);
    let hand = rig.worker("w", capacity(1, 0));
    rig.queue.set_journal_full(true);
    let logged = rig.tape.len();
    rig.submit(client, &[draft(job, 1), draft(job, 2)]);
    rig.say(client, ToQueue::OpenJob { request: 1, job: None, name: b"job" });
    rig.say(client, ToQueue::OpenJob { request: 2, job: None, name: b"other" });
    rig.say(client, ToQueue::Control { request: 3, verb: Verb::Cancel, selection: all() });
    rig.say(client, ToQueue::Query { request: 4, selection: all(), limit: 0, with_output: false });
    assert_eq!(rig.runs(&hand), []);
    let busy = |request| Push::Fault { request, fault: TaskFault::Busy };
    assert_eq!(
        rig.hear(client),
        [
            Push::Refused { ticket: 3, reason: RefusedTask::JournalFull },
            Push::Submitted { ticket: 3, added: 0, known: 1 },
            Push::JobOpened { job },
            busy(2),
            busy(3),
            Push::End { request: 4, changed: 0, next: 0, more: true },
        ]
    );
    assert_eq!(rig.tape.len(), logged);
    rig.queue.set_journal_full(false);
    assert_eq!(rig.runs(&hand).len(), 1);
}

#[test]
fn a_full_journal_takes_reports_and_returns() {
    let mut rig = Rig::with(journaled());
    rig.with_tasks(2);
    let mut hand = rig.worker("w", capacity(2, 0));
    let runs = rig.runs(&hand);
    rig.queue.set_journal_full(true);
    rig.report(&mut hand, runs[0], exited(0));
    rig.give_back(&mut hand, runs[1], ReturnReason::LowMemory);
    rig.turn_and_sync();
    assert_eq!(rig.hear(hand.party).pop(), Some(Push::Acked(2)));
    assert_eq!(rig.states(), [TaskState::Done, TaskState::Ready]);
}

#[test]
fn an_order_that_is_being_carried_out_ends_when_the_journal_is_full() {
    let mut rig = Rig::with(journaled());
    rig.is_audited = false;
    let (client, _) = rig.with_tasks(3_000);
    rig.say(client, ToQueue::Control { request: 1, verb: Verb::Cancel, selection: all() });
    rig.turn();
    rig.queue.set_journal_full(true);
    rig.turn_and_sync();
    let fault = Push::Fault { request: 1, fault: TaskFault::Busy };
    assert_eq!(rig.hear(client), [fault]);
    let cancelled = rig.queue.counts()[TaskState::Cancelled];
    assert!((1..3_000).contains(&cancelled), "{cancelled}");
    audit(&rig.queue);
}

#[test]
fn the_queue_rests_while_the_journal_is_full() {
    let mut rig = Rig::with(journaled());
    rig.with_tasks(3);
    let mut hoarder = rig.worker("hoarder", capacity(1, 9));
    let runs = rig.runs(&hoarder);
    // It is known to take a moment for each, so another one has to wait before it gets any.
    rig.report(&mut hoarder, runs[0], exited(0));
    rig.worker("idle", capacity(1, 0));
    rig.turn_and_sync();
    assert!(rig.queue.next_deadline().is_some_and(|at| at <= rig.now + Nanos(10 * MS)));
    rig.queue.set_journal_full(true);
    rig.advance(10);
    rig.turn();
    assert!(rig.queue.next_deadline().is_some_and(|at| at > rig.now), "it waits for a lease");
}
