//! The prototype workload: what the research prototype Luigi sends, so that its published table can
//! be laid beside ours.
//!
//! A transaction has one operation on each shard, and reads all of its keys or writes all of them.
//! A write is an increment here, so that the store can be checked; there it is a value that nobody
//! looks at again.

use crate::choose::Chooser;
use crate::counting::{Adds, Counted, Counting, Counts, Maker};
use crate::keys::{KeyChooser, Rng};
use crate::micro::SPAN_MAX;
use crate::workload::{Place, Workload, map_of};
use punctual_runtime::{Limits, Transaction, WordOp};
use serde_json::{Map, Value, json};

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Prototype {
    /// Share of the transactions that read; the others write.
    pub reads: f64,
    /// Keys, spread over all shards.
    pub keys: u64,
}

impl Workload for Prototype {
    type Generator = Counting<PrototypeMaker>;

    fn name(&self) -> &'static str {
        "prototype"
    }

    fn kinds(&self) -> &'static [&'static str] {
        &["read", "write"]
    }

    fn check(&self, shards: u16, _limits: &Limits) -> Result<(), String> {
        if shards > SPAN_MAX {
            return Err(format!(
                "a transaction of this workload touches all --shards, and {shards} are more than \
                 the {SPAN_MAX} that one may touch"
            ));
        }
        match self.keys >= u64::from(shards) * 64 {
            true => Ok(()),
            false => Err(format!("--keys {} are too few; give 64 a shard at least", self.keys)),
        }
    }

    fn parameters(&self) -> Map<String, Value> {
        let Self { reads, keys } = self;
        map_of(json!({ "reads": reads, "keys": keys }))
    }

    fn describe(&self) -> String {
        let Self { reads, keys } = self;
        format!("an operation on every shard, {:.0} % read, {keys} keys", reads * 100.0)
    }

    fn shards_each(&self, shards: u16) -> f64 {
        shards.into()
    }

    fn generator(&self, place: &Place) -> Counting<PrototypeMaker> {
        let mut rng = Rng::new(place.own_seed());
        let keys = KeyChooser::new(self.keys, 0.0, rng.next_u64());
        let chooser = Chooser::new(keys, rng.next_u64(), place.shards, place.shards);
        let maker = PrototypeMaker { chooser, rng, reads: self.reads, shards: place.shards };
        Counting::new(maker, place, self.keys, (8, 0), place.shards)
    }

    fn check_store(&self, done: &Counts, found: &Counted) -> Result<(), String> {
        done.check(found)
    }
}

/// Makes the transactions of one worker.
#[derive(Debug)]
pub struct PrototypeMaker {
    chooser: Chooser,
    rng: Rng,
    reads: f64,
    shards: u16,
}

impl Maker for PrototypeMaker {
    #[inline]
    fn make(&mut self, transaction: &mut Transaction, adds: &mut Vec<Adds>) -> Result<u8, String> {
        let Self { chooser, rng, reads, shards } = self;
        let few = |shard| format!("{shard} has not keys enough; give more --keys");
        chooser.choose(*shards, *shards).map_err(few)?;
        let is_add = !rng.chance(*reads);
        let count = u16::from(is_add);
        adds.extend(chooser.involved().map(|shard| Adds { shard, count }));
        for &key in chooser.chosen() {
            transaction.word(WordOp { key, is_add, delta: i64::from(is_add) });
        }
        Ok(u8::from(is_add))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Makes 2,000 transactions, sees that each is one of the two kinds, and counts the writes.
    fn writes(reads: f64, shards: u16) -> u32 {
        let (limits, mut writes) = (Limits::DEFAULT, 0);
        let prototype = Prototype { reads, keys: 64 * u64::from(shards) };
        assert_eq!(prototype.check(shards, &limits), Ok(()));
        let place = Place { worker: 0, workers: 1, shards, slots: 1, limits, seed: 3 };
        let mut maker = prototype.generator(&place).into_maker();
        let mut transaction = Transaction::new(shards, limits);
        let all: BTreeSet<u16> = (0..shards).collect();
        for _ in 0..2_000 {
            let mut adds = Vec::new();
            let kind = maker.make(&mut transaction, &mut adds).expect("keys enough");
            let touched: BTreeSet<u16> = transaction.shards().map(|shard| shard.0).collect();
            assert_eq!(touched, all, "an operation on every shard");
            assert_eq!(transaction.op_count(), shards);
            // All of it reads, or all of it writes.
            assert!(adds.iter().all(|adds| adds.count == u16::from(kind)), "{kind}: {adds:?}");
            assert_eq!(adds.iter().map(|adds| adds.shard).collect::<BTreeSet<_>>(), touched);
            writes += u32::from(kind);
            transaction.clear();
        }
        writes
    }

    #[test]
    fn a_transaction_has_one_operation_on_every_shard_and_all_of_them_read_or_all_write() {
        for shards in [1, 2, 5] {
            assert_eq!((writes(0.0, shards), writes(1.0, shards)), (2_000, 0));
            // 600 are expected; the standard deviation is 20.
            assert!((480..=720).contains(&writes(0.7, shards)));
        }
    }

    #[test]
    fn more_shards_than_a_transaction_may_touch_and_too_few_keys_are_refused() {
        let refused = |shards, keys| {
            let prototype = Prototype { reads: 0.5, keys };
            prototype.check(shards, &Limits::DEFAULT).expect_err("it does not fit")
        };
        assert!(refused(65, 1_000_000).contains("65 are more than the 64"));
        assert!(refused(3, 191).contains("--keys 191 are too few"));
    }
}
