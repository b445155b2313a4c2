//! Sessions of coordinator workers and their outcome tables.
//!
//! Rule R8: a retry is answered from the outcome, never run again. Each session has as many slots
//! as it may have transactions in flight; a transaction's sequence names its slot and the use of
//! it, and a newer use tells that every older one is finished at the coordinator. So the table is
//! bounded exactly, found by index, and one transaction that hangs elsewhere holds nothing back
//! (session slots of NFS 4.1, RFC 8881 section 2.10.6).

use crate::{Nanos, SessionId};
use punctual_wire::{ReplyStatus, TxnSequence};
use std::time::Duration;
use thiserror::Error;

/// An outcome whose reply took more memory than this gives it back at the next use of its slot.
const OUTCOME_BYTES_KEPT: usize = 4096;

/// Where a shard keeps a session. Valid while the session is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionIndex(pub usize);

/// Why a session cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SessionError {
    /// All sessions are in use or were too recently.
    #[error("all {max} sessions are taken; raise sessions_max or stop some coordinators")]
    TooManySessions {
        /// The limit.
        max: u32,
    },
    /// More slots than a session may have, or none.
    #[error("{slots} slots are outside 1..={max}; lower in_flight of the coordinator")]
    TooManySlots {
        /// Slots wanted.
        slots: u32,
        /// The limit.
        max: u32,
    },
}

/// How the latest transaction of a slot ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) sequence: TxnSequence,
    pub(super) status: ReplyStatus,
    pub(super) commit: Nanos,
    pub(super) result_count: u16,
    pub(super) results: Vec<u8>,
}

impl Outcome {
    fn empty() -> Self {
        Self {
            sequence: TxnSequence(0),
            status: ReplyStatus::Busy,
            commit: Nanos::ZERO,
            result_count: 0,
            results: Vec::new(),
        }
    }

    /// Prepares the slot for a new transaction.
    #[inline]
    pub(super) fn begin(&mut self, sequence: TxnSequence, status: ReplyStatus, commit: Nanos) {
        self.sequence = sequence;
        self.status = status;
        self.commit = commit;
        self.result_count = 0;
        self.results.clear();
        if self.results.capacity() > OUTCOME_BYTES_KEPT {
            self.results = Vec::new();
        }
    }
}

#[derive(Debug)]
pub(super) struct Session {
    id: SessionId,
    outcomes: Vec<Outcome>,
    /// Which table this is: the sessions that the shard had made before it, counted with it.
    epoch: u32,
    /// When its last link went away; `None` while it is connected.
    closed_at: Option<Nanos>,
}

/// All sessions of a shard.
#[derive(Debug)]
pub(super) struct Sessions {
    sessions: Vec<Option<Session>>,
    sessions_max: u32,
    slots_max: u32,
    retention: Duration,
    /// Sessions made so far; a number of 32 bits, since only a change of it says something.
    made: u32,
}

impl Sessions {
    pub(super) fn new(sessions_max: u32, slots_max: u32, retention: Duration) -> Self {
        Self { sessions: Vec::new(), sessions_max, slots_max, retention, made: 0 }
    }

    /// Finds the session or makes it, in place of the one that was closed longest ago if need be.
    pub(super) fn open(
        &mut self,
        now: Nanos,
        id: SessionId,
        slots: u32,
    ) -> Result<SessionIndex, SessionError> {
        if slots == 0 || slots > self.slots_max {
            return Err(SessionError::TooManySlots { slots, max: self.slots_max });
        }
        let known = |session: &Option<Session>| session.as_ref().is_some_and(|s| s.id == id);
        if let Some(index) = self.sessions.iter().position(known) {
            let session = self.sessions[index].as_mut().expect("it was just found");
            session.closed_at = None;
            // The same run may only ask for what it asked before, or for more.
            if session.outcomes.len() < slots as usize {
                session.outcomes.resize_with(slots as usize, Outcome::empty);
            }
            return Ok(SessionIndex(index));
        }
        let index = self.vacancy(now)?;
        let outcomes = std::iter::repeat_with(Outcome::empty).take(slots as usize).collect();
        self.made = self.made.wrapping_add(1);
        self.sessions[index] = Some(Session { id, outcomes, epoch: self.made, closed_at: None });
        Ok(SessionIndex(index))
    }

    /// Which outcome table a session has. One that was forgotten and is made again has another one,
    /// however often its coordinator connected in between without being told.
    pub(super) fn epoch(&self, index: SessionIndex) -> u32 {
        self.sessions[index.0].as_ref().expect("the index of an open session").epoch
    }

    /// A place for a new session: an unused one, else that of the session closed longest ago,
    /// provided that its coordinator had time enough to come back.
    fn vacancy(&mut self, now: Nanos) -> Result<usize, SessionError> {
        if let Some(index) = self.sessions.iter().position(Option::is_none) {
            return Ok(index);
        }
        let closed = |(index, session): (usize, &Option<Session>)| {
            let closed_at = session.as_ref()?.closed_at?;
            (now.since(closed_at) >= self.retention).then_some((closed_at, index))
        };
        if let Some((_, index)) = self.sessions.iter().enumerate().filter_map(closed).min() {
            return Ok(index);
        }
        if self.sessions.len() >= self.sessions_max as usize {
            return Err(SessionError::TooManySessions { max: self.sessions_max });
        }
        self.sessions.push(None);
        Ok(self.sessions.len() - 1)
    }

    pub(super) fn close(&mut self, now: Nanos, index: SessionIndex) {
        if let Some(session) = self.sessions.get_mut(index.0).and_then(Option::as_mut) {
            session.closed_at = Some(now);
        }
    }

    pub(super) fn end(&mut self, index: SessionIndex) {
        if let Some(session) = self.sessions.get_mut(index.0) {
            *session = None;
        }
    }

    /// The slot of a sequence, if the session has it.
    #[inline]
    pub(super) fn outcome_mut(
        &mut self,
        index: SessionIndex,
        sequence: TxnSequence,
    ) -> Option<&mut Outcome> {
        let session = self.sessions[index.0].as_mut().expect("the index of an open session");
        session.outcomes.get_mut(usize::from(sequence.slot()))
    }
}
