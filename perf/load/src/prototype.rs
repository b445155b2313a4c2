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
