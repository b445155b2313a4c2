//! News for those who watch.

use super::*;

fn watch(rig: &mut Rig, client: Party, job: Option<JobId>, seen: u64) {
    rig.say(client, ToQueue::Watch { request: 9, job, seen });
    rig.turn();
}

/// The only news.
fn news(rig: &mut Rig, client: Party) -> (u64, StateCounts) {
    match rig.hear(client)[..] {
        [Push::Progress { request: 9, version, counts }] => (version, counts),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn who_knows_nothing_is_told_at_once_and_who_knows_all_when_something_changes() {
    let mut rig = Rig::new();
    let (client, job) = rig.with_tasks(1);
    let watcher = rig.client();
    for of in [None, Some(job)] {
        watch(&mut rig, watcher, of, 0);
        let (version, counts) = news(&mut rig, watcher);
        assert_eq!(counts[TaskState::Ready], rig.queue.counts()[TaskState::Ready]);
        watch(&mut rig, watcher, of, version);
        rig.turn();
        assert_eq!(rig.hear(watcher), []);
        let key = if of.is_some() { 2 } else { 3 };
        rig.submit(client, &[draft(job, key)]);
        rig.turn();
        let (later, counts) = news(&mut rig, watcher);
        assert!(later > version);
        assert_eq!(counts, rig.queue.counts());
        rig.submit(client, &[draft(job, key + 10)]);
        rig.turn();
        assert_eq!(rig.hear(watcher), [], "each question is answered once");
    }
}

#[test]
fn a_watch_of_a_job_is_about_that_job_only() {
    let mut rig = Rig::new();
    let (client, job) = rig.with_tasks(1);
    let other = rig.job(client, "other");
    rig.submit(client, &[draft(other, 1)]);
    rig.hear(client);
    let watcher = rig.client();
    watch(&mut rig, watcher, Some(job), 0);
    let (version, counts) = news(&mut rig, watcher);
    assert_eq!(counts.total(), 1);
    watch(&mut rig, watcher, Some(job), version);
    rig.submit(client, &[draft(other, 2)]);
    rig.turn();
    assert_eq!(rig.hear(watcher), []);
}

#[test]
fn an_empty_queue_has_a_version_too() {
    let mut rig = Rig::new();
    let client = rig.client();
    watch(&mut rig, client, None, 0);
    let (version, counts) = news(&mut rig, client);
    assert!(version > 0);
    assert_eq!(counts, StateCounts::default());
    let job = rig.job(client, "job");
    watch(&mut rig, client, Some(job), 0);
    assert!(news(&mut rig, client).0 > 0);
}

#[test]
fn a_version_of_another_life_of_the_queue_is_not_waited_for() {
    let mut rig = Rig::new();
    let (_, job) = rig.with_tasks(1);
    let watcher = rig.client();
    for of in [None, Some(job)] {
        watch(&mut rig, watcher, of, 1_000_000);
        assert_eq!(news(&mut rig, watcher).1.total(), 1);
    }
}

#[test]
fn a_job_that_there_is_not_cannot_be_watched_and_nobody_watches_too_much() {
    let mut rig = Rig::new();
    let client = rig.client();
    watch(&mut rig, client, Some(JobId(0)), 0);
    let fault = |fault| Push::Fault { request: 9, fault };
    assert_eq!(rig.hear(client), [fault(TaskFault::UnknownJob)]);
    for _ in 0..65 {
        watch(&mut rig, client, None, 1);
    }
    assert_eq!(rig.hear(client), [fault(TaskFault::Busy)]);
    rig.close(client);
    assert_eq!(rig.queue.curious, 0);
}

#[test]
fn many_changes_between_two_turns_are_one_piece_of_news() {
    let mut rig = Rig::new();
    let (_, job) = rig.with_tasks(20);
    let watchers = [rig.client(), rig.client()];
    let mut seen = 0;
    for watcher in watchers {
        watch(&mut rig, watcher, Some(job), 0);
        seen = news(&mut rig, watcher).0;
        rig.say(watcher, ToQueue::Watch { request: 9, job: Some(job), seen });
    }
    let mut hand = rig.worker("w", capacity(20, 0));
    for run in rig.runs(&hand) {
        rig.report(&mut hand, run, exited(0));
    }
    for watcher in watchers {
        assert_eq!(news(&mut rig, watcher).1[TaskState::Leased], 20);
        rig.say(watcher, ToQueue::Watch { request: 9, job: Some(job), seen });
    }
    rig.turn();
    for watcher in watchers {
        assert_eq!(news(&mut rig, watcher).1[TaskState::Done], 20);
    }
}
