//! Stock-Level (clause 2.8): how many items of a district's last orders are short. It reads only.

use super::access::{self, Near};
use super::args::{StockLevelArgs, decided};
use super::schema::{LINES_BYTES_MAX, LINES_MAX, Line, NextOrder, Place, Rows, StockCount, Words};
use punctual_runtime::{ProcedureContext, Verdict};
use zerocopy::FromBytes;

/// Orders that are looked at.
const ORDERS: u32 = 20;
const ITEMS_MAX: usize = ORDERS as usize * LINES_MAX;

/// Stock-Level. The result is the number of different items of which the warehouse has less than
/// the threshold.
pub(super) fn stock_level(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    decided(count(context, args))
}

fn count(context: &mut ProcedureContext<'_>, args: &[u8]) -> Option<Verdict> {
    let args = StockLevelArgs::ref_from_bytes(args).ok()?;
    let place = Place::new(args.warehouse.get(), args.district);
    let stock = Place::of_warehouse(place.warehouse);
    let mut buffer = [0; ITEMS_MAX];
    let items = recent(context, place, &mut buffer)?;
    // Few are short, so those are found first and then told apart.
    let (mut short, mut len) = ([0; ITEMS_MAX], 0);
    for item in items {
        let word = access::word(context, Words::Stock.key(stock, *item))?;
        if StockCount::of_word(word.cast_unsigned()).quantity < args.threshold {
            short[len] = *item;
            len += 1;
        }
    }
    let short = &mut short[..len];
    short.sort_unstable();
    let different = short.chunk_by(|left, right| left == right).count() as u64;
    context.result(&different.to_le_bytes()).then_some(Verdict::Commit)
}

/// The items of the last orders, some of them more than once, with their stock on its way.
fn recent<'b>(
    context: &ProcedureContext<'_>,
    place: Place,
    buffer: &'b mut [u32; ITEMS_MAX],
) -> Option<&'b [u32]> {
    let next = NextOrder::of_word(access::word(context, Words::NextOrder.key(place, 0))?).id;
    let orders = next.saturating_sub(ORDERS).max(1)..next;
    let mut near = Near::new();
    for id in orders.clone() {
        near.add(Rows::Lines.row(place, id), 0..LINES_BYTES_MAX);
    }
    near.fetch(context);
    let stock = Place::of_warehouse(place.warehouse);
    let mut len = 0;
    for id in orders {
        let row = Rows::Lines.row(place, id);
        let value = context.get(row.key())?;
        for line in <[Line]>::ref_from_bytes(value.as_bytes()).ok()? {
            let item = line.item.get();
            context.prefetch(Words::Stock.key(stock, item));
            *buffer.get_mut(len)? = item;
            len += 1;
        }
    }
    Some(&buffer[..len])
}
