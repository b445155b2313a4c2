//! Going on from a journal (R11): the records of a snapshot and of the log behind it, done again.

use super::log::CLOCK_STEP;
use super::pending::Stage;
use super::release::{Release, keys};
use super::session::{Outcome, SessionIndex};
use super::{Mutation, Shard, ShardConfig};
use crate::journal::{Holder, Lsn, Record, RecordParties};
use crate::procedure::Procedures;
use crate::{Nanos, SessionId};
use punctual_wire::{Key, Piece, PieceBody, RefusedReason, ReplyStatus, TxnId, WireError};
use std::sync::Arc;
use thiserror::Error;

/// A record that does not fit what was there before it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// A transaction of a session that there is not.
    #[error("it belongs to session {0}, which is not open at this point")]
    NoSession(SessionId),
    /// A slot that the session does not have.
    #[error("it uses slot {slot}, which its session does not have")]
    NoSlot {
        /// The slot.
        slot: u16,
    },
    /// Something that happened to a transaction which is not there, or not so far.
    #[error("its transaction was not admitted, or it is not so far")]
    NoTransaction,
    /// A session that cannot be opened there.
    #[error("its session cannot be opened: raise sessions_max and slots_max to what they were")]
    BadSession,
    /// A procedure that is not registered.
    #[error(
        "it calls procedure {0}, which is not registered: start the program that has it, with the \
         same ids"
    )]
    NoProcedure(u16),
    /// A body that cannot be read.
    #[error("its operations cannot be read: {0}")]
    Body(#[from] WireError),
    /// A snapshot that ends before its end, or has records behind it.
    #[error("the snapshot has {found} keys and should have {expected}")]
    Keys {
        /// Keys found.
        found: u64,
        /// Keys that it says it has.
        expected: u64,
    },
    /// A record of a task queue that does not fit what was there before it.
    #[error("it does not fit the queue: {0}")]
    Task(&'static str),
    /// A record that whoever should do it again never writes.
    #[error("it is no record of a {holder}")]
    Foreign {
        /// What should do it again.
        holder: Holder,
    },
}

/// A shard that does again what its journal says, and becomes a working one in the end.
///
/// It is also how snapshots are made: a second one, in the background, reads the log that the
/// working shard writes, and never disturbs it.
#[derive(Debug)]
pub struct Replay {
    shard: Shard,
    /// The session of the last record; most records have the same as the one before.
    session: Option<(u64, SessionIndex)>,
    records: u64,
    transactions: u64,
    is_whole: bool,
}

impl Replay {
    /// A shard before the first record.
    #[must_use]
    pub fn new(config: ShardConfig, procedures: Arc<Procedures>) -> Self {
        let shard = Shard::new(config, procedures);
        Self { shard, session: None, records: 0, transactions: 0, is_whole: false }
    }

    /// Does what a record says.
    ///
    /// # Errors
    /// When it does not fit what was there before; the journal cannot be gone on from then.
    #[inline]
    pub fn apply(&mut self, record: &Record<'_>) -> Result<(), ReplayError> {
        self.records += 1;
        match *record {
            Record::Single { txn, commit, ref body } => self.single(txn, commit, body),
            Record::Admitted { txn, received_at, parties, ref body } => {
                self.admitted(txn, received_at, parties, body)
            }
            Record::Proposal { txn, shard, local } => self.proposal(txn, shard, local),
            Record::Released { txn } => self.released(txn),
            Record::Refused { txn, reason } => self.refused(txn, reason),
            Record::Buried { txn, dead } => {
                let at = self.find(txn)?;
                self.shard.pending.get_mut(at).dead |= dead;
                Ok(())
            }
            Record::Forgotten { txn } => {
                let at = self.find(txn)?;
                self.shard.count_entry(at, false);
                self.shard.pending.remove(at);
                Ok(())
            }
            Record::SessionOpened { id, index, slots, epoch } => {
                self.session = None;
                let opened = self.shard.sessions.reopen(id, index, slots, epoch);
                opened.then_some(()).ok_or(ReplayError::BadSession)
            }
            Record::SessionEnded { id } => {
                self.session = None;
                let index = self.shard.sessions.find(id).ok_or(ReplayError::NoSession(id))?;
                self.shard.sessions.end(index);
                Ok(())
            }
            Record::Clock { at } => {
                self.shard.clock = self.shard.clock.max(at);
                Ok(())
            }
            _ => self.state(record),
        }
    }

    /// Does what a record of a snapshot says. Those of others are refused.
    fn state(&mut self, record: &Record<'_>) -> Result<(), ReplayError> {
        let shard = &mut self.shard;
        match *record {
            Record::State { last_released, clock, sessions_made } => {
                (shard.last_released, shard.clock) = (last_released, clock);
                shard.sessions.set_made(sessions_made);
            }
            Record::Outcome { txn, status, commit, result_count, results } => {
                let index = self.session_of(txn)?;
                let outcome = self.shard.sessions.outcome_mut(index, txn.sequence);
                let slot = txn.sequence.slot();
                let outcome = outcome.ok_or(ReplayError::NoSlot { slot })?;
                outcome.begin(txn.sequence, status, commit);
                outcome.result_count = result_count;
                outcome.results.extend_from_slice(results);
            }
            Record::Words { words } => {
                for [key, value] in words {
                    shard.store.put(Key::Word(key.get()), &value.get().to_le_bytes());
                }
            }
            Record::Put { key, value } => shard.store.put(Key::new(key), value),
            Record::Kept { txn, parties } => {
                let at = self.enter(txn, parties)?;
                self.shard.pending.get_mut(at).stage = Stage::Released;
            }
            Record::End { keys } => {
                let found = shard.store.len() as u64;
                if found != keys {
                    return Err(ReplayError::Keys { found, expected: keys });
                }
                self.is_whole = true;
            }
            Record::Task { .. } => return Err(ReplayError::Foreign { holder: Holder::Shard }),
            _ => unreachable!("the caller has taken the others"),
        }
        Ok(())
    }

    /// Whether the last record of a snapshot was done.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Records done so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Transactions among them that ran.
    #[must_use]
    pub fn transactions(&self) -> u64 {
        self.transactions
    }

    /// Transactions that are admitted and undecided, or decided and not run.
    #[must_use]
    pub fn undecided(&self) -> usize {
        let pending = &self.shard.pending;
        let proposed = |at: &&u32| pending.get(**at).stage == Stage::Proposed;
        pending.live().iter().filter(proposed).count()
    }

    /// The shard as it is, to be looked at.
    #[must_use]
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// Beyond this the clock of the shard was not read before the crash.
    #[must_use]
    pub fn clock_floor(&self) -> Nanos {
        let Shard { clock, last_released, .. } = self.shard;
        // Whatever others rely on waited until the last words about the clock were durable.
        (clock + CLOCK_STEP).max(last_released)
    }

    /// Sees to it that whatever is admitted from now on comes after `floor`, although the clock may
    /// have been set back behind it: nothing is ever admitted before what was promised before the
    /// crash (R2). The clock itself stays what it is, since others are told by it what has passed.
    pub fn admit_after(&mut self, floor: Nanos) {
        self.shard.last_released = self.shard.last_released.max(floor);
    }

    /// The shard, ready to work. The log goes on at `lsn`; `now` is its clock. What is undecided
    /// is proposed again as soon as the links to the others are up, and what is decided runs.
    #[must_use]
    pub fn finish(self, now: Nanos, lsn: Lsn) -> Shard {
        let mut shard = self.shard;
        shard.log.resume(lsn, shard.clock);
        shard.clock = now;
        shard.sessions.wait_for_all(now);
        for at in shard.pending.live().to_vec() {
            let ask_after = shard.config.ask_after;
            let entry = shard.pending.get_mut(at);
            (entry.ask_at, entry.ask_pause) = (now, ask_after);
            if entry.stage != Stage::Proposed {
                continue;
            }
            if shard.config.mutation.is(Mutation::ForgetUndecided) {
                shard.held_bytes -= shard.pending.drop_body(at);
                shard.count_entry(at, false);
                shard.pending.remove(at);
                continue;
            }
            let body = std::mem::take(&mut shard.pending.get_mut(at).body);
            let entry = shard.pending.get(at);
            let piece = entry.piece(&body);
            shard.pending.place(at, keys(&piece));
            shard.pending.get_mut(at).body = body;
            shard.agree_if_complete(now, at);
            // Who is left alone with a loss has nobody to hear from.
            shard.bury(at, 0);
        }
        shard
    }

    fn find(&self, txn: TxnId) -> Result<u32, ReplayError> {
        self.shard.pending.find(txn).ok_or(ReplayError::NoTransaction)
    }

    #[inline]
    fn session_of(&mut self, txn: TxnId) -> Result<SessionIndex, ReplayError> {
        if let Some((id, index)) = self.session
            && id == txn.session
        {
            return Ok(index);
        }
        let id = SessionId(txn.session);
        let index = self.shard.sessions.find(id).ok_or(ReplayError::NoSession(id))?;
        self.session = Some((txn.session, index));
        Ok(index)
    }

    /// Reads a body once, so that running it cannot fail.
    #[inline]
    fn check(&self, body: &PieceBody<'_>) -> Result<(), ReplayError> {
        self.shard.check_body(body, false)?;
        match *body {
            PieceBody::Call { procedure, .. } if self.shard.procedures.get(procedure).is_none() => {
                Err(ReplayError::NoProcedure(procedure))
            }
            _ => Ok(()),
        }
    }

    #[inline]
    fn single(
        &mut self,
        txn: TxnId,
        commit: Nanos,
        body: &PieceBody<'_>,
    ) -> Result<(), ReplayError> {
        self.check(body)?;
        let index = self.session_of(txn);
        self.transactions += 1;
        let Shard { config, procedures, store, undo, sessions, last_released, .. } =
            &mut self.shard;
        // It may have been held back for longer than its coordinator stayed, or had so many slots;
        let slot = index.ok().and_then(|index| sessions.outcome_mut(index, txn.sequence));
        // and its slot may have been used again meanwhile.
        let wanted = slot.filter(|outcome| outcome.sequence <= txn.sequence);
        let mut nowhere = Outcome::empty();
        let outcome = wanted.unwrap_or(&mut nowhere);
        *last_released = commit.max(*last_released);
        outcome.begin(txn.sequence, ReplyStatus::Committed, commit);
        Release { limits: &config.limits, procedures, store, undo }.run(body, outcome);
        Ok(())
    }

    /// Makes the entry of a transaction with its parties.
    fn enter(&mut self, txn: TxnId, parties: RecordParties<'_>) -> Result<u32, ReplayError> {
        let shard = &mut self.shard;
        let own_id = shard.config.id.0;
        let all = || parties.iter();
        let is_known = |party: &super::RecordParty| party.shard < shard.config.shards;
        let own = all().position(|party| party.shard == own_id && party.local.is_some());
        let (Some(own), true) = (own, all().all(|party| is_known(&party))) else {
            return Err(ReplayError::NoTransaction);
        };
        if shard.pending.find(txn).is_some() {
            return Err(ReplayError::NoTransaction);
        }
        let local = all().nth(own).and_then(|party| party.local).unwrap_or_default();
        let at = shard.pending.add(super::Order { time: local, txn });
        let entry = shard.pending.get_mut(at);
        entry.stage = Stage::Proposed;
        entry.own = u8::try_from(own).expect("there are at most 64 participants");
        for (bit, party) in all().enumerate() {
            entry.have |= u64::from(party.local.is_some()) << bit;
            entry.parties.push(super::Party {
                shard: party.shard,
                incarnation: party.incarnation,
                local: party.local.unwrap_or(Nanos(i64::MIN)),
            });
        }
        for party in all().filter(|party| party.shard != own_id) {
            shard.peers[usize::from(party.shard)].note_proposal(local);
        }
        shard.count_entry(at, true);
        Ok(at)
    }

    fn admitted(
        &mut self,
        txn: TxnId,
        received_at: Nanos,
        parties: RecordParties<'_>,
        body: &PieceBody<'_>,
    ) -> Result<(), ReplayError> {
        self.check(body)?;
        let at = self.enter(txn, parties)?;
        // Its session may be gone, in a snapshot; then nobody waits for the answer.
        let session = self.session_of(txn);
        let piece = Piece { sequence: txn.sequence, stamp: None, body: *body };
        let nowhere = SessionIndex(usize::MAX);
        let index = *session.as_ref().unwrap_or(&nowhere);
        let outcome = self.shard.sessions.outcome_mut(index, txn.sequence);
        // In a snapshot its coordinator may have given it up, and used the slot for another.
        let is_latest = outcome.is_some_and(|outcome| outcome.sequence < txn.sequence);
        let index = if is_latest { index } else { nowhere };
        self.shard.keep_piece(at, received_at, index, &piece);
        Ok(())
    }

    fn proposal(&mut self, txn: TxnId, shard: u16, local: Nanos) -> Result<(), ReplayError> {
        let at = self.find(txn)?;
        let entry = self.shard.pending.get_mut(at);
        let party = entry.party(shard).ok_or(ReplayError::NoTransaction)?;
        entry.parties[party].local = local;
        entry.have |= 1 << party;
        Ok(())
    }

    fn released(&mut self, txn: TxnId) -> Result<(), ReplayError> {
        let at = self.find(txn)?;
        self.transactions += 1;
        let shard = &mut self.shard;
        let entry = shard.pending.get_mut(at);
        if entry.stage != Stage::Proposed || !entry.is_complete() {
            return Err(ReplayError::NoTransaction);
        }
        let (commit, session) = (entry.latest(), entry.session);
        let body_bytes = std::mem::take(&mut entry.body);
        let body = entry.piece(&body_bytes);
        entry.order.time = commit;
        entry.stage = Stage::Released;
        shard.last_released = shard.last_released.max(commit);
        shard.run_held(txn, session, commit, &body, None);
        let entry = shard.pending.get_mut(at);
        entry.body = body_bytes;
        shard.held_bytes -= shard.pending.drop_body(at);
        Ok(())
    }

    fn refused(&mut self, txn: TxnId, reason: RefusedReason) -> Result<(), ReplayError> {
        if let Some(at) = self.shard.pending.find(txn) {
            self.shard.held_bytes -= self.shard.pending.drop_body(at);
            self.shard.count_entry(at, false);
            self.shard.pending.remove(at);
        }
        let sessions = &mut self.shard.sessions;
        if let Some(outcome) = sessions.outcome_of(txn)
            && outcome.sequence <= txn.sequence
        {
            outcome.begin(txn.sequence, ReplyStatus::Refused(reason), Nanos::ZERO);
        }
        Ok(())
    }
}
