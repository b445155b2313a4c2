//! The links of a worker: one to each queue of its server, the first of which says how many.

use crate::counters::LinkCounts;
use crate::engine::random;
use crate::links::Lost;
use crate::tasks::QueueAddress;
use crate::tasks::link::{QueueEvent, QueueLink};
use punctual_core::Nanos;
use punctual_link::ParkHandle;
use punctual_wire::Role;
use std::time::Duration;

/// How long connecting and the handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A link to one queue.
struct Line {
    link: QueueLink,
    /// Why it is not up, as of the last time that it was tried.
    why_down: Option<String>,
}

impl Line {
    fn new(address: &QueueAddress, queue: u16, park: Option<&ParkHandle>) -> Self {
        Self { link: new_link(address, queue, park), why_down: None }
    }
}

/// A link for a new session: whoever was given up comes back as somebody else.
fn new_link(address: &QueueAddress, queue: u16, park: Option<&ParkHandle>) -> QueueLink {
    let mut link = QueueLink::new(address, queue, Role::TaskWorker, random(), CONNECT_TIMEOUT);
    link.set_park(park);
    link
}

/// The links of a worker by queue. There is always that to queue 0.
pub(super) struct WorkerLinks {
    address: QueueAddress,
    lines: Vec<Line>,
    park: Option<ParkHandle>,
    /// What links that are no more have counted.
    counts_before: LinkCounts,
}

impl WorkerLinks {
    /// A link to queue 0, still to be brought up.
    pub(super) fn new(address: QueueAddress) -> Self {
        let lines = vec![Line::new(&address, 0, None)];
        Self { address, lines, park: None, counts_before: LinkCounts::default() }
    }

    pub(super) fn address(&self) -> &QueueAddress {
        &self.address
    }

    /// Where the thread sleeps.
    pub(super) fn set_park(&mut self, park: Option<&ParkHandle>) {
        self.park = park.cloned();
        for line in &mut self.lines {
            line.link.set_park(park);
        }
    }

    #[inline]
    pub(super) fn link(&mut self, queue: u16) -> &mut QueueLink {
        &mut self.lines[usize::from(queue)].link
    }

    #[inline]
    pub(super) fn is_up(&self, queue: u16) -> bool {
        self.lines[usize::from(queue)].link.is_up()
    }

    pub(super) fn all_up(&self) -> bool {
        self.lines.iter().all(|line| line.link.is_up())
    }

    /// Why the first of those that are down is.
    pub(super) fn why_down(&self) -> Option<&str> {
        self.lines.iter().find_map(|line| line.why_down.as_deref())
    }

    /// Does the next step towards a working link. Without queue 0 the others are let be: a server
    /// that has started again may have fewer of them, and would refuse who asks for one too many.
    pub(super) fn step(&mut self, now: Nanos, queue: u16) -> Option<QueueEvent> {
        if queue > 0 && !self.is_up(0) {
            return None;
        }
        let line = &mut self.lines[usize::from(queue)];
        let event = line.link.step(now)?;
        line.why_down = match &event {
            QueueEvent::Up { .. } => None,
            QueueEvent::Down { why } => Some(why.clone()),
            QueueEvent::Refused(reason) => Some(reason.to_string()),
        };
        Some(event)
    }

    /// Gives a link up, to be connected again.
    pub(super) fn lose(&mut self, now: Nanos, queue: u16, lost: &Lost) {
        let line = &mut self.lines[usize::from(queue)];
        line.link.lose(now, lost);
        line.why_down = Some(lost.to_string());
    }

    /// Puts a link of a new session in the place of one that was given up.
    pub(super) fn renew(&mut self, queue: u16) {
        let link = new_link(&self.address, queue, self.park.as_ref());
        let old = std::mem::replace(self.link(queue), link);
        self.counts_before = self.counts_before.plus(old.counts());
    }

    /// Says goodbye to the queues that are no more, and has links to those that are new.
    pub(super) fn resize(&mut self, queues: u16) {
        let kept = usize::from(queues.max(1)).min(self.lines.len());
        for mut line in self.lines.drain(kept..) {
            line.link.say_goodbye();
            self.counts_before = self.counts_before.plus(line.link.counts());
        }
        for queue in (0..queues).skip(kept) {
            self.lines.push(Line::new(&self.address, queue, self.park.as_ref()));
        }
    }

    /// Closes all of them for good.
    pub(super) fn say_goodbye(&mut self) {
        for line in &mut self.lines {
            line.link.say_goodbye();
        }
    }

    /// When [`step`](Self::step) has something to do even if nothing arrives.
    pub(super) fn next_deadline(&self) -> Option<Nanos> {
        let tried = if self.is_up(0) { self.lines.len() } else { 1 };
        self.lines[..tried].iter().filter_map(|line| line.link.next_deadline()).min()
    }

    /// What all links together have counted.
    pub(super) fn counts(&self) -> LinkCounts {
        let add = |sum: LinkCounts, line: &Line| sum.plus(line.link.counts());
        self.lines.iter().fold(self.counts_before, add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Token;
    use punctual_link::Endpoint;

    #[test]
    fn nobody_is_woken_for_queues_that_are_not_tried_while_the_first_is_out_of_reach() {
        let endpoint = Endpoint::Unix("no/such/socket".into());
        let mut links =
            WorkerLinks::new(QueueAddress::Remote { endpoint, token: Token::default() });
        links.resize(3);
        let now = Nanos(1_000);
        assert!(matches!(links.step(now, 0), Some(QueueEvent::Down { .. })));
        assert!((1..3).all(|queue| links.step(now, queue).is_none()));
        assert!(links.next_deadline() > Some(now), "it would be woken again and again");
        assert!(links.why_down().is_some_and(|why| why.contains("no/such/socket")));
        links.resize(1);
        assert!(links.next_deadline() > Some(now), "the first link stays as it was");
        assert!(!links.all_up());
    }
}
