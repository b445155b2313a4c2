//! `punctual owd`: delays to the shards of a cluster that is served elsewhere.

use crate::support::{Ended, Running, document, folder, number, run, text, write};
use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;

/// What the document has for each shard.
const FIELDS: [&str; 15] = [
    "down",
    "estimate_ns",
    "is_up",
    "late",
    "lateness_p99_ns",
    "lost",
    "min_ns",
    "offset_max_ns",
    "offset_min_ns",
    "p50_ns",
    "p99_ns",
    "rtt_min_ns",
    "samples",
    "sent",
    "shard",
];

/// Two shards on sockets of the test's own folder; nobody spins.
fn cluster(dir: &TempDir) -> String {
    let address = |shard| format!("unix:{}", dir.path().join(format!("{shard}.sock")).display());
    let shards = [address(0), address(1)];
    let config = format!("[cluster]\nshards = {shards:?}\n[runtime]\nidle = \"park\"\n");
    write(dir, "cluster.toml", &config)
}

fn serve(config: &str, shards: &str) -> Running {
    let mut serving = Running::start(&["serve", "--config", config, "--shards", shards]);
    serving.wait_for_line("ready");
    serving
}

/// Measures for a while, with these options on top.
fn once(config: &str, options: &[&str]) -> Ended {
    let mut args = vec!["owd", "--config", config, "--once"];
    args.extend(options);
    run(&args)
}

#[test]
fn the_document_has_the_delays_to_every_shard() {
    let dir = folder();
    let config = cluster(&dir);
    let _serving = serve(&config, "0,1");
    let ended = once(&config, &["--json", "-", "--estimator", "window-max"]);
    ended.expect_code(0);
    let report: Value = serde_json::from_str(&ended.stdout).expect("only JSON");
    for (field, value) in
        [("schema", json!(1)), ("program", json!("owd")), ("estimator", json!("window-max"))]
    {
        assert_eq!(report[field], value, "{field}");
    }
    let shards = report["shards"].as_array().expect("a list of shards");
    assert_eq!(shards.len(), 2, "{report:#}");
    for (id, shard) in shards.iter().enumerate() {
        let mut keys: Vec<&str> =
            shard.as_object().expect("an object").keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, FIELDS);
        assert_eq!((&shard["shard"], &shard["is_up"]), (&json!(id), &json!(true)));
        assert!(number(shard, "/samples") > 0.0, "{report:#}");
        // On one machine all read the same clock, so zero lies within the bounds of its offset.
        let [least, most] = ["/offset_min_ns", "/offset_max_ns"].map(|name| number(shard, name));
        assert!(least <= 0.0 && most >= 0.0, "{report:#}");
        let [min, p50, p99] = ["/min_ns", "/p50_ns", "/p99_ns"].map(|name| number(shard, name));
        assert!(0.0 <= min && min <= p50 && p50 <= p99, "{report:#}");
    }
    // The table is beside it: a line a shard below the names of the columns.
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(lines.len() == 3 && lines[0].contains("estimate"), "{}", ended.stderr);
    assert!(lines[1..].iter().all(|line| line.ends_with("  up")), "{}", ended.stderr);
}

#[test]
fn a_shard_that_is_not_there_has_a_row_that_says_so_and_costs_the_other_nothing() {
    let dir = folder();
    let config = cluster(&dir);
    let serving = serve(&config, "1");
    let file = dir.path().join("owd.json");
    let ended = once(&config, &["--json", text(&file)]);
    ended.expect_code(0);
    let rows: Vec<&str> = ended.stdout.lines().skip(1).collect();
    assert!(rows[0].contains("  down: ") && rows[1].ends_with("  up"), "{}", ended.stdout);
    let report = document(&file);
    let [absent, present] = [0, 1].map(|shard| &report["shards"][shard]);
    assert_eq!((&absent["is_up"], &absent["min_ns"]), (&json!(false), &Value::Null));
    assert!(absent["down"].is_string(), "{report:#}");
    assert!(number(present, "/samples") > 0.0 && present["down"].is_null(), "{report:#}");

    serving.terminate().expect_code(0);
    let nobody = once(&config, &[]);
    nobody.expect_code(1);
    assert_eq!(nobody.stdout.matches("  down: ").count(), 2, "{}", nobody.stdout);
}

#[test]
fn shards_that_are_served_for_a_workload_are_watched_by_who_names_it() {
    let dir = folder();
    let config = cluster(&dir);
    let mut serving = Running::start(&["serve", "--config", &config, "--workload", "ycsb"]);
    serving.wait_for_line("ready");
    let ended = once(&config, &["--workload", "ycsb"]);
    ended.expect_code(0);
    assert!(ended.stdout.contains("  up"), "{}", ended.stdout);
    let stranger = once(&config, &["--for", "200ms"]);
    stranger.expect_code(1);
    assert!(!stranger.stdout.contains("  up"), "{}", stranger.stdout);
    serving.terminate().expect_code(0);
}

#[test]
fn a_trace_has_a_line_for_each_answered_probe() {
    let dir = folder();
    let config = cluster(&dir);
    let _serving = serve(&config, "0,1");
    let file = dir.path().join("probes.csv");
    let ended = once(&config, &["--trace", text(&file)]);
    ended.expect_code(0);
    let trace = fs::read_to_string(&file).expect("the trace was written");
    let mut lines = trace.lines();
    assert_eq!(lines.next(), Some("shard,id,t1,t2,t3,t4,late"));
    let mut samples = [0, 0];
    for line in lines {
        let fields: Vec<i64> =
            line.split(',').map(|field| field.parse().expect("a whole number")).collect();
        let [shard, _, t1, t2, t3, t4, late] = fields[..] else { panic!("{line}") };
        assert!(t1 <= t2 && t2 <= t3 && t3 <= t4, "{line}");
        assert!([0, 1].contains(&late), "{line}");
        samples[usize::try_from(shard).expect("a shard")] += 1;
    }
    assert!(samples.iter().all(|count| *count > 0), "{samples:?}");
    let told = format!("{} samples in {}", samples[0] + samples[1], file.display());
    assert!(ended.stderr.contains(&told), "{told:?} is not in:\n{}", ended.stderr);
}

#[test]
fn a_trace_that_finds_no_room_is_an_error_that_names_it() {
    let dir = folder();
    let config = cluster(&dir);
    let _serving = serve(&config, "0,1");
    let ended = once(&config, &["--trace", "/dev/full"]);
    ended.expect_code(1);
    let error = ended.error();
    assert!(error.contains("--trace /dev/full") && error.contains("No space left"), "{error}");

    let in_the_way = write(&dir, "a-file", "");
    let below = format!("{in_the_way}/probes.csv");
    let ended = once(&config, &["--trace", &below]);
    ended.expect_code(2);
    assert!(ended.error().contains(&below), "{}", ended.error());
}

#[test]
fn ctrl_c_ends_the_table_in_order() {
    let dir = folder();
    let config = cluster(&dir);
    let _serving = serve(&config, "0,1");
    let file = dir.path().join("probes.csv");
    let mut running = Running::start(&["owd", "--config", &config, "--trace", text(&file)]);
    running.wait_for_line("Ctrl-C ends");
    running.signal("INT");
    let ended = running.finish();
    ended.expect_code(0);
    assert!(ended.stdout.lines().any(|line| line.contains("estimate")), "{}", ended.stdout);
    let trace = fs::read_to_string(&file).expect("the trace was written");
    let told = format!("{} samples in ", trace.lines().count() - 1);
    assert!(ended.stderr.contains(&told), "{told:?} is not in:\n{}", ended.stderr);
    assert!(trace.ends_with('\n'), "the last line is whole: {trace}");
}
