//! What a task queue would be to the worker: it takes the worker's messages, keeps what the worker
//! has, and says what the worker is to be told. It knows nothing of Redis or of links.

use super::holdings::{Held, Holdings, Room};
use super::outbox::{Op, Outbox};
use super::todo::Candidate;
use super::view::BridgeStats;
use crate::WorkLimits;
use crate::layout::{failure_reason, finished_value};
use punctual_taskfile::TaskDraft;
use punctual_wire::task::{Attempt, Capacity, QueuePush, ReturnReason, TaskEnd, TaskId, ToQueue};
use punctual_wire::{BatchWriter, WireError};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// The job that tasks are said to be of: Redis knows none.
const JOB: &[u8] = b"redis";
/// The worker trusts its leases for so long without a link.
const LEASE_TIMEOUT_MS: u32 = 60_000;
/// Prefetched tasks that were asked back are not taken again for so long.
const HANDS_OFF: Duration = Duration::from_secs(10);
/// Cancelled attempts that are remembered, so that none of their numbers comes again.
const FLOORS_MAX: usize = 4096;

/// What the worker is to be told.
#[derive(Debug)]
enum Tell {
    Lease { task: TaskId, attempt: Attempt, timeout_ms: u64, payload: Vec<u8> },
    Recall(TaskId, Attempt),
    Cancel(TaskId, Attempt),
    Drain,
}

/// A task that is about to be claimed.
pub(super) struct Chosen {
    pub(super) candidate: Candidate,
    pub(super) draft: TaskDraft,
}

#[derive(Debug)]
pub(super) struct Desk {
    /// The worker's name in Redis, once it has one.
    name: String,
    limits: WorkLimits,
    /// What the worker offers.
    offered: Capacity,
    /// It has said who it is.
    is_here: bool,
    /// It was told its name.
    is_greeted: bool,
    /// It has said what it has.
    is_synced: bool,
    /// There is an order to stop.
    is_ordered: bool,
    /// What the worker has or offers is not what it was.
    has_changed: bool,
    memory_free: Option<u64>,
    cores_used_milli: u32,
    pub(super) holdings: Holdings,
    pub(super) outbox: Outbox,
    tells: Vec<Tell>,
    /// The least number that the next attempt at a task may have.
    floors: HashMap<TaskId, u32>,
    /// Nothing is prefetched before this.
    hands_off: Option<Instant>,
    pub(super) stats: BridgeStats,
}

impl Desk {
    pub(super) fn new(limits: WorkLimits) -> Self {
        Self {
            name: String::new(),
            limits,
            offered: Capacity::default(),
            is_here: false,
            is_greeted: false,
            is_synced: false,
            is_ordered: false,
            has_changed: false,
            memory_free: None,
            cores_used_milli: 0,
            holdings: Holdings::default(),
            outbox: Outbox::default(),
            tells: Vec::new(),
            floors: HashMap::new(),
            hands_off: None,
            stats: BridgeStats::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn set_name(&mut self, name: &str) {
        name.clone_into(&mut self.name);
        self.is_greeted = false;
    }

    pub(super) fn limits(&self) -> &WorkLimits {
        &self.limits
    }

    pub(super) fn set_limits(&mut self, limits: WorkLimits) {
        self.limits = limits;
    }

    /// Takes what the worker offers.
    fn set_offer(&mut self, capacity: Capacity) {
        self.offered = capacity;
        self.holdings.set_capacity(capacity);
    }

    /// Cores in use and all of them, in thousandths; memory in use and all of it, in bytes.
    pub(super) fn usage(&self) -> ([u32; 2], [u64; 2]) {
        let Capacity { memory, cores_milli, .. } = self.offered;
        let free = self.memory_free.unwrap_or(memory).min(memory);
        ([self.cores_used_milli, cores_milli], [memory - free, memory])
    }

    /// Takes a message of the worker.
    ///
    /// # Errors
    /// When it is none of a worker.
    pub(super) fn on_message(&mut self, message: &ToQueue<'_>) -> Result<(), WireError> {
        self.has_changed |= !matches!(message, ToQueue::Beat { .. });
        match *message {
            ToQueue::Enlist { capacity, .. } => {
                (self.is_here, self.is_greeted, self.is_synced) = (true, false, false);
                self.set_offer(capacity);
            }
            ToQueue::Hold { task, attempt } => {
                if self.holdings.get(task).is_none_or(|held| held.attempt != attempt) {
                    self.tells.push(Tell::Cancel(task, attempt));
                }
            }
            ToQueue::Held => self.is_synced = true,
            ToQueue::Credit { capacity } => {
                // It ends only when it has heard that nothing more is on its way.
                if capacity.is_draining && !self.offered.is_draining {
                    self.tells.push(Tell::Drain);
                }
                self.set_offer(capacity);
            }
            ToQueue::Report { seq, task, attempt, end } => self.on_report(seq, task, attempt, &end),
            ToQueue::Return { seq, task, attempt, reason } => {
                self.on_return(seq, task, attempt, reason);
            }
            ToQueue::Beat { memory_free, cores_used_milli, .. } => {
                self.memory_free = Some(memory_free);
                self.cores_used_milli = cores_used_milli;
            }
            _ => {
                let what = "a message of a client on the link of a worker";
                return Err(WireError::UnknownValue { what, value: 0 });
            }
        }
        Ok(())
    }

    fn on_report(&mut self, seq: u64, task: TaskId, attempt: Attempt, end: &TaskEnd<'_>) {
        let Some(held) = self.take(task, attempt) else {
            self.outbox.push(None, Some(seq));
            return;
        };
        let line = held.line;
        let op = if end.is_success() {
            self.stats.finished += 1;
            Op::Finish { line, value: finished_value(&self.name, &end.stdout) }
        } else {
            Op::Fail { line, reason: failure_reason(&self.name, end) }
        };
        self.outbox.push(Some(op), Some(seq));
    }

    fn on_return(&mut self, seq: u64, task: TaskId, attempt: Attempt, reason: ReturnReason) {
        let op = self.take(task, attempt).map(|held| Op::GiveBack { line: held.line });
        if op.is_some() && reason == ReturnReason::Recalled {
            self.stats.recalled += 1;
        }
        self.outbox.push(op, Some(seq));
    }

    /// Takes a task off the worker's list, if it has this attempt at it.
    fn take(&mut self, task: TaskId, attempt: Attempt) -> Option<Held> {
        if self.holdings.get(task).is_none_or(|held| held.attempt != attempt) {
            self.stats.stale += 1;
            return None;
        }
        self.holdings.remove(task)
    }

    /// The link of the worker is gone, and so is the worker: what it has goes back to the queue.
    pub(super) fn on_left(&mut self) {
        (self.is_here, self.is_greeted, self.is_synced) = (false, false, false);
        self.tells.clear();
        self.outbox.forget_numbers();
        for held in self.holdings.take() {
            self.outbox.push(Some(Op::GiveBack { line: held.line }), None);
        }
    }

    /// The name is somebody else's now, and all that was under it.
    pub(super) fn on_name_lost(&mut self) {
        self.stats.lost += self.holdings.len() as u64 + self.outbox.len() as u64;
        self.holdings.take();
        self.outbox.clear();
        self.name.clear();
    }

    /// A task was claimed for the worker, after so many failures of it.
    pub(super) fn lease(&mut self, chosen: Chosen, failures: i64, count_cores: bool) {
        let Chosen { candidate: Candidate { line, head }, draft } = chosen;
        let task = self.id_of(draft.key.0 as u64, &line);
        let failures = u32::try_from(failures).unwrap_or(0);
        let earlier = self.holdings.get(task).map_or(0, |held| held.attempt.0);
        let floor = self.floors.get(&task).copied().unwrap_or(0);
        let attempt = Attempt((failures + 1).max(earlier + 1).max(floor));
        let cores_milli = if count_cores { head.cores_milli } else { 0 };
        let (priority, memory) = (head.priority, head.memory);
        let timeout_ms = draft.timeout_ms();
        self.tells.push(Tell::Lease { task, attempt, timeout_ms, payload: draft.payload() });
        let is_recalled = false;
        let held = Held { line, attempt, priority, memory, cores_milli, is_recalled };
        self.holdings.add(task, held);
    }

    /// A number that is the same for the same task, wherever and whenever it runs: one of the only
    /// queue that there is here.
    fn id_of(&self, hash: u64, line: &[u8]) -> TaskId {
        let nth = |sequence: u64| TaskId::new(0, sequence & TaskId::SEQUENCE_MAX);
        let mut id = nth(hash >> 16);
        while self.holdings.get(id).is_some_and(|held| *held.line != *line) {
            id = nth(id.sequence() + 1);
        }
        id
    }

    /// A task is not the worker's any more: it is to stop it, and what comes of it does not matter.
    pub(super) fn cancel(&mut self, task: TaskId) {
        let Some(held) = self.holdings.remove(task) else { return };
        self.tells.push(Tell::Cancel(task, held.attempt));
        if self.floors.len() >= FLOORS_MAX {
            self.floors.clear();
        }
        // Its report may be on its way: it must not be taken for that of the next attempt.
        self.floors.insert(task, held.attempt.0 + 1);
    }

    /// Asks for tasks back that wait at the worker: the latest `count`.
    pub(super) fn recall_latest(&mut self, now: Instant, count: usize) {
        let latest = self.holdings.latest_ahead().take(count);
        let tasks: Vec<(TaskId, Attempt)> =
            latest.map(|(task, held)| (task, held.attempt)).collect();
        self.recall(&tasks);
        self.hands_off = Some(now + HANDS_OFF);
    }

    /// Asks for tasks back that wait at the worker while there are more urgent ones in the queue,
    /// whose priorities are given, highest first.
    pub(super) fn recall_outranked(&mut self, priorities: impl Iterator<Item = i32>) {
        let waiting = self.holdings.latest_ahead();
        let mut waiting: Vec<(i32, TaskId, Attempt)> =
            waiting.map(|(task, held)| (held.priority, task, held.attempt)).collect();
        // Stable: of the same priority the latest comes first.
        waiting.sort_by_key(|(priority, ..)| *priority);
        let outranked = waiting.into_iter().zip(priorities);
        let outranked = outranked.take_while(|((own, ..), other)| other > own);
        let tasks: Vec<(TaskId, Attempt)> =
            outranked.map(|((_, task, attempt), _)| (task, attempt)).collect();
        self.recall(&tasks);
    }

    fn recall(&mut self, tasks: &[(TaskId, Attempt)]) {
        for (task, attempt) in tasks {
            self.holdings.mark_recalled(*task);
            self.tells.push(Tell::Recall(*task, *attempt));
        }
    }

    /// There is an order to stop: the worker finishes what it runs, and ends.
    pub(super) fn order_stop(&mut self) {
        if !self.is_ordered {
            self.is_ordered = true;
            self.tells.push(Tell::Drain);
        }
    }

    pub(super) fn is_ordered(&self) -> bool {
        self.is_ordered
    }

    /// Whether the worker has or offers something else than when this was last asked.
    pub(super) fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// Whether the worker is there and takes tasks.
    pub(super) fn is_at_work(&self) -> bool {
        self.is_greeted && self.is_synced && !self.is_ordered && !self.offered.is_draining
    }

    /// What the worker can be given now: nothing that asks for more memory than is free. A limit of
    /// free memory that it could never reach does not count.
    pub(super) fn room(&self, now: Instant) -> Room {
        let mut room = self.holdings.room();
        if self.hands_off.is_some_and(|until| now < until) {
            room.ahead = 0;
        }
        let (free, limit) = (self.memory_free.unwrap_or(u64::MAX), self.limits.accept_free);
        if free < limit && limit < self.offered.memory {
            (room.slots, room.ahead) = (0, 0);
        }
        room.memory = room.memory.min(free);
        room
    }

    /// Until when nothing is prefetched, if that is in the future.
    pub(super) fn hands_off_until(&self, now: Instant) -> Option<Instant> {
        self.hands_off.filter(|until| *until > now)
    }

    /// Lines of tasks that the worker has, or that Redis is still to be told of.
    pub(super) fn lines(&self) -> HashSet<Box<[u8]>> {
        let held = self.holdings.iter().map(|(_, held)| held.line.clone());
        held.chain(self.outbox.iter().map(|op| op.line().into())).collect()
    }

    /// Writes what the worker is to be told. Returns how many messages.
    pub(super) fn write(&mut self, out: &mut BatchWriter) -> usize {
        let mut written = 0;
        if self.is_here && !self.is_greeted && !self.name.is_empty() {
            self.is_greeted = true;
            written += 1;
            let heartbeat_ms = self.limits.report_interval.as_millis();
            QueuePush::Enlisted {
                name: self.name.as_bytes(),
                lease_timeout_ms: LEASE_TIMEOUT_MS,
                heartbeat_ms: u32::try_from(heartbeat_ms).unwrap_or(u32::MAX),
            }
            .write(out);
            if self.is_ordered {
                QueuePush::Drain.write(out);
            }
        }
        if !self.is_here {
            return written;
        }
        written += self.tells.len();
        for tell in std::mem::take(&mut self.tells) {
            self.write_tell(&tell, out);
        }
        if let Some(seq) = self.outbox.take_acked() {
            QueuePush::Acked { seq }.write(out);
            written += 1;
        }
        written
    }

    fn write_tell(&self, tell: &Tell, out: &mut BatchWriter) {
        match *tell {
            Tell::Lease { task, attempt, timeout_ms, ref payload } => {
                // It may have been cancelled meanwhile; then that is told next.
                let held = self.holdings.get(task);
                QueuePush::Lease {
                    task,
                    attempt,
                    priority: held.map_or(0, |held| held.priority),
                    memory: held.map_or(0, |held| held.memory),
                    cores_milli: held.map_or(0, |held| held.cores_milli),
                    timeout_ms,
                    job: JOB,
                    payload,
                }
                .write(out);
            }
            Tell::Recall(task, attempt) => QueuePush::Recall { task, attempt }.write(out),
            Tell::Cancel(task, attempt) => QueuePush::Cancel { task, attempt }.write(out),
            Tell::Drain => QueuePush::Drain.write(out),
        }
    }
}

#[cfg(test)]
mod tests;
