//! What can be asked.

use crate::farm::{Farm, WORKER};
use crate::http::{get, send};
use serde_json::json;

#[test]
fn the_summary_says_what_the_queue_has_and_what_its_workers_do() {
    let mut farm = Farm::new();
    let worker = farm.hire();
    farm.submit("first", &["ok 1", "fail 2", "hold 3"]);
    farm.submit("second", &["ok 1"]);
    let summary = farm.until(&[("done", 2), ("failed", 1), ("running", 1)]);
    assert_eq!((&summary["schema"], &summary["title"]), (&json!(1), &json!("a farm of a test")));
    let tasks = &summary["tasks"];
    assert_eq!((&tasks["error"], &tasks["total"]), (&json!(null), &json!(4)));
    assert_eq!((&tasks["unfinished"], &tasks["jobs_total"]), (&json!(1), &json!(2)));
    let first = &tasks["jobs"][0];
    assert_eq!((&first["name"], &first["tasks"]), (&json!("first"), &json!(3)), "it is under way");
    assert_eq!(first["counts"]["failed"], 1);
    let shown = &tasks["workers"][0];
    assert_eq!((&shown["name"], &shown["state"]), (&json!(WORKER), &json!("busy")));
    assert_eq!((&shown["slots"], &shown["running"]), (&json!(2), &json!(1)));
    assert_eq!((&shown["done"], &shown["failed"]), (&json!(2), &json!(1)));
    let queue = &summary["blocks"][0];
    assert_eq!((&queue["name"], &queue["kind"]), (&json!("tasks0"), &json!("queue")));
    assert_eq!((&summary["engine"], &summary["delays"]), (&json!(null), &json!([])));
    // What is asked for is the same as what is listened to.
    let asked = get(farm.at, "/api/summary");
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.json()["tasks"]["counts"], tasks["counts"]);
    worker.abandon();
    worker.wait().expect("an orderly end");
    farm.stop();
}

#[test]
fn tasks_are_shown_page_by_page_in_the_order_of_their_numbers() {
    let mut farm = Farm::new();
    let commands: Vec<String> = (0..25).map(|task| format!("ok {task}")).collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    farm.submit("pages", &commands);
    let (all, end) = farm.found("limit=200");
    assert_eq!((all.len(), end), (25, None));
    assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
    let (mut from, mut pages) = (String::new(), Vec::new());
    loop {
        let (ids, next) = farm.found(&format!("limit=10{from}"));
        pages.push(ids.len());
        assert_eq!(ids, all[(pages.len() - 1) * 10..][..ids.len()]);
        match next {
            Some(next) => from = format!("&from={next}"),
            None => break,
        }
    }
    assert_eq!(pages, [10, 10, 5]);
    assert_eq!(farm.found("limit=25").1, None, "a page that is just full is the last");
    assert_eq!(farm.found("").0.len(), 25, "without a limit there is one");
    for limit in ["0", "201", "-1", "x"] {
        let why = send(farm.at, "GET", &format!("/api/tasks?limit={limit}"), &[], "").error(400);
        assert!(why.contains("limit") || why.contains("invalid"), "{why}");
    }
    farm.stop();
}

#[test]
fn tasks_are_found_by_state_job_text_and_worker() {
    let mut farm = Farm::new();
    let worker = farm.hire();
    let first = farm.submit("first", &["ok a", "fail b", "hold c"]);
    let second = farm.submit("second", &["ok b", "fail d & e"]);
    farm.until(&[("done", 2), ("failed", 2), ("running", 1)]);
    let all = farm.found("").0;
    for (query, expected) in [
        ("state=done".to_owned(), vec![0, 3]),
        ("state=done,failed".to_owned(), vec![0, 1, 3, 4]),
        ("state=finished".to_owned(), vec![0, 1, 3, 4]),
        ("state=unfinished".to_owned(), vec![2]),
        ("state=todo".to_owned(), vec![]),
        (format!("job={}", first.0), vec![0, 1, 2]),
        (format!("job={}&state=failed", second.0), vec![4]),
        ("search=%20b".to_owned(), vec![1, 3]),
        ("search=d+%26+e".to_owned(), vec![4]),
        ("search=good".to_owned(), vec![0, 3]),
        ("search=b&exclude=fail".to_owned(), vec![3]),
        ("worker=w%201/%C3%A4&state=running".to_owned(), vec![2]),
        ("worker=nobody".to_owned(), vec![]),
    ] {
        let expected: Vec<u64> = expected.into_iter().map(|at: usize| all[at]).collect();
        assert_eq!(farm.found(&query).0, expected, "{query}");
    }
    for (query, part) in [
        ("state=lost", "there is no state \"lost\", but blocked"),
        ("from=x", "\"x\" is no number of a task"),
        ("colour=red", "colour"),
        ("job=first", "invalid digit"),
    ] {
        let why = send(farm.at, "GET", &format!("/api/tasks?{query}"), &[], "").error(400);
        assert!(why.contains(part), "{query}: {why}");
    }
    worker.abandon();
    worker.wait().expect("an orderly end");
    farm.stop();
}

#[test]
fn a_task_is_shown_with_why_it_failed_and_what_it_wrote() {
    let mut farm = Farm::new();
    let worker = farm.hire();
    farm.submit("job", &["fail <script>"]);
    farm.until(&[("failed", 1)]);
    let id = farm.found("").0[0].to_string();
    let task = farm.task(&id);
    assert_eq!((&task["id"], &task["job"]), (&json!(id), &json!("job")));
    assert_eq!((&task["state"], &task["command"]), (&json!("failed"), &json!("fail <script>")));
    assert_eq!((&task["worker"], &task["failures"]), (&json!(WORKER), &json!(1)));
    let end = &task["end"];
    assert_eq!((&end["reason"], &end["code"]), (&json!("exit code 3"), &json!(3)));
    assert_eq!(end["stderr"], "it broke: <b>\u{fffd}</b>\n");
    assert_eq!((&end["stderr_bytes"], &end["stdout"]), (&json!(1_000_000), &json!("fine\n")));
    assert!(task["ended_ns"].as_i64() >= task["submitted_ns"].as_i64(), "{task:#}");
    let listed = get(farm.at, "/api/tasks").json();
    assert_eq!(listed["tasks"][0]["job"], "job");
    assert_eq!(listed["tasks"][0]["end"]["reason"], "exit code 3");
    assert_eq!(listed["tasks"][0]["end"].get("stderr"), None, "a list has no outputs");
    worker.drain();
    worker.wait().expect("an orderly end");
    farm.stop();
}

#[test]
fn what_is_not_there_is_said() {
    let farm = Farm::new();
    for (method, path, status, part) in [
        ("GET", "/nowhere", 404, "nothing here"),
        ("GET", "/api/tasks/77", 404, "there is no task 77"),
        ("GET", "/api/tasks/first", 400, "\"first\" is no number"),
        ("POST", "/api/tasks/1/explode", 404, "no order \"explode\", but cancel, retry"),
        ("POST", "/api/tasks/x/cancel", 400, "\"x\" is no number"),
        ("POST", "/api/workers/nobody/stop", 404, "no worker has this name"),
    ] {
        let why = send(farm.at, method, path, &[("X-Punctual", "1")], "").error(status);
        assert!(why.contains(part), "{method} {path}: {why}");
    }
    send(farm.at, "GET", "/api/tasks/1/cancel", &[], "").expect(405);
    farm.stop();
}

#[test]
fn a_server_that_has_stopped_is_said_to_have() {
    let farm = Farm::new();
    get(farm.at, "/api/summary");
    let Farm { server, client, dashboard, at } = farm;
    drop(client);
    server.stop().expect("an orderly stop");
    let mut listener = crate::http::Listener::open(at, 200);
    let summary = listener.until(|summary| summary["tasks"]["error"].is_string());
    assert_eq!(summary["tasks"].get("counts"), None, "{summary:#}");
    let why = send(at, "GET", "/api/tasks", &[], "").error(503);
    assert!(why.contains("has stopped"), "{why}");
    let metrics = get(at, "/metrics").body;
    assert!(metrics.contains("\npunctual_tasks_up 0\n"), "{metrics}");
    dashboard.stop();
}
