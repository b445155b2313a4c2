//! A coordinator worker with its links, and the clients that use it.

use crate::env::{Env, Kind, ShardEnds, Turn, only_frame};
use crate::history::{End, Ended, History, Txn};
use crate::network::Content;
use crate::rng::Rng;
use crate::violation::{Findings, ViolationKind};
use crate::workload::Plan;
use punctual_core::{
    Completion, Coordinator, CoordinatorConfig, Nanos, Outcome, OwdSample, SessionId, ShardId,
    SubmitError, Transaction,
};
use punctual_wire::{Frame, FrameKind, Limits, TxnId};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A transaction that was not taken is tried again after up to this.
const RETRY_MAX: i64 = 500_000;

/// The clients of a coordinator: each has one transaction at a time.
#[derive(Debug)]
pub(crate) struct Clients {
    /// When those who are thinking will be done, in true time.
    due: BinaryHeap<Reverse<i64>>,
    /// Submitted before anything new is made up.
    script: VecDeque<Plan>,
    think: i64,
    transactions_max: usize,
    is_stopped: bool,
    rng: Rng,
}

impl Clients {
    fn new(now: i64, env: &Env, mut rng: Rng) -> Self {
        let think = env.tuning.think;
        let start = |_| Reverse(now + rng.exponential(think));
        let due = (0..env.tuning.clients).map(start).collect();
        let transactions_max = env.tuning.transactions_max;
        let script = VecDeque::new();
        Self { due, script, think, transactions_max, is_stopped: false, rng }
    }

    fn next_due(&self) -> Option<i64> {
        self.due.peek().map(|Reverse(at)| *at)
    }

    /// The next transaction, if somebody is due and wants one, and whether it is of the script.
    fn next_plan(&mut self, env: &mut Env, now: i64) -> Option<(Plan, bool)> {
        while self.next_due().is_some_and(|due| due <= now) {
            self.due.pop();
            if let Some(plan) = self.script.pop_front() {
                return Some((plan, true));
            }
            if !self.is_stopped && env.history.txns.len() < self.transactions_max {
                return Some((env.generator.next_plan(&env.history.keys), false));
            }
        }
        None
    }

    fn retry(&mut self, now: i64, plan: Plan, is_scripted: bool) {
        self.due.push(Reverse(now + self.rng.between(1_000, RETRY_MAX)));
        if is_scripted {
            self.script.push_back(plan);
        }
    }

    fn complete(
        &mut self,
        history: &mut History,
        findings: &mut Findings,
        at: i64,
        completion: Completion<'_>,
    ) {
        let how = match completion.outcome {
            Outcome::Committed { at } => Ended::Committed(at),
            Outcome::Aborted { at } => Ended::Aborted(at),
            Outcome::Refused(reason) => Ended::Refused(reason),
            Outcome::Unknown(reason) => Ended::Unknown(reason),
        };
        let mut results = Vec::new();
        for result in completion.results {
            result.write(&mut results);
        }
        history.ended(completion.tag as u32, End { at, how, results }, findings);
        if !self.is_stopped {
            self.due.push(Reverse(at + self.rng.exponential(self.think)));
        }
    }
}

/// A coordinator worker.
#[derive(Debug)]
pub(crate) struct CoordinatorNode {
    node: usize,
    index: u16,
    pub(crate) session: SessionId,
    pub(crate) coordinator: Coordinator,
    ends: ShardEnds,
    transaction: Transaction,
    clients: Clients,
    /// What its prober has measured.
    pub(crate) samples: Vec<(ShardId, OwdSample)>,
}

impl CoordinatorNode {
    pub(crate) fn new(now: i64, index: u16, session: SessionId, env: &mut Env) -> Self {
        let tuning = &env.tuning;
        let shards = env.layout.shards;
        let config = CoordinatorConfig {
            shards,
            limits: Limits::DEFAULT,
            in_flight_max: u32::from(tuning.clients),
            request_timeout: tuning.request_timeout,
            deadline: tuning.deadline,
            busy_backoff: tuning.busy_backoff,
            headroom: tuning.headroom,
            owd: tuning.owd,
        };
        let batch_max = tuning.batch_max;
        let rng = Rng::new(env.rng.draw(), 0);
        Self {
            node: env.layout.node(Kind::Coordinator(index)),
            index,
            session,
            coordinator: Coordinator::new(config),
            ends: ShardEnds::new(shards, batch_max),
            transaction: Transaction::new(shards, Limits::DEFAULT),
            clients: Clients::new(now, env, rng),
            samples: Vec::new(),
        }
    }

    /// From now on nobody thinks of anything new.
    pub(crate) fn stop(&mut self) {
        self.clients.is_stopped = true;
        self.clients.due.clear();
    }

    /// Has transactions submitted.
    pub(crate) fn add_script(&mut self, now: i64, plans: impl IntoIterator<Item = Plan>) {
        for plan in plans {
            self.clients.script.push_back(plan);
            self.clients.due.push(Reverse(now));
        }
    }

    /// Whether nothing is in flight or waits to be.
    pub(crate) fn is_quiet(&self) -> bool {
        self.coordinator.in_flight() == 0 && self.clients.script.is_empty()
    }

    /// When it has something to do, by its clock.
    pub(crate) fn next_deadline(&self) -> Option<Nanos> {
        self.coordinator.next_deadline()
    }

    /// When a client wants something, in true time.
    pub(crate) fn next_submission(&self) -> Option<i64> {
        self.clients.next_due()
    }

    /// Takes a message.
    pub(crate) fn take(&mut self, env: &mut Env, turn: &mut Turn<'_>, conn: u32, content: Content) {
        let now = turn.spend();
        let at = turn.at;
        let Some(shard) = env.shard_of(conn, self.node) else { return };
        match content {
            Content::Welcome { session, epoch } if env.is_current(conn) => {
                self.ends.up(shard, conn);
                let Self { coordinator, ends, clients, .. } = self;
                let Env { history, findings, .. } = env;
                coordinator.on_link_up(now, shard, session, epoch, ends, |done| {
                    clients.complete(history, findings, at, done);
                });
            }
            Content::Frame(bytes) if self.ends.is_up(shard, conn) => {
                self.take_frame(env, now, at, shard, &only_frame(&bytes));
            }
            Content::Closed => {
                self.ends.down(shard, conn);
                env.lost(at, self.node, conn);
            }
            Content::Hello { .. } | Content::Frame(_) | Content::Welcome { .. } => {}
        }
    }

    fn take_frame(
        &mut self,
        env: &mut Env,
        now: Nanos,
        at: i64,
        shard: ShardId,
        frame: &Frame<'_>,
    ) {
        if frame.kind != FrameKind::Reply {
            return env.malformed(self.node, &format!("a frame of kind {:?}", frame.kind));
        }
        let Self { coordinator, clients, .. } = self;
        let Env { history, findings, .. } = env;
        let taken = coordinator.on_reply(now, shard, frame, |done| {
            clients.complete(history, findings, at, done);
        });
        if let Err(error) = taken {
            env.malformed(self.node, &error);
        }
    }

    /// Ends a turn: looks at the timers, submits what the clients want, and sends.
    pub(crate) fn finish(&mut self, env: &mut Env, turn: &mut Turn<'_>) {
        let now = turn.spend();
        let at = turn.at;
        for (shard, sample) in self.samples.drain(..) {
            self.coordinator.owd_sample(now, shard, sample);
        }
        let Self { coordinator, ends, clients, .. } = self;
        let Env { history, findings, .. } = env;
        coordinator.on_timer(now, ends, |done| {
            clients.complete(history, findings, at, done);
        });
        while let Some((plan, is_scripted)) = self.clients.next_plan(env, turn.at) {
            if let Err(plan) = self.submit(env, turn, plan) {
                self.clients.retry(turn.at, plan, is_scripted);
            }
        }
        self.ends.flush(env, turn.at, self.node);
    }

    /// Submits a transaction, or gives it back if it cannot be taken now.
    fn submit(&mut self, env: &mut Env, turn: &mut Turn<'_>, plan: Plan) -> Result<(), Plan> {
        let now = turn.spend();
        let txn = env.history.next_txn();
        let marks = plan.marks(txn, env.layout.shards);
        plan.build(&env.history.keys, &marks, &mut self.transaction);
        let Self { coordinator, ends, transaction, .. } = self;
        let sequence = match coordinator.submit(now, transaction, u64::from(txn), ends) {
            Ok(sequence) => sequence,
            Err(error) => {
                transaction.clear();
                if let SubmitError::Invalid(error) = error {
                    let text = format!("a transaction is not valid: {error}; {plan:?}");
                    env.findings.add(ViolationKind::Malformed, &[], text);
                }
                return Err(plan);
            }
        };
        let Plan { purpose, form, steps, shards, .. } = plan;
        env.history.submitted(Txn {
            coordinator: self.index,
            id: TxnId { session: self.session.0, sequence },
            purpose,
            form,
            steps,
            shards,
            marks,
            invoked_at: turn.at,
            end: None,
            runs: Vec::new(),
        });
        Ok(())
    }
}
