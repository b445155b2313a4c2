//! Questions about tasks.

use super::*;

fn ids(rows: &[Row]) -> Vec<u64> {
    rows.iter().map(|row| row.sequence).collect()
}

#[test]
fn rows_come_in_the_order_of_their_ids_and_in_pages() {
    let mut rig = Rig::new();
    let (client, _) = rig.with_tasks(7);
    let (mut from, mut pages) = (0, Vec::new());
    loop {
        let selection = Selection { from: TaskId::new(0, from), ..all() };
        let (rows, next, more) = rig.query(client, selection, 3);
        pages.push(ids(&rows));
        if !more {
            break;
        }
        from = next;
    }
    assert_eq!(pages, [vec![1, 2, 3], vec![4, 5, 6], vec![7]]);
}

#[test]
fn pages_go_on_where_they_ended_although_tasks_come_and_go() {
    let mut rig = Rig::new();
    let (client, job) = rig.with_tasks(3);
    let (rows, next, more) = rig.query(client, all(), 2);
    assert_eq!((ids(&rows), more), (vec![1, 2], true));
    rig.control(client, Verb::Cancel, one(3));
    rig.control(client, Verb::Remove, one(3));
    rig.submit(client, &[draft(job, 4)]);
    rig.hear(client);
    let rest = Selection { from: TaskId::new(0, next), ..all() };
    let (rows, next, more) = rig.query(client, rest, 2);
    assert_eq!((ids(&rows), next, more), (vec![4], 5, false));
    let beyond = Selection { from: TaskId::new(0, (1 << 48) - 1), ..all() };
    let (rows, _, more) = rig.query(client, beyond, 2);
    assert_eq!((ids(&rows), more), (vec![], false));
}

#[test]
fn one_task_can_be_asked_for_by_its_id() {
    let mut rig = Rig::new();
    let (client, _) = rig.with_tasks(3);
    for limit in [1, 9] {
        let (rows, _, more) = rig.query(client, one(2), limit);
        assert_eq!((ids(&rows), more), (vec![2], false));
    }
    for task in [TaskId::new(0, 4), TaskId::new(0, 0), TaskId::new(1, 2), TaskId(u64::MAX)] {
        let (rows, _, more) = rig.query(client, Selection { task: Some(task), ..all() }, 1);
        assert_eq!((ids(&rows), more), (vec![], false), "{task}");
    }
    let elsewhere = Selection { states: StateSet::NONE.with(TaskState::Done), ..one(2) };
    assert_eq!(rig.query(client, elsewhere, 1).0, []);
}

#[test]
fn filters_are_by_state_job_worker_and_text() {
    let mut rig = Rig::new();
    let (client, job) = rig.with_tasks(3);
    let other = rig.job(client, "other");
    let odd = Draft { command: b"echo \xff\xfe it".to_vec(), ..draft(other, 4) };
    rig.submit(client, &[odd, draft(other, 5)]);
    rig.hear(client);
    let mut hand = rig.worker("hand", capacity(2, 0));
    let runs = rig.runs(&hand);
    rig.report(&mut hand, runs[0], exited(0));
    rig.say(hand.party, ToQueue::Credit { capacity: capacity(1, 0) });
    let cases: [(Selection<'_>, &[u64]); 11] = [
        (all(), &[1, 2, 3, 4, 5]),
        (in_state(TaskState::Ready), &[3, 4, 5]),
        (Selection { states: StateSet::NONE, ..all() }, &[]),
        (Selection { job: Some(job), ..all() }, &[1, 2, 3]),
        (Selection { job: Some(JobId(9)), ..all() }, &[]),
        (Selection { worker: b"hand", ..all() }, &[1, 2]),
        (Selection { worker: b"han", ..all() }, &[]),
        (Selection { include: b"work", ..all() }, &[1, 2, 3, 5]),
        (Selection { include: b"work", exclude: b"2", ..all() }, &[1, 3, 5]),
        (Selection { include: b"\xff\xfe", ..all() }, &[4]),
        (Selection { exclude: b"work", job: Some(other), ..all() }, &[4]),
    ];
    for (selection, expected) in cases {
        let (rows, ..) = rig.query(client, selection, 99);
        assert_eq!(ids(&rows), expected, "{selection:?}");
    }
}

#[test]
fn a_row_tells_what_has_come_of_a_task() {
    let mut rig = Rig::new();
    let client = rig.client();
    let job = rig.job(client, "job");
    rig.submit(client, &[draft(job, 1).attempts(2), draft(job, 2)]);
    rig.hear(client);
    let submitted = rig.now.0;
    rig.advance(1);
    let leased = rig.now.0;
    let mut hand = rig.worker("w", capacity(1, 1));
    let run = rig.runs(&hand)[0];
    rig.advance(1);
    let stdout = Captured { bytes: 100, tail: b"the end" };
    rig.report(&mut hand, run, TaskEnd { stdout, ..exited(3) });
    let (rows, ..) = rig.query(client, one(1), 1);
    let due = rig.now.0 + 500 * MS;
    let expected = Row {
        sequence: 1,
        state: TaskState::Delayed,
        is_ahead: false,
        attempt: 1,
        failures: 1,
        times: TaskTimes { submitted, leased, ended: 0, due },
        worker: "w".to_owned(),
        failed_on: "w".to_owned(),
        end: Some((EndKind::Exited, 3)),
        stdout: b"the end".to_vec(),
    };
    assert_eq!(rows, [expected]);
    rig.report(&mut hand, Run::new(2, 1), exited(0));
    let (rows, ..) = rig.query(client, one(2), 1);
    assert_eq!(rows[0].times, TaskTimes { submitted, leased, ended: rig.now.0, due: 0 });
}

#[test]
fn a_question_about_very_many_tasks_is_answered_bit_by_bit_and_stops_for_who_does_not_listen() {
    let mut rig = Rig::new();
    rig.is_audited = false;
    let (client, _) = rig.with_tasks(60_000);
    let query =
        ToQueue::Query { request: 1, selection: all(), limit: u32::MAX, with_output: false };
    rig.say(client, query);
    let mut turns = 0;
    while rig.queue.next_deadline().is_some_and(|at| at <= rig.now) {
        rig.turn();
        turns += 1;
    }
    assert!((8..20).contains(&turns), "{turns}");
    let mut rows = 0;
    loop {
        let heard = rig.hear(client);
        assert!(heard.len() < 60_000);
        rows += heard.iter().filter(|push| matches!(push, Push::Row(_))).count();
        if let Some(Push::End { more, .. }) = heard.last() {
            assert!(!more);
            break;
        }
        rig.turn();
    }
    assert_eq!(rows, 60_000);
    audit(&rig.queue);
}

#[test]
fn a_client_with_a_long_question_does_not_keep_others_waiting() {
    let mut rig = Rig::new();
    rig.is_audited = false;
    let (client, _) = rig.with_tasks(60_000);
    let others = [rig.client(), rig.client()];
    for _ in 0..20 {
        let selection = Selection { include: b"nothing has this", ..all() };
        rig.say(client, ToQueue::Query { request: 1, selection, limit: 1, with_output: false });
    }
    rig.turn();
    for other in others {
        let query = ToQueue::Query { request: 2, selection: one(5), limit: 1, with_output: false };
        rig.say(other, query);
    }
    rig.turn();
    rig.turn();
    for other in others {
        assert_eq!(rig.hear(other).len(), 2, "a row and the end");
    }
}

#[test]
fn a_client_that_asks_for_too_much_at_once_is_told_so() {
    let mut rig = Rig::new();
    let (client, _) = rig.with_tasks(1);
    for _ in 0..65 {
        let query = ToQueue::Query { request: 1, selection: all(), limit: 1, with_output: false };
        rig.say(client, query);
    }
    assert_eq!(rig.hear(client), [Push::Fault { request: 1, fault: TaskFault::Busy }]);
    rig.turn();
    assert_eq!(rig.hear(client).len(), 128);
}

#[test]
fn lists_of_jobs_do_not_pile_up_for_who_does_not_listen() {
    let mut rig = Rig::new();
    rig.is_audited = false;
    let client = rig.client();
    for at in 0..5_000 {
        rig.job(client, &format!("job {at}"));
    }
    let asks: Vec<ToQueue<'_>> = (0..250).map(|request| ToQueue::Jobs { request }).collect();
    rig.try_say(client, &asks).expect("they are well-formed");
    let heard = rig.hear(client);
    assert!(heard.len() < 40_000, "{}", heard.len());
    assert!(matches!(heard.last(), Some(Push::Fault { request: 249, fault: TaskFault::Busy })));
}
