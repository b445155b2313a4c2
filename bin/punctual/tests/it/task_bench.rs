//! `punctual task bench` checks itself, over every transport and with every kind of durability.
//! How fast it is is nothing to test here.

use crate::support::{Ended, bench, folder, number, run, text};
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
