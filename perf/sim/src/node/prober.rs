//! A prober with its links.

use crate::env::{Env, Kind, ShardEnds, Turn, only_frame};
use crate::network::Content;
use punctual_core::{Nanos, OwdSample, Prober, ProberConfig, ShardId};

/// A prober; its samples go to the coordinator of the same number.
#[derive(Debug)]
pub(crate) struct ProberNode {
    node: usize,
    prober: Prober,
    ends: ShardEnds,
    /// Measured in this turn.
    pub(crate) samples: Vec<(ShardId, OwdSample)>,
}

impl ProberNode {
    pub(crate) fn new(index: u16, env: &mut Env) -> Self {
        let interval = env.tuning.probe_interval;
        let config = ProberConfig {
            first_interval: interval / 4,
            first_for: interval * 4,
            interval,
            lost_after: interval * 10,
            owd: env.tuning.owd,
            ..ProberConfig::new(env.layout.shards, env.rng.draw())
        };
        Self {
            node: env.layout.node(Kind::Prober(index)),
            prober: Prober::new(config),
            ends: ShardEnds::new(env.layout.shards, env.tuning.batch_max),
            samples: Vec::new(),
        }
    }

    /// When it has something to do, by its clock.
    pub(crate) fn next_deadline(&self) -> Option<Nanos> {
        self.prober.next_deadline()
    }

    /// Takes a message.
    pub(crate) fn take(&mut self, env: &mut Env, turn: &mut Turn<'_>, conn: u32, content: Content) {
        let now = turn.spend();
        let Some(shard) = env.shard_of(conn, self.node) else { return };
        match content {
            Content::Welcome { .. } if env.is_current(conn) => {
                self.ends.up(shard, conn);
                self.prober.on_link_up(now, shard);
            }
            Content::Frame(bytes) if self.ends.is_up(shard, conn) => {
                let Self { prober, samples, .. } = self;
                let taken = prober.on_frame(now, shard, &only_frame(&bytes), |sample| {
                    if sample.used {
                        samples.push((sample.shard, sample.owd));
                    }
                });
                if let Err(error) = taken {
                    env.malformed(self.node, &error);
                }
            }
            Content::Closed => {
                if self.ends.down(shard, conn) {
                    self.prober.on_link_down(shard);
                }
                env.lost(turn.at, self.node, conn);
            }
            Content::Hello { .. } | Content::Frame(_) | Content::Welcome { .. } => {}
        }
    }

    /// Ends a turn: sends the probes that are due.
    pub(crate) fn finish(&mut self, env: &mut Env, turn: &mut Turn<'_>) {
        let now = turn.spend();
        self.prober.on_timer(now, &mut self.ends);
        self.ends.flush(env, turn.at, self.node);
    }
}
