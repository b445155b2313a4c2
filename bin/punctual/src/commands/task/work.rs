//! What a worker offers and how it runs tasks: options and what becomes of them.

use super::load::Ceiling;
use super::text::size;
use crate::commands::UsageError;
use crate::eprintln_line;
use clap::Args;
use punctual_process::{Capacity, ProcessConfig, ProcessRunner};
use punctual_runtime::config::parse_duration;
use punctual_runtime::tasks::{Prefetch, TaskWorkerConfig};
use punctual_taskfile::{OriginalConf, parse_bytes, parse_cores};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Least free memory for a task to start, and to be left alone, in percent of what there is.
const ACCEPT_PERCENT: u64 = 5;
const RETURN_PERCENT: u64 = 2;

/// Options about what a worker offers, and about how it runs tasks.
#[derive(Debug, Args)]
#[command(next_help_heading = "Worker")]
pub(super) struct WorkArgs {
    /// Tasks at once (default: as many as there are cores)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    slots: Option<u32>,

    /// Memory that tasks may ask for, together (default: that of the machine)
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory: Option<u64>,

    /// Cores that tasks may ask for, together (default: those of the machine)
    #[arg(long, value_name = "N", value_parser = parse_cores)]
    cores: Option<u32>,

    /// Tasks that wait here beyond those that run: auto (by how long they take), off, or a number;
    /// where a server has several queues, each may have one here in any case
    #[arg(long, value_name = "N", default_value = "auto", value_parser = prefetch)]
    prefetch: Prefetch,

    /// Start no task with less free memory than this: a size, or a share such as 10%
    #[arg(long, value_name = "SIZE", alias = "memory-accept")]
    accept_free: Option<Threshold>,

    /// With less free memory than this, kill the youngest task and give it back
    #[arg(long, value_name = "SIZE", alias = "memory-return")]
    return_free: Option<Threshold>,

    /// What runs commands that need a shell
    #[arg(long, value_name = "PROGRAM", default_value = "/bin/sh")]
    shell: PathBuf,

    /// What runs tasks of the type python
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,

    /// Give each task a directory of its own below DIR, with files of what it writes
    #[arg(long, value_name = "DIR", alias = "output-dir")]
    work_dir: Option<PathBuf>,

    /// No directories for tasks, and no files of what they write
    #[arg(long, conflicts_with = "work_dir")]
    no_task_dirs: bool,

    /// Most that a file of what a task writes may have; 0: no such files
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_bytes)]
    output_file_max: u64,

    /// Kill a task so long after it was asked to end
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    kill_grace: Duration,

    /// Read slots and thresholds of memory from a conf.json of DistComp; options go before it
    #[arg(long, value_name = "FILE")]
    pub(super) conf: Option<PathBuf>,
}

/// What may change while a worker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) slots: u32,
    /// With less free memory than this no task starts,
    pub(super) accept_free: u64,
    /// and with less than this one is killed.
    pub(super) return_free: u64,
}

impl Limits {
    /// Those that a worker is started with.
    pub(super) fn of(config: &TaskWorkerConfig) -> Self {
        let TaskWorkerConfig { slots, accept_free, return_free, .. } = *config;
        Self { slots, accept_free, return_free }
    }
}

impl std::fmt::Display for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (accept_free, return_free) = (size(self.accept_free), size(self.return_free));
        let slots = self.slots;
        write!(f, "{slots} slots, a task starts with {accept_free} free, and one is given back ")?;
        write!(f, "below {return_free}")
    }
}

/// An amount of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Threshold {
    Bytes(u64),
    /// Of the memory of the worker.
    Percent(u64),
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(share) = text.strip_suffix('%') else {
            return parse_bytes(text).map(Self::Bytes).map_err(|error| error.to_string());
        };
        match share.trim().parse() {
            Ok(percent @ 0..=100) => Ok(Self::Percent(percent)),
            _ => Err("is no share; write a whole number up to 100, as in 10%".to_owned()),
        }
    }
}

impl Threshold {
    /// In bytes, of so much memory.
    fn of(self, memory: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => memory / 100 * percent,
        }
    }
}

/// Reads how many tasks may wait.
pub(super) fn prefetch(text: &str) -> Result<Prefetch, String> {
    match text {
        "auto" => Ok(Prefetch::Auto),
        "off" | "0" => Ok(Prefetch::Off),
        number => match number.parse() {
            Ok(count) => Ok(Prefetch::Fixed(count)),
            Err(_) => Err("is neither auto, off nor a number of tasks".to_owned()),
        },
    }
}

impl WorkArgs {
    /// The original's configuration, if one was named.
    pub(super) fn conf(&self) -> anyhow::Result<Option<OriginalConf>> {
        self.conf.as_deref().map(read_conf).transpose()
    }

    /// What the worker with this name offers, with what the configuration says.
    pub(super) fn worker(
        &self,
        name: &str,
        conf: Option<&OriginalConf>,
    ) -> Result<TaskWorkerConfig, UsageError> {
        let machine = Capacity::detect();
        let (limits, warnings) = self.limits(conf, machine)?;
        for warning in warnings {
            eprintln_line(&format!("warning: {warning}"));
        }
        let memory = self.memory.unwrap_or(machine.memory);
        let cores_milli = self.cores.unwrap_or(machine.cores_milli);
        Ok(TaskWorkerConfig {
            host: hostname(),
            pid: std::process::id(),
            prefetch: self.prefetch,
            accept_free: limits.accept_free,
            return_free: limits.return_free,
            kill_grace: self.kill_grace,
            ..TaskWorkerConfig::new(name, limits.slots, memory, cores_milli)
        })
    }

    /// What the options say; else the configuration, else the machine. With warnings for people.
    pub(super) fn limits(
        &self,
        conf: Option<&OriginalConf>,
        machine: Capacity,
    ) -> Result<(Limits, Vec<String>), UsageError> {
        let slots_of_conf = conf.map(|conf| conf.tasks_max);
        let slots = self.slots.or(slots_of_conf).unwrap_or(machine.cores_milli.div_ceil(1000));
        if slots == 0 {
            let text = "max_task_per_worker is 0, so nothing would ever run; raise it, or give \
                        --slots";
            return Err(UsageError(text.to_owned()));
        }
        // What the machine cannot reach was not written for it. The original runs one task then.
        let reaches =
            |conf: &&OriginalConf| conf.accept_free.max(conf.return_free) < machine.memory;
        let reachable = conf.filter(reaches);
        // What is free is measured against what the machine has, whatever is offered of it.
        let threshold = |given: Option<Threshold>, of_conf: Option<u64>, percent: u64| {
            let usual = of_conf.map_or(Threshold::Percent(percent), Threshold::Bytes);
            given.unwrap_or(usual).of(machine.memory)
        };
        let accept_of_conf = reachable.map(|conf| conf.accept_free);
        let return_of_conf = reachable.map(|conf| conf.return_free);
        let accept_free = threshold(self.accept_free, accept_of_conf, ACCEPT_PERCENT);
        let return_free = threshold(self.return_free, return_of_conf, RETURN_PERCENT);
        let accept_free = accept_free.max(return_free);
        let limits = Limits { slots, accept_free, return_free };
        Ok((limits, self.warnings(conf, reachable.is_some(), limits, machine.memory)))
    }

    /// What people should know of thresholds.
    fn warnings(
        &self,
        conf: Option<&OriginalConf>,
        is_reachable: bool,
        limits: Limits,
        memory: u64,
    ) -> Vec<String> {
        let Limits { accept_free, return_free, .. } = limits;
        let mut warnings = Vec::new();
        let is_needed = self.accept_free.is_none() || self.return_free.is_none();
        if let Some(conf) = conf.filter(|_| is_needed && !is_reachable) {
            warnings.push(format!(
                "min_dram_gb_accept_new_task and min_dram_gb_trigger_return ({} and {}) are more \
                 than this machine has ({}), so they do not count: a task starts with {} free, and \
                 one is given back below {}; --accept-free and --return-free say it otherwise",
                size(conf.accept_free),
                size(conf.return_free),
                size(memory),
                size(accept_free),
                size(return_free)
            ));
        }
        if accept_free > memory {
            warnings.push(format!(
                "no task will start: {} must be free for that, and the machine has {}; lower \
                 --accept-free and --return-free",
                size(accept_free),
                size(memory)
            ));
        }
        warnings
    }

    /// What runs the tasks of the worker with this name. `default_dir` is where their directories
    /// are if nobody says otherwise.
    pub(super) fn runner(
        &self,
        name: &str,
        default_dir: Option<&Path>,
    ) -> anyhow::Result<ProcessRunner> {
        let dir = self.work_dir.as_deref().or(default_dir);
        let config = ProcessConfig {
            shell: self.shell.clone(),
            python: self.python.clone(),
            task_dirs: dir.filter(|_| !self.no_task_dirs).map(Path::to_owned),
            output_file_bytes_max: self.output_file_max,
            guardian: Some(["task", "guardian"].map(OsString::from).to_vec()),
            ..ProcessConfig::new(name)
        };
        Ok(ProcessRunner::new(config)?)
    }
}

/// What no task of a worker can ask for more of.
pub(super) fn ceiling(config: &TaskWorkerConfig) -> Ceiling {
    Ceiling { memory: config.memory, cores_milli: config.cores_milli }
}

/// What a worker offers, for people.
pub(super) fn offer(config: &TaskWorkerConfig) -> String {
    let slots = if config.slots == 1 { "slot" } else { "slots" };
    let cores = f64::from(config.cores_milli) / 1e3;
    format!("{} {slots}, {} of memory, {cores} cores", config.slots, size(config.memory))
}

/// Reads the original's configuration, and says what is odd about it.
pub(super) fn read_conf(path: &Path) -> anyhow::Result<OriginalConf> {
    let conf = OriginalConf::read(path)?;
    say_oddities(path, &conf);
    Ok(conf)
}

/// Says what is odd about a configuration.
pub(super) fn say_oddities(path: &Path, conf: &OriginalConf) {
    for warning in conf.warnings() {
        eprintln_line(&format!("warning: {}: {warning}", path.display()));
    }
}

/// The name of this machine.
pub(super) fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests;
