//! How much a worker is given, and who is served.

use super::*;

#[test]
fn no_more_tasks_run_than_there_are_slots() {
    let mut rig = Rig::new();
    rig.with_tasks(5);
    let mut hand = rig.worker("w", capacity(2, 0));
    let runs = rig.runs(&hand);
    assert_eq!(sequences(&runs), [1, 2]);
    assert_eq!(rig.runs(&hand), []);
    rig.report(&mut hand, runs[0], exited(0));
    assert_eq!(sequences(&rig.runs(&hand)), [3]);
}

#[test]
fn memory_and_cores_bound_what_runs_at_once() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    let memory: Vec<Draft> = (1..=4).map(|key| draft(job, key).memory(30)).collect();
    let cores = (5..=8).map(|key| Draft { cores_milli: 600, ..draft(job, key) });
    let drafts: Vec<Draft> = memory.into_iter().chain(cores).collect();
    rig.submit(client, &drafts);
    let with = Capacity { memory: 100, cores_milli: 1_500, ..capacity(20, 0) };
    let hand = rig.worker("w", with);
    assert_eq!(sequences(&rig.runs(&hand)), [1, 2, 3, 5, 6]);
}

#[test]
fn as_many_more_wait_there_as_the_worker_wants() {
    let mut rig = Rig::new();
    rig.with_tasks(9);
    let mut hand = rig.worker("w", capacity(2, 3));
    let runs = rig.runs(&hand);
    assert_eq!(sequences(&runs), [1, 2, 3, 4, 5]);
    let ahead = |rig: &Rig| (1..=9).filter(|at| rig.task(*at).is_ahead).collect::<Vec<_>>();
    assert_eq!(ahead(&rig), [3, 4, 5]);
    assert_eq!(rig.queue.ahead(), 3);
    // One that ends makes room for the first that waits, and for another one to wait.
    rig.report(&mut hand, runs[1], exited(0));
    assert_eq!(ahead(&rig), [4, 5]);
    assert_eq!(sequences(&rig.runs(&hand)), [6]);
    assert_eq!(ahead(&rig), [4, 5, 6]);
}

#[test]
fn what_could_never_run_at_a_worker_does_not_even_wait_there() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    let large = Draft { cores_milli: 2_000, ..draft(job, 2) };
    rig.submit(client, &[draft(job, 1).memory(101), large, draft(job, 3).memory(100)]);
    let with = Capacity { memory: 100, cores_milli: 1_999, ..capacity(1, 9) };
    let hand = rig.worker("w", with);
    assert_eq!(sequences(&rig.runs(&hand)), [3]);
    let larger = Capacity { memory: 101, ..with };
    rig.say(hand.party, ToQueue::Credit { capacity: larger });
    assert_eq!(sequences(&rig.runs(&hand)), [1]);
}

#[test]
fn all_who_can_start_a_task_are_served_before_anybody_lets_one_wait() {
    let mut rig = Rig::new();
    let hands: Vec<Hand> =
        ["a", "b", "c"].iter().map(|name| rig.worker(name, capacity(2, 100))).collect();
    rig.with_tasks(6);
    rig.turn();
    for hand in &hands {
        assert_eq!(rig.heard_runs(hand).len(), 2);
    }
    assert_eq!(rig.queue.ahead(), 0);
}

#[test]
fn what_is_left_is_shared_by_those_who_let_tasks_wait() {
    let mut rig = Rig::new();
    let hands: Vec<Hand> =
        ["a", "b"].iter().map(|name| rig.worker(name, capacity(1, 99))).collect();
    rig.with_tasks(40);
    rig.turn();
    for hand in &hands {
        assert_eq!(rig.heard_runs(hand).len(), 20);
    }
}

/// How many tasks each of many workers gets if they come one by one.
fn dealt_one_by_one(rig: &mut Rig, hands: &mut [Hand], tasks: u128, is_finished: bool) -> Vec<u32> {
    let client = rig.client();
    let job = rig.job(client, "trickle");
    let mut dealt = vec![0; hands.len()];
    for key in 1..=tasks {
        rig.submit(client, &[draft(job, key)]);
        rig.turn();
        for (hand, dealt) in hands.iter_mut().zip(&mut dealt) {
            for run in rig.heard_runs(hand) {
                *dealt += 1;
                if is_finished {
                    rig.report(hand, run, exited(0));
                }
            }
        }
    }
    dealt
}

#[test]
fn tasks_that_come_one_by_one_go_round_among_idle_workers() {
    let mut rig = Rig::new();
    let mut hands: Vec<Hand> =
        (0..32).map(|at| rig.worker(&format!("w{at}"), capacity(1, 2))).collect();
    assert_eq!(dealt_one_by_one(&mut rig, &mut hands, 96, true), [3; 32]);
}

#[test]
fn tasks_that_come_one_by_one_go_round_among_busy_workers_too() {
    let mut rig = Rig::new();
    let mut hands: Vec<Hand> =
        (0..16).map(|at| rig.worker(&format!("w{at}"), capacity(1, 4))).collect();
    rig.with_tasks(16);
    rig.turn();
    for hand in &hands {
        assert_eq!(rig.heard_runs(hand).len(), 1);
    }
    assert_eq!(dealt_one_by_one(&mut rig, &mut hands, 48, false), [3; 16]);
}

#[test]
fn a_worker_that_offers_less_keeps_what_it_has_and_gets_no_more() {
    let mut rig = Rig::new();
    rig.with_tasks(9);
    let mut hand = rig.worker("w", capacity(4, 2));
    let runs = rig.runs(&hand);
    assert_eq!(runs.len(), 6);
    rig.say(hand.party, ToQueue::Credit { capacity: capacity(2, 0) });
    for run in &runs[..4] {
        assert_eq!(rig.runs(&hand), []);
        rig.report(&mut hand, *run, exited(0));
    }
    assert_eq!(rig.queue.ahead(), 0);
    rig.report(&mut hand, runs[4], exited(0));
    assert_eq!(sequences(&rig.runs(&hand)), [7]);
    rig.say(hand.party, ToQueue::Credit { capacity: Capacity::default() });
    assert_eq!(rig.queue.ahead(), 2, "nothing fits into nothing");
}

#[test]
fn sums_of_what_tasks_ask_for_do_not_run_over() {
    let mut rig = Rig::new();
    rig.is_audited = false;
    let client = rig.client();
    let job = rig.job(client, "job");
    let drafts: Vec<Draft> =
        (0..(1 << 14) + 5).map(|key| draft(job, key).memory(1 << 50)).collect();
    rig.submit(client, &drafts);
    let with = Capacity { memory: u64::MAX, ..capacity(u32::MAX, 0) };
    let hand = rig.worker("w", with);
    assert_eq!(rig.runs(&hand).len(), (1 << 14) - 1, "one more would be 16 EiB");
    audit(&rig.queue);
}
