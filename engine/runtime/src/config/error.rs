//! What can be wrong with a configuration.

use thiserror::Error;

/// A configuration that cannot be used, and where it says so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// One line of a file.
    #[error("{file}:{line}: {message}")]
    AtLine {
        /// The file, as the caller named it.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what to do.
        message: String,
    },
    /// A file as a whole.
    #[error("{file}: {message}")]
    InFile {
        /// The file, as the caller named it.
        file: String,
        /// What is wrong, and what to do.
        message: String,
    },
    /// A configuration that a program made.
    #[error("{message}")]
    InProgram {
        /// What is wrong, and what to do.
        message: String,
    },
}

impl ConfigError {
    /// The file, if the configuration came from one.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::AtLine { file, .. } | Self::InFile { file, .. } => Some(file),
            Self::InProgram { .. } => None,
        }
    }

    /// The line, from 1, if the error is about one.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::AtLine { line, .. } => Some(*line),
            Self::InFile { .. } | Self::InProgram { .. } => None,
        }
    }

    /// What is wrong, without the place.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::AtLine { message, .. }
            | Self::InFile { message, .. }
            | Self::InProgram { message } => message,
        }
    }
}

/// A text that does not say what it should: an address, a duration, a name. The message is what
/// follows the text in a sentence: `"spinn"` *is not one of spin, yield, ...*.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct TextError(pub(super) String);
