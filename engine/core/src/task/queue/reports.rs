//! What workers say: who they are, what they have, and what came of it.

use super::book::Book;
use super::outbox::{Out, Party, Role};
use super::record::TaskRecord;
use super::table::Task;
use super::{TaskMutation, TaskQueue};
use crate::{Nanos, SessionId};
use punctual_wire::task::{
    Attempt, Capacity, Captured, EndKind, Occupancy, ReturnReason, TaskEnd, TaskId, TaskState,
    ToQueue, ToQueueReader,
};
use punctual_wire::{CloseReason, FrameKind, WireError};

/// Names that are tried for a worker whose name is taken.
const SUFFIXES_MAX: u32 = 10_000;

impl TaskQueue {
    pub(super) fn take_from_worker(
        &mut self,
        party: Party,
        session: SessionId,
        index: Option<u32>,
        mut reader: ToQueueReader<'_>,
    ) -> Result<(), WireError> {
        let misplaced = WireError::UnexpectedKind(FrameKind::Task);
        let mut index = index;
        while let Some(message) = reader.next_message()? {
            let Some(worker) = index else {
                let ToQueue::Enlist { name, host, pid, capacity } = message else {
                    return Err(misplaced);
                };
                let worker = self.enlist(party, session, name);
                let known = self.book.crew.get_mut(worker).expect("it was just put there");
                (known.host, known.pid) = (host.into(), pid);
                // It tells again on each link, if it is not nothing.
                known.occupied = Occupancy::default();
                self.set_capacity(worker, capacity);
                self.parties[party.0].as_mut().expect("it speaks").role =
                    Role::Worker { session, index: Some(worker) };
                index = Some(worker);
                continue;
            };
            match message {
                // Only the queue says that a task was lost.
                ToQueue::Report { ref end, .. } if end.kind == EndKind::Lost => {
                    return Err(misplaced);
                }
                ToQueue::Report { seq, task, attempt, ref end } => {
                    self.take_report(party, worker, seq, task, attempt, end);
                }
                ToQueue::Return { seq, task, attempt, reason } => {
                    self.take_return(party, worker, seq, task, attempt, reason);
                }
                ToQueue::Credit { capacity } => self.take_credit(party, worker, capacity),
                ToQueue::Occupied { by_others } => self.take_occupied(worker, by_others),
                ToQueue::Beat { memory_free, cores_used_milli, .. } => {
                    if let Some(worker) = self.book.crew.get_mut(worker) {
                        worker.memory_free = memory_free;
                        worker.cores_used_milli = cores_used_milli;
                    }
                }
                ToQueue::Hold { task, attempt } => self.take_hold(party, worker, task, attempt),
                ToQueue::Held => self.take_held(party, worker),
                _ => return Err(misplaced),
            }
        }
        self.note_heard(index);
        Ok(())
    }

    fn note_heard(&mut self, worker: Option<u32>) {
        let (now, timeout) = (self.clock, self.config.lease_timeout.into());
        let Some(worker) = worker.and_then(|worker| self.book.crew.get_mut(worker)) else { return };
        (worker.heard_at, worker.deadline) = (now, now + timeout);
        self.expiry_at = self.expiry_at.min(worker.deadline);
    }

    /// Finds the worker of a session, or makes it.
    fn enlist(&mut self, party: Party, session: SessionId, name: &[u8]) -> u32 {
        let worker = match self.book.crew.find(session) {
            Some(worker) => worker,
            None => self.enlist_new(session, name),
        };
        let known = self.book.crew.get_mut(worker).expect("it is there");
        let older = known.party.replace(party).filter(|older| *older != party);
        known.is_synced = false;
        if let Some(state) = older.and_then(|older| self.parties[older.0].as_mut()) {
            state.closing = Some(CloseReason::Replaced);
        }
        worker
    }

    fn enlist_new(&mut self, session: SessionId, wanted: &[u8]) -> u32 {
        let wanted = if wanted.is_empty() { b"worker" } else { wanted };
        let mut name = wanted.to_vec();
        for suffix in 2..SUFFIXES_MAX {
            let number = self.book.names.find(&name);
            let found = self.book.crew.iter().find(|(_, it)| Some(it.name) == number);
            let found = found.map(|(other, known)| (other, known.party.is_none()));
            let Some((other, is_away)) = found else { break };
            if is_away {
                // Who starts again under its name has lost what it had.
                self.give_up(other);
                break;
            }
            name = [wanted, format!("#{suffix}").as_bytes()].concat();
        }
        let (worker, at) = (self.book.crew.free_index(), self.clock);
        self.record(&TaskRecord::Enlisted { worker, session, at, name: &name });
        self.book.enlist(worker, session, &name, at);
        worker
    }

    /// A worker that begins to drain is told that this was heard: it gets nothing after that, and
    /// need not wait for more. One that enlists so is told by being enlisted.
    fn take_credit(&mut self, party: Party, worker: u32, capacity: Capacity) {
        let known = self.book.crew.get(worker);
        let was_draining = known.is_some_and(|known| known.capacity.is_draining);
        self.set_capacity(worker, capacity);
        if capacity.is_draining && !was_draining {
            self.tell(party, Out::Drain);
        }
    }

    fn set_capacity(&mut self, worker: u32, capacity: Capacity) {
        let Book { crew, table, classes, .. } = &mut self.book;
        crew.set_capacity(table, classes, worker, capacity);
        classes.note_crew();
    }

    /// What could ever run there stays as it is, so nothing changes for other workers: unlike after
    /// a change of capacity they need not look again.
    fn take_occupied(&mut self, worker: u32, by_others: Occupancy) {
        let Book { crew, table, classes, .. } = &mut self.book;
        crew.set_occupied(table, classes, worker, by_others);
    }

    /// The task, if the worker has this attempt of it.
    fn held(&self, worker: u32, task: TaskId, attempt: Attempt) -> Option<&Task> {
        if task.shard() != self.config.id.0 {
            return None;
        }
        let found = self.book.table.get(task.sequence())?;
        if self.config.mutation == TaskMutation::AcceptStale {
            return Some(found).filter(|task| !task.state.is_final());
        }
        let is_held =
            found.state == TaskState::Leased && found.worker == worker && found.attempt == attempt;
        is_held.then_some(found)
    }

    fn take_report(
        &mut self,
        party: Party,
        worker: u32,
        seq: u64,
        task: TaskId,
        attempt: Attempt,
        end: &TaskEnd<'_>,
    ) {
        if let Some(known) = self.held(worker, task, attempt) {
            let (failures, leased_at) = (known.failures + 1, known.leased_at);
            let (next, pause) = if end.is_success() {
                (TaskState::Done, Nanos::ZERO)
            } else if failures >= known.attempts_max {
                (TaskState::Failed, Nanos::ZERO)
            } else {
                (TaskState::Delayed, self.backoff(failures))
            };
            self.end(task.sequence(), next, pause, end);
            self.note_lease(leased_at);
            let clock = self.clock;
            if let Some(worker) = self.book.crew.get_mut(worker) {
                worker.note_end(clock, end.ran_ns);
                let is_done = next == TaskState::Done;
                worker.done += u64::from(is_done);
                worker.failed += u64::from(!is_done);
            }
            self.stats.done += u64::from(next == TaskState::Done);
            self.stats.failed += u64::from(next != TaskState::Done);
            self.stats.retried += u64::from(next == TaskState::Delayed);
        } else {
            self.stats.stale += 1;
        }
        self.ack(party, worker, seq);
    }

    fn end(&mut self, sequence: u64, next: TaskState, pause: Nanos, end: &TaskEnd<'_>) {
        let (at, due) = (self.clock, self.clock + pause);
        self.record(&TaskRecord::Ended { sequence, at, next, due, end: *end });
        self.book.end(sequence, at, next, due, end);
        self.trim_outputs();
    }

    /// The pause after a number of failures.
    fn backoff(&self, failures: u16) -> Nanos {
        let doublings = u32::from(failures.saturating_sub(1)).min(30);
        let pause = self.config.backoff_min.saturating_mul(1 << doublings);
        pause.min(self.config.backoff_max).into()
    }

    fn ack(&mut self, party: Party, worker: u32, seq: u64) {
        let Some(worker) = self.book.crew.get_mut(worker) else { return };
        worker.seq = worker.seq.max(seq);
        let seq = worker.seq;
        self.tell(party, Out::Acked { seq });
    }

    fn take_return(
        &mut self,
        party: Party,
        worker: u32,
        seq: u64,
        task: TaskId,
        attempt: Attempt,
        reason: ReturnReason,
    ) {
        if self.held(worker, task, attempt).is_some_and(|task| task.worker == worker) {
            self.give_back(task.sequence(), reason == ReturnReason::Unfit);
        } else {
            self.stats.stale += 1;
        }
        self.ack(party, worker, seq);
    }

    fn give_back(&mut self, sequence: u64, avoid: bool) {
        self.record(&TaskRecord::GivenBack { sequence, avoid });
        self.book.give_back(sequence, avoid);
        self.stats.returned += 1;
    }

    /// A worker that comes back says that it has a lease.
    fn take_hold(&mut self, party: Party, worker: u32, task: TaskId, attempt: Attempt) {
        if self.config.mutation == TaskMutation::ForgetHeld {
            return;
        }
        let sequence = task.sequence();
        if self.held(worker, task, attempt).is_some() {
            if let Some(task) = self.book.table.get_mut(sequence) {
                // What it was asked before it may not have heard.
                task.is_recalled = false;
            }
            self.parties[party.0].as_mut().expect("it speaks").held.insert(sequence);
        } else {
            self.tell(party, Out::Cancel { sequence, attempt });
        }
    }

    /// That were all of them: what it does not have has never reached it.
    fn take_held(&mut self, party: Party, worker: u32) {
        let held = std::mem::take(&mut self.parties[party.0].as_mut().expect("it speaks").held);
        // The latest first: each goes to the front.
        for sequence in self.book.crew.leases(&self.book.table, worker).into_iter().rev() {
            if !held.contains(&sequence) {
                self.give_back(sequence, false);
            }
        }
        let Some(known) = self.book.crew.get_mut(worker) else { return };
        known.is_synced = true;
        let is_stopped = known.is_stopped;
        // Only now, so that it starts nothing before it has heard what is not its own any more.
        self.tell(party, Out::Enlisted { worker });
        if is_stopped {
            // Its last link may have been cut before it heard of it.
            self.tell(party, Out::Drain);
        }
    }

    /// Gives up the workers whose time is over.
    pub(super) fn expire(&mut self) -> usize {
        if self.config.mutation == TaskMutation::NeverExpire {
            self.expiry_at = Nanos::MAX;
            return 0;
        }
        let clock = self.clock;
        let overdue = self.book.crew.iter().filter(|(_, worker)| worker.deadline <= clock);
        let overdue: Vec<u32> = overdue.map(|(index, _)| index).collect();
        for index in &overdue {
            self.give_up(*index);
        }
        let deadlines = self.book.crew.iter().map(|(_, worker)| worker.deadline);
        self.expiry_at = deadlines.min().unwrap_or(Nanos::MAX);
        overdue.len()
    }

    /// Takes a worker's leases from it and forgets it. If it is linked it is told.
    fn give_up(&mut self, index: u32) {
        for sequence in self.book.crew.leases(&self.book.table, index).into_iter().rev() {
            self.stats.expired += 1;
            self.lose(sequence);
        }
        let party = self.book.crew.get(index).and_then(|worker| worker.party);
        if let Some(state) = party.and_then(|party| self.parties[party.0].as_mut()) {
            state.closing = Some(CloseReason::LeaseExpired);
            state.role = Role::Worker { session: SessionId(0), index: None };
        }
        self.dismiss(index);
        self.book.classes.note_crew();
    }

    /// A lease is lost with its worker: the task is tried again, unless that happened too often.
    fn lose(&mut self, sequence: u64) {
        let Some(task) = self.book.table.get(sequence) else { return };
        if task.is_ahead {
            return self.give_back(sequence, false);
        }
        let is_last = task.losses.saturating_add(1) >= self.config.losses_max;
        let next = if is_last { TaskState::Failed } else { TaskState::Ready };
        let ran = (self.clock - Nanos(task.leased_at)).0;
        let end = TaskEnd {
            kind: EndKind::Lost,
            code: i32::from(task.losses) + 1,
            waited_ns: 0,
            ran_ns: u64::try_from(ran).unwrap_or(0),
            cpu_ns: 0,
            memory: 0,
            stdout: Captured::default(),
            stderr: Captured::default(),
        };
        if let Some(worker) = self.book.crew.get_mut(task.worker) {
            worker.lost += 1;
        }
        self.end(sequence, next, Nanos::ZERO, &end);
    }
}
