//! Tasks as rows of a table and as documents.

use super::text::{shown, span};
use punctual_runtime::tasks::{
    Captured, EndKind, PayloadKind, StateCounts, TaskEnd, TaskPayload, TaskRow, TaskState,
};
use serde::Serialize;
use std::io;
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

/// How a run ended, for people.
pub(super) fn reason(end: &TaskEnd<'_>) -> String {
    match end.kind {
        EndKind::TimedOut => {
            format!("killed by its timeout, after {}", span(Duration::from_nanos(end.ran_ns)))
        }
        EndKind::NotStarted if end.code > 0 => {
            format!("could not be started: {}", io::Error::from_raw_os_error(end.code))
        }
        _ => end.summary().to_string(),
    }
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

/// How many tasks are in each state, for programs.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct CountsDocument {
    blocked: u64,
    delayed: u64,
    ready: u64,
    running: u64,
    done: u64,
    failed: u64,
    cancelled: u64,
}

impl From<&StateCounts> for CountsDocument {
    fn from(counts: &StateCounts) -> Self {
        Self {
            blocked: counts[TaskState::Blocked],
            delayed: counts[TaskState::Delayed],
            ready: counts[TaskState::Ready],
            running: counts[TaskState::Leased],
            done: counts[TaskState::Done],
            failed: counts[TaskState::Failed],
            cancelled: counts[TaskState::Cancelled],
        }
    }
}

/// A task, for programs. Times are ns since 1970 and `null` if they have not come.
#[derive(Debug, Serialize)]
pub(super) struct RowDocument<'a> {
    /// What this line is about.
    kind: &'static str,
    id: String,
    /// Hash of the task's text or name; 32 hexadecimal digits.
    key: String,
    job: &'a str,
    state: &'static str,
    /// A worker has it, but it has not started.
    is_ahead: bool,
    name: String,
    runs: &'static str,
    command: String,
    cwd: String,
    priority: i32,
    memory_bytes: u64,
    cores: f64,
    timeout_ms: u64,
    attempt: u32,
    failures: u16,
    attempts_max: u16,
    worker: String,
    failed_on: Vec<String>,
    submitted_ns: Option<i64>,
    leased_ns: Option<i64>,
    ended_ns: Option<i64>,
    due_ns: Option<i64>,
    /// How the last attempt ended.
    end: Option<EndDocument>,
}

/// How an attempt ended. What is no UTF-8 in its output is replaced.
#[derive(Debug, Serialize)]
struct EndDocument {
    how: &'static str,
    code: i32,
    reason: String,
    waited_ns: u64,
    ran_ns: u64,
    cpu_ns: u64,
    memory_bytes: u64,
    stdout_bytes: u64,
    stderr_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<String>,
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl<'a> RowDocument<'a> {
    /// The document of a row, with what the task wrote if that was asked for.
    pub(super) fn new(row: &TaskRow<'_>, job: &'a str, with_output: bool) -> Self {
        let what = What::of(row.payload);
        let moment = |ns: i64| (ns != 0).then_some(ns);
        let failed_on = row.failed_on.split(|byte| *byte == b',').filter(|name| !name.is_empty());
        Self {
            kind: "task",
            id: row.id.to_string(),
            key: format!("{:032x}", row.key.0),
            job,
            state: row.state.name(),
            is_ahead: row.is_ahead,
            name: lossy(what.name),
            runs: what.runner(),
            command: lossy(what.command),
            cwd: lossy(what.cwd),
            priority: row.priority,
            memory_bytes: row.memory,
            cores: f64::from(row.cores_milli) / 1e3,
            timeout_ms: row.timeout_ms,
            attempt: row.attempt.0,
            failures: row.failures,
            attempts_max: row.attempts_max,
            worker: lossy(row.worker),
            failed_on: failed_on.map(lossy).collect(),
            submitted_ns: moment(row.times.submitted),
            leased_ns: moment(row.times.leased),
            ended_ns: moment(row.times.ended),
            due_ns: moment(row.times.due),
            end: row.end.as_ref().map(|end| EndDocument::new(end, with_output)),
        }
    }
}

impl EndDocument {
    fn new(end: &TaskEnd<'_>, with_output: bool) -> Self {
        let text = |captured: &Captured<'_>| with_output.then(|| lossy(captured.tail));
        Self {
            how: end.kind.name(),
            code: end.code,
            reason: reason(end),
            waited_ns: end.waited_ns,
            ran_ns: end.ran_ns,
            cpu_ns: end.cpu_ns,
            memory_bytes: end.memory,
            stdout_bytes: end.stdout.bytes,
            stderr_bytes: end.stderr.bytes,
            stdout: text(&end.stdout),
            stderr: text(&end.stderr),
        }
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
