//! Who comes to a task queue, and how one becomes a client or a worker.

use super::TaskAgent;
use crate::shard_agent::{
    End, HANDSHAKE_TIMEOUT, ShardControl, refuse, register, reject, surplus_stranger,
};
use crate::tasks::LIMITS;
use crate::tasks::connection::{Connection, Parting, Use};
use flume::TrySendError;
use punctual_core::{Nanos, SessionId};
use punctual_link::{Link, ServerHandshake};
use punctual_wire::{CloseReason, Features, Role};

impl TaskAgent {
    pub(super) fn attach(&mut self, now: Nanos, mut link: Box<dyn Link>) {
        if self.stopping_since.is_some() {
            // Whoever was too late finds its link closed.
            return;
        }
        if !register(link.as_mut(), self.park.as_ref()) {
            return;
        }
        self.counts.opened += 1;
        if !link.is_local() {
            self.make_room(now);
            if self.connections.len() >= self.connections_max {
                refuse(link.as_mut(), &mut self.counts);
                return;
            }
        }
        self.connections.push(Connection::new(now, link));
    }

    /// Shows the oldest stranger out if there are as many as there may be, unless it has said hello
    /// by now. Many come at once, one link of each for every queue, and nobody has listened yet.
    fn make_room(&mut self, now: Nanos) {
        let since = self.connections.iter().map(Connection::stranger_since);
        let Some(at) = surplus_stranger(since) else { return };
        match self.shake(now, at) {
            Ok(0) => {
                let link = self.connections[at].link.as_mut();
                let end = reject(link, CloseReason::HandshakeTimeout);
                self.close(now, at, &end);
            }
            Ok(_) => {}
            Err(parting) => self.part(now, at, &parting),
        }
    }

    /// Hands a connection to the queue that its visitor wants. What has arrived goes with it.
    pub(super) fn forward(&mut self, at: usize, queue: u16) {
        let mut link = self.connections.swap_remove(at).link;
        if let Some(park) = &self.park
            && let Err(error) = link.unregister(park)
        {
            tracing::warn!(peer = link.peer(), %error, "a link cannot be moved and is dropped");
            self.counts.closed += 1;
            return;
        }
        match self.doors[usize::from(queue)].attach(link) {
            Err(TrySendError::Full(ShardControl::Attach(mut link))) => {
                refuse(link.as_mut(), &mut self.counts);
            }
            // That queue has died, and the server ends with it.
            Err(TrySendError::Disconnected(ShardControl::Attach(mut link))) => {
                self.counts.closed += 1;
                ServerHandshake::reject(link.as_mut(), CloseReason::Stopping);
            }
            _ => self.counts.closed += 1,
        }
    }

    /// Which queue a visitor wants, once it has said so.
    fn wanted(&mut self, at: usize) -> Result<Option<u16>, End> {
        let link = self.connections[at].link.as_mut();
        ServerHandshake::peek_shard(link, LIMITS).map_err(End::Handshake)
    }

    fn is_another(&self, queue: u16) -> bool {
        queue != self.queue.id().0 && usize::from(queue) < self.doors.len()
    }

    pub(super) fn shake(&mut self, now: Nanos, at: usize) -> Result<usize, Parting> {
        let since = self.connections[at].stranger_since();
        let link = self.connections[at].link.as_mut();
        if since.is_some_and(|since| now.since(since) > HANDSHAKE_TIMEOUT) {
            return Err(reject(link, CloseReason::HandshakeTimeout).into());
        }
        // Visitors from within the process know the ways to all queues.
        if !self.doors.is_empty() && !link.is_local() {
            match self.wanted(at)? {
                // Whatever arrives from here on is for the next turn to read, and to judge.
                None => return Ok(0),
                Some(queue) if self.is_another(queue) => return Err(Parting::Forward { queue }),
                Some(_) => {}
            }
        }
        let link = self.connections[at].link.as_mut();
        let id = self.queue.id().0;
        let (identity, wrong) = (&self.identity, CloseReason::Token);
        let visitor = match ServerHandshake::step_telling(link, LIMITS, identity, id, wrong) {
            Ok(None) => return Ok(0),
            Ok(Some(visitor)) => visitor,
            Err(error) => return Err(End::Handshake(error).into()),
        };
        let read_at = self.clock.now();
        let opened = match visitor.role {
            Role::TaskClient => self.queue.open_client(read_at),
            Role::TaskWorker => self.queue.open_worker(read_at, SessionId(visitor.session)),
            // Transactions are elsewhere.
            _ => return Err(reject(link, CloseReason::WrongShard).into()),
        };
        let Ok(party) = opened else {
            return Err(reject(link, CloseReason::TooManySessions).into());
        };
        let connection = &mut self.connections[at];
        // First of all: if the visitor is gone already, the queue has to hear of it with the link.
        connection.used_for = Use::Party { party };
        connection.checksum = visitor.features.contains(Features::CHECKSUM);
        tracing::debug!(shard = id, peer = connection.link.peer(), ?visitor, "a visitor");
        let link = connection.link.as_mut();
        ServerHandshake::accept_queue(link, &self.identity, id, self.queues, visitor.features);
        link.flush().map_err(End::from)?;
        Ok(1)
    }
}
