//! Who holds on to a bridge, and its thread.

use super::notices::{self, Notices};
use super::{Bridge, PATIENCE, worker_link};
use crate::connection::Connection;
use crate::{BridgeView, Polling, RedisBridgeConfig, RedisError, WorkLimits};
use punctual_link::{CoreWaker, Link, Parker};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// What the thread is told from outside.
pub(super) enum Control {
    /// A link of a worker.
    Attach(Box<dyn Link>),
    Limits(WorkLimits),
    Stop,
}

/// The way to a bridge for the worker: whoever has this can open links to it.
#[derive(Clone)]
pub struct RedisLinks {
    control: flume::Sender<Control>,
    waker: Arc<CoreWaker>,
}

impl RedisLinks {
    /// A new link, on which nobody has said hello yet. A bridge has one worker: the latest link
    /// takes the place of the one before. That of a bridge that has stopped is closed already.
    #[must_use]
    pub fn link(&self) -> Box<dyn Link> {
        let (here, there) = worker_link::new_link();
        // Whoever does not take its end drops it, and that closes this one.
        let _ = self.control.send(Control::Attach(Box::new(there)));
        self.waker.wake();
        Box::new(here)
    }
}

impl std::fmt::Debug for RedisLinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisLinks").finish_non_exhaustive()
    }
}

/// A bridge between one worker and a Redis, on a thread of its own. Dropping it tells it to stop,
/// but does not wait for it; [`stop`](Self::stop) does.
pub struct RedisBridge {
    links: RedisLinks,
    view: Arc<Mutex<BridgeView>>,
    thread: Option<JoinHandle<Result<(), RedisError>>>,
}

impl RedisBridge {
    /// Connects to the Redis and starts. From then on the Redis may go away and come back.
    ///
    /// # Errors
    /// When the Redis cannot be reached or will not have us, or the system has no thread left.
    pub fn start(config: RedisBridgeConfig) -> Result<Self, RedisError> {
        let connection = Connection::open(&config.address, PATIENCE)
            .map_err(|failure| failure.of_opening(&config.address))?;
        let parker = Parker::new()?;
        let waker = Arc::clone(parker.handle().waker());
        let (control, receiver) = flume::unbounded();
        // Unique for as long as anybody could take one session for another.
        let session = RandomState::new().build_hasher().finish();
        let notices = Notices::new(Arc::clone(&waker), session);
        if matches!(config.polling, Polling::Adaptive { .. }) {
            notices::listen(config.address.clone(), Arc::clone(&notices))?;
        }
        let view = Arc::new(Mutex::new(BridgeView::default()));
        let park = parker.handle().clone();
        let mut bridge = Bridge::new(config, receiver, notices, Arc::clone(&view), park, session);
        bridge.connection = Some(connection);
        let thread = thread::Builder::new().name("redis-bridge".to_owned());
        let thread = thread.spawn(move || bridge.run(parker))?;
        Ok(Self { links: RedisLinks { control, waker }, view, thread: Some(thread) })
    }

    /// A new link for its worker.
    #[must_use]
    pub fn link(&self) -> Box<dyn Link> {
        self.links.link()
    }

    /// Whatever opens such links.
    #[must_use]
    pub fn links(&self) -> RedisLinks {
        self.links.clone()
    }

    /// Changes what may be changed while it runs.
    pub fn set_limits(&self, limits: WorkLimits) {
        self.order(Control::Limits(limits));
    }

    /// How things are with it, as of a moment ago.
    #[must_use]
    pub fn view(&self) -> BridgeView {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether its thread is there.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Stops it: what the worker still has goes back to the queue, and the worker is struck off.
    ///
    /// # Errors
    /// When the Redis could not be told of everything.
    pub fn stop(mut self) -> Result<(), RedisError> {
        self.order(Control::Stop);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => Err(RedisError::System(io::Error::other("its thread has died"))),
            None => Ok(()),
        }
    }

    fn order(&self, control: Control) {
        // One that has stopped does not listen any more.
        let _ = self.links.control.send(control);
        self.links.waker.wake();
    }
}

impl Drop for RedisBridge {
    /// Nothing happens to one that has stopped already.
    fn drop(&mut self) {
        self.order(Control::Stop);
    }
}

impl std::fmt::Debug for RedisBridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisBridge").field("view", &self.view()).finish_non_exhaustive()
    }
}
