//! The counters workload: `MicroBench` of Tiga (Geng et al., "Tiga: Accelerating Geo-Distributed
//! Transactions with Synchronized Clocks", SOSP 2025).
//!
//! A transaction increments three counters, each on another of three shards, and returns what they
//! are then. There are a million keys a shard, of which some are more popular by Zipf's law.

use crate::choose::Chooser;
use crate::counting::{Adds, Counted, Counting, Counts, Maker};
use crate::keys::{KeyChooser, Rng};
use crate::micro::SPAN_MAX;
use crate::workload::{Place, Workload, map_of};
use punctual_runtime::{Limits, Transaction, WordOp};
use serde_json::{Map, Value, json};

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Counters {
    /// Shards that a transaction touches, and so counters that it increments.
    pub span: u16,
    /// Counters for each shard.
    pub keys_per_shard: u64,
    /// Exponent of the keys' popularity; 0 is uniform.
    pub skew: f64,
}

impl Counters {
    fn keys(&self, shards: u16) -> u64 {
        self.keys_per_shard.saturating_mul(shards.into())
    }
}

impl Workload for Counters {
    type Generator = Counting<CountersMaker>;

    fn name(&self) -> &'static str {
        "counters"
    }

    fn check(&self, shards: u16, _limits: &Limits) -> Result<(), String> {
        let most = shards.min(SPAN_MAX);
        if !(1..=most).contains(&self.span) {
            let span = self.span;
            return Err(format!(
                "--span {span} is outside 1..={most}; there are {shards} --shards"
            ));
        }
        // Fewer might leave a shard without any: keys are spread by a hash.
        match self.keys_per_shard {
            0..64 => Err(format!("--keys {} are too few; give 64 at least", self.keys_per_shard)),
            _ => Ok(()),
        }
    }

    fn parameters(&self) -> Map<String, Value> {
        let Self { span, keys_per_shard, skew } = self;
        map_of(json!({ "ops": span, "span": span, "keys": keys_per_shard, "skew": skew }))
    }

    fn describe(&self) -> String {
        let Self { span, keys_per_shard, skew } = self;
        let shards = match span {
            1 => "one shard".to_owned(),
            _ => format!("each of {span} shards"),
        };
        format!("an increment on {shards}, {keys_per_shard} keys a shard (Zipf {skew})")
    }

    fn shards_each(&self, _shards: u16) -> f64 {
        self.span.into()
    }

    fn generator(&self, place: &Place) -> Counting<CountersMaker> {
        let mut rng = Rng::new(place.own_seed());
        let keys = self.keys(place.shards);
        let chosen = KeyChooser::new(keys, self.skew, rng.next_u64());
        let chooser = Chooser::new(chosen, rng.next_u64(), place.shards, self.span);
        Counting::new(CountersMaker { chooser, span: self.span }, place, keys, (8, 0), self.span)
    }

    fn check_store(&self, done: &Counts, found: &Counted) -> Result<(), String> {
        done.check(found)
    }
}

/// Makes the transactions of one worker.
#[derive(Debug)]
pub struct CountersMaker {
    chooser: Chooser,
    span: u16,
}

impl Maker for CountersMaker {
    #[inline]
    fn make(&mut self, transaction: &mut Transaction, adds: &mut Vec<Adds>) -> Result<u8, String> {
        let Self { chooser, span } = self;
        let few = |shard| format!("{shard} has not keys enough; give more --keys");
        chooser.choose(*span, *span).map_err(few)?;
        adds.extend(chooser.involved().map(|shard| Adds { shard, count: 1 }));
        for &key in chooser.chosen() {
            transaction.word(WordOp { key, is_add: true, delta: 1 });
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Generator as _;
    use std::collections::BTreeSet;

    #[test]
    fn a_transaction_adds_one_to_one_key_on_each_of_as_many_shards_as_it_spans() {
        let limits = Limits::DEFAULT;
        for (span, shards) in [(1, 1), (1, 3), (3, 3), (3, 5)] {
            let counters = Counters { span, keys_per_shard: 64, skew: 0.99 };
            assert_eq!(counters.check(shards, &limits), Ok(()));
            let place = Place { worker: 1, workers: 2, shards, slots: 1, limits, seed: 3 };
            let mut maker = counters.generator(&place).into_maker();
            let mut transaction = Transaction::new(shards, limits);
            let mut seen = BTreeSet::new();
            for _ in 0..500 {
                let mut adds = Vec::new();
                assert_eq!(maker.make(&mut transaction, &mut adds), Ok(0));
                let touched: BTreeSet<u16> = transaction.shards().map(|shard| shard.0).collect();
                assert_eq!((transaction.op_count(), touched.len()), (span, usize::from(span)));
                assert!(adds.iter().all(|adds| adds.count == 1), "{adds:?}");
                assert_eq!(adds.iter().map(|adds| adds.shard).collect::<BTreeSet<_>>(), touched);
                seen.extend(touched);
                transaction.clear();
            }
            assert_eq!(seen.len(), usize::from(shards), "every shard takes its turn");
        }
    }

    #[test]
    fn what_does_not_fit_the_cluster_is_refused() {
        let refused = |span, keys_per_shard, shards| {
            let counters = Counters { span, keys_per_shard, skew: 0.5 };
            counters.check(shards, &Limits::DEFAULT).expect_err("it does not fit")
        };
        assert!(refused(0, 64, 3).contains("--span 0 is outside 1..=3"));
        assert!(refused(4, 64, 3).contains("--span 4 is outside 1..=3"));
        assert!(refused(65, 64, 100).contains("--span 65 is outside 1..=64"));
        assert!(refused(3, 63, 3).contains("--keys 63 are too few"));
    }

    #[test]
    fn every_worker_loads_and_finds_its_part_of_the_keys_of_all_shards() {
        let counters = Counters { span: 2, keys_per_shard: 100, skew: 0.5 };
        let (limits, mut keys) = (Limits::DEFAULT, 0);
        for worker in 0..3 {
            let place = Place { worker, workers: 3, shards: 2, slots: 1, limits, seed: 3 };
            let mut generator = counters.generator(&place);
            let mut transaction = Transaction::new(2, limits);
            while generator.load(&mut transaction) {
                assert_eq!(transaction.shard_count(), 1);
                keys += transaction.op_count();
                transaction.clear();
            }
        }
        assert_eq!(keys, 200);
    }
}
