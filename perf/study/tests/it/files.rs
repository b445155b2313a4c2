//! Histogram files as the benches write them are read back as they were.

use crate::support::histograms;
use punctual_study::hdr::{read_log, read_percentiles, total};
use std::fs;
use std::time::Duration;
use tempfile::tempdir;

#[test]
fn logs_and_tables_hold_the_same_latencies() {
    let dir = tempdir().expect("a folder");
    histograms(dir.path(), 3);
    let intervals = read_log(&dir.path().join("latency.hlog")).expect("a log");
    let found: Vec<_> = intervals.iter().map(|it| (it.series.as_str(), it.start, it.len)).collect();
    let second = Duration::from_secs(1);
    assert_eq!(found, [("latency", Duration::ZERO, second), ("latency", second, second)]);
    assert!(intervals.iter().all(|interval| interval.histogram.len() == 100));

    let sum = total(&intervals, "latency");
    let table = read_percentiles(&dir.path().join("latency.hgrm")).expect("a table");
    assert_eq!((sum.len(), table.count), (200, 200));
    assert_eq!(table.rows.last().map(|row| row.count), Some(200));
    for quantile in [0.5, 0.9, 1.0] {
        let of_log_us = sum.value_at_quantile(quantile) as f64 / 1e3;
        let of_table_us = table.at(quantile).expect("a row");
        // A row of the table is at the quantile or a little beyond it.
        assert!((of_table_us / of_log_us - 1.0).abs() < 0.03, "{quantile}: {of_table_us}");
    }
    assert!((table.max_us / 300.0 - 1.0).abs() < 0.001, "{}", table.max_us);
    assert_eq!(total(&intervals, "lag").len(), 0);
}

#[test]
fn files_of_other_kinds_are_named_and_refused() {
    let dir = tempdir().expect("a folder");
    let path = dir.path().join("x.hlog");
    fs::write(&path, "this,is,no,log\n").expect("a file");
    let error = read_log(&path).expect_err("no log").to_string();
    assert!(error.contains("x.hlog: is no interval log"), "{error}");
    let error = read_percentiles(&path).expect_err("no table").to_string();
    assert!(error.contains("x.hlog:1: is no row of a percentile table"), "{error}");
    let error = read_log(&dir.path().join("missing.hlog")).expect_err("no file").to_string();
    assert!(error.contains("cannot read") && error.contains("missing.hlog"), "{error}");
}
