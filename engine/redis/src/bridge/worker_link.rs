//! The link to the worker: the bridge is the side that a task queue would be.

use punctual_link::{
    HandshakeError, Identity, Link, LinkError, ParkHandle, RingLink, ServerHandshake, ring_pair,
};
use punctual_wire::task::{ToQueue, ToQueueReader};
use punctual_wire::{
    BatchWriter, CloseReason, Features, FrameKind, FrameReader, Handshake, Limits, Role, WireError,
};
use xxhash_rust::xxh3::xxh3_64;

/// The bounds of frames between queues and workers.
const LIMITS: Limits = Limits::DEFAULT;
/// The bridge plays a server with one queue, and the worker asks for that.
const QUEUE: u16 = 0;
/// What a worker shows whose token is empty. Nobody else can reach this link.
const SHOWN: &[u8] = b"punctual-tasks";

/// Both ends of a new link: the worker's, and ours.
pub(super) fn new_link() -> (RingLink, RingLink) {
    ring_pair(LIMITS, LIMITS.batch_max)
}

pub(super) struct WorkerLink {
    link: Box<dyn Link>,
    identity: Identity,
    is_welcome: bool,
}

impl WorkerLink {
    /// Takes a link on which nobody has said hello yet.
    pub(super) fn new(
        mut link: Box<dyn Link>,
        park: &ParkHandle,
        session: u64,
    ) -> Result<Self, LinkError> {
        link.register(park)?;
        let (cluster, features) = (xxh3_64(SHOWN), Features::default());
        let identity = Identity { session, cluster, features };
        Ok(Self { link, identity, is_welcome: false })
    }

    /// Takes everything that has arrived. Returns how much that was.
    ///
    /// # Errors
    /// When the link is at its end; everything before was taken.
    pub(super) fn read(
        &mut self,
        mut take: impl FnMut(&ToQueue<'_>) -> Result<(), WireError>,
    ) -> Result<usize, LinkError> {
        if !self.is_welcome && !self.shake()? {
            return Ok(0);
        }
        let polled = self.link.poll();
        let (bytes, _) = self.link.parts();
        if bytes.is_empty() {
            return polled;
        }
        let mut reader = FrameReader::new(bytes, LIMITS, false);
        let mut work = 0;
        let outcome = loop {
            match reader.next_frame() {
                Ok(Some(frame)) if frame.kind == FrameKind::Task => {
                    work += 1;
                    let mut messages = ToQueueReader::new(&frame);
                    if let Err(error) = take_all(&mut messages, &mut take) {
                        break Err(LinkError::Wire(error));
                    }
                }
                Ok(Some(frame)) if frame.kind == FrameKind::Goodbye => {
                    break Err(LinkError::Closed);
                }
                Ok(Some(frame)) => break Err(WireError::UnexpectedKind(frame.kind).into()),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            }
        };
        let taken = reader.taken();
        self.link.consume(taken);
        outcome?;
        if work == 0 { polled } else { Ok(work) }
    }

    /// Does the next step of the handshake. Returns whether it is done.
    fn shake(&mut self) -> Result<bool, LinkError> {
        let (link, identity) = (self.link.as_mut(), &self.identity);
        let wrong = CloseReason::Token;
        let visitor = match ServerHandshake::step_telling(link, LIMITS, identity, QUEUE, wrong) {
            Ok(None) => return Ok(false),
            Ok(Some(visitor)) => visitor,
            Err(HandshakeError::Link(error)) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "a link to the bridge is refused");
                return Err(LinkError::Closed);
            }
        };
        if visitor.role != Role::TaskWorker {
            ServerHandshake::reject(link, CloseReason::WrongShard);
            return Err(LinkError::Closed);
        }
        ServerHandshake::accept(link, identity, QUEUE, 0, visitor.features);
        link.flush()?;
        self.is_welcome = true;
        Ok(true)
    }

    /// Writes what `fill` has to say, and sends it. Returns how many messages that were.
    pub(super) fn write(
        &mut self,
        fill: impl FnOnce(&mut BatchWriter) -> usize,
    ) -> Result<usize, LinkError> {
        if !self.is_welcome {
            return Ok(0);
        }
        let written = fill(self.link.outgoing());
        self.link.flush()?;
        Ok(written)
    }

    /// Says goodbye. The link is to be dropped then.
    pub(super) fn close(mut self, reason: CloseReason) {
        Handshake::write_goodbye(self.link.outgoing(), reason);
        // Whoever has hung up already does not miss it.
        let _ = self.link.flush();
    }
}

fn take_all(
    messages: &mut ToQueueReader<'_>,
    take: &mut impl FnMut(&ToQueue<'_>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    while let Some(message) = messages.next_message()? {
        take(&message)?;
    }
    Ok(())
}
