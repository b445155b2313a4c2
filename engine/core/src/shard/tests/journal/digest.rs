//! All that a shard remembers, in a form that can be compared.

use super::*;
use crate::journal::RecordParty;
use crate::shard::pending::Entry;
use crate::store::StoredValue;
use punctual_wire::TxnId;
use std::collections::{BTreeMap, BTreeSet};

/// What a shard knows of a transaction on several shards.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    is_released: bool,
    parties: Vec<RecordParty>,
    /// What counts only until it has run.
    open: Option<Open>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Open {
    dead: u64,
    received_at: Nanos,
    call: Option<u16>,
    op_count: u16,
    body: Vec<u8>,
}

impl Known {
    fn new(entry: &Entry) -> Self {
        let is_released = entry.stage == Stage::Released;
        let open = Open {
            dead: entry.dead,
            received_at: entry.received_at,
            call: entry.call,
            op_count: entry.op_count,
            body: entry.body.clone(),
        };
        let parties = entry.record_parties().collect();
        Self { is_released, parties, open: (!is_released).then_some(open) }
    }
}

/// What is the same for a shard and for one that did again what its log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digest {
    store: BTreeMap<Vec<u8>, Vec<u8>>,
    /// By place: whose it is, which table, and how many slots.
    sessions: BTreeMap<usize, (SessionId, u32, usize)>,
    sessions_made: u32,
    transactions: BTreeMap<TxnId, Known>,
    /// Transactions that count for each peer.
    entries: Vec<u32>,
}

pub(super) fn digest(shard: &Shard) -> Digest {
    let tables = shard.sessions.iter();
    let entries = shard.pending.live().iter().map(|at| shard.pending.get(*at));
    let held: usize = entries.clone().map(|entry| entry.body.len()).sum();
    assert_eq!(shard.held_bytes, held, "bodies are counted");
    let shared = entries.filter(|entry| entry.stage != Stage::Heard && !entry.parties.is_empty());
    Digest {
        store: contents(shard),
        sessions: tables.map(|(at, id, epoch, it)| (at, (id, epoch, it.len()))).collect(),
        sessions_made: shard.sessions.made(),
        transactions: shared.map(|entry| (entry.order.txn, Known::new(entry))).collect(),
        entries: shard.peers.iter().map(|peer| peer.entries).collect(),
    }
}

/// All keys with their values.
pub(super) fn contents(shard: &Shard) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut contents = BTreeMap::new();
    let outcome: Result<(), Infallible> = shard.store.visit(|value| {
        let (key, value) = match value {
            StoredValue::Word { key, value } => {
                (key.to_le_bytes().to_vec(), value.to_le_bytes().to_vec())
            }
            StoredValue::Bytes { key, value } => (key.to_vec(), value.to_vec()),
        };
        assert!(contents.insert(key, value).is_none(), "each key is there once");
        Ok(())
    });
    outcome.expect("nothing fails");
    assert_eq!(contents.len(), shard.store.len());
    contents
}

/// A slot of an outcome table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    session: SessionId,
    epoch: u32,
    slot: usize,
}

impl Place {
    fn txn(self, sequence: TxnSequence) -> TxnId {
        TxnId { session: self.session.0, sequence }
    }
}

/// What a retry would be told, but for how long things took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    sequence: TxnSequence,
    is_pending: bool,
    status: ReplyStatus,
    commit: Nanos,
    result_count: u16,
    results: Vec<u8>,
}

pub(super) type Tables = BTreeMap<Place, Told>;

/// What all slots hold that were ever used.
pub(super) fn tables(shard: &Shard) -> Tables {
    let mut tables = BTreeMap::new();
    for (_, session, epoch, outcomes) in shard.sessions.iter() {
        for (slot, it) in outcomes.iter().enumerate().filter(|(_, it)| it.sequence.0 > 0) {
            let told = Told {
                sequence: it.sequence,
                is_pending: it.is_pending,
                status: it.status,
                commit: it.commit,
                result_count: it.result_count,
                results: it.results.clone(),
            };
            tables.insert(Place { session, epoch, slot }, told);
        }
    }
    tables
}

/// What a working shard holds in its slots, as far as it was written down: what only read, or was
/// refused on one shard, leaves no trace in the log.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    logged: BTreeSet<TxnId>,
    /// The latest logged use of each slot, and whether nothing newer has the slot since.
    slots: BTreeMap<Place, (Told, bool)>,
}

impl Ledger {
    /// Notes a record of the shard's log.
    pub(super) fn log(&mut self, record: &Record<'_>) {
        if let Record::Single { txn, .. }
        | Record::Admitted { txn, .. }
        | Record::Refused { txn, .. } = *record
        {
            self.logged.insert(txn);
        }
    }

    /// Notes what the shard holds, once all its records were noted.
    pub(super) fn note(&mut self, shard: &Shard) {
        let kept: BTreeSet<_> =
            shard.sessions.iter().map(|(_, id, epoch, _)| (id, epoch)).collect();
        self.slots.retain(|place, _| kept.contains(&(place.session, place.epoch)));
        for (_, is_latest) in self.slots.values_mut() {
            *is_latest = false;
        }
        for (place, told) in tables(shard) {
            if self.logged.contains(&place.txn(told.sequence)) {
                self.slots.insert(place, (told, true));
            }
        }
    }

    /// Checks a shard that has done again what is in the log: it would run nothing a second time,
    /// and answer as the other one.
    pub(super) fn check(&self, again: &Shard) {
        let found = tables(again);
        for (place, (told, is_latest)) in &self.slots {
            let Some(it) = found.get(place) else { panic!("{place:?} has forgotten {told:?}") };
            if *is_latest {
                assert_eq!(it, told, "{place:?}");
            } else {
                assert!(it.sequence >= told.sequence, "{place:?}: {it:?} and not {told:?}");
            }
        }
        for (place, it) in &found {
            let is_logged = self.logged.contains(&place.txn(it.sequence));
            assert!(is_logged, "{place:?}: nobody has written down {it:?}");
        }
    }
}

/// Checks that a replay that began with a snapshot knows what one without it knows.
pub(super) fn assert_alike(whole: &Replay, copy: &Replay) {
    let [one, other] = [whole, copy].map(Replay::shard);
    assert_eq!(digest(one), digest(other));
    assert_eq!((one.last_released, one.clock), (other.last_released, other.clock));
    assert_eq!((whole.undecided(), whole.clock_floor()), (copy.undecided(), copy.clock_floor()));
    // What is undecided and was admitted in an earlier table of its session may have got a slot.
    let found = tables(other);
    for (place, told) in tables(one) {
        assert_eq!(found.get(&place), Some(&told), "{place:?}");
    }
}
