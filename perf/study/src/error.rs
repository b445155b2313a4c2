//! What can go wrong with a study as a whole. A cell that fails is no error: it is a result.

use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a study cannot be run, read or compared.
#[derive(Debug, Error)]
pub enum StudyError {
    /// One line of an experiment file.
    #[error("{file}:{line}: {message}")]
    AtLine {
        /// The file, as the caller named it.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what to do.
        message: String,
    },
    /// An experiment file as a whole.
    #[error("{file}: {message}")]
    InFile {
        /// The file, as the caller named it.
        file: String,
        /// What is wrong, and what to do.
        message: String,
    },
    /// A study that is neither shipped nor a file.
    #[error(
        "there is no study and no file \"{name}\"; {hint} (punctual study list shows all of them)"
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// The nearest name.
        hint: String,
    },
    /// A folder for results that has something in it.
    #[error(
        "{} is not empty; choose another --out, or go on with what is there by --resume",
        .dir.display()
    )]
    Occupied {
        /// The folder.
        dir: PathBuf,
    },
    /// A folder that is not the result of a study, or not a readable one.
    #[error("{} is not the folder of a study: {why}", .dir.display())]
    NotAStudy {
        /// The folder.
        dir: PathBuf,
        /// What is missing or wrong.
        why: String,
    },
    /// A study was to be resumed with another experiment.
    #[error(
        "{} has {what}; resume it with what it was begun with, or choose another --out",
        .dir.display()
    )]
    OtherExperiment {
        /// The folder.
        dir: PathBuf,
        /// What differs.
        what: String,
    },
    /// A file of a study.
    #[error("cannot {what} {}", .path.display())]
    Io {
        /// `read` or `write`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program that runs a cell does not start.
    #[error("cannot start {} for a cell", .program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A document could not be put into JSON.
    #[error("cannot put the result into JSON")]
    Json(#[from] serde_json::Error),
}

impl StudyError {
    /// Whether the user can mend it by writing or calling something else.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Io { what: "write", .. } | Self::Start { .. } | Self::Json(_))
    }
}

/// An error of reading a file or folder.
pub(crate) fn reading(path: &Path) -> impl FnOnce(io::Error) -> StudyError + use<> {
    let path = path.to_owned();
    move |source| StudyError::Io { what: "read", path, source }
}

/// An error of writing a file or folder.
pub(crate) fn writing(path: &Path) -> impl FnOnce(io::Error) -> StudyError + use<> {
    let path = path.to_owned();
    move |source| StudyError::Io { what: "write", path, source }
}
