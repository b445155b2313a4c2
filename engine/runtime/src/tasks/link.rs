//! The link of a client or worker to its queue: one of those that shards are reached by as well.

use super::{BATCH_MAX, LIMITS, QueueAddress};
use crate::counters::LinkCounts;
use crate::driver::LinkEvent;
use crate::links::{LinkSettings, Lost, Route, ShardLinks, shard_id};
use punctual_core::{Nanos, Outbox};
use punctual_link::{Identity, LinkError, ParkHandle};
use punctual_wire::{BatchWriter, CloseReason, Features, Frame, FrameKind, Role, WireError};
use std::time::Duration;

/// What happened to the link to a queue.
#[derive(Debug)]
pub(super) enum QueueEvent {
    /// It is up.
    Up {
        /// How many queues the server has.
        queues: u16,
    },
    /// It could not be brought up; it is tried again.
    Down {
        /// What happened, for people.
        why: String,
    },
    /// The queue will not have us; it is not tried again.
    Refused(CloseReason),
}

/// A link to a queue, connected again whenever it is lost.
pub(super) struct QueueLink {
    /// Those before the one that is used are absent: the index of a link is the number that its
    /// greeting names.
    links: ShardLinks,
    queue: usize,
}

impl QueueLink {
    /// A link that is still to be brought up. `session` names this run of who opens it.
    pub(super) fn new(
        address: &QueueAddress,
        queue: u16,
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
        let mut routes: Vec<Route> = (0..queue).map(|_| Route::Absent).collect();
        routes.push(address.route(queue));
        Self { links: ShardLinks::new(routes, settings), queue: queue.into() }
    }

    /// Where its thread sleeps.
    pub(super) fn set_park(&mut self, park: Option<&ParkHandle>) {
        self.links.set_park(park);
    }

    #[inline]
    pub(super) fn is_up(&self) -> bool {
        self.links.count() > self.queue && self.links.is_up(self.queue)
    }

    /// Does the next step towards a working link; says so when it is up, or why it is not.
    pub(super) fn step(&mut self, now: Nanos) -> Option<QueueEvent> {
        match self.links.step(now, self.queue)? {
            Ok(welcome) => Some(QueueEvent::Up { queues: welcome.queues.get() }),
            Err(LinkEvent::Down { why }) => Some(QueueEvent::Down { why }),
            Err(LinkEvent::Refused(reason)) => Some(QueueEvent::Refused(reason)),
            // It is told by its welcome.
            Err(LinkEvent::Up) => None,
        }
    }

    /// Takes every frame of a queue that has arrived.
    #[inline]
    pub(super) fn take(
        &mut self,
        mut take: impl FnMut(&Frame<'_>) -> Result<(), WireError>,
    ) -> Result<usize, Lost> {
        self.links.take_frames(self.queue, |frame| match frame.kind {
            FrameKind::TaskPush => Ok(take(frame)?),
            kind => Err(WireError::UnexpectedKind(kind).into()),
        })
    }

    /// Where to write, while the link is up and has room.
    #[inline]
    pub(super) fn out(&mut self) -> Option<&mut BatchWriter> {
        self.links.to_shard(shard_id(self.queue))
    }

    /// Sends what was written, in one go.
    #[inline]
    pub(super) fn flush(&mut self) -> Result<usize, LinkError> {
        self.links.flush(self.queue)
    }

    /// Gives the link up, to be connected again.
    pub(super) fn lose(&mut self, now: Nanos, lost: &Lost) {
        self.links.lose(now, self.queue, lost);
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
