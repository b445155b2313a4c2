//! Parking: a thread that has nothing to do sleeps in `mio::Poll` until a socket, another core or
//! its next deadline wakes it.
//!
//! The links themselves are polled without any readiness event; events only end the sleep. So
//! sockets are registered edge-triggered and what the events say is not looked at: after a sleep
//! everything is polled.

use mio::event::Source;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

/// Readiness events taken in one wake-up; more only mean another turn.
const EVENTS_MAX: usize = 64;

/// Wakes one core, from any other.
#[derive(Debug)]
pub struct CoreWaker {
    parked: AtomicBool,
    waker: Waker,
}

impl CoreWaker {
    /// Wakes the core if it sleeps. To be called after the message for it was made visible.
    #[inline]
    pub fn wake_if_parked(&self) {
        // Pairs with the fence in `Parker::park`: either this thread sees the flag, or the other
        // one sees the message when it looks again before it sleeps.
        fence(Ordering::SeqCst);
        self.wake_after_fence();
    }

    /// As [`wake_if_parked`](Self::wake_if_parked), for a caller that has put the fence behind its
    /// message already.
    #[inline]
    pub(crate) fn wake_after_fence(&self) {
        if self.parked.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    /// Wakes the core in any case; a core that does not sleep will not sleep the next time.
    pub fn wake(&self) {
        // An eventfd that cannot be written has a full counter: the wake-up is on its way already.
        let _ = self.waker.wake();
    }
}

/// What links need to know of a parker.
#[derive(Debug, Clone)]
pub struct ParkHandle {
    registry: Arc<Registry>,
    waker: Arc<CoreWaker>,
}

impl ParkHandle {
    /// The waker of the core.
    #[must_use]
    pub fn waker(&self) -> &Arc<CoreWaker> {
        &self.waker
    }

    /// Adds a socket to what ends a sleep.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn register(&self, source: &mut impl Source) -> io::Result<()> {
        self.registry.register(source, Token(1), Interest::READABLE | Interest::WRITABLE)
    }

    /// As [`register`](Self::register), for a socket that is only read, such as a listener.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn register_readable(&self, source: &mut impl Source) -> io::Result<()> {
        self.registry.register(source, Token(1), Interest::READABLE)
    }

    /// Takes a socket away from what ends a sleep, so that another core can have it.
    ///
    /// # Errors
    /// When the operating system refuses, as it does for a socket that was not added.
    pub fn deregister(&self, source: &mut impl Source) -> io::Result<()> {
        self.registry.deregister(source)
    }
}

/// Where a core sleeps.
#[derive(Debug)]
pub struct Parker {
    poll: Poll,
    events: Events,
    handle: ParkHandle,
}

impl Parker {
    /// A place to sleep.
    ///
    /// # Errors
    /// When the operating system has no more file descriptors.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Token(0))?;
        let waker = Arc::new(CoreWaker { parked: AtomicBool::new(false), waker });
        let registry = Arc::new(poll.registry().try_clone()?);
        let handle = ParkHandle { registry, waker };
        Ok(Self { poll, events: Events::with_capacity(EVENTS_MAX), handle })
    }

    /// What links need to know.
    #[must_use]
    pub fn handle(&self) -> &ParkHandle {
        &self.handle
    }

    /// Sleeps for at most `timeout` (`None`: until woken), unless `look_again` finds something to
    /// do. Returns whether it slept.
    ///
    /// # Errors
    /// When the operating system refuses. A signal is not an error: it ends the sleep.
    pub fn park(
        &mut self,
        timeout: Option<Duration>,
        look_again: impl FnOnce() -> usize,
    ) -> io::Result<bool> {
        self.handle.waker.parked.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let slept = look_again() == 0;
        let outcome = if slept { self.poll.poll(&mut self.events, timeout) } else { Ok(()) };
        self.handle.waker.parked.store(false, Ordering::Relaxed);
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(slept),
            outcome => outcome.map(|()| slept),
        }
    }
}
