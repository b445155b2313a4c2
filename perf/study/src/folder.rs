//! The folder of a study: what was asked for, and what every run left.
//!
//! ```text
//! study.toml            the experiment file
//! study.json            the manifest: its hash, its form, its cells with their arguments
//! cells/SLUG/r1.json    the document of a good run; it comes last, so what has one is finished
//! cells/SLUG/r1/        its histogram files
//! cells/SLUG/r1.log     what it said
//! cells/SLUG/r1.failed  why it failed; with r1.bad.json where it wrote a document all the same
//! results.csv, results.json, plots/, report.md      made from these, and made again at will
//! ```

use crate::error::{StudyError, reading, writing};
use crate::experiment::{Engine, Experiment};
use crate::grid::{Cell, is_slug};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Version of the manifest; it grows by one when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;
/// Largest document that is read.
const BYTES_MAX: u64 = 256 << 20;

const MANIFEST: &str = "study.json";
const EXPERIMENT: &str = "study.toml";

/// What a study is, beside the experiment file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this document: [`SCHEMA`].
    pub schema: u32,
    /// The experiment's name.
    pub name: String,
    /// Hash of the experiment file.
    pub hash: String,
    /// Whether it is the quick form.
    pub quick: bool,
    /// What carries out the runs.
    pub engine: Engine,
    /// When it began, in UTC.
    pub began: String,
    /// Version of the program and the commit that it was built from.
    pub program: String,
    /// How often each cell is run.
    pub repeats: u32,
    /// The cells, in the order of the grid.
    pub cells: Vec<Cell>,
}

/// The folder of a study.
#[derive(Debug, Clone)]
pub struct Folder {
    dir: PathBuf,
    /// What it is the folder of.
    pub manifest: Manifest,
}

/// Where one run leaves what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFiles {
    /// The document of a good run.
    pub report: PathBuf,
    /// Its histogram files.
    pub hdr: PathBuf,
    /// What it said.
    pub log: PathBuf,
    /// Why it failed.
    pub failed: PathBuf,
    /// The document of a run that failed.
    pub bad: PathBuf,
    /// The document while the run is under way.
    pub report_under_way: PathBuf,
    /// The histogram files while the run is under way.
    pub hdr_under_way: PathBuf,
}

impl Folder {
    /// Begins a study in a folder that is empty or not there.
    ///
    /// # Errors
    /// When something is in it, or it cannot be written.
    pub fn create(
        dir: &Path,
        experiment: &Experiment,
        text: &str,
        began: &str,
        program: &str,
    ) -> Result<Self, StudyError> {
        if is_occupied(dir)? {
            return Err(StudyError::Occupied { dir: dir.to_owned() });
        }
        fs::create_dir_all(dir).map_err(writing(dir))?;
        let manifest = Manifest {
            schema: SCHEMA,
            name: experiment.name.clone(),
            hash: experiment.hash.clone(),
            quick: experiment.is_quick,
            engine: experiment.engine,
            began: began.to_owned(),
            program: program.to_owned(),
            repeats: experiment.repeats,
            cells: experiment.cells(),
        };
        let folder = Self { dir: dir.to_owned(), manifest };
        folder.write(EXPERIMENT, text)?;
        let manifest = serde_json::to_string_pretty(&folder.manifest)? + "\n";
        folder.write(MANIFEST, &manifest)?;
        Ok(folder)
    }

    /// Opens a folder to go on with it: it must be of the same experiment in the same form.
    ///
    /// # Errors
    /// When it is no folder of a study, or of another one.
    pub fn resume(dir: &Path, experiment: &Experiment) -> Result<Self, StudyError> {
        let folder = Self::open(dir)?;
        let manifest = &folder.manifest;
        let form = |is_quick: bool| if is_quick { "the quick form" } else { "the full form" };
        let what = if manifest.hash != experiment.hash {
            format!("another version of {}, or another experiment", manifest.name)
        } else if manifest.quick != experiment.is_quick {
            format!("{} of {}", form(manifest.quick), manifest.name)
        } else {
            return Ok(folder);
        };
        Err(StudyError::OtherExperiment { dir: dir.to_owned(), what })
    }

    /// Opens a folder to read what is in it.
    ///
    /// # Errors
    /// When it is no folder of a study.
    pub fn open(dir: &Path) -> Result<Self, StudyError> {
        let not = |why: String| StudyError::NotAStudy { dir: dir.to_owned(), why };
        let path = dir.join(MANIFEST);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(not(format!("it has no {MANIFEST}")));
            }
            read => read.map_err(reading(&path))?,
        };
        let document: Value = serde_json::from_str(&text)
            .map_err(|error| not(format!("its {MANIFEST} is damaged: {error}")))?;
        let schema = document["schema"].as_u64().unwrap_or(0);
        if schema != u64::from(SCHEMA) {
            return Err(not(format!(
                "its {MANIFEST} has schema {schema}, and this program knows {SCHEMA} only"
            )));
        }
        let manifest: Manifest = serde_json::from_value(document)
            .map_err(|error| not(format!("its {MANIFEST} is damaged: {error}")))?;
        if !manifest.cells.iter().all(|cell| is_slug(&cell.slug)) {
            return Err(not(format!("its {MANIFEST} names a cell outside the folder")));
        }
        Ok(Self { dir: dir.to_owned(), manifest })
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The experiment that it was begun with.
    ///
    /// # Errors
    /// When the copy of the file is gone or was changed.
    pub fn experiment(&self) -> Result<Experiment, StudyError> {
        let path = self.dir.join(EXPERIMENT);
        let text = fs::read_to_string(&path).map_err(reading(&path))?;
        Experiment::parse(&text, &path.display().to_string(), self.manifest.quick)
    }

    /// The files of a run, counted from 1.
    #[must_use]
    pub fn run_files(&self, cell: &Cell, repeat: u32) -> RunFiles {
        let dir = self.cell_dir(cell);
        let file = |end: &str| dir.join(format!("r{repeat}{end}"));
        RunFiles {
            report: file(".json"),
            hdr: file(""),
            log: file(".log"),
            failed: file(".failed"),
            bad: file(".bad.json"),
            report_under_way: file(".part.json"),
            hdr_under_way: file(".part"),
        }
    }

    /// The folder of a cell.
    pub(crate) fn cell_dir(&self, cell: &Cell) -> PathBuf {
        self.dir.join("cells").join(&cell.slug)
    }

    /// Whether a run is finished and good.
    #[must_use]
    pub fn is_finished(&self, cell: &Cell, repeat: u32) -> bool {
        self.run_files(cell, repeat).report.is_file()
    }

    /// Writes a file, whole or not at all.
    pub(crate) fn write(&self, name: &str, content: &str) -> Result<(), StudyError> {
        write_whole(&self.dir.join(name), content)
    }
}

/// Writes a file under another name first, so that nobody ever sees a part of it.
pub(crate) fn write_whole(path: &Path, content: &str) -> Result<(), StudyError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(writing(parent))?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let under_way = path.with_file_name(name);
    let written = fs::write(&under_way, content).and_then(|()| fs::rename(&under_way, path));
    written.map_err(writing(path))
}

/// Whether a folder has something in it; a file in its place counts.
fn is_occupied(dir: &Path) -> Result<bool, StudyError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(true),
        Err(error) => Err(reading(dir)(error)),
    }
}

/// Reads a file of bounded size.
pub(crate) fn read_bounded(path: &Path) -> Result<Vec<u8>, StudyError> {
    let bytes = fs::metadata(path).map_err(reading(path))?.len();
    if bytes > BYTES_MAX {
        let source = std::io::Error::new(
            ErrorKind::FileTooLarge,
            format!("it has {bytes} bytes, more than {BYTES_MAX}"),
        );
        return Err(reading(path)(source));
    }
    fs::read(path).map_err(reading(path))
}
