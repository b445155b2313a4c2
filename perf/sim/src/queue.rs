//! What will happen, in the order of true time.

use crate::network::Content;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Something that happens to somebody.
#[derive(Debug)]
pub(crate) enum Event {
    /// A message arrives at a node.
    Deliver { to: usize, conn: u32, content: Content },
    /// A node looks what there is to do.
    Turn { node: usize },
    /// The connecting side of a link tries to.
    Connect { link: usize },
    /// Something goes wrong, or is over.
    Fault(Fault),
}

/// What is done to nodes and links.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// A link breaks and cannot be opened again before `until`.
    Break { link: usize, until: i64 },
    /// What is sent over a link does not arrive before `until`.
    Stall { link: usize, until: i64 },
    /// A node crashes; it starts again at `until`.
    Crash { node: usize, until: i64 },
    /// A node starts.
    Start { node: usize },
    /// A node does nothing before `until`.
    Pause { node: usize, until: i64 },
    /// The clock of a node jumps.
    Jump { node: usize, by: i64 },
    /// Everything is mended.
    Heal,
}

#[derive(Debug)]
struct Entry<E> {
    at: i64,
    /// Breaks ties: what was planned first happens first.
    sequence: u64,
    event: E,
}

impl<E> Entry<E> {
    fn order(&self) -> (i64, u64) {
        (self.at, self.sequence)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

/// The events to come.
#[derive(Debug)]
pub(crate) struct Queue<E = Event> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    planned: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), planned: 0 }
    }
}

impl<E> Queue<E> {
    pub(crate) fn plan(&mut self, at: i64, event: E) {
        self.planned += 1;
        self.heap.push(Reverse(Entry { at, sequence: self.planned, event }));
    }

    /// The next event that happens before `limit`, and when.
    pub(crate) fn next_before(&mut self, limit: i64) -> Option<(i64, E)> {
        let Reverse(next) = self.heap.peek()?;
        if next.at >= limit {
            return None;
        }
        self.heap.pop().map(|Reverse(Entry { at, event, .. })| (at, event))
    }
}
