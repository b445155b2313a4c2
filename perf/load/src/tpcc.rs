//! TPC-C as a workload: nine tables, five transactions, and the consistency conditions of the
//! standard (TPC Benchmark C, revision 5.11), checked after the run.
//!
//! Each transaction is a registered procedure and one-shot: a call on each shard that it touches,
//! all at one time, none waiting for what another says. ITEM is on every shard, warehouse `w` with
//! all that belongs to it on shard `(w - 1) mod shards`. What differs from the standard is its
//! frame: no terminals with keying and think times, so the figures are not tpmC and must not be
//! called so. `schema` says where the columns are, `docs/decisions/0019-tpcc.md` why.

mod access;
mod args;
mod check;
mod delivery;
mod done;
mod generate;
mod load;
mod new_order;
mod order_status;
mod payment;
mod random;
mod schema;
mod stock_level;
#[cfg(test)]
mod tests;

pub use args::{CHECK, DELIVERY, LOAD, NEW_ORDER, ORDER_STATUS, PAYMENT, STOCK_LEVEL, SUPPLY};
pub use check::{PartFound, TpccFound};
pub use done::{TpccDone, Unknown};
pub use generate::TpccGenerator;

use crate::workload::{Place, Workload, map_of};
use punctual_runtime::{Limits, ProcedureContext, Procedures, Verdict};
use schema::{DISTRICTS, LINES_BYTES_MAX, LINES_MAX};
use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;

/// Most items of the catalogue, as the standard has.
const ITEMS_MAX: u32 = 100_000;
/// An item that nobody loads: also where an earlier bench of the same shards had more --items.
const UNUSED_ITEM: u32 = ITEMS_MAX + 1;
/// Items of a part of a stock when it is read for the check.
const ITEMS_A_PART: u32 = 2000;
/// Longest result of a procedure in bytes, generously.
const RESULT_BYTES_MAX: usize = 1024;

/// How a procedure is written here.
type Run = fn(&mut ProcedureContext<'_>, &[u8]) -> Verdict;

/// Kinds of transactions, as indices into their names.
mod kind {
    pub(super) const NEW_ORDER: u8 = 0;
    pub(super) const PAYMENT: u8 = 1;
    pub(super) const ORDER_STATUS: u8 = 2;
    pub(super) const DELIVERY: u8 = 3;
    pub(super) const STOCK_LEVEL: u8 = 4;
}

/// What is to be run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tpcc {
    /// Warehouses, at least as many as shards.
    pub warehouses: u16,
    /// Probability that a line of an order is supplied by another warehouse, 0 to 1.
    pub remote_items: f64,
    /// Share of the payments by customers of another warehouse, 0 to 1.
    pub remote_payments: f64,
    /// Share of the New-Orders that ask for an item that does not exist, 0 to 1.
    pub rollback: f64,
    /// Rows of ITEM, and stocks of a warehouse. The standard has 100,000.
    pub items: u32,
    /// Customers of a district, and orders that are loaded there. The standard has 3,000.
    pub customers: u32,
}

impl Default for Tpcc {
    /// The standard's numbers, for one warehouse.
    fn default() -> Self {
        Self {
            warehouses: 1,
            remote_items: 0.01,
            remote_payments: 0.15,
            rollback: 0.01,
            items: ITEMS_MAX,
            customers: 3000,
        }
    }
}

impl Tpcc {
    fn stock_parts(&self) -> u32 {
        self.items.div_ceil(ITEMS_A_PART)
    }

    fn parts_of_warehouse(&self) -> u64 {
        u64::from(self.stock_parts()) + u64::from(DISTRICTS) * u64::from(check::PARTS)
    }

    /// Parts that the whole store is read in.
    fn parts(&self) -> u64 {
        u64::from(self.warehouses) * self.parts_of_warehouse()
    }

    /// How likely another warehouse is on another shard.
    fn apart(&self, shards: u16) -> f64 {
        if self.warehouses < 2 {
            return 0.0;
        }
        let others = f64::from(self.warehouses) - 1.0;
        let same = f64::from(self.warehouses) / f64::from(shards.max(1)) - 1.0;
        ((others - same.max(0.0)) / others).clamp(0.0, 1.0)
    }
}

/// The shard that has a warehouse.
fn shard_of_warehouse(warehouse: u16, shards: u16) -> u16 {
    (warehouse - 1) % shards.max(1)
}

impl Workload for Tpcc {
    type Generator = TpccGenerator;

    fn name(&self) -> &'static str {
        "tpcc"
    }

    fn kinds(&self) -> &'static [&'static str] {
        &["new-order", "payment", "order-status", "delivery", "stock-level"]
    }

    fn check(&self, shards: u16, limits: &Limits) -> Result<(), String> {
        let Self { warehouses, items, customers, .. } = *self;
        if warehouses < shards.max(1) {
            return Err(format!(
                "--warehouses {warehouses} leave some of {shards} shards without any; give at \
                 least {}",
                shards.max(1)
            ));
        }
        in_range("items", items, 100..=ITEMS_MAX)?;
        in_range("customers", customers, 10..=3000)?;
        let shares = [
            ("remote-items", self.remote_items),
            ("remote-payments", self.remote_payments),
            ("rollback", self.rollback),
        ];
        for (option, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return Err(format!("--{option} {share} is outside 0..=1"));
            }
        }
        at_least("value_bytes_max", limits.value_bytes_max as usize, LINES_BYTES_MAX)?;
        at_least("key_bytes_max", usize::from(limits.key_bytes_max), 8)?;
        at_least("ops_max", usize::from(limits.ops_max), 2)?;
        let what = "what frame_bytes_max leaves for results";
        at_least(what, limits.results_bytes_max(), RESULT_BYTES_MAX)
    }

    fn procedures(&self) -> Procedures {
        const ALL: [(u16, &str, Run); 8] = [
            (NEW_ORDER, "tpcc.new-order", new_order::new_order),
            (SUPPLY, "tpcc.supply", new_order::supply),
            (PAYMENT, "tpcc.payment", payment::payment),
            (ORDER_STATUS, "tpcc.order-status", order_status::order_status),
            (DELIVERY, "tpcc.delivery", delivery::delivery),
            (STOCK_LEVEL, "tpcc.stock-level", stock_level::stock_level),
            (LOAD, "tpcc.load", load::load),
            (CHECK, "tpcc.check", check::check),
        ];
        let mut procedures = Procedures::new();
        for (id, name, run) in ALL {
            procedures.register(id, name, run).expect("the ids differ");
        }
        procedures
    }

    fn parameters(&self) -> Map<String, Value> {
        let parameters = json!({
            "warehouses": self.warehouses,
            "remote_items": self.remote_items,
            "remote_payments": self.remote_payments,
            "rollback": self.rollback,
            "items": self.items,
            "customers": self.customers,
        });
        map_of(parameters)
    }

    fn describe(&self) -> String {
        let Self { warehouses, remote_items, remote_payments, .. } = self;
        let plural = if *warehouses == 1 { "" } else { "s" };
        format!(
            "{warehouses} warehouse{plural}, {:.1} % remote items, {:.1} % remote payments",
            remote_items * 100.0,
            remote_payments * 100.0
        )
    }

    fn shards_each(&self, shards: u16) -> f64 {
        let others = f64::from(shards.max(1)) - 1.0;
        if others < 1.0 {
            return 1.0;
        }
        let apart = self.apart(shards);
        let spared = (1.0 - self.remote_items * apart / others).max(0.0);
        // An order has ten lines on average.
        let suppliers = others * (1.0 - spared.powi((LINES_MAX as i32 + 5) / 2));
        1.0 + 0.45 * suppliers + 0.43 * self.remote_payments * apart
    }

    fn generator(&self, place: &Place) -> TpccGenerator {
        TpccGenerator::new(self, place)
    }

    fn check_store(&self, done: &TpccDone, found: &TpccFound) -> Result<(), String> {
        check::compare(self, done, found)
    }

    fn figures(&self, done: &TpccDone) -> Map<String, Value> {
        let share = |count: u64| count as f64 / done.committed.max(1) as f64;
        map_of(json!({
            "new_orders": done.orders.iter().sum::<u64>(),
            "rolled_back": done.rolled_back,
            "delivered": done.delivered,
            "remote_share": share(done.remote),
            "spanning_share": share(done.spanning),
        }))
    }
}

fn in_range(option: &str, value: u32, range: RangeInclusive<u32>) -> Result<(), String> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(format!("--{option} {value} is outside {range:?}"))
}

fn at_least(limit: &str, value: usize, needed: usize) -> Result<(), String> {
    if value >= needed {
        return Ok(());
    }
    Err(format!("{limit} is {value}; tpcc needs {needed}"))
}
