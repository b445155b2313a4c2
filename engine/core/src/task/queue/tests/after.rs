//! Tasks that come after others.

use super::*;
use TaskState::{Blocked, Cancelled, Done, Failed, Leased, Ready};

/// A worker that has all tasks that can be had.
struct Farm {
    rig: Rig,
    client: Party,
    job: JobId,
    hand: Hand,
}

impl Farm {
    fn new() -> Self {
        let mut rig = Rig::new();
        let client = rig.client();
        let job = rig.job(client, "job");
        let hand = rig.worker("w", capacity(1_000, 0));
        Self { rig, client, job, hand }
    }

    /// Submits tasks with keys from 1 on, each after those of its list, and gives out what it can.
    fn submit(&mut self, lists: &[&[u128]]) {
        let first = self.rig.queue.book.table.last();
        let keys = (u128::from(first) + 1)..;
        let drafts = keys.zip(lists).map(|(key, after)| draft(self.job, key).after(after));
        let drafts: Vec<Draft> = drafts.collect();
        self.rig.submit(self.client, &drafts);
        self.turn();
    }

    fn turn(&mut self) {
        self.rig.runs(&self.hand);
    }

    fn end(&mut self, sequence: u64, code: i32) {
        let attempt = self.rig.task(sequence).attempt;
        let run = Run { attempt, ..Run::new(sequence, 0) };
        self.rig.report(&mut self.hand, run, exited(code));
        self.turn();
    }

    fn order(&mut self, verb: Verb, sequence: u64) -> u64 {
        let changed = self.rig.control(self.client, verb, one(sequence));
        self.turn();
        changed
    }
}

#[test]
fn a_task_waits_until_all_that_it_comes_after_have_succeeded() {
    let mut farm = Farm::new();
    farm.submit(&[&[], &[], &[], &[1, 3, 2, 1]]);
    assert_eq!(farm.rig.states(), [Leased, Leased, Leased, Blocked]);
    for sequence in [3, 1] {
        farm.end(sequence, 0);
        assert_eq!(farm.rig.state(4), Blocked);
    }
    farm.end(2, 0);
    assert_eq!(farm.rig.state(4), Leased);
}

#[test]
fn what_comes_after_tasks_that_have_ended_goes_on_or_ends_at_once() {
    let mut farm = Farm::new();
    farm.submit(&[&[], &[]]);
    farm.end(1, 0);
    farm.end(2, 1);
    farm.submit(&[&[1], &[1, 2], &[4]]);
    assert_eq!(farm.rig.states(), [Done, Failed, Leased, Cancelled, Cancelled]);
}

#[test]
fn what_comes_after_a_failed_task_is_cancelled_and_comes_back_with_it() {
    let mut farm = Farm::new();
    farm.submit(&[&[], &[], &[1, 2], &[3], &[2]]);
    farm.end(1, 1);
    assert_eq!(farm.rig.states(), [Failed, Leased, Cancelled, Cancelled, Blocked]);
    farm.end(2, 0);
    assert_eq!(farm.order(Verb::Retry, 1), 1);
    assert_eq!(farm.rig.states(), [Leased, Done, Blocked, Blocked, Leased]);
    farm.end(1, 0);
    farm.end(3, 0);
    assert_eq!(farm.rig.states(), [Done, Done, Done, Leased, Leased]);
}

#[test]
fn what_comes_after_a_cancelled_task_is_cancelled_and_comes_back_with_it() {
    let mut farm = Farm::new();
    farm.submit(&[&[], &[1], &[2]]);
    assert_eq!(farm.order(Verb::Cancel, 1), 1);
    assert_eq!(farm.rig.states(), [Cancelled; 3]);
    assert_eq!(farm.order(Verb::Requeue, 1), 1);
    assert_eq!(farm.rig.states(), [Leased, Blocked, Blocked]);
}

#[test]
fn what_somebody_cancelled_does_not_come_back_with_what_it_comes_after() {
    let mut farm = Farm::new();
    farm.submit(&[&[], &[1], &[2]]);
    assert_eq!(farm.order(Verb::Cancel, 2), 1);
    assert_eq!(farm.rig.states(), [Leased, Cancelled, Cancelled]);
    farm.end(1, 1);
    farm.order(Verb::Retry, 1);
    assert_eq!(farm.rig.states(), [Leased, Cancelled, Cancelled]);
    farm.order(Verb::Retry, 2);
    assert_eq!(farm.rig.states(), [Leased, Blocked, Blocked]);
}

#[test]
fn a_task_after_two_that_failed_needs_both_of_them_whichever_comes_back_first() {
    for order in [[1, 2], [2, 1]] {
        let mut farm = Farm::new();
        farm.submit(&[&[], &[], &[1, 2], &[3]]);
        farm.end(1, 1);
        farm.end(2, 1);
        farm.order(Verb::Retry, order[0]);
        assert_eq!(farm.rig.states()[2..], [Cancelled, Cancelled]);
        farm.order(Verb::Retry, order[1]);
        assert_eq!(farm.rig.states(), [Leased, Leased, Blocked, Blocked]);
        farm.end(order[1], 0);
        farm.end(order[0], 0);
        assert_eq!(farm.rig.state(3), Leased);
    }
}

#[test]
fn a_cancelled_task_that_is_tried_again_while_what_it_needs_has_failed_stays_cancelled() {
    let mut farm = Farm::new();
    farm.submit(&[&[], &[1], &[2]]);
    farm.end(1, 1);
    farm.order(Verb::Retry, 2);
    assert_eq!(farm.rig.states(), [Failed, Cancelled, Cancelled]);
    farm.order(Verb::Retry, 1);
    assert_eq!(farm.rig.states(), [Leased, Blocked, Blocked]);
}

#[test]
fn a_task_that_is_put_back_holds_up_those_after_it_that_have_not_begun() {
    let mut farm = Farm::new();
    farm.submit(&[&[], &[], &[1], &[1, 2]]);
    farm.end(1, 0);
    assert_eq!(farm.rig.states(), [Done, Leased, Leased, Blocked]);
    farm.order(Verb::Requeue, 1);
    farm.end(2, 0);
    assert_eq!(farm.rig.states(), [Leased, Done, Leased, Blocked]);
    farm.end(1, 0);
    assert_eq!(farm.rig.states(), [Done, Done, Leased, Leased]);
}

#[test]
fn a_diamond_is_cancelled_and_comes_back_as_a_whole() {
    let mut farm = Farm::new();
    farm.submit(&[&[], &[1], &[1], &[2, 3], &[4]]);
    farm.end(1, 1);
    assert_eq!(farm.rig.states(), [Failed, Cancelled, Cancelled, Cancelled, Cancelled]);
    farm.order(Verb::Retry, 1);
    assert_eq!(farm.rig.states(), [Leased, Blocked, Blocked, Blocked, Blocked]);
    for sequence in 1..=5 {
        farm.end(sequence, 0);
    }
    assert_eq!(farm.rig.states(), [Done; 5]);
}

#[test]
fn tasks_that_were_removed_are_needed_no_more() {
    let mut farm = Farm::new();
    farm.submit(&[&[], &[], &[1, 2], &[2]]);
    farm.end(1, 0);
    assert_eq!(farm.order(Verb::Remove, 1), 1);
    farm.end(2, 1);
    assert_eq!(farm.rig.states(), [Failed, Cancelled, Cancelled]);
    farm.order(Verb::Retry, 2);
    farm.end(2, 0);
    assert_eq!(farm.rig.states(), [Done, Leased, Leased]);
}

#[test]
fn one_whose_failed_task_was_removed_runs_if_it_is_tried_again_and_not_by_itself() {
    let mut farm = Farm::new();
    farm.submit(&[&[], &[], &[1, 2]]);
    farm.end(1, 1);
    farm.end(2, 0);
    farm.order(Verb::Remove, 1);
    // Another task that it comes after comes back, but that is not why it was cancelled.
    farm.order(Verb::Requeue, 2);
    assert_eq!(farm.rig.states(), [Leased, Cancelled]);
    farm.end(2, 0);
    farm.order(Verb::Retry, 3);
    assert_eq!(farm.rig.states(), [Done, Leased]);
}

#[test]
fn a_task_with_the_key_of_a_removed_one_is_another_one() {
    let mut farm = Farm::new();
    farm.submit(&[&[], &[1]]);
    farm.end(1, 1);
    farm.order(Verb::Remove, 1);
    farm.rig.submit(farm.client, &[draft(farm.job, 1)]);
    farm.turn();
    assert_eq!(farm.rig.states(), [Cancelled, Leased]);
    assert_eq!(farm.order(Verb::Retry, 2), 1);
    assert_eq!(farm.rig.states(), [Leased, Leased]);
}

#[test]
fn a_task_that_many_came_after_does_not_remember_all_of_them_for_ever() {
    let mut farm = Farm::new();
    farm.rig.is_audited = false;
    farm.submit(&[&[]]);
    farm.end(1, 0);
    for key in 2..5_000 {
        farm.rig.submit(farm.client, &[draft(farm.job, key).after(&[1])]);
        farm.turn();
        let sequence = farm.rig.queue.book.table.last();
        farm.end(sequence, 0);
        assert_eq!(farm.order(Verb::Remove, sequence), 1);
    }
    assert!(farm.rig.task(1).before().len() <= 8);
    audit(&farm.rig.queue);
}

#[test]
fn a_long_chain_is_cancelled_and_comes_back_link_by_link() {
    let mut farm = Farm::new();
    farm.rig.is_audited = false;
    let first: [&[u128]; 1] = [&[]];
    farm.submit(&first);
    let drafts: Vec<Draft> =
        (2..=20_000).map(|key| draft(farm.job, key).after(&[key - 1])).collect();
    farm.rig.submit(farm.client, &drafts);
    farm.end(1, 1);
    assert_eq!(farm.rig.queue.counts()[Cancelled], 19_999);
    farm.order(Verb::Retry, 1);
    assert_eq!(farm.rig.queue.counts()[Blocked], 19_999);
    assert_eq!(farm.rig.queue.counts()[Ready], 0);
    audit(&farm.rig.queue);
}
