//! The messages of the task farm: what a task queue, its workers and its clients tell each other.
//!
//! Messages to a queue travel in [`FrameKind::Task`](crate::FrameKind::Task) frames, those from it
//! in [`FrameKind::TaskPush`](crate::FrameKind::TaskPush) frames. All begin with a byte that says
//! what they are; texts and payloads are read where they lie.

mod capacity;
mod fault;
mod ids;
mod latencies;
mod parts;
mod payload;
mod push;
mod push_bytes;
mod report;
mod rows;
mod spec;
mod to_queue;
mod to_queue_bytes;
mod view;

pub use capacity::{Capacity, Occupancy};
pub use fault::{RefusedTask, TaskFault};
pub use ids::{
    Attempt, JobId, QUEUES_MAX, StateSet, TaskId, TaskKey, TaskState, UnknownState, queue_of_hash,
};
pub use latencies::{BUCKETS_MAX, Distribution};
pub use parts::TEXT_BYTES_MAX;
pub use payload::{PAYLOAD_BYTES_MAX, PayloadKind, TaskPayload, Variables};
pub use push::QueuePush;
pub use push_bytes::PushReader;
pub use report::{Captured, EndKind, EndSummary, OUTPUT_BYTES_MAX, ReturnReason, TaskEnd};
pub use rows::{JobRow, TaskRow, TaskTimes, WorkerRow};
pub use spec::{AFTER_MAX, After, JOB_NAME_BYTES_MAX, TaskSpec};
pub use to_queue::{ToQueue, Verb};
pub use to_queue_bytes::ToQueueReader;
pub use view::{Selection, StateCounts};
