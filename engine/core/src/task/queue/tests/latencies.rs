//! How long tasks waited, and how long they were out.

use super::*;

/// What a client is told, as counts and sums in milliseconds: of waits, and of leases.
fn told(rig: &mut Rig, client: Party) -> [(u64, u128); 2] {
    rig.say(client, ToQueue::Latencies { request: 3 });
    rig.sync();
    match rig.hear(client).pop() {
        Some(Push::Latencies { wait, lease }) => {
            assert_eq!((&*wait, &*lease), (&rig.queue.latencies.wait, &rig.queue.latencies.lease));
            [wait, lease].map(|it| (it.count(), it.sum_ns() / u128::from(MS.unsigned_abs())))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn tasks_wait_until_they_are_given_out_and_are_out_until_they_are_reported() {
    let mut rig = Rig::new();
    let (client, _) = rig.with_tasks(2);
    assert_eq!(told(&mut rig, client), [(0, 0), (0, 0)]);
    rig.advance(7);
    let mut hand = rig.worker("w", capacity(1, 0));
    let runs = rig.runs(&hand);
    assert_eq!(told(&mut rig, client), [(1, 7), (0, 0)]);
    rig.advance(20);
    rig.report(&mut hand, runs[0], exited(0));
    // It is reported a second time, and that is not the end of a lease.
    rig.report(&mut hand, runs[0], exited(0));
    assert_eq!(rig.runs(&hand).len(), 1);
    assert_eq!(told(&mut rig, client), [(2, 7 + 27), (1, 20)]);
}

#[test]
fn a_task_that_comes_after_another_waits_from_when_it_could_be_had() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    rig.submit(client, &[draft(job, 1), draft(job, 2).after(&[1])]);
    rig.hear(client);
    let mut hand = rig.worker("w", capacity(1, 0));
    let runs = rig.runs(&hand);
    rig.advance(1_000);
    rig.report(&mut hand, runs[0], exited(0));
    rig.say(hand.party, ToQueue::Credit { capacity: capacity(0, 0) });
    rig.turn();
    rig.advance(3);
    rig.say(hand.party, ToQueue::Credit { capacity: capacity(1, 0) });
    assert_eq!(rig.runs(&hand).len(), 1);
    assert_eq!(told(&mut rig, client), [(2, 3), (1, 1_000)]);
}

#[test]
fn each_attempt_waits_and_is_out_anew_and_pauses_are_no_waits() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    rig.submit(client, &[draft(job, 1).attempts(2)]);
    rig.hear(client);
    let mut hand = rig.worker("w", capacity(1, 0));
    let runs = rig.runs(&hand);
    rig.advance(10);
    rig.report(&mut hand, runs[0], exited(1));
    rig.advance(500);
    let runs = rig.runs(&hand);
    assert_eq!(runs, [Run::new(1, 2)]);
    assert_eq!(told(&mut rig, client), [(2, 0), (1, 10)]);
    rig.advance(30);
    rig.report(&mut hand, runs[0], exited(1));
    assert_eq!(told(&mut rig, client), [(2, 0), (2, 40)]);
}

#[test]
fn a_lease_that_comes_back_without_an_end_is_not_counted_and_its_task_waits_again() {
    let mut rig = Rig::new();
    let (client, _) = rig.with_tasks(1);
    let mut hand = rig.worker("first", capacity(1, 0));
    let run = rig.runs(&hand)[0];
    rig.advance(60);
    rig.give_back(&mut hand, run, ReturnReason::LowMemory);
    rig.say(hand.party, ToQueue::Credit { capacity: capacity(0, 0) });
    rig.turn();
    rig.advance(4);
    let second = rig.worker("second", capacity(1, 0));
    assert_eq!(rig.runs(&second).len(), 1);
    assert_eq!(told(&mut rig, client), [(2, 4), (0, 0)]);
    // Nor is one that is lost with its worker.
    rig.close(second.party);
    rig.advance(5_000);
    rig.turn();
    assert_eq!(rig.state(1), TaskState::Ready);
    assert_eq!(told(&mut rig, client), [(2, 4), (0, 0)]);
}
