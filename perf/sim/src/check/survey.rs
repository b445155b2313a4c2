//! Who ran where, from the answers of the shards and from the marks in their stores.

use crate::history::{History, Incarnation, Run, Txn};
use crate::violation::{Findings, ViolationKind};
use punctual_core::{Nanos, Store};
use punctual_wire::{Key, TxnId};

/// A transaction that ran on a shard at a time that is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Execution {
    pub(super) commit: Nanos,
    pub(super) id: TxnId,
    pub(super) txn: u32,
    /// Which of the transaction's runs it is, if the shard answered.
    pub(super) run: Option<usize>,
}

/// What ran where.
#[derive(Debug)]
pub(super) struct Survey {
    /// For each life of a shard, in the order of commit times and ids.
    pub(super) placed: Vec<Vec<Execution>>,
    /// For each life of a shard, what ran there at times that nobody told.
    pub(super) unplaced: Vec<Vec<u32>>,
    /// For each life of a shard, how many marks are in its store.
    pub(super) marks: Vec<usize>,
    /// For each transaction, the lives of shards that it ran in.
    pub(super) ran_in: Vec<Vec<u32>>,
}

impl Survey {
    pub(super) fn new(history: &History, findings: &mut Findings) -> Self {
        let lives = history.incarnations.len();
        let mut survey = Self {
            placed: vec![Vec::new(); lives],
            unplaced: vec![Vec::new(); lives],
            marks: vec![0; lives],
            ran_in: Vec::with_capacity(history.txns.len()),
        };
        for (txn, at) in history.txns.iter().zip(0_u32..) {
            survey.ran_in.push(txn.runs.iter().map(|run| run.incarnation).collect());
            for (index, run) in txn.runs.iter().enumerate() {
                let Run { incarnation, commit, .. } = *run;
                let execution = Execution { commit, id: txn.id, txn: at, run: Some(index) };
                survey.placed[incarnation as usize].push(execution);
            }
            for (life, incarnation) in history.incarnations.iter().enumerate() {
                survey.read_mark(at, txn, life, incarnation, findings);
            }
            survey.check_once(history, at, findings);
        }
        for placed in &mut survey.placed {
            placed.sort_unstable_by_key(|execution| (execution.commit, execution.id));
        }
        survey
    }

    /// Compares the mark of a transaction with what the shard answered.
    fn read_mark(
        &mut self,
        at: u32,
        txn: &Txn,
        life: usize,
        incarnation: &Incarnation,
        findings: &mut Findings,
    ) {
        let shard = incarnation.shard;
        let Some(mark) = txn.mark_on(shard) else { return };
        let Some(remains) = &incarnation.remains else { return };
        let times = number(remains.store(), Key::Word(mark));
        let run = txn.runs.iter().find(|run| run.incarnation as usize == life);
        self.marks[life] += usize::from(times.is_some());
        let mut add = |kind, text: &str| {
            findings.add(kind, &[at], format!("on shard {shard}, T{at} {text}"));
        };
        match (run, times.unwrap_or(0)) {
            (None, 0) => {}
            (Some(run), 0) if run.aborted => {}
            (Some(run), 1) if !run.aborted => {}
            (Some(run), _) if run.aborted => {
                add(ViolationKind::WrongState, "was aborted, but its writes are there");
            }
            (Some(_), 0) => {
                add(ViolationKind::LostWrite, "was answered as committed, but its writes are gone");
            }
            (None, 1) => {
                self.ran_in[at as usize].push(life as u32);
                let told = txn.runs.first().map(|run| run.commit).or_else(|| txn.commit());
                match told {
                    Some(commit) => {
                        let execution = Execution { commit, id: txn.id, txn: at, run: None };
                        self.placed[life].push(execution);
                    }
                    None => self.unplaced[life].push(at),
                }
            }
            (_, times) => add(ViolationKind::RanTwice, &format!("ran {times} times")),
        }
    }

    /// No transaction runs in two lives of a shard.
    fn check_once(&self, history: &History, at: u32, findings: &mut Findings) {
        let lives = &self.ran_in[at as usize];
        let shard_of = |life: &u32| history.incarnations[*life as usize].shard;
        for (index, life) in lives.iter().enumerate() {
            let shard = shard_of(life);
            if lives[..index].iter().any(|other| shard_of(other) == shard) {
                let text = format!("T{at} ran on shard {shard} both before and after its crash");
                findings.add(ViolationKind::RanTwice, &[at], text);
            }
        }
    }
}

/// The number under a key.
pub(super) fn number(store: &Store, key: Key<'_>) -> Option<i64> {
    let value = store.get(key)?;
    value.as_bytes().first_chunk().map(|bytes| i64::from_le_bytes(*bytes))
}
