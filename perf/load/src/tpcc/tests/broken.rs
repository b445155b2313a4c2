//! The check notices what went wrong, and says so in the words of the standard.

use super::*;
use crate::tpcc::done::Unknown;
use crate::tpcc::schema::{Rows, StockCount};

/// A store after a run in which somebody breaks one thing: what the check says.
fn complaint(breaks: impl FnOnce(&mut Cluster)) -> String {
    let mut cluster = Cluster::loaded(small(2), 2);
    for _ in 0..500 {
        cluster.step();
    }
    assert_eq!(cluster.check(), Ok(()));
    breaks(&mut cluster);
    cluster.check().expect_err("the store is broken")
}

const HOME: Home = Home { warehouse: 2, district: 3 };

#[test]
fn a_wrong_year_to_date_breaks_condition_1() {
    let said = complaint(|cluster| {
        cluster.store(HOME).add(word_key(Words::DistrictYtd, HOME, 0), 1);
    });
    assert!(said.contains("warehouse 2, district 1: condition 1"), "{said}");
}

#[test]
fn an_order_too_many_breaks_condition_2() {
    let said = complaint(|cluster| {
        let next = cluster.next_order(HOME);
        let copied = cluster.number(Words::Order, HOME, next - 1).to_le_bytes();
        cluster.store(HOME).put(word_key(Words::Order, HOME, next), &copied);
    });
    assert!(said.contains("warehouse 2, district 3: condition 2"), "{said}");
    assert!(said.contains("O_ID"), "{said}");
}

#[test]
fn a_gap_in_new_order_breaks_condition_3() {
    let said = complaint(|cluster| {
        let oldest = cluster.number(Words::Oldest, HOME, 0) as u32;
        let next = cluster.next_order(HOME);
        assert!(oldest + 2 < next, "three new orders");
        assert!(cluster.store(HOME).delete(word_key(Words::NewOrder, HOME, oldest + 1)));
    });
    assert!(said.contains("warehouse 2, district 3: condition 3"), "{said}");
}

#[test]
fn a_lost_line_breaks_condition_4() {
    let said = complaint(|cluster| {
        let row = Rows::Lines.row(HOME, 5);
        let lines = cluster.bytes(HOME, row);
        let line = size_of::<crate::tpcc::schema::Line>();
        cluster.store(HOME).put(row.key(), &lines[line..]);
    });
    assert!(said.contains("warehouse 2, district 3: condition 4"), "{said}");
}

#[test]
fn an_order_that_is_new_and_has_a_carrier_breaks_condition_5() {
    let said = complaint(|cluster| {
        let next = cluster.next_order(HOME);
        cluster.store(HOME).add(word_key(Words::Order, HOME, next - 1), 1 << 12);
    });
    assert!(said.contains("warehouse 2, district 3: condition 5"), "{said}");
}

#[test]
fn an_acknowledged_transaction_that_is_not_there_is_missed() {
    type Loss = (fn(&mut TpccDone), &'static str);
    let losses: [Loss; 6] = [
        (|done| done.orders[0] += 1, "orders"),
        (|done| done.paid_cents[1] += 1, "W_YTD"),
        (|done| done.payments += 1, "rows of HISTORY"),
        (|done| done.quantity += 1, "the sum of S_YTD"),
        (|done| done.delivered -= 1, "rows of NEW-ORDER"),
        (|done| done.strange += 1, "ended otherwise"),
    ];
    for (lose, what) in losses {
        let mut cluster = Cluster::loaded(small(2), 2);
        for _ in 0..500 {
            cluster.step();
        }
        let (mut done, found) = (cluster.done(), cluster.found());
        lose(&mut done);
        let said = cluster.tpcc.check_store(&done, &found).expect_err(what);
        assert!(said.contains(what), "{said}");
    }
}

#[test]
fn a_remote_stock_that_was_not_updated_is_missed() {
    let said = complaint(|cluster| {
        let stock = Home::of_warehouse(1);
        let item = (1..=200)
            .find(|item| {
                let word = cluster.number(Words::Stock, stock, *item);
                StockCount::of_word(word.cast_unsigned()).ytd > 0
            })
            .expect("something was sold");
        cluster.store(stock).add(word_key(Words::Stock, stock, item), -(1 << 8));
    });
    assert!(said.contains("the sum of S_YTD"), "{said}");
}

#[test]
fn what_is_unknown_may_be_there_or_not() {
    let mut cluster = Cluster::loaded(small(1), 1);
    while cluster.done().orders.is_empty() {
        cluster.step();
    }
    let (mut done, found) = (cluster.done(), cluster.found());
    assert_eq!(cluster.tpcc.check_store(&done, &found), Ok(()));
    let quantity = done.quantity;
    (done.orders[0], done.quantity) = (0, 0);
    assert!(cluster.tpcc.check_store(&done, &found).is_err());
    done.unknown = Unknown { orders: 1, quantity, ..Unknown::default() };
    assert_eq!(cluster.tpcc.check_store(&done, &found), Ok(()));
}

#[test]
fn parts_that_nobody_could_read_are_no_success() {
    let mut cluster = Cluster::empty(small(1), 1);
    let said = cluster.check().expect_err("nothing was loaded");
    assert!(said.contains("parts of the store could be read"), "{said}");
}
