//! The shards of a process, before their agents are made: empty ones, and those that go on from
//! their journals.

use super::{Assembly, Part, SESSION_RETENTION, random};
use crate::clock::Clock;
use crate::config::{ClockSource, show_duration};
use crate::engine::EngineError;
use crate::journal::{Journal, JournalPlan, Recovered, is_journal, recover};
use punctual_core::{Nanos, Replay, SessionId, Shard, ShardConfig, ShardId, ShardSetup};
use std::sync::Arc;
use std::time::Duration;

/// A clock that is further behind a journal than this was set back, or began anew: what was written
/// down of it is no more than a moment ahead.
const BEHIND_MAX: Duration = Duration::from_secs(1);

/// A shard whose journal, if it has one, was read.
struct Draft {
    setup: ShardSetup,
    journal: Option<(JournalPlan, Recovered<Replay>)>,
}

impl Assembly {
    /// Makes these shards, each with its journal if it has one. The clock may be set forward by
    /// that, so nobody has a copy of it yet.
    pub(super) fn make_shards(
        &mut self,
        served: &[u16],
    ) -> Result<Vec<(Shard, Option<Journal>)>, EngineError> {
        let drafts = served.iter().map(|shard| self.draft(*shard));
        let drafts = drafts.collect::<Result<Vec<_>, _>>()?;
        self.catch_up(&drafts);
        drafts.into_iter().map(|draft| self.finish(draft)).collect()
    }

    /// What a shard must know. One number names this run of it to coordinators and to its peers.
    fn shard_config(&self, shard: u16) -> ShardConfig {
        let (cluster, process) = (&self.config.cluster, &self.config.process);
        let defaults = ShardConfig::new(ShardId(shard), cluster.shards);
        // A proposal is not missing while it is on its way.
        let network = process.network.as_ref();
        let on_the_way = network.map_or(Duration::ZERO, |network| network.topology.longest());
        ShardConfig {
            session: SessionId(random()),
            limits: cluster.limits,
            sessions_max: process.sessions_max,
            session_retention: SESSION_RETENTION,
            store_bytes_max: process.store_bytes_max,
            seed: random(),
            memory: crate::sys::memory_hooks(),
            epsilon: cluster.clock_bound(),
            max_hold: cluster.max_hold,
            dispatch_timeout: cluster.dispatch_timeout,
            pending_per_peer_max: process.pending_per_peer_max,
            blocked_max: process.blocked_max,
            durability: process.durability.durability_of(shard),
            ask_after: defaults.ask_after + on_the_way,
            ..defaults
        }
    }

    /// Reads the journal of a shard, if it has one.
    fn draft(&self, shard: u16) -> Result<Draft, EngineError> {
        let (config, procedures) = (self.shard_config(shard), Arc::clone(&self.procedures));
        let setup = ShardSetup { config, procedures };
        let settings = &self.config.process.durability;
        if !setup.config.durability.is_on() {
            let dir = settings.dir_of(shard);
            // Peers are told that its memory is gone. Who went on from the journal some day would
            // be taken for the run that they have buried.
            if self.part == Part::Serve && dir.exists() && is_journal(&dir)? {
                return Err(EngineError::JournalLeft { shard, dir });
            }
            return Ok(Draft { setup, journal: None });
        }
        let plan = JournalPlan {
            dir: settings.dir_of(shard),
            segment_bytes: settings.segment_bytes,
            snapshot_after: settings.snapshot_after,
            backend: settings.backend,
            core: self.plan.journals.get(usize::from(shard)).copied(),
        };
        let recovered = recover::<Replay>(&plan, &setup)?;
        tracing::info!(shard, "{}", recovered.report);
        Ok(Draft { setup, journal: Some((plan, recovered)) })
    }

    /// Sees to it that the clock is past everything that the journals speak of, before anybody has
    /// a copy of it. All shards of the process go by it, so they agree with each other.
    fn catch_up(&mut self, drafts: &[Draft]) {
        let floor = |draft: &Draft| {
            let (_, recovered) = draft.journal.as_ref()?;
            Some((recovered.replay.clock_floor(), draft.setup.config.id))
        };
        let Some((floor, shard)) = drafts.iter().filter_map(floor).max_by_key(|(at, _)| *at) else {
            return;
        };
        let behind = floor.since(self.clock.now());
        if behind > BEHIND_MAX {
            self.set_forward(floor, shard, behind);
        }
        // Who answered from ahead of its clock would mislead those who estimate the ways to it.
        std::thread::sleep(floor.since(self.clock.now()));
    }

    /// The clock began anew, or was set back. Other processes of the host are in the same position;
    /// by the wall clock they agree with each other again.
    fn set_forward(&mut self, floor: Nanos, shard: ShardId, behind: Duration) {
        let behind = show_duration(Duration::from_secs(behind.as_secs()));
        let wall = Clock::new(ClockSource::Realtime);
        if floor.since(wall.now()) <= BEHIND_MAX {
            self.clock = wall;
            self.warnings.push(format!(
                "the clock is {behind} behind the journal of {shard}, as after a restart of the \
                 machine: this process goes by the wall clock from now on, as do others with \
                 journals. Set clock = \"realtime\" for all members, so that those without one \
                 do as well"
            ));
            return;
        }
        self.clock.set_forward(Nanos::from(floor.since(self.clock.now())));
        self.warnings.push(format!(
            "the clock was set back to {behind} before the end of the journal of {shard}: this \
             process sets its own forward. Order in real time between its shards and others is \
             not promised; see that nobody sets the clock back"
        ));
    }

    /// Lets a shard go on from its journal, or begin without one.
    fn finish(&mut self, draft: Draft) -> Result<(Shard, Option<Journal>), EngineError> {
        let Draft { setup, journal } = draft;
        let Some((plan, recovered)) = journal else {
            return Ok((Shard::new(setup.config, setup.procedures), None));
        };
        let Recovered { mut replay, dir, head, number, report } = recovered;
        replay.admit_after(replay.clock_floor());
        let shard = replay.finish(self.clock.now(), head.start);
        let journal = Journal::start::<Replay>(&plan, dir, head, number, setup)?;
        // The reason is often the same for all of them.
        let warning = journal.warning().filter(|it| !self.warnings.contains(it));
        self.warnings.extend(warning);
        self.journals.push((shard.id().0, plan.dir));
        self.recoveries.push(report);
        Ok((shard, Some(journal)))
    }
}
