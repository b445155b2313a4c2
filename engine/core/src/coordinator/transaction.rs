//! Building a transaction: operations go straight into their wire form.

use crate::ShardId;
use punctual_wire::{Key, Limits, Op, WireError, WordOp, shard_of, write_call_head};
use thiserror::Error;

/// What is wrong with a transaction. Nothing of it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TransactionError {
    /// It does nothing.
    #[error("the transaction has no operations")]
    Empty,
    /// Its keys belong to several shards.
    #[error(
        "the transaction has keys of {first} and of {other}; transactions on several shards are \
         not built yet: give keys that belong together a common {{tag}}"
    )]
    SeveralShards {
        /// The shard of the first key.
        first: ShardId,
        /// The shard of a later key.
        other: ShardId,
    },
    /// A call and operations, or two calls, in one transaction.
    #[error("a procedure call must be the only content of its transaction")]
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

/// A transaction under construction. Submitting it leaves it empty, ready for the next one, and
/// with memory to build it in: in the steady state nothing is allocated.
///
/// Mistakes are remembered and reported when it is submitted.
#[derive(Debug)]
pub struct Transaction {
    pub(super) shard: Option<ShardId>,
    pub(super) op_count: u16,
    pub(super) is_call: bool,
    pub(super) body: Vec<u8>,
    shards: u16,
    limits: Limits,
    error: Option<TransactionError>,
}

impl Transaction {
    /// An empty transaction for a cluster of `shards` with these limits.
    #[must_use]
    pub fn new(shards: u16, limits: Limits) -> Self {
        Self {
            shard: None,
            op_count: 0,
            is_call: false,
            body: Vec::new(),
            shards,
            limits,
            error: None,
        }
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

    /// Calls a registered procedure on the shard of `key`. It must be all that the transaction
    /// does.
    pub fn call<'k>(&mut self, procedure: u16, key: impl Into<Key<'k>>, args: &[u8]) -> &mut Self {
        if self.op_count > 0 || self.is_call {
            return self.fail(TransactionError::CallNotAlone);
        }
        let max = u64::from(self.limits.value_bytes_max);
        let value = args.len() as u64;
        if value > max {
            let what = "the length of a call's arguments in bytes";
            return self.fail(WireError::OverLimit { what, value, max }.into());
        }
        self.shard = Some(ShardId(shard_of(key.into(), self.shards)));
        self.is_call = true;
        write_call_head(&mut self.body, procedure);
        self.body.extend_from_slice(args);
        self
    }

    /// Adds any operation.
    #[inline]
    pub fn op(&mut self, op: Op<'_>) -> &mut Self {
        if let Err(error) = op.check(&self.limits) {
            return self.fail(error.into());
        }
        match self.admit(op.key()) {
            Ok(()) => op.write(&mut self.body),
            Err(error) => return self.fail(error),
        }
        self
    }

    /// Adds a read or an increment of an 8-byte key: the same as [`get`](Self::get) and
    /// [`add`](Self::add), without a branch between the two. For load generators.
    #[inline]
    pub fn word(&mut self, op: WordOp) -> &mut Self {
        match self.admit(Key::Word(op.key)) {
            Ok(()) => {
                op.write(&mut self.body);
                self
            }
            Err(error) => self.fail(error),
        }
    }

    /// Counts one more operation on this key, if it may be in this transaction.
    #[inline]
    fn admit(&mut self, key: Key<'_>) -> Result<(), TransactionError> {
        if self.is_call {
            return Err(TransactionError::CallNotAlone);
        }
        let other = ShardId(shard_of(key, self.shards));
        let first = *self.shard.get_or_insert(other);
        if first != other {
            return Err(TransactionError::SeveralShards { first, other });
        }
        if self.op_count == self.limits.ops_max {
            let max = u64::from(self.limits.ops_max);
            let what = "the number of operations";
            return Err(WireError::OverLimit { what, value: max + 1, max }.into());
        }
        self.op_count += 1;
        Ok(())
    }

    /// Number of operations so far.
    #[must_use]
    pub fn op_count(&self) -> u16 {
        self.op_count
    }

    /// The shard that it goes to, once that is known.
    #[must_use]
    pub fn shard(&self) -> Option<ShardId> {
        self.shard
    }

    /// Whether it was made for a cluster of `shards` with these limits.
    #[inline]
    #[must_use]
    pub fn is_for(&self, shards: u16, limits: &Limits) -> bool {
        self.shards == shards && self.limits == *limits
    }

    /// Forgets everything, mistakes included.
    pub fn clear(&mut self) {
        self.shard = None;
        self.op_count = 0;
        self.is_call = false;
        self.body.clear();
        self.error = None;
    }

    #[cold]
    fn fail(&mut self, error: TransactionError) -> &mut Self {
        self.error.get_or_insert(error);
        self
    }

    /// Where it goes, if it can go at all.
    #[inline]
    pub(super) fn checked(&self) -> Result<ShardId, TransactionError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let max = self.limits.body_bytes_max() as u64;
        let value = self.body.len() as u64;
        if value > max {
            let what = "the length of a transaction in bytes";
            return Err(WireError::OverLimit { what, value, max }.into());
        }
        self.shard.ok_or(TransactionError::Empty)
    }
}
