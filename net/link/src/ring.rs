//! The link between two cores of one process: whole batches change hands, no byte is copied.
//!
//! Each direction has two bounded queues: one brings full buffers to the reader, the other brings
//! them back empty. A writer without an empty buffer is blocked: that is the back-pressure.

use crate::{CoreWaker, Link, LinkError, ParkHandle};
use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;
use punctual_wire::{BatchWriter, FRAME_HEADER_BYTES, Limits};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, OnceLock};

/// Buffers of one direction: so many batches may be on their way.
pub const RING_BUFFERS: usize = 16;

/// A full buffer on its way.
#[derive(Debug)]
struct Batch {
    bytes: Vec<u8>,
    /// When it was flushed; zero where nobody notes that.
    flushed_ns: u64,
}

/// One direction.
#[derive(Debug)]
struct Channel {
    full: ArrayQueue<Batch>,
    empty: ArrayQueue<Vec<u8>>,
    closed: CachePadded<AtomicBool>,
    /// The writer found no empty buffer and wants to be woken when there is one.
    writer_waits: CachePadded<AtomicBool>,
    /// Wakes the reader; not set while the reader never sleeps.
    reader: OnceLock<Arc<CoreWaker>>,
}

impl Channel {
    fn new() -> Arc<Self> {
        let empty = ArrayQueue::new(RING_BUFFERS);
        while empty.push(Vec::new()).is_ok() {}
        Arc::new(Self {
            full: ArrayQueue::new(RING_BUFFERS),
            empty,
            closed: CachePadded::new(AtomicBool::new(false)),
            writer_waits: CachePadded::new(AtomicBool::new(false)),
            reader: OnceLock::new(),
        })
    }

    fn wake_reader(&self) {
        // Before the waker is looked up: a reader that registers now looks again afterwards, and
        // then sees what was pushed.
        fence(Ordering::SeqCst);
        if let Some(waker) = self.reader.get() {
            waker.wake_after_fence();
        }
    }

    /// An empty buffer for the writer. Without one it is woken when the reader returns one.
    #[inline]
    fn take_empty(&self) -> Option<Vec<u8>> {
        self.empty.pop().or_else(|| {
            self.writer_waits.store(true, Ordering::Relaxed);
            // Either the reader sees the flag after it has returned a buffer, or that buffer is
            // seen here.
            fence(Ordering::SeqCst);
            self.empty.pop()
        })
    }
}

/// One end of a ring.
#[derive(Debug)]
pub struct RingLink {
    outgoing: BatchWriter,
    to_peer: Arc<Channel>,
    from_peer: Arc<Channel>,
    /// Notes when a batch is flushed, if somebody wants to know.
    clock: Option<fn() -> u64>,
    received: Vec<u8>,
    /// When that was flushed, or zero.
    flushed_ns: u64,
    consumed: usize,
}

/// Both ends of a ring. `batch_max` is the number of messages that share a frame.
#[must_use]
pub fn ring_pair(limits: Limits, batch_max: u16) -> (RingLink, RingLink) {
    let (there, back) = (Channel::new(), Channel::new());
    let end = |to_peer: &Arc<Channel>, from_peer: &Arc<Channel>| RingLink {
        outgoing: BatchWriter::new(limits, batch_max, false),
        to_peer: Arc::clone(to_peer),
        from_peer: Arc::clone(from_peer),
        clock: None,
        received: Vec::new(),
        flushed_ns: 0,
        consumed: 0,
    };
    (end(&there, &back), end(&back, &there))
}

impl RingLink {
    /// From now on tells the other end when each batch was flushed, by this clock: see
    /// [`Link::flushed_ns`].
    pub fn stamp_flushes(&mut self, clock: fn() -> u64) {
        self.clock = Some(clock);
    }

    /// Hands the outgoing buffer over; 0 if the peer has all of them.
    fn push(&mut self) -> usize {
        let Some(mut buffer) = self.to_peer.take_empty() else { return 0 };
        self.outgoing.swap_sealed(&mut buffer);
        self.hand_over(buffer)
    }

    fn hand_over(&self, bytes: Vec<u8>) -> usize {
        let len = bytes.len();
        let flushed_ns = self.clock.map_or(0, |now| now());
        let pushed = self.to_peer.full.push(Batch { bytes, flushed_ns });
        debug_assert!(pushed.is_ok(), "there are as many places as buffers");
        len
    }

    /// With batching off every frame travels alone, as it would take a write of its own on a
    /// socket.
    fn push_each(&mut self) -> usize {
        let mut bytes = 0;
        while bytes < self.outgoing.len() {
            let Some(mut buffer) = self.to_peer.take_empty() else { break };
            let rest = &self.outgoing.sealed()[bytes..];
            buffer.extend_from_slice(&rest[..frame_bytes(rest)]);
            bytes += self.hand_over(buffer);
        }
        self.outgoing.drop_front(bytes);
        bytes
    }
}

/// Length of the sealed frame at the start of `bytes`.
pub(crate) fn frame_bytes(bytes: &[u8]) -> usize {
    debug_assert!(bytes.len() >= FRAME_HEADER_BYTES, "a sealed frame has a header");
    let len = bytes.first_chunk().map_or(0, |len| u32::from_le_bytes(*len));
    (len as usize).clamp(FRAME_HEADER_BYTES.min(bytes.len()), bytes.len())
}

impl Link for RingLink {
    fn outgoing(&mut self) -> &mut BatchWriter {
        &mut self.outgoing
    }

    fn flush(&mut self) -> Result<usize, LinkError> {
        if self.outgoing.is_empty() {
            return Ok(0);
        }
        self.outgoing.seal();
        if self.to_peer.closed.load(Ordering::Acquire) {
            return Err(LinkError::Closed);
        }
        let bytes = if self.outgoing.batch_max() == 1 { self.push_each() } else { self.push() };
        if bytes > 0 {
            self.to_peer.wake_reader();
        }
        Ok(bytes)
    }

    fn pending(&self) -> usize {
        self.outgoing.len()
    }

    fn poll(&mut self) -> Result<usize, LinkError> {
        if self.consumed < self.received.len() {
            return Ok(0);
        }
        if self.received.capacity() > 0 {
            let mut used = std::mem::take(&mut self.received);
            used.clear();
            self.consumed = 0;
            let returned = self.from_peer.empty.push(used);
            debug_assert!(returned.is_ok(), "there are as many places as buffers");
            // Pairs with the fence in `take_empty`.
            fence(Ordering::SeqCst);
            if self.from_peer.writer_waits.load(Ordering::Relaxed) {
                self.from_peer.writer_waits.store(false, Ordering::Relaxed);
                // The peer's core, which writes there, is the one that reads here.
                self.to_peer.wake_reader();
            }
        }
        // The flag is read first: what was pushed before it was set is still taken.
        let closed = self.from_peer.closed.load(Ordering::Acquire);
        match self.from_peer.full.pop() {
            Some(Batch { bytes, flushed_ns }) => {
                (self.received, self.flushed_ns) = (bytes, flushed_ns);
                Ok(self.received.len())
            }
            None if closed => Err(LinkError::Closed),
            None => Ok(0),
        }
    }

    fn parts(&mut self) -> (&[u8], &mut BatchWriter) {
        (&self.received[self.consumed..], &mut self.outgoing)
    }

    fn consume(&mut self, bytes: usize) {
        self.consumed += bytes;
        debug_assert!(self.consumed <= self.received.len(), "no more than was received");
    }

    fn flushed_ns(&self) -> Option<u64> {
        (self.flushed_ns > 0).then_some(self.flushed_ns)
    }

    fn register(&mut self, handle: &ParkHandle) -> Result<(), LinkError> {
        // A second registration is by the same core: a link does not move between cores.
        let _ = self.from_peer.reader.set(Arc::clone(handle.waker()));
        Ok(())
    }

    fn is_local(&self) -> bool {
        true
    }

    fn peer(&self) -> String {
        "ring".to_owned()
    }
}

impl Drop for RingLink {
    fn drop(&mut self) {
        self.from_peer.closed.store(true, Ordering::Release);
        self.to_peer.closed.store(true, Ordering::Release);
        self.to_peer.wake_reader();
    }
}
