//! How numbers went, as a row of little bars.

use super::view::Summary;
use std::collections::VecDeque;

/// Looks that are kept: as many as the widest terminals have columns.
const KEPT_MAX: usize = 512;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What was done a second, and how long it took, at each look; `None` where it was not known.
#[derive(Debug, Default)]
pub(super) struct Trend {
    rates: VecDeque<Option<f64>>,
    times: VecDeque<Option<f64>>,
}

impl Trend {
    /// Adds a look.
    pub(super) fn push(&mut self, summary: &Summary) {
        let engine = summary.engine.as_ref();
        let (rate, time_ns) = match summary.farm() {
            Some(farm) => (farm.rates_1s.done, farm.leases_10s.map(|times| times.p99_ns)),
            None => (
                engine.and_then(|engine| engine.rate_1s),
                engine.and_then(|engine| engine.latency_ns),
            ),
        };
        for (kept, value) in
            [(&mut self.rates, rate), (&mut self.times, time_ns.map(|ns| ns as f64))]
        {
            kept.push_back(value);
            if kept.len() > KEPT_MAX {
                kept.pop_front();
            }
        }
    }

    /// Bars for what was done a second.
    pub(super) fn rates(&self, width: usize) -> String {
        bars(&self.rates, width)
    }

    /// Bars for how long it took.
    pub(super) fn times(&self, width: usize) -> String {
        bars(&self.times, width)
    }
}

/// The latest values, the highest of them as a whole bar.
fn bars(values: &VecDeque<Option<f64>>, width: usize) -> String {
    let shown = values.iter().skip(values.len().saturating_sub(width));
    let highest = shown.clone().flatten().fold(0.0, |highest: f64, value| highest.max(*value));
    let bar = |value: &Option<f64>| match value {
        None => ' ',
        Some(value) if *value > 0.0 => {
            let eighths = (value / highest * 8.0).ceil() as usize;
            BARS[eighths.clamp(1, BARS.len()) - 1]
        }
        Some(_) => BARS[0],
    };
    shown.map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::top::view::Engine;

    #[test]
    fn the_latest_values_are_shown_by_the_highest_of_them() {
        let values = [Some(900.0), None, Some(0.0), Some(1.0), Some(4.0), Some(8.0)];
        let values = VecDeque::from(values);
        assert_eq!(bars(&values, 5), " ▁▁▄█");
        assert_eq!(bars(&values, 100).chars().count(), 6);
        assert_eq!(bars(&VecDeque::from([Some(0.0), Some(0.0)]), 9), "▁▁");
        assert_eq!(bars(&VecDeque::new(), 9), "");
    }

    #[test]
    fn no_more_looks_are_kept_than_there_is_room_for() {
        let mut trend = Trend::default();
        for look in 0..2 * KEPT_MAX {
            let engine = Engine { rate_1s: Some(look as f64), ..Engine::default() };
            trend.push(&Summary { engine: Some(engine), ..Summary::default() });
        }
        assert_eq!(trend.rates.len(), KEPT_MAX);
        assert_eq!(trend.rates(usize::MAX).chars().count(), KEPT_MAX);
        assert_eq!(trend.times(3), "   ", "how long it took was never known");
    }
}
