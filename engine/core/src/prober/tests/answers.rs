//! What comes back: answers that are good, repeated, too late, impossible or no answers at all.

use super::*;
use crate::prober::row::OUTSTANDING_MAX;

const SHARD: ShardId = SHARDS[0];

/// A world in which a probe was just sent to a shard that leaves the answer to the test.
fn asked() -> (World, Probe) {
    let mut world = World::new([SILENT; 3]);
    world.link_down(SHARDS[1]);
    world.link_down(SHARDS[2]);
    let probe = ask(&mut world);
    (world, probe)
}

/// Sends the next probe in time.
fn ask(world: &mut World) -> Probe {
    world.now = world.prober.next_deadline().expect("a link is up");
    world.step();
    world.sent_to(SHARD).pop().expect("a probe was due")
}

/// 40 us there and 10 us at the shard. With 100 us for all, 50 us are left for the way back.
fn good_answer(asked: Probe) -> Probe {
    let t2 = asked.t1 + 40_000;
    Probe { is_reply: true, t2, t3: t2 + 10_000, t4: 0, ..asked }
}

fn answer(world: &mut World, probe: Probe) {
    world.deliver(SHARD, &frame_of(&[probe])).expect("the frame is fine");
}

#[test]
fn an_answer_gives_the_delay_there_and_the_round_trip() {
    let (mut world, probe) = asked();
    world.now = world.now + us(100);
    answer(&mut world, good_answer(probe));
    let sample = world.samples[0];
    assert_eq!(sample.owd, OwdSample { owd: us(40), rtt: Some(us(90)) });
    assert_eq!(sample.probe, Probe { t4: world.now.0, ..good_answer(probe) });
    assert_eq!((sample.shard, sample.used, sample.at), (SHARD, true, world.now));
    let row = world.row(SHARD);
    assert_eq!((row.estimate, row.samples, row.answered), (us(40), 1, 1));
    assert_eq!(world.prober.outstanding(SHARD), 0);
}

#[test]
fn answers_are_matched_by_id_in_any_order() {
    let (mut world, first) = asked();
    let second = ask(&mut world);
    world.now = world.now + us(100);
    world
        .deliver(SHARD, &frame_of(&[good_answer(second), good_answer(first)]))
        .expect("the frame is fine");
    let ids: Vec<u32> = world.samples.iter().map(|sample| sample.probe.id).collect();
    assert_eq!(ids, [second.id, first.id]);
    assert_eq!(world.row(SHARD).rtt_min, Some(us(90)));
}

#[test]
fn repeated_answers_and_those_to_nothing_asked_are_counted_and_ignored() {
    let (mut world, probe) = asked();
    world.now = world.now + us(100);
    answer(&mut world, good_answer(probe));
    let before = world.row(SHARD);
    answer(&mut world, good_answer(probe));
    answer(&mut world, Probe { id: probe.id + 1000, ..good_answer(probe) });
    assert_eq!(world.row(SHARD), ProbeRow { stale: 2, ..before });
    assert_eq!(world.samples.len(), 1);
}

#[test]
fn answers_with_times_that_cannot_be_are_counted_and_ignored() {
    type Change = fn(&mut Probe);
    let cases: [(&str, Change); 5] = [
        ("another time of sending", |it| it.t1 += 1),
        ("left before it came", |it| it.t3 = it.t2 - 1),
        ("longer at the shard than under way", |it| it.t3 = it.t2 + 100_001),
        ("no time could be between these", |it| (it.t2, it.t3) = (i64::MIN, i64::MAX)),
        ("nor these", |it| (it.t2, it.t3) = (i64::MAX, i64::MIN)),
    ];
    for (what, spoil) in cases {
        let (mut world, probe) = asked();
        world.now = world.now + us(100);
        let mut spoiled = good_answer(probe);
        spoil(&mut spoiled);
        answer(&mut world, spoiled);
        let row = world.row(SHARD);
        assert_eq!((row.impossible, row.answered, row.stale), (1, 0, 0), "{what}");
        assert_eq!(row.estimate, OwdConfig::default().default_owd, "{what}");
        assert!(world.samples.is_empty(), "{what}");
        assert_eq!(world.prober.outstanding(SHARD), 0, "{what}");
    }
}

#[test]
fn an_exchange_that_takes_no_time_is_possible() {
    let (mut world, probe) = asked();
    answer(&mut world, Probe { is_reply: true, t2: 7, t3: 7, ..probe });
    assert_eq!(world.samples[0].owd.rtt, Some(Nanos::ZERO));
}

#[test]
fn a_malformed_frame_is_an_error_where_it_stops_making_sense() {
    let (_, probe) = asked();
    let frame = frame_of(&[good_answer(probe)]);
    let whole = only_frame(&frame).body;
    let twice = whole.repeat(2);
    let mut flagged = whole.to_vec();
    flagged[4] |= 0x80;
    // Bodies, how many probes they announce, and how many are taken before the error.
    let cases: [(&[u8], u16, u64); 5] =
        [(&[], 1, 0), (&whole[..39], 1, 0), (&flagged, 1, 0), (&twice[..79], 2, 1), (&twice, 1, 1)];
    for (body, count, taken) in cases {
        let (mut world, _) = asked();
        world.now = world.now + us(100);
        let frame = Frame { kind: FrameKind::Probe, count, body };
        let mut samples = 0;
        let outcome = world.prober.on_frame(world.now, SHARD, &frame, |_| samples += 1);
        assert!(outcome.is_err(), "{count} in {} bytes", body.len());
        assert_eq!((samples, world.row(SHARD).answered), (taken, taken));
    }
}

#[test]
fn neither_side_takes_what_the_other_side_should() {
    let (mut world, probe) = asked();
    let outcome = world.deliver(SHARD, &frame_of(&[probe]));
    let error = |value| WireError::UnknownValue { what: "direction of a probe", value };
    assert_eq!(outcome, Err(error(0)));
    let reply = frame_of(&[good_answer(probe)]);
    let mut out = BatchWriter::new(Limits::DEFAULT, 16, false);
    let outcome = answer_probes(|| Nanos::ZERO, &only_frame(&reply), &mut out);
    assert_eq!(outcome, Err(error(1)));
    assert!(out.is_empty());
}

#[test]
fn a_shard_reads_its_clock_when_the_frame_comes_and_as_each_answer_leaves() {
    let asked =
        |id: u32, late| Probe { id, late, t1: 1000 + i64::from(id), t4: 5, ..Probe::default() };
    let requests = frame_of(&[asked(1, false), asked(2, true)]);
    let mut clock = Nanos(70);
    let read_clock = || {
        clock = clock.next();
        clock
    };
    let mut out = BatchWriter::new(Limits::DEFAULT, 16, false);
    answer_probes(read_clock, &only_frame(&requests), &mut out).expect("the frame is fine");
    out.seal();
    let answer = |asked: Probe, t3| Probe { is_reply: true, t2: 71, t3, t4: 0, ..asked };
    let expected = [answer(asked(1, false), 72), answer(asked(2, true), 73)];
    assert_eq!(probes_in(out.sealed()), expected);
}

#[test]
fn a_request_tells_when_the_answer_before_it_came() {
    let (mut world, first) = asked();
    assert_eq!(first.t4, 0);
    world.now = world.now + us(100);
    answer(&mut world, good_answer(first));
    let came = world.now.0;
    assert_eq!(ask(&mut world).t4, came);
    world.link_down(SHARD);
    world.link_up(SHARD);
    assert_eq!(ask(&mut world).t4, 0, "a new link begins anew");
}

#[test]
fn a_probe_without_an_answer_is_lost_after_a_while_and_an_answer_after_that_is_stale() {
    let lost_after = Duration::from_millis(50);
    let config = ProberConfig { lost_after, ..ProberConfig::new(3, 42) };
    let slower = Path { there: us(30_000), back: us(30_000), ..SLOW };
    let mut world = World::with(config, [SILENT, slower, FINE]);
    world.run_until(us(3 * SECOND_US - 500));
    for shard in [SHARDS[0], SHARDS[1]] {
        let (row, outstanding) = (world.row(shard), world.prober.outstanding(shard));
        // Five intervals fit into fifty milliseconds, or six with jitter.
        assert!((5..=6).contains(&outstanding), "{shard}: {outstanding}");
        assert_eq!(row.lost, row.sent - outstanding as u64, "{shard}");
        assert_eq!((row.samples, row.estimate), (0, us(500)), "{shard}");
    }
    assert_eq!(world.row(SHARDS[0]).stale, 0);
    let slow = world.row(SHARDS[1]);
    assert_eq!(slow.sent - slow.stale, 6, "six are under way, all that came were stale");
}

#[test]
fn at_the_bound_the_oldest_probe_counts_as_lost() {
    let long = Duration::from_secs(5);
    let config = ProberConfig { first_for: long, lost_after: long, ..ProberConfig::new(3, 42) };
    let mut world = World::with(config, [SILENT; 3]);
    world.run_until(us(1_023_500));
    assert_eq!(world.prober.outstanding(SHARD), OUTSTANDING_MAX);
    assert_eq!((world.row(SHARD).sent, world.row(SHARD).lost), (1024, 0));
    let [first, second] = world.sent_to(SHARD)[..2] else { panic!("many were sent") };
    world.run_until(us(1_024_500));
    assert_eq!(world.prober.outstanding(SHARD), OUTSTANDING_MAX);
    assert_eq!((world.row(SHARD).sent, world.row(SHARD).lost), (1025, 1));
    answer(&mut world, good_answer(first));
    answer(&mut world, good_answer(second));
    assert_eq!((world.row(SHARD).stale, world.row(SHARD).answered), (1, 1));
}

#[test]
fn what_is_under_way_when_a_link_goes_down_is_lost_even_if_the_answer_comes_by_the_next() {
    let (mut world, probe) = asked();
    world.link_down(SHARD);
    assert_eq!((world.row(SHARD).lost, world.prober.outstanding(SHARD)), (1, 0));
    world.link_up(SHARD);
    let next = ask(&mut world);
    assert_ne!(next.id, probe.id, "ids go on");
    answer(&mut world, good_answer(probe));
    assert_eq!((world.row(SHARD).stale, world.row(SHARD).answered), (1, 0));
}
