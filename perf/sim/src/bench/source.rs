//! Who makes the transactions: the generators of the workload, the same as on real workers.
//!
//! There every coordinator worker has one of its own. Here there may be ten thousand workers, so in
//! large clusters several share one. A generator keeps account of its transactions by slot; one
//! that is shared has slots for those of all.

use super::clerk;
use super::config::SimBenchConfig;
use punctual_core::{Completion, Transaction};
use punctual_load::workload::{Generator, Place, Sum, Workload};
use punctual_wire::{Limits, TxnSequence};

/// Up to so many coordinators each have a generator of their own; more share as many, as long as
/// that leaves slots for all of them.
const GENERATORS: u32 = 64;

/// A generator and its free slots.
#[derive(Debug)]
struct Source<G> {
    generator: G,
    free: Vec<u16>,
}

/// All generators.
#[derive(Debug)]
pub(super) struct Sources<G> {
    sources: Vec<Source<G>>,
    /// Coordinators that share one.
    each: u32,
}

impl<G: Generator> Sources<G> {
    pub(super) fn new<W: Workload<Generator = G>>(workload: &W, config: &SimBenchConfig) -> Self {
        let SimBenchConfig { coordinators, in_flight, .. } = *config;
        let each = coordinators.div_ceil(GENERATORS).min(TxnSequence::SLOTS_MAX / in_flight).max(1);
        let slots = (each * in_flight).max(clerk::IN_FLIGHT);
        let workers = u64::from(coordinators.div_ceil(each));
        let source = |worker| {
            let place = Place {
                worker,
                workers,
                shards: config.shards,
                slots,
                limits: Limits::DEFAULT,
                seed: config.seed,
            };
            let free = (0..slots).rev().map(|slot| slot as u16).collect();
            Source { generator: workload.generator(&place), free }
        };
        Self { sources: (0..workers).map(source).collect(), each }
    }

    fn of(&mut self, coordinator: u32) -> &mut Source<G> {
        &mut self.sources[(coordinator / self.each) as usize]
    }

    /// Puts the next transaction of a coordinator into `transaction`. Returns its kind and its slot
    /// in the generator, which it keeps until it has ended.
    ///
    /// # Errors
    /// Why the generator can go no further.
    pub(super) fn make(
        &mut self,
        coordinator: u32,
        transaction: &mut Transaction,
    ) -> Result<(u8, u16), String> {
        let Source { generator, free } = self.of(coordinator);
        let kind = generator.next(transaction)?;
        let slot = free.pop().expect("there are slots for all that may be in flight");
        // It may have to wait until there is room for it. Others are made meanwhile.
        generator.sent(slot);
        Ok((kind, slot))
    }

    /// A transaction of a coordinator has ended.
    pub(super) fn ended(&mut self, coordinator: u32, slot: u16, done: &mut Completion<'_>) {
        let Source { generator, free } = self.of(coordinator);
        generator.ended(slot, &done.outcome, &mut done.results);
        free.push(slot);
    }

    /// One after the other.
    pub(super) fn generators(&mut self) -> impl Iterator<Item = &mut G> {
        self.sources.iter_mut().map(|source| &mut source.generator)
    }

    /// What was done by all.
    pub(super) fn done(&mut self) -> G::Done {
        let mut all = G::Done::default();
        self.generators().for_each(|generator| all.add(&generator.done()));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_load::bank::Bank;

    #[test]
    fn coordinators_share_generators_only_where_there_are_many() {
        let bank = Bank { accounts: 100, looks: 0.5, skew: 0.0 };
        let count = |coordinators, in_flight| {
            let config = SimBenchConfig { coordinators, in_flight, ..SimBenchConfig::default() };
            let sources = Sources::new(&bank, &config);
            let slots = sources.sources[0].free.len();
            assert!(slots >= (sources.each * in_flight) as usize, "{slots}");
            sources.sources.len()
        };
        assert_eq!([count(1, 1_024), count(64, 4), count(65, 4)], [1, 64, 33]);
        assert_eq!(count(10_000, 4), 64);
        assert_eq!(count(1_000, 4_096), 63, "not more in flight than there are slots");
        assert_eq!(count(3, 65_536), 3);
    }
}
