//! How the lines of a file are to be read, and how that is seen in the first of them.

use crate::names::hint;
use crate::original;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// Task lines that are looked at to tell one format from the other.
pub(crate) const HEAD_LINES: usize = 64;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Whatever the file looks like.
    #[default]
    Auto,
    /// The original's: `type:priority:memory:cores:command`.
    Original,
    /// That of a fork: `type:priority:memory:cores:timeout:command`.
    Timeout,
    /// An object in JSON on each line.
    JsonLines,
}

/// What separates the fields of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Separator {
    /// Whatever the file looks like.
    #[default]
    Auto,
    /// `:`, as in the original.
    Colon,
    /// `;`, as in a fork.
    Semicolon,
}

/// A name that no choice has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name:?} is not one of {choices}{hint}")]
pub struct UnknownName {
    name: String,
    choices: String,
    hint: String,
}

impl UnknownName {
    fn new(name: &str, choices: &[&'static str]) -> Self {
        let hint = hint(name, choices.iter().copied());
        Self { name: name.to_owned(), choices: choices.join(", "), hint }
    }
}

impl Format {
    /// All, in the order in which messages name them.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Original, Self::Timeout, Self::JsonLines];

    /// The name for arguments and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Original => "original",
            Self::Timeout => "timeout",
            Self::JsonLines => "json-lines",
        }
    }
}

impl Separator {
    /// All, in the order in which messages name them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Colon, Self::Semicolon];

    /// The name for arguments and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Colon => "colon",
            Self::Semicolon => "semicolon",
        }
    }

    /// The character itself; without a choice it is that of the original.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Auto | Self::Colon => b':',
            Self::Semicolon => b';',
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Separator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let choice = Self::ALL.into_iter().find(|choice| choice.name() == text);
        choice.ok_or_else(|| UnknownName::new(text, &Self::ALL.map(Self::name)))
    }
}

impl FromStr for Separator {
    type Err = UnknownName;

    /// Takes the character too.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let choice = match text {
            ":" => Some(Self::Colon),
            ";" => Some(Self::Semicolon),
            _ => Self::ALL.into_iter().find(|choice| choice.name() == text),
        };
        choice.ok_or_else(|| UnknownName::new(text, &Self::ALL.map(Self::name)))
    }
}

/// How to read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// The format.
    pub format: Format,
    /// What separates the fields; JSON lines have none.
    pub separator: Separator,
    /// The timeout of tasks that say nothing about it. It is no part of what makes a task the same.
    pub default_timeout: Option<Duration>,
}

/// How the lines of one file are read: all that was open is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Anything but `Auto`.
    pub(crate) format: Format,
    /// Anything but `Auto`.
    pub(crate) separator: Separator,
    /// Nobody said that there are no timeouts: [`Votes`] may still show that there are.
    pub(crate) may_have_timeouts: bool,
    pub(crate) default_timeout: Option<Duration>,
}

impl Rules {
    /// From what the caller says and, where that leaves it open, the first task lines.
    pub(crate) fn decide<'a>(head: impl Iterator<Item = &'a [u8]>, options: &ReadOptions) -> Self {
        let (mut objects, mut colons, mut semicolons) = (0, 0, 0);
        for line in head {
            if line.trim_ascii_start().starts_with(b"{") {
                objects += 1;
            } else if original::split(line, Separator::Colon).is_ok() {
                colons += 1;
            } else if original::split(line, Separator::Semicolon).is_ok() {
                semicolons += 1;
            }
        }
        let format = match options.format {
            Format::Auto if objects > colons + semicolons => Format::JsonLines,
            Format::Auto => Format::Original,
            format => format,
        };
        let separator = match options.separator {
            Separator::Auto if semicolons > colons => Separator::Semicolon,
            Separator::Auto => Separator::Colon,
            separator => separator,
        };
        Self {
            format,
            separator,
            may_have_timeouts: options.format == Format::Auto && format == Format::Original,
            default_timeout: options.default_timeout,
        }
    }
}

/// Which of the task lines look as if they had a timeout: only when all of them do, they have.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Votes {
    pub(crate) with: u64,
    pub(crate) without: u64,
    pub(crate) first_with: usize,
    pub(crate) first_without: usize,
}

impl Votes {
    /// Counts a task line by what follows its fourth separator.
    pub(crate) fn count(&mut self, line: usize, rest: &[u8], separator: Separator) {
        let has_timeout = original::split_timeout(rest, separator).is_some();
        let (count, first) = match has_timeout {
            true => (&mut self.with, &mut self.first_with),
            false => (&mut self.without, &mut self.first_without),
        };
        if *count == 0 {
            *first = line;
        }
        *count += 1;
    }

    /// Whether the lines have timeouts.
    pub(crate) fn are_unanimous(&self) -> bool {
        self.with > 0 && self.without == 0
    }
}
