//! What all members of a cluster must agree on, and what each process decides for itself.
//!
//! [`ClusterConfig`] must be equal everywhere: its [hash](ClusterConfig::hash) is part of the
//! handshake, so that two members with different rules never exchange a transaction.
//! [`ProcessConfig`] may differ from process to process.
//!
//! A configuration comes from a TOML file ([`Config::load`]) or from a program
//! ([`Config::embedded`], then plain fields). Both go through the same checks
//! ([`Config::validate`]); an error from a file also says which line it is about.

mod address;
mod check;
mod cluster;
mod durability;
mod error;
mod names;
mod network;
mod process;
mod read;
mod section;
#[cfg(test)]
mod tests;
mod topology;
mod units;

pub use address::Address;
pub use cluster::{ClockSource, ClusterConfig};
pub use durability::{DurabilityMode, DurabilitySettings, JournalBackend, Modes};
pub use error::{ConfigError, TextError};
pub use names::nearest;
pub use network::{NetworkConfig, NetworkWait};
pub use process::{
    Backend, CoreList, Estimator, IdleStrategy, Placement, ProberSettings, ProcessConfig,
};
pub use punctual_link::{Distribution, NetworkPath, Shape};
pub use topology::{Member, Topology};
pub use units::{parse_bit_rate, parse_bytes, parse_duration, show_bytes, show_duration};

use std::path::Path;

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// What every member must agree on.
    pub cluster: ClusterConfig,
    /// What this process decides for itself.
    pub process: ProcessConfig,
}

impl Config {
    /// The defaults for a cluster of `shards` that lives in one process: no addresses, no sockets.
    #[must_use]
    pub fn embedded(shards: u16) -> Self {
        let cluster = ClusterConfig { shards, ..ClusterConfig::default() };
        Self { cluster, process: ProcessConfig::default() }
    }

    /// Reads a TOML text. `file` is its name in error messages.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line: bad syntax, an unknown key, a wrong type, or a
    /// value outside its bounds.
    pub fn from_toml(text: &str, file: &str) -> Result<Self, ConfigError> {
        read::read(text, file)
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    /// As [`from_toml`](Self::from_toml), or that the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_toml(&text, &file),
            Err(error) => {
                let message = format!("cannot be read ({error}); give the path of a TOML file");
                Err(ConfigError::InFile { file, message })
            }
        }
    }

    /// Checks every bound. Files are checked when they are read; a program that sets fields itself
    /// calls this before it starts anything.
    ///
    /// # Errors
    /// The first value that is outside its bounds or contradicts another.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check::check(self)
            .map_err(|violation| ConfigError::InProgram { message: violation.message })
    }
}
