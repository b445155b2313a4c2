//! The text format of Prometheus, version 0.0.4: for each metric a line that says what it is, one
//! that says how it moves, and one for each of its values.

use std::fmt::Write as _;

/// The media type of the format.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Up only, but for a start anew. The names of such end in `_total`.
    Counter,
    /// Up and down.
    Gauge,
    /// How many of what was measured are no larger than each of some bounds.
    Histogram,
}

/// Text under way.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a metric. Its values follow, and nothing else before the next metric.
    pub(crate) fn metric(&mut self, name: &str, kind: Kind, help: &str) -> &mut Self {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        let _ = write!(self.text, "# HELP {name} ");
        escape(&mut self.text, help, false);
        let _ = writeln!(self.text, "\n# TYPE {name} {kind}");
        self
    }

    /// Adds a value of the metric `name` with its labels.
    pub(crate) fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        for (at, (label, of)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{label}=\"");
            escape(&mut self.text, of, true);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = match value {
            _ if value.is_nan() => writeln!(self.text, " NaN"),
            _ if value.is_infinite() && value > 0.0 => writeln!(self.text, " +Inf"),
            _ if value.is_infinite() => writeln!(self.text, " -Inf"),
            _ => writeln!(self.text, " {value}"),
        };
    }

    /// A metric with one value.
    pub(crate) fn single(&mut self, name: &str, kind: Kind, help: &str, value: f64) {
        self.metric(name, kind, help).value(name, &[], value);
    }

    /// A metric that is a distribution: bounds with how many are no larger, ascending, and the sum
    /// and the number of all.
    pub(crate) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        bounds: impl IntoIterator<Item = (f64, u64)>,
        (sum, count): (f64, u64),
    ) {
        self.metric(name, Kind::Histogram, help);
        let bucket = format!("{name}_bucket");
        for (bound, below) in bounds {
            self.value(&bucket, &[("le", bound.to_string().as_str())], below as f64);
        }
        self.value(&bucket, &[("le", "+Inf")], count as f64);
        self.value(&format!("{name}_sum"), &[], sum);
        self.value(&format!("{name}_count"), &[], count as f64);
    }

    /// All of it.
    pub(crate) fn finish(self) -> String {
        self.text
    }
}

/// Appends a text so that it ends neither its line nor, as the value of a label, its quotes.
fn escape(out: &mut String, text: &str, is_quoted: bool) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if is_quoted => out.push_str("\\\""),
            _ => out.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_from_outside_stay_within_their_line_and_their_quotes() {
        let mut text = Exposition::default();
        text.metric("m", Kind::Gauge, "a \"b\"\nc \\d").value(
            "m",
            &[("job", "say \"hi\"\n\\o/"), ("state", "é")],
            1.5,
        );
        assert_eq!(
            text.finish(),
            "# HELP m a \"b\"\\nc \\\\d\n# TYPE m gauge\n\
             m{job=\"say \\\"hi\\\"\\n\\\\o/\",state=\"é\"} 1.5\n"
        );
    }

    #[test]
    fn a_histogram_ends_with_all_of_it() {
        let mut text = Exposition::default();
        text.histogram("m", "help", [(0.001, 2), (4.0, 3)], (7.5, 4));
        assert_eq!(
            text.finish(),
            "# HELP m help\n# TYPE m histogram\nm_bucket{le=\"0.001\"} 2\nm_bucket{le=\"4\"} 3\n\
             m_bucket{le=\"+Inf\"} 4\nm_sum 7.5\nm_count 4\n"
        );
    }

    #[test]
    fn every_number_has_its_form() {
        let mut text = Exposition::default();
        for value in [0.0, 3e9, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            text.value("m", &[], value);
        }
        assert_eq!(text.finish(), "m 0\nm 3000000000\nm NaN\nm +Inf\nm -Inf\n");
    }
}
