//! Jobs that are to have a number.

use super::*;

fn opened(job: u32) -> Push {
    Push::JobOpened { job: JobId(job) }
}

fn refused(fault: TaskFault) -> Push {
    Push::Fault { request: 1, fault }
}

#[test]
fn a_job_gets_the_number_that_is_wanted_and_keeps_it() {
    let mut rig = Rig::new();
    let client = rig.client();
    assert_eq!(rig.open_job(client, "five", Some(JobId(5))), opened(5));
    assert_eq!(rig.open_job(client, "five", Some(JobId(5))), opened(5));
    assert_eq!(rig.open_job(client, "five", None), opened(5));
    assert_eq!(rig.open_job(client, "five", Some(JobId(4))), refused(TaskFault::JobNumber));
    assert_eq!(rig.open_job(client, "other", Some(JobId(5))), refused(TaskFault::JobNumber));
    // Who wants none gets one behind all others; gaps are for those that want them.
    assert_eq!(rig.open_job(client, "six", None), opened(6));
    assert_eq!(rig.open_job(client, "two", Some(JobId(2))), opened(2));
    assert_eq!(rig.open_job(client, "seven", None), opened(7));
}

#[test]
fn jobs_are_listed_by_their_numbers_and_gaps_are_not() {
    let mut rig = Rig::new();
    let client = rig.client();
    for (name, number) in [("b", 4), ("a", 1)] {
        assert_eq!(rig.open_job(client, name, Some(JobId(number))), opened(number));
    }
    rig.submit(client, &[draft(JobId(4), 1)]);
    rig.hear(client);
    rig.say(client, ToQueue::Jobs { request: 2 });
    let heard = rig.hear(client);
    let rows = heard.iter().filter_map(|push| match push {
        Push::JobRow { job, name, counts } => Some((job.0, name.as_str(), counts.total())),
        _ => None,
    });
    assert_eq!(rows.collect::<Vec<_>>(), [(1, "a", 0), (4, "b", 1)]);
    assert_eq!(heard.len(), 3, "two, and the end");
}

#[test]
fn a_number_that_is_a_gap_is_no_job() {
    let mut rig = Rig::new();
    let client = rig.client();
    assert_eq!(rig.open_job(client, "job", Some(JobId(2))), opened(2));
    rig.submit(client, &[draft(JobId(1), 1)]);
    let unknown = Push::Refused { ticket: 1, reason: RefusedTask::UnknownJob };
    assert_eq!(rig.hear(client).first(), Some(&unknown));
    rig.say(client, ToQueue::Watch { request: 1, job: Some(JobId(1)), seen: 0 });
    assert_eq!(rig.hear(client), [refused(TaskFault::UnknownJob)]);
    let selection = Selection { job: Some(JobId(1)), ..all() };
    assert_eq!(rig.query(client, selection, 9).0, []);
}

#[test]
fn numbers_beyond_the_bound_are_refused_although_there_are_few_jobs() {
    let mut rig = Rig::with(TaskQueueConfig { jobs_max: 4, ..config() });
    let client = rig.client();
    for number in [4, 5, u32::MAX - 1] {
        let answer = rig.open_job(client, "beyond", Some(JobId(number)));
        assert_eq!(answer, refused(TaskFault::TooManyJobs), "{number}");
    }
    assert_eq!(rig.open_job(client, "last", Some(JobId(3))), opened(3));
    assert_eq!(rig.open_job(client, "next", None), refused(TaskFault::TooManyJobs));
    assert_eq!(rig.open_job(client, "first", Some(JobId(0))), opened(0));
}

#[test]
fn a_wanted_number_changes_nothing_about_what_is_refused_otherwise() {
    let mut rig = Rig::with(journaled());
    let client = rig.client();
    assert_eq!(rig.open_job(client, "", Some(JobId(1))), refused(TaskFault::BadName));
    assert_eq!(rig.open_job(client, "job", Some(JobId(1))), opened(1));
    rig.queue.set_journal_full(true);
    assert_eq!(rig.open_job(client, "job", Some(JobId(1))), opened(1));
    assert_eq!(rig.open_job(client, "new", Some(JobId(0))), refused(TaskFault::Busy));
    assert_eq!(rig.open_job(client, "new", Some(JobId(1))), refused(TaskFault::JobNumber));
    rig.queue.set_journal_full(false);
    assert_eq!(rig.open_job(client, "new", Some(JobId(0))), opened(0));
}
