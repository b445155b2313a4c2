//! `punctual bench micro`.

use super::args::{share, skew};
use super::runner::WorkloadArgs;
use clap::Args;
use punctual_load::micro::Micro;

/// What the transactions do.
#[derive(Debug, Args)]
pub(crate) struct MicroArgs {
    /// Distinct keys of a transaction
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    ops: u16,

    /// Share of the operations that read, 0 to 1; the others add one
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = share)]
    reads: f64,

    /// Share of the transactions that touch several shards, 0 to 1; the others stay on one
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    cross: f64,

    /// Shards that each of those touches: 2 to 64, as many as there are at most
    #[arg(long, value_name = "K", default_value_t = 2, requires = "cross")]
    span: u16,

    /// Keys in the store
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,

    /// Bytes of a value, at least 8
    #[arg(long, value_name = "BYTES", default_value_t = 8)]
    value_size: usize,

    /// Exponent of the keys' popularity (Zipf); 0 is uniform
    #[arg(long, value_name = "S", default_value_t = 0.0, value_parser = skew)]
    skew: f64,
}

impl WorkloadArgs for MicroArgs {
    type Workload = Micro;

    fn workload(&self) -> Micro {
        let &Self { ops, reads, cross, span, keys, value_size, skew } = self;
        Micro { ops, reads, cross, span, keys, value_size, skew }
    }
}
