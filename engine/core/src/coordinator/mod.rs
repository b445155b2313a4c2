//! A coordinator worker: it dispatches transactions without ever waiting and takes their outcomes
//! as they come.
//!
//! Every transaction in flight has a slot. Its pieces are kept there until the outcome is known, so
//! that they can be sent again under the same id (R8) when a timeout passes or a link comes back. A
//! transaction always ends: committed, aborted, refused, or, when the deadline passes or a shard
//! lost its memory, unknown.
//!
//! A transaction on several shards is stamped with a time at which all of them should have its
//! pieces (R1), by estimates of the one-way delay to each. It is complete when all have replied.

mod slots;
#[cfg(test)]
mod tests;
mod transaction;

use crate::owd::{OwdConfig, OwdEstimator, OwdSample};
use crate::{Nanos, SessionId, ShardId};
use punctual_wire::{
    BatchWriter, Frame, Limits, PARTICIPANTS_MAX, Participant, Piece, RefusedReason, Reply,
    ReplyReader, ReplyStatus, ReplyTiming, ResultReader, TxnSequence, WireError,
};
use slots::{Common, Slot, Slots, State};
use std::time::Duration;
use thiserror::Error;
use transaction::{Part, Parts};
pub use transaction::{Transaction, TransactionError};

/// The shortest distance of two delay samples from the replies of a shard. More would cost time and
/// say no more.
const SAMPLE_INTERVAL: Nanos = Nanos(100_000);

/// What a coordinator must know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CoordinatorConfig {
    /// Number of shards.
    pub shards: u16,
    /// The limits of the cluster.
    pub limits: Limits,
    /// Transactions in flight, at most 65,536.
    pub in_flight_max: u32,
    /// A piece without an answer is sent again after this.
    pub request_timeout: Duration,
    /// A transaction without an outcome ends as unknown after this, or up to a request timeout
    /// later.
    pub deadline: Duration,
    /// A piece that met a busy shard is sent again after this.
    pub busy_backoff: Duration,
    /// Added to the estimated delay in the stamp of a transaction on several shards. More of it
    /// makes fewer arrive late, and all of them wait longer.
    pub headroom: Nanos,
    /// How delays are estimated.
    pub owd: OwdConfig,
}

/// Why a transaction ends without anybody knowing whether it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnknownReason {
    /// No answer came before the deadline.
    Deadline,
    /// The shard came back without its memory, or has forgotten this coordinator's session.
    ShardRestarted,
    /// The coordinator stopped.
    Stopped,
    /// Procedures on several shards did not decide alike: some committed and some aborted.
    VerdictsDiffer,
    /// Shards named different commit times: a mistake in this program, counted as such.
    TimesDiffer,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It ran, at this commit timestamp.
    Committed {
        /// The shard's timestamp.
        at: Nanos,
    },
    /// Its procedure decided to change nothing.
    Aborted {
        /// The shard's timestamp.
        at: Nanos,
    },
    /// The shard will never run it.
    Refused(RefusedReason),
    /// It may have run or not.
    Unknown(UnknownReason),
}

/// The end of a transaction. The results borrow from the receive buffer.
#[derive(Debug, Clone)]
pub struct Completion<'a> {
    /// Its id within the session.
    pub sequence: TxnSequence,
    /// What the submitter gave along.
    pub tag: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// When it was submitted.
    pub submitted_at: Nanos,
    /// One result an operation, in their order; what the procedures reported, for calls.
    pub results: ResultReader<'a>,
    /// How a transaction on several shards fared there, once all have replied.
    pub timing: Option<Timing>,
}

/// How a transaction on several shards fared there, at the worst of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// By how much it arrived after its stamp; zero: on time everywhere.
    pub late: Nanos,
    /// From arrival to release.
    pub hold: Nanos,
    /// From admission until the shards agreed on its time.
    pub agreement: Nanos,
}

impl Timing {
    /// Takes the reply of one shard into account.
    fn add(&mut self, stamp: Nanos, timing: ReplyTiming) {
        self.late = self.late.max(Nanos(timing.received_at) - stamp);
        self.hold = self.hold.max(Nanos(timing.released_after.into()));
        self.agreement = self.agreement.max(Nanos(timing.agreed_after.into()));
    }
}

/// Why a transaction is not taken. Nothing happened; it is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// As many transactions are in flight as may be.
    #[error("{max} transactions are in flight; take completions first")]
    InFlightFull {
        /// The limit.
        max: u32,
    },
    /// The link to the shard is down or its buffer full; submit again later.
    #[error("the link to {0} cannot take more now")]
    LinkBlocked(ShardId),
    /// The shard said that it is busy; the window of transactions in flight to it is closed.
    #[error("{0} is busy; its window is full")]
    ShardBusy(ShardId),
    /// The transaction is wrong and will never be taken.
    #[error(transparent)]
    Invalid(#[from] TransactionError),
}

/// A reply that cannot be true. The link that brought it must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// It does not follow the format.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It comes from a shard that the transaction does not involve.
    #[error("{from} answered a transaction of which it has no part")]
    WrongShard {
        /// Who answered.
        from: ShardId,
    },
    /// Its results are not those of the operations.
    #[error("{found} results for {expected} operations")]
    ResultCount {
        /// Results in the reply.
        found: u16,
        /// Operations of the transaction.
        expected: u16,
    },
}

/// Where a coordinator's frames go.
pub trait Outbox {
    /// The outgoing batch of the link to a shard, or `None` while the link is down or full.
    fn to_shard(&mut self, shard: ShardId) -> Option<&mut BatchWriter>;
}

/// What a coordinator has counted since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CoordinatorStats {
    /// Transactions taken.
    pub submitted: u64,
    /// Transactions that committed.
    pub committed: u64,
    /// Transactions that their procedure aborted.
    pub aborted: u64,
    /// Transactions refused by a shard.
    pub refused: u64,
    /// Transactions whose outcome is unknown.
    pub unknown: u64,
    /// Pieces sent again.
    pub retries: u64,
    /// Busy answers.
    pub busy: u64,
    /// Replies to what is not in flight any more.
    pub stale_replies: u64,
    /// Transactions on several shards that were taken.
    pub stamped: u64,
    /// Those of them that committed and had arrived at some shard after their time.
    pub late: u64,
    /// Those that some shards committed and others aborted.
    pub verdicts_differ: u64,
    /// Those whose shards named different commit times. Anything but zero is a mistake in this
    /// program.
    pub commit_mismatch: u64,
}

/// What a coordinator knows of a shard.
#[derive(Debug)]
struct ShardView {
    /// The run of the shard and the outcome table there, since the first link.
    memory: Option<(SessionId, u32)>,
    in_flight: u32,
    /// Most transactions in flight to it: halved when it is busy, one more for each windowful
    /// of replies (additive increase, multiplicative decrease: Chiu and Jain 1989).
    window: u32,
    /// Replies towards the next increase.
    credit: u32,
    /// No further decrease before this: what is in flight was sent under the old window.
    decrease_after: Nanos,
    /// When it last replied to anything.
    heard_at: Nanos,
    sampled_at: Nanos,
    owd: OwdEstimator,
}

impl ShardView {
    /// Widens the window, a little for each reply.
    #[inline]
    fn credit(&mut self, window_max: u32) {
        self.credit += 1;
        if self.credit >= self.window {
            self.credit = 0;
            self.window = (self.window + 1).min(window_max);
        }
    }
}

/// A coordinator worker.
#[derive(Debug)]
pub struct Coordinator {
    config: CoordinatorConfig,
    slots: Slots,
    shards: Vec<ShardView>,
    /// The shards of one transaction, while its pieces are written.
    participants: Vec<Participant>,
    /// The results of one transaction, in the order of its operations.
    results: Vec<u8>,
    stats: CoordinatorStats,
}

impl Coordinator {
    /// A coordinator without links.
    #[must_use]
    pub fn new(config: CoordinatorConfig) -> Self {
        // Made one by one: a clone of an estimator would have to grow again.
        let view = |_| ShardView {
            memory: None,
            in_flight: 0,
            window: config.in_flight_max,
            credit: 0,
            decrease_after: Nanos(i64::MIN),
            heard_at: Nanos(i64::MIN),
            sampled_at: Nanos(i64::MIN),
            owd: OwdEstimator::new(&config.owd),
        };
        Self {
            slots: Slots::new(config.in_flight_max),
            shards: (0..config.shards).map(view).collect(),
            participants: Vec::new(),
            results: Vec::new(),
            stats: CoordinatorStats::default(),
            config,
        }
    }

    /// Takes a sample of the delay to a shard, from a prober.
    pub fn owd_sample(&mut self, now: Nanos, shard: ShardId, sample: OwdSample) {
        if let Some(view) = self.shards.get_mut(usize::from(shard.0)) {
            view.owd.push(now, sample);
        }
    }

    /// The estimated delay to a shard: its clock at receipt minus ours at sending. The default for
    /// a shard that there are no samples of.
    #[must_use]
    pub fn owd_estimate(&self, now: Nanos, shard: ShardId) -> Nanos {
        let view = self.shards.get(usize::from(shard.0));
        view.map_or(self.config.owd.default_owd, |view| view.owd.estimate(now))
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> CoordinatorStats {
        self.stats
    }

    /// Transactions in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.slots.in_use()
    }

    /// Most transactions in flight.
    #[must_use]
    pub fn in_flight_max(&self) -> u32 {
        self.slots.capacity()
    }

    /// When [`on_timer`](Self::on_timer) has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.slots.next_due()
    }

    /// Dispatches a transaction and returns at once; `tag` comes back with its completion.
    /// On success `transaction` is left empty, else it is as it was.
    ///
    /// # Errors
    /// When it cannot be taken now, or never: see [`SubmitError`].
    #[inline]
    pub fn submit(
        &mut self,
        now: Nanos,
        transaction: &mut Transaction,
        tag: u64,
        outbox: &mut impl Outbox,
    ) -> Result<TxnSequence, SubmitError> {
        if !transaction.is_for(self.config.shards, &self.config.limits) {
            return Err(TransactionError::OtherCluster.into());
        }
        transaction.check()?;
        for part in transaction.parts.iter() {
            let view = &self.shards[usize::from(part.shard.0)];
            if view.in_flight >= view.window {
                return Err(match view.window < self.config.in_flight_max {
                    true => SubmitError::ShardBusy(part.shard),
                    false => SubmitError::InFlightFull { max: view.window },
                });
            }
            // Without a link there was no welcome yet, or there will be a new one.
            if outbox.to_shard(part.shard).is_none() {
                return Err(SubmitError::LinkBlocked(part.shard));
            }
        }
        let at =
            self.slots.take().ok_or(SubmitError::InFlightFull { max: self.slots.capacity() })?;
        let slot = self.slots.get_mut(at);
        slot.tag = tag;
        slot.submitted_at = now;
        slot.was_resent = false;
        std::mem::swap(&mut slot.parts, &mut transaction.parts);
        transaction.clear();
        for part in slot.parts.iter_mut() {
            let view = &mut self.shards[usize::from(part.shard.0)];
            view.in_flight += 1;
            part.incarnation = view.memory.map_or(0, |(session, _)| session.incarnation());
        }
        self.slots.append(at, State::Waiting, now + self.config.request_timeout.into());
        if self.slots.get(at).parts.len() > 1 {
            self.stamp(now, at);
        }
        self.send(at, outbox, |_| true);
        self.stats.submitted += 1;
        Ok(self.slots.sequence(at))
    }

    /// Stamps a transaction on several shards with a time at which all of them should have it (R1).
    fn stamp(&mut self, now: Nanos, at: u32) {
        let slot = self.slots.get_mut(at);
        let delay = |part: &Part| self.shards[usize::from(part.shard.0)].owd.estimate(now);
        let longest = slot.parts.iter().map(delay).max().unwrap_or_default();
        let stamp = now + longest + self.config.headroom;
        slot.common = Common { stamp, ..Common::default() };
        self.stats.stamped += 1;
    }

    /// Writes those pieces of a transaction that `which` wants. Returns how many.
    #[inline]
    fn send(&mut self, at: u32, outbox: &mut impl Outbox, which: impl Fn(&Part) -> bool) -> usize {
        let sequence = self.slots.sequence(at);
        let Self { slots, participants, .. } = self;
        let Slot { parts, common, .. } = slots.get(at);
        if parts.len() == 1 {
            let part = parts.first();
            let Some(out) = outbox.to_shard(part.shard) else { return 0 };
            Piece::write(out, sequence, part.is_call, part.op_count, &part.body);
            return 1;
        }
        participants.clear();
        let party =
            |part: &Part| Participant { shard: part.shard.0, incarnation: part.incarnation };
        participants.extend(parts.iter().map(party));
        participants.sort_unstable_by_key(|party| party.shard);
        let mut sent = 0;
        for part in parts.iter().filter(|part| which(part)) {
            let Some(out) = outbox.to_shard(part.shard) else { continue };
            let (stamp, is_call, count) = (common.stamp.0, part.is_call, part.op_count);
            Piece::write_stamped(out, sequence, stamp, participants, is_call, count, &part.body);
            sent += 1;
        }
        sent
    }

    /// Takes a `Reply` frame of a shard and hands every transaction that it ends to `done`.
    ///
    /// # Errors
    /// When a reply cannot be true. Those before it were taken.
    pub fn on_reply(
        &mut self,
        now: Nanos,
        from: ShardId,
        frame: &Frame<'_>,
        mut done: impl FnMut(Completion<'_>),
    ) -> Result<(), ReplyError> {
        let mut replies = ReplyReader::new(frame);
        if let Some(view) = self.shards.get_mut(usize::from(from.0)) {
            view.heard_at = now;
        }
        while let Some(reply) = replies.next_reply()? {
            self.take_reply(now, from, reply, &mut done)?;
        }
        Ok(())
    }

    #[inline]
    fn take_reply(
        &mut self,
        now: Nanos,
        from: ShardId,
        reply: Reply<'_>,
        done: &mut impl FnMut(Completion<'_>),
    ) -> Result<(), ReplyError> {
        let Some(at) = self.slots.find(reply.sequence) else {
            self.stats.stale_replies += 1;
            return Ok(());
        };
        let slot = self.slots.get(at);
        let Some(part) = slot.parts.iter().find(|part| part.shard == from) else {
            return Err(ReplyError::WrongShard { from });
        };
        if part.is_answered {
            self.stats.stale_replies += 1;
            return Ok(());
        }
        if reply.status == ReplyStatus::Busy {
            self.back_off(now, at, from);
            return Ok(());
        }
        let refused = matches!(reply.status, ReplyStatus::Refused(_));
        let expected = if part.is_call { reply.op_count } else { part.op_count };
        check_results(&reply, if refused { 0 } else { expected })?;
        let was_resent = slot.was_resent;
        let (several, submitted_at) = (slot.parts.len() > 1, slot.submitted_at);
        let has_run = several && slot.common.committed + slot.common.aborted > 0;
        let view = &mut self.shards[usize::from(from.0)];
        view.credit(self.config.in_flight_max);
        if self.config.shards > 1 && !was_resent && now >= view.sampled_at + SAMPLE_INTERVAL {
            // A transaction on this shard alone was stamped when it arrived.
            let received_at = reply.timing.map_or(reply.commit, |timing| timing.received_at);
            if !refused {
                view.sampled_at = now;
                let owd = Nanos(received_at) - submitted_at;
                view.owd.push(now, OwdSample { owd, rtt: None });
            }
        }
        let commit = Nanos(reply.commit);
        let outcome = match reply.status {
            ReplyStatus::Refused(RefusedReason::PeerLost) => {
                Outcome::Unknown(UnknownReason::ShardRestarted)
            }
            ReplyStatus::Refused(_) if has_run => {
                // Nobody refuses what another has run: a mistake in this program.
                self.stats.verdicts_differ += 1;
                Outcome::Unknown(UnknownReason::VerdictsDiffer)
            }
            ReplyStatus::Refused(reason) => Outcome::Refused(reason),
            _ if several => {
                self.take_part(at, from, &reply, done);
                return Ok(());
            }
            ReplyStatus::Aborted => Outcome::Aborted { at: commit },
            ReplyStatus::Committed | ReplyStatus::Busy => Outcome::Committed { at: commit },
        };
        self.finish(at, outcome, reply.results, done);
        Ok(())
    }

    /// Takes the reply of one of several shards; the last one ends the transaction (R7).
    fn take_part(
        &mut self,
        at: u32,
        from: ShardId,
        reply: &Reply<'_>,
        done: &mut impl FnMut(Completion<'_>),
    ) {
        let Slot { parts, common, .. } = self.slots.get_mut(at);
        let commit = Nanos(reply.commit);
        common.times_differ |= *common.commit.get_or_insert(commit) != commit;
        common.committed += usize::from(reply.status == ReplyStatus::Committed);
        common.aborted += usize::from(reply.status == ReplyStatus::Aborted);
        if let Some(timing) = reply.timing {
            common.timing.add(common.stamp, timing);
        }
        let common = *common;
        if let Some(part) = parts.iter_mut().find(|part| part.shard == from) {
            part.is_answered = true;
            part.results.extend_from_slice(reply.results.rest());
        }
        self.shards[usize::from(from.0)].in_flight -= 1;
        let len = parts.len();
        if common.committed + common.aborted < len {
            return;
        }
        let outcome = if common.times_differ {
            self.stats.commit_mismatch += 1;
            Outcome::Unknown(UnknownReason::TimesDiffer)
        } else if common.committed == len {
            Outcome::Committed { at: commit }
        } else if common.aborted == len {
            Outcome::Aborted { at: commit }
        } else {
            self.stats.verdicts_differ += 1;
            Outcome::Unknown(UnknownReason::VerdictsDiffer)
        };
        let mut results = std::mem::take(&mut self.results);
        results.clear();
        join_results(&self.slots.get(at).parts, &mut results);
        self.finish(at, outcome, ResultReader::new(&results), done);
        self.results = results;
    }

    /// Ends a transaction.
    #[inline]
    fn finish(
        &mut self,
        at: u32,
        outcome: Outcome,
        results: ResultReader<'_>,
        done: &mut impl FnMut(Completion<'_>),
    ) {
        let sequence = self.slots.sequence(at);
        let slot = self.slots.get(at);
        let ended = matches!(outcome, Outcome::Committed { .. } | Outcome::Aborted { .. });
        let timing = (ended && slot.parts.len() > 1).then_some(slot.common.timing);
        match outcome {
            Outcome::Committed { .. } => {
                self.stats.committed += 1;
                self.stats.late += u64::from(timing.is_some_and(|t| t.late > Nanos::ZERO));
            }
            Outcome::Aborted { .. } => self.stats.aborted += 1,
            Outcome::Refused(_) => self.stats.refused += 1,
            Outcome::Unknown(_) => self.stats.unknown += 1,
        }
        let (tag, submitted_at) = (slot.tag, slot.submitted_at);
        for part in slot.parts.iter().filter(|part| !part.is_answered) {
            self.shards[usize::from(part.shard.0)].in_flight -= 1;
        }
        self.slots.unlink(at);
        self.slots.release(at);
        done(Completion { sequence, tag, outcome, submitted_at, results, timing });
    }

    /// A shard was busy (R10): the window shrinks and the piece waits.
    fn back_off(&mut self, now: Nanos, at: u32, shard: ShardId) {
        self.stats.busy += 1;
        self.shrink(now, shard, self.config.busy_backoff);
        self.slots.unlink(at);
        self.slots.append(at, State::BackingOff, now + self.config.busy_backoff.into());
    }

    /// Halves the window of a shard, but not again before what was sent under the new one can have
    /// been answered.
    fn shrink(&mut self, now: Nanos, shard: ShardId, settling: Duration) {
        let view = &mut self.shards[usize::from(shard.0)];
        if now >= view.decrease_after {
            view.window = (view.in_flight / 2).max(1);
            view.credit = 0;
            view.decrease_after = now + settling.into();
        }
    }

    /// Sends again what has waited too long and ends what is past its deadline.
    pub fn on_timer(
        &mut self,
        now: Nanos,
        outbox: &mut impl Outbox,
        mut done: impl FnMut(Completion<'_>),
    ) {
        for state in [State::BackingOff, State::Waiting] {
            // What is appended again is due later than now, so this ends.
            while let Some(at) = self.slots.due(state, now) {
                if self.is_overdue(now, at) {
                    let outcome = Outcome::Unknown(UnknownReason::Deadline);
                    self.finish(at, outcome, ResultReader::default(), &mut done);
                } else {
                    if state == State::Waiting {
                        self.shrink_silent(now, at);
                    }
                    self.slots.unlink(at);
                    self.resend(now, at, outbox, |part| !part.is_answered);
                }
            }
        }
    }

    fn is_overdue(&self, now: Nanos, at: u32) -> bool {
        now.since(self.slots.get(at).submitted_at) >= self.config.deadline
    }

    /// Silence is a sign of trouble too: a shard that says nothing must not come to hold all slots.
    /// One that answers others is only waiting for somebody else.
    fn shrink_silent(&mut self, now: Nanos, at: u32) {
        let sent_at = now - self.config.request_timeout.into();
        for index in 0..self.slots.get(at).parts.len() {
            let part = self.slots.get(at).parts.iter().nth(index);
            let Some(part) = part.filter(|part| !part.is_answered) else { continue };
            let shard = part.shard;
            if self.shards[usize::from(shard.0)].heard_at < sent_at {
                self.shrink(now, shard, self.config.request_timeout);
            }
        }
    }

    /// Sends pieces again whose links can take them, and in any case looks again later.
    fn resend(
        &mut self,
        now: Nanos,
        at: u32,
        outbox: &mut impl Outbox,
        which: impl Fn(&Part) -> bool,
    ) {
        self.slots.get_mut(at).was_resent = true;
        self.stats.retries += self.send(at, outbox, which) as u64;
        let timeout = self.config.request_timeout.max(Duration::from_nanos(1));
        self.slots.append(at, State::Waiting, now + timeout.into());
    }

    /// Notes that the link to a shard is up. What was in flight to it is sent again if the shard is
    /// the one it was and still has our outcomes, and ends as unknown if it lost its memory or has
    /// forgotten this session (another `epoch`): what is sent again might run twice then.
    pub fn on_link_up(
        &mut self,
        now: Nanos,
        shard: ShardId,
        session: SessionId,
        epoch: u32,
        outbox: &mut impl Outbox,
        mut done: impl FnMut(Completion<'_>),
    ) {
        let view = &mut self.shards[usize::from(shard.0)];
        let memory = (session, epoch);
        let before = view.memory.replace(memory);
        let restarted = before.is_some_and(|before| before != memory);
        view.window = self.config.in_flight_max;
        if view.in_flight == 0 {
            return;
        }
        let waits = |part: &Part| part.shard == shard && !part.is_answered;
        let is_affected = |at: &u32| self.slots.get(*at).parts.iter().any(waits);
        let affected: Vec<u32> = self.slots.used().filter(is_affected).collect();
        for at in affected {
            // Sending again puts the timer off, so a link that keeps breaking would put off the
            // deadline for ever if it were not looked at here.
            let end = match restarted {
                true => Some(UnknownReason::ShardRestarted),
                false => self.is_overdue(now, at).then_some(UnknownReason::Deadline),
            };
            if let Some(reason) = end {
                let outcome = Outcome::Unknown(reason);
                self.finish(at, outcome, ResultReader::default(), &mut done);
            } else {
                self.slots.unlink(at);
                self.resend(now, at, outbox, waits);
            }
        }
    }

    /// Ends everything in flight, because the coordinator stops.
    pub fn abandon(&mut self, mut done: impl FnMut(Completion<'_>)) {
        let all: Vec<u32> = self.slots.used().collect();
        for at in all {
            let outcome = Outcome::Unknown(UnknownReason::Stopped);
            self.finish(at, outcome, ResultReader::default(), &mut done);
        }
    }
}

/// Puts the results of several parts into the order of the operations; those of calls into that of
/// the calls.
fn join_results(parts: &Parts, out: &mut Vec<u8>) {
    if parts.by_op().is_empty() {
        return parts.iter().for_each(|part| out.extend_from_slice(&part.results));
    }
    let mut readers = [const { ResultReader::new(&[]) }; PARTICIPANTS_MAX];
    for (reader, part) in readers.iter_mut().zip(parts.iter()) {
        *reader = ResultReader::new(&part.results);
    }
    for part in parts.by_op() {
        let reader = &mut readers[usize::from(*part)];
        let before = reader.rest();
        // They were read when they came, so none is missing or malformed.
        if let Ok(Some(_)) = reader.next_result() {
            out.extend_from_slice(&before[..before.len() - reader.rest().len()]);
        }
    }
}

/// Reads all results once, so that whoever gets them can rely on their number and form.
#[inline]
fn check_results(reply: &Reply<'_>, expected: u16) -> Result<(), ReplyError> {
    let mut results = reply.results.clone();
    let mut found = 0;
    while results.next_result()?.is_some() {
        found += 1;
    }
    if found != expected || reply.op_count != expected {
        return Err(ReplyError::ResultCount { found, expected });
    }
    Ok(())
}
