//! Without any switch a bridge works as a worker of the original, less its defects.

use crate::player::{Player, all_play, failure, size, success};
use crate::server::{AHEAD, Server};
use crate::support::{bridge, config, line, lines, start};
use punctual_redis::{Polling, RedisBridge, RedisBridgeConfig};
use punctual_taskfile::{Format, ReadOptions};
use std::time::Duration;

/// A bridge that claims as the original does. Pauses would only make the test long.
fn as_the_original(server: &Server, name: &str) -> RedisBridge {
    let polling = Polling::Fixed(Duration::ZERO);
    start(RedisBridgeConfig { pipeline: false, polling, ..config(server, name) })
}

#[test]
fn tasks_are_claimed_and_reported_one_by_one_by_priority() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let tasks: Vec<String> =
        (0..20).map(|number| format!("shell:{}:0:1:{number}", number % 5)).collect();
    talk.load(&tasks);
    let bridge = as_the_original(&server, "node1");
    let mut player = Player::quick(&bridge, 1);
    player.until("all are finished", |_| talk.length("finished_tasks") == 20);
    let priority = |command: &String| command.parse::<u32>().expect("a number") % 5;
    let priorities: Vec<u32> = player.started.iter().map(priority).collect();
    assert!(priorities.is_sorted_by(|one, next| one >= next), "{priorities:?}");
    assert_eq!(bridge.view().stats.readings, 0, "it keeps no list");
}

#[test]
fn of_a_long_queue_some_tasks_are_drawn_at_random() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    talk.load(&lines(1100));
    let bridges = [as_the_original(&server, "node1"), bridge(&server, "node2")];
    let mut players: Vec<Player> = bridges.iter().map(|bridge| Player::quick(bridge, 4)).collect();
    players[0].until("it has drawn some", |player| player.started.len() >= 20);
    let players = all_play(players, || talk.wait_for_finished(1100));
    let runs: usize = players.iter().map(|player| player.started.len()).sum();
    assert_eq!(runs, 1100, "each once");
}

#[test]
fn failures_orders_and_what_fits_count_as_ever() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    talk.beat("other", AHEAD);
    talk.load(&[line("bad"), line("good"), "shell:9:99:1:too large".to_owned()]);
    let bridge = as_the_original(&server, "node1");
    let play = |command: &str| Some(if command == "bad" { failure("no") } else { success("") });
    let mut player = Player::new(&bridge, size(1, 0), Box::new(play));
    player.until("both were run", |_| {
        talk.length("finished_tasks") == 1 && talk.length("failed_tasks") == 1
    });
    talk.set("todo_tasks", "WORKER_COMMAND_CLOSE", "");
    player.until("it is done", |player| player.is_finished());
    let now = talk.snapshot();
    assert!(now.in_progress.is_empty());
    assert_eq!(now.todo.len(), 3, "one is for others, one for nobody, and one is the order");
    assert_eq!(player.started.iter().filter(|command| *command == "bad").count(), 1);
}

#[test]
fn cores_count_if_they_are_to() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    talk.load(&["shell:1:0:6:one".to_owned(), "shell:1:0:6:two".to_owned()]);
    let first = start(RedisBridgeConfig { count_cores: true, ..config(&server, "node1") });
    let mut one = Player::by_hand(&first, size(4, 0));
    one.until_running(1);
    let second = bridge(&server, "node2");
    let mut other = Player::by_hand(&second, size(4, 0));
    other.until_running(1);
    let command = one.running()[0].to_owned();
    assert_ne!(other.running()[0], command);
    talk.load(&["shell:1:0:7:three".to_owned(), "shell:1:0:8:four".to_owned()]);
    other.until("nobody counts here", |player| {
        one.turn();
        player.running().len() == 3
    });
    assert_eq!(one.running(), [command.as_str()], "there are eight cores");
}

#[test]
fn lines_of_the_fork_with_timeouts_are_read_as_such_if_that_is_said() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    talk.load(&["shell:1:0:1:60:sleep 1".to_owned(), "shell;1;0;1;echo a:b".to_owned()]);
    let options = ReadOptions { format: Format::Timeout, ..ReadOptions::default() };
    let bridge = start(RedisBridgeConfig { options, ..config(&server, "node1") });
    let mut player = Player::by_hand(&bridge, size(2, 0));
    player.until_running(2);
    let mut running = player.running();
    running.sort_unstable();
    assert_eq!(running, ["echo a:b", "sleep 1"]);
}
