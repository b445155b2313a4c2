//! The manager's verbs.

use crate::player::{Player, size};
use crate::server::{AHEAD, LONG_AGO, Server};
use crate::support::{bridge, lazy, line, lines, start, until, until_lazy};
use punctual_redis::{LoadReport, RedisError, RedisManager, RedisTask};
use punctual_taskfile::{ReadOptions, parse_line};
use std::time::Duration;

/// An interval that lets a cleanup watch for a moment only.
const INTERVAL: Duration = Duration::from_millis(20);

pub(crate) fn tasks(lines: &[String]) -> Vec<RedisTask> {
    let task = |line: &String| {
        let draft = parse_line(line.as_bytes(), &ReadOptions::default()).expect("a task");
        RedisTask { line: line.clone().into_bytes(), draft }
    };
    lines.iter().map(task).collect()
}

fn manager(server: &Server) -> RedisManager {
    RedisManager::open(server.address(), INTERVAL).expect("Redis is there")
}

fn load(manager: &mut RedisManager, lines: &[String]) -> LoadReport {
    manager.load(tasks(lines)).expect("they are loaded")
}

#[test]
fn loading_the_same_file_again_adds_what_is_not_there_in_any_state() {
    let Some(server) = Server::start() else { return };
    let (mut talk, mut manager) = (server.talk(), manager(&server));
    let all = lines(1200);
    let report = load(&mut manager, &all);
    assert_eq!((report.loaded, report.added, report.ours_only), (1200, 1200, 0));
    for (line, key) in [(&all[0], "finished_tasks"), (&all[1], "in_progress_tasks")] {
        talk.call::<i64>(&["HDEL", "todo_tasks", line]);
        talk.set(key, line, "node1");
    }
    talk.call::<i64>(&["HDEL", "todo_tasks", &all[2]]);
    talk.set("failed_tasks", &all[2], "node1,");
    let report = load(&mut manager, &all);
    assert_eq!((report.loaded, report.added), (1200, 1), "the one that failed");
    assert_eq!(talk.length("todo_tasks"), 1198);
    assert_eq!(talk.get("todo_tasks", &all[5]).as_deref(), Some(""));
}

#[test]
fn tasks_that_only_our_workers_understand_are_counted_and_those_that_nobody_does_refused() {
    let Some(server) = Server::start() else { return };
    let (mut talk, mut manager) = (server.talk(), manager(&server));
    let mixed = [
        line("plain"),
        line("curl http://x:80/"),
        r#"{"command": "true"}"#.to_owned(),
        r#"{"command": "true", "after": ["other"]}"#.to_owned(),
    ];
    let report = load(&mut manager, &mixed);
    let expected = LoadReport { loaded: 4, added: 3, refused: 1, ours_only: 2 };
    assert_eq!(report, expected);
    let bridge = bridge(&server, "node1");
    let mut player = Player::quick(&bridge, 3);
    player.until("our workers run them", |_| talk.length("finished_tasks") == 3);
}

#[test]
fn all_tasks_are_shown_by_state_and_workers_with_their_counts() {
    let Some(server) = Server::start() else { return };
    let (mut talk, mut manager) = (server.talk(), manager(&server));
    talk.load(&["b", "a"].map(line));
    talk.set("in_progress_tasks", &line("c"), "node1");
    talk.set("finished_tasks", &line("d"), "node1: \"42\"");
    talk.set("finished_tasks", &line("e"), "node10: \"43\"");
    talk.set("failed_tasks", &line("f"), "node1,node2,");
    talk.set("task_fail_reason", &line("f"), "\"no\"");
    let now: i64 = talk.call::<Vec<i64>>(&["TIME"])[0];
    talk.set("worker_status", "node1", &format!("{now}:1.50:4.00:2.00:8.00"));
    talk.set("worker_status", "node0", "nonsense");

    let tasks = manager.check().expect("Redis answers");
    let bytes = |text: String| text.into_bytes();
    assert_eq!(tasks.todo, [bytes(line("a")), bytes(line("b"))]);
    assert_eq!(tasks.in_progress, [(bytes(line("c")), b"node1".to_vec())]);
    assert_eq!(tasks.finished[0], (bytes(line("d")), b"node1: \"42\"".to_vec()));
    assert_eq!(tasks.failed, [(bytes(line("f")), b"node1,node2,".to_vec())]);
    assert_eq!(tasks.reasons, [(bytes(line("f")), b"\"no\"".to_vec())]);
    assert!(!tasks.is_stopping);

    let workers = manager.workers().expect("Redis answers");
    let names: Vec<&str> = workers.iter().map(|worker| worker.name.as_str()).collect();
    assert_eq!(names, ["node0", "node1"]);
    let node1 = &workers[1];
    assert_eq!((node1.running, node1.finished), (1, 1));
    assert!((node1.cores_used - 1.5).abs() < 0.01 && (node1.memory_total - 8.0).abs() < 0.01);
    assert!((-5..3600).contains(&node1.seconds_ago), "{}", node1.seconds_ago);
}

#[test]
fn moved_and_removed_is_what_is_meant_and_no_more() {
    let Some(server) = Server::start() else { return };
    let (mut talk, mut manager) = (server.talk(), manager(&server));
    for task in ["a", "b"] {
        talk.set("in_progress_tasks", &line(task), "node1");
        talk.set("finished_tasks", &line(&format!("done {task}")), "node1: \"\"");
        talk.set("failed_tasks", &line(&format!("bad {task}")), "node1,");
        talk.set("task_fail_reason", &line(&format!("bad {task}")), "\"no\"");
    }
    talk.set("failed_tasks", &line("a"), "node2,");
    assert_eq!(manager.remove_finished().expect("Redis answers"), 2);
    assert_eq!(manager.requeue_failed().expect("Redis answers"), 3);
    let now = talk.snapshot();
    assert!(now.finished.is_empty() && now.failed.is_empty() && now.reasons.is_empty());
    assert_eq!(now.todo.keys().collect::<Vec<_>>(), [&line("bad a"), &line("bad b")]);
    assert_eq!(now.in_progress.len(), 2, "what runs is not to run twice");
    assert_eq!(manager.requeue_in_progress().expect("Redis answers"), 2);
    assert_eq!((talk.length("todo_tasks"), talk.length("in_progress_tasks")), (4, 0));
}

#[test]
fn only_what_is_ours_is_cleared_unless_everything_is_to_be() {
    let Some(server) = Server::start() else { return };
    let (mut talk, mut manager) = (server.talk(), manager(&server));
    for everything in [false, true] {
        talk.load(&lines(3));
        talk.call::<String>(&["SET", "something else", "1"]);
        manager.init(everything).expect("Redis answers");
        assert_eq!(talk.length("todo_tasks"), 0);
        let others: i64 = talk.call(&["EXISTS", "something else"]);
        assert_eq!(others == 0, everything);
    }
    assert_eq!(load(&mut manager, &lines(1)).added, 1, "the scripts are still there");
}

#[test]
fn tasks_are_forgotten_in_every_state_and_others_are_left_alone() {
    let Some(server) = Server::start() else { return };
    let (mut talk, mut manager) = (server.talk(), manager(&server));
    assert!(manager.occupied().expect("Redis answers").is_empty());
    let ours: Vec<Vec<u8>> = lines(1201).into_iter().map(String::into_bytes).collect();
    load(&mut manager, &lines(1201));
    for (task, key) in [("run 0", "in_progress_tasks"), ("run 1", "finished_tasks")] {
        talk.set(key, &line(task), "node1");
    }
    talk.set("failed_tasks", &line("run 2"), "node1,");
    talk.set("task_fail_reason", &line("run 2"), "\"no\"");
    talk.set("todo_tasks", &line("theirs"), "");
    talk.set("finished_tasks", &line("theirs too"), "node1: \"\"");
    let occupied = manager.occupied().expect("Redis answers");
    assert_eq!(occupied.len(), 5, "{occupied:?}");
    assert_eq!(occupied[0], ("todo_tasks", 1202));
    manager.forget(&ours).expect("Redis answers");
    let left = manager.occupied().expect("Redis answers");
    assert_eq!(left, [("todo_tasks", 1), ("finished_tasks", 1)]);
}

/// 4: what a worker that was killed had, runs again; that its processes ended with it is for the
/// worker to see to.
#[test]
fn defect_04_on_redis_a_cleanup_lets_tasks_of_the_dead_wait() {
    let Some(server) = Server::start() else { return };
    let (mut talk, mut manager) = (server.talk(), manager(&server));
    talk.beat("dead", LONG_AGO);
    talk.beat("alive", AHEAD);
    talk.set("in_progress_tasks", &line("of the dead"), "dead");
    talk.set("in_progress_tasks", &line("of the living"), "alive");
    let report = manager.cleanup().expect("Redis answers");
    assert_eq!((report.dismissed, report.moved), (vec!["dead".to_owned()], 1));
    assert!(report.wrong_clocks.is_empty());
    let now = talk.snapshot();
    assert!(now.todo.contains_key(&line("of the dead")));
    assert!(now.in_progress.contains_key(&line("of the living")));
    assert_eq!(talk.hash("worker_status").into_keys().collect::<Vec<_>>(), ["alive"]);
    assert_eq!(manager.cleanup().expect("Redis answers").moved, 0);
}

#[test]
fn a_worker_whose_clock_is_far_behind_is_not_taken_for_dead() {
    let Some(server) = Server::start() else { return };
    // It is watched for long enough that even a busy machine lets it say something.
    let interval = Duration::from_secs(2);
    let mut manager = RedisManager::open(server.address(), interval).expect("Redis is there");
    let mut talk = server.talk();
    talk.beat("behind", LONG_AGO);
    talk.set("in_progress_tasks", &line("theirs"), "behind");
    // It says something else all the time, until the cleanup is over.
    let cleanup = std::thread::spawn(move || manager.cleanup().expect("Redis answers"));
    let mut time = LONG_AGO;
    until("the cleanup is over", || {
        time += 1;
        talk.beat("behind", time);
        cleanup.is_finished()
    });
    let report = cleanup.join().expect("no panic");
    assert_eq!((report.wrong_clocks, report.moved), (vec!["behind".to_owned()], 0));
    assert_eq!(talk.length("in_progress_tasks"), 1);
}

#[test]
fn an_order_to_stop_reaches_workers_at_once_and_can_be_taken_back() {
    let Some(server) = Server::start() else { return };
    let (mut talk, mut manager) = (server.talk(), manager(&server));
    let bridge = start(lazy(&server, "node1"));
    let mut player = Player::by_hand(&bridge, size(1, 0));
    until_lazy(&mut player, &mut talk);
    assert_eq!(player.name(), "node1");
    manager.stop_workers().expect("Redis answers");
    player.until("it is done", |player| player.is_finished());
    assert!(manager.check().expect("Redis answers").is_stopping);
    assert!(manager.allow_workers().expect("Redis answers"));
    assert!(!manager.allow_workers().expect("Redis answers"), "there is none any more");
    assert!(!manager.check().expect("Redis answers").is_stopping);
}

#[test]
fn a_manager_whose_redis_goes_away_says_so() {
    let Some(mut server) = Server::start() else { return };
    let mut manager = manager(&server);
    server.kill();
    let error = manager.check().expect_err("Redis is away");
    assert!(matches!(error, RedisError::Failed { .. }), "{error}");
    assert!(!error.is_usage() && error.to_string().contains(&server.address().to_string()));
    drop(manager);
    let error = RedisManager::open(server.address(), INTERVAL).map(|_| ()).expect_err("no Redis");
    assert!(error.is_usage(), "{error}");
}
