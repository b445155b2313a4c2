//! What is to be simulated.

use super::network::SimNetwork;
use super::service::{ServiceError, ServiceModel};
use punctual_core::OwdConfig;
use punctual_wire::{Limits, TxnSequence};
use std::time::Duration;
use thiserror::Error;

/// Most pairs of a coordinator and a shard: each takes some hundred bytes.
const PAIRS_MAX: u64 = 4_000_000;
/// The longest part of a run, in virtual time.
const PART_MAX: Duration = Duration::from_hours(1);
/// A piece without an answer is sent again after this, if the network is quick.
const REQUEST_TIMEOUT_MIN: Duration = Duration::from_millis(200);
/// A shard waits for a dispatch, and for a stamp, at least so long.
const HOLD_MIN: Duration = Duration::from_secs(1);
/// Ways of the longest kind in the time that is given to an answer.
const WAYS: u32 = 6;
/// Frames that are filled in one turn of a coordinator, and the least that one of them holds.
const BURST_FRAMES_MAX: f64 = 3.0;
const BURST_MIN: u16 = 16;
/// Request timeouts until a transaction is given up.
const DEADLINE_TIMEOUTS: u32 = 10;

/// When the transactions of an open loop are meant to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SimArrivals {
    /// At random, independently of each other.
    #[default]
    Poisson,
    /// In equal steps; coordinators begin at random moments.
    Constant,
}

/// A run: a cluster, the machines and the network that it is on, and when it has to do something.
/// What it has to do is a [workload](punctual_load::workload::Workload).
#[derive(Debug, Clone, PartialEq)]
pub struct SimBenchConfig {
    /// Shards.
    pub shards: u16,
    /// Coordinator workers.
    pub coordinators: u32,
    /// Transactions in flight, for each coordinator.
    pub in_flight: u32,
    /// Intended arrivals a second, all coordinators together; `None` for a closed loop.
    pub rate: Option<f64>,
    /// How they are spread.
    pub arrivals: SimArrivals,
    /// Most messages in a frame.
    pub batch: u16,
    /// What a stamp has beyond the longest one-way delay.
    pub headroom: Duration,
    /// Bound of the difference between any two clocks. The clocks here are perfect, so this is what
    /// it costs to allow for worse ones.
    pub epsilon: Duration,
    /// How one-way delays are estimated.
    pub owd: OwdConfig,
    /// The network.
    pub network: SimNetwork,
    /// The machines.
    pub service: ServiceModel,
    /// Cores that the shards share, in turn; `None`: each has its own.
    pub shard_cores: Option<u16>,
    /// Cores that the coordinator workers share, in turn; `None`: each has its own.
    pub coordinator_cores: Option<u32>,
    /// A piece without an answer is sent again after this; `None`: after 200 ms, or six times the
    /// longest way, if that is more. After ten such times the transaction is given up.
    pub request_timeout: Option<Duration>,
    /// Virtual time that does not count.
    pub warmup: Duration,
    /// Virtual time that does.
    pub duration: Duration,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for SimBenchConfig {
    /// What a bench does without options.
    fn default() -> Self {
        Self {
            shards: 1,
            coordinators: 1,
            in_flight: 1024,
            rate: None,
            arrivals: SimArrivals::default(),
            batch: 64,
            headroom: Duration::from_micros(2),
            epsilon: Duration::ZERO,
            owd: OwdConfig::default(),
            network: SimNetwork::even("none", super::SimPath::default()),
            service: ServiceModel::default(),
            shard_cores: None,
            coordinator_cores: None,
            request_timeout: None,
            warmup: Duration::from_millis(100),
            duration: Duration::from_secs(1),
            seed: 1,
        }
    }
}

/// Why a run cannot be simulated.
#[derive(Debug, Error)]
pub enum SimBenchError {
    /// A number outside its range.
    #[error("{name} is {value}, outside {low} to {high}; choose one inside")]
    Range {
        /// Which one.
        name: &'static str,
        /// What it is.
        value: f64,
        /// The least that it may be.
        low: f64,
        /// The most that it may be.
        high: f64,
    },
    /// More links than there is memory for.
    #[error("{pairs} pairs of a coordinator and a shard are more than {max}; simulate fewer")]
    TooManyPairs {
        /// How many.
        pairs: u64,
        /// The limit.
        max: u64,
    },
    /// The workload does not fit the cluster, or can go no further.
    #[error("{0}")]
    Workload(String),
    /// More in the stores than there is memory for.
    #[error(
        "the stores take {bytes} bytes, more than the {max} that a simulation may have; give the \
         workload less to load, or a shorter run"
    )]
    StoresTooLarge {
        /// What they take.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The network makes no sense.
    #[error("the network {name} has {flaw}; correct its description")]
    Network {
        /// Which one.
        name: String,
        /// What is wrong.
        flaw: String,
    },
    /// The service model makes no sense.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl SimBenchConfig {
    /// Whether it can be simulated.
    ///
    /// # Errors
    /// The first thing that stands against it.
    pub fn check(&self) -> Result<(), SimBenchError> {
        let Self { shards, coordinators, .. } = *self;
        let slots_max = f64::from(TxnSequence::SLOTS_MAX);
        let rate_min = f64::from(coordinators) / 1e3;
        let cores = [
            self.shard_cores.map_or(1.0, f64::from),
            self.coordinator_cores.map_or(1.0, f64::from),
        ];
        let part_max = PART_MAX.as_secs_f64();
        let ranges = [
            ("the number of shards", f64::from(shards), 1.0, 4_096.0),
            ("the number of coordinators", f64::from(coordinators), 1.0, 1e6),
            ("the number in flight", f64::from(self.in_flight), 1.0, slots_max),
            ("the rate a second", self.rate.unwrap_or(rate_min), rate_min, 1e9),
            ("the batch", self.batch.into(), 1.0, Limits::DEFAULT.batch_max.into()),
            ("the number of shard cores", cores[0], 1.0, f64::from(shards)),
            ("the number of coordinator cores", cores[1], 1.0, f64::from(coordinators)),
            ("the duration in seconds", self.duration.as_secs_f64(), 1e-6, part_max),
            ("the warm-up in seconds", self.warmup.as_secs_f64(), 0.0, part_max),
            ("the headroom in seconds", self.headroom.as_secs_f64(), 0.0, part_max),
            ("epsilon in seconds", self.epsilon.as_secs_f64(), 0.0, part_max),
            ("the longest way in seconds", self.network.longest().as_secs_f64(), 0.0, part_max),
        ];
        for (name, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                return Err(SimBenchError::Range { name, value, low, high });
            }
        }
        let pairs = u64::from(shards) * u64::from(coordinators);
        if pairs > PAIRS_MAX {
            return Err(SimBenchError::TooManyPairs { pairs, max: PAIRS_MAX });
        }
        if let Some(flaw) = self.network.flaw() {
            return Err(SimBenchError::Network { name: self.network.name.clone(), flaw });
        }
        Ok(self.service.check()?)
    }

    pub(super) fn request_timeout(&self) -> Duration {
        let fitting = REQUEST_TIMEOUT_MIN.max(self.network.longest() * WAYS);
        self.request_timeout.unwrap_or(fitting)
    }

    pub(super) fn deadline(&self) -> Duration {
        self.request_timeout() * DEADLINE_TIMEOUTS
    }

    /// How far ahead a stamp may be, and how long a shard waits for a dispatch.
    pub(super) fn hold_max(&self) -> Duration {
        HOLD_MIN.max(self.network.longest() * WAYS) + self.headroom + self.epsilon
    }

    /// Transactions that a coordinator makes in one turn, of which each is on so many shards: as
    /// many as fill a frame for each of a few shards, as in a real bench.
    pub(super) fn burst(&self, shards_each: f64) -> u32 {
        let frames = (f64::from(self.shards) / shards_each).clamp(1.0, BURST_FRAMES_MAX);
        (f64::from(self.batch.max(BURST_MIN)) * frames).round() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_simulated() {
        SimBenchConfig::default().check().expect("nothing against it");
    }

    #[test]
    fn what_stands_against_a_run_is_said_with_its_value() {
        let two = SimBenchConfig { shards: 2, ..SimBenchConfig::default() };
        two.check().expect("nothing against it");
        let nowhere = SimNetwork { shards_at: Vec::new(), ..two.network.clone() };
        let mut service = two.service.clone();
        service.wire_ns = -1.0;
        let cases = [
            (SimBenchConfig { in_flight: 0, ..two.clone() }, "the number in flight is 0"),
            (SimBenchConfig { rate: Some(0.0), ..two.clone() }, "the rate a second is 0"),
            (SimBenchConfig { shard_cores: Some(3), ..two.clone() }, "shard cores is 3"),
            (SimBenchConfig { network: nowhere, ..two.clone() }, "no place for its shards"),
            (SimBenchConfig { service, ..two.clone() }, "wire_ns of the service model is -1"),
            (
                SimBenchConfig { shards: 4_096, coordinators: 10_000, ..two },
                "40960000 pairs of a coordinator and a shard",
            ),
        ];
        for (config, told) in cases {
            let error = config.check().expect_err(told).to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn timeouts_fit_the_network() {
        let near = SimBenchConfig::default();
        assert_eq!(near.request_timeout(), Duration::from_millis(200));
        let network = SimNetwork::named("geo").expect("a preset");
        let far = SimBenchConfig { network, ..SimBenchConfig::default() };
        assert!(far.request_timeout() > Duration::from_secs(1));
        assert!(far.hold_max() > Duration::from_secs(1));
    }
}
