//! The network that a process emulates for the links that it opens.

use super::names::{named, not_one_of};
use super::{Config, ConfigError, ProcessConfig, Topology, show_duration};
use std::path::Path;
use std::time::Duration;

/// A request has so many times the longest delay before it is sent again: dispatch, proposal and
/// reply take one each, and what is ahead of them a little more.
const REQUEST_DELAYS: u32 = 4;
/// A transaction is given up, and a connection, after so many.
const DEADLINE_DELAYS: u32 = 2 * REQUEST_DELAYS;
/// Topologies with places that come with the program, so that they are found from anywhere.
const SHIPPED: [(&str, &str); 1] =
    [("three-regions", include_str!("../../../../perf/topologies/three-regions.toml"))];

/// An emulated network.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    /// Who is where, and what lies between.
    pub topology: Topology,
    /// The core of the thread that delays messages; `None` leaves it to the scheduler.
    pub core: Option<usize>,
    /// How that thread waits for what is due.
    pub wait: NetworkWait,
    /// Where random numbers begin: the same seed gives the same delays.
    pub seed: u64,
}

/// How the thread of an emulated network waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NetworkWait {
    /// Sleeps by a timer of the kernel, and spins for the last moment before something is due.
    #[default]
    Hybrid,
    /// Never sleeps: for a core of its own.
    Spin,
    /// Sleeps only: kind to others, and as exact as the machine wakes up.
    Sleep,
}

named!(NetworkWait { Hybrid = "hybrid", Spin = "spin", Sleep = "sleep" });

impl NetworkConfig {
    /// A network of this topology, with the defaults for everything else.
    #[must_use]
    pub fn new(topology: Topology) -> Self {
        Self { topology, core: None, wait: NetworkWait::default(), seed: 1 }
    }

    /// A network by the name of a topology or the path of a topology file.
    ///
    /// # Errors
    /// When it is neither, or there is something wrong with the file.
    pub fn named_or_file(text: &str) -> Result<Self, ConfigError> {
        topology(text, Path::new(""))
            .unwrap_or_else(|why| {
                Err(ConfigError::InProgram { message: format!("network \"{text}\" {why}") })
            })
            .map(Self::new)
    }

    /// As [`named_or_file`](Self::named_or_file), and nothing for `none`.
    ///
    /// # Errors
    /// As [`named_or_file`](Self::named_or_file).
    pub fn choose(text: &str) -> Result<Option<Self>, ConfigError> {
        if text == "none" { Ok(None) } else { Self::named_or_file(text).map(Some) }
    }

    /// What the timeouts of a process should be at least.
    fn request_timeout(&self) -> Duration {
        // Nothing of a topology has been checked yet.
        self.topology.longest().saturating_mul(REQUEST_DELAYS)
    }

    fn deadline(&self) -> Duration {
        self.topology.longest().saturating_mul(DEADLINE_DELAYS)
    }
}

/// The topology of this name, or in the file of this path, which is relative to a folder. The outer
/// error says, behind the text, that it is neither.
pub(super) fn topology(text: &str, folder: &Path) -> Result<Result<Topology, ConfigError>, String> {
    if let Some(topology) = Topology::named(text) {
        return Ok(Ok(topology));
    }
    if let Some((_, toml)) = SHIPPED.iter().find(|(name, _)| *name == text) {
        return Ok(Topology::from_toml(toml, &format!("perf/topologies/{text}.toml")));
    }
    if text.contains('/') || text.ends_with(".toml") {
        return Ok(Topology::load(&folder.join(text)));
    }
    let names: Vec<&str> =
        Topology::NAMES.into_iter().chain(SHIPPED.map(|(name, _)| name)).collect();
    let why = not_one_of(text, &names);
    Err(format!("{why}; or write the path of a topology file, as in \"regions.toml\""))
}

impl Config {
    /// Emulates a network. Timeouts of the process that have their defaults are raised to what such
    /// a network needs; others, and those that the whole cluster shares, are only
    /// [checked](Self::validate).
    pub fn set_network(&mut self, network: NetworkConfig) {
        let defaults = ProcessConfig::default();
        let process = &mut self.process;
        let earlier = process.network.take();
        let request: fn(&NetworkConfig) -> Duration = NetworkConfig::request_timeout;
        let deadline: fn(&NetworkConfig) -> Duration = NetworkConfig::deadline;
        let timeouts = [
            (&mut process.request_timeout, defaults.request_timeout, request),
            (&mut process.deadline, defaults.deadline, deadline),
            (&mut process.connect_timeout, defaults.connect_timeout, deadline),
            (&mut process.prober.lost_after, defaults.prober.lost_after, request),
        ];
        for (timeout, default, needed) in timeouts {
            // What an earlier network has raised was chosen by nobody either.
            let raised = earlier.as_ref().map_or(default, |earlier| default.max(needed(earlier)));
            if *timeout == default || *timeout == raised {
                *timeout = default.max(needed(&network));
            }
        }
        process.network = Some(network);
    }

    /// The first timeout that is too short for the network, with all names under which it is known
    /// in a file, and what is wrong with it.
    pub(super) fn too_short_for_network(&self) -> Option<(&'static str, String)> {
        let Self { cluster, process } = self;
        let network = process.network.as_ref()?;
        let longest = network.topology.longest();
        let there_and_back = 2 * longest;
        let rules = [
            ("coordinator.request_timeout", process.request_timeout, there_and_back),
            ("coordinator.deadline", process.deadline, there_and_back),
            ("coordinator.connect_timeout", process.connect_timeout, there_and_back),
            ("prober.lost_after", process.prober.lost_after, there_and_back),
            ("cluster.max_hold", cluster.max_hold, longest),
            ("cluster.dispatch_timeout", cluster.dispatch_timeout, longest),
        ];
        let (key, value, _) = rules.into_iter().find(|(_, value, needed)| value <= needed)?;
        let name = key.rsplit_once('.').map_or(key, |(_, name)| name);
        let message = format!(
            "{name} = {} is too short for the network \"{}\", where a message may take {}; raise \
             it to {} or more",
            show_duration(value),
            network.topology.name(),
            show_duration(longest),
            show_duration(network.request_timeout()),
        );
        Some((key, message))
    }
}
