//! A worker with its links and what it runs: the runs are simulated, the decisions are the core's.

use super::check::{Run as Entry, tag};
use super::env::Env;
use super::events::Event;
use super::layout::{Kind, Side};
use super::net::Content;
use super::plans::{Fate, WHOLE_CORES, WHOLE_MEMORY};
use super::report::FarmViolationKind;
use crate::env::only_frame;
use punctual_core::task::{Action, Exit, Prefetch, RunId, TaskWorker, TaskWorkerConfig, Usage};
use punctual_core::{Nanos, SessionId, ShardId};
use punctual_wire::task::EndKind;
use punctual_wire::{BatchWriter, CloseReason, Limits};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Actions of one turn; more are a loop without an end.
const ACTIONS_MAX: usize = 100_000;
/// How often a worker looks how much memory is left.
const USAGE_PAUSE: i64 = 10_000_000;
/// A worker that cannot do anything at a deadline that is past tries again after this.
const RETRY_PAUSE: i64 = 10_000;

/// A run of a task.
#[derive(Debug)]
struct Run {
    entry: Option<Entry>,
    began: i64,
    ends_at: i64,
    kind: EndKind,
    code: i32,
    is_deaf: bool,
    is_killed: bool,
    kills_worker: bool,
    memory: u64,
    cores_milli: u32,
    stdout: Vec<u8>,
}

impl Run {
    /// It ends by a signal, unless it ends before.
    fn end(&mut self, at: i64, signal: i32) {
        if at < self.ends_at {
            (self.ends_at, self.kills_worker) = (at, false);
            (self.kind, self.code) = (EndKind::Signaled, signal);
        }
    }

    fn has_succeeded(&self) -> bool {
        self.kind == EndKind::Exited && self.code == 0 && !self.kills_worker
    }

    fn exit(self) -> Exit {
        let ran_ns = (self.ends_at - self.began).unsigned_abs();
        Exit {
            kind: self.kind,
            code: self.code,
            ran_ns,
            cpu_ns: ran_ns / 2,
            memory: self.memory,
            stdout_bytes: self.stdout.len() as u64,
            stdout: self.stdout,
            ..Exit::success()
        }
    }
}

/// Its end of the link to a queue.
#[derive(Debug)]
struct End {
    session: SessionId,
    /// The connection, once it is welcome.
    conn: Option<u32>,
    out: BatchWriter,
}

impl End {
    fn new(env: &mut Env) -> Self {
        let out = BatchWriter::new(Limits::DEFAULT, env.tuning.batch_max, false);
        Self { session: SessionId(env.rng.draw()), conn: None, out }
    }
}

/// From a start to an end of the worker's process.
#[derive(Debug)]
struct Life {
    worker: TaskWorker,
    /// One a queue, of those that it knows: queue 0 says how many there are.
    ends: Vec<End>,
    runs: BTreeMap<u64, Run>,
    usage_at: i64,
    /// How often it was told to stop.
    drains: u32,
    /// When something began or ended to run here, or a link came or went, in true time.
    changed_at: i64,
}

/// What a worker could run beside what it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) node: usize,
    pub(super) slots: usize,
    pub(super) memory: u64,
    pub(super) cores_milli: u64,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The next one is due then, if nothing arrives before.
    Next(Option<i64>),
    /// It has finished what it ran.
    Stopped,
    /// A task has killed it.
    Killed,
}

#[derive(Debug)]
pub(super) struct WorkerNode {
    node: usize,
    config: TaskWorkerConfig,
    /// What its clock shows at the start.
    epoch: i64,
    lives: u32,
    life: Option<Life>,
}

impl WorkerNode {
    pub(super) fn new(node: usize, env: &mut Env) -> Self {
        let is_first = env.layout.kind(node) == Kind::Worker(0);
        let rng = &mut env.rng;
        // One can run everything, so that everything can end.
        let (least_memory, least_cores) = match is_first {
            true => (WHOLE_MEMORY, WHOLE_CORES),
            false => (WHOLE_MEMORY / 4, WHOLE_CORES / 4),
        };
        let slots = *rng.pick(&[1, 1, 2, 4]);
        let memory = least_memory * rng.pick(&[1, 2, 4]);
        let cores_milli = least_cores * rng.pick(&[1, 2, 4]);
        let mut config = TaskWorkerConfig::new(String::new(), slots, memory, cores_milli);
        let fixed = 1 + rng.below(8) as u32;
        config.prefetch = *rng.pick(&[Prefetch::Off, Prefetch::Fixed(fixed), Prefetch::Auto]);
        config.kill_grace = Duration::from_millis(*rng.pick(&[2, 10, 40]));
        if env.tuning.low_memory > 0 {
            config.accept_free = WHOLE_MEMORY / 2;
            config.return_free = WHOLE_MEMORY / 4;
        }
        let epoch = rng.between(1_000_000_000, 2_000_000_000_000);
        Self { node, config, epoch, lives: 0, life: None }
    }

    pub(super) fn start(&mut self, env: &mut Env, at: i64) {
        self.lives += 1;
        let (number, lives) = (self.node, self.lives);
        let name = match env.tuning.keeps_names {
            true => format!("w{number}"),
            false => format!("w{number}.{lives}"),
        };
        let config = TaskWorkerConfig { name, ..self.config.clone() };
        self.life = Some(Life {
            worker: TaskWorker::new(config),
            ends: vec![End::new(env)],
            runs: BTreeMap::new(),
            usage_at: at,
            drains: 0,
            changed_at: at,
        });
    }

    /// Who it says it is to a queue, once it knows of it.
    pub(super) fn session(&self, queue: usize) -> Option<SessionId> {
        self.life.as_ref()?.ends.get(queue).map(|end| end.session)
    }

    /// It is told to finish, or, the second time, to give everything back.
    pub(super) fn drain(&mut self, at: i64) {
        let Some(life) = &mut self.life else { return };
        let now = Nanos(self.epoch + at);
        life.drains += 1;
        match life.drains {
            1 => life.worker.drain(now),
            _ => life.worker.abandon(now),
        }
    }

    /// Its process is gone, and all that it ran with it.
    pub(super) fn crash(&mut self, env: &mut Env, at: i64) {
        let Some(life) = self.life.take() else { return };
        for run in life.runs.values() {
            // It may be over without the worker having noticed.
            let is_over = run.ends_at <= at;
            if let Some(entry) = run.entry {
                let has_succeeded = is_over && run.has_succeeded();
                env.ledger.run_ended(entry, run.ends_at.min(at), has_succeeded);
            }
        }
    }

    /// Whether it has nothing to run and nothing that runs.
    pub(super) fn is_idle(&self) -> bool {
        self.life.as_ref().is_some_and(|life| {
            life.runs.is_empty() && life.worker.running() + life.worker.waiting() == 0
        })
    }

    /// What it has had room for since `since`, if it has offered everything all the time, to all
    /// queues, and nothing has begun or ended here.
    pub(super) fn room(&self, env: &Env, since: i64) -> Option<Room> {
        let Self { node, config, life: Some(life), .. } = self else { return None };
        let offers_all =
            |end: &End| end.conn.is_some() && env.ledger.offers(end.session, config.slots);
        let is_whole = life.ends.len() == env.layout.queues && life.ends.iter().all(offers_all);
        if !is_whole || life.drains > 0 || life.changed_at > since {
            return None;
        }
        let memory: u64 = life.runs.values().map(|run| run.memory).sum();
        let cores: u64 = life.runs.values().map(|run| u64::from(run.cores_milli)).sum();
        Some(Room {
            node: *node,
            slots: (config.slots as usize).saturating_sub(life.runs.len()),
            memory: config.memory.saturating_sub(memory),
            cores_milli: u64::from(config.cores_milli).saturating_sub(cores),
        })
    }

    pub(super) fn turn(
        &mut self,
        env: &mut Env,
        at: i64,
        inbox: VecDeque<(u32, Content)>,
    ) -> Verdict {
        let Self { node, config, epoch, life: Some(life), .. } = self else {
            return Verdict::Next(None);
        };
        let now = Nanos(*epoch + at);
        let exits_first = env.rng.chance(500_000);
        if exits_first && life.take_exits(env, at, now) {
            return Verdict::Killed;
        }
        for (conn, content) in inbox {
            life.take(env, *node, at, now, conn, content);
        }
        if !exits_first && life.take_exits(env, at, now) {
            return Verdict::Killed;
        }
        if env.tuning.low_memory > 0 && life.usage_at <= at {
            life.usage_at = at + USAGE_PAUSE;
            let is_low = !env.is_healed && env.rng.chance(env.tuning.low_memory);
            let memory_free = if is_low { env.rng.below(WHOLE_MEMORY / 2) } else { WHOLE_MEMORY };
            life.worker.on_usage(now, Usage { memory_free, cores_used_milli: 0 });
        }
        life.worker.on_turn(now);
        life.act(env, config, at, now);
        let Env { net, events, .. } = &mut *env;
        for (end, queue) in life.ends.iter_mut().zip(0..) {
            if let Some(conn) = end.conn {
                life.worker.write(now, ShardId(queue), &mut end.out);
                net.send_frames(events, at, conn, Side::Caller, &mut end.out, |_| {});
            }
        }
        if life.worker.is_finished() && life.runs.is_empty() {
            for conn in life.ends.iter().filter_map(|end| end.conn) {
                let reason = Some(CloseReason::Stopping);
                env.net.hang_up(&mut env.events, at, conn, Side::Caller, reason);
            }
            self.life = None;
            return Verdict::Stopped;
        }
        let deadline = life.worker.next_deadline().map(|deadline| deadline.0 - *epoch);
        let deadline = deadline.map(|due| if due > at { due } else { at + RETRY_PAUSE });
        let usage = (env.tuning.low_memory > 0).then_some(life.usage_at);
        let exit = life.runs.values().map(|run| run.ends_at).min();
        Verdict::Next([deadline, usage, exit].into_iter().flatten().min())
    }
}

impl Life {
    fn take(
        &mut self,
        env: &mut Env,
        node: usize,
        at: i64,
        now: Nanos,
        conn: u32,
        content: Content,
    ) {
        let is_current = env.net.is_current(conn);
        let (link, queue) = (env.net.link_of(conn), env.net.queue_of(conn));
        let id = ShardId(queue as u16);
        match content {
            Content::Welcome { queues } if is_current => {
                self.changed_at = at;
                self.ends[queue].conn = Some(conn);
                self.worker.on_link_up(now, id);
                if self.worker.queues() != queues {
                    self.worker.set_queues(now, queues);
                }
                for other in self.ends.len()..usize::from(queues) {
                    self.ends.push(End::new(env));
                    let link = env.layout.link(node, other);
                    env.events.plan(at, Event::Connect { link });
                }
            }
            Content::Frame(bytes)
                if self.ends.get(queue).is_some_and(|end| end.conn == Some(conn)) =>
            {
                if let Err(error) = self.worker.on_frame(now, id, &only_frame(&bytes)) {
                    let text = format!("worker {node} cannot take what it was sent: {error}");
                    env.ledger.find(FarmViolationKind::Malformed, text);
                }
            }
            Content::Closed(reason) if is_current => {
                self.changed_at = at;
                let end = &mut self.ends[queue];
                end.conn = None;
                end.out.seal();
                end.out.clear_sealed();
                env.net.forget(link);
                env.connect_soon(at, link);
                if reason == Some(CloseReason::LeaseExpired) {
                    self.worker.on_expired(now, id);
                    end.session = SessionId(env.rng.draw());
                } else {
                    self.worker.on_link_down(now, id);
                }
            }
            _ => {}
        }
    }

    /// Notices which runs are over. True if one of them was the end of the worker.
    fn take_exits(&mut self, env: &mut Env, at: i64, now: Nanos) -> bool {
        loop {
            let due = self.runs.iter().filter(|(_, run)| run.ends_at <= at);
            let first = due.min_by_key(|(id, run)| (run.ends_at, **id)).map(|(id, _)| *id);
            let Some(id) = first else { return false };
            if self.runs[&id].kills_worker {
                return true;
            }
            let Some(run) = self.runs.remove(&id) else { return false };
            self.changed_at = at;
            if let Some(entry) = run.entry {
                env.ledger.run_ended(entry, run.ends_at, run.has_succeeded());
            }
            self.worker.on_exit(now, RunId(id), run.exit());
        }
    }

    /// Does what the worker wants.
    fn act(&mut self, env: &mut Env, config: &TaskWorkerConfig, at: i64, now: Nanos) {
        for _ in 0..ACTIONS_MAX {
            match self.worker.next_action() {
                None => return,
                Some(Action::Start(run)) => self.start(env, config, at, now, run),
                Some(Action::Stop(RunId(id))) => {
                    if let Some(run) = self.runs.get_mut(&id).filter(|run| !run.is_deaf) {
                        run.end(at + env.rng.between(50_000, 2_000_000), 15);
                    }
                }
                Some(Action::Kill(RunId(id))) => {
                    if let Some(run) = self.runs.get_mut(&id) {
                        run.is_killed = true;
                        run.end(at + env.rng.between(10_000, 300_000), 9);
                    }
                }
            }
        }
        let text = format!("{} never stops wanting something", self.worker.name());
        env.ledger.find(FarmViolationKind::Livelock, text);
    }

    fn start(&mut self, env: &mut Env, config: &TaskWorkerConfig, at: i64, now: Nanos, id: RunId) {
        let Some(lease) = self.worker.lease(id) else { return };
        self.changed_at = at;
        let (task, attempt) = (lease.task, lease.attempt);
        let session = self.ends[usize::from(task.shard())].session;
        let (memory, cores_milli) = (lease.memory, lease.cores_milli);
        let number = env.plans.number_of(&lease.payload);
        let runs = number.map_or(0, |number| env.ledger.runs_of(number));
        let entry = env.ledger.run_began(at, session, task, attempt);
        let Some(number) = number else { return };
        let Fate { lasts, kind, code, is_deaf, kills_worker } =
            env.plans.fate(number, runs, &mut env.rng);
        let run = Run {
            entry,
            began: at,
            ends_at: at + lasts.unwrap_or(0),
            kind,
            code,
            is_deaf,
            is_killed: false,
            kills_worker,
            memory,
            cores_milli,
            stdout: tag(task, attempt),
        };
        if lasts.is_none() {
            if let Some(entry) = entry {
                env.ledger.run_ended(entry, at, false);
            }
            return self.worker.on_exit(now, id, run.exit());
        }
        self.runs.insert(id.0, run);
        self.check_room(env, config);
    }

    /// Whether what runs has room. Who was killed is as good as gone.
    fn check_room(&self, env: &mut Env, config: &TaskWorkerConfig) {
        let alive = || self.runs.values().filter(|run| !run.is_killed);
        let memory: u64 = alive().map(|run| run.memory).sum();
        let cores: u64 = alive().map(|run| u64::from(run.cores_milli)).sum();
        let is_within = alive().count() <= config.slots as usize
            && memory <= config.memory
            && cores <= u64::from(config.cores_milli);
        if !is_within {
            let (name, count) = (self.worker.name(), alive().count());
            let text = format!("{name} runs {count} tasks of {memory} bytes, {cores} millicores");
            env.ledger.find(FarmViolationKind::Capacity, text);
        }
    }
}
