//! A shard as one of those who have a journal.

use super::{Replay, ReplayError, Shard, ShardConfig};
use crate::journal::{Holder, LogOwner, Logged, Lsn, Record, ReplayTally, Replica};
use crate::procedure::Procedures;
use crate::{SessionId, ShardId};
use std::sync::Arc;

/// What a shard goes on from its journal with.
#[derive(Debug, Clone)]
pub struct ShardSetup {
    /// What it must know.
    pub config: ShardConfig,
    /// What its transactions may call.
    pub procedures: Arc<Procedures>,
}

impl Logged for Shard {
    #[inline]
    fn id(&self) -> ShardId {
        Self::id(self)
    }

    #[inline]
    fn log_len(&self) -> usize {
        Self::log_len(self)
    }

    #[inline]
    fn take_log(&mut self, buffer: &mut Vec<u8>) -> Lsn {
        Self::take_log(self, buffer)
    }

    #[inline]
    fn on_durable(&mut self, lsn: Lsn) {
        Self::on_durable(self, lsn);
    }

    #[inline]
    fn set_journal_full(&mut self, is_full: bool) {
        Self::set_journal_full(self, is_full);
    }
}

impl Replica for Replay {
    type Setup = ShardSetup;

    fn new(setup: &ShardSetup) -> Self {
        Self::new(setup.config.clone(), Arc::clone(&setup.procedures))
    }

    fn owner(setup: &ShardSetup) -> LogOwner {
        let ShardConfig { id, shards, session, limits, .. } = setup.config;
        LogOwner { holder: Holder::Shard, shard: id, shards, session, limits }
    }

    fn with_session(setup: ShardSetup, session: SessionId) -> ShardSetup {
        let ShardSetup { config, procedures } = setup;
        ShardSetup { config: ShardConfig { session, ..config }, procedures }
    }

    #[inline]
    fn apply(&mut self, record: &Record<'_>) -> Result<(), ReplayError> {
        Self::apply(self, record)
    }

    fn snapshot<E>(&self, put: impl FnMut(&Record<'_>) -> Result<(), E>) -> Result<(), E> {
        Self::snapshot(self, put)
    }

    fn is_whole(&self) -> bool {
        Self::is_whole(self)
    }

    fn tally(&self) -> ReplayTally {
        ReplayTally {
            records: self.records(),
            done: self.transactions(),
            kept: self.shard().store().len() as u64,
            open: self.undecided(),
        }
    }
}
