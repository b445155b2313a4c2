//! One connection of a task queue.

use crate::shard_agent::End;
use punctual_core::Nanos;
use punctual_core::task::Party;
use punctual_link::Link;
use punctual_wire::{CloseReason, Handshake};

/// Turns without a word after which a link counts as quiet.
const QUIET_AFTER: u32 = 4;

/// What a link is used for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Use {
    /// Nobody has said hello yet.
    Shaking { since: Nanos },
    /// A client or a worker.
    Party { party: Party },
    /// It was told goodbye: what still arrives is dropped, and so is the link once the peer has
    /// hung up.
    Leaving { since: Nanos },
}

/// Why a connection is one of this queue no more.
pub(super) enum Parting {
    /// It is at its end.
    End(End),
    /// Its visitor wants another queue of the server.
    Forward { queue: u16 },
}

impl From<End> for Parting {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

pub(super) struct Connection {
    pub(super) link: Box<dyn Link>,
    pub(super) used_for: Use,
    /// Whether its frames carry checksums.
    pub(super) checksum: bool,
    /// Turns in which it was read and brought nothing.
    pub(super) silent_turns: u32,
}

impl Connection {
    pub(super) fn new(now: Nanos, link: Box<dyn Link>) -> Self {
        // A link within the process belongs to somebody who is about to say something.
        let silent_turns = if link.is_local() { 0 } else { QUIET_AFTER };
        Self { link, used_for: Use::Shaking { since: now }, checksum: false, silent_turns }
    }

    /// Whether it is read seldom while others bring work: a read that finds nothing costs as much
    /// as one that finds something.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.silent_turns >= QUIET_AFTER
    }

    /// Notes how much it brought.
    #[inline]
    pub(super) fn note(&mut self, work: usize) {
        self.silent_turns = if work > 0 { 0 } else { self.silent_turns.saturating_add(1) };
    }

    /// When it came, if it has not said yet who it is. Links within the process have no second try.
    pub(super) fn stranger_since(&self) -> Option<Nanos> {
        match self.used_for {
            Use::Shaking { since } if !self.link.is_local() => Some(since),
            _ => None,
        }
    }

    pub(super) fn leaving_since(&self) -> Option<Nanos> {
        match self.used_for {
            Use::Leaving { since } => Some(since),
            _ => None,
        }
    }

    /// Says goodbye; the link goes once the peer has hung up.
    pub(super) fn leave(&mut self, now: Nanos, reason: CloseReason) {
        Handshake::write_goodbye(self.link.outgoing(), reason);
        self.used_for = Use::Leaving { since: now };
    }
}
