//! Runs transactions through coordinator and shards, on one thread and with a clock of its own, so
//! that every run executes the same instructions. `perf/scripts/instructions.sh` counts them.
//!
//! It depends on nothing that is not on that path, so that it is built quickly. Two counts are to
//! be subtracted from each other: then start-up, loading and warm-up cancel out.
#![forbid(unsafe_code)]

mod pair;
mod single;

use punctual_wire::{BatchWriter, Limits};
use std::io::Write;
use std::process::ExitCode;
use thiserror::Error;

/// The bounds of everything here, which are those of a cluster that says nothing else.
const LIMITS: Limits = Limits::DEFAULT;
/// Transactions in flight, which also share a frame.
const IN_FLIGHT: u32 = 64;
/// Operations of a transaction: a read and an increment in turns.
const OPS: u64 = 10;
/// Turns before the ones that are asked for: every key is there then, every buffer has its size,
/// and the window of every estimator is full.
const WARM_UP_TURNS: u64 = 200;

/// What is wrong with the arguments.
#[derive(Debug, PartialEq, Eq, Error)]
enum UsageError {
    #[error("{found} arguments; give two: single or pair, and how many transactions")]
    Count { found: usize },
    #[error("no path is called {name:?}; give single or pair")]
    Path { name: String },
    #[error("{text:?} is not a number of transactions; give a multiple of {step}")]
    Transactions { text: String, step: u32 },
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // Whoever closed the output does not want to know.
    match run(&args) {
        Ok(line) => {
            let _ = writeln!(std::io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs the path of these arguments and says what was done.
fn run(args: &[String]) -> Result<String, UsageError> {
    let [path, transactions] = args else { return Err(UsageError::Count { found: args.len() }) };
    let step = u64::from(IN_FLIGHT);
    let turns = match transactions.parse::<u64>() {
        Ok(count) if count > 0 && count.is_multiple_of(step) => count / step,
        _ => {
            let text = transactions.clone();
            return Err(UsageError::Transactions { text, step: IN_FLIGHT });
        }
    };
    match path.as_str() {
        "single" => single::run(WARM_UP_TURNS, turns),
        "pair" => pair::run(WARM_UP_TURNS, turns),
        _ => return Err(UsageError::Path { name: path.clone() }),
    }
    Ok(format!("{path}: {transactions} transactions, and the stores are right"))
}

/// The outgoing bytes of a link.
fn writer() -> BatchWriter {
    BatchWriter::new(LIMITS, LIMITS.batch_max, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_with(args: &[&str]) -> Result<String, UsageError> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        run(&args)
    }

    #[test]
    fn both_paths_commit_what_they_are_asked_for() {
        // The paths look at every commit and at the stores themselves.
        for path in ["single", "pair"] {
            let line = run_with(&[path, "128"]).expect("two turns");
            assert_eq!(line, format!("{path}: 128 transactions, and the stores are right"));
        }
    }

    #[test]
    fn wrong_arguments_are_named() {
        let cases: [(&[&str], &str); 4] = [
            (&[], "0 arguments"),
            (&["triple", "64"], "\"triple\""),
            (&["single", "65"], "\"65\" is not a number of transactions; give a multiple of 64"),
            (&["pair", "0"], "\"0\""),
        ];
        for (args, part) in cases {
            let error = run_with(args).expect_err("it is wrong").to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
