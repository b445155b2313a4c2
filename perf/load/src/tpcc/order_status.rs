//! Order-Status (clause 2.6): the last order of a customer. It reads only.

use super::access;
use super::args::{CustomerArgs, Shown, decided};
use super::payment::customer_of;
use super::schema::{Balance, CustomerInfo, LINES_BYTES_MAX, LINES_MAX, Line, Order, Rows, Words};
use punctual_runtime::{ProcedureContext, Verdict};
use zerocopy::{FromBytes, IntoBytes};

/// Longest result: a head, and 19 bytes a line.
const SHOWN_BYTES: usize = 96 + 19 * LINES_MAX;

/// Order-Status. The result is what the terminal shows (clause 2.6.3.3): the customer and the
/// balance, the order, and for each line item, supplier, quantity, amount and date of delivery.
pub(super) fn order_status(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    decided(look(context, args))
}

fn look(context: &mut ProcedureContext<'_>, args: &[u8]) -> Option<Verdict> {
    let args = CustomerArgs::ref_from_bytes(args).ok()?;
    let place = args.place();
    let id = customer_of(context, args)?;
    let customer: CustomerInfo = access::row(context, Rows::Customer.row(place, id))?;
    let balance = access::word(context, Words::Balance.key(place, id))?;
    let last = access::word(context, Words::LastOrder.key(place, id))? as u32;
    let word = access::word(context, Words::Order.key(place, last))?;
    let order = Order::of_word(word.cast_unsigned());
    let mut shown = Shown::<SHOWN_BYTES>::new();
    shown.add(&id.to_le_bytes()).add(&customer.first).add(&customer.middle);
    shown.add(&customer.head.last).add(&Balance::cents(balance).to_le_bytes());
    shown.add(&last.to_le_bytes()).add(&order.entry_ms.to_le_bytes()).add(&[order.carrier]);
    let mut buffer = [0; LINES_BYTES_MAX];
    let bytes = access::copy(context, Rows::Lines.row(place, last), &mut buffer)?;
    for line in <[Line]>::ref_from_bytes(bytes).ok()? {
        shown.add(line.item.as_bytes()).add(line.supply.as_bytes()).add(&[line.quantity]);
        shown.add(line.amount_cents.as_bytes()).add(line.delivered_ms.as_bytes());
    }
    shown.send(context)?;
    Some(Verdict::Commit)
}
