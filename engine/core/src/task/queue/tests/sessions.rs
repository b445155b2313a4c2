//! Names, sessions and links of workers, and how they stop.

use super::*;

fn enlisted(name: &str) -> Push {
    Push::Enlisted { name: name.to_owned() }
}

#[test]
fn defect_12_a_name_that_a_linked_worker_has_gets_a_suffix() {
    let mut rig = Rig::new();
    let mut names = Vec::new();
    for session in 1..=4 {
        let party = rig.link(SessionId(session));
        let name = if session == 4 { "" } else { "w" };
        rig.greet(party, name, capacity(1, 0), &[]);
        names.extend(rig.hear(party));
    }
    assert_eq!(names, [enlisted("w"), enlisted("w#2"), enlisted("w#3"), enlisted("worker")]);
}

#[test]
fn a_new_run_of_a_worker_that_is_away_takes_its_place() {
    let mut rig = Rig::new();
    rig.with_tasks(2);
    let mut old = rig.worker("w", capacity(2, 0));
    let runs = rig.runs(&old);
    rig.close(old.party);
    let new = rig.worker("w", capacity(2, 0));
    assert_eq!(rig.runs(&new), [Run::new(1, 2), Run::new(2, 2)]);
    assert_eq!((rig.queue.workers(), rig.task(1).losses), (1, 1));
    // The old one was not dead after all.
    rig.relink(&mut old, "w", capacity(2, 0), &runs);
    let heard = rig.hear(old.party);
    assert_eq!(heard, [Push::Cancel(runs[0]), Push::Cancel(runs[1]), enlisted("w#2")]);
}

#[test]
fn a_new_link_of_the_same_session_replaces_the_older_one() {
    let mut rig = Rig::new();
    rig.with_tasks(2);
    let mut hand = rig.worker("w", capacity(1, 0));
    let runs = rig.runs(&hand);
    let older = hand.party;
    rig.relink(&mut hand, "w", capacity(2, 0), &runs);
    assert_eq!(rig.queue.closing(older), Some(CloseReason::Replaced));
    assert_eq!(rig.queue.closing(hand.party), None);
    let Run { task, attempt } = runs[0];
    rig.say(older, ToQueue::Report { seq: 1, task, attempt, end: exited(0) });
    assert_eq!(rig.state(1), TaskState::Leased, "the older one is not heard");
    rig.close(older);
    assert_eq!(rig.runs(&hand), [Run::new(2, 1)]);
    assert_eq!(rig.queue.workers(), 1);
}

#[test]
fn places_of_links_and_workers_are_used_again() {
    let mut rig = Rig::new();
    let parties: Vec<Party> = (0..3).map(|_| rig.client()).collect();
    rig.close(parties[1]);
    let hand = rig.worker("w", capacity(1, 0));
    assert_eq!(hand.party, parties[1]);
    rig.close(hand.party);
    let again = rig.worker("v", capacity(1, 0));
    assert_eq!(again.party, parties[1]);
    assert_eq!(rig.queue.workers(), 1);
}

#[test]
fn a_draining_worker_gets_nothing_more_but_finishes_what_it_has() {
    let mut rig = Rig::new();
    rig.with_tasks(4);
    let mut hand = rig.worker("w", capacity(1, 2));
    let runs = rig.runs(&hand);
    let draining = Capacity { is_draining: true, ..capacity(1, 0) };
    rig.say(hand.party, ToQueue::Credit { capacity: draining });
    rig.give_back(&mut hand, runs[2], ReturnReason::Draining);
    rig.give_back(&mut hand, runs[1], ReturnReason::Draining);
    assert_eq!(rig.runs(&hand), []);
    rig.report(&mut hand, runs[0], exited(0));
    assert_eq!(rig.runs(&hand), []);
    assert_eq!(rig.queue.counts()[TaskState::Ready], 3);
    let other = rig.worker("other", capacity(3, 0));
    assert_eq!(sequences(&rig.runs(&other)), [2, 3, 4]);
    rig.close(hand.party);
    assert_eq!(rig.queue.workers(), 1);
}

#[test]
fn a_worker_that_begins_to_drain_is_told_once_behind_its_last_lease() {
    let mut rig = Rig::new();
    rig.with_tasks(2);
    let mut hand = rig.worker("w", capacity(1, 0));
    rig.turn();
    let draining = |slots| Capacity { is_draining: true, ..capacity(slots, 0) };
    rig.say(hand.party, ToQueue::Credit { capacity: draining(1) });
    rig.say(hand.party, ToQueue::Credit { capacity: draining(2) });
    rig.turn_and_sync();
    let run = Run::new(1, 1);
    assert_eq!(rig.hear(hand.party), [Push::Lease(run), Push::Drain]);
    // Whoever enlists so knows it when it is enlisted.
    rig.close(hand.party);
    rig.relink(&mut hand, "w", draining(2), &[run]);
    rig.say(hand.party, ToQueue::Credit { capacity: draining(1) });
    rig.turn_and_sync();
    assert_eq!(rig.hear(hand.party), [enlisted("w")]);
}

#[test]
fn a_worker_that_is_asked_to_stop_is_told_and_gets_nothing_more() {
    let mut rig = Rig::new();
    let hand = rig.worker("w", capacity(1, 0));
    let other = rig.worker("other", capacity(1, 0));
    let (client, _) = rig.with_tasks(2);
    rig.say(client, ToQueue::StopWorker { request: 1, name: b"w" });
    let end = Push::End { request: 1, changed: 1, next: 0, more: false };
    assert_eq!(rig.hear(client), [end]);
    rig.turn();
    assert_eq!(rig.hear(hand.party), [Push::Drain]);
    assert_eq!(rig.hear(other.party), [Push::Lease(Run::new(1, 1))]);
}

#[test]
fn all_workers_can_be_asked_to_stop_and_one_that_there_is_not_cannot() {
    let mut rig = Rig::new();
    let client = rig.client();
    let end = |changed| Push::End { request: 1, changed, next: 0, more: false };
    rig.say(client, ToQueue::StopWorker { request: 1, name: b"" });
    assert_eq!(rig.hear(client), [end(0)]);
    let hands = [rig.worker("a", capacity(1, 0)), rig.worker("b", capacity(1, 0))];
    rig.say(client, ToQueue::StopWorker { request: 1, name: b"c" });
    let fault = Push::Fault { request: 1, fault: TaskFault::UnknownWorker };
    assert_eq!(rig.hear(client), [fault]);
    rig.say(client, ToQueue::StopWorker { request: 1, name: b"" });
    assert_eq!(rig.hear(client), [end(2)]);
    for hand in &hands {
        assert_eq!(rig.hear(hand.party), [Push::Drain]);
    }
}

#[test]
fn a_worker_that_was_to_stop_is_told_again_on_a_new_link() {
    let mut rig = Rig::new();
    let (client, _) = rig.with_tasks(2);
    let mut hand = rig.worker("w", capacity(1, 0));
    let runs = rig.runs(&hand);
    rig.say(client, ToQueue::StopWorker { request: 1, name: b"w" });
    // It has not heard of it.
    rig.close(hand.party);
    rig.relink(&mut hand, "w", capacity(2, 0), &runs);
    rig.turn();
    assert_eq!(rig.hear(hand.party), [enlisted("w"), Push::Drain]);
    // Another run of it was not meant.
    rig.report(&mut hand, runs[0], exited(0));
    rig.close(hand.party);
    let next = rig.worker("w", capacity(1, 0));
    assert_eq!(rig.runs(&next), [Run::new(2, 1)]);
}

#[test]
fn rows_tell_of_workers_what_they_have_and_did() {
    let mut rig = Rig::new();
    let (client, _) = rig.with_tasks(4);
    let mut hand = rig.worker("w", capacity(1, 2));
    let runs = rig.runs(&hand);
    rig.report(&mut hand, runs[0], exited(0));
    let away = rig.worker("away", capacity(1, 0));
    assert_eq!(rig.runs(&away).len(), 1);
    rig.close(away.party);
    rig.say(client, ToQueue::Workers { request: 1 });
    let row = |name: &str, is_linked, ahead, done| Push::WorkerRow {
        name: name.to_owned(),
        is_linked,
        running: 1,
        ahead,
        ends: [done, 0, 0],
    };
    let end = Push::End { request: 1, changed: 0, next: 0, more: false };
    assert_eq!(rig.hear(client), [row("w", true, 1, 1), row("away", false, 0, 0), end]);
}
