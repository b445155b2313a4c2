//! The one place of this crate that speaks to the operating system in its own terms.
#![allow(unsafe_code)]

use punctual_core::MemoryHooks;
use rustix::mm::{Advice, madvise};
use rustix::param::page_size;

/// Segments of an arena as a power of two: 8 MiB, four huge pages.
const ARENA_BITS: u32 = 7;

/// How a store uses this machine: in huge pages, and with cache lines fetched ahead. The engine's
/// shards do; whoever times a [`Store`](punctual_core::Store) by itself wants the same.
#[must_use]
pub fn memory_hooks() -> MemoryHooks {
    MemoryHooks { arena_bits: ARENA_BITS, on_arena: advise_huge_pages, prefetch }
}

/// Brings a cache line near without waiting for it.
#[cfg(target_arch = "x86_64")]
fn prefetch(line: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch may name any address; it has no effect but on the caches.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
}

/// Elsewhere there is no stable way to ask.
#[cfg(not(target_arch = "x86_64"))]
fn prefetch(_: *const u8) {}

/// Asks for huge pages behind `memory`: a table of many megabytes is looked up at random, and with
/// small pages each look-up would also miss the translation cache. A system that has none to give
/// goes on without.
pub(crate) fn advise_huge_pages(memory: &[u64]) {
    let page = page_size();
    let range = memory.as_ptr_range();
    let first = (range.start as usize).next_multiple_of(page);
    let end = (range.end as usize) / page * page;
    let Some(len) = end.checked_sub(first).filter(|len| *len > 0) else { return };
    let start = memory.as_ptr().cast_mut().cast::<u8>().wrapping_add(first - range.start as usize);
    // SAFETY: the range lies inside `memory`, which is borrowed, and `MADV_HUGEPAGE` changes
    // nothing but how the kernel backs it: no content is altered and no page is unmapped.
    let advised = unsafe { madvise(start.cast(), len, Advice::LinuxHugepage) };
    if let Err(error) = advised {
        tracing::debug!(%error, "no huge pages for the store");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn advising_keeps_the_content() {
        let memory = vec![7_u64; 1 << 20];
        super::advise_huge_pages(&memory);
        super::advise_huge_pages(&memory[..3]);
        super::advise_huge_pages(&[]);
        assert!(memory.iter().all(|word| *word == 7));
    }
}
