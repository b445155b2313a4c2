//! What others do to a Redis while workers are at it.

use crate::player::{Player, size, success};
use crate::server::{AHEAD, Server};
use crate::support::{at_work, bridge, config, line, lines, until};
use punctual_redis::{RedisBridge, RedisError};
use punctual_wire::CloseReason;

#[test]
fn scripts_that_are_thrown_away_are_brought_again() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let bridge = bridge(&server, "node1");
    let mut player = Player::quick(&bridge, 1);
    for round in 1..=3 {
        talk.call::<String>(&["SCRIPT", "FLUSH"]);
        talk.load(&[line(&format!("round {round}"))]);
        player.until("it is finished", |_| talk.length("finished_tasks") == round);
    }
    assert_eq!(player.started.len(), 3);
}

#[test]
fn what_runs_is_stopped_when_somebody_clears_everything() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let (_bridge, mut player) = at_work(&server, &["one", "two"]);
    talk.call::<String>(&["FLUSHALL"]);
    player.until("both are stopped", |player| player.stopped.len() == 2);
    talk.load(&[line("afterwards")]);
    player.until_running(1);
    assert_eq!(player.running(), ["afterwards"]);
    until("it says again that it lives", || talk.get("worker_status", "node1").is_some());
}

#[test]
fn a_worker_whose_name_was_taken_meanwhile_stops_all_and_goes_on_under_another() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let (bridge, mut player) = at_work(&server, &["run"]);
    // It was frozen for long; somebody else has the name, and says so later than it did.
    talk.beat("node1", AHEAD);
    talk.cut_all();
    player.until("it is given up", |player| player.closed.is_some());
    assert_eq!(player.closed, Some(CloseReason::LeaseExpired));
    assert_eq!(player.stopped, ["run"]);
    assert_eq!(talk.get("in_progress_tasks", &line("run")).as_deref(), Some("node1"));
    let mut player = Player::quick(&bridge, 1);
    player.until("it has another name", |player| player.name() == "node1-2");
    talk.load(&[line("other")]);
    player.until("it works", |_| talk.length("finished_tasks") == 1);
    assert_eq!(bridge.view().stats.lost, 1);
}

#[test]
fn a_worker_that_ends_while_redis_is_away_says_what_it_could_not_tell() {
    let Some(mut server) = Server::durable() else { return };
    let (bridge, _player) = at_work(&server, &["one", "two"]);
    server.kill();
    let error = bridge.stop().expect_err("Redis is away");
    let RedisError::NotDelivered { ref name, count, .. } = error else { panic!("{error}") };
    assert_eq!((name.as_str(), count), ("node1", 2));
    assert!(error.to_string().contains("cleanup"), "{error}");

    // The next worker of that name finds what was left.
    server.restart();
    let mut talk = server.talk();
    assert_eq!(talk.length("in_progress_tasks"), 2);
    let bridge = RedisBridge::start(config(&server, "node1")).expect("Redis is back");
    let mut player = Player::quick(&bridge, 2);
    player.until("all are finished", |_| talk.length("finished_tasks") == 2);
    assert_eq!((player.name(), bridge.view().stats.recovered), ("node1", 2));
}

#[test]
fn a_bridge_that_stops_gives_back_what_its_worker_has() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    talk.load(&lines(3));
    let bridge = bridge(&server, "node1");
    let mut player = Player::by_hand(&bridge, size(1, 1));
    player.until("one runs and one waits", |player| player.waiting() == 1);
    bridge.stop().expect("Redis knows everything");
    player.until("it is told", |player| player.closed.is_some());
    assert_eq!(player.closed, Some(CloseReason::Stopping));
    let now = talk.snapshot();
    assert_eq!((now.todo.len(), now.in_progress.len()), (3, 0));
    assert_eq!(talk.length("worker_status"), 0);
}

#[test]
fn a_drained_worker_finishes_what_runs_and_leaves_the_rest() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    talk.load(&lines(4));
    let bridge = bridge(&server, "node1");
    let mut player = Player::by_hand(&bridge, size(1, 2));
    player.until("one runs and two wait", |player| player.waiting() == 2);
    player.drain();
    player.until("the rest is back", |_| talk.length("todo_tasks") == 3);
    let command = player.running()[0].to_owned();
    player.end(&command, success(""));
    player.until("it is done", |player| player.is_finished());
    let now = talk.snapshot();
    assert_eq!((now.todo.len(), now.in_progress.len(), now.finished.len()), (3, 0, 1));
}
