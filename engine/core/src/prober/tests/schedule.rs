//! When probes leave.

use super::*;

/// Just before three seconds are over, between two probes.
const END_US: i64 = 3 * SECOND_US - 500;

/// Probes until then: a thousand in the first second, a hundred in each further one.
const SENT: usize = 1200;

/// When a probe would leave without jitter, and how much jitter it may have.
fn planned_us(index: i64) -> (i64, i64) {
    match index {
        ..1000 => (index * 1000, 100),
        // It was planned while the link was new.
        1000 => (SECOND_US, 100),
        _ => (SECOND_US + (index - 1000) * 10_000, 1000),
    }
}

#[track_caller]
fn assert_on_plan(world: &World, tardiness: Nanos) {
    for shard in SHARDS {
        let sent = world.sent_to(shard);
        assert_eq!(sent.len(), SENT, "{shard}");
        for (index, probe) in (0..).zip(&sent) {
            let (planned, jitter) = planned_us(index);
            let after = Nanos(probe.t1) - us(planned) - tardiness;
            let is_on_plan = Nanos::ZERO <= after && after <= us(jitter);
            assert!(is_on_plan, "{shard}: probe {index} left {after} after its time");
        }
    }
}

#[test]
fn probes_leave_each_millisecond_for_a_second_and_each_ten_afterwards() {
    let mut world = World::new([FINE; 3]);
    world.run_until(us(END_US));
    assert_on_plan(&world, Nanos::ZERO);
    let row = world.row(SHARDS[0]);
    assert_eq!((row.sent, row.late, row.skipped), (SENT as u64, 0, 0));
    assert_eq!(row.lateness_p99, Some(Nanos::ZERO));
}

#[test]
fn a_timer_that_is_always_late_does_not_let_the_schedule_drift() {
    let mut world = World::new([FINE; 3]);
    world.tardiness = us(300);
    world.run_until(us(END_US));
    assert_on_plan(&world, us(300));
    let row = world.row(SHARDS[0]);
    assert_eq!((row.sent, row.late, row.skipped), (SENT as u64, 0, 0));
    assert_eq!(row.lateness_p99, Some(us(300)));
}

#[test]
fn the_same_seed_gives_the_same_schedule_and_another_seed_or_shard_another() {
    let times = |seed, shard| {
        let mut world = World::with(ProberConfig::new(3, seed), [FINE; 3]);
        world.run_until(us(20_000));
        world.sent_to(shard)
    };
    let first = times(1, SHARDS[0]);
    assert_eq!(first, times(1, SHARDS[0]));
    assert_ne!(first, times(2, SHARDS[0]));
    assert_ne!(first, times(1, SHARDS[1]));
}

#[test]
fn without_jitter_probes_leave_on_the_grid() {
    let config = ProberConfig { jitter: 0.0, ..ProberConfig::new(3, 42) };
    let mut world = World::with(config, [FINE; 3]);
    world.run_until(us(4000));
    let times: Vec<i64> = world.sent_to(SHARDS[2]).iter().map(|probe| probe.t1).collect();
    assert_eq!(times, [0, 1_000_000, 2_000_000, 3_000_000, 4_000_000]);
}

#[test]
fn after_a_pause_one_probe_leaves_late_and_what_was_missed_is_skipped() {
    let mut world = World::new([FINE; 3]);
    world.run_until(us(5 * SECOND_US - 500));
    let before = world.sent.len();
    world.now = us(7_345_000);
    for _ in 0..3 {
        world.step();
    }
    let burst = world.sent.split_off(before);
    let to: Vec<ShardId> = burst.iter().map(|(shard, _)| *shard).collect();
    assert_eq!(to, SHARDS, "one each");
    assert!(burst.iter().all(|(_, probe)| probe.late), "{burst:?}");
    // Due at 5,000 ms and late: one. Missed: those of 5,010 to 7,340 ms.
    assert_eq!((world.row(SHARDS[1]).late, world.row(SHARDS[1]).skipped), (1, 234));
    let next = world.prober.next_deadline().expect("the links are up");
    assert!(us(7_350_000) <= next && next <= us(7_351_000), "{next}");
}

#[test]
fn the_answer_to_a_probe_that_left_late_is_reported_but_does_not_count() {
    let mut world = World::new([FINE; 3]);
    world.run_until(us(SECOND_US - 500));
    let before = world.row(SHARDS[0]);
    // A path that is different now would show.
    world.paths = [SLOW; 3];
    world.now = us(SECOND_US + 5000);
    world.step();
    world.samples.clear();
    world.run_until(us(SECOND_US + 36_000));
    let samples = world.samples_of(SHARDS[0]);
    assert!(!samples[0].used && samples[0].probe.late, "{samples:?}");
    assert_eq!(samples[0].owd.owd, SLOW.there + SLOW.offset);
    let after = world.row(SHARDS[0]);
    assert_eq!((after.samples, after.answered), (before.samples, before.answered + 1));
    assert_eq!((after.estimate, after.min), (before.estimate, before.min));
}

#[test]
fn a_probe_is_late_when_it_leaves_more_than_the_bound_after_it_was_due() {
    let mut world = World::new([FINE; 3]);
    world.link_down(SHARDS[0]);
    world.link_down(SHARDS[1]);
    for (lateness, late) in [(us(500), false), (us(500).next(), true), (Nanos::ZERO, false)] {
        world.now = world.prober.next_deadline().expect("a link is up") + lateness;
        world.step();
        assert_eq!(world.sent_to(SHARDS[2]).pop().map(|probe| probe.late), Some(late));
    }
    assert_eq!(world.row(SHARDS[2]).late, 1);
    assert_eq!(world.row(SHARDS[2]).lateness_p99, Some(us(500).next()));
}

#[test]
fn nothing_waits_for_a_link_that_is_full() {
    let mut world = World::new([FINE; 3]);
    world.links.open[0] = false;
    world.run_until(us(9_500));
    let row = world.row(SHARDS[0]);
    assert_eq!((row.sent, row.skipped), (0, 10));
    world.links.open[0] = true;
    world.run_until(us(19_500));
    let row = world.row(SHARDS[0]);
    assert_eq!((row.sent, row.skipped), (10, 10));
}

#[test]
fn a_prober_without_links_has_nothing_to_do() {
    let mut world = World::new([FINE; 3]);
    world.run_until(us(1500));
    SHARDS.into_iter().for_each(|shard| world.link_down(shard));
    assert_eq!(world.prober.next_deadline(), None);
    assert_eq!(world.prober.on_timer(us(SECOND_US), &mut world.links), 0);
    assert!(!world.row(SHARDS[0]).is_up);
}

#[test]
fn a_new_link_is_probed_quickly_again() {
    let mut world = World::new([FINE; 3]);
    world.run_until(us(2 * SECOND_US - 500));
    world.link_down(SHARDS[0]);
    world.link_up(SHARDS[0]);
    let before = SHARDS.map(|shard| world.row(shard).sent);
    world.run_until(us(2 * SECOND_US + 99_000));
    let sent = SHARDS.map(|shard| world.row(shard).sent);
    // From 1,999.5 ms on each millisecond; the others at 2,000, 2,010, ... 2,090.
    assert_eq!([0, 1, 2].map(|at| sent[at] - before[at]), [100, 10, 10]);
}

#[test]
fn an_interval_of_zero_is_as_short_as_time_goes() {
    let zero = Duration::ZERO;
    let config = ProberConfig { first_interval: zero, interval: zero, ..ProberConfig::new(3, 42) };
    let mut world = World::with(config, [SILENT; 3]);
    for now in [Nanos(0), Nanos(0), Nanos(1)] {
        world.now = now;
        world.step();
    }
    assert_eq!(world.sent_to(SHARDS[0]).len(), 2);
}
