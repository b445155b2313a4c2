//! What may go wrong, at the worst moment: workers and servers that are killed, tasks that behave
//! badly. No task is lost, none runs twice but for a fault that explains it, and the state says
//! what happened.

mod cut;
mod full;
mod many;
mod wire;

use crate::support::{Running, text};
use crate::task_bed::{Farm, lines_of, shell};
use serde_json::Value;
use std::fs;

/// Bytes of an output that a report carries at most.
const TAIL_BYTES: usize = 64 << 10;

/// A command that adds a line to a file.
fn adds(farm: &Farm, id: &str) -> String {
    format!("echo {id} >> {}", text(&farm.path("ids")))
}

/// The one task of a farm.
fn only_task(farm: &Farm) -> Value {
    let mut tasks = farm.tasks();
    assert_eq!(tasks.len(), 1, "{tasks:#?}");
    tasks.remove(0)
}

#[test]
fn defect_04_a_task_of_a_killed_worker_dies_with_it_and_is_finished_by_another() {
    let farm = Farm::new();
    let _server = farm.serve(&["--reconnect-grace", "10ms"]);
    let (up, gate) = (farm.fifo("up"), farm.fifo("gate"));
    let command = format!("{}; {}; {}", up.tells("up"), gate.waits(), adds(&farm, "1"));
    let file = farm.file("tasks", &[shell(&command)]);
    farm.tell(&["submit", &file]);
    let mut first = farm.work("node1", &["--slots", "1"]);
    assert_eq!(up.hear(), "up");
    first.kill();
    let _second = farm.work("node2", &["--slots", "1"]);
    assert_eq!(up.hear(), "up", "another worker runs it");
    // If the first attempt lived on, it could take this word from the second.
    gate.release();
    farm.tell(&["submit", &file, "--wait"]);
    assert_eq!(lines_of(&farm.path("ids")), ["1"]);
    let task = only_task(&farm);
    assert_eq!((&task["state"], &task["attempt"]), (&"done".into(), &2.into()), "{task:#}");
    assert_eq!((&task["worker"], &task["failures"]), (&"node2".into(), &0.into()), "{task:#}");
}

#[test]
fn defect_05_after_a_server_was_killed_in_the_middle_its_workers_go_on_and_nothing_is_lost() {
    const TASKS: usize = 200;
    let farm = Farm::new();
    let mut server = farm.serve(&[]);
    let (up, gate) = (farm.fifo("up"), farm.fifo("gate"));
    let command = |id: usize| match id {
        // In the midst of it all one task waits while the server is killed.
        120 => format!("{}; {}; {}", up.tells("up"), gate.waits(), adds(&farm, "120")),
        id => adds(&farm, &id.to_string()),
    };
    let lines: Vec<String> = (1..=TASKS).map(|id| shell(&command(id))).collect();
    let file = farm.file("tasks", &lines);
    let worker = farm.work("node1", &["--slots", "2"]);
    let submitting = Running::start(&farm.args(&["submit", &file, "--wait"]));
    assert_eq!(up.hear(), "up");
    server.kill();
    gate.release();
    let server = farm.serve(&[]);
    submitting.finish().expect_code(0);

    let mut ids: Vec<usize> =
        lines_of(&farm.path("ids")).iter().map(|id| id.parse().expect("an id")).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=TASKS).collect::<Vec<_>>(), "every task ran, and ran once");
    assert_eq!(farm.states(), ["done"; TASKS]);
    worker.terminate().expect_code(0);
    server.terminate().expect_code(0);
}

#[test]
fn what_was_submitted_and_done_before_a_kill_is_there_after_it() {
    let farm = Farm::new();
    let mut server = farm.serve(&[]);
    let worker = farm.work("node1", &[]);
    let failing = shell("echo why >&2; exit 3");
    let done = farm.file("done", &[shell(&adds(&farm, "1")), failing]);
    farm.ask(&["submit", &done, "--wait", "--retries", "0"]).expect_code(1);
    worker.terminate().expect_code(0);
    farm.tell(&["submit", &farm.file("waiting", &[shell(&adds(&farm, "2"))])]);
    let before = farm.tasks();
    server.kill();
    let mut server = farm.serve(&[]);
    assert_eq!(farm.tasks(), before);
    assert_eq!(farm.states(), ["done", "failed", "ready"]);
    let told = farm.tell(&["submit", &done]);
    assert_eq!(told, "job done: 2 tasks: 0 new, 2 known\n");

    // And once more, from the journal of the second start.
    server.kill();
    let _server = farm.serve(&[]);
    assert_eq!(farm.tasks(), before);
    let _worker = farm.work("node2", &[]);
    farm.tell(&["watch", "waiting"]);
    assert_eq!(lines_of(&farm.path("ids")), ["1", "2"]);
}

#[test]
fn a_worker_that_is_asked_to_end_finishes_what_runs_and_gives_the_rest_back() {
    let farm = Farm::new();
    let _server = farm.serve(&[]);
    let (up, gate) = (farm.fifo("up"), farm.fifo("gate"));
    let first = format!("{}; {}; {}", up.tells("up"), gate.waits(), adds(&farm, "1"));
    let file = farm.file("tasks", &[shell(&first), shell(&adds(&farm, "2"))]);
    farm.tell(&["submit", &file]);
    let mut worker = farm.work("node1", &["--slots", "1"]);
    assert_eq!(up.hear(), "up");
    worker.signal("TERM");
    worker.wait_for_line("draining");
    gate.release();
    let ended = worker.finish();
    ended.expect_code(0);
    assert!(ended.stderr.contains("stopped; 1 tasks done"), "{}", ended.stderr);
    assert_eq!(lines_of(&farm.path("ids")), ["1"]);
    assert_eq!(farm.states(), ["done", "ready"]);
    let _worker = farm.work("node2", &[]);
    farm.tell(&["submit", &file, "--wait"]);
    assert_eq!(lines_of(&farm.path("ids")), ["1", "2"]);
}

#[test]
fn a_worker_that_is_asked_twice_gives_everything_back_at_once() {
    let farm = Farm::new();
    let _server = farm.serve(&[]);
    let (up, gate) = (farm.fifo("up"), farm.fifo("gate"));
    let command = format!("{}; {}; {}", up.tells("up"), gate.waits(), adds(&farm, "1"));
    farm.tell(&["submit", &farm.file("tasks", &[shell(&command)])]);
    let mut worker = farm.work("node1", &[]);
    assert_eq!(up.hear(), "up");
    worker.signal("TERM");
    worker.wait_for_line("draining");
    worker.signal("TERM");
    worker.finish().expect_code(130);
    let task = only_task(&farm);
    assert_eq!((&task["state"], &task["failures"]), (&"ready".into(), &0.into()), "{task:#}");
    assert_eq!(lines_of(&farm.path("ids")), [""; 0]);
}

#[test]
fn a_worker_that_was_frozen_past_its_lease_changes_nothing_when_it_is_back() {
    let farm = Farm::new();
    let _server = farm.serve(&["--lease-timeout", "3s", "--heartbeat", "100ms"]);
    let (up, gate) = (farm.fifo("up"), farm.fifo("gate"));
    let command = format!("{}; {}; {}", up.tells("up"), gate.waits(), adds(&farm, "1"));
    let file = farm.file("tasks", &[shell(&command)]);
    farm.tell(&["submit", &file]);
    let frozen = farm.work("node1", &["--slots", "1"]);
    assert_eq!(up.hear(), "up");
    frozen.signal("STOP");
    let _other = farm.work("node2", &["--slots", "1"]);
    assert_eq!(up.hear(), "up", "another worker runs it");
    frozen.signal("CONT");
    // It hears that its task is not its own any more, ends it, and comes back as somebody else.
    let is_back = |worker: &Value| {
        let is_it = worker["name"].as_str().is_some_and(|name| name.starts_with("node1"));
        is_it && worker["state"] == "idle"
    };
    farm.wait_for_worker(is_back);
    gate.release();
    farm.tell(&["submit", &file, "--wait"]);
    assert_eq!(lines_of(&farm.path("ids")), ["1"]);
    let task = only_task(&farm);
    assert_eq!((&task["state"], &task["worker"]), (&"done".into(), &"node2".into()), "{task:#}");
}

#[test]
fn a_task_that_floods_its_output_costs_no_more_than_the_end_of_it() {
    const BYTES: usize = 30_000_000;
    let farm = Farm::new();
    let _server = farm.serve(&[]);
    let _worker = farm.work("node1", &["--output-file-max", "1MiB"]);
    let command = format!("head -c {BYTES} /dev/zero | tr '\\0' x; echo the end");
    farm.tell(&["submit", &farm.file("tasks", &[shell(&command)]), "--wait"]);
    let end = &only_task(&farm)["end"];
    assert_eq!(end["stdout_bytes"], BYTES + "the end\n".len());
    let stdout = end["stdout"].as_str().expect("text");
    assert!(stdout.ends_with("xthe end\n") && stdout.len() <= TAIL_BYTES, "{}", stdout.len());
    let mut files = fs::read_dir(farm.path("work")).expect("the directories of tasks");
    let dir = files.next().expect("one of them").expect("a readable entry").path();
    let file = fs::metadata(dir.join("stdout")).expect("what it wrote");
    assert!(file.len() <= 1 << 20, "{} bytes", file.len());
}

#[test]
fn defect_10_output_that_is_no_text_is_no_failure() {
    let farm = Farm::new();
    let _server = farm.serve(&[]);
    let _worker = farm.work("node1", &[]);
    let file = farm.file("tasks", &[shell("printf 'caf\\351 \\377\\376\\n'")]);
    farm.tell(&["submit", &file, "--wait"]);
    let task = only_task(&farm);
    assert_eq!(task["state"], "done");
    assert_eq!(task["end"]["stdout"], "caf\u{fffd} \u{fffd}\u{fffd}\n");
    // The table for people takes it as well.
    assert!(farm.tell(&["status", "--output"]).contains("caf\u{fffd}"));
}

#[test]
fn a_task_that_was_lost_too_often_fails_and_says_so() {
    let farm = Farm::new();
    let _server = farm.serve(&["--reconnect-grace", "10ms", "--losses-max", "2"]);
    let (up, gate) = (farm.fifo("up"), farm.fifo("gate"));
    let command = format!("{}; {}", up.tells("up"), gate.waits());
    farm.tell(&["submit", &farm.file("tasks", &[shell(&command)])]);
    for name in ["node1", "node2"] {
        let mut worker = farm.work(name, &[]);
        assert_eq!(up.hear(), "up");
        worker.kill();
    }
    farm.tell(&["watch", "tasks", "--interval", "10ms"]);
    let task = only_task(&farm);
    assert_eq!((&task["state"], &task["end"]["how"]), (&"failed".into(), &"lost".into()));
}
