//! When things arrive: the rules of an emulated network, by numbers alone.

use crate::{Distribution, Shape, Shaper};
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;

const MS: u64 = 1_000_000;
/// Far enough apart that no message keeps back the next.
const APART: u64 = 1_000 * MS;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// The delays of messages that do not meet.
fn delays(shape: Shape, count: u64) -> Vec<u64> {
    let mut shaper = Shaper::new(shape, ms(2), 7);
    (1..=count).map(|at| shaper.due_ns(at * APART, 100) - at * APART).collect()
}

fn mean(delays: &[u64]) -> f64 {
    delays.iter().sum::<u64>() as f64 / delays.len() as f64
}

fn deviation(delays: &[u64]) -> f64 {
    let mean = mean(delays);
    let squares = delays.iter().map(|delay| (*delay as f64 - mean).powi(2));
    (squares.sum::<f64>() / delays.len() as f64).sqrt()
}

#[test]
fn without_jitter_every_delay_is_the_same() {
    for distribution in Distribution::ALL {
        let shape = Shape { distribution, ..Shape::normal(ms(30), Duration::ZERO) };
        assert!(delays(shape, 100).iter().all(|delay| *delay == 30 * MS), "{distribution:?}");
    }
    let constant = Shape { distribution: Distribution::Constant, ..Shape::normal(ms(30), ms(5)) };
    assert!(delays(constant, 100).iter().all(|delay| *delay == 30 * MS));
    assert!(Shape::NONE.is_none() && !constant.is_none());
}

#[test]
fn delays_have_the_mean_and_the_deviation_that_their_distribution_says() {
    // Netem's Pareto has no jitter of exactly one deviation: it is scaled by 4/3 and cut at 4.
    let cases = [
        (Distribution::Normal, 5.0),
        (Distribution::Uniform, 5.0 / 3f64.sqrt()),
        (Distribution::Pareto, 5.0 * 0.82),
    ];
    for (distribution, expected_ms) in cases {
        let shape = Shape { distribution, ..Shape::normal(ms(30), ms(5)) };
        let delays = delays(shape, 50_000);
        let (mean_ms, deviation_ms) = (mean(&delays) / 1e6, deviation(&delays) / 1e6);
        assert!((mean_ms - 30.0).abs() < 0.3, "{distribution:?}: mean {mean_ms} ms");
        let off = (deviation_ms - expected_ms).abs() / expected_ms;
        assert!(off < 0.1, "{distribution:?}: deviation {deviation_ms} ms, not {expected_ms}");
        let longest = shape.longest().as_nanos();
        assert!(delays.iter().all(|delay| u128::from(*delay) <= longest), "{distribution:?}");
    }
}

#[test]
fn delays_by_pareto_have_a_floor_and_a_long_tail() {
    let shape = Shape { distribution: Distribution::Pareto, ..Shape::normal(ms(30), ms(6)) };
    let mut delays = delays(shape, 10_000);
    delays.sort_unstable();
    // The floor is two thirds of the jitter below the mean.
    assert!(delays[0] >= 26 * MS, "{}", delays[0]);
    assert!(delays[5_000] < 30 * MS, "half of them are below the mean");
    assert!(delays[9_990] > 45 * MS, "{}", delays[9_990]);
}

#[test]
fn no_delay_is_negative_however_large_the_jitter() {
    let shape = Shape::normal(ms(1), ms(10));
    let delays = delays(shape, 10_000);
    assert!(delays.contains(&0));
    assert!(delays.iter().all(|delay| *delay <= 41 * MS));
}

#[test]
fn a_line_takes_time_for_every_bit_and_what_comes_meanwhile_waits() {
    // A megabyte a second: a microsecond a byte.
    let shape = Shape { bandwidth: Some(8_000_000), ..Shape::normal(ms(10), Duration::ZERO) };
    let mut shaper = Shaper::new(shape, ms(20), 1);
    let start = APART;
    assert_eq!(shaper.due_ns(start, 1_000), start + MS + 10 * MS);
    assert_eq!(shaper.due_ns(start, 500), start + MS + MS / 2 + 10 * MS);
    // The line was free again before this was sent.
    assert_eq!(shaper.due_ns(start + 9 * MS, 1_000), start + 20 * MS);
}

#[test]
fn what_is_lost_arrives_a_round_trip_later_and_keeps_back_what_was_sent_after_it() {
    let shape = Shape { loss: 0.2, ..Shape::normal(ms(30), Duration::ZERO) };
    let mut shaper = Shaper::new(shape, ms(60), 3);
    let mut lost_before = 0;
    for at in 1..1_000 {
        let sent = at * APART;
        let late = shaper.due_ns(sent, 100) - sent - 30 * MS;
        let lost = shaper.packets_lost() - lost_before;
        assert_eq!(late, lost * 60 * MS, "a single packet was lost {lost} times");
        if lost > 0 {
            // Whatever becomes of the next one, it is not there before the one that was lost.
            assert!(shaper.due_ns(sent + 1, 100) >= sent + 30 * MS + late);
        }
        lost_before = shaper.packets_lost();
    }
    let share = lost_before as f64 / 1_000.0;
    assert!((0.15..0.5).contains(&share), "{lost_before} lost");
}

#[test]
fn a_retransmission_takes_its_shortest_time_where_the_round_trip_is_shorter() {
    let shape = Shape { loss: 0.5, retransmit_min: ms(10), ..Shape::normal(ms(1), Duration::ZERO) };
    let late = delays(shape, 100).into_iter().map(|delay| delay - MS);
    let late: Vec<u64> = late.filter(|late| *late > 0).collect();
    assert!(!late.is_empty() && late.iter().all(|late| late.is_multiple_of(10 * MS)), "{late:?}");
}

#[test]
fn a_long_batch_is_many_packets_and_loses_more_of_them() {
    let lost = |bytes| {
        let shape = Shape { loss: 0.02, ..Shape::NONE };
        let mut shaper = Shaper::new(shape, ms(1), 5);
        (1..=500).for_each(|at| {
            shaper.due_ns(at * APART, bytes);
        });
        shaper.packets_lost()
    };
    let (short, long) = (lost(1_448), lost(144_800));
    assert!((1..40).contains(&short), "{short}");
    assert!((700..1_400).contains(&long), "{long}");
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let distribution = prop::sample::select(Distribution::ALL.to_vec());
    let bandwidth = prop::option::of(1_000_u64..10_000_000_000);
    (0..200_u64, 0..50_u64, distribution, 0.0..0.5_f64, bandwidth).prop_map(
        |(delay, jitter, distribution, loss, bandwidth)| Shape {
            distribution,
            loss,
            bandwidth,
            ..Shape::normal(ms(delay), ms(jitter))
        },
    )
}

proptest! {
    #[test]
    fn nothing_arrives_before_it_was_sent_or_before_what_was_sent_earlier(
        shape in any_shape(),
        seed in any::<u64>(),
        messages in vec((0..100 * MS, 1..100_000_usize), 1..100),
    ) {
        let mut shaper = Shaper::new(shape, 2 * shape.delay, seed);
        let mut again = shaper.clone();
        let (mut sent, mut due) = (0, 0);
        for (pause, bytes) in messages {
            sent += pause;
            let next = shaper.due_ns(sent, bytes);
            prop_assert!(next >= sent && next >= due);
            prop_assert_eq!(again.due_ns(sent, bytes), next, "the same seed, another network");
            due = next;
        }
    }

    #[test]
    fn without_loss_and_limits_nothing_arrives_after_the_longest_delay(
        shape in any_shape(),
        seed in any::<u64>(),
        pauses in vec(0..100 * MS, 1..100),
    ) {
        let shape = Shape { loss: 0.0, bandwidth: None, ..shape };
        let longest = shape.longest().as_nanos() as u64;
        let mut shaper = Shaper::new(shape, 2 * shape.delay, seed);
        let mut sent = 0;
        for pause in pauses {
            sent += pause;
            prop_assert!(shaper.due_ns(sent, 1) <= sent + longest);
        }
    }
}
