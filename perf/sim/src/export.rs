//! A history of lists in the form that Jepsen's checkers read: one JSON object a line.

use crate::history::{Action, Ended, Form, History, Txn};
use punctual_wire::ResultReader;
use std::fmt::Write as _;

/// Writes the transactions on lists, each as a process of its own: an invocation, and how it ended,
/// in the order of real time.
pub(crate) fn list_append(history: &History) -> String {
    // Of what happens at the same moment, invocations come first: then nothing is claimed about
    // their order.
    let mut events: Vec<(i64, bool, usize)> = Vec::new();
    for (at, txn) in history.txns.iter().enumerate() {
        events.push((txn.invoked_at, false, at));
        if let Some(end) = &txn.end {
            events.push((end.at, true, at));
        }
    }
    events.sort_unstable();
    let mut text = String::new();
    for (_, is_end, process) in events {
        let txn = &history.txns[process];
        let kind = if is_end { kind(txn) } else { "invoke" };
        let value = value(history, txn, kind == "ok");
        writeln!(text, r#"{{"type":"{kind}","process":{process},"value":[{value}]}}"#)
            .expect("a string takes everything");
    }
    text
}

fn kind(txn: &Txn) -> &'static str {
    match txn.end.as_ref().map(|end| end.how) {
        Some(Ended::Committed(_)) => "ok",
        Some(Ended::Aborted(_) | Ended::Refused(_)) => "fail",
        Some(Ended::Unknown(_) | Ended::Orphaned) | None => "info",
    }
}

/// The operations, with what was read if that is known.
fn value(history: &History, txn: &Txn, is_known: bool) -> String {
    let end = txn.end.as_ref().filter(|_| is_known);
    let mut results = ResultReader::new(end.map_or(&[][..], |end| end.results.as_slice()));
    let mut steps = txn.steps.clone();
    if txn.form != Form::Ops {
        // The results of calls come shard by shard.
        steps.sort_by_key(|step| history.keys.shard(step.key));
    }
    let mut parts = Vec::new();
    let mut shard = None;
    for step in steps {
        let on = history.keys.shard(step.key);
        let is_next_call = txn.form != Form::Ops && shard.is_some_and(|before| before != on);
        if is_next_call && !txn.marks.is_empty() {
            // Each call ends with its mark.
            results.next();
        }
        shard = Some(on);
        let result = results.next();
        parts.push(match (step.action, result) {
            (Action::Append(element), _) => format!(r#"["append",{},{element}]"#, step.key),
            (_, None) => format!(r#"["r",{},null]"#, step.key),
            (_, Some(result)) => {
                let (elements, _) = result.value.unwrap_or_default().as_chunks::<4>();
                let elements = elements.iter().map(|it| u32::from_le_bytes(*it).to_string());
                format!(r#"["r",{},[{}]]"#, step.key, elements.collect::<Vec<_>>().join(","))
            }
        });
    }
    parts.join(",")
}
