//! Checks that trust no commit time: the versions of a list are one history, and money is neither
//! made nor lost.

use crate::history::{Action, Ended, History, Purpose, Run, Txn};
use crate::keys::Holds;
use crate::violation::{Findings, ViolationKind};
use punctual_wire::{OpResult, ResultReader};
use std::collections::{BTreeMap, BTreeSet};

/// In each life of a shard, every version of a list that was read is a beginning of every longer
/// one and of what is left; no element is there twice; and what was answered as appended is there.
pub(super) fn check_lists(history: &History, findings: &mut Findings) {
    for (life, incarnation) in history.incarnations.iter().enumerate() {
        let Some(remains) = &incarnation.remains else { continue };
        let mut lists = gather(history, life);
        for key in history.keys.of_shard(incarnation.shard) {
            if history.keys.holds(*key) != Holds::List {
                continue;
            }
            let List { mut reads, appended } = lists.remove(key).unwrap_or_default();
            let left = remains.store().get(history.keys.key(*key));
            let left = left.map_or(Vec::new(), |value| elements(value.as_bytes()));
            check_left(incarnation.shard, *key, &left, &appended, findings);
            reads.push((u32::MAX, left));
            check_versions(incarnation.shard, *key, reads, findings);
        }
    }
}

/// What the answers of a shard say about a list.
#[derive(Debug, Default)]
struct List {
    /// Who read what.
    reads: Vec<(u32, Vec<u32>)>,
    /// Who appended what.
    appended: Vec<(u32, u32)>,
}

fn gather(history: &History, life: usize) -> BTreeMap<u32, List> {
    let shard = history.incarnations[life].shard;
    let mut lists: BTreeMap<u32, List> = BTreeMap::new();
    for (txn, at) in history.txns.iter().zip(0_u32..) {
        let runs = txn.runs.iter().filter(|run| run.incarnation as usize == life);
        for Run { results, aborted, .. } in runs {
            if *aborted {
                // It may have read what it appended and took back.
                continue;
            }
            let results = ResultReader::new(results);
            for (step, result) in txn.steps_on(&history.keys, shard).zip(results) {
                if history.keys.holds(step.key) != Holds::List {
                    continue;
                }
                let list = lists.entry(step.key).or_default();
                match step.action {
                    Action::Append(element) => list.appended.push((at, element)),
                    _ => list.reads.push((at, elements(result.value.unwrap_or_default()))),
                }
            }
        }
    }
    lists
}

fn elements(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|chunk| u32::from_le_bytes(*chunk)).collect()
}

fn check_left(
    shard: u16,
    key: u32,
    left: &[u32],
    appended: &[(u32, u32)],
    findings: &mut Findings,
) {
    let unique: BTreeSet<u32> = left.iter().copied().collect();
    if unique.len() != left.len() {
        let text = format!("k{key} of shard {shard} holds elements twice: {left:?}");
        findings.add(ViolationKind::RanTwice, &[], text);
    }
    for (txn, element) in appended {
        if !unique.contains(element) {
            let text = format!(
                "T{txn} was answered as committed, but its element {element} is not in k{key} of \
                 shard {shard}: {left:?}"
            );
            findings.add(ViolationKind::LostWrite, &[*txn], text);
        }
    }
}

fn check_versions(shard: u16, key: u32, mut reads: Vec<(u32, Vec<u32>)>, findings: &mut Findings) {
    reads.sort_by_key(|(txn, version)| (version.len(), *txn));
    for pair in reads.windows(2) {
        let ((first, shorter), (second, longer)) = (&pair[0], &pair[1]);
        if longer.starts_with(shorter) {
            continue;
        }
        let text = format!(
            "k{key} of shard {shard} was {shorter:?} and was {longer:?}, which is no later version"
        );
        // The last version is not a read of anybody.
        let concerned = [*first, *second];
        let told = if *second == u32::MAX { &concerned[..1] } else { &concerned[..] };
        let told = if *first == u32::MAX { &told[1..] } else { told };
        return findings.add(ViolationKind::ListFork, told, text);
    }
}

/// The accounts always add up to zero, for whoever reads all of them and in the end. A shard that
/// crashed without a journal has forgotten its accounts, so nothing is said then.
pub(super) fn check_sums(history: &History, findings: &mut Findings) {
    if history.incarnations.iter().any(|incarnation| incarnation.died_at.is_some()) {
        return;
    }
    for (txn, at) in history.txns.iter().zip(0_u32..) {
        if let Some(sum) = audit(txn).filter(|sum| *sum != 0) {
            let text = format!("T{at} read all accounts, and they added up to {sum}, not to zero");
            findings.add(ViolationKind::Sum, &[at], text);
        }
    }
    let mut sum = 0;
    for incarnation in &history.incarnations {
        let Some(remains) = &incarnation.remains else { return };
        for key in history.keys.of_shard(incarnation.shard) {
            let key = history.keys.key(*key);
            sum += super::survey::number(remains.store(), key).unwrap_or(0);
        }
    }
    if sum != 0 {
        let text = format!("in the end the accounts add up to {sum}, not to zero");
        findings.add(ViolationKind::Sum, &[], text);
    }
}

/// The sum that an audit found, if it committed.
fn audit(txn: &Txn) -> Option<i64> {
    let end = txn.end.as_ref()?;
    let is_audit = txn.purpose == Purpose::Audit && matches!(end.how, Ended::Committed(_));
    let value = |result: OpResult<'_>| result.number().unwrap_or(0);
    is_audit.then(|| ResultReader::new(&end.results).map(value).sum())
}
