//! A cluster of any size under virtual time, to see how fast it is.
//!
//! The coordinators, shards, probers and estimators are those of `punctual-core`, as in the rest of
//! this crate. But here nothing goes wrong and no history is kept; what is simulated instead is
//! that everybody needs time for what he does ([`ServiceModel`]) and that the ways differ
//! ([`SimNetwork`]). So clusters and networks can be tried that nobody has at hand: three regions,
//! a hundred shards, ten thousand coordinators. What the figures are worth depends on the service
//! model, which [`calibrate()`] fits to reports of real runs, and says how well.
//!
//! What the coordinators ask for is a workload of `punctual-load`, one's own included: the same
//! transactions, procedures, loading and checks as in a real bench.
//!
//! `docs/simulated-scale.md` has the model, and what it leaves out.

mod calibrate;
mod clerk;
mod config;
mod coordinator;
mod estimates;
mod ledger;
mod network;
mod nnls;
mod point;
mod post;
mod procedures;
mod random;
mod report;
mod service;
mod shard;
mod source;
mod world;

pub use calibrate::{Calibration, CalibrationError, PointFit, calibrate};
pub use config::{SimArrivals, SimBenchConfig, SimBenchError};
pub use network::{SimDistribution, SimNetwork, SimPath, protocol_bound};
pub use point::{CalibrationPoint, PointError};
pub use procedures::{ProcedureTime, time_procedures};
use punctual_load::workload::Workload;
use punctual_wire::Limits;
pub use report::{SimBenchReport, SimKindFigures, SimShardFigures};
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

/// Simulates a run of a workload. `progress` is told now and then how far it is, and once at the
/// end; loading and reading the stores takes no virtual time.
///
/// The same configuration and workload give the same report on any machine, as far as its
/// floating-point functions agree, which decide about skewed keys.
///
/// # Errors
/// When the configuration makes no sense, the workload does not fit it or goes no further, or the
/// stores become too large.
pub fn run<W: Workload>(
    config: &SimBenchConfig,
    workload: &W,
    progress: &mut dyn FnMut(Progress),
) -> Result<SimBenchReport, SimBenchError> {
    config.check()?;
    workload.check(config.shards, &Limits::DEFAULT).map_err(SimBenchError::Workload)?;
    World::new(config, workload)?.run(progress)
}
