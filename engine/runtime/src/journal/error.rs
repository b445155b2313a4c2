//! What can go wrong with a journal, and what the user can do about it.

use punctual_core::journal::{Damage, Holder, Lsn, SegmentError};
use punctual_core::{ReplayError, SessionId};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a journal cannot be used, or not any more.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Its directory cannot be made.
    #[error(
        "the journal's directory {dir} cannot be made: {source}; choose another place with \
         durability.dir"
    )]
    Create {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its directory cannot be written to.
    #[error(
        "the journal's directory {dir} cannot be written to: {source}; make it writable for this \
         user, or choose another place with durability.dir"
    )]
    ReadOnly {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "the journal in {dir} is in use by another process; stop that one, or choose another place \
         with durability.dir"
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The file system is full.
    #[error("there is no room for {file}: {source}; free some space in its file system")]
    NoSpace {
        /// The file that could not be written.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A call of the system failed.
    #[error(
        "{file} could not be {operation}: {source}; look after the disk and its file system, then \
         start again"
    )]
    Io {
        /// The file or directory.
        file: PathBuf,
        /// What was to be done with it, as a participle.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// What was durable is there no more.
    #[error(
        "{file} is damaged at byte {offset}, log position {lsn}: {why}; nothing was changed. See \
         how far it can be read with `punctual journal check`, and restore the directory from a \
         copy; or move it away, and the shard starts empty"
    )]
    Damage {
        /// The file.
        file: PathBuf,
        /// Where in the file.
        offset: u64,
        /// Where in the log.
        lsn: Lsn,
        /// What is wrong.
        why: String,
    },
    /// A file that this program cannot read.
    #[error(
        "{file} cannot be read: {source}; start the version of the program that wrote it, or move \
         it away if it does not belong there"
    )]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What it is instead.
        source: SegmentError,
    },
    /// It was written by something else.
    #[error(
        "{file} cannot be used: it is the journal of a {found}, not of a {expected}; choose \
         another directory"
    )]
    OtherHolder {
        /// The file.
        file: PathBuf,
        /// Who wants to use it.
        expected: Holder,
        /// Who has written it.
        found: Holder,
    },
    /// It was written under another configuration, or for another shard.
    #[error(
        "{file} was written with {property} {found}, and the configuration says {expected}: set it \
         back, or choose another place with durability.dir"
    )]
    Head {
        /// The file.
        file: PathBuf,
        /// Which property.
        property: &'static str,
        /// What the configuration says.
        expected: String,
        /// What the file says.
        found: String,
    },
    /// Files of two journals.
    #[error(
        "{file} is of session {found}, and the others are of session {expected}: the directory has \
         files of two journals; restore it from one copy"
    )]
    MixedSessions {
        /// The file.
        file: PathBuf,
        /// The session of the files before it.
        expected: SessionId,
        /// Its own.
        found: SessionId,
    },
    /// A part of the log is not there.
    #[error(
        "in {dir} the log is missing from position {from} to {to}, before {next}: restore the \
         missing files from a copy"
    )]
    MissingSegment {
        /// The directory.
        dir: PathBuf,
        /// Where the missing part begins.
        from: Lsn,
        /// Where it ends.
        to: Lsn,
        /// The file that begins there.
        next: PathBuf,
    },
    /// A record does not fit the ones before it.
    #[error("{file}, byte {offset}, log position {lsn}: the record cannot be done again: {source}")]
    Replay {
        /// The file.
        file: PathBuf,
        /// Where in the file.
        offset: u64,
        /// Where in the log.
        lsn: Lsn,
        /// What is wrong with it.
        source: ReplayError,
    },
    /// What is to write it cannot be had.
    #[error("the journal in {dir} cannot be started: {why}")]
    Start {
        /// The directory.
        dir: PathBuf,
        /// What the matter is.
        why: String,
    },
    /// The threads that write it are gone.
    #[error("the journal's writer died: {why}")]
    WriterDied {
        /// Its last words.
        why: String,
    },
    /// There is no journal where the user said.
    #[error(
        "{path} is no journal: give the directory of a shard (shard-0), the one that holds those, \
         or one of their files"
    )]
    NotThere {
        /// What the user gave.
        path: PathBuf,
    },
    /// What was read cannot be told.
    #[error("the output cannot be written: {0}")]
    Output(#[source] io::Error),
}

impl JournalError {
    /// A call of the system failed: `operation` says with a participle what was to be done with
    /// `file`. A lack of space is told from the rest.
    pub(crate) fn io(file: &Path, operation: &'static str, source: io::Error) -> Self {
        let file = file.to_owned();
        if is_no_space(&source) {
            Self::NoSpace { file, source }
        } else {
            Self::Io { file, operation, source }
        }
    }

    /// What was once right in `file` is wrong now.
    pub(crate) fn damage(file: &Path, damage: Damage) -> Self {
        let Damage { offset, lsn, why } = damage;
        Self::Damage { file: file.to_owned(), offset: offset as u64, lsn, why }
    }

    /// Whether the user can mend it by using the program otherwise: bad configuration rather than a
    /// failure at work.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Create { .. }
            | Self::ReadOnly { .. }
            | Self::InUse { .. }
            | Self::Unreadable { .. }
            | Self::OtherHolder { .. }
            | Self::Head { .. }
            | Self::NotThere { .. } => true,
            Self::Replay { source, .. } => {
                matches!(source, ReplayError::NoProcedure(_) | ReplayError::BadSession)
            }
            Self::NoSpace { .. }
            | Self::Io { .. }
            | Self::Damage { .. }
            | Self::MixedSessions { .. }
            | Self::MissingSegment { .. }
            | Self::Start { .. }
            | Self::WriterDied { .. }
            | Self::Output(_) => false,
        }
    }
}

/// Whether the file system, or the share of it that this user may have, is used up.
pub(super) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
