//! Options that benches of every workload have: the engine, and how transactions are sent.

use super::TransportArg;
use super::durability::DurabilityArgs;
use crate::commands::UsageError;
use clap::Args;
use punctual_load::Target;
use punctual_load::arrivals::{ArrivalKind, Rates, Schedule};
use punctual_runtime::IdleStrategy;
use punctual_runtime::config::{
    Backend, Config, CoreList, Estimator, NetworkConfig, parse_duration,
};
use std::path::PathBuf;
use std::time::Duration;

/// The engine: where its agents are and how they behave.
#[derive(Debug, Args)]
#[command(next_help_heading = "Engine")]
pub(crate) struct EngineArgs {
    /// What runs the transactions: the engine, or a simulation of it in virtual time
    #[arg(long, value_enum, default_value = "real")]
    pub(super) engine: EngineArg,

    /// With --engine sim: how long the engine takes for what, as `bench calibrate` writes it
    /// (default: fitted to two virtual cores of 2026 over loopback TCP)
    #[arg(long, value_name = "FILE", requires = "engine")]
    pub(super) service: Option<PathBuf>,

    /// How coordinators and shards are connected when all are in this process
    #[arg(long, value_enum, default_value = "ring", conflicts_with = "config")]
    transport: TransportArg,

    /// Drive the shards of this cluster, served by other processes
    #[arg(long, value_name = "FILE", conflicts_with = "shards")]
    pub(super) config: Option<PathBuf>,

    /// Shards in this process (default: 1, or what the workload needs)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    shards: Option<u16>,

    /// Coordinator workers: 1024 at most, or a million where they are simulated
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) coordinators: Option<u32>,

    /// Transactions in flight, for each coordinator worker
    #[arg(long, value_name = "N")]
    in_flight: Option<u32>,

    /// Messages that share a frame and a write, or off
    #[arg(long, value_name = "N|off", value_parser = batch)]
    batch: Option<u16>,

    /// What a core does when it finds no work: spin, yield, backoff, park
    #[arg(long, value_name = "STRATEGY")]
    idle: Option<IdleStrategy>,

    /// What drives the pinned threads: auto, glommio, threads
    #[arg(long, value_name = "BACKEND")]
    backend: Option<Backend>,

    /// Cores of the shards, such as 0 or 0,1
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "config")]
    shard_cores: Option<Vec<usize>>,

    /// Cores of the coordinator workers
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    coordinator_cores: Option<Vec<usize>>,

    /// What a stamp has beyond the longest one-way delay, such as 100us
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    headroom: Option<Duration>,

    /// How one-way delays are estimated: window-percentile, ewma, ema-half-rtt, window-max
    #[arg(long, value_name = "NAME")]
    estimator: Option<Estimator>,

    /// Whether one-way delays are probed; auto: where there are several shards
    #[arg(long, value_enum, value_name = "on|off|auto")]
    prober: Option<ProberArg>,

    /// Emulate a network between all agents: none, same-region, same-continent, cross-continent,
    /// geo, three-regions, or a file with delays between places
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) network: Option<String>,

    /// How long to wait for a shard that cannot be reached, such as 5s
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    connect_timeout: Option<Duration>,

    /// Put a checksum on every frame of a socket (default off; with --config as the file says)
    #[arg(long, conflicts_with = "config")]
    checksum: bool,
}

/// What runs the transactions, as an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum EngineArg {
    /// The engine, in real time
    Real,
    /// Its state machines in virtual time, with modelled cores and networks
    Sim,
}

/// Most coordinator workers of a process.
const WORKERS_MAX: u16 = 1024;

fn too_many_workers(coordinators: u32) -> UsageError {
    UsageError(format!(
        "--coordinators {coordinators} are more than {WORKERS_MAX}; simulate them with --engine sim"
    ))
}

/// When transactions are sent.
#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArgs {
    /// Transactions a second at times of their own (open loop), instead of as many as possible:
    /// 1000, or 1000..5000 for a ramp, or 1000,2000,5000 for steps, over the measured time
    #[arg(long, value_name = "TPS")]
    pub(super) rate: Option<Rates>,

    /// How arrivals are spread, at a --rate (default: poisson)
    #[arg(long, value_enum, value_name = "KIND")]
    arrivals: Option<ArrivalsArg>,

    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,

    /// Write .hlog and .hgrm histogram files into DIR
    #[arg(long, value_name = "DIR")]
    pub(super) hdr: Option<PathBuf>,
}

impl LoadArgs {
    /// Says what stands against a run of its own. In a sweep the rate comes from elsewhere.
    pub(super) fn check(&self) -> Result<(), UsageError> {
        match (self.arrivals, &self.rate) {
            (Some(_), None) => Err(UsageError(
                "--arrivals needs a --rate; without one a transaction starts when another ends"
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// How arrivals are spread.
    pub(super) fn arrivals(&self) -> ArrivalsArg {
        self.arrivals.unwrap_or(ArrivalsArg::Poisson)
    }

    /// The same at other rates.
    pub(super) fn at(&self, rate: Option<Rates>) -> Self {
        Self { rate, arrivals: self.arrivals, seed: self.seed, hdr: None }
    }

    /// When transactions are meant to start; `None` in a closed loop.
    pub(super) fn schedule(&self, warmup: Duration, duration: Duration) -> Option<Schedule> {
        let kind = match self.arrivals() {
            ArrivalsArg::Poisson => ArrivalKind::Poisson,
            ArrivalsArg::Constant => ArrivalKind::Constant,
        };
        Some(Schedule { rates: self.rate.clone()?, kind, warmup, duration })
    }
}

/// How arrivals are spread, as an option.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum ArrivalsArg {
    /// Independent of each other, as those of many users are
    Poisson,
    /// At equal distances
    Constant,
}

/// Whether a prober runs, as an option.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ProberArg {
    On,
    Off,
    Auto,
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let valid = (0.0..=1.0).contains(&share);
    valid.then_some(share).ok_or_else(|| "a share is between 0 and 1".to_owned())
}

pub(super) fn skew(text: &str) -> Result<f64, String> {
    let skew: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let valid = (0.0..=10.0).contains(&skew);
    valid.then_some(skew).ok_or_else(|| "the exponent is between 0 and 10".to_owned())
}

/// Messages of a frame; off is one.
fn batch(text: &str) -> Result<u16, String> {
    match text {
        "off" => Ok(1),
        _ => text.parse().map_err(|_| "a number of messages, or off".to_owned()),
    }
}

impl EngineArgs {
    /// The engine's configuration: the file's or the default one, with what the workload wants, and
    /// the options on top.
    pub(super) fn config(
        &self,
        shards: u16,
        adjust: impl FnOnce(&mut Config),
        durability: &DurabilityArgs,
    ) -> anyhow::Result<(Config, Target)> {
        let (mut config, target) = match &self.config {
            Some(path) => (Config::load(path)?, Target::Served),
            None => {
                let mut config = Config::embedded(self.shards.unwrap_or(shards));
                config.cluster.checksum = self.checksum;
                (config, Target::Embedded(self.transport.into()))
            }
        };
        adjust(&mut config);
        if let Some(network) = &self.network {
            match NetworkConfig::choose(network)? {
                // What else the file says of its network's thread holds for another one as well.
                Some(NetworkConfig { topology, .. }) => {
                    let of_file = config.process.network.clone();
                    let base = of_file.unwrap_or_else(|| NetworkConfig::new(topology.clone()));
                    config.set_network(NetworkConfig { topology, ..base });
                }
                None => config.process.network = None,
            }
        }
        let process = &mut config.process;
        if let Some(coordinators) = self.coordinators.filter(|_| self.engine == EngineArg::Real) {
            process.coordinators = match u16::try_from(coordinators) {
                Ok(workers @ 1..=WORKERS_MAX) => workers,
                _ => return Err(too_many_workers(coordinators).into()),
            };
        }
        process.in_flight = self.in_flight.unwrap_or(process.in_flight);
        process.batch = self.batch.unwrap_or(process.batch);
        process.idle = self.idle.unwrap_or(process.idle);
        process.backend = self.backend.unwrap_or(process.backend);
        process.headroom = self.headroom.unwrap_or(process.headroom);
        process.estimator = self.estimator.unwrap_or(process.estimator);
        process.connect_timeout = self.connect_timeout.unwrap_or(process.connect_timeout);
        if let Some(prober) = self.prober {
            process.prober.enabled = match prober {
                ProberArg::On => Some(true),
                ProberArg::Off => Some(false),
                ProberArg::Auto => None,
            };
        }
        if let Some(cores) = &self.shard_cores {
            process.placement.shards = CoreList::Cores(cores.clone());
        }
        if let Some(cores) = &self.coordinator_cores {
            process.placement.coordinators = CoreList::Cores(cores.clone());
        }
        durability.apply(&mut config, target)?;
        config.validate()?;
        Ok((config, target))
    }
}
