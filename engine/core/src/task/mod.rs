//! The task farm's rules: a queue of tasks, and a worker that runs them.
//!
//! A [`TaskQueue`] holds the tasks of named jobs and pushes leases to workers as their credit
//! allows; a [`TaskWorker`] decides what runs when. Both are state machines without I/O, like
//! everything here. The rules stand in `docs/tasks.md`.

mod queue;
mod worker;

pub use queue::{
    LatencyBuckets, Party, TaskLatencies, TaskMutation, TaskQueue, TaskQueueConfig, TaskQueueStats,
    TaskReplay, TooManyParties, describe_record,
};
pub use worker::*;
