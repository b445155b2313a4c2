//! Rates of what is counted, and distributions of what was measured: what has come within a time,
//! by the samples of the last seconds.

use punctual_runtime::tasks::TaskLatencies;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Samples are kept back to one that is this old. It is the longest window.
const KEPT: Duration = Duration::from_secs(10);
/// Two samples that are nearer than this say nothing.
const NEAR: Duration = Duration::from_millis(200);
/// A window may be longer by so much where nobody looked for a while.
const SLACK: Duration = Duration::from_secs(5);

/// Totals of the last seconds. All samples have the same totals in the same order.
#[derive(Debug, Default)]
pub(crate) struct History {
    samples: Samples<Vec<u64>>,
}

/// Samples of one kind, the oldest first.
type Samples<T> = VecDeque<(Instant, T)>;

/// Adds a sample, and drops those that are too old for any window.
fn keep<T>(samples: &mut Samples<T>, at: Instant, sample: T) {
    samples.push_back((at, sample));
    let is_old = |(at_then, _): &(Instant, T)| at.duration_since(*at_then) >= KEPT;
    while samples.get(1).is_some_and(is_old) {
        samples.pop_front();
    }
}

/// The two ends of a window, or of as much of it as there is, and what is between them. `None`
/// where that says nothing.
fn ends<T>(samples: &Samples<T>, window: Duration) -> Option<(&T, &T, Duration)> {
    let (now, latest) = samples.back()?;
    let age = |(at, _): &(Instant, T)| now.duration_since(*at);
    // The youngest that is old enough, or else the oldest.
    let long_ago = samples.iter().rev().find(|sample| age(sample) >= window);
    let then = long_ago.or(samples.front())?;
    let age = age(then);
    let is_good = age >= NEAR && age <= window * 2 + SLACK;
    is_good.then_some((&then.1, latest, age))
}

/// Distributions of the last seconds.
#[derive(Debug, Default)]
pub(crate) struct LatencyHistory {
    samples: Samples<Box<TaskLatencies>>,
}

impl LatencyHistory {
    /// Takes a reading.
    pub(crate) fn push(&mut self, at: Instant, latencies: Box<TaskLatencies>) {
        keep(&mut self.samples, at, latencies);
    }

    /// Forgets everything: the next reading may be of another queue.
    pub(crate) fn clear(&mut self) {
        self.samples.clear();
    }

    /// What has come over about a window. `None` while that is not known, and after another queue
    /// was read.
    pub(crate) fn over(&self, window: Duration) -> Option<TaskLatencies> {
        let (then, latest, _) = ends(&self.samples, window)?;
        latest.since(then)
    }
}

impl History {
    /// Takes the totals as they are now.
    pub(crate) fn push(&mut self, at: Instant, totals: Vec<u64>) {
        keep(&mut self.samples, at, totals);
    }

    /// Forgets everything: what was counted is counted anew.
    pub(crate) fn clear(&mut self) {
        self.samples.clear();
    }

    /// How much of a total has come a second, over about a window. `None` while that is not known,
    /// and after a total went back.
    pub(crate) fn rate(&self, index: usize, window: Duration) -> Option<f64> {
        let (then, totals, age) = ends(&self.samples, window)?;
        let more = totals.get(index)?.checked_sub(*then.get(index)?)?;
        Some(more as f64 / age.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn history(samples: &[(u64, u64)]) -> History {
        let (start, mut history) = (Instant::now(), History::default());
        for (millis, total) in samples {
            history.push(start + Duration::from_millis(*millis), vec![*total]);
        }
        history
    }

    #[test]
    fn a_rate_is_taken_over_its_window_or_as_much_of_it_as_there_is() {
        let short = history(&[(0, 0), (500, 10)]);
        assert_eq!(short.rate(0, SECOND), Some(20.0), "half a second of it");
        let long = history(&[(0, 0), (9_000, 900), (9_500, 1_000), (10_000, 1_000)]);
        assert_eq!(long.rate(0, SECOND), Some(100.0));
        assert_eq!(long.rate(0, 10 * SECOND), Some(100.0));
        assert_eq!(long.rate(1, SECOND), None, "there is no such total");
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        assert_eq!(history(&[]).rate(0, SECOND), None);
        assert_eq!(history(&[(0, 7)]).rate(0, SECOND), None);
        assert_eq!(history(&[(0, 7), (10, 8)]).rate(0, SECOND), None, "too near");
        assert_eq!(history(&[(0, 7), (60_000, 80)]).rate(0, SECOND), None, "too long ago");
        assert_eq!(history(&[(0, 7), (1_000, 3)]).rate(0, SECOND), None, "it went back");
        let mut forgetful = history(&[(0, 7), (1_000, 8)]);
        forgetful.clear();
        assert_eq!(forgetful.rate(0, SECOND), None);
    }

    #[test]
    fn distributions_are_of_the_window_and_not_of_another_queue() {
        let (start, mut history) = (Instant::now(), LatencyHistory::default());
        let mut read = TaskLatencies::default();
        read.wait.record(7);
        history.push(start, Box::new(read.clone()));
        assert_eq!(history.over(SECOND), None, "there is one reading only");
        read.wait.record(8_000);
        history.push(start + SECOND, Box::new(read.clone()));
        let over = history.over(SECOND).expect("a window");
        assert_eq!((over.wait.count(), over.wait.sum_ns()), (1, 8_000));
        history.push(start + SECOND * 2, Box::default());
        assert_eq!(history.over(SECOND), None, "it has counted nothing of that");
        history.clear();
        assert_eq!(history.over(SECOND), None);
    }

    #[test]
    fn no_more_is_kept_than_the_longest_window_needs() {
        let samples: Vec<(u64, u64)> = (0..1_000).map(|at| (at * 250, at)).collect();
        let history = history(&samples);
        assert_eq!(history.rate(0, 10 * SECOND), Some(4.0));
        assert!(history.samples.len() <= 42, "{}", history.samples.len());
    }
}
