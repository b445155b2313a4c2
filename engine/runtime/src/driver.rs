//! What gives a coordinator worker its transactions.

use crate::links::ShardLinks;
use punctual_core::{Completion, Coordinator, Nanos, ShardId, SubmitError, Transaction};
use punctual_wire::{CloseReason, Limits, TxnSequence};

/// A source of transactions that lives on a coordinator worker's core and is run by its loop.
///
/// This is the path without queues and without allocation: load generators use it. Programs that
/// submit from their own threads use a [`Client`](crate::Client).
pub trait Driver: Send + 'static {
    /// Submits what is to be submitted now and returns how much it did. Called once a turn; it must
    /// not wait.
    fn drive(&mut self, now: Nanos, submitter: &mut Submitter<'_>) -> usize;

    /// Takes the end of a transaction. `now` was read after the reply was taken from its link.
    fn complete(&mut self, now: Nanos, completion: Completion<'_>);

    /// Whether nothing more will be submitted. The worker stops when it is and nothing is in
    /// flight.
    fn is_finished(&self) -> bool;

    /// When [`drive`](Self::drive) has something to do even if nothing arrives.
    fn next_deadline(&self) -> Option<Nanos> {
        None
    }

    /// The engine stops: submit no more.
    fn stop(&mut self);

    /// The link to a shard came up or went down.
    fn link_changed(&mut self, shard: ShardId, link: LinkEvent) {
        let _ = (shard, link);
    }
}

/// What happened to the link to a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// It is up.
    Up,
    /// It went down, or could not be brought up; it is tried again.
    Down {
        /// What happened, for people.
        why: String,
    },
    /// The shard will not have us; it is not tried again.
    Refused(CloseReason),
}

/// Submits transactions to the worker that calls the driver.
pub struct Submitter<'a> {
    pub(crate) coordinator: &'a mut Coordinator,
    pub(crate) links: &'a mut ShardLinks,
    pub(crate) now: Nanos,
}

impl Submitter<'_> {
    /// Dispatches a transaction; see [`Coordinator::submit`].
    ///
    /// # Errors
    /// When it cannot be taken now, or never.
    #[inline]
    pub fn submit(
        &mut self,
        transaction: &mut Transaction,
        tag: u64,
    ) -> Result<TxnSequence, SubmitError> {
        self.coordinator.submit(self.now, transaction, tag, self.links)
    }

    /// Transactions in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.coordinator.in_flight()
    }

    /// Whether another transaction may be in flight.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.coordinator.in_flight() < self.coordinator.in_flight_max()
    }

    /// Whether the links to all shards are up.
    #[must_use]
    pub fn all_up(&self) -> bool {
        self.links.all_up()
    }

    /// An empty transaction for this cluster.
    #[must_use]
    pub fn transaction(&self) -> Transaction {
        Transaction::new(self.links.shards(), self.limits())
    }

    /// The cluster's limits.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.links.limits()
    }
}
