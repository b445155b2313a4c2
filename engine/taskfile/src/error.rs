//! What keeps a whole file from being read.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Ids of a cycle that a message names.
const NAMED_MAX: usize = 16;

/// Why a task file could not be read. A line that is no task is not among these: it is a
/// [`BadLine`](crate::BadLine).
#[derive(Debug, Error)]
pub enum TaskFileError {
    /// There is no such file, or it may not be read.
    #[error("cannot open the task file {}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading stopped in the middle.
    #[error("cannot read the task file beyond line {line}")]
    Read {
        /// The last line that was read, counted from 1.
        line: usize,
        /// What the system said.
        source: io::Error,
    },
    /// Tasks that wait for each other in a circle would never run.
    #[error("none of these tasks could ever run: {}; take one \"after\" away", circle(.ids))]
    Cycle {
        /// Ids of the tasks: each comes after the next one, and the last after the first.
        ids: Vec<String>,
    },
}

/// `a after b after a`.
fn circle(ids: &[String]) -> String {
    let named = ids.len().min(NAMED_MAX);
    let mut texts: Vec<&str> = ids[..named].iter().map(String::as_str).collect();
    if named < ids.len() {
        texts.push("...");
    }
    texts.extend(ids.first().map(String::as_str));
    texts.join(" after ")
}
