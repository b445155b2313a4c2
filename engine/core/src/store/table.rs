//! A hash table from words to words that never stops to grow.
//!
//! The problem: a table that doubles in one go makes some unlucky transaction wait for tens of
//! milliseconds. The idea is extendible hashing (Fagin, Nievergelt, Pippenger and Strong, ACM TODS
//! 1979): a directory of segments of 4,096 slots, each of which splits in two when it is full, so that no insert ever
//! moves more than one segment. Within a segment it is linear probing over 16-byte slots, four to
//! a cache line, with deletion by shifting back (Knuth, TAOCP vol. 3, 6.4 R), so there are no tombstones.

/// Slots of a segment: 64 KiB, some 20 microseconds to split.
const SEGMENT_SLOTS: usize = 4096;
/// A segment splits when more of its slots than this are in use.
const SEGMENT_LEN_MAX: usize = SEGMENT_SLOTS / 100 * 85;
/// The directory has at most this many bits: 10^12 keys. A seeded hash does not get there earlier.
const DEPTH_MAX: u32 = 28;

/// 2^64 divided by the golden ratio: a multiplier without structure (Knuth, TAOCP vol. 3, 6.4).
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Slot {
    /// Zero marks an empty slot; the key zero itself lives beside the table.
    key: u64,
    value: u64,
}

#[derive(Debug)]
struct Segment {
    slots: Box<[Slot; SEGMENT_SLOTS]>,
    len: usize,
    depth: u32,
}

impl Segment {
    fn new(depth: u32) -> Self {
        let slots = vec![Slot::default(); SEGMENT_SLOTS].into_boxed_slice();
        let slots = slots.try_into().expect("the length is the one of the array");
        Self { slots, len: 0, depth }
    }

    /// The slot of the key, or the empty one where it would go.
    #[inline]
    fn probe(&self, hash: u64, key: u64) -> usize {
        let mut at = home(hash);
        loop {
            let found = self.slots[at].key;
            if found == key || found == 0 {
                return at;
            }
            at = (at + 1) % SEGMENT_SLOTS;
        }
    }
}

/// The slot where the search for a hash begins: its low bits, while the directory uses the high ones.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "only the low bits are wanted")]
fn home(hash: u64) -> usize {
    hash as usize % SEGMENT_SLOTS
}

/// The table.
#[derive(Debug)]
pub(super) struct WordTable {
    directory: Vec<u32>,
    depth: u32,
    segments: Vec<Segment>,
    zero: Option<u64>,
    len: usize,
    seed: u64,
}

impl WordTable {
    /// An empty table; `seed` keeps the order of slots unpredictable to those who choose keys.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            directory: vec![0],
            depth: 0,
            segments: vec![Segment::new(0)],
            zero: None,
            len: 0,
            seed,
        }
    }

    /// Number of keys.
    pub(super) fn len(&self) -> usize {
        self.len + usize::from(self.zero.is_some())
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> u64 {
        let segment = size_of::<[Slot; SEGMENT_SLOTS]>() + size_of::<Segment>();
        (self.segments.len() * segment + self.directory.capacity() * size_of::<u32>()) as u64
    }

    /// Multiplies into 128 bits and folds, as wyhash does (Wang Yi, 2019).
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
    fn hash(&self, key: u64) -> u64 {
        let wide = u128::from(key ^ self.seed) * u128::from(GOLDEN_RATIO);
        (wide as u64) ^ ((wide >> 64) as u64)
    }

    #[inline]
    fn segment_index(&self, hash: u64) -> usize {
        self.directory[self.directory_index(hash)] as usize
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "at most 28 bits are left")]
    fn directory_index(&self, hash: u64) -> usize {
        (hash >> 1 >> (63 - self.depth)) as usize
    }

    /// Loads the cache line where the search for a key begins. Done for many keys in a row, the
    /// misses overlap; what is returned only keeps the load from being optimised away.
    #[inline]
    pub(super) fn touch(&self, key: u64) -> u64 {
        let hash = self.hash(key);
        self.segments[self.segment_index(hash)].slots[home(hash)].key
    }

    /// The value of a key.
    #[inline]
    pub(super) fn get(&self, key: u64) -> Option<u64> {
        if key == 0 {
            return self.zero;
        }
        let hash = self.hash(key);
        let segment = &self.segments[self.segment_index(hash)];
        let slot = segment.slots[segment.probe(hash, key)];
        (slot.key == key).then_some(slot.value)
    }

    /// The value of a key, to be changed in place.
    #[inline]
    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut u64> {
        if key == 0 {
            return self.zero.as_mut();
        }
        let hash = self.hash(key);
        let index = self.segment_index(hash);
        let segment = &mut self.segments[index];
        let at = segment.probe(hash, key);
        let slot = &mut segment.slots[at];
        (slot.key == key).then_some(&mut slot.value)
    }

    /// Sets the value of a key and returns the one it had.
    pub(super) fn insert(&mut self, key: u64, value: u64) -> Option<u64> {
        if key == 0 {
            return self.zero.replace(value);
        }
        let hash = self.hash(key);
        loop {
            let index = self.segment_index(hash);
            let segment = &mut self.segments[index];
            let at = segment.probe(hash, key);
            let slot = &mut segment.slots[at];
            if slot.key == key {
                return Some(std::mem::replace(&mut slot.value, value));
            }
            if segment.len < SEGMENT_LEN_MAX {
                *slot = Slot { key, value };
                segment.len += 1;
                self.len += 1;
                return None;
            }
            self.split(index, hash);
        }
    }

    /// Removes a key and returns its value.
    pub(super) fn remove(&mut self, key: u64) -> Option<u64> {
        if key == 0 {
            return self.zero.take();
        }
        let hash = self.hash(key);
        let index = self.segment_index(hash);
        let at = self.segments[index].probe(hash, key);
        let slot = self.segments[index].slots[at];
        if slot.key != key {
            return None;
        }
        self.shift_back(index, at);
        self.segments[index].len -= 1;
        self.len -= 1;
        Some(slot.value)
    }

    /// Closes the gap at `gap` by moving back every later slot of its run that may move.
    fn shift_back(&mut self, index: usize, mut gap: usize) {
        let mut at = gap;
        loop {
            at = (at + 1) % SEGMENT_SLOTS;
            let slot = self.segments[index].slots[at];
            if slot.key == 0 {
                break;
            }
            // A slot may move back to the gap unless its home lies between the gap and itself.
            let from_home = (at + SEGMENT_SLOTS - home(self.hash(slot.key))) % SEGMENT_SLOTS;
            let from_gap = (at + SEGMENT_SLOTS - gap) % SEGMENT_SLOTS;
            if from_home >= from_gap {
                self.segments[index].slots[gap] = slot;
                gap = at;
            }
        }
        self.segments[index].slots[gap] = Slot::default();
    }

    /// Splits the segment of `hash` by the next bit; doubles the directory if it has no such bit yet.
    fn split(&mut self, index: usize, hash: u64) {
        let depth = self.segments[index].depth + 1;
        assert!(depth <= DEPTH_MAX, "thousands of keys share {DEPTH_MAX} bits of a seeded hash");
        if depth > self.depth {
            self.directory = self.directory.iter().flat_map(|at| [*at, *at]).collect();
            self.depth = depth;
        }
        let old = std::mem::replace(&mut self.segments[index], Segment::new(depth));
        let sibling = u32::try_from(self.segments.len()).expect("at most 2^28 segments");
        self.segments.push(Segment::new(depth));
        // The entries that led to the old segment are one aligned block; its upper half moves.
        let half = 1_usize << (self.depth - depth);
        let upper = (self.directory_index(hash) & !(2 * half - 1)) + half;
        self.directory[upper..upper + half].fill(sibling);
        for slot in old.slots.iter().filter(|slot| slot.key != 0) {
            let hash = self.hash(slot.key);
            let target = self.segment_index(hash);
            let segment = &mut self.segments[target];
            let at = segment.probe(hash, slot.key);
            segment.slots[at] = *slot;
            segment.len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_million_keys_are_found_after_many_splits_and_take_less_than_48_bytes_each() {
        let mut table = WordTable::new(42);
        for key in 0..1_000_000 {
            assert_eq!(table.insert(key, !key), None);
        }
        assert_eq!(table.len(), 1_000_000);
        assert!((0..1_000_000).all(|key| table.get(key) == Some(!key)));
        assert_eq!(table.get(1_000_000), None);
        let per_key = table.bytes() / 1_000_000;
        assert!(per_key < 48, "{per_key} bytes a key");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u64, u64),
        Remove(u64),
        Increment(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = 0..9_000_u64;
        prop_oneof![
            4 => (key.clone(), any::<u64>()).prop_map(|(key, value)| Step::Insert(key, value)),
            2 => key.clone().prop_map(Step::Remove),
            1 => key.prop_map(Step::Increment),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn it_agrees_with_a_btree_map(
            seed: u64,
            steps in prop::collection::vec(step(), 1..20_000),
        ) {
            let mut table = WordTable::new(seed);
            let mut model = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Insert(key, value) => {
                        prop_assert_eq!(table.insert(key, value), model.insert(key, value));
                    }
                    Step::Remove(key) => prop_assert_eq!(table.remove(key), model.remove(&key)),
                    Step::Increment(key) => {
                        let (found, expected) = (table.get_mut(key), model.get_mut(&key));
                        prop_assert_eq!(found.as_deref(), expected.as_deref());
                        if let (Some(found), Some(expected)) = (found, expected) {
                            *found = found.wrapping_add(1);
                            *expected = expected.wrapping_add(1);
                        }
                    }
                }
            }
            prop_assert_eq!(table.len(), model.len());
            for (key, value) in model {
                prop_assert_eq!(table.get(key), Some(value));
            }
        }
    }
}
