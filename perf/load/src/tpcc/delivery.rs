//! Delivery (clause 2.7): the oldest new order of each of the ten districts of a warehouse.
//!
//! All ten are one transaction here, which clause 2.7.4 allows to be split, and nothing queues it
//! for later. Where a district has no new order it is left out.

use super::access::{self, Near};
use super::args::{DeliveryArgs, Shown, decided};
use super::schema::{Balance, DISTRICTS, LINES_BYTES_MAX, Line, Order, Place, Rows, Words};
use punctual_runtime::{ProcedureContext, Verdict};
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, IntoBytes};

/// Delivery. The result is the number of orders that were delivered, in one byte, and for each
/// district the id of its order or zero.
pub(super) fn delivery(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    decided(deliver_all(context, args))
}

fn deliver_all(context: &mut ProcedureContext<'_>, args: &[u8]) -> Option<Verdict> {
    let args = DeliveryArgs::ref_from_bytes(args).ok()?;
    let ids = oldest(context, args.warehouse.get())?;
    let mut shown = Shown::<{ 4 * DISTRICTS as usize + 1 }>::new();
    let orders: [Option<Order>; DISTRICTS as usize] = std::array::from_fn(|at| {
        let place = Place::new(args.warehouse.get(), at as u8 + 1);
        let order = take(context, place, ids[at], args.carrier)?;
        context.prefetch(Words::Balance.key(place, order.customer));
        Some(order)
    });
    let count = orders.iter().flatten().count() as u8;
    shown.add(&[count]);
    for (district, (id, order)) in (1..).zip(ids.iter().zip(&orders)) {
        let place = Place::new(args.warehouse.get(), district);
        if let Some(order) = order {
            deliver(context, place, *id, order, args.date_ms)?;
        }
        shown.add(&order.map_or(0, |_| *id).to_le_bytes());
    }
    shown.send(context)?;
    Some(Verdict::Commit)
}

/// The oldest order that may be new in each district, with all that belongs to it on its way.
fn oldest(context: &ProcedureContext<'_>, warehouse: u16) -> Option<[u32; DISTRICTS as usize]> {
    let places: [Place; DISTRICTS as usize] =
        std::array::from_fn(|at| Place::new(warehouse, at as u8 + 1));
    for place in places {
        context.prefetch(Words::Oldest.key(place, 0));
    }
    let mut ids = [0; DISTRICTS as usize];
    let mut near = Near::new();
    for (id, place) in ids.iter_mut().zip(places) {
        *id = access::word(context, Words::Oldest.key(place, 0))? as u32;
        context.prefetch(Words::NewOrder.key(place, *id));
        context.prefetch(Words::Order.key(place, *id));
        near.add(Rows::Lines.row(place, *id), 0..LINES_BYTES_MAX);
    }
    near.fetch(context);
    Some(ids)
}

/// Takes an order out of NEW-ORDER and gives it to a carrier; `None` if it is not in there.
fn take(context: &mut ProcedureContext<'_>, place: Place, id: u32, carrier: u8) -> Option<Order> {
    if !context.delete(Words::NewOrder.key(place, id)) {
        return None;
    }
    context.add(Words::Oldest.key(place, 0), 1)?;
    let key = Words::Order.key(place, id);
    let mut order = Order::of_word(access::word(context, key)?.cast_unsigned());
    order.carrier = carrier;
    context.put(key, &order.word().to_le_bytes()).then_some(order)
}

/// Dates the lines of an order, and adds their sum to the customer's balance.
fn deliver(
    context: &mut ProcedureContext<'_>,
    place: Place,
    id: u32,
    order: &Order,
    date_ms: U64,
) -> Option<()> {
    let row = Rows::Lines.row(place, id);
    let mut buffer = [0; LINES_BYTES_MAX];
    let bytes = access::copy(context, row, &mut buffer)?;
    let lines = <[Line]>::mut_from_bytes(bytes).ok()?;
    let mut total_cents = 0;
    for line in &mut *lines {
        line.delivered_ms = date_ms;
        total_cents += i64::from(line.amount_cents.get());
    }
    context.put(row.key(), lines.as_bytes()).then_some(())?;
    let balance = Words::Balance.key(place, order.customer);
    context.add(balance, Balance::delta(total_cents, 1)).map(|_| ())
}
