//! Workers that are silent, and workers that come back.

use super::*;

fn closing(rig: &Rig, hand: &Hand) -> Option<CloseReason> {
    rig.queue.closing(hand.party)
}

#[test]
fn a_silent_worker_loses_its_leases_and_its_link() {
    let mut rig = Rig::new();
    rig.with_tasks(1);
    let mut first = rig.worker("first", capacity(1, 0));
    let run = rig.runs(&first)[0];
    rig.advance(1);
    let second = rig.worker("second", capacity(1, 0));
    rig.advance(29_998);
    rig.turn();
    assert_eq!((rig.state(1), closing(&rig, &first)), (TaskState::Leased, None));
    rig.advance(1);
    assert_eq!(rig.queue.next_deadline(), Some(rig.now));
    assert_eq!(rig.runs(&second), [Run::new(1, 2)]);
    assert_eq!(closing(&rig, &first), Some(CloseReason::LeaseExpired));
    // What it says now is not heard.
    rig.report(&mut first, run, exited(0));
    assert_eq!(rig.state(1), TaskState::Leased);
    rig.close(first.party);
    assert_eq!((rig.queue.workers(), rig.queue.stats().expired), (1, 1));
}

#[test]
fn a_worker_that_says_anything_keeps_its_leases() {
    let mut rig = Rig::new();
    rig.with_tasks(1);
    let hand = rig.worker("w", capacity(1, 0));
    rig.runs(&hand);
    for _ in 0..10 {
        rig.advance(29_999);
        rig.turn();
        rig.beat(&hand);
    }
    assert_eq!(rig.state(1), TaskState::Leased);
    rig.advance(30_000);
    rig.turn();
    assert_eq!(rig.state(1), TaskState::Ready);
}

#[test]
fn a_worker_whose_link_is_cut_has_a_while_to_come_back() {
    let mut rig = Rig::new();
    rig.with_tasks(3);
    let mut hand = rig.worker("w", capacity(2, 1));
    let runs = rig.runs(&hand);
    rig.close(hand.party);
    rig.advance(4_999);
    rig.turn();
    rig.relink(&mut hand, "w", capacity(2, 1), &runs);
    assert_eq!(rig.hear(hand.party), [Push::Enlisted { name: "w".to_owned() }]);
    assert_eq!(rig.runs(&hand), []);
    rig.report(&mut hand, runs[0], exited(0));
    assert_eq!(rig.states(), [TaskState::Done, TaskState::Leased, TaskState::Leased]);
    assert_eq!(rig.queue.stats().returned, 0);
    rig.advance(29_999);
    rig.turn();
    assert_eq!(rig.state(2), TaskState::Leased, "its time runs anew");
}

#[test]
fn a_worker_that_does_not_come_back_in_time_loses_its_leases() {
    let mut rig = Rig::new();
    rig.with_tasks(1);
    let mut hand = rig.worker("w", capacity(1, 0));
    let runs = rig.runs(&hand);
    rig.close(hand.party);
    rig.advance(5_000);
    rig.turn();
    assert_eq!((rig.state(1), rig.queue.workers()), (TaskState::Ready, 0));
    // It is taken in as a new one, and is told what is not its own any more.
    rig.relink(&mut hand, "w", capacity(1, 0), &runs);
    let heard = rig.hear(hand.party);
    assert_eq!(heard, [Push::Cancel(runs[0]), Push::Enlisted { name: "w".to_owned() }]);
    assert_eq!(rig.runs(&hand), [Run::new(1, 2)]);
}

#[test]
fn what_a_worker_that_comes_back_does_not_have_is_given_out_again() {
    let mut rig = Rig::new();
    rig.with_tasks(3);
    let mut hand = rig.worker("w", capacity(3, 0));
    let runs = rig.runs(&hand);
    rig.relink(&mut hand, "w", capacity(3, 0), &[runs[1], Run::new(3, 7), Run::new(9, 1)]);
    let heard = rig.hear(hand.party);
    let cancels = [Push::Cancel(Run::new(3, 7)), Push::Cancel(Run::new(9, 1))];
    assert_eq!(heard[..2], cancels);
    assert_eq!(rig.runs(&hand), [Run::new(1, 2), Run::new(3, 2)]);
    assert_eq!(rig.task(2).attempt, Attempt(1));
    assert_eq!(rig.task(1).losses, 0, "it cannot have run");
}

#[test]
fn a_worker_is_given_nothing_before_it_has_said_what_it_has() {
    let mut rig = Rig::new();
    rig.with_tasks(1);
    let party = rig.link(SessionId(1));
    let (name, host) = (b"w", b"host");
    rig.say(party, ToQueue::Enlist { name, host, pid: 1, capacity: capacity(1, 1) });
    rig.turn();
    assert_eq!(rig.hear(party), []);
    rig.say(party, ToQueue::Held);
    rig.turn();
    let heard = rig.hear(party);
    let enlisted = Push::Enlisted { name: "w".to_owned() };
    assert_eq!(heard, [enlisted, Push::Lease(Run::new(1, 1))]);
}

#[test]
fn a_report_counts_that_comes_with_a_new_link_before_the_leases() {
    let mut rig = Rig::new();
    rig.with_tasks(1);
    let mut hand = rig.worker("w", capacity(1, 0));
    let run = rig.runs(&hand)[0];
    rig.close(hand.party);
    hand.party = rig.link(hand.session);
    let Run { task, attempt } = run;
    let messages = [
        ToQueue::Enlist { name: b"w", host: b"host", pid: 1, capacity: capacity(1, 0) },
        ToQueue::Report { seq: 1, task, attempt, end: exited(0) },
        ToQueue::Held,
    ];
    rig.try_say(hand.party, &messages).expect("a greeting is well-formed");
    assert_eq!(rig.state(1), TaskState::Done);
    assert_eq!(rig.queue.stats().returned, 0);
}

#[test]
fn a_task_that_is_lost_too_often_has_failed() {
    let mut rig = Rig::new();
    let (client, _) = rig.with_tasks(2);
    for loss in 1..=5 {
        assert_eq!(rig.task(1).losses, loss - 1);
        let hand = rig.worker("w", capacity(1, 1));
        assert_eq!(rig.runs(&hand).len(), 2);
        rig.close(hand.party);
        rig.advance(5_000);
        rig.turn();
    }
    assert_eq!(rig.states(), [TaskState::Failed, TaskState::Ready]);
    assert_eq!(rig.task(2).losses, 0, "it waited each time");
    let (rows, ..) = rig.query(client, one(1), 1);
    assert_eq!((rows[0].end, rows[0].failures), (Some((EndKind::Lost, 5)), 0));
}

#[test]
fn a_worker_without_leases_is_forgotten_with_its_link() {
    let mut rig = Rig::new();
    let hand = rig.worker("w", capacity(1, 0));
    assert_eq!(rig.queue.workers(), 1);
    rig.close(hand.party);
    assert_eq!(rig.queue.workers(), 0);
    rig.close(hand.party);
    assert_eq!(rig.turn(), 0);
}

#[test]
fn time_does_not_run_back() {
    let mut rig = Rig::new();
    rig.with_tasks(1);
    let hand = rig.worker("w", capacity(1, 0));
    rig.runs(&hand);
    let later = rig.now + Nanos(20_000 * MS);
    rig.now = later;
    rig.beat(&hand);
    rig.now = Nanos(5);
    rig.beat(&hand);
    rig.turn();
    assert_eq!(rig.task(1).state, TaskState::Leased);
    rig.now = later + Nanos(29_999 * MS);
    rig.turn();
    assert_eq!(rig.state(1), TaskState::Leased);
}
