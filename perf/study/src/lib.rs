//! Latency studies: an experiment is one file, its result one folder.
//!
//! An [`Experiment`] says which bench runs, with which options, and which of them vary. Its grid
//! is a list of [`Cell`]s. [`run::run`] runs every cell as often as the file says, each in a
//! process of its own, and keeps what it finished in a [`Folder`]; [`Results`] reads a folder
//! again, [`render()`] makes its tables, pictures and report, [`Comparison`] lays two of them side
//! by side.
//!
//! Nothing here prints or parses arguments, and nothing knows what an option means: a cell is a
//! command line, and its result is the JSON document that the bench wrote. `docs/studies.md` is
//! the reference of the file.
#![forbid(unsafe_code)]

pub mod compare;
mod csv;
mod error;
pub mod experiment;
pub mod folder;
pub mod grid;
pub mod hdr;
pub mod metric;
mod names;
mod pictures;
mod plot;
mod process;
pub mod render;
mod report;
pub mod results;
pub mod run;
pub mod shipped;
mod stamp;
mod table;

pub use compare::Comparison;
pub use error::StudyError;
pub use experiment::Experiment;
pub use folder::Folder;
pub use grid::Cell;
pub use process::ProcessRunner;
pub use render::render;
pub use results::Results;
pub use stamp::utc_now;
