//! Benches in virtual time, and the service times that they are given. What they say can be
//! computed by hand, and is the same on every machine.

use crate::support::{document, folder, number, run, run_in, text, write};
use serde_json::Value;

/// Three shards far from each other and from their one client, one transaction at a time.
const FAR: &str = "bench micro --engine sim --network three-regions --shards 3 --cross 1 --span 3 \
    --ops 3 --in-flight 1 --keys 2000 --duration 10s";

/// A run of `bench micro`, as far as a model is fitted to it.
const REPORT: &str = r#"{
  "workload": "micro", "transport": "tcp", "self_check": "ok", "rate": null, "network": null,
  "durability": null, "shards": 1, "coordinators": 1, "in_flight": 64, "batch": 64, "ops": 1,
  "reads": 0.5, "cross": 0.0, "span": 2, "keys": 1000, "skew": 0.0, "headroom_ns": 2000,
  "throughput_tps": 1000000.0, "latency_ns": { "p50": 60000 }, "messages_per_frame": 30.0,
  "environment": { "cores": { "shards": [0], "coordinators": [1] } }
}"#;

#[test]
fn a_network_of_places_is_found_from_anywhere_and_simulated_to_its_bound() {
    let dir = folder();
    let simulated = |name: &str| {
        let mut args: Vec<&str> = FAR.split_whitespace().collect();
        args.extend(["--json", name]);
        run_in(dir.path(), &args).expect_code(0);
        document(&dir.path().join(name))
    };
    let report = simulated("one.json");
    assert_eq!(report["self_check"], "ok");
    assert_eq!(report["program"], "bench micro --engine sim");
    assert_eq!(report["network"]["name"], "three-regions");
    // To Sao Paulo, from there as a proposal to Ireland, and back to the client, in ms.
    let bound_ms = 164.05 + 95.65 + 119.5;
    let found_ms = number(&report, "/figures/network_bound_ns") / 1e6;
    assert!((found_ms - bound_ms).abs() < 0.1, "{found_ms} instead of {bound_ms}");
    let ratio = number(&report, "/figures/latency_over_bound");
    assert!((0.995..1.15).contains(&ratio), "{ratio}");
    assert_eq!(simulated("two.json")["latency_ns"], report["latency_ns"]);
}

#[test]
fn service_times_are_fitted_to_reports_and_used() {
    let dir = folder();
    let report = write(&dir, "batches.json", REPORT);
    let [model, fit] = ["service.toml", "fit.json"].map(|name| dir.path().join(name));
    let calibrate = ["bench", "calibrate", "--out", text(&model)];
    let files = ["--json", text(&fit), report.as_str()];
    let ended = run(&[&calibrate[..], &files[..]].concat());
    ended.expect_code(0);
    assert!(ended.stdout.lines().any(|line| line.starts_with("batches ")), "{}", ended.stdout);
    let fit = document(&fit);
    let point = &fit["points"][0];
    let ratio = number(point, "/predicted_tps") / number(point, "/measured_tps");
    assert!((0.7..1.4).contains(&ratio), "{ratio}");

    let short = ["--keys", "1000", "--ops", "1", "--warmup", "1ms", "--duration", "5ms"];
    let sim = ["bench", "micro", "--engine", "sim", "--in-flight", "64"];
    let simulated = |service: &[&str]| {
        let ended = run(&[&sim[..], &short[..], &["--json", "-"][..], service].concat());
        ended.expect_code(0);
        let report: Value = serde_json::from_str(&ended.stdout).expect("a document");
        number(&report, "/throughput_tps")
    };
    let fitted = simulated(&["--service", text(&model)]);
    assert!((fitted / number(point, "/predicted_tps") - 1.0).abs() < 0.2, "{fitted}");
    assert!((simulated(&[]) / fitted - 1.0).abs() > 0.01, "the model makes no difference");
}

#[test]
fn what_no_model_can_be_fitted_to_is_one_line() {
    let dir = folder();
    let there = write(&dir, "there.toml", "");
    let new = dir.path().join("new.toml");
    let report = write(&dir, "run.json", REPORT);
    let simulated = write(&dir, "sim.json", &REPORT.replace("\"tcp\"", "\"simulated\""));
    for (out, file, part) in [
        (there.as_str(), &report, "exists; remove it or give another --out"),
        (text(&new), &simulated, "transport is \"simulated\", and a real one was expected"),
    ] {
        let ended = run(&["bench", "calibrate", "--out", out, file]);
        ended.expect_code(2);
        assert!(ended.error().contains(part), "{}", ended.error());
    }
    assert!(!new.exists());
    let mut args: Vec<&str> = FAR.split_whitespace().collect();
    args.extend(["--service", text(&new)]);
    let ended = run(&args);
    ended.expect_code(2);
    assert!(ended.error().contains("new.toml"), "{}", ended.error());
}

#[test]
fn what_a_network_has_and_a_simulation_has_not_is_said() {
    let dir = folder();
    let lossy = "places = [\"a\", \"b\"]\nshards = [\"a\"]\ncoordinators = [\"b\"]\n\
        [defaults]\ndelay = \"1ms\"\nloss = 0.01\n";
    let network = write(&dir, "lossy.toml", lossy);
    let args = ["bench", "micro", "--engine", "sim", "--keys", "1000", "--in-flight", "1"];
    let times = ["--warmup", "1ms", "--duration", "10ms", "--json", "-"];
    let ended = run(&[&args[..], &times[..], &["--network", network.as_str()][..]].concat());
    ended.expect_code(0);
    let report: Value = serde_json::from_str(&ended.stdout).expect("a document");
    let warning = report["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.contains("losses and bandwidths") && warning.contains("not sim"), "{report:#}");
}

/// A small TPC-C: two warehouses on two shards, an ocean apart.
const ORDERS: &str = "bench tpcc --engine sim --network geo --shards 2 --warehouses 2 --items 200 \
    --customers 30 --coordinators 2 --in-flight 16 --warmup 1s --duration 10s --json -";

#[test]
fn tpcc_is_simulated_with_its_kinds_its_figures_and_its_check() {
    let simulated = || {
        let ended = run(&ORDERS.split_whitespace().collect::<Vec<_>>());
        ended.expect_code(0);
        serde_json::from_str::<Value>(&ended.stdout).expect("a document")
    };
    let report = simulated();
    assert_eq!(report["self_check"], "ok");
    assert_eq!(report["program"], "bench tpcc --engine sim");
    let kinds = report["kinds"].as_array().expect("a list");
    assert_eq!(kinds.len(), 5, "{report:#}");
    let of_kinds: f64 = kinds.iter().map(|kind| number(kind, "/committed")).sum();
    assert_eq!(of_kinds, number(&report, "/committed"));
    assert!(number(&report, "/figures/new_orders") > 0.0, "{report:#}");
    assert!(number(&report, "/figures/network_bound_ns") >= 300e6, "{report:#}");
    assert_eq!(report["warnings"], Value::Array(Vec::new()));
    assert_eq!(simulated()["latency_ns"], report["latency_ns"]);
}
