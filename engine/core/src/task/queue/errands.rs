//! Questions and orders about many tasks, done bit by bit so that nobody waits for them; and news
//! for those who watch.

use super::TaskQueue;
use super::outbox::{Errand, ErrandKind, Out, Party, PartyState, Wanted};
use super::record::TaskRecord;
use super::table::Task;
use punctual_wire::task::{JobId, StateCounts, TaskFault, TaskId, TaskPayload, TaskState, Verb};

/// Tasks that are looked at in one turn.
const LOOKS_A_TURN: usize = 4096;
/// Bytes of text that can be searched in the time of a look.
const LOOK_BYTES: usize = 256;
/// Tasks that are changed in one turn.
const CHANGES_A_TURN: u64 = 1024;

impl TaskQueue {
    /// Goes on with what was asked. Returns how much was done.
    pub(super) fn run_errands(&mut self) -> usize {
        let mut looks = LOOKS_A_TURN;
        let mut work = 0;
        let count = self.parties.len();
        for step in 0..count {
            let at = (self.first_asked + step) % count;
            if looks == 0 {
                // Who gets nothing now is the first the next time.
                self.first_asked = at;
                break;
            }
            let party = Party(at);
            while looks > 0 && self.has_answer_room(party) {
                let state = self.parties[at].as_mut();
                let Some(errand) = state.and_then(|state| state.errands.pop_front()) else { break };
                work += 1;
                let rest = match errand.kind {
                    ErrandKind::Query { limit, with_output } => {
                        self.look(party, errand, limit, with_output, &mut looks)
                    }
                    ErrandKind::Control { verb } => self.change(party, errand, verb, &mut looks),
                };
                let Some(state) = self.parties[at].as_mut() else { break };
                match rest {
                    Some(rest) => {
                        state.errands.push_front(rest);
                        break;
                    }
                    None => self.curious -= usize::from(!state.is_curious()),
                }
            }
        }
        work
    }

    pub(super) fn has_answer_room(&self, party: Party) -> bool {
        self.parties[party.0].as_ref().is_some_and(PartyState::has_answer_room)
    }

    /// The next task that is wanted. Without one: whether the end was reached.
    fn next_wanted(&self, errand: &mut Errand, looks: &mut usize) -> Result<u64, bool> {
        if let Some(task) = errand.wanted.task {
            // One task only: it is there or it is not.
            let sequence = std::mem::replace(&mut errand.next, u64::MAX);
            let is_there = sequence == task.sequence() && task.shard() == self.config.id.0;
            let task = self.book.table.get(sequence).filter(|_| is_there);
            let is_wanted = task.is_some_and(|task| self.is_wanted(&errand.wanted, task));
            return if is_wanted { Ok(sequence) } else { Err(true) };
        }
        loop {
            match self.book.table.next_from(errand.next, looks) {
                Err(next) => {
                    errand.next = next;
                    return Err(false);
                }
                Ok(None) => return Err(true),
                Ok(Some(sequence)) => {
                    errand.next = sequence + 1;
                    let Some(task) = self.book.table.get(sequence) else { continue };
                    if !(errand.wanted.include.is_empty() && errand.wanted.exclude.is_empty()) {
                        // Long texts take longer to search.
                        *looks = looks.saturating_sub(task.payload.len() / LOOK_BYTES);
                    }
                    if self.is_wanted(&errand.wanted, task) {
                        return Ok(sequence);
                    }
                }
            }
        }
    }

    fn is_wanted(&self, wanted: &Wanted, task: &Task) -> bool {
        let has_text = |text: &[u8]| {
            TaskPayload::read(&task.payload).is_ok_and(|payload| {
                contains(payload.command, text) || contains(payload.name, text)
            })
        };
        wanted.states.contains(task.state)
            && wanted.job.is_none_or(|job| job == task.job)
            && (wanted.worker.is_empty()
                || self.book.names.text(task.worker_name) == &*wanted.worker)
            && (wanted.include.is_empty() || has_text(&wanted.include))
            && (wanted.exclude.is_empty() || !has_text(&wanted.exclude))
    }

    /// Answers a question as far as it goes in this turn. Returns what is left of it.
    fn look(
        &mut self,
        party: Party,
        mut errand: Errand,
        limit: u32,
        with_output: bool,
        looks: &mut usize,
    ) -> Option<Errand> {
        let request = errand.request;
        loop {
            if errand.count >= u64::from(limit) {
                // There is only one of one.
                let more = errand.wanted.task.is_none();
                self.end_errand(party, &errand, more);
                return None;
            }
            match self.next_wanted(&mut errand, looks) {
                Ok(sequence) => {
                    errand.count += 1;
                    let ticket = self.book.table.get(sequence).map_or(0, |task| task.ticket);
                    self.tell(party, Out::Row { request, sequence, ticket, with_output });
                }
                Err(true) => {
                    self.end_errand(party, &errand, false);
                    return None;
                }
                Err(false) => return Some(errand),
            }
        }
    }

    fn end_errand(&mut self, party: Party, errand: &Errand, more: bool) {
        let next = self.id_of(errand.next.min(TaskId::SEQUENCE_MAX));
        let (request, changed) = (errand.request, errand.count);
        self.tell(party, Out::End { request, changed, next, more });
    }

    /// Carries an order out as far as it goes in this turn. Returns what is left of it.
    fn change(
        &mut self,
        party: Party,
        mut errand: Errand,
        verb: Verb,
        looks: &mut usize,
    ) -> Option<Errand> {
        let before = errand.count;
        while errand.count < before + CHANGES_A_TURN {
            if self.log.is_full {
                let (request, fault) = (errand.request, TaskFault::Busy);
                self.tell(party, Out::Fault { request, fault });
                return None;
            }
            match self.next_wanted(&mut errand, looks) {
                Ok(sequence) => errand.count += u64::from(self.carry_out(verb, sequence)),
                Err(true) => {
                    self.end_errand(party, &errand, false);
                    return None;
                }
                Err(false) => break,
            }
        }
        Some(errand)
    }

    /// Does what is wanted of one task. False if it is not possible in its state.
    fn carry_out(&mut self, verb: Verb, sequence: u64) -> bool {
        let Some(task) = self.book.table.get(sequence) else { return false };
        let (state, worker, attempt) = (task.state, task.worker, task.attempt);
        let is_possible = match verb {
            Verb::Cancel => !state.is_final(),
            Verb::Retry => matches!(state, TaskState::Failed | TaskState::Cancelled),
            Verb::Requeue => state.is_final() || state == TaskState::Leased,
            Verb::Remove => state.is_final(),
        };
        if !is_possible {
            return false;
        }
        let holder = self.book.crew.get(worker).filter(|_| state == TaskState::Leased);
        let holder = holder.and_then(|worker| worker.party);
        let at = self.clock;
        match verb {
            Verb::Cancel => {
                self.record(&TaskRecord::Cancelled { sequence, at });
                self.book.cancel(sequence, at);
                self.stats.cancelled += 1;
            }
            Verb::Retry | Verb::Requeue => {
                self.record(&TaskRecord::Revived { sequence, at });
                self.book.revive(sequence, at);
                self.stats.revived += 1;
            }
            Verb::Remove => {
                self.record(&TaskRecord::Removed { sequence });
                self.book.remove(sequence);
                self.stats.removed += 1;
            }
        }
        if let Some(holder) = holder {
            self.tell(holder, Out::Cancel { sequence, attempt });
        }
        true
    }

    /// Tells those who watch what has changed since they were told last. Returns how many.
    pub(super) fn tell_watchers(&mut self) -> usize {
        self.watched_version = self.book.version;
        let mut told = 0;
        for at in 0..self.parties.len() {
            let Some(state) = self.parties[at].as_mut() else { continue };
            if state.watches.is_empty() {
                continue;
            }
            let mut watches = std::mem::take(&mut state.watches);
            watches.retain(|watch| {
                let (version, counts) = self.news_of(watch.job);
                if version == watch.seen {
                    return true;
                }
                let (request, counts) = (watch.request, Box::new(counts));
                self.tell(Party(at), Out::Progress { request, version, counts });
                told += 1;
                false
            });
            let Some(state) = self.parties[at].as_mut() else { continue };
            state.watches = watches;
            self.curious -= usize::from(!state.is_curious());
        }
        told
    }

    fn news_of(&self, job: Option<JobId>) -> (u64, StateCounts) {
        match job {
            None => (self.book.version + 1, self.book.counts),
            Some(job) => {
                let job = self.book.job(job);
                job.map_or((0, StateCounts::default()), |job| (job.version, job.counts))
            }
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}
