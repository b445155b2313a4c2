//! The driver without an engine: what it counts, and what it has still to do.

use super::*;
use crate::arrivals::{ArrivalKind, Rates, Schedule};
use crate::counting::Counting;
use crate::micro::{Micro, MicroMaker};
use punctual_runtime::{Limits, Timing, UnknownReason};
use punctual_wire::TxnSequence;

type Counters = Counting<MicroMaker>;

fn driver(rate: Option<f64>) -> (LoadDriver<Counters>, flume::Receiver<LoadEvent<Counters>>) {
    let micro =
        Micro { ops: 10, reads: 0.5, cross: 0.5, span: 2, keys: 1_000, value_size: 8, skew: 0.0 };
    let schedule = rate.map(|rate| Schedule {
        rates: Rates::Steady(rate),
        kind: ArrivalKind::Poisson,
        warmup: Duration::from_secs(1),
        duration: Duration::from_secs(1),
    });
    let settings = LoadSettings { schedule, seed: 1, burst: 16, in_flight: 4 };
    let limits = Limits::DEFAULT;
    let place = Place { worker: 0, workers: 1, shards: 2, slots: 4, limits, seed: 1 };
    let (sender, events) = flume::unbounded();
    let phase = PhaseCell::default();
    (LoadDriver::new(&micro, &settings, &place, Duration::from_secs(1), phase, sender), events)
}

/// Ends the transaction in slot 0.
fn complete(
    driver: &mut LoadDriver<Counters>,
    now: Nanos,
    timing: Option<Timing>,
    outcome: Outcome,
) {
    let cross = timing.is_some();
    driver.flights[0] = Flight { intended: Nanos(150), measured: true, cross, kind: 0 };
    let completion = Completion {
        sequence: TxnSequence::new(0, 1),
        tag: 0,
        outcome,
        submitted_at: Nanos(150),
        timing,
        results: Default::default(),
    };
    driver.complete(now, completion);
}

#[test]
fn an_open_loop_sends_after_its_end_what_was_meant_to_start_before() {
    let (mut driver, _events) = driver(Some(1_000.0));
    driver.enter(Nanos(0), Phase::WarmUp);
    driver.enter(Nanos(1_000_000_000), Phase::Measure);
    driver.next_intended = Some(Nanos(1_500_000_000));
    driver.enter(Nanos(2_000_000_000), Phase::Drain);
    let now = Nanos(2_000_000_001);
    assert!(driver.has_backlog(now));
    assert_eq!(driver.unsent(), 500);
    // A rate that is out of reach must not make the run last for ever.
    assert!(!driver.has_backlog(now + BACKLOG_TIME_MAX.into()));
    driver.next_intended = Some(Nanos(2_000_000_000));
    assert!(!driver.has_backlog(now));
    assert_eq!(driver.unsent(), 0);
    driver.ready = Some(Flight::default());
    assert!(driver.has_backlog(now), "one that found no room still waits");
}

#[test]
fn one_that_found_no_room_waits_for_an_arrival_and_keeps_no_core_awake() {
    let (mut driver, _events) = driver(Some(1_000.0));
    driver.enter(Nanos(0), Phase::WarmUp);
    driver.next_intended = Some(Nanos(5));
    assert_eq!(driver.next_deadline(), Some(Nanos(5)));
    driver.ready = Some(Flight::default());
    assert_eq!(driver.next_deadline(), Some(Nanos(1_000_000_000)));
}

#[test]
fn intervals_end_when_they_should_however_late_one_of_them_was_noticed() {
    const S: i64 = 1_000_000_000;
    let (mut driver, events) = driver(None);
    driver.enter(Nanos(300), Phase::Measure);
    for (noticed, next) in [(S + 9_000, 2 * S + 300), (2 * S + 300, 3 * S + 300)] {
        driver.end_interval(Nanos(noticed));
        assert_eq!(driver.next_deadline(), Some(Nanos(next)));
    }
    // A worker that was away for longer begins anew.
    driver.end_interval(Nanos(5 * S));
    assert_eq!(driver.next_deadline(), Some(Nanos(6 * S)));
    let told: Vec<_> = events.drain().collect();
    assert_eq!(told.len(), 3);
    let is_plain = |event: &LoadEvent<Counters>| {
        matches!(event, LoadEvent::Interval { measured: true, lag: None, .. })
    };
    assert!(told.iter().all(is_plain), "{told:?}");
}

#[test]
fn an_open_loop_tells_its_lag_and_forgets_that_of_the_warm_up() {
    let (mut driver, events) = driver(Some(1_000.0));
    driver.enter(Nanos(0), Phase::WarmUp);
    driver.totals.lag.record(70);
    driver.enter(Nanos(1_000_000_000), Phase::Measure);
    driver.totals.lag.record(80);
    driver.enter(Nanos(1_500_000_000), Phase::Drain);
    let told: Vec<_> = events
        .drain()
        .map(|event| match event {
            LoadEvent::Interval { measured, lag, .. } => (measured, lag.map(|lag| lag.max())),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(false, Some(70)), (true, Some(80))]);
    assert_eq!(driver.totals.lag.len(), 1, "the warm-up is forgotten");
}

#[test]
fn a_closed_loop_sends_nothing_after_its_end() {
    let (mut driver, _events) = driver(None);
    driver.enter(Nanos(0), Phase::Measure);
    driver.enter(Nanos(10), Phase::Drain);
    driver.ready = Some(Flight::default());
    assert!(!driver.has_backlog(Nanos(11)));
}

#[test]
fn the_measured_time_ends_with_the_last_commit() {
    let (mut driver, _events) = driver(None);
    driver.enter(Nanos(100), Phase::Measure);
    complete(&mut driver, Nanos(200), None, Outcome::Committed { at: Nanos(1) });
    let unknown = Outcome::Unknown(UnknownReason::Deadline);
    complete(&mut driver, Nanos(900), None, unknown);
    assert_eq!(driver.totals.span, Some((Nanos(100), Nanos(200))));
    assert_eq!((driver.totals.committed, driver.totals.whole_run.unknown), (1, 1));
}

#[test]
fn a_transaction_on_several_shards_counts_once() {
    let (mut driver, _events) = driver(None);
    driver.enter(Nanos(100), Phase::Measure);
    let timing = Timing { late: Nanos(5), hold: Nanos(40), agreement: Nanos(30) };
    let committed = Outcome::Committed { at: Nanos(1) };
    complete(&mut driver, Nanos(200), Some(timing), committed);
    complete(&mut driver, Nanos(300), None, committed);
    let unknown = Outcome::Unknown(UnknownReason::Deadline);
    complete(&mut driver, Nanos(400), Some(timing), unknown);
    let totals = &driver.totals;
    assert_eq!((totals.committed, totals.cross), (2, 1));
    let punctuality = totals.punctuality.as_ref().expect("there was a stamp");
    assert_eq!((punctuality.stamped, punctuality.late), (1, 1));
    assert_eq!(punctuality.hold.len(), 1);
}
