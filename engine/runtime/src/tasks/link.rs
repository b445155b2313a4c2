//! The link of a client or worker to its queue: one of those that shards are reached by as well.

use super::{BATCH_MAX, LIMITS, QueueAddress};
use crate::counters::LinkCounts;
use crate::driver::LinkEvent;
use crate::links::{LinkSettings, Lost, ShardLinks, shard_id};
use punctual_core::{Nanos, Outbox};
use punctual_link::{Identity, LinkError, ParkHandle};
use punctual_wire::{BatchWriter, Features, Frame, FrameKind, Role, WireError};
use std::time::Duration;

/// The first version has one queue a server.
const QUEUE: usize = 0;

/// A link to a queue, connected again whenever it is lost.
pub(super) struct QueueLink {
    links: ShardLinks,
}

impl QueueLink {
    /// A link that is still to be brought up. `session` names this run of who opens it.
    pub(super) fn new(
        address: &QueueAddress,
        role: Role,
        session: u64,
        connect_timeout: Duration,
    ) -> Self {
        // Memory needs no checksum.
        let features = if address.is_local() { Features::default() } else { Features::CHECKSUM };
        let settings = LinkSettings {
            limits: LIMITS,
            batch_max: BATCH_MAX,
            identity: Identity { session, cluster: address.hash(), features },
            role,
            from: 0,
            slots: 0,
            connect_timeout,
        };
        Self { links: ShardLinks::new(vec![address.route()], settings) }
    }

    /// Where its thread sleeps.
    pub(super) fn set_park(&mut self, park: Option<&ParkHandle>) {
        self.links.set_park(park);
    }

    #[inline]
    pub(super) fn is_up(&self) -> bool {
        self.links.count() > QUEUE && self.links.is_up(QUEUE)
    }

    /// Does the next step towards a working link; says so when it is up, or why it is not.
    pub(super) fn step(&mut self, now: Nanos) -> Option<LinkEvent> {
        match self.links.step(now, QUEUE)? {
            Ok(_) => Some(LinkEvent::Up),
            Err(event) => Some(event),
        }
    }

    /// Takes every frame of a queue that has arrived.
    #[inline]
    pub(super) fn take(
        &mut self,
        mut take: impl FnMut(&Frame<'_>) -> Result<(), WireError>,
    ) -> Result<usize, Lost> {
        self.links.take_frames(QUEUE, |frame| match frame.kind {
            FrameKind::TaskPush => Ok(take(frame)?),
            kind => Err(WireError::UnexpectedKind(kind).into()),
        })
    }

    /// Where to write, while the link is up and has room.
    #[inline]
    pub(super) fn out(&mut self) -> Option<&mut BatchWriter> {
        self.links.to_shard(shard_id(QUEUE))
    }

    /// Sends what was written, in one go.
    #[inline]
    pub(super) fn flush(&mut self) -> Result<usize, LinkError> {
        self.links.flush(QUEUE)
    }

    /// Gives the link up, to be connected again.
    pub(super) fn lose(&mut self, now: Nanos, lost: &Lost) {
        self.links.lose(now, QUEUE, lost);
    }

    /// Ends it for good: nothing more may be done with it.
    pub(super) fn say_goodbye(&mut self) {
        self.links.say_goodbye();
    }

    pub(super) fn next_deadline(&self) -> Option<Nanos> {
        self.links.next_deadline()
    }

    pub(super) fn counts(&self) -> &LinkCounts {
        self.links.counts()
    }
}
