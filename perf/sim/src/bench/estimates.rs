//! The one-way delays as each place knows them.
//!
//! In the engine each coordinator worker has estimators of its own, fed by the prober of its
//! process and by the replies to its own transactions. Ten thousand workers times a hundred shards
//! times a thousand samples do not fit here. So the coordinators of one place share estimators, and
//! what each of them learns from replies all of them know: the same samples of the same ways.

use super::config::SimBenchConfig;
use super::post::Layout;
use punctual_core::{Nanos, OwdEstimator, OwdSample, ProbeSample, ShardId};
use punctual_wire::{Frame, ReplyReader, ReplyStatus, TxnSequence};

/// The shortest distance of two samples from the replies of a shard, as in a coordinator.
const SAMPLE_INTERVAL: Nanos = Nanos(100_000);

/// An estimator for each place and shard; none for a single shard, which needs no stamps.
#[derive(Debug)]
pub(super) struct Estimates {
    owd: Vec<OwdEstimator>,
    sampled_at: Vec<Nanos>,
    shards: usize,
}

impl Estimates {
    pub(super) fn new(config: &SimBenchConfig, layout: Layout) -> Self {
        let shards = usize::from(config.shards);
        let count = layout.probers as usize * shards;
        Self {
            owd: (0..count).map(|_| OwdEstimator::new(&config.owd)).collect(),
            sampled_at: vec![Nanos(i64::MIN); count],
            shards,
        }
    }

    fn index(&self, place: usize, shard: ShardId) -> usize {
        place * self.shards + usize::from(shard.0)
    }

    /// What is estimated, if anything is.
    pub(super) fn estimate(&self, now: Nanos, place: usize, shard: ShardId) -> Option<Nanos> {
        let owd = self.owd.get(self.index(place, shard))?;
        Some(owd.estimate(now))
    }

    /// Takes the answer to a probe.
    pub(super) fn probed(&mut self, place: usize, sample: &ProbeSample) {
        let at = self.index(place, sample.shard);
        if let Some(owd) = self.owd.get_mut(at).filter(|_| sample.used) {
            owd.push(sample.at, sample.owd);
        }
    }

    /// Takes what a frame of replies says, if it is time for a sample. `sent_at` knows when a
    /// transaction was submitted.
    pub(super) fn replied(
        &mut self,
        now: Nanos,
        place: usize,
        (shard, frame): (ShardId, &Frame<'_>),
        sent_at: impl Fn(TxnSequence) -> Nanos,
    ) {
        let at = self.index(place, shard);
        let Some(owd) = self.owd.get_mut(at) else { return };
        if now < self.sampled_at[at] + SAMPLE_INTERVAL {
            return;
        }
        let mut replies = ReplyReader::new(frame);
        while let Ok(Some(reply)) = replies.next_reply() {
            if matches!(reply.status, ReplyStatus::Committed | ReplyStatus::Aborted) {
                // One that was not held was admitted when it ran.
                let received_at = reply.timing.map_or(reply.commit, |timing| timing.received_at);
                let delay = Nanos(received_at) - sent_at(reply.sequence);
                owd.push(now, OwdSample { owd: delay, rtt: None });
                self.sampled_at[at] = now;
                return;
            }
        }
    }
}
