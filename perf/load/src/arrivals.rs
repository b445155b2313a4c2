//! When the transactions of an open loop are meant to start.
//!
//! The schedule knows nothing of the system under test: a transaction that starts late is still
//! measured from its intended start, so that a stall counts for all who would have arrived in it,
//! not only for the one that met it ("coordinated omission").

mod schedule;

pub use schedule::{ArrivalKind, RATE_MAX, RATE_MIN, Rates, RatesError, Schedule, is_rate};

use crate::keys::Rng;
use schedule::Segment;

const NS_PER_S: f64 = 1e9;

/// The intended starts of one generator, in nanoseconds since the beginning of its schedule.
///
/// Several generators may share a rate. Poisson schedules of independent seeds add up to a Poisson
/// schedule; constant ones should be shifted against each other by a part of the period.
#[derive(Debug, Clone)]
pub struct Arrivals {
    period_ns: f64,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Constant {
        index: u64,
        /// Part of a period that all are later.
        shift: f64,
    },
    /// Whole nanoseconds and the rest are kept apart: the sum stays exact, however long the run.
    Poisson { rng: Rng, start_ns: i64, rest_ns: f64 },
    /// A rate that changes. With the expected number of arrivals for a clock, arrivals of any rate
    /// are arrivals at rate 1: time rescaling, Çinlar, "Introduction to Stochastic Processes", 4.7.
    Changing {
        /// `None`: constant gaps in rescaled time.
        rng: Option<Rng>,
        segments: Vec<Segment>,
        at: usize,
        /// Expected arrivals since the beginning of the segment at `at`.
        count: f64,
    },
}

impl Arrivals {
    /// The part of a schedule that falls to one worker of several.
    #[must_use]
    pub fn of(schedule: &Schedule, worker: u64, workers: u64, seed: u64) -> Self {
        let workers = workers.max(1) as f64;
        // Gaps between the workers' arrivals are as even as their own.
        let shift = worker as f64 / workers;
        match (schedule.steady_rate(), schedule.kind) {
            (Some(rate), ArrivalKind::Poisson) => Self::poisson(rate / workers, seed),
            (Some(rate), ArrivalKind::Constant) => {
                Self { kind: Kind::Constant { index: 0, shift }, ..Self::constant(rate / workers) }
            }
            (None, kind) => {
                let (rng, count) = match kind {
                    ArrivalKind::Poisson => (Some(Rng::new(seed)), 0.0),
                    // The first one is at the beginning, as with a steady rate.
                    ArrivalKind::Constant => (None, shift - 1.0),
                };
                let segments = schedule.segments(workers);
                Self { period_ns: 0.0, kind: Kind::Changing { rng, segments, at: 0, count } }
            }
        }
    }

    /// One arrival every `1 / rate_per_s` seconds, the first at 0.
    ///
    /// # Panics
    /// When the rate is not a positive, finite number.
    #[must_use]
    pub fn constant(rate_per_s: f64) -> Self {
        Self { period_ns: period_ns(rate_per_s), kind: Kind::Constant { index: 0, shift: 0.0 } }
    }

    /// Independent arrivals: the gaps, the first one included, are exponential with the mean
    /// `1 / rate_per_s` seconds. Two arrivals may fall into the same nanosecond.
    ///
    /// # Panics
    /// When the rate is not a positive, finite number.
    #[must_use]
    pub fn poisson(rate_per_s: f64, seed: u64) -> Self {
        let kind = Kind::Poisson { rng: Rng::new(seed), start_ns: 0, rest_ns: 0.0 };
        Self { period_ns: period_ns(rate_per_s), kind }
    }

    /// The next intended start; never before the one handed out last.
    #[allow(clippy::should_implement_trait, reason = "a schedule has no end, so no Option")]
    #[inline]
    pub fn next(&mut self) -> i64 {
        match &mut self.kind {
            Kind::Constant { index, shift } => {
                // From the index, not from the last start: rounding errors must not add up.
                let start_ns = ((*index as f64 + *shift) * self.period_ns).round() as i64;
                *index += 1;
                start_ns
            }
            Kind::Poisson { rng, start_ns, rest_ns } => {
                *rest_ns += exponential(rng.next_f64()) * self.period_ns;
                let whole_ns = rest_ns.floor();
                *rest_ns -= whole_ns;
                *start_ns += whole_ns as i64;
                *start_ns
            }
            Kind::Changing { rng, segments, at, count } => {
                *count += rng.as_mut().map_or(1.0, |rng| exponential(rng.next_f64()));
                while *count >= segments[*at].arrivals() && *at + 1 < segments.len() {
                    *count -= segments[*at].arrivals();
                    *at += 1;
                }
                let start_s = segments[*at].start_s + segments[*at].time_of(*count);
                (start_s * NS_PER_S).round() as i64
            }
        }
    }
}

fn period_ns(rate_per_s: f64) -> f64 {
    assert!(
        rate_per_s.is_finite() && rate_per_s > 0.0,
        "a rate of {rate_per_s} arrivals a second is no schedule; it must be a number above 0"
    );
    NS_PER_S / rate_per_s
}

/// The exponential variate with mean 1 that belongs to a uniform one in `[0, 1)`, by inversion.
#[inline]
fn exponential(uniform: f64) -> f64 {
    -f64::ln_1p(-uniform)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(mut arrivals: Arrivals, count: usize) -> Vec<i64> {
        (0..count).map(|_| arrivals.next()).collect()
    }

    #[test]
    fn constant_arrivals_begin_at_zero_and_keep_their_distance() {
        assert_eq!(starts(Arrivals::constant(4.0), 3), [0, 250_000_000, 500_000_000]);
    }

    #[test]
    fn constant_arrivals_do_not_drift_when_the_period_is_not_whole() {
        for rate in [3_usize, 7, 30] {
            let all = starts(Arrivals::constant(rate as f64), 10_000 * rate + 1);
            for (second, start_ns) in all.iter().step_by(rate).enumerate() {
                assert_eq!(*start_ns, 1_000_000_000 * second as i64, "{rate} a second");
            }
        }
    }

    #[test]
    fn rates_beyond_one_arrival_a_nanosecond_are_kept() {
        let all = starts(Arrivals::constant(4e9), 4_001);
        assert_eq!(all.last(), Some(&1_000));
    }

    #[test]
    fn starts_never_go_back() {
        for arrivals in [Arrivals::constant(1e9 / 3.0), Arrivals::poisson(5e8, 1)] {
            assert!(starts(arrivals, 100_000).is_sorted());
        }
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_the_law() {
        let count = 100_000;
        let all = starts(Arrivals::poisson(1e6, 42), count);
        let mean_gap_ns = *all.last().expect("arrivals") as f64 / count as f64;
        assert!((985.0..1_015.0).contains(&mean_gap_ns), "mean gap of {mean_gap_ns} ns");
        // One gap in e is longer than the mean; the standard deviation of the share is 0.0015.
        let longer = all.windows(2).filter(|pair| pair[1] - pair[0] > 1_000).count();
        let share = longer as f64 / count as f64;
        assert!((0.36..0.376).contains(&share), "{share} of the gaps are longer than the mean");
    }

    #[test]
    fn a_seed_fixes_a_poisson_schedule() {
        let of = |seed| starts(Arrivals::poisson(1e6, seed), 100);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn the_rarest_gap_is_still_finite() {
        let rarest = exponential(1.0 - f64::EPSILON / 2.0);
        assert!((36.0..37.0).contains(&rarest), "{rarest}");
        assert_eq!(exponential(0.0), 0.0);
    }

    #[test]
    #[should_panic(expected = "a rate of 0 arrivals a second is no schedule")]
    fn a_rate_of_zero_is_a_mistake() {
        let _ = Arrivals::constant(0.0);
    }
}
