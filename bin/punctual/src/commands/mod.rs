//! The subcommands.

pub(crate) mod bench;
pub(crate) mod env;
mod http;
pub(crate) mod journal;
mod output;
pub(crate) mod owd;
pub(crate) mod report;
pub(crate) mod serve;
pub(crate) mod sim;
pub(crate) mod study;
pub(crate) mod task;
mod token;
pub(crate) mod top;

use punctual_dashboard::{DashboardError, VisitError};
use punctual_load::BenchError;
use punctual_load::pingpong::PingPongError;
use punctual_process::ProcessError;
use punctual_redis::RedisError;
use punctual_runtime::config::ConfigError;
use punctual_runtime::tasks::{TaskClientError, TaskServerError, TaskWorkerError};
use punctual_runtime::{EngineError, JournalError};
use punctual_taskfile::{ConfError, TaskFileError};

/// The work failed.
const FAILED: u8 = 1;
/// The program was called or configured wrongly.
const USAGE: u8 = 2;

/// A mistake of the user, said in one line.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// The exit code of an error.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    let usage = error.chain().any(|cause| {
        cause.is::<UsageError>()
            || cause.is::<ConfigError>()
            || cause.downcast_ref::<EngineError>().is_some_and(EngineError::is_usage)
            || cause.downcast_ref::<JournalError>().is_some_and(JournalError::is_usage)
            || cause.downcast_ref::<BenchError>().is_some_and(BenchError::is_usage)
            || cause.downcast_ref::<PingPongError>().is_some_and(PingPongError::is_usage)
            || cause.downcast_ref::<DashboardError>().is_some_and(DashboardError::is_usage)
            || cause.downcast_ref::<VisitError>().is_some_and(VisitError::is_usage)
            || study::is_usage(cause)
            || is_usage_of_tasks(cause)
    });
    if usage { USAGE } else { FAILED }
}

/// Whether the user can mend an error of the task farm by calling the program otherwise.
fn is_usage_of_tasks(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<ConfError>()
        || cause.downcast_ref::<TaskServerError>().is_some_and(TaskServerError::is_usage)
        || cause.downcast_ref::<TaskClientError>().is_some_and(TaskClientError::is_usage)
        || cause.downcast_ref::<TaskWorkerError>().is_some_and(TaskWorkerError::is_usage)
        || cause.downcast_ref::<RedisError>().is_some_and(RedisError::is_usage)
        || matches!(cause.downcast_ref::<TaskFileError>(), Some(TaskFileError::Open { .. }))
        || matches!(cause.downcast_ref::<ProcessError>(), Some(ProcessError::TaskDirs { .. }))
}
