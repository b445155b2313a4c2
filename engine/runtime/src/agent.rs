//! What runs on a core.

use crate::counters::CounterBlock;
use punctual_core::Nanos;
use punctual_link::ParkHandle;
use std::sync::Arc;

/// A state machine with its links, run in a loop by the core it lives on.
pub(crate) trait Agent: Send {
    /// Called once, on the core's own thread, before the first turn. `park` is where the core
    /// sleeps, if it ever does.
    fn start(&mut self, park: Option<&ParkHandle>);

    /// Does what there is to do without waiting. Returns how much it did: 0 means idle.
    fn do_work(&mut self, now: Nanos) -> usize;

    /// When there will be something to do even if nothing arrives.
    fn next_deadline(&self) -> Option<Nanos>;

    /// Whether something is under way that will bring work soon: a core that backs off does not go
    /// to sleep then, for waking up may take longer than what it waits for.
    fn is_expecting(&self) -> bool {
        false
    }

    /// Whether it has stopped for good.
    fn is_finished(&self) -> bool;

    /// Publishes its counters.
    fn publish(&mut self);

    /// Where its counters are.
    fn counters(&self) -> Arc<CounterBlock>;
}
