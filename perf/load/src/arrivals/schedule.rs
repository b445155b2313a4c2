//! Rates of an open loop, and how they change.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// The lowest rate: an arrival in a quarter of an hour. Times stay far within 64 bits.
pub const RATE_MIN: f64 = 1e-3;
/// The highest rate: far more than there are transactions anywhere.
pub const RATE_MAX: f64 = 1e12;
/// Most steps of a schedule.
const STEPS_MAX: usize = 64;

/// How arrivals are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ArrivalKind {
    /// Independent of each other, as those of many users are.
    #[default]
    Poisson,
    /// At equal distances.
    Constant,
}

impl ArrivalKind {
    /// Its name in options and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Poisson => "poisson",
            Self::Constant => "constant",
        }
    }
}

/// Arrivals a second: one rate, a ramp from one to another, or steps of equal length.
#[derive(Debug, Clone, PartialEq)]
pub enum Rates {
    /// The same all the time.
    Steady(f64),
    /// From the first to the second, evenly over the measured part.
    Ramp(f64, f64),
    /// One after the other, each for an equal part of the measured part.
    Steps(Vec<f64>),
}

/// What is wrong with rates.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RatesError {
    /// No number, or one that nobody can keep to.
    #[error("{0:?} is no rate: give a number from {RATE_MIN} to {RATE_MAX:e}, such as 5000")]
    NotARate(String),
    /// Too many steps.
    #[error("{0} steps are more than {STEPS_MAX}")]
    TooManySteps(usize),
}

/// Whether arrivals can come at this rate.
#[must_use]
pub fn is_rate(rate: f64) -> bool {
    (RATE_MIN..=RATE_MAX).contains(&rate)
}

impl Rates {
    /// The rate, if it does not change.
    #[must_use]
    pub fn steady(&self) -> Option<f64> {
        match self {
            Self::Steady(rate) => Some(*rate),
            Self::Ramp(from, to) => (from.to_bits() == to.to_bits()).then_some(*from),
            Self::Steps(_) => None,
        }
    }
}

impl FromStr for Rates {
    type Err = RatesError;

    /// `1000`, `1000..5000` for a ramp, `1000,2000,5000` for steps.
    fn from_str(text: &str) -> Result<Self, RatesError> {
        let rate = |text: &str| match text.trim().parse::<f64>() {
            Ok(rate) if is_rate(rate) => Ok(rate),
            _ => Err(RatesError::NotARate(text.to_owned())),
        };
        if let Some((from, to)) = text.split_once("..") {
            return Ok(Self::Ramp(rate(from)?, rate(to)?));
        }
        let mut steps = text.split(',').map(rate).collect::<Result<Vec<_>, _>>()?;
        match steps.len() {
            1 => Ok(Self::Steady(steps.remove(0))),
            count if count > STEPS_MAX => Err(RatesError::TooManySteps(count)),
            _ => Ok(Self::Steps(steps)),
        }
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steady(rate) => write!(f, "{rate}"),
            Self::Ramp(from, to) => write!(f, "{from}..{to}"),
            Self::Steps(steps) => {
                let steps: Vec<_> = steps.iter().map(f64::to_string).collect();
                f.write_str(&steps.join(","))
            }
        }
    }
}

/// When the transactions of all workers together are meant to start: at the first rate while
/// warming up, then as the rates say, and at the last one after that.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// How many.
    pub rates: Rates,
    /// How they are spread.
    pub kind: ArrivalKind,
    /// Length of the warm-up.
    pub warmup: Duration,
    /// Length of the measured part.
    pub duration: Duration,
}

impl Schedule {
    /// The rate, if there is only one.
    #[must_use]
    pub fn steady_rate(&self) -> Option<f64> {
        self.rates.steady()
    }

    /// The mean rate of the measured part.
    #[must_use]
    pub fn mean_rate(&self) -> f64 {
        match &self.rates {
            Rates::Steady(rate) => *rate,
            Rates::Ramp(from, to) => f64::midpoint(*from, *to),
            Rates::Steps(steps) => steps.iter().sum::<f64>() / steps.len().max(1) as f64,
        }
    }

    /// The rates by time, each divided by `workers`. The last one has no end.
    pub(super) fn segments(&self, workers: f64) -> Vec<Segment> {
        let (warmup_s, duration_s) = (self.warmup.as_secs_f64(), self.duration.as_secs_f64());
        let segment = |start_s, len_s, from: f64, to: f64| Segment {
            start_s,
            len_s,
            from: from / workers,
            to: to / workers,
        };
        let end_s = warmup_s + duration_s;
        match &self.rates {
            Rates::Steady(rate) => vec![segment(0.0, f64::INFINITY, *rate, *rate)],
            Rates::Ramp(from, to) => vec![
                segment(0.0, warmup_s, *from, *from),
                segment(warmup_s, duration_s, *from, *to),
                segment(end_s, f64::INFINITY, *to, *to),
            ],
            Rates::Steps(steps) => {
                let each_s = duration_s / steps.len() as f64;
                let (first, last) = (steps[0], steps[steps.len() - 1]);
                let mut all = vec![segment(0.0, warmup_s, first, first)];
                all.extend(steps.iter().enumerate().map(|(at, rate)| {
                    segment(warmup_s + each_s * at as f64, each_s, *rate, *rate)
                }));
                all.push(segment(end_s, f64::INFINITY, last, last));
                all
            }
        }
    }

    /// Expected arrivals in the first `end_s` seconds.
    #[must_use]
    pub fn count_until(&self, end_s: f64) -> f64 {
        self.segments(1.0).iter().map(|segment| segment.count_until(end_s)).sum()
    }
}

/// A part of a schedule in which the rate changes evenly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Segment {
    pub(super) start_s: f64,
    len_s: f64,
    from: f64,
    to: f64,
}

impl Segment {
    /// Expected arrivals in all of it.
    pub(super) fn arrivals(&self) -> f64 {
        f64::midpoint(self.from, self.to) * self.len_s
    }

    /// Expected arrivals of it in the first `end_s` seconds of the schedule.
    fn count_until(&self, end_s: f64) -> f64 {
        let passed_s = (end_s - self.start_s).clamp(0.0, self.len_s);
        let at_end = if self.len_s.is_finite() && self.len_s > 0.0 {
            self.from + (self.to - self.from) * passed_s / self.len_s
        } else {
            self.from
        };
        f64::midpoint(self.from, at_end) * passed_s
    }

    /// Seconds from its start until so many arrivals are expected: the root of
    /// `from t + (to - from) / (2 len) t^2 = count`, in the form without cancellation.
    pub(super) fn time_of(&self, count: f64) -> f64 {
        let slope = if self.len_s.is_finite() { (self.to - self.from) / self.len_s } else { 0.0 };
        let root = (self.from * self.from + 2.0 * slope * count).max(0.0).sqrt();
        2.0 * count / (self.from + root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrivals::Arrivals;

    fn schedule(rates: &str, kind: ArrivalKind) -> Schedule {
        let (warmup, duration) = (Duration::from_secs(1), Duration::from_secs(10));
        Schedule { rates: rates.parse().expect("rates"), kind, warmup, duration }
    }

    /// Arrivals in each second.
    fn by_second(mut arrivals: Arrivals, seconds: usize) -> Vec<usize> {
        let mut counts = vec![0; seconds];
        while let Some(count) = counts.get_mut((arrivals.next() / 1_000_000_000) as usize) {
            *count += 1;
        }
        counts
    }

    #[test]
    fn rates_are_written_as_they_are_read() {
        for (text, rates) in [
            ("1000", Rates::Steady(1000.0)),
            ("100..2500.5", Rates::Ramp(100.0, 2500.5)),
            ("1,2,3", Rates::Steps(vec![1.0, 2.0, 3.0])),
        ] {
            assert_eq!(text.parse(), Ok(rates.clone()));
            assert_eq!(rates.to_string(), text);
        }
        for text in ["", "0", "-1", "x", "1..", "..2", "1,,2", "inf", "NaN", "1e-9", "1e13"] {
            assert!(matches!(text.parse::<Rates>(), Err(RatesError::NotARate(_))), "{text:?}");
        }
        let why = "x".parse::<Rates>().expect_err("no number").to_string();
        assert_eq!(why, "\"x\" is no rate: give a number from 0.001 to 1e12, such as 5000");
        let many = vec!["1"; STEPS_MAX + 1].join(",");
        assert_eq!(many.parse::<Rates>(), Err(RatesError::TooManySteps(STEPS_MAX + 1)));
    }

    #[test]
    fn steps_follow_the_warm_up_and_the_last_one_goes_on() {
        let steps = schedule("100,300", ArrivalKind::Constant);
        let counts = by_second(Arrivals::of(&steps, 0, 1, 1), 13);
        assert_eq!(counts, [100, 100, 100, 100, 100, 100, 300, 300, 300, 300, 300, 300, 300]);
        assert!((steps.mean_rate() - 200.0).abs() < 1e-9);
    }

    #[test]
    fn a_ramp_grows_evenly_up_or_down() {
        for (rates, first, last) in [("0.001..1000", 50, 950), ("1000..0.001", 950, 50)] {
            let ramp = schedule(rates, ArrivalKind::Constant);
            let counts = by_second(Arrivals::of(&ramp, 0, 1, 1), 11);
            let near = |count: usize, wanted: usize| count.abs_diff(wanted) <= 1;
            assert!(near(counts[1], first) && near(counts[10], last), "{rates}: {counts:?}");
            let total: usize = counts[1..].iter().sum();
            assert!(near(total, 5_000), "{rates}: {total}");
        }
    }

    #[test]
    fn independent_arrivals_of_a_changing_rate_have_its_mean() {
        let ramp = schedule("2000..8000", ArrivalKind::Poisson);
        let counts = by_second(Arrivals::of(&ramp, 0, 1, 7), 11);
        let total: usize = counts[1..].iter().sum();
        // The standard deviation is about 224.
        assert!(total.abs_diff(50_000) < 1_200, "{total}");
        assert!(counts[10] > 3 * counts[1], "{counts:?}");
    }

    #[test]
    fn the_parts_of_several_workers_make_the_whole_and_constant_ones_interleave() {
        for rates in ["1000", "1000..3000"] {
            let all = schedule(rates, ArrivalKind::Constant);
            let mut starts: Vec<i64> = (0..4)
                .flat_map(|worker| {
                    let mut arrivals = Arrivals::of(&all, worker, 4, worker);
                    std::iter::repeat_with(move || arrivals.next()).take(250)
                })
                .collect();
            starts.sort_unstable();
            let early: Vec<i64> = starts[..8].windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(early.iter().all(|gap| (999_000..=1_001_000).contains(gap)), "{early:?}");
        }
    }

    #[test]
    fn what_is_expected_adds_up_over_the_parts() {
        let ramp = schedule("1000..3000", ArrivalKind::Poisson);
        for (end_s, count) in [(0.0, 0.0), (1.0, 1_000.0), (6.0, 8_500.0), (11.0, 21_000.0)] {
            assert!((ramp.count_until(end_s) - count).abs() < 1e-6, "{end_s}");
        }
        assert!((ramp.count_until(12.0) - 24_000.0).abs() < 1e-6);
    }
}
