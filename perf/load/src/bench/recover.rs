//! Starting again on the journals that a run has left, and comparing the store once more.

use super::measured::as_f64;
use super::{DoneOf, Plan, Progress, Run, Stage, Started, start};
use crate::drive::Phase;
use crate::report::RecoveryFigures;
use crate::workload::Workload;
use punctual_runtime::journal::RecoveryReport;
use std::time::Instant;

/// Transactions that a time is given for.
const MILLION: f64 = 1e6;

/// Starts the engine of the plan again and compares the store with what the run had committed. That
/// it does not start is part of the report: the run itself was measured.
pub(super) fn recover<W: Workload>(
    plan: &Plan<W>,
    done: &DoneOf<W>,
    interrupt: &flume::Receiver<()>,
    progress: &mut dyn FnMut(Progress),
) -> RecoveryFigures {
    progress(Progress::Stage(Stage::Recover));
    let began = Instant::now();
    let not_run = |why: String| format!("not run: {why}");
    let Started { engine, phase, events } = match start(plan, Phase::Verify) {
        Ok(started) => started,
        Err(error) => {
            let self_check = not_run(error.to_string());
            return RecoveryFigures { self_check, ..RecoveryFigures::default() };
        }
    };
    let start_s = began.elapsed().as_secs_f64();
    let recoveries = engine.info().recoveries.clone();
    progress(Progress::Recovered(recoveries.clone()));
    let mut run = Run::new(plan, phase, events, interrupt, progress);
    let checked = run.verify(done);
    run.phase.set(Phase::Done);
    let self_check = match (checked, engine.stop()) {
        (_, Err(error)) => not_run(error.to_string()),
        (Err(error), Ok(())) => not_run(error.to_string()),
        (Ok(check), Ok(())) => check,
    };
    figures(&recoveries, start_s, self_check)
}

/// What all shards together did.
fn figures(recoveries: &[RecoveryReport], start_s: f64, self_check: String) -> RecoveryFigures {
    let sum = |of: fn(&RecoveryReport) -> u64| recoveries.iter().map(of).sum::<u64>();
    let recover_s: f64 = recoveries.iter().map(|shard| shard.took.as_secs_f64()).sum();
    let transactions = sum(|shard| shard.transactions);
    RecoveryFigures {
        start_s,
        recover_s,
        transactions,
        s_per_million: (transactions > 0).then(|| recover_s / as_f64(transactions) * MILLION),
        records: sum(|shard| shard.records),
        bytes: sum(|shard| shard.bytes),
        self_check,
    }
}
