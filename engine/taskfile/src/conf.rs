//! The original's `conf.json`, with the keys that forks have added.
//!
//! A key that is missing has the original's default, and one that nobody knows is left alone, so
//! that every file which any of them accepts is accepted here. What each key means here is in
//! `docs/task-files.md`.

use crate::fault::shown;
use crate::units::{GIB, scaled};
use serde_json::{Map, Value};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Settings that the original or a fork has, and that mean nothing here.
const WITHOUT_MEANING: [&str; 7] = [
    "result_dir",
    "redis_host",
    "redis_port",
    "redis_pass",
    "redis_db",
    "auto_sleep_sec",
    "task_timeout_check_interval",
];

/// Settings of the original and of its forks that mean something here, in our units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginalConf {
    /// `min_dram_gb_accept_new_task`: bytes that have to be free for a worker to start a task.
    pub accept_free: u64,
    /// `min_dram_gb_trigger_return`: with fewer bytes free it gives its youngest task back.
    pub return_free: u64,
    /// `sleep_sec_between_accepting_task`: the pause of a worker between two tasks.
    pub sleep_between_tasks: Duration,
    /// `health_report_interval`: how often a worker says that it is alive.
    pub report_interval: Duration,
    /// `max_task_per_worker`: tasks that a worker runs at once.
    pub tasks_max: u32,
    /// `max_retry_per_task`: failures after which a task is not tried again, so in truth the number
    /// of its attempts.
    pub attempts_max: u16,
    /// `default_task_timeout_seconds` of a fork; `None` where it is missing or 0.
    pub task_timeout: Option<Duration>,
    /// Keys that nobody knows, as they are in the file.
    pub unknown: Vec<String>,
}

/// What is wrong with the contents of a `conf.json`.
#[derive(Debug, Error)]
pub enum ConfFault {
    /// It is not JSON.
    #[error("it is not JSON")]
    Syntax(#[from] serde_json::Error),
    /// It is JSON, but no object.
    #[error("it is not an object of settings such as {{\"max_task_per_worker\": 8}}")]
    NoObject,
    /// A setting has a value that it cannot have.
    #[error("\"{key}\": {value} is not {wanted}")]
    Value {
        /// The setting.
        key: &'static str,
        /// Its value, as it is in the file.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
}

/// Why a `conf.json` could not be read.
#[derive(Debug, Error)]
pub enum ConfError {
    /// There is no such file, or it may not be read.
    #[error("cannot read {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something is wrong with its contents.
    #[error("{} cannot be used", .path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What it is.
        source: ConfFault,
    },
}

impl Default for OriginalConf {
    /// What the original's own file says.
    fn default() -> Self {
        Self {
            accept_free: 80 * GIB,
            return_free: 40 * GIB,
            sleep_between_tasks: Duration::from_secs(2),
            report_interval: Duration::from_secs(2),
            tasks_max: 32,
            attempts_max: 4,
            task_timeout: None,
            unknown: Vec::new(),
        }
    }
}

impl OriginalConf {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is no JSON, or a setting has a value that it cannot have. Who reads it
    /// again while running goes on with what there was before.
    pub fn read(path: &Path) -> Result<Self, ConfError> {
        let path = path.to_owned();
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).map_err(|source| ConfError::Wrong { path, source }),
            Err(source) => Err(ConfError::Unreadable { path, source }),
        }
    }

    /// Reads the contents of a file.
    ///
    /// # Errors
    /// If they are no JSON, or a setting has a value that it cannot have.
    pub fn parse(text: &str) -> Result<Self, ConfFault> {
        let Value::Object(values) = serde_json::from_str::<Value>(text)? else {
            return Err(ConfFault::NoObject);
        };
        let usual = Self::default();
        let mut keys = Keys(values);
        Ok(Self {
            accept_free: keys.gib("min_dram_gb_accept_new_task")?.unwrap_or(usual.accept_free),
            return_free: keys.gib("min_dram_gb_trigger_return")?.unwrap_or(usual.return_free),
            sleep_between_tasks: keys
                .seconds("sleep_sec_between_accepting_task")?
                .unwrap_or(usual.sleep_between_tasks),
            report_interval: keys
                .seconds("health_report_interval")?
                .unwrap_or(usual.report_interval),
            tasks_max: keys
                .whole("max_task_per_worker", "a whole number from 0 to 4294967295")?
                .unwrap_or(usual.tasks_max),
            attempts_max: keys
                .whole("max_retry_per_task", "a whole number from 0 to 65535")?
                .unwrap_or(usual.attempts_max),
            task_timeout: keys
                .seconds("default_task_timeout_seconds")?
                .filter(|timeout| !timeout.is_zero()),
            unknown: keys.unknown(),
        })
    }

    /// What a person should know of these settings, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.return_free > self.accept_free {
            warnings.push(format!(
                "min_dram_gb_trigger_return ({} GiB) is above min_dram_gb_accept_new_task ({} \
                 GiB): tasks are started and given back at once while the free memory is between",
                self.return_free / GIB,
                self.accept_free / GIB
            ));
        }
        if self.tasks_max == 0 {
            warnings.push("max_task_per_worker is 0: workers run nothing".to_owned());
        }
        if !self.unknown.is_empty() {
            let keys = self.unknown.iter().map(|key| shown(key.as_bytes())).collect::<Vec<_>>();
            warnings.push(format!("unknown settings have no effect: {}", keys.join(", ")));
        }
        warnings
    }
}

/// The settings that have not been looked at.
struct Keys(Map<String, Value>);

impl Keys {
    /// Takes a setting out. As in the original, a number may be written as a text.
    fn take<T>(
        &mut self,
        key: &'static str,
        wanted: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfFault> {
        let Some(value) = self.0.remove(key) else { return Ok(None) };
        let text = match &value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            // As good as missing.
            Value::Null => return Ok(None),
            _ => None,
        };
        match text.and_then(|text| read(&text)) {
            Some(setting) => Ok(Some(setting)),
            None => {
                let value = shown(value.to_string().as_bytes());
                Err(ConfFault::Value { key, value, wanted })
            }
        }
    }

    fn whole<T: TryFrom<u64>>(
        &mut self,
        key: &'static str,
        wanted: &'static str,
    ) -> Result<Option<T>, ConfFault> {
        self.take(key, wanted, |text| {
            let text = text.trim();
            let number: u64 = text.strip_suffix(".0").unwrap_or(text).parse().ok()?;
            T::try_from(number).ok()
        })
    }

    fn gib(&mut self, key: &'static str) -> Result<Option<u64>, ConfFault> {
        self.take(key, "a number of GB", |text| scaled(text.trim(), GIB))
    }

    fn seconds(&mut self, key: &'static str) -> Result<Option<Duration>, ConfFault> {
        let read = |text: &str| scaled(text.trim(), 1_000_000_000).map(Duration::from_nanos);
        self.take(key, "a number of seconds", read)
    }

    /// Those that are left, without the ones that are known to mean nothing.
    fn unknown(self) -> Vec<String> {
        let keys = self.0.into_iter().map(|(key, _)| key);
        keys.filter(|key| !WITHOUT_MEANING.contains(&key.as_str())).collect()
    }
}
