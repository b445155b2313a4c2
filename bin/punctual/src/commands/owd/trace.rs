//! Every probe in a file, for other programs to look at.

use crate::commands::UsageError;
use anyhow::Context;
use punctual_runtime::ProbeSample;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The names of the columns. Times are nanoseconds: t1 and t4 of our clock, t2 and t3 of the
/// shard's.
const HEAD: &str = "shard,id,t1,t2,t3,t4,late\n";
/// What is written may be this old before it is in the file.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// A file with a line for each answered probe.
pub(super) struct Trace {
    file: BufWriter<File>,
    path: PathBuf,
    samples: u64,
    flushed_at: Instant,
}

impl Trace {
    /// Creates the file.
    pub(super) fn create(path: &Path) -> Result<Self, UsageError> {
        let failed = |error: std::io::Error| {
            UsageError(format!("--trace {} cannot be written: {error}", path.display()))
        };
        let mut file = BufWriter::new(File::create(path).map_err(failed)?);
        // Into the buffer: nothing can fail before it is flushed.
        file.write_all(HEAD.as_bytes()).map_err(failed)?;
        Ok(Self { file, path: path.to_owned(), samples: 0, flushed_at: Instant::now() })
    }

    /// Adds a line, and brings all to the file now and then.
    pub(super) fn write(&mut self, sample: &ProbeSample) -> anyhow::Result<()> {
        let probe = &sample.probe;
        let (shard, late) = (sample.shard.0, u8::from(probe.late));
        let (id, t1, t2, t3, t4) = (probe.id, probe.t1, probe.t2, probe.t3, probe.t4);
        let written = writeln!(self.file, "{shard},{id},{t1},{t2},{t3},{t4},{late}");
        self.samples += 1;
        self.explain(written)
    }

    /// Brings what was written to the file if that was last done a while ago.
    pub(super) fn flush_now_and_then(&mut self, now: Instant) -> anyhow::Result<()> {
        if now.duration_since(self.flushed_at) < FLUSH_INTERVAL {
            return Ok(());
        }
        self.flushed_at = now;
        let flushed = self.file.flush();
        self.explain(flushed)
    }

    /// Brings everything to the file. Returns how many samples are in it.
    pub(super) fn finish(mut self) -> anyhow::Result<u64> {
        let flushed = self.file.flush();
        self.explain(flushed)?;
        Ok(self.samples)
    }

    fn explain(&self, outcome: std::io::Result<()>) -> anyhow::Result<()> {
        outcome.with_context(|| {
            let path = self.path.display();
            format!("writing --trace {path}; give it a place with enough room")
        })
    }
}
