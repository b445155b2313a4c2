//! The thread that takes snapshots: on news, for those who look, and only then.

use crate::audience::{Audience, Wishes};
use crate::document::{self, About};
use crate::farm::{Farm, SHORT, TOTALS};
use crate::history::History;
use crate::snapshot::{Block, BlockKind, Snapshot};
use crate::source::{OwdSource, SharedTasks};
use axum::body::Bytes;
use punctual_runtime::tasks::{OwnedJob, OwnedWorker, TaskClient, TaskClientError};
use punctual_runtime::{Counter, Counters};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Snapshots are no nearer than this, however much happens.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(250);
/// While somebody listens they are no farther apart, even if nothing happens: workers change
/// without news.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The same where nobody gives notice of news, as in an engine.
const PAUSE_WITHOUT_NEWS: Duration = Duration::from_secs(1);
/// How long to wait for news before looking whether something else is wanted.
const SLICE: Duration = Duration::from_millis(250);

/// The newest snapshot, if there is one.
pub(crate) type Newest = Option<Arc<Snapshot>>;

/// Takes snapshots.
pub(crate) struct Collector {
    pub(crate) about: About,
    pub(crate) tasks: Option<SharedTasks>,
    pub(crate) counters: Option<Counters>,
    pub(crate) owd: Option<OwdSource>,
    pub(crate) audience: Arc<Audience>,
    pub(crate) wishes: Wishes,
    pub(crate) snapshots: watch::Sender<Newest>,
}

/// What a collector remembers from one snapshot to the next.
#[derive(Default)]
struct Memory {
    client: Option<TaskClient>,
    /// Up to where news of the queue are known.
    seen: u64,
    history: History,
}

impl Collector {
    /// Works until it is told to stop.
    pub(crate) fn run(mut self) {
        let mut memory = Memory::default();
        while self.is_wanted() {
            let snapshot = self.collect(&mut memory);
            self.snapshots.send_replace(Some(Arc::new(snapshot)));
            self.pause(&mut memory);
        }
    }

    /// Sleeps until somebody looks. False at the end.
    fn is_wanted(&self) -> bool {
        let has_wish = self.audience.listeners() > 0 || self.wishes.looks.recv().is_ok();
        has_wish && !self.audience.is_stopping()
    }

    /// Waits for a reason to take the next snapshot, if anybody listens.
    fn pause(&self, memory: &mut Memory) {
        let taken = Instant::now();
        // Nobody says anything here but that it is over.
        let _ = self.wishes.stop.recv_timeout(PAUSE_MIN);
        let pause_max = if self.tasks.is_some() { PAUSE_MAX } else { PAUSE_WITHOUT_NEWS };
        loop {
            let left = pause_max.saturating_sub(taken.elapsed());
            let is_over = self.audience.listeners() == 0 || self.audience.is_stopping();
            if is_over || left.is_zero() || !self.wishes.looks.is_empty() {
                return;
            }
            if self.wait_for_news(memory, left.min(SLICE)) {
                return;
            }
        }
    }

    /// Waits for news of the queue. Whether there are any.
    fn wait_for_news(&self, memory: &mut Memory, patience: Duration) -> bool {
        let Memory { client, seen, .. } = memory;
        let Some(queue) = client else {
            let _ = self.wishes.stop.recv_timeout(patience);
            return false;
        };
        match queue.progress(None, *seen, patience) {
            Ok(Some((version, _))) => {
                *seen = version;
                true
            }
            Ok(None) => false,
            Err(_) => {
                // The next snapshot says why.
                *client = None;
                true
            }
        }
    }

    fn collect(&mut self, memory: &mut Memory) -> Snapshot {
        // Whoever has asked gets what is looked at from now on.
        while self.wishes.looks.try_recv().is_ok() {}
        let farm = self.tasks.as_ref().map(|tasks| ask(&mut memory.client, tasks));
        let mut farm = farm.map(|asked| match asked {
            Ok((jobs, workers)) => Ok(Farm::new(jobs, workers)),
            Err(error) => Err(error.to_string()),
        });
        let counters = self.counters.iter().flat_map(Counters::blocks);
        let mut blocks: Vec<Block> = counters.map(|block| Block::new(block)).collect();
        let at = Instant::now();
        let history = &mut memory.history;
        remember(history, at, farm.as_ref(), &blocks);
        for (index, block) in blocks.iter_mut().enumerate() {
            block.rate = history.rate(TOTALS + index, SHORT);
        }
        if let Some(Ok(farm)) = &mut farm {
            farm.add_rates(history);
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

/// Asks a queue for everything that is shown of it. A client that failed is not used again.
fn ask(
    client: &mut Option<TaskClient>,
    tasks: &SharedTasks,
) -> Result<(Vec<OwnedJob>, Vec<OwnedWorker>), TaskClientError> {
    let mut queue = match client.take() {
        Some(queue) => queue,
        None => tasks.connect()?,
    };
    let answer = (queue.jobs()?, queue.workers()?);
    *client = Some(queue);
    Ok(answer)
}

/// Nanoseconds since 1970.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
