//! The options of the other workloads than micro.

use super::args::{share, skew};
use super::runner::WorkloadArgs;
use clap::Args;
use punctual_load::bank::Bank;
use punctual_load::counters::Counters;
use punctual_load::prototype::Prototype;
use punctual_load::tpcc::Tpcc;
use punctual_load::ycsb::{Mix, Ycsb};
use punctual_runtime::config::Config;
use std::time::Duration;

/// Options of `bench counters`.
#[derive(Debug, Args)]
pub(crate) struct CountersArgs {
    /// Shards that a transaction touches, an increment on each
    #[arg(long, value_name = "K", default_value_t = 3)]
    span: u16,

    /// Keys for each shard
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    keys: u64,

    /// Exponent of the keys' popularity (Zipf); 0 is uniform
    #[arg(long, value_name = "S", default_value_t = 0.5, value_parser = skew)]
    skew: f64,
}

impl WorkloadArgs for CountersArgs {
    type Workload = Counters;

    fn workload(&self) -> Counters {
        Counters { span: self.span, keys_per_shard: self.keys, skew: self.skew }
    }

    fn shards(&self) -> u16 {
        3
    }
}

/// Options of `bench prototype`.
#[derive(Debug, Args)]
pub(crate) struct PrototypeArgs {
    /// Share of the transactions that read, 0 to 1; the others write
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = share)]
    reads: f64,

    /// Keys in the store
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    keys: u64,
}

impl WorkloadArgs for PrototypeArgs {
    type Workload = Prototype;

    fn workload(&self) -> Prototype {
        Prototype { reads: self.reads, keys: self.keys }
    }

    fn adjust(&self, config: &mut Config) {
        config.process.in_flight = 200;
        config.process.headroom = Duration::from_millis(10);
    }
}

/// Options of `bench ycsb`.
#[derive(Debug, Args)]
pub(crate) struct YcsbArgs {
    /// Which core workload: a, b, c, d, e or f
    #[arg(long, value_name = "MIX", default_value = "a")]
    mix: Mix,

    /// Records in the store
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    records: u64,

    /// Fields of a record
    #[arg(long, value_name = "N", default_value_t = 10)]
    fields: u16,

    /// Bytes of a field
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    field_bytes: u16,

    /// Exponent of the records' popularity (Zipf); 0 is uniform
    #[arg(long, value_name = "S", default_value_t = 0.99, value_parser = skew)]
    skew: f64,
}

impl WorkloadArgs for YcsbArgs {
    type Workload = Ycsb;

    fn workload(&self) -> Ycsb {
        let &Self { mix, records, fields, field_bytes, skew } = self;
        Ycsb { mix, records, fields, field_bytes, skew }
    }
}

/// Options of `bench bank`.
#[derive(Debug, Args)]
pub(crate) struct BankArgs {
    /// Accounts
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    accounts: u64,

    /// Share of the transactions that look at a few accounts, 0 to 1; the others transfer
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, value_parser = share)]
    looks: f64,

    /// Exponent of the accounts' popularity (Zipf); 0 is uniform
    #[arg(long, value_name = "S", default_value_t = 0.0, value_parser = skew)]
    skew: f64,
}

impl WorkloadArgs for BankArgs {
    type Workload = Bank;

    fn workload(&self) -> Bank {
        let &Self { accounts, looks, skew } = self;
        Bank { accounts, looks, skew }
    }
}

/// Options of `bench tpcc`.
#[derive(Debug, Args)]
pub(crate) struct TpccArgs {
    /// Warehouses: the scale
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    warehouses: u16,

    /// Share of the items that another warehouse supplies, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = share)]
    remote_items: f64,

    /// Share of the payments of customers of another warehouse, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.15, value_parser = share)]
    remote_payments: f64,

    /// Share of the new orders that name an unused item and are rolled back, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = share)]
    rollback: f64,

    /// Items in the catalogue; the standard has 100,000
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    items: u32,

    /// Customers of a district; the standard has 3,000
    #[arg(long, value_name = "N", default_value_t = 3_000)]
    customers: u32,
}

impl WorkloadArgs for TpccArgs {
    type Workload = Tpcc;

    fn workload(&self) -> Tpcc {
        let &Self { warehouses, remote_items, remote_payments, rollback, items, customers } = self;
        Tpcc { warehouses, remote_items, remote_payments, rollback, items, customers }
    }
}
