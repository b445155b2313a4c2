//! A shard: it admits pieces, agrees with its peers on their time, runs them on its store in that
//! order, and answers.
//!
//! A transaction on this shard alone is stamped on arrival. Unless something earlier is pending
//! that it conflicts with, it is admitted and released in one go, and runs where it lies in the
//! receive buffer. Everything else is held in [`pending::Pending`] until its time has come.

mod agree;
mod holds;
mod log;
mod mutation;
mod peers;
mod pending;
mod release;
mod replay;
mod replica;
mod session;
mod snapshot;
#[cfg(test)]
mod tests;

use crate::journal::{Durability, Record, RecordParty};
use crate::procedure::{Procedures, UndoLog};
use crate::store::{MemoryHooks, Store};
use crate::{Nanos, SessionId, ShardId};
use holds::Order;
use log::Log;
pub use mutation::Mutation;
use peers::Peer;
use pending::{Party, Pending, Stage, txn_id};
use punctual_wire::{
    BatchWriter, Frame, Key, Limits, OpReader, Piece, PieceBody, PieceReader, RefusedReason, Reply,
    ReplyStatus, WireError, shard_of,
};
use release::{Release, keys};
pub use replay::{Replay, ReplayError};
pub use replica::ShardSetup;
use session::Sessions;
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
    /// This run of it; the handshake names the same one.
    pub session: SessionId,
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
    /// Bound of the difference between any two clocks of the cluster.
    pub epsilon: Duration,
    /// A stamp further ahead of the clock than this is refused.
    pub max_hold: Duration,
    /// A transaction whose dispatch has not come so long after a peer's proposal is refused (R9).
    pub dispatch_timeout: Duration,
    /// A proposal that is missing for so long is asked for again; the pause doubles each time.
    pub ask_after: Duration,
    /// Transactions shared with any one peer that are pending or kept for it. Beyond that the
    /// answer is busy, so that a peer that hangs takes no more room than that. Those on three
    /// shards count for both peers.
    pub pending_per_peer_max: u32,
    /// Transactions on this shard alone that wait for others.
    pub blocked_max: u32,
    /// Bytes of the pieces of all that waits, beyond which the answer is busy.
    pub held_bytes_max: usize,
    /// What has to be durable before an answer leaves. With a journal, the host moves what is
    /// appended ([`Shard::take_log`]) and says when it is there ([`Shard::on_durable`]).
    pub durability: Durability,
    /// A rule that is broken on purpose, in tests of the simulator.
    #[doc(hidden)]
    pub mutation: Mutation,
}

impl ShardConfig {
    /// The defaults for one of `shards`.
    #[must_use]
    pub fn new(id: ShardId, shards: u16) -> Self {
        Self {
            id,
            session: SessionId(0),
            shards,
            limits: Limits::DEFAULT,
            sessions_max: 1024,
            slots_max: punctual_wire::TxnSequence::SLOTS_MAX,
            session_retention: Duration::from_mins(1),
            store_bytes_max: 8 << 30,
            seed: 0,
            memory: MemoryHooks::default(),
            epsilon: Duration::ZERO,
            max_hold: Duration::from_secs(1),
            dispatch_timeout: Duration::from_secs(1),
            ask_after: Duration::from_millis(100),
            pending_per_peer_max: 16_384,
            blocked_max: 16_384,
            held_bytes_max: 256 << 20,
            durability: Durability::Memory,
            mutation: Mutation::None,
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
    /// Pieces that found no room: too many replies, or too many transactions, were waiting.
    pub busy: u64,
    /// Pieces of transactions on several shards that were admitted.
    pub stamped: u64,
    /// Those of them that came after their time, and were moved to a later one.
    pub late: u64,
    /// Transactions that are admitted and have not run yet.
    pub held: u64,
    /// Pieces that had to wait for a conflicting one, at their time or on arrival.
    pub blocked: u64,
    /// Proposals sent to peers.
    pub proposals_sent: u64,
    /// Proposals that were asked for again.
    pub asked: u64,
    /// Transactions refused because their dispatch did not come (R9).
    pub refused_by_timeout: u64,
    /// Transactions refused because a peer lost its memory.
    pub peer_lost: u64,
    /// Messages from shards that the transaction does not involve.
    pub foreign: u64,
    /// Messages to peers that were dropped because the link was down or too many waited. What they
    /// said is asked for again.
    pub peer_dropped: u64,
}

/// What a look at a piece found.
#[derive(Debug, Clone, Copy)]
struct Checked {
    /// All its keys belong to this shard.
    is_ours: bool,
    /// It may change something.
    writes: bool,
}

/// A shard.
#[derive(Debug)]
pub struct Shard {
    config: ShardConfig,
    store: Store,
    sessions: Sessions,
    procedures: Arc<Procedures>,
    undo: UndoLog,
    pending: Pending,
    peers: Vec<Peer>,
    log: Log,
    last_released: Nanos,
    /// The latest time that any input brought: the clock, as far as it was seen.
    clock: Nanos,
    /// Of this shard alone, those that wait.
    blocked: u32,
    held_bytes: usize,
    /// What was heard of one transaction, while it is admitted.
    heard: Vec<Party>,
    next_sweep: Nanos,
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
            pending: Pending::new(!procedures.is_empty()),
            procedures,
            undo: UndoLog::default(),
            peers: (0..config.shards).map(|_| Peer::new()).collect(),
            log: Log::new(config.durability, config.mutation),
            last_released: Nanos(i64::MIN),
            clock: Nanos(i64::MIN),
            blocked: 0,
            held_bytes: 0,
            heard: Vec::new(),
            next_sweep: Nanos(i64::MIN),
            stats: ShardStats::default(),
            config,
        }
    }

    /// Which shard it is.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.config.id
    }

    /// Which run of it this is.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.config.session
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> ShardStats {
        ShardStats { held: self.pending.placed() as u64, ..self.stats }
    }

    /// Whether nothing is undecided or waits for its time.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.pending.placed() == 0
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
        self.clock = self.clock.max(now);
        let opened = self.sessions.open(now, id, slots)?;
        if opened.is_new {
            let index = u32::try_from(opened.index.0).expect("sessions are bounded");
            let epoch = self.sessions.epoch(opened.index);
            self.log(&Record::SessionOpened { id, index, slots, epoch });
        }
        Ok(opened.index)
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
        if let Some(id) = self.sessions.end(session) {
            self.log(&Record::SessionEnded { id });
        }
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
        let now = self.see(now);
        let mut ahead = PieceReader::new(frame, &self.config.limits);
        let mut pieces = ahead.clone();
        let mut checked = 0;
        // Which of the checked pieces have keys of other shards, and which may change something, by
        // bits; bit 0 is the next one.
        let (mut foreign, mut writing) = (0_u32, 0_u32);
        let mut end = None;
        loop {
            while end.is_none() && checked < LOOK_AHEAD_PIECES {
                match ahead.next_piece().and_then(|piece| self.check(piece)) {
                    Ok(Some(found)) => {
                        foreign |= u32::from(!found.is_ours) << checked;
                        writing |= u32::from(found.writes) << checked;
                        checked += 1;
                    }
                    Ok(None) => end = Some(Ok(())),
                    Err(error) => end = Some(Err(error)),
                }
            }
            if checked == 0 {
                return end.unwrap_or(Ok(()));
            }
            checked -= 1;
            let found = Checked { is_ours: foreign & 1 == 0, writes: writing & 1 != 0 };
            (foreign, writing) = (foreign >> 1, writing >> 1);
            let piece = pieces.next_piece()?.expect("checked pieces are there");
            if out.len() >= OUT_BYTES_MAX || self.log.is_clogged() {
                // The outcome stays as it is, so that the piece can come again.
                self.stats.busy += 1;
                Reply::write(out, piece.sequence, ReplyStatus::Busy, 0, 0, &[]);
                continue;
            }
            let refusal = self.refusal(&piece, found);
            self.admit(now, session, &piece, (refusal, found.writes), out);
        }
    }

    /// Reads every operation of a piece once, so that nothing malformed is ever half done, and
    /// prefetches what its keys need. Says what it found; nothing at the end of the frame.
    #[inline]
    fn check(&self, piece: Option<Piece<'_>>) -> Result<Option<Checked>, WireError> {
        let Some(piece) = piece else { return Ok(None) };
        self.check_body(&piece.body, piece.stamp.is_some()).map(Some)
    }

    #[inline]
    fn check_body(&self, body: &PieceBody<'_>, is_held: bool) -> Result<Checked, WireError> {
        let PieceBody::Ops { count, bytes } = *body else {
            return Ok(Checked { is_ours: true, writes: true });
        };
        let (shards, own) = (self.config.shards, self.config.id.0);
        let (mut is_ours, mut writes) = (true, false);
        let mut look = |key| {
            is_ours &= shard_of(key, shards) == own;
            match is_held {
                false => self.store.prefetch(key),
                true => self.pending.prefetch(key, self.config.memory),
            }
        };
        let mut ops = OpReader::new(bytes);
        for _ in 0..count {
            if let Some(op) = ops.peek_word() {
                look(Key::Word(op.key));
                writes |= op.is_add;
                ops.skip_word(op);
                continue;
            }
            let op = ops.next_op()?;
            op.check(&self.config.limits)?;
            look(op.key());
            writes |= op.is_write();
        }
        if ops.remaining() > 0 {
            return Err(WireError::Trailing { what: "the last operation", bytes: ops.remaining() });
        }
        Ok(Checked { is_ours, writes })
    }

    /// Admits one piece, runs it unless it was seen before (R8) or has to wait, and answers with
    /// what its slot holds then (R7).
    #[inline]
    fn admit(
        &mut self,
        now: Nanos,
        session: SessionIndex,
        piece: &Piece<'_>,
        (refusal, writes): (Option<RefusedReason>, bool),
        out: &mut BatchWriter,
    ) {
        if piece.stamp.is_some() {
            return self.admit_stamped(now, session, piece, refusal, out);
        }
        let sequence = piece.sequence;
        let repeat = self.config.mutation.is(Mutation::RunRetryAgain);
        let outcome = self.sessions.outcome_mut(session, sequence);
        let Some(outcome) = outcome.filter(|outcome| sequence >= outcome.sequence) else {
            // Nobody waits for an answer to what the coordinator has finished.
            self.stats.stale += 1;
            return;
        };
        if sequence == outcome.sequence && (outcome.is_pending || !repeat) {
            self.stats.repeated += 1;
            if outcome.is_pending {
                return;
            }
        } else if let Some(reason) = refusal {
            self.stats.refused += 1;
            outcome.begin(sequence, ReplyStatus::Refused(reason), Nanos::ZERO);
        } else {
            let commit = now.max(self.last_released.next());
            if self.pending.placed() > 0
                && let Some(blocker) = self.blocker_of_single(commit, session, piece)
            {
                return self.hold_single(commit, session, piece, blocker, out);
            }
            self.run_single(commit, session, piece, writes);
        }
        self.answer(session, sequence, false, out);
    }

    /// Runs a piece of a transaction on this shard alone where it lies.
    #[inline]
    fn run_single(
        &mut self,
        commit: Nanos,
        session: SessionIndex,
        piece: &Piece<'_>,
        writes: bool,
    ) {
        self.last_released = self.last_released.max(commit);
        let Self { config, procedures, store, undo, sessions, .. } = self;
        let Some(outcome) = sessions.outcome_mut(session, piece.sequence) else { return };
        outcome.begin(piece.sequence, ReplyStatus::Committed, commit);
        let mut release = Release { limits: &config.limits, procedures, store, undo };
        release.run(&piece.body, outcome);
        let aborted = outcome.status == ReplyStatus::Aborted;
        self.count_run(aborted, &piece.body);
        if self.log.is_on() && writes {
            self.log_single(self.txn_of(session, piece), commit, &piece.body);
        }
    }

    #[inline]
    fn count_run(&mut self, aborted: bool, body: &PieceBody<'_>) {
        let aborted = u64::from(aborted);
        self.stats.aborted += aborted;
        self.stats.committed += 1 - aborted;
        self.stats.ops += match *body {
            PieceBody::Ops { count, .. } => u64::from(count),
            PieceBody::Call { .. } => 0,
        };
    }

    /// The pending transaction that a newcomer on this shard alone has to wait for, if any.
    #[inline]
    fn blocker_of_single(
        &self,
        time: Nanos,
        session: SessionIndex,
        piece: &Piece<'_>,
    ) -> Option<u32> {
        if self.config.mutation.is(Mutation::IgnoreConflict) {
            return None;
        }
        let order = Order { time, txn: self.txn_of(session, piece) };
        let is_call = matches!(piece.body, PieceBody::Call { .. });
        self.pending.blocker_of(order, is_call, keys(&piece.body))
    }

    /// Keeps a piece of a transaction on this shard alone until what it conflicts with has run.
    fn hold_single(
        &mut self,
        time: Nanos,
        session: SessionIndex,
        piece: &Piece<'_>,
        blocker: u32,
        out: &mut BatchWriter,
    ) {
        if self.blocked >= self.config.blocked_max || !self.has_held_room() {
            self.stats.busy += 1;
            return Reply::write(out, piece.sequence, ReplyStatus::Busy, 0, 0, &[]);
        }
        let order = Order { time, txn: self.txn_of(session, piece) };
        if self.pending.find(order.txn).is_some() {
            // Its session was forgotten meanwhile, but it was not.
            self.stats.repeated += 1;
            return;
        }
        self.blocked += 1;
        self.stats.blocked += 1;
        let at = self.pending.add(order);
        self.keep_piece(at, time, session, piece);
        self.pending.get_mut(at).stage = Stage::Agreed;
        self.pending.place(at, keys(&piece.body));
        self.pending.wait(at, blocker);
    }

    fn txn_of(&self, session: SessionIndex, piece: &Piece<'_>) -> punctual_wire::TxnId {
        let id = self.sessions.id(session).expect("the index of an open session");
        txn_id(id, piece.sequence)
    }

    /// Why a piece must not run here, if so.
    #[inline]
    fn refusal(&self, piece: &Piece<'_>, found: Checked) -> Option<RefusedReason> {
        if !found.is_ours {
            return Some(RefusedReason::WrongShard);
        }
        if let PieceBody::Call { procedure, .. } = piece.body
            && self.procedures.get(procedure).is_none()
        {
            return Some(RefusedReason::UnknownProcedure);
        }
        if self.log.is_full() && found.writes && piece.stamp.is_none() {
            return Some(RefusedReason::JournalFull);
        }
        (found.writes && self.store.is_full()).then_some(RefusedReason::StoreFull)
    }
}
