//! Distributions from integers alone, so that a seed gives the same run on every machine.

use crate::rng::Rng;

/// The natural logarithm of two, as a fraction of 2^32.
const LN_2: u128 = 2_977_044_472;
/// What is added to a linear logarithm between powers of two, as a fraction of 2^32. It makes the
/// mean exact: 6 (3/2 - 1/ln 2).
const CURVE: u64 = 1_476_737_552;
/// One jitter in the numbers of [`normal`] and [`pareto`], by bits.
const SIGMA_BITS: u32 = 16;
/// No number is further from the middle than so many jitters: where the tables of netem end, and
/// the emulated networks of the engine.
pub(super) const JITTERS_MAX: u32 = 4;
/// The same in the numbers of [`normal`] and [`pareto`].
const SPREAD_MAX: i64 = (JITTERS_MAX as i64) << SIGMA_BITS;
/// Twelve times the middle of 16 bits.
const TWELVE_MIDDLES: i64 = 6 * 0xffff;
/// Mean of `u^(-1/3)` for a uniform `u`, in 16 binary digits.
const PARETO_MEAN: i64 = 3 << (SIGMA_BITS - 1);
/// What netem takes for one over its standard deviation, in 16 binary digits: 4/3. (It is the root
/// of that; but a network of this name is to be the same here as there.)
const PARETO_SCALE: i64 = 87_381;

/// An exponentially distributed number with this mean. Its logarithm is a parabola between powers
/// of two, off by less than a hundredth.
pub(super) fn exponential(rng: &mut Rng, mean: i64) -> i64 {
    let drawn = rng.draw() | 1;
    let zeros = u64::from(drawn.leading_zeros());
    let mantissa = (drawn << zeros << 1) >> 32;
    let bow = (mantissa * ((1 << 32) - mantissa)) >> 32;
    let log2 = ((zeros + 1) << 32) - mantissa - ((bow * CURVE) >> 32);
    let wide = u128::from(mean.max(0).unsigned_abs()) * u128::from(log2) * LN_2;
    (wide >> 64) as i64
}

/// A number of mean 0 and standard deviation 1, in 16 binary digits: the sum of twelve uniform
/// ones, which is normal to within a few thousandths.
fn normal(rng: &mut Rng) -> i64 {
    let mut sum = 0;
    for _ in 0..3 {
        let drawn = rng.draw();
        sum += (0..4).map(|part| ((drawn >> (16 * part)) & 0xffff) as i64).sum::<i64>();
    }
    (sum - TWELVE_MIDDLES).clamp(-SPREAD_MAX, SPREAD_MAX)
}

/// As [`normal`], with the long tail of a Pareto distribution of exponent 3, scaled and cut off as
/// netem does. What is cut off would move the mean by three hundredths of a jitter.
fn pareto(rng: &mut Rng) -> i64 {
    let drawn = rng.draw() | 1;
    // Beyond this the number is cut off in any case, and its cube would not fit.
    if drawn < u64::MAX >> 7 {
        return SPREAD_MAX;
    }
    let cube = (1_u128 << 112) / u128::from(drawn);
    let (mut low, mut high) = (0_u64, 6 << SIGMA_BITS);
    while low + 1 < high {
        let middle = u64::midpoint(low, high);
        let is_below = u128::from(middle).pow(3) <= cube;
        if is_below { low = middle } else { high = middle }
    }
    let centred = low.cast_signed() - PARETO_MEAN;
    ((centred * PARETO_SCALE) >> SIGMA_BITS).min(SPREAD_MAX)
}

/// `scale` times a [`normal`] number.
pub(super) fn scaled_normal(rng: &mut Rng, scale: i64) -> i64 {
    scale_by(scale, normal(rng))
}

/// `scale` times a [`pareto`] number.
pub(super) fn scaled_pareto(rng: &mut Rng, scale: i64) -> i64 {
    scale_by(scale, pareto(rng))
}

fn scale_by(scale: i64, number: i64) -> i64 {
    ((i128::from(scale) * i128::from(number)) >> SIGMA_BITS) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and variance of so many draws.
    fn moments(seed: u64, mut draw: impl FnMut(&mut Rng) -> i64) -> (f64, f64) {
        let count = 200_000;
        let mut rng = Rng::new(seed, 0);
        let drawn: Vec<f64> = (0..count).map(|_| draw(&mut rng) as f64).collect();
        let mean = drawn.iter().sum::<f64>() / f64::from(count);
        let squares = drawn.iter().map(|it| (it - mean).powi(2)).sum::<f64>();
        (mean, squares / f64::from(count))
    }

    #[test]
    fn exponential_numbers_have_the_mean_and_the_spread_of_the_law() {
        let (mean, variance) = moments(1, |rng| exponential(rng, 1_000_000));
        assert!((990_000.0..1_010_000.0).contains(&mean), "{mean}");
        assert!((0.97e12..1.03e12).contains(&variance), "{variance}");
        assert_eq!(exponential(&mut Rng::new(1, 0), 0), 0);
    }

    #[test]
    fn normal_numbers_are_centred_and_have_their_deviation() {
        let (mean, variance) = moments(2, |rng| scaled_normal(rng, 10_000));
        assert!(mean.abs() < 100.0, "{mean}");
        assert!((0.98e8..1.02e8).contains(&variance), "{variance}");
    }

    #[test]
    fn pareto_numbers_begin_below_the_mean_and_end_at_four_jitters() {
        let mut rng = Rng::new(3, 0);
        let drawn: Vec<i64> = (0..100_000).map(|_| scaled_pareto(&mut rng, 10_000)).collect();
        let (least, most) = (drawn.iter().min(), drawn.iter().max());
        // Half a unit below the mean of 3/2, times 4/3: as in the emulated networks.
        assert!(least.is_some_and(|least| (-6_680..=-6_650).contains(least)), "{least:?}");
        assert_eq!(most, Some(&40_000));
        let mean = drawn.iter().sum::<i64>() / 100_000;
        assert!((-600..=100).contains(&mean), "{mean}");
    }
}
