//! What a client has with one queue: its connection, the jobs that are open there, what was
//! submitted there and what was asked.

use super::plans::Plans;
use punctual_core::SessionId;
use punctual_wire::task::{JobId, StateCounts, TaskId, TaskSpec, ToQueue};
use punctual_wire::{BatchWriter, Limits};
use std::collections::{BTreeMap, VecDeque};

/// What an answer is awaited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Job(usize),
    Rows { limit: u32, next: TaskId },
    Watch,
    Other,
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) session: SessionId,
    /// Its connection, once it is welcome.
    pub(super) conn: Option<u32>,
    pub(super) out: BatchWriter,
    /// Which jobs the queue has said are open, over this connection.
    is_open: Vec<bool>,
    /// In the order in which they were sent, each with its ticket.
    unacked: VecDeque<(u64, u32)>,
    next_ticket: u64,
    pub(super) asked: BTreeMap<u32, Asked>,
    next_request: u32,
    /// The latest news that it watches.
    pub(super) counts: StateCounts,
    pub(super) seen: u64,
}

impl Line {
    pub(super) fn new(session: SessionId, jobs: usize, batch_max: u16) -> Self {
        Self {
            session,
            conn: None,
            out: BatchWriter::new(Limits::DEFAULT, batch_max, false),
            is_open: vec![false; jobs],
            unacked: VecDeque::new(),
            next_ticket: 1,
            asked: BTreeMap::new(),
            next_request: 1,
            counts: StateCounts::default(),
            seen: 0,
        }
    }

    /// A new connection: questions are asked anew.
    pub(super) fn come_up(&mut self, conn: u32) {
        self.conn = Some(conn);
        self.asked.clear();
        self.is_open.fill(false);
        self.seen = 0;
    }

    pub(super) fn go_down(&mut self) {
        self.conn = None;
        self.out.seal();
        self.out.clear_sealed();
    }

    pub(super) fn request(&mut self, asked: Asked) -> u32 {
        self.next_request += 1;
        self.asked.insert(self.next_request, asked);
        self.next_request
    }

    pub(super) fn watch(&mut self) {
        let request = self.request(Asked::Watch);
        ToQueue::Watch { request, job: None, seen: self.seen }.write(&mut self.out);
    }

    /// Opens a job, unless that is done or under way.
    pub(super) fn open_job(&mut self, at: usize, number: Option<JobId>) {
        let is_asked = self.asked.values().any(|asked| *asked == Asked::Job(at));
        if self.conn.is_none() || self.is_open[at] || is_asked {
            return;
        }
        let (request, name) = (self.request(Asked::Job(at)), format!("job {at}"));
        ToQueue::OpenJob { request, job: number, name: name.as_bytes() }.write(&mut self.out);
    }

    /// A job is open. True if all are.
    pub(super) fn opened(&mut self, at: usize) -> bool {
        self.is_open[at] = true;
        self.is_ready()
    }

    /// Whether tasks may be submitted: all jobs are open, and what was not acknowledged over the
    /// connection before has gone first, for the numbers of submissions ascend.
    pub(super) fn is_ready(&self) -> bool {
        self.conn.is_some() && self.is_open.iter().all(|is_open| *is_open)
    }

    /// Whether one more task may be submitted.
    pub(super) fn has_room(&self, window: usize) -> bool {
        self.is_ready() && self.unacked.len() < window
    }

    pub(super) fn submit(&mut self, task: u32, spec: TaskSpec<'_>) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.unacked.push_back((ticket, task));
        ToQueue::Submit { ticket, spec }.write(&mut self.out);
    }

    /// Sends what was not acknowledged before the connection broke.
    pub(super) fn resubmit(&mut self, plans: &Plans, numbers: &[Option<JobId>]) {
        for (ticket, task) in &self.unacked {
            let plan = plans.get(*task);
            let Some(job) = numbers[plan.job] else { continue };
            ToQueue::Submit { ticket: *ticket, spec: plan.spec(job) }.write(&mut self.out);
        }
    }

    /// All up to a ticket are acknowledged.
    pub(super) fn acked(&mut self, ticket: u64) {
        while self.unacked.front().is_some_and(|(sent, _)| *sent <= ticket) {
            self.unacked.pop_front();
        }
    }

    /// The task that is refused.
    pub(super) fn refused(&mut self, ticket: u64) -> Option<u32> {
        let at = self.unacked.iter().position(|(sent, _)| *sent == ticket)?;
        self.unacked.remove(at).map(|(_, task)| task)
    }

    /// Tasks that were not acknowledged, in the order in which they were sent.
    pub(super) fn unacked(&self) -> impl DoubleEndedIterator<Item = u32> {
        self.unacked.iter().map(|(_, task)| *task)
    }

    /// Whether everything is answered, and it knows how the queue is.
    pub(super) fn is_idle(&self, counts: StateCounts) -> bool {
        let is_answered = self.asked.values().all(|asked| *asked == Asked::Watch);
        self.unacked.is_empty() && is_answered && self.counts == counts
    }
}
