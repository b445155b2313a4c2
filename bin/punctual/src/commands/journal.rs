//! `punctual journal`: a look at journals that changes nothing.

use crate::commands::output::Output;
use crate::eprintln_line;
use clap::{Args, Subcommand};
use punctual_runtime::journal::{self, CheckReport, FileCheck, FileRole, JournalCheck, TornTail};
use punctual_runtime::{JournalError, Lsn, RecoveryReport};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Version of the JSON document; it changes when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;

/// Look at the journals of shards without changing anything
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  punctual journal check .punctual/data           the journals of all shards there
  punctual journal dump .punctual/data/shard-0    what one of them says")]
pub(crate) enum JournalCommand {
    Check(CheckArgs),
    Dump(DumpArgs),
}

/// Read journals from end to end, and say whether they are sound
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual journal check .punctual/data                        the journals of all shards there
  punctual journal check .punctual/data/shard-0                that of one shard
  punctual journal check .punctual/data/shard-0/log-000001     a single file
  punctual journal check .punctual/data --json -               JSON for programs

Exit code 0 means that a shard can go on from each of them, 1 that something is damaged or missing.
A torn tail is what a crash leaves behind and no damage: the next start cuts it.")]
pub(crate) struct CheckArgs {
    /// A directory with journals, the journal of one shard, or a single file of it
    #[arg(value_name = "PATH")]
    path: PathBuf,

    /// Also write the result as JSON to FILE; with -, print JSON, and the summary to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Print the records of a journal, a line each: file, offset, position in the log, contents
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual journal dump .punctual/data/shard-0                 the newest snapshot and what follows
  punctual journal dump .punctual/data/shard-0 --from 3fffd210 --limit 10
  punctual journal dump .punctual/data/shard-0/log-000001      all that a file has

It ends with exit code 1 at the first damage.")]
pub(crate) struct DumpArgs {
    /// A directory with journals, the journal of one shard, or a single file of it
    #[arg(value_name = "PATH")]
    path: PathBuf,

    /// Begin at this position of the log, in hexadecimal, as it is printed
    #[arg(long, value_name = "LSN", value_parser = position)]
    from: Option<Lsn>,

    /// Print so many records at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

fn position(text: &str) -> Result<Lsn, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let position = u64::from_str_radix(digits, 16);
    position.map(Lsn).map_err(|_| "a position has up to 16 hexadecimal digits".to_owned())
}

/// Runs the command.
pub(crate) fn run(command: &JournalCommand) -> anyhow::Result<ExitCode> {
    match command {
        JournalCommand::Check(args) => check(args),
        JournalCommand::Dump(args) => dump(args),
    }
}

/// Says which journals the shards of a new engine have, and what they went on from.
pub(crate) fn show_recoveries(reports: &[RecoveryReport]) {
    for report in reports {
        eprintln_line(&report.to_string());
    }
}

fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let output = Output::open(args.json.as_deref())?;
    let report = journal::check(&args.path)?;
    output.write(&format!("{report}\n"), &Document::new(&args.path, &report))?;
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn dump(args: &DumpArgs) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let dumped =
        journal::dump(&args.path, args.from, args.limit, &mut |line| writeln!(out, "{line}"));
    // What could be read is shown, whatever comes behind it.
    let flushed = out.flush().map_err(JournalError::Output);
    match dumped.and(flushed) {
        // Whoever reads it has seen enough.
        Err(JournalError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {}
        outcome => outcome?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The JSON document of a check.
#[derive(Debug, Serialize)]
struct Document {
    schema: u32,
    program: &'static str,
    path: String,
    is_sound: bool,
    journals: Vec<JournalDocument>,
}

/// A journal. Positions are in hexadecimal, as everywhere else.
#[derive(Debug, Serialize)]
struct JournalDocument {
    path: String,
    is_in_use: bool,
    /// Where the log ends; `null` if it cannot be read to its end.
    end: Option<String>,
    files: Vec<FileDocument>,
    /// What is wrong between the files.
    problems: Vec<String>,
}

/// A file of a journal.
#[derive(Debug, Serialize)]
struct FileDocument {
    path: String,
    bytes: u64,
    role: &'static str,
    shard: Option<u16>,
    shards: Option<u16>,
    generation: Option<u32>,
    start: Option<String>,
    end: Option<String>,
    records: BTreeMap<&'static str, u64>,
    torn: Option<TornDocument>,
    damage: Option<String>,
}

/// What the next start would cut.
#[derive(Debug, Serialize)]
struct TornDocument {
    offset: u64,
    bytes: u64,
    why: String,
}

impl Document {
    fn new(path: &Path, report: &CheckReport) -> Self {
        Self {
            schema: SCHEMA,
            program: "journal check",
            path: path.display().to_string(),
            is_sound: report.is_sound(),
            journals: report.journals.iter().map(JournalDocument::new).collect(),
        }
    }
}

impl JournalDocument {
    fn new(journal: &JournalCheck) -> Self {
        Self {
            path: journal.path.display().to_string(),
            is_in_use: journal.is_in_use,
            end: journal.end.map(|end| end.to_string()),
            files: journal.files.iter().map(FileDocument::new).collect(),
            problems: journal.problems.iter().map(ToString::to_string).collect(),
        }
    }
}

impl FileDocument {
    fn new(file: &FileCheck) -> Self {
        let head = file.head.as_ref();
        let torn = |torn: &TornTail| {
            let TornTail { offset, bytes, why, .. } = torn.clone();
            TornDocument { offset, bytes, why }
        };
        Self {
            path: file.path.display().to_string(),
            bytes: file.bytes,
            role: match file.role {
                FileRole::Snapshot => "snapshot",
                FileRole::Log => "log",
                FileRole::Past => "past",
                FileRole::Spare => "spare",
                FileRole::Leftover => "leftover",
            },
            shard: head.map(|head| head.shard.0),
            shards: head.map(|head| head.shards),
            generation: head.map(|head| head.generation),
            start: head.map(|head| head.start.to_string()),
            end: file.end.map(|end| end.to_string()),
            records: file.records.clone(),
            torn: file.torn.as_ref().map(torn),
            damage: file.damage.as_ref().map(ToString::to_string),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_printed() {
        for lsn in [Lsn(0), Lsn(0x3fff_d210), Lsn(u64::MAX)] {
            assert_eq!(position(&lsn.to_string()), Ok(lsn));
        }
        assert_eq!(position("0x1f"), Ok(Lsn(31)));
        for text in ["", "0x", "log-000001", "-1", "10000000000000000"] {
            assert!(position(text).is_err(), "{text} was understood");
        }
    }
}
