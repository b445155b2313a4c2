//! A network between the two ends of a link: delay, jitter, loss and bandwidth, without privileges
//! and on one machine.
//!
//! The agent that opens a link hands it over and gets another in its place: one end of a ring. The
//! other end belongs to the *emulator*, which is not an agent and has a thread of its own, so that
//! its timers disturb nobody. It takes what was sent at once, keeps it until it is due, and passes
//! it on. Both directions are shaped here, so the accepting side needs to know nothing, whether it
//! is in this process or on another machine.
//!
//! What is under way belongs to the network and not to the ends: it still arrives after the one who
//! sent it has gone, and the end of a link takes as long as its last message.

mod lane;
mod random;
mod shape;
mod transit;

pub use shape::{Distribution, NetworkPath, Shape, Shaper};
#[cfg(test)]
pub(crate) use transit::TRANSIT_BYTES_MAX;

use crate::{CoreWaker, Link, LinkError, ParkHandle, RingLink, ring_pair};
use lane::{Lane, LastWords};
use punctual_wire::{BatchWriter, Limits};
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Links that may wait for the emulator to look at them: it does whenever somebody opens one.
const ARRIVALS_MAX: usize = 1 << 16;

/// Nanoseconds of the machine's monotonic clock: the clock of an emulator.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // It counts from the start of the machine, so neither part is negative.
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// What an emulator has done and has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EmulatorCounts {
    /// Links that are emulated now.
    pub links: usize,
    /// Batches of frames that were delayed.
    pub batches: u64,
    /// Bytes that were delayed.
    pub bytes: u64,
    /// Packets that were lost, and arrived later.
    pub packets_lost: u64,
    /// Bytes that are under way now.
    pub bytes_under_way: usize,
}

impl EmulatorCounts {
    fn plus(self, other: Self) -> Self {
        Self {
            links: self.links + other.links,
            batches: self.batches + other.batches,
            bytes: self.bytes + other.bytes,
            packets_lost: self.packets_lost + other.packets_lost,
            bytes_under_way: self.bytes_under_way + other.bytes_under_way,
        }
    }
}

/// What an emulator shares with those who open links. Nothing on the way of a message is in here.
struct Shared {
    /// `None` once the emulator is gone.
    arrivals: Mutex<Option<Vec<Lane>>>,
    has_arrivals: AtomicBool,
    waker: OnceLock<Arc<CoreWaker>>,
    clock: fn() -> u64,
}

impl Shared {
    fn arrivals(&self) -> MutexGuard<'_, Option<Vec<Lane>>> {
        // Whoever panicked while it held the lock left whole links behind.
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Delays what is sent over the links that are handed to it. It does not run by itself: somebody
/// calls [`turn`](Self::turn) again and again.
pub struct Emulator {
    lanes: Vec<Lane>,
    shared: Arc<Shared>,
    park: Option<ParkHandle>,
    /// Of the links that are gone.
    finished: EmulatorCounts,
}

impl Emulator {
    /// An emulator without links. Its clock counts nanoseconds, and never runs backwards.
    #[must_use]
    pub fn new(clock: fn() -> u64) -> Self {
        let shared = Shared {
            arrivals: Mutex::new(Some(Vec::new())),
            has_arrivals: AtomicBool::new(false),
            waker: OnceLock::new(),
            clock,
        };
        Self {
            lanes: Vec::new(),
            shared: Arc::new(shared),
            park: None,
            finished: EmulatorCounts::default(),
        }
    }

    /// How links get to it.
    #[must_use]
    pub fn handle(&self) -> EmulatorHandle {
        EmulatorHandle { shared: Arc::clone(&self.shared) }
    }

    /// Where its thread sleeps. To be called before the first turn.
    pub fn set_park(&mut self, park: &ParkHandle) {
        // A second place to sleep would be a mistake, and wake nobody.
        let _ = self.shared.waker.set(Arc::clone(park.waker()));
        self.park = Some(park.clone());
    }

    /// Looks at all links once: takes what was sent, passes on what is due. `on_delivery` is told
    /// of each batch by how many nanoseconds it left after it was due, unless its receiver had no
    /// room. Returns how much was done; with 0 there is nothing to do until
    /// [`next_due_ns`](Self::next_due_ns), or until a link wakes the thread.
    pub fn turn(&mut self, on_delivery: &mut dyn FnMut(u64)) -> usize {
        let mut work = self.adopt();
        let clock = self.shared.clock;
        let mut at = 0;
        while let Some(lane) = self.lanes.get_mut(at) {
            // The clock is read for each: the one before may have taken a while.
            let now_ns = clock();
            work += lane.turn(now_ns, clock, on_delivery);
            if lane.is_over(now_ns) {
                let lane = self.lanes.swap_remove(at);
                let gone = EmulatorCounts { links: 0, bytes_under_way: 0, ..lane.counts() };
                self.finished = self.finished.plus(gone);
                work += 1;
            } else {
                at += 1;
            }
        }
        work
    }

    /// Takes the links that were handed over.
    fn adopt(&mut self) -> usize {
        if !self.shared.has_arrivals.swap(false, Ordering::Acquire) {
            return 0;
        }
        let arrivals = self.shared.arrivals().as_mut().map(std::mem::take).unwrap_or_default();
        let count = arrivals.len();
        for mut lane in arrivals {
            let watched = self.park.as_ref().map_or(Ok(()), |park| lane.register(park));
            // One that cannot be watched is closed: its agent tries again.
            if watched.is_ok() {
                self.lanes.push(lane);
            }
        }
        count
    }

    /// When something is due next, by its clock.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        self.lanes.iter().filter_map(Lane::next_due_ns).min()
    }

    /// What it has done and has to do.
    #[must_use]
    pub fn counts(&self) -> EmulatorCounts {
        self.lanes.iter().map(Lane::counts).fold(self.finished, EmulatorCounts::plus)
    }

    /// Whether it has no link, and none waits for it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.lanes.is_empty() && !self.shared.has_arrivals.load(Ordering::Acquire)
    }
}

impl Drop for Emulator {
    /// All its links end.
    fn drop(&mut self) {
        *self.shared.arrivals() = None;
    }
}

impl std::fmt::Debug for Emulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Emulator").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

/// Hands links to an emulator, from any thread.
#[derive(Clone)]
pub struct EmulatorHandle {
    shared: Arc<Shared>,
}

impl EmulatorHandle {
    /// Puts a network between the two ends of a link, and gives what its opener is to use instead.
    /// The link must not be registered with a parker yet. The same seed and the same messages meet
    /// the same delays.
    ///
    /// # Errors
    /// When the emulator is gone, or has not looked at its links for long: the link is closed.
    pub fn emulate(
        &self,
        mut link: Box<dyn Link>,
        limits: Limits,
        path: &NetworkPath,
        seed: u64,
    ) -> Result<EmulatedLink, LinkError> {
        let batch_max = link.outgoing().batch_max();
        let (mut ring, near) = ring_pair(limits, batch_max);
        ring.stamp_flushes(self.shared.clock);
        let last_words = LastWords::default();
        let emulated = EmulatedLink {
            ring,
            is_local: link.is_local(),
            peer: link.peer(),
            last_words: Arc::clone(&last_words),
        };
        let lane = Lane::new(near, link, limits.frame_bytes_max, path, seed, last_words);
        match self.shared.arrivals().as_mut() {
            Some(arrivals) if arrivals.len() < ARRIVALS_MAX => arrivals.push(lane),
            _ => return Err(LinkError::Closed),
        }
        self.shared.has_arrivals.store(true, Ordering::Release);
        if let Some(waker) = self.shared.waker.get() {
            waker.wake_if_parked();
        }
        Ok(emulated)
    }
}

impl std::fmt::Debug for EmulatorHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmulatorHandle").finish_non_exhaustive()
    }
}

/// A link with a network in it, as its opener has it.
#[derive(Debug)]
pub struct EmulatedLink {
    ring: RingLink,
    is_local: bool,
    peer: String,
    /// What the carrying link said when it ended.
    last_words: LastWords,
}

impl EmulatedLink {
    /// The end of the ring is the end of the carrying link, which may have said more.
    fn explain(&self, error: LinkError) -> LinkError {
        match self.last_words.get() {
            Some((kind, text)) => LinkError::Io(io::Error::new(*kind, text.clone())),
            None => error,
        }
    }
}

impl Link for EmulatedLink {
    fn outgoing(&mut self) -> &mut BatchWriter {
        self.ring.outgoing()
    }

    fn flush(&mut self) -> Result<usize, LinkError> {
        self.ring.flush().map_err(|error| self.explain(error))
    }

    fn pending(&self) -> usize {
        self.ring.pending()
    }

    fn poll(&mut self) -> Result<usize, LinkError> {
        self.ring.poll().map_err(|error| self.explain(error))
    }

    fn parts(&mut self) -> (&[u8], &mut BatchWriter) {
        self.ring.parts()
    }

    fn consume(&mut self, bytes: usize) {
        self.ring.consume(bytes);
    }

    fn register(&mut self, handle: &ParkHandle) -> Result<(), LinkError> {
        self.ring.register(handle)
    }

    fn is_local(&self) -> bool {
        self.is_local
    }

    fn peer(&self) -> String {
        self.peer.clone()
    }
}
