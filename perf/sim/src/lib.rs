//! A cluster of Punctual in one thread, under virtual time.
//!
//! The coordinators, shards, probers and estimators are those of `punctual-core`, unchanged; what
//! is simulated is what they run on: a network that delays, loses, repeats and reorders, links that
//! break, clocks that are wrong, disks that are slow and tear what is being written, nodes that
//! pause, crash and come back. All chance comes from a seed, so a run is repeated exactly by its
//! [`SimConfig`], and [`replay_command`] says how. What happened is then checked against what the
//! protocol promises (`docs/protocol.md`).
//!
//! The idea is that of the simulators of FoundationDB and TigerBeetle: what takes weeks to go wrong
//! by itself goes wrong here in seconds, and as often as one likes.
#![forbid(unsafe_code)]

pub mod bench;
mod chaos;
mod check;
mod clock;
mod config;
mod disk;
mod env;
mod export;
pub mod farm;
mod faults;
mod history;
mod keys;
mod network;
mod node;
mod queue;
mod report;
mod rng;
mod tuning;
mod violation;
mod workload;
mod world;

pub use config::{
    SimConfig, SimDurability, SimDurabilityError, Workload, WorkloadError, replay_command,
};
pub use faults::{Faults, FaultsError};
pub use report::{SimCounts, SimReport};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
pub use violation::{Violation, ViolationKind};
use world::World;

/// Simulates a run and checks it. An assertion that fails in the simulated code is a violation too.
#[must_use]
pub fn run(config: &SimConfig) -> SimReport {
    // Nothing of a run that stopped is looked at again, so nothing can be found half changed.
    let outcome = catch_unwind(AssertUnwindSafe(|| World::new(config).run().0));
    outcome.unwrap_or_else(|panic| SimReport::panicked(config.seed, message(&*panic)))
}

/// Simulates a run of lists as [`run`] does, and writes down what the clients saw, in the form that
/// Jepsen's checkers read: one JSON object a line. It makes sense for [`Workload::ListAppend`] and
/// where no shard loses its memory: without crashes of shards, or with journals on all of them.
#[must_use]
pub fn list_append_history(config: &SimConfig) -> (SimReport, String) {
    let (report, history) = World::new(config).run();
    (report, export::list_append(&history))
}

/// What an assertion said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "an assertion without a message".to_owned())
}
