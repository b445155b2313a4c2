//! Histogram files that the standard HdrHistogram plotters open.
//!
//! A run leaves one `latency.hlog` with the histogram of every interval of every series (the tag
//! names the series), and one `.hgrm` percentile table a series for the whole run. Values are
//! nanoseconds in the log and microseconds, to the nanosecond, in the tables.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogWriterBuilder, IntervalLogWriterError, Tag,
};
use hdrhistogram::serialization::{V2DeflateSerializeError, V2DeflateSerializer};
use thiserror::Error;

/// Name of the interval log within its directory.
pub const LOG_FILE: &str = "latency.hlog";

/// Version of the log format that has tags, base times and compressed V2 histograms.
const LOG_VERSION: &str = "[Histogram log format version 1.3]";
const LOG_LEGEND: &str =
    r#""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#;
const TABLE_HEADER: &str = "       Value     Percentile TotalCount 1/(1-Percentile)\n";
/// Rows of a table for each halving of the distance to 100 %; the reference implementation's 5.
const TICKS_PER_HALF_DISTANCE: u32 = 5;
const NS_PER_US: f64 = 1e3;

/// Why histogram files could not be written.
#[derive(Debug, Error)]
pub enum HdrFileError {
    /// The file system refused.
    #[error("cannot write {}; choose a directory that is writable and has room", .path.display())]
    Io {
        /// File or directory that was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A name that cannot be both a tag in the log and the name of a file.
    #[error("the series name {name:?} is not usable; use ASCII letters, digits, '-' and '_'")]
    SeriesName {
        /// The name.
        name: String,
    },
    /// A histogram could not be encoded.
    #[error("cannot encode an interval of the series {series}")]
    Encode {
        /// The series.
        series: String,
        /// What the encoder said.
        source: V2DeflateSerializeError,
    },
}

/// The histogram files of one run.
pub struct HdrFiles {
    dir: PathBuf,
    log_path: PathBuf,
    log: BufWriter<File>,
    serializer: V2DeflateSerializer,
}

impl HdrFiles {
    /// Creates the directory where it is missing and sees that the log can be written, so that a
    /// run need not fail when it has begun.
    ///
    /// # Errors
    /// When the directory or the log cannot be written.
    pub fn prepare(dir: &Path) -> Result<(), HdrFileError> {
        fs::create_dir_all(dir).map_err(io_error(dir))?;
        let log_path = dir.join(LOG_FILE);
        // What an earlier run left stays until this one measures.
        let opened = File::options().create(true).append(true).open(&log_path);
        opened.map(drop).map_err(io_error(&log_path))
    }

    /// Creates the directory where it is missing and begins the log. Intervals count from now, so
    /// call it when the measured part of the run begins.
    ///
    /// # Errors
    /// When the directory or the log cannot be written.
    pub fn create(dir: &Path) -> Result<Self, HdrFileError> {
        fs::create_dir_all(dir).map_err(io_error(dir))?;
        let log_path = dir.join(LOG_FILE);
        let file = File::create(&log_path).map_err(io_error(&log_path))?;
        let (mut log, mut serializer) = (BufWriter::new(file), V2DeflateSerializer::new());
        begin_log(&mut log, &mut serializer).map_err(io_error(&log_path))?;
        Ok(Self { dir: dir.to_owned(), log_path, log, serializer })
    }

    /// Appends one interval of a series to the log, `start` after the beginning of the log.
    /// Intervals should come in the order of their starts. The file is complete after every call,
    /// so that a run that is killed leaves what it had.
    ///
    /// # Errors
    /// When the name of the series is not usable, or the log cannot be written.
    pub fn interval(
        &mut self,
        series: &str,
        start: Duration,
        len: Duration,
        histogram: &Histogram<u64>,
    ) -> Result<(), HdrFileError> {
        let tag = tag_of(series)?;
        // A log writer borrows the file, so each interval gets one of its own. Without headers to
        // write, beginning one costs nothing.
        let written = IntervalLogWriterBuilder::new()
            .begin_log_with(&mut self.log, &mut self.serializer)
            .map_err(IntervalLogWriterError::IoError)
            .and_then(|mut writer| writer.write_histogram(histogram, start, len, Some(tag)));
        match written {
            Ok(()) => self.log.flush().map_err(io_error(&self.log_path)),
            Err(IntervalLogWriterError::IoError(source)) => Err(io_error(&self.log_path)(source)),
            Err(IntervalLogWriterError::SerializeError(source)) => {
                Err(HdrFileError::Encode { series: series.to_owned(), source })
            }
        }
    }

    /// Writes the percentile table of each series, `<series>.hgrm`, and closes the log.
    ///
    /// # Errors
    /// When the name of a series is not usable, or a file cannot be written.
    pub fn finish(mut self, totals: &[(&str, &Histogram<u64>)]) -> Result<(), HdrFileError> {
        for (series, total) in totals {
            tag_of(series)?;
            let path = self.dir.join(format!("{series}.hgrm"));
            write_table(&path, total).map_err(io_error(&path))?;
        }
        self.log.flush().map_err(io_error(&self.log_path))
    }
}

/// Writes the percentile table of a histogram of nanoseconds, layout and rows as the reference
/// implementation prints them with a scaling ratio of 1000. The row of 100 % has no last column.
///
/// # Errors
/// What the writer reports.
pub fn write_percentiles(out: &mut impl Write, histogram: &Histogram<u64>) -> io::Result<()> {
    writeln!(out, "{TABLE_HEADER}")?;
    let mut counted = 0;
    for row in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        counted += row.count_since_last_iteration();
        let value_us = row.value_iterated_to() as f64 / NS_PER_US;
        let quantile = row.quantile_iterated_to();
        write!(out, "{value_us:12.3} {quantile:2.12} {counted:10}")?;
        if quantile < 1.0 {
            write!(out, " {:14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(out)?;
    }
    let mean_us = histogram.mean() / NS_PER_US;
    let deviation_us = histogram.stdev() / NS_PER_US;
    writeln!(out, "#[Mean    = {mean_us:12.3}, StdDeviation   = {deviation_us:12.3}]")?;
    let (max_us, count) = (histogram.max() as f64 / NS_PER_US, histogram.len());
    writeln!(out, "#[Max     = {max_us:12.3}, Total count    = {count:12}]")?;
    // Each bucket but the first has only the upper half of its sub-buckets in memory.
    let buckets = usize::from(histogram.buckets());
    let sub_buckets = 2 * histogram.distinct_values() / (buckets + 1);
    writeln!(out, "#[Buckets = {buckets:12}, SubBuckets     = {sub_buckets:12}]")
}

fn begin_log(log: &mut BufWriter<File>, serializer: &mut V2DeflateSerializer) -> io::Result<()> {
    let now = SystemTime::now();
    // Both times: with the start alone, readers guess whether the intervals count from it.
    IntervalLogWriterBuilder::new()
        .add_comment("Latencies of a run of Punctual, in nanoseconds; the tag names the series")
        .add_comment(LOG_VERSION)
        .with_start_time(now)
        .with_base_time(now)
        .begin_log_with(log, serializer)?;
    writeln!(log, "{LOG_LEGEND}")?;
    log.flush()
}

fn write_table(path: &Path, histogram: &Histogram<u64>) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    write_percentiles(&mut out, histogram)?;
    out.flush()
}

/// The tag of a series whose name is also safe as the name of a file.
fn tag_of(series: &str) -> Result<Tag<'_>, HdrFileError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    Tag::new(series)
        .filter(|_| !series.is_empty() && series.bytes().all(is_plain))
        .ok_or_else(|| HdrFileError::SeriesName { name: series.to_owned() })
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> HdrFileError + use<> {
    let path = path.to_owned();
    move |source| HdrFileError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::new_histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    fn histogram(latencies_ns: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = new_histogram();
        for latency_ns in latencies_ns {
            histogram.record(latency_ns).expect("a latency within bounds");
        }
        histogram
    }

    fn table(histogram: &Histogram<u64>) -> String {
        let mut text = Vec::new();
        write_percentiles(&mut text, histogram).expect("memory takes everything");
        String::from_utf8(text).expect("the table is text")
    }

    /// What the standard plotter takes from a table: the rows of four columns, first and last one.
    fn plotted(table: &str) -> Vec<(f64, f64)> {
        let rows = table.lines().filter(|line| !line.starts_with('#'));
        rows.filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let [value, _, _, inverse] = columns[..] else { return None };
            Some((value.parse::<f64>().ok()?, inverse.parse::<f64>().ok()?))
        })
        .collect()
    }

    fn decode_base64(text: &str) -> Vec<u8> {
        let (mut bits, mut held, mut out) = (0_u32, 0_u32, Vec::new());
        for byte in text.bytes().filter(|byte| *byte != b'=') {
            let six = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => panic!("byte {byte} is not base64"),
            };
            bits = (bits << 6) | u32::from(six);
            held += 6;
            if held >= 8 {
                held -= 8;
                out.push((bits >> held) as u8);
                bits &= (1 << held) - 1;
            }
        }
        out
    }

    #[test]
    fn a_table_has_the_layout_of_the_reference_implementation() {
        let text = table(&histogram([1_000, 1_000, 1_500, 2_000]));
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("       Value     Percentile TotalCount 1/(1-Percentile)"));
        assert_eq!(lines.next(), Some(""));
        assert_eq!(lines.next(), Some("       1.000 0.000000000000          2           1.00"));
        let tail: Vec<&str> = text.lines().rev().take(4).collect();
        assert_eq!(tail[3], "       2.000 1.000000000000          4");
        assert_eq!(tail[2], "#[Mean    =        1.375, StdDeviation   =        0.415]");
        assert_eq!(tail[1], "#[Max     =        2.000, Total count    =            4]");
        assert_eq!(tail[0], "#[Buckets =           26, SubBuckets     =         2048]");
    }

    #[test]
    fn a_plotter_reads_the_percentiles_back() {
        let points = plotted(&table(&histogram((1..=100_000).map(|us| us * 1_000))));
        assert!(points.is_sorted_by(|a, b| a.0 <= b.0 && a.1 < b.1), "{points:?}");
        let at = |inverse: f64| {
            points.iter().find(|point| (point.1 - inverse).abs() < 0.005).map(|point| point.0)
        };
        for (inverse, expected_us) in [(2.0, 50_000.0), (4.0, 75_000.0), (1_024.0, 99_902.0)] {
            let value_us = at(inverse).expect("a row at every halving");
            assert!((value_us / expected_us - 1.0).abs() < 0.002, "{inverse}: {value_us} us");
        }
    }

    #[test]
    fn a_table_of_nothing_has_no_rows() {
        assert!(plotted(&table(&new_histogram())).is_empty());
    }

    #[test]
    fn intervals_are_read_back_with_their_series_times_and_counts() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut files = HdrFiles::create(dir.path()).expect("files");
        let sent = [histogram([1_000, 2_000]), histogram([7, 60_000_000_000, 7])];
        let second = Duration::from_secs(1);
        files.interval("response", Duration::ZERO, second, &sent[0]).expect("first interval");
        files.interval("lag", Duration::from_millis(1_500), second, &sent[1]).expect("second");
        files.finish(&[]).expect("finish");

        let log = fs::read(dir.path().join(LOG_FILE)).expect("the log");
        assert!(String::from_utf8_lossy(&log).contains("#[Histogram log format version 1.3]\n"));
        let (mut times, mut found) = (0, Vec::new());
        for entry in IntervalLogIterator::new(&log) {
            match entry.expect("every line is valid") {
                LogEntry::StartTime(_) | LogEntry::BaseTime(_) => times += 1,
                LogEntry::Interval(interval) => {
                    assert_eq!(interval.duration(), second);
                    let bytes = decode_base64(interval.encoded_histogram());
                    let decoded: Histogram<u64> =
                        Deserializer::new().deserialize(&mut bytes.as_slice()).expect("histogram");
                    let tag = interval.tag().expect("a tag").as_str().to_owned();
                    found.push((tag, interval.start_timestamp(), decoded));
                }
            }
        }
        let [first, last] = sent;
        assert_eq!(times, 2);
        assert_eq!(
            found,
            [
                ("response".to_owned(), Duration::ZERO, first),
                ("lag".to_owned(), Duration::from_millis(1_500), last)
            ]
        );
    }

    #[test]
    fn finishing_writes_one_table_a_series() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let files = HdrFiles::create(&dir.path().join("made/on/demand")).expect("files");
        let (response, lag) = (histogram([5_000]), histogram([3_000, 4_000]));
        files.finish(&[("response", &response), ("lag", &lag)]).expect("finish");
        for (name, total) in [("response", &response), ("lag", &lag)] {
            let path = dir.path().join("made/on/demand").join(format!("{name}.hgrm"));
            assert_eq!(fs::read_to_string(path).expect("a table"), table(total));
        }
    }

    #[test]
    fn a_series_name_that_would_leave_the_directory_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut files = HdrFiles::create(dir.path()).expect("files");
        for name in ["", "../lag", "two words", "a,b", "p99.9"] {
            let refused = files.interval(name, Duration::ZERO, Duration::ZERO, &new_histogram());
            assert!(matches!(refused, Err(HdrFileError::SeriesName { .. })), "{name:?}");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named_in_the_error() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let in_the_way = dir.path().join("a-file");
        fs::write(&in_the_way, "").expect("a file");
        for error in [HdrFiles::create(&in_the_way).err(), HdrFiles::prepare(&in_the_way).err()] {
            let error = error.expect("a file is no directory");
            assert!(error.to_string().contains("a-file"), "{error}");
        }
    }

    #[test]
    fn preparing_makes_the_directory_and_keeps_the_log_of_an_earlier_run() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let made = dir.path().join("made/on/demand");
        HdrFiles::prepare(&made).expect("a directory");
        fs::write(made.join(LOG_FILE), "an earlier run").expect("the directory is there");
        HdrFiles::prepare(&made).expect("the same again");
        let kept = fs::read_to_string(made.join(LOG_FILE)).expect("the log");
        assert_eq!(kept, "an earlier run");
    }
}
