//! Shards and benches in processes of their own: as the book shows it, and when one of them dies.

use crate::support::{Running, bench, document, folder, micro, number, run, text, write};
use crate::{read, root};
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

/// The address of a shard: a socket in the test's own folder.
fn socket(dir: &TempDir, shard: usize) -> String {
    format!("unix:{}", dir.path().join(format!("{shard}.sock")).display())
}

/// A configuration for shards on sockets; nobody spins. The tail follows `[coordinator]`.
fn cluster(dir: &TempDir, shards: usize, tail: &str) -> String {
    let addresses: Vec<String> = (0..shards).map(|shard| socket(dir, shard)).collect();
    let text = format!(
        "[cluster]\nshards = {addresses:?}\n[runtime]\nidle = \"park\"\n[coordinator]\n{tail}\n"
    );
    write(dir, "cluster.toml", &text)
}

/// An example of the book, with sockets in place of its ports and threads that sleep.
fn example(dir: &TempDir, name: &str) -> String {
    let mut config = read(&root().join("docs/examples").join(name));
    for (shard, port) in ["127.0.0.1:7101", "127.0.0.1:7102"].iter().enumerate() {
        config = config.replace(port, &socket(dir, shard));
    }
    let [ports, spins] = ["127.0.0.1", "idle = \"backoff\""].map(|part| config.contains(part));
    assert!(!ports && spins, "{name} has changed; so must this test");
    write(dir, name, &config.replace("idle = \"backoff\"", "idle = \"park\""))
}

/// Serves shards; returns when they can be reached.
fn serve(config: &str, options: &[&str]) -> Running {
    let mut args = vec!["serve", "--config", config];
    args.extend(options);
    let mut serving = Running::start(&args);
    serving.wait_for_line("ready");
    serving
}

/// Stops shards in order: how many transactions they committed, and how many keys they held.
fn stop(serving: Running) -> (u64, u64) {
    let ended = serving.terminate();
    ended.expect_code(0);
    let last = ended.stderr.lines().next_back().unwrap_or_default();
    let words: Vec<&str> = last.split(' ').collect();
    let ["stopped;", committed, "transactions", "committed,", held, "keys"] = words[..] else {
        panic!("the last line is {last:?}")
    };
    let count = |word: &str| word.parse::<u64>().expect("a number of transactions or keys");
    (count(committed), count(held))
}

#[test]
fn the_example_of_one_shard_serves_one_bench_after_the_other() {
    let dir = folder();
    let config = example(&dir, "one-shard.toml");
    let serving = serve(&config, &[]);
    let mut seen = 0;
    for ops in ["10", "1"] {
        let (_, report) = bench(&micro(&["--config", &config, "--ops", ops]));
        assert_eq!(report["transport"], "served");
        seen += report["committed"].as_u64().expect("a number of transactions");
    }
    let (committed, held) = stop(serving);
    assert!(seen > 0 && committed >= seen, "the shard committed {committed}, the benches {seen}");
    assert_eq!(held, 2000);
}

#[test]
fn the_example_of_two_shards_runs_with_a_process_for_each() {
    let dir = folder();
    let config = example(&dir, "two-shards.toml");
    let first = serve(&config, &["--shards", "0"]);
    let second = serve(&config, &["--shards", "1"]);
    let (_, report) = bench(&micro(&["--config", &config]));
    assert_eq!(report["shards"], 2);
    let [first, second] = [first, second].map(stop);
    assert!(first.0 > 0 && second.0 > 0, "one shard did nothing: {first:?} {second:?}");
    assert_eq!(first.1 + second.1, 2000, "every key is on one shard");
}

#[test]
fn a_shard_announces_the_port_that_the_system_chose() {
    let dir = folder();
    let config = |address: &str| {
        format!("[cluster]\nshards = [\"{address}\"]\n[runtime]\nidle = \"park\"\n")
    };
    let any = write(&dir, "any.toml", &config("127.0.0.1:0"));
    let mut serving = Running::start(&["serve", "--config", &any]);
    let line = serving.wait_for_line("shard 0 serves at ");
    serving.wait_for_line("ready");
    let address = line.split(' ').nth(4).expect("an address in the line");
    // Addresses are no part of what members must agree on, so this is the same cluster.
    let chosen = write(&dir, "chosen.toml", &config(address));
    bench(&micro(&["--config", &chosen]));
    assert!(stop(serving).0 > 0);
}

#[test]
fn pingpong_plays_with_the_shard_it_is_told_to() {
    let dir = folder();
    let config = cluster(&dir, 2, "");
    let play = |shard| {
        let mut args = vec!["bench", "pingpong", "--duration", "100ms", "--warmup", "10ms"];
        args.extend(["--config", config.as_str(), "--shard", shard]);
        args
    };
    let serving = serve(&config, &["--shards", "1"]);
    let (_, report) = bench(&play("1"));
    assert_eq!(report["transport"], "served");
    assert!(number(&report, "/latency_ns/samples") > 0.0);

    let nobody = run(&play("0"));
    nobody.expect_code(2);
    assert!(nobody.error().contains(&socket(&dir, 0)), "{}", nobody.error());
    stop(serving);
}

#[test]
fn a_bench_that_cannot_reach_a_shard_says_which() {
    let dir = folder();
    let config = cluster(&dir, 2, "connect_timeout = \"500ms\"");
    let serving = serve(&config, &["--shards", "0"]);
    let ended = run(&micro(&["--config", &config]));
    ended.expect_code(2);
    let error = ended.error();
    assert!(error.contains("shard 1") && error.contains(&socket(&dir, 1)), "{error}");
    assert!(!error.contains("shard 0"), "{error}");
    stop(serving);
}

#[test]
fn a_bench_waits_for_an_absent_shard_as_long_as_it_is_told() {
    let dir = folder();
    let config = cluster(&dir, 2, "connect_timeout = \"10m\"");
    let serving = serve(&config, &["--shards", "0"]);
    let options = ["--config", &config, "--cross", "1", "--connect-timeout", "300ms"];
    let ended = run(&micro(&options));
    ended.expect_code(2);
    assert!(ended.stderr.contains("waiting for shard 1: "), "{}", ended.stderr);
    let error = ended.error();
    assert!(error.contains("not connected within 300ms: shard 1"), "{error}");
    stop(serving);
}

#[test]
fn transactions_on_both_shards_run_with_a_process_for_each() {
    let dir = folder();
    let config = cluster(&dir, 2, "");
    let first = serve(&config, &["--shards", "0"]);
    let second = serve(&config, &["--shards", "1"]);
    let (_, report) = bench(&micro(&["--config", &config, "--cross", "0.5"]));
    let stamped = number(&report, "/stamped");
    assert!(stamped > 0.0, "{report:#}");
    assert_eq!(number(&report, "/agreement_ns/samples"), stamped);
    // What happens on shards is counted where they are.
    assert_eq!(report["per_shard"], Value::Array(Vec::new()));
    assert!(report["proposals_per_frame"].is_null(), "{report:#}");
    for (shard, (committed, _)) in [first, second].map(stop).into_iter().enumerate() {
        assert!(committed as f64 > stamped, "shard {shard} committed {committed} of {stamped}");
    }
}

#[test]
fn members_with_other_limits_refuse_each_other_and_say_why() {
    let dir = folder();
    let config = cluster(&dir, 1, "");
    let serving = serve(&config, &[]);
    // The shard has read its file: this one may take its place.
    let other = cluster(&dir, 1, "[cluster.limits]\nbatch_max = 128");
    let other = other.as_str();
    for args in [micro(&["--config", other]), vec!["bench", "pingpong", "--config", other]] {
        let ended = run(&args);
        ended.expect_code(2);
        let error = ended.error();
        assert!(error.contains("another cluster configuration"), "{args:?}: {error}");
        assert_eq!(ended.stdout, "", "{args:?}");
    }
    stop(serving);
}

/// Fails unless the run was reported as one that lost its shard with transactions in flight.
fn expect_lost(file: &Path, stdout: &str) {
    let report = document(file);
    let unknown = number(&report, "/unknown");
    assert!(unknown > 0.0, "no transaction is unknown: {report:#}");
    assert!(stdout.contains(&format!("{unknown} unknown")), "{stdout}");
    let check = report["self_check"].as_str().unwrap_or_default();
    assert!(check.starts_with("not run: "), "{check}");
    assert!(number(&report, "/duration_s") < 600.0, "the bench waited for the end of the run");
}

#[test]
fn a_shard_killed_in_mid_run_leaves_a_report_of_what_is_unknown_and_can_be_served_again() {
    let dir = folder();
    let config = cluster(&dir, 1, "connect_timeout = \"3s\"");
    let mut serving = serve(&config, &[]);
    let file = dir.path().join("run.json");
    let options = ["--config", &config, "--duration", "10m", "--json", text(&file)];
    let mut running = Running::start(&micro(&options));
    running.wait_for_line("measuring");
    serving.kill();
    let ended = running.finish();
    ended.expect_code(1);
    assert!(ended.stderr.contains("link lost: shard 0"), "{}", ended.stderr);
    expect_lost(&file, &ended.stdout);

    // The socket file of the dead is in nobody's way.
    let serving = serve(&config, &[]);
    bench(&micro(&["--config", &config]));
    stop(serving);
}

#[test]
fn a_shard_killed_just_before_the_end_of_a_run_does_not_cost_the_report() {
    let dir = folder();
    let config = cluster(&dir, 1, "connect_timeout = \"4s\"");
    let mut serving = serve(&config, &[]);
    let file = dir.path().join("run.json");
    let options = ["--config", &config, "--duration", "10m", "--json", text(&file)];
    let mut running = Running::start(&micro(&options));
    running.wait_for_line("measuring");
    serving.kill();
    running.wait_for_line("link lost");
    // This ends the run while the bench still hopes that the shard comes back.
    running.signal("INT");
    let ended = running.finish();
    ended.expect_code(1);
    expect_lost(&file, &ended.stdout);
}

#[test]
fn a_shard_that_comes_back_without_its_memory_in_a_run_over_both_is_no_success() {
    let dir = folder();
    let config = cluster(&dir, 2, "deadline = \"1s\"");
    let first = serve(&config, &["--shards", "0"]);
    let mut second = serve(&config, &["--shards", "1"]);
    let file = dir.path().join("run.json");
    let mut options = vec!["--config", &config, "--cross", "0.5", "--duration", "3s"];
    options.extend(["--json", text(&file)]);
    let mut running = Running::start(&micro(&options));
    running.wait_for_line("measuring");
    second.kill();
    running.wait_for_line("link lost");
    let second = serve(&config, &["--shards", "1"]);
    let ended = running.finish();
    ended.expect_code(1);
    let report = document(&file);
    assert!(number(&report, "/unknown") > 0.0, "{report:#}");
    assert_eq!(report["unknown"], report["whole_run"]["unknown"]);
    assert_ne!(report["self_check"], "ok", "what was acknowledged is gone");
    // Nothing is left on either that would be in the way of the next.
    let (_, report) = bench(&micro(&["--config", &config, "--cross", "1"]));
    assert_eq!(report["cross_share"], 1.0);
    for serving in [first, second] {
        stop(serving);
    }
}

#[test]
fn a_shard_that_stands_still_for_longer_than_the_deadline_leaves_a_result_within_its_bounds() {
    let dir = folder();
    let config = cluster(&dir, 2, "deadline = \"800ms\"\nrequest_timeout = \"100ms\"");
    let first = serve(&config, &["--shards", "0"]);
    let second = serve(&config, &["--shards", "1"]);
    let file = dir.path().join("run.json");
    let mut options = vec!["--config", &config, "--cross", "0.5", "--duration", "4s"];
    options.extend(["--json", text(&file)]);
    let mut running = Running::start(&micro(&options));
    running.wait_for_line("measuring");
    second.signal("STOP");
    // A line a second: at the second one it has stood still for longer than the deadline.
    running.wait_for_line("txn/s");
    running.wait_for_line("txn/s");
    second.signal("CONT");
    let ended = running.finish();
    ended.expect_code(1);
    let report = document(&file);
    assert!(number(&report, "/unknown") > 0.0, "{report:#}");
    assert_eq!(report["self_check"], "ok", "{report:#}");
    for serving in [first, second] {
        stop(serving);
    }
}

#[test]
fn a_bench_killed_in_mid_run_leaves_the_shard_to_others() {
    let dir = folder();
    let config = cluster(&dir, 1, "");
    let serving = serve(&config, &[]);
    let mut running = Running::start(&micro(&["--config", &config, "--duration", "10m"]));
    running.wait_for_line("measuring");
    running.kill();
    bench(&micro(&["--config", &config]));
    stop(serving);
}
