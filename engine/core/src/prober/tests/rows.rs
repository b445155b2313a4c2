//! What is known of each shard, and that shards do not disturb each other.

use super::*;
use crate::prober::row::OUTSTANDING_MAX;
use proptest::prelude::*;

#[test]
fn of_three_shards_one_is_fine_one_slow_and_one_silent() {
    let mut world = World::new([FINE, SLOW, SILENT]);
    world.run_until(us(3 * SECOND_US - 500));
    for (shard, path, under_way) in [(SHARDS[0], FINE, 0), (SHARDS[1], SLOW, 3)] {
        let row = world.row(shard);
        let owd = path.there + path.offset;
        assert_eq!(row.estimate, owd, "{shard}");
        assert_eq!([row.min, row.p50, row.p99], [Some(owd); 3], "{shard}");
        assert_eq!(row.offset_bound, Some((path.offset - path.back, owd)), "{shard}");
        assert_eq!(row.rtt_min, Some(path.there + path.back), "{shard}");
        assert_eq!((row.sent, row.lost, row.stale), (1200, 0, 0), "{shard}");
        assert_eq!((row.samples, row.answered), (1200 - under_way, 1200 - under_way), "{shard}");
        assert!(row.is_up, "{shard}");
    }
    let silent = world.row(SHARDS[2]);
    assert_eq!(silent.estimate, OwdConfig::default().default_owd);
    let figures = [silent.min, silent.p50, silent.p99, silent.rtt_min];
    assert_eq!((figures, silent.offset_bound), ([None; 4], None));
    assert_eq!((silent.sent, silent.samples), (1200, 0));
    // The first second of them has been waited for long enough, and so has half of what followed.
    assert_eq!(silent.lost, 1100);
}

#[test]
fn a_shard_in_trouble_changes_nothing_in_the_row_of_another() {
    let until = us(2 * SECOND_US + 3000);
    let mut undisturbed = World::new([FINE; 3]);
    undisturbed.run_until(until);
    type Trouble = fn(&mut World);
    let troubles: [(&str, Path, Trouble); 4] = [
        ("silent", SILENT, |_| ()),
        ("slow", SLOW, |_| ()),
        ("down", FINE, |world| [SHARDS[1], SHARDS[2]].iter().for_each(|it| world.link_down(*it))),
        ("full", FINE, |world| world.links.open = [true, false, false]),
    ];
    for (what, path, trouble) in troubles {
        let mut world = World::new([FINE, path, path]);
        trouble(&mut world);
        world.run_until(until);
        assert_ne!(world.row(SHARDS[1]), undisturbed.row(SHARDS[1]), "{what}: it is in trouble");
        assert_eq!(world.row(SHARDS[0]), undisturbed.row(SHARDS[0]), "{what}");
        assert_eq!(world.sent_to(SHARDS[0]), undisturbed.sent_to(SHARDS[0]), "{what}");
        assert_eq!(world.samples_of(SHARDS[0]), undisturbed.samples_of(SHARDS[0]), "{what}");
    }
}

#[test]
fn a_shard_that_falls_silent_widens_its_estimate_and_its_figures_expire() {
    let mut world = World::new([FINE; 3]);
    world.run_until(us(2 * SECOND_US - 500));
    let spoken = world.row(SHARDS[1]);
    world.paths[1] = SILENT;
    world.run_until(us(7 * SECOND_US));
    let silent = world.row(SHARDS[1]);
    assert_eq!(silent.estimate, spoken.estimate + us(4000));
    assert_eq!((silent.min, silent.offset_bound), (spoken.min, spoken.offset_bound));
    world.run_until(us(12 * SECOND_US));
    let expired = world.row(SHARDS[1]);
    assert_eq!(expired.estimate, spoken.estimate + us(9000));
    assert_eq!((expired.min, expired.p99, expired.rtt_min), (None, None, None));
    assert_eq!((expired.offset_bound, expired.samples), (None, spoken.samples));
    let other = world.row(SHARDS[0]);
    assert_eq!((other.estimate, other.p99), (spoken.estimate, spoken.p99));
}

#[test]
fn the_estimate_follows_a_path_that_changed() {
    let mut world = World::new([FINE; 3]);
    world.run_until(us(2 * SECOND_US));
    let longer = Path { there: us(900), ..FINE };
    world.paths[0] = longer;
    // A window of a thousand has its 99th percentile among the new after eleven of them.
    world.run_until(us(2 * SECOND_US + 200_000));
    let row = world.row(SHARDS[0]);
    assert_eq!((row.estimate, row.p99), (longer.there + FINE.offset, Some(row.estimate)));
    assert_eq!((row.min, row.p50), (Some(FINE.there + FINE.offset), row.min));
}

/// What may happen to a shard.
#[derive(Debug, Clone, Copy)]
enum Event {
    Run(i64),
    Pause(i64),
    Down(usize),
    Up(usize),
    Full(usize, bool),
    Answers(usize, bool),
    Delays(usize, i64, i64),
}

fn event() -> impl Strategy<Value = Event> {
    let shard = 0..3_usize;
    prop_oneof![
        6 => (1..30_000_i64).prop_map(Event::Run),
        2 => (1..90_000_i64).prop_map(Event::Pause),
        1 => shard.clone().prop_map(Event::Down),
        2 => shard.clone().prop_map(Event::Up),
        1 => (shard.clone(), any::<bool>()).prop_map(|(at, full)| Event::Full(at, full)),
        1 => (shard.clone(), any::<bool>()).prop_map(|(at, answers)| Event::Answers(at, answers)),
        2 => (shard, 0..20_000_i64, 0..20_000_i64)
            .prop_map(|(at, there, back)| Event::Delays(at, there, back)),
    ]
}

fn happen(world: &mut World, event: Event) {
    match event {
        Event::Run(micros) => world.run_until(world.now + us(micros)),
        Event::Pause(micros) => world.now = world.now + us(micros),
        Event::Down(at) => world.link_down(SHARDS[at]),
        Event::Up(at) => world.link_up(SHARDS[at]),
        Event::Full(at, full) => world.links.open[at] = !full,
        Event::Answers(at, answers) => world.paths[at].answers = answers,
        Event::Delays(at, there, back) => {
            (world.paths[at].there, world.paths[at].back) = (us(there), us(back));
        }
    }
}

proptest! {
    #[test]
    fn every_probe_is_accounted_for_and_the_bound_holds_the_offset_of_the_clocks(
        events in prop::collection::vec(event(), 1..40),
    ) {
        let mut world = World::new([FINE; 3]);
        for event in events {
            happen(&mut world, event);
            for (shard, path) in SHARDS.into_iter().zip(world.paths) {
                let (row, outstanding) = (world.row(shard), world.prober.outstanding(shard));
                let accounted = row.answered + row.lost + row.impossible + outstanding as u64;
                prop_assert_eq!(row.sent, accounted);
                prop_assert_eq!(row.impossible, 0);
                prop_assert!(outstanding <= OUTSTANDING_MAX);
                if let Some((from, to)) = row.offset_bound {
                    prop_assert!(from <= path.offset && path.offset <= to, "{row:?}");
                }
            }
        }
        for shard in SHARDS {
            let sent = world.sent_to(shard);
            prop_assert!(sent.is_sorted_by(|one, next| one.t1 <= next.t1 && one.id < next.id));
        }
    }
}
