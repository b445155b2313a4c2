//! Two studies side by side.

use crate::support::{Fake, SMALL, begin, go_on};
use punctual_study::compare::Verdict;
use punctual_study::metric::MetricPath;
use punctual_study::run::Ended;
use punctual_study::{Comparison, Results};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::tempdir;

fn metrics() -> Vec<MetricPath> {
    ["throughput_tps", "latency_ns.p99"].map(|path| path.parse().expect("a path")).to_vec()
}

fn study(dir: &Path, text: &str, mut fake: Fake) -> Results {
    let (folder, experiment) = begin(dir, text);
    go_on(&folder, &experiment, &mut fake);
    Results::load(&folder).expect("results")
}

/// A study of which every run has these fields.
fn with(dir: &Path, fields: &Value) -> Results {
    let mut fake = Fake::new();
    fake.fields = (0..4).map(|number| (number, fields.clone())).collect();
    study(dir, SMALL, fake)
}

#[test]
fn a_difference_beyond_the_ranges_is_one_and_a_smaller_one_is_noise() {
    let dir = tempdir().expect("a folder");
    let first = study(&dir.path().join("a"), SMALL, Fake::new());
    let second = with(&dir.path().join("b"), &json!({ "latency_ns": { "p99": 30_000 } }));
    let compared = Comparison::of(&first, &second, &metrics());
    let verdicts: Vec<Verdict> = compared.rows.iter().map(|row| row.verdict).collect();
    let (noise, worse) = (Verdict::WithinNoise, Verdict::Worse);
    assert_eq!(verdicts, [noise, worse, noise, worse]);
    let text = compared.text();
    assert!(text.contains("slower by 50.0 %") && text.contains("slower by 200.0 %"), "{text}");
    assert!(text.contains("ranges of the repeats"), "{text}");
    assert!(compared.missing.is_empty() && compared.differences.is_empty(), "{text}");

    let csv = compared.csv();
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[0].starts_with("shards,metric,n_first,median_first,"), "{csv}");
    assert_eq!(
        lines[2],
        "1,latency_ns.p99,2,20000,20000,20000,2,30000,30000,30000,1.5,slower by 50.0 %"
    );
    assert_eq!(lines.len(), 5);
}

#[test]
fn cells_and_runs_that_are_missing_are_listed_and_so_is_another_machine() {
    let dir = tempdir().expect("a folder");
    let first = study(&dir.path().join("a"), SMALL, Fake::new());
    let mut fake = Fake::new();
    fake.ends.extend([(0, Ended::Code(Some(1))), (2, Ended::Code(Some(1)))]);
    let environment = json!({ "environment": { "cpu_model": "another one" } });
    fake.fields.insert(1, environment);
    let text = SMALL.replace("shards = [1, 2]", "shards = [2, 4]");
    let text = text.replace("only = { shards = 1 }", "only = { shards = 2 }");
    let second = study(&dir.path().join("b"), &text, fake);
    let compared = Comparison::of(&first, &second, &metrics());
    assert_eq!(
        compared.missing,
        [
            "shards 1: only in the first",
            "shards 2: no good run in the second",
            "shards 4: only in the second",
        ]
    );
    assert!(compared.rows.is_empty());
    let differences = compared.differences.join("\n");
    assert!(differences.contains("the experiment files differ"), "{differences}");
    assert!(differences.contains("cpu_model: a processor and another one"), "{differences}");
    assert!(compared.text().contains("missing: shards 4: only in the second"));
}
