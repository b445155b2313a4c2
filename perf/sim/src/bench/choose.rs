//! Which keys a transaction has.
//!
//! The rules are those of `bench micro`: distinct keys on exactly as many shards as wanted, spread
//! over them evenly, drawn from one law of popularity, by which shards are drawn as well. Here all
//! coordinators share the tables, since there may be ten thousand of them.

use super::config::SimBenchError;
use super::random::fraction;
use crate::rng::Rng;
use punctual_wire::{Key, shard_of};

/// Draws of shards, for each of those wanted, before the rest is taken in turn.
const SHARD_DRAWS_MAX: usize = 64;
/// Draws of keys that may hit one taken before, until the neighbours are tried.
const KEY_DRAWS_MAX: usize = 32;

/// Keys in the order of their popularity, with the sums of their weights if they differ.
#[derive(Debug)]
struct Ranks {
    keys: Vec<u32>,
    sums: Option<Vec<f64>>,
}

impl Ranks {
    fn new(keys: Vec<u32>, skew: f64) -> Self {
        let mut sum = 0.0;
        let mut upto = |key: &u32| {
            // The key is its own rank, counted from zero: which shard it is on is a hash.
            sum += (f64::from(*key) + 1.0).powf(-skew);
            sum
        };
        let sums = (skew > 0.0).then(|| keys.iter().map(&mut upto).collect());
        Self { keys, sums }
    }

    /// Where a drawn key stands.
    fn draw(&self, rng: &mut Rng) -> usize {
        let Some(sums) = &self.sums else { return rng.index(self.keys.len()) };
        let total = sums.last().copied().unwrap_or(0.0);
        let drawn = fraction(rng) * total;
        sums.partition_point(|sum| *sum <= drawn).min(self.keys.len() - 1)
    }
}

/// All keys.
#[derive(Debug)]
pub(super) struct Keyspace {
    all: Ranks,
    by_shard: Vec<Ranks>,
    shard_of: Vec<u16>,
}

/// The keys of one transaction.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// Its keys, those of one shard together.
    pub(super) keys: Vec<u64>,
    /// Its shards, and how many of the keys each has.
    pub(super) shards: Vec<(u16, u16)>,
}

impl Keyspace {
    /// The keys from 0 to `keys` - 1 on so many shards.
    pub(super) fn new(keys: u32, skew: f64, shards: u16) -> Self {
        let shard_of: Vec<u16> =
            (0..keys).map(|key| shard_of(Key::Word(u64::from(key)), shards)).collect();
        let mut by_shard = vec![Vec::new(); usize::from(shards)];
        for (key, shard) in (0..).zip(&shard_of) {
            by_shard[usize::from(*shard)].push(key);
        }
        let by_shard = by_shard.into_iter().map(|keys| Ranks::new(keys, skew)).collect();
        Self { all: Ranks::new((0..keys).collect(), skew), by_shard, shard_of }
    }

    /// Whether each shard has so many keys.
    pub(super) fn check(&self, needed: u16) -> Result<(), SimBenchError> {
        let counts = self.by_shard.iter().map(|ranks| ranks.keys.len());
        match counts.zip(0_u16..).find(|(count, _)| *count < usize::from(needed)) {
            None => Ok(()),
            Some((count, shard)) => {
                let keys = self.all.keys.len();
                Err(SimBenchError::TooFewKeys { shard, count, keys, needed })
            }
        }
    }

    /// The keys of a shard.
    pub(super) fn keys_of(&self, shard: u16) -> impl Iterator<Item = u64> {
        self.by_shard[usize::from(shard)].keys.iter().map(|key| u64::from(*key))
    }

    /// Chooses `ops` keys on exactly `span` shards.
    pub(super) fn choose(&self, rng: &mut Rng, (ops, span): (u16, u16), choice: &mut Choice) {
        choice.keys.clear();
        choice.shards.clear();
        self.choose_shards(rng, span, choice);
        let (each, more) = (ops / span, ops % span);
        for at in 0..choice.shards.len() {
            let (shard, count) = &mut choice.shards[at];
            *count = each + u16::from(at < usize::from(more));
            let (shard, count) = (*shard, *count);
            let first = choice.keys.len();
            for _ in 0..count {
                let key = self.draw_other(rng, shard, &choice.keys[first..]);
                choice.keys.push(key);
            }
        }
    }

    /// Draws shards as the keys on them are popular. Where all take part there is nothing to draw.
    fn choose_shards(&self, rng: &mut Rng, span: u16, choice: &mut Choice) {
        let shards = self.by_shard.len();
        let span = usize::from(span);
        let draws = if span < shards { SHARD_DRAWS_MAX * span } else { 0 };
        for _ in 0..draws {
            if choice.shards.len() == span {
                return;
            }
            let shard = self.shard_of[self.all.draw(rng)];
            choice.add(shard);
        }
        let start = rng.index(shards);
        for shard in (start..shards).chain(0..start) {
            if choice.shards.len() == span {
                return;
            }
            choice.add(shard as u16);
        }
    }

    /// A key of a shard that was not taken yet.
    fn draw_other(&self, rng: &mut Rng, shard: u16, taken: &[u64]) -> u64 {
        let ranks = &self.by_shard[usize::from(shard)];
        let key_at = |at: usize| u64::from(ranks.keys[at % ranks.keys.len()]);
        let mut at = 0;
        for _ in 0..KEY_DRAWS_MAX {
            at = ranks.draw(rng);
            if !taken.contains(&key_at(at)) {
                return key_at(at);
            }
        }
        // There are more keys than are taken, so one of as many neighbours is free.
        let mut neighbours = (at..=at + taken.len()).map(key_at);
        neighbours.find(|key| !taken.contains(key)).unwrap_or_else(|| key_at(at))
    }
}

impl Choice {
    fn add(&mut self, shard: u16) {
        if self.shards.iter().all(|(other, _)| *other != shard) {
            self.shards.push((shard, 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_distinct_and_evenly_spread_over_exactly_as_many_shards_as_wanted() {
        let mut rng = Rng::new(1, 0);
        let mut choice = Choice::default();
        for skew in [0.0, 0.99, 5.0] {
            for (shards, span) in [(1, 1), (2, 1), (2, 2), (7, 3), (16, 16)] {
                let keyspace = Keyspace::new(1_000, skew, shards);
                keyspace.check(20).expect("enough keys");
                for _ in 0..200 {
                    keyspace.choose(&mut rng, (17, span), &mut choice);
                    let mut sorted = choice.keys.clone();
                    sorted.sort_unstable();
                    sorted.dedup();
                    assert_eq!(sorted.len(), 17);
                    assert_eq!(choice.shards.len(), usize::from(span));
                    let shards_of = |key: &u64| keyspace.shard_of[*key as usize];
                    for (shard, count) in &choice.shards {
                        let found = choice.keys.iter().filter(|key| shards_of(key) == *shard);
                        assert_eq!(found.count(), usize::from(*count));
                        assert!((17 / span..=17_u16.div_ceil(span)).contains(count));
                    }
                }
            }
        }
    }

    #[test]
    fn skewed_keys_follow_the_law_at_the_first_ranks() {
        let (keys, draws, skew) = (1_000, 200_000, 0.99);
        let keyspace = Keyspace::new(keys, skew, 1);
        let mut counts = vec![0_u32; keys as usize];
        let (mut rng, mut choice) = (Rng::new(7, 0), Choice::default());
        for _ in 0..draws {
            keyspace.choose(&mut rng, (1, 1), &mut choice);
            counts[choice.keys[0] as usize] += 1;
        }
        let weight = |rank: u32| (f64::from(rank) + 1.0).powf(-skew);
        let total: f64 = (0..keys).map(weight).sum();
        for rank in 0..10 {
            let share = weight(rank) / total;
            let expected = share * f64::from(draws);
            let deviation = (expected * (1.0 - share)).sqrt();
            let found = f64::from(counts[rank as usize]);
            assert!((found - expected).abs() < 5.0 * deviation, "{rank}: {found}, {expected}");
        }
    }

    #[test]
    fn a_shard_without_enough_keys_is_named() {
        let error = Keyspace::new(20, 0.0, 4).check(10).expect_err("too few").to_string();
        assert!(error.contains("of 20 keys"), "{error}");
    }
}
