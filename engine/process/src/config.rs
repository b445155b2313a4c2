//! What a runner is told.

use punctual_wire::task::OUTPUT_BYTES_MAX;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Bytes of an output that are written to a file, if nothing else is said.
const OUTPUT_FILE_BYTES_MAX: u64 = 64 << 20;

/// How a [`ProcessRunner`](crate::ProcessRunner) runs tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessConfig {
    /// Name of the worker, which its tasks see as `PUNCTUAL_WORKER`, until the queue gives it
    /// another one.
    pub worker: String,
    /// What runs `shell` tasks that need a shell.
    pub shell: PathBuf,
    /// What runs `python` tasks.
    pub python: PathBuf,
    /// Run a command without the shell where that makes no difference but to the time it takes.
    pub exec_directly: bool,
    /// Where each task gets a directory of its own, `TASK.ATTEMPT`, which it sees as
    /// `PUNCTUAL_TASK_DIR`. It is removed when the task leaves it empty. `None`: there is none.
    pub task_dirs: Option<PathBuf>,
    /// As many bytes of each output are also written to the files `stdout` and `stderr` in the
    /// directory of the task, if it has one. 0: there are no such files.
    pub output_file_bytes_max: u64,
    /// As many bytes of the end of each output are reported, at most what a report can carry.
    pub output_tail_bytes: usize,
    /// How often memory and processor time are looked at while something runs.
    pub sample_interval: Duration,
    /// Arguments with which this program, started a second time, calls
    /// [`guardian_main`](crate::guardian_main). `None`: there is no guardian, and what a task has
    /// started may outlive a worker that is killed.
    pub guardian: Option<Vec<OsString>>,
}

impl ProcessConfig {
    /// The usual for a worker of this name: no directories and no guardian.
    #[must_use]
    pub fn new(worker: impl Into<String>) -> Self {
        Self {
            worker: worker.into(),
            shell: PathBuf::from("/bin/sh"),
            python: PathBuf::from("python3"),
            exec_directly: true,
            task_dirs: None,
            output_file_bytes_max: OUTPUT_FILE_BYTES_MAX,
            output_tail_bytes: OUTPUT_BYTES_MAX,
            sample_interval: Duration::from_secs(1),
            guardian: None,
        }
    }
}
