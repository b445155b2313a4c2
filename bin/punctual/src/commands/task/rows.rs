//! Tasks as rows of a table and as documents.

use super::text::{shown, span};
use punctual_dashboard::documents::TaskDocument;
use punctual_runtime::tasks::{PayloadKind, StateCounts, TaskPayload, TaskRow, TaskState};
use serde::Serialize;
use std::time::Duration;

/// Characters of a command in a table.
const COMMAND_CHARS: usize = 80;

/// The names of the columns.
pub(super) const HEAD: [&str; 6] = ["id", "state", "tries", "worker", "ran", "task"];

/// What is to be run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct What<'a> {
    /// Nothing if it cannot be read.
    pub(super) kind: Option<PayloadKind>,
    pub(super) name: &'a [u8],
    pub(super) cwd: &'a [u8],
    pub(super) command: &'a [u8],
    /// Variables of its environment.
    pub(super) variables: usize,
}

impl<'a> What<'a> {
    /// What a payload says.
    pub(super) fn of(payload: &'a [u8]) -> Self {
        TaskPayload::read(payload).map_or_else(
            |_| Self::default(),
            |payload| Self {
                kind: Some(payload.kind),
                name: payload.name,
                cwd: payload.cwd,
                command: payload.command,
                variables: payload.variables.iter().count(),
            },
        )
    }

    /// What runs it.
    pub(super) fn runner(&self) -> &'static str {
        self.kind.map_or("unknown", PayloadKind::name)
    }

    /// What it is called: its name, or else its command.
    pub(super) fn title(&self, chars_max: usize) -> String {
        match (self.name, self.command) {
            ([], []) => format!("({})", self.runner()),
            ([], command) => shown(command, chars_max),
            (name, _) => shown(name, chars_max),
        }
    }
}

/// The cells of a row.
pub(super) fn cells(row: &TaskRow<'_>) -> [String; 6] {
    let state = match row.state {
        TaskState::Leased if row.is_ahead => "at worker",
        state => state.name(),
    };
    let ran = row.end.as_ref().filter(|_| row.state.is_final());
    let ran = ran.map_or_else(String::new, |end| span(Duration::from_nanos(end.ran_ns)));
    [
        row.id.to_string(),
        state.to_owned(),
        row.attempt.0.to_string(),
        shown(row.worker, 32),
        ran,
        What::of(row.payload).title(COMMAND_CHARS),
    ]
}

/// Counts as people read them: those that are there, in the order of a task's life.
pub(super) fn counts_text(counts: &StateCounts) -> String {
    let state = |state: TaskState| {
        let count = counts[state];
        (count > 0).then(|| format!("{} {}", grouped(count), state.name()))
    };
    let parts: Vec<String> = TaskState::ALL.into_iter().filter_map(state).collect();
    let tasks = if counts.total() == 1 { "task" } else { "tasks" };
    let detail = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    format!("{} {tasks}{detail}", grouped(counts.total()))
}

/// A whole number with a separator every three digits.
pub(super) fn grouped(count: u64) -> String {
    crate::commands::output::grouped(count as f64)
}

/// A task, as a line for programs.
#[derive(Debug, Serialize)]
pub(super) struct TaskLine {
    /// What the line is about.
    kind: &'static str,
    #[serde(flatten)]
    task: TaskDocument,
}

impl TaskLine {
    /// The line of a row, with what the task wrote if that was asked for.
    pub(super) fn new(row: &TaskRow<'_>, job: &str, with_output: bool) -> Self {
        Self { kind: "task", task: TaskDocument::new(row, job, with_output) }
    }
}

/// A size of this process by its name in `/proc/self/status`, in bytes; 0 if it is not known.
pub(super) fn size_of_process(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of_line = |line: &str| {
        let value = line.strip_prefix(name)?.strip_prefix(':')?.trim();
        value.strip_suffix("kB")?.trim_end().parse::<u64>().ok()
    };
    text.lines().find_map(of_line).unwrap_or(0) << 10
}
