//! News from Redis: that there are new tasks, or that another worker is idle. Whoever listens need
//! not ask.

use crate::RedisAddress;
use crate::connection::{Failure, connect};
use crate::layout::{IDLE, NEWS, TODO};
use punctual_link::CoreWaker;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A subscription that has been silent for so long is made anew: nobody can tell silence from a
/// dead connection.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// First and longest pause before a lost subscription is made again.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What was heard and not looked at yet.
pub(super) struct Notices {
    has_tasks: AtomicBool,
    is_peer_idle: AtomicBool,
    is_over: AtomicBool,
    waker: Arc<CoreWaker>,
    /// Where the listener is told that it is over.
    farewell: String,
}

impl Notices {
    /// `session` names this run of the bridge.
    pub(super) fn new(waker: Arc<CoreWaker>, session: u64) -> Arc<Self> {
        Arc::new(Self {
            has_tasks: AtomicBool::new(false),
            is_peer_idle: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            waker,
            farewell: format!("punctual:farewell:{session:016x}"),
        })
    }

    /// Whether there may be new tasks since this was last asked.
    pub(super) fn take_tasks(&self) -> bool {
        self.has_tasks.swap(false, Ordering::Relaxed)
    }

    /// Whether another worker has found nothing to do since this was last asked.
    pub(super) fn take_idle(&self) -> bool {
        self.is_peer_idle.swap(false, Ordering::Relaxed)
    }

    pub(super) fn is_any(&self) -> bool {
        self.has_tasks.load(Ordering::Relaxed) || self.is_peer_idle.load(Ordering::Relaxed)
    }

    /// Ends the listener at its next message, which is to be sent to the returned channel.
    pub(super) fn end(&self) -> &str {
        self.is_over.store(true, Ordering::Relaxed);
        &self.farewell
    }

    fn tell(&self, flag: &AtomicBool) {
        flag.store(true, Ordering::Relaxed);
        self.waker.wake_if_parked();
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

/// Listens on a thread of its own, which nobody waits for: it may hang on a Redis that does.
pub(super) fn listen(address: RedisAddress, notices: Arc<Notices>) -> io::Result<()> {
    let listener = thread::Builder::new().name("redis-notices".to_owned());
    listener.spawn(move || {
        let mut pause = PAUSE_MIN;
        while !notices.is_over() {
            match follow(&address, &notices) {
                Ok(()) => pause = PAUSE_MIN,
                Err(failure) => {
                    // Whoever asks Redis for tasks notices as well, and says so.
                    tracing::debug!(%address, why = %failure.why, "no news from Redis");
                    thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    })?;
    Ok(())
}

/// Listens until nothing was heard for a while.
fn follow(address: &RedisAddress, notices: &Notices) -> Result<(), Failure> {
    let mut connection = connect(address, SILENCE_MAX)?;
    let changes = changes_channel(&mut connection, address.db);
    let mut subscription = connection.as_pubsub();
    for channel in [NEWS, IDLE, notices.farewell.as_str()].into_iter().chain(changes.as_deref()) {
        subscription.subscribe(channel)?;
    }
    // What was told in the meantime was told to nobody.
    notices.tell(&notices.has_tasks);
    while !notices.is_over() {
        let message = match subscription.get_message() {
            Err(error) if error.is_timeout() => return Ok(()),
            message => message?,
        };
        match message.get_channel_name() {
            NEWS => notices.tell(&notices.has_tasks),
            IDLE => notices.tell(&notices.is_peer_idle),
            // Somebody who does not know of us has changed a hash.
            channel if changes.as_deref() == Some(channel) => {
                let payload = message.get_payload_bytes();
                if payload == TODO.as_bytes() || payload == b"hset" {
                    notices.tell(&notices.has_tasks);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The channel on which the server itself tells of changes, if it is set up to: that for additions
/// to any hash, or else that for anything done with the queue. How it is set up is not ours to
/// change.
fn changes_channel(connection: &mut redis::Connection, db: u32) -> Option<String> {
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg("notify-keyspace-events");
    // Many servers do not let everybody ask.
    let settings = command.query::<Vec<String>>(connection).unwrap_or_default();
    let flags = settings.get(1)?;
    let tells_of_hashes = flags.contains('h') || flags.contains('A');
    if !tells_of_hashes {
        None
    } else if flags.contains('E') {
        Some(format!("__keyevent@{db}__:hset"))
    } else if flags.contains('K') {
        Some(format!("__keyspace@{db}__:{TODO}"))
    } else {
        None
    }
}
