//! The estimators, fed with made-up traces. Delays and times are in microseconds unless a name says
//! otherwise.

mod silence;
mod traces;
mod window;

use super::*;

const HOUR_US: i64 = 3_600_000_000;

fn us(micros: i64) -> Nanos {
    Nanos(micros * 1000)
}

/// The defaults, less the long window: 100 samples are easier to follow.
fn config(kind: EstimatorKind) -> OwdConfig {
    OwdConfig { kind, window: 100, ..OwdConfig::default() }
}

/// An estimator that has a sample a millisecond, from time zero on.
struct Fed {
    estimator: OwdEstimator,
    now: Nanos,
}

impl Fed {
    fn new(kind: EstimatorKind) -> Self {
        Self::with(&config(kind))
    }

    fn with(config: &OwdConfig) -> Self {
        Self { estimator: OwdEstimator::new(config), now: Nanos::ZERO }
    }

    /// A sample of a path that is as long back as there, seen with an offset of the clocks.
    fn push_offset(&mut self, owd: Nanos, offset: Nanos) {
        self.push_sample(OwdSample { owd: owd + offset, rtt: Some(owd + owd) });
    }

    fn push_sample(&mut self, sample: OwdSample) {
        self.now = self.now + us(1000);
        self.estimator.push(self.now, sample);
    }

    /// So many equal samples of clocks that agree.
    fn push(&mut self, times: usize, owd: Nanos) {
        for _ in 0..times {
            self.push_offset(owd, Nanos::ZERO);
        }
    }

    fn estimate(&self) -> Nanos {
        self.estimator.estimate(self.now)
    }

    /// How many samples of `owd` it takes until the estimate passes `test`.
    fn pushes_until(&mut self, owd: Nanos, test: impl Fn(Nanos) -> bool) -> usize {
        let pushed = (1..=1000).find(|_| {
            self.push(1, owd);
            test(self.estimate())
        });
        pushed.expect("a thousand samples are enough")
    }
}

#[test]
fn before_samples_come_every_estimator_answers_the_default_however_late_it_is() {
    for kind in EstimatorKind::ALL {
        let config = OwdConfig { default_owd: us(70), ..config(kind) };
        let estimator = OwdEstimator::new(&config);
        for now in [Nanos::ZERO, us(-HOUR_US), us(HOUR_US)] {
            assert_eq!(estimator.estimate(now), us(70), "{kind:?} at {now}");
        }
        assert!(estimator.is_empty());
        assert_eq!(estimator.len(), 0);
        assert_eq!(estimator.last_sample_at(), None);
    }
}

#[test]
fn the_first_sample_replaces_the_default() {
    // ewma begins with half the default as deviation and adds four of them.
    let expected = [us(80), us(80 + 4 * 250), us(80), us(80)];
    for (kind, expected) in EstimatorKind::ALL.into_iter().zip(expected) {
        let mut fed = Fed::new(kind);
        fed.push(1, us(80));
        assert_eq!(fed.estimate(), expected, "{kind:?}");
        assert_eq!(fed.estimator.len(), 1);
        assert_eq!(fed.estimator.last_sample_at(), Some(us(1000)));
    }
}

#[test]
fn delays_of_nanoseconds_are_kept_to_the_nanosecond() {
    for kind in [EstimatorKind::WindowPercentile, EstimatorKind::WindowMax] {
        let mut fed = Fed::new(kind);
        fed.push(1, Nanos(3));
        assert_eq!(fed.estimate(), Nanos(3), "{kind:?}");
    }
    // Averages in integers may stay a few nanoseconds off, not more.
    for kind in [EstimatorKind::Ewma, EstimatorKind::EmaHalfRtt] {
        let mut fed = Fed::new(kind);
        fed.push(200, Nanos(300));
        let error = (fed.estimate().0 - 300).abs();
        assert!(error <= 7 + 4 * 3, "{kind:?} is off by {error} ns");
    }
}

#[test]
fn the_window_percentile_is_the_nearest_rank() {
    let cases = [(0.0, 1), (0.01, 1), (0.011, 2), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)];
    for (percentile, rank) in cases {
        let kind = EstimatorKind::WindowPercentile;
        let mut fed = Fed::with(&OwdConfig { percentile, ..config(kind) });
        // 1 to 100 in a scrambled order: 37 and 101 have no common divisor.
        for i in 1..=100 {
            fed.push(1, us(i * 37 % 101));
        }
        assert_eq!(fed.estimate(), us(rank), "percentile {percentile}");
    }
}

#[test]
fn settings_out_of_range_are_taken_as_the_nearest_inside() {
    for (percentile, expected) in [(7.0, 3), (f64::INFINITY, 3), (-1.0, 1), (f64::NAN, 1)] {
        let kind = EstimatorKind::WindowPercentile;
        let mut fed = Fed::with(&OwdConfig { percentile, ..config(kind) });
        for owd in [2, 3, 1] {
            fed.push(1, us(owd));
        }
        assert_eq!(fed.estimate(), us(expected), "percentile {percentile}");
    }
    let mut fed = Fed::with(&OwdConfig { window: 0, ..config(EstimatorKind::WindowMax) });
    fed.push(1, us(9));
    fed.push(1, us(4));
    assert_eq!((fed.estimate(), fed.estimator.len()), (us(4), 1));
    let mut fed = Fed::with(&OwdConfig { deviations: -3.0, ..config(EstimatorKind::Ewma) });
    fed.push(1, us(9));
    assert_eq!(fed.estimate(), us(9));
}

#[test]
fn an_offset_of_the_clocks_shifts_the_estimate_by_itself_and_nothing_else() {
    let delays = [40, 45, 40, 900, 41, 42, 300, 40, 44, 43].map(us);
    for kind in EstimatorKind::ALL {
        let estimate_with = |offset| {
            let mut fed = Fed::new(kind);
            delays.into_iter().for_each(|owd| fed.push_offset(owd, offset));
            fed.estimate()
        };
        let without = estimate_with(Nanos::ZERO);
        for offset in [Nanos(1), Nanos(-1), us(-60), us(HOUR_US), us(-HOUR_US)] {
            // A round trip tells nothing of the offset.
            let shift = if kind == EstimatorKind::EmaHalfRtt { Nanos::ZERO } else { offset };
            assert_eq!(estimate_with(offset), without + shift, "{kind:?} with {offset}");
        }
    }
}

#[test]
fn half_the_round_trip_is_wrong_on_an_asymmetric_path_and_the_others_are_not() {
    let sample = OwdSample { owd: us(900), rtt: Some(us(900 + 100)) };
    for kind in EstimatorKind::ALL {
        let mut fed = Fed::new(kind);
        (0..50).for_each(|_| fed.push_sample(sample));
        let expected = if kind == EstimatorKind::EmaHalfRtt { 500 } else { 900 };
        let error = (fed.estimate() - us(expected)).0.abs();
        assert!(error < 1000, "{kind:?} is off by {error} ns");
    }
}

#[test]
fn half_the_round_trip_is_averaged_with_seven_parts_old_and_three_new() {
    let mut fed = Fed::new(EstimatorKind::EmaHalfRtt);
    fed.push(1, us(100));
    fed.push(1, us(200));
    assert_eq!(fed.estimate(), us(130));
    fed.push(1, us(30));
    assert_eq!(fed.estimate(), us(100));
    assert_eq!(fed.estimator.len(), 3);
}

#[test]
fn ewma_follows_the_gains_of_rfc_6298() {
    let mut fed = Fed::with(&OwdConfig { default_owd: us(80), ..config(EstimatorKind::Ewma) });
    fed.push(1, us(100));
    assert_eq!(fed.estimate(), us(100 + 4 * 40));
    // The deviation is of the mean before: 40 + (80 - 40) / 4; the mean moves by 80 / 8.
    fed.push(1, us(180));
    assert_eq!(fed.estimate(), us(110 + 4 * 50));
    // And below the mean it counts as much: 50 + (70 - 50) / 4, 110 - 70 / 8.
    fed.push(1, us(40));
    assert_eq!(fed.estimate(), Nanos(101_250 + 4 * 55_000));
}

#[test]
fn samples_without_a_round_trip_do_not_count_for_half_of_it() {
    let mut fed = Fed::new(EstimatorKind::EmaHalfRtt);
    let one_way = OwdSample { owd: us(9000), rtt: None };
    fed.push_sample(one_way);
    assert!(fed.estimator.is_empty());
    assert_eq!(fed.estimate(), OwdConfig::default().default_owd);
    fed.push(1, us(80));
    fed.push_sample(one_way);
    assert_eq!((fed.estimate(), fed.estimator.len()), (us(80), 1));
    assert_eq!(fed.estimator.last_sample_at(), Some(us(2000)), "nor do they end a silence");
}

#[test]
fn absurd_clocks_saturate_instead_of_overflowing() {
    let extremes = [i64::MAX, i64::MIN, 0, i64::MIN, i64::MAX, i64::MAX].map(Nanos);
    for kind in EstimatorKind::ALL {
        let mut fed = Fed::new(kind);
        for owd in extremes {
            fed.push_sample(OwdSample { owd, rtt: Some(owd) });
        }
        let later = fed.estimator.estimate(Nanos::MAX);
        assert!(later >= fed.estimate(), "{kind:?}: silence widens, and widens no further");
    }
}

#[test]
fn every_kind_has_a_name_of_its_own() {
    let names = EstimatorKind::ALL.map(EstimatorKind::name);
    assert_eq!(names, ["window-percentile", "ewma", "ema-half-rtt", "window-max"]);
}
