//! Going on from a journal, and writing down all that a queue is.

use super::book::Book;
use super::record::{Kept, TaskRecord};
use super::table::Task;
use super::{TaskQueue, TaskQueueConfig};
use crate::journal::{Holder, LogOwner, Lsn, Record, ReplayTally, Replica};
use crate::{Nanos, ReplayError, SessionId};
use punctual_wire::task::{After, StateCounts, TaskSpec, TaskState};

/// A queue that does again what its journal says, and becomes a working one in the end.
#[derive(Debug)]
pub struct TaskReplay {
    config: TaskQueueConfig,
    book: Book,
    records: u64,
    runs: u64,
    is_whole: bool,
}

impl TaskReplay {
    /// No time that the journal speaks of is later.
    #[must_use]
    pub fn clock_floor(&self) -> Nanos {
        Nanos(self.book.latest)
    }

    /// Tasks by state.
    #[must_use]
    pub fn counts(&self) -> StateCounts {
        self.book.counts
    }

    /// The queue, which goes on where its log ends. Workers that had leases are given the time of a
    /// lease to come back.
    #[must_use]
    pub fn finish(mut self, now: Nanos, log_at: Lsn) -> TaskQueue {
        let clock = now.max(self.clock_floor());
        let deadline = clock + self.config.lease_timeout.into();
        for (_, worker) in self.book.crew.iter_mut() {
            (worker.heard_at, worker.deadline) = (clock, deadline);
        }
        let has_workers = self.book.crew.len() > 0;
        let mut queue = TaskQueue::with_book(self.config, self.book);
        queue.log.resume(log_at);
        queue.clock = clock;
        queue.started_at = clock;
        queue.expiry_at = if has_workers { deadline } else { Nanos::MAX };
        queue
    }

    fn put_task<E>(
        &self,
        sequence: u64,
        task: &Task,
        put: &mut impl FnMut(&Record<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let class = self.book.classes.get(task.class);
        let after: Vec<[u8; 8]> = task.after().iter().map(|at| at.to_le_bytes()).collect();
        let failed_on: Vec<[u8; 4]> = task.failed_on().iter().map(|it| it.to_le_bytes()).collect();
        let spec = TaskSpec {
            job: task.job,
            key: task.key,
            priority: task.priority,
            memory: class.memory,
            cores_milli: class.cores_milli,
            timeout_ms: task.timeout_ms,
            attempts_max: task.attempts_max,
            after: After::default(),
            payload: &task.payload,
        };
        let kept = Kept {
            spec,
            state: task.state,
            submitted_at: task.submitted_at,
            leased_at: task.leased_at,
            turned_at: task.turned_at,
            attempt: task.attempt.0,
            worker: task.worker,
            worker_name: task.worker_name,
            failures: task.failures,
            losses: task.losses,
            cause: task.ties.as_ref().map_or(0, |ties| ties.cause),
            after: &after,
            failed_on: &failed_on,
            end: task.end.as_ref().map(|end| end.to_end(true)),
        };
        put_record(&TaskRecord::Kept { sequence, kept }, put)
    }
}

/// Hands a record over as one of a journal.
fn put_record<E>(
    record: &TaskRecord<'_>,
    put: &mut impl FnMut(&Record<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut bytes = Vec::new();
    record.write(&mut bytes);
    put(&Record::written(&bytes))
}

impl Replica for TaskReplay {
    type Setup = TaskQueueConfig;

    fn new(setup: &TaskQueueConfig) -> Self {
        let (config, book) = (setup.clone(), Book::default());
        Self { config, book, records: 0, runs: 0, is_whole: false }
    }

    fn owner(setup: &TaskQueueConfig) -> LogOwner {
        LogOwner {
            holder: Holder::Tasks,
            shard: setup.id,
            shards: 1,
            session: setup.session,
            limits: setup.limits,
        }
    }

    fn with_session(setup: TaskQueueConfig, session: SessionId) -> TaskQueueConfig {
        TaskQueueConfig { session, ..setup }
    }

    fn apply(&mut self, record: &Record<'_>) -> Result<(), ReplayError> {
        let foreign = ReplayError::Foreign { holder: Holder::Tasks };
        let record = TaskRecord::of(record).ok_or(foreign)?;
        let record = record.map_err(ReplayError::Task)?;
        if let TaskRecord::JobOpened { job, .. } = record {
            // Gaps take memory too. Only numbers without any may be more than there may be now.
            let max = self.config.jobs_max.max(self.book.jobs.next_id().0 as usize + 1);
            if job.0 as usize >= max {
                return Err(ReplayError::Task("a job with a larger number than there may be"));
            }
        }
        self.records += 1;
        self.runs += u64::from(matches!(record, TaskRecord::Ended { .. }));
        self.is_whole |= matches!(record, TaskRecord::End { .. });
        self.book.apply(&record).map_err(ReplayError::Task)
    }

    fn snapshot<E>(&self, mut put: impl FnMut(&Record<'_>) -> Result<(), E>) -> Result<(), E> {
        let Self { book, .. } = self;
        let (last, latest) = (book.table.last(), Nanos(book.latest));
        put_record(&TaskRecord::State { last, latest }, &mut put)?;
        for name in book.names.iter() {
            put_record(&TaskRecord::Named { name }, &mut put)?;
        }
        for (id, job) in book.jobs.iter() {
            let at = Nanos(job.opened_at);
            put_record(&TaskRecord::JobOpened { job: id, at, name: &job.name }, &mut put)?;
        }
        for (index, worker) in book.crew.iter() {
            let (session, at) = (worker.session, Nanos(worker.enlisted_at));
            let name = book.names.text(worker.name);
            let record = TaskRecord::Enlisted { worker: index, session, at, name };
            put_record(&record, &mut put)?;
        }
        for (sequence, task) in book.table.iter() {
            self.put_task(sequence, task, &mut put)?;
        }
        put_record(&TaskRecord::End { tasks: book.table.len() as u64 }, &mut put)
    }

    fn is_whole(&self) -> bool {
        self.is_whole
    }

    fn tally(&self) -> ReplayTally {
        let open = self.book.counts[TaskState::Leased];
        ReplayTally {
            records: self.records,
            done: self.runs,
            kept: self.book.table.len() as u64,
            open: usize::try_from(open).unwrap_or(usize::MAX),
        }
    }
}
