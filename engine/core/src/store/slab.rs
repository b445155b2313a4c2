//! Entries with keys or values of any length, in chunks that are never moved.
//!
//! An entry is one cache line: a look-up touches its bucket of the index, the entry, and the value.
//! That is also what a prefetch goes through, one step after the other.

use super::table::MemoryHooks;
use std::mem;
use std::ops::Range;

/// Entries of a chunk: growing allocates one chunk and moves nothing.
const CHUNK_ENTRIES: usize = 1024;
#[expect(clippy::cast_possible_truncation, reason = "a thousand fits")]
const CHUNK_ENTRIES_U32: u32 = CHUNK_ENTRIES as u32;
/// Ends a chain, and the list of free entries.
const NONE: u32 = u32::MAX;
/// What an allocator adds to a heap block, for the estimate of bytes.
const HEAP_BLOCK_OVERHEAD: usize = 16;

/// Longest key that is kept within its entry: as many bytes as the other form takes anyhow.
const SHORT_KEY_BYTES: usize = 22;
/// What a prefetch brings at a time.
const CACHE_LINE_BYTES: usize = 64;

/// A key. Short ones spare the look-up a step through memory.
#[derive(Debug)]
enum EntryKey {
    Short { len: u8, bytes: [u8; SHORT_KEY_BYTES] },
    Long(Box<[u8]>),
}

impl EntryKey {
    fn new(key: &[u8]) -> Self {
        let mut bytes = [0; SHORT_KEY_BYTES];
        match (bytes.get_mut(..key.len()), u8::try_from(key.len())) {
            (Some(short), Ok(len)) => {
                short.copy_from_slice(key);
                Self::Short { len, bytes }
            }
            _ => Self::Long(key.into()),
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(bytes) => bytes,
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Short { .. } => 0,
            Self::Long(bytes) => heap_of(bytes.len()),
        }
    }
}

#[derive(Debug)]
#[repr(align(64))]
struct Entry {
    key: EntryKey,
    value: Vec<u8>,
    /// The next entry whose key has the same 64-bit fingerprint, or the next free entry.
    next: u32,
}

const _: () = assert!(size_of::<Entry>() == CACHE_LINE_BYTES);

impl Entry {
    fn empty(next: u32) -> Self {
        Self { key: EntryKey::new(&[]), value: Vec::new(), next }
    }
}

/// The entries.
#[derive(Debug)]
pub(super) struct Slab {
    chunks: Vec<Vec<Entry>>,
    free: u32,
    len: usize,
    heap_bytes: usize,
}

fn heap_of(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes + HEAP_BLOCK_OVERHEAD }
}

impl Slab {
    pub(super) fn new() -> Self {
        Self { chunks: Vec::new(), free: NONE, len: 0, heap_bytes: 0 }
    }

    /// Number of entries in use.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> u64 {
        let chunks = self.chunks.len() * CHUNK_ENTRIES * size_of::<Entry>();
        (chunks + self.heap_bytes) as u64
    }

    fn entry(&self, at: u32) -> &Entry {
        &self.chunks[at as usize / CHUNK_ENTRIES][at as usize % CHUNK_ENTRIES]
    }

    fn entry_mut(&mut self, at: u32) -> &mut Entry {
        &mut self.chunks[at as usize / CHUNK_ENTRIES][at as usize % CHUNK_ENTRIES]
    }

    /// The entry with this key in the chain that starts at `head`.
    pub(super) fn find(&self, head: u32, key: &[u8]) -> Option<u32> {
        let mut at = head;
        while at != NONE {
            let entry = self.entry(at);
            if entry.key.bytes() == key {
                return Some(at);
            }
            at = entry.next;
        }
        None
    }

    /// Hands every entry of the chain that starts at `head` to `take`.
    pub(super) fn visit<E>(
        &self,
        head: u32,
        mut take: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = head;
        while at != NONE {
            let entry = self.entry(at);
            take(entry.key.bytes(), &entry.value)?;
            at = entry.next;
        }
        Ok(())
    }

    /// Brings an entry near, without waiting for it.
    #[inline]
    pub(super) fn prefetch_entry(&self, at: u32, memory: MemoryHooks) {
        memory.prefetch(&raw const *self.entry(at));
    }

    /// Brings some bytes of the value of an entry near, the entry being near.
    #[inline]
    pub(super) fn prefetch_value(&self, at: u32, bytes: Range<usize>, memory: MemoryHooks) {
        let value = &self.entry(at).value;
        let end = bytes.end.min(value.len());
        for line in (bytes.start..end).step_by(CACHE_LINE_BYTES) {
            memory.prefetch(&raw const value[line]);
        }
        // The last byte may be on one more line than there are steps.
        if bytes.start < end {
            memory.prefetch(&raw const value[end - 1]);
        }
    }

    /// The value of an entry.
    pub(super) fn value(&self, at: u32) -> &[u8] {
        &self.entry(at).value
    }

    /// The value of an entry, to be changed without changing its length.
    pub(super) fn value_mut(&mut self, at: u32) -> &mut [u8] {
        &mut self.entry_mut(at).value
    }

    /// Replaces a value, reusing its memory.
    pub(super) fn set(&mut self, at: u32, value: &[u8]) {
        self.resize(at, |old| {
            // A much shorter value gives the memory of the longer one back.
            if old.capacity() > 4 * value.len().max(64) {
                *old = Vec::new();
            }
            old.clear();
            old.extend_from_slice(value);
        });
    }

    /// Appends to a value.
    pub(super) fn append(&mut self, at: u32, tail: &[u8]) {
        self.resize(at, |old| old.extend_from_slice(tail));
    }

    fn resize(&mut self, at: u32, change: impl FnOnce(&mut Vec<u8>)) {
        let value = &mut self.entry_mut(at).value;
        let before = heap_of(value.capacity());
        change(value);
        let after = heap_of(value.capacity());
        self.heap_bytes = self.heap_bytes - before + after;
    }

    /// Makes an entry in front of the chain that starts at `head` (if there is one).
    pub(super) fn insert(&mut self, head: Option<u32>, key: &[u8], value: &[u8]) -> u32 {
        if self.free == NONE {
            self.grow();
        }
        let at = self.free;
        self.free = self.entry(at).next;
        let key = EntryKey::new(key);
        self.len += 1;
        self.heap_bytes += key.heap_bytes() + heap_of(value.len());
        *self.entry_mut(at) = Entry { key, value: value.to_vec(), next: head.unwrap_or(NONE) };
        at
    }

    /// Removes an entry from its chain. Returns the chain's new head, or `None` if it is empty now.
    pub(super) fn remove(&mut self, head: u32, at: u32) -> Option<u32> {
        let next = self.entry(at).next;
        let head = if head == at {
            next
        } else {
            let mut before = head;
            while self.entry(before).next != at {
                before = self.entry(before).next;
            }
            self.entry_mut(before).next = next;
            head
        };
        let free = mem::replace(&mut self.free, at);
        let gone = mem::replace(self.entry_mut(at), Entry::empty(free));
        self.len -= 1;
        self.heap_bytes -= gone.key.heap_bytes() + heap_of(gone.value.capacity());
        (head != NONE).then_some(head)
    }

    /// Adds one chunk to the list of free entries.
    fn grow(&mut self) {
        let first = u32::try_from(self.chunks.len() * CHUNK_ENTRIES)
            .ok()
            .filter(|first| *first < NONE - CHUNK_ENTRIES_U32)
            .expect("the limit of bytes comes long before four thousand million entries");
        let chunk = (0..CHUNK_ENTRIES_U32)
            .map(|offset| {
                let last = offset + 1 == CHUNK_ENTRIES_U32;
                Entry::empty(if last { NONE } else { first + offset + 1 })
            })
            .collect();
        self.chunks.push(chunk);
        self.free = first;
    }
}
