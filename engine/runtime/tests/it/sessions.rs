//! At most once (protocol R8), seen from the wire: sessions that break off and come back.

use crate::raw::{self, Answer, Peer};
use crate::support;
use punctual_link::Endpoint;
use punctual_runtime::{CloseReason, Config, Counter, Engine, Key, Op};
use punctual_wire::{ReplyStatus, TxnSequence};
use std::thread;

const KEY: Key<'static> = Key::Word(11);

fn served() -> (Engine, Config, Endpoint) {
    let config = support::config(1);
    let served = support::serve(&config);
    let endpoint = served.info().endpoints[0].1.clone();
    (served, config, endpoint)
}

/// A worker of this session on a new connection.
fn session(id: u64, config: &Config, endpoint: &Endpoint) -> Peer {
    Peer::welcomed(endpoint, &raw::hello(0, id, config.cluster.hash()))
}

/// Sends an addition of one and takes the answer.
fn add(peer: &mut Peer, sequence: TxnSequence) -> Answer {
    peer.dispatch(sequence, Op::Add { key: KEY, delta: 1 });
    peer.answer()
}

#[test]
fn a_retry_after_reconnecting_is_answered_from_memory() {
    let (served, config, endpoint) = served();
    let (first, second) = (TxnSequence::new(0, 1), TxnSequence::new(0, 2));
    let mut peer = session(5, &config, &endpoint);
    let answer = add(&mut peer, first);
    assert_eq!(answer.status, ReplyStatus::Committed);
    assert_eq!(answer.numbers, [Some(1)]);
    drop(peer);

    let mut peer = session(5, &config, &endpoint);
    assert_eq!(add(&mut peer, first), answer, "the same outcome, commit timestamp and all");
    // A new use of the slot is a new transaction; so is the same sequence of another session.
    let next = add(&mut peer, second);
    assert_eq!(next.sequence, second);
    assert_eq!(next.numbers, [Some(2)]);
    assert!(next.commit > answer.commit, "commits of a shard strictly increase");
    let other = add(&mut session(6, &config, &endpoint), first);
    assert_eq!(other.sequence, first);
    assert_eq!(other.numbers, [Some(3)]);
    drop(peer);

    let counters = served.counters().clone();
    served.stop().expect("the shard stops");
    assert_eq!(counters.sum("shard0", Counter::Repeated), 1);
    assert_eq!(counters.sum("shard0", Counter::Committed), 3);
}

#[test]
fn a_coordinator_that_vanishes_loses_nothing_but_its_own_work() {
    const ROUNDS: u64 = 20;
    const OTHERS: i64 = 500;
    let (served, config, endpoint) = served();
    let (engine, client) = support::connect(&config, &served);
    thread::scope(|scope| {
        // What others do meanwhile commits, every single one.
        scope.spawn(|| {
            for sum in 1..=OTHERS {
                assert_eq!(support::add(&client, 1, 1), sum);
            }
        });
        for round in 1..=ROUNDS {
            let sequence = TxnSequence::new(0, 1);
            let mut peer = session(100 + round, &config, &endpoint);
            peer.dispatch(sequence, Op::Add { key: KEY, delta: 1 });
            // It dies with the reply on its way. Whether the shard ran the transaction, nobody
            // knows: asking again makes sure, and never runs it twice.
            drop(peer);
            let answer = add(&mut session(100 + round, &config, &endpoint), sequence);
            assert_eq!(answer.status, ReplyStatus::Committed);
            assert_eq!(answer.numbers, [i64::try_from(round).ok()]);
        }
    });
    assert_eq!(support::get(&client, 1), Some(OTHERS));
    engine.stop().expect("the workers stop");
    served.stop().expect("the shard stops");
}

#[test]
fn a_session_that_connects_twice_keeps_the_newer_link() {
    let (served, config, endpoint) = served();
    let mut older = session(5, &config, &endpoint);
    assert_eq!(add(&mut older, TxnSequence::new(0, 1)).numbers, [Some(1)]);
    let mut newer = session(5, &config, &endpoint);
    assert_eq!(older.goodbye(), Some(CloseReason::Replaced));
    drop(older);
    assert_eq!(add(&mut newer, TxnSequence::new(0, 2)).numbers, [Some(2)]);
    // The end of the older link does not end the session: its memory is that of the newer one.
    assert_eq!(add(&mut newer, TxnSequence::new(0, 2)).numbers, [Some(2)]);
    drop(newer);
    served.stop().expect("the shard stops");
}

#[test]
fn a_full_session_table_refuses_newcomers_but_not_its_members() {
    let mut config = support::config(1);
    config.process.sessions_max = 1;
    let served = support::serve(&config);
    let endpoint = served.info().endpoints[0].1.clone();
    let mut member = session(5, &config, &endpoint);
    let mut newcomer = Peer::connect(&endpoint);
    newcomer.say_hello(&raw::hello(0, 6, config.cluster.hash()));
    assert_eq!(newcomer.goodbye(), Some(CloseReason::TooManySessions));
    assert_eq!(add(&mut member, TxnSequence::new(0, 1)).numbers, [Some(1)]);
    drop(member);
    let mut member = session(5, &config, &endpoint);
    assert_eq!(add(&mut member, TxnSequence::new(0, 1)).numbers, [Some(1)]);
    drop(member);
    served.stop().expect("the shard stops");
}

#[test]
fn a_coordinator_that_says_goodbye_leaves_its_place_to_the_next_at_once() {
    let mut config = support::config(1);
    config.process.sessions_max = 1;
    let served = support::serve(&config);
    for sum in 1..=3 {
        let (engine, client) = support::connect(&config, &served);
        assert_eq!(support::add(&client, 11, 1), sum);
        engine.stop().expect("the worker stops");
    }
    served.stop().expect("the shard stops");
}
