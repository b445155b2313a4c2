//! Jobs and submissions.

use super::*;

#[test]
fn a_task_that_is_submitted_again_is_known_and_nothing_changes() {
    let mut rig = Rig::new();
    let (client, job) = rig.with_tasks(1);
    let mut hand = rig.worker("w", capacity(1, 0));
    let run = rig.runs(&hand)[0];
    rig.report(&mut hand, run, exited(0));
    rig.submit(client, &[draft(job, 1).priority(9), draft(job, 2), draft(job, 2)]);
    assert_eq!(rig.hear(client), [Push::Submitted { ticket: 4, added: 1, known: 2 }]);
    assert_eq!(rig.states(), [TaskState::Done, TaskState::Ready]);
    assert_eq!(rig.task(1).priority, 0);
    let stats = rig.queue.stats();
    assert_eq!((stats.submitted, stats.known), (2, 2));
}

#[test]
fn jobs_do_not_share_keys() {
    let mut rig = Rig::new();
    let (client, _) = rig.with_tasks(1);
    let other = rig.job(client, "other");
    rig.submit(client, &[draft(other, 1)]);
    assert_eq!(rig.hear(client), [Push::Submitted { ticket: 2, added: 1, known: 0 }]);
    assert_eq!(rig.queue.counts().total(), 2);
}

#[test]
fn a_job_that_is_opened_again_is_the_same_one() {
    let mut rig = Rig::new();
    let client = rig.client();
    let first = rig.job(client, "first");
    let second = rig.job(client, "second");
    assert_ne!(first, second);
    let other = rig.client();
    assert_eq!(rig.job(other, "first"), first);
    rig.say(client, ToQueue::Jobs { request: 2 });
    let heard = rig.hear(client);
    let names = heard.iter().filter_map(|push| match push {
        Push::JobRow { name, .. } => Some(name.as_str()),
        _ => None,
    });
    assert_eq!(names.collect::<Vec<_>>(), ["first", "second"]);
}

#[test]
fn a_job_has_a_name_without_control_characters() {
    let mut rig = Rig::new();
    let client = rig.client();
    for name in ["", "two\nlines", "\u{1b}[2J", "c1 \u{85}", "\0"] {
        rig.say(client, ToQueue::OpenJob { request: 3, job: None, name: name.as_bytes() });
        let fault = Push::Fault { request: 3, fault: TaskFault::BadName };
        assert_eq!(rig.hear(client), [fault], "{name:?}");
    }
    rig.job(client, "Größe 2/2, “final” \u{2028}");
}

#[test]
fn there_are_no_more_jobs_than_allowed_but_those_there_are_can_be_opened() {
    let mut rig = Rig::with(TaskQueueConfig { jobs_max: 1, ..config() });
    let client = rig.client();
    let job = rig.job(client, "one");
    rig.say(client, ToQueue::OpenJob { request: 3, job: None, name: b"two" });
    let fault = Push::Fault { request: 3, fault: TaskFault::TooManyJobs };
    assert_eq!(rig.hear(client), [fault]);
    assert_eq!(rig.job(client, "one"), job);
}

#[test]
fn what_cannot_be_taken_is_refused_before_the_answer_that_covers_it() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    let drafts = [
        draft(job, 1),
        draft(JobId(7), 1),
        draft(job, 2).after(&[1, 9]),
        draft(job, 3).after(&[3]),
        draft(job, 4).memory(1 << 51),
        draft(job, 5),
    ];
    rig.submit(client, &drafts);
    assert_eq!(
        rig.hear(client),
        [
            Push::Refused { ticket: 2, reason: RefusedTask::UnknownJob },
            Push::Refused { ticket: 3, reason: RefusedTask::UnknownAfter },
            Push::Refused { ticket: 4, reason: RefusedTask::UnknownAfter },
            Push::Refused { ticket: 5, reason: RefusedTask::TooLarge },
            Push::Submitted { ticket: 6, added: 2, known: 0 },
        ]
    );
    assert_eq!(rig.queue.stats().refused, 4);
}

#[test]
fn tasks_of_a_queue_that_is_not_the_first_carry_its_number() {
    let mut rig = Rig::with(TaskQueueConfig::new(ShardId(3)));
    let (client, _) = rig.with_tasks(1);
    let mut hand = rig.worker("w", capacity(1, 0));
    let task = TaskId::new(3, 1);
    let run = Run { task, attempt: Attempt(1) };
    assert_eq!(rig.runs(&hand), [run]);
    let it = Selection { task: Some(task), ..all() };
    assert_eq!(rig.query(client, it, 9).0.len(), 1);
    assert_eq!(rig.query(client, one(1), 9).0, [], "that is one of the first queue");
    rig.report(&mut hand, Run::new(1, 1), exited(0));
    assert_eq!((rig.state(1), rig.queue.stats().stale), (TaskState::Leased, 1));
    rig.report(&mut hand, run, exited(0));
    assert_eq!(rig.state(1), TaskState::Done);
}

#[test]
fn a_lease_says_what_was_submitted() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "the job");
    let it = Draft { cores_milli: 500, ..draft(job, 1).priority(-3).memory(77) };
    rig.submit(client, &[it]);
    let hand = rig.worker("w", capacity(1, 0));
    rig.turn();
    let mut out = BatchWriter::new(Limits::DEFAULT, u16::MAX, false);
    rig.queue.write(hand.party, &mut out, |_| true);
    out.seal();
    let mut frames = FrameReader::new(out.sealed(), Limits::DEFAULT, false);
    let frame = frames.next_frame().expect("it is valid").expect("there is one");
    let push = PushReader::new(&frame).next_message().expect("it is valid");
    let Some(QueuePush::Lease { task, priority, memory, cores_milli, job, payload, .. }) = push
    else {
        panic!("{push:?}");
    };
    assert_eq!((task, priority, memory, cores_milli), (TaskId::new(0, 1), -3, 77, 500));
    assert_eq!(job, b"the job");
    assert_eq!(TaskPayload::read(payload).expect("it is one").command, b"work 1");
}
