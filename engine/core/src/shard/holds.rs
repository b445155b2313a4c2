//! Which pending transactions touch a key, in their order (R6).
//!
//! Every key that a pending transaction reads or writes is a *hold*. Holds of keys with the same
//! hash share a chain that is sorted by `(time, transaction id)`, so what stands before a
//! transaction at one of its keys is found by walking back from its own hold. Two keys of equal
//! 64-bit hash count as one, which costs a wait and never correctness; words have no equals.

use crate::Nanos;
use crate::store::MemoryHooks;
use punctual_wire::{Key, TxnId};
use xxhash_rust::xxh3::xxh3_64;

/// No hold, no entry.
pub(super) const NONE: u32 = u32::MAX;
/// Chains at the start. They double whenever there is a hold for each two of them.
const CHAINS_MIN: usize = 1 << 12;

/// A place in the order of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    pub(super) time: Nanos,
    pub(super) txn: TxnId,
}

/// Half a cache line. The transaction's id, which decides between equal times, is in its entry.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
struct Hold {
    time: Nanos,
    hash: u64,
    entry: u32,
    previous: u32,
    next: u32,
    /// The next hold of the same entry, or of the free list; shifted left by `IS_WRITE`.
    sibling_and_kind: u32,
}
const _: () = assert!(size_of::<Hold>() == 32);

/// Bit 0 of `Hold::sibling_and_kind`.
const IS_WRITE: u32 = 1;

impl Hold {
    #[inline]
    fn is_write(&self) -> bool {
        self.sibling_and_kind & IS_WRITE != 0
    }

    /// `NONE` loses its highest bit on the way, which the end of no list needs.
    #[inline]
    fn sibling(&self) -> u32 {
        match self.sibling_and_kind >> 1 {
            LAST => NONE,
            at => at,
        }
    }

    #[inline]
    fn set_sibling(&mut self, sibling: u32) {
        self.sibling_and_kind = sibling << 1 | self.sibling_and_kind & IS_WRITE;
    }
}

/// What `NONE` is as a sibling.
const LAST: u32 = NONE >> 1;

#[derive(Debug, Clone, Copy)]
struct Chain {
    head: u32,
    tail: u32,
}

const EMPTY: Chain = Chain { head: NONE, tail: NONE };

/// All holds of a shard.
#[derive(Debug)]
pub(super) struct Holds {
    chains: Vec<Chain>,
    holds: Vec<Hold>,
    free: u32,
    placed: usize,
}

/// The hash that conflicts are found by.
#[inline]
pub(super) fn key_hash(key: Key<'_>) -> u64 {
    match key {
        // Odd multiplication is a bijection: different words never share a hash.
        Key::Word(word) => word.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        Key::Bytes(bytes) => xxh3_64(bytes),
    }
}

impl Holds {
    pub(super) fn new() -> Self {
        Self { chains: vec![EMPTY; CHAINS_MIN], holds: Vec::new(), free: NONE, placed: 0 }
    }

    #[inline]
    fn chain_of(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.chains.len() - 1)
    }

    /// Brings the chain of a key near.
    #[inline]
    pub(super) fn prefetch(&self, key: Key<'_>, memory: MemoryHooks) {
        let chain = self.chain_of(key_hash(key));
        memory.prefetch(&raw const self.chains[chain]);
    }

    /// Places a hold and returns it; `sibling` is the entry's hold before it. `id` knows the
    /// transactions of entries.
    #[inline]
    pub(super) fn place(
        &mut self,
        time: Nanos,
        entry: u32,
        (hash, is_write): (u64, bool),
        sibling: u32,
        id: impl Fn(u32) -> TxnId,
    ) -> u32 {
        if self.placed * 2 >= self.chains.len() {
            self.grow(&id);
        }
        self.placed += 1;
        let sibling_and_kind = sibling << 1 | u32::from(is_write);
        let hold = Hold { time, hash, entry, previous: NONE, next: NONE, sibling_and_kind };
        let at = match self.free {
            NONE => {
                self.holds.push(hold);
                u32::try_from(self.holds.len() - 1).expect("fewer holds than 2^31")
            }
            at => {
                self.free = self.holds[at as usize].sibling();
                self.holds[at as usize] = hold;
                at
            }
        };
        self.link(at, &id);
        at
    }

    /// Puts a hold into its chain. Most come last, so the search begins at the end.
    #[inline]
    fn link(&mut self, at: u32, id: &impl Fn(u32) -> TxnId) {
        let Hold { time, hash, entry, .. } = self.holds[at as usize];
        let chain = self.chain_of(hash);
        let mut previous = self.chains[chain].tail;
        while previous != NONE {
            let other = &self.holds[previous as usize];
            let is_before = other.time < time
                || other.time == time && (other.entry == entry || id(other.entry) < id(entry));
            if is_before {
                break;
            }
            previous = other.previous;
        }
        let next = match previous {
            NONE => std::mem::replace(&mut self.chains[chain].head, at),
            _ => std::mem::replace(&mut self.holds[previous as usize].next, at),
        };
        match next {
            NONE => self.chains[chain].tail = at,
            _ => self.holds[next as usize].previous = at,
        }
        let hold = &mut self.holds[at as usize];
        (hold.previous, hold.next) = (previous, next);
    }

    #[inline]
    fn unlink(&mut self, at: u32) {
        let Hold { hash, previous, next, .. } = self.holds[at as usize];
        // In the middle of a chain its ends stay, and are not looked up.
        match previous {
            NONE => {
                let chain = self.chain_of(hash);
                self.chains[chain].head = next;
            }
            _ => self.holds[previous as usize].next = next,
        }
        match next {
            NONE => {
                let chain = self.chain_of(hash);
                self.chains[chain].tail = previous;
            }
            _ => self.holds[next as usize].previous = previous,
        }
    }

    /// Gives up all holds of an entry, from its last one on.
    #[inline]
    pub(super) fn remove(&mut self, last: u32) {
        let mut at = last;
        while at != NONE {
            self.unlink(at);
            let sibling = self.holds[at as usize].sibling();
            self.holds[at as usize].set_sibling(self.free);
            self.free = at;
            self.placed -= 1;
            at = sibling;
        }
    }

    /// Moves all holds of an entry to another time.
    pub(super) fn reorder(&mut self, last: u32, time: Nanos, id: impl Fn(u32) -> TxnId) {
        let mut at = last;
        while at != NONE {
            self.unlink(at);
            self.holds[at as usize].time = time;
            self.link(at, &id);
            at = self.holds[at as usize].sibling();
        }
    }

    /// An entry that stands before this one at one of its keys and conflicts with it. Two reads do
    /// not conflict.
    #[inline]
    pub(super) fn blocker(&self, last: u32) -> Option<u32> {
        let mut at = last;
        while at != NONE {
            let hold = &self.holds[at as usize];
            let mut before = hold.previous;
            while before != NONE {
                let other = &self.holds[before as usize];
                if other.hash == hold.hash
                    && other.entry != hold.entry
                    && (hold.is_write() || other.is_write())
                {
                    return Some(other.entry);
                }
                before = other.previous;
            }
            at = hold.sibling();
        }
        None
    }

    /// As [`blocker`](Self::blocker), for a key of a newcomer that has no hold.
    #[inline]
    pub(super) fn blocker_of(
        &self,
        order: Order,
        (hash, is_write): (u64, bool),
        id: impl Fn(u32) -> TxnId,
    ) -> Option<u32> {
        let mut at = self.chains[self.chain_of(hash)].head;
        while at != NONE {
            let hold = &self.holds[at as usize];
            if hold.time > order.time || hold.time == order.time && id(hold.entry) >= order.txn {
                return None;
            }
            if hold.hash == hash && (is_write || hold.is_write()) {
                return Some(hold.entry);
            }
            at = hold.next;
        }
        None
    }

    #[cold]
    fn grow(&mut self, id: &impl Fn(u32) -> TxnId) {
        let old = std::mem::take(&mut self.chains);
        self.chains = vec![EMPTY; old.len() * 2];
        for chain in old {
            let mut at = chain.head;
            while at != NONE {
                let next = self.holds[at as usize].next;
                self.link(at, id);
                at = next;
            }
        }
    }
}
