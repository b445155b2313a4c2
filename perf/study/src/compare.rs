//! Two studies side by side: for each cell and figure the ratio of the medians, and whether it is
//! more than the noise.
//!
//! The rule is the same for all figures and asks for nothing but repeats: where the ranges of the
//! repeats have a value in common, the difference is within the noise. With a single run on either
//! side there is no range, and nothing is said.

use crate::csv;
use crate::metric::MetricPath;
use crate::results::{CellResults, Results, Spread};
use crate::table::Table;
use serde::Serialize;

/// Repeats on either side with which a difference can be told from noise.
pub const REPEATS_MIN: usize = 2;

/// The rule in words, to stand below tables.
pub const RULE: &str = "A difference is within the noise where the ranges of the repeats have a \
    value in common. With one run on either side nothing can be said.";

/// What a difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// There are too few runs to say.
    TooFewRuns,
    /// The ranges overlap.
    WithinNoise,
    /// The second one is better.
    Better,
    /// The second one is worse.
    Worse,
    /// It is more, of something that is neither good nor bad.
    More,
    /// It is less of that.
    Less,
}

/// One figure of one cell in both studies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Each dimension with its label.
    pub labels: Vec<(String, String)>,
    /// The figure.
    pub metric: MetricPath,
    /// In the first study.
    pub first: Spread,
    /// In the second study.
    pub second: Spread,
    /// Median of the second by median of the first; `null` where that is zero.
    pub ratio: Option<f64>,
    /// What to make of it.
    pub verdict: Verdict,
}

/// Two studies side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The studies' names, and when they began: mostly the name is the same.
    pub names: [String; 2],
    /// The rows, in the order of the first study.
    pub rows: Vec<Row>,
    /// Cells that only one of them has, or has good runs of, and which.
    pub missing: Vec<String>,
    /// What else is different: the machine, the program, the experiment.
    pub differences: Vec<String>,
}

impl Comparison {
    /// Lays two studies side by side.
    #[must_use]
    pub fn of(first: &Results, second: &Results, metrics: &[MetricPath]) -> Self {
        let (mut rows, mut missing) = (Vec::new(), Vec::new());
        for cell in &first.cells {
            match second.cells.iter().find(|other| is_same(cell, other)) {
                Some(other) => compare(cell, other, metrics, &mut rows, &mut missing),
                None => missing.push(format!("{}: only in the first", cell.cell.title())),
            }
        }
        for cell in &second.cells {
            if !first.cells.iter().any(|other| is_same(cell, other)) {
                missing.push(format!("{}: only in the second", cell.cell.title()));
            }
        }
        let names = [first, second].map(|results| {
            let manifest = &results.manifest;
            format!("{} of {}", manifest.name, manifest.began)
        });
        Self { names, rows, missing, differences: differences(first, second) }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let [first, second] = &self.names;
        let mut text = format!("{second} beside {first}: ratios are second by first\n");
        for difference in &self.differences {
            text += &format!("note: {difference}\n");
        }
        let names = self.rows.first().map(|row| row.labels.as_slice()).unwrap_or_default();
        let mut head: Vec<String> = names.iter().map(|(name, _)| name.clone()).collect();
        let texts = head.len() + 1;
        head.extend(["figure", "first", "second", "ratio", "verdict"].map(str::to_owned));
        let mut table = Table::new(head, texts);
        for row in &self.rows {
            let mut cells: Vec<String> =
                row.labels.iter().map(|(_, label)| label.clone()).collect();
            let unit = row.metric.unit();
            let show = |spread: &Spread| {
                let [median, min, max] =
                    [spread.median, spread.min, spread.max].map(|value| unit.show(value));
                format!("{median} ({min} to {max}, n={})", spread.n)
            };
            cells.extend([row.metric.title(), show(&row.first), show(&row.second)]);
            cells.push(row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}")));
            cells.push(row.says());
            table.row(cells);
        }
        text += &format!("\n{}\n{RULE}\n", table.render());
        for missing in &self.missing {
            text += &format!("missing: {missing}\n");
        }
        text
    }

    /// For spreadsheets.
    #[must_use]
    pub fn csv(&self) -> String {
        let names = self.rows.first().map(|row| row.labels.as_slice()).unwrap_or_default();
        let mut head: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        head.extend(["metric", "n_first", "median_first", "min_first", "max_first"]);
        head.extend(["n_second", "median_second", "min_second", "max_second"]);
        head.extend(["ratio", "verdict"]);
        let mut text = csv::line(head);
        for row in &self.rows {
            let mut fields: Vec<String> =
                row.labels.iter().map(|(_, label)| label.clone()).collect();
            fields.push(row.metric.to_string());
            for spread in [&row.first, &row.second] {
                fields.push(spread.n.to_string());
                let figures = [spread.median, spread.min, spread.max];
                fields.extend(figures.map(|value| csv::number(Some(value))));
            }
            fields.extend([csv::number(row.ratio), row.says()]);
            text += &csv::line(fields.iter().map(String::as_str));
        }
        text
    }
}

impl Row {
    /// The verdict in words.
    #[must_use]
    pub fn says(&self) -> String {
        let percent = self
            .ratio
            .map_or_else(String::new, |ratio| format!(" by {:.1} %", 100.0 * (ratio - 1.0).abs()));
        let is_time = self.metric.less_is_better() == Some(true);
        let (better, worse) = if is_time { ("faster", "slower") } else { ("better", "worse") };
        match self.verdict {
            Verdict::TooFewRuns => "too few runs to say".to_owned(),
            Verdict::WithinNoise => "within the noise".to_owned(),
            Verdict::Better => format!("{better}{percent}"),
            Verdict::Worse => format!("{worse}{percent}"),
            Verdict::More => format!("more{percent}"),
            Verdict::Less => format!("less{percent}"),
        }
    }
}

/// Whether two cells have the same values of the same dimensions, in whatever order.
fn is_same(one: &CellResults, other: &CellResults) -> bool {
    let (one, other) = (&one.cell.labels, &other.cell.labels);
    one.len() == other.len() && one.iter().all(|label| other.contains(label))
}

fn compare(
    cell: &CellResults,
    other: &CellResults,
    metrics: &[MetricPath],
    rows: &mut Vec<Row>,
    missing: &mut Vec<String>,
) {
    for (which, side) in [("first", cell), ("second", other)] {
        if side.good().next().is_none() {
            missing.push(format!("{}: no good run in the {which}", cell.cell.title()));
        }
    }
    for metric in metrics {
        let (Some(first), Some(second)) = (cell.spread(metric), other.spread(metric)) else {
            continue;
        };
        let ratio = (first.median != 0.0).then(|| second.median / first.median);
        let labels = cell.cell.labels.clone();
        let verdict = verdict(metric, &first, &second);
        rows.push(Row { labels, metric: metric.clone(), first, second, ratio, verdict });
    }
}

fn verdict(metric: &MetricPath, first: &Spread, second: &Spread) -> Verdict {
    if first.n.min(second.n) < REPEATS_MIN {
        return Verdict::TooFewRuns;
    }
    if first.overlaps(second) {
        return Verdict::WithinNoise;
    }
    let is_more = second.median > first.median;
    match (metric.less_is_better(), is_more) {
        (Some(true), false) | (Some(false), true) => Verdict::Better,
        (Some(_), _) => Verdict::Worse,
        (None, true) => Verdict::More,
        (None, false) => Verdict::Less,
    }
}

/// What makes the studies two of different things.
fn differences(first: &Results, second: &Results) -> Vec<String> {
    let mut found = Vec::new();
    let (one, other) = (&first.manifest, &second.manifest);
    if one.hash != other.hash {
        found.push("the experiment files differ".to_owned());
    }
    if one.quick != other.quick {
        found.push("one is the quick form, the other the full one".to_owned());
    }
    for field in ["git_commit", "version", "cpu_model", "kernel", "debug_build"] {
        let [of_first, of_second] = [first, second].map(|results| {
            let path = format!("/environment/{field}");
            let mut runs = results.runs().filter(|(_, run)| !run.report.is_null());
            let value = runs.next().and_then(|(_, run)| run.report.pointer(&path).cloned());
            value.map(|value| value.as_str().map_or(value.to_string(), str::to_owned))
        });
        if of_first != of_second {
            let [of_first, of_second] =
                [of_first, of_second].map(|it| it.unwrap_or_else(|| "unknown".to_owned()));
            found.push(format!("{field}: {of_first} and {of_second}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(values: &[f64]) -> Spread {
        Spread::of(values.to_vec()).expect("values")
    }

    fn says(metric: &str, first: &[f64], second: &[f64]) -> String {
        let metric: MetricPath = metric.parse().expect("a path");
        let (first, second) = (spread(first), spread(second));
        let verdict = verdict(&metric, &first, &second);
        let ratio = Some(second.median / first.median);
        Row { labels: Vec::new(), metric, first, second, ratio, verdict }.says()
    }

    #[test]
    fn only_ranges_without_a_common_value_are_a_difference() {
        for (metric, first, second, verdict) in [
            ("latency_ns.p50", [10.0, 12.0], [12.0, 14.0], "within the noise"),
            ("latency_ns.p50", [10.0, 10.0], [12.0, 13.0], "slower by 25.0 %"),
            ("latency_ns.p50", [20.0, 20.0], [10.0, 12.0], "faster by 45.0 %"),
            ("throughput_tps", [10.0, 10.0], [12.0, 13.0], "better by 25.0 %"),
            ("throughput_tps", [10.0, 10.0], [8.0, 9.0], "worse by 15.0 %"),
            ("cross_share", [0.5, 0.5], [0.6, 0.6], "more by 20.0 %"),
            ("cross_share", [0.5, 0.5], [0.4, 0.4], "less by 20.0 %"),
        ] {
            assert_eq!(says(metric, &first, &second), verdict, "{metric} {first:?} {second:?}");
        }
    }

    #[test]
    fn one_run_says_nothing_however_far_apart() {
        let says = says("throughput_tps", &[10.0], &[1000.0, 1001.0]);
        assert_eq!(says, "too few runs to say");
    }
}
