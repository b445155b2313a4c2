//! What a worker offers, and what of it is in use.

use super::parts::flag;
use crate::WireError;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What a worker offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capacity {
    /// Tasks at once.
    pub slots: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Thousandths of a core.
    pub cores_milli: u32,
    /// Tasks kept waiting at the worker beyond those that fit.
    pub prefetch: u32,
    /// It takes no more.
    pub is_draining: bool,
}

/// What of a [`Capacity`] is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Occupancy {
    /// Tasks that run.
    pub slots: u32,
    /// Bytes of memory that they asked for.
    pub memory: u64,
    /// Thousandths of a core that they asked for.
    pub cores_milli: u32,
}

/// A [`Capacity`] as it is in messages.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct CapacityBytes {
    slots: U32,
    memory: U64,
    cores_milli: U32,
    prefetch: U32,
    is_draining: u8,
}
const _: () = assert!(size_of::<CapacityBytes>() == 21);

impl CapacityBytes {
    pub(super) fn new(capacity: Capacity) -> Self {
        Self {
            slots: U32::new(capacity.slots),
            memory: U64::new(capacity.memory),
            cores_milli: U32::new(capacity.cores_milli),
            prefetch: U32::new(capacity.prefetch),
            is_draining: capacity.is_draining.into(),
        }
    }

    pub(super) fn read(&self) -> Result<Capacity, WireError> {
        Ok(Capacity {
            slots: self.slots.get(),
            memory: self.memory.get(),
            cores_milli: self.cores_milli.get(),
            prefetch: self.prefetch.get(),
            is_draining: flag(self.is_draining, "draining of a worker")?,
        })
    }
}

/// An [`Occupancy`] as it is in messages.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct OccupancyBytes {
    slots: U32,
    memory: U64,
    cores_milli: U32,
}
const _: () = assert!(size_of::<OccupancyBytes>() == 16);

impl OccupancyBytes {
    pub(super) fn new(occupancy: Occupancy) -> Self {
        Self {
            slots: U32::new(occupancy.slots),
            memory: U64::new(occupancy.memory),
            cores_milli: U32::new(occupancy.cores_milli),
        }
    }

    pub(super) fn read(&self) -> Occupancy {
        Occupancy {
            slots: self.slots.get(),
            memory: self.memory.get(),
            cores_milli: self.cores_milli.get(),
        }
    }
}
