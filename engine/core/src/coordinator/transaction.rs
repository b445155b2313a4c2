//! Building a transaction: operations go straight into their wire form.

use crate::ShardId;
use punctual_wire::{
    Key, Limits, Op, PARTICIPANTS_MAX, WireError, WordOp, shard_of, write_call_head,
};
use thiserror::Error;

/// What is wrong with a transaction. Nothing of it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TransactionError {
    /// It does nothing.
    #[error("the transaction has no operations")]
    Empty,
    /// Its keys belong to more shards than a transaction may involve.
    #[error(
        "the transaction has keys of more than {max} shards; split it, or give keys that belong \
         together a common {{tag}}"
    )]
    TooManyShards {
        /// The limit.
        max: usize,
    },
    /// A call and operations in one transaction, or two calls on one shard.
    #[error(
        "a transaction is either operations, or procedure calls on different shards, one for each"
    )]
    CallNotAlone,
    /// It was made for a cluster with another number of shards or other limits.
    #[error(
        "the transaction was made for another cluster; make it with the client or the submitter \
         that it is given to"
    )]
    OtherCluster,
    /// A limit of the cluster is exceeded.
    #[error(transparent)]
    Limit(#[from] WireError),
}

/// What a transaction does on one shard.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) shard: ShardId,
    pub(super) op_count: u16,
    pub(super) is_call: bool,
    pub(super) body: Vec<u8>,
    /// Which run of the shard it is for; set when it is submitted.
    pub(super) incarnation: u32,
    /// Whether its reply is here, and what that said; used where there are several parts.
    pub(super) is_answered: bool,
    pub(super) results: Vec<u8>,
}

impl Part {
    fn new() -> Self {
        Self {
            shard: ShardId(0),
            op_count: 0,
            is_call: false,
            body: Vec::new(),
            incarnation: 0,
            is_answered: false,
            results: Vec::new(),
        }
    }

    #[inline]
    fn reset(&mut self, shard: ShardId) {
        self.shard = shard;
        self.op_count = 0;
        self.is_call = false;
        self.body.clear();
        self.is_answered = false;
        self.results.clear();
    }
}

/// The parts of a transaction in the order of their first operation. Most have one, which is kept
/// where it is found without another step through memory.
#[derive(Debug)]
pub(super) struct Parts {
    first: Part,
    /// More of them than are in use, so that their memory is used again.
    rest: Vec<Part>,
    len: usize,
    /// Which part each operation belongs to; kept only when there are several.
    by_op: Vec<u8>,
}

impl Parts {
    pub(super) fn new() -> Self {
        Self { first: Part::new(), rest: Vec::new(), len: 0, by_op: Vec::new() }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn first(&self) -> &Part {
        &self.first
    }

    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Part> + Clone {
        let rest = &self.rest[..self.len.saturating_sub(1)];
        std::iter::once(&self.first).take(self.len).chain(rest)
    }

    #[inline]
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        let rest = &mut self.rest[..self.len.saturating_sub(1)];
        std::iter::once(&mut self.first).take(self.len).chain(rest)
    }

    #[inline]
    pub(super) fn by_op(&self) -> &[u8] {
        &self.by_op
    }

    #[inline]
    fn get_mut(&mut self, at: usize) -> &mut Part {
        match at {
            0 => &mut self.first,
            _ => &mut self.rest[at - 1],
        }
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.by_op.clear();
    }

    /// Gives memory back that one unusual transaction needed.
    pub(super) fn shrink(&mut self, bytes_kept: usize) {
        for part in self.iter_mut() {
            for buffer in [&mut part.body, &mut part.results] {
                if buffer.capacity() > bytes_kept {
                    *buffer = Vec::new();
                }
            }
        }
    }

    /// The part of a shard, made if need be; `None` if there are too many.
    #[inline]
    fn of_shard(&mut self, shard: ShardId) -> Option<usize> {
        if self.len > 0 && self.first.shard == shard {
            return Some(0);
        }
        let found = self.iter().position(|part| part.shard == shard);
        found.or_else(|| self.add(shard))
    }

    fn add(&mut self, shard: ShardId) -> Option<usize> {
        if self.len == PARTICIPANTS_MAX {
            return None;
        }
        if self.len == 1 {
            self.by_op.resize(usize::from(self.first.op_count), 0);
        }
        if self.len > self.rest.len() {
            self.rest.push(Part::new());
        }
        self.len += 1;
        let at = self.len - 1;
        self.get_mut(at).reset(shard);
        Some(at)
    }
}

/// A transaction under construction. Submitting it leaves it empty, ready for the next one, and
/// with memory to build it in: in the steady state nothing is allocated.
///
/// Its keys may belong to any shards: the operations on the keys of one shard are a *piece*, and
/// all pieces happen at one time, or none. Mistakes are remembered and reported when it is
/// submitted.
#[derive(Debug)]
pub struct Transaction {
    pub(super) parts: Parts,
    op_count: u16,
    shards: u16,
    limits: Limits,
    error: Option<TransactionError>,
}

impl Transaction {
    /// An empty transaction for a cluster of `shards` with these limits.
    #[must_use]
    pub fn new(shards: u16, limits: Limits) -> Self {
        Self { parts: Parts::new(), op_count: 0, shards, limits, error: None }
    }

    /// Reads a key. The result carries its value.
    pub fn get<'k>(&mut self, key: impl Into<Key<'k>>) -> &mut Self {
        self.op(Op::Get { key: key.into() })
    }

    /// Sets a value.
    pub fn put<'k>(&mut self, key: impl Into<Key<'k>>, value: &[u8]) -> &mut Self {
        self.op(Op::Put { key: key.into(), value })
    }

    /// Removes a key.
    pub fn delete<'k>(&mut self, key: impl Into<Key<'k>>) -> &mut Self {
        self.op(Op::Delete { key: key.into() })
    }

    /// Adds to a number. The result carries the sum.
    pub fn add<'k>(&mut self, key: impl Into<Key<'k>>, delta: i64) -> &mut Self {
        self.op(Op::Add { key: key.into(), delta })
    }

    /// Appends to a value. The result carries the new length.
    pub fn append<'k>(&mut self, key: impl Into<Key<'k>>, value: &[u8]) -> &mut Self {
        self.op(Op::Append { key: key.into(), value })
    }

    /// Sets a value if it is the expected one (`None`: if the key is absent).
    pub fn compare_and_set<'k>(
        &mut self,
        key: impl Into<Key<'k>>,
        expected: Option<&[u8]>,
        value: &[u8],
    ) -> &mut Self {
        self.op(Op::CompareAndSet { key: key.into(), expected, value })
    }

    /// Calls a registered procedure on the shard of `key`. A transaction may make such calls on
    /// several shards, one on each, and nothing else; they must decide alike whether to abort.
    /// What they report comes in the order of the calls.
    pub fn call<'k>(&mut self, procedure: u16, key: impl Into<Key<'k>>, args: &[u8]) -> &mut Self {
        let max = u64::from(self.limits.value_bytes_max);
        let value = args.len() as u64;
        if value > max {
            let what = "the length of a call's arguments in bytes";
            return self.fail(WireError::OverLimit { what, value, max }.into());
        }
        let shard = ShardId(shard_of(key.into(), self.shards));
        let before = self.parts.len();
        if self.op_count > 0 || self.parts.iter().any(|part| part.shard == shard) {
            return self.fail(TransactionError::CallNotAlone);
        }
        let Some(at) = self.parts.of_shard(shard) else {
            return self.fail(TransactionError::TooManyShards { max: PARTICIPANTS_MAX });
        };
        debug_assert_eq!(at, before, "the shard had no part yet");
        let part = self.parts.get_mut(at);
        part.is_call = true;
        write_call_head(&mut part.body, procedure);
        part.body.extend_from_slice(args);
        self
    }

    /// Adds any operation.
    #[inline]
    pub fn op(&mut self, op: Op<'_>) -> &mut Self {
        if let Err(error) = op.check(&self.limits) {
            return self.fail(error.into());
        }
        match self.admit(op.key()) {
            Ok(body) => op.write(body),
            Err(error) => return self.fail(error),
        }
        self
    }

    /// Adds a read or an increment of an 8-byte key: the same as [`get`](Self::get) and
    /// [`add`](Self::add), without a branch between the two. For load generators.
    #[inline]
    pub fn word(&mut self, op: WordOp) -> &mut Self {
        match self.admit(Key::Word(op.key)) {
            Ok(body) => {
                op.write(body);
                self
            }
            Err(error) => self.fail(error),
        }
    }

    /// Counts one more operation on this key, if it may be in this transaction, and says where it
    /// goes.
    #[inline]
    fn admit(&mut self, key: Key<'_>) -> Result<&mut Vec<u8>, TransactionError> {
        let shard = ShardId(shard_of(key, self.shards));
        let Some(at) = self.parts.of_shard(shard) else {
            return Err(TransactionError::TooManyShards { max: PARTICIPANTS_MAX });
        };
        let several = self.parts.len > 1;
        let part = self.parts.get_mut(at);
        if part.is_call || (several && self.op_count == 0) {
            return Err(TransactionError::CallNotAlone);
        }
        if part.op_count == self.limits.ops_max || self.op_count == u16::MAX {
            let max = u64::from(self.limits.ops_max);
            let what = "the number of operations";
            return Err(WireError::OverLimit { what, value: max + 1, max }.into());
        }
        part.op_count += 1;
        self.op_count += 1;
        if several {
            self.parts.by_op.push(u8::try_from(at).expect("there are at most 64 parts"));
        }
        Ok(&mut self.parts.get_mut(at).body)
    }

    /// Number of operations so far.
    #[must_use]
    pub fn op_count(&self) -> u16 {
        self.op_count
    }

    /// The shard of its first operation, once that is known.
    #[must_use]
    pub fn shard(&self) -> Option<ShardId> {
        self.shards().next()
    }

    /// The shards that it involves, in the order of their first operations.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.parts.iter().map(|part| part.shard)
    }

    /// How many shards it involves.
    #[inline]
    #[must_use]
    pub fn shard_count(&self) -> usize {
        self.parts.len()
    }

    /// Whether it was made for a cluster of `shards` with these limits.
    #[inline]
    #[must_use]
    pub fn is_for(&self, shards: u16, limits: &Limits) -> bool {
        self.shards == shards && self.limits == *limits
    }

    /// Forgets everything, mistakes included.
    pub fn clear(&mut self) {
        self.parts.clear();
        self.op_count = 0;
        self.error = None;
    }

    #[cold]
    fn fail(&mut self, error: TransactionError) -> &mut Self {
        self.error.get_or_insert(error);
        self
    }

    /// Whether it can be sent at all.
    #[inline]
    pub(super) fn check(&self) -> Result<(), TransactionError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let max = self.limits.body_bytes_max() as u64;
        for part in self.parts.iter() {
            let value = part.body.len() as u64;
            if value > max {
                let what = "the length of a transaction's piece in bytes";
                return Err(WireError::OverLimit { what, value, max }.into());
            }
        }
        if self.parts.len() == 0 { Err(TransactionError::Empty) } else { Ok(()) }
    }
}
