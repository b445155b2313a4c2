//! Task files: what is to be run, as people and scripts write it down.
//!
//! A file is either in the format of DistComp, one line a task, or in JSON lines. Which of them it
//! is, is seen in the file itself unless the caller says so. A line that is no task never stops the
//! others: it is reported with its number and what is wrong with it.
//!
//! [`read_tasks`] gives a whole file at once. [`TaskStream`] gives one task after the other and
//! keeps only what is needed to know a task again, for files of any length.
//!
//! The formats are described for people in `docs/task-files.md`.
#![forbid(unsafe_code)]

mod canonical;
mod conf;
mod draft;
mod error;
mod fault;
mod json;
mod layout;
mod lines;
mod names;
mod order;
mod original;
mod quote;
mod read;
mod show;
mod stream;
mod summary;
mod units;
mod values;

pub use conf::{ConfError, ConfFault, OriginalConf};
pub use draft::{TaskDraft, key_of};
pub use error::TaskFileError;
pub use layout::{Format, ReadOptions, Separator, UnknownName};
pub use lines::lines_of;
pub use quote::quote_words;
pub use read::{Survey, TaskFile, parse_line, read_tasks, survey};
pub use show::TaskText;
pub use stream::TaskStream;
pub use summary::{BadLine, Summary};
pub use units::{UnitError, parse_bytes, parse_cores, parse_duration};

/// Longest line of a task file in bytes, without its end: no longer one could be submitted.
pub const LINE_BYTES_MAX: usize = punctual_wire::task::PAYLOAD_BYTES_MAX;

/// Most bad lines of a file of which more than the number is kept.
pub const BAD_LINES_KEPT: usize = 1000;

/// Most tasks that one line with an `array` may stand for.
pub const ARRAY_TASKS_MAX: u64 = 1_000_000;

/// Variable that tells a task of an array which one it is.
pub const ARRAY_INDEX_VARIABLE: &str = "PUNCTUAL_ARRAY_INDEX";
