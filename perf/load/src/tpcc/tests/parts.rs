//! The parts: packed words, names, random numbers, and the mix.

use super::*;
use crate::keys::Rng;
use crate::tpcc::random::{Constants, last_name};
use crate::tpcc::schema::{Balance, CustomerInfo, NAMED_IN_WORD, Order, Paid, Rows, StockCount};
use crate::tpcc::{access, kind};
use punctual_runtime::ProcedureContext;
use zerocopy::FromBytes as _;

#[test]
fn packed_words_give_back_what_was_packed() {
    let stock = StockCount {
        quantity: 100,
        is_original: true,
        ytd: 0x0abc_def1,
        orders: 0x3ffe,
        remote: 0x3ffd,
    };
    assert_eq!(StockCount::of_word(stock.word()), stock);
    let order = Order {
        customer: 3000,
        carrier: 10,
        lines: 15,
        all_local: true,
        entry_ms: 4_102_444_800_000,
    };
    assert_eq!(Order::of_word(order.word()), order);
    let next = NextOrder { id: u32::MAX - 1, tax: 2000 };
    assert_eq!(NextOrder::of_word(next.word()), next);
    assert_eq!(NextOrder::of_word(next.word() + 1), NextOrder { id: u32::MAX, ..next });
    let balance = Balance::delta(-1000, 0) + Balance::delta(400, 1) + Balance::delta(-1, 0);
    assert_eq!((Balance::cents(balance), balance & 0xffff), (-601, 1));
    let paid = Paid::delta(1000, 1) + Paid::delta(500_000, 1);
    assert_eq!((paid & ((1 << 44) - 1), paid >> 44), (501_000, 2));
}

#[test]
fn keys_of_different_rows_differ() {
    let places = [Home::new(1, 1), Home::new(1, 2), Home::new(2, 1), Home::new(257, 1)];
    let mut rows = Vec::new();
    let mut words = Vec::new();
    for place in places {
        for number in [0, 1, 256, 1 << 24] {
            for table in [Rows::Item, Rows::Lines, Rows::Named] {
                rows.push(table.row(place, number).key().len());
                words.push(format!("{:?}", table.row(place, number)));
            }
            for table in [Words::Seed, Words::Stock, Words::Named] {
                words.push(format!("{:?}", table.key(place, number)));
            }
        }
    }
    assert!(rows.iter().all(|len| *len == 7), "no row's key is a word");
    let count = words.len();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), count);
}

#[test]
fn a_stock_that_gets_low_is_filled_up() {
    let full = |quantity| StockCount { quantity, is_original: false, ytd: 0, orders: 0, remote: 0 };
    for (before, taken, after) in [(30, 10, 20), (20, 10, 10), (19, 10, 100), (10, 1, 100)] {
        let mut stock = full(before);
        stock.take(taken, taken == 1);
        assert_eq!(stock.quantity, after, "{before} less {taken}");
        assert_eq!((stock.ytd, stock.orders), (u32::from(taken), 1));
        assert_eq!(stock.remote, u16::from(taken == 1));
    }
}

#[test]
fn last_names_are_made_of_three_syllables() {
    let text = |number| {
        let name = last_name(number);
        String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned()
    };
    assert_eq!(text(371), "PRICALLYOUGHT");
    assert_eq!(text(0), "BARBARBAR");
    assert_eq!(text(999), "EINGEINGEING");
}

#[test]
fn constants_for_names_are_as_far_apart_as_the_standard_asks() {
    // The loaded name of the last customer and the asked name of the same draws differ by it.
    let count = 256;
    for seed in 0..200 {
        let constants = Constants::new(seed);
        let loaded = constants.name_of(&mut Rng::new(1), 1001, count);
        let asked = constants.name(&mut Rng::new(1), count);
        let apart = (i64::from(loaded) - i64::from(asked)).rem_euclid(256);
        let fits = |apart: i64| (65..=119).contains(&apart) && apart != 96 && apart != 112;
        assert!(fits(apart) || fits(256 - apart), "seed {seed}: {apart}");
    }
}

#[test]
fn drawn_numbers_are_in_range_and_some_are_favoured() {
    let constants = Constants::new(5);
    let mut rng = Rng::new(6);
    let mut counts = vec![0_u32; 3001];
    for _ in 0..60_000 {
        counts[constants.customer(&mut rng, 3000) as usize] += 1;
        assert!((1..=200).contains(&constants.item(&mut rng, 200)));
        assert!(constants.name(&mut rng, 30) < 30);
    }
    assert_eq!(counts[0], 0);
    // Twenty draws each if all were alike; the deviation would be under five.
    assert!(counts.iter().any(|count| *count > 80), "nobody is favoured");
}

/// Asks for the middle customer of a name, in the arguments, and reports who it is.
fn ask_middle(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    let name = u32::from(args[0]);
    let id = access::middle_named(context, Home::new(1, 1), name).unwrap_or(0);
    assert!(context.result(&u64::from(id).to_le_bytes()));
    Verdict::Commit
}

fn middle(store: &mut Store, name: u8) -> Option<i64> {
    let mut procedures = Procedures::new();
    procedures.register(1, "middle", ask_middle).expect("a free id");
    let mut results = Vec::new();
    procedures.run_alone(1, store, &LIMITS, &[name], &mut results);
    ResultReader::new(&results).next().and_then(|result| result.number())
}

#[test]
fn of_customers_with_one_name_the_middle_one_is_taken_rounded_up() {
    let mut store = Store::new(3, u64::MAX);
    let home = Home::new(1, 1);
    let ids = [11_u16, 12, 13, 14, 15, 16, 17];
    for (count, expected) in [(1, 11), (2, 11), (3, 12), (4, 12), (5, 13), (6, 13), (7, 14)] {
        let mut list: Vec<u8> = ids[..count].iter().flat_map(|id| id.to_le_bytes()).collect();
        let name = count as u32;
        if count <= NAMED_IN_WORD {
            list.resize(8, 0);
            store.put(word_key(Words::Named, home, name), &list);
        } else {
            store.put(Rows::Named.row(home, name).key(), &list);
        }
        assert_eq!(middle(&mut store, count as u8), Some(expected), "{count} customers");
    }
    assert_eq!(middle(&mut store, 100), Some(0), "nobody of that name");
}

#[test]
fn the_index_lists_all_customers_of_a_name_by_their_first_names() {
    let tpcc = Tpcc { customers: 3000, items: 100, ..Tpcc::default() };
    let mut cluster = Cluster::empty(tpcc, 1);
    let home = Home::new(1, 1);
    for piece in [Piece::Customers, Piece::Names] {
        for args in district_piece(&cluster, home, piece) {
            cluster.load_piece(0, &args);
        }
    }
    let mut listed = 0;
    let mut longest = 0;
    for name in 0..1000 {
        let long = Rows::Named.row(home, name);
        let short = cluster.store(home).get(word_key(Words::Named, home, name)).is_some();
        let list = if short {
            cluster.number(Words::Named, home, name).to_le_bytes().to_vec()
        } else {
            cluster.bytes(home, long)
        };
        let (ids, _) = list.as_chunks::<2>();
        let ids = ids.iter().map(|id| u32::from(u16::from_le_bytes(*id)));
        let ids: Vec<_> = ids.filter(|id| *id > 0).collect();
        let customers: Vec<CustomerInfo> = ids
            .iter()
            .map(|id| cluster.bytes(home, Rows::Customer.row(home, *id)))
            .map(|bytes| CustomerInfo::read_from_bytes(&bytes).expect("a row"))
            .collect();
        assert!(customers.iter().all(|customer| customer.head.last == last_name(name)));
        assert!(customers.is_sorted_by_key(|customer| customer.first), "name {name}");
        listed += ids.len();
        longest = longest.max(ids.len());
    }
    assert_eq!(listed, 3000);
    assert!(longest > NAMED_IN_WORD, "both forms of the list are in use");
}

#[test]
fn the_mix_and_the_remote_shares_are_those_of_the_standard() {
    let mut cluster = Cluster::empty(Tpcc { rollback: 0.01, ..small(10) }, 2);
    let mut kinds = [0_u32; 5];
    let [mut remote_payments, mut void_orders, mut remote_orders] = [0_u32; 3];
    for _ in 0..50_000 {
        cluster.generator.draw();
        let flight = cluster.generator.drawn();
        kinds[usize::from(flight.kind)] += 1;
        match flight.kind {
            kind::NEW_ORDER => {
                void_orders += u32::from(flight.is_void);
                remote_orders += u32::from(flight.is_remote);
            }
            kind::PAYMENT => remote_payments += u32::from(flight.is_remote),
            _ => assert!(!flight.is_remote && !flight.is_spanning, "{flight:?}"),
        }
    }
    let near = |count: u32, of: u32, share: f64| {
        let expected = f64::from(of) * share;
        let deviation = (expected * (1.0 - share)).sqrt();
        assert!((f64::from(count) - expected).abs() < 5.0 * deviation, "{count} of {of}");
    };
    for (count, share) in kinds.into_iter().zip([0.45, 0.43, 0.04, 0.04, 0.04]) {
        near(count, 50_000, share);
    }
    near(remote_payments, kinds[1], 0.15);
    near(void_orders, kinds[0], 0.01);
    // An order has five to fifteen lines, each remote once in a hundred.
    let local = (5..=15).map(|lines| 0.99_f64.powi(lines)).sum::<f64>() / 11.0;
    near(remote_orders, kinds[0], 1.0 - local);
}

#[test]
fn a_workload_that_does_not_fit_says_why() {
    fn check(change: fn(&mut Tpcc), limits: Limits) -> Result<(), String> {
        let mut tpcc = small(4);
        change(&mut tpcc);
        tpcc.check(3, &limits)
    }
    assert_eq!(check(|_| {}, LIMITS), Ok(()));
    let short = Limits { value_bytes_max: 100, ..LIMITS };
    for (said, part) in [
        (check(|tpcc| tpcc.warehouses = 2, LIMITS), "--warehouses 2"),
        (check(|tpcc| tpcc.items = 100_001, LIMITS), "--items 100001"),
        (check(|tpcc| tpcc.customers = 9, LIMITS), "--customers 9"),
        (check(|tpcc| tpcc.remote_items = 1.5, LIMITS), "--remote-items 1.5"),
        (check(|tpcc| tpcc.rollback = f64::NAN, LIMITS), "--rollback NaN"),
        (check(|_| {}, short), "value_bytes_max is 100"),
    ] {
        let said = said.expect_err(part);
        assert!(said.contains(part), "{said}");
    }
}
