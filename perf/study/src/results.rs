//! What the runs of a study left, read again: documents, verdicts, and figures over repeats.

use crate::error::{StudyError, reading};
use crate::folder::{Folder, Manifest, read_bounded};
use crate::grid::Cell;
use crate::metric::{Found, MetricPath};
use serde::Serialize;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It measured what it was to measure.
    Good,
    /// It ended well, but its generator did not keep up: what it measured is the generator.
    Invalid,
    /// It failed, and why.
    Failed(String),
    /// It was not made.
    Missing,
}

impl State {
    /// In one word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Invalid => "invalid",
            Self::Failed(_) => "failed",
            Self::Missing => "missing",
        }
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Which repeat of its cell, from 1.
    pub repeat: u32,
    /// How it ended.
    pub state: State,
    /// Its document; `Null` where there is none.
    pub report: Value,
    /// Where its histogram files are.
    pub hdr: PathBuf,
}

/// A cell with its runs.
#[derive(Debug, Clone, PartialEq)]
pub struct CellResults {
    /// Which one.
    pub cell: Cell,
    /// Its runs, one for each repeat.
    pub runs: Vec<Run>,
}

/// All runs of a study.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// What the study is.
    pub manifest: Manifest,
    /// Its cells, in the order of the grid.
    pub cells: Vec<CellResults>,
}

/// A figure over the repeats of a cell. Never averaged: the median is one of the runs, or lies
/// between the two in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// How many runs.
    pub n: usize,
    /// The one in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Sums up some values; `None` if there is none.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let n = values.len();
        let median = match n % 2 {
            1 => values[n / 2],
            _ => f64::midpoint(values[n / 2 - 1], values[n / 2]),
        };
        Some(Self { n, median, min, max })
    }

    /// Whether the ranges have a value in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.min <= other.max && other.min <= self.max
    }
}

impl CellResults {
    /// A figure over the good runs.
    #[must_use]
    pub fn spread(&self, path: &MetricPath) -> Option<Spread> {
        self.spread_of(path, &State::Good)
    }

    /// A figure over the runs that are invalid, for cells that have no other ones.
    #[must_use]
    pub fn invalid_spread(&self, path: &MetricPath) -> Option<Spread> {
        self.spread_of(path, &State::Invalid)
    }

    fn spread_of(&self, path: &MetricPath, state: &State) -> Option<Spread> {
        let runs = self.runs.iter().filter(|run| run.state == *state);
        Spread::of(runs.filter_map(|run| run.figure(path)).collect())
    }

    /// The good runs.
    pub fn good(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| run.state == State::Good)
    }
}

impl Run {
    /// A figure of its document.
    #[must_use]
    pub fn figure(&self, path: &MetricPath) -> Option<f64> {
        match path.find(&self.report) {
            Found::Number(value) => Some(value),
            Found::Null | Found::Missing(_) => None,
        }
    }
}

impl Results {
    /// Reads all that a study has.
    ///
    /// # Errors
    /// When a file of it cannot be read.
    pub fn load(folder: &Folder) -> Result<Self, StudyError> {
        let manifest = folder.manifest.clone();
        let mut cells = Vec::new();
        for cell in &manifest.cells {
            let repeats = 1..=manifest.repeats;
            let runs = repeats.map(|repeat| load_run(folder, cell, repeat));
            let runs = runs.collect::<Result<Vec<Run>, StudyError>>()?;
            cells.push(CellResults { cell: cell.clone(), runs });
        }
        Ok(Self { manifest, cells })
    }

    /// All runs with their cells.
    pub fn runs(&self) -> impl Iterator<Item = (&Cell, &Run)> {
        self.cells.iter().flat_map(|cell| cell.runs.iter().map(move |run| (&cell.cell, run)))
    }

    /// The names of what varies.
    #[must_use]
    pub fn dimensions(&self) -> Vec<&str> {
        let labels = self.cells.first().map(|first| first.cell.labels.as_slice());
        labels.unwrap_or_default().iter().map(|(name, _)| name.as_str()).collect()
    }
}

fn load_run(folder: &Folder, cell: &Cell, repeat: u32) -> Result<Run, StudyError> {
    let files = folder.run_files(cell, repeat);
    let (state, report) = if files.report.is_file() {
        let text = read_bounded(&files.report)?;
        match serde_json::from_slice::<Value>(&text) {
            Ok(report) => (state_of(&report), report),
            Err(error) => {
                let why = format!("its document is damaged: {error}");
                (State::Failed(why), Value::Null)
            }
        }
    } else if files.failed.is_file() {
        let why = fs::read_to_string(&files.failed).map_err(reading(&files.failed))?;
        (State::Failed(why.trim().to_owned()), Value::Null)
    } else {
        (State::Missing, Value::Null)
    };
    Ok(Run { repeat, state, report, hdr: files.hdr })
}

fn state_of(report: &Value) -> State {
    match report.get("open_loop_valid").and_then(Value::as_bool) {
        Some(false) => State::Invalid,
        _ => State::Good,
    }
}

/// What a document says of the comparison of the store with what was acknowledged.
pub(crate) fn self_check(report: &Value) -> Option<String> {
    report.get("self_check").and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_middle_and_the_ends() {
        let of = |values: &[f64]| Spread::of(values.to_vec());
        assert_eq!(of(&[]), None);
        let three = of(&[3.0, 1.0, 2.5]).expect("a spread");
        assert_eq!((three.n, three.median, three.min, three.max), (3, 2.5, 1.0, 3.0));
        assert_eq!(of(&[4.0, 1.0]).map(|spread| spread.median), Some(2.5));
    }

    #[test]
    fn ranges_overlap_when_they_touch() {
        let of = |values: &[f64]| Spread::of(values.to_vec()).expect("a spread");
        assert!(of(&[1.0, 2.0]).overlaps(&of(&[2.0, 3.0])));
        assert!(of(&[1.0, 9.0]).overlaps(&of(&[4.0])));
        assert!(!of(&[1.0, 2.0]).overlaps(&of(&[2.1, 3.0])));
    }
}
