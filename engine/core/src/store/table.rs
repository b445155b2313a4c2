//! A hash table from words to words that never stops to grow.
//!
//! The problem: a table that doubles in one go makes some unlucky transaction wait for tens of
//! milliseconds. The idea is extendible hashing (Fagin, Nievergelt, Pippenger and Strong, ACM TODS
//! 1979): a directory of segments of 4,096 slots, each of which splits in two when it is full, so
//! that no insert ever moves more than one segment. Within a segment it is linear probing over
//! buckets of four 16-byte slots, a cache line each: four comparisons without a branch cost less
//! than one mispredicted branch. Deletion shifts back what had overflowed (Knuth, TAOCP vol. 3, 6.4
//! R), so there are no tombstones.

/// Slots of a bucket: a cache line.
const BUCKET_SLOTS: usize = 4;
/// Buckets of a segment: 64 KiB, some 20 microseconds to split.
const SEGMENT_BUCKETS: usize = 1024;
const SEGMENT_SLOTS: usize = SEGMENT_BUCKETS * BUCKET_SLOTS;
/// Arenas begin at a multiple of this many bytes, the size of a huge page, or of their own size if
/// that is less.
const ARENA_ALIGN_BYTES: usize = 2 << 20;
/// A segment splits when more of its slots than this are in use.
const SEGMENT_LEN_MAX: usize = SEGMENT_SLOTS / 4 * 3;
/// The directory has at most this many bits: 10^12 keys. A seeded hash does not get there earlier.
const DEPTH_MAX: u32 = 28;
/// 2^64 divided by the golden ratio: a multiplier without structure (Knuth, TAOCP vol. 3, 6.4).
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// A key and its value. A zero key marks an empty slot; the key zero itself lives beside the table.
/// It is an array because those are allocated as untouched zero pages.
type Slot = [u64; 2];
type Bucket = [Slot; BUCKET_SLOTS];
type Segment = [Bucket; SEGMENT_BUCKETS];

/// What a table asks of those who know the machine. The core itself has no `unsafe`, and so neither
/// system calls nor instructions that need it.
#[derive(Debug, Clone, Copy)]
pub struct MemoryHooks {
    /// An arena, the unit in which memory is asked for, has 2 to the power of this many segments of
    /// 64 KiB.
    pub arena_bits: u32,
    /// Sees every arena, untouched zeros, before it is used: to ask for huge pages.
    pub on_arena: fn(&[u64]),
    /// Brings the cache line at an address near, without waiting for it.
    pub prefetch: fn(*const u8),
}

impl MemoryHooks {
    #[inline]
    pub(crate) fn prefetch<T>(self, at: *const T) {
        (self.prefetch)(at.cast());
    }
}

impl Default for MemoryHooks {
    /// Asks for little and for nothing else.
    fn default() -> Self {
        Self { arena_bits: 0, on_arena: |_| {}, prefetch: |_| {} }
    }
}

/// What is known of a segment beside its slots.
#[derive(Debug, Clone, Copy)]
struct SegmentState {
    len: usize,
    depth: u32,
}

/// Memory for segments. What is never touched takes address space only.
#[derive(Debug)]
struct Arena {
    slots: Vec<Slot>,
    /// The first slot at an aligned address.
    first: usize,
}

impl Arena {
    fn new(segments: usize) -> Self {
        let bytes = segments * size_of::<Segment>();
        let align = bytes.min(ARENA_ALIGN_BYTES);
        let slots = vec![[0; 2]; (bytes + align) / size_of::<Slot>()];
        let address = slots.as_ptr() as usize;
        let first = (address.next_multiple_of(align) - address) / size_of::<Slot>();
        Self { slots, first: first.min(align / size_of::<Slot>()) }
    }

    fn range(&self, segment: usize) -> std::ops::Range<usize> {
        let start = self.first + segment * SEGMENT_SLOTS;
        start..start + SEGMENT_SLOTS
    }
}

/// The segments, in arenas that never move.
#[derive(Debug)]
struct Segments {
    arenas: Vec<Arena>,
    states: Vec<SegmentState>,
    memory: MemoryHooks,
}

impl Segments {
    fn new(memory: MemoryHooks) -> Self {
        let mut segments = Self { arenas: Vec::new(), states: Vec::new(), memory };
        segments.push(0);
        segments
    }

    /// Adds an empty segment and returns its index.
    fn push(&mut self, depth: u32) -> usize {
        let index = self.states.len();
        let segments = 1 << self.memory.arena_bits;
        if index.is_multiple_of(segments) {
            let arena = Arena::new(segments);
            let memory = &arena.slots[arena.first..][..segments * SEGMENT_SLOTS];
            (self.memory.on_arena)(memory.as_flattened());
            self.arenas.push(arena);
        }
        self.states.push(SegmentState { len: 0, depth });
        index
    }

    /// The arena of a segment, and where the segment is in it.
    #[inline]
    fn place(&self, index: usize) -> (usize, usize) {
        let bits = self.memory.arena_bits;
        (index >> bits, index & ((1 << bits) - 1))
    }

    #[inline]
    fn buckets(&self, index: usize) -> &Segment {
        let (arena, segment) = self.place(index);
        let arena = &self.arenas[arena];
        let (buckets, _) = arena.slots[arena.range(segment)].as_chunks();
        buckets.first_chunk().expect("an arena holds whole segments")
    }

    #[inline]
    fn buckets_mut(&mut self, index: usize) -> &mut Segment {
        let (arena, segment) = self.place(index);
        let arena = &mut self.arenas[arena];
        let range = arena.range(segment);
        let (buckets, _) = arena.slots[range].as_chunks_mut();
        buckets.first_chunk_mut().expect("an arena holds whole segments")
    }

    fn bytes(&self) -> usize {
        self.states.len() * (size_of::<Segment>() + size_of::<SegmentState>())
    }
}

/// Where a slot is.
#[derive(Debug, Clone, Copy)]
struct Place {
    bucket: usize,
    slot: usize,
}

/// What a search ends with.
#[derive(Debug, Clone, Copy)]
enum Probe {
    Found(Place),
    /// It is not there; this is where it would go.
    Empty(Place),
}

/// Bit `n` says whether slot `n` holds this key.
#[inline]
fn matches(bucket: &Bucket, key: u64) -> u32 {
    let bit = |slot: usize| u32::from(bucket[slot][0] == key) << slot;
    bit(0) | bit(1) | bit(2) | bit(3)
}

/// Searches from the home bucket to the first one that is not full.
#[inline]
fn probe(buckets: &Segment, hash: u64, key: u64) -> Probe {
    let mut at = home(hash);
    loop {
        let found = matches(&buckets[at], key);
        if found != 0 {
            return Probe::Found(Place { bucket: at, slot: found.trailing_zeros() as usize });
        }
        let empty = matches(&buckets[at], 0);
        if empty != 0 {
            return Probe::Empty(Place { bucket: at, slot: empty.trailing_zeros() as usize });
        }
        at = (at + 1) % SEGMENT_BUCKETS;
    }
}

/// The bucket where the search for a hash begins: its low bits, while the directory uses the high
/// ones.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "only the low bits are wanted")]
fn home(hash: u64) -> usize {
    hash as usize % SEGMENT_BUCKETS
}

/// The table.
#[derive(Debug)]
pub(super) struct WordTable {
    directory: Vec<u32>,
    depth: u32,
    segments: Segments,
    zero: Option<u64>,
    len: usize,
    seed: u64,
    memory: MemoryHooks,
}

impl WordTable {
    /// An empty table; `seed` keeps the order of slots unpredictable to those who choose keys.
    pub(super) fn new(seed: u64, memory: MemoryHooks) -> Self {
        let segments = Segments::new(memory);
        Self { directory: vec![0], depth: 0, segments, zero: None, len: 0, seed, memory }
    }

    /// Number of keys.
    pub(super) fn len(&self) -> usize {
        self.len + usize::from(self.zero.is_some())
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> u64 {
        (self.segments.bytes() + self.directory.capacity() * size_of::<u32>()) as u64
    }

    /// What is known of the machine's memory.
    #[inline]
    pub(super) fn memory(&self) -> MemoryHooks {
        self.memory
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
    fn directory_index(&self, hash: u64) -> usize {
        (hash >> 1 >> (63 - self.depth)) as usize
    }

    /// Brings the cache line near where the search for a key begins.
    #[inline]
    pub(super) fn prefetch(&self, key: u64) {
        let hash = self.hash(key);
        let buckets = self.segments.buckets(self.segment_index(hash));
        self.memory.prefetch(&raw const buckets[home(hash)]);
    }

    /// The value of a key.
    #[inline]
    pub(super) fn get(&self, key: u64) -> Option<u64> {
        if key == 0 {
            return self.zero;
        }
        let hash = self.hash(key);
        let buckets = self.segments.buckets(self.segment_index(hash));
        match probe(buckets, hash, key) {
            Probe::Found(place) => Some(buckets[place.bucket][place.slot % BUCKET_SLOTS][1]),
            Probe::Empty(_) => None,
        }
    }

    /// The value of a key, to be changed in place.
    #[inline]
    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut u64> {
        if key == 0 {
            return self.zero.as_mut();
        }
        let hash = self.hash(key);
        let index = self.segment_index(hash);
        let buckets = self.segments.buckets_mut(index);
        match probe(buckets, hash, key) {
            Probe::Found(place) => Some(&mut buckets[place.bucket][place.slot % BUCKET_SLOTS][1]),
            Probe::Empty(_) => None,
        }
    }

    /// Sets the value of a key and returns the one it had.
    pub(super) fn insert(&mut self, key: u64, value: u64) -> Option<u64> {
        if key == 0 {
            return self.zero.replace(value);
        }
        let hash = self.hash(key);
        loop {
            let index = self.segment_index(hash);
            let len = self.segments.states[index].len;
            let buckets = self.segments.buckets_mut(index);
            match probe(buckets, hash, key) {
                Probe::Found(place) => {
                    let old = &mut buckets[place.bucket][place.slot][1];
                    return Some(std::mem::replace(old, value));
                }
                Probe::Empty(place) if len < SEGMENT_LEN_MAX => {
                    buckets[place.bucket][place.slot] = [key, value];
                    self.segments.states[index].len += 1;
                    self.len += 1;
                    return None;
                }
                Probe::Empty(_) => self.split(index, hash),
            }
        }
    }

    /// Hands every key with its value to `take`, in no order.
    pub(super) fn visit<E>(
        &self,
        mut take: impl FnMut(u64, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(value) = self.zero {
            take(0, value)?;
        }
        for index in 0..self.segments.states.len() {
            for [key, value] in self.segments.buckets(index).as_flattened() {
                if *key != 0 {
                    take(*key, *value)?;
                }
            }
        }
        Ok(())
    }

    /// Removes a key and returns its value.
    pub(super) fn remove(&mut self, key: u64) -> Option<u64> {
        if key == 0 {
            return self.zero.take();
        }
        let hash = self.hash(key);
        let index = self.segment_index(hash);
        let buckets = self.segments.buckets(index);
        let Probe::Found(place) = probe(buckets, hash, key) else { return None };
        let [_, value] = buckets[place.bucket][place.slot];
        self.close_gap(index, place);
        self.segments.states[index].len -= 1;
        self.len -= 1;
        Some(value)
    }

    /// Empties a slot. If its bucket was full, a search may have gone on beyond it: then a key
    /// that had overflowed is moved back, and its slot is the next gap.
    fn close_gap(&mut self, index: usize, mut gap: Place) {
        let mut at = gap.bucket;
        let mut was_full = matches(&self.segments.buckets(index)[at], 0) == 0;
        self.segments.buckets_mut(index)[gap.bucket][gap.slot] = [0; 2];
        while was_full {
            at = (at + 1) % SEGMENT_BUCKETS;
            let bucket = self.segments.buckets(index)[at];
            was_full = matches(&bucket, 0) == 0;
            // A key may move back unless its home lies behind the gap, up to where it is.
            let from_gap = (at + SEGMENT_BUCKETS - gap.bucket) % SEGMENT_BUCKETS;
            let may_move = |slot: &usize| {
                let from_home = at + SEGMENT_BUCKETS - home(self.hash(bucket[*slot][0]));
                bucket[*slot][0] != 0 && from_home % SEGMENT_BUCKETS >= from_gap
            };
            if let Some(slot) = (0..BUCKET_SLOTS).find(may_move) {
                let buckets = self.segments.buckets_mut(index);
                buckets[gap.bucket][gap.slot] = bucket[slot];
                buckets[at][slot] = [0; 2];
                gap = Place { bucket: at, slot };
            }
        }
    }

    /// Splits the segment of `hash` by the next bit; doubles the directory if it has no such bit
    /// yet.
    fn split(&mut self, index: usize, hash: u64) {
        let depth = self.segments.states[index].depth + 1;
        assert!(depth <= DEPTH_MAX, "thousands of keys share {DEPTH_MAX} bits of a seeded hash");
        if depth > self.depth {
            self.directory = self.directory.iter().flat_map(|at| [*at, *at]).collect();
            self.depth = depth;
        }
        let old = self.segments.buckets(index).to_vec();
        self.segments.buckets_mut(index).as_flattened_mut().fill([0; 2]);
        self.segments.states[index] = SegmentState { len: 0, depth };
        let sibling = u32::try_from(self.segments.push(depth)).expect("at most 2^28 segments");
        // The entries that led to the old segment are one aligned block; its upper half moves.
        let half = 1_usize << (self.depth - depth);
        let upper = (self.directory_index(hash) & !(2 * half - 1)) + half;
        self.directory[upper..upper + half].fill(sibling);
        for slot in old.as_flattened().iter().filter(|slot| slot[0] != 0) {
            let hash = self.hash(slot[0]);
            let target = self.segment_index(hash);
            let buckets = self.segments.buckets_mut(target);
            let Probe::Empty(place) = probe(buckets, hash, slot[0]) else {
                unreachable!("a key is in the table once")
            };
            buckets[place.bucket][place.slot] = *slot;
            self.segments.states[target].len += 1;
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
        let mut table = WordTable::new(42, MemoryHooks::default());
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
            let mut table = WordTable::new(seed, MemoryHooks::default());
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
