//! Runs the grid: every cell once, then every cell a second time, and so on. What drifts on the
//! machine over the hours then falls on all cells alike.

use crate::error::{StudyError, writing};
use crate::experiment::Experiment;
use crate::folder::{Folder, RunFiles, read_bounded, write_whole};
use crate::grid::Cell;
use crate::metric::Found;
use crate::results::self_check;
use serde_json::Value;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

/// How much of what a run said is looked at for its last line.
const LOG_TAIL_BYTES: usize = 4096;
/// How much of that line is kept.
const LINE_CHARS_MAX: usize = 300;

/// One run to be made.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The arguments of the program, without those for the results.
    pub args: &'a [String],
    /// Where its document is to go.
    pub json: &'a Path,
    /// Where its histogram files are to go.
    pub hdr: &'a Path,
    /// Where what it says is to go.
    pub log: &'a Path,
    /// After this it hangs and is ended.
    pub limit: Duration,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this exit code; `None` if a signal ended it.
    Code(Option<i32>),
    /// It did not, and was killed.
    TooLong,
    /// Because the study was interrupted.
    Interrupted,
}

/// What makes a run.
pub trait CellRunner {
    /// Makes it, to its end.
    ///
    /// # Errors
    /// When it could not even begin.
    fn run(&mut self, job: &Job<'_>) -> Result<Ended, StudyError>;
}

/// How far a study is.
#[derive(Debug)]
pub enum Progress<'a> {
    /// It begins: so many runs are to be made, so many are there already.
    Begins {
        /// Runs to be made.
        runs: usize,
        /// Runs that an earlier call has finished.
        finished: usize,
    },
    /// A run begins.
    Run {
        /// Its number, from 1, among those that are to be made.
        number: usize,
        /// Its cell.
        cell: &'a Cell,
        /// Which repeat, from 1.
        repeat: u32,
    },
    /// That run was good.
    Good {
        /// Its document.
        report: &'a Value,
    },
    /// That run failed; the study goes on.
    Failed {
        /// Why.
        why: &'a str,
    },
}

/// How a study ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Good runs that this call made.
    pub good: usize,
    /// Failed ones: the cell with the repeat, and why.
    pub failed: Vec<(String, String)>,
    /// Whether it was interrupted before its end.
    pub interrupted: bool,
    /// How long it took, in seconds.
    pub wall_s: f64,
}

/// Makes all runs that are not finished.
///
/// # Errors
/// When a run cannot begin, a result cannot be written, or a good run lacks a figure that the
/// experiment names.
pub fn run(
    folder: &Folder,
    experiment: &Experiment,
    runner: &mut dyn CellRunner,
    see: &mut dyn FnMut(&Progress<'_>),
) -> Result<Outcome, StudyError> {
    let manifest = &folder.manifest;
    let all = (1..=manifest.repeats)
        .flat_map(|repeat| manifest.cells.iter().map(move |cell| (cell, repeat)));
    let (finished, open): (Vec<_>, Vec<_>) =
        all.partition(|(cell, repeat)| folder.is_finished(cell, *repeat));
    see(&Progress::Begins { runs: open.len(), finished: finished.len() });
    let began = Instant::now();
    let mut outcome = Outcome::default();
    let mut is_checked = false;
    let limit = experiment.run_limit();
    for (at, (cell, repeat)) in open.into_iter().enumerate() {
        see(&Progress::Run { number: at + 1, cell, repeat });
        match one(folder, (cell, repeat), limit, runner)? {
            One::Interrupted => {
                outcome.interrupted = true;
                break;
            }
            One::Good(report) => {
                outcome.good += 1;
                see(&Progress::Good { report: &report });
                if !is_checked {
                    check_figures(experiment, &report)?;
                    is_checked = true;
                }
            }
            One::Failed(why) => {
                see(&Progress::Failed { why: &why });
                outcome.failed.push((format!("{}, run {repeat}", cell.title()), why));
            }
        }
    }
    outcome.wall_s = began.elapsed().as_secs_f64();
    Ok(outcome)
}

/// What came of one run.
enum One {
    Good(Value),
    Failed(String),
    Interrupted,
}

fn one(
    folder: &Folder,
    (cell, repeat): (&Cell, u32),
    limit: Duration,
    runner: &mut dyn CellRunner,
) -> Result<One, StudyError> {
    let files = folder.run_files(cell, repeat);
    let dir = folder.cell_dir(cell);
    fs::create_dir_all(&dir).map_err(writing(&dir))?;
    clear(&files)?;
    let RunFiles { report_under_way: json, hdr_under_way: hdr, log, .. } = &files;
    let ended = runner.run(&Job { args: &cell.args, json, hdr, log, limit })?;
    let report = read_bounded(json).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let verdict = match ended {
        Ended::Code(code) => verdict(code, report, log),
        Ended::TooLong => Err(format!("it had not ended after {} s", limit.as_secs())),
        Ended::Interrupted => {
            clear(&files)?;
            return Ok(One::Interrupted);
        }
    };
    match verdict {
        Ok(report) => {
            if hdr.exists() {
                fs::rename(hdr, &files.hdr).map_err(writing(&files.hdr))?;
            }
            // The last: with this the run is finished.
            fs::rename(json, &files.report).map_err(writing(&files.report))?;
            Ok(One::Good(report))
        }
        Err(why) => {
            write_whole(&files.failed, &format!("{why}\n"))?;
            if json.exists() {
                fs::rename(json, &files.bad).map_err(writing(&files.bad))?;
            }
            remove(hdr)?;
            Ok(One::Failed(why))
        }
    }
}

/// The document of a good run, or why it is none.
fn verdict(code: Option<i32>, report: Option<Value>, log: &Path) -> Result<Value, String> {
    let said = || last_line(log).map(|line| format!(": {line}")).unwrap_or_default();
    if let Some(check) = report.as_ref().and_then(self_check).filter(|check| check != "ok") {
        return Err(format!("self-check: {check}"));
    }
    match (code, report) {
        (Some(0), Some(report)) => Ok(report),
        (Some(0), None) => Err("it wrote no document".to_owned()),
        (Some(code), _) => Err(format!("exit code {code}{}", said())),
        (None, _) => Err(format!("a signal ended it{}", said())),
    }
}

/// The last line of what a run said, for people.
fn last_line(log: &Path) -> Option<String> {
    let text = read_bounded(log).ok()?;
    let tail = &text[text.len().saturating_sub(LOG_TAIL_BYTES)..];
    let tail = String::from_utf8_lossy(tail);
    let line = tail.lines().rev().find(|line| !line.trim().is_empty())?;
    let line = line.strip_prefix("error: ").unwrap_or(line);
    Some(line.chars().take(LINE_CHARS_MAX).collect())
}

/// Refuses a figure that the documents of this bench do not have: after the first good run, not
/// after the last.
fn check_figures(experiment: &Experiment, report: &Value) -> Result<(), StudyError> {
    for (path, line) in experiment.figures() {
        if let Found::Missing(near) = path.find(report) {
            let hint = match near {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "look at a run's document for what it has".to_owned(),
            };
            let message = format!(
                "the documents of bench {} have no figure \"{path}\"; {hint}",
                experiment.bench
            );
            return Err(experiment.at_line(line, message));
        }
    }
    Ok(())
}

/// Removes what an earlier try has left.
fn clear(files: &RunFiles) -> Result<(), StudyError> {
    let RunFiles { report_under_way, hdr_under_way, hdr, log, failed, bad, .. } = files;
    for path in [report_under_way, hdr_under_way, hdr, log, failed, bad] {
        remove(path)?;
    }
    Ok(())
}

/// Removes a file or a folder that may be there.
fn remove(path: &Path) -> Result<(), StudyError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(writing(path)(error)),
        _ => Ok(()),
    }
}
