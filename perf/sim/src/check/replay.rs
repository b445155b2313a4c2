//! Replays what ran on a shard, in the order of its commit times, on a model of the store.

use super::survey::{Execution, Survey};
use crate::history::{Action, Form, History, Step, Txn};
use crate::violation::{Findings, ViolationKind};
use punctual_wire::{OpResult, ResultReader, ResultStatus};

/// Replays every life of every shard.
pub(super) fn check(history: &History, survey: &Survey, findings: &mut Findings) {
    for life in 0..history.incarnations.len() {
        Replay::new(history, survey, life).run(survey, findings);
    }
}

struct Replay<'a> {
    history: &'a History,
    life: usize,
    shard: u16,
    /// The value of each key.
    model: Model,
    /// Keys that somebody wrote at a time that nobody knows.
    is_unknown: Vec<bool>,
}

impl<'a> Replay<'a> {
    fn new(history: &'a History, survey: &Survey, life: usize) -> Self {
        let keys = &history.keys;
        let shard = history.incarnations[life].shard;
        let mut is_unknown = vec![false; keys.len()];
        for txn in &survey.unplaced[life] {
            for step in history.txns[*txn as usize].steps_on(keys, shard) {
                is_unknown[step.key as usize] |= step.action.is_write();
            }
        }
        Self { history, life, shard, model: Model::new(keys.len()), is_unknown }
    }

    fn run(mut self, survey: &Survey, findings: &mut Findings) {
        let mut expected = Vec::new();
        let history = self.history;
        for execution in &survey.placed[self.life] {
            let txn = &history.txns[execution.txn as usize];
            let run = execution.run.map(|run| &txn.runs[run]);
            let aborts = match (run, txn.form) {
                (Some(run), _) => run.aborted,
                (None, form) => form == Form::Call { aborts: true },
            };
            expected.clear();
            let sure = self.apply(txn, aborts, &mut expected);
            let Some(run) = run.filter(|_| sure) else { continue };
            if run.results != expected {
                let text = self.describe(execution, txn, &expected, &run.results);
                // What comes after it is wrong as well, most likely because of it.
                return findings.add(ViolationKind::WrongResult, &[execution.txn], text);
            }
        }
        self.compare(survey, findings);
    }

    /// Runs a transaction on the model. False if a key of it may hold anything.
    fn apply(&mut self, txn: &Txn, aborts: bool, results: &mut Vec<u8>) -> bool {
        let mut sure = true;
        self.model.undo.clear();
        for step in txn.steps_on(&self.history.keys, self.shard) {
            sure &= !self.is_unknown[step.key as usize];
            self.model.run(step, txn.form, results);
        }
        if txn.mark_on(self.shard).is_some() {
            OpResult::write_word(ResultStatus::Ok, 1_i64.to_le_bytes(), results);
        }
        if aborts {
            self.model.roll_back();
        }
        sure
    }

    /// Says which result differs.
    fn describe(&self, execution: &Execution, txn: &Txn, expected: &[u8], found: &[u8]) -> String {
        let Execution { commit, txn: at, .. } = execution;
        let steps = txn.steps_on(&self.history.keys, self.shard).map(Some).chain([None]);
        let (mut expected, mut found) = (ResultReader::new(expected), ResultReader::new(found));
        for step in steps {
            let (expected, found) = (expected.next(), found.next());
            if expected != found {
                let what = step.map_or("the mark".to_owned(), |Step { key, action }| {
                    format!("k{key} {action:?}")
                });
                return format!(
                    "on shard {}, T{at} at {commit}: the result of {what} is {found:?}, but the \
                     transactions before it left {expected:?}",
                    self.shard
                );
            }
        }
        format!("on shard {}, T{at} at {commit} has more results than operations", self.shard)
    }

    /// Compares the model with what is left of the shard.
    fn compare(&self, survey: &Survey, findings: &mut Findings) {
        let Some(remains) = &self.history.incarnations[self.life].remains else { return };
        let keys = &self.history.keys;
        let store = remains.store();
        for key in keys.of_shard(self.shard) {
            let expected = self.model.values[*key as usize].as_deref();
            let found = store.get(keys.key(*key));
            let found = found.as_ref().map(punctual_core::Value::as_bytes);
            if expected != found && !self.is_unknown[*key as usize] {
                let text = format!(
                    "shard {} holds {found:?} under k{key}, its transactions left {expected:?}",
                    self.shard
                );
                return findings.add(ViolationKind::WrongState, &[], text);
            }
        }
        let known = self.model.values.iter().flatten().count() + survey.marks[self.life];
        if !self.is_unknown.contains(&true) && store.len() != known {
            let (shard, len) = (self.shard, store.len());
            let text = format!("shard {shard} holds {len} keys, its transactions left {known}");
            findings.add(ViolationKind::WrongState, &[], text);
        }
    }
}

/// What a store should hold.
struct Model {
    values: Vec<Option<Vec<u8>>>,
    /// What keys held before the transaction that runs wrote them.
    undo: Vec<(u32, Option<Vec<u8>>)>,
}

impl Model {
    fn new(keys: usize) -> Self {
        Self { values: vec![None; keys], undo: Vec::new() }
    }

    fn roll_back(&mut self) {
        while let Some((key, value)) = self.undo.pop() {
            self.values[key as usize] = value;
        }
    }

    /// Runs an operation and appends its result, as the shard encodes it.
    fn run(&mut self, step: Step, form: Form, results: &mut Vec<u8>) {
        let Step { key, action } = step;
        let is_call = form != Form::Ops;
        let value = &mut self.values[key as usize];
        if is_call && action.is_write() {
            self.undo.push((key, value.clone()));
        }
        let done = OpResult::bare(ResultStatus::Ok);
        let missing = OpResult::bare(ResultStatus::NotFound);
        // A procedure reports values only.
        let said = |results: &mut Vec<u8>, bytes: &[u8], plain: OpResult<'_>| {
            let told = if is_call { OpResult::with(ResultStatus::Ok, bytes) } else { plain };
            told.write(results);
        };
        match action {
            Action::Get => match value {
                Some(bytes) => OpResult::with(ResultStatus::Ok, bytes).write(results),
                None => said(results, &[], missing),
            },
            Action::Add(delta) => {
                let before = value.as_ref().and_then(|bytes| bytes.first_chunk());
                let sum = before.map_or(0, |bytes| i64::from_le_bytes(*bytes)).wrapping_add(delta);
                *value = Some(sum.to_le_bytes().to_vec());
                OpResult::write_word(ResultStatus::Ok, sum.to_le_bytes(), results);
            }
            Action::Append(element) => {
                let list = value.get_or_insert_default();
                list.extend_from_slice(&element.to_le_bytes());
                let len = list.len() as u64;
                OpResult::write_word(ResultStatus::Ok, len.to_le_bytes(), results);
            }
            Action::Put(number) => {
                *value = Some(number.to_le_bytes().to_vec());
                said(results, &[], done);
            }
            Action::Delete => {
                let found = value.take().is_some();
                said(results, &[u8::from(found)], if found { done } else { missing });
            }
            Action::CompareAndSet { expected, value: new } => {
                let expected = expected.map(|number| number.to_le_bytes().to_vec());
                let equal = *value == expected;
                let plain = match (equal, &*value) {
                    (true, _) => done,
                    (false, Some(bytes)) => OpResult::with(ResultStatus::Mismatch, bytes),
                    (false, None) => missing,
                };
                said(results, &[u8::from(equal)], plain);
                if equal {
                    *value = Some(new.to_le_bytes().to_vec());
                }
            }
        }
    }
}
