//! Everything in one process, over every transport and on both backends.

use crate::support;
use punctual_runtime::config::Backend;
use punctual_runtime::{Client, Counter, Engine, EngineError, IdleStrategy, Transport};
use std::thread;

const TRANSPORTS: [Transport; 3] = [Transport::Ring, Transport::Tcp, Transport::Unix];
const THREADS: u64 = 4;
const TRANSACTIONS_EACH: u64 = 250;
/// Enough for both shards to have some.
const KEYS: u64 = 16;

fn start(backend: Backend, transport: Transport) -> Result<(Engine, Client), EngineError> {
    let mut config = support::config(2);
    config.process.backend = backend;
    config.process.coordinators = 2;
    Engine::embedded(config, transport).start()
}

/// Submits everything of one thread, then waits for all of it.
fn increment(client: &Client) {
    let pending: Vec<_> = (0..TRANSACTIONS_EACH)
        .map(|at| support::submit_add(client, at % KEYS).expect("the engine runs"))
        .collect();
    for pending in &pending {
        let result = support::end_of(pending).expect("the transaction has an outcome");
        assert!(result.is_committed(), "{result:?}");
    }
}

/// Runs a thousand increments from several threads, and checks values, counters and the stop.
fn adds_up(engine: Engine, client: &Client) {
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| increment(client));
        }
    });
    let increments = THREADS * TRANSACTIONS_EACH;
    let sum: i64 = (0..KEYS).filter_map(|key| support::get(client, key)).sum();
    assert_eq!(u64::try_from(sum), Ok(increments));

    let counters = engine.counters().clone();
    engine.stop().expect("an orderly stop");
    let committed = increments + KEYS;
    assert_eq!(counters.sum("worker", Counter::Committed), committed);
    assert_eq!(counters.sum("shard", Counter::Committed), committed);
    assert_eq!(counters.sum("shard", Counter::Ops), committed);
    assert_eq!(counters.sum("shard", Counter::Keys), KEYS);
    for side in ["worker", "shard"] {
        let messages = counters.sum(side, Counter::MessagesSent);
        assert!(messages >= committed, "{messages} messages of the {side}s for {committed}");
    }
    for nobody in [Counter::Aborted, Counter::Refused, Counter::Unknown, Counter::LinksMalformed] {
        assert_eq!(counters.sum("", nobody), 0, "{}", nobody.name());
    }
    for everybody in ["shard0", "shard1", "worker0", "worker1"] {
        assert!(counters.sum(everybody, Counter::Committed) > 0, "{everybody} was idle");
    }
}

#[test]
fn plain_threads_add_up_over_every_transport() {
    for transport in TRANSPORTS {
        let (engine, client) = start(Backend::Threads, transport).expect("plain threads start");
        adds_up(engine, &client);
    }
}

#[test]
fn glommio_adds_up_over_every_transport() {
    for transport in TRANSPORTS {
        match start(Backend::Glommio, transport) {
            Ok((engine, client)) => {
                assert_eq!(engine.info().backend, Backend::Glommio);
                adds_up(engine, &client);
            }
            Err(EngineError::Glommio { why }) => {
                return support::skip(&format!("io_uring not available, allow io_uring ({why})"));
            }
            Err(error) => panic!("{transport:?}: {error}"),
        }
    }
}

#[test]
fn values_of_several_reads_arrive_whole_in_both_directions() {
    const KEYS: [&str; 4] = ["{big}a", "{big}b", "{big}c", "{big}d"];
    let value = |of: usize| -> Vec<u8> { (of..of + 250_000).map(|at| (at % 251) as u8).collect() };
    for transport in TRANSPORTS {
        let mut config = support::config(2);
        // A core that slept while half a frame waits would show here as a long wait.
        config.process.idle = IdleStrategy::Park;
        let (engine, client) = Engine::embedded(config, transport).start().expect("a start");
        let mut puts = client.transaction();
        let mut gets = client.transaction();
        for (of, key) in KEYS.into_iter().enumerate() {
            puts.put(key, &value(of));
            gets.get(key);
        }
        support::commit(&client, &mut puts);
        let result = support::commit(&client, &mut gets);
        for of in 0..KEYS.len() {
            assert!(result.value(of) == Some(value(of).as_slice()), "{transport:?}: value {of}");
        }
        engine.stop().expect("an orderly stop");
    }
}
