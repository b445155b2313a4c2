//! `punctual task bench` checks itself, over every transport and with every kind of durability.
//! How fast it is is nothing to test here.

use crate::support::{Ended, bench, folder, number, run, text};
use crate::task_bed::{Farm, shell};
use serde_json::json;

/// A short bench with these options; it must agree with its queue.
fn short(options: &[&str]) -> (Ended, serde_json::Value) {
    let mut args = vec!["task", "bench", "--tasks", "3000"];
    args.extend(options);
    bench(&args)
}

#[test]
fn every_task_is_done_once_over_every_transport() {
    for transport in ["ring", "tcp"] {
        let (ended, report) = short(&["--transport", transport, "--workers", "3"]);
        assert_eq!(report["environment"]["transport"], transport);
        for (field, value) in [
            ("program", json!("task bench")),
            ("tasks", json!(3000)),
            ("queues", json!(1)),
            ("workers", json!(3)),
            ("durability", json!("memory")),
            ("prefetch", json!("auto")),
        ] {
            assert_eq!(report[field], value, "{field} over {transport}");
        }
        assert!(number(&report, "/throughput_tps") > 0.0);
        assert_eq!(report["submit_to_done_ns"]["samples"], 3000);
        let head = format!("task queue over {transport}: 3,000 tasks, 3 workers, memory\n");
        assert!(ended.stdout.starts_with(&head), "{}", ended.stdout);
    }
}

#[test]
fn tasks_in_a_journal_and_behind_others_are_done_once_too() {
    let dir = folder();
    let journal = dir.path().join("journal");
    let (_, report) =
        short(&["--durability", "journal", "--journal-dir", text(&journal), "--prefetch", "off"]);
    assert_eq!((&report["durability"], &report["prefetch"]), (&json!("journal"), &json!("off")));
    assert!(journal.is_dir(), "a directory that was given stays");
    let (_, report) = short(&["--queued", "2000", "--workers", "2", "--payload", "1000"]);
    assert_eq!((&report["queued"], &report["payload_bytes"]), (&json!(2000), &json!(1000)));
    assert!(report["memory_queued_bytes"].is_u64(), "{report:#}");

    let used = ["task", "bench", "--durability", "journal", "--journal-dir", text(&journal)];
    let ended = run(&used);
    ended.expect_code(2);
    assert!(ended.error().contains("is not empty"), "{}", ended.stderr);
}

#[test]
fn several_queues_share_the_tasks_in_memory_in_journals_and_at_a_server() {
    let (ended, report) = short(&["--queues", "2", "--workers", "3", "--transport", "tcp"]);
    assert_eq!(report["queues"], 2);
    let head = "task queue over tcp: 3,000 tasks, 2 queues, 3 workers, memory\n";
    assert!(ended.stdout.starts_with(head), "{}", ended.stdout);
    let dir = folder();
    let journal = dir.path().join("journal");
    let options = ["--queues", "3", "--durability", "journal", "--journal-dir", text(&journal)];
    let (_, report) = short(&options);
    assert_eq!(report["queues"], 3);
    assert!(journal.join("shard-2").is_dir(), "each queue has a journal");

    let farm = Farm::new();
    let _serving = farm.serve(&["--queues", "2"]);
    let broker = format!("unix:{}", text(&farm.path("tasks.sock")));
    let (_, report) = short(&["--broker", &broker]);
    assert_eq!(report["queues"], 2, "the server says how many it has");
    assert!(farm.tasks().is_empty(), "{:#?}", farm.tasks());
}

#[test]
fn a_server_is_measured_over_the_network_and_nothing_of_it_stays_there() {
    let farm = Farm::new();
    let _serving = farm.serve(&[]);
    let broker = format!("unix:{}", text(&farm.path("tasks.sock")));
    let (ended, report) = short(&["--broker", &broker, "--workers", "2"]);
    assert_eq!((&report["broker"], &report["durability"]), (&json!(broker), &json!(null)));
    assert_eq!(report["environment"]["transport"], "unix");
    let head = format!("task queue over unix at {broker}: 3,000 tasks, 2 workers\n");
    assert!(ended.stdout.starts_with(&head), "{}", ended.stdout);
    assert!(farm.tasks().is_empty(), "{:#?}", farm.tasks());
    // Nothing of the first one stands in the way of another.
    let (_, report) = short(&["--broker", &format!("punctual://{broker}"), "--queued", "500"]);
    assert_eq!(report["queued"], 500);
    assert!(farm.tasks().is_empty(), "{:#?}", farm.tasks());
}

#[test]
fn a_server_that_somebody_uses_is_not_measured() {
    let farm = Farm::new();
    let _serving = farm.serve(&[]);
    let broker = format!("unix:{}", text(&farm.path("tasks.sock")));
    let refused = |part: &str| {
        let ended = run(&["task", "bench", "--broker", &broker]);
        ended.expect_code(2);
        assert!(ended.error().contains(part), "{}", ended.stderr);
    };
    let file = farm.file("task", &[shell("true")]);
    farm.tell(&["submit", &file]);
    let before = farm.states();
    refused("has unfinished tasks (1)");
    assert_eq!(farm.states(), before);
    let _working = farm.work("node1", &["--no-task-dirs"]);
    refused("has workers (1)");

    let ended = run(&["task", "bench", "--broker", &broker, "--transport", "tcp"]);
    ended.expect_code(2);
    assert!(ended.stderr.contains("cannot be used with"), "{}", ended.stderr);
}
