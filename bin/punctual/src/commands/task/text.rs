//! What tasks are called and what they write, as one line for people.

use punctual_load::summary::fmt_ns;
use std::time::Duration;

/// Bytes as one line that no terminal takes for orders, with at most so many characters and an
/// ellipsis.
pub(in crate::commands) fn shown(bytes: &[u8], chars_max: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut line = String::with_capacity(chars_max.min(text.len()));
    for (at, character) in text.trim().chars().enumerate() {
        if at == chars_max {
            line.push_str("...");
            break;
        }
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// The last line that is not blank.
pub(super) fn last_line(output: &[u8]) -> Option<&[u8]> {
    let mut lines = output.rsplit(|byte| *byte == b'\n');
    lines.find(|line| !line.trim_ascii().is_empty())
}

/// A time as people say it: `12.3 ms`, `4.2 s`, `3m 20s`, `2h 5m`, `3d 4h`.
pub(in crate::commands) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=99 => fmt_ns(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        100..=5_999 => format!("{}m {}s", seconds / 60, seconds % 60),
        6_000..=172_799 => format!("{}h {}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Bytes with a unit that suits them.
pub(in crate::commands) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in UNITS.into_iter().skip(1) {
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    format!("{value:.1} {unit}")
}

/// The lines of a table: its columns as wide as their longest cell, the last one as it is.
pub(in crate::commands) fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> Vec<String> {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_task_wrote_cannot_give_the_terminal_orders() {
        assert_eq!(shown(b" \x1b[2Ja\tb\n", 80), "\\u{1b}[2Ja\\tb");
        assert_eq!(shown(b"\xff caf\xc3\xa9", 80), "\u{fffd} caf\u{e9}");
        assert_eq!(shown(b"abcdef", 3), "abc...");
        assert_eq!(shown(b"abc", 3), "abc");
    }

    #[test]
    fn the_last_line_is_one_with_something_on_it() {
        assert_eq!(last_line(b"one\ntwo\n \n\n"), Some(b"two".as_slice()));
        assert_eq!(last_line(b"\n \n"), None);
    }

    #[test]
    fn times_have_the_two_units_that_matter() {
        let texts = [(1, "1.00 s"), (99, "99.0 s"), (200, "3m 20s"), (7_500, "2h 5m")];
        for (seconds, text) in texts {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(span(Duration::from_secs(3 * 86_400 + 4 * 3_600 + 59)), "3d 4h");
    }

    #[test]
    fn sizes_have_a_fitting_unit() {
        let sizes =
            [(1023, "1023 B"), (1024, "1.0 KiB"), (3 << 29, "1.5 GiB"), (1 << 40, "1.0 TiB")];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn columns_of_a_table_are_below_each_other() {
        let rows = [["a", "b", "c"], ["long", "b", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), ["a     b  c", "long  b"]);
    }
}
