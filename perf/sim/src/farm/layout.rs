//! Which node and which link is whose.

use super::config::FarmConfig;
use std::ops::Range;

/// The first queue, which takes in everybody. As a node that fails or starts it stands for the
/// server with all its queues: they are threads of one process.
pub(super) const QUEUE: usize = 0;

/// What a node is, and which of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Queue(usize),
    Worker(usize),
    Client(usize),
}

/// An end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// A worker or a client.
    Caller = 0,
    Queue = 1,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Caller => Self::Queue,
            Self::Queue => Self::Caller,
        }
    }
}

/// Nodes go by number: first the queues, then the workers, then the clients. Links too: those of a
/// caller together, in the order of the queues.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) queues: usize,
    pub(super) workers: usize,
    clients: usize,
}

impl Layout {
    pub(super) fn of(config: &FarmConfig) -> Self {
        let [queues, workers, clients] =
            [config.queues, config.workers, config.clients].map(usize::from);
        Self { queues, workers, clients }
    }

    pub(super) fn callers(self) -> usize {
        self.workers + self.clients
    }

    pub(super) fn nodes(self) -> usize {
        self.queues + self.callers()
    }

    pub(super) fn links(self) -> usize {
        self.queues * self.callers()
    }

    pub(super) fn kind(self, node: usize) -> Kind {
        match node.checked_sub(self.queues) {
            None => Kind::Queue(node),
            Some(caller) if caller < self.workers => Kind::Worker(caller),
            Some(caller) => Kind::Client(caller - self.workers),
        }
    }

    /// The nodes of all workers and clients.
    pub(super) fn caller_nodes(self) -> Range<usize> {
        self.queues..self.nodes()
    }

    pub(super) fn worker(self, at: usize) -> usize {
        self.queues + at
    }

    pub(super) fn side(self, node: usize) -> Side {
        if node < self.queues { Side::Queue } else { Side::Caller }
    }

    /// The link of a caller to a queue.
    pub(super) fn link(self, caller: usize, queue: usize) -> usize {
        (caller - self.queues) * self.queues + queue
    }

    /// All links of a caller.
    pub(super) fn links_of(self, caller: usize) -> Range<usize> {
        let first = self.link(caller, 0);
        first..first + self.queues
    }

    /// The caller of a link.
    pub(super) fn caller(self, link: usize) -> usize {
        self.queues + link / self.queues
    }

    /// The queue at the other end.
    pub(super) fn queue(self, link: usize) -> usize {
        link % self.queues
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_has_one_caller_and_one_queue_and_every_node_is_one_thing() {
        let config = FarmConfig { queues: 3, workers: 4, clients: 2, ..FarmConfig::from_seed(0) };
        let layout = Layout::of(&config);
        let mut links = Vec::new();
        for caller in layout.caller_nodes() {
            for (link, queue) in layout.links_of(caller).zip(0..) {
                assert_eq!((layout.caller(link), layout.queue(link)), (caller, queue));
                assert_eq!(layout.link(caller, queue), link);
                links.push(link);
            }
        }
        assert_eq!(links, Vec::from_iter(0..layout.links()));
        let kinds: Vec<Kind> = (0..layout.nodes()).map(|node| layout.kind(node)).collect();
        let queues = (0..3).map(Kind::Queue);
        let expected = queues.chain((0..4).map(Kind::Worker)).chain((0..2).map(Kind::Client));
        assert_eq!(kinds, Vec::from_iter(expected));
        assert_eq!((layout.side(2), layout.side(3)), (Side::Queue, Side::Caller));
    }
}
