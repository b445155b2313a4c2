//! Two engines that meet over TCP, as if they were two processes.

use crate::raw::Peer;
use crate::support::{self, PATIENCE, Watcher};
use punctual_link::Endpoint;
use punctual_runtime::config::Address;
use punctual_runtime::{
    Client, ClientError, Config, Counter, Engine, LinkEvent, Outcome, Pending, ShardId,
    SubmitError, TransactionResult, UnknownReason,
};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A listener of our own, and its address for a configuration.
fn listener() -> (TcpListener, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket").to_string();
    (listener, Address::Tcp(address))
}

#[test]
fn two_engines_of_one_process_work_together_over_tcp() {
    const EACH: u64 = 200;
    let mut config = support::config(2);
    config.process.coordinators = 2;
    let served = support::serve(&config);
    assert_eq!(served.info().endpoints.len(), 2);
    let distinct = |(_, endpoint): &(u16, Endpoint)| endpoint.to_string();
    let ports: BTreeSet<_> = served.info().endpoints.iter().map(distinct).collect();
    assert_eq!(ports.len(), 2, "every shard has an address of its own: {ports:?}");

    let (engine, client) = support::connect(&config, &served);
    let keys = [support::key_on(0, 2), support::key_on(1, 2)];
    thread::scope(|scope| {
        for key in keys {
            let client = &client;
            scope.spawn(move || {
                let taken = (0..EACH).map(|_| support::submit_add(client, key));
                let pending: Vec<_> = taken.map(|taken| taken.expect("it is taken")).collect();
                for pending in &pending {
                    let result = support::end_of(pending).expect("an outcome");
                    assert!(result.is_committed(), "{result:?}");
                }
            });
        }
    });
    for key in keys {
        assert_eq!(support::get(&client, key), i64::try_from(EACH).ok());
    }
    let [of_workers, of_shards] = [engine.counters().clone(), served.counters().clone()];
    // Two workers and a prober to two shards, and the link between these, which has two ends.
    let links = || of_shards.sum("shard", Counter::LinksOpened);
    support::until("all links are up", || links() == 3 * 2 + 2);
    engine.stop().expect("the workers stop");
    served.stop().expect("the shards stop");
    assert_eq!(of_workers.sum("worker", Counter::Committed), 2 * EACH + 2);
    assert_eq!(of_shards.sum("shard", Counter::Committed), 2 * EACH + 2);
    assert_eq!(of_shards.sum("shard0", Counter::Committed), EACH + 1);
    assert_eq!(links(), 3 * 2 + 2, "nobody connects twice");
}

/// Submits until told to end, whatever becomes of it.
fn flood(client: &Client, key: u64, enough: &AtomicBool) -> Vec<Pending> {
    let (start, mut pending) = (Instant::now(), Vec::new());
    while !enough.load(Ordering::Relaxed) && start.elapsed() < PATIENCE {
        let mut transaction = client.transaction();
        transaction.add(key, 1);
        match client.submit(&mut transaction) {
            Ok(taken) => pending.push(taken),
            Err(ClientError::QueueFull) => thread::yield_now(),
            Err(error) => panic!("the workers run on: {error}"),
        }
    }
    pending
}

/// The sums that commits of one key reported. Everything else must be an end that a dead shard
/// explains.
fn committed_sums(pending: &[Pending]) -> Vec<i64> {
    let mut sums = Vec::new();
    for pending in pending {
        match support::end_of(pending) {
            Ok(result) if result.is_committed() => {
                sums.push(result.number(0).expect("an addition yields the sum"));
            }
            Ok(result) => {
                assert_eq!(result.outcome, Outcome::Unknown(UnknownReason::Deadline));
            }
            Err(error) => {
                let known = matches!(error, ClientError::NotSent(_) | ClientError::LineFull(_));
                assert!(known, "{error}");
            }
        }
    }
    sums
}

#[test]
fn shards_that_stop_under_load_leave_no_transaction_without_an_end() {
    const BEFORE: i64 = 50;
    let mut config = support::config(2);
    config.process.coordinators = 2;
    config.process.request_timeout = Duration::from_millis(100);
    config.process.deadline = Duration::from_secs(1);
    let served = support::serve(&config);
    let counters = served.counters().clone();
    let (engine, client) = support::connect(&config, &served);
    let keys = [support::key_on(0, 2), support::key_on(1, 2)];
    for key in keys {
        for sum in 1..=BEFORE {
            assert_eq!(support::add(&client, key, 1), sum);
        }
        assert_eq!(support::get(&client, key), Some(BEFORE));
    }

    let enough = AtomicBool::new(false);
    let pending = thread::scope(|scope| {
        let (client, enough) = (&client, &enough);
        let floods = keys.map(|key| scope.spawn(move || flood(client, key, enough)));
        let before = counters.sum("shard", Counter::Committed);
        support::until("the flood flows", || {
            counters.sum("shard", Counter::Committed) > before + 1000
        });
        let stopped = served.stop();
        enough.store(true, Ordering::Relaxed);
        stopped.expect("the shards stop while replies are in flight");
        floods.map(|flood| flood.join().expect("no panic"))
    });
    // The store went with its shards. What is left to check: nobody was told of an addition that
    // did not happen, and none happened twice, for then a sum would be missing or doubled.
    let mut acknowledged = 0;
    for pending in &pending {
        let sums = committed_sums(pending);
        let distinct: BTreeSet<_> = sums.iter().copied().collect();
        assert_eq!(distinct.len(), sums.len(), "two commits with one sum");
        assert!(sums.iter().all(|sum| *sum > BEFORE), "a sum from before");
        acknowledged += sums.len() as u64;
    }
    let ran = counters.sum("shard", Counter::Ops);
    let quiet = 2 * (BEFORE.unsigned_abs() + 1);
    assert!(acknowledged + quiet <= ran, "{acknowledged} and {quiet} acknowledged, {ran} ran");
    engine.stop().expect("the workers stop");
}

/// Shard 0 is served, and for shard 1 the kernel accepts and nobody ever says a word.
fn half_silent(config: &Config) -> (TcpListener, Engine, Engine, Client) {
    let (silent, address) = listener();
    let mut alive = support::at(config, vec![Address::Tcp("127.0.0.1:0".to_owned()), address]);
    alive.process.serve = Some(vec![0]);
    let served = Engine::serve(alive.clone()).start_shards().expect("shard 0 is served");
    alive.cluster.addresses[0] = support::addresses_of(&served).remove(0);
    let (engine, client) = Engine::connect(alive).start().expect("workers start");
    (silent, served, engine, client)
}

#[test]
fn a_shard_that_never_answers_costs_the_others_nothing() {
    const EACH: usize = 100;
    let mut config = support::config(2);
    config.process.connect_timeout = Duration::from_millis(200);
    config.process.deadline = Duration::from_secs(3);
    let (silent, served, engine, client) = half_silent(&config);
    let keys = [support::key_on(0, 2), support::key_on(1, 2)];
    let pending: Vec<_> = (0..2 * EACH)
        .map(|at| support::submit_add(&client, keys[at % 2]).expect("it is taken"))
        .collect();
    for (at, pending) in pending.iter().enumerate() {
        let end = support::end_of(pending);
        if at % 2 == 0 {
            assert!(end.as_ref().is_ok_and(TransactionResult::is_committed), "{end:?}");
        } else {
            let blocked = SubmitError::LinkBlocked(ShardId(1));
            assert_eq!(end, Err(ClientError::NotSent(blocked)));
        }
    }
    assert_eq!(support::get(&client, keys[0]), i64::try_from(EACH).ok());
    engine.stop().expect("the workers stop");
    served.stop().expect("the shard stops");
    drop(silent);
}

#[test]
fn a_full_line_for_a_shard_out_of_reach_refuses_the_next_and_holds_up_nobody() {
    const LINE: u32 = 4;
    let mut config = support::config(2);
    config.process.in_flight = LINE;
    config.process.deadline = Duration::from_secs(3);
    let (silent, served, engine, client) = half_silent(&config);
    let keys = [support::key_on(0, 2), support::key_on(1, 2)];
    let pending: Vec<_> = (0..4 * LINE)
        .map(|_| support::submit_add(&client, keys[1]).expect("it is taken"))
        .collect();
    assert_eq!(support::add(&client, keys[0], 1), 1, "the other shard is not held up");
    let blocked = SubmitError::LinkBlocked(ShardId(1));
    let ends: Vec<_> = pending.iter().map(support::end_of).collect();
    assert_eq!(ends[0], Err(ClientError::NotSent(blocked)), "it waited to its deadline");
    assert!(ends.contains(&Err(ClientError::LineFull(blocked))), "{ends:?}");
    engine.stop().expect("the workers stop");
    served.stop().expect("the shard stops");
    drop(silent);
}

#[test]
fn a_transaction_on_several_shards_waits_for_the_one_out_of_reach_and_holds_up_nobody() {
    const OTHERS: i64 = 20;
    let mut config = support::config(2);
    config.process.connect_timeout = Duration::from_millis(200);
    config.process.deadline = Duration::from_secs(3);
    let (silent, served, engine, client) = half_silent(&config);
    let keys = [support::key_on(0, 2), support::key_on(1, 2)];
    let waiting = support::submit_adds(&client, &keys).expect("it is taken");
    for sum in 1..=OTHERS {
        assert_eq!(support::add(&client, keys[0], 1), sum, "the other shard is not held up");
    }
    let blocked = SubmitError::LinkBlocked(ShardId(1));
    assert_eq!(support::end_of(&waiting), Err(ClientError::NotSent(blocked)));
    assert_eq!(support::get(&client, keys[0]), Some(OTHERS), "nothing of it was done");
    engine.stop().expect("the workers stop");
    served.stop().expect("the shard stops");
    drop(silent);
}

#[test]
fn a_connection_that_is_not_welcomed_in_time_is_given_up_and_tried_again() {
    const TRIES: usize = 8;
    let (silent, address) = listener();
    let mut config = support::at(&support::config(1), vec![address]);
    // With the default of 5 s the tries would take longer than the patience.
    config.process.connect_timeout = Duration::from_millis(20);
    let (watcher, events) = Watcher::new();
    let engine = Engine::connect(config).start_with(vec![watcher]).expect("workers start");
    let start = Instant::now();
    for _ in 0..TRIES {
        let (_, event) = events.recv_timeout(PATIENCE).expect("another try");
        let LinkEvent::Down { why } = event else { panic!("{event:?} from a silent peer") };
        assert!(why.contains("no welcome in time"), "{why}");
    }
    assert!(start.elapsed() < PATIENCE, "the timeout of the configuration does not hold");
    engine.stop().expect("the workers stop");
    drop(silent);
}

#[test]
fn what_a_silent_link_took_is_sent_again_and_ends_as_unknown_at_its_deadline() {
    let (listener, address) = listener();
    let mut config = support::at(&support::config(1), vec![address]);
    config.process.request_timeout = Duration::from_millis(50);
    config.process.deadline = Duration::from_secs(2);
    let (engine, client) = Engine::connect(config).start().expect("workers start");
    let (stream, _) = listener.accept().expect("a worker connects");
    let mut peer = Peer::new(stream);
    peer.welcome(1);
    let pending = support::submit_add(&client, 1).expect("it is taken");
    let bytes = |peer: &mut Peer| peer.next_frame(|frame| (frame.kind, frame.body.to_vec()));
    let first = bytes(&mut peer).expect("the link is open");
    assert_eq!(bytes(&mut peer), Some(first), "a retry is the same, id and all");
    let result = support::end_of(&pending).expect("an outcome");
    assert_eq!(result.outcome, Outcome::Unknown(UnknownReason::Deadline));
    let counters = engine.counters().clone();
    engine.stop().expect("the workers stop");
    assert!(counters.sum("worker", Counter::Retries) >= 1);
    assert_eq!(counters.sum("worker", Counter::Unknown), 1);
}
