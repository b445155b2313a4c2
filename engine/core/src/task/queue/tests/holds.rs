//! Tasks that need much of a worker, and workers that are held for them.

use super::*;
use crate::task::OVERTAKEN_MAX;
use proptest::prelude::*;
use std::ops::RangeInclusive;

const NOTHING: [u64; 0] = [];
/// In `Overtaken`, the first of those that ask for nothing, and the first that has to wait.
const FIRST: u64 = 3;
const WAITING: u64 = FIRST + OVERTAKEN_MAX as u64;

/// A worker with more slots than any test has tasks.
fn with(memory: u64) -> Capacity {
    Capacity { memory, ..capacity(1_000, 0) }
}

/// Tasks that ask for nothing.
fn small(job: JobId, keys: RangeInclusive<u64>) -> Vec<Draft> {
    keys.map(|key| draft(job, key.into())).collect()
}

fn holders(rig: &Rig) -> Vec<SessionId> {
    rig.queue.holds.iter().map(|hold| hold.session).collect()
}

/// Task 1 runs and leaves no room for task 2, which needs all of the worker. Of those that ask for
/// nothing as many have started as may.
struct Overtaken {
    rig: Rig,
    client: Party,
    job: JobId,
    hand: Hand,
    first: Run,
}

impl Overtaken {
    fn new() -> Self {
        let mut rig = Rig::new();
        let client = rig.client();
        let job = rig.job(client, "job");
        rig.submit(client, &[draft(job, 1).memory(1), draft(job, 2).memory(10)]);
        let hand = rig.worker("held", with(10));
        let first = rig.runs(&hand)[0];
        rig.submit(client, &small(job, FIRST..=WAITING));
        let started = rig.runs(&hand);
        assert_eq!(sequences(&started), (FIRST..WAITING).collect::<Vec<_>>());
        Self { rig, client, job, hand, first }
    }

    fn submit(&mut self, draft: Draft) {
        self.rig.submit(self.client, &[draft]);
    }

    fn runs(&mut self) -> Vec<u64> {
        sequences(&self.rig.runs(&self.hand))
    }

    fn end_first(&mut self) {
        self.rig.report(&mut self.hand, self.first, exited(0));
    }
}

#[test]
fn a_task_that_was_overtaken_64_times_is_the_next_to_start() {
    let mut it = Overtaken::new();
    assert_eq!(holders(&it.rig), [it.hand.session]);
    assert_eq!(it.runs(), NOTHING);
    it.end_first();
    // What fits beside it is not kept waiting any longer.
    assert_eq!(it.runs(), [2, WAITING]);
    assert_eq!(holders(&it.rig), []);
}

#[test]
fn a_large_task_starts_although_there_are_always_small_ones() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    rig.submit(client, &[draft(job, 1).memory(5), draft(job, 2).memory(5)]);
    let mut hand = rig.worker("w", with(10));
    let mut running = rig.runs(&hand);
    rig.submit(client, &[draft(job, 3).memory(10)]);
    let (mut key, mut overtook) = (3, 0);
    let large = loop {
        key += 1;
        rig.submit(client, &[draft(job, key).memory(5)]);
        assert!(!running.is_empty(), "nothing runs, and it has not started");
        let ended = running.remove(0);
        rig.report(&mut hand, ended, exited(0));
        let started = rig.runs(&hand);
        if let Some(large) = started.iter().find(|run| run.task.sequence() == 3) {
            break *large;
        }
        overtook += started.len();
        assert!(overtook <= OVERTAKEN_MAX as usize, "it is overtaken for ever");
        running.extend(started);
    };
    assert_eq!(overtook, OVERTAKEN_MAX as usize);
    assert_eq!(running, []);
    rig.report(&mut hand, large, exited(0));
    assert_eq!(rig.runs(&hand).len(), 2);
}

#[test]
fn what_is_more_urgent_may_start_where_a_worker_is_held() {
    let mut it = Overtaken::new();
    let drafts = [draft(it.job, 100).priority(1), draft(it.job, 101).priority(-1)];
    it.rig.submit(it.client, &drafts);
    assert_eq!(it.runs(), [WAITING + 1]);
    assert_eq!(holders(&it.rig), [it.hand.session]);
    // It does not count either, however much there is of it.
    it.rig.submit(it.client, &[draft(it.job, 102).memory(10).priority(1)]);
    let urgent = (200..300).map(|key| draft(it.job, key).priority(2));
    it.rig.submit(it.client, &urgent.collect::<Vec<_>>());
    assert_eq!(it.runs().len(), 100);
    it.end_first();
    assert_eq!(it.runs(), [WAITING + 3], "of two large ones the more urgent one");
}

#[test]
fn a_worker_is_not_held_for_what_was_cancelled() {
    let mut it = Overtaken::new();
    assert_eq!(it.rig.control(it.client, Verb::Cancel, one(2)), 1);
    assert_eq!(it.runs(), [WAITING]);
    // It begins again, at the end.
    assert_eq!(it.rig.control(it.client, Verb::Retry, one(2)), 1);
    it.submit(draft(it.job, 100));
    assert_eq!(it.runs(), [WAITING + 1]);
    assert_eq!(holders(&it.rig), []);
}

#[test]
fn a_worker_is_not_held_for_what_another_one_has() {
    let mut it = Overtaken::new();
    let other = it.rig.worker("other", Capacity { slots: 1, ..with(10) });
    assert_eq!(sequences(&it.rig.runs(&other)), [2]);
    assert_eq!(sequences(&it.rig.heard_runs(&it.hand)), [WAITING]);
    assert_eq!(holders(&it.rig), []);
}

#[test]
fn a_worker_that_offers_too_little_by_now_is_not_held() {
    let mut it = Overtaken::new();
    it.rig.say(it.hand.party, ToQueue::Credit { capacity: with(9) });
    assert_eq!(it.runs(), [WAITING]);
    it.rig.say(it.hand.party, ToQueue::Credit { capacity: with(10) });
    it.rig.submit(it.client, &small(it.job, 100..=101));
    assert_eq!(it.runs(), [WAITING + 1], "it was overtaken often enough before");
    assert_eq!(holders(&it.rig), [it.hand.session]);
}

#[test]
fn one_worker_is_held_for_tasks_of_a_kind_and_when_it_is_gone_another_one() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    let a = rig.worker("a", with(10));
    rig.submit(client, &[draft(job, 1).memory(6)]);
    assert_eq!(sequences(&rig.runs(&a)), [1]);
    let b = rig.worker("b", with(10));
    let large = [draft(job, 2).memory(5), draft(job, 3).memory(10), draft(job, 4).memory(10)];
    rig.submit(client, &large);
    assert_eq!(sequences(&rig.runs(&b)), [2]);
    assert_eq!(rig.heard_runs(&a), []);
    rig.submit(client, &small(job, 5..=204));
    let here = rig.runs(&b).len();
    assert_eq!(holders(&rig), [b.session], "there is more room");
    assert!((1..OVERTAKEN_MAX as usize).contains(&here), "{here} started there");
    assert_eq!(rig.heard_runs(&a).len(), 200 - here);
    rig.close(b.party);
    rig.submit(client, &small(job, 205..=206));
    assert_eq!(sequences(&rig.runs(&a)), [205]);
    assert_eq!(holders(&rig), [a.session]);
}

#[test]
fn a_worker_that_is_held_in_vain_is_let_go_and_another_one_is_held() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    rig.submit(client, &[draft(job, 1).memory(1)]);
    let a = rig.worker("a", with(10));
    assert_eq!(sequences(&rig.runs(&a)), [1]);
    let mut b = rig.worker("b", with(10));
    rig.submit(client, &[draft(job, 2).memory(10)]);
    let second = rig.runs(&b)[0];
    rig.submit(client, &[draft(job, 3).memory(10)]);
    rig.submit(client, &small(job, 4..=103));
    let started = rig.runs(&a).len() + rig.heard_runs(&b).len();
    assert_eq!((started, holders(&rig)), (100, vec![a.session]), "most of it is free");
    // What runs there does not end, and at the other worker eight times 64 have overtaken it.
    rig.submit(client, &small(job, 104..=603));
    let (here, there) = (rig.runs(&a).len(), rig.heard_runs(&b).len());
    assert_eq!((here + there, holders(&rig)), (500, vec![b.session]));
    assert!(here > 0, "it was let go at once");
    rig.report(&mut b, second, exited(0));
    assert_eq!(sequences(&rig.runs(&b)), [3]);
    assert_eq!(holders(&rig), []);
}

#[test]
fn two_kinds_of_tasks_that_need_much_get_a_worker_each() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    rig.submit(client, &[draft(job, 1).memory(6), draft(job, 2).memory(6)]);
    let mut a = rig.worker("a", with(10));
    let first = rig.runs(&a)[0];
    let mut b = rig.worker("b", with(10));
    let second = rig.runs(&b)[0];
    rig.submit(client, &[draft(job, 3).memory(10), draft(job, 4).memory(9)]);
    rig.submit(client, &small(job, 5..=104));
    let started = rig.runs(&a).len() + rig.heard_runs(&b).len();
    assert_eq!(started, OVERTAKEN_MAX as usize, "of each as many as may");
    assert_eq!(holders(&rig), [a.session, b.session]);
    rig.report(&mut a, first, exited(0));
    let runs = sequences(&rig.runs(&a));
    assert_eq!((runs[0], runs.len()), (3, 1 + 100 - started));
    assert_eq!(holders(&rig), [b.session]);
    rig.report(&mut b, second, exited(0));
    assert_eq!(sequences(&rig.runs(&b)), [4]);
}

#[test]
fn a_worker_that_failed_a_task_is_not_held_for_it_while_another_one_could_run_it() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    rig.submit(client, &[draft(job, 1).memory(10).attempts(9)]);
    let mut a = rig.worker("a", with(10));
    let run = rig.runs(&a)[0];
    rig.report(&mut a, run, exited(1));
    rig.submit(client, &[draft(job, 2).memory(1), draft(job, 3).memory(10)]);
    assert_eq!(sequences(&rig.runs(&a)), [2]);
    let mut b = rig.worker("b", with(10));
    let third = rig.runs(&b)[0];
    rig.advance(500);
    rig.submit(client, &small(job, 4..=203));
    let at_a = rig.runs(&a).len();
    let at_b = rig.heard_runs(&b).len();
    // It is no overtaking where it may not go.
    assert_eq!((at_a, at_b), (200 - OVERTAKEN_MAX as usize, OVERTAKEN_MAX as usize));
    assert_eq!(holders(&rig), [b.session]);
    rig.report(&mut b, third, exited(0));
    assert_eq!(rig.runs(&b), [Run::new(1, 2)]);
}

#[test]
fn what_tasks_of_other_queues_have_is_waited_for() {
    let mut it = Overtaken::new();
    it.rig.occupy(&it.hand, Occupancy { memory: 5, ..taken(1) });
    it.end_first();
    assert_eq!(it.runs(), NOTHING);
    it.rig.occupy(&it.hand, Occupancy::default());
    assert_eq!(it.runs(), [2, WAITING]);
}

/// Task 68 goes before task 2 when it comes back, although it was submitted after task 67, which
/// is to wait for task 2.
#[test]
fn one_of_the_same_kind_that_came_back_may_start_where_a_worker_is_held() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    let narrow = |draft: Draft| Draft { cores_milli: 1, ..draft };
    let mut drafts = vec![narrow(draft(job, 1).memory(1).priority(1)), draft(job, 2).memory(10)];
    drafts.extend(small(job, FIRST..=WAITING).into_iter().map(narrow));
    drafts.push(draft(job, 68).memory(10));
    rig.submit(client, &drafts);
    assert_eq!(rig.control(client, Verb::Cancel, one(2)), 1);
    assert_eq!(rig.control(client, Verb::Retry, one(2)), 1);
    let other = rig.worker("other", Capacity { slots: 1, cores_milli: 0, ..with(10) });
    assert_eq!(sequences(&rig.runs(&other)), [68]);
    let mut hand = rig.worker("held", with(10));
    let runs = rig.runs(&hand);
    let expected: Vec<u64> = [1].into_iter().chain(FIRST..WAITING).collect();
    assert_eq!(sequences(&runs), expected);
    rig.close(other.party);
    rig.advance(5_000);
    assert_eq!(rig.runs(&hand), []);
    assert_eq!(rig.state(68), TaskState::Ready);
    assert_eq!(holders(&rig), [hand.session]);
    rig.report(&mut hand, runs[0], exited(0));
    assert_eq!(rig.runs(&hand), [Run::new(68, 2)]);
    rig.report(&mut hand, Run::new(68, 2), exited(0));
    assert_eq!(sequences(&rig.runs(&hand)), [2, WAITING]);
}

#[test]
fn what_waits_elsewhere_is_not_asked_back_for_a_worker_that_is_held() {
    let mut it = Overtaken::new();
    let other = it.rig.worker("other", Capacity { memory: 5, ..capacity(1, 9) });
    it.rig.submit(it.client, &small(it.job, 100..=119));
    assert_eq!(it.rig.runs(&other).len(), 10);
    it.rig.turn();
    assert_eq!(it.rig.queue.stats().recalled, 0);
    // Afterwards it gets what is left, and half of what waits there.
    it.end_first();
    assert_eq!(it.runs().len(), 1 + 21 - 10);
    assert_eq!(it.rig.queue.stats().recalled, 5);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    // Whether a worker is kept from what it could start without need is looked at in each turn.
    #[test]
    fn whatever_tasks_need_and_workers_offer_all_are_done_in_the_end(
        tasks in prop::collection::vec(
            (prop::sample::select(vec![0_u64, 0, 0, 1, 2, 9, 10]), -1..2_i32),
            100..300,
        ),
        offers in prop::collection::vec(4..=10_u64, 0..3),
        ends in prop::collection::vec(any::<prop::sample::Index>(), 1..50),
    ) {
        let mut rig = Rig::new();
        let client = rig.client();
        let job = rig.job(client, "job");
        let offers = offers.into_iter().chain([10]);
        let mut hands: Vec<Hand> = offers.map(|memory| rig.worker("w", with(memory))).collect();
        let to_draft = |(key, &(memory, priority)): (u128, &(u64, i32))| {
            draft(job, key).memory(memory).priority(priority)
        };
        let all: Vec<Draft> = (1..).zip(&tasks).map(to_draft).collect();
        let mut drafts = all.chunks(3);
        let (mut runs, mut ends) = (Vec::new(), ends.iter().cycle());
        loop {
            // More than end, so that there is always something that overtakes.
            if let Some(more) = drafts.next() {
                rig.submit(client, more);
            }
            rig.turn_and_sync();
            for (at, hand) in hands.iter().enumerate() {
                runs.extend(rig.heard_runs(hand).into_iter().map(|run| (at, run)));
            }
            if runs.is_empty() {
                break;
            }
            let nth = ends.next().expect("there is one at least").index(runs.len());
            let (at, run) = runs.swap_remove(nth);
            rig.report(&mut hands[at], run, exited(0));
        }
        prop_assert_eq!(rig.queue.counts()[TaskState::Done], tasks.len() as u64);
        prop_assert!(rig.queue.holds.is_empty());
    }
}
