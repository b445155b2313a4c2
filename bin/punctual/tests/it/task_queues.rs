//! `punctual task serve --queues`: several queues, which clients and workers see as one server.

use crate::support::{Running, run, text};
use crate::task_bed::{Farm, document, lines_of, shell};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

/// Tasks that are told apart by a number, each of which does nothing.
fn nothing(count: u32) -> Vec<String> {
    (1..=count).map(|number| shell(&format!("true {number}"))).collect()
}

/// The queue of a task, and its number there.
fn place(task: &Value) -> (u16, u64) {
    let id = task["id"].as_str().expect("a number");
    let (queue, number) = id.split_once('.').unwrap_or(("0", id));
    (queue.parse().expect("a queue"), number.parse().expect("a number"))
}

/// How many of these tasks each of two queues has.
fn shares(tasks: &[Value]) -> [usize; 2] {
    [0, 1].map(|queue| tasks.iter().filter(|task| place(task).0 == queue).count())
}

#[test]
fn two_queues_are_one_server_and_after_a_kill_nothing_is_lost_and_nothing_runs_again() {
    const TASKS: usize = 2_000;
    let farm = Farm::new();
    let mut server = farm.serve(&["--queues", "2"]);
    let (up, gate, ids) = (farm.fifo("up"), farm.fifo("gate"), farm.path("ids"));
    let adds = |id: usize| format!("echo {id} >> {}", text(&ids));
    let command = |id: usize| match id {
        // In the midst of it all one task waits while the server is killed.
        1_000 => format!("{}; {}; {}", up.tells("up"), gate.waits(), adds(id)),
        id if id.is_multiple_of(20) => adds(id),
        // A shell takes time to start; most do without.
        id => format!("true {id}"),
    };
    let lines: Vec<String> = (1..=TASKS).map(|id| shell(&command(id))).collect();
    let file = farm.file("tasks", &lines);
    let options = ["--slots", "2", "--no-task-dirs"];
    let workers = ["node1", "node2"].map(|name| farm.work(name, &options));
    let submitting = Running::start(&farm.args(&["submit", &file, "--wait"]));
    assert_eq!(up.hear(), "up");
    server.kill();
    gate.release();
    let server = farm.serve(&["--queues", "2"]);
    submitting.finish().expect_code(0);

    let mut ran: Vec<usize> =
        lines_of(&ids).iter().map(|id| id.parse().expect("a number")).collect();
    ran.sort_unstable();
    let expected: Vec<usize> = (1..=TASKS).filter(|id| id.is_multiple_of(20)).collect();
    assert_eq!(ran, expected, "each ran, and ran once");
    let tasks = farm.tasks();
    let is_good = |task: &Value| task["state"] == "done" && task["failures"] == 0;
    assert!(tasks.iter().all(is_good), "{:#?}", tasks.iter().find(|task| !is_good(task)));
    let places: Vec<(u16, u64)> = tasks.iter().map(place).collect();
    assert_eq!(places.len(), TASKS);
    assert!(places.is_sorted_by(|one, other| one < other), "each once, in the order of numbers");
    let [first, second] = shares(&tasks);
    assert!(first > TASKS / 3 && second > TASKS / 3, "{first} and {second}");

    // One server is what there is to see.
    assert!(farm.tell(&["status"]).starts_with("2,000 tasks: 2,000 done\n"));
    assert_eq!(document(&farm.tell(&["jobs", "--json"]))["counts"]["done"], TASKS);
    assert_eq!(farm.workers().len(), 2, "{:#?}", farm.workers());
    for worker in workers {
        worker.terminate().expect_code(0);
    }
    let ended = server.terminate();
    ended.expect_code(0);
    assert!(ended.stderr.contains("stopped; 0 unfinished tasks"), "{}", ended.stderr);
}

#[test]
fn a_journal_is_gone_on_from_by_as_many_queues_as_it_was_begun_with() {
    let farm = Farm::new();
    let mut server = farm.start_server(&["--queues", "2"]);
    for line in ["shard 0: new journal in ", "shard 1: new journal in ", "its 2 queues share"] {
        server.wait_for_line(line);
    }
    server.wait_for_line("ready");
    farm.tell(&["submit", &farm.file("tasks", &nothing(40))]);
    let before = farm.tasks();
    assert!(shares(&before).iter().all(|share| *share > 0), "{before:#?}");
    server.terminate().expect_code(0);

    for options in [&["--queues", "3"][..], &[]] {
        let ended = farm.start_server(options).finish();
        ended.expect_code(2);
        assert!(ended.error().contains("--queues 2"), "{}", ended.stderr);
    }
    let (file, journal) = (farm.file("run", &nothing(1)), farm.path("journal"));
    let ended = run(&["task", "run", &file, "--journal-dir", text(&journal)]);
    ended.expect_code(2);
    assert!(ended.error().contains("a run has one queue"), "{}", ended.stderr);
    let server = farm.serve(&["--queues", "2"]);
    assert_eq!(farm.tasks(), before);
    let known = farm.tell(&["submit", &farm.file("tasks", &nothing(41))]);
    assert_eq!(known, "job tasks: 41 tasks: 1 new, 40 known\n");
    server.terminate().expect_code(0);
    let checked = run(&["journal", "check", text(&journal)]);
    checked.expect_code(0);
    for part in ["shard-0\n", "shard-1\n", "nothing is wrong"] {
        assert!(checked.stdout.contains(part), "no {part:?} in\n{}", checked.stdout);
    }
}

#[test]
fn a_journal_of_one_queue_stays_one_and_wrong_numbers_are_refused_before_anything_begins() {
    let farm = Farm::new();
    for (options, part) in [
        (&["--queues", "65"][..], "1..=64"),
        (&["--queues", "2", "--cores", "0"][..], "one core for each queue"),
    ] {
        let ended = farm.start_server(options).finish();
        ended.expect_code(2);
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
        assert!(!farm.path("journal").exists(), "nothing was begun");
    }
    farm.serve(&[]).terminate().expect_code(0);
    let ended = farm.start_server(&["--queues", "2"]).finish();
    ended.expect_code(2);
    assert!(ended.error().contains("--queues 1"), "{}", ended.stderr);
    farm.serve(&[]).terminate().expect_code(0);
}

#[test]
fn tasks_and_workers_of_all_queues_are_named_as_those_of_one() {
    let farm = Farm::new();
    let _server = farm.serve(&["--queues", "2"]);
    farm.tell(&["submit", &farm.file("tasks", &nothing(40))]);
    let [first, second] = shares(&farm.tasks());
    assert!(first > 2 && second > 2, "{first} and {second}");
    assert_eq!(farm.tell(&["cancel", "1", "1.1", "1.2"]), "3 tasks cancelled\n");
    assert_eq!(farm.tell(&["retry", "1.1"]), "1 task tried again\n");
    let table = farm.tell(&["export", "--format", "csv", "--state", "cancelled"]);
    let ids: Vec<&str> = table.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    assert_eq!(ids, ["1", "1.2"]);
    assert_eq!(farm.tell(&["cancel", "7.1"]), "0 tasks cancelled\n", "there is no such queue");
    assert_eq!(farm.tell(&["remove", "1.2"]), "1 task removed\n");
    assert_eq!(farm.tell(&["cancel", "--all"]), "38 tasks cancelled\n");
    // The limit holds for all queues together, and where the first one ends as well.
    for limit in [1, first + 1] {
        let told = farm.tell(&["status", "--json", "--limit", &limit.to_string()]);
        assert_eq!(told.lines().count(), 1 + limit, "{told}");
    }

    let worker = farm.work("node1", &[]);
    assert_eq!(farm.workers().len(), 1, "{:#?}", farm.workers());
    assert_eq!(farm.tell(&["stop-worker", "node1"]), "1 worker asked to stop\n");
    worker.finish().expect_code(0);
}

#[test]
fn tasks_with_an_id_and_those_that_come_after_others_stay_together_in_one_queue() {
    let farm = Farm::new();
    let _server = farm.serve(&["--queues", "4"]);
    let ids = farm.path("ids");
    let link = |at: u32| {
        let after: Vec<String> = (1..at).map(|before| format!("link-{before}")).collect();
        let command = format!("echo {at} >> {}", text(&ids));
        json!({"command": command, "id": format!("link-{at}"), "after": after}).to_string()
    };
    let mut lines: Vec<String> = (1..=6).map(link).collect();
    lines.push(json!({"command": "true", "name": "last", "after": "link-6"}).to_string());
    lines.push(json!({"command": "true {index}", "array": {"to": 39}}).to_string());
    let _worker = farm.work("node1", &["--slots", "2", "--no-task-dirs"]);
    farm.tell(&["submit", &farm.file("chain.jsonl", &lines), "--wait"]);
    assert_eq!(fs::read_to_string(&ids).expect("they have run"), "1\n2\n3\n4\n5\n6\n");
    let queues =
        |tasks: &[Value]| -> BTreeSet<u16> { tasks.iter().map(|task| place(task).0).collect() };
    let (chain, others): (Vec<Value>, Vec<Value>) =
        farm.tasks().into_iter().partition(|task| task["name"] != "");
    assert_eq!((chain.len(), queues(&chain).len()), (7, 1), "{chain:#?}");
    assert_eq!((others.len(), queues(&others).len()), (40, 4), "{others:#?}");
}

#[test]
fn a_dashboard_and_top_show_every_queue_and_all_tasks_together() {
    let farm = Farm::new();
    let mut server = farm.start_server(&["--queues", "2", "--http", "0"]);
    let line = server.wait_for_line("the dashboard is at ");
    let (_, address) = line.split_once("http://").expect("an address");
    server.wait_for_line("ready");
    farm.tell(&["submit", &farm.file("tasks", &nothing(40))]);
    let address = address.trim_end().trim_end_matches('/');
    let ended = run(&["top", "--http", address, "--interval", "250ms", "--once"]);
    ended.expect_code(0);
    for part in ["\n40 tasks: 40 ready", "\nqueue ", "\ntasks0 ", "\ntasks1 "] {
        assert!(ended.stdout.contains(part), "no {part:?} in\n{}", ended.stdout);
    }
}
