//! Reading rows, and bringing many of them near before the first is read.

use super::schema::{Place, RowKey, Rows, Words};
use punctual_runtime::{Key, ProcedureContext};
use std::ops::Range;
use zerocopy::FromBytes;

/// Most rows that are brought near together.
const NEAR_MAX: usize = 32;

/// A whole row.
#[inline]
pub(super) fn row<T: FromBytes>(context: &ProcedureContext<'_>, row: RowKey) -> Option<T> {
    T::read_from_bytes(context.get(row.key())?.as_bytes()).ok()
}

/// What a row begins with.
#[inline]
pub(super) fn head<T: FromBytes>(context: &ProcedureContext<'_>, row: RowKey) -> Option<T> {
    T::read_from_prefix(context.get(row.key())?.as_bytes()).ok().map(|(head, _)| head)
}

/// A word that is there.
#[inline]
pub(super) fn word(context: &ProcedureContext<'_>, key: Key<'_>) -> Option<i64> {
    context.get(key)?.as_bytes().first_chunk().map(|bytes| i64::from_le_bytes(*bytes))
}

/// Copies a row of any length up to that of the buffer; returns the part of it that was filled.
#[inline]
pub(super) fn copy<'b>(
    context: &ProcedureContext<'_>,
    row: RowKey,
    buffer: &'b mut [u8],
) -> Option<&'b mut [u8]> {
    let value = context.get(row.key())?;
    let bytes = value.as_bytes();
    let copy = buffer.get_mut(..bytes.len())?;
    copy.copy_from_slice(bytes);
    Some(copy)
}

/// Whoever stands in the middle of a district's customers of a last name, sorted by their first
/// names: of `n` the one at `n / 2`, rounded up and counted from 1 (clause 2.5.2.2).
pub(super) fn middle_named(context: &ProcedureContext<'_>, place: Place, name: u32) -> Option<u32> {
    let long = Rows::Named.row(place, name);
    let list = context.get(Words::Named.key(place, name)).or_else(|| context.get(long.key()))?;
    let (ids, _) = list.as_bytes().as_chunks::<2>();
    // Short lists are filled up with zeros.
    let count = ids.iter().position(|id| *id == [0; 2]).unwrap_or(ids.len());
    let id = ids[..count].get(count.checked_sub(1)? / 2)?;
    Some(u32::from(u16::from_le_bytes(*id)))
}

/// Rows that are about to be read.
pub(super) struct Near {
    rows: [(RowKey, u16, u16); NEAR_MAX],
    len: usize,
}

impl Near {
    pub(super) fn new() -> Self {
        Self { rows: [(RowKey::default(), 0, 0); NEAR_MAX], len: 0 }
    }

    /// Adds a row with the bytes that are wanted of it. One too many is left to be waited for.
    #[inline]
    pub(super) fn add(&mut self, row: RowKey, bytes: Range<usize>) {
        if let Some(slot) = self.rows.get_mut(self.len) {
            *slot = (row, bytes.start as u16, bytes.end as u16);
            self.len += 1;
        }
    }

    /// Brings them near, all together.
    #[inline]
    pub(super) fn fetch(&self, context: &ProcedureContext<'_>) {
        let rows = self.rows[..self.len].iter();
        context.prefetch_values(
            rows.map(|(row, from, to)| (row.key(), usize::from(*from)..usize::from(*to))),
        );
    }
}
