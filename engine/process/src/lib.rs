//! Runs the tasks of the farm as processes: started, watched, measured, and never left behind.
//!
//! A [`ProcessRunner`] is the [`TaskRunner`](punctual_runtime::tasks::TaskRunner) of a real worker.
//! Each task is a process in a session of its own, started by the quickest way that there is
//! (`vfork` and `exec`, and no shell where the command needs none) and watched by descriptors in
//! the event loop of the worker's thread: nothing polls, and nothing waits.
//!
//! What a task writes is read while it runs; the end of it is kept in memory and, if wanted, all of
//! it in files of the task's own directory. However much it writes, memory stays bounded and the
//! other tasks go on.
//!
//! Nothing of a task survives it. When its process ends, whatever else is in its group is killed at
//! once, and what has left the group within the session soon after; when the worker's thread ends,
//! the kernel kills the processes of its tasks; and when the worker is killed, its *guardian*, a
//! second process that does nothing else, kills what the tasks themselves have started (see
//! [`guardian_main`]).
//!
//! Linux only, from 5.4 on.

#![deny(unsafe_code)]

mod cgroup;
mod command;
mod config;
mod environment;
mod error;
mod guardian;
mod machine;
mod output;
mod procs;
mod run;
mod runner;
mod strings;
mod sys;
mod usage;

pub use config::ProcessConfig;
pub use error::ProcessError;
pub use guardian::{guard, guardian_main};
pub use machine::Capacity;
pub use runner::{ProcessRunner, raise_file_limit};
