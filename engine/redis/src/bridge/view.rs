//! How things are with a bridge, for people.

/// What a bridge has counted since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BridgeStats {
    /// Commands sent to Redis, a script being one. How connections are opened does not count.
    pub commands: u64,
    /// Runs that succeeded.
    pub finished: u64,
    /// Tasks given back that were asked back for others.
    pub recalled: u64,
    /// Reports of attempts that were not the worker's any more; nothing came of them.
    pub stale: u64,
    /// Tasks that went to another worker of the same name, while this one could not say that it
    /// lives.
    pub lost: u64,
    /// Tasks found in progress under the worker's name with nobody to run them; they went back.
    pub recovered: u64,
    /// Readings of the queue.
    pub readings: u64,
    /// Connections opened after the first one.
    pub reconnects: u64,
}

/// How things are with a bridge.
#[derive(Debug, Clone, Default)]
pub struct BridgeView {
    /// What its worker is called in Redis; empty until that is settled.
    pub name: String,
    /// Why it is not connected, while it is not.
    pub why_down: Option<String>,
    /// There is an order to stop in the queue. It is for all workers, and stays there.
    pub is_ordered_to_stop: bool,
    /// Tasks that the worker runs.
    pub running: usize,
    /// Ends and returns of tasks that Redis has not confirmed.
    pub unsettled: usize,
    /// What it has counted.
    pub stats: BridgeStats,
}
