//! Makes the transactions of one worker.

use super::Micro;
use crate::choose::Chooser;
use crate::counting::{Adds, Maker};
use crate::keys::{KeyChooser, Rng};
use crate::workload::Place;
use punctual_runtime::{Transaction, WordOp};

/// Makes the transactions of one worker.
#[derive(Debug)]
pub struct MicroMaker {
    micro: Micro,
    chooser: Chooser,
    rng: Rng,
}

impl MicroMaker {
    pub(super) fn new(micro: &Micro, place: &Place) -> Self {
        let mut rng = Rng::new(place.own_seed());
        let keys = KeyChooser::new(micro.keys, micro.skew, rng.next_u64());
        let chooser = Chooser::new(keys, rng.next_u64(), place.shards, micro.ops);
        Self { chooser, rng, micro: micro.clone() }
    }
}

impl Maker for MicroMaker {
    #[inline]
    fn make(&mut self, transaction: &mut Transaction, adds: &mut Vec<Adds>) -> Result<u8, String> {
        let Micro { ops, reads, cross, span, .. } = self.micro;
        let is_cross = cross > 0.0 && self.rng.chance(cross);
        self.chooser.choose(ops, if is_cross { span } else { 1 }).map_err(|shard| {
            format!("{shard} has not keys enough for {ops} operations; give more --keys")
        })?;
        adds.extend(self.chooser.involved().map(|shard| Adds { shard, count: 0 }));
        for &key in self.chooser.chosen() {
            let is_add = !self.rng.chance(reads);
            transaction.word(WordOp { key, is_add, delta: i64::from(is_add) });
            adds[self.chooser.place_of(key)].count += u16::from(is_add);
        }
        Ok(0)
    }
}
