//! What a run must have been like.
//!
//! The order that the shards say is taken at its word and replayed (`replay`), which checks every
//! result and the final state. That shards agree, that transactions ran once, whole and if and only
//! if they should, is checked from answers and marks (`ends`), and that no shard had refused before
//! its crash what another ran, by asking it afterwards (`inquest`). Real time is checked on the
//! graph of who met whom (`realtime`). Lists and sums are checked without any of these times
//! (`lists`).
//!
//! A shard that goes on from its journal is the same life of it, however often it crashes: all of
//! this holds across its crashes; one without a journal has a new life each time.
//!
//! A transaction whose outcome is unknown may have run or not. Where it ran, the shard's answer is
//! in the history, although it never arrived, and it is checked like any other. Only one that ran
//! after its coordinator had used its slot again left no answer. Its mark tells that it ran, and
//! the answer of another shard when; if there is none, nobody can tell, and the keys that it wrote
//! are left out of the replay on that shard. What is left is checked without loss.

mod ends;
mod inquest;
mod lists;
mod realtime;
mod replay;
mod survey;
#[cfg(test)]
mod tests;

use crate::config::{SimConfig, Workload};
use crate::history::{Ended, History, Purpose};
use crate::report::SimCounts;
use crate::violation::Findings;
use crate::workload::Plan;
use punctual_wire::RefusedReason;
use survey::Survey;

/// Checks everything.
pub(crate) fn check(
    config: &SimConfig,
    history: &mut History,
    findings: &mut Findings,
    counts: &mut SimCounts,
) {
    let survey = Survey::new(history, findings);
    counts.unplaced = survey.unplaced.iter().map(|txns| txns.len() as u64).sum();
    for txn in &history.txns {
        let how = txn.end.as_ref().map(|end| end.how);
        let is_full = how == Some(Ended::Refused(RefusedReason::JournalFull));
        counts.journal_full += u64::from(is_full);
        let count = match how {
            Some(Ended::Committed(_)) => &mut counts.committed,
            Some(Ended::Aborted(_)) => &mut counts.aborted,
            Some(Ended::Refused(_)) => &mut counts.refused,
            Some(Ended::Unknown(_) | Ended::Orphaned) | None => &mut counts.unknown,
        };
        *count += 1;
    }
    ends::check(history, &survey, findings);
    inquest::check(history, &survey, findings);
    replay::check(history, &survey, findings);
    lists::check_lists(history, findings);
    if config.workload == Workload::Bank {
        lists::check_sums(history, findings);
    }
    if config.is_strict() {
        realtime::check(history, &survey, findings);
    }
}

/// Reads that are still to be done in the end: of all keys of each shard, and, where it must work,
/// of one key of every shard together.
pub(crate) fn unread(history: &History, shards: u16, over_all: bool) -> Vec<Plan> {
    let is_read = |plan: &Plan| {
        history.txns.iter().any(|txn| {
            txn.purpose == Purpose::Final && txn.shards == plan.shards && txn.commit().is_some()
        })
    };
    let keys = &history.keys;
    let of_shard = |shard| Plan::reads(Purpose::Final, keys, keys.of_shard(shard));
    let mut plans: Vec<Plan> = (0..shards).map(of_shard).collect();
    if over_all && shards > 1 {
        let first: Vec<u32> = (0..shards).map(|shard| keys.of_shard(shard)[0]).collect();
        plans.push(Plan::reads(Purpose::Final, keys, &first));
    }
    plans.retain(|plan| !is_read(plan));
    plans
}
