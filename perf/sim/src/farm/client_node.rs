//! A client: it submits its tasks with a window for each queue, again after a break in what was not
//! acknowledged, and now and then asks, cancels, retries, requeues and removes.

use super::client_line::{Asked, Line};
use super::env::Env;
use super::events::Event;
use super::layout::Side;
use super::net::Content;
use super::report::FarmViolationKind;
use crate::env::only_frame;
use crate::rng::Rng;
use punctual_core::SessionId;
use punctual_wire::task::{
    JobId, PushReader, QueuePush, Selection, StateCounts, StateSet, TaskId, TaskState, ToQueue,
    Verb,
};
use std::collections::VecDeque;

/// A submission that was refused is tried again after up to this.
const RETRY_MAX: i64 = 20_000_000;
/// Tasks that it remembers, to do something with them.
const KNOWN_MAX: usize = 64;

/// From a start to an end of the client's process.
#[derive(Debug)]
struct Life {
    /// One a queue, of those that it knows: queue 0 says how many there are.
    lines: Vec<Line>,
    /// Of each job the number that queue 0 gave it.
    numbers: Vec<Option<JobId>>,
    /// Refused ones, and when to try them again.
    later: Vec<(i64, u32)>,
    known: Vec<TaskId>,
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
        let first = new_line(env);
        self.life = Some(Life {
            lines: vec![first],
            numbers: vec![None; env.tuning.jobs],
            later: Vec::new(),
            known: Vec::new(),
            submit_at: at,
            ask_at: at + env.rng.exponential(env.tuning.ask),
        });
    }

    /// Who it says it is to a queue, once it knows of it.
    pub(super) fn session(&self, queue: usize) -> Option<SessionId> {
        self.life.as_ref()?.lines.get(queue).map(|line| line.session)
    }

    /// Its process is gone; the next one submits again what nobody has acknowledged.
    pub(super) fn crash(&mut self) {
        let Some(life) = self.life.take() else { return };
        let later = life.later.iter().map(|(_, task)| *task);
        for task in life.lines.iter().flat_map(Line::unacked).rev().chain(later) {
            self.todo.push_front(task);
        }
    }

    /// Whether everything is submitted and answered, and it knows how each queue is.
    pub(super) fn is_idle(&self, counts: &[StateCounts]) -> bool {
        self.life.as_ref().is_some_and(|life| {
            let knows_all = life.lines.len() == counts.len();
            let mut pairs = life.lines.iter().zip(counts);
            let is_told = knows_all && pairs.all(|(line, counts)| line.is_idle(*counts));
            is_told && life.later.is_empty() && self.todo.is_empty()
        })
    }

    /// What it waits for, for those who wonder why it does.
    pub(super) fn describe(&self) -> String {
        let Some(life) = &self.life else { return "gone".to_owned() };
        let of_line = |line: &Line| {
            let sent = Vec::from_iter(line.unacked());
            format!("{sent:?} sent, {:?} asked, is ready: {}", line.asked, line.is_ready())
        };
        let lines: Vec<String> = life.lines.iter().map(of_line).collect();
        format!("{} to submit, {} later, {lines:?}", self.todo.len(), life.later.len())
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
        let is_linked = life.lines.iter().any(|line| line.conn.is_some());
        if is_linked {
            life.submit(env, todo, at);
            life.ask(env, at);
            let Env { net, events, .. } = &mut *env;
            for line in &mut life.lines {
                if let Some(conn) = line.conn {
                    net.send_frames(events, at, conn, Side::Caller, &mut line.out, |_| {});
                }
            }
        }
        let next = todo.front().and_then(|task| life.lines.get(env.plans.get(*task).queue));
        let may_submit = next.is_some_and(|line| line.has_room(env.tuning.window));
        let submit = may_submit.then_some(life.submit_at);
        let ask = (!env.is_healed && is_linked).then_some(life.ask_at);
        let later = life.later.iter().map(|(due, _)| *due).min();
        [submit, ask, later].into_iter().flatten().min()
    }
}

impl Life {
    fn take(&mut self, env: &mut Env, node: usize, at: i64, conn: u32, content: Content) {
        let is_current = env.net.is_current(conn);
        let (link, queue) = (env.net.link_of(conn), env.net.queue_of(conn));
        match content {
            Content::Welcome { queues } if is_current => {
                self.lines[queue].come_up(conn);
                self.open_jobs(queue);
                self.lines[queue].watch();
                // What is known of the others now was not known before.
                for other in self.lines.len()..usize::from(queues) {
                    self.lines.push(new_line(env));
                    let link = env.layout.link(node, other);
                    env.events.plan(at, Event::Connect { link });
                }
            }
            Content::Frame(bytes)
                if self.lines.get(queue).is_some_and(|it| it.conn == Some(conn)) =>
            {
                let frame = only_frame(&bytes);
                let mut reader = PushReader::new(&frame);
                loop {
                    match reader.next_message() {
                        Ok(Some(push)) => self.on_push(env, at, queue, &push),
                        Ok(None) => return,
                        Err(error) => {
                            let text = format!("client {node} was sent {error}");
                            return env.ledger.find(FarmViolationKind::Malformed, text);
                        }
                    }
                }
            }
            Content::Closed(_) if is_current => {
                self.lines[queue].go_down();
                env.net.forget(link);
                env.connect_soon(at, link);
            }
            _ => {}
        }
    }

    /// Opens all jobs at a queue, as far as that can be done: queue 0 gives them their numbers, and
    /// the others have to be told.
    fn open_jobs(&mut self, queue: usize) {
        for (at, number) in self.numbers.iter().enumerate() {
            if queue == 0 {
                self.lines[0].open_job(at, None);
            } else if number.is_some() {
                self.lines[queue].open_job(at, *number);
            }
        }
    }

    /// Submits as much as the windows let it, if it is time to.
    fn submit(&mut self, env: &mut Env, todo: &mut VecDeque<u32>, at: i64) {
        if self.submit_at > at || !self.lines.iter().any(Line::is_ready) {
            return;
        }
        let burst = 1 + env.rng.below(8);
        for _ in 0..burst {
            let Some(task) = todo.front().copied() else { return };
            let plan = env.plans.get(task);
            // What cannot be submitted now holds up what is behind it, wherever that goes.
            let line = self.lines.get_mut(plan.queue);
            let Some(line) = line.filter(|line| line.has_room(env.tuning.window)) else { return };
            todo.pop_front();
            if plan.after.iter().any(|before| env.ledger.may_be_missing(*before)) {
                // What it comes after may be gone for ever.
                env.ledger.give_up(task);
                continue;
            }
            let Some(job) = self.numbers[plan.job] else { continue };
            line.submit(task, plan.spec(job));
        }
        let pause = if env.is_healed { 1_000 } else { env.rng.exponential(env.tuning.think) };
        self.submit_at = at + pause;
    }

    /// Now and then wants something else.
    fn ask(&mut self, env: &mut Env, at: i64) {
        if env.is_healed || self.ask_at > at {
            return;
        }
        self.ask_at = at + 1 + env.rng.exponential(env.tuning.ask);
        let queue = if self.lines.len() > 1 { env.rng.index(self.lines.len()) } else { 0 };
        let what = env.rng.below(20);
        let line = &mut self.lines[queue];
        if line.conn.is_none() {
            return;
        }
        match what {
            0..=7 => query(line, &mut env.rng, TaskId(0)),
            8..=15 => self.control(&mut env.rng, queue),
            16 => {
                let request = line.request(Asked::Other);
                ToQueue::Jobs { request }.write(&mut line.out);
            }
            17 | 18 => {
                let request = line.request(Asked::Other);
                ToQueue::Workers { request }.write(&mut line.out);
            }
            _ if env.tuning.drains > 0 => {
                let name = format!("w{}", 1 + env.rng.below(6));
                self.ask_all(|request| ToQueue::StopWorker { request, name: name.as_bytes() });
            }
            _ => {}
        }
    }

    /// Asks all queues the same, as far as they can be reached.
    fn ask_all<'a>(&mut self, question: impl Fn(u32) -> ToQueue<'a>) {
        for line in self.lines.iter_mut().filter(|line| line.conn.is_some()) {
            let request = line.request(Asked::Other);
            question(request).write(&mut line.out);
        }
    }

    /// Wants something of one task, seldom of many.
    fn control(&mut self, rng: &mut Rng, queue: usize) {
        if self.known.is_empty() {
            return query(&mut self.lines[queue], rng, TaskId(0));
        }
        let verb = *rng.pick(&[Verb::Cancel, Verb::Retry, Verb::Requeue, Verb::Remove]);
        let task = *rng.pick(&self.known);
        if rng.chance(30_000) {
            let states = StateSet::NONE.with(TaskState::Failed);
            let selection = Selection { states, ..Selection::default() };
            let verb = Verb::Retry;
            return self.ask_all(|request| ToQueue::Control { request, verb, selection });
        }
        let line = &mut self.lines[usize::from(task.shard())];
        if line.conn.is_some() {
            let request = line.request(Asked::Other);
            let selection = Selection { task: Some(task), ..Selection::default() };
            ToQueue::Control { request, verb, selection }.write(&mut line.out);
        }
    }

    fn on_push(&mut self, env: &mut Env, at: i64, queue: usize, push: &QueuePush<'_>) {
        let line = &mut self.lines[queue];
        match *push {
            QueuePush::JobOpened { request, job } => {
                if let Some(Asked::Job(at)) = line.asked.remove(&request) {
                    self.opened(env, queue, at, job);
                }
            }
            QueuePush::Submitted { ticket, .. } => line.acked(ticket),
            QueuePush::Refused { ticket, .. } => {
                if let Some(task) = line.refused(ticket) {
                    self.later.push((at + env.rng.between(1, RETRY_MAX), task));
                }
            }
            QueuePush::Progress { request, version, counts } => {
                line.asked.remove(&request);
                if version == line.seen {
                    let text = format!("news of version {version}, which was known");
                    env.ledger.find(FarmViolationKind::Counted, text);
                }
                (line.seen, line.counts) = (version, counts);
                line.watch();
            }
            QueuePush::Row { request, ref row } => self.on_row(env, queue, request, row.id),
            QueuePush::End { request, next, more, .. } => {
                let asked = line.asked.remove(&request);
                if more && matches!(asked, Some(Asked::Rows { .. })) && !env.is_healed {
                    query(line, &mut env.rng, next);
                }
            }
            QueuePush::Fault { request, .. } => match line.asked.remove(&request) {
                // The journal had no room for it, say.
                Some(Asked::Job(_)) => self.open_jobs(queue),
                Some(Asked::Watch) => line.watch(),
                _ => {}
            },
            _ => {}
        }
    }

    /// A queue has opened a job. What queue 0 says is what it is called everywhere.
    fn opened(&mut self, env: &mut Env, queue: usize, at: usize, job: JobId) {
        let known = self.numbers[at].replace(job);
        if known.is_some_and(|known| known != job) {
            let text = format!("job {at} is {known:?}, and {job:?} at queue {queue}");
            env.ledger.find(FarmViolationKind::JobNumber, text);
        }
        if self.lines[queue].opened(at) {
            self.lines[queue].resubmit(&env.plans, &self.numbers);
        }
        for line in self.lines.iter_mut().skip(1) {
            line.open_job(at, Some(job));
        }
    }

    /// Rows come in ascending order, and no more than were wanted.
    fn on_row(&mut self, env: &mut Env, queue: usize, request: u32, id: TaskId) {
        let asked = self.lines[queue].asked.get_mut(&request);
        let Some(Asked::Rows { limit, next }) = asked else { return };
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

fn new_line(env: &mut Env) -> Line {
    let session = SessionId(env.rng.draw());
    Line::new(session, env.tuning.jobs, env.tuning.batch_max)
}

fn query(line: &mut Line, rng: &mut Rng, from: TaskId) {
    let limit = *rng.pick(&[1, 5, 30]);
    let request = line.request(Asked::Rows { limit, next: from });
    let states = match rng.chance(300_000) {
        true => StateSet::ALL,
        false => TaskState::ALL.into_iter().filter(|_| rng.chance(600_000)).collect(),
    };
    let selection = Selection { states, from, ..Selection::default() };
    let with_output = rng.chance(500_000);
    ToQueue::Query { request, selection, limit, with_output }.write(&mut line.out);
}
