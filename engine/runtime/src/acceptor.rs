//! The control thread that accepts connections and hands them to their shards' cores.

use crate::engine::EngineError;
use crate::shard_agent::ShardControl;
use punctual_link::{CoreWaker, Listener, Parker};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Pause after the system refused to accept, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections accepted from one listener before the others have their turn.
const ACCEPT_BURST: usize = 64;

/// A listener and where its connections go.
pub(crate) struct Door {
    pub(crate) shard: u16,
    pub(crate) listener: Listener,
    pub(crate) control: flume::Sender<ShardControl>,
    pub(crate) core: Arc<CoreWaker>,
}

/// The running thread.
pub(crate) struct Acceptor {
    stop: Arc<AtomicBool>,
    waker: Arc<CoreWaker>,
    thread: Option<JoinHandle<()>>,
}

impl Acceptor {
    pub(crate) fn start(mut doors: Vec<Door>) -> Result<Self, EngineError> {
        let failed = |error: std::io::Error| EngineError::Spawn {
            name: "acceptor".to_owned(),
            why: error.to_string(),
        };
        let mut parker = Parker::new().map_err(failed)?;
        for door in &mut doors {
            door.listener.register(parker.handle()).map_err(failed)?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let waker = Arc::clone(parker.handle().waker());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("acceptor".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                let accepted: usize = doors.iter_mut().map(accept).sum();
                if accepted == 0 {
                    // Nothing to look at again: listeners were just found empty and are watched.
                    let slept = parker.park(None, || usize::from(stopped.load(Ordering::Acquire)));
                    if slept.is_err() {
                        std::thread::sleep(ACCEPT_PAUSE);
                    }
                }
            }
        });
        Ok(Self { stop, waker, thread: Some(thread.map_err(failed)?) })
    }

    /// Closes the doors and waits until they are closed.
    pub(crate) fn stop(mut self) {
        self.tell();
        if let Some(thread) = self.thread.take() {
            // A panic in the acceptor was printed by the panic hook; nothing depends on it any
            // more.
            let _ = thread.join();
        }
    }

    fn tell(&self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Drop for Acceptor {
    /// Closes the doors soon: an engine that fails to start does not wait for them.
    fn drop(&mut self) {
        self.tell();
    }
}

/// Accepts what waits at one door, up to a burst.
fn accept(door: &mut Door) -> usize {
    for accepted in 0..ACCEPT_BURST {
        match door.listener.accept() {
            Ok(Some(link)) => {
                if door.control.try_send(ShardControl::Attach(Box::new(link))).is_err() {
                    tracing::warn!(
                        shard = door.shard,
                        "too many connections at once: one is dropped"
                    );
                }
                door.core.wake();
            }
            Ok(None) => return accepted,
            Err(error) => {
                tracing::warn!(shard = door.shard, %error, "cannot accept a connection");
                std::thread::sleep(ACCEPT_PAUSE);
                // Those who wait in the listener's queue make no new event: look again.
                return accepted + 1;
            }
        }
    }
    ACCEPT_BURST
}
