//! Arguments of the procedures, and the buffer that their results are made in.

use super::schema::{LINES_MAX, Place};
use punctual_runtime::{ProcedureContext, Verdict};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Id of New-Order on the home shard.
pub const NEW_ORDER: u16 = 0x5400;
/// Id of New-Order on the other shards that supply items.
pub const SUPPLY: u16 = 0x5401;
/// Id of Payment.
pub const PAYMENT: u16 = 0x5402;
/// Id of Order-Status.
pub const ORDER_STATUS: u16 = 0x5403;
/// Id of Delivery.
pub const DELIVERY: u16 = 0x5404;
/// Id of Stock-Level.
pub const STOCK_LEVEL: u16 = 0x5405;
/// Id of what loads a part of a table.
pub const LOAD: u16 = 0x5406;
/// Id of what reads a part of the store for the check.
pub const CHECK: u16 = 0x5407;

/// New-Order; its [`LineArgs`] follow. All shards get the same but for which lines are theirs.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct OrderArgs {
    pub(super) entry_ms: U64,
    pub(super) warehouse: U16,
    pub(super) customer: U16,
    pub(super) district: u8,
    pub(super) all_local: u8,
    pub(super) spare: U16,
}

impl OrderArgs {
    pub(super) fn place(&self) -> Place {
        Place::new(self.warehouse.get(), self.district)
    }
}

/// A line of New-Order.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct LineArgs {
    pub(super) item: U32,
    pub(super) supply: U16,
    pub(super) quantity: u8,
    /// Whether the shard that is called has the stock of it.
    pub(super) here: u8,
}

impl LineArgs {
    pub(super) fn supply(&self) -> Place {
        Place::of_warehouse(self.supply.get())
    }

    pub(super) fn is_here(&self) -> bool {
        self.here != 0
    }
}

/// Longest arguments of New-Order in bytes.
pub(super) const ORDER_ARGS_MAX: usize = size_of::<OrderArgs>() + LINES_MAX * size_of::<LineArgs>();

/// New-Order's arguments; `None` if they are none.
#[inline]
pub(super) fn order(args: &[u8]) -> Option<(&OrderArgs, &[LineArgs])> {
    let (order, rest) = OrderArgs::ref_from_prefix(args).ok()?;
    let lines = <[LineArgs]>::ref_from_bytes(rest).ok()?;
    (1..=LINES_MAX).contains(&lines.len()).then_some((order, lines))
}

/// Which customer: one, or whoever of a name is in the middle.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct CustomerArgs {
    pub(super) warehouse: U16,
    pub(super) district: u8,
    /// Whether `number` is that of a last name.
    pub(super) by_name: u8,
    pub(super) number: U16,
}

impl CustomerArgs {
    pub(super) fn place(&self) -> Place {
        Place::new(self.warehouse.get(), self.district)
    }
}

/// Payment.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct PaymentArgs {
    pub(super) date_ms: U64,
    pub(super) amount_cents: U32,
    pub(super) customer: CustomerArgs,
    pub(super) warehouse: U16,
    pub(super) district: u8,
    /// What the shard that is called has to do: [`Self::AT_HOME`], [`Self::AT_CUSTOMER`] or both.
    pub(super) parts: u8,
}

impl PaymentArgs {
    /// The warehouse and the district are here.
    pub(super) const AT_HOME: u8 = 1;
    /// The customer is here.
    pub(super) const AT_CUSTOMER: u8 = 2;

    pub(super) fn place(&self) -> Place {
        Place::new(self.warehouse.get(), self.district)
    }
}

/// Delivery.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct DeliveryArgs {
    pub(super) date_ms: U64,
    pub(super) warehouse: U16,
    pub(super) carrier: u8,
    pub(super) spare: u8,
}

/// Stock-Level.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct StockLevelArgs {
    pub(super) warehouse: U16,
    pub(super) district: u8,
    pub(super) threshold: u8,
}

/// Which part of what is loaded.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct LoadArgs {
    pub(super) seed: U64,
    pub(super) items: U32,
    pub(super) customers: U32,
    /// The first number of the part, and the one behind its last.
    pub(super) from: U32,
    pub(super) to: U32,
    pub(super) warehouse: U16,
    pub(super) district: u8,
    /// A [`Piece`](super::load::Piece).
    pub(super) piece: u8,
}

/// Which part of the store is read for the check.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct CheckArgs {
    pub(super) warehouse: U16,
    /// The district; 0 for the stock of the warehouse.
    pub(super) district: u8,
    pub(super) spare: u8,
    /// Which of how many parts.
    pub(super) part: U32,
    pub(super) parts: U32,
    pub(super) items: U32,
}

/// What a procedure decided. `None` stands for arguments or a store that it was not made for.
pub(super) fn decided(ran: Option<Verdict>) -> Verdict {
    ran.unwrap_or(Verdict::Abort)
}

/// A result under construction, without allocation.
pub(super) struct Shown<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Shown<N> {
    pub(super) fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    /// Adds some bytes.
    ///
    /// # Panics
    /// When they do not fit: `N` has room for the longest result.
    #[inline]
    pub(super) fn add(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
        self
    }

    /// What it is so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Adds it to the reply.
    pub(super) fn send(&self, context: &mut ProcedureContext<'_>) -> Option<()> {
        context.result(self.bytes()).then_some(())
    }
}
