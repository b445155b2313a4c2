//! What leaves the queue, once it may: messages are made of what is known when they leave.

use super::outbox::{Out, Party};
use super::table::{Ended, NOBODY, Task};
use super::{TaskLatencies, TaskQueue};
use crate::journal::Lsn;
use punctual_wire::BatchWriter;
use punctual_wire::task::{
    Capacity, Captured, Distribution, JobRow, QueuePush, TaskEnd, TaskId, TaskRow, TaskState,
    TaskTimes, WorkerRow,
};
use std::collections::VecDeque;

impl Ended {
    /// As it is sent; without what the task wrote unless that is wanted.
    pub(super) fn to_end(&self, with_output: bool) -> TaskEnd<'_> {
        let captured = |bytes, tail| Captured { bytes, tail: if with_output { tail } else { &[] } };
        TaskEnd {
            kind: self.kind,
            code: self.code,
            waited_ns: self.waited_ns,
            ran_ns: self.ran_ns,
            cpu_ns: self.cpu_ns,
            memory: self.memory,
            stdout: captured(self.stdout_bytes, &self.stdout),
            stderr: captured(self.stderr_bytes, &self.stderr),
        }
    }
}

impl TaskQueue {
    /// Writes what may leave now to the link of a party, while `has_room` says so. Returns how many
    /// messages.
    pub fn write(
        &mut self,
        party: Party,
        out: &mut BatchWriter,
        has_room: impl Fn(&BatchWriter) -> bool,
    ) -> usize {
        let durable = self.log.durable;
        let Some(state) = self.parties.get_mut(party.0).and_then(Option::as_mut) else { return 0 };
        let mut waiting = std::mem::take(&mut state.out);
        let mut written = 0;
        while let Some((gate, message)) = waiting.front()
            && *gate <= durable
            && has_room(out)
        {
            if self.is_outdated(message) {
                self.put_off(&mut waiting);
                continue;
            }
            let Some((_, message)) = waiting.pop_front() else { break };
            self.write_one(&message, out);
            written += 1;
        }
        if let Some(state) = self.parties[party.0].as_mut() {
            state.out = waiting;
        }
        written
    }

    /// Whether a message would tell what has happened since it was made.
    fn is_outdated(&self, message: &Out) -> bool {
        let Out::Row { sequence, ticket, .. } = message else { return false };
        self.book.table.get(*sequence).is_some_and(|task| task.ticket != *ticket)
    }

    /// Lets such messages wait until what they tell is durable.
    fn put_off(&self, waiting: &mut VecDeque<(Lsn, Out)>) {
        for (gate, message) in waiting {
            if let Out::Row { sequence, ticket, .. } = message
                && let Some(task) = self.book.table.get(*sequence)
                && task.ticket != *ticket
            {
                (*gate, *ticket) = (self.log.tail, task.ticket);
            }
        }
    }

    pub(super) fn id_of(&self, sequence: u64) -> TaskId {
        TaskId::new(self.config.id.0, sequence)
    }

    #[inline]
    fn write_one(&self, message: &Out, out: &mut BatchWriter) {
        match *message {
            Out::Lease { sequence, attempt } => {
                // It may have been taken back in the meantime.
                let task = self
                    .book
                    .table
                    .get(sequence)
                    .filter(|task| task.state == TaskState::Leased && task.attempt == attempt);
                let Some(task) = task else { return };
                let class = self.book.classes.get(task.class);
                QueuePush::Lease {
                    task: self.id_of(sequence),
                    attempt,
                    priority: task.priority,
                    memory: class.memory,
                    cores_milli: class.cores_milli,
                    timeout_ms: task.timeout_ms,
                    job: self.book.job(task.job).map_or(&[], |job| &job.name),
                    payload: &task.payload,
                }
                .write(out);
            }
            Out::Acked { seq } => QueuePush::Acked { seq }.write(out),
            Out::Submitted { ticket, added, known } => {
                QueuePush::Submitted { ticket, added, known }.write(out);
            }
            Out::Row { request, sequence, with_output, .. } => {
                if let Some(task) = self.book.table.get(sequence) {
                    self.write_row(request, sequence, task, with_output, out);
                }
            }
            _ => self.write_rare(message, out),
        }
    }

    fn write_rare(&self, message: &Out, out: &mut BatchWriter) {
        match *message {
            Out::JobOpened { request, job } => QueuePush::JobOpened { request, job }.write(out),
            Out::Refused { ticket, reason } => QueuePush::Refused { ticket, reason }.write(out),
            Out::Progress { request, version, ref counts } => {
                QueuePush::Progress { request, version, counts: **counts }.write(out);
            }
            Out::JobRow { request, job, ref counts } => {
                let Some(known) = self.book.job(job) else { return };
                let (opened, counts) = (known.opened_at, **counts);
                let row = JobRow { job, name: &known.name, opened, counts };
                QueuePush::JobRow { request, row }.write(out);
            }
            Out::WorkerRow { request, worker } => self.write_worker(request, worker, out),
            Out::Latencies { request } => self.write_latencies(request, out),
            Out::End { request, changed, next, more } => {
                QueuePush::End { request, changed, next, more }.write(out);
            }
            Out::Fault { request, fault } => QueuePush::Fault { request, fault }.write(out),
            Out::Enlisted { worker } => {
                let Some(worker) = self.book.crew.get(worker) else { return };
                let millis =
                    |time: std::time::Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
                QueuePush::Enlisted {
                    name: self.book.names.text(worker.name),
                    // Without a link it keeps what it has no longer than this.
                    lease_timeout_ms: millis(
                        self.config.lease_timeout.min(self.config.reconnect_grace),
                    ),
                    heartbeat_ms: millis(self.config.heartbeat),
                }
                .write(out);
            }
            Out::Recall { sequence, attempt } => {
                QueuePush::Recall { task: self.id_of(sequence), attempt }.write(out);
            }
            Out::Cancel { sequence, attempt } => {
                QueuePush::Cancel { task: self.id_of(sequence), attempt }.write(out);
            }
            Out::Drain => QueuePush::Drain.write(out),
            _ => unreachable!("the caller has written the others"),
        }
    }

    fn write_row(
        &self,
        request: u32,
        sequence: u64,
        task: &Task,
        with_output: bool,
        out: &mut BatchWriter,
    ) {
        let class = self.book.classes.get(task.class);
        let names = task.failed_on().iter().map(|name| self.book.names.text(*name));
        let failed_on = names.collect::<Vec<_>>().join(&b","[..]);
        let is_delayed = task.state == TaskState::Delayed;
        let times = TaskTimes {
            submitted: task.submitted_at,
            leased: task.leased_at,
            ended: if task.state.is_final() { task.turned_at } else { 0 },
            due: if is_delayed { task.turned_at } else { 0 },
        };
        let row = TaskRow {
            id: self.id_of(sequence),
            key: task.key,
            job: task.job,
            state: task.state,
            is_ahead: task.is_ahead,
            priority: task.priority,
            memory: class.memory,
            cores_milli: class.cores_milli,
            timeout_ms: task.timeout_ms,
            attempt: task.attempt,
            failures: task.failures,
            attempts_max: task.attempts_max,
            times,
            worker: self.book.names.text(task.worker_name),
            payload: &task.payload,
            end: task.end.as_ref().map(|end| end.to_end(with_output)),
            failed_on: &failed_on,
        };
        QueuePush::Row { request, row }.write(out);
    }

    fn write_latencies(&self, request: u32, out: &mut BatchWriter) {
        let TaskLatencies { wait, lease } = &self.latencies;
        let counts = [wait, lease].map(|it| Distribution::to_bytes_of(it.counts()));
        let [wait, lease] = [(wait, &counts[0]), (lease, &counts[1])]
            .map(|(it, counts)| Distribution::new(it.sum_ns(), counts));
        QueuePush::Latencies { request, wait, lease }.write(out);
    }

    fn write_worker(&self, request: u32, worker: u32, out: &mut BatchWriter) {
        let Some(worker) = self.book.crew.get(worker) else { return };
        // One that has not come back since the queue started has not said what it offers.
        let is_known = worker.capacity.slots < NOBODY;
        let row = WorkerRow {
            name: self.book.names.text(worker.name),
            host: &worker.host,
            pid: worker.pid,
            capacity: if is_known { worker.capacity } else { Capacity::default() },
            is_linked: worker.party.is_some(),
            heard: worker.heard_at.0,
            enlisted: worker.enlisted_at,
            running: worker.running(),
            ahead: worker.ahead,
            done: worker.done,
            failed: worker.failed,
            lost: worker.lost,
            memory_free: worker.memory_free,
            cores_used_milli: worker.cores_used_milli,
            mean_ns: u64::try_from(worker.mean_ns).unwrap_or(0),
        };
        QueuePush::WorkerRow { request, row }.write(out);
    }
}
