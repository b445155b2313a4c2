//! The thread that takes snapshots: on news, for those who look, and only then.

use crate::audience::{Audience, Wishes};
use crate::look::Looker;
use crate::snapshot::Snapshot;
use std::sync::Arc;
use std::time::{Duration, Instant};
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

/// Has snapshots taken for those who look.
pub(crate) struct Collector {
    pub(crate) looker: Looker,
    pub(crate) audience: Arc<Audience>,
    pub(crate) wishes: Wishes,
    pub(crate) snapshots: watch::Sender<Newest>,
}

impl Collector {
    /// Works until it is told to stop.
    pub(crate) fn run(mut self) {
        while self.is_wanted() {
            // Whoever has asked gets what is looked at from now on.
            while self.wishes.looks.try_recv().is_ok() {}
            let snapshot = self.looker.look();
            self.snapshots.send_replace(Some(Arc::new(snapshot)));
            self.pause();
        }
    }

    /// Sleeps until somebody looks. False at the end.
    fn is_wanted(&self) -> bool {
        let has_wish = self.audience.listeners() > 0 || self.wishes.looks.recv().is_ok();
        has_wish && !self.audience.is_stopping()
    }

    /// Waits for a reason to take the next snapshot, if anybody listens.
    fn pause(&mut self) {
        let taken = Instant::now();
        // Nobody says anything here but that it is over.
        let _ = self.wishes.stop.recv_timeout(PAUSE_MIN);
        let pause_max = if self.looker.has_queue() { PAUSE_MAX } else { PAUSE_WITHOUT_NEWS };
        loop {
            let left = pause_max.saturating_sub(taken.elapsed());
            let is_over = self.audience.listeners() == 0 || self.audience.is_stopping();
            if is_over || left.is_zero() || !self.wishes.looks.is_empty() {
                return;
            }
            if self.wait_for_news(left.min(SLICE)) {
                return;
            }
        }
    }

    /// Waits for news of the queue. Whether there are any.
    fn wait_for_news(&mut self, patience: Duration) -> bool {
        let news = self.looker.wait_for_news(patience);
        if news.is_none() {
            let _ = self.wishes.stop.recv_timeout(patience);
        }
        news.unwrap_or(false)
    }
}
