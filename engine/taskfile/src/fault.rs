//! What is wrong with a line. The texts are for the person who wrote it.

use crate::LINE_BYTES_MAX;
use crate::names::hint;
use punctual_wire::task::PAYLOAD_BYTES_MAX;
use thiserror::Error;

/// Characters of a line, or of something in it, that a message shows.
const SHOWN_CHARS_MAX: usize = 120;

/// Why a line is not a task.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Fault {
    #[error("it is longer than {} bytes; put it into a script and call that", LINE_BYTES_MAX)]
    LineTooLong,
    #[error(
        "with its name, directory and variables it has {bytes} bytes, and {} is the most; put the \
         command into a script and call that",
        PAYLOAD_BYTES_MAX
    )]
    PayloadTooLarge { bytes: usize },
    #[error("there is a NUL byte in it, which no command, directory or variable can have")]
    Nul,

    #[error(
        "it has {count} of the five fields of a task, which are \
         type{separator}priority{separator}memory{separator}cores{separator}command{hint}"
    )]
    Fields { count: usize, separator: char, hint: &'static str },
    #[error("the type {kind} is not one of shell, python, demo{hint}")]
    Kind { kind: String, hint: String },
    #[error("the {what} {text} is not a whole number in digits alone{hint}")]
    NotDigits { what: &'static str, text: String, hint: &'static str },
    #[error("the {what} {text} is too large; {max} is the most")]
    Number { what: &'static str, text: String, max: u64 },
    #[error("there is no command")]
    NoCommand,

    #[error("it is not JSON as it should be: {why} (column {column})")]
    Json { why: String, column: usize },
    #[error("unknown key \"{key}\"{place}{hint}")]
    UnknownKey { key: String, place: &'static str, hint: String },
    #[error("\"{key}\": {why}")]
    Value { key: String, why: String },
    #[error("its id is already that of another task, in line {line}; give it one of its own")]
    IdTaken { line: usize },
    #[error("an array stands for many tasks, and one was asked for")]
    Array,
}

impl Fault {
    /// From what the JSON reader says. It counts lines too, but only sees one.
    pub(crate) fn json(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let why = text.rsplit_once(" at line ").map_or(text.as_str(), |(why, _)| why);
        Self::Json { why: why.to_owned(), column: error.column() }
    }

    /// A key that is none of `known`, which are those of `place`.
    pub(crate) fn unknown_key(key: &str, known: &[&'static str], place: &'static str) -> Self {
        let mut hint = hint(key, known.iter().copied());
        if hint.is_empty() {
            hint = format!("; the keys are {}", known.join(", "));
        }
        Self::UnknownKey { key: shown(key.as_bytes()), place, hint }
    }

    /// Something is wrong with the value of a key.
    pub(crate) fn value(key: &str, why: impl Into<String>) -> Self {
        Self::Value { key: shown(key.as_bytes()), why: why.into() }
    }
}

/// The beginning of a text, as one line that a terminal can be given.
pub(crate) fn shown(text: &[u8]) -> String {
    // Four bytes a character at most, so that a long line is not decoded for its beginning.
    let text = &text[..text.len().min(4 * (SHOWN_CHARS_MAX + 1))];
    let text = String::from_utf8_lossy(text);
    let mut line = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == SHOWN_CHARS_MAX {
            line.push_str("...");
            break;
        }
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// The same in quotes.
pub(crate) fn quoted(text: &[u8]) -> String {
    format!("\"{}\"", shown(text))
}
