//! Checks the command line of every cell before the first one runs: a mistake in the last cell of
//! a grid must not show up after an hour.

use crate::commands::bench::{self, BenchCommand};
use clap::Parser;
use punctual_study::experiment::Experiment;
use punctual_study::{Cell, StudyError};

/// What stands for the options that say where results go.
const RESULTS: [&str; 4] = ["--json", "run.json", "--hdr", "run"];

/// The command line of a cell.
#[derive(Debug, Parser)]
#[command(name = "punctual bench", no_binary_name = true)]
struct CellLine {
    #[command(subcommand)]
    bench: BenchCommand,
}

/// Checks all cells of an experiment.
pub(super) fn cells(experiment: &Experiment) -> Result<(), StudyError> {
    for cell in experiment.cells() {
        // The word before the workload is that of this command itself. What a run adds is there,
        // too: not every bench can write its results to where a study wants them.
        let words = cell.args.iter().skip(1).map(String::as_str).chain(RESULTS);
        let line = CellLine::try_parse_from(words)
            .map_err(|error| refuse(experiment, &cell, &unfit(experiment, &error.to_string())))?;
        bench::check(&line.bench)
            .map_err(|error| refuse(experiment, &cell, &format!("{error:#}")))?;
    }
    Ok(())
}

/// Why a parser refuses a cell.
fn unfit(experiment: &Experiment, text: &str) -> String {
    match one_line(text) {
        line if line.contains("'--hdr'") => format!(
            "bench {} writes no histogram files, so no study can have it; take a workload such as \
             micro",
            experiment.bench
        ),
        line => line,
    }
}

/// What a parser says, without its hints about usage.
fn one_line(text: &str) -> String {
    let is_hint = |line: &str| line.starts_with("Usage:") || line.starts_with("For more");
    let lines = text.lines().map(str::trim).take_while(|line| !is_hint(line));
    let words: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let line = words.join("; ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

/// The error about a cell, at the line of the option that it speaks of.
fn refuse(experiment: &Experiment, cell: &Cell, why: &str) -> StudyError {
    // The engine speaks of `in_flight = 0`, as in its configuration.
    let is_meant = |name: &str| {
        let [option, key] = [format!("--{name}"), format!("{} = ", name.replace('-', "_"))];
        why.contains(&option) || why.contains(&key)
    };
    let named = cell
        .settings
        .iter()
        .filter(|setting| is_meant(&setting.name))
        // Of --rate and --rates it is the longer one.
        .max_by_key(|setting| setting.name.len());
    let message = format!("{why} (in the cell {}: {})", cell.title(), cell.command());
    match named {
        Some(setting) => experiment.at_line(setting.line, message),
        None => StudyError::InFile { file: experiment.file.clone(), message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_parser_says_becomes_one_line() {
        let text = "error: unexpected argument '--keyz' found\n\n  tip: a similar argument exists: \
            '--keys'\n\nUsage: punctual bench micro --keys <N>\n\nFor more information, try x.\n";
        let line = "unexpected argument '--keyz' found; tip: a similar argument exists: '--keys'";
        assert_eq!(one_line(text), line);
    }
}
