//! Durations and sizes as people write them: a whole number and a unit.

use super::TextError;
use std::time::Duration;

/// Units of time in nanoseconds, the longest first.
const DURATION_UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Units of memory in bytes, the largest first.
const BYTE_UNITS: [(&str, u64); 6] = [
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// Units of bandwidth in bits a second, the largest first.
const BIT_RATE_UNITS: [(&str, u64); 4] =
    [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1_000), ("bit/s", 1)];

/// Reads a duration such as `200ms`, `2s`, `50us` or `1m`.
///
/// # Errors
/// Says which forms are understood.
pub fn parse_duration(text: &str) -> Result<Duration, TextError> {
    parse(text, &DURATION_UNITS).map(Duration::from_nanos).ok_or_else(|| {
        TextError(
            "is not a duration; write a whole number and one of h, m, s, ms, us, ns, \
             as in \"200ms\""
                .to_owned(),
        )
    })
}

/// Reads a size in bytes such as `8 GiB`, `64KiB` or `512` (bytes).
///
/// # Errors
/// Says which forms are understood.
pub fn parse_bytes(text: &str) -> Result<u64, TextError> {
    let bare = text.trim().parse().ok();
    bare.or_else(|| parse(text, &BYTE_UNITS)).ok_or_else(|| {
        TextError(
            "is not a size; write a whole number and one of B, KiB, MiB, GiB, TiB, PiB, \
             as in \"8 GiB\""
                .to_owned(),
        )
    })
}

/// Reads a bandwidth in bits a second such as `100 Mbit/s` or `10Gbit/s`.
///
/// # Errors
/// Says which forms are understood.
pub fn parse_bit_rate(text: &str) -> Result<u64, TextError> {
    parse(text, &BIT_RATE_UNITS).ok_or_else(|| {
        TextError(
            "is not a bandwidth; write a whole number and one of bit/s, kbit/s, Mbit/s, Gbit/s, \
             as in \"100 Mbit/s\""
                .to_owned(),
        )
    })
}

/// Writes a duration exactly, in the longest unit that needs no fraction.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    // Everything that is configured is far below the 584 years at which this would saturate.
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    if nanos == 0 {
        return "0s".to_owned();
    }
    let (count, unit) = in_largest_unit(nanos, &DURATION_UNITS);
    format!("{count}{unit}")
}

/// Writes a size exactly, in the largest unit that needs no fraction.
#[must_use]
pub fn show_bytes(bytes: u64) -> String {
    if bytes == 0 {
        return "0 B".to_owned();
    }
    let (count, unit) = in_largest_unit(bytes, &BYTE_UNITS);
    format!("{count} {unit}")
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(digits);
    let count: u64 = count.parse().ok()?;
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    count.checked_mul(*scale)
}

fn in_largest_unit(value: u64, units: &[(&'static str, u64)]) -> (u64, &'static str) {
    units
        .iter()
        .find(|(_, scale)| value.is_multiple_of(*scale))
        .map_or((value, ""), |(unit, scale)| (value / scale, *unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_whole_number_and_a_unit() {
        let cases = [
            ("200ms", Duration::from_millis(200)),
            ("2s", Duration::from_secs(2)),
            ("50us", Duration::from_micros(50)),
            ("1m", Duration::from_secs(60)),
            (" 7 ns ", Duration::from_nanos(7)),
            ("0s", Duration::ZERO),
        ];
        for (text, duration) in cases {
            assert_eq!(parse_duration(text), Ok(duration), "{text}");
        }
        for text in ["", "200", "ms", "1.5s", "-1s", "1 sec", "99999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text} was understood");
        }
    }

    #[test]
    fn sizes_may_go_without_a_unit() {
        assert_eq!(parse_bytes("512"), Ok(512));
        assert_eq!(parse_bytes("8 GiB"), Ok(8 << 30));
        assert_eq!(parse_bytes("64KiB"), Ok(64 << 10));
        for text in ["", "GiB", "8 GB", "8.5 MiB", "99999999 PiB"] {
            assert!(parse_bytes(text).is_err(), "{text} was understood");
        }
    }

    #[test]
    fn bandwidths_count_bits_by_thousands() {
        assert_eq!(parse_bit_rate("100 Mbit/s"), Ok(100_000_000));
        assert_eq!(parse_bit_rate("10Gbit/s"), Ok(10_000_000_000));
        assert_eq!(parse_bit_rate("9600 bit/s"), Ok(9_600));
        for text in ["", "100", "100 MB/s", "1.5 Gbit/s", "99999999999999 Gbit/s"] {
            assert!(parse_bit_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same_value() {
        for nanos in
            [0, 1, 999, 1_000, 1_500_000, 60_000_000_000, 90_000_000_000, 3_600_000_000_000]
        {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }
        for bytes in [0, 1, 1023, 1024, 1 << 33, (1 << 33) + 1] {
            assert_eq!(parse_bytes(&show_bytes(bytes)), Ok(bytes));
        }
        assert_eq!(show_duration(Duration::from_millis(1500)), "1500ms");
        assert_eq!(show_bytes(8 << 30), "8 GiB");
    }
}
