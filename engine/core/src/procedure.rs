//! Registered procedures: logic that runs inside a shard, called by id with an argument blob.

use crate::store::{Store, Value};
use punctual_wire::{Key, Limits, Op, OpReader, OpResult, ResultStatus};
use std::collections::BTreeMap;
use std::ops::Range;
use thiserror::Error;

/// What a procedure decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its writes stand.
    Commit,
    /// Its writes are undone.
    Abort,
}

/// Logic that runs inside a shard, alone, from beginning to end.
///
/// It must be deterministic: what it does may depend only on its arguments and on the keys of its
/// shard.
pub trait Procedure: Send + Sync {
    /// Runs the procedure. What it reports with [`ProcedureContext::result`] goes to the caller,
    /// also when it aborts.
    fn run(&self, context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict;
}

impl<F> Procedure for F
where
    F: Fn(&mut ProcedureContext<'_>, &[u8]) -> Verdict + Send + Sync,
{
    fn run(&self, context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
        self(context, args)
    }
}

/// What a running procedure sees: the shard's store, and the reply.
///
/// Every write first notes how to undo it, so that an abort leaves no trace.
#[derive(Debug)]
pub struct ProcedureContext<'a> {
    store: &'a mut Store,
    undo: &'a mut UndoLog,
    limits: &'a Limits,
    out: &'a mut Vec<u8>,
    out_len_max: usize,
    results: u16,
}

impl<'a> ProcedureContext<'a> {
    pub(crate) fn new(
        store: &'a mut Store,
        undo: &'a mut UndoLog,
        limits: &'a Limits,
        out: &'a mut Vec<u8>,
        out_len_max: usize,
    ) -> Self {
        Self { store, undo, limits, out, out_len_max, results: 0 }
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: Key<'_>) -> Option<Value<'_>> {
        self.store.get(key.canonical())
    }

    /// The first eight bytes of a value as a little-endian number; zero for an absent key, `None`
    /// for a shorter value.
    #[must_use]
    pub fn number(&self, key: Key<'_>) -> Option<i64> {
        match self.get(key) {
            None => Some(0),
            Some(value) => value.as_bytes().first_chunk().map(|bytes| i64::from_le_bytes(*bytes)),
        }
    }

    /// Brings the cache line near where the search for a key begins. Done for many keys before the
    /// first is looked up, their misses overlap. All there is to it for an 8-byte key that has an
    /// 8-byte value; [`prefetch_values`](Self::prefetch_values) is for the others.
    #[inline]
    pub fn prefetch(&self, key: Key<'_>) {
        self.store.prefetch(key.canonical());
    }

    /// Brings values near that are about to be read, each with the bytes that are wanted of it.
    /// Their search goes through three places in memory, and all go there together. Keys of eight
    /// bytes are only helped to the first of them; a few dozen values are a good number.
    #[inline]
    pub fn prefetch_values<'k>(
        &self,
        wanted: impl Iterator<Item = (Key<'k>, Range<usize>)> + Clone,
    ) {
        for (key, _) in wanted.clone() {
            self.store.prefetch(key.canonical());
        }
        for (key, _) in wanted.clone() {
            self.store.prefetch_entry(key.canonical());
        }
        for (key, bytes) in wanted {
            self.store.prefetch_value(key.canonical(), bytes);
        }
    }

    /// Sets a value; false, and nothing done, if key or value exceed the cluster's limits.
    pub fn put(&mut self, key: Key<'_>, value: &[u8]) -> bool {
        let key = key.canonical();
        if (Op::Put { key, value }).check(self.limits).is_err() {
            return false;
        }
        self.undo.note(self.store, key);
        self.store.put(key, value);
        true
    }

    /// Removes a key; whether it was there.
    pub fn delete(&mut self, key: Key<'_>) -> bool {
        let key = key.canonical();
        if !self.may_exist(key) {
            return false;
        }
        self.undo.note(self.store, key);
        self.store.delete(key)
    }

    /// Adds to the first eight bytes of a value and returns the sum; `None` if the value is shorter
    /// or the key exceeds the cluster's limit.
    pub fn add(&mut self, key: Key<'_>, delta: i64) -> Option<i64> {
        let key = key.canonical();
        if !self.may_exist(key) {
            return None;
        }
        self.undo.note(self.store, key);
        self.store.add(key, delta)
    }

    /// Appends to a value and returns its new length; `None` if key or value would exceed the
    /// cluster's limits.
    pub fn append(&mut self, key: Key<'_>, tail: &[u8]) -> Option<u64> {
        let key = key.canonical();
        if !self.may_exist(key) {
            return None;
        }
        self.undo.note(self.store, key);
        self.store.append(key, tail, self.limits.value_bytes_max as usize)
    }

    /// Adds a value to the reply; false if the reply has no room for it.
    pub fn result(&mut self, value: &[u8]) -> bool {
        let fits = self.out.len() + OpResult::HEAD_BYTES_MAX + value.len() <= self.out_len_max
            && self.results < self.limits.ops_max;
        if fits {
            OpResult::with(ResultStatus::Ok, value).write(self.out);
            self.results += 1;
        }
        fits
    }

    pub(crate) fn result_count(&self) -> u16 {
        self.results
    }

    /// Whether a key is short enough to be in the store. The undo log has no form for longer ones.
    fn may_exist(&self, key: Key<'_>) -> bool {
        key.len() <= usize::from(self.limits.key_bytes_max)
    }
}

/// How to take back what a procedure wrote: the inverse operations, newest last.
#[derive(Debug, Default)]
pub(crate) struct UndoLog {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl UndoLog {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
    }

    /// Notes what a key holds now.
    fn note(&mut self, store: &Store, key: Key<'_>) {
        self.starts.push(self.bytes.len());
        match store.get(key) {
            None => Op::Delete { key }.write(&mut self.bytes),
            Some(value) => Op::Put { key, value: value.as_bytes() }.write(&mut self.bytes),
        }
    }

    /// Takes everything back.
    pub(crate) fn roll_back(&mut self, store: &mut Store) {
        while let Some(start) = self.starts.pop() {
            match OpReader::new(&self.bytes[start..]).next_op() {
                Ok(Op::Put { key, value }) => store.put(key, value),
                Ok(Op::Delete { key }) => {
                    store.delete(key);
                }
                other => unreachable!("the log holds puts and deletes only, not {other:?}"),
            }
            self.bytes.truncate(start);
        }
    }
}

/// The procedures of a cluster, by id. Every shard and every coordinator must register the same
/// ones under the same names: they are part of the cluster's hash.
#[derive(Default)]
pub struct Procedures {
    by_id: BTreeMap<u16, (String, Box<dyn Procedure>)>,
}

/// A procedure that cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProceduresError {
    /// The id is taken.
    #[error("procedure {id} is registered already, as \"{name}\"; choose another id")]
    Taken {
        /// The id.
        id: u16,
        /// Who has it.
        name: String,
    },
}

impl Procedures {
    /// No procedures.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a procedure.
    ///
    /// # Errors
    /// When the id is taken.
    pub fn register(
        &mut self,
        id: u16,
        name: &str,
        procedure: impl Procedure + 'static,
    ) -> Result<(), ProceduresError> {
        if let Some((name, _)) = self.by_id.get(&id) {
            return Err(ProceduresError::Taken { id, name: name.clone() });
        }
        self.by_id.insert(id, (name.to_owned(), Box::new(procedure)));
        Ok(())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The procedure of an id.
    #[must_use]
    pub fn get(&self, id: u16) -> Option<&dyn Procedure> {
        self.by_id.get(&id).map(|(_, procedure)| procedure.as_ref())
    }

    /// Runs a procedure on a store that belongs to no shard, as a shard would run it: to test and
    /// to measure procedures alone. What it reports is appended to `results`, encoded. `None` if
    /// the id is not registered.
    pub fn run_alone(
        &self,
        id: u16,
        store: &mut Store,
        limits: &Limits,
        args: &[u8],
        results: &mut Vec<u8>,
    ) -> Option<Verdict> {
        let procedure = self.get(id)?;
        let mut undo = UndoLog::default();
        let out_len_max = results.len() + limits.results_bytes_max();
        let mut context = ProcedureContext::new(store, &mut undo, limits, results, out_len_max);
        let verdict = procedure.run(&mut context, args);
        if verdict == Verdict::Abort {
            undo.roll_back(store);
        }
        Some(verdict)
    }

    /// Ids and names, for the cluster's hash.
    pub fn names(&self) -> impl Iterator<Item = (u16, &str)> {
        self.by_id.iter().map(|(id, (name, _))| (*id, name.as_str()))
    }
}

impl std::fmt::Debug for Procedures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests;
