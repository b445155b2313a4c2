//! What a workload is: one type that says what there is to choose, and one that makes its
//! transactions on a coordinator worker. `docs/workloads.md` shows how to add one.
//!
//! Everything else is the same for all of them and written once: the phases of a run, arrival
//! schedules, recording, reports, and the comparison of the store with what was acknowledged.

use crate::tpcc::Tpcc;
use crate::ycsb::Ycsb;
use punctual_runtime::{Limits, Outcome, Procedures, Transaction};
use punctual_wire::ResultReader;
use serde_json::{Map, Value};
use std::fmt;

/// Which worker of which cluster a generator works for.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The worker's number, from 0.
    pub worker: u64,
    /// How many workers share the work.
    pub workers: u64,
    /// Shards of the cluster.
    pub shards: u16,
    /// Transactions in flight at a worker: slots are below.
    pub slots: u32,
    /// The cluster's limits.
    pub limits: Limits,
    /// Seed of everything random; the same at all workers.
    pub seed: u64,
}

impl Place {
    /// This worker's part of `count` things, of which every worker has about as many.
    #[must_use]
    pub fn share(&self, count: u64) -> std::ops::Range<u64> {
        let at = |worker: u64| {
            let upto = u128::from(count) * u128::from(worker) / u128::from(self.workers.max(1));
            u64::try_from(upto).unwrap_or(u64::MAX)
        };
        at(self.worker)..at(self.worker + 1)
    }

    /// A seed of this worker's own.
    #[must_use]
    pub fn own_seed(&self) -> u64 {
        self.seed.wrapping_add(self.worker.wrapping_mul(0x9e37_79b9))
    }
}

/// What several workers did or found, added up.
pub trait Sum {
    /// Adds what another one did or found.
    fn add(&mut self, other: &Self);
}

/// A workload, as it was asked for.
pub trait Workload: Clone + fmt::Debug + Send + Sync + 'static {
    /// What makes its transactions.
    type Generator: Generator;

    /// Its name, as in `bench NAME`.
    fn name(&self) -> &'static str;

    /// Kinds of its transactions. Where there are several, a report has the figures of each.
    fn kinds(&self) -> &'static [&'static str] {
        &["all"]
    }

    /// Says why it would not do what it says on such a cluster, in the words of the command line.
    ///
    /// # Errors
    /// What stands against it, in one line.
    fn check(&self, shards: u16, limits: &Limits) -> Result<(), String>;

    /// The procedures that its shards need.
    fn procedures(&self) -> Procedures {
        Procedures::new()
    }

    /// What was chosen, for the report: names as options have them, with `_` for `-`.
    fn parameters(&self) -> Map<String, Value>;

    /// What was chosen, for people: the rest of the first line of a summary.
    fn describe(&self) -> String;

    /// How many shards a transaction touches on average; 1 if none touches several. It decides how
    /// many are made at a time.
    fn shards_each(&self, shards: u16) -> f64 {
        let _ = shards;
        1.0
    }

    /// The generator of one worker.
    fn generator(&self, place: &Place) -> Self::Generator;

    /// Compares what all workers found in the store with what was acknowledged.
    ///
    /// # Errors
    /// What differs, in one line with both numbers.
    fn check_store(
        &self,
        done: &<Self::Generator as Generator>::Done,
        found: &<Self::Generator as Generator>::Found,
    ) -> Result<(), String>;

    /// Figures of its own for the report, from what was acknowledged in the whole run.
    fn figures(&self, done: &<Self::Generator as Generator>::Done) -> Map<String, Value> {
        let _ = done;
        Map::new()
    }
}

/// Makes the transactions of one worker, and keeps account of them.
///
/// A run goes through its methods in this order: [`load`](Self::load) until it returns false; then
/// [`next`](Self::next), [`sent`](Self::sent) and [`ended`](Self::ended) for each transaction;
/// [`done`](Self::done) once nothing is in flight; [`verify`](Self::verify) and
/// [`verified`](Self::verified) until all was read; [`found`](Self::found). A generator of a second
/// engine that was started on the journals of the first one is only asked to verify.
pub trait Generator: fmt::Debug + Send + 'static {
    /// What acknowledged transactions did, as far as the check needs it.
    type Done: Sum + Default + fmt::Debug + Clone + Send;
    /// What is in the store.
    type Found: Sum + Default + fmt::Debug + Clone + Send;

    /// Puts the next transaction of this worker's part of the loading into `transaction`, which is
    /// empty; false, and nothing put, if there is no more. Loaded twice, the store is as if it was
    /// loaded once: a journal may have it already.
    fn load(&mut self, transaction: &mut Transaction) -> bool;

    /// Puts the next transaction to be measured into `transaction`, which is empty. Returns its
    /// kind: an index into [`Workload::kinds`].
    ///
    /// # Errors
    /// Why it can go no further, in the words of the command line.
    fn next(&mut self, transaction: &mut Transaction) -> Result<u8, String>;

    /// The transaction of the last [`next`](Self::next) is under way in this slot.
    fn sent(&mut self, slot: u16);

    /// The transaction in this slot has ended. Where its outcome is unknown, it may have happened.
    fn ended(&mut self, slot: u16, outcome: &Outcome, results: &mut ResultReader<'_>);

    /// What was done.
    fn done(&mut self) -> Self::Done;

    /// Puts the next transaction that reads a part of the store into `transaction`, which is empty;
    /// false, and nothing put, if this worker's part was read. Before the first call nothing of an
    /// earlier verification is left.
    fn verify(&mut self, transaction: &mut Transaction) -> bool;

    /// The transaction of the last [`verify`](Self::verify) is under way in this slot.
    fn verify_sent(&mut self, slot: u16);

    /// What the transaction in this slot has read.
    fn verified(&mut self, slot: u16, results: &mut ResultReader<'_>);

    /// What was found.
    fn found(&mut self) -> Self::Found;
}

/// A name, and what makes the procedures.
type Entry = (&'static str, fn() -> Procedures);

/// Every workload with its procedures: for those who serve shards to a bench of it. Procedures do
/// not depend on what else is chosen, or served shards would have to know it.
const ALL: [Entry; 6] = [
    ("micro", Procedures::new),
    ("counters", Procedures::new),
    ("prototype", Procedures::new),
    ("tpcc", procedures::<Tpcc>),
    ("ycsb", procedures::<Ycsb>),
    ("bank", Procedures::new),
];

fn procedures<W: Workload + Default>() -> Procedures {
    W::default().procedures()
}

/// The names of all workloads.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// The procedures that the shards of a workload need, many of which need none; `None` if there is
/// no workload of this name.
#[must_use]
pub fn procedures_of(name: &str) -> Option<Procedures> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, make)| make())
}

/// The fields of an object.
pub(crate) fn map_of(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ycsb::Mix;

    fn registered(procedures: &Procedures) -> Vec<(u16, &str)> {
        procedures.names().collect()
    }

    #[test]
    fn served_shards_have_the_procedures_of_the_bench_whatever_its_options_are() {
        let ycsb = Ycsb { mix: Mix::E, records: 7, fields: 1, ..Ycsb::default() };
        let tpcc = Tpcc { warehouses: 9, ..Tpcc::default() };
        for (name, wanted) in [(ycsb.name(), ycsb.procedures()), (tpcc.name(), tpcc.procedures())] {
            let served = procedures_of(name).expect("it is in the list");
            assert!(!wanted.is_empty(), "{name}");
            assert_eq!(registered(&served), registered(&wanted), "{name}");
        }
        assert!(procedures_of("micro").is_some_and(|none| none.is_empty()));
        assert!(procedures_of("ycbs").is_none());
    }
}
