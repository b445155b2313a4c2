//! Beside the original's workers and manager: each sees what the others do.

use crate::player::{Player, failure, size, success};
use crate::server::{AHEAD, Server, Talk};
use crate::support::{at_work, bridge, line, until};
use punctual_redis::{RedisBridge, RedisError};

/// A worker of the original.
struct Original<'a> {
    name: &'a str,
    talk: Talk,
}

impl Original<'_> {
    /// Takes a task from the queue, in its two steps.
    fn take(&mut self, line: &str) {
        assert_eq!(self.talk.call::<i64>(&["HDEL", "todo_tasks", line]), 1, "{line} is gone");
        self.talk.set("in_progress_tasks", line, self.name);
    }

    fn finish(&mut self, line: &str, result: &str) {
        self.talk.call::<i64>(&["HDEL", "in_progress_tasks", line]);
        let value = format!("{}: \"{result}\"", self.name);
        self.talk.set("finished_tasks", line, &value);
    }

    fn fail(&mut self, line: &str) {
        self.talk.call::<i64>(&["HDEL", "in_progress_tasks", line]);
        self.talk.set("failed_tasks", line, &format!("{},", self.name));
        self.talk.set("task_fail_reason", line, "\"no\"");
        self.talk.set("todo_tasks", line, "");
    }
}

#[test]
fn what_the_original_loads_runs_here_and_what_comes_of_it_stands_where_it_looks() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let (good, bad) = (line("good"), line("bad"));
    talk.beat("node2", AHEAD);
    let (_bridge, mut player) = at_work(&server, &["good", "bad"]);
    let now = talk.snapshot();
    assert!(now.todo.is_empty());
    assert_eq!(now.in_progress.values().collect::<Vec<_>>(), ["node1", "node1"]);

    player.end("good", success("  42\n"));
    player.until("the result stands there", |_| talk.length("finished_tasks") == 1);
    assert_eq!(talk.get("finished_tasks", &good).as_deref(), Some(r#"node1: "42""#));
    player.end("bad", failure("no such file\n"));
    player.until("the reason stands there", |_| talk.length("task_fail_reason") == 1);
    let now = talk.snapshot();
    assert_eq!(now.failed.get(&bad).map(String::as_str), Some("node1,"));
    assert_eq!(now.reasons.get(&bad).map(String::as_str), Some(r#""no such file""#));
    assert!(now.in_progress.is_empty());
}

#[test]
fn a_worker_says_of_itself_what_the_original_shows() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let bridge = bridge(&server, "node1");
    let mut player = Player::by_hand(&bridge, size(2, 0));
    player.measure(6 << 30);
    let fields = |said: &str| said.split(':').skip(1).map(str::to_owned).collect::<Vec<_>>();
    player.until("it says what it measured", |_| {
        let said = talk.get("worker_status", "node1").unwrap_or_default();
        fields(&said) == ["1.50", "8.00", "2.00", "8.00"]
    });
    let said = talk.get("worker_status", "node1").expect("its status");
    let time: i64 = said.split(':').next().and_then(|time| time.parse().ok()).expect("a time");
    assert!(time > 1_700_000_000, "{said}");
    player.drain();
    player.until("it is done", |player| player.is_finished());
    bridge.stop().expect("Redis knows everything");
    assert_eq!(talk.get("worker_status", "node1"), None, "it is struck off");
}

#[test]
fn tasks_that_the_original_has_are_left_to_it() {
    let Some(server) = Server::start() else { return };
    let mut original = Original { name: "node9", talk: server.talk() };
    let (theirs, ours) = (line("theirs"), line("ours"));
    original.talk.load(&[theirs.clone(), ours]);
    original.take(&theirs);
    let bridge = bridge(&server, "node1");
    let mut player = Player::by_hand(&bridge, size(4, 0));
    player.until_running(1);
    assert_eq!(player.running(), ["ours"]);
    player.end("ours", success(""));
    original.finish(&theirs, "done");
    player.until("both are finished", |_| original.talk.length("finished_tasks") == 2);
    assert_eq!(player.started, ["ours"]);
}

#[test]
fn a_task_that_failed_at_the_original_is_run_here() {
    let Some(server) = Server::start() else { return };
    let mut original = Original { name: "node9", talk: server.talk() };
    let task = line("fickle");
    original.talk.load(std::slice::from_ref(&task));
    original.take(&task);
    original.fail(&task);
    let bridge = bridge(&server, "node1");
    let mut player = Player::quick(&bridge, 1);
    player.until("it is finished", |_| original.talk.length("finished_tasks") == 1);
    let now = original.talk.snapshot();
    assert!(now.failed.is_empty() && now.reasons.is_empty(), "{now:?}");
}

#[test]
fn a_report_of_a_task_that_went_elsewhere_changes_nothing() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let task = line("run");
    let (bridge, mut player) = at_work(&server, &["run"]);
    talk.set("in_progress_tasks", &task, "node9");
    player.end("run", success("too late"));
    player.until("the report was refused", |_| bridge.view().stats.stale == 1);
    let now = talk.snapshot();
    assert_eq!(now.in_progress.get(&task).map(String::as_str), Some("node9"));
    assert!(now.finished.is_empty() && now.todo.is_empty());
}

#[test]
fn a_task_that_was_given_to_somebody_else_is_stopped_here() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let (_bridge, mut player) = at_work(&server, &["lost", "kept"]);
    talk.set("in_progress_tasks", &line("lost"), "node9");
    player.until("it is stopped", |player| player.stopped == ["lost"]);
    assert_eq!(player.running(), ["kept"]);
}

#[test]
fn a_task_that_a_manager_moves_back_while_it_runs_goes_on_unless_somebody_takes_it() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let task = line("run");
    let (_bridge, mut player) = at_work(&server, &["run"]);
    // In this order, for the bridge may look in between.
    talk.set("todo_tasks", &task, "");
    talk.call::<i64>(&["HDEL", "in_progress_tasks", &task]);
    player.until("it is this worker's again", |_| {
        talk.get("in_progress_tasks", &task).as_deref() == Some("node1")
    });
    player.end("run", success("once"));
    player.until("it is finished", |_| talk.length("finished_tasks") == 1);
    assert_eq!(player.started, ["run"]);
    assert!(player.stopped.is_empty());
}

#[test]
fn what_is_no_task_stays_in_the_queue_and_is_in_nobodys_way() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let odd = ["WORKER_COMMAND_CLOSE:0:0:0:WORKER_COMMAND_CLOSE", "nonsense", "shell:1:2"];
    talk.load(&odd.map(str::to_owned));
    talk.load(&[line("good"), "shell:1:9:1:too large for this machine".to_owned()]);
    let bridge = bridge(&server, "node1");
    let mut player = Player::quick(&bridge, 4);
    player.until("the task is finished", |_| talk.length("finished_tasks") == 1);
    assert_eq!(player.started, ["good"]);
    assert_eq!(talk.length("todo_tasks"), 4);
}

#[test]
fn a_password_is_shown_and_a_wrong_one_is_named_as_the_reason() {
    let Some(server) = Server::with(&["--requirepass", "p@ss w/rd"]) else { return };
    let config = |password: &str| {
        let mut config = crate::support::config(&server, "node1");
        config.address.password = password.to_owned();
        config
    };
    let bridge = RedisBridge::start(config("p@ss w/rd")).expect("the password is right");
    until("it has its name", || bridge.view().name == "node1");
    for wrong in ["", "secret"] {
        let error = RedisBridge::start(config(wrong)).expect_err("the password is wrong");
        assert!(matches!(error, RedisError::Refused { .. }), "{error}");
        assert!(error.is_usage() && !error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn where_no_redis_is_that_is_said() {
    let Some(mut server) = Server::start() else { return };
    server.kill();
    let error = RedisBridge::start(crate::support::config(&server, "node1"));
    let error = error.expect_err("nobody is there");
    assert!(matches!(error, RedisError::Unreachable { .. }), "{error}");
}
