//! `punctual sim`: what it finds is for its own tests; here is what it says and how it ends.

use crate::support::{Running, document, folder, number, run, text};
use serde_json::Value;

/// What the document has.
const FIELDS: [&str; 21] = [
    "aborted",
    "committed",
    "crashes",
    "events",
    "failed",
    "first_seed",
    "frames",
    "frames_harmed",
    "interrupted",
    "late",
    "program",
    "ratio",
    "refused",
    "retries",
    "runs",
    "schema",
    "stamped",
    "submitted",
    "unknown",
    "virtual_ns",
    "wall_s",
];

#[test]
fn a_seed_gives_the_same_run_every_time() {
    let [first, second, other] = ["7", "7", "8"].map(|seed| run(&["sim", "--seed", seed]));
    first.expect_code(0);
    assert!(first.stdout.starts_with("sim of seed 7: no violation\n"), "{}", first.stdout);
    assert_eq!(first.stdout, second.stdout);
    let trace = |text: &str| text.lines().find(|line| line.contains("  trace ")).map(str::to_owned);
    assert!(trace(&first.stdout).is_some(), "{}", first.stdout);
    assert_ne!(trace(&first.stdout), trace(&other.stdout));
}

#[test]
fn options_take_the_place_of_what_the_seed_draws() {
    let mut args = vec!["sim", "--seed", "3", "--shards", "5", "--coordinators", "4"];
    args.extend(["--workload", "list-append", "--faults", "loss,pause", "--duration", "100ms"]);
    args.extend(["--durability", "mixed"]);
    let ended = run(&args);
    ended.expect_code(0);
    let cluster = "5 shards, 4 coordinators, workload list-append";
    assert!(ended.stdout.contains(cluster), "{}", ended.stdout);
    for (row, value) in [("faults", " loss,pause"), ("durability", " mixed")] {
        let line = ended.stdout.lines().find(|line| line.trim_start().starts_with(row));
        assert!(line.is_some_and(|line| line.ends_with(value)), "{}", ended.stdout);
    }
}

#[test]
fn twenty_seeds_are_clean_whatever_the_number_of_threads() {
    let dir = folder();
    let file = dir.path().join("sim.json");
    let reports = ["1", "3"].map(|jobs| {
        let args = ["sim", "--seeds", "20", "--from", "100", "--jobs", jobs, "--json", text(&file)];
        let ended = run(&args);
        ended.expect_code(0);
        let head = "sim of 20 seeds from 100: no violation\n";
        assert!(ended.stdout.starts_with(head), "{}", ended.stdout);
        document(&file)
    });
    let object = reports[0].as_object().expect("an object");
    let mut fields: Vec<&str> = object.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, FIELDS);
    assert_eq!((&reports[0]["runs"], &reports[0]["failed"]), (&Value::from(20), &Value::Null));
    assert!(number(&reports[0], "/committed") > 0.0, "{:#}", reports[0]);
    for field in FIELDS.iter().filter(|field| !["ratio", "wall_s"].contains(field)) {
        assert_eq!(reports[0][field], reports[1][field], "{field}");
    }
}

#[test]
fn ctrl_c_ends_a_sweep_early_with_what_was_done() {
    let mut running = Running::start(&["sim", "--seeds", "1000000000", "--jobs", "1"]);
    running.wait_for_line(" of 1,000,000,000 seeds, ");
    running.signal("INT");
    let ended = running.finish();
    ended.expect_code(130);
    assert!(ended.stdout.contains("interrupted, no violation so far"), "{}", ended.stdout);
    assert!(ended.stdout.contains("committed"), "{}", ended.stdout);
}

#[test]
fn the_task_farm_is_simulated_the_same_every_time() {
    let dir = folder();
    let file = dir.path().join("farm.json");
    let [first, second] = [0, 1].map(|_| run(&["sim", "--tasks", "--seed", "3"]));
    first.expect_code(0);
    assert!(first.stdout.starts_with("sim of tasks of seed 3: no violation\n"), "{}", first.stdout);
    assert_eq!(first.stdout, second.stdout);
    let ended = run(&["sim", "--tasks", "--seeds", "10", "--json", text(&file)]);
    ended.expect_code(0);
    let report = document(&file);
    assert_eq!((&report["program"], &report["failed"]), (&Value::from("sim-tasks"), &Value::Null));
    assert!(number(&report, "/counts/done") > 0.0, "{report:#}");
    let ended = run(&["sim", "--tasks", "--seed", "3", "--queues", "3"]);
    ended.expect_code(0);
    assert!(ended.stdout.contains(" 3 queues, "), "{}", ended.stdout);
}

#[test]
fn options_of_transactions_are_not_for_the_task_farm_nor_the_other_way_round() {
    let ended = run(&["sim", "--tasks", "--seed", "3", "--shards", "2"]);
    ended.expect_code(2);
    assert!(ended.stderr.contains("--shards"), "{}", ended.stderr);
    let ended = run(&["sim", "--seed", "3", "--queues", "2"]);
    ended.expect_code(2);
    assert!(ended.stderr.contains("--tasks"), "{}", ended.stderr);
}
