//! A cluster of any size under virtual time, to see how fast it is.
//!
//! The coordinators, shards, probers and estimators are those of `punctual-core`, as in the rest of
//! this crate. But here nothing goes wrong and no history is kept; what is simulated instead is
//! that everybody needs time for what he does ([`ServiceModel`]) and that the ways differ
//! ([`SimNetwork`]). So clusters and networks can be tried that nobody has at hand: three regions,
//! a hundred shards, ten thousand coordinators. What the figures are worth depends on the service
//! model, which [`calibrate()`] fits to reports of real runs, and says how well.
//!
//! `docs/simulated-scale.md` has the model, and what it leaves out.

mod calibrate;
mod choose;
mod config;
mod coordinator;
mod estimates;
mod ledger;
mod network;
mod nnls;
mod point;
mod post;
mod random;
mod report;
mod service;
mod shard;
mod world;

pub use calibrate::{Calibration, CalibrationError, PointFit, calibrate};
pub use config::{SimArrivals, SimBenchConfig, SimBenchError};
pub use network::{SimDistribution, SimNetwork, SimPath, protocol_bound};
pub use point::{CalibrationPoint, PointError};
pub use report::{SimBenchReport, SimShardFigures};
pub use service::{CoordinatorCosts, ServiceError, ServiceModel, ShardCosts};
use std::time::Duration;
use world::World;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Virtual time that has passed.
    pub virtual_time: Duration,
    /// Virtual time to be simulated, but for what is in flight at the end.
    pub total: Duration,
    /// Steps that were simulated.
    pub events: u64,
    /// Transactions that committed, those of the warm-up included.
    pub committed: u64,
}

/// Simulates a run. `progress` is told now and then how far it is, and once at the end.
///
/// The same configuration gives the same report on any machine, as far as its floating-point
/// functions agree, which decide about skewed keys.
///
/// # Errors
/// When the configuration makes no sense.
pub fn run(
    config: &SimBenchConfig,
    progress: &mut dyn FnMut(Progress),
) -> Result<SimBenchReport, SimBenchError> {
    config.check()?;
    Ok(World::new(config)?.run(progress))
}
