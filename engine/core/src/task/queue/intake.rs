//! What clients say: jobs, submissions, questions and orders.

use super::outbox::{Errand, ErrandKind, Out, Party, Wanted, Watch};
use super::record::TaskRecord;
use super::table::{NONE, Task};
use super::{TaskMutation, TaskQueue};
use punctual_wire::task::{
    AFTER_MAX, After, JOB_NAME_BYTES_MAX, JobId, PAYLOAD_BYTES_MAX, RefusedTask, Selection,
    TaskFault, TaskSpec, ToQueue, ToQueueReader,
};
use punctual_wire::{FrameKind, WireError};

/// Questions and orders of one client that wait to be answered.
const ERRANDS_MAX: usize = 64;
/// Watches of one client.
const WATCHES_MAX: usize = 64;
/// No machine has more memory: 1 PiB.
const MEMORY_MAX: u64 = 1 << 50;

/// What came of the submissions of a frame.
#[derive(Debug, Default)]
struct Taken {
    ticket: Option<u64>,
    added: u32,
    known: u32,
}

impl TaskQueue {
    pub(super) fn take_from_client(
        &mut self,
        party: Party,
        mut reader: ToQueueReader<'_>,
    ) -> Result<(), WireError> {
        let mut taken = Taken::default();
        while let Some(message) = reader.next_message()? {
            match message {
                ToQueue::Submit { ticket, ref spec } => {
                    taken.ticket = Some(ticket);
                    self.take_task(party, ticket, spec, &mut taken);
                }
                ToQueue::OpenJob { request, job, name } => {
                    let out = match self.open_job(job, name) {
                        Ok(job) => Out::JobOpened { request, job },
                        Err(fault) => Out::Fault { request, fault },
                    };
                    self.tell(party, out);
                }
                ToQueue::Watch { request, job, seen } => {
                    self.take_watch(party, Watch { request, job, seen });
                }
                ToQueue::Query { request, ref selection, limit, with_output } => {
                    let kind = ErrandKind::Query { limit, with_output };
                    self.take_errand(party, request, selection, kind);
                }
                ToQueue::Control { request, verb, ref selection } => {
                    self.take_errand(party, request, selection, ErrandKind::Control { verb });
                }
                ToQueue::Jobs { request } => self.list_jobs(party, request),
                ToQueue::Workers { request } => self.list_workers(party, request),
                ToQueue::Latencies { request } => self.tell_latencies(party, request),
                ToQueue::StopWorker { request, name } => self.stop_worker(party, request, name),
                _ => return Err(WireError::UnexpectedKind(FrameKind::Task)),
            }
        }
        if let Some(ticket) = taken.ticket {
            let Taken { added, known, .. } = taken;
            self.tell(party, Out::Submitted { ticket, added, known });
        }
        Ok(())
    }

    /// The job with this name, which has the number that is wanted, or gets it if there is none.
    fn open_job(&mut self, wanted: Option<JobId>, name: &[u8]) -> Result<JobId, TaskFault> {
        let is_bad = name.is_empty()
            || name.len() > JOB_NAME_BYTES_MAX
            || String::from_utf8_lossy(name).chars().any(char::is_control);
        if is_bad {
            return Err(TaskFault::BadName);
        }
        if let Some(job) = self.book.jobs.find(name) {
            let is_it = wanted.is_none_or(|wanted| wanted == job);
            return if is_it { Ok(job) } else { Err(TaskFault::JobNumber) };
        }
        let job = wanted.unwrap_or_else(|| self.book.jobs.next_id());
        if self.book.job(job).is_some() {
            return Err(TaskFault::JobNumber);
        }
        if self.log.is_full {
            return Err(TaskFault::Busy);
        }
        if job.0 as usize >= self.config.jobs_max {
            return Err(TaskFault::TooManyJobs);
        }
        let at = self.clock;
        self.record(&TaskRecord::JobOpened { job, at, name });
        self.book.open_job(job, name, at);
        Ok(job)
    }

    fn take_task(&mut self, party: Party, ticket: u64, spec: &TaskSpec<'_>, taken: &mut Taken) {
        if self.book.find(spec.job, spec.key).is_some() {
            taken.known += 1;
            self.stats.known += 1;
            return;
        }
        match self.admit(spec) {
            Ok(()) => {
                let (sequence, at) = (self.book.table.last() + 1, self.clock);
                let mut spec = *spec;
                if self.config.mutation == TaskMutation::IgnoreAfter {
                    spec.after = After::default();
                }
                self.record(&TaskRecord::Submitted { sequence, at, spec });
                self.book.submit(sequence, at, &spec);
                taken.added += 1;
                self.stats.submitted += 1;
            }
            Err(reason) => {
                self.stats.refused += 1;
                self.tell(party, Out::Refused { ticket, reason });
            }
        }
    }

    fn admit(&mut self, spec: &TaskSpec<'_>) -> Result<(), RefusedTask> {
        if self.book.job(spec.job).is_none() {
            return Err(RefusedTask::UnknownJob);
        }
        let is_large = spec.payload.len() > PAYLOAD_BYTES_MAX
            || spec.memory > MEMORY_MAX
            || spec.after.len() > AFTER_MAX;
        if is_large {
            return Err(RefusedTask::TooLarge);
        }
        if spec.after.iter().any(|key| self.book.find(spec.job, key).is_none()) {
            return Err(RefusedTask::UnknownAfter);
        }
        if self.log.is_full {
            return Err(RefusedTask::JournalFull);
        }
        let bytes = size_of::<Task>() + spec.payload.len() + 64 * spec.after.len();
        // Whoever it comes after must not be forgotten to make room for it.
        let is_needed =
            |task: &Task| task.job == spec.job && spec.after.iter().any(|key| key == task.key);
        let has_room = self.make_room(bytes as u64, is_needed);
        if has_room { Ok(()) } else { Err(RefusedTask::Full) }
    }

    fn take_watch(&mut self, party: Party, watch: Watch) {
        let Some(state) = self.parties[party.0].as_mut() else { return };
        if state.watches.len() >= WATCHES_MAX {
            let (request, fault) = (watch.request, TaskFault::Busy);
            return self.tell(party, Out::Fault { request, fault });
        }
        if watch.job.is_some_and(|job| self.book.job(job).is_none()) {
            let (request, fault) = (watch.request, TaskFault::UnknownJob);
            return self.tell(party, Out::Fault { request, fault });
        }
        self.curious += usize::from(!state.is_curious());
        state.watches.push(watch);
        // There may be news for it already.
        self.watched_version = u64::MAX;
    }

    fn take_errand(
        &mut self,
        party: Party,
        request: u32,
        selection: &Selection<'_>,
        kind: ErrandKind,
    ) {
        let Some(state) = self.parties[party.0].as_mut() else { return };
        let is_refused = matches!(kind, ErrandKind::Control { .. }) && self.log.is_full;
        if state.errands.len() >= ERRANDS_MAX || is_refused {
            return self.tell(party, Out::Fault { request, fault: TaskFault::Busy });
        }
        let wanted = Wanted {
            states: selection.states,
            job: selection.job,
            task: selection.task,
            include: selection.include.into(),
            exclude: selection.exclude.into(),
            worker: selection.worker.into(),
        };
        self.curious += usize::from(!state.is_curious());
        let next = selection.task.unwrap_or(selection.from).sequence();
        state.errands.push_back(Errand { request, wanted, kind, next, count: 0 });
    }

    fn list_jobs(&mut self, party: Party, request: u32) {
        if !self.has_answer_room(party) {
            return self.tell(party, Out::Fault { request, fault: TaskFault::Busy });
        }
        for job in (0..self.book.jobs.next_id().0).map(JobId) {
            let Some(known) = self.book.job(job) else { continue };
            let counts = Box::new(known.counts);
            self.tell(party, Out::JobRow { request, job, counts });
        }
        self.end_list(party, request, 0);
    }

    fn list_workers(&mut self, party: Party, request: u32) {
        if !self.has_answer_room(party) {
            return self.tell(party, Out::Fault { request, fault: TaskFault::Busy });
        }
        let workers: Vec<u32> = self.book.crew.iter().map(|(worker, _)| worker).collect();
        for worker in workers {
            self.tell(party, Out::WorkerRow { request, worker });
        }
        self.end_list(party, request, 0);
    }

    fn tell_latencies(&mut self, party: Party, request: u32) {
        let has_room = self.has_answer_room(party);
        let busy = Out::Fault { request, fault: TaskFault::Busy };
        self.tell(party, if has_room { Out::Latencies { request } } else { busy });
    }

    fn end_list(&mut self, party: Party, request: u32, changed: u64) {
        let next = self.id_of(NONE);
        self.tell(party, Out::End { request, changed, next, more: false });
    }

    /// Asks workers to finish what they run and to stop.
    fn stop_worker(&mut self, party: Party, request: u32, name: &[u8]) {
        let wanted = self.book.names.find(name);
        let mut stopped = Vec::new();
        for (_, worker) in self.book.crew.iter_mut() {
            if (name.is_empty() || wanted == Some(worker.name)) && worker.party.is_some() {
                worker.is_stopped = true;
                stopped.extend(worker.party);
            }
        }
        self.book.classes.note_crew();
        if stopped.is_empty() && !name.is_empty() {
            let fault = TaskFault::UnknownWorker;
            return self.tell(party, Out::Fault { request, fault });
        }
        let changed = stopped.len() as u64;
        for worker in stopped {
            self.tell(worker, Out::Drain);
        }
        self.end_list(party, request, changed);
    }
}
