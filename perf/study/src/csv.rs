//! Comma-separated values as RFC 4180 has them, but for the ends of lines.

/// A line of a file, with its end.
pub(crate) fn line<'t>(fields: impl IntoIterator<Item = &'t str>) -> String {
    let fields: Vec<String> = fields.into_iter().map(field).collect();
    fields.join(",") + "\n"
}

fn field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// A number as programs read it; nothing for what is not known.
pub(crate) fn number(value: Option<f64>) -> String {
    value.as_ref().map(f64::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_quotes_has_them() {
        assert_eq!(line(["a b", "1,2", "say \"x\"", ""]), "a b,\"1,2\",\"say \"\"x\"\"\",\n");
        assert_eq!([Some(1500.0), Some(0.25), None].map(number), ["1500", "0.25", ""]);
    }
}
