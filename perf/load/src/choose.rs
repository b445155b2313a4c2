//! Which keys a transaction touches, where it matters on which shards they live.
//!
//! A shard is a hash of the key, so keys of a given shard can only be found by looking. Throwing
//! away what does not fit would cost as many draws a key as there are shards. Instead a draw that
//! has no place in this transaction waits in the stash of its shard for the next one that goes
//! there: about one draw a key, however many shards there are. It changes no odds, because whether
//! a key waits depends on its shard alone.

use crate::keys::{KeyChooser, Rng};
use punctual_runtime::{Key, ShardId};
use punctual_wire::shard_of;

/// Keys that wait for one shard at most; a further one takes the place of the last.
const STASH_MAX: usize = 256;
/// Keys that are drawn when a stash is empty: so many that whose they are need not be predicted.
const BATCH: usize = 64;
/// Draws for each shard of a transaction before any shard is taken.
const SHARD_DRAWS_MAX: usize = 8;

/// A shard of the transaction being made.
#[derive(Debug, Clone, Copy)]
struct Place {
    shard: u16,
    /// Keys that are still to be found.
    lacks: u16,
}

/// Keys that wait for their shard.
#[derive(Debug, Clone)]
struct Stash {
    keys: [u64; STASH_MAX],
    len: usize,
}

impl Stash {
    #[inline]
    fn push(&mut self, key: u64) {
        let at = self.len.min(STASH_MAX - 1);
        self.keys[at] = key;
        self.len = at + 1;
    }

    #[inline]
    fn pop(&mut self) -> Option<u64> {
        self.len = self.len.checked_sub(1)?;
        self.keys.get(self.len).copied()
    }
}

/// Chooses the keys of one transaction after the other.
#[derive(Debug)]
pub(crate) struct Chooser {
    keys: KeyChooser,
    rng: Rng,
    shards: u16,
    stashes: Vec<Stash>,
    places: Vec<Place>,
    chosen: Vec<u64>,
}

impl Chooser {
    pub(crate) fn new(keys: KeyChooser, seed: u64, shards: u16, ops: u16) -> Self {
        let stashed = if shards > 1 { shards } else { 0 };
        Self {
            keys,
            rng: Rng::new(seed),
            shards,
            stashes: vec![Stash { keys: [0; STASH_MAX], len: 0 }; usize::from(stashed)],
            places: vec![Place { shard: 0, lacks: 0 }],
            chosen: Vec::with_capacity(usize::from(ops)),
        }
    }

    /// Chooses `ops` distinct keys on exactly `span` shards, spread over them as evenly as may be.
    ///
    /// # Errors
    /// A shard that has not enough keys.
    #[inline]
    pub(crate) fn choose(&mut self, ops: u16, span: u16) -> Result<(), ShardId> {
        if self.shards == 1 {
            self.keys.distinct(usize::from(ops), &mut self.chosen);
            return Ok(());
        }
        self.chosen.clear();
        self.choose_shards(ops, span);
        for at in 0..self.places.len() {
            let Place { shard, lacks } = self.places[at];
            for _ in 0..lacks {
                let key = self.key_of(shard).ok_or(ShardId(shard))?;
                self.chosen.push(key);
            }
        }
        Ok(())
    }

    /// The keys that were chosen last.
    pub(crate) fn chosen(&self) -> &[u64] {
        &self.chosen
    }

    /// The shards of the keys that were chosen last.
    pub(crate) fn involved(&self) -> impl Iterator<Item = u16> {
        self.places.iter().map(|place| place.shard)
    }

    /// The place among them of the shard of a key.
    #[inline]
    pub(crate) fn place_of(&self, key: u64) -> usize {
        if self.places.len() == 1 {
            return 0;
        }
        let shard = shard_of(Key::Word(key), self.shards);
        self.find(shard).expect("keys are chosen on the shards of the transaction alone")
    }

    fn find(&self, shard: u16) -> Option<usize> {
        self.places.iter().position(|place| place.shard == shard)
    }

    #[inline]
    fn draw(&mut self) -> (u64, u16) {
        let key = self.keys.next();
        (key, shard_of(Key::Word(key), self.shards))
    }

    /// Draws a batch of keys, each into the stash of its shard.
    fn refill(&mut self) {
        for _ in 0..BATCH {
            let (key, shard) = self.draw();
            self.stashes[usize::from(shard)].push(key);
        }
    }

    /// Decides which shards take part, most of them by a key that is drawn for them: so a shard
    /// with popular keys is popular.
    fn choose_shards(&mut self, ops: u16, span: u16) {
        self.places.clear();
        let lacks = |at: usize| ops / span + u16::from(at < usize::from(ops % span));
        // Where all take part, draws would only be wasted on waiting for the last one.
        let draws = if span < self.shards { SHARD_DRAWS_MAX * usize::from(span) } else { 0 };
        for _ in 0..draws {
            let at = self.places.len();
            if at == usize::from(span) {
                return;
            }
            let (key, shard) = self.draw();
            if self.find(shard).is_some() {
                self.stashes[usize::from(shard)].push(key);
            } else {
                self.chosen.push(key);
                self.places.push(Place { shard, lacks: lacks(at) - 1 });
            }
        }
        let start = self.rng.below(u64::from(self.shards)) as u16;
        for shard in (start..self.shards).chain(0..start) {
            let at = self.places.len();
            if at == usize::from(span) {
                return;
            }
            if self.find(shard).is_none() {
                self.places.push(Place { shard, lacks: lacks(at) });
            }
        }
    }

    /// A key of this shard that was not chosen yet.
    #[inline]
    fn key_of(&mut self, wanted: u16) -> Option<u64> {
        for is_last in [false, true] {
            while let Some(key) = self.stashes[usize::from(wanted)].pop() {
                if !self.chosen.contains(&key) {
                    return Some(key);
                }
            }
            if !is_last {
                self.refill();
            }
        }
        // Few keys or a steep skew. The most popular one from a drawn rank on is what more draws
        // would find most often.
        let Self { keys, chosen, shards, .. } = self;
        keys.next_that(|key| shard_of(Key::Word(key), *shards) == wanted && !chosen.contains(&key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn chooser(keys: u64, skew: f64, shards: u16, seed: u64) -> Chooser {
        Chooser::new(KeyChooser::new(keys, skew, seed), seed, shards, 10)
    }

    /// How many of the chosen keys are on each shard.
    fn by_shard(chooser: &Chooser) -> BTreeMap<u16, u16> {
        let mut counts = BTreeMap::new();
        for key in chooser.chosen() {
            *counts.entry(shard_of(Key::Word(*key), chooser.shards)).or_default() += 1;
        }
        counts
    }

    #[test]
    fn keys_are_distinct_and_evenly_spread_over_exactly_as_many_shards_as_wanted() {
        let cases = [(2, 1), (2, 2), (3, 2), (5, 4), (5, 5), (64, 7)];
        for ((shards, span), skew) in
            cases.into_iter().flat_map(|case| [0.0, 0.99, 8.0].map(|skew| (case, skew)))
        {
            let mut chooser = chooser(20_000, skew, shards, 3);
            for _ in 0..200 {
                chooser.choose(10, span).expect("enough keys");
                let mut sorted = chooser.chosen().to_vec();
                sorted.sort_unstable();
                sorted.dedup();
                assert_eq!(sorted.len(), 10, "{:?}", chooser.chosen());
                let counts = by_shard(&chooser);
                let (least, most) = (10 / span, 10_u16.div_ceil(span));
                assert_eq!(counts.len(), usize::from(span), "{counts:?}, skew {skew}");
                assert!(counts.values().all(|count| (least..=most).contains(count)), "{counts:?}");
                let places: Vec<u16> = chooser.involved().collect();
                assert!(places.iter().all(|shard| counts.contains_key(shard)), "{places:?}");
                for key in chooser.chosen() {
                    let shard = shard_of(Key::Word(*key), shards);
                    assert_eq!(places[chooser.place_of(*key)], shard);
                }
            }
        }
    }

    #[test]
    fn every_shard_takes_its_turn_and_no_key_is_favoured() {
        let mut chooser = chooser(100, 0.0, 5, 1);
        let (mut shards, mut keys) = ([0_u32; 5], [0_u32; 100]);
        for _ in 0..10_000 {
            chooser.choose(4, 2).expect("enough keys");
            for shard in chooser.involved() {
                shards[usize::from(shard)] += 1;
            }
            for key in chooser.chosen() {
                keys[*key as usize] += 1;
            }
        }
        // 40,000 keys: 400 each if all shards had as many keys as the others, which they nearly do.
        assert!(keys.iter().all(|count| (250..=600).contains(count)), "{keys:?}");
        assert!(shards.iter().all(|count| (1_500..=7_000).contains(count)), "{shards:?}");
    }

    #[test]
    fn the_hottest_keys_stay_hot_whatever_the_shards() {
        let mut drawn = KeyChooser::new(10_000, 1.2, 4);
        let mut expected = BTreeMap::<u64, u32>::new();
        (0..20_000).for_each(|_| *expected.entry(drawn.next()).or_default() += 1);
        let hottest = expected.iter().max_by_key(|(_, count)| **count).map(|(key, _)| *key);
        let mut chooser = chooser(10_000, 1.2, 4, 5);
        let mut found = BTreeMap::<u64, u32>::new();
        for _ in 0..5_000 {
            chooser.choose(4, 1).expect("enough keys");
            chooser.chosen().iter().for_each(|key| *found.entry(*key).or_default() += 1);
        }
        let most = found.iter().max_by_key(|(_, count)| **count).map(|(key, _)| *key);
        assert_eq!(most, hottest);
    }

    #[test]
    fn few_draws_are_wasted_however_many_shards_there_are() {
        // The stash of a chooser and a second one that draws the same keys, to count them.
        let (shards, rounds) = (16, 5_000);
        let mut chooser = chooser(1_000_000, 0.0, shards, 9);
        for _ in 0..rounds {
            chooser.choose(10, 2).expect("enough keys");
        }
        let next = chooser.keys.next();
        let mut same = KeyChooser::new(1_000_000, 0.0, 9);
        let draws = (0..).take_while(|_| same.next() != next).count();
        assert!(draws < rounds * 10 * 3 / 2, "{draws} draws for {} keys", rounds * 10);
    }

    #[test]
    fn a_shard_without_enough_keys_is_named() {
        let mut chooser = chooser(10, 0.0, 2, 1);
        // Six keys of each: one of the two has five at most.
        let ShardId(poor) = chooser.choose(12, 2).expect_err("too few keys");
        let keys = (0..10).filter(|key| shard_of(Key::Word(*key), 2) == poor);
        assert!(keys.count() < 6, "shard {poor} has enough");
    }
}
