//! Orders about tasks, in each of their states.

use super::*;

// One task in each state, and two that are leased.
const DELAYED: u64 = 1;
const READY: u64 = 2;
const RUNS: u64 = 3;
const WAITS: u64 = 4;
const DONE: u64 = 5;
const FAILED: u64 = 6;
const CANCELLED: u64 = 7;
const BLOCKED: u64 = 8;

/// The worker with the leases has room for no more.
fn in_all_states() -> (Rig, Party, Hand) {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    let drafts: Vec<Draft> = (1..=8)
        .map(|key| match key {
            1 => draft(job, key).attempts(9),
            2 => draft(job, key).memory(1 << 41),
            8 => draft(job, key).after(&[2]),
            _ => draft(job, key),
        })
        .collect();
    rig.submit(client, &drafts);
    assert_eq!(rig.control(client, Verb::Cancel, one(CANCELLED)), 1);
    let mut hand = rig.worker("w", capacity(5, 0));
    for run in rig.runs(&hand) {
        let end = match run.task.sequence() {
            RUNS | WAITS => continue,
            DONE => exited(0),
            _ => exited(1),
        };
        rig.report(&mut hand, run, end);
    }
    rig.say(hand.party, ToQueue::Credit { capacity: capacity(1, 1) });
    rig.turn();
    rig.hear(hand.party);
    rig.hear(client);
    let states = [
        TaskState::Delayed,
        TaskState::Ready,
        TaskState::Leased,
        TaskState::Leased,
        TaskState::Done,
        TaskState::Failed,
        TaskState::Cancelled,
        TaskState::Blocked,
    ];
    assert_eq!(rig.states(), states);
    assert!(rig.task(WAITS).is_ahead && !rig.task(RUNS).is_ahead);
    (rig, client, hand)
}

/// The tasks whose state an order about all of them has changed, and what it came to.
fn changed(rig: &mut Rig, client: Party, verb: Verb) -> BTreeMap<u64, Option<TaskState>> {
    let states = |rig: &Rig| -> BTreeMap<u64, TaskState> {
        rig.queue.book.table.iter().map(|(sequence, task)| (sequence, task.state)).collect()
    };
    let before = states(rig);
    let count = rig.control(client, verb, all());
    let after = states(rig);
    let differs = |at: &u64| before.get(at) != after.get(at);
    let changed: BTreeMap<_, _> =
        before.keys().copied().filter(differs).map(|at| (at, after.get(&at).copied())).collect();
    assert!(count >= changed.len() as u64 - u64::from(changed.contains_key(&BLOCKED)));
    changed
}

#[test]
fn whatever_has_not_ended_can_be_cancelled() {
    let (mut rig, client, hand) = in_all_states();
    let cancelled = Some(TaskState::Cancelled);
    let expected = [DELAYED, READY, RUNS, WAITS, BLOCKED].map(|at| (at, cancelled));
    assert_eq!(changed(&mut rig, client, Verb::Cancel), BTreeMap::from(expected));
    let cancels = [Push::Cancel(Run::new(RUNS, 1)), Push::Cancel(Run::new(WAITS, 1))];
    assert_eq!(rig.hear(hand.party), cancels);
    assert_eq!(rig.queue.counts().unfinished(), 0, "nobody has or gets anything");
    rig.advance(60_000);
    rig.beat(&hand);
    rig.turn();
    assert_eq!(rig.queue.counts().unfinished(), 0, "nothing comes back by itself");
}

#[test]
fn what_failed_or_was_cancelled_can_be_tried_again() {
    let (mut rig, client, _) = in_all_states();
    let expected = [FAILED, CANCELLED].map(|at| (at, Some(TaskState::Ready)));
    assert_eq!(changed(&mut rig, client, Verb::Retry), BTreeMap::from(expected));
    let failed = rig.task(FAILED);
    assert_eq!((failed.failures, failed.attempt), (0, Attempt(1)));
    assert!(failed.failed_on().is_empty());
}

#[test]
fn what_runs_or_has_ended_can_be_put_back_into_the_queue() {
    let (mut rig, client, mut hand) = in_all_states();
    // So that they stay where they come to.
    rig.say(hand.party, ToQueue::Credit { capacity: Capacity::default() });
    let ready = Some(TaskState::Ready);
    let expected = [RUNS, WAITS, DONE, FAILED, CANCELLED].map(|at| (at, ready));
    assert_eq!(changed(&mut rig, client, Verb::Requeue), BTreeMap::from(expected));
    let cancels = [Push::Cancel(Run::new(RUNS, 1)), Push::Cancel(Run::new(WAITS, 1))];
    assert_eq!(rig.hear(hand.party), cancels);
    rig.report(&mut hand, Run::new(RUNS, 1), exited(0));
    assert_eq!(rig.state(RUNS), TaskState::Ready, "that run does not count any more");
    rig.say(hand.party, ToQueue::Credit { capacity: capacity(9, 0) });
    let runs = rig.runs(&hand);
    assert!(runs.contains(&Run::new(RUNS, 2)) && runs.contains(&Run::new(CANCELLED, 1)));
}

#[test]
fn what_has_ended_can_be_removed() {
    let (mut rig, client, _) = in_all_states();
    let expected = [DONE, FAILED, CANCELLED].map(|at| (at, None));
    assert_eq!(changed(&mut rig, client, Verb::Remove), BTreeMap::from(expected));
    assert_eq!(rig.queue.counts().total(), 5);
    // Its key is free again.
    rig.submit(client, &[draft(JobId(0), DONE.into())]);
    assert_eq!(rig.hear(client), [Push::Submitted { ticket: 9, added: 1, known: 0 }]);
    assert_eq!(rig.state(9), TaskState::Ready, "it is another task");
}

#[test]
fn an_order_means_only_the_tasks_that_were_selected() {
    let (mut rig, client, _) = in_all_states();
    assert_eq!(rig.control(client, Verb::Cancel, one(DONE)), 0);
    assert_eq!(rig.control(client, Verb::Cancel, one(99)), 0);
    assert_eq!(rig.control(client, Verb::Cancel, in_state(TaskState::Delayed)), 1);
    let with = |include| Selection { include, ..all() };
    assert_eq!(rig.control(client, Verb::Remove, with(b"work 6")), 1);
    assert_eq!(rig.control(client, Verb::Remove, with(b"work 66")), 0);
    let other = Selection { job: Some(JobId(1)), ..all() };
    assert_eq!(rig.control(client, Verb::Remove, other), 0);
    let foreign = Selection { task: Some(TaskId::new(1, DONE)), ..all() };
    assert_eq!(rig.control(client, Verb::Remove, foreign), 0);
    let rest = Selection { from: TaskId::new(0, CANCELLED), ..all() };
    assert_eq!(rig.control(client, Verb::Remove, rest), 1);
    let had = Selection { worker: b"w", ..all() };
    assert_eq!(rig.control(client, Verb::Remove, had), 2, "the cancelled one and the done one");
}

#[test]
fn an_order_about_very_many_tasks_is_carried_out_bit_by_bit() {
    let mut rig = Rig::new();
    rig.is_audited = false;
    let (client, _) = rig.with_tasks(10_000);
    rig.say(client, ToQueue::Control { request: 1, verb: Verb::Cancel, selection: all() });
    let mut turns = 0;
    while rig.hear(client).is_empty() {
        assert!(rig.queue.next_deadline().is_some_and(|at| at <= rig.now), "it goes on at once");
        rig.turn();
        turns += 1;
    }
    assert!(turns >= 10, "{turns}");
    assert_eq!(rig.queue.counts()[TaskState::Cancelled], 10_000);
    audit(&rig.queue);
}
