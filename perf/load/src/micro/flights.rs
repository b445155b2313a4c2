//! What the driver must remember of the transactions in flight.

use punctual_runtime::Nanos;

/// Increments of one transaction on one shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Adds {
    pub(super) shard: u16,
    pub(super) count: u16,
}

/// A transaction, beside its increments.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flight {
    pub(super) intended: Nanos,
    /// Whether it belongs to the measured part.
    pub(super) measured: bool,
    /// Shards that it touches.
    pub(super) span: u16,
}

/// The transactions in flight, by their slots: two flat tables, so that remembering one allocates
/// nothing, and one on a single shard costs no more than it has to.
#[derive(Debug)]
pub(super) struct Flights {
    flights: Vec<Flight>,
    /// `span_max` places a slot.
    adds: Vec<Adds>,
    span_max: usize,
}

impl Flights {
    /// Room for so many transactions of up to so many shards each.
    pub(super) fn new(slots: u32, span_max: u16) -> Self {
        let (slots, span_max) = (slots as usize, usize::from(span_max.max(1)));
        Self {
            flights: vec![Flight::default(); slots],
            adds: vec![Adds::default(); slots * span_max],
            span_max,
        }
    }

    /// Notes what is in a slot from now on.
    #[inline]
    pub(super) fn put(&mut self, slot: u16, flight: Flight, adds: &[Adds]) {
        debug_assert_eq!(usize::from(flight.span), adds.len(), "each shard has its increments");
        let slot = usize::from(slot);
        self.flights[slot] = flight;
        let start = slot * self.span_max;
        self.adds[start..start + adds.len()].copy_from_slice(adds);
    }

    /// What is in a slot.
    #[inline]
    pub(super) fn get(&self, slot: u16) -> (Flight, &[Adds]) {
        let slot = usize::from(slot);
        let flight = self.flights[slot];
        let start = slot * self.span_max;
        (flight, &self.adds[start..start + usize::from(flight.span)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_keeps_its_own_shards() {
        let mut flights = Flights::new(3, 2);
        let adds = |shard| Adds { shard, count: shard + 10 };
        let flight = |span| Flight { span, ..Flight::default() };
        flights.put(0, flight(2), &[adds(1), adds(2)]);
        flights.put(2, flight(2), &[adds(3), adds(4)]);
        flights.put(1, flight(1), &[adds(5)]);
        assert_eq!(flights.get(0).1, [adds(1), adds(2)]);
        assert_eq!(flights.get(1).1, [adds(5)]);
        assert_eq!(flights.get(2).1, [adds(3), adds(4)]);
    }
}
