//! Shards that come back without their memory.

use crate::raw::Peer;
use crate::support;
use punctual_runtime::config::{Address, Config};
use punctual_runtime::{Counter, Engine, Outcome, UnknownReason};
use std::net::TcpListener;

/// Serves one shard, stops it, serves it again at the same address, with a worker that notices by
/// itself.
fn restarts_at(config: &Config) {
    let served = Engine::serve(config.clone()).start_shards().expect("the shard is served");
    let config = support::at(config, support::addresses_of(&served));
    let (engine, client) = Engine::connect(config.clone()).start().expect("workers start");
    for sum in 1..=3 {
        assert_eq!(support::add(&client, 1, 1), sum);
    }
    served.stop().expect("the shard stops");

    let served = Engine::serve(config).start_shards().expect("the address is free again");
    let sum = loop {
        let pending = support::submit_add(&client, 1).expect("it is taken");
        let result = support::end_of(&pending).expect("an outcome");
        if result.is_committed() {
            break result.number(0);
        }
        // Sent before the worker saw the old link end: a fresh shard never runs it.
        assert_eq!(result.outcome, Outcome::Unknown(UnknownReason::ShardRestarted));
    };
    assert_eq!(sum, Some(1), "the memory is fresh");
    assert_eq!(support::add(&client, 1, 1), 2);

    let counters = engine.counters().clone();
    engine.stop().expect("the workers stop");
    served.stop().expect("the shard stops");
    assert_eq!(counters.sum("worker", Counter::LinksOpened), 2);
    assert_eq!(counters.sum("worker", Counter::LinksClosed), 1);
}

#[test]
fn workers_find_a_shard_again_that_restarts_at_its_port() {
    restarts_at(&support::on_any_port(&support::config(1)));
}

#[test]
fn workers_find_a_shard_again_that_restarts_at_its_socket_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = Address::Unix(folder.path().join("0.sock"));
    restarts_at(&support::at(&support::config(1), vec![socket]));
}

#[test]
fn what_was_in_flight_to_a_shard_that_lost_its_memory_ends_as_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket").to_string();
    let config = support::at(&support::config(1), vec![Address::Tcp(address)]);
    let (engine, client) = Engine::connect(config.clone()).start().expect("workers start");

    // The first life of the shard: it takes a transaction and dies without an answer.
    let (stream, _) = listener.accept().expect("a worker connects");
    let mut peer = Peer::new(stream);
    peer.welcome(1);
    let pending = support::submit_add(&client, 1).expect("it is taken");
    assert!(!peer.is_closed(), "the transaction arrives");
    drop(listener);
    drop(peer);

    let served = Engine::serve(config).start_shards().expect("the port is free again");
    let result = support::end_of(&pending).expect("an outcome");
    assert_eq!(result.outcome, Outcome::Unknown(UnknownReason::ShardRestarted));
    assert_eq!(support::add(&client, 1, 1), 1, "it ran nowhere, and others run again");
    let counters = engine.counters().clone();
    engine.stop().expect("the workers stop");
    served.stop().expect("the shard stops");
    assert_eq!(counters.sum("worker", Counter::Unknown), 1);
    assert_eq!(counters.sum("worker", Counter::Committed), 1);
}
