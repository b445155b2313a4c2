//! Whole engines with an emulated network between their agents. Delays are only ever compared from
//! below: nothing arrives early, however busy the machine is.

use crate::support;
use punctual_runtime::config::{Distribution, Member, NetworkConfig, NetworkWait, Shape, Topology};
use punctual_runtime::{
    Client, Config, Counter, Engine, EngineError, LinkEvent, Nanos, NetworkReport, OwdWatch,
    Procedures, Transport,
};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const TRANSFERS: u64 = 60;

/// The usual configuration, with everybody as far apart.
fn config(shards: u16, shape: Shape) -> Config {
    let mut config = support::config(shards);
    config.set_network(NetworkConfig::new(Topology::even("test", shape)));
    config
}

fn constant(delay: Duration) -> Shape {
    Shape { distribution: Distribution::Constant, ..Shape::normal(delay, Duration::ZERO) }
}

/// Transfers between shards, all at once; the sum stays what it was.
fn transfers_add_up(client: &Client) {
    let keys = [support::key_on(0, 2), support::key_on(1, 2)];
    let pending: Vec<_> = (0..TRANSFERS)
        .map(|round| {
            let mut transfer = client.transaction();
            transfer.add(keys[0], -1).add(keys[1], 1);
            if round % 3 == 0 {
                transfer.get(keys[0]);
            }
            support::submit(client, &mut transfer).expect("it is taken")
        })
        .collect();
    for pending in &pending {
        let result = support::end_of(pending).expect("an outcome");
        assert!(result.is_committed(), "{result:?}");
    }
    let moved = TRANSFERS.cast_signed();
    let found = keys.map(|key| support::get(client, key));
    assert_eq!(found, [Some(-moved), Some(moved)]);
}

/// How long an addition takes, after a first one that waits for the links.
fn time_of_add(client: &Client, keys: &[u64]) -> Duration {
    let add = || {
        let pending = support::submit_adds(client, keys).expect("it is taken");
        assert!(support::end_of(&pending).expect("an outcome").is_committed());
    };
    add();
    let start = Instant::now();
    add();
    start.elapsed()
}

#[test]
fn an_embedded_engine_adds_up_over_an_emulated_network_and_counts_what_was_delayed() {
    for transport in [Transport::Ring, Transport::Tcp] {
        let config = config(2, Shape::normal(MS, MS / 5));
        let (engine, client) = Engine::embedded(config, transport).start().expect("a start");
        let info = engine.info().network.clone().expect("a network");
        assert_eq!((info.name.as_str(), info.one_way, info.core), ("test", MS, None));
        assert_eq!(info.one_way_max, MS + 4 * MS / 5);
        transfers_add_up(&client);
        let report = engine.network().expect("a network");
        // Dispatches and replies of every transfer went through it, and proposals between shards.
        let NetworkReport { batches, bytes, packets_lost, added_error_ns, .. } = report;
        assert!(batches > 6 && bytes > TRANSFERS * 20, "{batches} batches, {bytes} bytes");
        assert!(packets_lost == 0 && !added_error_ns.is_empty());
        let counters = engine.counters().clone();
        engine.stop().expect("an orderly stop");
        assert!(counters.sum("network", Counter::NetworkBatches) >= batches);
        let error = |counter| counters.sum("network", counter);
        assert!(error(Counter::NetworkErrorP50Ns) <= error(Counter::NetworkErrorP99Ns));
        assert!(error(Counter::NetworkErrorMaxNs) > 0);
        assert_eq!(counters.sum("network", Counter::NetworkLinks), 0, "all have ended");
        let strange = [
            Counter::Unknown,
            Counter::Refused,
            Counter::CommitMismatch,
            Counter::VerdictsDiffer,
            Counter::LinksMalformed,
        ];
        for counter in strange {
            assert_eq!(counters.sum("", counter), 0, "{transport:?}: {}", counter.name());
        }
    }
}

#[test]
fn nothing_is_answered_before_the_messages_for_it_have_travelled() {
    for wait in NetworkWait::ALL {
        let mut config = config(2, constant(3 * MS));
        if let Some(network) = &mut config.process.network {
            network.wait = *wait;
        }
        let (engine, client) = Engine::embedded(config, Transport::Ring).start().expect("a start");
        let (one, other) = (support::key_on(0, 2), support::key_on(1, 2));
        let alone = time_of_add(&client, &[one]);
        assert!(alone >= 6 * MS, "{wait}: there and back took {alone:?}");
        // Shards tell each other, and only then answer.
        let both = time_of_add(&client, &[one, other]);
        assert!(both >= 9 * MS, "{wait}: there, across and back took {both:?}");
        engine.stop().expect("an orderly stop");
    }
}

#[test]
fn two_processes_talk_over_a_network_that_each_emulates_for_the_links_it_opens() {
    let config = config(2, constant(2 * MS));
    let served = support::serve(&config);
    let (engine, client) = support::connect(&config, &served);
    transfers_add_up(&client);
    let key = support::keys_on(0, 2).nth(1).expect("every shard has keys");
    assert!(time_of_add(&client, &[key]) >= 4 * MS);
    for side in [&engine, &served] {
        let report = side.network().expect("a network");
        assert!(report.batches > 0, "{:?}", report.info);
    }
    let counters = engine.counters().clone();
    engine.stop().expect("an orderly stop");
    served.stop().expect("an orderly stop");
    assert_eq!(counters.sum("worker", Counter::Unknown), 0);
}

#[test]
fn a_network_that_loses_packets_delays_and_loses_nothing_else() {
    let shape = Shape { loss: 0.3, retransmit_min: MS, ..Shape::normal(MS, MS) };
    let (engine, client) =
        Engine::embedded(config(2, shape), Transport::Ring).start().expect("a start");
    transfers_add_up(&client);
    let (one, other) = (support::keys_on(0, 2).nth(2), support::keys_on(1, 2).nth(2));
    let keys = [one.expect("a key"), other.expect("a key")];
    support::until("a packet is lost", || {
        time_of_add(&client, &keys);
        engine.network().is_some_and(|report| report.packets_lost > 0)
    });
    engine.stop().expect("an orderly stop");
}

#[test]
fn agents_at_the_same_place_have_nothing_between_them() {
    let text = "places = [\"here\", \"there\"]\nshards = [\"here\", \"there\"]\n\
                coordinators = [\"here\"]\n[defaults]\ndelay = \"20ms\"\n";
    let topology = Topology::from_toml(text, "two.toml").expect("a sound file");
    assert!(topology.path(Member::Worker(0), Member::Shard(0)).is_none());
    let mut config = support::config(2);
    config.set_network(NetworkConfig::new(topology));
    // One worker, one prober and one shard reach the shard at the other place.
    let (engine, client) = Engine::embedded(config, Transport::Ring).start().expect("a start");
    assert!(time_of_add(&client, &[support::key_on(1, 2)]) >= 40 * MS);
    support::until("the links are counted", || {
        engine.counters().sum("network", Counter::NetworkLinks) == 3
    });
    engine.stop().expect("an orderly stop");
}

#[test]
fn a_watch_of_one_way_delays_sees_those_of_the_network() {
    let config = config(2, constant(2 * MS));
    let served = support::serve(&config);
    let config = support::at(&config, support::addresses_of(&served));
    let watch = OwdWatch::connect(&config, &Procedures::new()).expect("a watch");
    let sample = watch.samples().recv_timeout(support::PATIENCE).expect("an answer");
    assert!(sample.owd.owd >= Nanos::from(2 * MS), "{sample:?}");
    assert!(sample.owd.rtt >= Some(Nanos::from(4 * MS)), "{sample:?}");
    watch.stop();
    served.stop().expect("an orderly stop");
}

#[test]
fn why_a_shard_cannot_be_reached_is_told_through_the_network_too() {
    let config = support::on_any_port(&config(1, constant(MS)));
    let served = Engine::serve(config.clone()).start_shards().expect("shards are served");
    let config = support::at(&config, support::addresses_of(&served));
    served.stop().expect("an orderly stop");
    let (watcher, events) = support::Watcher::new();
    let engine = Engine::connect(config).start_with(vec![watcher]).expect("workers start");
    let (_, event) = events.recv_timeout(support::PATIENCE).expect("something happens");
    let LinkEvent::Down { why } = event else { panic!("{event:?}") };
    assert!(why.contains("refused"), "{why}");
    engine.stop().expect("an orderly stop");
}

#[test]
fn a_core_outside_the_mask_is_refused_before_anything_starts() {
    let mut config = config(2, constant(MS));
    if let Some(network) = &mut config.process.network {
        network.core = Some(1023);
    }
    let error = Engine::embedded(config, Transport::Ring).start().map(|_| ()).unwrap_err();
    assert!(matches!(error, EngineError::NetworkCore { core: 1023, .. }), "{error}");
    assert!(error.is_usage());
}

#[test]
fn a_core_that_a_shard_has_too_is_warned_of() {
    let mut config = config(1, constant(MS));
    let start = |config: &Config| {
        let builder = Engine::embedded(config.clone(), Transport::Ring);
        let (engine, _) = builder.start().expect("a start");
        let info = engine.info().clone();
        engine.stop().expect("an orderly stop");
        info
    };
    let is_warned = |warning: &String| warning.starts_with("network.core = ");
    let info = start(&config);
    assert!(!info.warnings.iter().any(is_warned), "{:?}", info.warnings);
    if let Some(network) = &mut config.process.network {
        network.core = Some(info.shard_cores[0]);
    }
    let info = start(&config);
    assert!(info.warnings.iter().any(is_warned), "{:?}", info.warnings);
}

#[test]
fn how_late_batches_left_is_counted_while_there_is_always_one_under_way() {
    let mut config = config(2, constant(MS));
    // Probes never pause.
    config.process.prober.first_for = support::PATIENCE;
    let (engine, _) = Engine::embedded(config, Transport::Ring).start().expect("a start");
    support::until("the longest is counted", || {
        engine.counters().sum("network", Counter::NetworkErrorMaxNs) > 0
    });
    engine.stop().expect("an orderly stop");
}
