//! A latency distribution in a few numbers, and how times are shown to people.

use std::fmt;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Samples that must lie beyond a percentile before it is stated. With fewer, it is an anecdote.
const SAMPLES_BEYOND_MIN: u64 = 10;

/// Mean, percentiles and maximum of a latency, in nanoseconds.
///
/// What the samples do not support is `None`, `null` in JSON: a percentile beyond `1 - 10/n`, and
/// everything when there is no sample. Values are the upper ends of histogram buckets, at most a
/// thousandth above what was measured. Percentiles of several summaries cannot be averaged: merge
/// the histograms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<u64>,
    /// One in ten takes longer.
    pub p90: Option<u64>,
    /// One in a hundred takes longer.
    pub p99: Option<u64>,
    /// One in a thousand takes longer.
    pub p99_9: Option<u64>,
    /// One in ten thousand takes longer.
    pub p99_99: Option<u64>,
    /// The longest.
    pub max: Option<u64>,
    /// How many latencies were measured.
    pub samples: u64,
}

impl LatencySummary {
    /// Sums up a histogram of nanoseconds.
    #[must_use]
    pub fn from_histogram(histogram: &Histogram<u64>) -> Self {
        let samples = histogram.len();
        // In whole samples: `1 - 10/n` in floating point would be off by one sample at the limit.
        let percentile = |quantile: f64, beyond_one_in: u64| {
            (samples / SAMPLES_BEYOND_MIN >= beyond_one_in)
                .then(|| histogram.value_at_quantile(quantile))
        };
        Self {
            mean: (samples > 0).then(|| histogram.mean()),
            p50: percentile(0.5, 2),
            p90: percentile(0.9, 10),
            p99: percentile(0.99, 100),
            p99_9: percentile(0.999, 1_000),
            p99_99: percentile(0.9999, 10_000),
            max: (samples > 0).then(|| histogram.max()),
            samples,
        }
    }
}

/// One line with units; what is not known is a dash.
impl fmt::Display for LatencySummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [
            ("mean", self.mean.map(|mean_ns| mean_ns.round() as u64)),
            ("p50", self.p50),
            ("p90", self.p90),
            ("p99", self.p99),
            ("p99.9", self.p99_9),
            ("p99.99", self.p99_99),
            ("max", self.max),
        ];
        for (name, value_ns) in named {
            let value = fmt_ns_or_dash(value_ns);
            write!(f, "{name} {value}, ")?;
        }
        let samples = self.samples;
        write!(f, "{samples} samples")
    }
}

/// A time in the unit that suits it, with three significant digits: `850 ns`, `12.3 us`, `1.20 s`.
#[must_use]
pub fn fmt_ns(ns: u64) -> String {
    if ns < 1_000 {
        return format!("{ns} ns");
    }
    let mut value = ns as f64 / 1e3;
    for unit in ["us", "ms"] {
        // At 999.5 rounding would make it 1000 of this unit: that is 1.00 of the next.
        if value < 999.5 {
            return three_digits(value, unit);
        }
        value /= 1e3;
    }
    three_digits(value, "s")
}

/// [`fmt_ns`], or a dash for what is not known.
#[must_use]
pub fn fmt_ns_or_dash(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".to_owned(), fmt_ns)
}

fn three_digits(value: f64, unit: &str) -> String {
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::new_histogram;

    /// The latencies 1, 2, .. `samples` in microseconds.
    fn ramp(samples: u64) -> LatencySummary {
        let mut histogram = new_histogram();
        for us in 1..=samples {
            histogram.record(us * 1_000).expect("a latency within bounds");
        }
        LatencySummary::from_histogram(&histogram)
    }

    fn is_about(value_ns: Option<u64>, expected_ns: u64) -> bool {
        value_ns.is_some_and(|ns| (expected_ns..=expected_ns + expected_ns / 1_000).contains(&ns))
    }

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let summary = ramp(1_000);
        assert!(is_about(summary.p50, 500_000), "{summary}");
        assert!(is_about(summary.p90, 900_000), "{summary}");
        assert!(is_about(summary.p99, 990_000), "{summary}");
        assert!(is_about(summary.max, 1_000_000), "{summary}");
        let mean = summary.mean.expect("a mean");
        assert!((500_000.0..501_000.0).contains(&mean), "{mean}");
        assert_eq!(summary.samples, 1_000);
    }

    #[test]
    fn a_percentile_needs_ten_samples_beyond_it() {
        assert_eq!(ramp(19).p50, None);
        assert!(ramp(20).p50.is_some());
        assert_eq!(ramp(999).p99, None);
        assert!(ramp(999).p90.is_some());
        assert!(ramp(1_000).p99.is_some());
        assert_eq!(ramp(9_999).p99_9, None);
        assert!(ramp(10_000).p99_9.is_some());
        assert_eq!(ramp(99_999).p99_99, None);
        assert!(ramp(100_000).p99_99.is_some());
    }

    #[test]
    fn no_samples_give_no_numbers() {
        let summary = ramp(0);
        assert_eq!(summary, LatencySummary::default());
        assert_eq!(
            summary.to_string(),
            "mean -, p50 -, p90 -, p99 -, p99.9 -, p99.99 -, max -, 0 samples"
        );
    }

    #[test]
    fn what_is_not_known_is_null_in_json() {
        let json = serde_json::to_value(ramp(100)).expect("a summary is JSON");
        assert!(json["p90"].is_u64(), "{json}");
        assert!(json["p99"].is_null(), "{json}");
        let back: LatencySummary = serde_json::from_value(json).expect("and back");
        assert_eq!((back.p99, back.samples), (None, 100));
    }

    #[test]
    fn times_have_three_digits_and_a_fitting_unit() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 us"),
            (12_345, "12.3 us"),
            (99_949, "99.9 us"),
            (99_960, "100 us"),
            (999_499, "999 us"),
            (999_500, "1.00 ms"),
            (1_234_567, "1.23 ms"),
            (999_600_000, "1.00 s"),
            (60_000_000_000, "60.0 s"),
            (3_600_000_000_000, "3600 s"),
        ] {
            assert_eq!(fmt_ns(ns), text);
        }
    }
}
