//! The shard's side of its journal: what was appended, how far it is durable, and who has to wait
//! for that (R3).

use super::session::{Gate, Reach, SessionIndex};
use super::{Mutation, Shard};
use crate::Nanos;
use crate::journal::{Durability, Lsn, Record, RecordParty};
use punctual_wire::{BatchWriter, PieceBody, RefusedReason, TxnId};
use std::collections::VecDeque;
use std::time::Duration;

/// The clock is written down whenever it is so far beyond the last time, before anything is
/// promised by it: who goes on from the journal knows that it was not read later than this beyond
/// what the journal says.
pub(super) const CLOCK_STEP: Nanos = Nanos(100_000_000);
/// While so many bytes wait to be written, pieces are answered as busy (R10).
const LOG_BYTES_MAX: usize = 64 << 20;

/// The end of the log, which is in memory.
#[derive(Debug)]
pub(super) struct Log {
    durability: Durability,
    mutation: Mutation,
    buffer: Vec<u8>,
    tail: Lsn,
    durable: Lsn,
    /// The last clock that was written down.
    clock: Nanos,
    /// What was handed out to be written and is not durable, each with the time when its first
    /// record can have been appended.
    under_way: VecDeque<(Lsn, Nanos)>,
    /// When the first record in `buffer` was appended, at the earliest.
    since: Nanos,
    /// There is no room for more.
    is_full: bool,
}

impl Log {
    pub(super) fn new(durability: Durability, mutation: Mutation) -> Self {
        Self {
            durability,
            mutation,
            buffer: Vec::new(),
            tail: Lsn::ZERO,
            durable: Lsn::ZERO,
            clock: Nanos(i64::MIN),
            under_way: VecDeque::new(),
            since: Nanos::ZERO,
            is_full: false,
        }
    }

    /// Goes on where another one ended.
    pub(super) fn resume(&mut self, at: Lsn, clock: Nanos) {
        (self.tail, self.durable, self.clock) = (at, at, clock);
    }

    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.durability != Durability::Memory
    }

    #[inline]
    pub(super) fn tail(&self) -> Lsn {
        self.tail
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether so much waits to be written that no more is taken.
    #[inline]
    pub(super) fn is_clogged(&self) -> bool {
        self.buffer.len() >= LOG_BYTES_MAX
    }

    /// How far the log is durable for messages to other shards.
    #[inline]
    pub(super) fn durable_for_peers(&self) -> Lsn {
        if self.mutation.is(Mutation::ProposeBeforeDurable) { Lsn(u64::MAX) } else { self.durable }
    }

    /// How far an answer may refer to the log, at `now`.
    #[inline]
    pub(super) fn reach(&self, now: Nanos) -> Reach {
        let Self { durable, tail, .. } = *self;
        if durable >= tail {
            return Reach { firm: durable, loose: durable };
        }
        if self.mutation.is(Mutation::AnswerBeforeDurable) {
            return Reach { firm: tail, loose: tail };
        }
        let loose = match self.durability {
            Durability::JournalAsync { within } if self.lag(now) <= within => tail,
            _ => durable,
        };
        Reach { firm: durable, loose }
    }

    /// For how long something has been in the log without being durable.
    fn lag(&self, now: Nanos) -> Duration {
        let oldest = self.under_way.front().map(|(_, since)| *since);
        let oldest = oldest.or((!self.buffer.is_empty()).then_some(self.since));
        oldest.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// Appends with `write`, which returns the length; nothing where there is no journal.
    #[inline]
    fn append(&mut self, now: Nanos, write: impl FnOnce(&mut Vec<u8>) -> usize) {
        if !self.is_on() {
            return;
        }
        if self.buffer.is_empty() {
            self.since = now;
        }
        let len = write(&mut self.buffer);
        self.tail = self.tail.plus(len);
    }
}

impl Shard {
    /// Whether it has a journal.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.config.durability
    }

    /// Takes what was appended to the log since the last time, as records without checksums, into
    /// `buffer`, which is cleared first. Returns where the first of them stands. The host seals it
    /// into blocks, writes those in this order, and calls [`on_durable`](Self::on_durable).
    pub fn take_log(&mut self, buffer: &mut Vec<u8>) -> Lsn {
        buffer.clear();
        let log = &mut self.log;
        let at = Lsn(log.tail.0 - log.buffer.len() as u64);
        if !log.buffer.is_empty() {
            std::mem::swap(buffer, &mut log.buffer);
            log.under_way.push_back((log.tail, log.since));
        }
        at
    }

    /// How many bytes [`take_log`](Self::take_log) would give.
    #[inline]
    #[must_use]
    pub fn log_len(&self) -> usize {
        self.log.buffer.len()
    }

    /// Notes that everything before `lsn` is durable: what waited for it may leave.
    pub fn on_durable(&mut self, lsn: Lsn) {
        let log = &mut self.log;
        log.durable = log.durable.max(lsn.min(log.tail));
        while log.under_way.front().is_some_and(|(end, _)| *end <= log.durable) {
            log.under_way.pop_front();
        }
    }

    /// Says whether the journal is out of room. While it is, what would have to be written down is
    /// refused, or busy where a refusal would have to be as well; what was admitted before goes on.
    pub fn set_journal_full(&mut self, is_full: bool) {
        self.log.is_full = is_full;
    }

    /// Where the log ends, and up to where it is durable. Equal where there is no journal.
    #[inline]
    #[must_use]
    pub fn log_ends(&self) -> (Lsn, Lsn) {
        (self.log.tail, self.log.durable)
    }

    /// Whether everything that happened is durable.
    #[inline]
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.log.durable >= self.log.tail
    }

    /// For how long the oldest record has waited to be durable.
    #[must_use]
    pub fn log_lag(&self, now: Nanos) -> Duration {
        self.log.lag(now)
    }

    #[inline]
    pub(super) fn log(&mut self, record: &Record<'_>) {
        let now = self.clock;
        self.log.append(now, |out| record.write(out));
    }

    /// The hot path of [`log`](Self::log).
    #[inline]
    pub(super) fn log_single(&mut self, txn: TxnId, commit: Nanos, body: &PieceBody<'_>) {
        let now = self.clock;
        self.log.append(now, |out| crate::journal::write_single(out, txn, commit, body));
    }

    pub(super) fn log_admitted(&mut self, at: u32, body: &PieceBody<'_>) {
        let entry = self.pending.get(at);
        let (txn, received_at) = (entry.order.txn, entry.received_at);
        let parties = entry.record_parties();
        self.log.append(self.clock, |out| {
            crate::journal::write_with_parties(out, txn, received_at, parties, Some(body))
        });
    }

    /// Writes the clock down where it is far beyond the last one written.
    #[inline]
    pub(super) fn log_clock(&mut self) {
        if self.log.is_on() && self.clock > self.log.clock + CLOCK_STEP {
            self.log.clock = self.clock;
            self.log(&Record::Clock { at: self.clock });
        }
    }

    /// Answers with what a slot holds, as soon as that may be told. `is_firm`: others have a part
    /// in it, so that it waits in any case.
    #[inline]
    pub(super) fn answer(
        &mut self,
        session: SessionIndex,
        sequence: punctual_wire::TxnSequence,
        is_firm: bool,
        out: &mut BatchWriter,
    ) {
        let gate = Gate { lsn: self.log.tail(), is_firm };
        if gate.is_open(self.log.reach(self.clock)) {
            let Some(outcome) = self.sessions.outcome_mut(session, sequence) else { return };
            outcome.write_reply(out);
        } else {
            self.sessions.push_ready(session, sequence, gate);
        }
    }

    /// Refuses a transaction for ever, as far as its session is kept.
    pub(super) fn entomb(&mut self, txn: TxnId, reason: RefusedReason) {
        let Some(session) = self.sessions.entomb(txn, reason) else { return };
        self.log(&Record::Refused { txn, reason });
        let gate = Gate { lsn: self.log.tail(), is_firm: true };
        if self.sessions.is_open(session) {
            self.sessions.push_ready(session, txn.sequence, gate);
        }
    }
}

impl super::pending::Entry {
    /// Its parties as a record has them.
    pub(super) fn record_parties(&self) -> impl ExactSizeIterator<Item = RecordParty> {
        self.parties.iter().enumerate().map(|(at, party)| RecordParty {
            shard: party.shard,
            incarnation: party.incarnation,
            local: self.has(at).then_some(party.local),
        })
    }
}
