//! What one process decides for itself.

use super::names::named;
use std::time::Duration;

/// Settings of one process; other members may have others.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Which cores shards and coordinators run on.
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
    /// Sessions that one shard keeps.
    pub sessions_max: u32,
    /// Bytes that the store of one shard may hold.
    pub store_bytes_max: u64,
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
            sessions_max: 1024,
            store_bytes_max: 8 << 30,
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

/// Which cores shards and coordinators run on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// Cores of the shards of the cluster, by shard id, whether this process serves them or not; a
    /// shorter list starts over. Only those that it serves are pinned there.
    pub shards: CoreList,
    /// Cores of the coordinator workers of this process; a shorter list starts over.
    pub coordinators: CoreList,
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
