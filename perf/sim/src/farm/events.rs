//! What will happen on the farm, in the order of true time.

use super::net::Content;
use crate::queue::Queue;

/// Something that happens to somebody. Nodes and links go by number (see
/// [`Layout`](super::layout::Layout)).
#[derive(Debug)]
pub(super) enum Event {
    /// A message arrives at a node.
    Deliver { to: usize, conn: u32, content: Content },
    /// A node looks what there is to do.
    Turn { node: usize },
    /// The connecting side of a link tries to.
    Connect { link: usize },
    /// Somebody looks whether tasks wait for nothing.
    Look,
    /// Something goes wrong, or is over.
    Trouble(Trouble),
}

/// What is done to nodes and links.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trouble {
    /// A link breaks and cannot be opened again before `until`.
    Cut { link: usize, until: i64 },
    /// What is sent over a link does not arrive before `until`, and nobody is told.
    Stall { link: usize, until: i64 },
    /// A node is killed; it starts again at `until`.
    Kill { node: usize, until: i64 },
    /// A node starts.
    Start { node: usize },
    /// A node does nothing before `until`. What a worker runs goes on.
    Freeze { node: usize, until: i64 },
    /// The clock of the server jumps forward.
    Jump { by: i64 },
    /// A worker is told to finish what it runs, and the second time to give everything back.
    Drain { node: usize },
    /// Everything is mended.
    Heal,
}

/// The events to come.
pub(super) type Events = Queue<Event>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_moment_happen_in_the_order_in_which_they_were_planned() {
        let mut events = Events::default();
        for (at, node) in [(5, 1), (3, 2), (5, 3), (9, 4)] {
            events.plan(at, Event::Turn { node });
        }
        let mut seen = Vec::new();
        while let Some((at, Event::Turn { node })) = events.next_before(9) {
            seen.push((at, node));
        }
        assert_eq!(seen, [(3, 2), (5, 1), (5, 3)]);
        assert!(events.next_before(10).is_some());
    }
}
