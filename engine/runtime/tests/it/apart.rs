//! Shards in processes of their own, as several engines play them: they find each other in any
//! order, and one that comes back empty holds up nobody for long.

use crate::support::{self, PATIENCE};
use punctual_runtime::config::{Address, Config};
use punctual_runtime::{
    Client, ClientError, Counter, Engine, Outcome, RefusedReason, TransactionResult, UnknownReason,
};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The same configuration with a socket file for each shard: addresses known beforehand.
fn at_sockets(config: &Config, folder: &Path) -> Config {
    let socket = |shard| Address::Unix(folder.join(format!("{shard}.sock")));
    support::at(config, (0..config.cluster.shards).map(socket).collect())
}

/// Serves one shard of a cluster.
fn serve(config: &Config, shard: u16) -> Engine {
    let mut config = config.clone();
    config.process.serve = Some(vec![shard]);
    Engine::serve(config).start_shards().expect("the shard is served")
}

/// Adds one to the keys, in one transaction that has to commit.
fn add_to_all(client: &Client, keys: &[u64]) -> TransactionResult {
    let pending = support::submit_adds(client, keys).expect("it is taken");
    let result = support::end_of(&pending).expect("an outcome");
    assert!(result.is_committed(), "{result:?}");
    result
}

#[test]
fn shards_of_two_processes_find_each_other_in_either_order() {
    for order in [[0, 1], [1, 0]] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = at_sockets(&support::config(2), folder.path());
        let keys = [support::key_on(0, 2), support::key_on(1, 2)];
        let first = serve(&config, order[0]);
        let (engine, client) = Engine::connect(config.clone()).start().expect("workers start");
        let alone = keys[usize::from(order[0])];
        assert_eq!(support::add(&client, alone, 5), 5, "one shard serves alone");
        let waiting = support::submit_adds(&client, &keys).expect("it is taken");
        let second = serve(&config, order[1]);
        let result = support::end_of(&waiting).expect("an outcome");
        assert!(result.is_committed(), "{order:?}: {result:?}");
        for _ in 0..20 {
            add_to_all(&client, &keys);
        }
        let expected = keys.map(|key| if key == alone { Some(26) } else { Some(21) });
        assert_eq!(keys.map(|key| support::get(&client, key)), expected, "{order:?}");

        let counters = [first.counters().clone(), second.counters().clone()];
        engine.stop().expect("the workers stop");
        first.stop().expect("the shard stops");
        second.stop().expect("the shard stops");
        for counters in counters {
            assert_eq!(counters.sum("shard", Counter::Stamped), 21, "{order:?}");
            assert_eq!(counters.sum("shard", Counter::Foreign), 0, "{order:?}");
        }
    }
}

#[test]
fn the_lower_shard_connects_to_the_higher_over_tcp() {
    let any = Address::Tcp("127.0.0.1:0".to_owned());
    let config = support::on_any_port(&support::config(2));
    let higher = serve(&config, 1);
    let at_higher = support::addresses_of(&higher).remove(0);
    let lower = serve(&support::at(&config, vec![any, at_higher.clone()]), 0);
    let at_lower = support::addresses_of(&lower).remove(0);
    let reaching = support::at(&config, vec![at_lower, at_higher]);
    let (engine, client) = Engine::connect(reaching).start().expect("workers start");
    let keys = [support::key_on(0, 2), support::key_on(1, 2)];
    for sum in 1..=20 {
        let result = add_to_all(&client, &keys);
        assert_eq!([result.number(0), result.number(1)], [Some(sum); 2]);
    }
    engine.stop().expect("the workers stop");
    higher.stop().expect("the shard stops");
    lower.stop().expect("the shard stops");
}

/// How the transactions of one thread ended.
#[derive(Default)]
struct Ends {
    committed: i64,
    unknown: i64,
}

/// Adds to the keys again and again, whatever becomes of it: every end must be one that a shard
/// without memory explains.
fn keep_trying(client: &Client, keys: &[u64], commits: &AtomicU64, enough: &AtomicBool) -> Ends {
    let (start, mut ends) = (Instant::now(), Ends::default());
    while !enough.load(Ordering::Relaxed) && start.elapsed() < PATIENCE {
        let pending = support::submit_adds(client, keys).expect("it is taken");
        match support::end_of(&pending).map(|result| result.outcome) {
            Ok(Outcome::Committed { .. }) => {
                ends.committed += 1;
                commits.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Outcome::Unknown(UnknownReason::ShardRestarted | UnknownReason::Deadline)) => {
                ends.unknown += 1;
            }
            Ok(Outcome::Refused(RefusedReason::PeerLost | RefusedReason::DispatchTimeout)) => {}
            Err(ClientError::NotSent(_) | ClientError::LineFull(_)) => {}
            end => panic!("nobody expects {end:?}"),
        }
    }
    ends
}

#[test]
fn a_shard_that_comes_back_empty_ends_what_was_in_flight_and_holds_up_nothing_else() {
    const THREADS: usize = 4;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = at_sockets(&support::config(2), folder.path());
    config.process.request_timeout = Duration::from_millis(50);
    config.process.deadline = Duration::from_secs(10);
    config.cluster.dispatch_timeout = Duration::from_millis(500);
    let (first, second) = (serve(&config, 0), serve(&config, 1));
    let (engine, client) = Engine::connect(config.clone()).start().expect("workers start");
    let keys = [support::key_on(0, 2), support::key_on(1, 2)];
    let other = support::keys_on(0, 2).nth(1).expect("every shard has keys");
    let (commits, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    let many_more = |what| {
        let before = commits.load(Ordering::Relaxed);
        support::until(what, || commits.load(Ordering::Relaxed) > before + 50);
    };
    thread::scope(|scope| {
        let keep_trying = || keep_trying(&client, &keys, &commits, &enough);
        let trying: Vec<_> = (0..THREADS).map(|_| scope.spawn(keep_trying)).collect();
        let alone = scope.spawn(|| {
            let (start, mut sum) = (Instant::now(), 0);
            while !enough.load(Ordering::Relaxed) && start.elapsed() < PATIENCE {
                sum += 1;
                assert_eq!(support::add(&client, other, 1), sum, "the other shard is fine");
            }
        });
        many_more("transactions on both commit");
        second.stop().expect("the shard stops");
        let second = serve(&config, 1);
        many_more("transactions on both commit again");
        enough.store(true, Ordering::Relaxed);
        alone.join().expect("nothing on the other shard fails");
        let mut ends = Ends::default();
        for trying in trying {
            let Ends { committed, unknown } = trying.join().expect("every end is explained");
            ends.committed += committed;
            ends.unknown += unknown;
        }
        let there = support::get(&client, keys[0]).expect("it was added to");
        let possible = ends.committed..=ends.committed + ends.unknown;
        assert!(possible.contains(&there), "{there} is not in {possible:?}");
        let counters = engine.counters().clone();
        engine.stop().expect("the workers stop");
        first.stop().expect("the shard stops");
        second.stop().expect("the shard stops");
        assert_eq!(counters.sum("worker", Counter::CommitMismatch), 0);
    });
}
