//! Loading (clause 4.3.3.1): in pieces of a millisecond or so, each made from the seed by the shard
//! that keeps it. Loading twice, even after a run, leaves what loading once does.

use super::access;
use super::args::{LoadArgs, Shown, decided};
use super::random::{self, Constants, between, digits, letters, new_text, of_row, purpose, text};
use super::schema::{
    Address, Balance, CUSTOMER_DATA_BYTES, CustomerHead, CustomerInfo, DISTRICTS, History, Item,
    ItemHead, LINES_BYTES_MAX, Line, NAMED_IN_WORD, NextOrder, Order, Paid, Place, RowKey, Rows,
    SiteInfo, StockCount, StockInfo, Words,
};
use super::{Tpcc, shard_of_warehouse};
use crate::keys::Rng;
use punctual_runtime::{Key, ProcedureContext, Verdict};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, IntoBytes};

/// Items or stocks of a piece.
const ITEMS_EACH: u32 = 1000;
/// Customers, or orders, of a piece.
const CUSTOMERS_EACH: u32 = 500;
/// When everything was loaded, as the data say: 2026-01-01. What is loaded depends on the seed
/// alone.
const LOADED_MS: u64 = 1_767_225_600_000;
/// What each customer has paid before.
const FIRST_PAYMENT_CENTS: u32 = 1000;

/// What a piece consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Piece {
    Items = 1,
    Warehouse,
    Stock,
    District,
    Customers,
    Names,
    Orders,
}

impl Piece {
    const ALL: [Self; 7] = [
        Self::Items,
        Self::Warehouse,
        Self::Stock,
        Self::District,
        Self::Customers,
        Self::Names,
        Self::Orders,
    ];

    fn of(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|piece| *piece as u8 == code)
    }
}

/// All pieces of a cluster, by number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pieces {
    items: u32,
    customers: u32,
    warehouses: u16,
    shards: u16,
    seed: u64,
}

impl Pieces {
    pub(super) fn new(tpcc: &Tpcc, shards: u16, seed: u64) -> Self {
        let Tpcc { items, customers, warehouses, .. } = *tpcc;
        Self { items, customers, warehouses, shards, seed }
    }

    fn item_pieces(&self) -> u64 {
        u64::from(self.items.div_ceil(ITEMS_EACH))
    }

    fn customer_pieces(&self) -> u64 {
        u64::from(self.customers.div_ceil(CUSTOMERS_EACH))
    }

    fn of_district(&self) -> u64 {
        2 + 2 * self.customer_pieces()
    }

    fn of_warehouse(&self) -> u64 {
        1 + self.item_pieces() + u64::from(DISTRICTS) * self.of_district()
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        let items = u64::from(self.shards) * self.item_pieces();
        items + u64::from(self.warehouses) * self.of_warehouse()
    }

    /// The shard of a piece, and what is asked of it.
    pub(super) fn get(&self, number: u64) -> (u16, LoadArgs) {
        let items = u64::from(self.shards) * self.item_pieces();
        if number < items {
            let shard = (number / self.item_pieces()) as u16;
            let args = self.args(Piece::Items, Place::of_warehouse(0), number % self.item_pieces());
            return (shard, args);
        }
        let number = number - items;
        let warehouse = (number / self.of_warehouse()) as u16 + 1;
        let shard = shard_of_warehouse(warehouse, self.shards);
        (shard, self.in_warehouse(warehouse, number % self.of_warehouse()))
    }

    fn in_warehouse(&self, warehouse: u16, number: u64) -> LoadArgs {
        let place = Place::of_warehouse(warehouse);
        let stock = 1 + self.item_pieces();
        if number == 0 {
            return self.args(Piece::Warehouse, place, 0);
        }
        if number < stock {
            return self.args(Piece::Stock, place, number - 1);
        }
        let number = number - stock;
        let place = Place::new(warehouse, (number / self.of_district()) as u8 + 1);
        match number % self.of_district() {
            0 => self.args(Piece::District, place, 0),
            1 => self.args(Piece::Names, place, 0),
            part if part < 2 + self.customer_pieces() => {
                self.args(Piece::Customers, place, part - 2)
            }
            part => self.args(Piece::Orders, place, part - 2 - self.customer_pieces()),
        }
    }

    fn args(&self, piece: Piece, place: Place, part: u64) -> LoadArgs {
        let (each, count) = match piece {
            Piece::Items | Piece::Stock => (ITEMS_EACH, self.items),
            Piece::Customers | Piece::Orders => (CUSTOMERS_EACH, self.customers),
            Piece::Warehouse | Piece::District | Piece::Names => (1, 1),
        };
        let from = 1 + part as u32 * each;
        LoadArgs {
            seed: U64::new(self.seed),
            items: U32::new(self.items),
            customers: U32::new(self.customers),
            from: U32::new(from),
            to: U32::new((from + each).min(count + 1)),
            warehouse: U16::new(place.warehouse),
            district: place.district,
            piece: piece as u8,
        }
    }
}

/// Loads one piece. Reports nothing.
pub(super) fn load(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    decided(load_piece(context, args).map(|()| Verdict::Commit))
}

fn load_piece(context: &mut ProcedureContext<'_>, args: &[u8]) -> Option<()> {
    let args = LoadArgs::ref_from_bytes(args).ok()?;
    let loader = Loader {
        seed: args.seed.get(),
        items: args.items.get(),
        customers: args.customers.get(),
        constants: Constants::new(args.seed.get()),
        place: Place::new(args.warehouse.get(), args.district),
    };
    let mut numbers = args.from.get()..args.to.get();
    match Piece::of(args.piece)? {
        Piece::Items => {
            let key = Words::Seed.key(Place::of_warehouse(0), 0);
            put(context, key, &args.seed.get().to_le_bytes())?;
            numbers.try_for_each(|number| loader.item(context, number))
        }
        Piece::Warehouse => loader.warehouse(context),
        Piece::Stock => numbers.try_for_each(|number| loader.stock(context, number)),
        Piece::District => loader.district(context),
        Piece::Customers => numbers.try_for_each(|number| loader.customer(context, number)),
        Piece::Names => loader.names(context),
        Piece::Orders => {
            let customers = loader.shuffled_customers();
            numbers.try_for_each(|number| loader.order(context, &customers, number))
        }
    }
}

fn put(context: &mut ProcedureContext<'_>, key: Key<'_>, value: &[u8]) -> Option<()> {
    context.put(key, value).then_some(())
}

fn put_row(context: &mut ProcedureContext<'_>, row: RowKey, value: &[u8]) -> Option<()> {
    put(context, row.key(), value)
}

fn put_number(
    context: &mut ProcedureContext<'_>,
    words: Words,
    place: Place,
    number: u32,
    value: i64,
) -> Option<()> {
    put(context, words.key(place, number), &value.to_le_bytes())
}

fn address(rng: &mut Rng) -> Address {
    let mut zip = *b"000011111";
    zip[..4].copy_from_slice(&digits::<4>(rng));
    Address {
        street_1: new_text(rng, 10),
        street_2: new_text(rng, 10),
        city: new_text(rng, 10),
        state: new_text(rng, 2),
        zip,
    }
}

/// What makes the rows of one place.
struct Loader {
    seed: u64,
    items: u32,
    customers: u32,
    constants: Constants,
    place: Place,
}

impl Loader {
    fn rng(&self, rows: Rows, number: u32) -> Rng {
        of_row(self.seed, rows, purpose::ROW, self.place, number)
    }

    /// The last of the orders that are delivered already: seven in ten.
    fn delivered(&self) -> u32 {
        self.customers * 7 / 10
    }

    fn item(&self, context: &mut ProcedureContext<'_>, number: u32) -> Option<()> {
        let mut rng = self.rng(Rows::Item, number);
        let (data, is_original) = random::data(&mut rng);
        let row = Item {
            head: ItemHead {
                price_cents: U32::new(between(&mut rng, 100, 10_000) as u32),
                name: new_text(&mut rng, 14),
                is_original: u8::from(is_original),
            },
            image: U32::new(between(&mut rng, 1, 10_000) as u32),
            data,
        };
        put_row(context, Rows::Item.row(self.place, number), row.as_bytes())
    }

    fn site(&self, rows: Rows) -> SiteInfo {
        let mut rng = self.rng(rows, 0);
        SiteInfo {
            name: random::site_name(self.seed, self.place),
            address: address(&mut rng),
            tax: U16::new(between(&mut rng, 0, 2000) as u16),
        }
    }

    fn warehouse(&self, context: &mut ProcedureContext<'_>) -> Option<()> {
        let row = self.site(Rows::Warehouse);
        put_row(context, Rows::Warehouse.row(self.place, 0), row.as_bytes())?;
        let ytd = self.district_ytd() * i64::from(DISTRICTS);
        put_number(context, Words::WarehouseYtd, self.place, 0, ytd)
    }

    /// What its customers have paid.
    fn district_ytd(&self) -> i64 {
        i64::from(self.customers) * i64::from(FIRST_PAYMENT_CENTS)
    }

    fn stock(&self, context: &mut ProcedureContext<'_>, number: u32) -> Option<()> {
        let mut rng = self.rng(Rows::Stock, number);
        let (data, is_original) = random::data(&mut rng);
        let quantity = between(&mut rng, 10, 100) as u8;
        let count = StockCount { quantity, is_original, ytd: 0, orders: 0, remote: 0 };
        let warehouse = self.place.warehouse;
        let dist =
            std::array::from_fn(|at| random::dist(self.seed, warehouse, number, at as u8 + 1));
        let row = StockInfo { dist, data };
        put_row(context, Rows::Stock.row(self.place, number), row.as_bytes())?;
        put(context, Words::Stock.key(self.place, number), &count.word().to_le_bytes())
    }

    fn district(&self, context: &mut ProcedureContext<'_>) -> Option<()> {
        self.forget_run(context);
        let row = self.site(Rows::District);
        put_row(context, Rows::District.row(self.place, 0), row.as_bytes())?;
        let next = NextOrder { id: self.customers + 1, tax: row.tax.get() };
        put_number(context, Words::NextOrder, self.place, 0, next.word())?;
        put_number(context, Words::DistrictYtd, self.place, 0, self.district_ytd())?;
        let oldest = i64::from(self.delivered()) + 1;
        put_number(context, Words::Oldest, self.place, 0, oldest)?;
        put_number(context, Words::HistoryLen, self.place, 0, i64::from(self.customers))
    }

    /// Removes what a run has added, if this store has seen one. That may take a while; the other
    /// pieces only write what they load.
    fn forget_run(&self, context: &mut ProcedureContext<'_>) {
        let next = NextOrder::of_word(self.number(context, Words::NextOrder)).id;
        for id in self.customers + 1..next {
            context.delete(Words::Order.key(self.place, id));
            context.delete(Words::NewOrder.key(self.place, id));
            context.delete(Rows::Lines.row(self.place, id).key());
        }
        let history = self.number(context, Words::HistoryLen) as u32;
        for id in self.customers..history {
            context.delete(Rows::History.row(self.place, id).key());
        }
    }

    /// A number of the district; 0 if it is not there yet.
    fn number(&self, context: &ProcedureContext<'_>, words: Words) -> i64 {
        access::word(context, words.key(self.place, 0)).unwrap_or(0)
    }

    /// Last and first name of a customer.
    fn names_of(&self, number: u32) -> (u32, [u8; 16]) {
        let mut rng = of_row(self.seed, Rows::Customer, purpose::NAME, self.place, number);
        let last = self.constants.name_of(&mut rng, number, self.customers);
        (last, new_text(&mut rng, 8))
    }

    fn customer(&self, context: &mut ProcedureContext<'_>, number: u32) -> Option<()> {
        let mut rng = self.rng(Rows::Customer, number);
        let (last, first) = self.names_of(number);
        let credit = if rng.chance(0.1) { *b"BC" } else { *b"GC" };
        let row = CustomerInfo {
            head: CustomerHead {
                discount: U16::new(between(&mut rng, 0, 5000) as u16),
                credit,
                last: random::last_name(last),
            },
            first,
            middle: *b"OE",
            address: address(&mut rng),
            phone: digits(&mut rng),
            since_ms: U64::new(LOADED_MS),
            credit_limit_cents: U64::new(5_000_000),
        };
        put_row(context, Rows::Customer.row(self.place, number), row.as_bytes())?;
        let mut data = [0; CUSTOMER_DATA_BYTES];
        let len = text(&mut rng, 300, &mut data);
        put_row(context, Rows::CustomerData.row(self.place, number), &data[..len])?;
        let paid = Paid::delta(FIRST_PAYMENT_CENTS, 1);
        put_number(context, Words::Paid, self.place, number, paid)?;
        let balance = Balance::delta(-i64::from(FIRST_PAYMENT_CENTS), 0);
        put_number(context, Words::Balance, self.place, number, balance)?;
        self.history(context, &mut rng, number)
    }

    fn history(
        &self,
        context: &mut ProcedureContext<'_>,
        rng: &mut Rng,
        number: u32,
    ) -> Option<()> {
        let Place { warehouse, district } = self.place;
        let row = History {
            customer: U16::new(number as u16),
            customer_warehouse: U16::new(warehouse),
            warehouse: U16::new(warehouse),
            customer_district: district,
            district,
            date_ms: U64::new(LOADED_MS),
            amount_cents: U32::new(FIRST_PAYMENT_CENTS),
            data: new_text(rng, 12),
        };
        put_row(context, Rows::History.row(self.place, number - 1), row.as_bytes())
    }

    /// The index of customers by name.
    fn names(&self, context: &mut ProcedureContext<'_>) -> Option<()> {
        let mut named: Vec<_> =
            (1..=self.customers).map(|number| (self.names_of(number), number as u16)).collect();
        named.sort_unstable();
        for same in named.chunk_by(|((left, _), _), ((right, _), _)| left == right) {
            let name = same[0].0.0;
            let (short, long) =
                (Words::Named.key(self.place, name), Rows::Named.row(self.place, name));
            let mut ids: Vec<u8> = same.iter().flat_map(|(_, id)| id.to_le_bytes()).collect();
            if same.len() <= NAMED_IN_WORD {
                ids.resize(2 * NAMED_IN_WORD, 0);
                context.delete(long.key());
                put(context, short, &ids)?;
            } else {
                context.delete(short);
                put(context, long.key(), &ids)?;
            }
        }
        Some(())
    }

    /// The customers in the order of their first orders.
    fn shuffled_customers(&self) -> Vec<u32> {
        let mut customers: Vec<u32> = (1..=self.customers).collect();
        let mut rng = self.rng(Rows::Lines, 0);
        for at in (1..customers.len()).rev() {
            customers.swap(at, rng.below(at as u64 + 1) as usize);
        }
        customers
    }

    fn order(&self, context: &mut ProcedureContext<'_>, customers: &[u32], id: u32) -> Option<()> {
        let mut rng = self.rng(Rows::Lines, id);
        let customer = *customers.get(id as usize - 1)?;
        let is_delivered = id <= self.delivered();
        let lines = between(&mut rng, 5, 15);
        let mut rows = Shown::<LINES_BYTES_MAX>::new();
        for _ in 0..lines {
            rows.add(self.line(&mut rng, is_delivered).as_bytes());
        }
        put_row(context, Rows::Lines.row(self.place, id), rows.bytes())?;
        let carrier = if is_delivered { between(&mut rng, 1, 10) as u8 } else { 0 };
        let lines = lines as u8;
        let order = Order { customer, carrier, lines, all_local: true, entry_ms: LOADED_MS };
        put_number(context, Words::Order, self.place, id, order.word().cast_signed())?;
        put_number(context, Words::LastOrder, self.place, customer, i64::from(id))?;
        let new_order = Words::NewOrder.key(self.place, id);
        if is_delivered {
            context.delete(new_order);
            return Some(());
        }
        put(context, new_order, &u64::from(id).to_le_bytes())
    }

    fn line(&self, rng: &mut Rng, is_delivered: bool) -> Line {
        let amount_cents = if is_delivered { 0 } else { between(rng, 1, 999_999) as u32 };
        let mut dist = [0; 24];
        letters(rng, &mut dist);
        Line {
            item: U32::new(between(rng, 1, u64::from(self.items)) as u32),
            supply: U16::new(self.place.warehouse),
            delivered_ms: U64::new(if is_delivered { LOADED_MS } else { 0 }),
            amount_cents: U32::new(amount_cents),
            quantity: 5,
            dist,
        }
    }
}
