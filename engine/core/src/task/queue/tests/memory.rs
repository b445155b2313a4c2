//! The bound of memory.

use super::*;

/// What a small task counts for, and a little more.
const TASK: u64 = 400;

fn bounded(memory_max: u64) -> Rig {
    Rig::with(TaskQueueConfig { memory_max, ..config() })
}

/// An end that wrote so many bytes.
fn wrote(bytes: &[u8]) -> TaskEnd<'_> {
    TaskEnd { stdout: Captured { bytes: bytes.len() as u64, tail: bytes }, ..exited(0) }
}

#[test]
fn the_oldest_outputs_are_forgotten_while_they_take_more_than_their_share() {
    let mut rig = bounded(400_000);
    let (client, _) = rig.with_tasks(20);
    let mut hand = rig.worker("w", capacity(20, 0));
    for run in rig.runs(&hand) {
        rig.report(&mut hand, run, wrote(&[b'x'; 10_000]));
    }
    let (rows, ..) = rig.query(client, all(), 99);
    let kept: Vec<u64> =
        rows.iter().filter(|row| !row.stdout.is_empty()).map(|row| row.sequence).collect();
    assert_eq!(kept, (11..=20).collect::<Vec<_>>());
    assert_eq!(rig.queue.stats().outputs_dropped, 10);
    assert_eq!(rig.queue.stats().removed, 0);
    // How much it was is still known.
    assert_eq!(rig.task(1).end.as_ref().map(|end| end.stdout_bytes), Some(10_000));
}

#[test]
fn outputs_of_tasks_that_will_be_tried_again_are_bounded_too() {
    let mut rig = bounded(400_000);
    let client = rig.client();
    let job = rig.job(client, "job");
    let drafts: Vec<Draft> = (1..=50).map(|key| draft(job, key).attempts(9)).collect();
    rig.submit(client, &drafts);
    let mut hand = rig.worker("w", capacity(50, 0));
    for _ in 0..4 {
        for run in rig.runs(&hand) {
            let end = TaskEnd { code: 1, ..wrote(&[b'x'; 10_000]) };
            rig.report(&mut hand, run, end);
            assert!(rig.queue.book.output_bytes <= 100_000);
        }
        rig.advance(20_000);
        rig.beat(&hand);
    }
    assert_eq!(rig.queue.counts()[TaskState::Delayed], 50);
}

#[test]
fn then_the_tasks_that_ended_first_are_forgotten_for_new_ones() {
    let mut rig = bounded(20 * TASK);
    let client = rig.client();
    let job = rig.job(client, "job");
    let mut hand = rig.worker("w", capacity(1, 0));
    for key in 1..=100 {
        rig.submit(client, &[draft(job, key.into())]);
        assert_eq!(rig.hear(client), [Push::Submitted { ticket: key, added: 1, known: 0 }]);
        let run = rig.runs(&hand)[0];
        rig.report(&mut hand, run, exited(0));
        assert!(rig.queue.bytes() <= 21 * TASK);
    }
    let left: Vec<u64> = rig.queue.book.table.iter().map(|(sequence, _)| sequence).collect();
    assert!(left.len() > 5 && left.is_sorted() && left.ends_with(&[99, 100]), "{left:?}");
    assert_eq!(rig.queue.stats().removed, 100 - left.len() as u64);
}

#[test]
fn then_submissions_are_refused_until_something_ends() {
    let mut rig = bounded(20 * TASK);
    let client = rig.client();
    let job = rig.job(client, "job");
    let drafts: Vec<Draft> = (1..=100).map(|key| draft(job, key)).collect();
    rig.submit(client, &drafts);
    let heard = rig.hear(client);
    let is_full = |push: &&Push| matches!(push, Push::Refused { reason: RefusedTask::Full, .. });
    let refused = heard.iter().filter(is_full).count();
    let taken = rig.queue.book.table.len();
    assert_eq!(taken + refused, 100);
    assert!(taken > 10 && rig.queue.bytes() <= 21 * TASK);
    // What is there is known even so.
    rig.submit(client, &[draft(job, 1), draft(job, 100)]);
    let known = Push::Submitted { ticket: 102, added: 0, known: 1 };
    assert_eq!(rig.hear(client).pop(), Some(known));
    let mut hand = rig.worker("w", capacity(3, 0));
    for run in rig.runs(&hand) {
        rig.report(&mut hand, run, exited(0));
    }
    rig.submit(client, &[draft(job, 100)]);
    let added = Push::Submitted { ticket: 103, added: 1, known: 0 };
    assert_eq!(rig.hear(client).pop(), Some(added));
}

#[test]
fn a_task_that_a_new_one_comes_after_is_not_forgotten_for_it_but_others_are() {
    let mut rig = bounded(20 * TASK);
    let client = rig.client();
    let job = rig.job(client, "job");
    let mut hand = rig.worker("w", capacity(1, 0));
    for key in 1..=100 {
        let after: Vec<u128> = (key > 1).then(|| key - 1).into_iter().collect();
        rig.submit(client, &[draft(job, key).after(&after)]);
        let run = rig.runs(&hand)[0];
        rig.report(&mut hand, run, exited(0));
    }
    assert_eq!(rig.queue.counts()[TaskState::Done], rig.queue.book.table.len() as u64);
    assert!(rig.queue.stats().removed > 50);
    // The oldest one is needed now, so there is no room.
    let oldest = rig.queue.book.table.iter().map(|(_, task)| task.key.0).next();
    let needs = draft(job, 101).after(&[oldest.expect("some are left")]);
    let removed = rig.queue.stats().removed;
    rig.hear(client);
    let mut keys = 101..;
    while rig.queue.stats().refused == 0 {
        let key = keys.next().expect("there are enough");
        rig.submit(client, &[Draft { key, ..needs.clone() }]);
    }
    assert_eq!(rig.queue.stats().removed, removed);
}

#[test]
fn what_is_kept_of_tasks_that_run_again_and_again_does_not_grow() {
    let mut rig = Rig::new();
    rig.is_audited = false;
    let (client, _) = rig.with_tasks(3);
    let mut hand = rig.worker("w", capacity(3, 0));
    for _ in 0..3_000 {
        for run in rig.runs(&hand) {
            rig.report(&mut hand, run, wrote(b"done"));
        }
        rig.control(client, Verb::Requeue, in_state(TaskState::Done));
    }
    let Book { ended, with_output, .. } = &rig.queue.book;
    assert!(
        ended.len() <= 4_200 && with_output.len() <= 3,
        "{} {}",
        ended.len(),
        with_output.len()
    );
    audit(&rig.queue);
}

#[test]
fn entries_of_tasks_that_were_cancelled_while_they_waited_do_not_pile_up() {
    let mut rig = Rig::new();
    rig.is_audited = false;
    let (client, _) = rig.with_tasks(2);
    for _ in 0..6_000 {
        rig.control(client, Verb::Cancel, one(1));
        rig.control(client, Verb::Retry, one(1));
    }
    let entries: usize = rig.queue.book.classes.shelves().iter().map(|it| it.entries).sum();
    assert!(entries <= 4_200, "{entries}");
    audit(&rig.queue);
}
