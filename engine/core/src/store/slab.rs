//! Entries with keys or values of any length, in chunks that are never moved.

use std::mem;

/// Entries of a chunk: growing allocates one chunk and moves nothing.
const CHUNK_ENTRIES: usize = 1024;
#[expect(clippy::cast_possible_truncation, reason = "a thousand fits")]
const CHUNK_ENTRIES_U32: u32 = CHUNK_ENTRIES as u32;
/// Ends a chain, and the list of free entries.
const NONE: u32 = u32::MAX;
/// What an allocator adds to a heap block, for the estimate of bytes.
const HEAP_BLOCK_OVERHEAD: usize = 16;

#[derive(Debug)]
struct Entry {
    key: Box<[u8]>,
    value: Vec<u8>,
    /// The next entry whose key has the same 64-bit fingerprint, or the next free entry.
    next: u32,
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
            if *entry.key == *key {
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
            take(&entry.key, &entry.value)?;
            at = entry.next;
        }
        Ok(())
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
        *self.entry_mut(at) =
            Entry { key: key.into(), value: value.to_vec(), next: head.unwrap_or(NONE) };
        self.len += 1;
        self.heap_bytes += heap_of(key.len()) + heap_of(value.len());
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
        let gone = mem::replace(
            self.entry_mut(at),
            Entry { key: Box::default(), value: Vec::new(), next: free },
        );
        self.len -= 1;
        self.heap_bytes -= heap_of(gone.key.len()) + heap_of(gone.value.capacity());
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
                let next = if last { NONE } else { first + offset + 1 };
                Entry { key: Box::default(), value: Vec::new(), next }
            })
            .collect();
        self.chunks.push(chunk);
        self.free = first;
    }
}
