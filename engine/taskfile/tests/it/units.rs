//! Sizes, durations and cores.

use proptest::prelude::*;
use punctual_taskfile::{parse_bytes, parse_cores, parse_duration};
use std::time::Duration;

#[test]
fn sizes_have_binary_units() {
    let cases = [
        ("0", 0),
        ("4096", 4096),
        ("4096 B", 4096),
        ("1K", 1 << 10),
        ("1KiB", 1 << 10),
        ("512M", 512 << 20),
        ("2GiB", 2 << 30),
        ("8 GiB", 8 << 30),
        (" 1.5G ", 3 << 29),
        ("0.001 KiB", 1),
        ("1T", 1 << 40),
        ("1PiB", 1 << 50),
        ("18446744073709551615", u64::MAX),
    ];
    for (text, bytes) in cases {
        assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
    }
}

#[test]
fn what_is_no_size_is_refused_with_the_forms_that_are() {
    let texts = [
        "",
        " ",
        "G",
        "GiB",
        "2GB",
        "2gb",
        "2g",
        "-1",
        "+1",
        "1.5",
        "1.5B",
        "1.",
        ".5G",
        "1..5G",
        "1e3",
        "0x10",
        "1G 1M",
        "2 Gi",
        "18446744073709551616",
        "99999999P",
    ];
    for text in texts {
        let error = parse_bytes(text).expect_err(text).to_string();
        assert!(error.starts_with(&format!("{text:?} is not a size")), "{error}");
    }
}

#[test]
fn durations_have_units_or_are_seconds() {
    let cases = [
        ("90", Duration::from_secs(90)),
        ("1.5", Duration::from_millis(1500)),
        ("0", Duration::ZERO),
        ("45s", Duration::from_secs(45)),
        ("10m", Duration::from_secs(600)),
        ("1h30m", Duration::from_secs(5400)),
        ("1h 30m", Duration::from_secs(5400)),
        ("1 h 30 m", Duration::from_secs(5400)),
        ("2d", Duration::from_secs(172_800)),
        ("1.5h", Duration::from_secs(5400)),
        ("200ms", Duration::from_millis(200)),
        ("1s1ms1us1ns", Duration::from_nanos(1_001_001_001)),
        (" 7 ns ", Duration::from_nanos(7)),
    ];
    for (text, duration) in cases {
        assert_eq!(parse_duration(text), Ok(duration), "{text}");
    }
}

#[test]
fn what_is_no_duration_is_refused_with_the_forms_that_are() {
    let texts = [
        "",
        "h",
        "soon",
        "-1s",
        "1 sec",
        "1H",
        "30m1h",
        "1h1h",
        "1h30",
        "1:30",
        "1.s",
        "1,5s",
        "99999999999999h",
        "18446744073s1000000000ms",
    ];
    for text in texts {
        let error = parse_duration(text).expect_err(text).to_string();
        assert!(error.starts_with(&format!("{text:?} is not a duration")), "{error}");
    }
}

#[test]
fn cores_may_be_fractions() {
    let cases = [
        ("2", 2000),
        ("0.5", 500),
        (" 0.25 ", 250),
        ("0", 0),
        ("0.0004", 0),
        ("0.0005", 1),
        ("0.30000000000000004", 300),
        ("4294967.295", u32::MAX),
    ];
    for (text, milli) in cases {
        assert_eq!(parse_cores(text), Ok(milli), "{text}");
    }
    for text in ["", "two", "-1", "1/2", "0,5", "1e3", "4294967.296"] {
        assert!(parse_cores(text).is_err(), "{text} was understood");
    }
}

proptest! {
    #[test]
    fn whole_numbers_are_read_exactly(count in 0_u64..1 << 13) {
        prop_assert_eq!(parse_bytes(&format!("{count}P")), Ok(count << 50));
        prop_assert_eq!(parse_bytes(&format!("{count} KiB")), Ok(count << 10));
        prop_assert_eq!(parse_duration(&format!("{count}s")), Ok(Duration::from_secs(count)));
        prop_assert_eq!(parse_duration(&count.to_string()), Ok(Duration::from_secs(count)));
    }

    #[test]
    fn no_text_is_too_strange_to_be_looked_at(text in "\\PC{0,40}") {
        let _ = (parse_bytes(&text), parse_duration(&text), parse_cores(&text));
    }
}
