//! Transactions on several shards of one process: all of it at one time, or nothing.

use crate::support::{self, PATIENCE};
use punctual_runtime::config::{Backend, CoreList};
use punctual_runtime::{
    Client, ClientError, Counter, Counters, Engine, EngineError, IdleStrategy, Key, Outcome,
    Pending, ProcedureContext, Procedures, TransactionResult, Transport, UnknownReason, Verdict,
    host,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

/// Enough for each of three shards to have some.
const ACCOUNTS: u64 = 16;
const BALANCE: i64 = 1000;
const TELLERS: u64 = 3;
const TRANSFERS_EACH: u64 = 80;
const TRANSPORTS: [Transport; 2] = [Transport::Ring, Transport::Tcp];

fn start(shards: u16, transport: Transport) -> (Engine, Client) {
    let mut config = support::config(shards);
    config.process.coordinators = 2;
    Engine::embedded(config, transport).start().expect("a start")
}

/// The smallest key of each shard.
fn key_of_each(shards: u16) -> Vec<u64> {
    (0..shards).map(|shard| support::key_on(shard, shards)).collect()
}

/// One addition to each of these keys, in one transaction that has to commit.
fn add_to_all(client: &Client, keys: &[u64]) -> TransactionResult {
    let pending = support::submit_adds(client, keys).expect("it is taken");
    let result = support::end_of(&pending).expect("an outcome");
    assert!(result.is_committed(), "{result:?}");
    result
}

/// What can only happen where a rule of the protocol is broken, or a peer is lost or lies.
fn assert_nothing_strange(counters: &Counters) {
    let strange = [
        Counter::CommitMismatch,
        Counter::VerdictsDiffer,
        Counter::Unknown,
        Counter::Refused,
        Counter::RefusedByTimeout,
        Counter::PeerLost,
        Counter::Foreign,
        Counter::LinksMalformed,
        Counter::HandshakesRefused,
        Counter::Held,
    ];
    for counter in strange {
        assert_eq!(counters.sum("", counter), 0, "{}", counter.name());
    }
}

/// Moves money from one account to another, from round to round between others.
fn transfer(client: &Client, round: u64) -> Pending {
    let from = round % ACCOUNTS;
    let to = (from + 1 + round / ACCOUNTS % (ACCOUNTS - 1)) % ACCOUNTS;
    let mut transfer = client.transaction();
    transfer.add(from, -7).add(to, 7);
    support::submit(client, &mut transfer).expect("it is taken")
}

/// All balances, read in one transaction.
fn sum_of_balances(client: &Client) -> i64 {
    let mut audit = client.transaction();
    for account in 0..ACCOUNTS {
        audit.get(account);
    }
    let result = support::commit(client, &mut audit);
    (0..result.results.len()).filter_map(|at| result.number(at)).sum()
}

/// Tellers transfer while an auditor reads everything at once.
fn transfers_keep_the_sum(client: &Client) {
    let total = BALANCE * ACCOUNTS.cast_signed();
    let mut open = client.transaction();
    for account in 0..ACCOUNTS {
        open.add(account, BALANCE);
    }
    support::commit(client, &mut open);
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        let auditor = scope.spawn(|| {
            let start = Instant::now();
            while !enough.load(Ordering::Relaxed) && start.elapsed() < PATIENCE {
                assert_eq!(sum_of_balances(client), total, "money on its way was seen");
            }
        });
        let tellers = (0..TELLERS).map(|teller| {
            scope.spawn(move || {
                let rounds = (0..TRANSFERS_EACH).map(|round| TELLERS * round + teller);
                let pending: Vec<_> = rounds.map(|round| transfer(client, round)).collect();
                for pending in &pending {
                    let result = support::end_of(pending).expect("an outcome");
                    assert!(result.is_committed(), "{result:?}");
                }
            })
        });
        let tellers: Vec<_> = tellers.collect();
        for teller in tellers {
            teller.join().expect("all transfers commit");
        }
        enough.store(true, Ordering::Relaxed);
        auditor.join().expect("all audits agree");
    });
    assert_eq!(sum_of_balances(client), total);
}

#[test]
fn transfers_between_shards_keep_the_sum_and_nobody_sees_half_of_one() {
    for shards in [2, 3] {
        for transport in TRANSPORTS {
            let (engine, client) = start(shards, transport);
            transfers_keep_the_sum(&client);
            let counters = engine.counters().clone();
            engine.stop().expect("an orderly stop");
            assert_nothing_strange(&counters);
            let stamped = counters.sum("worker", Counter::Stamped);
            assert!(stamped > 0, "{transport:?}: no transaction was on several shards");
            let pieces = counters.sum("shard", Counter::Stamped);
            assert!(pieces >= 2 * stamped, "{transport:?}: {pieces} pieces of {stamped}");
            assert!(counters.sum("shard", Counter::ProposalsSent) >= pieces);
            for shard in 0..shards {
                assert!(counters.sum(&format!("shard{shard}"), Counter::Stamped) > 0, "{shard}");
            }
        }
    }
}

#[test]
fn results_come_in_the_order_of_the_operations_whichever_shards_they_are_of() {
    let (engine, client) = start(3, Transport::Ring);
    let mut transaction = client.transaction();
    for key in (0..ACCOUNTS).rev() {
        transaction.add(key, 100 + key.cast_signed());
    }
    let result = support::commit(&client, &mut transaction);
    let numbers: Vec<_> = (0..result.results.len()).map(|at| result.number(at)).collect();
    let expected = (0..ACCOUNTS).rev().map(|key| Some(100 + key.cast_signed()));
    assert_eq!(numbers, expected.collect::<Vec<_>>());
    engine.stop().expect("an orderly stop");
}

#[test]
fn an_answered_transaction_is_seen_by_all_that_come_after() {
    const ROUNDS: i64 = 60;
    for transport in TRANSPORTS {
        // Clients take turns among the workers, so readers and writers are not the same.
        let (engine, client) = start(2, transport);
        let keys = key_of_each(2);
        for round in 1..=ROUNDS {
            let result = add_to_all(&client, &keys);
            assert_eq!([result.number(0), result.number(1)], [Some(round); 2]);
            for key in &keys {
                assert_eq!(support::get(&client, *key), Some(round), "{transport:?}");
            }
        }
        engine.stop().expect("an orderly stop");
    }
}

/// How they ended: each of them has to commit.
fn results(pending: &[Pending]) -> Vec<TransactionResult> {
    let result = |pending: &Pending| {
        let result = support::end_of(pending).expect("an outcome");
        assert!(result.is_committed(), "{result:?}");
        result
    };
    pending.iter().map(result).collect()
}

#[test]
fn additions_on_one_and_on_several_shards_are_neither_lost_nor_doubled() {
    const EACH: usize = 150;
    for transport in TRANSPORTS {
        let (engine, client) = start(2, transport);
        let keys = key_of_each(2);
        let run = |keys: &[u64]| -> Vec<TransactionResult> {
            let submit = |_| support::submit_adds(&client, keys).expect("it is taken");
            let pending: Vec<Pending> = (0..EACH).map(submit).collect();
            results(&pending)
        };
        let (both, first, second) = thread::scope(|scope| {
            let both = scope.spawn(|| run(&keys[..]));
            let first = scope.spawn(|| run(&keys[..1]));
            let second = run(&keys[1..]);
            (both.join().expect("no panic"), first.join().expect("no panic"), second)
        });
        for (place, alone) in [(0, &first), (1, &second)] {
            let of_both = both.iter().map(|result| result.number(place));
            let mut sums: Vec<_> = of_both.chain(alone.iter().map(|it| it.number(0))).collect();
            sums.sort_unstable();
            let expected: Vec<_> = (1..).take(2 * EACH).map(Some).collect();
            assert_eq!(sums, expected, "{transport:?}: each sum is reported once");
        }
        let counters = engine.counters().clone();
        engine.stop().expect("an orderly stop");
        assert_nothing_strange(&counters);
    }
}

#[test]
fn shards_wake_each_other_and_those_on_one_core_have_no_need_to() {
    // With a wake-up lost, a proposal would wait until a sleeping core looks round by itself, 50 ms
    // on average: all of them together longer than the patience.
    const ROUNDS: i64 = 700;
    let core = host::allowed_cores()[0];
    let cases = [(true, Transport::Ring), (false, Transport::Ring), (false, Transport::Tcp)];
    for (shared, transport) in cases {
        let mut config = support::config(2);
        config.process.idle = IdleStrategy::Park;
        if shared {
            config.process.placement.shards = CoreList::Cores(vec![core]);
        }
        let (engine, client) = Engine::embedded(config, transport).start().expect("a start");
        let (keys, start) = (key_of_each(2), Instant::now());
        for round in 1..=ROUNDS {
            assert_eq!(add_to_all(&client, &keys).number(1), Some(round));
            assert!(start.elapsed() < PATIENCE, "only {round} of {ROUNDS} transactions");
        }
        engine.stop().expect("an orderly stop");
    }
}

#[test]
fn every_transaction_in_flight_at_a_stop_runs_on_all_its_shards_or_on_none() {
    const THREADS: usize = 3;
    for transport in TRANSPORTS {
        let (engine, client) = start(2, transport);
        let (keys, counters) = (key_of_each(2), engine.counters().clone());
        let flood = || {
            let (start, mut pending) = (Instant::now(), Vec::new());
            while start.elapsed() < PATIENCE
                && let Ok(taken) = support::submit_adds(&client, &keys)
            {
                pending.push(taken);
            }
            for pending in &pending {
                match support::end_of(pending) {
                    Err(ClientError::Stopped) => {}
                    end => {
                        assert!(end.as_ref().is_ok_and(TransactionResult::is_committed), "{end:?}");
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(flood);
            }
            support::until("the flood flows", || counters.sum("worker", Counter::Committed) > 100);
            engine.stop().expect("an orderly stop");
        });
        let committed = counters.sum("worker", Counter::Committed);
        for shard in ["shard0", "shard1"] {
            assert_eq!(counters.sum(shard, Counter::Committed), committed, "{transport:?}");
        }
        assert_nothing_strange(&counters);
    }
}

const CHANGE: u16 = 3;

/// Adds to a number that must not become negative: the key, then what to add.
fn change(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    let (Some(key), Some(delta)) = (args.first_chunk(), args.last_chunk()) else {
        return Verdict::Abort;
    };
    let sum = context.add(Key::Word(u64::from_le_bytes(*key)), i64::from_le_bytes(*delta));
    if sum.is_some_and(|sum| sum >= 0) { Verdict::Commit } else { Verdict::Abort }
}

/// Calls the procedure for each key, in one transaction.
fn change_all(client: &Client, changes: &[(u64, i64)]) -> TransactionResult {
    let mut calls = client.transaction();
    for (key, delta) in changes {
        let args = [key.to_le_bytes(), delta.to_le_bytes()].concat();
        calls.call(CHANGE, *key, &args);
    }
    let pending = client.submit(&mut calls).expect("it is taken");
    support::end_of(&pending).expect("an outcome")
}

#[test]
fn calls_on_several_shards_commit_or_abort_together_and_a_difference_is_told() {
    let mut procedures = Procedures::new();
    procedures.register(CHANGE, "change", change).expect("the id is free");
    let engine = Engine::embedded(support::config(2), Transport::Ring).procedures(procedures);
    let (engine, client) = engine.start().expect("a start");
    let keys = key_of_each(2);
    let balances = || [support::get(&client, keys[0]), support::get(&client, keys[1])];

    let result = change_all(&client, &[(keys[0], 10), (keys[1], 20)]);
    assert!(matches!(result.outcome, Outcome::Committed { .. }), "{result:?}");
    assert_eq!(balances(), [Some(10), Some(20)]);
    let result = change_all(&client, &[(keys[0], -11), (keys[1], -21)]);
    assert!(matches!(result.outcome, Outcome::Aborted { .. }), "{result:?}");
    assert_eq!(balances(), [Some(10), Some(20)]);
    let result = change_all(&client, &[(keys[0], -5), (keys[1], -21)]);
    assert_eq!(result.outcome, Outcome::Unknown(UnknownReason::VerdictsDiffer));
    assert_eq!(balances(), [Some(5), Some(20)]);

    let counters = engine.counters().clone();
    engine.stop().expect("an orderly stop");
    assert_eq!(counters.sum("worker", Counter::VerdictsDiffer), 1);
    assert_eq!(counters.sum("worker", Counter::CommitMismatch), 0);
}

#[test]
fn glommio_runs_transactions_on_several_shards_as_well() {
    let mut config = support::config(2);
    config.process.backend = Backend::Glommio;
    match Engine::embedded(config, Transport::Tcp).start() {
        Ok((engine, client)) => {
            transfers_keep_the_sum(&client);
            engine.stop().expect("an orderly stop");
        }
        Err(EngineError::Glommio { why }) => {
            support::skip(&format!("io_uring not available, allow io_uring ({why})"));
        }
        Err(error) => panic!("{error}"),
    }
}
