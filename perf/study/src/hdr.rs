//! Reads the histogram files of a run again: interval logs and percentile tables.

use crate::error::StudyError;
use crate::folder::read_bounded;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use punctual_load::histogram::new_histogram;
use std::path::Path;
use std::time::Duration;

/// One interval of a log.
#[derive(Debug, Clone)]
pub struct Interval {
    /// The series; empty where the log does not say.
    pub series: String,
    /// When it began, after the beginning of the log.
    pub start: Duration,
    /// How long it is.
    pub len: Duration,
    /// The latencies in it, in nanoseconds.
    pub histogram: Histogram<u64>,
}

/// One row of a percentile table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PercentileRow {
    /// The latency in microseconds.
    pub value_us: f64,
    /// The quantile, 0 to 1.
    pub quantile: f64,
    /// How many latencies are at most that long.
    pub count: u64,
}

/// A percentile table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PercentileTable {
    /// Its rows, in order.
    pub rows: Vec<PercentileRow>,
    /// How many latencies there are.
    pub count: u64,
    /// The longest, in microseconds.
    pub max_us: f64,
    /// Their mean, in microseconds.
    pub mean_us: f64,
}

/// Reads all intervals of a `.hlog` file, in its order.
///
/// # Errors
/// When the file cannot be read, or is none.
pub fn read_log(path: &Path) -> Result<Vec<Interval>, StudyError> {
    let text = read_bounded(path)?;
    let damaged = |what: &str| StudyError::InFile {
        file: path.display().to_string(),
        message: format!("is no interval log of histograms: {what}"),
    };
    let mut intervals = Vec::new();
    for entry in IntervalLogIterator::new(&text) {
        let entry = entry.map_err(|_| damaged("a line is not one of its kind"))?;
        let LogEntry::Interval(interval) = entry else { continue };
        let bytes = STANDARD
            .decode(interval.encoded_histogram())
            .map_err(|_| damaged("a histogram is not base64"))?;
        let histogram: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|_| damaged("a histogram cannot be decoded"))?;
        intervals.push(Interval {
            series: interval.tag().map(|tag| tag.as_str().to_owned()).unwrap_or_default(),
            start: interval.start_timestamp(),
            len: interval.duration(),
            histogram,
        });
    }
    Ok(intervals)
}

/// Adds up the intervals of a series.
#[must_use]
pub fn total(intervals: &[Interval], series: &str) -> Histogram<u64> {
    let mut total = new_histogram();
    for interval in intervals.iter().filter(|interval| interval.series == series) {
        // What is longer than the bounds counts as the longest that is within.
        if total.add(&interval.histogram).is_err() {
            for row in interval.histogram.iter_recorded() {
                let value = row.value_iterated_to().min(total.high());
                total.saturating_record_n(value, row.count_at_value());
            }
        }
    }
    total
}

/// Reads a `.hgrm` file: the percentile table that HdrHistogram's tools print and plot.
///
/// # Errors
/// When the file cannot be read, or is none.
pub fn read_percentiles(path: &Path) -> Result<PercentileTable, StudyError> {
    let text = read_bounded(path)?;
    let text = String::from_utf8_lossy(&text);
    parse_percentiles(&text).map_err(|(line, what)| StudyError::AtLine {
        file: path.display().to_string(),
        line,
        message: format!("is no row of a percentile table: {what}"),
    })
}

fn parse_percentiles(text: &str) -> Result<PercentileTable, (usize, String)> {
    let mut table = PercentileTable::default();
    let mut has_head = false;
    for (at, line) in text.lines().enumerate() {
        let wrong = || (at + 1, line.to_owned());
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            ["Value", "Percentile", ..] => has_head = true,
            [first, ..] if first.starts_with('#') => remark(line, &mut table),
            [value, quantile, count, ..] if has_head => {
                let number = |text: &str| text.parse::<f64>().map_err(|_| wrong());
                table.rows.push(PercentileRow {
                    value_us: number(value)?,
                    quantile: number(quantile)?,
                    count: count.parse().map_err(|_| wrong())?,
                });
            }
            _ => return Err(wrong()),
        }
    }
    if has_head { Ok(table) } else { Err((1, "it has no heading".to_owned())) }
}

/// The remarks below the table: `#[Mean = ..., StdDeviation = ...]` and so on.
fn remark(line: &str, table: &mut PercentileTable) {
    let inner = line.trim_start_matches(['#', '[']).trim_end_matches(']');
    for (name, value) in inner.split(',').filter_map(|part| part.split_once('=')) {
        let value = value.trim();
        match name.trim() {
            "Mean" => table.mean_us = value.parse().unwrap_or(0.0),
            "Max" => table.max_us = value.parse().unwrap_or(0.0),
            "Total count" => table.count = value.parse().unwrap_or(0),
            _ => {}
        }
    }
}

impl PercentileTable {
    /// The latency that a share of all does not exceed, in microseconds; `None` without rows.
    #[must_use]
    pub fn at(&self, quantile: f64) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.quantile >= quantile).or(self.rows.last());
        row.map(|row| row.value_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_percentile_table_is_named_with_its_line() {
        assert_eq!(parse_percentiles("{}"), Err((1, "{}".to_owned())));
        let text = "Value Percentile TotalCount 1/(1-Percentile)\n\n1.0 x 3 1.0\n";
        assert_eq!(parse_percentiles(text), Err((3, "1.0 x 3 1.0".to_owned())));
        assert_eq!(parse_percentiles(""), Err((1, "it has no heading".to_owned())));
    }

    #[test]
    fn a_percentile_is_the_first_row_that_reaches_it() {
        let row = |value_us, quantile| PercentileRow { value_us, quantile, count: 1 };
        let rows = vec![row(1.0, 0.0), row(2.0, 0.5), row(9.0, 1.0)];
        let table = PercentileTable { rows, ..PercentileTable::default() };
        assert_eq!([0.5, 0.9, 1.0].map(|at| table.at(at)), [Some(2.0), Some(9.0), Some(9.0)]);
        assert_eq!(PercentileTable::default().at(0.5), None);
    }
}
