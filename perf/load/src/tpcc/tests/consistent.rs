//! What has to hold after any run.

use super::*;
use crate::tpcc::schema::{DISTRICTS, History, Order, Rows};
use crate::workload::Sum as _;
use punctual_runtime::Transaction;
use zerocopy::FromBytes as _;
use zerocopy::little_endian::{U16, U64};

#[test]
fn the_conditions_hold_after_thousands_of_transactions_on_one_shard_and_on_three() {
    for (warehouses, shards) in [(1, 1), (2, 1), (5, 3)] {
        let mut cluster = Cluster::loaded(small(warehouses), shards);
        assert_eq!(cluster.check(), Ok(()), "loaded");
        for _ in 0..4_000 {
            cluster.step();
        }
        assert_eq!(cluster.check(), Ok(()), "{warehouses} warehouses, {shards} shards");
        let done = cluster.done();
        assert!(done.orders.iter().all(|orders| *orders > 200), "{done:?}");
        assert!(done.paid_cents.iter().all(|cents| *cents > 0), "{done:?}");
        assert!(done.rolled_back > 20 && done.delivered > 500, "{done:?}");
        assert_eq!(done.remote > 0, warehouses > 1, "{done:?}");
        assert_eq!(done.spanning > 0, shards > 1, "{done:?}");
        assert!(done.spanning <= done.remote, "{done:?}");
    }
}

#[test]
fn an_unused_item_aborts_on_every_shard_and_leaves_no_trace() {
    let tpcc = Tpcc { rollback: 1.0, remote_items: 0.5, ..small(4) };
    let mut cluster = Cluster::loaded(tpcc, 3);
    let before = trace(&mut cluster);
    let mut most_shards = 0;
    let mut rolled_back = 0;
    while rolled_back < 300 {
        // Drawn and looked at, but only the orders are run.
        cluster.generator.draw();
        if cluster.generator.drawn().kind != crate::tpcc::kind::NEW_ORDER {
            continue;
        }
        let calls = cluster.generator.calls().to_vec();
        most_shards = most_shards.max(calls.len());
        for call in &calls {
            let (verdict, _) = cluster.call(call.procedure, call.shard, call.args());
            assert_eq!(verdict, Verdict::Abort);
        }
        rolled_back += 1;
    }
    assert_eq!(most_shards, 3);
    assert_eq!(trace(&mut cluster), before);
}

#[test]
fn an_order_that_commits_changes_the_trace_which_an_abort_must_not() {
    let mut cluster = Cluster::loaded(Tpcc { rollback: 0.0, ..small(1) }, 1);
    let before = trace(&mut cluster);
    while cluster.done().orders.is_empty() {
        cluster.step();
    }
    assert_ne!(trace(&mut cluster), before);
}

#[test]
fn loading_again_after_a_run_gives_what_loading_once_gave() {
    let mut cluster = Cluster::loaded(small(2), 2);
    let before = trace(&mut cluster);
    cluster.load();
    assert_eq!(trace(&mut cluster), before, "loaded twice");
    for _ in 0..1_000 {
        cluster.step();
    }
    assert_ne!(trace(&mut cluster), before);
    cluster.load();
    assert_eq!(trace(&mut cluster), before, "loaded after a run");
}

#[test]
fn a_smaller_catalogue_than_that_of_an_earlier_bench_has_no_leftovers_to_sell() {
    let mut cluster = Cluster::loaded(Tpcc { items: 300, customers: 40, ..small(2) }, 2);
    for _ in 0..500 {
        cluster.step();
    }
    let again = Tpcc { rollback: 0.5, ..small(2) };
    let place = Place { worker: 0, workers: 1, shards: 2, slots: 1, limits: LIMITS, seed: 11 };
    (cluster.tpcc, cluster.generator) = (again, again.generator(&place));
    cluster.load();
    for _ in 0..1_000 {
        cluster.step();
    }
    assert!(cluster.done().rolled_back > 50, "{:?}", cluster.done());
    assert_eq!(cluster.check(), Ok(()));
}

#[test]
fn delivery_takes_the_oldest_orders_until_there_are_none() {
    let mut cluster = Cluster::loaded(small(1), 1);
    let home = Home::new(1, 1);
    let delivery = crate::tpcc::args::DeliveryArgs {
        date_ms: U64::new(77),
        warehouse: U16::new(1),
        carrier: 7,
        spare: 0,
    };
    // Nine of thirty orders are new.
    for turn in 0..9_u32 {
        let oldest = 22 + turn;
        assert_eq!(cluster.number(Words::NewOrder, home, oldest), i64::from(oldest));
        let word = cluster.number(Words::Order, home, oldest);
        let customer = Order::of_word(word.cast_unsigned()).customer;
        let before = cluster.number(Words::Balance, home, customer);
        let (verdict, results) = cluster.call(args::DELIVERY, 0, delivery.as_bytes());
        assert_eq!(verdict, Verdict::Commit);
        let shown = ResultReader::new(&results).next().and_then(|result| result.value);
        let shown = shown.expect("a result");
        assert_eq!(shown[0], DISTRICTS);
        assert_eq!(shown[1..5], oldest.to_le_bytes());
        let word = cluster.number(Words::Order, home, oldest);
        assert_eq!(Order::of_word(word.cast_unsigned()).carrier, 7);
        assert!(cluster.number(Words::Balance, home, customer) > before);
    }
    let before = trace(&mut cluster);
    let (verdict, results) = cluster.call(args::DELIVERY, 0, delivery.as_bytes());
    assert_eq!(verdict, Verdict::Commit);
    let shown = ResultReader::new(&results).next().and_then(|result| result.value);
    assert_eq!(shown, Some(&[0; 41][..]));
    assert_eq!(trace(&mut cluster), before);
}

#[test]
fn a_payment_by_a_customer_of_another_shard_is_in_both_warehouses() {
    let tpcc = Tpcc { remote_payments: 1.0, ..small(2) };
    let mut cluster = Cluster::loaded(tpcc, 2);
    while cluster.done().payments == 0 {
        cluster.step();
    }
    let done = cluster.done();
    let at = done.paid_cents.iter().position(|cents| *cents > 0).expect("a payment");
    let (home, other) = (at as u16 + 1, 2 - at as u16);
    let paid = done.paid_cents[at] as i64;
    let loaded = 30 * 10 * 1000;
    let home_place = Home::of_warehouse(home);
    assert_eq!(cluster.number(Words::WarehouseYtd, home_place, 0), loaded + paid);
    let rows: Vec<History> = (1..=DISTRICTS)
        .map(|district| Home::new(other, district))
        .filter(|place| cluster.number(Words::HistoryLen, *place, 0) == 31)
        .collect::<Vec<_>>()
        .into_iter()
        .map(|place| cluster.bytes(place, Rows::History.row(place, 30)))
        .map(|bytes| History::read_from_bytes(&bytes).expect("a row"))
        .collect();
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((row.warehouse.get(), row.customer_warehouse.get()), (home, other));
    assert_eq!(i64::from(row.amount_cents.get()), paid);
    assert!(row.data.windows(4).any(|gap| gap == b"    "), "{:?}", row.data);
}

#[test]
fn what_workers_did_and_found_adds_up() {
    let mut cluster = Cluster::loaded(small(3), 1);
    for _ in 0..300 {
        cluster.step();
    }
    let (done, found) = (cluster.done(), cluster.found());
    let mut sum = TpccDone::default();
    sum.add(&done);
    assert_eq!(sum, done);
    let mut nothing = TpccFound::default();
    nothing.add(&found);
    assert_eq!(nothing, found);
    sum.add(&done);
    assert_eq!(sum.committed, 2 * done.committed);
    assert!(cluster.tpcc.check_store(&sum, &found).is_err());
}

#[test]
fn transactions_are_calls_on_the_shards_that_they_touch() {
    let mut cluster = Cluster::empty(Tpcc { remote_items: 0.3, ..small(6) }, 3);
    let mut transaction = Transaction::new(3, LIMITS);
    for _ in 0..500 {
        let kind = cluster.generator.next(&mut transaction).expect("a transaction");
        assert_eq!(kind, cluster.generator.drawn().kind);
        let shards: Vec<_> = transaction.shards().map(|shard| shard.0).collect();
        let meant: Vec<_> = cluster.generator.calls().iter().map(|call| call.shard).collect();
        assert_eq!(shards, meant);
        transaction.clear();
    }
    let mut pieces = 0;
    while cluster.generator.load(&mut transaction) {
        pieces += 1;
        transaction.clear();
    }
    assert_eq!(pieces, cluster.pieces().len());
}
