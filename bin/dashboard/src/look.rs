//! Looking: a snapshot of everything that there is, and what rates are made of from one snapshot
//! to the next.

use crate::document::{self, About};
use crate::farm::{Farm, LONG, SHORT, TOTALS};
use crate::history::{History, LatencyHistory};
use crate::snapshot::{Block, BlockKind, Snapshot};
use crate::source::{OwdSource, SharedTasks};
use axum::body::Bytes;
use punctual_runtime::tasks::{TaskClient, TaskClientError};
use punctual_runtime::{Counter, Counters};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Takes snapshots.
pub(crate) struct Looker {
    about: About,
    tasks: Option<SharedTasks>,
    counters: Option<Counters>,
    owd: Option<OwdSource>,
    client: Option<TaskClient>,
    /// Up to where news of the queue are known.
    seen: u64,
    history: History,
    latencies: LatencyHistory,
}

impl Looker {
    pub(crate) fn new(
        title: String,
        tasks: Option<SharedTasks>,
        counters: Option<Counters>,
        owd: Option<OwdSource>,
    ) -> Self {
        Self {
            about: About::new(title),
            tasks,
            counters,
            owd,
            client: None,
            seen: 0,
            history: History::default(),
            latencies: LatencyHistory::default(),
        }
    }

    /// Whether there is a queue that gives notice of news.
    pub(crate) fn has_queue(&self) -> bool {
        self.tasks.is_some()
    }

    /// How everything is now.
    pub(crate) fn look(&mut self) -> Snapshot {
        let farm = self.tasks.is_some().then(|| self.ask(all_of_a_farm));
        let mut farm = farm.map(|asked| asked.map_err(|error| error.to_string()));
        let counters = self.counters.iter().flat_map(Counters::blocks);
        let mut blocks: Vec<Block> = counters.map(|block| Block::new(block)).collect();
        let at = Instant::now();
        remember(&mut self.history, at, farm.as_ref(), &blocks);
        match &farm {
            Some(Ok(farm)) => self.latencies.push(at, farm.latencies.clone()),
            _ => self.latencies.clear(),
        }
        for (index, block) in blocks.iter_mut().enumerate() {
            block.rate = self.history.rate(TOTALS + index, SHORT);
        }
        if let Some(Ok(farm)) = &mut farm {
            farm.add_rates(&self.history);
            farm.add_latencies(self.latencies.over(LONG).as_ref());
        }
        let mut snapshot = Snapshot {
            at,
            now_ns: now_ns(),
            farm,
            blocks,
            delays: self.owd.as_mut().map(|owd| owd()).unwrap_or_default(),
            event: Bytes::new(),
        };
        snapshot.event = document::event(&self.about, &snapshot);
        snapshot
    }

    /// Asks the queue something. A client that failed is not used again.
    pub(crate) fn ask<T>(
        &mut self,
        question: impl FnOnce(&mut TaskClient) -> Result<T, TaskClientError>,
    ) -> Result<T, TaskClientError> {
        let mut queue = match (self.client.take(), &self.tasks) {
            (Some(queue), _) => queue,
            (None, Some(tasks)) => tasks.connect()?,
            (None, None) => return Err(TaskClientError::Stopped),
        };
        let answer = question(&mut queue)?;
        self.client = Some(queue);
        Ok(answer)
    }

    /// Waits for news of the queue. Whether there are any; nothing if there is nobody to tell them.
    pub(crate) fn wait_for_news(&mut self, patience: Duration) -> Option<bool> {
        let queue = self.client.as_mut()?;
        match queue.progress(None, self.seen, patience) {
            Ok(Some((version, _))) => {
                self.seen = version;
                Some(true)
            }
            Ok(None) => Some(false),
            Err(_) => {
                // The next snapshot says why.
                self.client = None;
                Some(true)
            }
        }
    }
}

/// Asks a queue for everything that is shown of it.
fn all_of_a_farm(queue: &mut TaskClient) -> Result<Farm, TaskClientError> {
    let (jobs, workers) = (queue.jobs()?, queue.workers()?);
    Ok(Farm::new(jobs, workers).with_latencies(queue.latencies()?))
}

/// Takes note of the totals that rates are made of. What a queue of this process counts is better
/// than what it has: tasks that are removed were done all the same.
fn remember(
    history: &mut History,
    at: Instant,
    farm: Option<&Result<Farm, String>>,
    blocks: &[Block],
) {
    let queues = || blocks.iter().filter(|block| block.kind == BlockKind::Queue);
    let counted = |counter| queues().map(|block| block.get(counter)).sum::<u64>();
    let of_farm = match farm {
        Some(_) if queues().next().is_some() => {
            [Counter::TasksSubmitted, Counter::TasksDone, Counter::TasksFailed].map(counted)
        }
        Some(Ok(farm)) => farm.totals(),
        // One that comes back may be another one.
        Some(Err(_)) => return history.clear(),
        None => [0; TOTALS],
    };
    let finished = blocks.iter().map(Block::finished);
    history.push(at, of_farm.into_iter().chain(finished).collect());
}

/// Nanoseconds since 1970.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
