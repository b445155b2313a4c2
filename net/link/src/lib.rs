//! Links carry frames between cores: through memory in one process, through sockets between
//! processes.
//!
//! A link never blocks. The agent that owns it writes messages into [`Link::outgoing`], calls
//! [`Link::flush`] once a cycle (one write a flush: that is the batching), calls [`Link::poll`] and
//! reads the frames that arrived where they lie. An [`Emulator`] puts a network between the two
//! ends of any link. All kinds pass the same tests.
#![forbid(unsafe_code)]

mod emulated;
mod handshake;
mod park;
mod ring;
mod stream;

pub use emulated::{
    Distribution, EmulatedLink, Emulator, EmulatorCounts, EmulatorHandle, NetworkPath, Shape,
    Shaper, monotonic_ns,
};
pub use handshake::{ClientHandshake, HandshakeError, Identity, ServerHandshake, Visitor};
pub use park::{CoreWaker, ParkHandle, Parker};
pub use ring::{RING_BUFFERS, RingLink, ring_pair};
pub use stream::{Endpoint, Listener, StreamLink};

use punctual_wire::{BatchWriter, WireError};
use std::io;
use thiserror::Error;

/// Bytes that may wait in an outgoing buffer before the link counts as full. One more frame's
/// messages may come on top of it.
pub const OUTGOING_BYTES_MAX: usize = 4 << 20;

/// Why a link is at its end.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The peer closed it, in order or by dying.
    #[error("the peer closed the link")]
    Closed,
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Io(#[from] io::Error),
    /// What arrived is not a frame.
    #[error("malformed bytes arrived: {0}")]
    Wire(#[from] WireError),
}

/// A link to one peer.
pub trait Link: Send {
    /// The outgoing batch.
    fn outgoing(&mut self) -> &mut BatchWriter;

    /// Seals the open frame and moves as many bytes as the transport takes, in one write. Returns
    /// how many. What is left goes with the next flush.
    ///
    /// # Errors
    /// When the link is at its end.
    fn flush(&mut self) -> Result<usize, LinkError>;

    /// Bytes that wait to be flushed.
    fn pending(&self) -> usize;

    /// Whether the outgoing buffer has room for more.
    fn has_room(&self) -> bool {
        self.pending() < OUTGOING_BYTES_MAX
    }

    /// Takes in what has arrived, at most one buffer. Returns the bytes that are new.
    ///
    /// # Errors
    /// When the link is at its end and everything that arrived before was taken.
    fn poll(&mut self) -> Result<usize, LinkError>;

    /// What has arrived and was not consumed, and the outgoing batch for the answers to it.
    fn parts(&mut self) -> (&[u8], &mut BatchWriter);

    /// Drops the first `bytes` of what was received.
    fn consume(&mut self, bytes: usize);

    /// When the other end flushed what the last poll brought, if it notes that.
    fn flushed_ns(&self) -> Option<u64> {
        None
    }

    /// Lets a parker wake up when the link becomes readable or writable.
    ///
    /// # Errors
    /// When the operating system refuses.
    fn register(&mut self, handle: &ParkHandle) -> Result<(), LinkError>;

    /// Undoes [`register`](Self::register), so that a link that came from another process can be
    /// registered by another core. A link within the process stays with the core that registered
    /// it: there is nothing to undo.
    ///
    /// # Errors
    /// When the operating system refuses, as it does for a link that is not registered.
    fn unregister(&mut self, _handle: &ParkHandle) -> Result<(), LinkError> {
        Ok(())
    }

    /// Whether the other end is in this process: then there is no second try, and no stranger.
    fn is_local(&self) -> bool {
        false
    }

    /// Who is at the other end, for people.
    fn peer(&self) -> String;
}

#[cfg(test)]
mod tests;
