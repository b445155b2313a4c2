//! The task farm on an existing Redis, in the layout of DistComp: its workers and its manager work
//! beside ours at the same time.
//!
//! A worker of ours knows nothing of this. It speaks to what it takes for a task queue, over a link
//! within the process; at the other end a [`RedisBridge`] claims tasks in Redis as the worker's
//! credit allows, and writes there what came of them. A [`RedisManager`] does what the original's
//! manager does.
//!
//! Everything that takes more than one step in Redis is a script, so that no crash falls between
//! two steps, and can be done twice without harm, so that it is simply sent again when a connection
//! breaks. The layout, and what differs from the original, is described in `docs/redis.md`.
#![forbid(unsafe_code)]

mod address;
mod bridge;
mod config;
mod connection;
mod error;
mod layout;
mod manager;
mod script;

pub use address::RedisAddress;
pub use bridge::{BridgeStats, BridgeView, RedisBridge, RedisLinks};
pub use config::{BadPolling, Polling, RedisBridgeConfig, WorkLimits};
pub use error::RedisError;
pub use manager::{CleanupReport, FarmTasks, FarmWorker, LoadReport, RedisManager, RedisTask};
