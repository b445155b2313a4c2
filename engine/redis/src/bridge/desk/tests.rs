use super::*;
use crate::layout::Head;
use punctual_taskfile::{ReadOptions, parse_line};
use punctual_wire::task::{Captured, EndKind, PushReader};
use punctual_wire::{FrameReader, Limits};

const GIB: u64 = 1 << 30;
const CAPACITY: Capacity =
    Capacity { slots: 2, memory: 8 * GIB, cores_milli: 4000, prefetch: 2, is_draining: false };

/// A desk whose worker has enlisted as `node1`.
fn desk() -> Desk {
    let mut desk = Desk::new(WorkLimits::default());
    desk.set_name("node1");
    say(&mut desk, &ToQueue::Enlist { name: b"wish", host: b"", pid: 1, capacity: CAPACITY });
    say(&mut desk, &ToQueue::Held);
    assert_eq!(told(&mut desk), ["enlisted node1"]);
    desk
}

fn say(desk: &mut Desk, message: &ToQueue<'_>) {
    desk.on_message(message).expect("a message of a worker");
}

/// What the worker is told, in short.
fn told(desk: &mut Desk) -> Vec<String> {
    let mut out = BatchWriter::new(Limits::DEFAULT, Limits::DEFAULT.batch_max, false);
    desk.write(&mut out);
    out.seal();
    let mut frames = FrameReader::new(out.sealed(), Limits::DEFAULT, false);
    let mut told = Vec::new();
    while let Some(frame) = frames.next_frame().expect("whole frames") {
        let mut pushes = PushReader::new(&frame);
        while let Some(push) = pushes.next_message().expect("whole messages") {
            told.push(match push {
                QueuePush::Enlisted { name, .. } => {
                    format!("enlisted {}", String::from_utf8_lossy(name))
                }
                QueuePush::Lease { attempt, priority, .. } => {
                    format!("lease {} of priority {priority}", attempt.0)
                }
                QueuePush::Recall { attempt, .. } => format!("recall {}", attempt.0),
                QueuePush::Cancel { attempt, .. } => format!("cancel {}", attempt.0),
                QueuePush::Acked { seq } => format!("acked {seq}"),
                QueuePush::Drain => "drain".to_owned(),
                other => panic!("{other:?} is not for a worker"),
            });
        }
    }
    told
}

fn lease(desk: &mut Desk, line: &str, failures: i64) -> TaskId {
    let options = ReadOptions::default();
    let draft = parse_line(line.as_bytes(), &options).expect(line);
    let head = Head::read(line.as_bytes(), &options).expect(line);
    let task = TaskId::new(0, draft.key.0 as u64 >> 16);
    let candidate = Candidate { line: line.as_bytes().into(), head };
    desk.lease(Chosen { candidate, draft }, failures, false);
    task
}

fn report(desk: &mut Desk, seq: u64, task: TaskId, attempt: u32, code: i32) {
    let end = TaskEnd {
        kind: EndKind::Exited,
        code,
        waited_ns: 0,
        ran_ns: 0,
        cpu_ns: 0,
        memory: 0,
        stdout: Captured { bytes: 3, tail: b"42\n" },
        stderr: Captured { bytes: 3, tail: b"no\n" },
    };
    say(desk, &ToQueue::Report { seq, task, attempt: Attempt(attempt), end });
}

fn give_back(desk: &mut Desk, seq: u64, task: TaskId, attempt: u32) {
    let reason = ReturnReason::Recalled;
    say(desk, &ToQueue::Return { seq, task, attempt: Attempt(attempt), reason });
}

fn confirm(desk: &mut Desk) -> Vec<Op> {
    let ops: Vec<Op> = desk.outbox.batch(100, 1 << 20).into_iter().cloned().collect();
    desk.outbox.confirm(Instant::now(), ops.len());
    ops
}

#[test]
fn a_worker_is_greeted_once_it_has_a_name_and_gets_work_once_it_said_what_it_has() {
    let mut desk = Desk::new(WorkLimits::default());
    say(&mut desk, &ToQueue::Enlist { name: b"w", host: b"", pid: 1, capacity: CAPACITY });
    assert_eq!(told(&mut desk), Vec::<String>::new());
    desk.set_name("node1-2");
    assert_eq!(told(&mut desk), ["enlisted node1-2"]);
    assert!(!desk.is_at_work());
    say(&mut desk, &ToQueue::Held);
    assert!(desk.is_at_work());
    say(&mut desk, &ToQueue::Credit { capacity: Capacity { is_draining: true, ..CAPACITY } });
    assert!(!desk.is_at_work());
}

#[test]
fn reports_become_what_redis_is_told_and_are_acknowledged_when_it_confirms() {
    let mut desk = desk();
    let good = lease(&mut desk, "shell:1:0:1:good", 0);
    let bad = lease(&mut desk, "shell:2:0:1:bad", 1);
    assert_eq!(told(&mut desk), ["lease 1 of priority 1", "lease 2 of priority 2"]);
    report(&mut desk, 1, good, 1, 0);
    report(&mut desk, 2, bad, 2, 1);
    assert_eq!(told(&mut desk), Vec::<String>::new());
    let line = |text: &str| Box::from(text.as_bytes());
    let finish = Op::Finish { line: line("shell:1:0:1:good"), value: r#"node1: "42""#.to_owned() };
    let fail = Op::Fail { line: line("shell:2:0:1:bad"), reason: r#""no""#.to_owned() };
    assert_eq!(confirm(&mut desk), [finish, fail]);
    assert_eq!(told(&mut desk), ["acked 2"]);
    assert!(desk.holdings.is_empty());
}

#[test]
fn what_a_stopped_attempt_reports_is_not_taken_for_the_next_one() {
    let mut desk = desk();
    let line = "shell:1:0:1:true";
    let task = lease(&mut desk, line, 0);
    desk.cancel(task);
    assert_eq!(lease(&mut desk, line, 0), task);
    assert_eq!(told(&mut desk)[1..], ["cancel 1", "lease 2 of priority 1"]);
    report(&mut desk, 1, task, 1, 0);
    assert!(confirm(&mut desk).is_empty());
    assert_eq!((told(&mut desk), desk.stats.stale), (vec!["acked 1".to_owned()], 1));
    report(&mut desk, 2, task, 2, 0);
    assert_eq!(confirm(&mut desk).len(), 1);
}

#[test]
fn a_task_that_is_claimed_again_while_it_runs_is_a_new_attempt() {
    let mut desk = desk();
    let task = lease(&mut desk, "shell:1:0:1:true", 0);
    lease(&mut desk, "shell:1:0:1:true", 0);
    assert_eq!(desk.holdings.len(), 1);
    assert_eq!(desk.holdings.get(task).map(|held| held.attempt), Some(Attempt(2)));
}

#[test]
fn a_worker_that_leaves_leaves_its_tasks_to_the_queue() {
    let mut desk = desk();
    let task = lease(&mut desk, "shell:1:0:1:a", 0);
    lease(&mut desk, "shell:1:0:1:b", 0);
    report(&mut desk, 1, task, 1, 0);
    desk.on_left();
    let ops = confirm(&mut desk);
    assert!(matches!(ops[..], [Op::Finish { .. }, Op::GiveBack { .. }]), "{ops:?}");
    say(&mut desk, &ToQueue::Enlist { name: b"w", host: b"", pid: 1, capacity: CAPACITY });
    say(&mut desk, &ToQueue::Hold { task, attempt: Attempt(1) });
    assert_eq!(told(&mut desk), ["enlisted node1", "cancel 1"], "no number of before");
}

#[test]
fn with_its_name_a_worker_loses_everything_that_was_under_it() {
    let mut desk = desk();
    let task = lease(&mut desk, "shell:1:0:1:a", 0);
    lease(&mut desk, "shell:1:0:1:b", 0);
    report(&mut desk, 1, task, 1, 0);
    desk.on_name_lost();
    desk.on_left();
    assert!(desk.outbox.is_empty() && desk.holdings.is_empty());
    assert_eq!((desk.stats.lost, desk.name()), (2, ""));
}

#[test]
fn tasks_that_wait_are_asked_back_latest_first_and_nothing_is_prefetched_for_a_while() {
    let mut desk = desk();
    let now = Instant::now();
    let tasks: Vec<TaskId> =
        (0..4).map(|number| lease(&mut desk, &format!("shell:1:0:1:{number}"), 0)).collect();
    assert_eq!((desk.holdings.running(), desk.holdings.ahead()), (2, 2));
    told(&mut desk);
    desk.recall_latest(now, 1);
    assert_eq!(told(&mut desk), ["recall 1"]);
    give_back(&mut desk, 1, tasks[3], 1);
    assert_eq!(desk.stats.recalled, 1);
    assert_eq!(desk.room(now).ahead, 0);
    assert_eq!(desk.room(now + HANDS_OFF).ahead, 1);
}

#[test]
fn only_tasks_that_are_less_urgent_than_what_came_are_asked_back() {
    let mut desk = desk();
    for (number, priority) in [9, 9, 3, 5].into_iter().enumerate() {
        lease(&mut desk, &format!("shell:{priority}:0:1:{number}"), 0);
    }
    told(&mut desk);
    desk.recall_outranked([4, 4, 1].into_iter());
    assert_eq!(told(&mut desk).len(), 1, "of 3 and 5 only 3 is less than 4");
}

#[test]
fn an_order_to_stop_is_passed_on_once_and_to_whoever_comes_later() {
    let mut desk = desk();
    desk.order_stop();
    desk.order_stop();
    assert_eq!(told(&mut desk), ["drain"]);
    assert!(!desk.is_at_work());
    desk.on_left();
    say(&mut desk, &ToQueue::Enlist { name: b"w", host: b"", pid: 1, capacity: CAPACITY });
    assert_eq!(told(&mut desk), ["enlisted node1", "drain"]);
}

#[test]
fn limits_hold_but_not_one_that_the_machine_cannot_reach() {
    let mut desk = desk();
    let now = Instant::now();
    let beat = |memory_free| ToQueue::Beat { memory_free, cores_used_milli: 0, running: 0 };
    say(&mut desk, &beat(3 * GIB));
    desk.set_limits(WorkLimits { accept_free: 4 * GIB, ..WorkLimits::default() });
    assert!(desk.room(now).is_none(), "too little is free");
    desk.set_limits(WorkLimits { accept_free: 80 * GIB, ..WorkLimits::default() });
    assert_eq!(desk.room(now).slots, 2, "defect 1");
    assert_eq!(desk.room(now).memory, 3 * GIB, "no task gets more than is free");
}

#[test]
fn a_message_of_a_client_is_refused() {
    let mut desk = desk();
    assert!(desk.on_message(&ToQueue::Jobs { request: 1 }).is_err());
}
