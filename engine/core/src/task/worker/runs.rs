//! The leases of a worker: those that wait, by priority and arrival, and those that run.

use super::types::{Lease, RunId};
use crate::Nanos;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use punctual_wire::task::{Attempt, Occupancy, ReturnReason, TaskId};

/// Ends a list.
pub(super) const NONE: u32 = u32::MAX;

/// A free slot keeps the memory of a payload up to this, in bytes, for one of the same length.
const PAYLOAD_BYTES_KEPT: usize = 4 << 10;

/// When there are so many priorities, those that nothing has any more are forgotten.
const ROWS_KEPT: usize = 64;

/// 2^64 divided by the golden ratio: spreads the consecutive numbers that tasks have.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// What a slot is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Free,
    Waiting,
    Running,
}

/// Why a run is made to end, which decides what the queue is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It had its time.
    TimedOut,
    /// It wanted more memory than there is, alone.
    OutOfMemory,
    /// It is given back.
    Returned(ReturnReason),
    /// It is not this worker's any more; nothing is said.
    Dropped,
}

/// A lease as it comes in.
#[derive(Debug)]
pub(super) struct Offer<'a> {
    pub(super) task: TaskId,
    pub(super) attempt: Attempt,
    pub(super) priority: i32,
    pub(super) memory: u64,
    pub(super) cores_milli: u32,
    pub(super) timeout_ms: u64,
    pub(super) job: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// A slot.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) lease: Lease,
    pub(super) phase: Phase,
    pub(super) ending: Option<Ending>,
    pub(super) is_killed: bool,
    /// How often something behind it was started first, for it did not fit.
    pub(super) overtaken: u32,
    /// An earlier attempt at the same task that is to be gone before this one starts.
    pub(super) behind: Option<RunId>,
    pub(super) started: Nanos,
    /// How many were started before it.
    pub(super) order: u64,
    /// Its entry among the timers.
    pub(super) due: Option<Nanos>,
    previous: u32,
    next: u32,
}

impl Run {
    fn blank(slot: u32) -> Self {
        let lease = Lease {
            run: RunId::of_slot(slot),
            task: TaskId::default(),
            attempt: Attempt::default(),
            priority: 0,
            memory: 0,
            cores_milli: 0,
            timeout_ms: 0,
            job: Box::default(),
            payload: Box::default(),
            arrived: Nanos::ZERO,
        };
        Self {
            lease,
            phase: Phase::Free,
            ending: None,
            is_killed: false,
            overtaken: 0,
            behind: None,
            started: Nanos::ZERO,
            order: 0,
            due: None,
            previous: NONE,
            next: NONE,
        }
    }

    fn fill(&mut self, now: Nanos, offer: &Offer<'_>, behind: Option<RunId>) {
        let lease = &mut self.lease;
        lease.run = lease.run.next();
        lease.task = offer.task;
        lease.attempt = offer.attempt;
        lease.priority = offer.priority;
        lease.memory = offer.memory;
        lease.cores_milli = offer.cores_milli;
        lease.timeout_ms = offer.timeout_ms;
        refill(&mut lease.job, offer.job);
        refill(&mut lease.payload, offer.payload);
        lease.arrived = now;
        debug_assert!(self.due.is_none(), "a timer of the run before");
        self.ending = None;
        self.is_killed = false;
        self.overtaken = 0;
        self.behind = behind;
    }
}

/// Tasks of a job resemble each other: the memory of the one before often fits.
fn refill(kept: &mut Box<[u8]>, bytes: &[u8]) {
    if kept.len() == bytes.len() {
        kept.copy_from_slice(bytes);
    } else {
        *kept = bytes.into();
    }
}

/// Where the queue of a lease is among all of them.
#[inline]
fn queue_of(lease: &Lease) -> usize {
    usize::from(lease.task.shard())
}

/// The high half goes into the low one, for the table looks at both ends of it.
fn hash(task: TaskId) -> u64 {
    let product = task.0.wrapping_mul(SPREAD);
    product ^ (product >> 32)
}

/// Those of one priority that wait, by arrival.
#[derive(Debug)]
struct Row {
    priority: i32,
    head: u32,
    tail: u32,
}

/// Notes that a lease takes what it asks for.
fn occupy(occupancy: &mut Occupancy, lease: &Lease) {
    occupancy.slots += 1;
    occupancy.memory += lease.memory;
    occupancy.cores_milli += lease.cores_milli;
}

/// Notes that it takes it no more.
fn vacate(occupancy: &mut Occupancy, lease: &Lease) {
    occupancy.slots -= 1;
    occupancy.memory -= lease.memory;
    occupancy.cores_milli -= lease.cores_milli;
}

/// All leases of a worker.
#[derive(Debug)]
pub(super) struct Runs {
    slots: Vec<Run>,
    free: u32,
    /// Higher priorities first.
    rows: Vec<Row>,
    /// The slot of the latest attempt at each task.
    by_task: HashTable<u32>,
    waiting: usize,
    running: u32,
    /// What those that run take, of whichever queue, while there are several queues.
    occupied: Occupancy,
    /// The part of each queue; empty while there is one, for then nobody asks.
    occupied_by: Vec<Occupancy>,
}

impl Runs {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            rows: Vec::new(),
            by_task: HashTable::new(),
            waiting: 0,
            running: 0,
            occupied: Occupancy::default(),
            occupied_by: Vec::new(),
        }
    }

    /// From now on there are so many queues. What still runs of one that is gone takes room from
    /// those that are left. One alone is not told: what it gives too early waits here.
    pub(super) fn set_queues(&mut self, count: usize) {
        self.occupied = Occupancy::default();
        self.occupied_by.clear();
        if count > 1 {
            self.occupied_by.resize(count, Occupancy::default());
            for at in self.running_slots() {
                self.note(at, occupy);
            }
        }
    }

    /// Notes a change of what the tasks of a queue take that run, where there are several queues.
    #[inline]
    fn note(&mut self, at: u32, change: fn(&mut Occupancy, &Lease)) {
        if self.occupied_by.is_empty() {
            return;
        }
        let lease = &self.slots[at as usize].lease;
        change(&mut self.occupied, lease);
        if let Some(own) = self.occupied_by.get_mut(queue_of(lease)) {
            change(own, lease);
        }
    }

    /// What tasks of other queues take that run.
    #[inline]
    pub(super) fn occupied_by_others(&self, queue: u16) -> Occupancy {
        let Some(own) = self.occupied_by.get(usize::from(queue)) else {
            return Occupancy::default();
        };
        Occupancy {
            slots: self.occupied.slots - own.slots,
            memory: self.occupied.memory - own.memory,
            cores_milli: self.occupied.cores_milli - own.cores_milli,
        }
    }

    /// How many of a queue run.
    pub(super) fn running_of(&self, queue: u16) -> u32 {
        self.occupied_by.get(usize::from(queue)).map_or(self.running, |own| own.slots)
    }

    /// How many run.
    #[inline]
    pub(super) fn running(&self) -> u32 {
        self.running
    }

    /// How many wait.
    #[inline]
    pub(super) fn waiting_len(&self) -> usize {
        self.waiting
    }

    #[inline]
    pub(super) fn get(&self, at: u32) -> &Run {
        &self.slots[at as usize]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, at: u32) -> &mut Run {
        &mut self.slots[at as usize]
    }

    /// The slot of a run that has not ended.
    #[inline]
    pub(super) fn find(&self, run: RunId) -> Option<u32> {
        let slot = self.slots.get(run.slot())?;
        let is_it = slot.phase != Phase::Free && slot.lease.run == run;
        is_it.then(|| u32::try_from(run.slot()).unwrap_or(NONE))
    }

    /// The slot of the latest attempt at a task.
    #[inline]
    pub(super) fn of_task(&self, task: TaskId) -> Option<u32> {
        let is_it = |at: &u32| self.get(*at).lease.task == task;
        self.by_task.find(hash(task), is_it).copied()
    }

    /// Everything that waits or runs.
    pub(super) fn used(&self) -> impl Iterator<Item = (u32, &Run)> {
        let indices = 0_u32..;
        indices.zip(&self.slots).filter(|(_, run)| run.phase != Phase::Free)
    }

    /// The leases of a queue that are this worker's own.
    pub(super) fn held(&self, queue: u16) -> impl Iterator<Item = (TaskId, Attempt)> {
        let own = self.used().filter(move |(_, run)| {
            run.ending != Some(Ending::Dropped) && run.lease.task.shard() == queue
        });
        own.map(|(_, run)| (run.lease.task, run.lease.attempt))
    }

    /// Those that wait, in the order in which they are to start.
    pub(super) fn waiting(&self) -> impl Iterator<Item = u32> {
        let some = |at: u32| (at != NONE).then_some(at);
        let row = move |row: &Row| {
            std::iter::successors(some(row.head), move |at| some(self.get(*at).next))
        };
        self.rows.iter().flat_map(row)
    }

    /// The first that waits.
    pub(super) fn first_waiting(&self) -> Option<u32> {
        self.waiting().next()
    }

    /// Everything that runs.
    pub(super) fn running_slots(&self) -> Vec<u32> {
        let running = self.used().filter(|(_, run)| run.phase == Phase::Running);
        running.map(|(at, _)| at).collect()
    }

    /// Takes a lease in; it waits then.
    pub(super) fn add(&mut self, now: Nanos, offer: &Offer<'_>, behind: Option<RunId>) {
        let at = if self.free == NONE { self.grow() } else { self.free };
        let run = &mut self.slots[at as usize];
        self.free = run.next;
        run.fill(now, offer, behind);
        self.set_latest(offer.task, at);
        self.enqueue(at);
    }

    /// Notes the latest attempt at a task, in place of an earlier one that is still there.
    fn set_latest(&mut self, task: TaskId, at: u32) {
        let Self { by_task, slots, .. } = self;
        let task_in = |slot: &u32| slots[*slot as usize].lease.task;
        match by_task.entry(hash(task), |slot| task_in(slot) == task, |slot| hash(task_in(slot))) {
            Entry::Occupied(mut entry) => *entry.get_mut() = at,
            Entry::Vacant(entry) => {
                entry.insert(at);
            }
        }
    }

    /// Makes one more free slot.
    fn grow(&mut self) -> u32 {
        let at = u32::try_from(self.slots.len()).expect("leases are bounded");
        self.slots.push(Run::blank(at));
        at
    }

    /// Notes that one that waited was started.
    pub(super) fn begin(&mut self, at: u32, now: Nanos, order: u64) {
        self.dequeue(at);
        self.running += 1;
        let run = self.get_mut(at);
        (run.phase, run.started, run.order) = (Phase::Running, now, order);
        self.note(at, occupy);
    }

    /// Forgets one that waited.
    pub(super) fn remove_waiting(&mut self, at: u32) {
        self.dequeue(at);
        self.free_slot(at);
    }

    /// Forgets one that ran.
    pub(super) fn remove_running(&mut self, at: u32) {
        debug_assert!(self.get(at).phase == Phase::Running, "only what runs ends");
        self.running -= 1;
        self.note(at, vacate);
        self.free_slot(at);
    }

    /// Counts that one that waits is started before others that are ahead of it: for those of them
    /// that could have been.
    pub(super) fn mark_overtaken(&mut self, by: u32, could_start: impl Fn(&Lease) -> bool) {
        for row in &self.rows {
            let mut at = row.head;
            while at != NONE {
                if at == by {
                    return;
                }
                let run = &mut self.slots[at as usize];
                run.overtaken += u32::from(could_start(&run.lease));
                at = run.next;
            }
        }
    }

    fn free_slot(&mut self, at: u32) {
        let run = &mut self.slots[at as usize];
        run.phase = Phase::Free;
        run.next = self.free;
        if run.lease.payload.len() > PAYLOAD_BYTES_KEPT {
            run.lease.payload = Box::default();
        }
        self.free = at;
        let hash = hash(run.lease.task);
        if let Ok(entry) = self.by_task.find_entry(hash, |slot| *slot == at) {
            entry.remove();
        }
    }

    /// Where the row of a priority is, or would be.
    fn row_of(&self, priority: i32) -> Result<usize, usize> {
        self.rows.binary_search_by(|row| priority.cmp(&row.priority))
    }

    /// The row of a priority, made if there is none.
    fn row_for(&mut self, priority: i32) -> usize {
        if let Ok(row) = self.row_of(priority) {
            return row;
        }
        if self.rows.len() >= ROWS_KEPT {
            self.rows.retain(|row| row.head != NONE);
        }
        let (Ok(row) | Err(row)) = self.row_of(priority);
        self.rows.insert(row, Row { priority, head: NONE, tail: NONE });
        row
    }

    fn enqueue(&mut self, at: u32) {
        let row = self.row_for(self.get(at).lease.priority);
        let tail = std::mem::replace(&mut self.rows[row].tail, at);
        match tail {
            NONE => self.rows[row].head = at,
            _ => self.get_mut(tail).next = at,
        }
        let run = self.get_mut(at);
        (run.phase, run.previous, run.next) = (Phase::Waiting, tail, NONE);
        self.waiting += 1;
    }

    fn dequeue(&mut self, at: u32) {
        let run = self.get(at);
        debug_assert!(run.phase == Phase::Waiting, "only what waits is in a row");
        let (previous, next) = (run.previous, run.next);
        let row =
            self.row_of(run.lease.priority).expect("what waits is in the row of its priority");
        match previous {
            NONE => self.rows[row].head = next,
            _ => self.get_mut(previous).next = next,
        }
        match next {
            NONE => self.rows[row].tail = previous,
            _ => self.get_mut(next).previous = previous,
        }
        self.waiting -= 1;
    }
}
