//! Who looks: the collector works for them, and only while there is somebody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Most pages that listen at once.
pub(crate) const LISTENERS_MAX: usize = 64;

/// Those who look at snapshots, as the threads of a dashboard see them.
#[derive(Debug)]
pub(crate) struct Audience {
    listeners: AtomicUsize,
    is_stopping: AtomicBool,
    looks: flume::Sender<()>,
    stop: flume::Sender<()>,
}

/// What the collector waits for.
#[derive(Debug)]
pub(crate) struct Wishes {
    /// Somebody wants to see how things are now.
    pub(crate) looks: flume::Receiver<()>,
    /// The end.
    pub(crate) stop: flume::Receiver<()>,
}

/// A page that listens, until it is dropped.
#[derive(Debug)]
pub(crate) struct Listening(Arc<Audience>);

impl Audience {
    pub(crate) fn new() -> (Arc<Self>, Wishes) {
        // One wish is as good as many.
        let (looks, for_looks) = flume::bounded(1);
        let (stop, for_stop) = flume::bounded(1);
        let (listeners, is_stopping) = (AtomicUsize::new(0), AtomicBool::new(false));
        let audience = Self { listeners, is_stopping, looks, stop };
        (Arc::new(audience), Wishes { looks: for_looks, stop: for_stop })
    }

    /// How many listen.
    pub(crate) fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Acquire)
    }

    /// Whether it is over.
    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// One more that listens; `None` if there are too many.
    pub(crate) fn listen(self: &Arc<Self>) -> Option<Listening> {
        let before = self.listeners.fetch_add(1, Ordering::AcqRel);
        // One that is dropped is not counted any more.
        let listening = Listening(Arc::clone(self));
        if before >= LISTENERS_MAX {
            return None;
        }
        self.look();
        Some(listening)
    }

    /// A snapshot is wanted.
    pub(crate) fn look(&self) {
        // If there is no room, somebody has said so already.
        let _ = self.looks.try_send(());
    }

    /// Ends the collector.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        let _ = self.stop.try_send(());
        self.look();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_counted_bounded_and_forgotten_when_they_go() {
        let (audience, wishes) = Audience::new();
        let mut pages: Vec<_> = (0..LISTENERS_MAX).map(|_| audience.listen()).collect();
        assert!(pages.iter().all(Option::is_some));
        assert_eq!(audience.listeners(), LISTENERS_MAX);
        assert!(audience.listen().is_none(), "there are too many");
        assert_eq!(wishes.looks.drain().count(), 1, "all want the same");
        pages.truncate(1);
        assert_eq!(audience.listeners(), 1);
        assert!(audience.listen().is_some());
        assert_eq!(audience.listeners(), 1, "it was dropped at once");
    }
}
