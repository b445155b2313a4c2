//! Which keys a workload touches, uniform or skewed, and the small generator behind every choice.
//!
//! A skewed workload has to heat the same keys on every coordinator, whatever their seeds: if each
//! had favourites of its own, there would be no contention to measure. The order of popularity is
//! therefore a fixed permutation of the key space. It also scatters the hot keys, so that a shard
//! map by ranges or a cache line with several keys does not flatter the result.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};

/// Draws that may hit a key already taken before [`KeyChooser::distinct`] stops hoping.
const RETRIES_MAX: usize = 32;
/// 2^-53: the step between neighbouring values of [`Rng::next_f64`].
const UNIT_STEP: f64 = 1.0 / (1_u64 << 53) as f64;

/// A small, fast generator with a seed: xoshiro256++ by Blackman and Vigna.
///
/// The algorithm is named, not "whatever is small", so that a seed gives the same run next year.
#[derive(Debug, Clone)]
pub struct Rng {
    inner: Xoshiro256PlusPlus,
}

impl Rng {
    /// The generator of this seed. Neighbouring seeds give unrelated streams.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { inner: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }

    /// 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.inner.next_u64()
    }

    /// A number in `0..bound` by one multiplication; 0 where `bound` is 0. No value is favoured by
    /// more than `bound / 2^64`.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `[0, 1)`.
    #[inline]
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * UNIT_STEP
    }

    /// A rank, counted from 0, by this law.
    pub(crate) fn rank(&mut self, law: &Zipf<f64>) -> u64 {
        law.sample(&mut self.inner) as u64 - 1
    }

    /// True with probability `p`: never where `p` is at most 0, always where it is at least 1.
    #[inline]
    pub fn chance(&mut self, p: f64) -> bool {
        self.next_f64() < p
    }
}

/// Chooses keys of `0..keys`, all alike or by Zipf's law.
#[derive(Debug, Clone)]
pub struct KeyChooser {
    keys: u64,
    rng: Rng,
    /// None where every key is as likely as the next.
    zipf: Option<Zipf<f64>>,
    scramble: Scramble,
    /// The whole key space while it is shuffled; used for tiny spaces only and kept for reuse.
    scratch: Vec<u64>,
}

impl KeyChooser {
    /// Chooses among `keys` keys. With `skew` 0 all are alike; otherwise the key of rank r, counted
    /// from 1, has a probability proportional to `1 / r^skew`. The ranks of the keys depend on
    /// `keys` alone, the order of the draws on the seed.
    ///
    /// The law is sampled by rejection (J. Crease's method, in `rand_distr`), which needs no table
    /// and costs the same for any number of keys: a few powers a draw, where a uniform key costs
    /// one step of the generator and a multiplication.
    ///
    /// # Panics
    /// When there is no key, or when the skew is negative or not finite.
    #[must_use]
    pub fn new(keys: u64, skew: f64, seed: u64) -> Self {
        assert!(keys > 0, "a workload needs at least one key");
        assert!(skew.is_finite() && skew >= 0.0, "skew is {skew}; it must be a number from 0 up");
        let zipf = (skew > 0.0).then(|| {
            Zipf::new(keys as f64, skew).expect("a finite skew and at least one key were checked")
        });
        let scramble = Scramble::new(keys);
        Self { keys, rng: Rng::new(seed), zipf, scramble, scratch: Vec::new() }
    }

    /// How many keys there are to choose from.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// A key in `0..keys`.
    #[allow(clippy::should_implement_trait, reason = "there is always a next key, so no Option")]
    #[inline]
    pub fn next(&mut self) -> u64 {
        let rank = self.next_rank();
        self.key_of(rank)
    }

    /// Replaces the content of `out` by `count` keys, no two alike, in the order of their drawing.
    ///
    /// More than half of all keys are drawn without regard to the skew: hardly a key is left out,
    /// and waiting for the rarest would take for ever.
    ///
    /// # Panics
    /// When there are fewer keys than asked for.
    pub fn distinct(&mut self, count: usize, out: &mut Vec<u64>) {
        let keys = self.keys;
        assert!(count as u64 <= keys, "{count} distinct keys are asked of only {keys}");
        out.clear();
        if count as u64 > keys / 2 {
            self.shuffle_prefix(count, out);
        } else {
            while out.len() < count {
                let key = self.next_outside(out);
                out.push(key);
            }
        }
    }

    /// A key that is not among those taken. A transaction has few keys, so a scan beats a set.
    #[inline]
    fn next_outside(&mut self, taken: &[u64]) -> u64 {
        for _ in 0..RETRIES_MAX {
            let key = self.next();
            if !taken.contains(&key) {
                return key;
            }
        }
        // Under a heavy skew nearly all draws are the same few keys. At most `taken.len()` steps
        // fail, since the ranks have different keys.
        self.next_that(|key| !taken.contains(&key)).expect("fewer keys are taken than there are")
    }

    /// The first key that `fits`, going down the ranks from a drawn one; `None` if none does.
    ///
    /// For what draws alone hardly ever find: the cost is one draw and the steps that fail.
    pub fn next_that(&mut self, fits: impl Fn(u64) -> bool) -> Option<u64> {
        let start = self.next_rank();
        let mut keys = (start..self.keys).chain(0..start).map(|rank| self.key_of(rank));
        keys.find(|key| fits(*key))
    }

    /// The first steps of a Fisher-Yates shuffle, which cost no retries however few keys there are.
    fn shuffle_prefix(&mut self, count: usize, out: &mut Vec<u64>) {
        self.scratch.clear();
        self.scratch.extend(0..self.keys);
        for place in 0..count {
            let rest = (self.scratch.len() - place) as u64;
            let drawn = place + self.rng.below(rest) as usize;
            self.scratch.swap(place, drawn);
        }
        out.extend_from_slice(&self.scratch[..count]);
    }

    #[inline(always)]
    fn next_rank(&mut self) -> u64 {
        match self.zipf {
            None => self.rng.below(self.keys),
            // Clamped because rounding at the far end of the tail may step over the last rank.
            Some(zipf) => (zipf.sample(&mut self.rng.inner) as u64).clamp(1, self.keys) - 1,
        }
    }

    #[inline]
    fn key_of(&self, rank: u64) -> u64 {
        if self.zipf.is_some() { self.scramble.apply(rank) } else { rank }
    }
}

/// A fixed permutation of `0..keys`.
///
/// Each step of a round (add, multiply by an odd number, fold the high bits into the low ones) can
/// be undone within the next power of two. Applying the round until the result lies below `keys`
/// keeps that property for any number of keys: the cycle of a rank always leads back into the range
/// ("cycle walking": Black and Rogaway, 2002). Two rounds are the average at worst.
#[derive(Debug, Clone, Copy)]
struct Scramble {
    keys: u64,
    mask: u64,
    shift: u32,
}

impl Scramble {
    fn new(keys: u64) -> Self {
        let bits = u64::BITS - (keys - 1).leading_zeros();
        let mask = u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0);
        Self { keys, mask, shift: (bits / 2).max(1) }
    }

    #[inline]
    fn apply(self, rank: u64) -> u64 {
        let mut key = self.round(rank);
        while key >= self.keys {
            key = self.round(key);
        }
        key
    }

    #[inline]
    fn round(self, value: u64) -> u64 {
        let mut bits = value.wrapping_add(0x9e37_79b9_7f4a_7c15) & self.mask;
        bits = bits.wrapping_mul(0xbf58_476d_1ce4_e5b9) & self.mask;
        bits ^= bits >> self.shift;
        bits = bits.wrapping_mul(0x94d0_49bb_1331_11eb) & self.mask;
        bits ^ (bits >> self.shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each key was drawn.
    fn counts(chooser: &mut KeyChooser, draws: usize) -> Vec<u64> {
        let mut counts = vec![0; usize::try_from(chooser.keys()).expect("a small key space")];
        for _ in 0..draws {
            counts[chooser.next() as usize] += 1;
        }
        counts
    }

    fn first(keys: u64, skew: f64, seed: u64) -> Vec<u64> {
        let mut chooser = KeyChooser::new(keys, skew, seed);
        (0..64).map(|_| chooser.next()).collect()
    }

    #[test]
    fn uniform_keys_are_neither_uneven_nor_too_even() {
        let expected = 1_000.0;
        let counts = counts(&mut KeyChooser::new(100, 0.0, 1), 100_000);
        let chi_squared: f64 =
            counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
        // 99 degrees of freedom: mean 99, standard deviation 14.
        assert!((50.0..170.0).contains(&chi_squared), "chi squared is {chi_squared}");
    }

    #[test]
    fn skewed_keys_follow_the_law_at_the_first_ranks() {
        let (keys, draws) = (1_000_u64, 200_000_usize);
        for skew in [0.5, 0.99, 1.0, 1.5] {
            let counts = counts(&mut KeyChooser::new(keys, skew, 7), draws);
            let total_weight: f64 = (1..=keys).map(|rank| (rank as f64).powf(-skew)).sum();
            let scramble = Scramble::new(keys);
            for rank in 1..=10_u64 {
                let p = (rank as f64).powf(-skew) / total_weight;
                let expected = p * draws as f64;
                let deviation = (expected * (1.0 - p)).sqrt();
                let found = counts[scramble.apply(rank - 1) as usize] as f64;
                assert!(
                    (found - expected).abs() < 5.0 * deviation,
                    "skew {skew}, rank {rank}: {found} draws, {expected} expected"
                );
            }
        }
    }

    #[test]
    fn the_order_of_popularity_is_a_permutation_for_any_number_of_keys() {
        for keys in [1_u64, 2, 3, 5, 7, 8, 9, 100, 1_000, 1_023, 1_024, 1_025, 65_537] {
            let scramble = Scramble::new(keys);
            let mut found: Vec<u64> = (0..keys).map(|rank| scramble.apply(rank)).collect();
            found.sort_unstable();
            assert!(found.iter().copied().eq(0..keys), "{keys} keys");
        }
    }

    #[test]
    fn the_widest_key_space_is_scrambled_too() {
        let scramble = Scramble::new(u64::MAX);
        assert_ne!(scramble.apply(0), scramble.apply(u64::MAX - 1));
        assert!(scramble.apply(u64::MAX - 1) < u64::MAX);
    }

    #[test]
    fn hot_keys_are_not_neighbours() {
        let scramble = Scramble::new(1_000_000);
        let mut hottest: Vec<u64> = (0..16).map(|rank| scramble.apply(rank)).collect();
        hottest.sort_unstable();
        for pair in hottest.windows(2) {
            assert!(pair[1] - pair[0] > 64, "{pair:?}");
        }
    }

    #[test]
    fn hot_keys_are_the_same_for_every_seed() {
        let hottest = |seed| {
            let counts = counts(&mut KeyChooser::new(500, 1.2, seed), 20_000);
            (0..counts.len()).max_by_key(|key| counts[*key])
        };
        assert_eq!(hottest(1), hottest(2));
    }

    #[test]
    fn a_seed_fixes_the_draws() {
        for skew in [0.0, 0.99] {
            assert_eq!(first(10_000, skew, 5), first(10_000, skew, 5));
            assert_ne!(first(10_000, skew, 5), first(10_000, skew, 6));
        }
    }

    #[test]
    fn distinct_keys_are_distinct_and_in_range() {
        // The last two skews are so heavy that draws alone would hardly ever find a fourth key.
        for (keys, count, skew) in
            [(1, 1, 0.99), (2, 1, 0.0), (8, 4, 0.0), (9, 9, 0.0), (10, 7, 0.99), (1_000, 64, 0.0)]
                .into_iter()
                .chain([(1_000, 64, 0.99), (1_000, 64, 8.0), (8, 4, 40.0)])
        {
            let mut chooser = KeyChooser::new(keys, skew, 3);
            let mut drawn = Vec::new();
            for _ in 0..100 {
                chooser.distinct(count, &mut drawn);
                let mut sorted = drawn.clone();
                sorted.sort_unstable();
                sorted.dedup();
                assert_eq!(sorted.len(), count, "{count} of {keys} keys, skew {skew}: {drawn:?}");
                assert!(sorted.last() < Some(&keys), "{drawn:?}");
            }
        }
    }

    #[test]
    fn distinct_keys_of_a_tiny_space_are_all_equally_likely() {
        let mut chooser = KeyChooser::new(4, 0.0, 11);
        let (mut drawn, mut counts) = (Vec::new(), [0_u32; 4]);
        for _ in 0..4_000 {
            chooser.distinct(3, &mut drawn);
            for key in &drawn {
                counts[*key as usize] += 1;
            }
        }
        // Each key is in three of four draws; the standard deviation is 27.
        assert!(counts.iter().all(|count| (2_860..=3_140).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_key_that_fits_best_is_found_even_if_it_is_hardly_ever_drawn() {
        let mut chooser = KeyChooser::new(1_000, 40.0, 3);
        // Every draw is the hottest key, so that the walk begins there.
        let hottest = chooser.next();
        let second = chooser.next_that(|key| key != hottest).expect("many others");
        assert_eq!(second, chooser.key_of(1));
        for wanted in [0, 500, 999] {
            assert_eq!(chooser.next_that(|key| key == wanted), Some(wanted));
        }
        assert_eq!(chooser.next_that(|key| key >= 1_000), None);
    }

    #[test]
    fn repeated_draws_do_not_grow_the_buffers() {
        let mut chooser = KeyChooser::new(10, 0.0, 2);
        let mut drawn = Vec::new();
        chooser.distinct(8, &mut drawn);
        let before = (chooser.scratch.capacity(), drawn.capacity());
        for _ in 0..1_000 {
            chooser.distinct(8, &mut drawn);
        }
        assert_eq!((chooser.scratch.capacity(), drawn.capacity()), before);
    }

    #[test]
    #[should_panic(expected = "3 distinct keys are asked of only 2")]
    fn more_distinct_keys_than_there_are_is_a_mistake() {
        KeyChooser::new(2, 0.0, 1).distinct(3, &mut Vec::new());
    }

    #[test]
    fn chances_come_true_as_often_as_they_say() {
        let mut rng = Rng::new(9);
        let hits = (0..100_000).filter(|_| rng.chance(0.3)).count();
        assert!((29_000..31_000).contains(&hits), "{hits} of 100000");
        assert!((0..1_000).all(|_| rng.chance(1.0)));
        assert!(!(0..1_000).any(|_| rng.chance(0.0)));
    }
}
