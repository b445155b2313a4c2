//! What one process decides for itself.

use super::names::named;
use super::{DurabilitySettings, NetworkConfig};
use punctual_core::EstimatorKind;
use std::time::Duration;

/// Settings of one process; other members may have others.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessConfig {
    /// The shards that this process serves; `None` means all, an empty list none.
    pub serve: Option<Vec<u16>>,
    /// What drives the pinned threads.
    pub backend: Backend,
    /// What a thread does when it finds no work.
    pub idle: IdleStrategy,
    /// Whether there are more busy threads than cores, so that spinning would stall the others;
    /// `None` means: count them.
    pub overprovisioned: Option<bool>,
    /// Which cores shards, coordinators, the prober and the writers of journals run on.
    pub placement: Placement,
    /// Coordinator workers of this process.
    pub coordinators: u16,
    /// Transactions that one worker may have in flight.
    pub in_flight: u32,
    /// Messages that wait for one frame at most; 1 gives each message its own frame and write.
    pub batch: u16,
    /// How long a worker waits for an answer before it sends a request again.
    pub request_timeout: Duration,
    /// How long after its start a transaction is given up; its outcome is unknown then.
    pub deadline: Duration,
    /// How long connecting and the handshake may take.
    pub connect_timeout: Duration,
    /// What is added to the estimated way to the shards when a transaction on several of them is
    /// stamped: more of it makes fewer of them late and all of them slower.
    pub headroom: Duration,
    /// How the way to a shard is estimated.
    pub estimator: Estimator,
    /// The way to a shard until there are measurements.
    pub default_owd: Duration,
    /// What measures the ways to the shards.
    pub prober: ProberSettings,
    /// Sessions that one shard keeps.
    pub sessions_max: u32,
    /// Bytes that the store of one shard may hold.
    pub store_bytes_max: u64,
    /// Undecided transactions that a shard keeps for one other shard.
    pub pending_per_peer_max: u32,
    /// Transactions on one shard that may wait behind undecided ones.
    pub blocked_max: u32,
    /// What of the shards outlives the process.
    pub durability: DurabilitySettings,
    /// The network that is emulated for the links that this process opens; see
    /// [`Config::set_network`](super::Config::set_network).
    pub network: Option<NetworkConfig>,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        Self {
            serve: None,
            backend: Backend::default(),
            idle: IdleStrategy::default(),
            overprovisioned: None,
            placement: Placement::default(),
            coordinators: 1,
            in_flight: 1024,
            batch: 64,
            request_timeout: Duration::from_millis(200),
            deadline: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(5),
            headroom: Duration::from_micros(2),
            estimator: Estimator::default(),
            default_owd: Duration::from_micros(500),
            prober: ProberSettings::default(),
            sessions_max: 1024,
            store_bytes_max: 8 << 30,
            pending_per_peer_max: 16_384,
            blocked_max: 16_384,
            durability: DurabilitySettings::default(),
            network: None,
        }
    }
}

/// What measures the ways to the shards, by probes of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProberSettings {
    /// Whether it runs beside the coordinator workers; `None` means: where there are several
    /// shards.
    pub enabled: Option<bool>,
    /// Pause between two probes of a shard just after the link to it came up.
    pub first_interval: Duration,
    /// How long it stays at that.
    pub first_for: Duration,
    /// Pause between two probes of a shard from then on.
    pub interval: Duration,
    /// Share of the pause by which it varies at random, so that probes keep step with nothing.
    pub jitter: f64,
    /// A probe that leaves later than it should have by more than this is not used.
    pub late_max: Duration,
    /// A probe without an answer counts as lost after this.
    pub lost_after: Duration,
}

impl Default for ProberSettings {
    fn default() -> Self {
        Self {
            enabled: None,
            first_interval: Duration::from_millis(1),
            first_for: Duration::from_secs(1),
            interval: Duration::from_millis(10),
            jitter: 0.1,
            late_max: Duration::from_micros(500),
            lost_after: Duration::from_secs(1),
        }
    }
}

/// How the way to a shard is estimated from measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Estimator {
    /// A high percentile of the latest measurements.
    #[default]
    WindowPercentile,
    /// A moving average, and deviations on top.
    Ewma,
    /// Half of the averaged round trip.
    EmaHalfRtt,
    /// The longest of the latest measurements.
    WindowMax,
}

named!(Estimator {
    WindowPercentile = "window-percentile",
    Ewma = "ewma",
    EmaHalfRtt = "ema-half-rtt",
    WindowMax = "window-max",
});

impl From<Estimator> for EstimatorKind {
    fn from(estimator: Estimator) -> Self {
        match estimator {
            Estimator::WindowPercentile => Self::WindowPercentile,
            Estimator::Ewma => Self::Ewma,
            Estimator::EmaHalfRtt => Self::EmaHalfRtt,
            Estimator::WindowMax => Self::WindowMax,
        }
    }
}

/// What drives the pinned threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Backend {
    /// Glommio where it starts, else plain threads.
    #[default]
    Auto,
    /// One glommio executor a core; needs `io_uring`.
    Glommio,
    /// Plain threads with the same loop; runs anywhere.
    Threads,
}

named!(Backend { Auto = "auto", Glommio = "glommio", Threads = "threads" });

/// What a thread does when it finds no work: from quickest to answer to kindest to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IdleStrategy {
    /// Looks again at once. Only for a core of its own.
    Spin,
    /// Offers the core to others, then looks again.
    Yield,
    /// Spins for a while, then yields, then parks.
    #[default]
    Backoff,
    /// Sleeps until a socket or a timer wakes it.
    Park,
}

named!(IdleStrategy { Spin = "spin", Yield = "yield", Backoff = "backoff", Park = "park" });

/// Which cores shards, coordinators, the prober and the writers of journals run on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// Cores of the shards of the cluster, by shard id, whether this process serves them or not; a
    /// shorter list starts over. Only those that it serves are pinned there.
    pub shards: CoreList,
    /// Cores of the coordinator workers of this process; a shorter list starts over.
    pub coordinators: CoreList,
    /// The core of the prober; `None` means: one that is free, else that of the first worker.
    pub prober: Option<usize>,
    /// Cores of the threads that write journals, as with `shards`; [`Auto`](CoreList::Auto) leaves
    /// them to the scheduler. They are seldom busy.
    pub journal: CoreList,
}

/// Cores for a group of threads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum CoreList {
    /// Chosen from the cores that the process may use.
    #[default]
    Auto,
    /// These cores, in this order; several entries may name the same core.
    Cores(Vec<usize>),
}
