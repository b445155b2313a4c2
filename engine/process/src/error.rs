//! What can go wrong, with a runner and with the start of a task.

use crate::strings::NulInside;
use crate::sys::{SpawnError, Stage};
use punctual_core::task::Exit;
use punctual_wire::WireError;
use punctual_wire::task::EndKind;
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What the system says when it has no more of something: open files of this process and of the
/// machine, memory, processes, disk space, and the user's share of that.
const SHORTAGES: [Errno; 6] =
    [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::NOSPC, Errno::DQUOT];

/// Why there is no [`ProcessRunner`](crate::ProcessRunner).
#[derive(Debug, Error)]
pub enum ProcessError {
    /// The directory for the tasks' directories cannot be used.
    #[error(
        "the directory for tasks, {dir}, cannot be used: {source}; choose one that this user can \
         write to, or run without directories"
    )]
    TaskDirs {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refuses what it takes to watch processes.
    #[error("{what} cannot be had: {source}; raise the limit of open files (ulimit -n)")]
    Resource {
        /// What was asked for.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The guardian cannot be started.
    #[error("the guardian of the tasks cannot be started: {0}; run without it if need be")]
    Guardian(#[source] io::Error),
}

/// Why a task was not started.
#[derive(Debug, Error)]
pub(crate) enum LaunchError {
    #[error("what is to be run cannot be read: {0}; submit it with a program of this version")]
    Payload(#[from] WireError),
    #[error("its {what} cannot be passed to a process: {source}")]
    Nul { what: &'static str, source: NulInside },
    #[error("a variable of its environment has the name {0:?}; a name has neither '=' nor NUL")]
    VariableName(String),
    #[error(
        "its directory {dir} cannot be made: {source}; give the worker another place, or free some \
         space"
    )]
    TaskDir { dir: PathBuf, source: io::Error },
    #[error(
        "no pipes for its output: {0}; raise the limit of open files (ulimit -n), or give the \
         worker fewer slots"
    )]
    Pipes(#[source] io::Error),
    #[error("no process can be had: {0}; the worker may have reached its limit of processes")]
    Process(#[source] io::Error),
    #[error("its process could not be prepared: {0}")]
    Prepare(#[source] io::Error),
    #[error("it cannot run in {dir}: {source}; the directory must be there on every worker")]
    Directory { dir: String, source: io::Error },
    #[error("{program} cannot be run: {source}; install it on this worker, or set another one")]
    Program { program: String, source: io::Error },
}

impl LaunchError {
    /// What the failed start of a process means for a task that was to run `program` in `dir`.
    pub(crate) fn of_spawn(error: SpawnError, program: &Path, dir: &[u8]) -> Self {
        let source = io::Error::from(error.errno);
        match error.stage {
            Stage::Process => Self::Process(source),
            Stage::Prepare => Self::Prepare(source),
            Stage::Directory => {
                Self::Directory { dir: String::from_utf8_lossy(dir).into_owned(), source }
            }
            Stage::Program => Self::Program { program: program.display().to_string(), source },
        }
    }

    /// The system's number of the error, or the one that says the same.
    fn code(&self) -> i32 {
        match self {
            Self::Payload(_) | Self::Nul { .. } | Self::VariableName(_) => {
                Errno::INVAL.raw_os_error()
            }
            Self::TaskDir { source, .. }
            | Self::Directory { source, .. }
            | Self::Program { source, .. }
            | Self::Pipes(source)
            | Self::Process(source)
            | Self::Prepare(source) => source.raw_os_error().unwrap_or(Errno::IO.raw_os_error()),
        }
    }

    /// Whether this machine is short of what any task takes, now and for whoever asks. Another
    /// machine may have it, and this one may have it later: no task has failed by that. Once there
    /// is a process, whatever is wrong is the task's own.
    pub(crate) fn is_shortage(&self) -> bool {
        let (Self::TaskDir { source, .. } | Self::Pipes(source) | Self::Process(source)) = self
        else {
            return false;
        };
        SHORTAGES.into_iter().any(|errno| source.raw_os_error() == Some(errno.raw_os_error()))
    }

    /// The report of it.
    pub(crate) fn into_exit(self) -> Exit {
        let is_shortage = self.is_shortage();
        let stderr = format!("punctual: the task was not started: {self}\n").into_bytes();
        Exit {
            kind: EndKind::NotStarted,
            code: self.code(),
            ran_ns: 0,
            cpu_ns: 0,
            memory: 0,
            stdout_bytes: 0,
            stdout: Vec::new(),
            stderr_bytes: stderr.len() as u64,
            stderr,
            is_shortage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(errno: Errno) -> io::Error {
        errno.into()
    }

    #[test]
    fn what_the_machine_has_no_more_of_is_a_shortage_and_no_failure_of_the_task() {
        for errno in SHORTAGES {
            let exit = LaunchError::Pipes(of(errno)).into_exit();
            assert!(exit.is_shortage, "{errno}");
            assert_eq!((exit.kind, exit.code), (EndKind::NotStarted, errno.raw_os_error()));
        }
        let dir = PathBuf::from("work");
        assert!(LaunchError::TaskDir { dir, source: of(Errno::NOSPC) }.is_shortage());
        let spawn = SpawnError { stage: Stage::Process, errno: Errno::AGAIN };
        assert!(LaunchError::of_spawn(spawn, Path::new("sh"), b"").is_shortage());
    }

    #[test]
    fn what_the_task_asks_for_and_cannot_have_is_its_own_failure() {
        let dir = PathBuf::from("work");
        assert!(!LaunchError::TaskDir { dir, source: of(Errno::NOTDIR) }.is_shortage());
        for stage in [Stage::Prepare, Stage::Directory, Stage::Program] {
            let spawn = SpawnError { stage, errno: Errno::NOMEM };
            let error = LaunchError::of_spawn(spawn, Path::new("sh"), b"");
            assert!(!error.is_shortage(), "{error}");
        }
        assert!(!LaunchError::VariableName("A=B".to_owned()).into_exit().is_shortage);
        assert!(!LaunchError::Process(of(Errno::PERM)).is_shortage());
    }
}
