//! What workloads of counters have in common: loading them, remembering what was added where, and
//! adding up what is there afterwards.
//!
//! A counter is an 8-byte key, and the first eight bytes of its value.

use crate::workload::{Generator, Place, Sum};
use punctual_runtime::{Key, Outcome, Transaction};
use punctual_wire::{Limits, ResultReader, shard_of};
use std::ops::Range;

/// Most operations of one transaction while keys are loaded or verified.
const BULK_OPS_MAX: u16 = 64;
/// What an operation or a result takes beside its value, generously.
pub(crate) const OP_HEAD_BYTES: usize = 32;

/// Increments of one transaction on one shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Adds {
    /// The shard.
    pub shard: u16,
    /// How much is added there.
    pub count: u16,
}

/// What was added to the counters, shard by shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// By transactions that committed.
    pub known: Vec<u64>,
    /// By transactions whose outcome is unknown: it may have happened.
    pub unknown: Vec<u64>,
}

impl Sum for Counts {
    fn add(&mut self, other: &Self) {
        add_each(&mut self.known, &other.known);
        add_each(&mut self.unknown, &other.unknown);
    }
}

impl Counts {
    pub(crate) fn new(shards: u16) -> Self {
        let zeros = vec![0; usize::from(shards)];
        Self { known: zeros.clone(), unknown: zeros }
    }

    /// Compares what the counters of each shard sum up to with the increments that were
    /// acknowledged there. A global sum would not notice one that went to the wrong shard.
    ///
    /// # Errors
    /// The first shard that differs, with both numbers.
    pub fn check(&self, found: &Counted) -> Result<(), String> {
        if found.missing > 0 {
            return Err(format!("{} of the loaded keys are missing", found.missing));
        }
        for (shard, sum) in found.sums.iter().enumerate() {
            let at = |counts: &[u64]| counts.get(shard).copied().unwrap_or(0);
            let (known, unknown) = (at(&self.known), at(&self.unknown));
            let least = i64::try_from(known).unwrap_or(i64::MAX);
            let most = least.saturating_add_unsigned(unknown);
            if !(least..=most).contains(sum) {
                return Err(format!(
                    "the counters of shard {shard} sum up to {sum}, acknowledged were {known} \
                     increments (and {unknown} of unknown outcome)"
                ));
            }
        }
        Ok(())
    }
}

/// What the counters hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// Their sum on each shard.
    pub sums: Vec<i64>,
    /// Keys that were not there.
    pub missing: u64,
}

impl Sum for Counted {
    fn add(&mut self, other: &Self) {
        add_each(&mut self.sums, &other.sums);
        self.missing += other.missing;
    }
}

/// Adds number by number; the sum is as long as the longer one.
fn add_each<N: Copy + Default + std::ops::AddAssign>(sum: &mut Vec<N>, part: &[N]) {
    sum.resize(sum.len().max(part.len()), N::default());
    for (sum, part) in sum.iter_mut().zip(part) {
        *sum += *part;
    }
}

/// Goes once through a worker's part of the keys, in transactions of many keys of one shard.
#[derive(Debug)]
pub(crate) struct Bulk {
    keys: Range<u64>,
    next: u64,
    shards: u16,
    /// Operations of one transaction.
    ops: usize,
    /// Keys that wait for a transaction to their shard.
    waiting: Vec<Vec<u64>>,
}

impl Bulk {
    /// `value_size` bytes come back from a read.
    pub(crate) fn new(place: &Place, keys: u64, value_size: usize) -> Self {
        let ops = usize::from(bulk_ops(&place.limits, value_size));
        let waiting = (0..place.shards).map(|_| Vec::with_capacity(ops)).collect();
        let keys = place.share(keys);
        Self { next: keys.start, keys, shards: place.shards, ops, waiting }
    }

    /// Goes back to the first key.
    pub(crate) fn restart(&mut self) {
        self.next = self.keys.start;
        self.waiting.iter_mut().for_each(Vec::clear);
    }

    /// Hands the keys of the next transaction to `each` and returns their shard; `None` at the end.
    pub(crate) fn next(&mut self, mut each: impl FnMut(u64)) -> Option<u16> {
        while self.next < self.keys.end {
            let key = self.next;
            self.next += 1;
            let shard = shard_of(Key::Word(key), self.shards);
            let waiting = &mut self.waiting[usize::from(shard)];
            waiting.push(key);
            if waiting.len() == self.ops {
                waiting.drain(..).for_each(&mut each);
                return Some(shard);
            }
        }
        let rest = self.waiting.iter().position(|waiting| !waiting.is_empty())?;
        self.waiting[rest].drain(..).for_each(each);
        u16::try_from(rest).ok()
    }
}

/// Operations of one transaction while keys are loaded or verified: no more than fit a reply.
fn bulk_ops(limits: &Limits, value_size: usize) -> u16 {
    let fit = limits.results_bytes_max() / (value_size + OP_HEAD_BYTES);
    let fit = u16::try_from(fit).unwrap_or(u16::MAX);
    fit.clamp(1, limits.ops_max.clamp(1, BULK_OPS_MAX))
}

/// Makes transactions of counters.
pub trait Maker: std::fmt::Debug + Send + 'static {
    /// Puts the next transaction into `transaction`, and what it adds on each shard that it touches
    /// into `adds`; both are empty. Returns its kind.
    ///
    /// # Errors
    /// Why it can go no further, in the words of the command line.
    fn make(&mut self, transaction: &mut Transaction, adds: &mut Vec<Adds>) -> Result<u8, String>;
}

/// The generator of a workload of counters.
#[derive(Debug)]
pub struct Counting<M> {
    maker: M,
    /// What the transaction made last adds.
    adds: Vec<Adds>,
    ledger: Ledger,
}

impl<M: Maker> Counting<M> {
    /// Makes what `maker` makes. There are `keys` counters of `value_size` bytes that begin with
    /// `initial`; a transaction touches `span_max` shards at most.
    #[must_use]
    pub fn new(
        maker: M,
        place: &Place,
        keys: u64,
        (value_size, initial): (usize, i64),
        span_max: u16,
    ) -> Self {
        let ledger = Ledger::new(place, keys, (value_size, initial), span_max);
        Self { maker, adds: Vec::with_capacity(usize::from(span_max.max(1))), ledger }
    }

    /// What makes its transactions, without the account of them.
    #[cfg(test)]
    pub(crate) fn into_maker(self) -> M {
        self.maker
    }
}

impl<M: Maker> Generator for Counting<M> {
    type Done = Counts;
    type Found = Counted;

    fn load(&mut self, transaction: &mut Transaction) -> bool {
        self.ledger.load(transaction)
    }

    #[inline]
    fn next(&mut self, transaction: &mut Transaction) -> Result<u8, String> {
        self.adds.clear();
        self.maker.make(transaction, &mut self.adds)
    }

    #[inline]
    fn sent(&mut self, slot: u16) {
        self.ledger.sent(slot, &self.adds);
    }

    #[inline]
    fn ended(&mut self, slot: u16, outcome: &Outcome, _results: &mut ResultReader<'_>) {
        self.ledger.ended(slot, outcome);
    }

    fn done(&mut self) -> Counts {
        std::mem::take(&mut self.ledger.done)
    }

    fn verify(&mut self, transaction: &mut Transaction) -> bool {
        self.ledger.verify(transaction)
    }

    fn verify_sent(&mut self, slot: u16) {
        self.ledger.read[usize::from(slot)] = self.ledger.reading;
    }

    fn verified(&mut self, slot: u16, results: &mut ResultReader<'_>) {
        self.ledger.verified(slot, results);
    }

    fn found(&mut self) -> Counted {
        std::mem::take(&mut self.ledger.found)
    }
}

/// Loads counters, remembers what transactions in flight add, and adds up what is there.
#[derive(Debug)]
struct Ledger {
    bulk: Bulk,
    /// What every counter is loaded with.
    value: Vec<u8>,
    /// `span_max` places a slot; those beyond the shards of a transaction are empty.
    adds: Vec<Adds>,
    span_max: usize,
    done: Counts,
    found: Counted,
    /// The shard of the transaction that `verify` made last, and of those in flight by slot.
    reading: u16,
    read: Vec<u16>,
    is_verifying: bool,
}

impl Ledger {
    fn new(place: &Place, keys: u64, (size, initial): (usize, i64), span_max: u16) -> Self {
        let mut value = vec![0; size.max(8)];
        value[..8].copy_from_slice(&initial.to_le_bytes());
        let (slots, span_max) = (place.slots as usize, usize::from(span_max.max(1)));
        Self {
            bulk: Bulk::new(place, keys, size),
            value,
            adds: vec![Adds::default(); slots * span_max],
            span_max,
            done: Counts::new(place.shards),
            found: Counted { sums: vec![0; usize::from(place.shards)], missing: 0 },
            reading: 0,
            read: vec![0; slots],
            is_verifying: false,
        }
    }

    fn load(&mut self, transaction: &mut Transaction) -> bool {
        let value = &self.value;
        let shard = self.bulk.next(|key| {
            transaction.put(Key::Word(key), value);
        });
        shard.is_some()
    }

    /// Notes what the transaction in a slot adds, shard by shard.
    #[inline]
    fn sent(&mut self, slot: u16, adds: &[Adds]) {
        let places = &mut self.adds[usize::from(slot) * self.span_max..][..self.span_max];
        places[..adds.len()].copy_from_slice(adds);
        if let Some(rest) = places.get_mut(adds.len()..) {
            rest.fill(Adds::default());
        }
    }

    #[inline]
    fn ended(&mut self, slot: u16, outcome: &Outcome) {
        let counts = match outcome {
            Outcome::Committed { .. } => &mut self.done.known,
            Outcome::Unknown(_) => &mut self.done.unknown,
            Outcome::Aborted { .. } | Outcome::Refused(_) => return,
        };
        for Adds { shard, count } in
            &self.adds[usize::from(slot) * self.span_max..][..self.span_max]
        {
            counts[usize::from(*shard)] += u64::from(*count);
        }
    }

    fn verify(&mut self, transaction: &mut Transaction) -> bool {
        if !std::mem::replace(&mut self.is_verifying, true) {
            self.bulk.restart();
        }
        let shard = self.bulk.next(|key| {
            transaction.get(Key::Word(key));
        });
        self.reading = shard.unwrap_or_default();
        shard.is_some()
    }

    fn verified(&mut self, slot: u16, results: &mut ResultReader<'_>) {
        let sum = &mut self.found.sums[usize::from(self.read[usize::from(slot)])];
        for result in results {
            match result.number() {
                Some(number) => *sum += number,
                None => self.found.missing += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(worker: u64, workers: u64, shards: u16) -> Place {
        Place { worker, workers, shards, slots: 4, limits: Limits::DEFAULT, seed: 1 }
    }

    #[test]
    fn the_check_compares_every_shard_by_itself() {
        let mut done = Counts::new(2);
        done.add(&Counts { known: vec![10, 20], unknown: vec![0, 2] });
        let found = |sums: [i64; 2]| Counted { sums: sums.to_vec(), missing: 0 };
        for sums in [[10, 20], [10, 22]] {
            assert_eq!(done.check(&found(sums)), Ok(()));
        }
        // The first has the right sum over both.
        for sums in [[11, 19], [10, 19], [10, 23]] {
            assert!(done.check(&found(sums)).is_err(), "{sums:?}");
        }
        let why = done.check(&found([9, 20])).expect_err("one is missing");
        assert!(why.contains("shard 0 sum up to 9, acknowledged were 10"), "{why}");
        let missing = Counted { missing: 3, ..found([10, 20]) };
        assert!(done.check(&missing).expect_err("keys are gone").contains("3 of the loaded keys"));
    }

    #[test]
    fn all_workers_together_go_through_every_key_once_and_each_transaction_stays_on_its_shard() {
        let mut seen = Vec::new();
        for worker in 0..3 {
            let mut bulk = Bulk::new(&place(worker, 3, 5), 1_000, 8);
            for _ in 0..2 {
                let before = seen.len();
                loop {
                    let mut keys = Vec::new();
                    let Some(shard) = bulk.next(|key| keys.push(key)) else { break };
                    assert!((1..=usize::from(BULK_OPS_MAX)).contains(&keys.len()));
                    assert!(keys.iter().all(|key| shard_of(Key::Word(*key), 5) == shard));
                    seen.append(&mut keys);
                }
                let again: Vec<_> = seen.drain(before..).collect();
                bulk.restart();
                seen.extend(again);
            }
        }
        seen.sort_unstable();
        let twice: Vec<u64> = (0..1_000).flat_map(|key| [key, key]).collect();
        assert_eq!(seen, twice);
    }

    #[test]
    fn a_bulk_transaction_has_room_for_its_results() {
        let limits = Limits::DEFAULT;
        assert_eq!(bulk_ops(&limits, 8), BULK_OPS_MAX);
        assert_eq!(bulk_ops(&Limits { ops_max: 20, ..limits }, 8), 20);
        let long = bulk_ops(&limits, limits.value_bytes_max as usize);
        assert!((1..=4).contains(&long), "{long} values of a quarter of a frame");
    }

    #[test]
    fn every_slot_keeps_its_own_shards_and_counts_when_it_ends() {
        let mut ledger = Ledger::new(&place(0, 1, 4), 10, (8, 0), 2);
        let adds = |shard, count| Adds { shard, count };
        ledger.sent(0, &[adds(1, 5), adds(2, 6)]);
        ledger.sent(3, &[adds(3, 7), adds(0, 8)]);
        let at = punctual_runtime::Nanos(1);
        ledger.ended(0, &Outcome::Committed { at });
        // The second shard of the earlier one is not that of this one.
        ledger.sent(0, &[adds(1, 1)]);
        ledger.ended(0, &Outcome::Committed { at });
        ledger.ended(3, &Outcome::Unknown(punctual_runtime::UnknownReason::Deadline));
        ledger.sent(1, &[adds(2, 100)]);
        ledger.ended(1, &Outcome::Aborted { at });
        assert_eq!(ledger.done, Counts { known: vec![0, 6, 6, 0], unknown: vec![8, 0, 0, 7] });
    }
}
