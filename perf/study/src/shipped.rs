//! The experiments that come with the program.

use crate::error::{StudyError, reading};
use crate::names::hint;
use std::fs;
use std::path::Path;

/// An experiment that comes with the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shipped {
    /// Its name.
    pub name: &'static str,
    /// The text of its file.
    pub text: &'static str,
}

macro_rules! shipped {
    ($($name:literal),+ $(,)?) => {
        /// All of them, in the order in which lists show them.
        pub const SHIPPED: &[Shipped] = &[$(Shipped {
            name: $name,
            text: include_str!(concat!("../../studies/", $name, ".toml")),
        }),+];
    };
}

shipped![
    "micro-suite",
    "tpcc",
    "network-latency",
    "cross-share",
    "coordinators",
    "batching",
    "open-loop",
    "owd-headroom",
    "transport-idle",
    "durability",
    "sim-wan",
    "sim-scale",
    "sim-tpcc",
];

/// The text of an experiment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What errors call the file.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// Finds an experiment by the name of a shipped one, or by the path of a file.
///
/// # Errors
/// When there is neither, or the file cannot be read.
pub fn open(what: &str) -> Result<Source, StudyError> {
    if let Some(shipped) = SHIPPED.iter().find(|shipped| shipped.name == what) {
        let file = format!("perf/studies/{what}.toml");
        return Ok(Source { file, text: shipped.text.to_owned() });
    }
    let path = Path::new(what);
    if !path.is_file() {
        let names: Vec<&str> = SHIPPED.iter().map(|shipped| shipped.name).collect();
        return Err(StudyError::Unknown { name: what.to_owned(), hint: hint(what, names) });
    }
    let text = fs::read_to_string(path).map_err(reading(path))?;
    Ok(Source { file: what.to_owned(), text })
}
