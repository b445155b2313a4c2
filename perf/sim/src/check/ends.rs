//! Every transaction runs once or not at all, whole, and as its coordinator was told.

use super::survey::Survey;
use crate::history::{End, Ended, Form, History, Run, Txn};
use crate::violation::{Findings, ViolationKind};
use punctual_wire::ResultReader;

/// Compares how transactions ended with where they ran.
pub(super) fn check(history: &History, survey: &Survey, findings: &mut Findings) {
    for (txn, at) in history.txns.iter().zip(0_u32..) {
        check_agreement(history, at, txn, findings);
        check_whole(history, survey, at, txn, findings);
        match &txn.end {
            None => {}
            Some(End { how: Ended::Refused(_), .. }) if survey.ran_in[at as usize].is_empty() => {}
            Some(End { how: Ended::Refused(reason), .. }) => {
                let text = format!("T{at} was refused ({reason:?}), and yet it ran");
                findings.add(ViolationKind::RefusedButRan, &[at], text);
            }
            Some(end) => check_answer(history, at, txn, end, findings),
        }
    }
}

/// All shards that ran it name the same time and the same verdict (R7).
fn check_agreement(history: &History, at: u32, txn: &Txn, findings: &mut Findings) {
    let Some((first, others)) = txn.runs.split_first() else { return };
    for run in others {
        if (run.commit, run.aborted) != (first.commit, first.aborted) {
            let shard = |run: &Run| history.incarnations[run.incarnation as usize].shard;
            let text = format!(
                "T{at} ran at {} on shard {} and at {} on shard {}",
                first.commit,
                shard(first),
                run.commit,
                shard(run)
            );
            return findings.add(ViolationKind::Disagreement, &[at], text);
        }
    }
}

/// If it ran on a shard that kept its memory, it ran on all others that kept theirs, those with a
/// journal always among them. One without that crashed after the transaction was submitted may have
/// crashed before it ran.
fn check_whole(history: &History, survey: &Survey, at: u32, txn: &Txn, findings: &mut Findings) {
    let lives = &survey.ran_in[at as usize];
    let is_alive = |life: &u32| history.incarnations[*life as usize].died_at.is_none();
    let aborts = txn.form == (Form::Call { aborts: true });
    if aborts || txn.marks.is_empty() || !lives.iter().any(is_alive) {
        // Without marks only the answers tell where it ran, and one may be missing.
        return;
    }
    for shard in &txn.shards {
        let ran = lives.iter().any(|life| history.incarnations[*life as usize].shard == *shard);
        let crashed = history.last_crash(*shard).is_some_and(|crash| crash >= txn.invoked_at);
        if !ran && !crashed {
            let text = format!("T{at} ran on some of its shards, but not on shard {shard}");
            findings.add(ViolationKind::Partly, &[at], text);
        }
    }
}

/// What a coordinator reported is what the shards answered.
fn check_answer(history: &History, at: u32, txn: &Txn, end: &End, findings: &mut Findings) {
    let (commit, aborted) = match end.how {
        Ended::Committed(commit) => (commit, false),
        Ended::Aborted(commit) => (commit, true),
        Ended::Refused(_) | Ended::Unknown(_) | Ended::Orphaned => return,
    };
    let mut readers = Vec::with_capacity(txn.shards.len());
    for shard in &txn.shards {
        let run = txn.runs.iter().find(|run| {
            history.incarnations[run.incarnation as usize].shard == *shard
                && (run.commit, run.aborted) == (commit, aborted)
        });
        let Some(run) = run else {
            let text =
                format!("T{at} was reported as {:?}, which shard {shard} never answered", end.how);
            return findings.add(ViolationKind::Invented, &[at], text);
        };
        readers.push(ResultReader::new(&run.results));
    }
    if end.results != join(history, txn, readers) {
        let text = format!("the results of T{at} are not those that its shards answered");
        findings.add(ViolationKind::Invented, &[at], text);
    }
}

/// The results of a transaction in the order of its operations, the marks last; those of calls
/// shard by shard.
fn join(history: &History, txn: &Txn, mut readers: Vec<ResultReader<'_>>) -> Vec<u8> {
    let mut joined = Vec::new();
    if let Form::Call { .. } = txn.form {
        for reader in readers {
            joined.extend_from_slice(reader.rest());
        }
        return joined;
    }
    let shards = txn.steps.iter().map(|step| history.keys.shard(step.key));
    let marked = txn.shards.iter().take(txn.marks.len()).copied();
    for shard in shards.chain(marked) {
        let index = txn.shards.iter().position(|involved| *involved == shard);
        let reader = index.and_then(|index| readers.get_mut(index));
        if let Some(result) = reader.and_then(Iterator::next) {
            result.write(&mut joined);
        }
    }
    joined
}
