//! Redis is killed in the middle of everything, and started again.

use crate::player::{Player, all_play, success};
use crate::server::{Server, Talk};
use crate::support::{at_work, bridge, line, lines, until};
use std::collections::BTreeMap;

/// How often each command was run.
fn runs(players: Vec<Player>) -> BTreeMap<String, usize> {
    let mut runs = BTreeMap::new();
    for command in players.into_iter().flat_map(|player| player.started) {
        *runs.entry(command).or_default() += 1;
    }
    runs
}

#[test]
fn a_redis_that_is_killed_again_and_again_loses_nothing_and_nothing_runs_twice() {
    const TASKS: usize = 400;
    let Some(mut server) = Server::durable() else { return };
    server.talk().load(&lines(TASKS));
    let bridges = [bridge(&server, "node1"), bridge(&server, "node2")];
    let players = bridges.iter().map(|bridge| Player::quick(bridge, 4)).collect();
    let players = all_play(players, || {
        for kill in 1..4_i64 {
            let mut talk = server.talk();
            until("some more are finished", || talk.length("finished_tasks") >= 100 * kill);
            server.kill();
            server.restart();
        }
        server.talk().wait_for_finished(i64::try_from(TASKS).expect("it is small"));
    });
    let mut talk = server.talk();
    let now = talk.snapshot();
    assert!(now.todo.is_empty() && now.in_progress.is_empty() && now.failed.is_empty(), "{now:?}");
    let runs = runs(players);
    assert_eq!(runs.len(), TASKS);
    // It writes down what it confirms before it does, so nobody was told anything that it forgot.
    let twice: Vec<&String> = runs.iter().filter(|run| *run.1 != 1).map(|run| run.0).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert!(bridges.iter().all(|bridge| bridge.view().stats.reconnects > 0));
}

/// Makes a server forget what it confirmed, as one does that writes once a second.
fn forget(talk: &mut Talk, change: impl FnOnce(&mut Talk)) {
    change(talk);
    talk.cut_all();
}

#[test]
fn a_claim_that_redis_forgot_is_made_again_and_the_task_goes_on() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let task = line("run");
    let (_bridge, mut player) = at_work(&server, &["run"]);
    forget(&mut talk, |talk| {
        talk.set("todo_tasks", &task, "");
        talk.call::<i64>(&["HDEL", "in_progress_tasks", &task]);
    });
    player.until("it is claimed again", |_| {
        talk.get("in_progress_tasks", &task).as_deref() == Some("node1")
    });
    player.end("run", success("once"));
    player.until("it is finished", |_| talk.length("finished_tasks") == 1);
    assert_eq!((player.started.len(), player.stopped.len()), (1, 0));
    assert_eq!(talk.length("todo_tasks"), 0);
}

#[test]
fn an_end_that_redis_forgot_is_told_again() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let task = line("run");
    let (bridge, mut player) = at_work(&server, &["run"]);
    player.end("run", success("42"));
    player.until("it is finished", |_| talk.length("finished_tasks") == 1);
    player.until("that is known here", |_| bridge.view().running == 0);
    forget(&mut talk, |talk| {
        talk.set("in_progress_tasks", &task, "node1");
        talk.call::<i64>(&["HDEL", "finished_tasks", &task]);
    });
    player.until("it is told again", |_| talk.length("finished_tasks") == 1);
    assert_eq!(talk.get("finished_tasks", &task).as_deref(), Some(r#"node1: "42""#));
    assert_eq!((talk.length("in_progress_tasks"), player.started.len()), (0, 1));
}

#[test]
fn a_claim_of_which_nobody_here_ever_heard_goes_back() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let bridge = bridge(&server, "node1");
    let mut player = Player::quick(&bridge, 1);
    player.until("it is at work", |player| player.name() == "node1");
    forget(&mut talk, |talk| talk.set("in_progress_tasks", &line("run"), "node1"));
    player.until("it runs after all", |_| talk.length("finished_tasks") == 1);
    assert_eq!(bridge.view().stats.recovered, 1);
}
