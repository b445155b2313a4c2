//! A small experiment, and a runner that writes what it is told.

use punctual_load::hgrm::HdrFiles;
use punctual_load::histogram::new_histogram;
use punctual_study::run::{CellRunner, Ended, Job, Outcome, run};
use punctual_study::{Experiment, Folder, StudyError};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Two cells, two runs each, with a picture of every kind.
pub(crate) const SMALL: &str = r#"name = "small"
title = "A small study"
about = "It shows how studies are made."
bench = "micro"
repeats = 2
metrics = ["throughput_tps", "latency_ns.p99"]

[fixed]
keys = 1000
checksum = true

[sweep]
shards = [1, 2]

[[plot]]
kind = "line"
title = "Throughput"
x = "shards"
y = "throughput_tps"

[[plot]]
kind = "bars"
title = "p99"
x = "shards"

[[plot]]
kind = "throughput-latency"
title = "Both"

[[plot]]
kind = "cdf"
title = "Distribution"
log = "x"

[[plot]]
kind = "percentiles"
title = "Percentiles"

[[plot]]
kind = "heatmap"
title = "Over time"
only = { shards = 1 }

[[published]]
name = "Others"
source = "Another machine."
columns = ["system", "txn/s"]
rows = [["theirs", 7]]
"#;

pub(crate) fn experiment(text: &str) -> Experiment {
    Experiment::parse(text, "small.toml", false).unwrap_or_else(|error| panic!("{error}"))
}

/// Pretends to run a cell.
pub(crate) struct Fake {
    /// The arguments of every run, in their order.
    pub(crate) ran: Vec<String>,
    /// How the run with this number ends, from 0, where it is not with code 0.
    pub(crate) ends: BTreeMap<usize, Ended>,
    /// Fields of the document of the run with this number.
    pub(crate) fields: BTreeMap<usize, Value>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self { ran: Vec::new(), ends: BTreeMap::new(), fields: BTreeMap::new() }
    }
}

impl CellRunner for Fake {
    fn run(&mut self, job: &Job<'_>) -> Result<Ended, StudyError> {
        let number = self.ran.len();
        self.ran.push(job.args.join(" "));
        let ended = self.ends.get(&number).copied().unwrap_or(Ended::Code(Some(0)));
        fs::write(job.log, "it begins\nerror: it went wrong\n").expect("a log");
        let shards: f64 = job.args.last().expect("arguments").parse().expect("a number of shards");
        let mut document = document(shards, number);
        if let Some(Value::Object(fields)) = self.fields.get(&number) {
            document.as_object_mut().expect("an object").extend(fields.clone());
        }
        fs::write(job.json, document.to_string()).expect("a document");
        histograms(job.hdr, number as u64 + 1);
        Ok(ended)
    }
}

/// A document of a bench; later runs are a little faster.
fn document(shards: f64, number: usize) -> Value {
    json!({
        "schema": 3,
        "self_check": "ok",
        "throughput_tps": 1000.0 * shards + number as f64,
        "latency_ns": { "p99": 20_000 / shards as u64 },
        "open_loop_valid": null,
        "warnings": ["agents are not pinned"],
        "environment": {
            "cpu_model": "a processor", "kernel": "Linux 6.1", "git_commit": "0123abc",
            "backend": "threads", "idle": "backoff", "transport": "ring", "pinned": true,
            "isolated": [], "debug_build": false, "version": "0.1.0",
        },
    })
}

/// Histogram files with two intervals of a hundred latencies.
pub(crate) fn histograms(dir: &Path, scale: u64) {
    let mut files = HdrFiles::create(dir).expect("histogram files");
    let mut total = new_histogram();
    for second in 0..2_u64 {
        let mut interval = new_histogram();
        for at in 1..=100_u64 {
            interval.record(at * 1_000 * scale).expect("a latency within bounds");
        }
        let (start, len) = (Duration::from_secs(second), Duration::from_secs(1));
        files.interval("latency", start, len, &interval).expect("an interval");
        total.add(&interval).expect("the same bounds");
    }
    files.finish(&[("latency", &total)]).expect("the tables");
}

/// Begins a study in a folder that does not exist yet.
pub(crate) fn begin(dir: &Path, text: &str) -> (Folder, Experiment) {
    let experiment = experiment(text);
    let began = "2026-11-22T13:05:09Z";
    let folder = Folder::create(dir, &experiment, text, began, "0.1.0 (0123abc)");
    (folder.unwrap_or_else(|error| panic!("{error}")), experiment)
}

/// Runs all that is not finished.
pub(crate) fn go_on(folder: &Folder, experiment: &Experiment, fake: &mut Fake) -> Outcome {
    run(folder, experiment, fake, &mut |_| {}).unwrap_or_else(|error| panic!("{error}"))
}
