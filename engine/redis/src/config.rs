//! What a bridge is started with.

use crate::RedisAddress;
use punctual_taskfile::{OriginalConf, ReadOptions, parse_duration};
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// The first and the longest pause after a look that brought nothing, if nobody says otherwise.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A report interval below this would be nothing but load. The original knows whole seconds only.
const REPORT_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// How often Redis is asked for tasks while the worker could run more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polling {
    /// As the original: after each look, whatever it brought, a pause of so long.
    Fixed(Duration),
    /// At once while looks bring something; with each that does not, after a pause twice as long
    /// as the one before. News end a pause.
    Adaptive {
        /// The first pause.
        min: Duration,
        /// The longest pause.
        max: Duration,
    },
}

impl Default for Polling {
    fn default() -> Self {
        Self::Adaptive { min: PAUSE_MIN, max: PAUSE_MAX }
    }
}

/// A text that is no way of polling.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no way of polling; write adaptive, adaptive:10s (the longest pause) or fixed:2s")]
pub struct BadPolling(String);

impl FromStr for Polling {
    type Err = BadPolling;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadPolling(text.to_owned());
        let (kind, pause) = match text.split_once(':') {
            Some((kind, pause)) => (kind, Some(parse_duration(pause).map_err(|_| bad())?)),
            None => (text, None),
        };
        match (kind, pause) {
            ("adaptive", None) => Ok(Self::default()),
            ("adaptive", Some(max)) if !max.is_zero() => {
                Ok(Self::Adaptive { min: PAUSE_MIN.min(max), max })
            }
            ("fixed", Some(pause)) => Ok(Self::Fixed(pause)),
            _ => Err(bad()),
        }
    }
}

/// What may be changed while a bridge runs, as the original's configuration may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkLimits {
    /// With fewer bytes free at the machine no task is claimed. A limit that the machine cannot
    /// reach does not count: the original ran one task then, and nothing more.
    pub accept_free: u64,
    /// Failures after which a task is not tried again.
    pub attempts_max: u16,
    /// How often the bridge says that its worker is alive; at least a second.
    pub report_interval: Duration,
}

impl Default for WorkLimits {
    /// Whatever memory is free; the rest as the original.
    fn default() -> Self {
        let OriginalConf { attempts_max, report_interval, .. } = OriginalConf::default();
        Self { accept_free: 0, attempts_max, report_interval }
    }
}

impl From<&OriginalConf> for WorkLimits {
    fn from(conf: &OriginalConf) -> Self {
        Self {
            accept_free: conf.accept_free,
            attempts_max: conf.attempts_max,
            report_interval: conf.report_interval.max(REPORT_INTERVAL_MIN),
        }
    }
}

/// What a bridge is started with.
#[derive(Debug, Clone, PartialEq)]
pub struct RedisBridgeConfig {
    /// Where the Redis is.
    pub address: RedisAddress,
    /// What its worker is to be called there. If a worker that lives has this name already, a
    /// number is put behind it.
    pub name: String,
    /// Claims many tasks at once, from a sorted list of all that wait, and reports many at once.
    /// Otherwise, as the original: one, from a fresh look at everything.
    pub pipeline: bool,
    /// How often it looks for tasks.
    pub polling: Polling,
    /// Whether the cores that a task asks for count. The original never looks at them.
    pub count_cores: bool,
    /// What may be changed later.
    pub limits: WorkLimits,
    /// How lines are read that can be read in several ways, and the timeout of tasks that say
    /// nothing about it.
    pub options: ReadOptions,
}

impl RedisBridgeConfig {
    /// All switches on, and the limits of the worker the only ones.
    #[must_use]
    pub fn new(address: RedisAddress, name: impl Into<String>) -> Self {
        Self {
            address,
            name: name.into(),
            pipeline: true,
            polling: Polling::default(),
            count_cores: false,
            limits: WorkLimits::default(),
            options: ReadOptions::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_of_polling_are_read() {
        let polling = |text: &str| text.parse::<Polling>().expect(text);
        let (min, max) = (Duration::from_millis(1), Duration::from_secs(10));
        assert_eq!(polling("adaptive"), Polling::Adaptive { min, max });
        assert_eq!(polling("fixed:2s"), Polling::Fixed(Duration::from_secs(2)));
        assert_eq!(polling("fixed:0"), Polling::Fixed(Duration::ZERO));
        let max = Duration::from_secs(5);
        assert_eq!(polling("adaptive:5s"), Polling::Adaptive { min, max });
        assert_eq!(polling("fixed:100ms"), Polling::Fixed(Duration::from_millis(100)));
        for text in ["", "fixed", "adaptive:0s", "often", "fixed:often"] {
            let error = text.parse::<Polling>().expect_err(text).to_string();
            assert!(error.contains("adaptive"), "{error}");
        }
    }

    #[test]
    fn an_interval_of_no_time_at_all_is_a_second() {
        let conf = OriginalConf { report_interval: Duration::ZERO, ..OriginalConf::default() };
        assert_eq!(WorkLimits::from(&conf).report_interval, Duration::from_secs(1));
    }
}
