//! An experiment, as its file says it: which bench, which options, what varies, and what to show.

mod document;
mod plots;
mod quick;
mod read;
#[cfg(test)]
mod tests;

use crate::error::StudyError;
use crate::metric::MetricPath;
use punctual_runtime::config::parse_duration;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// Most repeats of a run.
pub const REPEATS_MAX: u32 = 100;
/// Most cells of a grid.
pub const CELLS_MAX: usize = 1_000;
/// Most pictures that one heat map in the file may become.
pub const HEATMAPS_MAX: usize = 12;

/// What a run takes beside the time that it measures, where the file does not say: loading,
/// draining, checking.
const BESIDE: Duration = Duration::from_secs(1);
/// A run hangs after so many times its estimate, and this on top.
const LIMIT_TIMES: u32 = 10;
const LIMIT_MIN: Duration = Duration::from_mins(10);
/// How long benches measure and warm up unless they are told.
const DURATION: Duration = Duration::from_secs(5);
const WARMUP: Duration = Duration::from_secs(1);

/// What carries out the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The engine itself, in real time.
    Real,
    /// The engine's state machines in virtual time.
    Sim,
}

/// The value of an option.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OptionValue {
    /// It stands alone: `--checksum`.
    Flag,
    /// It has a value, as it stands on the command line.
    Text(String),
    /// It is left out.
    Absent,
}

/// An option of the bench, by its name without the dashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Such as `in-flight`.
    pub name: String,
    /// What it is set to.
    pub value: OptionValue,
    /// Line of the file.
    pub line: usize,
}

/// One thing that varies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimension {
    /// The option's name, or that of a bundle.
    pub name: String,
    /// What it varies over, in the order of the file.
    pub points: Vec<Point>,
    /// Line of the file.
    pub line: usize,
}

/// One value of a dimension: an option, or a bundle of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// What tables and pictures call it.
    pub label: String,
    /// The options that it sets.
    pub settings: Vec<Setting>,
}

/// Labels of some dimensions; of each dimension any one of its labels fits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pattern(pub Vec<(String, Vec<String>)>);

/// What a picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlotKind {
    /// A figure over another one, a line for each series, in the order of the grid.
    ThroughputLatency,
    /// A figure over what varies.
    Line,
    /// The same as bars.
    Bars,
    /// The distribution of latencies.
    Cdf,
    /// Latencies by percentile.
    Percentiles,
    /// How often which latency came when; one picture a cell.
    Heatmap,
}

/// What is on the horizontal axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Across {
    /// What varies, by its name.
    Dimension(String),
    /// A figure of the run.
    Metric(MetricPath),
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plot {
    /// Which kind.
    pub kind: PlotKind,
    /// Its heading.
    pub title: String,
    /// What is on the horizontal axis; distributions have none to choose.
    pub x: Option<Across>,
    /// The figure on the vertical axis; distributions have none to choose.
    pub y: Option<MetricPath>,
    /// The dimensions whose values have a series each.
    pub by: Vec<String>,
    /// The cells that it shows.
    pub only: Pattern,
    /// Whether the horizontal axis is logarithmic.
    pub log_x: bool,
    /// Whether the vertical axis is logarithmic.
    pub log_y: bool,
    /// Line of the file.
    pub line: usize,
}

/// Figures that others have published, to be shown beside ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Whose.
    pub name: String,
    /// Where they are from, and how they were made.
    pub source: String,
    /// Headings of the table.
    pub columns: Vec<String>,
    /// Its rows, each with a text for each column.
    pub rows: Vec<Vec<String>>,
}

/// A figure that tables show, and where the file asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Where it stands in the document of a run.
    pub path: MetricPath,
    /// Line of the file.
    pub line: usize,
}

/// An experiment in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Experiment {
    /// The file, as the caller named it.
    pub file: String,
    /// Hash of its text.
    pub hash: String,
    /// Whether this is the quick form.
    pub is_quick: bool,
    /// Its name: lower-case letters, digits and dashes.
    pub name: String,
    /// Its heading.
    pub title: String,
    /// What it is for.
    pub about: String,
    /// The subcommand of `punctual bench`.
    pub bench: String,
    /// What carries out the runs.
    pub engine: Engine,
    /// How often each cell is run.
    pub repeats: u32,
    /// What a run takes beside the time that it measures; all that it takes in virtual time.
    pub beside: Duration,
    /// Options of every cell.
    pub fixed: Vec<Setting>,
    /// What varies.
    pub sweep: Vec<Dimension>,
    /// Cells that are left out.
    pub skip: Vec<Pattern>,
    /// The figures in tables.
    pub metrics: Vec<Metric>,
    /// The pictures.
    pub plots: Vec<Plot>,
    /// What others have published.
    pub published: Vec<Published>,
}

impl Experiment {
    /// Reads an experiment, in its quick form or in full. `file` is what errors call it.
    ///
    /// # Errors
    /// Names the line and what is wrong with it.
    pub fn parse(text: &str, file: &str, is_quick: bool) -> Result<Self, StudyError> {
        let experiment = read::read(text, file, is_quick)?;
        experiment.check_grid()?;
        Ok(experiment)
    }

    /// An error at a line of its file.
    #[must_use]
    pub fn at_line(&self, line: usize, message: String) -> StudyError {
        StudyError::AtLine { file: self.file.clone(), line, message }
    }

    /// The dimension with this name.
    #[must_use]
    pub fn dimension(&self, name: &str) -> Option<&Dimension> {
        self.sweep.iter().find(|dimension| dimension.name == name)
    }

    /// Every figure that it names, with the line where it does.
    #[must_use]
    pub fn figures(&self) -> Vec<(&MetricPath, usize)> {
        let tables = self.metrics.iter().map(|metric| (&metric.path, metric.line));
        let pictures = self.plots.iter().flat_map(|plot| {
            let x = match &plot.x {
                Some(Across::Metric(path)) => Some(path),
                _ => None,
            };
            x.into_iter().chain(&plot.y).map(move |path| (path, plot.line))
        });
        tables.chain(pictures).collect()
    }

    /// How long all runs will take, about.
    #[must_use]
    pub fn estimate(&self) -> Duration {
        let once: Duration = self.cells().iter().map(|cell| self.time_of(&cell.settings)).sum();
        once * self.repeats
    }

    /// When a run hangs: long after any of them should have ended. Estimates may be far off where
    /// the machine is slow, and a study is left alone for hours.
    #[must_use]
    pub fn run_limit(&self) -> Duration {
        let cells = self.cells();
        let longest = cells.iter().map(|cell| self.time_of(&cell.settings)).max();
        longest.unwrap_or_default() * LIMIT_TIMES + LIMIT_MIN
    }

    /// How long one run with these options takes, about.
    fn time_of(&self, settings: &[Setting]) -> Duration {
        let told = |name: &str| {
            let setting = settings.iter().find(|setting| setting.name == name)?;
            let OptionValue::Text(text) = &setting.value else { return None };
            parse_duration(text).ok()
        };
        match self.engine {
            Engine::Sim => self.beside,
            Engine::Real => {
                let measured = told("duration").unwrap_or(DURATION);
                measured + told("warmup").unwrap_or(WARMUP) + self.beside
            }
        }
    }

    /// Refuses a grid without a cell, and an option that is set twice.
    fn check_grid(&self) -> Result<(), StudyError> {
        self.check_settings()?;
        if self.cells().is_empty() {
            let message = "the grid is empty: every cell is skipped; take a [[skip]] out";
            return Err(self.in_file(message.to_owned()));
        }
        Ok(())
    }

    /// Refuses a grid with too many cells, before anybody lists them.
    fn check_size(&self) -> Result<(), StudyError> {
        let times = |so_far: usize, dimension: &Dimension| {
            so_far.checked_mul(dimension.points.len()).filter(|cells| *cells <= CELLS_MAX)
        };
        match self.sweep.iter().try_fold(1, times) {
            Some(_) => Ok(()),
            None => {
                let message = format!("the grid has over {CELLS_MAX} cells; sweep over less");
                Err(self.in_file(message))
            }
        }
    }

    fn in_file(&self, message: String) -> StudyError {
        StudyError::InFile { file: self.file.clone(), message }
    }

    /// Refuses an option that two places set.
    fn check_settings(&self) -> Result<(), StudyError> {
        let mut known: Vec<(&str, &str)> =
            self.fixed.iter().map(|setting| (setting.name.as_str(), "fixed")).collect();
        for dimension in &self.sweep {
            let own: Vec<&Setting> =
                dimension.points.iter().flat_map(|point| &point.settings).collect();
            for setting in &own {
                if let Some((name, place)) = known.iter().find(|(name, _)| *name == setting.name) {
                    let message = format!(
                        "\"{name}\" is set in [sweep] {} and by {place} as well; keep one",
                        dimension.name
                    );
                    return Err(self.at_line(setting.line, message));
                }
            }
            known.extend(own.iter().map(|it| (it.name.as_str(), dimension.name.as_str())));
        }
        Ok(())
    }
}

impl Pattern {
    /// Whether a cell with these labels is one of those that are meant.
    #[must_use]
    pub fn fits(&self, labels: &[(String, String)]) -> bool {
        self.0.iter().all(|(name, wanted)| {
            labels.iter().any(|(of, label)| of == name && wanted.contains(label))
        })
    }

    /// Whether it leaves one label of this dimension.
    fn pins(&self, name: &str) -> bool {
        self.0.iter().any(|(of, labels)| of == name && labels.len() == 1)
    }
}

/// The hash of an experiment's text: what must be the same for a study to go on.
pub(crate) fn hash_of(text: &str) -> String {
    format!("{:016x}", xxh3_64(text.as_bytes()))
}
