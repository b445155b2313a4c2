//! How long a message takes to a shard, as the stamp of a transaction needs it (protocol R1).
//!
//! The *one-way delay* here is the shard's clock at receipt less our clock at sending. It contains
//! the offset of the two clocks, so it may be negative or hours long, and the clocks need not agree
//! for it to be useful. An estimate that is too low makes transactions late, one that is too high
//! makes them wait; neither makes them wrong. So the default estimator is a high percentile, and
//! none ever fails to answer.
//!
//! After a silence nothing better is known than what the last samples said, so the estimate stays,
//! wider by and by, even when they are older than they may be. Going back to the default would lose
//! the clocks' offset, which outlives any path. But old samples do not mix with new ones: the first
//! one after such a silence starts afresh.

#[cfg(test)]
mod tests;
mod window;

use crate::Nanos;
use std::time::Duration;
pub(crate) use window::{MILLION, Window};

/// How delays are estimated from samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EstimatorKind {
    /// A percentile of the last samples.
    #[default]
    WindowPercentile,
    /// Moving averages of the samples and of their deviation, as TCP takes them of round trips
    /// (RFC 6298, section 2).
    Ewma,
    /// A moving average of half the round trip. It is right where clocks are equal and paths are
    /// symmetric, and here to be compared with. Samples without a round trip do not count.
    EmaHalfRtt,
    /// The largest of the last samples.
    WindowMax,
}

impl EstimatorKind {
    /// All kinds.
    pub const ALL: [Self; 4] =
        [Self::WindowPercentile, Self::Ewma, Self::EmaHalfRtt, Self::WindowMax];

    /// The name in configurations and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WindowPercentile => "window-percentile",
            Self::Ewma => "ewma",
            Self::EmaHalfRtt => "ema-half-rtt",
            Self::WindowMax => "window-max",
        }
    }
}

/// What an estimator must know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OwdConfig {
    /// How delays are estimated.
    pub kind: EstimatorKind,
    /// The estimate until samples come.
    pub default_owd: Nanos,
    /// `WindowPercentile`: which one, between 0 and 1.
    pub percentile: f64,
    /// `WindowPercentile` and `WindowMax`: how many samples count, at most 65,536.
    pub window: usize,
    /// Samples older than this do not count beside newer ones.
    pub expire: Duration,
    /// `Ewma`: by how many mean deviations the estimate exceeds the mean.
    pub deviations: f64,
    /// So long may no sample come; afterwards the estimate widens. Zero: it never does.
    pub silence: Duration,
    /// By how much it widens for each further `silence`.
    pub widen: Nanos,
    /// By how much it widens at most.
    pub widen_max: Nanos,
}

impl Default for OwdConfig {
    /// The 99th percentile of the last 1,000 samples of 10 s; 500 us until they come. After 1 s
    /// without any, 1 ms more a second, up to 50 ms.
    fn default() -> Self {
        Self {
            kind: EstimatorKind::default(),
            default_owd: Nanos(500_000),
            percentile: 0.99,
            window: 1000,
            expire: Duration::from_secs(10),
            deviations: 4.0,
            silence: Duration::from_secs(1),
            widen: Nanos(1_000_000),
            widen_max: Nanos(50_000_000),
        }
    }
}

/// One message's delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwdSample {
    /// The shard's clock at receipt less ours at sending; of either sign.
    pub owd: Nanos,
    /// Time on the way there and back, without the time at the shard. Known from probes only.
    pub rtt: Option<Nanos>,
}

/// What a kind of estimator remembers.
#[derive(Debug, Clone)]
enum Memory {
    Window { window: Window, millionths: u64 },
    Ewma(Ewma),
    HalfRtt { mean: Nanos, len: usize },
}

/// The delay to one shard, estimated from samples.
///
/// Asking costs the same however many samples there are; taking a sample allocates nothing.
#[derive(Debug, Clone)]
pub struct OwdEstimator {
    config: OwdConfig,
    memory: Memory,
    /// The estimate as of the newest sample.
    current: Nanos,
    newest_at: Option<Nanos>,
}

impl OwdEstimator {
    /// An estimator without samples. Settings outside their range are taken as the nearest inside.
    #[must_use]
    pub fn new(config: &OwdConfig) -> Self {
        let window = |millionths| Memory::Window {
            window: Window::new(config.window, config.expire),
            millionths,
        };
        let memory = match config.kind {
            EstimatorKind::WindowPercentile => window(millionths(config.percentile)),
            EstimatorKind::WindowMax => window(MILLION),
            EstimatorKind::Ewma => Memory::Ewma(Ewma::new(config)),
            EstimatorKind::EmaHalfRtt => Memory::HalfRtt { mean: Nanos::ZERO, len: 0 },
        };
        Self { config: *config, memory, current: config.default_owd, newest_at: None }
    }

    /// Takes a sample that came at `now`.
    pub fn push(&mut self, now: Nanos, sample: OwdSample) {
        let is_stale = self.newest_at.is_some_and(|at| now.since(at) > self.config.expire);
        match &mut self.memory {
            Memory::Window { window, millionths } => {
                if is_stale {
                    window.clear();
                }
                window.push(now, sample.owd);
                self.current = window.percentile(*millionths).unwrap_or(sample.owd);
            }
            Memory::Ewma(ewma) => {
                if is_stale {
                    ewma.len = 0;
                }
                self.current = ewma.push(sample.owd);
            }
            Memory::HalfRtt { mean, len } => {
                // It must not end a silence either.
                let Some(rtt) = sample.rtt else { return };
                let half = Nanos(rtt.0 / 2);
                if is_stale || *len == 0 {
                    (*mean, *len) = (half, 1);
                } else {
                    // 0.7 old + 0.3 new, without a product of the whole mean that could overflow.
                    *mean = *mean + Nanos((half - *mean).0.saturating_mul(3) / 10);
                    *len += 1;
                }
                self.current = *mean;
            }
        }
        // Probes and replies reach a coordinator by different ways: times may be a little mixed.
        self.newest_at = self.newest_at.max(Some(now));
    }

    /// The delay that a message sent at `now` is expected not to exceed.
    #[must_use]
    #[inline]
    pub fn estimate(&self, now: Nanos) -> Nanos {
        match self.newest_at {
            Some(at) => self.current + self.widening(now - at),
            None => self.current,
        }
    }

    /// By how much a silence of this length widens the estimate: by one `widen` for each whole
    /// `silence` but the first.
    #[inline]
    fn widening(&self, silent_for: Nanos) -> Nanos {
        let silence = Nanos::from(self.config.silence);
        // The usual case takes no division.
        if silence == Nanos::ZERO || silent_for < silence + silence {
            return Nanos::ZERO;
        }
        let times = silent_for.0 / silence.0 - 1;
        Nanos(self.config.widen.0.saturating_mul(times)).min(self.config.widen_max)
    }

    /// How many samples the estimate rests on: those in the window, or all since the average was
    /// started.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.memory {
            Memory::Window { window, .. } => window.len(),
            Memory::Ewma(ewma) => ewma.len,
            Memory::HalfRtt { len, .. } => *len,
        }
    }

    /// Whether no sample has come yet, so that the estimate is the default.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.newest_at.is_none()
    }

    /// When the newest sample that counts came.
    #[must_use]
    pub fn last_sample_at(&self) -> Option<Nanos> {
        self.newest_at
    }
}

/// Exponentially weighted averages with the gains of RFC 6298: 1/8 for the mean, 1/4 for the
/// deviation. In integers, so each stays up to 7 ns from where it should end.
#[derive(Debug, Clone)]
struct Ewma {
    mean: Nanos,
    deviation: Nanos,
    /// The deviation to begin with. The RFC takes half the first sample, which means nothing where
    /// a clock's offset is part of it: half the default it is.
    first_deviation: Nanos,
    /// Deviations in the estimate, in thousandths.
    thousandths: i64,
    len: usize,
}

impl Ewma {
    fn new(config: &OwdConfig) -> Self {
        let thousandths = millionths(config.deviations) / (MILLION / 1000);
        Self {
            mean: Nanos::ZERO,
            deviation: Nanos::ZERO,
            first_deviation: Nanos(config.default_owd.0 / 2),
            thousandths: i64::try_from(thousandths).unwrap_or(i64::MAX),
            len: 0,
        }
    }

    /// Takes a sample and returns the new estimate.
    fn push(&mut self, owd: Nanos) -> Nanos {
        if self.len == 0 {
            (self.mean, self.deviation) = (owd, self.first_deviation);
        } else {
            let error = owd - self.mean;
            let size = Nanos(error.0.saturating_abs());
            self.deviation = self.deviation + Nanos((size - self.deviation).0 / 4);
            self.mean = self.mean + Nanos(error.0 / 8);
        }
        self.len += 1;
        self.mean + Nanos(self.deviation.0.saturating_mul(self.thousandths) / 1000)
    }
}

/// A number from a configuration in millionths; what is negative or not a number is zero.
#[expect(clippy::cast_possible_truncation, reason = "a cast from a float saturates")]
pub(crate) fn millionths(fraction: f64) -> u64 {
    ((fraction * 1e6).round() as i64).max(0).unsigned_abs()
}
