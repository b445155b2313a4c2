//! A queue that is talked to in frames, as links would do it. The test plays clients, workers, the
//! clock and the disk; whether what the queue knows fits together is looked at after each step.

mod after;
mod audit;
mod control;
mod credit;
mod durable;
mod expiry;
mod failing;
mod holds;
mod hostile;
mod jobs;
mod latencies;
mod memory;
mod occupied;
mod order;
mod play;
mod queries;
mod recalls;
mod replay;
mod rig;
mod sessions;
mod stale;
mod submitting;
mod watching;
mod words;

use super::classes::Shelf;
use super::crew::Worker;
use super::table::{Ended, NOBODY, NONE};
use super::*;
use crate::journal::{BLOCK_HEAD_BYTES, Record, Replica, SegmentKind, block_bytes, seal_block};
use audit::{audit, audit_turn};
use punctual_wire::task::{
    After, Attempt, Capacity, Captured, EndKind, JobId, Occupancy, PayloadKind, PushReader,
    QueuePush, RefusedTask, ReturnReason, Selection, StateSet, TaskEnd, TaskFault, TaskId, TaskKey,
    TaskPayload, TaskSpec, TaskState, TaskTimes, ToQueue, Variables, Verb,
};
use punctual_wire::{BatchWriter, FrameReader};
use rig::{Hand, Rig};
use std::collections::{BTreeMap, BTreeSet};
use words::{
    Draft, MS, Push, Row, Run, all, capacity, config, draft, exited, in_state, journaled, one,
    sequences, taken,
};
