//! What the threads of a journal and the shard's core tell each other without waiting.

use punctual_core::journal::Lsn;
use punctual_link::CoreWaker;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// What a journal has counted since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct JournalCounts {
    /// How far the log is durable.
    pub(crate) durable: Lsn,
    /// Bytes written, heads and padding included.
    pub(crate) bytes: u64,
    pub(crate) writes: u64,
    /// Segments begun.
    pub(crate) segments: u64,
    /// Snapshots that were made.
    pub(crate) snapshots: u64,
    /// Whether there is no room for more.
    pub(crate) is_full: bool,
    pub(crate) write_max_ns: u64,
    pub(crate) write_sum_ns: u64,
}

/// Flags and positions. Each is written by one thread, as is said with it, unless it is set only
/// once.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// By the writer: how far the log is durable.
    durable: AtomicU64,
    /// Batches that the writer has not taken up. It counts down, the core up.
    queued: AtomicUsize,
    /// By the writer: whether half of the segment is used.
    is_past_half: AtomicBool,
    /// By the keeper: whether it found no room for the next segment.
    is_starved: AtomicBool,
    /// The journal is about to be closed: whatever can be left undone is.
    is_ending: AtomicBool,
    /// The journal was dropped without being closed: nothing is written any more.
    is_abandoned: AtomicBool,
    has_failed: AtomicBool,
    /// The first thing that went wrong.
    failure: Mutex<Option<String>>,
    /// The shard's core, if it ever sleeps.
    waker: OnceLock<Arc<CoreWaker>>,
    bytes: AtomicU64,
    writes: AtomicU64,
    segments: AtomicU64,
    snapshots: AtomicU64,
    write_max_ns: AtomicU64,
    write_sum_ns: AtomicU64,
}

impl Shared {
    pub(super) fn new(durable: Lsn) -> Arc<Self> {
        Arc::new(Self { durable: AtomicU64::new(durable.0), ..Self::default() })
    }

    /// Says whom to wake. Only the first call counts.
    pub(super) fn set_waker(&self, waker: Arc<CoreWaker>) {
        let _ = self.waker.set(waker);
    }

    /// Wakes the shard's core if it sleeps, after something was changed that it looks at.
    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_if_parked();
        }
    }

    #[inline]
    pub(super) fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// Everything before `lsn` is durable.
    pub(super) fn advance(&self, lsn: Lsn) {
        debug_assert!(lsn >= self.durable(), "what is durable stays so");
        self.durable.store(lsn.0, Ordering::Release);
        self.wake();
    }

    #[inline]
    pub(super) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    pub(super) fn note_queued(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_taken(&self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn set_past_half(&self, is_past_half: bool) {
        self.is_past_half.store(is_past_half, Ordering::Relaxed);
    }

    pub(super) fn is_starved(&self) -> bool {
        self.is_starved.load(Ordering::Relaxed)
    }

    pub(super) fn set_starved(&self, is_starved: bool) {
        self.is_starved.store(is_starved, Ordering::Relaxed);
        self.wake();
    }

    /// Whether no more should be appended: what is left of the segment is for what was admitted.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.is_starved() && self.is_past_half.load(Ordering::Relaxed)
    }

    /// What those look at who can stop in the middle.
    pub(super) fn ending(&self) -> &AtomicBool {
        &self.is_ending
    }

    /// What those look at who stop only if nobody waits for them any more.
    pub(super) fn abandoned(&self) -> &AtomicBool {
        &self.is_abandoned
    }

    pub(super) fn end(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::Relaxed)
    }

    pub(super) fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Relaxed);
        self.end();
    }

    #[inline]
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Notes what went wrong; what comes after the first is but a consequence.
    pub(super) fn fail(&self, why: String) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.has_failed.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn count_write(&self, bytes: usize, took: Duration) {
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.write_sum_ns.fetch_add(took_ns, Ordering::Relaxed);
        self.write_max_ns.fetch_max(took_ns, Ordering::Relaxed);
    }

    pub(super) fn count_segment(&self) {
        self.segments.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_snapshot(&self) {
        self.snapshots.fetch_add(1, Ordering::Relaxed);
        self.wake();
    }

    pub(super) fn counts(&self) -> JournalCounts {
        JournalCounts {
            durable: self.durable(),
            bytes: self.bytes.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
            segments: self.segments.load(Ordering::Relaxed),
            snapshots: self.snapshots.load(Ordering::Relaxed),
            is_full: self.is_full(),
            write_max_ns: self.write_max_ns.load(Ordering::Relaxed),
            write_sum_ns: self.write_sum_ns.load(Ordering::Relaxed),
        }
    }
}
