//! Whether the farm keeps what it promises: nothing lost, nothing twice, nothing out of turn.
//!
//! The ledger stands at the doors of the queues: it sees every message that a queue takes and every
//! one that leaves, and every run of a task in true time. It never looks into a queue. So what it
//! knows is of two kinds, what is *surely* so and what *may* be: a worker that was silent for too
//! long may have been given up, a wish of a client may have been granted before a crash. Only what
//! contradicts all that may be is a violation. One ledger is of all queues together; what time it
//! is, and in which order things happen, is a matter of each.

mod ends;
mod facts;
mod heard;
mod order;
mod told;
mod waits;

pub(super) use ends::tag;

use super::plans::{Plan, Plans};
use super::report::{FarmCounts, FarmViolationKind, Findings};
use facts::{Ended, LeaseFacts, RunFacts, SessionFacts, TaskFacts};
use order::Order;
use punctual_core::task::{TaskQueueConfig, TaskQueueStats};
use punctual_core::{Nanos, SessionId};
use punctual_wire::CloseReason;
use punctual_wire::task::{Attempt, TaskId, Verb};
use std::collections::{BTreeMap, VecDeque};
use waits::Waits;

/// A wish about one task that was not answered yet.
#[derive(Debug, Clone, Copy)]
struct Wish {
    task: u32,
    verb: Verb,
    /// How often the task had been touched then.
    touched: u64,
}

/// A task that a client has submitted.
#[derive(Debug, Clone, Copy)]
struct Submission {
    ticket: u64,
    task: u32,
    /// What it comes after is surely there.
    has_all: bool,
}

/// Everything that is known.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) findings: Findings,
    pub(super) counts: FarmCounts,
    tasks: Vec<TaskFacts>,
    ids: BTreeMap<TaskId, u32>,
    sessions: BTreeMap<u64, SessionFacts>,
    /// By connection and request.
    wishes: BTreeMap<(u32, u32), Wish>,
    /// Those that were not answered yet, by connection.
    submitted: BTreeMap<u32, VecDeque<Submission>>,
    /// Of each queue.
    orders: Vec<Order>,
    waits: Waits,
    lease_timeout: Nanos,
    reconnect_grace: Nanos,
    losses_max: u16,
    /// Most tasks that can have been new, by what clients were told.
    added: u64,
    removals: u64,
}

impl Ledger {
    /// The ledger of so many queues, which have these settings.
    pub(super) fn new(plans: &Plans, queues: usize, config: &TaskQueueConfig) -> Self {
        let facts = |plan: &Plan| TaskFacts { queue: plan.queue, ..TaskFacts::default() };
        Self {
            findings: Findings::default(),
            counts: FarmCounts::default(),
            tasks: plans.all.iter().map(facts).collect(),
            ids: BTreeMap::new(),
            sessions: BTreeMap::new(),
            wishes: BTreeMap::new(),
            submitted: BTreeMap::new(),
            orders: (0..queues).map(|_| Order::default()).collect(),
            waits: Waits::default(),
            lease_timeout: config.lease_timeout.into(),
            reconnect_grace: config.reconnect_grace.into(),
            losses_max: config.losses_max,
            added: 0,
            removals: 0,
        }
    }

    pub(super) fn find(&mut self, kind: FarmViolationKind, text: String) {
        self.findings.add(kind, text);
    }

    /// Whether a client may have had a task removed, or it was never submitted for such a reason.
    pub(super) fn may_be_missing(&self, task: u32) -> bool {
        let facts = &self.tasks[task as usize];
        facts.may_be_removed || facts.is_given_up
    }

    /// Nobody will submit a task, since what it comes after may be gone.
    pub(super) fn give_up(&mut self, task: u32) {
        self.facts(task).is_given_up = true;
    }

    /// How often a task was run so far.
    pub(super) fn runs_of(&self, task: u32) -> u64 {
        self.tasks[task as usize].runs.len() as u64
    }

    /// Adds what a queue has counted, at its end.
    pub(super) fn add_stats(&mut self, stats: &TaskQueueStats) {
        self.counts.stale += stats.stale;
        self.counts.expired += stats.expired;
    }

    fn facts(&mut self, task: u32) -> &mut TaskFacts {
        &mut self.tasks[task as usize]
    }

    /// The task of an id that the queue names, with what it says the task is.
    fn identify(&mut self, plans: &Plans, id: TaskId, payload: &[u8]) -> Option<u32> {
        let Some(task) = plans.number_of(payload) else {
            self.find(FarmViolationKind::Invented, format!("task {id} is none that there is"));
            return None;
        };
        let known = *self.ids.entry(id).or_insert(task);
        let facts = &mut self.tasks[task as usize];
        let is_astray = usize::from(id.shard()) != facts.queue;
        let is_new = !facts.ids.contains(&id);
        let is_second = is_new && !facts.ids.is_empty() && !facts.may_be_removed;
        if is_new {
            facts.ids.push(id);
        }
        let why = match (known == task, facts.is_sent) {
            (false, _) => format!("task {id} is t{known}, and then t{task}"),
            (_, false) => format!("task {id} is t{task}, which nobody has submitted"),
            _ if is_astray => format!("task {id} is t{task}, which is for queue {}", facts.queue),
            _ if is_second => format!("t{task} is there twice, as {:?}", facts.ids),
            _ => return Some(task),
        };
        self.find(FarmViolationKind::Invented, why);
        None
    }

    /// Ends the leases that a worker may lose now.
    fn end_leases(
        &mut self,
        session: SessionId,
        is_lost: impl Fn(&LeaseFacts) -> bool,
        how: Ended,
    ) {
        for facts in &mut self.tasks {
            for lease in facts.open_leases() {
                if lease.session == session && is_lost(lease) {
                    lease.ended = Some(how);
                }
            }
        }
    }

    fn may_be_gone(&mut self, session: SessionId) {
        if let Some(facts) = self.sessions.get_mut(&session.0) {
            facts.may_be_gone = true;
        }
        self.end_leases(session, |_| true, Ended::Expired);
    }

    /// A queue is about to do what is due: whoever was silent or away for too long is given up.
    pub(super) fn before_turn(&mut self, queue: usize, now: Nanos) {
        self.orders[queue].begin_turn();
        let (timeout, grace) = (self.lease_timeout, self.reconnect_grace);
        let is_late = |facts: &SessionFacts| {
            let is_away = facts.down_at.is_some_and(|since| now - since >= grace);
            let is_late = is_away || now - facts.heard_at >= timeout;
            facts.queue == queue && !facts.may_be_gone && is_late
        };
        let late = self.sessions.iter().filter(|(_, facts)| is_late(facts));
        let late: Vec<u64> = late.map(|(session, _)| *session).collect();
        for session in late {
            self.may_be_gone(SessionId(session));
        }
    }

    /// A queue knows that a connection is no more.
    pub(super) fn unlinked(&mut self, queue: usize, now: Nanos, conn: u32) {
        self.submitted.remove(&conn);
        self.wishes.retain(|(other, _), _| *other != conn);
        for facts in self.sessions.values_mut().filter(|facts| facts.conn == Some(conn)) {
            (facts.conn, facts.down_at) = (None, Some(now));
        }
        // What waited to be told to it is ready again, and nobody saw that.
        self.forget_ready(queue);
    }

    fn forget_ready(&mut self, queue: usize) {
        for facts in self.tasks.iter_mut().filter(|facts| facts.queue == queue) {
            facts.ready_turn = None;
            facts.may_be_out |= facts.is_sent;
        }
    }

    /// A queue closes a connection.
    pub(super) fn closing(&mut self, session: Option<SessionId>, reason: CloseReason) {
        let session = session.and_then(|session| self.sessions.get(&session.0));
        match (reason, session) {
            (CloseReason::LeaseExpired, Some(facts)) if !facts.may_be_gone => {
                let name = String::from_utf8_lossy(&facts.name).into_owned();
                self.find(
                    FarmViolationKind::ExpiredEarly,
                    format!("{name} was given up although it was heard of in time"),
                );
            }
            (CloseReason::LeaseExpired | CloseReason::Replaced, _) => {}
            (other, _) => {
                self.find(FarmViolationKind::Malformed, format!("the queue hung up: {other}"));
            }
        }
    }

    /// The server was killed and is back, with these times by the clocks of its queues: what was
    /// not acknowledged may never have happened.
    pub(super) fn restarted(&mut self, now: &[Nanos]) {
        self.submitted.clear();
        self.wishes.clear();
        for queue in 0..now.len() {
            self.forget_ready(queue);
            self.orders[queue] = Order::default();
        }
        let acked: BTreeMap<u64, u64> =
            self.sessions.iter().map(|(session, facts)| (*session, facts.acked)).collect();
        for facts in &mut self.tasks {
            facts.pending = None;
            let latest: BTreeMap<TaskId, Attempt> =
                facts.leases.iter().map(|lease| (lease.id, lease.attempt)).collect();
            for lease in &mut facts.leases {
                let known = acked.get(&lease.session.0).copied().unwrap_or(0);
                // That it was taken back shows only in the next one, which has not left yet.
                let may_be_back = lease.ended == Some(Ended::NotReceived)
                    && latest.get(&lease.id) == Some(&lease.attempt);
                if may_be_back || lease.seq().is_some_and(|seq| seq > known) {
                    (lease.ended, lease.is_unsure) = (None, true);
                }
            }
        }
        for facts in self.sessions.values_mut() {
            let now = now[facts.queue];
            (facts.conn, facts.heard_at, facts.down_at) = (None, now, Some(now));
            // What it had may be its own again, if it was given up just before.
            facts.may_be_gone = false;
        }
    }

    /// A worker starts to run a task. Returns the run.
    pub(super) fn run_began(
        &mut self,
        at: i64,
        session: SessionId,
        id: TaskId,
        attempt: Attempt,
    ) -> Option<Run> {
        self.counts.runs += 1;
        let task = *self.ids.get(&id)?;
        let facts = self.facts(task);
        let is_leased = facts.lease(id, attempt).is_some_and(|lease| lease.session == session);
        let is_again = facts.runs.iter().any(|run| (run.id, run.attempt) == (id, attempt));
        let (ended, has_succeeded) = (None, false);
        facts.runs.push(RunFacts { id, attempt, began: at, ended, has_succeeded });
        let index = facts.runs.len() - 1;
        if !is_leased || is_again {
            let why = if is_again { "for the second time" } else { "without a lease" };
            let text = format!("attempt {} of t{task} is run {why}", attempt.0);
            self.find(FarmViolationKind::AttemptTwice, text);
        }
        Some(Run { task, index })
    }

    /// A run is over, whether or not its worker has noticed.
    pub(super) fn run_ended(&mut self, run: Run, at: i64, has_succeeded: bool) {
        let facts = &mut self.facts(run.task).runs[run.index];
        (facts.ended, facts.has_succeeded) = (Some(at), has_succeeded);
    }
}

/// A run of a task, by its place in the ledger.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) task: u32,
    index: usize,
}
