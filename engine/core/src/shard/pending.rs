//! Transactions that a shard knows of but is not done with: heard of, proposed, agreed, or released
//! and kept for peers that may still ask.

use super::holds::{Holds, NONE, Order};
use super::session::SessionIndex;
use crate::Nanos;
use crate::store::MemoryHooks;
use punctual_wire::{Key, Participant, PieceBody, TxnId, TxnSequence};
use std::cmp::Reverse;
#[expect(
    clippy::disallowed_types,
    reason = "it has a hasher without a seed, and no order is read"
)]
use std::collections::HashMap;
use std::collections::{BTreeSet, BinaryHeap};
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

/// A body that took more memory than this gives it back when its entry is free again.
const BODY_BYTES_KEPT: usize = 4096;

/// How far an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not in use.
    Free,
    /// Known from proposals of peers only; its own dispatch has not come (R9).
    Heard,
    /// Admitted; proposals are missing (R4).
    Proposed,
    /// Its time is known; it waits for that, or for others (R6).
    Agreed,
    /// It ran. It is kept until all shards involved are known to have all proposals.
    Released,
}

/// A shard that takes part, and what it proposed. Only of those in `Entry::have` is `local` valid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Party {
    pub(super) shard: u16,
    pub(super) incarnation: u32,
    pub(super) local: Nanos,
}

/// What a witness said: it lacks the proposal of the party `lost`, and takes nothing any more from
/// those in `dead`, not even by relay.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vote {
    pub(super) lost: usize,
    pub(super) witness: usize,
    pub(super) dead: u64,
}

/// A transaction.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) stage: Stage,
    /// Where this shard is among the parties.
    pub(super) own: u8,
    pub(super) call: Option<u16>,
    pub(super) op_count: u16,
    /// Parties whose proposals are here, by bits.
    pub(super) have: u64,
    /// Parties whose run that it is bound to is over. Nothing is taken from them any more.
    pub(super) dead: u64,
    /// Parties known to have decided it, beside those whose watermarks say so.
    pub(super) settled: u64,
    /// Its id, and its own proposal or, later, its agreed time.
    pub(super) order: Order,
    pub(super) received_at: Nanos,
    pub(super) agreed_at: Nanos,
    pub(super) session: SessionIndex,
    pub(super) ask_at: Nanos,
    pub(super) ask_pause: Duration,
    /// All shards involved, this one too; of an entry that was only heard of, those who proposed
    /// it; none of a transaction on this shard alone.
    pub(super) parties: Vec<Party>,
    pub(super) body: Vec<u8>,
    /// Who else lacks the proposal of which dead party.
    pub(super) votes: Vec<Vote>,
    /// Where it is in the list of live entries.
    live_at: u32,
    last_hold: u32,
    waiters: u32,
    next_waiter: u32,
}

impl Entry {
    fn new(order: Order) -> Self {
        Self {
            stage: Stage::Free,
            own: 0,
            call: None,
            op_count: 0,
            have: 0,
            dead: 0,
            settled: 0,
            order,
            received_at: Nanos::ZERO,
            agreed_at: Nanos::ZERO,
            session: SessionIndex(0),
            ask_at: Nanos::ZERO,
            ask_pause: Duration::ZERO,
            parties: Vec::new(),
            body: Vec::new(),
            votes: Vec::new(),
            live_at: 0,
            last_hold: NONE,
            waiters: NONE,
            next_waiter: NONE,
        }
    }

    /// What it is to do; `body` is its own, which may have been taken out of it meanwhile.
    #[inline]
    pub(super) fn piece<'a>(&self, body: &'a [u8]) -> PieceBody<'a> {
        match self.call {
            Some(procedure) => PieceBody::Call { procedure, args: body },
            None => PieceBody::Ops { count: self.op_count, bytes: body },
        }
    }

    /// Whether every proposal is here.
    #[inline]
    pub(super) fn is_complete(&self) -> bool {
        self.have.count_ones() as usize == self.parties.len()
    }

    /// Where a shard is among the parties.
    #[inline]
    pub(super) fn party(&self, shard: u16) -> Option<usize> {
        self.parties.iter().position(|party| party.shard == shard)
    }

    #[inline]
    pub(super) fn has(&self, party: usize) -> bool {
        self.have & (1 << party) != 0
    }

    #[inline]
    pub(super) fn is_dead(&self, party: usize) -> bool {
        self.dead & (1 << party) != 0
    }

    /// Parties whose proposals cannot come any more but by relay.
    #[inline]
    pub(super) fn lost(&self) -> u64 {
        self.dead & !self.have
    }

    /// What this shard proposed.
    #[inline]
    pub(super) fn local(&self) -> Nanos {
        self.parties.get(usize::from(self.own)).map_or(self.order.time, |party| party.local)
    }

    /// The latest of all proposals (R5).
    #[inline]
    pub(super) fn latest(&self) -> Nanos {
        self.parties.iter().map(|party| party.local).max().unwrap_or(self.order.time)
    }
}

/// Hashes transaction ids, whose session is random already.
#[derive(Debug, Default, Clone)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 29);
    }
}

#[expect(clippy::disallowed_types, reason = "as above")]
type ById = HashMap<TxnId, u32, BuildHasherDefault<IdHasher>>;

/// All entries of a shard.
#[derive(Debug)]
pub(super) struct Pending {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Entries in use, in no order.
    live: Vec<u32>,
    by_id: ById,
    holds: Holds,
    /// Agreed entries whose time has not come, the earliest first.
    due: BinaryHeap<Reverse<(Order, u32)>>,
    /// Agreed entries that waited for others and may be free to run.
    recheck: Vec<u32>,
    /// Everything placed, in order: what a procedure, whose keys are not known, has to wait for.
    /// Kept only where there are procedures.
    ordered: Option<BTreeSet<(Order, u32)>>,
    /// Placed calls of procedures, which everybody later has to wait for.
    calls: BTreeSet<(Order, u32)>,
    placed: usize,
}

impl Pending {
    pub(super) fn new(with_calls: bool) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            live: Vec::new(),
            by_id: ById::default(),
            holds: Holds::new(),
            due: BinaryHeap::new(),
            recheck: Vec::new(),
            ordered: with_calls.then(BTreeSet::new),
            calls: BTreeSet::new(),
            placed: 0,
        }
    }

    /// How many stand in the way of others: all that are admitted and have not run.
    #[inline]
    pub(super) fn placed(&self) -> usize {
        self.placed
    }

    /// Entries of all stages, in no order. One that is removed is replaced by the last.
    #[inline]
    pub(super) fn live(&self) -> &[u32] {
        &self.live
    }

    #[inline]
    pub(super) fn get(&self, at: u32) -> &Entry {
        &self.entries[at as usize]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, at: u32) -> &mut Entry {
        &mut self.entries[at as usize]
    }

    #[inline]
    pub(super) fn find(&self, txn: TxnId) -> Option<u32> {
        self.by_id.get(&txn).copied()
    }

    /// A new entry, in no stage yet.
    #[inline]
    pub(super) fn add(&mut self, order: Order) -> u32 {
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.entries.push(Entry::new(order));
                u32::try_from(self.entries.len() - 1).expect("entries are bounded far below 2^32")
            }
        };
        let live_at = u32::try_from(self.live.len()).expect("no more than there are entries");
        self.live.push(at);
        let entry = self.get_mut(at);
        (entry.order, entry.live_at) = (order, live_at);
        (entry.have, entry.dead, entry.settled) = (0, 0, 0);
        self.by_id.insert(order.txn, at);
        at
    }

    /// Forgets an entry that is not placed.
    #[inline]
    pub(super) fn remove(&mut self, at: u32) {
        let entry = &mut self.entries[at as usize];
        debug_assert_eq!(entry.last_hold, NONE, "a placed entry is displaced first");
        entry.stage = Stage::Free;
        entry.parties.clear();
        entry.votes.clear();
        self.by_id.remove(&entry.order.txn);
        let live_at = entry.live_at;
        self.live.swap_remove(live_at as usize);
        if let Some(moved) = self.live.get(live_at as usize).copied() {
            self.get_mut(moved).live_at = live_at;
        }
        self.free.push(at);
    }

    /// Forgets the body of an entry. Returns how long it was.
    #[inline]
    pub(super) fn drop_body(&mut self, at: u32) -> usize {
        let body = &mut self.get_mut(at).body;
        let len = body.len();
        body.clear();
        if body.capacity() > BODY_BYTES_KEPT {
            *body = Vec::new();
        }
        len
    }

    /// Makes an entry stand in the way of later ones at these keys; a call does so everywhere.
    #[inline]
    pub(super) fn place(&mut self, at: u32, keys: impl Iterator<Item = (u64, bool)>) {
        let Self { entries, holds, .. } = self;
        let time = entries[at as usize].order.time;
        let mut last = NONE;
        for key in keys {
            last = holds.place(time, at, key, last, |at| entries[at as usize].order.txn);
        }
        entries[at as usize].last_hold = last;
        self.placed += 1;
        self.enlist(at);
    }

    #[inline]
    fn enlist(&mut self, at: u32) {
        let Some(ordered) = &mut self.ordered else { return };
        let entry = &self.entries[at as usize];
        ordered.insert((entry.order, at));
        if entry.call.is_some() {
            self.calls.insert((entry.order, at));
        }
    }

    #[inline]
    fn delist(&mut self, at: u32) {
        let Some(ordered) = &mut self.ordered else { return };
        let order = self.entries[at as usize].order;
        ordered.remove(&(order, at));
        self.calls.remove(&(order, at));
    }

    /// Takes an entry out of the way of others and lets those look again that waited for it.
    #[inline]
    pub(super) fn displace(&mut self, at: u32) {
        self.delist(at);
        let last = std::mem::replace(&mut self.get_mut(at).last_hold, NONE);
        self.holds.remove(last);
        self.placed -= 1;
        self.wake(at);
    }

    /// Gives an entry its agreed time. A later one than before may free those who waited for it.
    #[inline]
    pub(super) fn agree(&mut self, at: u32, time: Nanos) {
        let entry = self.get_mut(at);
        entry.stage = Stage::Agreed;
        if entry.order.time != time {
            self.delist(at);
            let Self { entries, holds, .. } = self;
            entries[at as usize].order.time = time;
            let last = entries[at as usize].last_hold;
            holds.reorder(last, time, |at| entries[at as usize].order.txn);
            self.enlist(at);
            self.wake(at);
        }
        self.due.push(Reverse((self.get(at).order, at)));
    }

    #[inline]
    fn wake(&mut self, at: u32) {
        let mut waiter = std::mem::replace(&mut self.get_mut(at).waiters, NONE);
        while waiter != NONE {
            self.recheck.push(waiter);
            waiter = std::mem::replace(&mut self.get_mut(waiter).next_waiter, NONE);
        }
    }

    /// Lets `at` look again when `blocker` is out of its way.
    #[inline]
    pub(super) fn wait(&mut self, at: u32, blocker: u32) {
        debug_assert_ne!(at, blocker, "nobody waits for itself");
        let next = std::mem::replace(&mut self.get_mut(blocker).waiters, at);
        self.get_mut(at).next_waiter = next;
    }

    /// The next agreed entry that may be able to run: one whose time is before `until`, or one that
    /// waited for others.
    #[inline]
    pub(super) fn next_candidate(&mut self, until: Nanos) -> Option<u32> {
        if let Some(at) = self.recheck.pop() {
            return Some(at);
        }
        let Reverse((order, _)) = self.due.peek()?;
        if order.time >= until {
            return None;
        }
        self.due.pop().map(|Reverse((_, at))| at)
    }

    /// Whether somebody waited whom it would be worth looking at.
    pub(super) fn has_candidates(&self) -> bool {
        !self.recheck.is_empty()
    }

    /// The agreed time that comes next.
    pub(super) fn next_due(&self) -> Option<Nanos> {
        self.due.peek().map(|Reverse((order, _))| order.time)
    }

    /// Brings near what a transaction with this key will look at when it is placed.
    #[inline]
    pub(super) fn prefetch(&self, key: Key<'_>, memory: MemoryHooks) {
        self.holds.prefetch(key, memory);
    }

    /// Who stands in the way of a placed entry, if anybody (R6).
    #[inline]
    pub(super) fn blocker(&self, at: u32) -> Option<u32> {
        let entry = self.get(at);
        if let Some(blocker) = self.blocking_call(entry.order, entry.call.is_some()) {
            return Some(blocker);
        }
        self.holds.blocker(entry.last_hold)
    }

    /// Who stands in the way of a newcomer that is not placed.
    #[inline]
    pub(super) fn blocker_of(
        &self,
        order: Order,
        is_call: bool,
        mut keys: impl Iterator<Item = (u64, bool)>,
    ) -> Option<u32> {
        let id = |at: u32| self.get(at).order.txn;
        self.blocking_call(order, is_call)
            .or_else(|| keys.find_map(|key| self.holds.blocker_of(order, key, id)))
    }

    /// The last earlier call, or, for a call, whatever is the last before it.
    #[inline]
    fn blocking_call(&self, order: Order, is_call: bool) -> Option<u32> {
        let ordered = self.ordered.as_ref()?;
        let set = if is_call { ordered } else { &self.calls };
        set.range(..(order, 0)).next_back().map(|(_, at)| *at)
    }
}

/// Fills the parties of an admitted entry; what was heard of them before is kept if it is from the
/// incarnation that the transaction is bound to. Returns how many of those heard take no part.
pub(super) fn bind(
    entry: &mut Entry,
    own: u16,
    participants: impl Iterator<Item = Participant>,
    heard: &[Party],
) -> usize {
    entry.parties.clear();
    let mut used = 0;
    for (at, Participant { shard, incarnation }) in participants.enumerate() {
        let of_it = heard.iter().find(|party| party.shard == shard);
        used += usize::from(of_it.is_some());
        let known = of_it.filter(|party| party.incarnation == incarnation);
        if known.is_some() {
            entry.have |= 1 << at;
        }
        if shard == own {
            entry.own = u8::try_from(at).expect("there are at most 64 participants");
        }
        let local = known.map_or(Nanos(i64::MIN), |party| party.local);
        entry.parties.push(Party { shard, incarnation, local });
    }
    heard.len() - used
}

/// The id of a session's transaction.
#[inline]
pub(super) fn txn_id(session: crate::SessionId, sequence: TxnSequence) -> TxnId {
    TxnId { session: session.0, sequence }
}
