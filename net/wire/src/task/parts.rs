//! What every message of the task farm is put together from: a head of fixed size that begins with
//! a tag, and parts whose lengths the head has.

use crate::{BatchWriter, FrameKind, WireError};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Longest name of a worker or host, and longest filter of a [`Selection`](super::Selection), in
/// bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 10;

/// Appends a message. The length told ahead comes from what is then written.
#[inline]
pub(super) fn put<H: IntoBytes + Immutable, const N: usize>(
    out: &mut BatchWriter,
    kind: FrameKind,
    head: &H,
    parts: [&[u8]; N],
) {
    let len = size_of::<H>() + parts.iter().map(|part| part.len()).sum::<usize>();
    out.message(kind, len, |buffer| {
        buffer.extend_from_slice(head.as_bytes());
        for part in parts {
            buffer.extend_from_slice(part);
        }
    });
}

/// Reads a head from the start of `rest` and moves on. `what` is for the error.
#[inline]
pub(super) fn head<'a, H: FromBytes + KnownLayout + Immutable + Unaligned>(
    rest: &mut &'a [u8],
    what: &'static str,
) -> Result<&'a H, WireError> {
    let (head, after) = H::ref_from_prefix(rest).map_err(|_| WireError::Truncated { what })?;
    *rest = after;
    Ok(head)
}

/// Takes the next `len` bytes.
#[inline]
pub(super) fn part<'a>(
    rest: &mut &'a [u8],
    len: usize,
    what: &'static str,
) -> Result<&'a [u8], WireError> {
    let (part, after) = rest.split_at_checked(len).ok_or(WireError::Truncated { what })?;
    *rest = after;
    Ok(part)
}

/// Takes the next `len` bytes, which are a name or a filter.
pub(super) fn text<'a>(rest: &mut &'a [u8], len: U16) -> Result<&'a [u8], WireError> {
    let len = within(len.get().into(), TEXT_BYTES_MAX, "the length of a text in bytes")?;
    part(rest, len, "text of a task message")
}

/// The number, if it is within its limit.
#[inline]
pub(super) fn within(value: usize, max: usize, what: &'static str) -> Result<usize, WireError> {
    if value > max {
        return Err(WireError::OverLimit { what, value: value as u64, max: max as u64 });
    }
    Ok(value)
}

/// What is written of a name: all, or as many whole characters as the limit allows.
#[inline]
pub(super) fn cut(name: &[u8], max: usize) -> &[u8] {
    if name.len() <= max {
        return name;
    }
    // A character of UTF-8 has at most three bytes after its first one.
    let is_start = |at: &usize| name[*at] & 0xc0 != 0x80;
    let end = (max.saturating_sub(3)..=max).rev().find(is_start).unwrap_or(max);
    &name[..end]
}

/// What is written of a filter. One over the limit is not cut to it, since it would then match
/// more than was meant: it is left to the reader to refuse it.
pub(super) fn filter(text: &[u8]) -> &[u8] {
    &text[..text.len().min(u16::MAX.into())]
}

/// The length of a part for its head.
#[inline]
pub(super) fn len16(part: &[u8]) -> U16 {
    U16::new(u16::try_from(part.len()).unwrap_or(u16::MAX))
}

/// The length of a part for its head.
#[inline]
pub(super) fn len32(part: &[u8]) -> U32 {
    U32::new(u32::try_from(part.len()).unwrap_or(u32::MAX))
}

/// Yes or no.
#[inline]
pub(super) fn flag(byte: u8, what: &'static str) -> Result<bool, WireError> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(unknown(what, byte)),
    }
}

#[cold]
pub(super) fn unknown(what: &'static str, value: u8) -> WireError {
    WireError::UnknownValue { what, value: u64::from(value) }
}
