//! What a run broke.

use std::fmt;

/// A promise of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ViolationKind {
    /// The code stopped at an assertion of its own.
    Panic,
    /// A node sent what the other side cannot read or believe.
    Malformed,
    /// Shards named different times or verdicts for one transaction.
    Disagreement,
    /// A result is not what the transactions before it left, in the order of commit times.
    WrongResult,
    /// What is stored is not what the transactions wrote.
    WrongState,
    /// A transaction ran more than once.
    RanTwice,
    /// A transaction ran on some of its shards only.
    Partly,
    /// A refused transaction ran.
    RefusedButRan,
    /// A committed transaction did not run, or its writes are gone.
    LostWrite,
    /// A shard answered the same transaction in two ways.
    AnsweredTwice,
    /// An answer to what nobody asked.
    Invented,
    /// The order of transactions contradicts real time.
    RealTime,
    /// The versions of a list that were read are not one history.
    ListFork,
    /// Money appeared or vanished.
    Sum,
    /// A transaction ended twice.
    EndedTwice,
    /// A transaction has not ended.
    NotEnded,
    /// A shard still holds something, though everything has ended.
    NotIdle,
    /// Nothing works, though nothing is wrong any more.
    NotAvailable,
    /// Virtual time hardly moves: somebody is busy with nothing.
    Livelock,
    /// A shard cannot go on from its journal, or finds something else there than it wrote.
    Recovery,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub kind: ViolationKind,
    /// What happened, where and to whom.
    pub text: String,
    /// The transactions concerned, by number.
    pub transactions: Vec<u32>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.text)
    }
}

/// So many violations are told; one mistake often has thousands of consequences.
const TOLD_MAX: usize = 10;

/// The violations of a run, the first of them.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    told: Vec<Violation>,
    count: u64,
}

impl Findings {
    pub(crate) fn add(&mut self, kind: ViolationKind, transactions: &[u32], text: String) {
        self.count += 1;
        if self.told.len() < TOLD_MAX {
            let transactions = transactions.to_vec();
            self.told.push(Violation { kind, text, transactions });
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Gives them up, each with what happened to the transactions concerned.
    pub(crate) fn take(self, describe: impl Fn(u32) -> String) -> Vec<Violation> {
        let mut told = self.told;
        for violation in &mut told {
            for txn in violation.transactions.iter().take(4) {
                violation.text.push_str("\n  ");
                violation.text.push_str(&describe(*txn));
            }
        }
        told
    }
}
