//! Payment (clause 2.5), on the shard of its warehouse and on that of the customer.
//!
//! The row of HISTORY is written where the customer is: who is meant by a last name is known only
//! there, and the row has to name the customer. The names of warehouse and district that it quotes
//! never change, so that shard can tell them from the seed.

use super::access;
use super::args::{CustomerArgs, PaymentArgs, Shown, decided};
use super::random;
use super::schema::{
    Balance, CUSTOMER_DATA_BYTES, CustomerInfo, History, Paid, Place, Rows, SiteInfo, Words,
};
use punctual_runtime::{ProcedureContext, Verdict};
use std::io::Write as _;
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of C_DATA that a terminal shows (clause 2.5.3.4).
const DATA_SHOWN_BYTES: usize = 200;
/// Longest result: customer, balance, and what is shown of C_DATA.
const SHOWN_BYTES: usize = size_of::<CustomerInfo>() + 16 + DATA_SHOWN_BYTES;
/// Longest text that a bad credit adds to C_DATA: five numbers, an amount, and what is between.
const ENTRY_BYTES: usize = 64;

/// Payment. Its home part tells the addresses of warehouse and district, its other part what is
/// known of the customer, the new balance and, where the credit is bad, the data.
pub(super) fn payment(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    decided(pay(context, args))
}

fn pay(context: &mut ProcedureContext<'_>, args: &[u8]) -> Option<Verdict> {
    let payment = PaymentArgs::ref_from_bytes(args).ok()?;
    if payment.parts & PaymentArgs::AT_HOME != 0 {
        at_home(context, payment)?;
    }
    if payment.parts & PaymentArgs::AT_CUSTOMER != 0 {
        at_customer(context, payment)?;
    }
    Some(Verdict::Commit)
}

fn at_home(context: &mut ProcedureContext<'_>, payment: &PaymentArgs) -> Option<()> {
    let home = payment.place();
    let warehouse = Place::of_warehouse(home.warehouse);
    let amount = i64::from(payment.amount_cents.get());
    context.add(Words::WarehouseYtd.key(warehouse, 0), amount)?;
    context.add(Words::DistrictYtd.key(home, 0), amount)?;
    let rows = [Rows::Warehouse.row(warehouse, 0), Rows::District.row(home, 0)];
    let mut shown = Shown::<{ 2 * size_of::<SiteInfo>() }>::new();
    for row in rows {
        shown.add(access::row::<SiteInfo>(context, row)?.as_bytes());
    }
    shown.send(context)
}

/// Which customer is meant.
pub(super) fn customer_of(context: &ProcedureContext<'_>, customer: &CustomerArgs) -> Option<u32> {
    let number = u32::from(customer.number.get());
    match customer.by_name {
        0 => Some(number),
        _ => access::middle_named(context, customer.place(), number),
    }
}

fn at_customer(context: &mut ProcedureContext<'_>, payment: &PaymentArgs) -> Option<()> {
    let place = payment.customer.place();
    let id = customer_of(context, &payment.customer)?;
    let row = Rows::Customer.row(place, id);
    let (balance_key, paid_key) = (Words::Balance.key(place, id), Words::Paid.key(place, id));
    context.prefetch(balance_key);
    context.prefetch(paid_key);
    let wanted = std::iter::once((row.key(), 0..size_of::<CustomerInfo>()));
    context.prefetch_values(wanted);

    let amount_cents = payment.amount_cents.get();
    let balance = context.add(balance_key, Balance::delta(-i64::from(amount_cents), 0))?;
    context.add(paid_key, Paid::delta(amount_cents, 1))?;
    add_history(context, payment, id)?;

    let customer: CustomerInfo = access::row(context, row)?;
    let mut shown = Shown::<SHOWN_BYTES>::new();
    shown.add(&id.to_le_bytes()).add(customer.as_bytes());
    shown.add(&Balance::cents(balance).to_le_bytes());
    if customer.head.credit == *b"BC" {
        note(context, payment, id, &mut shown)?;
    }
    shown.send(context)
}

/// Puts the payment in front of C_DATA and drops what is too long then (clause 2.5.2.2).
fn note(
    context: &mut ProcedureContext<'_>,
    payment: &PaymentArgs,
    id: u32,
    shown: &mut Shown<SHOWN_BYTES>,
) -> Option<()> {
    let (home, place) = (payment.place(), payment.customer.place());
    let mut data = [0; ENTRY_BYTES + CUSTOMER_DATA_BYTES];
    let mut rest = &mut data[..ENTRY_BYTES];
    let amount = payment.amount_cents.get();
    write!(
        rest,
        "{id} {} {} {} {} {}.{:02} ",
        place.district,
        place.warehouse,
        home.district,
        home.warehouse,
        amount / 100,
        amount % 100
    )
    .ok()?;
    let len = ENTRY_BYTES - rest.len();
    let row = Rows::CustomerData.row(place, id);
    let old_len = access::copy(context, row, &mut data[len..])?.len();
    let new = &data[..(len + old_len).min(CUSTOMER_DATA_BYTES)];
    context.put(row.key(), new).then_some(())?;
    shown.add(&new[..new.len().min(DATA_SHOWN_BYTES)]);
    Some(())
}

fn add_history(context: &mut ProcedureContext<'_>, payment: &PaymentArgs, id: u32) -> Option<()> {
    let (home, place) = (payment.place(), payment.customer.place());
    let seed = access::word(context, Words::Seed.key(Place::of_warehouse(0), 0))?;
    let names = [Place::of_warehouse(home.warehouse), home]
        .map(|site| random::site_name(seed.cast_unsigned(), site));
    let history = History {
        customer: U16::new(id as u16),
        customer_warehouse: payment.customer.warehouse,
        warehouse: payment.warehouse,
        customer_district: place.district,
        district: home.district,
        date_ms: payment.date_ms,
        amount_cents: payment.amount_cents,
        data: history_data(&names),
    };
    let len = context.add(Words::HistoryLen.key(place, 0), 1)?;
    context.put(Rows::History.row(place, len as u32 - 1).key(), history.as_bytes()).then_some(())
}

/// H_DATA: both names with four spaces between them.
fn history_data(names: &[[u8; 10]; 2]) -> [u8; 24] {
    let mut data = [0; 24];
    let mut len = 0;
    for (name, gap) in names.iter().zip([4, 0]) {
        for letter in name.iter().take_while(|letter| **letter != 0) {
            data[len] = *letter;
            len += 1;
        }
        data[len..len + gap].fill(b' ');
        len += gap;
    }
    data
}
