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
        format!(
            "an increment on each of {span} shards, {keys_per_shard} keys a shard (Zipf {skew})"
        )
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
