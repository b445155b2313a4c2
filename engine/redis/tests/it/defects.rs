//! Defects of the original, each with its number: here they are none. Those that have nothing to do
//! with Redis are tested elsewhere.

use crate::player::{GIB, Player, all_play, failure, size, success};
use crate::server::{AHEAD, LONG_AGO, Server};
use crate::support::{INTERVAL, at_work, bridge, config, line, lines, start};
use punctual_redis::{RedisBridgeConfig, WorkLimits};
use punctual_taskfile::OriginalConf;
use std::collections::BTreeMap;

/// 1: a machine with less memory than the shipped configuration wants ran one task, and no more.
#[test]
fn defect_01_on_redis_the_shipped_configuration_works_on_a_small_machine() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    talk.load(&lines(10));
    let limits = WorkLimits::from(&OriginalConf::default());
    assert!(limits.accept_free > 8 * GIB, "the machine of the test is not small");
    let bridge = start(RedisBridgeConfig { limits, ..config(&server, "node1") });
    let mut player = Player::quick(&bridge, 2);
    player.measure(6 * GIB);
    player.until("all are finished", |_| talk.length("finished_tasks") == 10);
}

/// 2: a task was lost when its worker died between its two steps of a claim. Here connections are
/// cut in the middle of everything.
#[test]
fn defect_02_on_redis_at_every_moment_every_task_is_in_one_place() {
    const TASKS: usize = 200;
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    talk.load(&lines(TASKS));
    let bridges = [bridge(&server, "node1"), bridge(&server, "node2")];
    let players = bridges.iter().map(|bridge| Player::quick(bridge, 3)).collect();
    let players = all_play(players, || {
        let mut cuts = 0;
        loop {
            let now = talk.snapshot();
            let (todo, doing, done) = (&now.todo, &now.in_progress, &now.finished);
            let places = |line: &String| {
                [todo, doing, done].iter().filter(|place| place.contains_key(line)).count()
            };
            for line in lines(TASKS) {
                assert_eq!(places(&line), 1, "{line}: {now:?}");
            }
            if done.len() == TASKS {
                break;
            }
            // Now and then, but not so often that nothing gets done.
            if done.len() / 20 > cuts {
                cuts += 1;
                talk.cut_all();
            }
        }
    });
    let mut runs: BTreeMap<String, usize> = BTreeMap::new();
    for command in players.into_iter().flat_map(|player| player.started) {
        *runs.entry(command).or_default() += 1;
    }
    assert_eq!(runs.len(), TASKS);
    assert!(runs.values().all(|count| *count == 1), "some ran twice: {runs:?}");
}

/// 3: a task whose runner died stayed in progress for ever, since its worker lived.
#[test]
fn defect_03_on_redis_tasks_of_a_worker_that_dies_go_back() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let (bridge, player) = at_work(&server, &["one", "two"]);
    drop(player);
    crate::support::until("they are back", || talk.length("todo_tasks") == 2);
    assert_eq!(talk.length("in_progress_tasks"), 0);
    let mut player = Player::quick(&bridge, 2);
    player.until("they are finished", |_| talk.length("finished_tasks") == 2);
}

/// 5: after a restart of Redis no worker ever worked again.
#[test]
fn defect_05_on_redis_work_goes_on_after_redis_was_away() {
    let Some(mut server) = Server::durable() else { return };
    server.talk().load(&lines(3));
    let bridge = bridge(&server, "node1");
    let mut player = Player::by_hand(&bridge, size(1, 0));
    player.until_running(1);
    server.kill();
    let command = player.running()[0].to_owned();
    player.end(&command, success("while Redis was away"));
    player.until("that is noticed", |_| bridge.view().why_down.is_some());
    server.restart();
    let mut talk = server.talk();
    player.until("that is reported", |_| talk.length("finished_tasks") == 1);
    player.until_running(1);
    assert!(bridge.view().why_down.is_none());
    assert_eq!(player.started.len(), 2);
}

/// 6: a worker that was ordered to stop never ended, and ran the order as a task.
#[test]
fn defect_06_on_redis_an_order_to_stop_is_obeyed_and_never_run() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    talk.load(&lines(3));
    let bridge = bridge(&server, "node1");
    let mut player = Player::by_hand(&bridge, size(1, 1));
    player.until("one runs and one waits", |player| player.waiting() == 1);
    talk.set("todo_tasks", "WORKER_COMMAND_CLOSE", "");
    let command = player.running()[0].to_owned();
    player.until("what waits goes back", |_| talk.length("todo_tasks") == 3);
    player.end(&command, success(""));
    player.until("it is done", |player| player.is_finished());
    assert!(bridge.view().is_ordered_to_stop);
    bridge.stop().expect("Redis knows everything");
    let now = talk.snapshot();
    assert_eq!((now.finished.len(), now.in_progress.len(), now.failed.len()), (1, 0, 0));
    assert!(now.todo.contains_key("WORKER_COMMAND_CLOSE"), "it is for the others as well");
    assert_eq!(player.started.len(), 1);
}

/// 6: what of it is by intent: the order is for those who come later, too.
#[test]
fn defect_06_on_redis_whoever_comes_while_there_is_an_order_to_stop_ends() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    talk.load(&lines(1));
    talk.set("todo_tasks", "WORKER_COMMAND_CLOSE", "");
    let bridge = bridge(&server, "node1");
    let mut player = Player::quick(&bridge, 1);
    player.until("it is done", |player| player.is_finished());
    assert!(player.started.is_empty());
    assert_eq!(talk.length("todo_tasks"), 2);
}

/// 7: where there was one worker only, a task that failed was never tried again.
#[test]
fn defect_07_on_redis_a_worker_alone_tries_again_as_often_as_may_be() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let task = line("bad");
    talk.load(std::slice::from_ref(&task));
    // One that is long gone is nobody who could try it.
    talk.beat("gone", LONG_AGO);
    let bridge = bridge(&server, "node1");
    let play = Box::new(|_: &str| Some(failure("no")));
    let mut player = Player::new(&bridge, size(1, 0), play);
    let four = "node1,node1,node1,node1,";
    player.until("it failed four times", |_| {
        talk.get("failed_tasks", &task).as_deref() == Some(four)
    });
    let now = talk.snapshot();
    assert!(now.todo.is_empty() && now.in_progress.is_empty(), "it is given up");
    assert_eq!(player.started.len(), 4);
}

/// 7: with another worker alive it is for that one.
#[test]
fn defect_07_on_redis_while_another_worker_lives_a_failed_task_is_for_that_one() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let bad = line("bad");
    talk.load(std::slice::from_ref(&bad));
    talk.beat("other", AHEAD);
    let bridge = bridge(&server, "node1");
    let play = |command: &str| Some(if command == "bad" { failure("no") } else { success("") });
    let mut player = Player::new(&bridge, size(1, 0), Box::new(play));
    player.until("it is back", |_| talk.get("failed_tasks", &bad).is_some());
    // Whoever takes this one has looked at the other one as well.
    talk.load(&[line("good")]);
    player.until("the other one is finished", |_| talk.length("finished_tasks") == 1);
    assert_eq!(player.started, ["bad", "good"]);
    assert_eq!(talk.snapshot().todo.len(), 1);
    // Once it has failed there too, there is nobody better.
    talk.set("failed_tasks", &bad, "node1,other,");
    talk.load(&[line("another")]);
    player.until("it is tried again", |player| {
        player.started.iter().filter(|command| *command == "bad").count() == 2
    });
}

/// 8: `node1` was taken for one that had failed where `node10` had.
#[test]
fn defect_08_on_redis_a_name_that_begins_another_one_is_not_taken_for_it() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let task = line("run");
    talk.load(std::slice::from_ref(&task));
    talk.set("failed_tasks", &task, "node10,anode1,");
    talk.beat("other", AHEAD);
    let bridge = bridge(&server, "node1");
    let mut player = Player::quick(&bridge, 1);
    player.until("it is finished", |_| talk.length("finished_tasks") == 1);
}

/// 12: two workers of a host had one name, and took each other's tasks for their own.
#[test]
fn defect_12_on_redis_two_workers_that_want_one_name_get_two() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let first = bridge(&server, "node1");
    let mut one = Player::by_hand(&first, size(1, 0));
    talk.load(&[line("one")]);
    one.until_running(1);
    let second = bridge(&server, "node1");
    let mut other = Player::by_hand(&second, size(1, 0));
    other.until("it has a name of its own", |player| player.name() == "node1-2");
    one.turn();
    assert_eq!((one.name(), one.running()), ("node1", vec!["one"]));
    talk.load(&[line("other")]);
    other.until_running(1);
    assert_eq!(talk.get("in_progress_tasks", &line("one")).as_deref(), Some("node1"));
    assert_eq!(talk.get("in_progress_tasks", &line("other")).as_deref(), Some("node1-2"));
}

/// 15: priorities held among twenty tasks drawn at random, not in a long queue.
#[test]
fn defect_15_on_redis_in_a_long_queue_the_most_urgent_tasks_come_first() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let tasks: Vec<String> =
        (0..1500).map(|number| format!("shell:{}:0:1:{number}", number % 30)).collect();
    talk.load(&tasks);
    let bridge = bridge(&server, "node1");
    let mut player = Player::quick(&bridge, 1);
    player.until("all are finished", |_| talk.length("finished_tasks") == 1500);
    let priority = |command: &String| command.parse::<u32>().expect("a number") % 30;
    let priorities: Vec<u32> = player.started.iter().map(priority).collect();
    assert!(priorities.is_sorted_by(|one, next| one >= next), "{priorities:?}");
}

/// 17: the reason of a failure stayed when the task succeeded later.
#[test]
fn defect_17_on_redis_with_success_the_failures_before_are_forgotten() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    talk.load(&[line("fickle")]);
    let bridge = start(RedisBridgeConfig {
        limits: WorkLimits { report_interval: INTERVAL, attempts_max: 9, ..WorkLimits::default() },
        ..config(&server, "node1")
    });
    let mut tries = 0;
    let play = move |_: &str| {
        tries += 1;
        Some(if tries < 3 { failure("not yet") } else { success("at last") })
    };
    let mut player = Player::new(&bridge, size(1, 0), Box::new(play));
    player.until("it is finished", |_| talk.length("finished_tasks") == 1);
    let now = talk.snapshot();
    assert!(now.failed.is_empty() && now.reasons.is_empty() && now.todo.is_empty(), "{now:?}");
    assert_eq!(player.started.len(), 3);
}
