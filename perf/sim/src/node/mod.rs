//! The nodes: the state machines of the core, each with the links that a process would give it.
//!
//! They do what the agents of the runtime do, in the same order: take what has arrived, reading the
//! clock after each message was taken, then look at the timers, then flush every link.

mod coordinator;
mod prober;
mod shard;

pub(crate) use coordinator::CoordinatorNode;
pub(crate) use prober::ProberNode;
pub(crate) use shard::ShardNode;
