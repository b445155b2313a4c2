//! Chance, all of it from a seed, with integers only: the same on every machine.

/// The generator `SplitMix64` (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
/// generators").
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    /// A generator of one of the independent streams of a seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Self(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        // Neighbouring seeds must not begin alike.
        Self(rng.draw())
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `bound` - 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound.max(1))) >> 64) as u64
    }

    /// An index of a list with so many items.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        debug_assert!(low <= high, "a range has an end");
        low + self.below(high.abs_diff(low) + 1).cast_signed()
    }

    /// True in so many of a million cases.
    pub(crate) fn chance(&mut self, per_million: u32) -> bool {
        self.below(1_000_000) < u64::from(per_million)
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// An exponentially distributed number with about this mean. The logarithm is linear between
    /// powers of two, which is near enough and needs no floating point.
    pub(crate) fn exponential(&mut self, mean: i64) -> i64 {
        let drawn = self.draw() | 1;
        let zeros = i64::from(drawn.leading_zeros());
        let mantissa = (((drawn << zeros) >> 47) & 0xffff).cast_signed();
        // -log2 of the drawn fraction in 16 binary digits, times ln 2.
        let log2 = (zeros << 16) + (0xffff - mantissa);
        ((i128::from(mean) * i128::from(log2) * 45_426) >> 32) as i64
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.index(end + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_numbers_have_their_mean_and_a_tail() {
        let mut rng = Rng::new(1, 0);
        let drawn: Vec<i64> = (0..100_000).map(|_| rng.exponential(1_000)).collect();
        let mean = drawn.iter().sum::<i64>() / 100_000;
        assert!((900..1_100).contains(&mean), "{mean}");
        assert!(drawn.iter().all(|it| *it >= 0) && drawn.iter().any(|it| *it > 5_000));
    }

    #[test]
    fn ranges_are_reached_at_both_ends_and_never_left() {
        let mut rng = Rng::new(2, 0);
        let drawn: Vec<i64> = (0..1_000).map(|_| rng.between(-2, 3)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&-2), Some(&3)));
        let mut items = [0, 1, 2, 3, 4, 5, 6, 7];
        rng.shuffle(&mut items);
        assert_ne!(items, [0, 1, 2, 3, 4, 5, 6, 7]);
        items.sort_unstable();
        assert_eq!(items, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
