//! What a queue hears.

use super::facts::{Allowed, Ended, LeaseFacts, SessionFacts, Success};
use super::{Ledger, Submission, Wish};
use crate::farm::plans::Plans;
use crate::farm::report::FarmViolationKind;
use punctual_core::{Nanos, SessionId};
use punctual_wire::Frame;
use punctual_wire::task::{Attempt, Capacity, Occupancy, TaskId, ToQueue, ToQueueReader, Verb};
use std::collections::BTreeSet;

impl Ledger {
    /// A frame of a worker reaches a queue.
    pub(in crate::farm) fn heard_worker(
        &mut self,
        queue: usize,
        now: Nanos,
        session: SessionId,
        conn: u32,
        frame: &Frame<'_>,
    ) {
        let mut reader = ToQueueReader::new(frame);
        while let Ok(Some(message)) = reader.next_message() {
            match message {
                ToQueue::Enlist { name, capacity, .. } => {
                    self.enlisted(queue, now, session, conn, name);
                    // On each link it says again what tasks of other queues take.
                    self.offered(session, capacity, Occupancy::default());
                }
                ToQueue::Credit { capacity } => {
                    let facts = self.sessions.get(&session.0);
                    let occupied = facts.map(|facts| facts.occupied).unwrap_or_default();
                    self.offered(session, capacity, occupied);
                }
                ToQueue::Occupied { by_others } => {
                    let facts = self.sessions.get(&session.0);
                    let capacity = facts.map(|facts| facts.capacity).unwrap_or_default();
                    self.offered(session, capacity, by_others);
                }
                ToQueue::Hold { task, attempt } => {
                    if let Some(facts) = self.sessions.get_mut(&session.0) {
                        facts.held.insert((task, attempt));
                    }
                }
                ToQueue::Held => self.came_back(session),
                ToQueue::Report { seq, task, attempt, end } => {
                    self.ended(session, seq, task, attempt, Some(end.is_success()));
                }
                ToQueue::Return { seq, task, attempt, .. } => {
                    self.counts.returned += 1;
                    self.ended(session, seq, task, attempt, None);
                }
                _ => {}
            }
        }
        if let Some(facts) = self.sessions.get_mut(&session.0) {
            facts.heard_at = now;
        }
    }

    fn enlisted(&mut self, queue: usize, now: Nanos, session: SessionId, conn: u32, name: &[u8]) {
        // Who starts again under its name has lost what it had.
        let name = base(name);
        let is_replaced = |other: &u64, facts: &SessionFacts| {
            let is_away = facts.queue == queue && facts.conn.is_none();
            *other != session.0 && is_away && facts.name == name
        };
        let replaced = self.sessions.iter().filter(|(other, facts)| is_replaced(other, facts));
        let replaced: Vec<u64> = replaced.map(|(other, _)| *other).collect();
        for other in replaced {
            self.may_be_gone(SessionId(other));
        }
        let facts = self.sessions.entry(session.0).or_insert_with(|| SessionFacts {
            queue,
            name: name.to_vec(),
            conn: None,
            heard_at: now,
            down_at: None,
            may_be_gone: false,
            capacity: Capacity::default(),
            occupied: Occupancy::default(),
            allowed: Allowed::default(),
            held: BTreeSet::new(),
            seq: 0,
            acked: 0,
        });
        (facts.conn, facts.heard_at, facts.down_at) = (Some(conn), now, None);
        facts.may_be_gone = false;
        facts.held.clear();
    }

    fn offered(&mut self, session: SessionId, capacity: Capacity, occupied: Occupancy) {
        if let Some(facts) = self.sessions.get_mut(&session.0) {
            (facts.capacity, facts.occupied) = (capacity, occupied);
            facts.allowed = facts.allowed.or(Allowed::by(&capacity, &occupied));
        }
    }

    /// Whether a worker has offered so many slots to its queue, and does not drain.
    pub(in crate::farm) fn offers(&self, session: SessionId, slots: u32) -> bool {
        self.sessions.get(&session.0).is_some_and(|facts| {
            let Capacity { slots: offered, is_draining, .. } = facts.capacity;
            offered == slots && !is_draining
        })
    }

    /// A worker has said all that it has.
    fn came_back(&mut self, session: SessionId) {
        let Some(facts) = self.sessions.get_mut(&session.0) else { return };
        let held = std::mem::take(&mut facts.held);
        self.counts.held += held.len() as u64;
        let before = self.open_leases_of(session);
        let has = |id: TaskId, attempt: Attempt| held.contains(&(id, attempt));
        self.end_leases(session, |lease| !has(lease.id, lease.attempt), Ended::NotReceived);
        self.counts.not_received += (before - self.open_leases_of(session)) as u64;
    }

    pub(super) fn open_leases_of(&self, session: SessionId) -> usize {
        let leases = self.tasks.iter().flat_map(|facts| &facts.leases);
        leases.filter(|lease| lease.session == session && lease.ended.is_none()).count()
    }

    /// A lease came to an end, with a success or a failure, or without either.
    fn ended(
        &mut self,
        session: SessionId,
        seq: u64,
        id: TaskId,
        attempt: Attempt,
        outcome: Option<bool>,
    ) {
        if let Some(facts) = self.sessions.get_mut(&session.0) {
            facts.seq = facts.seq.max(seq);
        }
        let Some(task) = self.ids.get(&id).copied() else { return };
        let facts = self.facts(task);
        facts.has_succeeded |= outcome == Some(true);
        let Some(lease) = facts.lease_mut(id, attempt).filter(|it| it.session == session) else {
            let text = format!("attempt {} of t{task} is reported by who never had it", attempt.0);
            return self.find(FarmViolationKind::Malformed, text);
        };
        lease.outcome = outcome.or(lease.outcome);
        if lease.ended.is_some() {
            // Said before, or of no interest any more.
            return;
        }
        lease.ended = Some(match outcome {
            Some(_) => Ended::Reported(seq),
            None => Ended::Returned(seq),
        });
        if outcome == Some(true) {
            facts.pending = Some(Success { session, seq, id, attempt });
        }
    }

    /// A frame of a client reaches a queue.
    pub(in crate::farm) fn heard_client(
        &mut self,
        plans: &Plans,
        queue: usize,
        conn: u32,
        frame: &Frame<'_>,
    ) {
        let mut reader = ToQueueReader::new(frame);
        while let Ok(Some(message)) = reader.next_message() {
            match message {
                ToQueue::Submit { ticket, spec } => {
                    let Some(task) = plans.number_of(spec.payload) else { continue };
                    self.facts(task).is_sent = true;
                    let is_there = |before: &u32| {
                        let facts = &self.tasks[*before as usize];
                        facts.is_acked && !facts.may_be_removed
                    };
                    let has_all = plans.get(task).after.iter().all(is_there);
                    let submission = Submission { ticket, task, has_all };
                    self.submitted.entry(conn).or_default().push_back(submission);
                }
                ToQueue::Control { request, verb, selection } => {
                    self.counts.controls += 1;
                    let Some(id) = selection.task else {
                        self.touch_all(plans, queue, verb);
                        continue;
                    };
                    let Some(task) = self.ids.get(&id).copied() else { continue };
                    self.touch(plans, task, verb);
                    let touched = self.facts(task).touched;
                    self.wishes.insert((conn, request), Wish { task, verb, touched });
                }
                _ => {}
            }
        }
    }

    fn touch_all(&mut self, plans: &Plans, queue: usize, verb: Verb) {
        let here = plans.all.iter().zip(0_u32..).filter(|(plan, _)| plan.queue == queue);
        for (_, task) in here {
            self.touch(plans, task, verb);
        }
    }

    /// A client wants something of a task, and it may come about.
    fn touch(&mut self, plans: &Plans, task: u32, verb: Verb) {
        self.removals += u64::from(verb == Verb::Remove);
        let facts = self.facts(task);
        facts.touched += 1;
        match verb {
            Verb::Cancel => facts.may_be_cancelled = true,
            Verb::Retry => facts.may_be_revived = true,
            Verb::Requeue => {
                facts.may_be_revived = true;
                (facts.pending, facts.surely_done) = (None, None);
            }
            Verb::Remove => {
                facts.may_be_removed = true;
                (facts.pending, facts.surely_done) = (None, None);
                facts.is_surely_cancelled = false;
            }
        }
        self.change(task, verb);
        // What comes after it is cancelled with it, and comes back with it.
        for follower in plans.followers(task) {
            let facts = self.facts(*follower);
            facts.touched += 1;
            match verb {
                Verb::Cancel => facts.may_be_cancelled = true,
                Verb::Retry | Verb::Requeue => facts.may_be_revived = true,
                Verb::Remove => {}
            }
            self.change(*follower, verb);
        }
    }

    fn change(&mut self, task: u32, verb: Verb) {
        let turn = self.orders[self.tasks[task as usize].queue].turn;
        let facts = self.facts(task);
        facts.is_contended = facts.touched_turn.replace(turn) == Some(turn);
        facts.ready_turn = None;
        if matches!(verb, Verb::Retry | Verb::Requeue) {
            facts.is_surely_cancelled = false;
        }
        if matches!(verb, Verb::Cancel | Verb::Requeue) {
            // What is put back is of no more account, however it ended.
            let is_open = |lease: &LeaseFacts| lease.ended.is_none() || verb == Verb::Requeue;
            for lease in facts.leases.iter_mut().filter(|lease| is_open(lease)) {
                lease.ended = Some(Ended::Touched);
            }
        }
    }
}

/// A name without what a queue has appended to it where it was taken. The other queues know the
/// worker by the name that queue 0 gave it, and may append something of their own.
fn base(name: &[u8]) -> &[u8] {
    let end = name.iter().position(|byte| *byte == b'#');
    &name[..end.unwrap_or(name.len())]
}
