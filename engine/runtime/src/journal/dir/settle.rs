//! What another run has left behind, made sure of before it is read.

use super::{JournalDir, log_number, names, snapshot_lsn};
use crate::journal::error::JournalError;
use rustix::fs::{Advice, FallocateFlags};
use std::fs::OpenOptions;
use std::path::Path;

impl JournalDir {
    /// Sees to it that what is read from the files is durable, and that nobody writes to them any
    /// more: after a crash of the process, what it wrote may be in a cache only, a new name may not
    /// be on the disk, and a write that it had begun may be under way still.
    ///
    /// # Errors
    /// When a file cannot be opened or synced.
    pub(in crate::journal) fn settle(&self) -> Result<(), JournalError> {
        for name in names(&self.path)? {
            if log_number(&name).is_some() || snapshot_lsn(&name).is_some() {
                settle(&self.path.join(name))?;
            }
        }
        self.sync()
    }
}

fn settle(path: &Path) -> Result<(), JournalError> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    let file = opened.map_err(|error| JournalError::io(path, "opened", error))?;
    let synced = file.metadata().and_then(|data| {
        // It changes nothing, but ext4 and XFS wait for direct writes first.
        let _ = rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, data.len());
        file.sync_all()
    });
    synced.map_err(|error| JournalError::io(path, "synced", error))?;
    // A page that could not be written counts as clean afterwards: what is read must be the disk's.
    let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
    Ok(())
}
