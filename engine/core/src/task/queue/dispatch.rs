//! Giving tasks to workers, and asking some back.
//!
//! First every worker with a free slot is served, in turns, then what is left goes to those who
//! like to have more waiting. No worker gets more than its share of what there is, so that nobody
//! hoards while others come.

use super::TaskQueue;
use super::book::Book;
use super::classes::{Class, Entry, Pick};
use super::crew::Worker;
use super::outbox::Out;
use super::record::TaskRecord;
use super::table::{Table, Task};
use crate::Nanos;
use punctual_wire::task::TaskState;
use std::cmp::Reverse;

/// Tasks that a worker with free slots gets in one round,
const RUN_SHARE_MAX: usize = 8;
/// and one that lets some wait.
const AHEAD_SHARE_MAX: usize = 256;
/// A lease is not asked back if it would start within this.
const RECALL_MIN: Nanos = Nanos(10_000_000);
/// Leases asked back in one turn for tasks of higher priority.
const RECALLS_A_TURN: usize = 64;
/// Idle workers for which leases are asked back in one turn.
const IDLE_SERVED: usize = 16;
/// Workers that are looked at for that, by all of the idle ones together.
const BACKLOGS_LOOKED_AT: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Run = 0,
    Ahead = 1,
}

impl Pass {
    fn is_open(self, worker: &Worker) -> bool {
        match self {
            Self::Run => worker.has_slot(),
            Self::Ahead => worker.may_wait(),
        }
    }

    fn fits(self, worker: &Worker, class: &Class) -> bool {
        match self {
            Self::Run => worker.can_run(class),
            Self::Ahead => worker.could_run(class),
        }
    }

    fn share(self, tasks: usize, workers: usize) -> usize {
        match self {
            Self::Run => (tasks / workers).clamp(1, RUN_SHARE_MAX),
            Self::Ahead => (tasks / (2 * workers)).clamp(1, AHEAD_SHARE_MAX),
        }
    }
}

/// Whether a task is still where it was put.
pub(super) fn is_current(table: &Table, (sequence, ticket): Entry) -> bool {
    table.get(sequence).is_some_and(|task| task.ticket == ticket)
}

impl TaskQueue {
    /// Gives out what can be given. Returns how much that was.
    pub(super) fn dispatch(&mut self) -> usize {
        if self.log.is_full {
            self.recall_at = None;
            return 0;
        }
        let mut work = 0;
        loop {
            // Where what a worker was held for has been given out it may have others again.
            self.release_holds();
            let mut given = 0;
            for pass in [Pass::Run, Pass::Ahead] {
                if self.book.classes.len() > 0 {
                    given += self.serve(pass);
                }
            }
            work += given;
            if given == 0 || self.holds.is_empty() {
                break;
            }
        }
        self.recall();
        work
    }

    fn serve(&mut self, pass: Pass) -> usize {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        let version = self.book.classes.version();
        let is_candidate = |worker: &Worker| {
            worker.is_at_work()
                && pass.is_open(worker)
                && worker.starved_at[pass as usize] != Some(version)
        };
        let crew = self.book.crew.iter();
        candidates.extend(crew.filter(|(_, it)| is_candidate(it)).map(|(index, _)| index));
        // Who was served first the last time comes last.
        let first = candidates.partition_point(|index| *index < self.first_served);
        candidates.rotate_left(first);
        if let Some(first) = candidates.first() {
            self.first_served = first + 1;
        }
        let mut work = 0;
        while !candidates.is_empty() && self.book.classes.len() > 0 {
            let share = pass.share(self.book.classes.len(), candidates.len());
            candidates.retain(|index| {
                let given = self.give(*index, pass, share);
                work += given;
                given == share
            });
        }
        self.candidates = candidates;
        work
    }

    /// Gives a worker up to so many tasks. Returns how many.
    fn give(&mut self, index: u32, pass: Pass, share: usize) -> usize {
        for given in 0..share {
            let Some(pick) = self.pick(index, pass) else { return given };
            let (sequence, at) = (pick.sequence, self.clock);
            self.book.classes.take(&pick);
            self.record(&TaskRecord::Leased { sequence, worker: index, at });
            let attempt = self.book.lease(sequence, index, at);
            self.stats.leased += 1;
            self.note_wait(sequence);
            if let Some(party) = self.book.crew.get(index).and_then(|worker| worker.party) {
                self.tell(party, Out::Lease { sequence, attempt });
            }
            if pick.has_passed && pass == Pass::Run {
                self.note_overtaken(index, &pick);
            }
        }
        share
    }

    fn pick(&mut self, index: u32, pass: Pass) -> Option<Pick> {
        if !pass.is_open(self.book.crew.get(index)?) {
            return None;
        }
        let picked = self.first_for(index, pass);
        if picked.is_none() {
            let version = self.book.classes.version();
            self.book.crew.get_mut(index)?.starved_at[pass as usize] = Some(version);
        }
        picked
    }

    /// The task that a worker gets next, if it has room for one.
    fn first_for(&mut self, index: u32, pass: Pass) -> Option<Pick> {
        let hold = self.hold_of(index).filter(|_| pass == Pass::Run);
        let Book { classes, crew, table, .. } = &mut self.book;
        let (crew, table) = (&*crew, &*table);
        let worker = crew.get(index)?;
        let fits = |class: &Class| pass.fits(worker, class);
        let is_let = |pick: &Pick| hold.is_none_or(|hold| hold.lets(pick));
        let is_current = |entry: Entry| is_current(table, entry);
        let may_have = |class: &Class, sequence: u64| crew.may_have(table, worker, class, sequence);
        classes.pick(fits, is_let, is_current, may_have)
    }

    /// Asks leases back that wait at one worker while another is idle, or something of higher
    /// priority is there.
    fn recall(&mut self) {
        self.recall_at = None;
        if self.book.crew.ahead == 0 {
            return;
        }
        self.recall_for_idle();
        if self.book.classes.len() > 0 {
            self.recall_for_priority();
        }
    }

    fn recall_for_idle(&mut self) {
        // The slots of one that is held are to stay free.
        let is_idle = |index: u32, worker: &Worker| {
            worker.is_at_work() && worker.has_slot() && self.hold_of(index).is_none()
        };
        let crew = self.book.crew.iter();
        let idle = crew.filter(|(index, worker)| is_idle(*index, worker)).take(IDLE_SERVED);
        let idle: Vec<(u32, usize)> =
            idle.map(|(index, worker)| (index, worker.free_slots() as usize)).collect();
        if idle.is_empty() {
            return;
        }
        let victims = self.longest_backlogs();
        let looks = BACKLOGS_LOOKED_AT / idle.len();
        // What it could not start at once would only go back to where it came from.
        let can_start = |worker: &Worker, class: &Class, task: &Task| {
            worker.can_run(class) && !task.failed_on().contains(&worker.name)
        };
        for (index, slots) in idle {
            let mut left = slots;
            for (backlog, victim) in victims.iter().take(looks) {
                if *backlog < RECALL_MIN.0 {
                    // It may turn out to take longer.
                    self.recall_at = Some(self.clock + RECALL_MIN);
                    break;
                }
                let waiting = self.book.crew.get(*victim).map_or(0, |it| it.ahead as usize);
                let count = left.min(waiting.div_ceil(2));
                left -= self.recall_from(*victim, count, can_start, index);
                if left == 0 {
                    break;
                }
            }
        }
    }

    /// Workers where leases wait, and for how long: the longest first, and not all of them.
    fn longest_backlogs(&self) -> Vec<(i64, u32)> {
        let workers = self.book.crew.iter().filter(|(_, it)| it.ahead > 0 && it.is_at_work());
        let backlogs = workers.map(|(index, worker)| (worker.backlog_ns(self.clock), index));
        let mut backlogs: Vec<(i64, u32)> = backlogs.collect();
        if backlogs.len() > BACKLOGS_LOOKED_AT {
            backlogs.select_nth_unstable_by_key(BACKLOGS_LOOKED_AT, |backlog| Reverse(*backlog));
            backlogs.truncate(BACKLOGS_LOOKED_AT);
        }
        backlogs.sort_unstable_by_key(|backlog| Reverse(*backlog));
        backlogs
    }

    /// Asks leases back from those who have tasks waiting of lower priority than what they would be
    /// given instead if they had room for it.
    fn recall_for_priority(&mut self) {
        let lowest = self.book.crew.lowest_ahead;
        if self.book.classes.top_priority().is_none_or(|top| top <= lowest) {
            return;
        }
        let mut left = self.book.classes.len().min(RECALLS_A_TURN);
        let is_full = |it: &Worker| it.ahead > 0 && !it.may_wait() && it.is_at_work();
        let hoarders = self.book.crew.iter().filter(|(_, it)| is_full(it));
        let hoarders: Vec<u32> = hoarders.map(|(index, _)| index).collect();
        for index in hoarders {
            if left == 0 {
                return;
            }
            let Some(first) = self.first_for(index, Pass::Ahead) else { continue };
            let is_lower = |_: &Worker, _: &Class, task: &Task| task.priority < first.priority;
            left -= self.recall_from(index, 1, is_lower, index);
        }
    }

    /// Asks back up to so many of the latest leases that wait at a worker, if `wanted` says so with
    /// regard to another one. Those under way count. Returns how many.
    fn recall_from(
        &mut self,
        victim: u32,
        count: usize,
        wanted: impl Fn(&Worker, &Class, &Task) -> bool,
        other: u32,
    ) -> usize {
        let Book { crew, table, classes, .. } = &self.book;
        let Some(other) = crew.get(other) else { return 0 };
        let latest = crew.latest_ahead(table, victim).take(2 * count + RECALLS_A_TURN);
        let wanted = latest.filter_map(|sequence| {
            let task = table.get(sequence)?;
            let is_wanted = wanted(other, classes.get(task.class), task);
            is_wanted.then_some((sequence, task.attempt, task.is_recalled))
        });
        let recalls: Vec<_> = wanted.take(count).collect();
        let party = crew.get(victim).and_then(|worker| worker.party);
        for (sequence, attempt, is_recalled) in &recalls {
            let Some(party) = party.filter(|_| !is_recalled) else { continue };
            if let Some(task) = self.book.table.get_mut(*sequence) {
                debug_assert_eq!(task.state, TaskState::Leased, "it waits at its worker");
                task.is_recalled = true;
            }
            self.stats.recalled += 1;
            self.tell(party, Out::Recall { sequence: *sequence, attempt: *attempt });
        }
        recalls.len()
    }
}
