//! When Redis is asked for tasks again.

use crate::Polling;
use std::time::{Duration, Instant};

/// A fixed pause is at least this long where the queue has nothing: it must not spin.
const EMPTY_PAUSE_MIN: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Pace {
    polling: Polling,
    /// The next pause after a look that brings nothing.
    pause: Duration,
    next: Option<Instant>,
}

impl Pace {
    pub(super) fn new(polling: Polling) -> Self {
        let mut pace = Self { polling, pause: Duration::ZERO, next: None };
        pace.begin();
        pace
    }

    /// The next pause is as short as can be.
    fn begin(&mut self) {
        if let Polling::Adaptive { min, .. } = self.polling {
            self.pause = min;
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| next <= now)
    }

    /// When the next look is due; `None`: at once.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// A look brought something.
    pub(super) fn found(&mut self, now: Instant) {
        self.begin();
        self.next = match self.polling {
            Polling::Fixed(pause) => Some(now + pause),
            Polling::Adaptive { .. } => None,
        };
    }

    /// A look brought nothing.
    pub(super) fn nothing(&mut self, now: Instant) {
        let pause = match self.polling {
            Polling::Fixed(pause) => pause.max(EMPTY_PAUSE_MIN),
            Polling::Adaptive { max, .. } => {
                let pause = self.pause.min(max);
                self.pause = (pause * 2).min(max);
                pause
            }
        };
        self.next = Some(now + pause);
    }

    /// A look is to be made later, for another reason.
    pub(super) fn not_before(&mut self, at: Instant) {
        self.next = Some(at);
    }

    /// There is news. A fixed pause is not ended by that.
    pub(super) fn wake(&mut self) {
        if matches!(self.polling, Polling::Adaptive { .. }) {
            self.begin();
            self.next = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adaptive_pauses_double_up_to_the_longest_and_end_with_work_or_news() {
        let (min, max) = (Duration::from_millis(1), Duration::from_millis(10));
        let mut pace = Pace::new(Polling::Adaptive { min, max });
        let now = Instant::now();
        assert!(pace.is_due(now));
        let mut pauses = Vec::new();
        for _ in 0..6 {
            pace.nothing(now);
            pauses.push((pace.next().expect("a pause") - now).as_millis());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
        pace.wake();
        assert!(pace.is_due(now));
        pace.nothing(now);
        assert_eq!(pace.next(), Some(now + min));
        pace.found(now);
        assert!(pace.is_due(now));
    }

    #[test]
    fn a_fixed_pause_comes_after_every_look_and_is_not_ended_by_news() {
        let pause = Duration::from_secs(2);
        let mut pace = Pace::new(Polling::Fixed(pause));
        let now = Instant::now();
        for look in [Pace::found, Pace::nothing] {
            look(&mut pace, now);
            pace.wake();
            assert_eq!(pace.next(), Some(now + pause));
            assert!(!pace.is_due(now) && pace.is_due(now + pause));
        }
    }

    #[test]
    fn without_any_pause_an_empty_queue_is_still_not_asked_all_the_time() {
        let mut pace = Pace::new(Polling::Fixed(Duration::ZERO));
        let now = Instant::now();
        pace.nothing(now);
        assert_eq!(pace.next(), Some(now + EMPTY_PAUSE_MIN), "defect 14");
        pace.found(now);
        assert!(pace.is_due(now));
    }
}
