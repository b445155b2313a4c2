//! Metrics for Prometheus: their format, read as strictly as it is defined, and their numbers.

use crate::farm::Farm;
use crate::http::{PATIENCE, get};
use punctual_runtime::tasks::TaskServerConfig;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// A sample: its metric and labels, and its value.
type Samples = BTreeMap<String, f64>;

/// Reads the format. Every metric says once what it is and how it moves, before its first value;
/// its values stand together, and none stands twice.
fn read(text: &str) -> Samples {
    assert!(text.ends_with('\n'), "the last line has an end");
    let (mut samples, mut seen) = (Samples::new(), BTreeSet::new());
    let (mut current, mut helped) = (String::new(), String::new());
    let mut is_histogram = false;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a text");
            assert!(is_name(name) && !help.is_empty(), "{line}");
            assert!(seen.insert(name.to_owned()), "{name} comes twice");
            helped = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a kind");
            assert_eq!(name, helped, "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            current = name.to_owned();
            is_histogram = kind == "histogram";
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let name = series.split('{').next().expect("a name");
            let is_part = ["_bucket", "_sum", "_count"].into_iter().any(|end| {
                is_histogram && name.strip_suffix(end).is_some_and(|name| name == current)
            });
            assert!(is_part || !is_histogram && name == current, "{line}");
            check_labels(&series[name.len()..]);
            let value = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(samples.insert(series.to_owned(), value).is_none(), "{line} comes twice");
        }
    }
    samples
}

fn is_name(name: &str) -> bool {
    let is_good = |character: char| character.is_ascii_alphanumeric() || character == '_';
    name.starts_with("punctual_") && name.chars().all(is_good)
}

/// Fails unless it is nothing, or labels in braces whose values are quoted as they must be.
fn check_labels(labels: &str) {
    if labels.is_empty() {
        return;
    }
    let mut rest = labels.strip_prefix('{').expect("a brace");
    loop {
        let (name, after) = rest.split_once("=\"").expect("a name and a value");
        assert!(!name.is_empty() && name.chars().all(|it| it.is_ascii_lowercase()), "{labels}");
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().expect("the value has an end") {
                (at, '"') => break at,
                (_, '\\') => {
                    let (_, escaped) = characters.next().expect("something is escaped");
                    assert!(['\\', '"', 'n'].contains(&escaped), "{labels}");
                }
                _ => {}
            }
        };
        rest = match &after[end + 1..] {
            "}" => return,
            more => more.strip_prefix(',').expect("another label, or the end"),
        };
    }
}

#[test]
fn the_metrics_are_well_formed_and_say_what_there_is() {
    let mut farm = Farm::new();
    let worker = farm.hire();
    farm.submit("say \"hi\" \\o/", &["ok 1", "ok 2", "fail 3"]);
    farm.until(&[("done", 2), ("failed", 1)]);
    // What the queue has counted is known a moment after what it has.
    let counted = |what: &str| {
        format!("punctual_engine_tasks_{what}_total{{part=\"tasks0\",kind=\"queue\"}}")
    };
    let (done, failed, start) = (counted("done"), counted("failed"), Instant::now());
    let (text, samples) = loop {
        let text = get(farm.at, "/metrics").body;
        let samples = read(&text);
        if samples.get(&done) == Some(&2.0) && samples.get(&failed) == Some(&1.0) {
            break (text, samples);
        }
        assert!(start.elapsed() < PATIENCE, "they are not counted:\n{text}");
    };
    for (series, value) in [
        ("punctual_tasks_up", 1.0),
        ("punctual_tasks{state=\"done\"}", 2.0),
        ("punctual_tasks{state=\"failed\"}", 1.0),
        ("punctual_tasks{state=\"running\"}", 0.0),
        ("punctual_jobs", 1.0),
        ("punctual_job_tasks{job=\"say \\\"hi\\\" \\\\o/\",state=\"done\"}", 2.0),
        ("punctual_workers{state=\"idle\"}", 1.0),
        ("punctual_worker_up{worker=\"w 1/ä\",host=\"\"}", 1.0),
        ("punctual_task_lease_seconds_count", 3.0),
        ("punctual_task_lease_seconds_bucket{le=\"+Inf\"}", 3.0),
        ("punctual_worker_slots{worker=\"w 1/ä\",host=\"\"}", 2.0),
        ("punctual_worker_done_total{worker=\"w 1/ä\",host=\"\"}", 2.0),
        ("punctual_worker_failed_total{worker=\"w 1/ä\",host=\"\"}", 1.0),
        ("punctual_engine_tasks_submitted_total{part=\"tasks0\",kind=\"queue\"}", 3.0),
        ("punctual_engine_tasks_done_total{part=\"tasks0\",kind=\"queue\"}", 2.0),
        ("punctual_engine_task_workers{part=\"tasks0\",kind=\"queue\"}", 1.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series} in\n{text}");
    }
    check_histogram(&samples, "punctual_task_queue_wait_seconds");
    check_histogram(&samples, "punctual_task_lease_seconds");
    worker.drain();
    worker.wait().expect("an orderly end");
    farm.stop();
}

/// Fails unless the buckets ascend to the number of all.
fn check_histogram(samples: &Samples, name: &str) {
    let start = format!("{name}_bucket{{le=\"");
    let bound = |series: &str| {
        let bound = series.strip_prefix(&start)?.strip_suffix("\"}")?;
        Some(bound.trim_start_matches('+').parse::<f64>().expect("a bound"))
    };
    let buckets = samples.iter().filter_map(|(series, count)| Some((bound(series)?, *count)));
    let mut buckets: Vec<(f64, f64)> = buckets.collect();
    buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    assert!(buckets.len() > 30, "{buckets:?}");
    assert!(buckets.is_sorted_by(|(_, one), (_, other)| one <= other), "{buckets:?}");
    let all = samples[&format!("{name}_count")];
    assert_eq!(buckets.last(), Some(&(f64::INFINITY, all)));
}

#[test]
fn the_metrics_and_the_summary_are_the_same_numbers() {
    let mut farm = Farm::new();
    farm.submit("job", &["ok 1", "ok 2", "fail 3"]);
    let summary = get(farm.at, "/api/summary").json();
    let samples = read(&get(farm.at, "/metrics").body);
    let counts = summary["tasks"]["counts"].as_object().expect("counts");
    assert_eq!(counts.len(), 7);
    for (state, count) in counts {
        let series = format!("punctual_tasks{{state=\"{state}\"}}");
        assert_eq!(samples.get(&series).copied(), count.as_f64(), "{series}");
    }
    farm.stop();
}

#[test]
fn several_queues_are_one_farm_and_each_has_its_own_counters() {
    let mut farm = Farm::with(TaskServerConfig { queues: 2, ..TaskServerConfig::default() });
    farm.submit("job", &["ok 0", "ok 1", "ok 2"]);
    let unfinished = |queue: u16| {
        format!("punctual_engine_tasks_unfinished{{part=\"tasks{queue}\",kind=\"queue\"}}")
    };
    let start = Instant::now();
    let samples = loop {
        let text = get(farm.at, "/metrics").body;
        let samples = read(&text);
        let counted = [0, 1].map(|queue| samples.get(&unfinished(queue)).copied());
        if counted == [Some(2.0), Some(1.0)] {
            break samples;
        }
        assert!(start.elapsed() < PATIENCE, "they are not counted:\n{text}");
    };
    for (series, value) in [
        ("punctual_tasks{state=\"ready\"}", 3.0),
        ("punctual_jobs", 1.0),
        ("punctual_job_tasks{job=\"job\",state=\"ready\"}", 3.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series} in {samples:#?}");
    }
    // A page of tasks may end in one queue, and the next one goes on in another.
    let page = get(farm.at, "/api/tasks?limit=2").json();
    assert_eq!((&page["tasks"][1]["id"], &page["next"]), (&"2".into(), &"1.1".into()), "{page:#}");
    let page = get(farm.at, "/api/tasks?limit=2&from=1.1").json();
    assert_eq!((&page["tasks"][0]["id"], &page["next"]), (&"1.1".into(), &().into()), "{page:#}");
    farm.stop();
}
