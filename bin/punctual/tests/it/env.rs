//! `punctual env`: tables for people, a document for programs.

use crate::support::{document, folder, run, text};
use serde_json::Value;

/// The facts about the machine, in the order of the alphabet.
const HOST: [&str; 16] = [
    "clocksource",
    "cores_allowed",
    "cores_online",
    "cpu_model",
    "governor",
    "huge_pages",
    "hypervisor",
    "io_uring",
    "isolated",
    "kernel",
    "loadavg_1m",
    "memlock_bytes",
    "nohz_full",
    "numa_nodes",
    "smt",
    "transparent_huge_pages",
];

fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> =
        object.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn the_document_goes_to_standard_output_and_has_every_part() {
    let ended = run(&["env", "--seconds", "0", "--json", "-"]);
    ended.expect_code(0);
    let report: Value = serde_json::from_str(&ended.stdout).expect("nothing but JSON");
    assert_eq!(keys(&report), ["advice", "host", "jitter", "schema"]);
    assert_eq!(report["schema"], 1);
    assert_eq!(keys(&report["host"]), HOST);
    let cores = report["host"]["cores_allowed"].as_array().expect("a list of cores");
    assert!(!cores.is_empty() && cores.iter().all(Value::is_u64), "{cores:?}");
    assert_eq!(report["jitter"], Value::Array(Vec::new()), "0 seconds measure nothing");
    for advice in report["advice"].as_array().expect("a list of advice") {
        assert_eq!(keys(advice), ["text", "topic"]);
    }
}

#[test]
fn the_tables_show_machine_jitter_and_advice_and_the_document_agrees() {
    let dir = folder();
    let file = dir.path().join("env.json");
    let ended = run(&["env", "--seconds", "0.01", "--json", text(&file)]);
    ended.expect_code(0);
    let parts: Vec<&str> = ended.stdout.split("\n\n").collect();
    let heads: Vec<&str> = parts.iter().filter_map(|part| part.lines().next()).collect();
    assert!(
        matches!(heads[..], ["Machine", jitter, "Advice"] if jitter.starts_with("Jitter:")),
        "{heads:?}"
    );

    // A row a core, below the heading and the names of the columns.
    let report = document(&file);
    let cores = report["host"]["cores_allowed"].as_array().expect("a list of cores");
    let rows = parts[1].lines().skip(2).filter(|line| !line.contains("could not be pinned"));
    assert_eq!(rows.count(), cores.len(), "{}", parts[1]);
    let measured = report["jitter"].as_array().expect("a list of jitter");
    let of_cores: Vec<&Value> = measured.iter().map(|jitter| &jitter["core"]).collect();
    assert_eq!(of_cores, cores.iter().collect::<Vec<_>>());
    assert!(measured.iter().all(|jitter| jitter["samples"].as_u64() > Some(0)), "{measured:?}");
}
