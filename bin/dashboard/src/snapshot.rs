//! Everything that is shown, as it was at one moment.

use crate::farm::Farm;
use axum::body::Bytes;
use punctual_runtime::tasks::JobId;
use punctual_runtime::{Counter, CounterBlock, ProbeRow};
use std::time::Instant;

/// How a message of an event stream begins and ends; what is between is the JSON of a summary.
pub(crate) const EVENT_START: &str = "event: summary\ndata: ";
pub(crate) const EVENT_END: &str = "\n\n";

/// Everything that is shown, as it was at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// When it was taken.
    pub(crate) at: Instant,
    /// The same in nanoseconds since 1970.
    pub(crate) now_ns: i64,
    /// The task queue, if there is one to be looked at, or why it does not answer.
    pub(crate) farm: Option<Result<Farm, String>>,
    /// The counters of the process.
    pub(crate) blocks: Vec<Block>,
    pub(crate) delays: Vec<ProbeRow>,
    /// The message for those who listen, made once for all of them.
    pub(crate) event: Bytes,
}

/// Whose counters they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockKind {
    Shard,
    Coordinator,
    Queue,
    Prober,
    Core,
    Other,
}

/// The counters of one part of a process at one moment.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) name: String,
    pub(crate) kind: BlockKind,
    pub(crate) values: Vec<(Counter, u64)>,
    /// What it finishes a second: transactions, or attempts at tasks.
    pub(crate) rate: Option<f64>,
}

impl Snapshot {
    /// The queue, if it answered.
    pub(crate) fn farm(&self) -> Option<&Farm> {
        self.farm.as_ref()?.as_ref().ok()
    }

    /// The name of a job, if it was there.
    pub(crate) fn job_name(&self, job: JobId) -> Option<String> {
        let job = self.farm()?.job(job)?;
        Some(String::from_utf8_lossy(&job.name).into_owned())
    }

    /// The JSON of the summary.
    pub(crate) fn json(&self) -> Bytes {
        let end = self.event.len().saturating_sub(EVENT_END.len());
        self.event.slice(EVENT_START.len().min(end)..end)
    }

    /// The parts of one kind.
    pub(crate) fn blocks_of(&self, kind: BlockKind) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(move |block| block.kind == kind)
    }
}

impl BlockKind {
    /// A name for JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shard => "shard",
            Self::Coordinator => "coordinator",
            Self::Queue => "queue",
            Self::Prober => "prober",
            Self::Core => "core",
            Self::Other => "other",
        }
    }

    /// By the name of the block, such as `shard0`.
    pub(crate) fn of(name: &str) -> Self {
        const KINDS: [(&str, BlockKind); 5] = [
            ("shard", BlockKind::Shard),
            ("worker", BlockKind::Coordinator),
            ("tasks", BlockKind::Queue),
            ("prober", BlockKind::Prober),
            ("core", BlockKind::Core),
        ];
        let kind = KINDS.into_iter().find(|(prefix, _)| name.starts_with(prefix));
        kind.map_or(Self::Other, |(_, kind)| kind)
    }
}

impl Block {
    /// The counters as they are now.
    pub(crate) fn new(block: &CounterBlock) -> Self {
        let values = Counter::ALL.iter().map(|counter| (*counter, block.get(*counter))).collect();
        let name = block.name().to_owned();
        Self { kind: BlockKind::of(&name), name, values, rate: None }
    }

    /// A counter.
    pub(crate) fn get(&self, counter: Counter) -> u64 {
        let found = self.values.iter().find(|(it, _)| *it == counter);
        found.map_or(0, |(_, value)| *value)
    }

    /// All that it has finished.
    pub(crate) fn finished(&self) -> u64 {
        let counters =
            [Counter::Committed, Counter::Aborted, Counter::TasksDone, Counter::TasksFailed];
        counters.into_iter().map(|counter| self.get(counter)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_told_apart_by_their_names() {
        for (name, kind) in [
            ("shard12", BlockKind::Shard),
            ("worker0", BlockKind::Coordinator),
            ("tasks0", BlockKind::Queue),
            ("core-tasks", BlockKind::Core),
            ("core1", BlockKind::Core),
            ("prober", BlockKind::Prober),
            ("task-worker", BlockKind::Other),
        ] {
            assert_eq!(BlockKind::of(name), kind, "{name}");
        }
    }
}
