//! The last samples, by age and by size.

use crate::Nanos;
use std::collections::VecDeque;
use std::time::Duration;

/// The whole, for percentiles and other fractions kept as integers.
pub(crate) const MILLION: u64 = 1_000_000;

/// Longest window: beyond it an insertion moves too much memory for a sample.
const LEN_MAX: usize = 1 << 16;

/// Up to so many expired samples are taken out one by one. If more go at once, what is left is
/// sorted anew, which bounds the time of a push.
const FEW: usize = 16;

/// The samples of a limited number and age, in the order in which they came and sorted.
///
/// Percentiles are read in constant time. A push is a binary search and a move of some kilobytes
/// that sit in the nearest cache, and allocates nothing. Samples expire only when another is
/// pushed: without one nobody could say what is true now.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    by_age: VecDeque<(Nanos, Nanos)>,
    sorted: Vec<Nanos>,
    len_max: usize,
    expire: Nanos,
}

impl Window {
    /// Room for `len_max` samples (at least 1), none of them older than `expire`.
    pub(crate) fn new(len_max: usize, expire: Duration) -> Self {
        let len_max = len_max.clamp(1, LEN_MAX);
        Self {
            by_age: VecDeque::with_capacity(len_max),
            sorted: Vec::with_capacity(len_max),
            len_max,
            expire: expire.into(),
        }
    }

    /// Takes a sample in, and out what is too old or one too many.
    pub(crate) fn push(&mut self, now: Nanos, value: Nanos) {
        self.drop_expired(now);
        if self.by_age.len() == self.len_max {
            self.drop_oldest();
        }
        self.by_age.push_back((now, value));
        let at = self.sorted.partition_point(|other| *other <= value);
        self.sorted.insert(at, value);
        debug_assert_eq!(self.by_age.len(), self.sorted.len(), "two views of the same samples");
    }

    fn drop_expired(&mut self, now: Nanos) {
        let is_old = |(at, _): &&(Nanos, Nanos)| now - *at > self.expire;
        let old = self.by_age.iter().take_while(is_old).count();
        if old <= FEW {
            (0..old).for_each(|_| self.drop_oldest());
        } else {
            self.by_age.drain(..old);
            self.sorted.clear();
            self.sorted.extend(self.by_age.iter().map(|(_, value)| *value));
            self.sorted.sort_unstable();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((_, value)) = self.by_age.pop_front() else { return };
        let at = self.sorted.partition_point(|other| *other < value);
        let removed = self.sorted.remove(at);
        debug_assert_eq!(removed, value, "every sample is in both views");
    }

    /// Forgets all samples.
    pub(crate) fn clear(&mut self) {
        self.by_age.clear();
        self.sorted.clear();
    }

    /// How many samples there are.
    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The smallest.
    pub(crate) fn min(&self) -> Option<Nanos> {
        self.sorted.first().copied()
    }

    /// The largest.
    pub(crate) fn max(&self) -> Option<Nanos> {
        self.sorted.last().copied()
    }

    /// The smallest sample that at least so many millionths of all do not exceed (nearest rank).
    pub(crate) fn percentile(&self, millionths: u64) -> Option<Nanos> {
        let rank = (self.len() as u64 * millionths.min(MILLION)).div_ceil(MILLION).max(1);
        self.sorted.get(usize::try_from(rank - 1).ok()?).copied()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> (usize, usize) {
        (self.by_age.capacity(), self.sorted.capacity())
    }
}
