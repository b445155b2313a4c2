//! Server, workers and clients in processes of their own: what each command does and prints.

use crate::support::{Running, run, text};
use crate::task_bed::{Farm, document, lines_of, shell};
use serde_json::{Value, json};
use std::fs;

/// Tasks that are named by a number, each of which does nothing.
fn nothing(count: u32) -> Vec<String> {
    (1..=count).map(|number| shell(&format!("true {number}"))).collect()
}

#[test]
fn a_submitted_file_is_run_by_a_worker_and_waited_for() {
    let farm = Farm::new();
    let server = farm.serve(&[]);
    let worker = farm.work("node1", &["--slots", "2"]);
    let ids = farm.path("ids");
    let line = |id: u32| shell(&format!("echo {id} >> {}", text(&ids)));
    let file = farm.file("sweep.task", &(100..130).map(line).collect::<Vec<_>>());
    let told = farm.tell(&["submit", &file, "--wait"]);
    let summary = "30 tasks: 30 done, 0 failed, 0 cancelled, 0 known before; ";
    assert!(told.starts_with(summary), "{told}");
    assert_eq!(lines_of(&ids).len(), 30);

    let ended = worker.terminate();
    ended.expect_code(0);
    assert!(ended.stderr.contains("stopped; 30 tasks done, 0 failed"), "{}", ended.stderr);
    let ended = server.terminate();
    ended.expect_code(0);
    assert!(ended.stderr.contains("stopped; 0 unfinished tasks"), "{}", ended.stderr);
}

#[test]
fn what_is_submitted_again_is_known_and_runs_once() {
    let farm = Farm::new();
    let _server = farm.serve(&[]);
    let file = farm.file("tasks", &nothing(10));
    let told = farm.tell(&["submit", &file, "--job", "mine"]);
    assert_eq!(told, "job mine: 10 tasks: 10 new, 0 known\n");
    let file = farm.file("tasks", &nothing(12));
    let told = farm.tell(&["submit", &file, "--job", "mine"]);
    assert_eq!(told, "job mine: 12 tasks: 2 new, 10 known\n");
    // Another job is another matter.
    let told = farm.tell(&["submit", &file]);
    assert_eq!(told, "job tasks: 12 tasks: 12 new, 0 known\n");
}

#[test]
fn status_is_counts_and_rows_for_people_and_lines_of_json_for_programs() {
    let farm = Farm::new();
    let _server = farm.serve(&[]);
    let lines = ["shell:4:2:1:./run --fast", "python:1:0:0:work.py", "shell:0:0:0:./run --slow"];
    let file = farm.file("sweep.task", &lines.map(str::to_owned));
    farm.tell(&["submit", &file]);
    let told = farm.tell(&["status", "sweep"]);
    assert!(told.starts_with("3 tasks: 3 ready\n\nid "), "{told}");
    assert!(told.contains("./run --fast") && told.contains("work.py"), "{told}");

    let told = farm.tell(&["status", "--json", "--include", "run"]);
    let documents: Vec<Value> = told.lines().map(document).collect();
    assert_eq!(documents[0]["kind"], "counts");
    assert_eq!(documents[0]["counts"]["ready"], 3);
    assert_eq!(documents.len(), 3, "{told}");
    for (field, value) in [
        ("kind", json!("task")),
        ("id", json!("1")),
        ("job", json!("sweep")),
        ("state", json!("ready")),
        ("runs", json!("shell")),
        ("command", json!("./run --fast")),
        ("priority", json!(4)),
        ("memory_bytes", json!(2_u64 << 30)),
        ("cores", json!(1.0)),
        ("attempt", json!(0)),
        ("end", Value::Null),
    ] {
        assert_eq!(documents[1][field], value, "{field}");
    }
    let one = farm.tell(&["status", "--json", "--limit", "1", "--exclude", "run"]);
    assert_eq!(one.lines().count(), 2, "{one}");
    assert_eq!(document(one.lines().last().expect("a task"))["command"], "work.py");

    let jobs = farm.tell(&["jobs", "--json"]);
    assert_eq!(document(&jobs)["job"], "sweep");
    assert_eq!(document(&jobs)["tasks"], 3);
    assert!(farm.tell(&["jobs"]).contains("3 tasks: 3 ready"));
}

#[test]
fn tasks_are_cancelled_retried_and_removed_by_what_they_have_in_common() {
    let farm = Farm::new();
    let _server = farm.serve(&[]);
    farm.tell(&["submit", &farm.file("tasks", &nothing(4))]);
    assert_eq!(farm.tell(&["cancel", "1"]), "1 task cancelled\n");
    assert_eq!(farm.tell(&["cancel", "--include", "true 2"]), "1 task cancelled\n");
    assert_eq!(farm.states(), ["cancelled", "cancelled", "ready", "ready"]);
    assert_eq!(farm.tell(&["retry", "--job", "tasks", "--include", "1"]), "1 task tried again\n");
    assert_eq!(farm.states(), ["ready", "cancelled", "ready", "ready"]);
    assert_eq!(farm.tell(&["remove", "--all"]), "1 task removed\n");
    assert_eq!(farm.states(), ["ready", "ready", "ready"]);
    assert_eq!(farm.tell(&["cancel", "--all"]), "3 tasks cancelled\n");

    for verb in ["cancel", "retry", "requeue", "remove"] {
        let ended = farm.ask(&[verb]);
        ended.expect_code(2);
        assert!(ended.error().contains("which tasks?"), "{}", ended.stderr);
    }
    let ended = farm.ask(&["cancel", "--job", "task"]);
    ended.expect_code(2);
    assert!(ended.error().contains("no job \"task\"; there are tasks"), "{}", ended.stderr);
}

#[test]
fn a_task_that_runs_is_stopped_when_it_is_cancelled_or_put_back() {
    let farm = Farm::new();
    let _server = farm.serve(&[]);
    let _worker = farm.work("node1", &["--slots", "1", "--prefetch", "off"]);
    let (up, gate) = (farm.fifo("up"), farm.fifo("gate"));
    let command = format!("{}; {}; {}", up.tells("up"), gate.waits(), up.tells("through"));
    farm.tell(&["submit", &farm.file("tasks", &[shell(&command)])]);
    assert_eq!(up.hear(), "up");
    assert_eq!(farm.tell(&["requeue", "--state", "running"]), "1 task put back\n");
    assert_eq!(up.hear(), "up", "it runs anew");
    gate.release();
    assert_eq!(up.hear(), "through");
    farm.tell(&["submit", &farm.file("tasks", &[shell(&command)]), "--wait"]);
    assert_eq!(farm.tasks()[0]["attempt"], 2);

    farm.tell(&["requeue", "1"]);
    assert_eq!(up.hear(), "up", "what is done runs once more if it is told to");
    assert_eq!(farm.tell(&["cancel", "1"]), "1 task cancelled\n");
    assert_eq!(farm.states(), ["cancelled"]);
}

#[test]
fn defect_06_workers_are_listed_and_stop_when_they_are_asked_to() {
    let farm = Farm::new();
    let _server = farm.serve(&[]);
    let options = ["--slots", "3", "--memory", "1GiB", "--cores", "1.5"];
    let first = farm.work("node1", &options);
    // The name is taken, so this one gets another.
    let mut second = farm.start_worker("node1", &options);
    second.wait_for_line("node1#2");
    let workers = farm.workers();
    let names: Vec<&Value> = workers.iter().map(|worker| &worker["name"]).collect();
    assert_eq!(names, ["node1", "node1#2"]);
    for (field, value) in [
        ("state", json!("idle")),
        ("slots", json!(3)),
        ("memory_bytes", json!(1 << 30)),
        ("cores", json!(1.5)),
        ("running", json!(0)),
    ] {
        assert_eq!(workers[0][field], value, "{field}");
    }
    assert!(farm.tell(&["workers"]).contains("node1#2"));

    assert_eq!(farm.tell(&["stop-worker", "node1"]), "1 worker asked to stop\n");
    first.finish().expect_code(0);
    let ended = farm.ask(&["stop-worker", "nobody"]);
    ended.expect_code(2);
    assert!(ended.error().contains("no worker has this name"), "{}", ended.stderr);
    farm.tell(&["stop-worker", "--all"]);
    second.finish().expect_code(0);
    // Whoever comes later was not meant, and nobody takes the order for a task.
    let _third = farm.work("node1", &[]);
    farm.tell(&["submit", &farm.file("tasks", &nothing(1)), "--wait"]);
    assert_eq!(farm.states(), ["done"]);
}

#[test]
fn what_was_done_is_exported_for_programs_spreadsheets_and_to_be_run_again() {
    let farm = Farm::new();
    let _server = farm.serve(&[]);
    let _worker = farm.work("node1", &[]);
    let lines = ["shell:4:0:0:echo one, two", "shell:0:0:0:exit 3"].map(str::to_owned);
    let file = farm.file("tasks", &lines);
    farm.ask(&["submit", &file, "--wait", "--retries", "0"]).expect_code(1);
    let told = farm.tell(&["export", "tasks"]);
    let documents: Vec<Value> = told.lines().map(document).collect();
    assert_eq!(documents[0]["end"]["stdout"], "one, two\n");
    assert_eq!(documents[1]["end"]["reason"], "exit code 3");
    assert_eq!(documents[1]["failed_on"], json!(["node1"]));

    let table = farm.tell(&["export", "--format", "csv"]);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.contains("\"echo one, two\""), "{table}");

    let again = farm.path("again.task");
    farm.tell(&["export", "--format", "original", "--output", text(&again)]);
    assert_eq!(fs::read_to_string(again).expect("it was written"), lines.join("\n") + "\n");
}

#[test]
fn a_watch_shows_a_job_until_it_is_over() {
    let farm = Farm::new();
    let _server = farm.serve(&[]);
    let _worker = farm.work("node1", &[]);
    farm.tell(&["submit", &farm.file("tasks", &nothing(3)), "--wait"]);
    let told = farm.tell(&["watch", "tasks"]);
    assert!(told.starts_with("3 tasks: 3 done\n") && told.contains("node1"), "{told}");
    let mut watching = Running::start(&farm.args(&["watch", "--interval", "10ms"]));
    watching.wait_for_line("Ctrl-C ends");
    watching.signal("INT");
    let ended = watching.finish();
    ended.expect_code(0);
    assert!(ended.stdout.contains("3 tasks: 3 done"), "{}", ended.stdout);
}

#[test]
fn only_whoever_knows_the_token_gets_in() {
    let farm = Farm::new();
    let _server = farm.serve(&["--token", "secret"]);
    let token = farm.path("token");
    fs::write(&token, "secret\n").expect("a file");
    farm.tell(&["status", "--token-file", text(&token)]);
    let ended = farm.ask(&["status", "--token", "wrong"]);
    ended.expect_code(2);
    assert!(ended.error().contains("the token is wrong"), "{}", ended.stderr);
    let ended = farm.start_worker("node1", &[]).finish();
    ended.expect_code(2);
    assert!(ended.error().contains("the token is wrong"), "{}", ended.stderr);
}

#[test]
fn a_server_that_others_can_reach_needs_a_token() {
    let farm = Farm::new();
    let journal = farm.path("journal");
    let args = ["task", "serve", "--listen", "0.0.0.0:0", "--journal-dir", text(&journal)];
    let ended = run(&args);
    ended.expect_code(2);
    assert!(ended.error().contains("give it a token"), "{}", ended.stderr);
    assert!(!journal.exists(), "nothing was begun");
}

#[test]
fn a_server_that_is_not_there_is_an_error_that_says_how_to_start_one() {
    let farm = Farm::new();
    let address = format!("unix:{}", text(&farm.path("nobody.sock")));
    let ended = run(&["task", "status", "--server", &address, "--patience", "50ms"]);
    ended.expect_code(2);
    assert!(ended.error().contains("punctual task serve"), "{}", ended.stderr);
    for (server, part) in [("redis://node0:6400", "Redis"), ("node0:port", "\"port\"")] {
        let ended = run(&["task", "status", "--server", server]);
        ended.expect_code(2);
        assert!(ended.error().contains(part), "{server}: {}", ended.stderr);
    }
}

#[test]
fn the_verbs_of_the_original_do_what_they_did() {
    let farm = Farm::new();
    let _server = farm.serve(&[]);
    let worker = farm.work("node1", &[]);
    let lines = ["shell:4:0:0:echo done", "shell:0:0:0:echo why >&2; exit 3", "bad"];
    let file = farm.file("task", &lines.map(str::to_owned));
    let load = ["manager", "--task", "initRedis&loadTask", "--taskfile", &file];
    let ended = farm.ask(&load);
    ended.expect_code(1);
    assert!(ended.stderr.contains("load 2 tasks, add 2 task"), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("{file}:3: ")), "{}", ended.stderr);
    farm.tell(&["watch", "distcomp"]);

    let told = farm.tell(&["manager", "--task", "checkTask"]);
    let heading = "0 todo tasks, 0 in_progress tasks, 1 finished tasks, 1 failed tasks\n\n####";
    assert!(told.starts_with(heading), "{told}");
    let done = "task_type: shell, priority: 4, min_dram_gb: 0, require_cpu_core: 0, task_params: \
                echo done:         node1: \"done\"";
    assert!(told.lines().any(|line| line == done), "{told}");
    assert!(told.lines().any(|line| line.ends_with("exit 3:         \"why\"")), "{told}");
    let filtered = ["manager", "--task", "checkTask", "--failed_reason", "n", "--include", "done"];
    assert!(!farm.tell(&filtered).contains("exit 3"), "sections and texts are left out");

    let told = farm.tell(&["manager", "--task", "checkWorker"]);
    assert!(told.lines().nth(1).is_some_and(|line| line.starts_with("node1 ")), "{told}");
    farm.tell(&["manager", "--task", "stopWorker"]);
    worker.finish().expect_code(0);
    farm.tell(&["manager", "--task", "moveFailedTaskToTodo&removeFinishedTask"]);
    let told = farm.tell(&["manager", "--task", "cleanup&checkTask", "--redis_host", "node0"]);
    assert!(told.contains(" 0 finished tasks, 0 failed tasks"), "{told}");

    let ended = farm.ask(&["manager", "--task", "checkTask&checkLog"]);
    ended.expect_code(2);
    assert!(ended.error().contains("\"checkLog\"; the verbs are initRedis, "), "{}", ended.stderr);
}
