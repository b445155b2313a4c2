//! The driver without an engine: what it counts, and what it has still to do.

use super::*;
use punctual_runtime::{ResultReader, UnknownReason};
use punctual_wire::TxnSequence;

fn config() -> MicroConfig {
    MicroConfig {
        ops: 10,
        reads: 0.5,
        keys: 1_000,
        value_size: 8,
        skew: 0.0,
        rate: None,
        seed: 1,
        burst: 16,
        in_flight: 4,
    }
}

fn driver(rate: Option<f64>) -> (MicroDriver, flume::Receiver<MicroEvent>) {
    let (sender, events) = flume::unbounded();
    let config = MicroConfig { rate, ..config() };
    (MicroDriver::new(&config, 2, (0, 1), PhaseCell::default(), sender), events)
}

/// Ends the transaction in slot 0 as it was sent.
fn complete(driver: &mut MicroDriver, now: Nanos, sent: InFlight, outcome: Outcome) {
    driver.in_flight[0] = sent;
    let completion = Completion {
        sequence: TxnSequence::new(0, 1),
        tag: 0,
        outcome,
        submitted_at: sent.intended,
        results: ResultReader::default(),
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
    driver.ready = Some(InFlight::default());
    assert!(driver.has_backlog(now), "one that found no room still waits");
}

#[test]
fn a_closed_loop_sends_nothing_after_its_end() {
    let (mut driver, _events) = driver(None);
    driver.enter(Nanos(0), Phase::Measure);
    driver.enter(Nanos(10), Phase::Drain);
    driver.ready = Some(InFlight::default());
    assert!(!driver.has_backlog(Nanos(11)));
}

#[test]
fn the_measured_time_ends_with_the_last_commit() {
    let (mut driver, _events) = driver(None);
    driver.enter(Nanos(100), Phase::Measure);
    let sent = InFlight { intended: Nanos(150), shard: 1, increments: 3, measured: true };
    complete(&mut driver, Nanos(200), sent, Outcome::Committed { at: Nanos(1) });
    complete(&mut driver, Nanos(900), sent, Outcome::Unknown(UnknownReason::Deadline));
    assert_eq!(driver.totals.span, Some((Nanos(100), Nanos(200))));
    assert_eq!((driver.totals.committed, driver.totals.unknown), (1, 1));
    assert_eq!(driver.totals.increments, [0, 3]);
    assert_eq!(driver.totals.increments_unknown, [0, 3]);
}

#[test]
fn the_check_compares_every_shard_by_itself() {
    let mut totals = MicroTotals::default();
    let increments = vec![10, 20];
    totals.merge(&MicroTotals { increments, ..MicroTotals::new(2) });
    let increments_unknown = vec![0, 2];
    totals.merge(&MicroTotals { increments_unknown, ..MicroTotals::new(2) });
    for sums in [[10, 20], [10, 22]] {
        assert_eq!(totals.check(&sums), Ok(()));
    }
    // The first has the right sum over both.
    for sums in [[11, 19], [10, 19], [10, 23]] {
        assert!(totals.check(&sums).is_err(), "{sums:?}");
    }
    let why = totals.check(&[9, 20]).expect_err("one is missing");
    assert!(why.contains("shard 0 sum up to 9, acknowledged were 10"), "{why}");
}

#[test]
fn a_workload_that_cannot_do_what_it_says_is_refused() {
    let limits = Limits::DEFAULT;
    let refused = |config: &MicroConfig, shards| config.check(shards, &limits).expect_err("wrong");
    assert_eq!(config().check(4, &limits), Ok(()));
    let long = MicroConfig { ops: 100, value_size: 20_000, ..config() };
    assert!(refused(&long, 1).contains("--value-size 20000 make a reply of up to"));
    assert_eq!(MicroConfig { reads: 0.0, ..long }.check(1, &limits), Ok(()));
    let few = MicroConfig { keys: 159, ..config() };
    assert!(refused(&few, 4).contains("need at least 160 --keys"));
    let fewer = MicroConfig { keys: 9, ..config() };
    assert!(refused(&fewer, 1).contains("--ops 10 distinct keys"));
    let short = MicroConfig { value_size: 4, ..config() };
    assert!(refused(&short, 1).contains("--value-size 4 is outside 8..="));
    let frames = Limits { frame_bytes_max: 8 << 10, ..limits };
    let many = MicroConfig { ops: 1_000, reads: 0.0, ..config() };
    assert!(many.check(1, &frames).expect_err("wrong").contains("raise frame_bytes_max"));
}

#[test]
fn a_bulk_transaction_has_room_for_its_results() {
    let limits = Limits::DEFAULT;
    let bulk = |value_size, limits: Limits| {
        let config = MicroConfig { value_size, ..config() };
        config.bulk_ops(&limits)
    };
    assert_eq!(bulk(8, limits), BULK_OPS_MAX);
    assert_eq!(bulk(8, Limits { ops_max: 20, ..limits }), 20);
    let long = bulk(limits.value_bytes_max as usize, limits);
    assert!((1..=4).contains(&long), "{long} values of a quarter of a frame");
}
