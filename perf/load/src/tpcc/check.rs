//! What is in the store after a run, and whether it is what the standard and the acknowledged
//! transactions say.

use super::args::{CheckArgs, decided};
use super::done::TpccDone;
use super::schema::{DISTRICTS, History, Line, NextOrder, Order, Place, Rows, StockCount, Words};
use super::{Tpcc, access};
use crate::workload::Sum;
use punctual_runtime::{ProcedureContext, Verdict};
use std::ops::Range;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Parts that a district is read in, so that one call takes milliseconds after millions of orders.
pub(super) const PARTS: u32 = 64;
/// Ids behind the last order that are looked for as well.
const BEYOND: u32 = 16;
/// Orders that are brought near together.
const WINDOW: u32 = 16;

/// A part of a district or of a stock, as it is reported.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct PartBytes {
    warehouse_ytd: U64,
    district_ytd: U64,
    next_order: U64,
    orders: U64,
    order_max: U64,
    new_orders: U64,
    new_order_min: U64,
    new_order_max: U64,
    lines_said: U64,
    lines: U64,
    misplaced: U64,
    history: U64,
    history_cents: U64,
    stock_ytd: U64,
    stocks: U64,
}

/// What was found of a district, or of the stock of a warehouse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartFound {
    /// W_YTD in cents.
    pub warehouse_ytd: u64,
    /// D_YTD in cents.
    pub district_ytd: u64,
    /// D_NEXT_O_ID.
    pub next_order: u64,
    /// Rows of ORDER.
    pub orders: u64,
    /// The highest O_ID.
    pub order_max: u64,
    /// Rows of NEW-ORDER.
    pub new_orders: u64,
    /// The lowest NO_O_ID; 0 if there is none.
    pub new_order_min: u64,
    /// The highest NO_O_ID.
    pub new_order_max: u64,
    /// Sum of O_OL_CNT.
    pub lines_said: u64,
    /// Rows of ORDER-LINE.
    pub lines: u64,
    /// Orders with a carrier that are in NEW-ORDER, and those with neither.
    pub misplaced: u64,
    /// Rows of HISTORY for its customers.
    pub history: u64,
    /// Sum of H_AMOUNT in cents.
    pub history_cents: u64,
    /// Sum of S_YTD.
    pub stock_ytd: u64,
    /// Rows of STOCK.
    pub stocks: u64,
}

impl PartFound {
    fn bytes(&self) -> PartBytes {
        PartBytes {
            warehouse_ytd: self.warehouse_ytd.into(),
            district_ytd: self.district_ytd.into(),
            next_order: self.next_order.into(),
            orders: self.orders.into(),
            order_max: self.order_max.into(),
            new_orders: self.new_orders.into(),
            new_order_min: self.new_order_min.into(),
            new_order_max: self.new_order_max.into(),
            lines_said: self.lines_said.into(),
            lines: self.lines.into(),
            misplaced: self.misplaced.into(),
            history: self.history.into(),
            history_cents: self.history_cents.into(),
            stock_ytd: self.stock_ytd.into(),
            stocks: self.stocks.into(),
        }
    }

    fn of_bytes(bytes: &PartBytes) -> Self {
        Self {
            warehouse_ytd: bytes.warehouse_ytd.get(),
            district_ytd: bytes.district_ytd.get(),
            next_order: bytes.next_order.get(),
            orders: bytes.orders.get(),
            order_max: bytes.order_max.get(),
            new_orders: bytes.new_orders.get(),
            new_order_min: bytes.new_order_min.get(),
            new_order_max: bytes.new_order_max.get(),
            lines_said: bytes.lines_said.get(),
            lines: bytes.lines.get(),
            misplaced: bytes.misplaced.get(),
            history: bytes.history.get(),
            history_cents: bytes.history_cents.get(),
            stock_ytd: bytes.stock_ytd.get(),
            stocks: bytes.stocks.get(),
        }
    }

    /// Adds another part of the same. What is there once is the same in all parts.
    fn merge(&mut self, other: &Self) {
        self.warehouse_ytd = self.warehouse_ytd.max(other.warehouse_ytd);
        self.district_ytd = self.district_ytd.max(other.district_ytd);
        self.next_order = self.next_order.max(other.next_order);
        self.orders += other.orders;
        self.order_max = self.order_max.max(other.order_max);
        self.new_orders += other.new_orders;
        let mins = [self.new_order_min, other.new_order_min].into_iter().filter(|id| *id > 0);
        self.new_order_min = mins.min().unwrap_or(0);
        self.new_order_max = self.new_order_max.max(other.new_order_max);
        self.lines_said += other.lines_said;
        self.lines += other.lines;
        self.misplaced += other.misplaced;
        self.history += other.history;
        self.history_cents += other.history_cents;
        self.stock_ytd += other.stock_ytd;
        self.stocks += other.stocks;
    }
}

/// What was found in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TpccFound {
    /// For each warehouse its stock, then its districts.
    parts: Vec<PartFound>,
    /// Parts that were read.
    read: u64,
}

impl TpccFound {
    pub(super) fn add_part(&mut self, place: Place, bytes: &[u8]) {
        let Ok(part) = PartBytes::ref_from_bytes(bytes) else { return };
        let at = index(place.warehouse, place.district);
        if self.parts.len() <= at {
            self.parts.resize(at + 1, PartFound::default());
        }
        self.parts[at].merge(&PartFound::of_bytes(part));
        self.read += 1;
    }

    fn get(&self, warehouse: u16, district: u8) -> PartFound {
        self.parts.get(index(warehouse, district)).copied().unwrap_or_default()
    }

    fn districts(&self, warehouse: u16) -> impl Iterator<Item = (u8, PartFound)> + '_ {
        (1..=DISTRICTS).map(move |district| (district, self.get(warehouse, district)))
    }
}

fn index(warehouse: u16, district: u8) -> usize {
    usize::from(warehouse.saturating_sub(1)) * (usize::from(DISTRICTS) + 1) + usize::from(district)
}

impl Sum for TpccFound {
    fn add(&mut self, other: &Self) {
        if self.parts.len() < other.parts.len() {
            self.parts.resize(other.parts.len(), PartFound::default());
        }
        for (part, more) in self.parts.iter_mut().zip(&other.parts) {
            part.merge(more);
        }
        self.read += other.read;
    }
}

/// Reads one part. The result is a [`PartBytes`].
pub(super) fn check(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    decided(read(context, args))
}

fn read(context: &mut ProcedureContext<'_>, args: &[u8]) -> Option<Verdict> {
    let args = CheckArgs::ref_from_bytes(args).ok()?;
    let place = Place::new(args.warehouse.get(), args.district);
    let (part, parts) = (args.part.get(), args.parts.get().max(1));
    let found = if place.district == 0 {
        read_stock(context, place, range(args.items.get(), part, parts))
    } else {
        read_district(context, place, part, parts)?
    };
    context.result(found.bytes().as_bytes()).then_some(Verdict::Commit)
}

/// The numbers of one of several parts of `1..=count`.
fn range(count: u32, part: u32, parts: u32) -> Range<u32> {
    let at = |part: u32| 1 + (u64::from(count) * u64::from(part) / u64::from(parts)) as u32;
    at(part)..at(part + 1)
}

fn read_stock(context: &ProcedureContext<'_>, place: Place, items: Range<u32>) -> PartFound {
    let mut found = PartFound::default();
    for item in items {
        if let Some(word) = access::word(context, Words::Stock.key(place, item)) {
            found.stocks += 1;
            found.stock_ytd += u64::from(StockCount::of_word(word.cast_unsigned()).ytd);
        }
    }
    found
}

fn read_district(
    context: &ProcedureContext<'_>,
    place: Place,
    part: u32,
    parts: u32,
) -> Option<PartFound> {
    let warehouse = Words::WarehouseYtd.key(Place::of_warehouse(place.warehouse), 0);
    let next = NextOrder::of_word(access::word(context, Words::NextOrder.key(place, 0))?).id;
    let mut found = PartFound {
        warehouse_ytd: access::word(context, warehouse)?.cast_unsigned(),
        district_ytd: access::word(context, Words::DistrictYtd.key(place, 0))?.cast_unsigned(),
        next_order: next.into(),
        ..PartFound::default()
    };
    let mut ids = range(next.saturating_sub(1), part, parts);
    if part + 1 == parts {
        ids.end += BEYOND;
    }
    while !ids.is_empty() {
        let window = ids.start..ids.end.min(ids.start + WINDOW);
        ids.start = window.end;
        fetch(context, place, window.clone());
        for id in window {
            read_order(context, place, id, &mut found);
        }
    }
    let rows = access::word(context, Words::HistoryLen.key(place, 0))? as u32;
    for number in range(rows, part, parts) {
        let row = Rows::History.row(place, number - 1);
        if let Some(row) = access::row::<History>(context, row) {
            found.history += 1;
            found.history_cents += u64::from(row.amount_cents.get());
        }
    }
    Some(found)
}

fn fetch(context: &ProcedureContext<'_>, place: Place, ids: Range<u32>) {
    let mut near = access::Near::new();
    for id in ids {
        context.prefetch(Words::Order.key(place, id));
        context.prefetch(Words::NewOrder.key(place, id));
        near.add(Rows::Lines.row(place, id), 0..1);
    }
    near.fetch(context);
}

fn read_order(context: &ProcedureContext<'_>, place: Place, id: u32, found: &mut PartFound) {
    let is_new = context.get(Words::NewOrder.key(place, id)).is_some();
    if is_new {
        let id = u64::from(id);
        found.new_orders += 1;
        found.new_order_max = found.new_order_max.max(id);
        found.new_order_min = if found.new_order_min == 0 { id } else { found.new_order_min };
    }
    if let Some(word) = access::word(context, Words::Order.key(place, id)) {
        let order = Order::of_word(word.cast_unsigned());
        found.orders += 1;
        found.order_max = found.order_max.max(u64::from(id));
        found.lines_said += u64::from(order.lines);
        found.misplaced += u64::from(is_new != (order.carrier == 0));
    }
    if let Some(lines) = context.get(Rows::Lines.row(place, id).key()) {
        found.lines += (lines.as_bytes().len() / size_of::<Line>()) as u64;
    }
}

/// Compares what was found with what must be: first within the store, then with what was done.
pub(super) fn compare(tpcc: &Tpcc, done: &TpccDone, found: &TpccFound) -> Result<(), String> {
    if found.read != tpcc.parts() {
        let (read, parts) = (found.read, tpcc.parts());
        return Err(format!("{read} of {parts} parts of the store could be read"));
    }
    for warehouse in 1..=tpcc.warehouses {
        let sum: u64 = found.districts(warehouse).map(|(_, part)| part.district_ytd).sum();
        for (district, part) in found.districts(warehouse) {
            consistent(&part, sum)
                .map_err(|why| format!("warehouse {warehouse}, district {district}: {why}"))?;
        }
        acknowledged(tpcc, done, found, warehouse)
            .map_err(|why| format!("warehouse {warehouse}: {why}"))?;
    }
    whole(tpcc, done, found)
}

/// Conditions 1 to 5 of clause 3.3.2 for one district.
fn consistent(part: &PartFound, ytd_sum: u64) -> Result<(), String> {
    equal("condition 1: W_YTD, and the sum of D_YTD", part.warehouse_ytd, ytd_sum)?;
    let last = part.next_order.saturating_sub(1);
    equal("condition 2: D_NEXT_O_ID - 1, and the highest O_ID", last, part.order_max)?;
    if part.new_orders > 0 {
        equal("condition 2: D_NEXT_O_ID - 1, and the highest NO_O_ID", last, part.new_order_max)?;
        let span = part.new_order_max - part.new_order_min + 1;
        equal("condition 3: ids that NEW-ORDER spans, and its rows", span, part.new_orders)?;
    }
    equal("condition 4: the sum of O_OL_CNT, and ORDER-LINE's rows", part.lines_said, part.lines)?;
    equal("condition 5: orders that are both or neither of new and carried", part.misplaced, 0)
}

fn acknowledged(
    tpcc: &Tpcc,
    done: &TpccDone,
    found: &TpccFound,
    warehouse: u16,
) -> Result<(), String> {
    let at = usize::from(warehouse) - 1;
    let of = |list: &[u64]| list.get(at).copied().unwrap_or(0);
    let loaded = u64::from(tpcc.customers) * u64::from(DISTRICTS);
    let orders = found.districts(warehouse).map(|(_, part)| part.orders).sum();
    let unknown = &done.unknown;
    within("orders", orders, loaded + of(&done.orders), unknown.orders)?;
    let paid = loaded * 1000 + of(&done.paid_cents);
    within("W_YTD", found.get(warehouse, 1).warehouse_ytd, paid, unknown.paid_cents)?;
    equal("rows of STOCK, and items", found.get(warehouse, 0).stocks, tpcc.items.into())
}

/// What cannot be told by warehouse, because several may have a part in it.
fn whole(tpcc: &Tpcc, done: &TpccDone, found: &TpccFound) -> Result<(), String> {
    let customers = u64::from(tpcc.customers);
    let loaded = u64::from(tpcc.warehouses) * u64::from(DISTRICTS) * customers;
    let sum = |of: fn(&PartFound) -> u64| found.parts.iter().map(of).sum::<u64>();
    let unknown = &done.unknown;
    let history = sum(|part| part.history);
    within("rows of HISTORY", history, loaded + done.payments, unknown.payments)?;
    let ytd = sum(|part| part.district_ytd);
    equal("the sum of H_AMOUNT, and that of D_YTD", sum(|part| part.history_cents), ytd)?;
    within("the sum of S_YTD", sum(|part| part.stock_ytd), done.quantity, unknown.quantity)?;
    let new = sum(|part| part.new_orders);
    let districts = u64::from(tpcc.warehouses) * u64::from(DISTRICTS);
    let loaded_new = districts * (customers - customers * 7 / 10);
    let ordered = loaded_new + done.orders.iter().sum::<u64>();
    let most = u64::from(DISTRICTS) * unknown.deliveries;
    let least = ordered.saturating_sub(done.delivered + most);
    within("rows of NEW-ORDER", new, least, unknown.orders + most)?;
    equal("transactions that should have ended otherwise", done.strange, 0)
}

fn equal(what: &str, left: u64, right: u64) -> Result<(), String> {
    if left == right { Ok(()) } else { Err(format!("{what}: {left} is not {right}")) }
}

/// Whether there is what was acknowledged, and no more beside than is unknown.
fn within(what: &str, found: u64, acknowledged: u64, unknown: u64) -> Result<(), String> {
    if (acknowledged..=acknowledged + unknown).contains(&found) {
        return Ok(());
    }
    Err(format!("{what}: {found} found, {acknowledged} acknowledged, {unknown} unknown"))
}
