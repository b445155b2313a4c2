//! What acknowledged transactions did.

use crate::workload::Sum;

/// What transactions may have done whose outcome is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unknown {
    /// New-Orders.
    pub orders: u64,
    /// Items in these.
    pub quantity: u64,
    /// Payments.
    pub payments: u64,
    /// Their sum.
    pub paid_cents: u64,
    /// Deliveries, of up to ten orders each.
    pub deliveries: u64,
}

/// What acknowledged transactions did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TpccDone {
    /// New-Orders that committed, by warehouse.
    pub orders: Vec<u64>,
    /// Sum of the payments, by warehouse.
    pub paid_cents: Vec<u64>,
    /// Payments.
    pub payments: u64,
    /// Items in all orders.
    pub quantity: u64,
    /// Orders that were delivered.
    pub delivered: u64,
    /// New-Orders that were rolled back, as they had to be.
    pub rolled_back: u64,
    /// Transactions that committed or aborted and should not have.
    pub strange: u64,
    /// Transactions that committed.
    pub committed: u64,
    /// Of these, those that touched a second warehouse.
    pub remote: u64,
    /// Of these, those that touched a second shard.
    pub spanning: u64,
    /// What may have been done as well.
    pub unknown: Unknown,
}

/// Adds to the number of a warehouse.
pub(super) fn add_at(list: &mut Vec<u64>, warehouse: u16, more: u64) {
    let at = usize::from(warehouse.saturating_sub(1));
    if list.len() <= at {
        list.resize(at + 1, 0);
    }
    list[at] += more;
}

impl Sum for Unknown {
    fn add(&mut self, other: &Self) {
        self.orders += other.orders;
        self.quantity += other.quantity;
        self.payments += other.payments;
        self.paid_cents += other.paid_cents;
        self.deliveries += other.deliveries;
    }
}

impl Sum for TpccDone {
    fn add(&mut self, other: &Self) {
        for (list, more) in
            [(&mut self.orders, &other.orders), (&mut self.paid_cents, &other.paid_cents)]
        {
            for (warehouse, more) in (1..).zip(more) {
                add_at(list, warehouse, *more);
            }
        }
        self.payments += other.payments;
        self.quantity += other.quantity;
        self.delivered += other.delivered;
        self.rolled_back += other.rolled_back;
        self.strange += other.strange;
        self.committed += other.committed;
        self.remote += other.remote;
        self.spanning += other.spanning;
        self.unknown.add(&other.unknown);
    }
}
