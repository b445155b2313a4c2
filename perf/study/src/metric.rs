//! Figures of a run: where they stand in its JSON document, what unit they have, and how they are
//! shown to people.

use punctual_load::summary::fmt_ns;
use punctual_runtime::config::nearest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// Longest path that is taken: the deepest figure of a report is three names down.
const DEPTH_MAX: usize = 8;
/// Digits of a number that has no unit.
const DIGITS: i32 = 4;

/// Where a figure stands: the names of fields, from the outermost, such as `latency_ns.p99`. Of a
/// list it is the element with that `name`: `kinds.new-order.committed`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MetricPath(String);

/// What is at a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// A number; `true` and `false` are 1 and 0.
    Number(f64),
    /// Nothing that applies to this run.
    Null,
    /// No such field; the nearest one that there is.
    Missing(Option<String>),
}

/// What a figure counts, by the ends of the names on its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Nanos,
    /// Seconds.
    Seconds,
    /// Transactions or others a second.
    PerSecond,
    /// Bytes.
    Bytes,
    /// A number.
    Plain,
}

impl MetricPath {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Finds the figure in the document of a run.
    #[must_use]
    pub fn find(&self, document: &Value) -> Found {
        let mut at = document;
        for name in self.0.split('.') {
            let below = match at {
                // What does not apply as a whole does not apply in its parts.
                Value::Null => return Found::Null,
                Value::Object(fields) => fields.get(name),
                Value::Array(items) => items.iter().find(|item| is_called(item, name)),
                _ => None,
            };
            match below {
                Some(value) => at = value,
                None => return Found::Missing(self.near(at, name)),
            }
        }
        match at {
            Value::Number(number) => number.as_f64().map_or(Found::Null, Found::Number),
            Value::Bool(value) => Found::Number(f64::from(u8::from(*value))),
            Value::Null => Found::Null,
            _ => Found::Missing(None),
        }
    }

    /// The path with a wrong name put right, if there is one like it.
    fn near(&self, fields: &Value, wrong: &str) -> Option<String> {
        let near = nearest(wrong, fields.as_object()?.keys().map(String::as_str))?;
        Some(self.0.replacen(wrong, near, 1))
    }

    /// What it counts.
    #[must_use]
    pub fn unit(&self) -> Unit {
        let ends = |end: &str| self.0.split('.').any(|name| name.ends_with(end));
        if ends("_ns") {
            Unit::Nanos
        } else if ends("_tps") || ends("_per_s") || self.0 == "rate" {
            Unit::PerSecond
        } else if ends("_s") {
            Unit::Seconds
        } else if ends("bytes") || ends("bytes_per_key") {
            Unit::Bytes
        } else {
            Unit::Plain
        }
    }

    /// For headings: `latency_ns.p99_9` is `latency p99.9`.
    #[must_use]
    pub fn title(&self) -> String {
        let words: Vec<String> = self.0.split('.').map(word_of).collect();
        words.join(" ")
    }

    /// Whether less of it is better; `None` where neither is.
    #[must_use]
    pub fn less_is_better(&self) -> Option<bool> {
        if self.0.ends_with("samples") || self.0.ends_with("count") {
            return None;
        }
        match self.unit() {
            Unit::Nanos | Unit::Seconds if !self.0.starts_with("duration") => Some(true),
            Unit::PerSecond if self.0 != "rate" => Some(false),
            _ if self.0.ends_with("on_time_ratio") => Some(false),
            _ => None,
        }
    }
}

/// Whether an element of a list has this name.
fn is_called(item: &Value, name: &str) -> bool {
    item.get("name").is_some_and(|own| own == name)
}

/// One name of a path, for people.
fn word_of(name: &str) -> String {
    if let Some(what) = name.strip_suffix("_per_s") {
        return format!("{} a second", what.replace('_', " "));
    }
    let bare = ["_ns", "_tps", "_s"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let is_percentile = bare.starts_with('p') && bare[1..].starts_with(char::is_numeric);
    bare.replace('_', if is_percentile { "." } else { " " })
}

impl FromStr for MetricPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
        };
        let depth = text.split('.').count();
        if depth > DEPTH_MAX || !text.split('.').all(is_name) {
            return Err("is no path to a figure; write the names of fields of the report with a \
                        dot between them, as in \"latency_ns.p99\""
                .to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for MetricPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<MetricPath> for String {
    fn from(path: MetricPath) -> Self {
        path.0
    }
}

impl fmt::Display for MetricPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Unit {
    /// A figure for people.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Nanos if value >= 0.0 => fmt_ns(value.round() as u64),
            Self::Seconds => format!("{} s", plain(value)),
            Self::PerSecond => grouped(value),
            Self::Bytes | Self::Plain | Self::Nanos => plain(value),
        }
    }
}

/// A number with a separator every three digits, without a fraction.
#[must_use]
pub fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits.as_str()),
    };
    let mut text = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with four digits that count, or all those before the point.
pub(crate) fn plain(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if value.abs() >= 10_000.0 {
        return grouped(value);
    }
    let magnitude = value.abs().log10().floor() as i32;
    let decimals = usize::try_from(DIGITS - 1 - magnitude).unwrap_or(0).min(9);
    let text = format!("{value:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(text: &str) -> MetricPath {
        text.parse().expect("a path")
    }

    #[test]
    fn a_figure_is_found_by_the_names_of_its_fields() {
        let report = json!({
            "latency_ns": { "p99": 1200, "p99_9": null },
            "hold_ns": null,
            "open_loop_valid": true,
            "kinds": [{ "name": "payment", "late": 2 }, { "name": "new-order", "late": 3 }],
        });
        for (text, found) in [
            ("latency_ns.p99", Found::Number(1200.0)),
            ("latency_ns.p99_9", Found::Null),
            ("hold_ns.p50", Found::Null),
            ("open_loop_valid", Found::Number(1.0)),
            ("kinds.new-order.late", Found::Number(3.0)),
            ("kinds.delivery.late", Found::Missing(None)),
            ("latency.p99", Found::Missing(Some("latency_ns.p99".to_owned()))),
            ("latency_ns.p98", Found::Missing(Some("latency_ns.p99".to_owned()))),
            ("colour", Found::Missing(None)),
            ("latency_ns", Found::Missing(None)),
        ] {
            assert_eq!(path(text).find(&report), found, "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", "a..b", ".a", "a b", "latency_ns/p99", "a.a.a.a.a.a.a.a.a"] {
            assert!(text.parse::<MetricPath>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn units_follow_from_names() {
        for (text, unit, title) in [
            ("latency_ns.p99_9", Unit::Nanos, "latency p99.9"),
            ("throughput_tps", Unit::PerSecond, "throughput"),
            ("rate", Unit::PerSecond, "rate"),
            ("duration_s", Unit::Seconds, "duration"),
            ("on_time_ratio", Unit::Plain, "on time ratio"),
            ("durability.bytes_per_s", Unit::PerSecond, "durability bytes a second"),
            ("prefetches", Unit::Plain, "prefetches"),
        ] {
            assert_eq!((path(text).unit(), path(text).title().as_str()), (unit, title), "{text}");
        }
        assert_eq!(path("hold_ns.p50").less_is_better(), Some(true));
        assert_eq!(path("throughput_tps").less_is_better(), Some(false));
        assert_eq!(path("cross_share").less_is_better(), None);
        assert_eq!(path("latency_ns.samples").less_is_better(), None);
    }

    #[test]
    fn figures_have_the_digits_that_count() {
        for (value, text) in [
            (0.0, "0"),
            (0.998_765, "0.9988"),
            (0.5, "0.5"),
            (12.0, "12"),
            (123.456, "123.5"),
            (-1.5, "-1.5"),
            (1234.6, "1235"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(plain(value), text);
        }
        assert_eq!(grouped(-1234.0), "-1,234");
        assert_eq!(Unit::Nanos.show(12_345.0), "12.3 us");
    }
}
