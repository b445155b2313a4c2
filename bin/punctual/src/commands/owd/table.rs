//! The table of delays, for people.

use punctual_load::summary::fmt_ns;
use punctual_runtime::{Nanos, ProbeRow};
use std::collections::BTreeMap;

/// The names of the columns.
const HEAD: [&str; 12] = [
    "shard",
    "estimate",
    "min",
    "p50",
    "p99",
    "clock offset",
    "round trip",
    "samples",
    "lost",
    "late",
    "timer p99",
    "state",
];

/// A line a shard below the names of the columns. `down` says why links are down.
pub(super) fn table(rows: &[ProbeRow], down: &BTreeMap<u16, String>) -> Vec<String> {
    let of_row = |row: &ProbeRow| cells(row, down.get(&row.shard.0).map(String::as_str));
    let all: Vec<[String; 12]> =
        std::iter::once(HEAD.map(str::to_owned)).chain(rows.iter().map(of_row)).collect();
    let width = |at: usize| all.iter().map(|cells| cells[at].len()).max().unwrap_or_default();
    let widths: [usize; 12] = std::array::from_fn(width);
    all.iter().map(|cells| line(cells, &widths)).collect()
}

/// Figures to the right, the state (which may be a sentence) to the left at the end.
fn line(cells: &[String; 12], widths: &[usize; 12]) -> String {
    let (figures, state) = cells.split_at(11);
    let padded = figures.iter().zip(widths).map(|(cell, &width)| format!("{cell:>width$}"));
    let mut line = padded.collect::<Vec<_>>().join("  ");
    line += "  ";
    line += &state[0];
    line
}

fn cells(row: &ProbeRow, down: Option<&str>) -> [String; 12] {
    let or_dash = |time: Option<Nanos>| time.map_or_else(|| "-".to_owned(), signed);
    let offset = row.offset_bound.map(|(least, most)| {
        // Around the middle, as far as either side.
        let half = Nanos((most - least).0 / 2);
        format!("{} +- {}", signed(least + half), signed(half))
    });
    let state = match (row.is_up, down) {
        (true, _) => "up".to_owned(),
        (false, None) => "connecting".to_owned(),
        (false, Some(why)) => format!("down: {why}"),
    };
    [
        row.shard.0.to_string(),
        signed(row.estimate),
        or_dash(row.min),
        or_dash(row.p50),
        or_dash(row.p99),
        offset.unwrap_or_else(|| "-".to_owned()),
        or_dash(row.rtt_min),
        row.samples.to_string(),
        row.lost.to_string(),
        row.late.to_string(),
        or_dash(row.lateness_p99),
        state,
    ]
}

/// A time of either sign: the clocks' offset is part of a delay.
fn signed(time: Nanos) -> String {
    let sign = if time < Nanos::ZERO { "-" } else { "" };
    format!("{sign}{}", fmt_ns(time.0.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_runtime::ShardId;

    fn row(shard: u16, is_up: bool) -> ProbeRow {
        ProbeRow {
            shard: ShardId(shard),
            estimate: Nanos(-45_600),
            min: Some(Nanos(12_300)),
            p50: Some(Nanos(20_000)),
            p99: None,
            offset_bound: Some((Nanos(-10_000), Nanos(14_000))),
            rtt_min: Some(Nanos(24_000)),
            samples: 1_234,
            answered: 1_240,
            sent: 1_242,
            lost: 2,
            late: 6,
            skipped: 0,
            stale: 0,
            impossible: 0,
            lateness_p99: Some(Nanos(8_000)),
            is_up,
        }
    }

    #[test]
    fn every_shard_has_a_line_with_its_figures_below_their_names() {
        let down = BTreeMap::from([(1, "connection refused".to_owned())]);
        let lines = table(&[row(0, true), row(1, false), row(12, false)], &down);
        assert_eq!(lines.len(), 4);
        let words: Vec<&str> = lines[1].split_whitespace().collect();
        let expected =
            "0 -45.6 us 12.3 us 20.0 us - 2.00 us +- 12.0 us 24.0 us 1234 2 6 8.00 us up";
        assert_eq!(words.join(" "), expected);
        assert!(lines[2].ends_with("  down: connection refused"), "{}", lines[2]);
        assert!(lines[3].ends_with("  connecting"), "{}", lines[3]);
        // The last column begins at the same place everywhere.
        let at = lines[0].find("state").expect("the name of the last column");
        assert!(lines.iter().all(|line| line.as_bytes()[at - 1] == b' '), "{lines:#?}");
        assert_eq!(lines[1].find("up"), Some(at));
    }
}
