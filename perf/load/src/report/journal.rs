//! What the journals of a run did, and what it took to go on from them.

use serde::{Deserialize, Serialize};

/// What the shards of this process wrote to their journals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalFigures {
    /// The mode of the shards, or of each, with commas between them.
    pub mode: String,
    /// Where the journals are, or were.
    pub dir: String,
    /// What was asked to write them.
    pub backend: String,
    /// Bytes written while measuring.
    pub bytes: u64,
    /// The same a second of the measured part.
    pub bytes_per_s: f64,
    /// The same for each committed transaction; `null` where nothing committed.
    pub bytes_per_transaction: Option<f64>,
    /// Writes while measuring, each of which is durable by itself.
    pub writes: u64,
    /// How long one of them took on average; `null` where there were none.
    pub write_mean_us: Option<f64>,
    /// How long the longest write of the whole run took.
    pub write_max_us: f64,
    /// Snapshots made in the whole run.
    pub snapshots: u64,
    /// The longest time in the whole run that something had been in the log without being durable.
    pub lag_max_us: f64,
    /// The bound of that for answers, in mode `journal-async`; else `null`: answers wait.
    pub within_us: Option<f64>,
    /// What it took to start again on the journals; `null` where that was not asked for.
    pub recovery: Option<RecoveryFigures>,
}

/// What it took to start again on the journals of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RecoveryFigures {
    /// Until the engine ran, with all that a start takes.
    pub start_s: f64,
    /// Reading and replaying the journals, all shards added up.
    pub recover_s: f64,
    /// Transactions that ran again, all shards added up.
    pub transactions: u64,
    /// Seconds of `recover_s` for a million of them; `null` where there were none.
    pub s_per_million: Option<f64>,
    /// Records read.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Whether the store still agreed with what was committed: `ok`, or what differed.
    pub self_check: String,
}
