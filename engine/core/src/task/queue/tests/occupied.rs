//! Workers that run tasks of other queues too.

use super::*;
use proptest::prelude::*;

const NOTHING: [u64; 0] = [];

/// Those that wait at a worker.
fn ahead(rig: &Rig) -> Vec<u64> {
    let tasks = rig.queue.book.table.iter();
    tasks.filter(|(_, task)| task.is_ahead).map(|(sequence, _)| sequence).collect()
}

/// Sequences of what the worker was asked to give back.
fn recalled(rig: &mut Rig, hand: &Hand) -> Vec<u64> {
    rig.turn_and_sync();
    let heard = rig.hear(hand.party).into_iter();
    let recall = |push: Push| if let Push::Recall(run) = push { Some(run) } else { None };
    sequences(&heard.filter_map(recall).collect::<Vec<_>>())
}

#[test]
fn a_worker_that_is_busy_elsewhere_gets_nothing_to_run_but_something_to_wait() {
    let mut rig = Rig::new();
    rig.with_tasks(4);
    let hand = rig.worker("w", capacity(2, 1));
    rig.occupy(&hand, taken(2));
    assert_eq!(sequences(&rig.runs(&hand)), [1]);
    assert_eq!(ahead(&rig), [1]);
    // A slot gets free there: it is for what waits, and another one waits instead.
    rig.occupy(&hand, taken(1));
    assert_eq!(ahead(&rig), NOTHING);
    assert_eq!(sequences(&rig.runs(&hand)), [2]);
    assert_eq!(ahead(&rig), [2]);
    rig.occupy(&hand, taken(0));
    assert_eq!(sequences(&rig.runs(&hand)), [3]);
    assert_eq!(ahead(&rig), [3]);
}

#[test]
fn one_that_lets_nothing_wait_gets_nothing_while_it_is_busy_elsewhere() {
    let mut rig = Rig::new();
    rig.with_tasks(2);
    let hand = rig.worker("w", capacity(1, 0));
    rig.occupy(&hand, taken(1));
    assert_eq!(rig.runs(&hand), []);
    // More than it has is all of it.
    rig.occupy(&hand, taken(u32::MAX));
    assert_eq!(rig.runs(&hand), []);
    rig.occupy(&hand, taken(0));
    assert_eq!(sequences(&rig.runs(&hand)), [1]);
}

#[test]
fn memory_and_cores_that_others_have_are_not_free() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    let cores = |key, cores_milli| Draft { cores_milli, ..draft(job, key) };
    let drafts = [draft(job, 1).memory(60), draft(job, 2).memory(30), cores(3, 600), cores(4, 400)];
    rig.submit(client, &drafts);
    let hand = rig.worker("w", Capacity { memory: 100, cores_milli: 1_000, ..capacity(9, 0) });
    rig.occupy(&hand, Occupancy { slots: 1, memory: 50, cores_milli: 500 });
    assert_eq!(sequences(&rig.runs(&hand)), [2, 4]);
    rig.occupy(&hand, Occupancy::default());
    assert_eq!(sequences(&rig.runs(&hand)), [1, 3]);
}

#[test]
fn of_two_leases_for_one_slot_the_second_waits_and_goes_to_a_worker_that_is_idle() {
    let mut rig = Rig::new();
    rig.with_tasks(1);
    let mut hand = rig.worker("w", capacity(1, 1));
    let run = rig.runs(&hand)[0];
    assert_eq!(ahead(&rig), NOTHING);
    // Another queue was quicker.
    rig.occupy(&hand, taken(1));
    assert_eq!(ahead(&rig), [1]);
    let idle = rig.worker("idle", capacity(1, 1));
    assert_eq!(recalled(&mut rig, &hand), [1]);
    rig.give_back(&mut hand, run, ReturnReason::Recalled);
    assert_eq!(rig.runs(&idle), [Run::new(1, 2)]);
    assert_eq!(ahead(&rig), NOTHING);
}

#[test]
fn nothing_is_asked_back_for_a_worker_whose_slots_others_have() {
    let mut rig = Rig::new();
    rig.with_tasks(5);
    let hoarder = rig.worker("hoarder", capacity(1, 9));
    assert_eq!(rig.runs(&hoarder).len(), 5);
    let other = rig.worker("other", capacity(2, 0));
    rig.occupy(&other, taken(2));
    assert_eq!(recalled(&mut rig, &hoarder), NOTHING);
    // As many as it has slots, not as many as it offers.
    rig.occupy(&other, taken(1));
    assert_eq!(recalled(&mut rig, &hoarder), [5]);
}

#[test]
fn the_latest_wait_first_and_run_again_in_the_order_in_which_they_came() {
    let mut rig = Rig::new();
    let (client, _) = rig.with_tasks(5);
    let mut hand = rig.worker("w", capacity(3, 2));
    let runs = rig.runs(&hand);
    assert_eq!(ahead(&rig), [4, 5]);
    rig.occupy(&hand, taken(2));
    assert_eq!(ahead(&rig), [2, 3, 4, 5]);
    rig.say(client, ToQueue::Workers { request: 1 });
    let heard = rig.hear(client);
    assert!(matches!(heard[0], Push::WorkerRow { running: 1, ahead: 4, .. }), "{heard:?}");
    rig.occupy(&hand, taken(1));
    assert_eq!(ahead(&rig), [3, 4, 5]);
    rig.report(&mut hand, runs[0], exited(0));
    assert_eq!(ahead(&rig), [4, 5]);
    rig.occupy(&hand, taken(0));
    assert_eq!(ahead(&rig), [5]);
}

#[test]
fn what_waits_because_of_others_is_asked_back_for_something_of_higher_priority() {
    let mut rig = Rig::new();
    let (client, job) = rig.with_tasks(1);
    let mut hand = rig.worker("w", capacity(1, 1));
    let run = rig.runs(&hand)[0];
    rig.occupy(&hand, taken(1));
    rig.submit(client, &[draft(job, 2), draft(job, 3).priority(1)]);
    assert_eq!(recalled(&mut rig, &hand), [1]);
    rig.give_back(&mut hand, run, ReturnReason::Recalled);
    assert_eq!(sequences(&rig.runs(&hand)), [3]);
    assert_eq!(ahead(&rig), [3]);
    assert_eq!(recalled(&mut rig, &hand), NOTHING, "what is left is no more urgent");
}

#[test]
fn a_task_waits_at_a_worker_that_is_busy_elsewhere_only_if_it_could_run_there() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    rig.submit(client, &[draft(job, 1).memory(101), draft(job, 2).memory(100)]);
    let hand = rig.worker("w", Capacity { memory: 100, ..capacity(1, 2) });
    rig.occupy(&hand, Occupancy { memory: 90, ..taken(1) });
    assert_eq!(sequences(&rig.runs(&hand)), [2]);
}

#[test]
fn other_capacity_does_not_change_what_others_have_and_a_new_link_forgets_it() {
    let mut rig = Rig::new();
    rig.with_tasks(9);
    let mut hand = rig.worker("w", capacity(1, 0));
    rig.occupy(&hand, taken(1));
    rig.say(hand.party, ToQueue::Credit { capacity: capacity(2, 0) });
    let mut runs = rig.runs(&hand);
    assert_eq!(sequences(&runs), [1]);
    rig.say(hand.party, ToQueue::Credit { capacity: capacity(1, 0) });
    assert_eq!(ahead(&rig), [1]);
    rig.relink(&mut hand, "w", capacity(2, 0), &runs);
    assert_eq!(ahead(&rig), NOTHING);
    runs.extend(rig.runs(&hand));
    assert_eq!(sequences(&runs), [1, 2]);
}

/// What a worker says, or a turn of the queue.
#[derive(Debug, Clone)]
enum Step {
    Offer(Capacity),
    Occupied(Occupancy),
    Report(prop::sample::Index),
    Turn,
}

fn step() -> impl Strategy<Value = Step> {
    let offer =
        (0..9_u32, 0..90_u64, 0..9_u32, 0..9_u32).prop_map(|(slots, memory, cores, most)| {
            let cores_milli = cores * 1_000;
            Step::Offer(Capacity { memory, cores_milli, ..capacity(slots, most) })
        });
    let occupied = (0..9_u32, 0..90_u64, 0..9_u32).prop_map(|(slots, memory, cores)| {
        Step::Occupied(Occupancy { slots, memory, cores_milli: cores * 1_000 })
    });
    prop_oneof![
        1 => offer,
        4 => occupied,
        2 => any::<prop::sample::Index>().prop_map(Step::Report),
        2 => Just(Step::Turn),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    // Whether as many run as fit is counted anew after each step.
    #[test]
    fn whatever_a_worker_offers_and_others_have_of_it_as_many_run_as_fit(
        tasks in prop::collection::vec((0..30_u64, 0..3_u32, -1..2_i32), 1..40),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut rig = Rig::new();
        let client = rig.client();
        let job = rig.job(client, "job");
        let to_draft = |(key, &(memory, cores, priority)): (u128, &(u64, u32, i32))| {
            let cores_milli = cores * 1_000;
            Draft { cores_milli, ..draft(job, key).memory(memory).priority(priority) }
        };
        let drafts: Vec<Draft> = (1..).zip(&tasks).map(to_draft).collect();
        rig.submit(client, &drafts);
        let mut hand = rig.worker("w", capacity(4, 4));
        let mut runs = rig.runs(&hand);
        for step in steps {
            match step {
                Step::Offer(capacity) => rig.say(hand.party, ToQueue::Credit { capacity }),
                Step::Occupied(by_others) => rig.occupy(&hand, by_others),
                Step::Report(nth) if !runs.is_empty() => {
                    let run = runs.swap_remove(nth.index(runs.len()));
                    rig.report(&mut hand, run, exited(0));
                }
                Step::Report(_) | Step::Turn => runs.extend(rig.runs(&hand)),
            }
        }
        rig.say(hand.party, ToQueue::Credit { capacity: capacity(99, 0) });
        rig.occupy(&hand, Occupancy::default());
        prop_assert_eq!(ahead(&rig), NOTHING);
        runs.extend(rig.runs(&hand));
        for run in runs {
            rig.report(&mut hand, run, exited(0));
        }
        prop_assert_eq!(rig.queue.counts()[TaskState::Done], tasks.len() as u64);
        let (_, worker) = rig.queue.book.crew.iter().next().expect("it is there");
        prop_assert_eq!((worker.used(), worker.leases), ((0, 0), 0));
    }
}
