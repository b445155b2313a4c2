//! Transactions on several shards: admission, agreement, release, refusal (R2, R4 to R6, R9).

use super::holds::Order;
use super::pending::{Party, Stage, bind};
use super::release::{Release, keys, writes};
use super::session::{Gate, Outcome, SessionIndex};
use super::{Mutation, Shard};
use crate::Nanos;
use crate::journal::Record;
use punctual_wire::{
    BatchWriter, Key, OpReader, PeerMessage, Piece, PieceBody, RefusedReason, Reply, ReplyStatus,
    ReplyTiming, Stamp, TxnId,
};

/// Transactions whose keys are fetched before the first of them runs.
const RELEASE_BATCH: usize = 8;

impl Shard {
    /// Notes how far the clock is. It never runs backwards here, whatever it does elsewhere.
    #[inline]
    pub(super) fn see(&mut self, now: Nanos) -> Nanos {
        let before = self.clock;
        self.advance(now);
        if self.config.mutation.is(Mutation::EarlyAdmissionClock) && before > Nanos(i64::MIN) {
            return before;
        }
        self.clock
    }

    /// As [`see`](Self::see), where nothing is admitted.
    #[inline]
    pub(super) fn advance(&mut self, now: Nanos) -> Nanos {
        self.clock = self.clock.max(now);
        self.log_clock();
        self.clock
    }

    /// Admits a piece of a transaction on several shards.
    pub(super) fn admit_stamped(
        &mut self,
        now: Nanos,
        session: SessionIndex,
        piece: &Piece<'_>,
        refusal: Option<RefusedReason>,
        out: &mut BatchWriter,
    ) {
        let Some(stamp) = piece.stamp else { unreachable!("the caller looked") };
        let (sequence, txn) = (piece.sequence, self.txn_of(session, piece));
        let outcome = self.sessions.outcome_mut(session, sequence);
        let Some(outcome) = outcome.filter(|outcome| sequence >= outcome.sequence) else {
            self.stats.stale += 1;
            return;
        };
        if sequence == outcome.sequence {
            self.stats.repeated += 1;
            if !outcome.is_pending {
                self.answer(session, sequence, true, out);
            }
            return;
        }
        let heard = self.pending.find(txn);
        if heard.is_some_and(|at| self.pending.get(at).stage != Stage::Heard) {
            // Its session was forgotten meanwhile, but it was not.
            self.stats.repeated += 1;
            return;
        }
        // The incarnation first: of a dead one, others may have run it.
        // What a peer waits for is refused at once where there is no room to write it down; whoever
        // is the first to speak of it is told to come again, which takes no record.
        let is_full = self.log.is_full();
        let refusal =
            refusal.or((is_full && heard.is_some()).then_some(RefusedReason::JournalFull));
        if let Some(reason) = self.stamp_refusal(now, &stamp).or(refusal) {
            self.stats.refused += 1;
            if let Some(heard) = heard {
                self.refuse_heard(heard, reason);
            }
            if let Some(outcome) = self.sessions.outcome_mut(session, sequence) {
                outcome.begin(sequence, ReplyStatus::Refused(reason), Nanos::ZERO);
                self.log(&Record::Refused { txn, reason });
                self.answer(session, sequence, true, out);
            }
            return;
        }
        let has_room = self.has_room_for(&stamp) && self.has_held_room() && !is_full;
        if heard.is_none() && !has_room {
            self.stats.busy += 1;
            return Reply::write(out, sequence, ReplyStatus::Busy, 0, 0, &[]);
        }
        let mut local = Nanos(stamp.at).max(now).max(self.last_released.next());
        self.stats.stamped += 1;
        self.stats.late += u64::from(local.0 > stamp.at);
        if self.config.mutation.is(Mutation::AdmitBelowClock) {
            local = Nanos(stamp.at);
        }
        let order = Order { time: local, txn };
        let at = self.enter(order, &stamp);
        self.keep_piece(at, now, session, piece);
        self.pending.place(at, keys(&piece.body));
        self.log_admitted(at, &piece.body);
        self.propose(at);
        self.agree_if_complete(now, at);
    }

    /// What is wrong with a stamp.
    #[inline]
    fn stamp_refusal(&self, now: Nanos, stamp: &Stamp<'_>) -> Option<RefusedReason> {
        let participants = &stamp.participants;
        let own = participants.iter().find(|party| party.shard == self.config.id.0);
        let known = |shard: u16| shard < self.config.shards;
        match own {
            None => Some(RefusedReason::WrongShard),
            Some(_) if !participants.iter().all(|party| known(party.shard)) => {
                Some(RefusedReason::WrongShard)
            }
            Some(own) if own.incarnation != self.config.session.incarnation() => {
                Some(RefusedReason::PeerLost)
            }
            Some(_) if Nanos(stamp.at) > now + self.config.max_hold.into() => {
                Some(RefusedReason::StampTooFar)
            }
            Some(_) => None,
        }
    }

    /// Whether one more transaction with these peers may be pending. One that a peer has proposed
    /// already needs no new room: else two shards could wait for each other's.
    fn has_room_for(&self, stamp: &Stamp<'_>) -> bool {
        let max = self.config.pending_per_peer_max;
        stamp.participants.iter().all(|party| self.peers[usize::from(party.shard)].entries < max)
    }

    /// Whether the bodies of what waits leave room for more.
    pub(super) fn has_held_room(&self) -> bool {
        self.held_bytes < self.config.held_bytes_max
    }

    /// Makes the entry of an admitted transaction, with the proposals that came before it.
    fn enter(&mut self, order: Order, stamp: &Stamp<'_>) -> u32 {
        let at = match self.pending.find(order.txn) {
            Some(at) => {
                self.count_entry(at, false);
                self.pending.get_mut(at).order = order;
                at
            }
            None => self.pending.add(order),
        };
        let entry = self.pending.get_mut(at);
        let mut heard = std::mem::take(&mut self.heard);
        heard.clear();
        if entry.stage == Stage::Heard {
            heard.append(&mut entry.parties);
        }
        entry.stage = Stage::Proposed;
        let foreign = bind(entry, self.config.id.0, stamp.participants.iter(), &heard);
        self.heard = heard;
        let own = usize::from(entry.own);
        entry.parties[own].local = order.time;
        entry.have |= 1 << own;
        self.stats.foreign += foreign as u64;
        self.count_entry(at, true);
        at
    }

    /// Copies what is needed of a piece that has to wait.
    #[inline]
    pub(super) fn keep_piece(
        &mut self,
        at: u32,
        now: Nanos,
        session: SessionIndex,
        piece: &Piece<'_>,
    ) {
        let ask_after = self.config.ask_after;
        let entry = self.pending.get_mut(at);
        entry.session = session;
        (entry.received_at, entry.agreed_at) = (now, now);
        // The dispatch to another shard may be under way until its time.
        (entry.ask_at, entry.ask_pause) = (entry.order.time + ask_after.into(), ask_after);
        let bytes = match piece.body {
            PieceBody::Ops { count, bytes } => {
                (entry.call, entry.op_count) = (None, count);
                bytes
            }
            PieceBody::Call { procedure, args } => {
                (entry.call, entry.op_count) = (Some(procedure), 0);
                args
            }
        };
        entry.body.clear();
        entry.body.extend_from_slice(bytes);
        self.held_bytes += bytes.len();
        if let Some(outcome) = self.sessions.outcome_mut(session, piece.sequence) {
            outcome.hold(piece.sequence);
        }
    }

    /// Tells all peers involved the own time (R4).
    #[inline]
    fn propose(&mut self, at: u32) {
        let entry = self.pending.get(at);
        let (txn, local) = (entry.order.txn, entry.local());
        for index in 0..entry.parties.len() {
            let entry = self.pending.get(at);
            if index == usize::from(entry.own) {
                continue;
            }
            let Party { shard, incarnation: to, .. } = entry.parties[index];
            self.peers[usize::from(shard)].note_proposal(local);
            self.stats.proposals_sent += 1;
            self.send(shard, PeerMessage::Propose { txn, local: local.0, to, answer: false });
        }
    }

    /// Agrees once every proposal is there (R5).
    #[inline]
    pub(super) fn agree_if_complete(&mut self, now: Nanos, at: u32) {
        let entry = self.pending.get_mut(at);
        let mutation = self.config.mutation;
        if !entry.is_complete() && !mutation.is(Mutation::ReleaseBeforeAgreed) {
            return;
        }
        entry.agreed_at = now;
        let own = mutation.is(Mutation::OwnTimestamp);
        let time = if own { entry.local() } else { entry.latest() };
        self.pending.agree(at, time);
    }

    /// Runs every agreed transaction whose time has passed on all clocks and that nothing earlier
    /// stands in the way of (R6). Returns how many.
    ///
    /// The time must have passed *strictly*: a transaction that is sent after this one was answered
    /// is then admitted elsewhere at a later time, and not at the same one with a smaller id.
    pub(super) fn release_due(&mut self, now: Nanos) -> usize {
        let until = now - self.config.epsilon.into();
        let mut released = 0;
        let mut batch = [0; RELEASE_BATCH];
        loop {
            let mut count = 0;
            while count < RELEASE_BATCH
                && let Some(at) = self.pending.next_candidate(until)
            {
                batch[count] = at;
                count += 1;
                self.prefetch_keys(at);
            }
            if count == 0 {
                return released;
            }
            for &at in &batch[..count] {
                released += self.release_if_free(now, at);
            }
        }
    }

    /// Fetches the cache lines of an entry's keys, which have gone since its dispatch was read.
    #[inline]
    fn prefetch_keys(&self, at: u32) {
        let entry = self.pending.get(at);
        if entry.call.is_some() {
            return;
        }
        let mut ops = OpReader::new(&entry.body);
        while let Some(op) = ops.peek_word() {
            self.store.prefetch(Key::Word(op.key));
            ops.skip_word(op);
        }
    }

    #[inline]
    fn release_if_free(&mut self, now: Nanos, at: u32) -> usize {
        let ignore = self.config.mutation.is(Mutation::IgnoreConflict);
        match self.pending.blocker(at).filter(|_| !ignore) {
            Some(blocker) => {
                self.stats.blocked += 1;
                self.pending.wait(at, blocker);
                0
            }
            None => {
                self.release(now, at);
                1
            }
        }
    }

    fn release(&mut self, now: Nanos, at: u32) {
        let entry = self.pending.get_mut(at);
        let (commit, txn, session) = (entry.order.time, entry.order.txn, entry.session);
        let body_bytes = std::mem::take(&mut entry.body);
        let body = entry.piece(&body_bytes);
        let timing = (!entry.parties.is_empty()).then(|| ReplyTiming {
            received_at: entry.received_at.0,
            agreed_after: short(entry.agreed_at - entry.received_at),
            released_after: short(now - entry.received_at),
        });
        self.last_released = self.last_released.max(commit);
        let Ran { is_wanted, aborted } = self.run_held(txn, session, commit, &body, timing);
        let gate = self.log_release(txn, commit, &body, timing.is_none());
        if is_wanted {
            self.sessions.push_ready(session, txn.sequence, gate);
        }
        self.count_run(aborted, &body);
        self.pending.displace(at);
        let ask_after = self.config.ask_after;
        let entry = self.pending.get_mut(at);
        entry.stage = Stage::Released;
        (entry.ask_at, entry.ask_pause) = (now + ask_after.into(), ask_after);
        entry.body = body_bytes;
        let is_alone = entry.parties.is_empty();
        self.held_bytes -= self.pending.drop_body(at);
        if is_alone {
            self.blocked -= 1;
            self.pending.remove(at);
        }
    }

    /// Runs a held transaction into its slot, if somebody still waits for that.
    pub(super) fn run_held(
        &mut self,
        txn: TxnId,
        session: SessionIndex,
        commit: Nanos,
        body: &PieceBody<'_>,
        timing: Option<ReplyTiming>,
    ) -> Ran {
        let Self { config, procedures, store, undo, sessions, .. } = self;
        let is_kept = sessions.id(session).is_some_and(|id| id.0 == txn.session);
        let slot = if is_kept { sessions.outcome_mut(session, txn.sequence) } else { None };
        let wanted = slot.filter(|outcome| outcome.sequence == txn.sequence);
        let mut nowhere = Outcome::empty();
        let is_wanted = wanted.is_some();
        let outcome = wanted.unwrap_or(&mut nowhere);
        outcome.begin(txn.sequence, ReplyStatus::Committed, commit);
        outcome.timing = timing;
        let mut release = Release { limits: &config.limits, procedures, store, undo };
        release.run(body, outcome);
        Ran { is_wanted, aborted: outcome.status == ReplyStatus::Aborted }
    }

    /// Writes down that a held transaction ran. Returns how far the log has to be durable before
    /// the answer leaves.
    ///
    /// Of a transaction on several shards that is everything *before* this record. All that its
    /// run depends on is there: should the record itself be lost, it is undecided after the crash,
    /// finds the same proposals, and runs again at the same time. What conflicts with it and came
    /// after it was lost with the record, or waits for it.
    fn log_release(
        &mut self,
        txn: TxnId,
        commit: Nanos,
        body: &PieceBody<'_>,
        is_alone: bool,
    ) -> Gate {
        if !is_alone {
            let gate = Gate { lsn: self.log.tail(), is_firm: true };
            self.log(&Record::Released { txn });
            return gate;
        }
        if self.log.is_on() && writes(body) {
            self.log_single(txn, commit, body);
        }
        Gate { lsn: self.log.tail(), is_firm: false }
    }

    /// Ends an admitted transaction that can run nowhere.
    pub(super) fn refuse(&mut self, at: u32, reason: RefusedReason) {
        self.pending.displace(at);
        let entry = self.pending.get(at);
        let (txn, session) = (entry.order.txn, entry.session);
        self.stats.refused += 1;
        self.log(&Record::Refused { txn, reason });
        let status = ReplyStatus::Refused(reason);
        let gate = Gate { lsn: self.log.tail(), is_firm: true };
        if self.sessions.id(session).is_some_and(|id| id.0 == txn.session)
            && let Some(outcome) = self.sessions.outcome_mut(session, txn.sequence)
            && outcome.sequence == txn.sequence
        {
            outcome.begin(txn.sequence, status, Nanos::ZERO);
            self.sessions.push_ready(session, txn.sequence, gate);
        }
        self.held_bytes -= self.pending.drop_body(at);
        self.count_entry(at, false);
        self.pending.remove(at);
    }

    /// Refuses a transaction that was only heard of (R9).
    pub(super) fn refuse_heard(&mut self, at: u32, reason: RefusedReason) {
        let txn = self.pending.get(at).order.txn;
        if !self.config.mutation.is(Mutation::ForgetTombstone) {
            self.entomb(txn, reason);
        }
        self.count_entry(at, false);
        for party in std::mem::take(&mut self.pending.get_mut(at).parties) {
            self.send(party.shard, PeerMessage::Refuse { txn, reason });
        }
        self.pending.remove(at);
    }

    /// Counts an entry for each peer that it involves, or takes it off their counts.
    pub(super) fn count_entry(&mut self, at: u32, enters: bool) {
        let own = self.config.id.0;
        let entry = self.pending.get(at);
        for party in entry.parties.iter().filter(|party| party.shard != own) {
            let peer = &mut self.peers[usize::from(party.shard)];
            let count = match entry.stage {
                Stage::Heard => &mut peer.heard,
                _ => &mut peer.entries,
            };
            *count = if enters { *count + 1 } else { *count - 1 };
        }
    }
}

/// What came of a held transaction.
pub(super) struct Ran {
    /// Somebody waits for the answer.
    is_wanted: bool,
    aborted: bool,
}

/// A span of time as a reply tells it.
fn short(span: Nanos) -> u32 {
    u32::try_from(span.0.max(0)).unwrap_or(u32::MAX)
}
