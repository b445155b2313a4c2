//! The link of a client to one queue, with what is remembered about it.

use crate::clock::Clock;
use crate::config::ClockSource;
use crate::engine::random;
use crate::links::Lost;
use crate::tasks::client::watches::{News, Watches};
use crate::tasks::link::{QueueEvent, QueueLink};
use crate::tasks::{QueueAddress, TaskClientError};
use punctual_core::Nanos;
use punctual_link::{LinkError, ParkHandle};
use punctual_wire::task::{JobId, PushReader, QueuePush, TaskFault, ToQueue};
use punctual_wire::{BatchWriter, CloseReason, Role};
use std::fmt;
use std::time::Duration;

/// Bounds of how long connecting and the handshake may take.
const CONNECT_TIMEOUT_MIN: Duration = Duration::from_millis(100);
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(5);

/// Why a link is at its end for good.
enum Refusal {
    /// The queue will not have us.
    Reason(CloseReason),
    /// The server has another number of queues than before: this one.
    Queues(String),
}

/// A link to a queue that is connected again when it is lost.
pub(super) struct Line {
    link: QueueLink,
    /// Which queue of the server it is.
    queue: u16,
    /// How many queues the server has, once that is known.
    queues: Option<u16>,
    clock: Clock,
    patience: Duration,
    place: QueueAddress,
    /// The same for people.
    address: String,
    /// Where its thread sleeps.
    park: ParkHandle,
    /// Counts the links: what was asked on an earlier one is asked again.
    epoch: u64,
    /// Since when there is no link, while there is none.
    down_since: Nanos,
    /// Why the last link ended.
    lost: String,
    /// There are no more tries.
    refusal: Option<Refusal>,
    next_request: u32,
    /// Numbers of submissions ascend on a link.
    next_ticket: u64,
    /// What was asked on this link for news.
    watches: Watches,
}

/// A link that is still to be brought up.
fn new_link(place: &QueueAddress, queue: u16, patience: Duration, park: &ParkHandle) -> QueueLink {
    let timeout = patience.clamp(CONNECT_TIMEOUT_MIN, CONNECT_TIMEOUT_MAX);
    let mut link = QueueLink::new(place, queue, Role::TaskClient, random(), timeout);
    link.set_park(Some(park));
    link
}

impl Line {
    /// A line to the first queue, which says how many there are.
    pub(super) fn first(place: &QueueAddress, patience: Duration, park: &ParkHandle) -> Self {
        Self::new(place, 0, None, patience, park)
    }

    /// A line to another queue of the same server.
    pub(super) fn beside(&self, queue: u16) -> Self {
        Self::new(&self.place, queue, self.queues, self.patience, &self.park)
    }

    fn new(
        place: &QueueAddress,
        queue: u16,
        queues: Option<u16>,
        patience: Duration,
        park: &ParkHandle,
    ) -> Self {
        let clock = Clock::new(ClockSource::Monotonic);
        Self {
            link: new_link(place, queue, patience, park),
            queue,
            queues,
            clock,
            patience,
            place: place.clone(),
            address: place.to_string(),
            park: park.clone(),
            epoch: 0,
            down_since: clock.now(),
            lost: "it was never there".to_owned(),
            refusal: None,
            next_request: 0,
            next_ticket: 0,
            watches: Watches::default(),
        }
    }

    pub(super) fn now(&self) -> Nanos {
        self.clock.now()
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    pub(super) fn address(&self) -> String {
        self.address.clone()
    }

    pub(super) fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// How many queues the server has, as far as is known.
    pub(super) fn queues(&self) -> u16 {
        self.queues.unwrap_or(1)
    }

    /// Which link it is.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When there is something to do although nothing arrives, or an earlier time.
    pub(super) fn deadline_or(&self, until: Nanos) -> Nanos {
        self.link.next_deadline().map_or(until, |due| due.min(until))
    }

    /// A number for a question.
    pub(super) fn new_request(&mut self) -> u32 {
        self.next_request = self.next_request.wrapping_add(1);
        self.next_request
    }

    /// A number for a submission.
    pub(super) fn new_ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// Where to write, while the link is up and has room.
    pub(super) fn out(&mut self) -> Option<&mut BatchWriter> {
        self.link.out()
    }

    /// Brings the link up, or hands over what has arrived. Returns how much was done.
    ///
    /// # Errors
    /// When there has been no link for longer than the patience allows, or the queue will not have
    /// us.
    pub(super) fn turn(
        &mut self,
        now: Nanos,
        take: &mut dyn FnMut(&QueuePush<'_>),
    ) -> Result<usize, TaskClientError> {
        if !self.link.is_up() {
            return self.step(now);
        }
        let Self { link, watches, .. } = self;
        let taken = link.take(|frame| {
            let mut reader = PushReader::new(frame);
            while let Some(push) = reader.next_message()? {
                if !watches.note(&push) {
                    take(&push);
                }
            }
            Ok(())
        });
        match taken {
            Ok(work) => Ok(work),
            Err(lost) => self.lose(now, &lost).map(|()| 1),
        }
    }

    fn step(&mut self, now: Nanos) -> Result<usize, TaskClientError> {
        if let Some(refusal) = &self.refusal {
            return Err(self.refused(refusal));
        }
        match self.link.step(now) {
            None => Ok(0),
            Some(QueueEvent::Up { queues }) => self.up(now, queues).map(|()| 1),
            Some(QueueEvent::Refused(CloseReason::WrongShard)) if self.queue > 0 => {
                Err(self.end(Refusal::Queues("fewer".to_owned())))
            }
            Some(QueueEvent::Refused(reason)) => Err(self.end(Refusal::Reason(reason))),
            Some(QueueEvent::Down { .. }) if self.place.is_local() => Err(TaskClientError::Stopped),
            Some(QueueEvent::Down { why }) if now.since(self.down_since) >= self.patience => {
                Err(TaskClientError::Unreachable { address: self.address(), why })
            }
            Some(QueueEvent::Down { .. }) => Ok(1),
        }
    }

    /// The link is up, to a server with so many queues.
    ///
    /// # Errors
    /// When they are not as many as before: what this client knows is of other queues.
    fn up(&mut self, now: Nanos, queues: u16) -> Result<(), TaskClientError> {
        if *self.queues.get_or_insert(queues) != queues {
            self.link.lose(now, &Lost::Link(LinkError::Closed));
            return Err(self.end(Refusal::Queues(queues.to_string())));
        }
        self.epoch += 1;
        Ok(())
    }

    /// There is no link any more, for good.
    fn end(&mut self, refusal: Refusal) -> TaskClientError {
        let error = self.refused(&refusal);
        self.refusal = Some(refusal);
        error
    }

    fn refused(&self, refusal: &Refusal) -> TaskClientError {
        let address = self.address();
        match refusal {
            Refusal::Reason(reason) => TaskClientError::Refused { address, reason: *reason },
            Refusal::Queues(now) => {
                let (now, before) = (now.clone(), self.queues());
                TaskClientError::Queues { address, now, before }
            }
        }
    }

    /// Notes that the link is lost; it is connected again.
    ///
    /// # Errors
    /// When what we said was not understood: it would not be the next time either.
    fn lose(&mut self, now: Nanos, lost: &Lost) -> Result<(), TaskClientError> {
        tracing::debug!(address = self.address, reason = %lost, "the link is lost");
        self.down_since = now;
        self.lost = lost.to_string();
        self.watches.clear();
        self.link.lose(now, lost);
        match lost {
            Lost::Reason(reason @ (CloseReason::Malformed | CloseReason::Checksum)) => {
                Err(self.refused(&Refusal::Reason(*reason)))
            }
            _ => Ok(()),
        }
    }

    /// Gives the link up, so that nothing of what was asked on it is answered any more.
    pub(super) fn reset(&mut self) {
        if !self.link.is_up() {
            return;
        }
        let now = self.now();
        let _ = self.lose(now, &Lost::Link(LinkError::Closed));
        if self.place.is_local() {
            // A link through memory cannot be brought up twice; there can be another one.
            self.link = new_link(&self.place, self.queue, self.patience, &self.park);
        }
    }

    /// Sends what was written. Returns how much was done.
    pub(super) fn flush(&mut self, now: Nanos) -> Result<usize, TaskClientError> {
        match self.link.flush() {
            Ok(moved) => Ok(moved),
            Err(error) => self.lose(now, &Lost::Link(error)).map(|()| 1),
        }
    }

    /// Ends the link for good.
    pub(super) fn say_goodbye(&mut self) {
        self.link.say_goodbye();
    }

    pub(super) fn no_answer(&self) -> TaskClientError {
        TaskClientError::NoAnswer { address: self.address(), patience: self.patience }
    }

    pub(super) fn unsure(&self) -> TaskClientError {
        TaskClientError::Unsure { address: self.address(), why: self.lost.clone() }
    }

    /// Notes that a call for news begins.
    pub(super) fn begin_watch(&mut self, job: Option<JobId>, seen: u64) {
        self.watches.begin(job, seen);
    }

    /// Asks for counts beyond a version, unless that was asked on this link already. Returns how
    /// much was done.
    pub(super) fn watch(&mut self, job: Option<JobId>, seen: u64) -> usize {
        let Some(seen) = self.watches.question(job, seen) else { return 0 };
        if self.watches.is_full() {
            // To hang up is the only way to take a question back.
            self.reset();
            return 1;
        }
        let request = self.new_request();
        let Some(out) = self.link.out() else { return 0 };
        ToQueue::Watch { request, job, seen }.write(out);
        self.watches.add(request, job, seen);
        1
    }

    /// What is news to somebody who has seen a version, if anything was heard.
    pub(super) fn take_news(
        &mut self,
        job: Option<JobId>,
        seen: u64,
    ) -> Option<Result<News, TaskFault>> {
        self.watches.take(job, seen)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = f.debug_struct("Line");
        line.field("address", &self.address).field("queue", &self.queue).finish_non_exhaustive()
    }
}
