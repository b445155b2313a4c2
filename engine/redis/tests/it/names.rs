//! Who is called what, and what is left under a name.

use crate::player::{Player, size};
use crate::server::{AHEAD, LONG_AGO, Server, Talk};
use crate::support::{bridge, line};

#[test]
fn a_name_whose_owner_is_long_silent_is_taken_at_once_with_all_that_was_left() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    talk.beat("node1", LONG_AGO);
    talk.set("in_progress_tasks", &line("left"), "node1");
    talk.set("in_progress_tasks", &line("of another"), "node10");
    let bridge = bridge(&server, "node1");
    let mut player = Player::by_hand(&bridge, size(4, 0));
    player.until_running(1);
    assert_eq!((player.name(), player.running()), ("node1", vec!["left"]));
    assert_eq!(bridge.view().stats.recovered, 1);
    assert_eq!(talk.get("in_progress_tasks", &line("of another")).as_deref(), Some("node10"));
}

#[test]
fn a_name_whose_owner_died_a_moment_ago_is_taken_after_it_was_watched() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    // A clock that is ahead makes it seem to live; but it says nothing more.
    talk.beat("node1", AHEAD);
    talk.set("in_progress_tasks", &line("left"), "node1");
    let bridge = bridge(&server, "node1");
    let mut player = Player::by_hand(&bridge, size(1, 0));
    player.until_running(1);
    assert_eq!(player.name(), "node1");
}

#[test]
fn a_name_whose_owner_lives_is_left_to_it_whatever_its_clock_shows() {
    let Some(server) = Server::start() else { return };
    let mut talk = server.talk();
    let mut time = 9_000_000_000_i64;
    talk.set("in_progress_tasks", &line("theirs"), "node1");
    let mut beat = |talk: &mut Talk| {
        time += 1;
        talk.beat("node1", time);
    };
    beat(&mut talk);
    let bridge = bridge(&server, "node1");
    let mut player = Player::by_hand(&bridge, size(1, 0));
    player.until("it has a name of its own", |player| {
        beat(&mut talk);
        player.name() == "node1-2"
    });
    assert_eq!(talk.get("in_progress_tasks", &line("theirs")).as_deref(), Some("node1"));
}

#[test]
fn names_have_no_characters_that_the_original_splits_at() {
    let Some(server) = Server::start() else { return };
    let bridge = bridge(&server, "rack 1:node,2");
    let mut player = Player::by_hand(&bridge, size(1, 0));
    player.until("it has a name", |player| player.name() == "rack-1-node-2");
    assert_eq!(server.talk().length("worker_status"), 1);
}
