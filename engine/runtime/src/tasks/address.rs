//! Where the queues of a task server are, and how a link to one comes to be.

use super::{BATCH_MAX, LIMITS};
use crate::links::Route;
use crate::shard_agent::ShardControl;
use flume::TrySendError;
use punctual_link::{CoreWaker, Endpoint, Link, ring_pair};
use std::fmt;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// What is hashed before the token, so that no cluster of shards has the same hash by accident.
const HASHED_FIRST: &[u8] = b"punctual-tasks";

/// What whoever speaks to a server has to know. Nobody can print it: configurations and addresses
/// find their way into logs.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Token(String);

impl From<String> for Token {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Token {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Token(none)" } else { "Token(hidden)" })
    }
}

/// What both sides of a handshake must agree on.
pub(super) fn hash_of(token: &Token) -> u64 {
    xxh3_64(&[HASHED_FIRST, token.0.as_bytes()].concat())
}

/// The way in to one queue of this process.
#[derive(Clone)]
pub(super) struct QueueDoor {
    pub(super) control: flume::Sender<ShardControl>,
    pub(super) core: Arc<CoreWaker>,
}

impl QueueDoor {
    /// Brings a visitor, who comes back with the error if the queue cannot take one now, or is
    /// there no more.
    pub(super) fn attach(&self, link: Box<dyn Link>) -> Result<(), TrySendError<ShardControl>> {
        let sent = self.control.try_send(ShardControl::Attach(link));
        self.core.wake();
        sent
    }

    /// Tells the queue to stop.
    fn stop(&self) {
        // A full queue of connections is emptied soon; one without a reader refuses at once.
        let _ = self.control.send(ShardControl::Stop);
        self.core.wake();
    }

    /// As [`stop`](Self::stop), without waiting for anything.
    fn try_stop(&self) {
        let _ = self.control.try_send(ShardControl::Stop);
        self.core.wake();
    }
}

/// The way to the queues of a server in this process.
#[derive(Clone)]
pub struct LocalQueue {
    doors: Arc<[QueueDoor]>,
    hash: u64,
}

impl LocalQueue {
    /// `doors` are those of all queues, in order.
    pub(super) fn new(doors: Arc<[QueueDoor]>, hash: u64) -> Self {
        Self { doors, hash }
    }

    /// A new ring to a queue. One whose queue has stopped, or was never there, is closed already.
    fn link(&self, queue: u16) -> Box<dyn Link> {
        let (here, there) = ring_pair(LIMITS, BATCH_MAX);
        if let Some(door) = self.doors.get(usize::from(queue)) {
            // Whoever does not take its end drops it, and that closes this one.
            let _ = door.attach(Box::new(there));
        }
        Box::new(here)
    }

    /// Tells all queues to stop.
    pub(super) fn stop(&self) {
        self.doors.iter().for_each(QueueDoor::stop);
    }

    /// As [`stop`](Self::stop), without waiting for anything.
    pub(super) fn try_stop(&self) {
        self.doors.iter().for_each(QueueDoor::try_stop);
    }
}

impl fmt::Debug for LocalQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalQueue").finish_non_exhaustive()
    }
}

/// Opens links to something in this process that plays the part of a server with one queue.
#[derive(Clone)]
pub struct QueueLinks(Arc<dyn Fn() -> Box<dyn Link> + Send + Sync>);

impl QueueLinks {
    /// Links as `open` makes them. Their other ends expect the handshake of a queue without token.
    pub fn new(open: impl Fn() -> Box<dyn Link> + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }
}

impl fmt::Debug for QueueLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueLinks").finish_non_exhaustive()
    }
}

/// Where a server is. All its queues have this address.
#[derive(Debug, Clone)]
pub enum QueueAddress {
    /// At a server, which has this token.
    Remote {
        /// Where it listens.
        endpoint: Endpoint,
        /// What it wants to be shown.
        token: Token,
    },
    /// In this process.
    Local(LocalQueue),
    /// In this process too, played by something else.
    Links(QueueLinks),
}

impl QueueAddress {
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Local(_) | Self::Links(_))
    }

    pub(super) fn hash(&self) -> u64 {
        match self {
            Self::Remote { token, .. } => hash_of(token),
            Self::Local(queue) => queue.hash,
            Self::Links(_) => hash_of(&Token::default()),
        }
    }

    /// How a queue is reached. From afar all of them are at the same door: which one is wanted is
    /// said in the handshake.
    pub(super) fn route(&self, queue: u16) -> Route {
        match self {
            Self::Remote { endpoint, .. } => Route::Socket(endpoint.clone()),
            Self::Local(local) => Route::Ring(Some(local.link(queue))),
            Self::Links(links) => Route::Ring(Some((links.0)())),
        }
    }
}

impl fmt::Display for QueueAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote { endpoint, .. } => endpoint.fmt(f),
            Self::Local(_) | Self::Links(_) => f.write_str("this process"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::TaskServerConfig;

    #[test]
    fn neither_an_address_nor_a_configuration_shows_its_token() {
        const SECRET: &str = "open sesame";
        let endpoint = Endpoint::Unix("tasks.sock".into());
        let config = TaskServerConfig { token: SECRET.into(), ..TaskServerConfig::default() };
        let address = QueueAddress::Remote { endpoint, token: Token::from(SECRET) };
        for shown in [format!("{config:?}"), format!("{address:?}"), format!("{address:#?}")] {
            assert!(!shown.contains("sesame") && shown.contains("Token(hidden)"), "{shown}");
        }
        assert_eq!(format!("{:?}", Token::default()), "Token(none)", "that is no secret");
    }

    #[test]
    fn another_token_is_another_hash() {
        assert_ne!(hash_of(&"a".into()), hash_of(&"b".into()));
        assert_eq!(hash_of(&"a".into()), hash_of(&String::from("a").into()));
    }
}
