//! A task file as a whole, a first look through one, and a single line.

use crate::draft::TaskDraft;
use crate::error::TaskFileError;
use crate::fault::{Fault, shown};
use crate::json::Template;
use crate::layout::{Format, HEAD_LINES, ReadOptions, Rules, Separator, Votes};
use crate::lines::Lines;
use crate::original;
use crate::stream::TaskStream;
use crate::summary::{BadLine, Summary};
use std::io::BufRead;

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFile {
    /// The tasks, in the order in which they are to be submitted: that of the file, but none before
    /// one that it comes after.
    pub tasks: Vec<TaskDraft>,
    /// Lines that are not tasks, in their order: the first
    /// [`BAD_LINES_KEPT`](crate::BAD_LINES_KEPT).
    pub bad: Vec<BadLine>,
    /// How many more there are.
    pub bad_left_out: u64,
    /// Tasks that are the same as earlier ones of the file, and were left out.
    pub duplicates: u64,
    /// How the file was read; not `Auto`.
    pub format: Format,
    /// What separated the fields; not `Auto`, and of no meaning for JSON lines.
    pub separator: Separator,
    /// What a person should know, one sentence each.
    pub warnings: Vec<String>,
}

/// Reads a whole task file.
///
/// # Errors
/// If it cannot be read, or tasks of it wait for each other in a circle. Lines that are not tasks
/// are no error: they are in [`TaskFile::bad`].
pub fn read_tasks(reader: impl BufRead, options: &ReadOptions) -> Result<TaskFile, TaskFileError> {
    let mut stream = TaskStream::new(reader, options)?;
    let mut tasks = stream.by_ref().collect::<Result<Vec<_>, _>>()?;
    if stream.settle_timeouts() {
        tasks.retain_mut(|draft| stream.take_timeout(draft));
    }
    let Summary { format, separator, bad, bad_left_out, duplicates, warnings } =
        stream.into_summary();
    Ok(TaskFile { tasks, bad, bad_left_out, duplicates, format, separator, warnings })
}

/// Reads one line, such as a task that is in a queue of the original. [`Format::Auto`] takes the
/// line for one without a timeout.
///
/// # Errors
/// What is wrong with the line.
pub fn parse_line(line: &[u8], options: &ReadOptions) -> Result<TaskDraft, BadLine> {
    let rules = Rules::decide(std::iter::once(line), options);
    let parsed = match rules.format {
        Format::JsonLines => Template::read(line).and_then(|template| match template.array() {
            Some(_) => Err(Fault::Array),
            None => template.draft(1, None, rules.default_timeout).map(|(draft, _)| draft),
        }),
        _ => original::draft(1, line, &rules),
    };
    parsed.map_err(|fault| BadLine { line: 1, text: shown(line), why: fault.to_string() })
}

/// What a first look through a whole file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// How the file is to be read; not `Auto`.
    pub format: Format,
    /// What separates the fields; not `Auto`.
    pub separator: Separator,
    /// Lines that are neither comments nor empty: about as many as there are tasks.
    pub lines: u64,
}

/// Looks through a whole file without keeping anything of it, to know its format for certain.
///
/// # Errors
/// If it cannot be read.
pub fn survey(reader: impl BufRead, options: &ReadOptions) -> Result<Survey, TaskFileError> {
    let mut lines = Lines::new(reader);
    lines.read_ahead(HEAD_LINES)?;
    let Rules { mut format, separator, may_have_timeouts, .. } =
        Rules::decide(lines.head(), options);
    let mut votes = Votes::default();
    let mut count = 0;
    let mut buffer = Vec::new();
    while let Some(line) = lines.next_into(&mut buffer)? {
        count += 1;
        if !may_have_timeouts || line.is_cut {
            continue;
        }
        if let Ok(fields) = original::split(&buffer, separator) {
            votes.count(line.number, fields.rest, separator);
        }
    }
    if may_have_timeouts && votes.are_unanimous() {
        format = Format::Timeout;
    }
    Ok(Survey { format, separator, lines: count })
}
