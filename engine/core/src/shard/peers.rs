//! What shards tell each other, and what they do when they hear nothing (R4, R9, R11).
//!
//! A message to a peer may be lost, repeated or late: each says something about one transaction
//! that is true for ever, and who lacks something asks again. So a link that breaks needs no care.
//!
//! What is released is kept until no peer can ask for it any more. Each shard tells each peer a
//! *watermark*: whatever it admitted at a local time below, and shares with that peer, is decided
//! there. A transaction is dropped when the watermarks of all others involved have passed their own
//! proposals for it. Where one transaction that hangs keeps a watermark back, or it was lost, who
//! keeps something asks about it.

use super::pending::{Entry, Party, Stage, Vote};
use super::{Mutation, Order, Shard};
use crate::journal::{Lsn, Record};
use crate::{Nanos, SessionId, ShardId};
use punctual_wire::{
    BatchWriter, Frame, PeerMessage, PeerReader, RefusedReason, ReplyStatus, TxnId, WireError,
};
use std::collections::VecDeque;
use std::time::Duration;

/// How often time-outs are looked for, and watermarks told while there is something to tell.
const SWEEP_INTERVAL: Nanos = Nanos(2_000_000);
/// The longest pause between two requests for the same proposal.
const ASK_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Messages that may wait for a link; the rest is dropped and asked for again.
const OUTBOUND_MAX: usize = 1 << 16;
/// Messages of one flush: about a megabyte.
const FLUSH_MAX: usize = 1 << 15;

/// What a shard knows of a peer.
#[derive(Debug)]
pub(super) struct Peer {
    /// The run of it that the link goes to, or went to last.
    session: Option<SessionId>,
    is_up: bool,
    /// Transactions that involve it and are pending or kept.
    pub(super) entries: u32,
    /// Transactions that it proposed and whose dispatch has not come here.
    pub(super) heard: u32,
    /// What it told last: everything it admitted at a local time below is decided there.
    watermark: Nanos,
    /// What it was told last.
    watermark_sent: Nanos,
    /// What it will be told next.
    watermark_next: Nanos,
    /// Our latest proposal to it.
    highest_local: Nanos,
    /// What waits for the link, each message with how far the log has to be durable before it may
    /// leave (R3).
    outbound: VecDeque<(Lsn, PeerMessage)>,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self {
            session: None,
            is_up: false,
            entries: 0,
            heard: 0,
            watermark: Nanos(i64::MIN),
            watermark_sent: Nanos(i64::MIN),
            watermark_next: Nanos(i64::MIN),
            highest_local: Nanos(i64::MIN),
            outbound: VecDeque::new(),
        }
    }

    #[inline]
    pub(super) fn note_proposal(&mut self, local: Nanos) {
        self.highest_local = self.highest_local.max(local);
    }

    fn incarnation(&self) -> Option<u32> {
        self.session.map(SessionId::incarnation)
    }

    /// Whether it may still keep something until our watermark has passed.
    fn wants_watermark(&self) -> bool {
        self.is_up && self.watermark_sent <= self.highest_local
    }
}

impl Shard {
    /// Notes that the link to a peer is up, and which run of the peer is at its other end. What was
    /// under way when the link broke is asked for again; what a dead run of the peer never proposed
    /// is settled with the other shards involved.
    pub fn on_peer_up(&mut self, now: Nanos, peer: ShardId, session: SessionId) {
        let now = self.advance(now);
        let Some(view) = self.peers.get_mut(usize::from(peer.0)) else { return };
        let before = view.session.replace(session);
        view.is_up = true;
        view.watermark_sent = Nanos(i64::MIN);
        let restarted = before.is_some_and(|before| before != session);
        if restarted {
            view.watermark = Nanos(i64::MIN);
        }
        let before = before.map(SessionId::incarnation);
        for index in (0..self.pending.live().len()).rev() {
            let at = self.pending.live()[index];
            let entry = self.pending.get_mut(at);
            let Some(party) = entry.party(peer.0).filter(|_| entry.stage == Stage::Proposed) else {
                continue;
            };
            entry.ask_at = now;
            if restarted && before == Some(entry.parties[party].incarnation) {
                self.bury(at, 1 << party);
            }
        }
        self.next_sweep = now;
    }

    /// Notes that the link to a peer is down. Messages for it are dropped until it is up again.
    pub fn on_peer_down(&mut self, peer: ShardId) {
        if let Some(view) = self.peers.get_mut(usize::from(peer.0)) {
            view.is_up = false;
            view.outbound.clear();
        }
    }

    /// Takes a `Peer` frame of another shard. `now` must have been read after it was taken from its
    /// link.
    ///
    /// # Errors
    /// When a message is malformed; the link must be closed. Those before it were taken.
    pub fn on_peer(
        &mut self,
        now: Nanos,
        from: ShardId,
        frame: &Frame<'_>,
    ) -> Result<(), WireError> {
        let now = self.advance(now);
        let mut messages = PeerReader::new(frame);
        while let Some(message) = messages.next_message()? {
            self.take_peer_message(now, from, message);
        }
        Ok(())
    }

    #[inline]
    fn take_peer_message(&mut self, now: Nanos, from: ShardId, message: PeerMessage) {
        let Some(view) = self.peers.get_mut(usize::from(from.0)) else {
            self.stats.foreign += 1;
            return;
        };
        let own = self.config.session.incarnation();
        match message {
            PeerMessage::Watermark { at } => view.watermark = view.watermark.max(Nanos(at)),
            PeerMessage::Propose { txn, to, .. }
            | PeerMessage::Lost { txn, to, .. }
            | PeerMessage::Settle { txn, to }
                if to != own =>
            {
                self.send(from.0, PeerMessage::Gone { txn });
            }
            PeerMessage::Propose { txn, local, answer, .. } => {
                self.take_proposal(now, from, txn, Nanos(local), answer);
            }
            PeerMessage::Refuse { txn, reason } => self.take_refusal(from, txn, reason),
            PeerMessage::Lost { txn, shard, dead, .. } => {
                self.take_loss(from, txn, shard, dead);
            }
            PeerMessage::Relay { txn, shard, local } => {
                self.take_relay(now, from, txn, shard, Nanos(local));
            }
            PeerMessage::Gone { txn } => self.take_gone(from, txn),
            PeerMessage::Settle { txn, .. } => self.take_question(from, txn),
            PeerMessage::Decided { txn } => self.take_decision(from, txn),
        }
    }

    #[inline]
    fn take_proposal(&mut self, now: Nanos, from: ShardId, txn: TxnId, local: Nanos, answer: bool) {
        let Some(at) = self.pending.find(txn) else {
            return self.hear(now, from, txn, local);
        };
        let incarnation = self.peers[usize::from(from.0)].incarnation();
        let entry = self.pending.get_mut(at);
        if entry.stage == Stage::Heard {
            if entry.party(from.0).is_none()
                && let Some(incarnation) = incarnation
            {
                entry.parties.push(Party { shard: from.0, incarnation, local });
                self.peers[usize::from(from.0)].heard += 1;
            }
            return;
        }
        let bound = |party: &usize| Some(entry.parties[*party].incarnation) == incarnation;
        let Some(party) = entry.party(from.0).filter(bound) else {
            self.stats.foreign += 1;
            return;
        };
        if entry.stage == Stage::Proposed && !entry.has(party) && !entry.is_dead(party) {
            self.take_local(now, at, party, local);
        }
        if answer {
            let entry = self.pending.get(at);
            let (local, to) = (entry.local().0, entry.parties[party].incarnation);
            self.send(from.0, PeerMessage::Propose { txn, local, to, answer: false });
        }
    }

    /// A proposal for a transaction without entry: its dispatch is still to come, or it is known to
    /// be refused, or it is done with.
    fn hear(&mut self, now: Nanos, from: ShardId, txn: TxnId, local: Nanos) {
        let view = &mut self.peers[usize::from(from.0)];
        if local < view.watermark {
            // An old copy: the sender has decided it since.
            self.stats.stale += 1;
            return;
        }
        if let Some(reason) = self.verdict(txn) {
            // What ran here is kept as long as anybody can ask, so this can only be an old copy.
            if let Some(reason) = reason {
                self.send(from.0, PeerMessage::Refuse { txn, reason });
            }
            return;
        }
        let view = &mut self.peers[usize::from(from.0)];
        // Room of its own: none of these stays for longer than the dispatch timeout, so whoever
        // asks again is heard in the end.
        let max = self.config.pending_per_peer_max;
        let Some(incarnation) = view.incarnation().filter(|_| view.heard < max) else {
            self.stats.peer_dropped += 1;
            return;
        };
        view.heard += 1;
        let at = self.pending.add(Order { time: local, txn });
        let entry = self.pending.get_mut(at);
        entry.stage = Stage::Heard;
        entry.received_at = now;
        entry.parties.push(Party { shard: from.0, incarnation, local });
    }

    /// What the outcome table says about a transaction without entry: nothing, that it was refused
    /// and why, or that it ran. A newer use of its slot says that no dispatch of it will be taken.
    fn verdict(&mut self, txn: TxnId) -> Option<Option<RefusedReason>> {
        let outcome = self.sessions.outcome_of(txn)?;
        if outcome.sequence > txn.sequence {
            return Some(Some(RefusedReason::DispatchTimeout));
        }
        if outcome.sequence < txn.sequence {
            return None;
        }
        match outcome.status {
            ReplyStatus::Refused(reason) => Some(Some(reason)),
            _ => Some(None),
        }
    }

    /// A shard involved will never run it.
    fn take_refusal(&mut self, from: ShardId, txn: TxnId, reason: RefusedReason) {
        let Some(at) = self.pending.find(txn) else { return };
        let entry = self.pending.get(at);
        match entry.stage {
            Stage::Heard => self.refuse_heard(at, reason),
            Stage::Proposed if entry.party(from.0).is_some() => self.refuse(at, reason),
            Stage::Proposed => self.stats.foreign += 1,
            // A late copy: it was agreed on, so nobody has refused it.
            Stage::Agreed | Stage::Released | Stage::Free => {}
        }
    }

    /// The run of a peer that a transaction is bound to is over.
    fn take_gone(&mut self, from: ShardId, txn: TxnId) {
        let incarnation = self.peers[usize::from(from.0)].incarnation();
        let Some(at) = self.pending.find(txn) else { return };
        let entry = self.pending.get(at);
        let is_over = |party: &usize| Some(entry.parties[*party].incarnation) != incarnation;
        if entry.stage == Stage::Proposed
            && let Some(party) = entry.party(from.0).filter(is_over)
        {
            self.bury(at, 1 << party);
        }
    }

    /// The memory of some parties is gone. If the proposal of one is not here, another shard may
    /// have it and may have released the transaction: all others are asked, and only when none has
    /// it, or can still get it, is it refused.
    ///
    /// A vote names the dead that the witness knows of, from whom it takes nothing any more, and
    /// counts here only if these are all that are known here. So nobody who has voted can obtain
    /// the proposal afterwards: the first who did would have it from a party that is alive and had
    /// voted that it lacks it.
    pub(super) fn bury(&mut self, at: u32, dead: u64) {
        let entry = self.pending.get_mut(at);
        let is_news = dead & !entry.dead != 0;
        entry.dead |= dead;
        let (txn, is_lost) = (entry.order.txn, entry.lost() != 0);
        if is_news {
            self.log(&Record::Buried { txn, dead });
        }
        if !is_lost {
            return;
        }
        if is_news {
            self.tell_loss(at);
        }
        let any_counts = self.config.mutation.is(Mutation::CountAnyVote);
        let entry = self.pending.get(at);
        let parties = 0..entry.parties.len();
        let has_voted = |lost: usize, witness: usize| {
            entry.votes.iter().any(|vote| {
                vote.lost == lost
                    && vote.witness == witness
                    && (any_counts || entry.dead & !vote.dead == 0)
            })
        };
        let is_nowhere = |lost: usize| {
            let others = parties.clone().filter(|party| *party != usize::from(entry.own));
            let mut alive = others.filter(|party| !entry.is_dead(*party));
            entry.lost() & (1 << lost) != 0 && alive.all(|witness| has_voted(lost, witness))
        };
        if parties.clone().any(is_nowhere) {
            self.stats.peer_lost += 1;
            self.refuse(at, RefusedReason::PeerLost);
        }
    }

    /// Tells the others involved which proposals are lost to us.
    fn tell_loss(&mut self, at: u32) {
        let entry = self.pending.get(at);
        let (txn, own, dead) = (entry.order.txn, usize::from(entry.own), entry.dead);
        let (lost_all, count) = (entry.lost(), entry.parties.len());
        for lost in (0..count).filter(|party| lost_all & (1 << party) != 0) {
            let shard = self.pending.get(at).parties[lost].shard;
            for witness in (0..count).filter(|party| *party != own && dead & (1 << party) == 0) {
                let Party { shard: receiver, incarnation: to, .. } =
                    self.pending.get(at).parties[witness];
                self.send(receiver, PeerMessage::Lost { txn, shard, to, dead });
            }
        }
    }

    /// A peer lacks the proposal of a shard whose memory is gone.
    fn take_loss(&mut self, from: ShardId, txn: TxnId, shard: u16, dead: u64) {
        let reason = RefusedReason::PeerLost;
        let Some(at) = self.pending.find(txn) else {
            let reason = match self.verdict(txn) {
                Some(Some(reason)) => reason,
                Some(None) => return,
                // Never admitted here, and now it never will be.
                None => {
                    self.entomb(txn, reason);
                    reason
                }
            };
            return self.send(from.0, PeerMessage::Refuse { txn, reason });
        };
        let entry = self.pending.get_mut(at);
        if entry.stage == Stage::Heard {
            self.refuse_heard(at, reason);
            return self.send(from.0, PeerMessage::Refuse { txn, reason });
        }
        let (Some(lost), Some(witness)) = (entry.party(shard), entry.party(from.0)) else {
            self.stats.foreign += 1;
            return;
        };
        if entry.has(lost) {
            let local = entry.parties[lost].local.0;
            return self.send(from.0, PeerMessage::Relay { txn, shard, local });
        }
        let same = |vote: &&mut Vote| vote.lost == lost && vote.witness == witness;
        match entry.votes.iter_mut().find(same) {
            Some(vote) => vote.dead |= dead,
            None => entry.votes.push(Vote { lost, witness, dead }),
        }
        // Only parties that there are, and never ourselves.
        let known = u64::MAX >> (64 - entry.parties.len());
        let dead = (dead | 1 << lost) & known & !(1 << entry.own);
        self.bury(at, dead);
    }

    /// A peer has the proposal that we lack.
    fn take_relay(&mut self, now: Nanos, from: ShardId, txn: TxnId, shard: u16, local: Nanos) {
        let Some(at) = self.pending.find(txn) else { return };
        let entry = self.pending.get_mut(at);
        if entry.stage != Stage::Proposed {
            return;
        }
        let (Some(party), Some(sender)) = (entry.party(shard), entry.party(from.0)) else {
            self.stats.foreign += 1;
            return;
        };
        if !entry.has(party) && !entry.is_dead(sender) {
            self.take_local(now, at, party, local);
        }
    }

    /// Notes what a party proposed.
    #[inline]
    fn take_local(&mut self, now: Nanos, at: u32, party: usize, local: Nanos) {
        let entry = self.pending.get_mut(at);
        entry.parties[party].local = local;
        entry.have |= 1 << party;
        let (txn, shard) = (entry.order.txn, entry.parties[party].shard);
        self.log(&Record::Proposal { txn, shard, local });
        self.agree_if_complete(now, at);
    }

    /// A peer keeps a transaction until we have decided it. What is not here any more is decided.
    fn take_question(&mut self, from: ShardId, txn: TxnId) {
        let stage = self.pending.find(txn).map(|at| self.pending.get(at).stage);
        if !matches!(stage, Some(Stage::Heard | Stage::Proposed)) {
            self.send(from.0, PeerMessage::Decided { txn });
        }
    }

    fn take_decision(&mut self, from: ShardId, txn: TxnId) {
        let Some(at) = self.pending.find(txn) else { return };
        let entry = self.pending.get_mut(at);
        if entry.stage == Stage::Released
            && let Some(party) = entry.party(from.0)
        {
            entry.settled |= 1 << party;
        }
    }

    /// Queues a message for a peer, if it can be sent at all.
    #[inline]
    pub(super) fn send(&mut self, shard: u16, message: PeerMessage) {
        let peer = &mut self.peers[usize::from(shard)];
        if peer.is_up && peer.outbound.len() < OUTBOUND_MAX {
            peer.outbound.push_back((self.log.tail(), message));
        } else {
            self.stats.peer_dropped += 1;
        }
    }

    /// Writes what waits for a peer and may leave. Returns how many messages.
    pub fn write_peer(&mut self, peer: ShardId, out: &mut BatchWriter) -> usize {
        let Some(view) = self.peers.get_mut(usize::from(peer.0)) else { return 0 };
        let durable = self.log.durable_for_peers();
        let mut count = 0;
        while count < FLUSH_MAX
            && let Some((gate, message)) = view.outbound.front()
            && *gate <= durable
        {
            message.write(out);
            view.outbound.pop_front();
            count += 1;
        }
        count
    }

    /// Writes the answers that a session waits for and that may leave, as far as `out` has room.
    /// Returns how many.
    #[inline]
    pub fn write_replies(&mut self, session: super::SessionIndex, out: &mut BatchWriter) -> usize {
        let reach = self.log.reach(self.clock);
        self.sessions.write_ready(session, reach, super::OUT_BYTES_MAX, out)
    }

    /// Releases what is due and looks after time-outs and watermarks. To be called once a turn,
    /// after the links were read; an older reading of the clock only delays. Returns how much was
    /// done.
    #[inline]
    pub fn on_turn(&mut self, now: Nanos) -> usize {
        self.clock = self.clock.max(now);
        if now < self.next_sweep && self.pending.live().is_empty() {
            return 0;
        }
        let now = self.clock;
        let is_watched = self.is_watched();
        if is_watched {
            // Where nothing is said nothing is promised: an idle shard writes nothing.
            self.log_clock();
        }
        let released = self.release_due(now);
        if now >= self.next_sweep {
            if is_watched {
                self.sweep(now);
            }
            self.next_sweep = now + SWEEP_INTERVAL;
        }
        released
    }

    /// When [`on_turn`](Self::on_turn) has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        if self.pending.has_candidates() {
            return Some(Nanos(i64::MIN));
        }
        let due = self.pending.next_due().map(|due| (due + self.config.epsilon.into()).next());
        let sweep = self.is_watched().then_some(self.next_sweep);
        due.into_iter().chain(sweep).min()
    }

    fn is_watched(&self) -> bool {
        !self.pending.live().is_empty() || self.peers.iter().any(Peer::wants_watermark)
    }

    /// Looks at every entry once: refuses what was only heard of for too long, asks for what is
    /// missing, forgets what nobody can ask for any more; then tells how far this shard is.
    fn sweep(&mut self, now: Nanos) {
        for peer in &mut self.peers {
            peer.watermark_next = now;
        }
        for index in (0..self.pending.live().len()).rev() {
            let at = self.pending.live()[index];
            match self.pending.get(at).stage {
                Stage::Heard => self.refuse_if_overdue(now, at),
                Stage::Proposed => self.watch(now, at),
                Stage::Released if self.is_settled(at) => {
                    let txn = self.pending.get(at).order.txn;
                    self.log(&Record::Forgotten { txn });
                    self.count_entry(at, false);
                    self.pending.remove(at);
                }
                Stage::Released if now >= self.pending.get(at).ask_at => self.ask(now, at),
                Stage::Released | Stage::Agreed | Stage::Free => {}
            }
        }
        for shard in 0..self.config.shards {
            let peer = &mut self.peers[usize::from(shard)];
            let at = peer.watermark_next;
            if peer.wants_watermark() && at > peer.watermark_sent {
                peer.watermark_sent = at;
                self.send(shard, PeerMessage::Watermark { at: at.0 });
            }
        }
    }

    fn refuse_if_overdue(&mut self, now: Nanos, at: u32) {
        if now.since(self.pending.get(at).received_at) >= self.config.dispatch_timeout {
            self.refuse_heard(at, RefusedReason::DispatchTimeout);
            self.stats.refused_by_timeout += 1;
        }
    }

    /// An undecided transaction holds back the watermarks of all that share it.
    fn watch(&mut self, now: Nanos, at: u32) {
        let Self { pending, peers, .. } = self;
        let entry = pending.get(at);
        for party in &entry.parties {
            let peer = &mut peers[usize::from(party.shard)];
            peer.watermark_next = peer.watermark_next.min(entry.order.time);
        }
        if now >= entry.ask_at {
            self.ask(now, at);
        }
    }

    /// Whether a party to a released transaction has decided it, or lost its memory.
    #[inline]
    fn has_settled(&self, entry: &Entry, party: usize) -> bool {
        let Party { shard, incarnation, local } = entry.parties[party];
        let peer = &self.peers[usize::from(shard)];
        party == usize::from(entry.own)
            || peer.watermark > local
            || entry.settled & (1 << party) != 0
            || peer.incarnation().is_some_and(|known| known != incarnation)
    }

    #[inline]
    fn is_settled(&self, at: u32) -> bool {
        let entry = self.pending.get(at);
        (0..entry.parties.len()).all(|party| self.has_settled(entry, party))
    }

    /// Asks again: for proposals that are missing, or, of what is released, whether it is decided.
    fn ask(&mut self, now: Nanos, at: u32) {
        let entry = self.pending.get_mut(at);
        entry.ask_at = now + entry.ask_pause.into();
        entry.ask_pause = (entry.ask_pause * 2).min(ASK_PAUSE_MAX);
        let (txn, local) = (entry.order.txn, entry.local().0);
        let is_released = entry.stage == Stage::Released;
        for party in 0..entry.parties.len() {
            let entry = self.pending.get(at);
            let Party { shard, incarnation: to, .. } = entry.parties[party];
            if is_released {
                if !self.has_settled(entry, party) {
                    self.send(shard, PeerMessage::Settle { txn, to });
                }
            } else if !entry.has(party) && !entry.is_dead(party) {
                self.stats.asked += 1;
                self.send(shard, PeerMessage::Propose { txn, local, to, answer: true });
            }
        }
        if !is_released && self.pending.get(at).lost() != 0 {
            self.tell_loss(at);
        }
    }
}
