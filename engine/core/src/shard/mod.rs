//! A shard: it admits pieces, runs them on its store in timestamp order and answers.
//!
//! Built today is the path of transactions on one shard: they are stamped on arrival and never
//! held. So a piece is admitted and released in one go, and is run where it lies in the receive
//! buffer.

mod session;
#[cfg(test)]
mod tests;

use crate::procedure::{ProcedureContext, Procedures, UndoLog, Verdict};
use crate::store::{MemoryHooks, Store};
use crate::{Nanos, SessionId, ShardId};
use punctual_wire::{
    BatchWriter, Frame, Key, Limits, OpReader, OpResult, Piece, PieceBody, PieceReader,
    RefusedReason, Reply, ReplyStatus, WireError, shard_of,
};
use session::{Outcome, Sessions};
pub use session::{SessionError, SessionIndex};
use std::sync::Arc;
use std::time::Duration;

/// So many pieces ahead of the one that runs are checked, and the cache lines of their keys
/// fetched: far enough for memory to answer in the meantime, near enough for the lines to be there
/// still.
const LOOK_AHEAD_PIECES: usize = 8;

/// While so many bytes of replies wait for a coordinator, its pieces are answered as busy (R10): a
/// frame of short reads of long values would else fill the memory.
const OUT_BYTES_MAX: usize = 4 << 20;

/// What a shard must know.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// Which shard it is.
    pub id: ShardId,
    /// How many shards there are, at least 1.
    pub shards: u16,
    /// Bounds of what arrives.
    pub limits: Limits,
    /// Sessions that are kept.
    pub sessions_max: u32,
    /// Slots of a session.
    pub slots_max: u32,
    /// How long the outcomes of a vanished coordinator are kept for its return.
    pub session_retention: Duration,
    /// Bytes of store after which writes are refused.
    pub store_bytes_max: u64,
    /// Seed of the store's hash.
    pub seed: u64,
    /// What the store asks of the machine.
    pub memory: MemoryHooks,
}

impl ShardConfig {
    /// The defaults for one of `shards`.
    #[must_use]
    pub fn new(id: ShardId, shards: u16) -> Self {
        Self {
            id,
            shards,
            limits: Limits::DEFAULT,
            sessions_max: 1024,
            slots_max: punctual_wire::TxnSequence::SLOTS_MAX,
            session_retention: Duration::from_mins(1),
            store_bytes_max: 8 << 30,
            seed: 0,
            memory: MemoryHooks::default(),
        }
    }
}

/// What a shard has counted since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShardStats {
    /// Pieces that committed.
    pub committed: u64,
    /// Procedures that chose to abort.
    pub aborted: u64,
    /// Operations that ran; what procedures do inside is not counted.
    pub ops: u64,
    /// Retries answered from the outcome table.
    pub repeated: u64,
    /// Pieces that the coordinator had finished long ago: dropped.
    pub stale: u64,
    /// Pieces refused for good.
    pub refused: u64,
    /// Pieces that found too many replies waiting.
    pub busy: u64,
}

/// A shard.
#[derive(Debug)]
pub struct Shard {
    config: ShardConfig,
    store: Store,
    sessions: Sessions,
    procedures: Arc<Procedures>,
    undo: UndoLog,
    last_released: Nanos,
    stats: ShardStats,
}

impl Shard {
    /// An empty shard.
    #[must_use]
    pub fn new(config: ShardConfig, procedures: Arc<Procedures>) -> Self {
        Self {
            store: Store::with_memory(config.seed, config.store_bytes_max, config.memory),
            sessions: Sessions::new(
                config.sessions_max,
                config.slots_max,
                config.session_retention,
            ),
            procedures,
            undo: UndoLog::default(),
            last_released: Nanos(i64::MIN),
            stats: ShardStats::default(),
            config,
        }
    }

    /// Which shard it is.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.config.id
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> ShardStats {
        self.stats
    }

    /// The store, to be looked at.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Opens or finds the session of a coordinator worker that connected.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn open_session(
        &mut self,
        now: Nanos,
        id: SessionId,
        slots: u32,
    ) -> Result<SessionIndex, SessionError> {
        self.sessions.open(now, id, slots)
    }

    /// Which outcome table an open session has; the coordinator compares it with the one before.
    ///
    /// # Panics
    /// If the session is not open: a mistake of the caller.
    #[must_use]
    pub fn session_epoch(&self, session: SessionIndex) -> u32 {
        self.sessions.epoch(session)
    }

    /// Notes that a session has no link any more; its outcomes are kept for a while.
    pub fn close_session(&mut self, now: Nanos, session: SessionIndex) {
        self.sessions.close(now, session);
    }

    /// Forgets a session whose coordinator said that nothing is in flight and it will not return.
    pub fn end_session(&mut self, session: SessionIndex) {
        self.sessions.end(session);
    }

    /// Takes a `Dispatch` frame and appends the replies to `out`.
    ///
    /// `now` must have been read after the frame was taken from its link (rule R2).
    ///
    /// # Errors
    /// When a piece is malformed: it and those after it did nothing, and the link must be closed.
    pub fn on_dispatch(
        &mut self,
        now: Nanos,
        session: SessionIndex,
        frame: &Frame<'_>,
        out: &mut BatchWriter,
    ) -> Result<(), WireError> {
        let mut ahead = PieceReader::new(frame, &self.config.limits);
        let mut pieces = ahead.clone();
        let mut checked = 0;
        let mut end = None;
        loop {
            while end.is_none() && checked < LOOK_AHEAD_PIECES {
                match ahead.next_piece().and_then(|piece| self.check(piece)) {
                    Ok(true) => checked += 1,
                    Ok(false) => end = Some(Ok(())),
                    Err(error) => end = Some(Err(error)),
                }
            }
            if checked == 0 {
                return end.unwrap_or(Ok(()));
            }
            checked -= 1;
            let piece = pieces.next_piece()?.expect("checked pieces are there");
            if out.len() >= OUT_BYTES_MAX {
                // The outcome stays as it is, so that the piece can come again.
                self.stats.busy += 1;
                Reply::write(out, piece.sequence, ReplyStatus::Busy, 0, 0, &[]);
                continue;
            }
            self.admit(now, session, &piece, out);
        }
    }

    /// Reads every operation of a piece once, so that nothing malformed is ever half done, and
    /// prefetches its keys. False at the end of the frame.
    #[inline]
    fn check(&self, piece: Option<Piece<'_>>) -> Result<bool, WireError> {
        let Some(piece) = piece else { return Ok(false) };
        let PieceBody::Ops { count, bytes } = piece.body else { return Ok(true) };
        let mut ops = OpReader::new(bytes);
        for _ in 0..count {
            if let Some(op) = ops.peek_word() {
                self.store.prefetch(Key::Word(op.key));
                ops.skip_word(op);
                continue;
            }
            let op = ops.next_op()?;
            op.check(&self.config.limits)?;
            self.store.prefetch(op.key());
        }
        if ops.remaining() > 0 {
            return Err(WireError::Trailing { what: "the last operation", bytes: ops.remaining() });
        }
        Ok(true)
    }

    /// Admits one piece, runs it unless it was seen before (R8), and answers with what its slot
    /// holds then (R7).
    #[inline]
    fn admit(
        &mut self,
        now: Nanos,
        session: SessionIndex,
        piece: &Piece<'_>,
        out: &mut BatchWriter,
    ) {
        let sequence = piece.sequence;
        let refusal = self.refusal(piece);
        let outcome = self.sessions.outcome_mut(session, sequence);
        let Some(outcome) = outcome.filter(|outcome| sequence >= outcome.sequence) else {
            // Nobody waits for an answer to what the coordinator has finished.
            self.stats.stale += 1;
            return;
        };
        if sequence == outcome.sequence {
            self.stats.repeated += 1;
        } else if let Some(reason) = refusal {
            self.stats.refused += 1;
            outcome.begin(sequence, ReplyStatus::Refused(reason), Nanos::ZERO);
        } else {
            let commit = now.max(self.last_released.next());
            debug_assert!(commit > self.last_released, "commits of a shard strictly increase");
            self.last_released = commit;
            outcome.begin(sequence, ReplyStatus::Committed, commit);
            let mut release = Release {
                limits: &self.config.limits,
                procedures: &self.procedures,
                store: &mut self.store,
                undo: &mut self.undo,
            };
            release.run(&piece.body, outcome);
            let aborted = u64::from(outcome.status == ReplyStatus::Aborted);
            self.stats.aborted += aborted;
            self.stats.committed += 1 - aborted;
            self.stats.ops += match piece.body {
                PieceBody::Ops { count, .. } => u64::from(count),
                PieceBody::Call { .. } => 0,
            };
        }
        let Outcome { status, commit, result_count, results, .. } = &*outcome;
        Reply::write(out, sequence, *status, commit.0, *result_count, results);
    }

    /// Why a piece must not run here, if so.
    #[inline]
    fn refusal(&self, piece: &Piece<'_>) -> Option<RefusedReason> {
        match piece.body {
            PieceBody::Ops { count, bytes } => {
                if self.config.shards > 1 {
                    let mut ops = OpReader::new(bytes);
                    for _ in 0..count {
                        let key = ops.next_op().ok()?.key();
                        if shard_of(key, self.config.shards) != self.config.id.0 {
                            return Some(RefusedReason::WrongShard);
                        }
                    }
                }
                (self.store.is_full() && writes(count, bytes)).then_some(RefusedReason::StoreFull)
            }
            PieceBody::Call { procedure, .. } => {
                if self.procedures.get(procedure).is_none() {
                    return Some(RefusedReason::UnknownProcedure);
                }
                self.store.is_full().then_some(RefusedReason::StoreFull)
            }
        }
    }
}

/// What running a piece needs (R6; a transaction on one shard waits for nothing).
struct Release<'a> {
    limits: &'a Limits,
    procedures: &'a Procedures,
    store: &'a mut Store,
    undo: &'a mut UndoLog,
}

impl Release<'_> {
    #[inline]
    fn run(&mut self, body: &PieceBody<'_>, outcome: &mut Outcome) {
        match *body {
            PieceBody::Ops { count, bytes } => self.run_ops(count, bytes, outcome),
            PieceBody::Call { procedure, args } => self.call(procedure, args, outcome),
        }
    }

    #[inline]
    fn run_ops(&mut self, count: u16, bytes: &[u8], outcome: &mut Outcome) {
        let mut ops = OpReader::new(bytes);
        let value_len_max = self.limits.value_bytes_max as usize;
        let out_len_max = self.limits.results_bytes_max();
        let results = &mut outcome.results;
        results.reserve(usize::from(count) * OpResult::WORD_BYTES);
        for _ in 0..count {
            if let Some(op) = ops.peek_word()
                && self.store.run_word(op, results)
            {
                ops.skip_word(op);
                continue;
            }
            let Ok(op) = ops.next_op() else { unreachable!("the piece was checked") };
            self.store.run(op, value_len_max, out_len_max, results);
        }
        outcome.result_count = count;
    }

    fn call(&mut self, procedure: u16, args: &[u8], outcome: &mut Outcome) {
        let Some(procedure) = self.procedures.get(procedure) else {
            unreachable!("an unknown procedure was refused")
        };
        self.undo.clear();
        let results = &mut outcome.results;
        let out_len_max = self.limits.results_bytes_max();
        let mut context =
            ProcedureContext::new(self.store, self.undo, self.limits, results, out_len_max);
        let verdict = procedure.run(&mut context, args);
        outcome.result_count = context.result_count();
        if verdict == Verdict::Abort {
            self.undo.roll_back(self.store);
            outcome.status = ReplyStatus::Aborted;
        }
    }
}

/// Whether any of the operations may change the store.
fn writes(count: u16, bytes: &[u8]) -> bool {
    let mut ops = OpReader::new(bytes);
    (0..count).any(|_| ops.next_op().is_ok_and(|op| op.is_write()))
}
