//! What a worker is to run. The queue carries it and does not look into it, except to search it.

use super::parts::{TEXT_BYTES_MAX, cut, head, len16, len32, part, text, unknown, within};
use crate::WireError;
use crate::message::no_trailing;
use std::fmt;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Longest encoded [`TaskPayload`], in bytes. It is what Linux allows a single argument.
pub const PAYLOAD_BYTES_MAX: usize = 128 << 10;

/// What the command of a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PayloadKind {
    /// A line for a shell.
    Shell = 0,
    /// A program in Python.
    Python = 1,
    /// Nothing is run. It succeeds at once, which measures the queue.
    Noop = 2,
}

impl PayloadKind {
    /// All, in the order of their codes.
    pub const ALL: [Self; 3] = [Self::Shell, Self::Python, Self::Noop];

    /// The kind with this code.
    #[inline]
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// A name for people and for JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Python => "python",
            Self::Noop => "noop",
        }
    }
}

/// The fixed part of a payload; name, working directory, command and variables follow.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct PayloadHead {
    kind: u8,
    name_len: U16,
    cwd_len: U32,
    command_len: U32,
    variables_len: U32,
}
const _: () = assert!(size_of::<PayloadHead>() == 15);

/// What a worker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskPayload<'a> {
    /// What the command is.
    pub kind: PayloadKind,
    /// A name for people, of at most [`TEXT_BYTES_MAX`] bytes; may be empty.
    pub name: &'a [u8],
    /// The directory to run in. Empty: that of the worker.
    pub cwd: &'a [u8],
    /// The line or program.
    pub command: &'a [u8],
    /// What is added to the worker's environment.
    pub variables: Variables<'a>,
}

impl<'a> TaskPayload<'a> {
    /// Bytes that [`write_to`](Self::write_to) appends. A queue takes no more than
    /// [`PAYLOAD_BYTES_MAX`].
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let name = cut(self.name, TEXT_BYTES_MAX);
        let parts = name.len() + self.cwd.len() + self.command.len() + self.variables.bytes.len();
        size_of::<PayloadHead>() + parts
    }

    /// Appends the payload.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let name = cut(self.name, TEXT_BYTES_MAX);
        let head = PayloadHead {
            kind: self.kind as u8,
            name_len: len16(name),
            cwd_len: len32(self.cwd),
            command_len: len32(self.command),
            variables_len: len32(self.variables.bytes),
        };
        out.extend_from_slice(head.as_bytes());
        for part in [name, self.cwd, self.command, self.variables.bytes] {
            out.extend_from_slice(part);
        }
    }

    /// Reads a payload that takes all of `bytes`.
    ///
    /// # Errors
    /// When it is cut short, longer than it may be or followed by anything, or its kind unknown.
    pub fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        const WHAT: &str = "payload of a task";
        within(bytes.len(), PAYLOAD_BYTES_MAX, "the length of a payload in bytes")?;
        let mut rest = bytes;
        let head: &PayloadHead = head(&mut rest, WHAT)?;
        let kind = PayloadKind::from_code(head.kind)
            .ok_or_else(|| unknown("kind of a payload", head.kind))?;
        let payload = Self {
            kind,
            name: text(&mut rest, head.name_len)?,
            cwd: part(&mut rest, head.cwd_len.get() as usize, WHAT)?,
            command: part(&mut rest, head.command_len.get() as usize, WHAT)?,
            variables: Variables::read(part(&mut rest, head.variables_len.get() as usize, WHAT)?)?,
        };
        no_trailing(rest, WHAT)?;
        Ok(payload)
    }
}

/// The lengths of a variable's name and value, which follow.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct VariableHead {
    name_len: U32,
    value_len: U32,
}
const _: () = assert!(size_of::<VariableHead>() == 8);

/// Environment variables, in the order in which they were given; they lie where they were read.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Variables<'a> {
    /// Whole entries, back to back.
    bytes: &'a [u8],
}

impl<'a> Variables<'a> {
    /// Appends variables, each a name and its value, in the form that [`read`](Self::read) takes.
    pub fn encode<'p>(out: &mut Vec<u8>, pairs: impl IntoIterator<Item = (&'p [u8], &'p [u8])>) {
        for (name, value) in pairs {
            let head = VariableHead { name_len: len32(name), value_len: len32(value) };
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(name);
            out.extend_from_slice(value);
        }
    }

    /// The variables that take all of `bytes`.
    ///
    /// # Errors
    /// When the last one is cut short.
    pub fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            next_variable(&mut rest)?;
        }
        Ok(Self { bytes })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// Name and value of each.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone + use<'a> {
        let mut rest = self.bytes;
        // All entries are whole, so the first one that is not is the end.
        std::iter::from_fn(move || next_variable(&mut rest).ok())
    }
}

impl fmt::Debug for Variables<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = String::from_utf8_lossy;
        f.debug_map().entries(self.iter().map(|(name, value)| (shown(name), shown(value)))).finish()
    }
}

/// Takes the name and value of the first variable.
fn next_variable<'a>(rest: &mut &'a [u8]) -> Result<(&'a [u8], &'a [u8]), WireError> {
    const WHAT: &str = "variable of a payload";
    let head: &VariableHead = head(rest, WHAT)?;
    let name = part(rest, head.name_len.get() as usize, WHAT)?;
    let value = part(rest, head.value_len.get() as usize, WHAT)?;
    Ok((name, value))
}
