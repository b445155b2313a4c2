//! A hash table from words to words that never stops to grow.
//!
//! The problem: a table that doubles in one go makes some unlucky transaction wait for tens of
//! milliseconds. The idea is extendible hashing (Fagin, Nievergelt, Pippenger and Strong, ACM TODS
//! 1979): a directory of segments of 4,096 slots, each of which splits in two when it is full, so that no insert ever
//! moves more than one segment. Within a segment it is linear probing over 16-byte slots, four to
//! a cache line, with deletion by shifting back (Knuth, TAOCP vol. 3, 6.4 R), so there are no tombstones.

/// Slots of a segment: 64 KiB, some 20 microseconds to split.
const SEGMENT_SLOTS: usize = 4096;
/// Segments of an arena: 8 MiB.
const ARENA_SEGMENTS: usize = 128;
/// Arenas begin at a multiple of this many bytes, so that the system can put huge pages behind them.
const ARENA_ALIGN_BYTES: usize = 2 << 20;
/// A segment splits when more of its slots than this are in use.
const SEGMENT_LEN_MAX: usize = SEGMENT_SLOTS / 100 * 85;
/// The directory has at most this many bits: 10^12 keys. A seeded hash does not get there earlier.
const DEPTH_MAX: u32 = 28;
/// 2^64 divided by the golden ratio: a multiplier without structure (Knuth, TAOCP vol. 3, 6.4).
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// A key and its value. A zero key marks an empty slot; the key zero itself lives beside the table. It is
/// an array because those are allocated as untouched zero pages.
type Slot = [u64; 2];
type Segment = [Slot; SEGMENT_SLOTS];

/// What a table asks of those who know the machine. The core itself has no `unsafe`, and so neither system calls nor
/// instructions that need it.
#[derive(Debug, Clone, Copy)]
pub struct MemoryHooks {
    /// Sees every arena, 8 MiB of untouched zeros, before it is used: to ask for huge pages.
    pub on_arena: fn(&[u64]),
    /// Brings the cache line of a slot near, without waiting for it.
    pub prefetch: fn(&[u64; 2]),
}

impl Default for MemoryHooks {
    /// Asks for nothing, and loads the slot.
    fn default() -> Self {
        Self {
            on_arena: |_| {},
            prefetch: |slot| {
                std::hint::black_box(slot[0]);
            },
        }
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
    fn new() -> Self {
        let padding = ARENA_ALIGN_BYTES / size_of::<Slot>();
        let slots = vec![[0; 2]; ARENA_SEGMENTS * SEGMENT_SLOTS + padding];
        let address = slots.as_ptr() as usize;
        let first = (address.next_multiple_of(ARENA_ALIGN_BYTES) - address) / size_of::<Slot>();
        Self { slots, first: first.min(padding) }
    }

    fn range(&self, segment: usize) -> std::ops::Range<usize> {
        let start = self.first + segment % ARENA_SEGMENTS * SEGMENT_SLOTS;
        start..start + SEGMENT_SLOTS
    }

    /// The memory that is used.
    fn memory(&self) -> &[u64] {
        self.slots[self.first..][..ARENA_SEGMENTS * SEGMENT_SLOTS].as_flattened()
    }
}

/// The segments, in arenas that never move.
#[derive(Debug)]
struct Segments {
    arenas: Vec<Arena>,
    states: Vec<SegmentState>,
    on_arena: fn(&[u64]),
}

impl Segments {
    fn new(on_arena: fn(&[u64])) -> Self {
        let mut segments = Self { arenas: Vec::new(), states: Vec::new(), on_arena };
        segments.push(0);
        segments
    }

    /// Adds an empty segment and returns its index.
    fn push(&mut self, depth: u32) -> usize {
        let index = self.states.len();
        if index.is_multiple_of(ARENA_SEGMENTS) {
            let arena = Arena::new();
            (self.on_arena)(arena.memory());
            self.arenas.push(arena);
        }
        self.states.push(SegmentState { len: 0, depth });
        index
    }

    #[inline]
    fn slots(&self, index: usize) -> &Segment {
        let arena = &self.arenas[index / ARENA_SEGMENTS];
        let slots = &arena.slots[arena.range(index)];
        slots.first_chunk().expect("an arena holds whole segments")
    }

    #[inline]
    fn slots_mut(&mut self, index: usize) -> &mut Segment {
        let arena = &mut self.arenas[index / ARENA_SEGMENTS];
        let range = arena.range(index);
        arena.slots[range].first_chunk_mut().expect("an arena holds whole segments")
    }

    fn bytes(&self) -> usize {
        self.states.len() * (size_of::<Segment>() + size_of::<SegmentState>())
    }
}

/// The slot of the key, or the empty one where it would go.
#[inline]
fn probe(slots: &Segment, hash: u64, key: u64) -> usize {
    let mut at = home(hash);
    loop {
        let [found, _] = slots[at];
        if found == key || found == 0 {
            return at;
        }
        at = (at + 1) % SEGMENT_SLOTS;
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
    segments: Segments,
    zero: Option<u64>,
    len: usize,
    seed: u64,
    memory: MemoryHooks,
}

impl WordTable {
    /// An empty table; `seed` keeps the order of slots unpredictable to those who choose keys.
    pub(super) fn new(seed: u64, memory: MemoryHooks) -> Self {
        let segments = Segments::new(memory.on_arena);
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

    /// Brings the cache line near where the search for a key begins.
    #[inline]
    pub(super) fn prefetch(&self, key: u64) {
        let hash = self.hash(key);
        let slots = self.segments.slots(self.segment_index(hash));
        (self.memory.prefetch)(&slots[home(hash)]);
    }

    /// The value of a key.
    #[inline]
    pub(super) fn get(&self, key: u64) -> Option<u64> {
        if key == 0 {
            return self.zero;
        }
        let hash = self.hash(key);
        let slots = self.segments.slots(self.segment_index(hash));
        let [found, value] = slots[probe(slots, hash, key)];
        (found == key).then_some(value)
    }

    /// The value of a key, to be changed in place.
    #[inline]
    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut u64> {
        if key == 0 {
            return self.zero.as_mut();
        }
        let hash = self.hash(key);
        let index = self.segment_index(hash);
        let slots = self.segments.slots_mut(index);
        let at = probe(slots, hash, key);
        let [found, value] = &mut slots[at];
        (*found == key).then_some(value)
    }

    /// Sets the value of a key and returns the one it had.
    pub(super) fn insert(&mut self, key: u64, value: u64) -> Option<u64> {
        if key == 0 {
            return self.zero.replace(value);
        }
        let hash = self.hash(key);
        loop {
            let index = self.segment_index(hash);
            let slots = self.segments.slots_mut(index);
            let at = probe(slots, hash, key);
            let slot = &mut slots[at];
            if slot[0] == key {
                return Some(std::mem::replace(&mut slot[1], value));
            }
            if self.segments.states[index].len < SEGMENT_LEN_MAX {
                self.segments.slots_mut(index)[at] = [key, value];
                self.segments.states[index].len += 1;
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
        let slots = self.segments.slots(index);
        let at = probe(slots, hash, key);
        let [found, value] = slots[at];
        if found != key {
            return None;
        }
        self.shift_back(index, at);
        self.segments.states[index].len -= 1;
        self.len -= 1;
        Some(value)
    }

    /// Closes the gap at `gap` by moving back every later slot of its run that may move.
    fn shift_back(&mut self, index: usize, mut gap: usize) {
        let mut at = gap;
        loop {
            at = (at + 1) % SEGMENT_SLOTS;
            let slot = self.segments.slots(index)[at];
            if slot[0] == 0 {
                break;
            }
            // A slot may move back to the gap unless its home lies between the gap and itself.
            let from_home = (at + SEGMENT_SLOTS - home(self.hash(slot[0]))) % SEGMENT_SLOTS;
            let from_gap = (at + SEGMENT_SLOTS - gap) % SEGMENT_SLOTS;
            if from_home >= from_gap {
                self.segments.slots_mut(index)[gap] = slot;
                gap = at;
            }
        }
        self.segments.slots_mut(index)[gap] = [0; 2];
    }

    /// Splits the segment of `hash` by the next bit; doubles the directory if it has no such bit yet.
    fn split(&mut self, index: usize, hash: u64) {
        let depth = self.segments.states[index].depth + 1;
        assert!(depth <= DEPTH_MAX, "thousands of keys share {DEPTH_MAX} bits of a seeded hash");
        if depth > self.depth {
            self.directory = self.directory.iter().flat_map(|at| [*at, *at]).collect();
            self.depth = depth;
        }
        let old = self.segments.slots(index).to_vec();
        self.segments.slots_mut(index).fill([0; 2]);
        self.segments.states[index] = SegmentState { len: 0, depth };
        let sibling = u32::try_from(self.segments.push(depth)).expect("at most 2^28 segments");
        // The entries that led to the old segment are one aligned block; its upper half moves.
        let half = 1_usize << (self.depth - depth);
        let upper = (self.directory_index(hash) & !(2 * half - 1)) + half;
        self.directory[upper..upper + half].fill(sibling);
        for slot in old.into_iter().filter(|slot| slot[0] != 0) {
            let hash = self.hash(slot[0]);
            let target = self.segment_index(hash);
            let slots = self.segments.slots_mut(target);
            let at = probe(slots, hash, slot[0]);
            slots[at] = slot;
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
