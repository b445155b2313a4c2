//! The window against one that keeps a list and sorts it at every question.

use super::*;
use proptest::prelude::*;

struct Naive {
    samples: Vec<(Nanos, Nanos)>,
    len_max: usize,
    expire: Nanos,
}

impl Naive {
    fn push(&mut self, now: Nanos, value: Nanos) {
        self.samples.push((now, value));
        self.samples.retain(|(at, _)| now - *at <= self.expire);
        let excess = self.samples.len().saturating_sub(self.len_max);
        self.samples.drain(..excess);
    }

    /// The smallest sample that so many in a million do not exceed, by its definition.
    fn percentile(&self, millionths: u64) -> Option<Nanos> {
        let total = self.samples.len() as u64;
        let covers = |value: &Nanos| {
            let below = self.samples.iter().filter(|(_, other)| other <= value).count() as u64;
            below * MILLION >= total * millionths
        };
        self.samples.iter().map(|(_, value)| *value).filter(covers).min()
    }
}

/// Pauses and values. Values repeat, some pauses outlast many samples.
fn trace() -> impl Strategy<Value = Vec<(i64, i64)>> {
    let pause = prop_oneof![8 => 0..4_i64, 1 => 20..150_i64];
    prop::collection::vec((pause, -20..20_i64), 1..200)
}

proptest! {
    #[test]
    fn a_window_agrees_with_a_list_that_is_sorted_at_every_question(
        trace in trace(),
        len_max in 1..60_usize,
        percentile in 0..=MILLION,
    ) {
        let expire = Nanos(100);
        let mut window = Window::new(len_max, Duration::from_nanos(100));
        let mut naive = Naive { samples: Vec::new(), len_max, expire };
        let mut now = Nanos::ZERO;
        for (pause, value) in trace {
            now = now + Nanos(pause);
            window.push(now, Nanos(value));
            naive.push(now, Nanos(value));
            prop_assert_eq!(window.len(), naive.samples.len());
            for millionths in [0, percentile, 500_000, 990_000, MILLION] {
                prop_assert_eq!(window.percentile(millionths), naive.percentile(millionths));
            }
            prop_assert_eq!(window.min(), naive.percentile(0));
            prop_assert_eq!(window.max(), naive.percentile(MILLION));
        }
    }
}

#[test]
fn an_empty_window_has_no_figures() {
    let mut window = Window::new(5, Duration::from_secs(1));
    for _ in 0..2 {
        let figures = [window.min(), window.max(), window.percentile(MILLION)];
        assert_eq!((figures, window.len()), ([None; 3], 0));
        window.push(us(1), us(7));
        assert_eq!(window.percentile(1), Some(us(7)));
        window.clear();
    }
}

#[test]
fn a_full_window_takes_samples_without_more_memory() {
    let mut window = Window::new(64, Duration::from_secs(1));
    let before = window.capacity();
    for i in 0..10_000 {
        // Now and then all have expired.
        let now = us(i * 100 + i / 500 * 999_999);
        window.push(now, us(i * 7919 % 1000));
    }
    assert_eq!(window.capacity(), before);
}
