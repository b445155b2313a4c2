//! The task farm in one thread, under virtual time.
//!
//! The queue and the workers are those of `punctual-core`, unchanged, and so is everything that
//! turns their messages and records into bytes and back. What is simulated is what they run on:
//! links that are slow, stall and break, a disk that tears what is being written and has no room
//! for a while, processes that are frozen and killed, clocks that jump, and the tasks themselves,
//! which fail, kill their worker, run for ever or ignore that they should stop. Clients submit
//! tasks, and cancel, retry, requeue and remove some of them. The server may have several queues,
//! over which tasks are spread as real clients do it.
//!
//! What happened is checked by the property that Jepsen calls `total-queue`, and more: nothing that
//! was acknowledged is lost, nothing is invented, and whatever ran twice at once did so because of
//! a fault or a wish (see `check`). All chance comes from a seed.

mod chaos;
mod check;
mod client_line;
mod client_node;
mod clock;
mod config;
mod disk;
mod env;
mod events;
mod inspect;
mod layout;
mod net;
mod plans;
mod queue_node;
mod report;
mod tuning;
mod worker_node;
mod world;

pub use config::FarmConfig;
pub use report::{FarmCounts, FarmReport, FarmViolation, FarmViolationKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::World;

/// Simulates a farm and checks it. An assertion that fails in the simulated code is a violation
/// too.
#[must_use]
pub fn run(config: &FarmConfig) -> FarmReport {
    // Nothing of a run that stopped is looked at again, so nothing can be found half changed.
    let outcome = catch_unwind(AssertUnwindSafe(|| World::new(config).run()));
    outcome.unwrap_or_else(|panic| FarmReport::panicked(config.seed, crate::message(&*panic)))
}
