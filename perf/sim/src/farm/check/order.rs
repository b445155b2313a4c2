//! Which of two tasks had to go first, told from outside.
//!
//! A lease leaves its queue when its record is durable, so it was made in one of the turns since
//! the log was as long as it was durable before. A task that was surely ready before the first of
//! those turns, and is of a higher priority, and asks for no more, had to be given out first.

use super::Ledger;
use crate::farm::plans::Plans;
use crate::farm::report::FarmViolationKind;
use punctual_core::journal::Lsn;
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub(super) struct Order {
    pub(super) turn: u64,
    /// How long the log was after the latest turns.
    tails: VecDeque<(u64, Lsn)>,
    durable: Lsn,
    durable_before: Lsn,
    /// The tasks that were leased in this turn's messages.
    pub(super) leased: Vec<u32>,
    /// Something that might have left has not, so nothing can be said.
    is_blurred: bool,
}

impl Order {
    pub(super) fn begin_turn(&mut self) {
        self.turn += 1;
        self.leased.clear();
    }

    /// The first turn in which the leases that left now can have been made.
    fn first_turn(&self) -> Option<u64> {
        let first = self.tails.iter().find(|(_, tail)| *tail > self.durable_before);
        first.map(|(turn, _)| *turn)
    }
}

impl Ledger {
    /// A queue has done what is due, and its disk as well.
    pub(in crate::farm) fn after_turn(&mut self, queue: usize, (tail, durable): (Lsn, Lsn)) {
        let order = &mut self.orders[queue];
        order.tails.push_back((order.turn, tail));
        (order.durable_before, order.durable) = (order.durable, durable);
    }

    /// Everything that might leave has left, unless links had no room for all of it.
    pub(in crate::farm) fn after_write(
        &mut self,
        plans: &Plans,
        queue: usize,
        had_room: bool,
        is_durable: bool,
    ) {
        let order = &self.orders[queue];
        if had_room && !order.is_blurred && !order.leased.is_empty() {
            self.check_order(plans, queue);
        }
        let order = &mut self.orders[queue];
        order.is_blurred = !had_room;
        while order.tails.front().is_some_and(|(_, tail)| *tail <= order.durable) {
            order.tails.pop_front();
        }
        if had_room && is_durable {
            // No lease is under way that was made with regard to what was offered before.
            for facts in self.sessions.values_mut().filter(|facts| facts.queue == queue) {
                facts.allowed = super::facts::Allowed::by(&facts.capacity, &facts.occupied);
            }
        }
    }

    fn check_order(&mut self, plans: &Plans, queue: usize) {
        let Some(first_turn) = self.orders[queue].first_turn() else { return };
        let was_ready = |turn: Option<u64>| turn.is_some_and(|turn| turn < first_turn);
        let waiting = self.tasks.iter().zip(0_u32..).filter(|(facts, task)| {
            let is_free = plans.get(*task).after.is_empty() && facts.leases.is_empty();
            facts.queue == queue && is_free && was_ready(facts.ready_turn)
        });
        let waiting: Vec<u32> = waiting.map(|(_, task)| task).collect();
        let leased = std::mem::take(&mut self.orders[queue].leased);
        for task in &leased {
            let given = plans.get(*task);
            for other in &waiting {
                let waits = plans.get(*other);
                self.counts.priorities_checked += 1;
                let asks_no_more =
                    waits.memory <= given.memory && waits.cores_milli <= given.cores_milli;
                if waits.priority > given.priority && asks_no_more {
                    let text = format!(
                        "t{task} of priority {} was given out while t{other} of priority {} waited",
                        given.priority, waits.priority
                    );
                    self.find(FarmViolationKind::Priority, text);
                }
            }
        }
    }
}
