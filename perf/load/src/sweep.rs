//! A sweep: the same bench at rate after rate, to find where response times begin to rise.

use crate::Report;
use crate::summary::LatencySummary;
use serde::{Deserialize, Serialize};

/// Shares of the closed loop's throughput that an automatic sweep tries.
const AUTO_SHARES: [f64; 9] = [0.1, 0.2, 0.35, 0.5, 0.65, 0.75, 0.85, 0.95, 1.05];
/// Share of a rate that must be done with for it to have been kept.
const KEPT_SHARE: f64 = 0.99;
/// Arrivals are drawn, so there are more or fewer than the rate says: by no more than this many
/// standard deviations, of which one is the root of their number.
const CHANCE_DEVIATIONS: f64 = 3.0;
/// The response time at the knee is at most so many times that at the lowest rate.
pub const KNEE_FACTOR: u64 = 5;

/// The rates of an automatic sweep, by what a closed loop has done: two digits each, so that they
/// can be told and repeated.
#[must_use]
pub fn auto_rates(closed_tps: f64) -> Vec<f64> {
    let mut rates: Vec<f64> =
        AUTO_SHARES.iter().map(|share| two_digits(closed_tps * share).max(1.0)).collect();
    rates.dedup();
    rates
}

fn two_digits(rate: f64) -> f64 {
    let unit = 10_f64.powf(rate.max(10.0).log10().floor() - 1.0);
    (rate / unit).round() * unit
}

/// A median with its range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The median; with an even number the mean of the two in the middle.
    pub median: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of these values; `None` if there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { min, median: f64::midpoint(low, high), max })
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepRun {
    /// Committed transactions a second.
    pub throughput_tps: f64,
    /// The same with those that were aborted for a reason of their own: what was done with.
    pub ended_tps: f64,
    /// From the intended start to the outcome.
    pub response_ns: LatencySummary,
    /// From the intended start to sending.
    pub lag_ns: LatencySummary,
    /// Whether it measured the system and not its own generator.
    pub valid: bool,
    /// Whether the store agreed.
    pub self_check: String,
}

impl SweepRun {
    /// What a report says.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let journal = report.durability.as_ref();
        let recovery = journal.and_then(|journal| journal.recovery.as_ref());
        let recovered = recovery.map(|recovery| &recovery.self_check);
        let self_check = recovered.filter(|check| *check != "ok").unwrap_or(&report.self_check);
        let ended_each = match report.committed {
            0 => 1.0,
            committed => 1.0 + report.aborted as f64 / committed as f64,
        };
        Self {
            throughput_tps: report.throughput_tps,
            ended_tps: report.throughput_tps * ended_each,
            response_ns: report.intended_latency_ns.unwrap_or(report.latency_ns),
            lag_ns: report.lag_ns.unwrap_or_default(),
            // With too few samples to tell, it is not known to be wrong.
            valid: report.open_loop_valid != Some(false),
            self_check: self_check.clone(),
        }
    }
}

/// All runs at one rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Intended arrivals a second.
    pub rate: f64,
    /// The runs.
    pub runs: Vec<SweepRun>,
}

impl Point {
    /// The spread of a figure over the valid runs.
    pub fn spread(&self, of: impl Fn(&SweepRun) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.runs.iter().filter(|run| run.valid).filter_map(of))
    }

    /// Whether every run was valid, and the rate was kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        let kept = |run: &SweepRun| {
            let chance = CHANCE_DEVIATIONS / (run.response_ns.samples.max(1) as f64).sqrt();
            run.valid && run.ended_tps >= self.rate * (KEPT_SHARE - chance)
        };
        !self.runs.is_empty() && self.runs.iter().all(kept)
    }

    fn p99_ns(&self) -> Option<f64> {
        self.spread(|run| run.response_ns.p99.map(|ns| ns as f64)).map(|spread| spread.median)
    }
}

/// The knee: the highest rate up to which every rate was kept, with a p99 of the response time of
/// at most [`KNEE_FACTOR`] times that at the lowest rate. `None` if not even that was kept.
#[must_use]
pub fn knee(points: &[Point]) -> Option<f64> {
    let floor_ns = points.first()?.p99_ns()?;
    let is_below = |point: &&Point| {
        let p99_ns = point.p99_ns().unwrap_or(f64::INFINITY);
        point.is_kept() && p99_ns <= floor_ns * KNEE_FACTOR as f64
    };
    points.iter().take_while(is_below).last().map(|point| point.rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(rate: f64, p99: u64, kept: f64, valid: bool) -> Point {
        let response_ns =
            LatencySummary { p99: Some(p99), samples: 1_000_000, ..LatencySummary::default() };
        let run = SweepRun {
            throughput_tps: rate * kept,
            ended_tps: rate * kept,
            response_ns,
            lag_ns: LatencySummary::default(),
            valid,
            self_check: "ok".to_owned(),
        };
        Point { rate, runs: vec![run.clone(), run] }
    }

    #[test]
    fn the_knee_is_the_last_rate_that_was_kept_without_a_steep_rise() {
        let flat = [point(1e3, 100, 1.0, true), point(2e3, 400, 1.0, true)];
        assert_eq!(knee(&flat), Some(2e3));
        let steep = [&flat[..], &[point(3e3, 501, 1.0, true), point(4e3, 100, 1.0, true)]].concat();
        assert_eq!(knee(&steep), Some(2e3), "what comes after a rise does not count");
        let lost = [&flat[..], &[point(3e3, 100, 0.98, true)]].concat();
        assert_eq!(knee(&lost), Some(2e3));
        let invalid = [&flat[..], &[point(3e3, 100, 1.0, false)]].concat();
        assert_eq!(knee(&invalid), Some(2e3));
        assert_eq!(knee(&[point(1e3, 100, 0.5, true)]), None);
        assert_eq!(knee(&[]), None);
    }

    #[test]
    fn few_arrivals_may_be_fewer_than_the_rate_says_but_not_many_fewer() {
        let is_kept = |samples, kept| {
            let mut point = point(1e3, 100, kept, true);
            point.runs.iter_mut().for_each(|run| run.response_ns.samples = samples);
            point.is_kept()
        };
        assert!(is_kept(1_000, 0.91), "three times the root of a thousand is a tenth");
        assert!(!is_kept(1_000, 0.88));
        assert!(is_kept(1_000_000, 0.988) && !is_kept(1_000_000, 0.98));
    }

    #[test]
    fn what_was_aborted_is_done_with_as_well_and_a_bad_recovery_is_no_good_run() {
        let environment = crate::environment::bare(
            &crate::environment::Build::default(),
            "ring",
            crate::report::Cores::default(),
            false,
        );
        let report = Report {
            committed: 900,
            aborted: 100,
            throughput_tps: 90.0,
            self_check: "ok".to_owned(),
            ..Report::of(&crate::tpcc::Tpcc::default(), environment)
        };
        let run = SweepRun::of(&report);
        assert!((run.ended_tps - 100.0).abs() < 1e-9, "{run:?}");
        assert_eq!((run.throughput_tps, run.self_check.as_str()), (90.0, "ok"));
        let recovery = crate::report::RecoveryFigures {
            self_check: "a key is missing".to_owned(),
            ..crate::report::RecoveryFigures::default()
        };
        let journal = crate::report::JournalFigures {
            mode: "journal".to_owned(),
            dir: String::new(),
            backend: "auto".to_owned(),
            bytes: 0,
            bytes_per_s: 0.0,
            bytes_per_transaction: None,
            writes: 0,
            write_mean_us: None,
            write_max_us: 0.0,
            snapshots: 0,
            lag_max_us: 0.0,
            within_us: None,
            recovery: Some(recovery),
        };
        let bad = Report { durability: Some(journal), ..report };
        assert_eq!(SweepRun::of(&bad).self_check, "a key is missing");
    }

    #[test]
    fn automatic_rates_go_up_past_what_a_closed_loop_did_and_can_be_told() {
        let rates = auto_rates(1_234_567.0);
        assert_eq!(rates.first(), Some(&120_000.0));
        assert_eq!(rates.last(), Some(&1_300_000.0));
        assert!(rates.is_sorted());
        assert!(auto_rates(3.0).iter().all(|rate| *rate >= 1.0));
    }

    #[test]
    fn a_spread_has_the_median_in_the_middle() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(spread(&[4.0, 1.0]), Some(Spread { min: 1.0, median: 2.5, max: 4.0 }));
    }
}
