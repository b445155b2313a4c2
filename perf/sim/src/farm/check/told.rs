//! What a queue tells.

use super::facts::LeaseFacts;
use super::{Ended, Ledger};
use crate::farm::inspect::Seen;
use crate::farm::plans::Plans;
use crate::farm::report::FarmViolationKind as Kind;
use punctual_core::SessionId;
use punctual_wire::Frame;
use punctual_wire::task::{Attempt, PushReader, QueuePush, RefusedTask, TaskFault, TaskId, Verb};

impl Ledger {
    /// A frame leaves the queue, for a worker if `session` says which.
    pub(in crate::farm) fn told(
        &mut self,
        plans: &Plans,
        session: Option<SessionId>,
        conn: u32,
        frame: &Frame<'_>,
    ) {
        let mut reader = PushReader::new(frame);
        loop {
            match reader.next_message() {
                Ok(Some(message)) => match session {
                    Some(session) => self.told_worker(plans, session, &message),
                    None => self.told_client(plans, conn, &message),
                },
                Ok(None) => return,
                Err(error) => {
                    let text = format!("the queue sent what cannot be read: {error}");
                    return self.find(Kind::Malformed, text);
                }
            }
        }
    }

    fn told_worker(&mut self, plans: &Plans, session: SessionId, message: &QueuePush<'_>) {
        match *message {
            QueuePush::Lease { task, attempt, payload, .. } => {
                self.counts.leases += 1;
                if let Some(number) = self.identify(plans, task, payload) {
                    self.leased(plans, session, number, task, attempt);
                }
            }
            QueuePush::Acked { seq } => self.acked(session, seq),
            QueuePush::Recall { .. } => self.counts.recalled += 1,
            QueuePush::Cancel { .. } => self.counts.called_off += 1,
            QueuePush::Enlisted { .. } | QueuePush::Drain => {}
            _ => self.find(Kind::Malformed, "a worker was told what is for clients".to_owned()),
        }
    }

    fn leased(
        &mut self,
        plans: &Plans,
        session: SessionId,
        task: u32,
        id: TaskId,
        attempt: Attempt,
    ) {
        let open = plans.get(task).after.iter().find(|at| {
            let before = &self.tasks[**at as usize];
            !before.has_succeeded && !before.may_be_removed
        });
        let open = open.copied();
        let attempts_max = u64::from(plans.get(task).attempts_max);
        let number = attempt.0;
        let failures = self.sure_failures(task, id);
        let facts = self.facts(task);
        let latest = facts.leases.iter().filter(|lease| lease.id == id).map(|it| it.attempt).max();
        let is_out =
            |lease: &&LeaseFacts| lease.id == id && lease.ended.is_none() && !lease.is_unsure;
        let out = facts.leases.iter().find(is_out);
        let out = out.map(|lease| lease.attempt.0);
        // A wish to remove it may have been met right after: then it is another task by now.
        let is_done = facts.surely_done.is_some_and(|(done, _)| done == id);
        let has_failed = !facts.may_be_revived && failures >= attempts_max;
        let what = if let Some(latest) = latest.filter(|latest| *latest >= attempt) {
            let why = format!("attempt {number} of t{task} after attempt {}", latest.0);
            Some((Kind::AttemptTwice, why))
        } else if is_done || facts.is_surely_cancelled || has_failed {
            let why = if is_done { "it was done" } else { "it was at its end" };
            Some((Kind::LeasedAgain, format!("t{task} as attempt {number} although {why}")))
        } else if let Some(out) = out {
            let why = format!("t{task} as attempt {number} while attempt {out} is out");
            Some((Kind::LeasedTwice, why))
        } else {
            let why = |open: u32| format!("t{task} although t{open} has never succeeded");
            open.map(|open| (Kind::TooEarly, why(open)))
        };
        let lease = LeaseFacts::new(id, attempt, session);
        facts.leases.push(lease);
        facts.ready_turn = None;
        let queue = facts.queue;
        self.orders[queue].leased.push(task);
        if let Some((kind, why)) = what {
            self.find(kind, format!("given out: {why}"));
        }
        self.check_room(plans, session);
    }

    /// Failures of a task that the queue has surely counted.
    pub(super) fn sure_failures(&self, task: u32, id: TaskId) -> u64 {
        let acked =
            |session: SessionId| self.sessions.get(&session.0).map_or(0, |facts| facts.acked);
        let is_sure = |lease: &&LeaseFacts| {
            let is_counted = matches!(lease.ended, Some(Ended::Reported(seq))
                if seq <= acked(lease.session));
            lease.id == id && lease.outcome == Some(false) && is_counted
        };
        self.tasks[task as usize].leases.iter().filter(is_sure).count() as u64
    }

    /// Whether a worker has no more than it offers.
    fn check_room(&mut self, plans: &Plans, session: SessionId) {
        let Some(allowed) = self.sessions.get(&session.0).map(|facts| facts.allowed) else {
            return self.find(Kind::Malformed, "a lease for who has not enlisted".to_owned());
        };
        let (mut memory, mut cores) = (Vec::new(), Vec::new());
        for (facts, plan) in self.tasks.iter().zip(&plans.all) {
            let out = facts.leases.iter().filter(|it| it.session == session && it.ended.is_none());
            for _ in out {
                memory.push(plan.memory);
                cores.push(u64::from(plan.cores_milli));
            }
        }
        // At least so many of them run, or are about to: those that ask for least, say.
        let running = memory.len().saturating_sub(allowed.ahead as usize);
        let sum = |asked: &mut Vec<u64>| -> u64 {
            asked.sort_unstable();
            asked[..running].iter().sum()
        };
        let (memory_sum, cores_sum) = (sum(&mut memory), sum(&mut cores));
        let is_within = memory.len() as u64 <= allowed.leases
            && memory_sum <= allowed.memory
            && cores_sum <= allowed.cores;
        if !is_within {
            let text = format!(
                "a worker has {} leases, of which those that run ask for {memory_sum} bytes and \
                 {cores_sum} thousandths of cores, and it offers {allowed:?}",
                memory.len()
            );
            self.find(Kind::Capacity, text);
        }
    }

    /// Reports and returns of a worker are acknowledged: they will never be forgotten.
    fn acked(&mut self, session: SessionId, seq: u64) {
        let Some(facts) = self.sessions.get_mut(&session.0) else { return };
        facts.acked = facts.acked.max(seq);
        if seq > facts.seq {
            let text = format!("report {seq} is acknowledged after {}", facts.seq);
            return self.find(Kind::Malformed, text);
        }
        for facts in &mut self.tasks {
            let is_acked = facts.pending.filter(|it| it.session == session && it.seq <= seq);
            if let Some(success) = is_acked {
                facts.pending = None;
                facts.surely_done = Some((success.id, success.attempt));
            }
        }
    }

    fn told_client(&mut self, plans: &Plans, conn: u32, message: &QueuePush<'_>) {
        match *message {
            QueuePush::Submitted { ticket, added, known } => {
                self.submitted(conn, ticket, added, known);
            }
            QueuePush::Refused { ticket, reason } => self.refused(conn, ticket, reason),
            QueuePush::Row { ref row, .. } => {
                self.row(plans, &Seen::of(row));
            }
            QueuePush::End { request, changed, .. } => self.granted(conn, request, changed),
            QueuePush::Fault { request, fault } => {
                self.wishes.remove(&(conn, request));
                if !matches!(fault, TaskFault::Busy | TaskFault::UnknownWorker) {
                    self.find(Kind::Malformed, format!("a client is told: {fault}"));
                }
            }
            QueuePush::JobOpened { .. }
            | QueuePush::Progress { .. }
            | QueuePush::JobRow { .. }
            | QueuePush::WorkerRow { .. } => {}
            _ => self.find(Kind::Malformed, "a client was told what is for workers".to_owned()),
        }
    }

    /// Submissions are acknowledged: their tasks will never be forgotten.
    fn submitted(&mut self, conn: u32, ticket: u64, added: u32, known: u32) {
        let mut count = 0;
        let Some(waiting) = self.submitted.get_mut(&conn) else { return };
        while waiting.front().is_some_and(|first| first.ticket <= ticket)
            && let Some(submission) = waiting.pop_front()
        {
            count += 1;
            let facts = &mut self.tasks[submission.task as usize];
            facts.is_acked = true;
            let is_known = facts.may_be_out || facts.touched > 0;
            let is_fresh = facts.leases.is_empty() && !is_known;
            if is_fresh && facts.ready_turn.is_none() {
                facts.ready_turn = Some(self.orders[facts.queue].turn);
            }
        }
        self.counts.acknowledged += u64::from(added);
        self.counts.known += u64::from(known);
        self.added += u64::from(added);
        if u64::from(added) + u64::from(known) != count {
            let text = format!("{added} new and {known} known ones of {count} submissions");
            self.find(Kind::Counted, text);
        }
        // A task can be new once, and once more for each time that it may have been removed.
        let sent = self.tasks.iter().filter(|facts| facts.is_sent).count() as u64;
        if self.added > sent + self.removals {
            let text = format!("{} tasks are new, but only {sent} were sent", self.added);
            self.find(Kind::Counted, text);
        }
    }

    fn refused(&mut self, conn: u32, ticket: u64, reason: RefusedTask) {
        self.counts.refused += 1;
        let waiting = self.submitted.entry(conn).or_default();
        let at = waiting.iter().position(|submission| submission.ticket == ticket);
        let Some(submission) = at.and_then(|at| waiting.remove(at)) else {
            let text = format!("submission {ticket} is refused, which is none");
            return self.find(Kind::Counted, text);
        };
        match reason {
            RefusedTask::JournalFull => self.counts.journal_full += 1,
            RefusedTask::UnknownAfter if !submission.has_all => {}
            _ => self.find(Kind::Lost, format!("t{} is refused: {reason}", submission.task)),
        }
    }

    /// A row of a task is shown. Returns which task it is of.
    pub(super) fn row(&mut self, plans: &Plans, row: &Seen) -> Option<u32> {
        let task = self.identify(plans, row.id, &row.payload)?;
        let plan = plans.get(task);
        let is_as_sent = (row.key, row.priority) == (plan.key, plan.priority)
            && (row.memory, row.cores_milli) == (plan.memory, plan.cores_milli)
            && row.attempts_max == plan.attempts_max;
        if !is_as_sent {
            self.find(Kind::Invented, format!("t{task} is not as it was submitted"));
        }
        if row.failures > row.attempts_max {
            let text = format!("t{task} failed {} times of {}", row.failures, row.attempts_max);
            self.find(Kind::WrongEnd, text);
        }
        Some(task)
    }

    /// What a client wanted was done.
    fn granted(&mut self, conn: u32, request: u32, changed: u64) {
        let Some(wish) = self.wishes.remove(&(conn, request)) else { return };
        if changed > 1 {
            let text = format!("{changed} tasks were changed, and one was meant");
            self.find(Kind::Counted, text);
        }
        let facts = self.facts(wish.task);
        if wish.verb == Verb::Cancel
            && changed == 1
            && facts.touched == wish.touched
            && !facts.is_contended
        {
            facts.is_surely_cancelled = true;
            if facts.pending.is_some() || facts.surely_done.is_some() {
                let text = format!("t{} was cancelled although it was done", wish.task);
                self.find(Kind::WrongEnd, text);
            }
        }
    }
}
