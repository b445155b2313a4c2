//! Writing down all that a shard is, as records.

use super::Replay;
use super::Shard;
use super::pending::Stage;
use crate::Nanos;
use crate::journal::Record;
use crate::store::StoredValue;
use punctual_wire::TxnId;
use zerocopy::little_endian::U64;

/// Words of one record: 64 KiB.
const WORDS_MAX: usize = 4096;

impl Replay {
    /// Hands the records of a snapshot to `put`: applied to a new [`Replay`] in this order they
    /// make one that equals this one.
    ///
    /// # Errors
    /// What `put` fails with.
    pub fn snapshot<E>(&self, mut put: impl FnMut(&Record<'_>) -> Result<(), E>) -> Result<(), E> {
        let shard = self.shard();
        let state = Record::State {
            last_released: shard.last_released,
            clock: shard.clock,
            sessions_made: shard.sessions.made(),
        };
        put(&state)?;
        shard.put_sessions(&mut put)?;
        // Once more: the last session made need not be among those kept.
        put(&state)?;
        shard.put_store(&mut put)?;
        shard.put_entries(&mut put)?;
        put(&Record::End { keys: shard.store.len() as u64 })
    }
}

impl Shard {
    fn put_sessions<E>(&self, put: &mut impl FnMut(&Record<'_>) -> Result<(), E>) -> Result<(), E> {
        for (index, id, epoch, outcomes) in self.sessions.iter() {
            let count = |len: usize| u32::try_from(len).expect("sessions and slots are bounded");
            let (index, slots) = (count(index), count(outcomes.len()));
            put(&Record::SessionOpened { id, index, slots, epoch })?;
            for outcome in outcomes.iter().filter(|it| it.sequence.0 > 0 && !it.is_pending) {
                put(&Record::Outcome {
                    txn: TxnId { session: id.0, sequence: outcome.sequence },
                    status: outcome.status,
                    commit: outcome.commit,
                    result_count: outcome.result_count,
                    results: &outcome.results,
                })?;
            }
        }
        Ok(())
    }

    fn put_store<E>(&self, put: &mut impl FnMut(&Record<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut words: Vec<[U64; 2]> = Vec::with_capacity(WORDS_MAX);
        self.store.visit(|value| match value {
            StoredValue::Word { key, value } => {
                words.push([U64::new(key), U64::new(value)]);
                if words.len() < WORDS_MAX {
                    return Ok(());
                }
                put(&Record::Words { words: &words })?;
                words.clear();
                Ok(())
            }
            StoredValue::Bytes { key, value } => put(&Record::Put { key, value }),
        })?;
        if words.is_empty() { Ok(()) } else { put(&Record::Words { words: &words }) }
    }

    fn put_entries<E>(&self, put: &mut impl FnMut(&Record<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut bytes = Vec::new();
        for &at in self.pending.live() {
            let entry = self.pending.get(at);
            let txn = entry.order.txn;
            let body = entry.piece(&entry.body);
            let (parties, is_released) = (entry.record_parties(), entry.stage == Stage::Released);
            bytes.clear();
            let body = (!is_released).then_some(&body);
            let received_at = if is_released { Nanos::ZERO } else { entry.received_at };
            crate::journal::write_with_parties(&mut bytes, txn, received_at, parties, body);
            put(&Record::written(&bytes))?;
            if !is_released && entry.dead != 0 {
                put(&Record::Buried { txn, dead: entry.dead })?;
            }
        }
        Ok(())
    }
}
