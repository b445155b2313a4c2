//! Runs that are to say how fast something is: what they say is what can be computed by hand.

use punctual_core::{EstimatorKind, OwdConfig};
use punctual_load::micro::Micro;
use punctual_load::workload::Workload;
use punctual_sim::bench::{
    ServiceModel, SimArrivals, SimBenchConfig, SimBenchReport, SimNetwork, SimPath, run,
};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Simulates, and expects that the stores hold what was acknowledged.
pub(crate) fn run_checked(config: &SimBenchConfig, workload: &impl Workload) -> SimBenchReport {
    let report = run(config, workload, &mut |_| {}).expect("it can be simulated");
    assert_eq!(report.self_check, "ok", "{config:?}");
    assert_eq!((report.unknown, report.refused), (0, 0), "{config:?}");
    assert!(report.committed > 0, "{config:?}");
    report
}

/// Few keys, one operation on one of them.
fn one_op() -> Micro {
    Micro { ops: 1, reads: 0.5, cross: 0.0, span: 2, keys: 1_000, value_size: 8, skew: 0.0 }
}

/// Four keys on two shards.
fn on_two() -> Micro {
    Micro { ops: 4, cross: 1.0, ..one_op() }
}

/// Nothing takes time but a piece on its shard: so many nanoseconds.
fn only_pieces(piece_ns: f64) -> ServiceModel {
    let mut service = ServiceModel::instant();
    service.shard.piece_ns = piece_ns;
    service
}

/// Two shards and the coordinator so far from each other, without jitter, and small service times.
fn two_shards(one_way: Duration) -> SimBenchConfig {
    let path = SimPath::normal_us(one_way.as_micros() as u64, 0);
    SimBenchConfig {
        shards: 2,
        in_flight: 1,
        network: SimNetwork::even("two", path),
        warmup: 100 * MS,
        duration: 2_000 * MS,
        ..SimBenchConfig::default()
    }
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another_one() {
    let config = SimBenchConfig {
        shards: 3,
        coordinators: 5,
        in_flight: 8,
        network: SimNetwork::even("wild", SimPath::normal_us(300, 100)),
        warmup: 5 * MS,
        duration: 50 * MS,
        ..SimBenchConfig::default()
    };
    let micro = Micro { ops: 10, cross: 0.5, skew: 0.9, keys: 5_000, ..one_op() };
    let report = run_checked(&config, &micro);
    assert_eq!(report, run_checked(&config, &micro));
    assert!(report.stamped > 100 && report.stamped < report.committed, "{report:?}");
    assert_ne!(report.trace, run_checked(&SimBenchConfig { seed: 2, ..config }, &micro).trace);
}

#[test]
fn one_at_a_time_takes_just_its_ways_and_its_services() {
    let mut service = ServiceModel::instant();
    service.wire_ns = 5.0;
    (service.shard.turn_ns, service.shard.frame_ns) = (200.0, 30.0);
    (service.shard.piece_ns, service.shard.op_ns) = (40.0, 2.0);
    (service.coordinator.turn_ns, service.coordinator.frame_ns) = (100.0, 10.0);
    (service.coordinator.piece_ns, service.coordinator.op_ns) = (20.0, 1.0);
    let ops = 3;
    let config = SimBenchConfig {
        in_flight: 1,
        network: SimNetwork::even("still", SimPath::normal_us(50, 0)),
        service,
        warmup: MS,
        duration: 20 * MS,
        ..SimBenchConfig::default()
    };
    let report = run_checked(&config, &Micro { ops, ..one_op() });
    let ways = 2 * (50_000 + 5);
    let shard = 200 + 30 + 40 + 2 * u64::from(ops) + 30;
    let latency = 10 + ways + shard + 100 + 10;
    let found = &report.latency;
    assert!(found.equivalent(found.min(), latency), "{} instead of {latency}", found.min());
    assert!(found.equivalent(found.max(), latency), "{} instead of {latency}", found.max());
    // The next one is made in the turn in which the last one ended.
    let period = latency + 20 + u64::from(ops);
    let expected = 20_000_000 / period;
    assert!(report.committed.abs_diff(expected) <= 1, "{} of {expected}", report.committed);
    assert_eq!(report.bound_mean_ns, Some(ways as f64));
}

#[test]
fn at_saturation_throughput_is_one_over_the_service_time() {
    let config = |piece_ns| SimBenchConfig {
        in_flight: 64,
        service: only_pieces(piece_ns),
        warmup: MS,
        duration: 100 * MS,
        ..SimBenchConfig::default()
    };
    for piece_ns in [500.0, 1_000.0, 4_000.0] {
        let report = run_checked(&config(piece_ns), &one_op());
        let share = report.throughput_tps * piece_ns / 1e9;
        assert!((0.98..=1.01).contains(&share), "{share} of the capacity at {piece_ns} ns");
        assert!(report.per_shard[0].busy > 0.98, "{:?}", report.per_shard);
    }
}

#[test]
fn shards_that_share_a_core_share_its_time() {
    let config = |shard_cores| SimBenchConfig {
        shards: 2,
        in_flight: 256,
        service: only_pieces(1_000.0),
        shard_cores: Some(shard_cores),
        warmup: 2 * MS,
        duration: 100 * MS,
        ..SimBenchConfig::default()
    };
    let [shared, apart] = [1, 2].map(|cores| run_checked(&config(cores), &one_op()));
    assert!((0.98e6..=1.01e6).contains(&shared.throughput_tps), "{}", shared.throughput_tps);
    assert!(apart.throughput_tps > 1.6e6, "{}", apart.throughput_tps);
}

#[test]
fn a_transaction_on_two_shards_takes_three_ways_and_hardly_more() {
    for one_way in [2 * MS, 30 * MS] {
        let report = run_checked(&two_shards(one_way), &on_two());
        assert_eq!(report.stamped, report.committed);
        let ratio = report.latency_over_bound().expect("it committed");
        assert!((1.0..1.02).contains(&ratio), "{ratio} at {one_way:?}");
        let bound = report.bound_mean_ns.expect("it committed");
        assert!((bound / 3.0 / one_way.as_nanos() as f64 - 1.0).abs() < 0.001, "{bound}");
        assert!(report.agreement.min() as f64 > one_way.as_nanos() as f64 * 0.99, "{report:?}");
    }
}

#[test]
fn around_the_world_with_jitter_the_bound_is_nearly_kept() {
    let network = SimNetwork::named("geo").expect("a preset");
    let config =
        SimBenchConfig { network, warmup: 2_000 * MS, duration: 100_000 * MS, ..two_shards(MS) };
    let report = run_checked(&config, &on_two());
    let ratio = report.latency_over_bound().expect("it committed");
    assert!((1.0..1.15).contains(&ratio), "{ratio}");
    let bound = report.bound_mean_ns.expect("it committed");
    assert!((0.44e9..0.46e9).contains(&bound), "{bound}");
}

#[test]
fn an_open_loop_keeps_to_its_rate_as_far_as_there_is_capacity() {
    let config = |rate, arrivals| SimBenchConfig {
        coordinators: 4,
        in_flight: 16,
        rate: Some(rate),
        arrivals,
        service: only_pieces(1_000.0),
        warmup: Duration::ZERO,
        duration: 20 * MS,
        ..SimBenchConfig::default()
    };
    for arrivals in [SimArrivals::Poisson, SimArrivals::Constant] {
        let report = run_checked(&config(4e5, arrivals), &one_op());
        let share = report.throughput_tps / 4e5;
        assert!((0.95..1.05).contains(&share), "{share} of the rate, {arrivals:?}");
        assert_eq!(report.unsent, 0);
        let response = report.response.expect("an open loop").mean();
        assert!((1_000.0..3_000.0).contains(&response), "{response}");
        let over = run_checked(&config(2e6, arrivals), &one_op());
        assert!((0.97e6..1.01e6).contains(&over.throughput_tps), "{}", over.throughput_tps);
        assert!(over.duration > 30 * MS, "what waits at the end is sent: {:?}", over.duration);
        let (response, latency) = (over.response.expect("an open loop"), over.latency);
        assert!(response.mean() > 20.0 * latency.mean(), "waiting counts");
    }
}

#[test]
fn longer_services_and_longer_ways_make_it_slower() {
    let base = SimBenchConfig { in_flight: 32, ..two_shards(MS) };
    let micro = Micro { keys: 100_000, ..on_two() };
    let mut slow = base.clone();
    slow.service.shard.stamped_ns *= 100.0;
    slow.service.coordinator.op_ns *= 100.0;
    let far = SimBenchConfig { network: two_shards(3 * MS).network, ..base.clone() };
    let tps = run_checked(&base, &micro).throughput_tps;
    assert!(run_checked(&slow, &micro).throughput_tps < tps * 0.99);
    let far = run_checked(&far, &micro).throughput_tps;
    assert!((0.3..0.37).contains(&(far / tps)), "three times as far: {far} of {tps}");
}

#[test]
fn a_high_percentile_is_in_time_more_often_than_half_a_round_trip() {
    let on_time = |kind| {
        let network = SimNetwork::named("same-region").expect("a preset");
        let owd = OwdConfig { kind, ..OwdConfig::default() };
        let config = SimBenchConfig { network, owd, ..two_shards(MS) };
        let report = run_checked(&config, &on_two());
        report.on_time_ratio().expect("all are stamped")
    };
    let high = on_time(EstimatorKind::WindowPercentile);
    let half = on_time(EstimatorKind::EmaHalfRtt);
    assert!(high > 0.9 && half < 0.7, "{high} and {half}");
}

#[test]
fn a_hundred_shards_and_a_thousand_coordinators_in_three_regions_are_simulated() {
    let path = |from: usize, to: usize| match from == to {
        true => SimPath::normal_us(250, 0),
        false => SimPath::normal_us(5_000, 100),
    };
    let config = SimBenchConfig {
        shards: 100,
        coordinators: 1_000,
        in_flight: 2,
        network: SimNetwork::between("regions", &["one", "two", "three"], path),
        warmup: 20 * MS,
        duration: 50 * MS,
        ..SimBenchConfig::default()
    };
    let micro = Micro { ops: 3, cross: 0.5, keys: 500_000, ..one_op() };
    let mut told = 0;
    let report = run(&config, &micro, &mut |_| told += 1).expect("it can be simulated");
    assert_eq!(report.self_check, "ok");
    assert!(told > 1, "progress is told");
    assert!(report.committed > 5_000, "{}", report.committed);
    assert!(report.per_shard.iter().all(|shard| shard.committed > 0 && shard.busy < 1.0));
    let ratio = report.latency_over_bound().expect("some committed");
    assert!((1.0..1.5).contains(&ratio), "{ratio}");
}
