//! Lines for programs, to standard output or a file.

use crate::commands::UsageError;
use anyhow::Context;
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

/// Where lines go. A reader who has seen enough is no failure.
pub(super) struct Lines {
    out: BufWriter<Box<dyn Write>>,
    /// For messages.
    name: String,
    is_closed: bool,
}

impl Lines {
    /// To standard output.
    pub(super) fn to_stdout() -> Self {
        Self::to(Box::new(io::stdout()), "standard output".to_owned())
    }

    /// To a file that is made anew; without one, to standard output.
    pub(super) fn to_file(path: Option<&Path>) -> Result<Self, UsageError> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            return Ok(Self::to_stdout());
        };
        let name = path.display().to_string();
        match File::create(path) {
            Ok(file) => Ok(Self::to(Box::new(file), name)),
            Err(error) => Err(UsageError(format!("--output {name} cannot be written: {error}"))),
        }
    }

    fn to(out: Box<dyn Write>, name: String) -> Self {
        Self { out: BufWriter::new(out), name, is_closed: false }
    }

    /// Whether nobody reads it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Writes a document as a line of JSON.
    pub(super) fn write(&mut self, document: &impl Serialize) -> anyhow::Result<()> {
        let line = serde_json::to_vec(document)?;
        self.write_line(&line)
    }

    /// Writes a line as it is.
    pub(super) fn write_line(&mut self, line: &[u8]) -> anyhow::Result<()> {
        let written = self.out.write_all(line).and_then(|()| self.out.write_all(b"\n"));
        self.explain(written)
    }

    /// Brings everything out.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        let flushed = self.out.flush();
        self.explain(flushed)
    }

    fn explain(&mut self, outcome: io::Result<()>) -> anyhow::Result<()> {
        match outcome {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            outcome => outcome.with_context(|| format!("writing to {}", self.name)),
        }
    }
}
