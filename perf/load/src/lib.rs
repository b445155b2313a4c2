//! How Punctual is measured: workloads, arrival schedules, recorders, reports, and the benches that
//! put them together.
//!
//! A bench never prints: it tells its caller how it goes and returns a [`Report`]. Every bench
//! checks the store afterwards; a run whose sums differ has failed, however fast it was. See
//! `docs/measurement.md`.
#![forbid(unsafe_code)]

pub mod arrivals;
pub mod bank;
pub mod bench;
mod choose;
pub mod counters;
pub mod counting;
pub mod drive;
pub mod environment;
pub mod hgrm;
pub mod histogram;
pub mod keys;
pub mod micro;
pub mod pingpong;
pub mod prototype;
pub mod report;
pub mod roofline;
pub mod summary;
pub mod sweep;
pub mod tpcc;
pub mod workload;
pub mod ycsb;

pub use bench::{BenchError, Plan, Progress, Stage, Target};
pub use report::Report;
