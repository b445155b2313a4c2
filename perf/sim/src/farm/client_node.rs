//! A client: it submits its tasks with a window, again after a break in what was not acknowledged,
//! and now and then asks, cancels, retries, requeues and removes.

use super::env::Env;
use super::net::{Content, Side};
use super::report::FarmViolationKind;
use crate::env::only_frame;
use crate::rng::Rng;
use punctual_core::SessionId;
use punctual_wire::task::{
    JobId, PushReader, QueuePush, Selection, StateCounts, StateSet, TaskId, TaskState, ToQueue,
    Verb,
};
use punctual_wire::{BatchWriter, Limits};
use std::collections::{BTreeMap, VecDeque};

/// A submission that was refused is tried again after up to this.
const RETRY_MAX: i64 = 20_000_000;
/// Tasks that it remembers, to do something with them.
const KNOWN_MAX: usize = 64;

/// What an answer is awaited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Job(usize),
    Rows { limit: u32, next: TaskId },
    Watch,
    Other,
}

/// From a start to an end of the client's process.
#[derive(Debug)]
struct Life {
    session: SessionId,
    /// Its connection, once it is welcome.
    conn: Option<u32>,
    out: BatchWriter,
    jobs: Vec<Option<JobId>>,
    /// In the order in which they were sent, each with its ticket.
    unacked: VecDeque<(u64, u32)>,
    next_ticket: u64,
    /// Refused ones, and when to try them again.
    later: Vec<(i64, u32)>,
    asked: BTreeMap<u32, Asked>,
    next_request: u32,
    known: Vec<TaskId>,
    /// The latest news that it watches.
    counts: StateCounts,
    seen: u64,
    submit_at: i64,
    ask_at: i64,
}

#[derive(Debug)]
pub(super) struct ClientNode {
    node: usize,
    /// What it has still to submit.
    todo: VecDeque<u32>,
    life: Option<Life>,
}

impl ClientNode {
    /// A client that is to submit these tasks.
    pub(super) fn new(node: usize, todo: impl IntoIterator<Item = u32>) -> Self {
        Self { node, todo: todo.into_iter().collect(), life: None }
    }

    pub(super) fn start(&mut self, env: &mut Env, at: i64) {
        let jobs = vec![None; env.tuning.jobs];
        self.life = Some(Life {
            session: SessionId(env.rng.draw()),
            conn: None,
            out: BatchWriter::new(Limits::DEFAULT, env.tuning.batch_max, false),
            jobs,
            unacked: VecDeque::new(),
            next_ticket: 1,
            later: Vec::new(),
            asked: BTreeMap::new(),
            next_request: 1,
            known: Vec::new(),
            counts: StateCounts::default(),
            seen: 0,
            submit_at: at,
            ask_at: at + env.rng.exponential(env.tuning.ask),
        });
    }

    /// Who it says it is.
    pub(super) fn session(&self) -> Option<SessionId> {
        self.life.as_ref().map(|life| life.session)
    }

    /// Its process is gone; the next one submits again what nobody has acknowledged.
    pub(super) fn crash(&mut self) {
        let Some(life) = self.life.take() else { return };
        let later = life.later.iter().map(|(_, task)| *task);
        for task in life.unacked.iter().map(|(_, task)| *task).rev().chain(later) {
            self.todo.push_front(task);
        }
    }

    /// Whether everything is submitted and answered, and it knows how the queue is.
    pub(super) fn is_idle(&self, counts: StateCounts) -> bool {
        self.life.as_ref().is_some_and(|life| {
            let is_answered = life.asked.values().all(|asked| *asked == Asked::Watch);
            let is_told = life.unacked.is_empty() && life.later.is_empty() && is_answered;
            is_told && self.todo.is_empty() && life.counts == counts
        })
    }

    /// What it waits for, for those who wonder why it does.
    pub(super) fn describe(&self) -> String {
        let Some(life) = &self.life else { return "gone".to_owned() };
        let (todo, later, asked) = (self.todo.len(), life.later.len(), &life.asked);
        format!("{todo} to submit, {later} later, {:?} sent, {asked:?} asked", life.unacked)
    }

    /// One turn. Returns when the next one is due if nothing arrives.
    pub(super) fn turn(
        &mut self,
        env: &mut Env,
        at: i64,
        inbox: VecDeque<(u32, Content)>,
    ) -> Option<i64> {
        let Self { node, todo, life } = self;
        let life = life.as_mut()?;
        for (conn, content) in inbox {
            life.take(env, *node, at, conn, content);
        }
        life.later.retain(|(due, task)| {
            if *due <= at {
                todo.push_back(*task);
            }
            *due > at
        });
        if let Some(conn) = life.conn {
            life.submit(env, todo, at);
            life.ask(env, at);
            let Env { net, events, .. } = &mut *env;
            net.send_frames(events, at, conn, Side::Caller, &mut life.out, |_| {});
        }
        let has_more = !todo.is_empty() && life.unacked.len() < env.tuning.window;
        let may_submit = has_more && life.conn.is_some() && !life.is_opening();
        let submit = may_submit.then_some(life.submit_at);
        let ask = (!env.is_healed && life.conn.is_some()).then_some(life.ask_at);
        let later = life.later.iter().map(|(due, _)| *due).min();
        [submit, ask, later].into_iter().flatten().min()
    }
}

impl Life {
    fn take(&mut self, env: &mut Env, node: usize, at: i64, conn: u32, content: Content) {
        let is_current = env.net.is_current(conn);
        match content {
            Content::Welcome if is_current => self.come_up(conn),
            Content::Frame(bytes) if self.conn == Some(conn) => {
                let frame = only_frame(&bytes);
                let mut reader = PushReader::new(&frame);
                loop {
                    match reader.next_message() {
                        Ok(Some(push)) => self.on_push(env, at, &push),
                        Ok(None) => return,
                        Err(error) => {
                            let text = format!("client {node} was sent {error}");
                            return env.ledger.find(FarmViolationKind::Malformed, text);
                        }
                    }
                }
            }
            Content::Closed(_) if is_current => {
                self.conn = None;
                self.out.seal();
                self.out.clear_sealed();
                env.net.forget(node - 1);
                env.connect_soon(at, node - 1);
            }
            _ => {}
        }
    }

    /// Says again what was not answered over the connection before. Questions it asks anew.
    fn come_up(&mut self, conn: u32) {
        self.conn = Some(conn);
        self.asked.clear();
        self.seen = 0;
        for job in 0..self.jobs.len() {
            let request = self.request(Asked::Job(job));
            let name = job_name(job);
            ToQueue::OpenJob { request, name: name.as_bytes() }.write(&mut self.out);
        }
        self.watch();
    }

    fn request(&mut self, asked: Asked) -> u32 {
        self.next_request += 1;
        self.asked.insert(self.next_request, asked);
        self.next_request
    }

    fn watch(&mut self) {
        let request = self.request(Asked::Watch);
        ToQueue::Watch { request, job: None, seen: self.seen }.write(&mut self.out);
    }

    /// Whether it does not know all jobs yet, or has not said again what was not acknowledged.
    fn is_opening(&self) -> bool {
        self.asked.values().any(|asked| matches!(asked, Asked::Job(_)))
    }

    /// Submits as much as the window lets it, if it is time to.
    fn submit(&mut self, env: &mut Env, todo: &mut VecDeque<u32>, at: i64) {
        // What was not acknowledged goes first again, for the numbers of submissions ascend.
        if self.submit_at > at || self.is_opening() {
            return;
        }
        let burst = 1 + env.rng.below(8);
        for _ in 0..burst {
            if self.unacked.len() >= env.tuning.window {
                return;
            }
            let Some(task) = todo.pop_front() else { return };
            let plan = env.plans.get(task);
            if plan.after.iter().any(|before| env.ledger.may_be_missing(*before)) {
                // What it comes after may be gone for ever.
                env.ledger.give_up(task);
                continue;
            }
            let Some(job) = self.jobs[plan.job] else { continue };
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            self.unacked.push_back((ticket, task));
            ToQueue::Submit { ticket, spec: plan.spec(job) }.write(&mut self.out);
        }
        let pause = if env.is_healed { 1_000 } else { env.rng.exponential(env.tuning.think) };
        self.submit_at = at + pause;
    }

    /// Sends what was not acknowledged before the connection broke.
    fn resubmit(&mut self, env: &Env) {
        for (ticket, task) in &self.unacked {
            let plan = env.plans.get(*task);
            let Some(job) = self.jobs[plan.job] else { continue };
            ToQueue::Submit { ticket: *ticket, spec: plan.spec(job) }.write(&mut self.out);
        }
    }

    /// Now and then wants something else.
    fn ask(&mut self, env: &mut Env, at: i64) {
        if env.is_healed || self.ask_at > at {
            return;
        }
        self.ask_at = at + 1 + env.rng.exponential(env.tuning.ask);
        match env.rng.below(20) {
            0..=7 => self.query(&mut env.rng, TaskId(0)),
            8..=15 => self.control(&mut env.rng),
            16 => {
                let request = self.request(Asked::Other);
                ToQueue::Jobs { request }.write(&mut self.out);
            }
            17 | 18 => {
                let request = self.request(Asked::Other);
                ToQueue::Workers { request }.write(&mut self.out);
            }
            _ if env.tuning.drains > 0 => {
                let request = self.request(Asked::Other);
                let name = format!("w{}", 1 + env.rng.below(6));
                ToQueue::StopWorker { request, name: name.as_bytes() }.write(&mut self.out);
            }
            _ => {}
        }
    }

    fn query(&mut self, rng: &mut Rng, from: TaskId) {
        let limit = *rng.pick(&[1, 5, 30]);
        let request = self.request(Asked::Rows { limit, next: from });
        let states = match rng.chance(300_000) {
            true => StateSet::ALL,
            false => TaskState::ALL.into_iter().filter(|_| rng.chance(600_000)).collect(),
        };
        let selection = Selection { states, from, ..Selection::default() };
        let with_output = rng.chance(500_000);
        ToQueue::Query { request, selection, limit, with_output }.write(&mut self.out);
    }

    /// Wants something of one task, seldom of many.
    fn control(&mut self, rng: &mut Rng) {
        if self.known.is_empty() {
            return self.query(rng, TaskId(0));
        }
        let verb = *rng.pick(&[Verb::Cancel, Verb::Retry, Verb::Requeue, Verb::Remove]);
        let task = *rng.pick(&self.known);
        let request = self.request(Asked::Other);
        let one = Selection { task: Some(task), ..Selection::default() };
        let failed = StateSet::NONE.with(TaskState::Failed);
        let selection = match rng.chance(30_000) {
            true => Selection { states: failed, ..Selection::default() },
            false => one,
        };
        let verb = if selection.task.is_none() { Verb::Retry } else { verb };
        ToQueue::Control { request, verb, selection }.write(&mut self.out);
    }

    fn on_push(&mut self, env: &mut Env, at: i64, push: &QueuePush<'_>) {
        match *push {
            QueuePush::JobOpened { request, job } => {
                if let Some(Asked::Job(at)) = self.asked.remove(&request) {
                    self.jobs[at] = Some(job);
                    if !self.is_opening() {
                        self.resubmit(env);
                    }
                }
            }
            QueuePush::Submitted { ticket, .. } => {
                while self.unacked.front().is_some_and(|(sent, _)| *sent <= ticket) {
                    self.unacked.pop_front();
                }
            }
            QueuePush::Refused { ticket, .. } => {
                let refused = self.unacked.iter().position(|(sent, _)| *sent == ticket);
                if let Some((_, task)) = refused.and_then(|index| self.unacked.remove(index)) {
                    self.later.push((at + env.rng.between(1, RETRY_MAX), task));
                }
            }
            QueuePush::Progress { request, version, counts } => {
                self.asked.remove(&request);
                if version == self.seen {
                    let text = format!("news of version {version}, which was known");
                    env.ledger.find(FarmViolationKind::Counted, text);
                }
                (self.seen, self.counts) = (version, counts);
                self.watch();
            }
            QueuePush::Row { request, ref row } => self.on_row(env, request, row.id),
            QueuePush::End { request, next, more, .. } => {
                let asked = self.asked.remove(&request);
                if more && matches!(asked, Some(Asked::Rows { .. })) && !env.is_healed {
                    self.query(&mut env.rng, next);
                }
            }
            QueuePush::Fault { request, .. } => match self.asked.remove(&request) {
                // The journal had no room for it, say.
                Some(Asked::Job(job)) => {
                    let request = self.request(Asked::Job(job));
                    let name = job_name(job);
                    ToQueue::OpenJob { request, name: name.as_bytes() }.write(&mut self.out);
                }
                Some(Asked::Watch) => self.watch(),
                _ => {}
            },
            _ => {}
        }
    }

    /// Rows come in ascending order, and no more than were wanted.
    fn on_row(&mut self, env: &mut Env, request: u32, id: TaskId) {
        let Some(Asked::Rows { limit, next }) = self.asked.get_mut(&request) else { return };
        if *limit == 0 || id < *next {
            let text = format!("the row of task {id} comes after that before {next}, or too late");
            env.ledger.find(FarmViolationKind::Malformed, text);
        }
        (*limit, *next) = (limit.saturating_sub(1), TaskId(id.0 + 1));
        if self.known.len() >= KNOWN_MAX {
            self.known.swap_remove(0);
        }
        self.known.push(id);
    }
}

fn job_name(job: usize) -> String {
    format!("job {job}")
}
