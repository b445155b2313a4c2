//! Where results go: a summary for people, a document for programs.

use crate::commands::UsageError;
use crate::eprintln_line;
use anyhow::Context;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where the result of a run goes.
pub(crate) enum Output {
    /// The summary to standard output.
    Summary,
    /// The document to standard output, the summary to standard error.
    Json,
    /// The summary to standard output, the document to a file.
    Both {
        /// Open already: a file that cannot be written must not cost a run.
        file: File,
        /// Its name.
        path: PathBuf,
    },
}

impl Output {
    /// Opens what the option `--json` asks for.
    pub(crate) fn open(json: Option<&Path>) -> Result<Self, UsageError> {
        let Some(path) = json else { return Ok(Self::Summary) };
        if path == Path::new("-") {
            return Ok(Self::Json);
        }
        match File::create(path) {
            Ok(file) => Ok(Self::Both { file, path: path.to_owned() }),
            Err(error) => {
                let path = path.display();
                Err(UsageError(format!("--json {path} cannot be written: {error}")))
            }
        }
    }

    /// Shows the summary and writes the document.
    pub(crate) fn write(self, summary: &str, report: &impl serde::Serialize) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(report)? + "\n";
        match self {
            Self::Summary => print(summary),
            Self::Json => {
                eprintln_line(summary.trim_end());
                print(&json)
            }
            Self::Both { mut file, path } => {
                print(summary)?;
                let written = file.write_all(json.as_bytes());
                written.with_context(|| format!("writing {}", path.display()))
            }
        }
    }
}

/// Writes to standard output.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.context("writing to standard output")
}

/// A number with a separator every three digits.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A row of a table for people.
pub(crate) fn row(name: &str, value: &str) -> String {
    format!("  {name:<14} {value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three_digits() {
        let texts = [0.0, 999.4, 1_000.0, 1_234_567.0].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
