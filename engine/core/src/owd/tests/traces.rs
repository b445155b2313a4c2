//! Traces: steps, spikes, and what a busy machine looks like.

use super::*;

#[test]
fn a_step_up_is_covered_at_the_second_sample_by_a_percentile_and_at_the_first_by_the_maximum() {
    for (kind, expected) in [
        (EstimatorKind::WindowPercentile, 2),
        (EstimatorKind::WindowMax, 1),
        // The error is a deviation too, and four of them are added.
        (EstimatorKind::Ewma, 1),
    ] {
        let mut fed = Fed::new(kind);
        fed.push(100, us(1000));
        let pushes = fed.pushes_until(us(5000), |estimate| estimate >= us(5000));
        assert_eq!(pushes, expected, "{kind:?}");
    }
}

#[test]
fn half_the_round_trip_has_no_margin_and_approaches_a_step_from_below() {
    let mut fed = Fed::new(EstimatorKind::EmaHalfRtt);
    fed.push(100, us(1000));
    for _ in 0..30 {
        fed.push(1, us(5000));
        assert!(fed.estimate() < us(5000), "{}", fed.estimate());
    }
    assert!(fed.estimate() > us(4990), "{}", fed.estimate());
}

#[test]
fn a_step_down_is_followed_when_the_window_has_forgotten_the_old_delays() {
    // 99 of 100 samples decide the percentile, all of them the maximum.
    for (kind, expected) in [(EstimatorKind::WindowPercentile, 99), (EstimatorKind::WindowMax, 100)]
    {
        let mut fed = Fed::new(kind);
        fed.push(100, us(5000));
        let pushes = fed.pushes_until(us(1000), |estimate| estimate == us(1000));
        assert_eq!(pushes, expected, "{kind:?}");
        assert_eq!(fed.estimator.len(), 100, "{kind:?}");
    }
}

#[test]
fn averages_come_down_after_a_step_down_without_a_window() {
    for kind in [EstimatorKind::Ewma, EstimatorKind::EmaHalfRtt] {
        let mut fed = Fed::new(kind);
        fed.push(100, us(5000));
        let pushes = fed.pushes_until(us(1000), |estimate| estimate <= us(1100));
        assert!((5..60).contains(&pushes), "{kind:?} took {pushes} samples");
    }
}

#[test]
fn rare_spikes_pass_a_percentile_and_stay_with_the_maximum() {
    let spiky = |kind| {
        let mut fed = Fed::with(&OwdConfig { window: 1000, ..config(kind) });
        for _ in 0..10 {
            fed.push(1, us(20_000));
            fed.push(199, us(1000));
        }
        fed.estimate()
    };
    assert_eq!(spiky(EstimatorKind::WindowPercentile), us(1000));
    assert_eq!(spiky(EstimatorKind::WindowMax), us(20_000));
    // An average forgets a spike in the 199 samples between two.
    assert!(spiky(EstimatorKind::Ewma) < us(1001));
}

#[test]
fn spikes_beyond_the_percentile_raise_it() {
    let mut fed = Fed::new(EstimatorKind::WindowPercentile);
    fed.push(98, us(1000));
    fed.push(1, us(20_000));
    assert_eq!(fed.estimate(), us(20_000), "one of 99 is more than a hundredth");
    fed.push(1, us(1000));
    assert_eq!(fed.estimate(), us(1000), "one of 100 is not");
    fed.push(1, us(20_000));
    assert_eq!(fed.estimate(), us(20_000), "two of 100 are");
}

/// What loopback on a busy machine looks like, in microseconds (drawn up, not recorded): a floor,
/// an exponential tail, an interrupt now and then, a neighbour that costs everybody 4 us from the
/// 90th to the 149th, and two time slices of somebody else: one with the queue that it left behind,
/// one alone.
#[rustfmt::skip]
const BUSY_LOOPBACK_US: [i64; 200] = [
    32, 34, 33, 31, 31, 31, 32, 31, 33, 33, 42, 36, 31, 32, 31, 34, 33, 31, 34, 32,
    32, 35, 31, 33, 34, 42, 32, 31, 31, 35, 37, 34, 33, 36, 32, 31, 34, 36, 32, 31,
    31, 31, 31, 32, 31, 33, 36, 31, 32, 40, 31, 31, 33, 31, 32, 40, 33, 34, 37, 37,
    32, 1190, 820, 410, 32, 31, 31, 31, 33, 31, 32, 36, 32, 31, 32, 36, 31, 33, 140, 32,
    31, 33, 32, 33, 34, 35, 31, 32, 31, 34, 39, 35, 36, 38, 46, 35, 36, 47, 35, 36,
    40, 36, 35, 36, 35, 38, 39, 35, 35, 36, 37, 36, 35, 35, 38, 39, 47, 108, 36, 37,
    36, 42, 36, 42, 42, 37, 35, 94, 35, 38, 36, 37, 35, 35, 39, 37, 42, 37, 37, 36,
    36, 38, 43, 37, 40, 35, 35, 35, 39, 35, 34, 37, 31, 32, 44, 31, 33, 31, 144, 32,
    32, 32, 31, 31, 31, 38, 35, 36, 39, 33, 33, 2240, 31, 82, 35, 36, 36, 32, 38, 31,
    31, 31, 31, 32, 32, 31, 31, 31, 33, 32, 31, 32, 36, 33, 43, 36, 34, 32, 31, 35,
];

/// What an estimator would have done for a message at each time of a trace, the first twenty left
/// out.
struct Verdict {
    late: usize,
    hold_mean: Nanos,
    last: Nanos,
}

fn replay(kind: EstimatorKind) -> Verdict {
    const WARM_UP: usize = 20;
    const JUDGED: i64 = 180;
    let mut fed = Fed::with(&OwdConfig { kind, ..OwdConfig::default() });
    let (mut late, mut hold) = (0, Nanos::ZERO);
    for (index, owd) in BUSY_LOOPBACK_US.map(us).into_iter().enumerate() {
        let estimate = fed.estimate();
        if index >= WARM_UP && owd > estimate {
            late += 1;
        } else if index >= WARM_UP {
            hold = hold + (estimate - owd);
        }
        // The way back is idle.
        fed.push_sample(OwdSample { owd, rtt: Some(owd + us(30)) });
    }
    let hold_mean = Nanos(hold.0 / JUDGED);
    Verdict { late, hold_mean, last: fed.estimate() }
}

#[test]
fn on_a_busy_machine_a_high_estimate_buys_punctuality_with_waiting() {
    let [percentile, ewma, half_rtt, max] = EstimatorKind::ALL.map(replay);
    // Nobody foresees the first spike nor a higher one; there are two such among 180.
    assert_eq!((percentile.late, percentile.last), (2, us(820)));
    assert_eq!((max.late, max.last), (2, us(2240)));
    // An average that follows quickly waits less and is late more often.
    assert_eq!(ewma.late, 9);
    assert!(ewma.hold_mean < percentile.hold_mean && percentile.hold_mean < max.hold_mean);
    // And one without a margin is late every other time.
    assert_eq!(half_rtt.late, 103);
    assert!(half_rtt.hold_mean < us(11), "{}", half_rtt.hold_mean);
}
