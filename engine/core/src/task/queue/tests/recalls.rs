//! Leases that are asked back before they start.

use super::*;

/// Runs that the worker was asked to give back.
fn recalled(rig: &mut Rig, hand: &Hand) -> Vec<Run> {
    rig.turn();
    let recall = |push: Push| if let Push::Recall(run) = push { Some(run) } else { None };
    rig.hear(hand.party).into_iter().filter_map(recall).collect()
}

#[test]
fn what_waits_is_asked_back_for_a_worker_that_is_idle() {
    let mut rig = Rig::new();
    rig.with_tasks(5);
    let mut hoarder = rig.worker("hoarder", capacity(1, 9));
    assert_eq!(rig.runs(&hoarder).len(), 5);
    let mut idle = rig.worker("idle", capacity(3, 0));
    // No more than half of it, and the latest first.
    assert_eq!(recalled(&mut rig, &hoarder), [Run::new(5, 1), Run::new(4, 1)]);
    assert_eq!(recalled(&mut rig, &hoarder), [], "it is asked once");
    assert_eq!(rig.queue.stats().recalled, 2);
    rig.give_back(&mut hoarder, Run::new(5, 1), ReturnReason::Recalled);
    rig.give_back(&mut hoarder, Run::new(4, 1), ReturnReason::Recalled);
    assert_eq!(rig.runs(&idle), [Run::new(4, 2), Run::new(5, 2)]);
    rig.report(&mut idle, Run::new(4, 2), exited(0));
    assert_eq!(recalled(&mut rig, &hoarder), [Run::new(3, 1)]);
    // One that was started in the meantime stays, and is reported.
    rig.report(&mut hoarder, Run::new(1, 1), exited(0));
    rig.report(&mut hoarder, Run::new(2, 1), exited(0));
    rig.report(&mut hoarder, Run::new(3, 1), exited(0));
    assert_eq!(rig.queue.counts()[TaskState::Done], 4);
    assert_eq!(rig.queue.stats().stale, 0);
}

#[test]
fn short_tasks_are_not_asked_back_until_they_turn_out_to_be_long() {
    let mut rig = Rig::new();
    rig.with_tasks(5);
    let mut hoarder = rig.worker("hoarder", capacity(1, 9));
    let runs = rig.runs(&hoarder);
    rig.report(&mut hoarder, runs[0], exited(0));
    rig.worker("idle", capacity(1, 0));
    assert_eq!(recalled(&mut rig, &hoarder), []);
    let again = rig.queue.next_deadline().expect("it looks again");
    assert!(again <= rig.now + Nanos(10 * MS));
    rig.now = again;
    assert_eq!(recalled(&mut rig, &hoarder), [Run::new(5, 1)]);
}

#[test]
fn nothing_is_asked_back_that_the_idle_worker_cannot_start_at_once() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    let drafts: Vec<Draft> = (1..=4).map(|key| draft(job, key).memory(60)).collect();
    rig.submit(client, &drafts);
    let mut hoarder = rig.worker("hoarder", capacity(1, 9));
    assert_eq!(rig.runs(&hoarder).len(), 4);
    rig.worker("small", Capacity { memory: 50, ..capacity(1, 9) });
    assert_eq!(recalled(&mut rig, &hoarder), []);
    let large = rig.worker("large", Capacity { memory: 100, ..capacity(2, 9) });
    assert_eq!(recalled(&mut rig, &hoarder), [Run::new(4, 1), Run::new(3, 1)]);
    rig.give_back(&mut hoarder, Run::new(4, 1), ReturnReason::Recalled);
    rig.give_back(&mut hoarder, Run::new(3, 1), ReturnReason::Recalled);
    // One of them fits there, the other one goes to wait somewhere; that is the end of it.
    assert_eq!(rig.runs(&large).first(), Some(&Run::new(3, 2)));
    rig.turn();
    assert_eq!(recalled(&mut rig, &hoarder), []);
    assert_eq!(recalled(&mut rig, &large), []);
    assert_eq!(rig.queue.counts()[TaskState::Leased], 4);
}

#[test]
fn nothing_is_asked_back_for_a_worker_that_failed_it() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    rig.submit(client, &[draft(job, 1).attempts(9)]);
    let mut idle = rig.worker("idle", capacity(1, 0));
    let run = rig.runs(&idle)[0];
    rig.report(&mut idle, run, exited(1));
    rig.submit(client, &[draft(job, 2).priority(1)]);
    rig.say(idle.party, ToQueue::Credit { capacity: capacity(0, 0) });
    let hoarder = rig.worker("hoarder", capacity(1, 9));
    rig.advance(500);
    assert_eq!(sequences(&rig.runs(&hoarder)), [2, 1]);
    rig.say(idle.party, ToQueue::Credit { capacity: capacity(1, 0) });
    assert_eq!(recalled(&mut rig, &hoarder), []);
}

#[test]
fn what_waits_is_asked_back_for_something_of_higher_priority() {
    let mut rig = Rig::new();
    let (client, job) = rig.with_tasks(4);
    let mut hand = rig.worker("w", capacity(1, 2));
    assert_eq!(rig.runs(&hand).len(), 3);
    rig.submit(client, &[draft(job, 5), draft(job, 6).priority(1)]);
    assert_eq!(recalled(&mut rig, &hand), [Run::new(3, 1)]);
    assert_eq!(recalled(&mut rig, &hand), []);
    rig.give_back(&mut hand, Run::new(3, 1), ReturnReason::Recalled);
    assert_eq!(sequences(&rig.runs(&hand)), [6]);
    assert_eq!(recalled(&mut rig, &hand), [], "what is left is no more urgent");
    assert_eq!(rig.state(3), TaskState::Ready);
}

#[test]
fn nothing_is_asked_back_for_a_higher_priority_that_cannot_be_had_there() {
    let mut rig = Rig::new();
    let (client, job) = rig.with_tasks(3);
    let hand = rig.worker("w", Capacity { memory: 100, ..capacity(1, 2) });
    assert_eq!(rig.runs(&hand).len(), 3);
    rig.submit(client, &[draft(job, 4).priority(9).memory(101)]);
    assert_eq!(recalled(&mut rig, &hand), []);
    rig.submit(client, &[draft(job, 5).priority(9), draft(job, 6)]);
    let cancel = ToQueue::Control { request: 1, verb: Verb::Cancel, selection: one(5) };
    rig.say(client, cancel);
    assert_eq!(recalled(&mut rig, &hand), [], "it was cancelled before anybody could have it");
}

#[test]
fn a_lease_that_was_asked_back_in_vain_is_asked_back_again_on_a_new_link() {
    let mut rig = Rig::new();
    rig.with_tasks(2);
    let mut hoarder = rig.worker("hoarder", capacity(1, 9));
    let runs = rig.runs(&hoarder);
    rig.worker("idle", capacity(1, 0));
    rig.turn();
    assert_eq!(rig.queue.stats().recalled, 1);
    rig.relink(&mut hoarder, "hoarder", capacity(1, 9), &runs);
    assert_eq!(recalled(&mut rig, &hoarder), [Run::new(2, 1)]);
}

#[test]
fn if_what_waits_longest_does_not_suit_an_idle_worker_others_are_asked() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    let drafts = |keys: std::ops::RangeInclusive<u128>, memory| {
        keys.map(|key| draft(job, key).memory(memory)).collect::<Vec<_>>()
    };
    rig.submit(client, &drafts(1..=3, 60));
    let small = rig.worker("small", Capacity { memory: 50, ..capacity(1, 9) });
    rig.submit(client, &drafts(4..=6, 10));
    assert_eq!(sequences(&rig.runs(&small)), [4, 5, 6]);
    // Of two that may take as long the latter is asked first.
    let large = rig.worker("large", capacity(1, 9));
    assert_eq!(sequences(&rig.runs(&large)), [1, 2, 3]);
    rig.worker("idle", Capacity { memory: 50, ..capacity(1, 0) });
    assert_eq!(recalled(&mut rig, &large), []);
    assert_eq!(recalled(&mut rig, &small), [Run::new(6, 1)]);
    assert_eq!(rig.queue.stats().recalled, 1);
}

#[test]
fn several_workers_are_asked_for_one_that_has_many_slots_free() {
    let mut rig = Rig::new();
    rig.with_tasks(10);
    let hoarders = [rig.worker("a", capacity(1, 9)), rig.worker("b", capacity(1, 9))];
    assert_eq!(rig.runs(&hoarders[0]).len(), 5);
    assert_eq!(rig.heard_runs(&hoarders[1]).len(), 5);
    rig.worker("idle", capacity(3, 0));
    // Each for no more than half of what it has.
    assert_eq!(recalled(&mut rig, &hoarders[1]).len(), 2);
    assert_eq!(recalled(&mut rig, &hoarders[0]).len(), 1);
    assert_eq!(rig.queue.stats().recalled, 3, "not more than there are slots");
}
