//! A coordinator worker: it dispatches transactions without ever waiting and takes their outcomes
//! as they come.
//!
//! Every transaction in flight has a slot. Its piece is kept there until the outcome is known, so
//! that it can be sent again under the same id (R8) when a timeout passes or a link comes back. A
//! transaction always ends: committed, aborted, refused, or, when the deadline passes or the shard
//! lost its memory, unknown.

mod slots;
#[cfg(test)]
mod tests;
mod transaction;

use crate::{Nanos, SessionId, ShardId};
use punctual_wire::{
    BatchWriter, Frame, Limits, Piece, RefusedReason, Reply, ReplyReader, ReplyStatus,
    ResultReader, TxnSequence, WireError,
};
use slots::{Slots, State};
use std::time::Duration;
use thiserror::Error;
pub use transaction::{Transaction, TransactionError};

/// What a coordinator must know.
#[derive(Debug, Clone, Copy)]
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
    /// One result an operation, in their order; what the procedure reported, for a call.
    pub results: ResultReader<'a>,
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
    #[error("{from} answered a transaction of {expected}")]
    WrongShard {
        /// Who answered.
        from: ShardId,
        /// Who was asked.
        expected: ShardId,
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
}

/// What a coordinator knows of a shard.
#[derive(Debug, Clone, Copy)]
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
}

/// A coordinator worker.
#[derive(Debug)]
pub struct Coordinator {
    config: CoordinatorConfig,
    slots: Slots,
    shards: Vec<ShardView>,
    stats: CoordinatorStats,
}

impl Coordinator {
    /// A coordinator without links.
    #[must_use]
    pub fn new(config: CoordinatorConfig) -> Self {
        let view = ShardView {
            memory: None,
            in_flight: 0,
            window: config.in_flight_max,
            credit: 0,
            decrease_after: Nanos(i64::MIN),
        };
        Self {
            slots: Slots::new(config.in_flight_max),
            shards: vec![view; usize::from(config.shards)],
            stats: CoordinatorStats::default(),
            config,
        }
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
        let shard = transaction.checked()?;
        let view = &mut self.shards[usize::from(shard.0)];
        if view.in_flight >= view.window {
            return Err(match view.window < self.config.in_flight_max {
                true => SubmitError::ShardBusy(shard),
                false => SubmitError::InFlightFull { max: view.window },
            });
        }
        let out = outbox.to_shard(shard).ok_or(SubmitError::LinkBlocked(shard))?;
        let at =
            self.slots.take().ok_or(SubmitError::InFlightFull { max: self.slots.capacity() })?;
        view.in_flight += 1;
        let slot = self.slots.get_mut(at);
        slot.shard = shard;
        slot.op_count = transaction.op_count;
        slot.is_call = transaction.is_call;
        slot.tag = tag;
        slot.submitted_at = now;
        std::mem::swap(&mut slot.body, &mut transaction.body);
        transaction.clear();
        self.slots.append(at, State::Waiting, now + self.config.request_timeout.into());
        let sequence = self.slots.sequence(at);
        let slot = self.slots.get(at);
        Piece::write(out, sequence, slot.is_call, slot.op_count, &slot.body);
        self.stats.submitted += 1;
        Ok(sequence)
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
        if slot.shard != from {
            return Err(ReplyError::WrongShard { from, expected: slot.shard });
        }
        let commit = Nanos(reply.commit);
        let outcome = match reply.status {
            ReplyStatus::Busy => {
                self.back_off(now, at);
                return Ok(());
            }
            ReplyStatus::Committed => Outcome::Committed { at: commit },
            ReplyStatus::Aborted => Outcome::Aborted { at: commit },
            ReplyStatus::Refused(reason) => Outcome::Refused(reason),
        };
        let refused = matches!(outcome, Outcome::Refused(_));
        let expected = if slot.is_call { reply.op_count } else { slot.op_count };
        let expected = if refused { 0 } else { expected };
        check_results(&reply, expected)?;
        let view = &mut self.shards[usize::from(from.0)];
        view.credit += 1;
        if view.credit >= view.window {
            view.credit = 0;
            view.window = (view.window + 1).min(self.config.in_flight_max);
        }
        self.finish(at, outcome, reply.results, done);
        Ok(())
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
        match outcome {
            Outcome::Committed { .. } => self.stats.committed += 1,
            Outcome::Aborted { .. } => self.stats.aborted += 1,
            Outcome::Refused(_) => self.stats.refused += 1,
            Outcome::Unknown(_) => self.stats.unknown += 1,
        }
        let sequence = self.slots.sequence(at);
        let slot = self.slots.get(at);
        let completion = Completion {
            sequence,
            tag: slot.tag,
            outcome,
            submitted_at: slot.submitted_at,
            results,
        };
        self.shards[usize::from(slot.shard.0)].in_flight -= 1;
        self.slots.unlink(at);
        self.slots.release(at);
        done(completion);
    }

    /// A shard was busy (R10): the window shrinks and the piece waits.
    fn back_off(&mut self, now: Nanos, at: u32) {
        self.stats.busy += 1;
        let shard = self.slots.get(at).shard;
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
                        // Silence is a sign of trouble too: a shard that says nothing must not
                        // come to hold all slots.
                        self.shrink(now, self.slots.get(at).shard, self.config.request_timeout);
                    }
                    self.slots.unlink(at);
                    self.resend(now, at, outbox);
                }
            }
        }
    }

    fn is_overdue(&self, now: Nanos, at: u32) -> bool {
        now.since(self.slots.get(at).submitted_at) >= self.config.deadline
    }

    /// Sends a piece again if its link can take it, and in any case looks again later.
    fn resend(&mut self, now: Nanos, at: u32, outbox: &mut impl Outbox) {
        let sequence = self.slots.sequence(at);
        let slot = self.slots.get_mut(at);
        if let Some(out) = outbox.to_shard(slot.shard) {
            Piece::write(out, sequence, slot.is_call, slot.op_count, &slot.body);
            self.stats.retries += 1;
        }
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
        let affected: Vec<u32> =
            self.slots.used().filter(|at| self.slots.get(*at).shard == shard).collect();
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
                self.resend(now, at, outbox);
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
