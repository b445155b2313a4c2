//! Sessions of coordinator workers and their outcome tables.
//!
//! Rule R8: a retry is answered from the outcome, never run again. Each session has as many slots
//! as it may have transactions in flight; a transaction's sequence names its slot and the use of
//! it, and a newer use tells that every older one is finished at the coordinator. So the table is
//! bounded exactly, found by index, and one transaction that hangs elsewhere holds nothing back
//! (session slots of NFS 4.1, RFC 8881 section 2.10.6).

use crate::journal::Lsn;
use crate::{Nanos, SessionId};
use punctual_wire::{
    BatchWriter, RefusedReason, Reply, ReplyStatus, ReplyTiming, TxnId, TxnSequence,
};
use std::collections::{BTreeMap, VecDeque};
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

/// How far the log has to be durable before an answer leaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gate {
    pub(super) lsn: Lsn,
    /// Whatever the mode: others have a part in the transaction.
    pub(super) is_firm: bool,
}

/// How far the log counts as durable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// For firm gates.
    pub(super) firm: Lsn,
    /// For the others.
    pub(super) loose: Lsn,
}

impl Gate {
    #[inline]
    pub(super) fn is_open(self, reach: Reach) -> bool {
        self.lsn <= if self.is_firm { reach.firm } else { reach.loose }
    }
}

/// What opening a session did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened {
    pub(super) index: SessionIndex,
    /// It was made, or got more slots.
    pub(super) is_new: bool,
}

/// How the latest transaction of a slot ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) sequence: TxnSequence,
    /// Admitted, but not run yet: nothing else is valid.
    pub(super) is_pending: bool,
    pub(super) status: ReplyStatus,
    pub(super) commit: Nanos,
    pub(super) timing: Option<ReplyTiming>,
    pub(super) result_count: u16,
    pub(super) results: Vec<u8>,
}

impl Outcome {
    pub(super) fn empty() -> Self {
        Self {
            sequence: TxnSequence(0),
            is_pending: false,
            status: ReplyStatus::Busy,
            commit: Nanos::ZERO,
            timing: None,
            result_count: 0,
            results: Vec::new(),
        }
    }

    /// Prepares the slot for a new transaction.
    #[inline]
    pub(super) fn begin(&mut self, sequence: TxnSequence, status: ReplyStatus, commit: Nanos) {
        self.sequence = sequence;
        self.is_pending = false;
        self.status = status;
        self.commit = commit;
        self.timing = None;
        self.result_count = 0;
        self.results.clear();
        if self.results.capacity() > OUTCOME_BYTES_KEPT {
            self.results = Vec::new();
        }
    }

    /// Takes the slot for a transaction that has to wait.
    #[inline]
    pub(super) fn hold(&mut self, sequence: TxnSequence) {
        self.begin(sequence, ReplyStatus::Busy, Nanos::ZERO);
        self.is_pending = true;
    }

    /// Appends the reply that says it.
    #[inline]
    pub(super) fn write_reply(&self, out: &mut BatchWriter) {
        let Self { sequence, status, commit, timing, result_count, ref results, .. } = *self;
        match timing {
            None => Reply::write(out, sequence, status, commit.0, result_count, results),
            Some(timing) => {
                let count = result_count;
                Reply::write_timed(out, sequence, status, commit.0, timing, count, results);
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Session {
    id: SessionId,
    outcomes: Vec<Outcome>,
    /// Outcomes that were not sent yet, each with what it waits for; at most one for each slot
    /// counts.
    ready: VecDeque<(TxnSequence, Gate)>,
    /// Which table this is: the sessions that the shard had made before it, counted with it.
    epoch: u32,
    /// When its last link went away; `None` while it is connected.
    closed_at: Option<Nanos>,
}

impl Session {
    fn grow(&mut self, slots: usize) {
        if self.outcomes.len() < slots {
            self.outcomes.resize_with(slots, Outcome::empty);
        }
    }
}

/// All sessions of a shard.
#[derive(Debug)]
pub(super) struct Sessions {
    sessions: Vec<Option<Session>>,
    by_id: BTreeMap<SessionId, usize>,
    sessions_max: u32,
    slots_max: u32,
    retention: Duration,
    /// Sessions made so far; a number of 32 bits, since only a change of it says something.
    made: u32,
}

impl Sessions {
    pub(super) fn new(sessions_max: u32, slots_max: u32, retention: Duration) -> Self {
        let (sessions, by_id) = (Vec::new(), BTreeMap::new());
        Self { sessions, by_id, sessions_max, slots_max, retention, made: 0 }
    }

    /// Finds the session or makes it, in place of the one that was closed longest ago if need be.
    pub(super) fn open(
        &mut self,
        now: Nanos,
        id: SessionId,
        slots: u32,
    ) -> Result<Opened, SessionError> {
        if slots == 0 || slots > self.slots_max {
            return Err(SessionError::TooManySlots { slots, max: self.slots_max });
        }
        if let Some(index) = self.find(id) {
            let session = self.sessions[index.0].as_mut().expect("it was just found");
            session.closed_at = None;
            // The same run may only ask for what it asked before, or for more.
            let is_new = session.outcomes.len() < slots as usize;
            session.grow(slots as usize);
            return Ok(Opened { index, is_new });
        }
        let index = self.vacancy(now)?;
        self.put(index, id, slots, self.made.wrapping_add(1), None);
        Ok(Opened { index: SessionIndex(index), is_new: true })
    }

    /// Makes a session at a place, whatever was there.
    fn put(
        &mut self,
        index: usize,
        id: SessionId,
        slots: u32,
        epoch: u32,
        closed_at: Option<Nanos>,
    ) {
        let outcomes = std::iter::repeat_with(Outcome::empty).take(slots as usize).collect();
        self.made = epoch;
        let session = Session { id, outcomes, ready: VecDeque::new(), epoch, closed_at };
        if let Some(evicted) = self.sessions[index].replace(session) {
            self.by_id.remove(&evicted.id);
        }
        self.by_id.insert(id, index);
    }

    /// Does again what opening a session did. False if that cannot have been.
    pub(super) fn reopen(&mut self, id: SessionId, index: u32, slots: u32, epoch: u32) -> bool {
        let (at, is_known) = (index as usize, self.find(id).is_some());
        if slots == 0 || slots > self.slots_max || index >= self.sessions_max {
            return false;
        }
        if let Some(session) = self.sessions.get_mut(at).and_then(Option::as_mut)
            && session.id == id
            && session.epoch == epoch
        {
            session.grow(slots as usize);
            return true;
        }
        if is_known {
            return false;
        }
        if self.sessions.len() <= at {
            self.sessions.resize_with(at + 1, || None);
        }
        self.put(at, id, slots, epoch, Some(Nanos(i64::MIN)));
        true
    }

    /// Sets how many sessions were made.
    pub(super) fn set_made(&mut self, made: u32) {
        self.made = made;
    }

    /// How many sessions were made.
    pub(super) fn made(&self) -> u32 {
        self.made
    }

    /// Gives every session from now on the full time for its coordinator to come back.
    pub(super) fn wait_for_all(&mut self, now: Nanos) {
        for session in self.sessions.iter_mut().flatten() {
            session.closed_at = Some(now);
        }
    }

    /// All sessions: index, id, epoch and outcomes.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, SessionId, u32, &[Outcome])> {
        self.sessions.iter().enumerate().filter_map(|(index, session)| {
            let session = session.as_ref()?;
            Some((index, session.id, session.epoch, session.outcomes.as_slice()))
        })
    }

    /// Whether a session has a link.
    pub(super) fn is_open(&self, index: SessionIndex) -> bool {
        let session = self.sessions.get(index.0).and_then(Option::as_ref);
        session.is_some_and(|session| session.closed_at.is_none())
    }

    /// Where a session is, if it is kept.
    pub(super) fn find(&self, id: SessionId) -> Option<SessionIndex> {
        self.by_id.get(&id).map(|index| SessionIndex(*index))
    }

    /// Whose session is at an index.
    pub(super) fn id(&self, index: SessionIndex) -> Option<SessionId> {
        self.sessions.get(index.0)?.as_ref().map(|session| session.id)
    }

    /// The outcome of a transaction's slot in a session that is kept.
    pub(super) fn outcome_of(&mut self, txn: TxnId) -> Option<&mut Outcome> {
        let index = self.find(SessionId(txn.session))?;
        self.outcome_mut(index, txn.sequence)
    }

    /// Refuses a transaction for ever (R9). Where its session is not kept there is nothing to be
    /// remembered: its coordinator had one when it learned of this run of the shard, to which it
    /// has bound the transaction; a later one has another epoch, and the coordinator will not send
    /// there what it had sent before. Returns the session if there is something new to be told.
    pub(super) fn entomb(&mut self, txn: TxnId, reason: RefusedReason) -> Option<SessionIndex> {
        let index = self.find(SessionId(txn.session))?;
        let outcome = self.outcome_mut(index, txn.sequence)?;
        // A newer use of the slot says as well that the older transaction will not be admitted.
        let is_new = outcome.sequence < txn.sequence;
        if is_new {
            outcome.begin(txn.sequence, ReplyStatus::Refused(reason), Nanos::ZERO);
        }
        is_new.then_some(index)
    }

    /// Notes that an outcome can be sent once its gate is open.
    #[inline]
    pub(super) fn push_ready(&mut self, index: SessionIndex, sequence: TxnSequence, gate: Gate) {
        if let Some(session) = &mut self.sessions[index.0] {
            // Retries beyond that come again.
            if session.ready.len() < 2 * session.outcomes.len() {
                session.ready.push_back((sequence, gate));
            }
        }
    }

    /// Appends the replies that wait, up to the first whose gate is not open, as long as `out` has
    /// room for more.
    #[inline]
    pub(super) fn write_ready(
        &mut self,
        index: SessionIndex,
        reach: Reach,
        out_len_max: usize,
        out: &mut BatchWriter,
    ) -> usize {
        let Some(session) = self.sessions.get_mut(index.0).and_then(Option::as_mut) else {
            return 0;
        };
        let mut taken = 0;
        while let Some((sequence, gate)) = session.ready.front().copied()
            && gate.is_open(reach)
            && out.len() < out_len_max
        {
            session.ready.pop_front();
            taken += 1;
            let outcome = &session.outcomes[usize::from(sequence.slot())];
            // The coordinator may have given it up and used the slot for another one.
            if outcome.sequence == sequence && !outcome.is_pending {
                outcome.write_reply(out);
            }
        }
        taken
    }

    /// Which outcome table a session has. One that was forgotten and is made again has another one,
    /// however often its coordinator connected in between without being told.
    pub(super) fn epoch(&self, index: SessionIndex) -> u32 {
        self.sessions[index.0].as_ref().expect("the index of an open session").epoch
    }

    /// A place for a new session: an unused one, else that of the session closed longest ago,
    /// provided that its coordinator had time enough to come back.
    fn vacancy(&mut self, now: Nanos) -> Result<usize, SessionError> {
        // With thousands of sessions, nobody should look for what is not there.
        if self.by_id.len() < self.sessions.len()
            && let Some(index) = self.sessions.iter().position(Option::is_none)
        {
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
            // Who comes back asks again.
            session.ready = VecDeque::new();
        }
    }

    pub(super) fn end(&mut self, index: SessionIndex) -> Option<SessionId> {
        let session = self.sessions.get_mut(index.0).and_then(Option::take)?;
        self.by_id.remove(&session.id);
        Some(session.id)
    }

    /// The slot of a sequence, if the session is kept and has it.
    #[inline]
    pub(super) fn outcome_mut(
        &mut self,
        index: SessionIndex,
        sequence: TxnSequence,
    ) -> Option<&mut Outcome> {
        let session = self.sessions.get_mut(index.0)?.as_mut()?;
        session.outcomes.get_mut(usize::from(sequence.slot()))
    }
}
