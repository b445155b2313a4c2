//! Tasks and workers as programs read them: in the answers of the dashboard, and line by line from
//! `punctual task ... --json`. Times are nanoseconds, moments since 1970, and `null` if they have
//! not come; what is no UTF-8 is replaced.

use punctual_runtime::tasks::{
    Captured, EndKind, JobId, OwnedWorker, StateCounts, TaskEnd, TaskPayload, TaskRow, TaskState,
};
use serde::Serialize;
use std::io;
use std::time::Duration;

/// How many tasks are in each state.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct CountsDocument {
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

/// A worker.
#[derive(Debug, Serialize)]
pub struct WorkerDocument {
    name: String,
    host: String,
    pid: u32,
    state: &'static str,
    slots: u32,
    memory_bytes: u64,
    cores: f64,
    prefetch: u32,
    running: u32,
    ahead: u32,
    done: u64,
    failed: u64,
    lost: u64,
    memory_free_bytes: u64,
    cores_used: f64,
    /// Of its tasks; 0 if it is not known.
    mean_ns: u64,
    enlisted_ns: i64,
    heard_ns: i64,
}

/// How it is with a worker, in a word.
#[must_use]
pub fn worker_state(worker: &OwnedWorker) -> &'static str {
    match (worker.is_linked, worker.capacity.is_draining) {
        (false, _) => "lost",
        (true, true) => "draining",
        (true, false) if worker.running > 0 => "busy",
        (true, false) => "idle",
    }
}

impl From<&OwnedWorker> for WorkerDocument {
    fn from(worker: &OwnedWorker) -> Self {
        let cores = |milli: u32| f64::from(milli) / 1e3;
        Self {
            name: text(&worker.name),
            host: text(&worker.host),
            pid: worker.pid,
            state: worker_state(worker),
            slots: worker.capacity.slots,
            memory_bytes: worker.capacity.memory,
            cores: cores(worker.capacity.cores_milli),
            prefetch: worker.capacity.prefetch,
            running: worker.running,
            ahead: worker.ahead,
            done: worker.done,
            failed: worker.failed,
            lost: worker.lost,
            memory_free_bytes: worker.memory_free,
            cores_used: cores(worker.cores_used_milli),
            mean_ns: worker.mean_ns,
            enlisted_ns: worker.enlisted,
            heard_ns: worker.heard,
        }
    }
}

/// A task.
#[derive(Debug, Serialize)]
pub struct TaskDocument {
    pub(crate) id: String,
    /// Hash of its text or name: 32 hexadecimal digits.
    key: String,
    /// The name of its job, which rows do not have.
    pub(crate) job: String,
    #[serde(rename = "job_id", serialize_with = "number_of")]
    pub(crate) job_id: JobId,
    state: &'static str,
    /// A worker has it, but it has not started.
    is_ahead: bool,
    name: String,
    /// What runs it.
    runs: &'static str,
    /// In a list, the beginning of a long one.
    command: String,
    command_bytes: usize,
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

/// How an attempt ended.
#[derive(Debug, Serialize)]
struct EndDocument {
    how: &'static str,
    code: i32,
    /// The same in words.
    reason: String,
    waited_ns: u64,
    ran_ns: u64,
    cpu_ns: u64,
    memory_bytes: u64,
    /// All that it wrote; what was kept is the end of it.
    stdout_bytes: u64,
    stderr_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<String>,
}

fn number_of<S: serde::Serializer>(job: &JobId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(job.0)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl TaskDocument {
    /// The document of a row of a job of this name, with what the task wrote if that is wanted.
    #[must_use]
    pub fn new(row: &TaskRow<'_>, job: &str, with_output: bool) -> Self {
        let what = TaskPayload::read(row.payload).ok();
        let command = what.as_ref().map_or(&[][..], |what| what.command);
        let moment = |ns: i64| (ns != 0).then_some(ns);
        let part = |of: fn(&TaskPayload<'_>) -> String| what.as_ref().map(of).unwrap_or_default();
        let failed_on = row.failed_on.split(|byte| *byte == b',').filter(|name| !name.is_empty());
        Self {
            id: row.id.to_string(),
            key: format!("{:032x}", row.key.0),
            job: job.to_owned(),
            job_id: row.job,
            state: row.state.name(),
            is_ahead: row.is_ahead,
            name: part(|what| text(what.name)),
            runs: what.as_ref().map_or("unknown", |what| what.kind.name()),
            command: text(command),
            command_bytes: command.len(),
            cwd: part(|what| text(what.cwd)),
            priority: row.priority,
            memory_bytes: row.memory,
            cores: f64::from(row.cores_milli) / 1e3,
            timeout_ms: row.timeout_ms,
            attempt: row.attempt.0,
            failures: row.failures,
            attempts_max: row.attempts_max,
            worker: text(row.worker),
            failed_on: failed_on.map(text).collect(),
            submitted_ns: moment(row.times.submitted),
            leased_ns: moment(row.times.leased),
            ended_ns: moment(row.times.ended),
            due_ns: moment(row.times.due),
            end: row.end.as_ref().map(|end| EndDocument::new(end, with_output)),
        }
    }
}

impl TaskDocument {
    /// The document for a list: without what the task wrote, and with the beginning of a command
    /// that is longer than this.
    #[must_use]
    pub fn listed(row: &TaskRow<'_>, job: &str, bytes_max: usize) -> Self {
        let mut document = Self::new(row, job, false);
        if document.command.len() > bytes_max {
            document.command.truncate(document.command.floor_char_boundary(bytes_max));
        }
        document
    }
}

impl EndDocument {
    fn new(end: &TaskEnd<'_>, with_output: bool) -> Self {
        let output = |captured: &Captured<'_>| with_output.then(|| text(captured.tail));
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
            stdout: output(&end.stdout),
            stderr: output(&end.stderr),
        }
    }
}

/// How a run ended, for people.
#[must_use]
pub fn reason(end: &TaskEnd<'_>) -> String {
    match end.kind {
        EndKind::TimedOut => {
            let ran = Duration::from_nanos(end.ran_ns).as_secs_f64();
            format!("killed by its timeout, after {ran:.1} s")
        }
        EndKind::NotStarted if end.code > 0 => {
            format!("could not be started: {}", io::Error::from_raw_os_error(end.code))
        }
        _ => end.summary().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_runtime::tasks::{
        Attempt, PayloadKind, TaskId, TaskKey, TaskState, TaskTimes, Variables,
    };

    fn end(kind: EndKind, code: i32) -> TaskEnd<'static> {
        TaskEnd {
            kind,
            code,
            waited_ns: 1,
            ran_ns: 2_500_000_000,
            cpu_ns: 3,
            memory: 4,
            stdout: Captured { bytes: 3, tail: b"out" },
            stderr: Captured { bytes: 1_000, tail: b"bad \xff" },
        }
    }

    fn row<'a>(payload: &'a [u8], end: Option<TaskEnd<'a>>) -> TaskRow<'a> {
        TaskRow {
            id: TaskId(7),
            key: TaskKey(0xab),
            job: JobId(3),
            state: TaskState::Failed,
            is_ahead: false,
            priority: -1,
            memory: 1 << 20,
            cores_milli: 1_500,
            timeout_ms: 0,
            attempt: Attempt(2),
            failures: 2,
            attempts_max: 2,
            times: TaskTimes { submitted: 5, leased: 6, ended: 7, due: 0 },
            worker: b"w1",
            payload,
            end,
            failed_on: b"w0,w1",
        }
    }

    #[test]
    fn a_task_is_shown_with_its_output_only_if_that_is_wanted() {
        let mut payload = Vec::new();
        let what = TaskPayload {
            kind: PayloadKind::Shell,
            name: b"first",
            cwd: b"",
            command: b"exit 3",
            variables: Variables::default(),
        };
        what.write_to(&mut payload);
        let row = row(&payload, Some(end(EndKind::Exited, 3)));
        let shown = |is_whole| {
            let document = TaskDocument::new(&row, "sweep", is_whole);
            serde_json::to_value(document).expect("it is plain data")
        };
        let with = shown(true);
        assert_eq!(with["id"], "7");
        assert_eq!((&with["job_id"], &with["state"]), (&3.into(), &"failed".into()));
        assert_eq!((&with["name"], &with["command"]), (&"first".into(), &"exit 3".into()));
        assert_eq!(with["failed_on"], serde_json::json!(["w0", "w1"]));
        assert_eq!((&with["cores"], &with["due_ns"]), (&1.5.into(), &serde_json::Value::Null));
        assert_eq!(with["end"]["reason"], "exit code 3");
        assert_eq!(with["end"]["stderr"], "bad \u{fffd}");
        assert_eq!(with["end"]["stderr_bytes"], 1_000);
        assert!(shown(false)["end"].get("stdout").is_none());
    }

    #[test]
    fn a_long_command_is_cut_in_a_list_and_whole_alone() {
        let command = vec![b'x'; 100_000];
        let what = TaskPayload {
            kind: PayloadKind::Python,
            name: b"",
            cwd: b"",
            command: &command,
            variables: Variables::default(),
        };
        let mut payload = Vec::new();
        what.write_to(&mut payload);
        let row = row(&payload, None);
        let (listed, alone) =
            (TaskDocument::listed(&row, "", 1_000), TaskDocument::new(&row, "", true));
        for (document, shown) in [(listed, 1_000), (alone, command.len())] {
            assert_eq!((document.command.len(), document.command_bytes), (shown, command.len()));
        }
    }

    #[test]
    fn a_payload_that_cannot_be_read_and_every_end_have_words() {
        let strange = TaskDocument::new(&row(b"?", None), "", true);
        assert_eq!((strange.runs, strange.command.as_str()), ("unknown", ""));
        for kind in EndKind::ALL {
            assert!(!reason(&end(kind, 2)).is_empty());
        }
        assert!(reason(&end(EndKind::TimedOut, 0)).contains("2.5 s"));
        assert!(reason(&end(EndKind::NotStarted, 2)).contains("No such file"));
    }
}
