//! What the original prints of tasks and workers, in its layout: scripts read it.

use super::Shown;
use crate::commands::task::rows::What;
use crate::commands::task::status::{PAGE, since};
use punctual_runtime::tasks::{
    JobId, OwnedSelection, OwnedWorker, StateCounts, StateSet, TaskClient, TaskRow, TaskState,
};
use punctual_taskfile::TaskText;
use std::io::{BufWriter, ErrorKind, Write};
use std::ops::ControlFlow;

/// What stands on both sides of the name of a section.
const RULE: &str = "################################################";
/// The columns of `checkWorker`.
pub(super) const HEAD: [&str; 8] = [
    "worker",
    "last_update_from_now",
    "cores_used",
    "cores_total",
    "mem_used (GB)",
    "mem_total (GB)",
    "n_current_task",
    "n_finished_tasks",
];
/// Output that the original does not keep.
const RESULT_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a reason that are shown if there are more than that.
const REASON_BYTES_MAX: usize = 1024;
/// Bytes of a gigabyte.
const GIGABYTE: f64 = (1_u64 << 30) as f64;

/// What waits to be run.
const TODO: [TaskState; 3] = [TaskState::Blocked, TaskState::Delayed, TaskState::Ready];

/// The sections of `checkTask`, in the original's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Todo,
    InProgress,
    Finished,
    Failed,
    Reasons,
}

impl Section {
    pub(super) const ALL: [Self; 5] =
        [Self::Todo, Self::InProgress, Self::Finished, Self::Failed, Self::Reasons];

    /// The line above it.
    pub(super) fn banner(self) -> String {
        let title = match self {
            Self::Todo => "  todo task  ",
            Self::InProgress => "  in_progress task  ",
            Self::Finished => "  finished task  ",
            Self::Failed => "  failed task  ",
            Self::Reasons => "  task fail reason ",
        };
        format!("{RULE}{title}{RULE}")
    }

    fn states(self) -> StateSet {
        match self {
            Self::Todo => TODO.into_iter().collect(),
            Self::InProgress => StateSet::NONE.with(TaskState::Leased),
            Self::Finished => StateSet::NONE.with(TaskState::Done),
            Self::Failed | Self::Reasons => StateSet::NONE.with(TaskState::Failed),
        }
    }

    pub(super) fn is_shown(self, shown: &Shown) -> bool {
        match self {
            Self::Todo => shown.todo,
            Self::InProgress => shown.in_progress,
            Self::Finished => shown.finished,
            Self::Failed => shown.failed,
            Self::Reasons => shown.failed_reason,
        }
    }

    /// Whether what tasks wrote is part of it.
    fn needs_output(self, shown: &Shown) -> bool {
        self == Self::Reasons || self == Self::Finished && shown.print_result
    }

    /// The line of a task.
    fn line(self, row: &TaskRow<'_>, shown: &Shown) -> String {
        let task = text(row);
        match self {
            Self::Todo => task,
            Self::InProgress => format!("{task}:         {}", lossy(row.worker)),
            Self::Finished if shown.print_result => format!("{task}:         {}", result(row)),
            Self::Finished => task,
            Self::Failed => format!("{task}:         {}", failed_on(row)),
            Self::Reasons => format!("{task}:         {}", fail_reason(row)),
        }
    }
}

/// The counts of the first line. Cancelled tasks have no place in the original's, so they are only
/// spoken of if there are any.
pub(super) fn heading(counts: &StateCounts) -> String {
    let todo: u64 = TODO.into_iter().map(|state| counts[state]).sum();
    let mut text = format!(
        "{todo} todo tasks, {} in_progress tasks, {} finished tasks, {} failed tasks",
        counts[TaskState::Leased],
        counts[TaskState::Done],
        counts[TaskState::Failed],
    );
    if counts[TaskState::Cancelled] > 0 {
        text += &format!(", {} cancelled tasks", counts[TaskState::Cancelled]);
    }
    text
}

/// `checkTask`.
pub(super) fn tasks(
    client: &mut TaskClient,
    job: JobId,
    counts: &StateCounts,
    shown: &Shown,
) -> anyhow::Result<()> {
    let mut out = BufWriter::new(std::io::stdout());
    let mut written = writeln!(out, "{}\n", heading(counts));
    for section in Section::ALL.into_iter().filter(|section| section.is_shown(shown)) {
        if section == Section::Reasons && counts[TaskState::Failed] == 0 {
            continue;
        }
        written = written.and_then(|()| writeln!(out, "{}", section.banner()));
        let selection = OwnedSelection {
            states: section.states(),
            job: Some(job),
            include: shown.include.clone().into_bytes(),
            exclude: shown.exclude.clone().into_bytes(),
            ..OwnedSelection::default()
        };
        client.rows(&selection, PAGE, section.needs_output(shown), |row| {
            let line = section.line(row, shown);
            let outcome = writeln!(out, "{line}");
            if outcome.is_err() {
                written = outcome;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if written.is_err() {
            break;
        }
    }
    match written.and_then(|()| out.flush()) {
        // Whoever reads it has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}

pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A task in the original's words.
fn text(row: &TaskRow<'_>) -> String {
    let what = What::of(row.payload);
    let Some(kind) = what.kind else { return format!("task {}", row.id) };
    let text = TaskText {
        kind,
        priority: row.priority,
        memory: row.memory,
        cores_milli: row.cores_milli,
        command: what.command,
    };
    text.to_string()
}

/// Worker and output of a finished task: the output is a string in JSON.
fn result(row: &TaskRow<'_>) -> String {
    let worker = lossy(row.worker);
    let Some(end) = &row.end else { return format!("{worker}: \"\"") };
    if end.stdout.bytes >= RESULT_BYTES_MAX {
        return format!("{worker}: stdout is too large");
    }
    format!("{worker}: {}", serde_json::Value::String(lossy(end.stdout.tail).trim().to_owned()))
}

/// Names of workers, a comma behind each.
fn failed_on(row: &TaskRow<'_>) -> String {
    let names = if row.failed_on.is_empty() { row.worker } else { row.failed_on };
    let mut text = lossy(names).trim_end_matches(',').to_owned();
    text.push(',');
    text
}

/// What a failed task wrote about it, as a string in JSON; else how it ended, which the original
/// does not say.
fn fail_reason(row: &TaskRow<'_>) -> String {
    let Some(end) = &row.end else { return "\"\"".to_owned() };
    let text = lossy(end.stderr.tail);
    let text = if end.stderr.bytes >= RESULT_BYTES_MAX {
        let cut = text.floor_char_boundary(REASON_BYTES_MAX.min(text.len()));
        format!("stderr is too large. {}", &text[..cut])
    } else if text.trim().is_empty() {
        format!("({})", end.summary())
    } else {
        text.trim().to_owned()
    };
    serde_json::Value::String(text).to_string()
}

/// `checkWorker`.
pub(super) fn workers(workers: &[OwnedWorker], shown: &Shown) -> String {
    let mut workers: Vec<(String, &OwnedWorker)> =
        workers.iter().map(|worker| (lossy(&worker.name), worker)).collect();
    workers.sort_by(|(left, _), (right, _)| left.cmp(right));
    let mut text = line(&HEAD);
    for (name, worker) in workers.iter().filter(|(name, _)| shown.fits(name)) {
        let cores = |milli: u32| format!("{:.2}", f64::from(milli) / 1e3);
        let gigabytes = |bytes: u64| format!("{:.2}", bytes as f64 / GIGABYTE);
        let total = worker.capacity.memory;
        text += &line(&[
            name,
            &since(worker.heard).as_secs().to_string(),
            &cores(worker.cores_used_milli),
            &cores(worker.capacity.cores_milli),
            &gigabytes(total.saturating_sub(worker.memory_free)),
            &gigabytes(total),
            &worker.running.to_string(),
            &worker.done.to_string(),
        ]);
    }
    text
}

/// The columns as wide as the original's.
pub(super) fn line(cells: &[&str; 8]) -> String {
    let mut text = format!("{:12}", cells[0]);
    for cell in &cells[1..] {
        text += &format!(" {cell:>12}");
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_runtime::tasks::{
        Attempt, Captured, EndKind, PayloadKind, TaskEnd, TaskId, TaskKey, TaskPayload, TaskTimes,
        Variables,
    };

    fn end<'a>(stdout: &'a [u8], stderr: &'a [u8]) -> TaskEnd<'a> {
        let captured = |tail: &'a [u8]| Captured { bytes: tail.len() as u64, tail };
        TaskEnd {
            kind: EndKind::Exited,
            code: 1,
            waited_ns: 0,
            ran_ns: 0,
            cpu_ns: 0,
            memory: 0,
            stdout: captured(stdout),
            stderr: captured(stderr),
        }
    }

    fn row<'a>(payload: &'a [u8], end: Option<TaskEnd<'a>>) -> TaskRow<'a> {
        TaskRow {
            id: TaskId::new(0, 7),
            key: TaskKey(1),
            job: JobId(1),
            state: TaskState::Failed,
            is_ahead: false,
            priority: 4,
            memory: 2 << 30,
            cores_milli: 2000,
            timeout_ms: 0,
            attempt: Attempt(1),
            failures: 1,
            attempts_max: 1,
            times: TaskTimes { submitted: 5, leased: 6, ended: 7, due: 0 },
            worker: b"node1",
            payload,
            end,
            failed_on: b"node1,node2",
        }
    }

    fn payload() -> Vec<u8> {
        let (kind, variables) = (PayloadKind::Shell, Variables::default());
        let mut bytes = Vec::new();
        TaskPayload { kind, name: b"", cwd: b"", command: b"./run", variables }
            .write_to(&mut bytes);
        bytes
    }

    #[test]
    fn lines_are_those_of_the_original() {
        let bytes = payload();
        let row = row(&bytes, Some(end(b"caf\xc3\xa9 \"1\"\n", b"no \xff\n")));
        let shown = Shown::default();
        let task = "task_type: shell, priority: 4, min_dram_gb: 2, require_cpu_core: 2, \
                    task_params: ./run";
        assert_eq!(Section::Todo.line(&row, &shown), task);
        assert_eq!(Section::InProgress.line(&row, &shown), format!("{task}:         node1"));
        let result = "node1: \"caf\u{e9} \\\"1\\\"\"";
        assert_eq!(Section::Finished.line(&row, &shown), format!("{task}:         {result}"));
        assert_eq!(Section::Failed.line(&row, &shown), format!("{task}:         node1,node2,"));
        let reason = "\"no \u{fffd}\"";
        assert_eq!(Section::Reasons.line(&row, &shown), format!("{task}:         {reason}"));
    }

    #[test]
    fn defect_17_a_task_that_failed_without_a_word_still_has_a_reason() {
        let bytes = payload();
        assert_eq!(fail_reason(&row(&bytes, Some(end(b"", b"\n")))), "\"(exit code 1)\"");
    }

    #[test]
    fn the_first_line_counts_what_the_original_counts() {
        let mut counts = StateCounts::default();
        counts[TaskState::Ready] = 2;
        counts[TaskState::Delayed] = 1;
        counts[TaskState::Done] = 5;
        let text = "3 todo tasks, 0 in_progress tasks, 5 finished tasks, 0 failed tasks";
        assert_eq!(heading(&counts), text);
        counts[TaskState::Cancelled] = 4;
        assert!(heading(&counts).ends_with(", 4 cancelled tasks"));
    }
}
