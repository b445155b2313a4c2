//! How long something took, how often: what a queue tells of its waits and leases.

use super::parts::{part, within};
use crate::WireError;
use zerocopy::little_endian::{U16, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Most buckets of a [`Distribution`].
pub const BUCKETS_MAX: usize = 256;

/// Times in buckets, counted since the queue started. What each bucket stands for is on the page
/// about the wire format; those after the last one that is there are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Distribution<'a> {
    /// The sum of all times, in nanoseconds.
    pub sum_ns: u128,
    /// Little-endian numbers that lie where they were read.
    counts: &'a [[u8; 8]],
}

/// The fixed part of a distribution; its counts follow.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct DistributionHead {
    sum_ns: U128,
    count: U16,
}
const _: () = assert!(size_of::<DistributionHead>() == 18);

impl<'a> Distribution<'a> {
    /// One with these counts, in the form of [`to_bytes_of`](Self::to_bytes_of); at most
    /// [`BUCKETS_MAX`].
    #[must_use]
    pub fn new(sum_ns: u128, counts: &'a [[u8; 8]]) -> Self {
        Self { sum_ns, counts }
    }

    /// The form in which counts are written: without the empty ones at the end.
    #[must_use]
    pub fn to_bytes_of(counts: &[u64]) -> Vec<[u8; 8]> {
        let len = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        counts[..len].iter().map(|count| count.to_le_bytes()).collect()
    }

    /// How many there are in each bucket, from the shortest times on.
    pub fn counts(self) -> impl ExactSizeIterator<Item = u64> + use<'a> {
        self.counts.iter().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// What follows the head.
    pub(super) fn part(&self) -> &'a [u8] {
        self.counts.as_flattened()
    }
}

impl DistributionHead {
    pub(super) fn new(distribution: &Distribution<'_>) -> Self {
        debug_assert!(distribution.counts.len() <= BUCKETS_MAX, "a distribution is too fine");
        let count = u16::try_from(distribution.counts.len()).unwrap_or(u16::MAX);
        Self { sum_ns: U128::new(distribution.sum_ns), count: U16::new(count) }
    }

    /// Reads what follows the head, and moves on.
    pub(super) fn read<'a>(&self, rest: &mut &'a [u8]) -> Result<Distribution<'a>, WireError> {
        let count = usize::from(self.count.get());
        within(count, BUCKETS_MAX, "the number of buckets of a distribution")?;
        let bytes = part(rest, count * 8, "distribution of times")?;
        let (counts, _) = bytes.as_chunks::<8>();
        Ok(Distribution { sum_ns: self.sum_ns.get(), counts })
    }
}
