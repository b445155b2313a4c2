//! How often Redis is asked, and what makes it be asked at once.

use crate::player::Player;
use crate::server::Server;
use crate::support::{PATIENCE, bridge, config, lazy, line, lines, start, until, until_lazy};
use punctual_redis::{Polling, RedisBridgeConfig, RedisManager};
use std::io::{BufRead, BufReader};
use std::time::Duration;

#[test]
fn tasks_that_our_manager_loads_wake_a_worker_that_would_not_look_for_an_hour() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let bridge = start(lazy(&server, "node1"));
    let mut player = Player::quick(&bridge, 1);
    until_lazy(&mut player, &mut talk);
    let mut manager = RedisManager::open(server.address(), PATIENCE).expect("Redis is there");
    for round in 1..=3 {
        let tasks = crate::manager::tasks(&[line(&format!("round {round}"))]);
        manager.load(tasks).expect("it is loaded");
        player.until("it is finished", |_| talk.length("finished_tasks") == round);
    }
}

#[test]
fn where_the_server_tells_of_changes_tasks_of_the_original_wake_a_worker_as_well() {
    for flags in ["Eh", "KA"] {
        let Some(server) = Server::start() else { return };
        let mut talk = server.talk();
        talk.call::<String>(&["CONFIG", "SET", "notify-keyspace-events", flags]);
        let bridge = start(lazy(&server, "node1"));
        let mut player = Player::quick(&bridge, 1);
        until_lazy(&mut player, &mut talk);
        for round in 1..=3 {
            talk.load(&[line(&format!("round {round}"))]);
            player.until("it is finished", |_| talk.length("finished_tasks") == round);
        }
        let setting: Vec<String> = talk.call(&["CONFIG", "GET", "notify-keyspace-events"]);
        assert_eq!(setting[1].len(), flags.len(), "it is not ours to change");
    }
}

#[test]
fn a_task_that_fails_or_is_given_back_wakes_the_other_workers() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let first = bridge(&server, "node1");
    let mut one = Player::by_hand(&first, crate::player::size(1, 0));
    talk.load(&[line("run")]);
    one.until_running(1);
    let second = start(lazy(&server, "node2"));
    let mut other = Player::quick(&second, 1);
    until_lazy(&mut other, &mut talk);
    other.until("both know of each other", |_| {
        one.turn();
        talk.length("worker_status") == 2
    });
    one.end("run", crate::player::failure("not here"));
    other.until("it is finished there", |_| {
        one.turn();
        talk.length("finished_tasks") == 1
    });
}

/// 14: without a pause an idle worker of the original asked 6,427 times a second.
#[test]
fn defect_14_on_redis_an_idle_worker_says_next_to_nothing() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let bridge =
        start(RedisBridgeConfig { polling: Polling::default(), ..config(&server, "node1") });
    let mut player = Player::quick(&bridge, 1);
    until_lazy(&mut player, &mut talk);
    let mut lines = BufReader::new(server.monitor()).lines().map(|line| line.expect("a line"));
    let (mut beats, mut others) = (0, Vec::new());
    while beats < 3 {
        player.turn();
        let line = lines.next().expect("it says that it lives");
        if line.contains("\"HSET\" \"worker_status\"") {
            beats += 1;
        } else {
            others.push(line);
        }
    }
    // From 1 ms on the pauses double: there is no time for many of them.
    assert!(others.len() <= 40, "{others:#?}");
}

#[test]
fn a_batch_of_tasks_costs_a_few_commands() {
    const TASKS: usize = 2000;
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    talk.load(&lines(TASKS));
    let bridge = bridge(&server, "node1");
    let mut player = Player::quick(&bridge, 64);
    player.until("it is at work", |_| talk.length("finished_tasks") > 0);
    let wanted = i64::try_from(TASKS).expect("it is small");
    player.until("all are finished", |player| {
        player.started.len() == TASKS && talk.length("finished_tasks") == wanted
    });
    // A claim takes a task at a time at worst, and each task is reported once.
    let stats: String = talk.call(&["INFO", "commandstats"]);
    let calls = |command: &str| -> usize {
        let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:")));
        let calls = line.and_then(|line| line.split("calls=").nth(1)?.split(',').next());
        calls.map_or(0, |calls| calls.parse().expect("a number"))
    };
    assert!(calls("evalsha") <= 2 * TASKS + 10, "{} scripts", calls("evalsha"));
    assert!(calls("hscan") <= 20, "{} readings", calls("hscan"));
}

#[test]
fn a_fixed_pause_is_kept_and_nobody_listens_for_news() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    talk.load(&lines(2));
    let polling = Polling::Fixed(Duration::from_secs(3600));
    let bridge = start(RedisBridgeConfig { polling, pipeline: false, ..config(&server, "node1") });
    let mut player = Player::quick(&bridge, 4);
    player.until("the first is finished", |_| talk.length("finished_tasks") == 1);
    let listeners: (String, i64) = talk.call(&["PUBSUB", "NUMSUB", "punctual:todo"]);
    assert_eq!(listeners.1, 0);
    // The next look is an hour away: what it is told meanwhile does not change that.
    until("it has reported", || {
        player.turn();
        bridge.view().stats.finished == 1
    });
    assert_eq!(talk.length("todo_tasks"), 1);
}
