//! Tasks that wait at a worker, and how they get away from there.

use crate::player::{Player, size, success};
use crate::server::Server;
use crate::support::{bridge, line, lines};
use punctual_redis::RedisManager;
use std::time::Duration;

#[test]
fn a_worker_has_as_many_tasks_ahead_as_it_wants_and_no_more() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    talk.load(&lines(10));
    let bridge = bridge(&server, "node1");
    let mut player = Player::by_hand(&bridge, size(2, 3));
    player.until("two run and three wait", |player| player.waiting() == 3);
    assert_eq!((player.running().len(), talk.length("in_progress_tasks")), (2, 5));
    let command = player.running()[0].to_owned();
    player.end(&command, success(""));
    assert_eq!(player.running().len(), 2, "the next one was here already");
    player.until("another one comes", |player| player.waiting() == 3);
    assert_eq!(talk.length("todo_tasks"), 4);
}

#[test]
fn tasks_that_wait_at_a_busy_worker_go_to_one_that_has_nothing_to_do() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    talk.load(&lines(4));
    let busy = bridge(&server, "node1");
    let mut one = Player::by_hand(&busy, size(1, 3));
    one.until("three wait", |player| player.waiting() == 3);
    let idle = bridge(&server, "node2");
    let mut other = Player::by_hand(&idle, size(1, 0));
    other.until("it has one of them", |player| {
        one.turn();
        player.running().len() == 1
    });
    assert_eq!(one.running().len(), 1, "what runs is left alone");
    let owner = talk.get("in_progress_tasks", &line(other.running()[0]));
    assert_eq!(owner.as_deref(), Some("node2"));
    assert!(busy.view().stats.recalled > 0);
}

#[test]
fn a_task_that_is_more_urgent_takes_the_place_of_one_that_waits() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let of = |priority: u32, command: &str| format!("shell:{priority}:0:1:{command}");
    talk.load(&[of(5, "first"), of(2, "low"), of(3, "middle")]);
    let bridge = bridge(&server, "node1");
    let mut player = Player::by_hand(&bridge, size(1, 2));
    player.until("one runs and two wait", |player| player.waiting() == 2);
    assert_eq!(player.running(), ["first"]);
    let interval = Duration::from_secs(1);
    let mut manager = RedisManager::open(server.address(), interval).expect("Redis is there");
    let urgent = crate::manager::tasks(&[of(9, "urgent")]);
    manager.load(urgent).expect("it is loaded");
    player.until("the urgent one is here, and the least one in the queue", |_| {
        let now = talk.snapshot();
        now.in_progress.contains_key(&of(9, "urgent")) && now.todo.contains_key(&of(2, "low"))
    });
    player.until("it waits here", |player| player.waiting() == 2);
    player.end("first", success(""));
    assert_eq!(player.running(), ["urgent"]);
}

#[test]
fn tasks_are_claimed_by_the_memory_that_they_ask_for_and_that_is_free() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let of = |memory: u32, command: &str| format!("shell:{memory}:{memory}:1:{command}");
    talk.load(&[of(6, "six"), of(5, "five"), of(2, "two")]);
    let bridge = bridge(&server, "node1");
    let mut player = Player::by_hand(&bridge, size(8, 0));
    player.until_running(2);
    assert_eq!(player.running(), ["six", "two"], "of 8 GiB");
    assert_eq!(talk.length("in_progress_tasks"), 2);
    player.end("six", success(""));
    player.until("there is room", |player| player.running() == ["two", "five"]);
}
