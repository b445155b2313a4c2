//! New-Order (clause 2.4): on the shard of its warehouse, and on those that supply items for it.
//!
//! It is one-shot: every shard gets all lines at once and decides alone. Each looks all items up in
//! its own copy of ITEM, so that they find the same one unused and all take back what they did.

use super::access::{self, Near};
use super::args::{self, LineArgs, OrderArgs, Shown, decided};
use super::random;
use super::schema::{
    CustomerHead, ItemHead, LINES_BYTES_MAX, LINES_MAX, Line, NextOrder, Order, Place, Rows,
    SiteInfo, StockCount, StockInfo, Words,
};
use punctual_runtime::{ProcedureContext, Verdict};
use zerocopy::IntoBytes;
use zerocopy::little_endian::U64;

/// Longest result: a head, and 34 bytes a line.
const SHOWN_BYTES: usize = 64 + 34 * LINES_MAX;

/// What one line came to.
struct Filled {
    name: [u8; 24],
    price_cents: u32,
    amount_cents: u32,
    /// S_QUANTITY and "B" or "G"; zeros where another shard tells them.
    quantity: u8,
    brand: u8,
    dist: [u8; 24],
}

/// New-Order on the home shard. The result is what the terminal shows (clause 2.4.3.3): order id,
/// taxes, customer and total, then for each line name, amount, price, stock and brand.
pub(super) fn new_order(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    decided(args::order(args).and_then(|(order, lines)| enter(context, order, lines)))
}

fn enter(
    context: &mut ProcedureContext<'_>,
    order: &OrderArgs,
    lines: &[LineArgs],
) -> Option<Verdict> {
    let home = order.place();
    let customer_id = u32::from(order.customer.get());
    let customer_key = Rows::Customer.row(home, customer_id);
    context.prefetch(Words::LastOrder.key(home, customer_id));
    let mut near = Near::new();
    near.add(customer_key, 0..size_of::<CustomerHead>());
    fetch(context, near, lines, home.district);

    let next = NextOrder::of_word(context.add(Words::NextOrder.key(home, 0), 1)?);
    let id = next.id - 1;
    let lines_key = Rows::Lines.row(home, id);
    context.prefetch(Words::Order.key(home, id));
    context.prefetch(Words::NewOrder.key(home, id));
    context.prefetch(lines_key.key());

    let site = Rows::Warehouse.row(Place::of_warehouse(home.warehouse), 0);
    let tax = access::row::<SiteInfo>(context, site)?.tax.get();
    let customer: CustomerHead = access::head(context, customer_key)?;
    let discount = customer.discount.get();
    let mut shown = Shown::<SHOWN_BYTES>::new();
    shown.add(&id.to_le_bytes()).add(&tax.to_le_bytes()).add(&next.tax.to_le_bytes());
    shown.add(&discount.to_le_bytes()).add(&customer.credit).add(&customer.last);

    let mut rows = Shown::<LINES_BYTES_MAX>::new();
    let mut total_cents = 0;
    let mut is_valid = true;
    for line in lines {
        // The last item of one order in a hundred does not exist. Everything else is done first,
        // as clause 2.4.2.3 wants it, and then undone.
        let Some(filled) = fill(context, home, line)? else {
            is_valid = false;
            continue;
        };
        total_cents += u64::from(filled.amount_cents);
        rows.add(order_line(line, &filled).as_bytes());
        shown.add(&filled.name).add(&filled.amount_cents.to_le_bytes());
        shown.add(&filled.price_cents.to_le_bytes()).add(&[filled.quantity, filled.brand]);
    }
    insert(context, order, id, lines.len() as u8)?;
    context.put(lines_key.key(), rows.bytes()).then_some(())?;

    let rates = (10_000 - u64::from(discount)) * (10_000 + u64::from(tax) + u64::from(next.tax));
    shown.add(&(total_cents * rates / 100_000_000).to_le_bytes()).add(&[u8::from(is_valid)]);
    shown.send(context)?;
    Some(if is_valid { Verdict::Commit } else { Verdict::Abort })
}

/// New-Order on a shard that has only stock of it. The result tells, for each line that is this
/// shard's: which one, the stock, and "B" or "G".
pub(super) fn supply(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    decided(args::order(args).and_then(|(order, lines)| send(context, order, lines)))
}

fn send(
    context: &mut ProcedureContext<'_>,
    order: &OrderArgs,
    lines: &[LineArgs],
) -> Option<Verdict> {
    let home = order.place();
    fetch(context, Near::new(), lines, home.district);
    let mut shown = Shown::<{ 3 * LINES_MAX }>::new();
    let mut is_valid = true;
    for (number, line) in (0_u8..).zip(lines) {
        let Some(item) = read_item(context, line.item.get()) else {
            is_valid = false;
            continue;
        };
        if line.is_here() {
            let stock = take(context, home, line)?;
            shown.add(&[number, stock.quantity, brand(&item, stock)]);
        }
    }
    shown.send(context)?;
    Some(if is_valid { Verdict::Commit } else { Verdict::Abort })
}

/// Brings near what the lines need, so that dozens of misses take about as long as three.
fn fetch(context: &ProcedureContext<'_>, mut near: Near, lines: &[LineArgs], district: u8) {
    for line in lines {
        let (item, supply) = (line.item.get(), line.supply());
        near.add(Rows::Item.row(Place::of_warehouse(0), item), 0..size_of::<ItemHead>());
        if line.is_here() {
            context.prefetch(Words::Stock.key(supply, item));
            near.add(Rows::Stock.row(supply, item), StockInfo::dist_range(district));
        }
    }
    near.fetch(context);
}

fn read_item(context: &ProcedureContext<'_>, item: u32) -> Option<ItemHead> {
    access::head(context, Rows::Item.row(Place::of_warehouse(0), item))
}

/// Whether the item comes as a brand or generic (clause 2.4.2.2).
fn brand(item: &ItemHead, stock: StockCount) -> u8 {
    if item.is_original != 0 && stock.is_original { b'B' } else { b'G' }
}

/// Takes what a line orders out of the stock, which is here.
fn take(context: &mut ProcedureContext<'_>, home: Place, line: &LineArgs) -> Option<StockCount> {
    let supply = line.supply();
    let key = Words::Stock.key(supply, line.item.get());
    let mut stock = StockCount::of_word(access::word(context, key)?.cast_unsigned());
    stock.take(line.quantity, supply.warehouse != home.warehouse);
    context.put(key, &stock.word().to_le_bytes()).then_some(stock)
}

/// Does one line; the inner `None` stands for an item that does not exist.
fn fill(
    context: &mut ProcedureContext<'_>,
    home: Place,
    line: &LineArgs,
) -> Option<Option<Filled>> {
    let (item_id, supply) = (line.item.get(), line.supply());
    let Some(item) = read_item(context, item_id) else { return Some(None) };
    let price_cents = item.price_cents.get();
    let amount_cents = price_cents * u32::from(line.quantity);
    let (quantity, brand, dist) = if line.is_here() {
        let stock = take(context, home, line)?;
        let row = context.get(Rows::Stock.row(supply, item_id).key())?;
        let dist = row.as_bytes().get(StockInfo::dist_range(home.district))?;
        (stock.quantity, brand(&item, stock), *dist.first_chunk::<24>()?)
    } else {
        let seed = access::word(context, Words::Seed.key(Place::of_warehouse(0), 0))?;
        let dist = random::dist(seed.cast_unsigned(), supply.warehouse, item_id, home.district);
        (0, 0, dist)
    };
    Some(Some(Filled { name: item.name, price_cents, amount_cents, quantity, brand, dist }))
}

fn order_line(line: &LineArgs, filled: &Filled) -> Line {
    Line {
        item: line.item,
        supply: line.supply,
        delivered_ms: U64::new(0),
        amount_cents: filled.amount_cents.into(),
        quantity: line.quantity,
        dist: filled.dist,
    }
}

/// Adds the rows of ORDER and NEW-ORDER.
fn insert(context: &mut ProcedureContext<'_>, order: &OrderArgs, id: u32, lines: u8) -> Option<()> {
    let home = order.place();
    let customer = u32::from(order.customer.get());
    let row = Order {
        customer,
        carrier: 0,
        lines,
        all_local: order.all_local != 0,
        entry_ms: order.entry_ms.get(),
    };
    let done = context.put(Words::Order.key(home, id), &row.word().to_le_bytes())
        && context.put(Words::NewOrder.key(home, id), &u64::from(id).to_le_bytes())
        && context.put(Words::LastOrder.key(home, customer), &u64::from(id).to_le_bytes());
    done.then_some(())
}
