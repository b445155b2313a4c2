//! Makes the transactions of one worker: who buys what (clauses 2.4.1 to 2.8.1), in the mix of
//! clause 5.2.3.

use super::args::{
    self, CheckArgs, CustomerArgs, DeliveryArgs, LineArgs, ORDER_ARGS_MAX, OrderArgs, PaymentArgs,
    StockLevelArgs,
};
use super::check::{PARTS, TpccFound};
use super::done::{TpccDone, add_at};
use super::load::Pieces;
use super::random::{Constants, between};
use super::schema::{DISTRICTS, LINES_MAX, Place as Home};
use super::{Tpcc, UNUSED_ITEM, kind, shard_of_warehouse};
use crate::keys::Rng;
use crate::workload::{Generator, Place};
use punctual_runtime::{Key, Outcome, Transaction};
use punctual_wire::{ResultReader, shard_of};
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros, IntoBytes};

/// Share of those who are asked for by their last name.
const BY_NAME_SHARE: f64 = 0.6;

/// A procedure that is to be called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) procedure: u16,
    pub(super) shard: u16,
    args: [u8; ORDER_ARGS_MAX],
    len: usize,
}

impl Call {
    fn new(procedure: u16, shard: u16, parts: [&[u8]; 2]) -> Self {
        let mut args = [0; ORDER_ARGS_MAX];
        let mut len = 0;
        for part in parts {
            args[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        Self { procedure, shard, args, len }
    }

    pub(super) fn args(&self) -> &[u8] {
        &self.args[..self.len]
    }
}

/// What has to be known of a transaction when it ends.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flight {
    pub(super) kind: u8,
    pub(super) home: u16,
    /// Items of an order, cents of a payment.
    pub(super) amount: u64,
    /// Whether it asks for an item that does not exist, and has to abort.
    pub(super) is_void: bool,
    /// Whether it touches a second warehouse, and a second shard.
    pub(super) is_remote: bool,
    pub(super) is_spanning: bool,
}

/// The generator of one worker.
#[derive(Debug)]
pub struct TpccGenerator {
    tpcc: Tpcc,
    shards: u16,
    constants: Constants,
    rng: Rng,
    /// A key of each shard, which leads a call there.
    routes: Vec<u64>,
    pieces: Pieces,
    /// Pieces that this worker has still to load.
    to_load: Range<u64>,
    /// The calls of the transaction made last.
    calls: Vec<Call>,
    drawn: Flight,
    flights: Vec<Flight>,
    done: TpccDone,
    /// Parts that this worker reads, and those that it has still to read.
    to_verify: Range<u64>,
    verifying: Range<u64>,
    asked: Home,
    reading: Vec<Home>,
    found: TpccFound,
}

impl TpccGenerator {
    pub(super) fn new(tpcc: &Tpcc, place: &Place) -> Self {
        let route = |shard: u16| {
            let mut keys = 0_u64..;
            keys.find(|key| shard_of(Key::Word(*key), place.shards) == shard).unwrap_or(0)
        };
        let pieces = Pieces::new(tpcc, place.shards, place.seed);
        let to_verify = place.share(tpcc.parts());
        let slots = place.slots as usize;
        Self {
            tpcc: *tpcc,
            shards: place.shards,
            constants: Constants::new(place.seed),
            rng: Rng::new(place.own_seed()),
            routes: (0..place.shards).map(route).collect(),
            to_load: place.share(pieces.len()),
            pieces,
            calls: Vec::with_capacity(LINES_MAX + 1),
            drawn: Flight::default(),
            flights: vec![Flight::default(); slots],
            done: TpccDone::default(),
            verifying: to_verify.clone(),
            to_verify,
            asked: Home::of_warehouse(0),
            reading: vec![Home::of_warehouse(0); slots],
            found: TpccFound::default(),
        }
    }

    /// The calls of the transaction drawn last.
    #[cfg(test)]
    pub(super) fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// The transaction drawn last.
    #[cfg(test)]
    pub(super) fn drawn(&self) -> Flight {
        self.drawn
    }

    /// Draws a transaction.
    pub(super) fn draw(&mut self) {
        let warehouse = between(&mut self.rng, 1, self.tpcc.warehouses.into()) as u16;
        let district = between(&mut self.rng, 1, DISTRICTS.into()) as u8;
        let home = Home::new(warehouse, district);
        self.calls.clear();
        self.drawn = Flight { home: warehouse, ..Flight::default() };
        self.drawn.kind = match self.rng.below(100) {
            0..45 => kind::NEW_ORDER,
            45..88 => kind::PAYMENT,
            88..92 => kind::ORDER_STATUS,
            92..96 => kind::DELIVERY,
            _ => kind::STOCK_LEVEL,
        };
        match self.drawn.kind {
            kind::NEW_ORDER => self.new_order(home),
            kind::PAYMENT => self.payment(home),
            kind::ORDER_STATUS => self.order_status(home),
            kind::DELIVERY => self.delivery(home),
            _ => self.stock_level(home),
        }
        self.drawn.is_spanning = self.calls.len() > 1;
    }

    fn shard(&self, warehouse: u16) -> u16 {
        shard_of_warehouse(warehouse, self.shards)
    }

    fn push(&mut self, procedure: u16, shard: u16, args: &[u8]) {
        self.calls.push(Call::new(procedure, shard, [args, &[]]));
    }

    /// Another warehouse with this probability, if there is one.
    fn supplier(&mut self, home: u16, share: f64) -> u16 {
        let warehouses = self.tpcc.warehouses;
        if warehouses < 2 || !self.rng.chance(share) {
            return home;
        }
        let other = between(&mut self.rng, 1, u64::from(warehouses) - 1) as u16;
        other + u16::from(other >= home)
    }

    fn customer(&mut self) -> u16 {
        self.constants.customer(&mut self.rng, self.tpcc.customers) as u16
    }

    fn customer_or_name(&mut self, place: Home) -> CustomerArgs {
        let by_name = self.rng.chance(BY_NAME_SHARE);
        let number = if by_name {
            self.constants.name(&mut self.rng, self.tpcc.customers) as u16
        } else {
            self.customer()
        };
        CustomerArgs {
            warehouse: U16::new(place.warehouse),
            district: place.district,
            by_name: u8::from(by_name),
            number: U16::new(number),
        }
    }

    fn new_order(&mut self, home: Home) {
        let customer = self.customer();
        let count = between(&mut self.rng, 5, LINES_MAX as u64) as usize;
        let is_void = self.rng.chance(self.tpcc.rollback);
        let mut lines = <[LineArgs; LINES_MAX]>::new_zeroed();
        let lines = &mut lines[..count];
        for line in &mut *lines {
            line.item = U32::new(self.constants.item(&mut self.rng, self.tpcc.items));
            line.supply = U16::new(self.supplier(home.warehouse, self.tpcc.remote_items));
            line.quantity = between(&mut self.rng, 1, 10) as u8;
            self.drawn.amount += u64::from(line.quantity);
        }
        if is_void {
            // Clause 2.4.1.5: the last item has a number that nobody uses.
            lines[count - 1].item = U32::new(UNUSED_ITEM);
        }
        let is_remote = lines.iter().any(|line| line.supply.get() != home.warehouse);
        (self.drawn.is_void, self.drawn.is_remote) = (is_void, is_remote);
        let order = OrderArgs {
            entry_ms: now_ms(),
            warehouse: U16::new(home.warehouse),
            customer: U16::new(customer),
            district: home.district,
            all_local: u8::from(!is_remote),
            spare: U16::new(0),
        };
        self.order_at(args::NEW_ORDER, self.shard(home.warehouse), &order, lines);
        for at in 0..count {
            let shard = self.shard(lines[at].supply.get());
            if self.calls.iter().all(|call| call.shard != shard) {
                self.order_at(args::SUPPLY, shard, &order, lines);
            }
        }
    }

    /// Calls a shard for those of the lines that are its own.
    fn order_at(&mut self, procedure: u16, shard: u16, order: &OrderArgs, lines: &mut [LineArgs]) {
        for line in &mut *lines {
            line.here = u8::from(self.shard(line.supply.get()) == shard);
        }
        self.calls.push(Call::new(procedure, shard, [order.as_bytes(), lines.as_bytes()]));
    }

    fn payment(&mut self, home: Home) {
        let warehouse = self.supplier(home.warehouse, self.tpcc.remote_payments);
        let is_remote = warehouse != home.warehouse;
        let place = if is_remote {
            Home::new(warehouse, between(&mut self.rng, 1, DISTRICTS.into()) as u8)
        } else {
            home
        };
        let amount_cents = between(&mut self.rng, 100, 500_000) as u32;
        (self.drawn.amount, self.drawn.is_remote) = (amount_cents.into(), is_remote);
        let mut payment = PaymentArgs {
            date_ms: now_ms(),
            amount_cents: U32::new(amount_cents),
            customer: self.customer_or_name(place),
            warehouse: U16::new(home.warehouse),
            district: home.district,
            parts: PaymentArgs::AT_HOME | PaymentArgs::AT_CUSTOMER,
        };
        let shards = [home.warehouse, warehouse].map(|warehouse| self.shard(warehouse));
        if shards[0] == shards[1] {
            self.push(args::PAYMENT, shards[0], payment.as_bytes());
            return;
        }
        for (shard, part) in
            shards.into_iter().zip([PaymentArgs::AT_HOME, PaymentArgs::AT_CUSTOMER])
        {
            payment.parts = part;
            self.push(args::PAYMENT, shard, payment.as_bytes());
        }
    }

    fn order_status(&mut self, home: Home) {
        let customer = self.customer_or_name(home);
        self.push(args::ORDER_STATUS, self.shard(home.warehouse), customer.as_bytes());
    }

    fn delivery(&mut self, home: Home) {
        let delivery = DeliveryArgs {
            date_ms: now_ms(),
            warehouse: U16::new(home.warehouse),
            carrier: between(&mut self.rng, 1, 10) as u8,
            spare: 0,
        };
        self.push(args::DELIVERY, self.shard(home.warehouse), delivery.as_bytes());
    }

    fn stock_level(&mut self, home: Home) {
        let level = StockLevelArgs {
            warehouse: U16::new(home.warehouse),
            district: home.district,
            threshold: between(&mut self.rng, 10, 20) as u8,
        };
        self.push(args::STOCK_LEVEL, self.shard(home.warehouse), level.as_bytes());
    }

    fn committed(&mut self, flight: Flight, results: &mut ResultReader<'_>) {
        let Flight { kind, home, amount, is_void, is_remote, is_spanning } = flight;
        self.done.committed += 1;
        self.done.remote += u64::from(is_remote);
        self.done.spanning += u64::from(is_spanning);
        match kind {
            kind::NEW_ORDER => {
                self.done.strange += u64::from(is_void);
                self.done.quantity += amount;
                add_at(&mut self.done.orders, home, 1);
            }
            kind::PAYMENT => {
                self.done.payments += 1;
                add_at(&mut self.done.paid_cents, home, amount);
            }
            kind::DELIVERY => {
                let count = results.next().and_then(|result| result.value?.first().copied());
                self.done.delivered += u64::from(count.unwrap_or(0));
            }
            _ => {}
        }
    }

    fn unknown(&mut self, flight: Flight) {
        let unknown = &mut self.done.unknown;
        match flight.kind {
            kind::NEW_ORDER if !flight.is_void => {
                unknown.orders += 1;
                unknown.quantity += flight.amount;
            }
            kind::PAYMENT => {
                unknown.payments += 1;
                unknown.paid_cents += flight.amount;
            }
            kind::DELIVERY => unknown.deliveries += 1,
            _ => {}
        }
    }

    /// The arguments that read a part, and where it is.
    pub(super) fn part(&self, number: u64) -> (Home, CheckArgs) {
        let of_warehouse = self.tpcc.parts_of_warehouse();
        let warehouse = (number / of_warehouse) as u16 + 1;
        let (number, stock) = (number % of_warehouse, u64::from(self.tpcc.stock_parts()));
        let (home, part, parts) = match number.checked_sub(stock) {
            None => (Home::of_warehouse(warehouse), number as u32, self.tpcc.stock_parts()),
            Some(number) => {
                let district = (number / u64::from(PARTS)) as u8 + 1;
                (Home::new(warehouse, district), (number % u64::from(PARTS)) as u32, PARTS)
            }
        };
        let args = CheckArgs {
            warehouse: U16::new(warehouse),
            district: home.district,
            spare: 0,
            part: U32::new(part),
            parts: U32::new(parts),
            items: U32::new(self.tpcc.items),
        };
        (home, args)
    }
}

impl Generator for TpccGenerator {
    type Done = TpccDone;
    type Found = TpccFound;

    fn load(&mut self, transaction: &mut Transaction) -> bool {
        let Some(number) = self.to_load.next() else { return false };
        let (shard, args) = self.pieces.get(number);
        transaction.call(args::LOAD, self.routes[usize::from(shard)], args.as_bytes());
        true
    }

    fn next(&mut self, transaction: &mut Transaction) -> Result<u8, String> {
        self.draw();
        for call in &self.calls {
            let route = self.routes[usize::from(call.shard)];
            transaction.call(call.procedure, route, call.args());
        }
        Ok(self.drawn.kind)
    }

    fn sent(&mut self, slot: u16) {
        self.flights[usize::from(slot)] = self.drawn;
    }

    fn ended(&mut self, slot: u16, outcome: &Outcome, results: &mut ResultReader<'_>) {
        let flight = self.flights[usize::from(slot)];
        match outcome {
            Outcome::Committed { .. } => self.committed(flight, results),
            Outcome::Aborted { .. } if flight.is_void => self.done.rolled_back += 1,
            Outcome::Aborted { .. } => self.done.strange += 1,
            Outcome::Refused(_) => {}
            Outcome::Unknown(_) => self.unknown(flight),
        }
    }

    fn done(&mut self) -> TpccDone {
        self.done.clone()
    }

    fn verify(&mut self, transaction: &mut Transaction) -> bool {
        let Some(number) = self.verifying.next() else { return false };
        let (home, args) = self.part(number);
        self.asked = home;
        let route = self.routes[usize::from(self.shard(home.warehouse))];
        transaction.call(args::CHECK, route, args.as_bytes());
        true
    }

    fn verify_sent(&mut self, slot: u16) {
        self.reading[usize::from(slot)] = self.asked;
    }

    fn verified(&mut self, slot: u16, results: &mut ResultReader<'_>) {
        let home = self.reading[usize::from(slot)];
        if let Some(part) = results.next().and_then(|result| result.value) {
            self.found.add_part(home, part);
        }
    }

    fn found(&mut self) -> TpccFound {
        self.verifying = self.to_verify.clone();
        std::mem::take(&mut self.found)
    }
}

/// The time that a terminal would have.
fn now_ms() -> U64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    U64::new(since.as_millis() as u64)
}
