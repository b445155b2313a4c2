//! A task in the words of the original: the text that its `checkTask` prints, and its line.

use crate::units::{CORE_MILLI, GIB, parse_cores, scaled};
use punctual_wire::task::PayloadKind;
use std::fmt;

/// What the original shows of a task. Its `Display` is the original's text:
/// `task_type: shell, priority: 4, min_dram_gb: 2, require_cpu_core: 2, task_params: ./run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskText<'a> {
    /// What the command is.
    pub kind: PayloadKind,
    /// Higher first.
    pub priority: i32,
    /// Bytes of memory that it asks for.
    pub memory: u64,
    /// Thousandths of a core that it asks for.
    pub cores_milli: u32,
    /// What is run.
    pub command: &'a [u8],
}

/// Names of the fields in the text, in their order.
const LABELS: [&[u8]; 5] = [
    b"task_type: ",
    b", priority: ",
    b", min_dram_gb: ",
    b", require_cpu_core: ",
    b", task_params: ",
];

impl<'a> TaskText<'a> {
    /// Reads the text back, for instance from a line that somebody copied. `None` if it is none.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let mut rest = text.strip_prefix(LABELS[0])?;
        let mut fields = [""; 4];
        for (field, label) in fields.iter_mut().zip(&LABELS[1..]) {
            let (before, after) = split_at_first(rest, label)?;
            *field = str::from_utf8(before).ok()?;
            rest = after;
        }
        Some(Self {
            kind: PayloadKind::ALL.into_iter().find(|kind| kind.name() == fields[0])?,
            priority: fields[1].parse().ok()?,
            memory: scaled(fields[2], GIB)?,
            cores_milli: parse_cores(fields[3]).ok()?,
            command: rest,
        })
    }

    /// The line of the original's format that describes this task, or `None` if none can: the
    /// original knows whole GiB and cores only, no priority below zero and no second line.
    #[must_use]
    pub fn line(&self, separator: u8) -> Option<Vec<u8>> {
        let cores = u64::from(self.cores_milli);
        let is_whole = self.memory.is_multiple_of(GIB) && cores.is_multiple_of(CORE_MILLI);
        let has_one_line = !self.command.is_empty() && !self.command.contains(&b'\n');
        if self.priority < 0 || !is_whole || !has_one_line {
            return None;
        }
        let kind = match self.kind {
            PayloadKind::Noop => "demo",
            kind => kind.name(),
        };
        let numbers =
            [i64::from(self.priority).unsigned_abs(), self.memory / GIB, cores / CORE_MILLI];
        let mut line = kind.as_bytes().to_vec();
        for number in numbers {
            line.push(separator);
            line.extend_from_slice(number.to_string().as_bytes());
        }
        line.push(separator);
        line.extend_from_slice(self.command);
        Some(line)
    }
}

impl fmt::Display for TaskText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "task_type: {}, priority: {}, min_dram_gb: {}, require_cpu_core: {}, task_params: {}",
            self.kind.name(),
            self.priority,
            quotient(self.memory, GIB),
            quotient(self.cores_milli.into(), CORE_MILLI),
            String::from_utf8_lossy(self.command)
        )
    }
}

/// A number in larger units: whole where it is, else as a decimal fraction.
fn quotient(value: u64, scale: u64) -> String {
    match value.is_multiple_of(scale) {
        true => (value / scale).to_string(),
        // Floating point is enough for people, and never shows an exponent.
        false => (value as f64 / scale as f64).to_string(),
    }
}

/// What is before and after the first occurrence.
fn split_at_first<'a>(text: &'a [u8], what: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(what.len()).position(|window| window == what)?;
    Some((&text[..at], &text[at + what.len()..]))
}
