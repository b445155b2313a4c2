//! How many leases wait at the worker beyond those that run.

use super::*;
use punctual_core::task::PREFETCH_MAX;

fn auto(slots: u32) -> TaskWorkerConfig {
    TaskWorkerConfig { prefetch: Prefetch::Auto, ..config(slots) }
}

impl Rig {
    /// Runs one task for so long; the report is acknowledged after `round_trip_ms`. Returns how
    /// many the worker wants to wait then, if that changed.
    fn run_one(&mut self, id: u64, ran_ns: u64, round_trip_ms: u64) -> Option<u32> {
        self.lease(&[task(id)]);
        assert_eq!(self.started(), [id]);
        self.exit(id, Exit { ran_ns, ..Exit::success() });
        let mut said = self.said();
        self.pass_ms(round_trip_ms);
        self.acked(reports(&said)[0].0);
        said.extend(self.said());
        credits(&said).last().map(|capacity| capacity.prefetch)
    }
}

#[test]
fn a_fixed_number_is_offered_from_the_start_and_bounded() {
    let offered = |prefetch| {
        let mut rig = Rig::unlinked(TaskWorkerConfig { prefetch, ..config(1) });
        let said = rig.enlist();
        let Said::Enlist { capacity, .. } = &said[0] else { panic!("{said:?}") };
        capacity.prefetch
    };
    assert_eq!(offered(Prefetch::Off), 0);
    assert_eq!(offered(Prefetch::Fixed(7)), 7);
    assert_eq!(offered(Prefetch::Fixed(u32::MAX)), PREFETCH_MAX);
    assert_eq!(offered(Prefetch::Auto), 0, "nothing is known yet");
}

#[test]
fn switched_off_it_stays_off() {
    let mut rig = Rig::new(config(2));
    assert_eq!(rig.run_one(1, MS, 10), None);
}

#[test]
fn of_short_tasks_so_many_wait_as_a_round_trip_takes() {
    let mut rig = Rig::new(auto(2));
    assert_eq!(rig.run_one(1, MS, 10), Some(40));
    assert_eq!(rig.run_one(2, MS, 10), None, "it is known");
}

#[test]
fn of_tasks_over_a_second_none_waits() {
    let mut rig = Rig::new(auto(2));
    assert_eq!(rig.run_one(1, 1_001 * MS, 10), None);
    assert_eq!(rig.run_one(2, 1_001 * MS, 10), None);
}

#[test]
fn when_tasks_become_long_none_waits_any_more_and_when_they_become_short_many_do() {
    let mut rig = Rig::new(auto(2));
    assert_eq!(rig.run_one(1, MS, 10), Some(40));
    let mut told = Vec::new();
    for id in 10..40 {
        told.extend(rig.run_one(id, 5_000 * MS, 10));
    }
    assert_eq!(told.last(), Some(&0), "{told:?}");
    for id in 40..200 {
        told.extend(rig.run_one(id, MS, 10));
    }
    assert!(told.last().is_some_and(|last| (20..=40).contains(last)), "{told:?}");
    assert!(told.len() < 12, "only great changes are told: {told:?}");
}

#[test]
fn of_the_shortest_tasks_a_bounded_number_waits() {
    let mut rig = Rig::new(auto(1_000));
    assert_eq!(rig.run_one(1, 0, 1_000), Some(PREFETCH_MAX));
}

#[test]
fn a_task_that_did_not_begin_or_was_killed_says_nothing_of_how_long_tasks_run() {
    let mut rig = Rig::new(auto(2));
    rig.lease(&[task(1), Task { timeout_ms: 10, ..task(2) }]);
    assert_eq!(rig.started(), [1, 2]);
    rig.exit(1, Exit { kind: EndKind::NotStarted, code: 2, ..Exit::success() });
    rig.pass_ms(10);
    rig.exit(2, killed());
    assert_eq!(reports(&rig.said()).len(), 2);
    rig.pass_ms(10);
    rig.acked(2);
    assert!(rig.said().is_empty());
}
