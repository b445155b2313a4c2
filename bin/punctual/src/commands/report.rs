//! `punctual report`: results again, as tables.

use crate::commands::output::print;
use crate::commands::{UsageError, bench};
use clap::Args;
use punctual_load::Report;
use punctual_load::report::SCHEMA;
use punctual_load::summary::fmt_ns;
use punctual_study::hdr::{PercentileTable, read_log, read_percentiles, total};
use punctual_study::metric::MetricPath;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What lies side by side, where a document has it.
const FIELDS: [&str; 25] = [
    "program",
    "workload",
    "description",
    "transport",
    "shards",
    "coordinators",
    "in_flight",
    "batch",
    "rate",
    "network.name",
    "committed",
    "aborted",
    "refused",
    "throughput_tps",
    "latency_ns.p50",
    "latency_ns.p99",
    "latency_ns.p99_9",
    "latency_ns.max",
    "intended_latency_ns.p50",
    "intended_latency_ns.p99",
    "lag_ns.p99",
    "on_time_ratio",
    "hold_ns.p50",
    "self_check",
    "environment.git_commit",
];
/// Percentiles of histogram files: the quantile, its name, and one sample in how many lies beyond.
const QUANTILES: [(f64, &str, u64); 5] = [
    (0.5, "p50", 2),
    (0.9, "p90", 10),
    (0.99, "p99", 100),
    (0.999, "p99.9", 1_000),
    (0.9999, "p99.99", 10_000),
];
/// Samples that must lie beyond a percentile for it to be shown.
const SAMPLES_BEYOND_MIN: u64 = 10;
const NS_PER_US: f64 = 1e3;

/// Show results again: reports of benches, one or side by side, and histogram files
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual report run.json                     what the run has said when it ended
  punctual report before.json after.json       the figures of both, side by side
  punctual report out/latency.hgrm             the percentiles of a table
  punctual report out/latency.hlog             those of every series of an interval log")]
pub(crate) struct ReportArgs {
    /// Reports (--json) and histogram files (.hlog, .hgrm) of benches
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let mut documents = Vec::new();
    let mut text = String::new();
    for path in &args.files {
        let name = path.display().to_string();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("hlog") => text += &log(path, &name)?,
            Some("hgrm") => text += &table(&name, &read_percentiles(path)?),
            _ => documents.push((name, document(path)?)),
        }
    }
    let shown = match documents.as_slice() {
        [] => String::new(),
        [(_, document)] => match serde_json::from_value::<Report>(document.clone()) {
            Ok(report) => bench::render(&report),
            // Of another bench, or of an older version: what it has is shown.
            Err(_) => side_by_side(&documents),
        },
        _ => side_by_side(&documents),
    };
    print(&(shown + &text))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the document of a run.
fn document(path: &Path) -> Result<Value, UsageError> {
    let shown = path.display();
    let text =
        fs::read(path).map_err(|error| UsageError(format!("{shown} cannot be read: {error}")))?;
    let document: Value = serde_json::from_slice(&text).map_err(|_| {
        UsageError(format!("{shown} is no JSON; give a report that a bench wrote with --json"))
    })?;
    let program = document.get("program").and_then(Value::as_str).unwrap_or_default();
    let schema = document.get("schema").and_then(Value::as_u64);
    match schema {
        Some(schema) if program.starts_with("bench") => match schema <= u64::from(SCHEMA) {
            true => Ok(document),
            false => Err(UsageError(format!(
                "{shown} has schema {schema}, and this program reads up to {SCHEMA}; use the \
                 version that wrote it, or a newer one"
            ))),
        },
        _ => Err(UsageError(format!("{shown} is no report that a bench wrote with --json"))),
    }
}

/// A column for each document, a row for each field that any of them has.
fn side_by_side(documents: &[(String, Value)]) -> String {
    let mut rows = vec![("", documents.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>())];
    for field in FIELDS {
        let values: Vec<Option<String>> =
            documents.iter().map(|(_, document)| value(document, field)).collect();
        if values.iter().any(Option::is_some) {
            let cells = values.into_iter().map(|value| value.unwrap_or_else(|| "-".to_owned()));
            rows.push((field, cells.collect()));
        }
    }
    let names = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().map(|(_, cells)| cells[column].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..documents.len()).map(width).collect();
    let mut text = String::new();
    for (name, cells) in &rows {
        text += &format!("{name:<names$}");
        for (cell, width) in cells.iter().zip(&widths) {
            text += &format!("  {cell:>width$}");
        }
        text.push('\n');
    }
    text
}

/// A field for people; `None` where it does not apply.
fn value(document: &Value, field: &str) -> Option<String> {
    match document.pointer(&format!("/{}", field.replace('.', "/")))? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => {
            let path: MetricPath = field.parse().ok()?;
            Some(path.unit().show(number.as_f64()?))
        }
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// The percentiles of every series of an interval log.
fn log(path: &Path, name: &str) -> anyhow::Result<String> {
    let intervals = read_log(path)?;
    let mut series: Vec<&str> = intervals.iter().map(|interval| interval.series.as_str()).collect();
    series.sort_unstable();
    series.dedup();
    let mut text = String::new();
    for series in series {
        let all = total(&intervals, series);
        let count = intervals.iter().filter(|interval| interval.series == series).count();
        let at = |quantile| Some(all.value_at_quantile(quantile));
        let heading = format!("{name}, {series}, {count} intervals");
        text += &percentiles(&heading, all.len(), at, all.max());
    }
    Ok(text)
}

/// The percentiles of a table.
fn table(name: &str, table: &PercentileTable) -> String {
    let ns = |us: f64| (us * NS_PER_US).round() as u64;
    percentiles(name, table.count, |quantile| table.at(quantile).map(ns), ns(table.max_us))
}

/// One line: how many, and how long they took.
fn percentiles(heading: &str, count: u64, at: impl Fn(f64) -> Option<u64>, max_ns: u64) -> String {
    let mut text = format!("{heading}: {count} samples");
    for (quantile, name, one_in) in QUANTILES {
        // With fewer samples it would be an anecdote.
        let ns = at(quantile).filter(|_| count / SAMPLES_BEYOND_MIN >= one_in);
        text += &format!(", {name} {}", ns.map_or_else(|| "-".to_owned(), fmt_ns));
    }
    text + &format!(", max {}\n", fmt_ns(max_ns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_lie_side_by_side_with_what_they_have() {
        let first = json!({ "program": "bench micro", "throughput_tps": 1_234_567.0 });
        let second = json!({ "program": "bench micro", "latency_ns": { "p50": 12_300 } });
        let documents = [("a.json".to_owned(), first), ("b.json".to_owned(), second)];
        let text = side_by_side(&documents);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "                     a.json       b.json",
                "program         bench micro  bench micro",
                "throughput_tps    1,234,567            -",
                "latency_ns.p50            -      12.3 us",
            ]
        );
    }

    #[test]
    fn a_percentile_needs_samples_beyond_it() {
        let text = percentiles("x", 200, |_| Some(5_000), 9_000);
        let told = "x: 200 samples, p50 5.00 us, p90 5.00 us, p99 -, p99.9 -, p99.99 -, ";
        assert_eq!(text, format!("{told}max 9.00 us\n"));
    }
}
