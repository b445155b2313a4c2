//! How a task is started.

use super::ProcessRunner;
use super::watch::{Source, token};
use crate::environment::Environment;
use crate::error::LaunchError;
use crate::output::Stream;
use crate::run::Run;
use crate::strings::NulInside;
use crate::sys::Orders;
use punctual_core::Nanos;
use punctual_core::task::Lease;
use punctual_wire::task::{PayloadKind, TaskPayload};
use rustix::event::epoll;
use rustix::io::Errno;
use std::ffi::CString;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Names of the files of the outputs.
const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";
/// Who may look into the directory of a task: who runs it.
const FOLDER_MODE: u32 = 0o700;

impl ProcessRunner {
    pub(super) fn try_launch(&mut self, now: Nanos, lease: &Lease) -> Result<(), LaunchError> {
        let payload = TaskPayload::read(&lease.payload)?;
        if payload.kind == PayloadKind::Noop {
            self.done.push_back(lease.run);
            return Ok(());
        }
        let folder = self.make_folder(lease)?;
        let run = self.start_process(now, lease, &payload, folder.clone()).inspect_err(|_| {
            if let Some(folder) = &folder {
                let _ = std::fs::remove_dir(folder);
            }
        })?;
        if let Err(error) = self.watch(lease.run.0, &run) {
            run.abandon(Instant::now() + super::DROP_PATIENCE);
            return Err(LaunchError::Pipes(error));
        }
        if let Some(guardian) = &mut self.guardian {
            guardian.add(run.session());
        }
        // If another one had the number, nothing of that is left.
        self.left.remove(&run.session());
        self.runs.insert(lease.run.0, run);
        self.flush_guardian();
        self.sampler.wake(now);
        Ok(())
    }

    fn start_process(
        &mut self,
        now: Nanos,
        lease: &Lease,
        payload: &TaskPayload<'_>,
        folder: Option<PathBuf>,
    ) -> Result<Run, LaunchError> {
        let environment = self.environment(lease, payload, folder.as_deref())?;
        let nul = |what| move |source| LaunchError::Nul { what, source };
        let TaskPayload { kind, command, cwd, .. } = *payload;
        let steps = self.tools.steps(kind, command, &environment).map_err(nul("command"))?;
        let directory = if cwd.is_empty() {
            None
        } else {
            Some(CString::new(cwd).map_err(|_| NulInside).map_err(nul("directory"))?)
        };
        let (stdout, stdout_end) = self.stream(STDOUT, folder.as_deref())?;
        let (stderr, stderr_end) = self.stream(STDERR, folder.as_deref())?;
        let orders = Orders {
            steps: &steps,
            environment: environment.strings(),
            directory: directory.as_deref(),
            stdio: [self.null.as_fd(), stdout_end.as_fd(), stderr_end.as_fd()],
            dies_with_parent: true,
            files: self.files,
            cores: self.cores.as_ref().filter(|_| self.are_cores_others),
        };
        let child = self.spawner.spawn(&orders).map_err(|error| {
            LaunchError::of_spawn(error, self.tools.program(kind, command), cwd)
        })?;
        Ok(Run::new(child, now, [stdout, stderr], folder))
    }

    /// An output with the end that the task gets.
    fn stream(&self, name: &str, folder: Option<&Path>) -> Result<(Stream, OwnedFd), LaunchError> {
        let file = folder.map(|folder| folder.join(name));
        Stream::new(self.config.output_tail_bytes, file, self.config.output_file_bytes_max)
            .map_err(LaunchError::Pipes)
    }

    /// Has everything told that the run says from now on.
    fn watch(&self, run: u64, watched: &Run) -> io::Result<()> {
        let [stdout, stderr] = watched.pipes();
        let fds = [
            (Some(watched.pidfd()), Source::Process),
            (stdout, Source::Stdout),
            (stderr, Source::Stderr),
        ];
        for (fd, source) in fds {
            if let Some(fd) = fd {
                let data = epoll::EventData::new_u64(token(run, source));
                epoll::add(&self.events, fd, data, epoll::EventFlags::IN)?;
            }
        }
        Ok(())
    }

    /// The task's own directory, which nobody else can look into. One that is there already is of
    /// the same attempt, from before the worker was started again, or of a queue that counted from
    /// the start again: it is used as it is, but for the outputs of before.
    fn make_folder(&self, lease: &Lease) -> Result<Option<PathBuf>, LaunchError> {
        let Some(dirs) = &self.config.task_dirs else { return Ok(None) };
        let folder = dirs.join(format!("{}.{}", lease.task, lease.attempt.0));
        let made = match DirBuilder::new().mode(FOLDER_MODE).create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.reuse(&folder),
            made => made,
        };
        match made {
            Ok(()) => Ok(Some(folder)),
            Err(source) => Err(LaunchError::TaskDir { dir: folder, source }),
        }
    }

    fn reuse(&self, folder: &Path) -> io::Result<()> {
        // A link might lead anywhere.
        if !folder.symlink_metadata()?.is_dir() {
            return Err(Errno::NOTDIR.into());
        }
        if self.config.output_file_bytes_max > 0 {
            for name in [STDOUT, STDERR] {
                // What is not there is as good; and what cannot be removed cannot be written.
                let _ = std::fs::remove_file(folder.join(name));
            }
        }
        Ok(())
    }

    fn environment(
        &self,
        lease: &Lease,
        payload: &TaskPayload<'_>,
        folder: Option<&Path>,
    ) -> Result<Environment, LaunchError> {
        let id = lease.task.to_string();
        let attempt = lease.attempt.0.to_string();
        let memory = lease.memory.to_string();
        let cores = cores(lease.cores_milli);
        let priority = lease.priority.to_string();
        let mut ours = vec![
            ("PUNCTUAL_WORKER", self.config.worker.as_bytes()),
            ("PUNCTUAL_TASK_ID", id.as_bytes()),
            ("PUNCTUAL_TASK_ATTEMPT", attempt.as_bytes()),
            ("PUNCTUAL_TASK_JOB", &lease.job[..]),
            ("PUNCTUAL_TASK_NAME", payload.name),
            ("PUNCTUAL_TASK_MEMORY", memory.as_bytes()),
            ("PUNCTUAL_TASK_CORES", cores.as_bytes()),
            ("PUNCTUAL_TASK_PRIORITY", priority.as_bytes()),
        ];
        if let Some(folder) = folder {
            ours.push(("PUNCTUAL_TASK_DIR", folder.as_os_str().as_bytes()));
        }
        self.inherited.for_task(payload.variables, &ours)
    }
}

/// Thousandths of a core as a number of cores: `2`, `0.5`.
fn cores(milli: u32) -> String {
    let text = format!("{}.{:03}", milli / 1_000, milli % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::cores;

    #[test]
    fn cores_are_told_as_people_write_them() {
        let told = [0, 1, 250, 500, 1_000, 1_500, 10_000, 12_340].map(cores);
        assert_eq!(told, ["0", "0.001", "0.25", "0.5", "1", "1.5", "10", "12.34"]);
    }
}
