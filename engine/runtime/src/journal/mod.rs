//! Journals of shards: their files, the threads that write them, and how a shard goes on from them.
//! A shard here is one of those that run transactions, or one of a task queue: what differs between
//! them is behind [`Logged`](punctual_core::journal::Logged) and
//! [`Replica`](punctual_core::journal::Replica).
//!
//! A shard appends to its log in memory (see [`punctual_core::journal`]). Once a turn its core
//! hands over what was appended and hears how far the log is durable, without ever waiting. Two
//! threads do the rest: the *writer* seals blocks and writes them, each durable by itself, and the
//! *keeper* prepares the next file of the log and has snapshots made that replace old ones.
//!
//! What the files look like, and what may be relied on, is in `docs/durability.md`.

mod dir;
mod error;
mod glommio;
mod handle;
mod inspect;
mod keeper;
mod recover;
mod shared;
mod snapshot;
#[cfg(test)]
mod tests;
mod threads;
mod writer;

pub(crate) use dir::{is_journal, make_dirs, refused, sync_dir};
pub use error::JournalError;
pub(crate) use handle::Journal;
pub use inspect::*;
pub use punctual_core::journal::Holder;
pub(crate) use recover::{Recovered, recover};
pub use recover::{RecoveryReport, TornTail};

use crate::config::JournalBackend;
use std::path::PathBuf;

/// Where the journal of a shard is, and how it is written.
#[derive(Debug, Clone)]
pub(crate) struct JournalPlan {
    /// Its directory; no other shard has it.
    pub(crate) dir: PathBuf,
    pub(crate) segment_bytes: u64,
    /// So many bytes of finished segments are replaced by a snapshot; 0: never.
    pub(crate) snapshot_after: u64,
    pub(crate) backend: JournalBackend,
    /// The core that the writer is pinned to.
    pub(crate) core: Option<usize>,
}
