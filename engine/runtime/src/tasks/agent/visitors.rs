//! Who comes to a task queue, and how one becomes a client or a worker.

use super::{STRANGERS_MAX, TaskAgent};
use crate::shard_agent::End;
use crate::tasks::LIMITS;
use crate::tasks::connection::{Connection, Use};
use punctual_core::{Nanos, SessionId};
use punctual_link::{HandshakeError, Link, ServerHandshake};
use punctual_wire::{CloseReason, Features, Role};
use std::time::Duration;

/// A visitor that has not said who it is by then is shown out.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

impl TaskAgent {
    pub(super) fn attach(&mut self, now: Nanos, mut link: Box<dyn Link>) {
        if self.stopping_since.is_some() {
            // Whoever was too late finds its link closed.
            return;
        }
        if let Some(park) = &self.park
            && let Err(error) = link.register(park)
        {
            tracing::warn!(peer = link.peer(), %error, "a link cannot be watched and is dropped");
            return;
        }
        self.counts.opened += 1;
        if !link.is_local() {
            self.make_room(now);
            if self.connections.len() >= self.connections_max {
                self.counts.closed += 1;
                self.counts.refused += 1;
                tracing::warn!(peer = link.peer(), "too many connections: one is refused");
                ServerHandshake::reject(link.as_mut(), CloseReason::TooManySessions);
                return;
            }
        }
        self.connections.push(Connection::new(now, link));
    }

    /// Shows the oldest stranger out if there are as many as there may be.
    fn make_room(&mut self, now: Nanos) {
        let stranger = |(at, connection): (usize, &Connection)| {
            let since = connection.stranger_since()?;
            Some((since, at))
        };
        let strangers = self.connections.iter().enumerate().filter_map(stranger);
        if strangers.clone().count() < STRANGERS_MAX {
            return;
        }
        if let Some((_, at)) = strangers.min() {
            let end = self.reject(at, CloseReason::HandshakeTimeout);
            self.close(now, at, &end);
        }
    }

    /// Tells a visitor why it cannot stay.
    fn reject(&mut self, at: usize, reason: CloseReason) -> End {
        ServerHandshake::reject(self.connections[at].link.as_mut(), reason);
        End::Handshake(HandshakeError::Rejected(reason))
    }

    pub(super) fn shake(&mut self, now: Nanos, at: usize) -> Result<usize, End> {
        let since = self.connections[at].stranger_since();
        if since.is_some_and(|since| now.since(since) > HANDSHAKE_TIMEOUT) {
            return Err(self.reject(at, CloseReason::HandshakeTimeout));
        }
        let id = self.queue.id().0;
        let link = self.connections[at].link.as_mut();
        let (identity, wrong) = (&self.identity, CloseReason::Token);
        let visitor = match ServerHandshake::step_telling(link, LIMITS, identity, id, wrong) {
            Ok(None) => return Ok(0),
            Ok(Some(visitor)) => visitor,
            Err(error) => return Err(End::Handshake(error)),
        };
        let read_at = self.clock.now();
        let opened = match visitor.role {
            Role::TaskClient => self.queue.open_client(read_at),
            Role::TaskWorker => self.queue.open_worker(read_at, SessionId(visitor.session)),
            // Transactions are elsewhere.
            _ => return Err(self.reject(at, CloseReason::WrongShard)),
        };
        let Ok(party) = opened else {
            return Err(self.reject(at, CloseReason::TooManySessions));
        };
        let connection = &mut self.connections[at];
        // First of all: if the visitor is gone already, the queue has to hear of it with the link.
        connection.used_for = Use::Party { party };
        connection.checksum = visitor.features.contains(Features::CHECKSUM);
        tracing::debug!(shard = id, peer = connection.link.peer(), ?visitor, "a visitor");
        let link = connection.link.as_mut();
        ServerHandshake::accept(link, &self.identity, id, 0, visitor.features);
        link.flush()?;
        Ok(1)
    }
}
