//! What the clients ask for.

use crate::config::{SimConfig, Workload};
use crate::history::{Action, Form, Purpose, Step};
use crate::keys::{Holds, Keyspace, mark};
use crate::rng::Rng;
use crate::tuning::Tuning;
use punctual_core::{ProcedureContext, Procedures, Transaction, Value, Verdict};
use punctual_wire::{Op, OpReader};

/// The procedure that runs the operations it is given.
const PROCEDURE: u16 = 7;

/// Of so many keys at most an audit reads all.
const AUDITED_MAX: usize = 24;

/// A transaction that is not submitted yet.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) purpose: Purpose,
    pub(crate) form: Form,
    pub(crate) steps: Vec<Step>,
    pub(crate) shards: Vec<u16>,
    /// Whether it leaves marks.
    pub(crate) is_marked: bool,
}

impl Plan {
    /// A transaction that reads these keys.
    pub(crate) fn reads(purpose: Purpose, keys: &Keyspace, read: &[u32]) -> Self {
        let steps = read.iter().map(|key| Step { key: *key, action: Action::Get }).collect();
        Self::of(purpose, Form::Ops, keys, steps)
    }

    fn of(purpose: Purpose, form: Form, keys: &Keyspace, steps: Vec<Step>) -> Self {
        let mut shards: Vec<u16> = steps.iter().map(|step| keys.shard(step.key)).collect();
        shards.sort_unstable();
        shards.dedup();
        let is_marked = steps.iter().any(|step| step.action.is_write());
        Self { purpose, form, steps, shards, is_marked }
    }

    /// The marks of the transaction with this number.
    pub(crate) fn marks(&self, txn: u32, shards: u16) -> Vec<u64> {
        let marked: &[u16] = if self.is_marked { &self.shards } else { &[] };
        marked.iter().map(|shard| mark(txn, *shard, shards)).collect()
    }

    /// Builds it; `transaction` was empty.
    pub(crate) fn build(&self, keys: &Keyspace, marks: &[u64], transaction: &mut Transaction) {
        let Form::Call { aborts } = self.form else {
            for step in &self.steps {
                with_op(keys, *step, |op| {
                    transaction.op(op);
                });
            }
            for mark in marks {
                transaction.add(*mark, 1);
            }
            return;
        };
        for (at, shard) in self.shards.iter().enumerate() {
            let mut args = vec![u8::from(aborts)];
            for step in self.steps.iter().filter(|step| keys.shard(step.key) == *shard) {
                with_op(keys, *step, |op| op.write(&mut args));
            }
            if let Some(mark) = marks.get(at) {
                Op::Add { key: (*mark).into(), delta: 1 }.write(&mut args);
            }
            transaction.call(PROCEDURE, keys.key(keys.of_shard(*shard)[0]), &args);
        }
    }
}

/// Hands the operation of a step over.
fn with_op(keys: &Keyspace, step: Step, take: impl FnOnce(Op<'_>)) {
    let key = keys.key(step.key);
    match step.action {
        Action::Get => take(Op::Get { key }),
        Action::Put(value) => take(Op::Put { key, value: &value.to_le_bytes() }),
        Action::Add(delta) => take(Op::Add { key, delta }),
        Action::Append(element) => take(Op::Append { key, value: &element.to_le_bytes() }),
        Action::Delete => take(Op::Delete { key }),
        Action::CompareAndSet { expected, value } => {
            let expected = expected.map(i64::to_le_bytes);
            let expected = expected.as_ref().map(<[u8; 8]>::as_slice);
            take(Op::CompareAndSet { key, expected, value: &value.to_le_bytes() });
        }
    }
}

/// What the procedures of a run are: one, or none, which lets shards take shorter ways.
pub(crate) fn procedures(tuning: &Tuning) -> Procedures {
    let mut procedures = Procedures::new();
    if tuning.calls > 0 {
        procedures.register(PROCEDURE, "run", run_ops).expect("the id is free");
    }
    procedures
}

/// Runs the operations behind the first byte of its arguments, then aborts if that is not zero.
fn run_ops(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    let Some((&aborts, ops)) = args.split_first() else { return Verdict::Abort };
    let mut ops = OpReader::new(ops);
    while ops.remaining() > 0 {
        let Ok(op) = ops.next_op() else { return Verdict::Abort };
        run_op(context, op);
    }
    if aborts != 0 { Verdict::Abort } else { Verdict::Commit }
}

/// Each operation has one result: what it read, or the number that it made, or nothing.
fn run_op(context: &mut ProcedureContext<'_>, op: Op<'_>) {
    match op {
        Op::Get { key } => {
            let value = context.get(key).as_ref().map(Value::as_bytes).unwrap_or_default().to_vec();
            context.result(&value);
        }
        Op::Add { key, delta } => {
            let sum = context.add(key, delta).unwrap_or_default();
            context.result(&sum.to_le_bytes());
        }
        Op::Append { key, value } => {
            let len = context.append(key, value).unwrap_or_default();
            context.result(&len.to_le_bytes());
        }
        Op::Put { key, value } => {
            context.put(key, value);
            context.result(&[]);
        }
        Op::Delete { key } => {
            let found = context.delete(key);
            context.result(&[u8::from(found)]);
        }
        Op::CompareAndSet { key, expected, value } => {
            let equal = context.get(key).as_ref().map(Value::as_bytes) == expected;
            if equal {
                context.put(key, value);
            }
            context.result(&[u8::from(equal)]);
        }
    }
}

/// Makes transactions.
#[derive(Debug)]
pub(crate) struct Generator {
    workload: Workload,
    shards: u16,
    rng: Rng,
    hot: u32,
    single: u32,
    span_max: u16,
    steps_max: u64,
    calls: u32,
    /// The element that was appended last.
    element: u32,
}

impl Generator {
    pub(crate) fn new(config: &SimConfig, shards: u16, tuning: &Tuning, rng: Rng) -> Self {
        Self {
            workload: config.workload,
            shards,
            rng,
            hot: tuning.hot,
            single: tuning.single,
            span_max: tuning.span_max.min(shards),
            steps_max: tuning.steps_max,
            calls: tuning.calls,
            element: 0,
        }
    }

    /// What the keys of a workload hold.
    pub(crate) fn holds(workload: Workload, key: usize, shards: u16) -> Holds {
        let is_list = match workload {
            Workload::Bank | Workload::Counters => false,
            Workload::ListAppend => true,
            // Words and other keys in turns, so that each kind of key holds both.
            Workload::Mixed => (key / usize::from(shards) / 2).is_multiple_of(2),
        };
        if is_list { Holds::List } else { Holds::Number }
    }

    /// The next transaction.
    pub(crate) fn next_plan(&mut self, keys: &Keyspace) -> Plan {
        if self.workload == Workload::Bank && self.rng.chance(150_000) && keys.len() <= AUDITED_MAX
        {
            let all: Vec<u32> = (0..keys.len() as u32).collect();
            return Plan::reads(Purpose::Audit, keys, &all);
        }
        let form = match self.rng.chance(self.calls) {
            true => Form::Call { aborts: self.rng.chance(250_000) },
            false => Form::Ops,
        };
        let reads_only = self.rng.chance(150_000);
        let mut steps = Vec::new();
        for shard in self.some_shards() {
            for _ in 0..=self.rng.below(self.steps_max) {
                let key = self.some_key(keys, shard);
                let action = if reads_only { Action::Get } else { self.action(keys.holds(key)) };
                steps.push(Step { key, action });
            }
        }
        if self.workload == Workload::Bank && !reads_only {
            self.balance(keys, &mut steps);
        }
        self.rng.shuffle(&mut steps);
        let mut plan = Plan::of(Purpose::Work, form, keys, steps);
        // Half of those that only read leave marks all the same: they write then, but nothing that
        // others see.
        plan.is_marked = plan.is_marked || self.rng.chance(500_000);
        plan
    }

    fn some_shards(&mut self) -> Vec<u16> {
        let mut all: Vec<u16> = (0..self.shards).collect();
        self.rng.shuffle(&mut all);
        let span = match self.span_max < 2 || self.rng.chance(self.single) {
            true => 1,
            false => self.rng.between(2, i64::from(self.span_max)) as usize,
        };
        all.truncate(span);
        all
    }

    fn some_key(&mut self, keys: &Keyspace, shard: u16) -> u32 {
        let ours = keys.of_shard(shard);
        if self.rng.chance(self.hot) { ours[0] } else { *self.rng.pick(ours) }
    }

    fn action(&mut self, holds: Holds) -> Action {
        match (self.workload, holds) {
            (_, Holds::List) => match self.rng.chance(600_000) {
                true => {
                    self.element += 1;
                    Action::Append(self.element)
                }
                false => Action::Get,
            },
            // Amounts come later: they have to add up.
            (Workload::Bank, Holds::Number) => Action::Add(0),
            (Workload::Mixed, Holds::Number) => self.any_action(),
            (_, Holds::Number) => match self.rng.chance(700_000) {
                true => Action::Add(self.rng.between(-9, 9)),
                false => Action::Get,
            },
        }
    }

    fn any_action(&mut self) -> Action {
        let value = self.rng.between(-5, 5);
        match self.rng.below(8) {
            0 | 1 => Action::Get,
            2 | 3 => Action::Put(value),
            4 | 5 => Action::Add(value),
            6 => Action::Delete,
            _ => {
                let expected = self.rng.between(-5, 5);
                let expected = self.rng.chance(700_000).then_some(expected);
                Action::CompareAndSet { expected, value }
            }
        }
    }

    /// Gives the additions of a transfer amounts that add up to zero.
    fn balance(&mut self, keys: &Keyspace, steps: &mut Vec<Step>) {
        if steps.len() < 2 {
            let shard = keys.shard(steps[0].key);
            let key = self.some_key(keys, shard);
            steps.push(Step { key, action: Action::Add(0) });
        }
        let mut sum = 0;
        for step in steps.iter_mut() {
            let amount = self.rng.between(-100, 100);
            sum += amount;
            step.action = Action::Add(amount);
        }
        let last = steps.len() - 1;
        if let Action::Add(amount) = &mut steps[last].action {
            *amount -= sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plans(workload: Workload) -> (Keyspace, Vec<Plan>) {
        let config = SimConfig { workload, shards: 3, ..SimConfig::from_seed(1) };
        let tuning = Tuning { calls: 200_000, span_max: 3, ..Tuning::draw(&config) };
        let keys = Keyspace::new(9, 3, |at| Generator::holds(workload, at, 3));
        let mut generator = Generator::new(&config, 3, &tuning, Rng::new(1, 9));
        let plans = (0..500).map(|_| generator.next_plan(&keys)).collect();
        (keys, plans)
    }

    #[test]
    fn transfers_add_up_to_zero() {
        let (_, plans) = plans(Workload::Bank);
        for plan in &plans {
            let amounts = plan.steps.iter().map(|step| match step.action {
                Action::Add(amount) => amount,
                _ => 0,
            });
            assert_eq!(amounts.sum::<i64>(), 0, "{plan:?}");
        }
        assert!(plans.iter().any(|plan| plan.purpose == Purpose::Audit));
    }

    #[test]
    fn elements_of_lists_are_unique_and_numbers_never_go_there() {
        let (keys, plans) = plans(Workload::Mixed);
        let mut seen = std::collections::BTreeSet::new();
        for step in plans.iter().flat_map(|plan| &plan.steps) {
            match (keys.holds(step.key), step.action) {
                (Holds::List, Action::Append(element)) => assert!(seen.insert(element)),
                (Holds::List, action) => assert_eq!(action, Action::Get),
                (Holds::Number, action) => assert!(!matches!(action, Action::Append(_))),
            }
        }
        assert!(seen.len() > 100);
    }

    #[test]
    fn transactions_take_one_to_all_shards_and_know_which() {
        let (keys, plans) = plans(Workload::Counters);
        for plan in &plans {
            let on = |shard: &u16| plan.steps.iter().any(|step| keys.shard(step.key) == *shard);
            assert!(plan.shards.is_sorted() && plan.shards.iter().all(on), "{plan:?}");
            assert!((1..=3).contains(&plan.shards.len()), "{plan:?}");
        }
        assert!((1..=3).all(|span| plans.iter().any(|plan| plan.shards.len() == span)));
        let calls = plans.iter().filter(|plan| plan.form != Form::Ops).count();
        assert!((50..150).contains(&calls), "{calls}");
    }
}
