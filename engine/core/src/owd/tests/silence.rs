//! What happens when samples grow old or stop coming.

use super::*;

const SECOND_US: i64 = 1_000_000;

#[test]
fn silence_widens_by_a_step_for_each_whole_second_but_the_first_up_to_the_bound() {
    // A second of silence is given; 1 ms a second follows, 50 ms at most.
    let cases = [
        (0, 0),
        (999_999, 0),
        (SECOND_US, 0),
        (2 * SECOND_US - 1, 0),
        (2 * SECOND_US, 1),
        (3 * SECOND_US - 1, 1),
        (7 * SECOND_US + 5, 6),
        (51 * SECOND_US, 50),
        (52 * SECOND_US, 50),
        (24 * HOUR_US, 50),
    ];
    for kind in EstimatorKind::ALL {
        let mut fed = Fed::new(kind);
        fed.push(100, us(-300));
        let spoken = fed.estimate();
        for (silent_for, wider_ms) in cases {
            let estimate = fed.estimator.estimate(fed.now + us(silent_for));
            assert_eq!(estimate, spoken + us(wider_ms * 1000), "{kind:?} after {silent_for} us");
        }
    }
}

#[test]
fn a_new_sample_ends_the_widening() {
    for kind in EstimatorKind::ALL {
        let mut fed = Fed::new(kind);
        fed.push(50, us(80));
        let spoken = fed.estimate();
        fed.now = fed.now + us(5 * SECOND_US);
        assert_eq!(fed.estimate(), spoken + us(4000), "{kind:?}");
        fed.push(1, us(80));
        assert!(fed.estimate() <= spoken, "{kind:?}: {} after {spoken}", fed.estimate());
    }
}

#[test]
fn a_silence_of_zero_switches_the_widening_off() {
    let silence = Duration::ZERO;
    let mut fed = Fed::with(&OwdConfig { silence, ..config(EstimatorKind::WindowMax) });
    fed.push(1, us(80));
    assert_eq!(fed.estimator.estimate(us(HOUR_US)), us(80));
}

#[test]
fn after_a_silence_longer_than_samples_live_the_first_new_one_starts_afresh() {
    for kind in EstimatorKind::ALL {
        let mut fed = Fed::new(kind);
        fed.push(100, us(9000));
        // Nothing better is known: it stays, and is wide by then.
        fed.now = fed.now + us(10 * SECOND_US);
        assert!(fed.estimate() >= us(9000 + 9000), "{kind:?}: {}", fed.estimate());
        fed.push(1, us(40));
        let mut fresh = Fed::new(kind);
        fresh.push(1, us(40));
        assert_eq!(fed.estimate(), fresh.estimate(), "{kind:?}");
        assert_eq!(fed.estimator.len(), 1, "{kind:?}");
    }
}

#[test]
fn averages_go_on_after_a_silence_that_samples_survive() {
    for kind in [EstimatorKind::Ewma, EstimatorKind::EmaHalfRtt] {
        let mut fed = Fed::new(kind);
        fed.push(100, us(9000));
        fed.now = fed.now + us(9 * SECOND_US);
        fed.push(1, us(40));
        assert_eq!(fed.estimator.len(), 101, "{kind:?}");
        assert!(fed.estimate() > us(6000), "{kind:?}: {}", fed.estimate());
    }
}

#[test]
fn samples_leave_a_window_one_by_one_as_they_expire() {
    let kind = EstimatorKind::WindowMax;
    let expire = Duration::from_millis(3);
    let mut fed = Fed::with(&OwdConfig { expire, ..config(kind) });
    let estimates = [50, 40, 60, 30, 20, 20, 20, 10].map(|owd| {
        fed.push(1, us(owd));
        (fed.estimate(), fed.estimator.len())
    });
    // A sample a millisecond: four at most are three milliseconds old or younger.
    let expected = [(50, 1), (50, 2), (60, 3), (60, 4), (60, 4), (60, 4), (30, 4), (20, 4)];
    assert_eq!(estimates, expected.map(|(owd, len)| (us(owd), len)));
}

#[test]
fn many_samples_leave_a_window_at_once_when_they_expire_together() {
    let mut fed = Fed::new(EstimatorKind::WindowMax);
    fed.push(60, us(5000));
    fed.now = fed.now + us(9 * SECOND_US);
    fed.push(20, us(700));
    assert_eq!((fed.estimate(), fed.estimator.len()), (us(5000), 80));
    fed.now = fed.now + us(SECOND_US);
    fed.push(1, us(80));
    assert_eq!((fed.estimate(), fed.estimator.len()), (us(700), 21));
}
