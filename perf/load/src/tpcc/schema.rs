//! Where the columns of the nine tables are.
//!
//! A table is stored in parts. What transactions change or ask for often is packed into one word a
//! row, under an 8-byte key: such a row is one cache line of the store's table of words. Everything
//! else of it is a second row of fixed layout, little-endian, under a 7-byte key.
//!
//! | table (clause 1.3.1) | words | rows |
//! |---|---|---|
//! | WAREHOUSE | year to date | the rest |
//! | DISTRICT | next order and tax; year to date | the rest |
//! | CUSTOMER | balance and deliveries; paid and payments | the rest; C_DATA |
//! | HISTORY | | all |
//! | NEW-ORDER | all: it is its key | |
//! | ORDER | all | |
//! | ORDER-LINE | | all lines of an order together |
//! | ITEM | | all |
//! | STOCK | quantity, year to date, both counts | S_DIST_xx and S_DATA |
//!
//! Beside them are words that help to find rows: a district's oldest new order and the number of
//! its history rows, a customer's last order, and the customers of each last name.
//!
//! Amounts are whole cents, rates ten-thousandths, times milliseconds since 1970, texts filled up
//! with zeros.

use punctual_runtime::Key;
use std::ops::Range;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Districts of a warehouse (clause 1.2.1).
pub(super) const DISTRICTS: u8 = 10;
/// Most lines of an order (clause 2.4.1.3).
pub(super) const LINES_MAX: usize = 15;
/// Longest C_DATA.
pub(super) const CUSTOMER_DATA_BYTES: usize = 500;
/// Ids of customers with one last name that a word has room for.
pub(super) const NAMED_IN_WORD: usize = 4;

/// A district of a warehouse. Number 0 stands for the warehouse itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) warehouse: u16,
    pub(super) district: u8,
}

impl Place {
    pub(super) fn new(warehouse: u16, district: u8) -> Self {
        Self { warehouse, district }
    }

    /// What belongs to no district.
    pub(super) fn of_warehouse(warehouse: u16) -> Self {
        Self::new(warehouse, 0)
    }
}

/// What has one word a row.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(super) enum Words {
    /// The seed of the data, on every shard.
    Seed = 1,
    /// W_YTD.
    WarehouseYtd,
    /// [`NextOrder`].
    NextOrder,
    /// D_YTD.
    DistrictYtd,
    /// Where NEW-ORDER begins in a district: an aid.
    Oldest,
    /// How many rows HISTORY has for the customers of a district: an aid.
    HistoryLen,
    /// [`Balance`].
    Balance,
    /// [`Paid`].
    Paid,
    /// O_ID of a customer's last order: an aid.
    LastOrder,
    /// [`Order`].
    Order,
    /// NEW-ORDER: a row has no column beside its key.
    NewOrder,
    /// [`StockCount`].
    Stock,
    /// Customers of a last name, by first name: an index. Longer lists are in [`Rows::Named`].
    Named,
}

impl Words {
    /// The key of a row.
    #[inline]
    pub(super) fn key(self, place: Place, number: u32) -> Key<'static> {
        let table = (self as u64) << 56;
        let place = u64::from(place.warehouse) << 40 | u64::from(place.district) << 32;
        Key::Word(table | place | u64::from(number))
    }
}

/// What has rows of its own length.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(super) enum Rows {
    /// [`Item`].
    Item = 1,
    /// [`StockInfo`].
    Stock,
    /// [`SiteInfo`] of a warehouse.
    Warehouse,
    /// [`SiteInfo`] of a district.
    District,
    /// [`CustomerInfo`].
    Customer,
    /// C_DATA.
    CustomerData,
    /// The [`Line`]s of an order.
    Lines,
    /// [`History`].
    History,
    /// Lists of [`Words::Named`] that are too long for a word.
    Named,
}

/// The key of a row: 7 bytes, so that none of them is looked for among the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct RowKey([u8; 7]);

impl RowKey {
    #[inline]
    pub(super) fn key(&self) -> Key<'_> {
        Key::Bytes(&self.0)
    }
}

impl Rows {
    /// The key of a row.
    #[inline]
    pub(super) fn row(self, place: Place, number: u32) -> RowKey {
        let head = (self as u8) << 4 | place.district;
        let [w0, w1] = place.warehouse.to_le_bytes();
        let [n0, n1, n2, n3] = number.to_le_bytes();
        RowKey([n0, n1, n2, n3, w0, w1, head])
    }
}

/// D_NEXT_O_ID and D_TAX. Adding one to the word takes an order id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NextOrder {
    pub(super) id: u32,
    pub(super) tax: u16,
}

impl NextOrder {
    pub(super) fn of_word(word: i64) -> Self {
        Self { id: word as u32, tax: (word >> 32) as u16 }
    }

    pub(super) fn word(self) -> i64 {
        i64::from(self.tax) << 32 | i64::from(self.id)
    }
}

/// C_BALANCE and C_DELIVERY_CNT: the balance, which has a sign, in the high bits.
pub(super) struct Balance;

impl Balance {
    const BITS: u32 = 16;

    /// What to add for this change of the balance and so many deliveries.
    pub(super) fn delta(cents: i64, deliveries: i64) -> i64 {
        (cents << Self::BITS) + deliveries
    }

    pub(super) fn cents(word: i64) -> i64 {
        word >> Self::BITS
    }
}

/// C_YTD_PAYMENT, in 44 bits, and C_PAYMENT_CNT.
pub(super) struct Paid;

impl Paid {
    const BITS: u32 = 44;

    /// What to add for so many payments of this sum.
    pub(super) fn delta(cents: u32, payments: i64) -> i64 {
        (payments << Self::BITS) + i64::from(cents)
    }
}

/// A row of ORDER but for its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) customer: u32,
    /// O_CARRIER_ID; 0 stands for none.
    pub(super) carrier: u8,
    pub(super) lines: u8,
    pub(super) all_local: bool,
    pub(super) entry_ms: u64,
}

impl Order {
    pub(super) fn of_word(word: u64) -> Self {
        Self {
            customer: (word & 0xfff) as u32,
            carrier: (word >> 12 & 0xf) as u8,
            lines: (word >> 16 & 0xf) as u8,
            all_local: word >> 20 & 1 == 1,
            entry_ms: word >> 21,
        }
    }

    pub(super) fn word(self) -> u64 {
        u64::from(self.customer)
            | u64::from(self.carrier) << 12
            | u64::from(self.lines) << 16
            | u64::from(self.all_local) << 20
            | self.entry_ms << 21
    }
}

/// What changes of a row of STOCK. The counts wrap round beyond the four digits that the standard
/// gives them, at 2^14; the year to date beyond its eight, at 2^28.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StockCount {
    pub(super) quantity: u8,
    /// Whether S_DATA says "ORIGINAL"; it never changes.
    pub(super) is_original: bool,
    pub(super) ytd: u32,
    pub(super) orders: u16,
    pub(super) remote: u16,
}

impl StockCount {
    pub(super) fn of_word(word: u64) -> Self {
        Self {
            quantity: (word & 0x7f) as u8,
            is_original: word >> 7 & 1 == 1,
            ytd: (word >> 8 & 0x0fff_ffff) as u32,
            orders: (word >> 36 & 0x3fff) as u16,
            remote: (word >> 50) as u16,
        }
    }

    pub(super) fn word(self) -> u64 {
        u64::from(self.quantity & 0x7f)
            | u64::from(self.is_original) << 7
            | u64::from(self.ytd & 0x0fff_ffff) << 8
            | u64::from(self.orders & 0x3fff) << 36
            | u64::from(self.remote) << 50
    }

    /// Takes so many out of it, as clause 2.4.2.2 says.
    pub(super) fn take(&mut self, quantity: u8, is_remote: bool) {
        let refill = if self.quantity >= quantity + 10 { 0 } else { 91 };
        self.quantity = self.quantity + refill - quantity;
        self.ytd += u32::from(quantity);
        self.orders += 1;
        self.remote += u16::from(is_remote);
    }
}

/// What New-Order asks for of a row of ITEM.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct ItemHead {
    pub(super) price_cents: U32,
    pub(super) name: [u8; 24],
    /// Whether I_DATA says "ORIGINAL", so that nobody has to search it again.
    pub(super) is_original: u8,
}

/// A row of ITEM.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Item {
    pub(super) head: ItemHead,
    pub(super) image: U32,
    pub(super) data: [u8; 50],
}

/// What never changes of a row of STOCK.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct StockInfo {
    pub(super) dist: [[u8; 24]; DISTRICTS as usize],
    pub(super) data: [u8; 50],
}

impl StockInfo {
    /// Where S_DIST_xx of a district is.
    pub(super) fn dist_range(district: u8) -> Range<usize> {
        let at = usize::from(district.saturating_sub(1)) * 24;
        at..at + 24
    }
}

/// What never changes of a row of WAREHOUSE or DISTRICT.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct SiteInfo {
    pub(super) name: [u8; 10],
    pub(super) address: Address,
    /// W_TAX; of a district the same as in [`NextOrder`].
    pub(super) tax: U16,
}

/// Two streets, city, state and zip code.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Address {
    pub(super) street_1: [u8; 20],
    pub(super) street_2: [u8; 20],
    pub(super) city: [u8; 20],
    pub(super) state: [u8; 2],
    pub(super) zip: [u8; 9],
}

/// What New-Order asks for of a row of CUSTOMER.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct CustomerHead {
    /// C_DISCOUNT.
    pub(super) discount: U16,
    /// C_CREDIT: "GC" or "BC".
    pub(super) credit: [u8; 2],
    pub(super) last: [u8; 16],
}

/// What never changes of a row of CUSTOMER, but for C_DATA.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct CustomerInfo {
    pub(super) head: CustomerHead,
    pub(super) first: [u8; 16],
    pub(super) middle: [u8; 2],
    pub(super) address: Address,
    pub(super) phone: [u8; 16],
    pub(super) since_ms: U64,
    pub(super) credit_limit_cents: U64,
}

/// A row of ORDER-LINE; its number is its place in the row of its order.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Line {
    pub(super) item: U32,
    pub(super) supply: U16,
    /// OL_DELIVERY_D; 0 stands for none.
    pub(super) delivered_ms: U64,
    pub(super) amount_cents: U32,
    pub(super) quantity: u8,
    pub(super) dist: [u8; 24],
}

/// Bytes of the row of the longest order.
pub(super) const LINES_BYTES_MAX: usize = LINES_MAX * size_of::<Line>();

/// A row of HISTORY.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct History {
    pub(super) customer: U16,
    pub(super) customer_warehouse: U16,
    pub(super) warehouse: U16,
    pub(super) customer_district: u8,
    pub(super) district: u8,
    pub(super) date_ms: U64,
    pub(super) amount_cents: U32,
    pub(super) data: [u8; 24],
}
