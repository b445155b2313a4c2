//! Sizes, durations and cores as people write them. The spelling is that of the configuration
//! file, with more allowed: fractions, short units, and several units in one duration.

use std::time::Duration;
use thiserror::Error;

/// Units of time in nanoseconds, the longest first.
const DURATION_UNITS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", SECOND_NS),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];
const SECOND_NS: u64 = 1_000_000_000;

/// Units of memory in bytes. A `GB` is none of them, since nobody knows which one is meant.
const BYTE_UNITS: [(&str, u64); 11] = [
    ("PiB", 1 << 50),
    ("P", 1 << 50),
    ("TiB", 1 << 40),
    ("T", 1 << 40),
    ("GiB", GIB),
    ("G", GIB),
    ("MiB", 1 << 20),
    ("M", 1 << 20),
    ("KiB", 1 << 10),
    ("K", 1 << 10),
    ("B", 1),
];
/// What the original calls a GB.
pub(crate) const GIB: u64 = 1 << 30;

/// Thousandths of a core in a core.
pub(crate) const CORE_MILLI: u64 = 1000;

/// Digits after the point that count: beyond these no unit has anything left to count.
const FRACTION_DIGITS_MAX: usize = 18;

/// A text that is no size, duration or number of cores.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnitError {
    /// It was to be a size.
    #[error(
        "{0:?} is not a size; write a number and one of B, KiB, MiB, GiB, TiB, PiB (or K, M, G, \
         T, P, which mean the same), as in \"1.5 GiB\""
    )]
    Bytes(String),
    /// It was to be a duration.
    #[error(
        "{0:?} is not a duration; write a number of seconds, or numbers with d, h, m, s, ms, us, \
         ns, the longest first, as in \"1h30m\""
    )]
    Duration(String),
    /// It was to be a number of cores.
    #[error("{0:?} is not a number of cores; write one such as \"2\" or \"0.5\"")]
    Cores(String),
}

/// Reads a size in bytes such as `2GiB`, `512M`, `1.5 G` or `4096`.
///
/// # Errors
/// Says which forms are understood.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    bytes(text).ok_or_else(|| UnitError::Bytes(text.to_owned()))
}

/// Reads a duration such as `10m`, `1h30m`, `1.5s`, `200 ms` or `90` (seconds).
///
/// # Errors
/// Says which forms are understood.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let nanos = nanos(text).ok_or_else(|| UnitError::Duration(text.to_owned()))?;
    Ok(Duration::from_nanos(nanos))
}

/// Reads a number of cores such as `2` or `0.5`, and gives it in thousandths.
///
/// # Errors
/// Says which forms are understood.
pub fn parse_cores(text: &str) -> Result<u32, UnitError> {
    scaled(text.trim(), CORE_MILLI)
        .and_then(|milli| u32::try_from(milli).ok())
        .ok_or_else(|| UnitError::Cores(text.to_owned()))
}

fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text.trim());
    match unit.trim_start() {
        "" | "B" => number.parse().ok(),
        unit => scaled(number, scale_of(unit, &BYTE_UNITS)?),
    }
}

fn nanos(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    if let (number, "") = split_number(rest) {
        return scaled(number, SECOND_NS);
    }
    let mut total = 0_u64;
    let mut scale_before = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let after = after.trim_start();
        let end = after.find(|it: char| !it.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let scale = scale_of(unit, &DURATION_UNITS)?;
        if scale >= scale_before {
            return None;
        }
        total = total.checked_add(scaled(number, scale)?)?;
        scale_before = scale;
        rest = after.trim_start();
    }
    // Nothing at all was a number without a unit, and is gone already.
    Some(total)
}

fn scale_of(unit: &str, units: &[(&str, u64)]) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale)
}

/// The digits and points at the start of a text, and what follows them.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// A number without sign times `scale`, to the nearest whole one. Exact: no floating point.
pub(crate) fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (number, "0"),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let whole = u128::from(whole.parse::<u64>().ok()?);
    let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS_MAX)];
    let parts = fraction.bytes().fold(1_u128, |parts, _| parts * 10);
    let fraction = u128::from(fraction.parse::<u64>().ok()?);
    // At most 2^64 times 2^50, and 10^18 times 2^50: far below 2^128.
    let scale = u128::from(scale);
    u64::try_from(whole * scale + (fraction * scale + parts / 2) / parts).ok()
}
