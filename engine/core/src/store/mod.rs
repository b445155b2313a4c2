//! The store of one shard: owned by it, without locks and without a timestamp per key.
//!
//! Nothing here knows about time: rule R2 orders transactions by one scalar a shard. Keys and
//! values of eight bytes live in a table of words, some 32 bytes each; everything else in a slab of
//! entries, found through a second table of the same kind by the 64-bit fingerprint of the key. A
//! key is in exactly one of the two.

mod slab;
mod table;

use punctual_wire::{Key, Op, OpResult, ResultStatus, WordOp};
use slab::Slab;
use std::ops::Range;
pub use table::MemoryHooks;
use table::WordTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A value that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Eight bytes.
    Word([u8; 8]),
    /// Any length.
    Bytes(&'a [u8]),
}

impl Value<'_> {
    /// The bytes of the value.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Word(word) => word,
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// A key with its value, as it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) enum StoredValue<'a> {
    Word { key: u64, value: u64 },
    Bytes { key: &'a [u8], value: &'a [u8] },
}

/// A key-value store.
#[derive(Debug)]
pub struct Store {
    words: WordTable,
    index: WordTable,
    slab: Slab,
    /// How many keys of eight bytes are in the slab, because their values are not words. While
    /// there are none, a miss in the table of words is final.
    wide_words: usize,
    seed: u64,
    bytes_max: u64,
}

impl Store {
    /// An empty store. `seed` should be random where keys may come from strangers, and fixed in a
    /// simulation. `bytes_max` is the limit behind [`is_full`](Self::is_full).
    #[must_use]
    pub fn new(seed: u64, bytes_max: u64) -> Self {
        Self::with_memory(seed, bytes_max, MemoryHooks::default())
    }

    /// As [`new`](Self::new), on a machine that is known better.
    #[must_use]
    pub fn with_memory(seed: u64, bytes_max: u64, memory: MemoryHooks) -> Self {
        Self {
            words: WordTable::new(seed, memory),
            index: WordTable::new(seed.rotate_left(32), memory),
            slab: Slab::new(),
            wide_words: 0,
            seed,
            bytes_max,
        }
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len() + self.slab.len()
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory in use, allocator overhead estimated.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.words.bytes() + self.index.bytes() + self.slab.bytes()
    }

    /// Whether the limit of bytes is reached. A shard refuses writes then; it may be exceeded by
    /// what one transaction adds, since that is not known before it has run.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes() >= self.bytes_max
    }

    /// Brings the cache line near where the search for a key begins. Done for many keys before the
    /// first is looked up, their misses overlap.
    #[inline]
    pub fn prefetch(&self, key: Key<'_>) {
        match key {
            Key::Word(word) => self.words.prefetch(word),
            Key::Bytes(bytes) => self.index.prefetch(self.fingerprint(bytes)),
        }
    }

    /// The second step of a prefetch, of a key that is no word: brings its entry near. It waits for
    /// what [`prefetch`](Self::prefetch) asked for, so that should be some time ago.
    #[inline]
    pub fn prefetch_entry(&self, key: Key<'_>) {
        if let Some(head) = self.chain_of(key) {
            self.slab.prefetch_entry(head, self.words.memory());
        }
    }

    /// The third step: brings some bytes of its value near. It waits for the entry.
    #[inline]
    pub fn prefetch_value(&self, key: Key<'_>, bytes: Range<usize>) {
        if let Some(head) = self.chain_of(key) {
            self.slab.prefetch_value(head, bytes, self.words.memory());
        }
    }

    /// The first entry that may be that of a key; no two keys that differ share one in practice.
    #[inline]
    fn chain_of(&self, key: Key<'_>) -> Option<u32> {
        let Key::Bytes(bytes) = key else { return None };
        self.index.get(self.fingerprint(bytes)).map(slab_index)
    }

    /// Runs a read or an increment of a word and appends its result: the fast path of
    /// [`run`](Self::run). False, and nothing done, where it takes more than the table of words.
    #[inline(always)]
    pub(crate) fn run_word(&mut self, op: WordOp, out: &mut Vec<u8>) -> bool {
        let Some(value) = self.words.get_mut(op.key) else { return false };
        let sum = value.wrapping_add_signed(op.delta);
        // A read writes elsewhere: that is no branch to mispredict, and leaves its cache line
        // clean.
        let mut nowhere = 0;
        *[&mut nowhere, value][usize::from(op.is_add)] = sum;
        std::hint::black_box(nowhere);
        OpResult::write_word(ResultStatus::Ok, sum.to_le_bytes(), out);
        true
    }

    /// The value of a key.
    #[inline]
    #[must_use]
    pub fn get(&self, key: Key<'_>) -> Option<Value<'_>> {
        match key {
            Key::Word(word) => match self.words.get(word) {
                Some(value) => Some(Value::Word(value.to_le_bytes())),
                None if self.wide_words == 0 => None,
                None => self.wide_get(&word.to_le_bytes()),
            },
            Key::Bytes(bytes) => self.wide_get(bytes),
        }
    }

    /// Hands every key with its value to `take`, in no order.
    ///
    /// # Errors
    /// What `take` fails with.
    pub(crate) fn visit<E>(
        &self,
        mut take: impl FnMut(StoredValue<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.words.visit(|key, value| take(StoredValue::Word { key, value }))?;
        self.index.visit(|_, head| {
            self.slab.visit(slab_index(head), |key, value| take(StoredValue::Bytes { key, value }))
        })
    }

    /// Sets the value of a key.
    pub fn put(&mut self, key: Key<'_>, value: &[u8]) {
        match (key, <[u8; 8]>::try_from(value)) {
            (Key::Word(word), Ok(value)) => {
                if self.wide_words > 0 && self.wide_delete(&word.to_le_bytes()) {
                    self.wide_words -= 1;
                }
                self.words.insert(word, u64::from_le_bytes(value));
            }
            (Key::Word(word), Err(_)) => {
                self.words.remove(word);
                if self.wide_put(&word.to_le_bytes(), value) {
                    self.wide_words += 1;
                }
            }
            (Key::Bytes(bytes), _) => {
                self.wide_put(bytes, value);
            }
        }
    }

    /// Removes a key; whether it was there.
    pub fn delete(&mut self, key: Key<'_>) -> bool {
        match key {
            Key::Word(word) => {
                if self.words.remove(word).is_some() {
                    return true;
                }
                let deleted = self.wide_words > 0 && self.wide_delete(&word.to_le_bytes());
                self.wide_words -= usize::from(deleted);
                deleted
            }
            Key::Bytes(bytes) => self.wide_delete(bytes),
        }
    }

    /// Adds to the first eight bytes of a value and returns the sum; `None` if the value is
    /// shorter. An absent key counts as an 8-byte zero.
    #[inline]
    pub fn add(&mut self, key: Key<'_>, delta: i64) -> Option<i64> {
        if let Key::Word(word) = key
            && let Some(value) = self.words.get_mut(word)
        {
            *value = value.wrapping_add_signed(delta);
            return Some(value.cast_signed());
        }
        self.add_slowly(key, delta)
    }

    #[cold]
    fn add_slowly(&mut self, key: Key<'_>, delta: i64) -> Option<i64> {
        let mut buffer = [0; 8];
        let bytes = key_bytes(key, &mut buffer);
        let Some(at) = self.wide_find(bytes) else {
            self.put(key, &delta.to_le_bytes());
            return Some(delta);
        };
        let number = self.slab.value_mut(at).first_chunk_mut::<8>()?;
        let sum = i64::from_le_bytes(*number).wrapping_add(delta);
        *number = sum.to_le_bytes();
        Some(sum)
    }

    /// Appends to a value and returns its new length; `None` if that would exceed `len_max` bytes.
    pub fn append(&mut self, key: Key<'_>, tail: &[u8], len_max: usize) -> Option<u64> {
        let found = self.get(key);
        let len = found.map_or(0, |value| value.as_bytes().len()) + tail.len();
        if len > len_max {
            return None;
        }
        let mut buffer = [0; 8];
        match found {
            None => self.put(key, tail),
            Some(_) if tail.is_empty() => {}
            Some(Value::Word(head)) => {
                // The word leaves its table: it is a word no longer.
                self.put(key, &[&head, tail].concat());
            }
            Some(Value::Bytes(head)) if matches!(key, Key::Word(_)) && len == 8 => {
                let whole = [head, tail].concat();
                self.put(key, &whole);
            }
            Some(Value::Bytes(_)) => {
                let bytes = key_bytes(key, &mut buffer);
                let at = self.wide_find(bytes).expect("the key was just found");
                self.slab.append(at, tail);
            }
        }
        Some(len as u64)
    }

    /// Sets the value of a key if it has the expected one (`None`: if it is absent); whether it
    /// did.
    pub fn compare_and_set(&mut self, key: Key<'_>, expected: Option<&[u8]>, value: &[u8]) -> bool {
        let matches = match (self.get(key), expected) {
            (None, None) => true,
            (Some(found), Some(expected)) => found.as_bytes() == expected,
            _ => false,
        };
        if matches {
            self.put(key, value);
        }
        matches
    }

    /// Runs one operation and appends its result. A value that would make `out` longer than
    /// `out_len_max` is left out and its result says `TooLarge`; a longer value than
    /// `value_len_max` is not made.
    #[inline]
    pub fn run(&mut self, op: Op<'_>, value_len_max: usize, out_len_max: usize, out: &mut Vec<u8>) {
        match op {
            Op::Get { key } => match self.get(key) {
                Some(Value::Word(word)) => OpResult::write_word(ResultStatus::Ok, word, out),
                Some(Value::Bytes(bytes)) => {
                    write_value(ResultStatus::Ok, bytes, out_len_max, out);
                }
                None => OpResult::bare(ResultStatus::NotFound).write(out),
            },
            Op::Add { key, delta } => match self.add(key, delta) {
                Some(sum) => OpResult::write_word(ResultStatus::Ok, sum.to_le_bytes(), out),
                None => OpResult::bare(ResultStatus::WrongType).write(out),
            },
            Op::Put { key, value } => {
                self.put(key, value);
                OpResult::bare(ResultStatus::Ok).write(out);
            }
            Op::Delete { key } => {
                let found = self.delete(key);
                let status = if found { ResultStatus::Ok } else { ResultStatus::NotFound };
                OpResult::bare(status).write(out);
            }
            Op::Append { key, value } => match self.append(key, value, value_len_max) {
                Some(len) => OpResult::write_word(ResultStatus::Ok, len.to_le_bytes(), out),
                None => OpResult::bare(ResultStatus::TooLarge).write(out),
            },
            Op::CompareAndSet { key, expected, value } => {
                if self.compare_and_set(key, expected, value) {
                    OpResult::bare(ResultStatus::Ok).write(out);
                } else {
                    match self.get(key) {
                        Some(found) => {
                            let found = found.as_bytes();
                            write_value(ResultStatus::Mismatch, found, out_len_max, out);
                        }
                        None => OpResult::bare(ResultStatus::NotFound).write(out),
                    }
                }
            }
        }
    }

    fn fingerprint(&self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.seed)
    }

    fn wide_find(&self, key: &[u8]) -> Option<u32> {
        let head = self.index.get(self.fingerprint(key))?;
        self.slab.find(slab_index(head), key)
    }

    fn wide_get(&self, key: &[u8]) -> Option<Value<'_>> {
        self.wide_find(key).map(|at| Value::Bytes(self.slab.value(at)))
    }

    /// Sets a value in the slab; whether the key is new there.
    fn wide_put(&mut self, key: &[u8], value: &[u8]) -> bool {
        let fingerprint = self.fingerprint(key);
        let head = self.index.get(fingerprint).map(slab_index);
        if let Some(at) = head.and_then(|head| self.slab.find(head, key)) {
            self.slab.set(at, value);
            return false;
        }
        let at = self.slab.insert(head, key, value);
        self.index.insert(fingerprint, u64::from(at));
        true
    }

    fn wide_delete(&mut self, key: &[u8]) -> bool {
        let fingerprint = self.fingerprint(key);
        let Some(head) = self.index.get(fingerprint).map(slab_index) else { return false };
        let Some(at) = self.slab.find(head, key) else { return false };
        match self.slab.remove(head, at) {
            Some(head) => self.index.insert(fingerprint, u64::from(head)),
            None => self.index.remove(fingerprint),
        };
        true
    }
}

#[expect(clippy::cast_possible_truncation, reason = "only indices of the slab are stored")]
fn slab_index(word: u64) -> u32 {
    word as u32
}

fn key_bytes<'a>(key: Key<'a>, buffer: &'a mut [u8; 8]) -> &'a [u8] {
    match key {
        Key::Word(word) => {
            *buffer = word.to_le_bytes();
            buffer
        }
        Key::Bytes(bytes) => bytes,
    }
}

fn write_value(status: ResultStatus, value: &[u8], out_len_max: usize, out: &mut Vec<u8>) {
    if out.len() + OpResult::HEAD_BYTES_MAX + value.len() > out_len_max {
        OpResult::bare(ResultStatus::TooLarge).write(out);
    } else {
        OpResult::with(status, value).write(out);
    }
}

#[cfg(test)]
pub(crate) mod tests;
