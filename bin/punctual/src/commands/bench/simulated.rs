//! `--engine sim`: the same bench in virtual time.

use super::args::{ArrivalsArg, EngineArgs, LoadArgs};
use super::{Common, build};
use crate::commands::UsageError;
use crate::eprintln_line;
use punctual_core::OwdConfig;
use punctual_load::Report;
use punctual_load::arrivals::Rates;
use punctual_load::environment;
use punctual_load::hgrm::HdrFiles;
use punctual_load::report::{Cores, KindFigures, NetworkFigures, ShardFigures, WholeRun};
use punctual_load::summary::LatencySummary;
use punctual_load::workload::Workload;
use punctual_runtime::config::{Config, NetworkConfig, Topology};
use punctual_sim::bench::{
    self, ServiceModel, SimArrivals, SimBenchConfig, SimBenchReport, SimDistribution,
    SimKindFigures, SimNetwork, SimPath,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often the progress is shown.
const SHOW_INTERVAL: Duration = Duration::from_secs(2);

/// The cluster, network and machines that are to be simulated.
pub(super) fn config_of(
    engine: &EngineArgs,
    load: &LoadArgs,
    common: &Common,
    config: &Config,
) -> anyhow::Result<SimBenchConfig> {
    if engine.config.is_some() {
        let text = "--engine sim has all shards in this process; leave --config out";
        return Err(UsageError(text.to_owned()).into());
    }
    let (cluster, process) = (&config.cluster, &config.process);
    let service = match &engine.service {
        Some(path) => ServiceModel::load(path).map_err(|error| UsageError(error.to_string()))?,
        None => ServiceModel::default(),
    };
    let rate = match &load.rate {
        None => None,
        Some(Rates::Steady(rate)) => Some(*rate),
        Some(rates) => {
            let text = format!("--rate {rates}: a simulated rate does not change; give one number");
            return Err(UsageError(text).into());
        }
    };
    Ok(SimBenchConfig {
        shards: cluster.shards,
        coordinators: engine.coordinators.unwrap_or(1),
        in_flight: process.in_flight,
        rate,
        arrivals: match load.arrivals() {
            ArrivalsArg::Poisson => SimArrivals::Poisson,
            ArrivalsArg::Constant => SimArrivals::Constant,
        },
        batch: process.batch,
        headroom: process.headroom,
        owd: OwdConfig { kind: process.estimator.into(), ..OwdConfig::default() },
        network: network(engine.network.as_deref())?,
        service,
        warmup: common.warmup,
        duration: common.duration,
        seed: load.seed,
        ..SimBenchConfig::default()
    })
}

/// The network of this name or file.
fn network(name: Option<&str>) -> anyhow::Result<SimNetwork> {
    let Some(NetworkConfig { topology, .. }) =
        name.map(NetworkConfig::choose).transpose()?.flatten()
    else {
        return Ok(SimNetwork::even("none", SimPath::default()));
    };
    let Some((names, shards, coordinators)) = topology.places() else {
        return Ok(SimNetwork::even(topology.name(), path(&topology, 0, 0)));
    };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut network =
        SimNetwork::between(topology.name(), &names, |from, to| path(&topology, from, to));
    network.shards_at = shards.to_vec();
    network.coordinators_at = coordinators.to_vec();
    Ok(network)
}

/// A direction between two places; what is lost, and what waits for the line, is not simulated.
fn path(topology: &Topology, from: usize, to: usize) -> SimPath {
    let shape = topology.between_places(from, to);
    let distribution = match shape.distribution.name() {
        "constant" => SimDistribution::Constant,
        "uniform" => SimDistribution::Uniform,
        "pareto" => SimDistribution::Pareto,
        _ => SimDistribution::Normal,
    };
    SimPath { delay_ns: nanos(shape.delay), jitter_ns: nanos(shape.jitter), distribution }
}

/// Simulates it.
pub(super) fn run(
    config: &SimBenchConfig,
    workload: &impl Workload,
    load: &LoadArgs,
    config_of_engine: &Config,
) -> anyhow::Result<Report> {
    load.hdr.as_deref().map_or(Ok(()), HdrFiles::prepare)?;
    eprintln_line("simulating: times are virtual");
    let mut shown = Instant::now();
    let simulated = bench::run(config, workload, &mut |progress| {
        if shown.elapsed() >= SHOW_INTERVAL {
            shown = Instant::now();
            eprintln_line(&format!(
                "{:>6.2} of {:.2} s, {} events, {} committed",
                progress.virtual_time.as_secs_f64(),
                progress.total.as_secs_f64(),
                progress.events,
                progress.committed,
            ));
        }
    })
    .map_err(|error| UsageError(error.to_string()))?;
    if let Some(dir) = &load.hdr {
        let mut hdr = HdrFiles::create(dir)?;
        let (series, main) = match &simulated.response {
            Some(response) => ("intended", response),
            None => ("latency", &simulated.latency),
        };
        // There are no intervals in virtual time: the whole run is one.
        hdr.interval(series, Duration::ZERO, simulated.duration, main)?;
        let mut all = vec![("latency", &simulated.latency), ("hold", &simulated.hold)];
        all.extend(simulated.response.as_ref().map(|response| ("intended", response)));
        all.extend(simulated.lag.as_ref().map(|lag| ("lag", lag)));
        all.extend(simulated.kinds.iter().map(|kind| (kind.name, &kind.latency)));
        hdr.finish(&all)?;
    }
    let mut report = report(config, workload, load, config_of_engine, &simulated);
    report.warnings.extend(left_out(config_of_engine));
    Ok(report)
}

/// What the network has and the simulation has not, if there is anything.
fn left_out(config: &Config) -> Option<String> {
    let topology = &config.process.network.as_ref()?.topology;
    let count = topology.places().map_or(1, |(names, ..)| names.len());
    let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
    let mut shapes = pairs.map(|(from, to)| topology.between_places(from, to));
    let is_more = shapes.any(|shape| shape.loss > 0.0 || shape.bandwidth.is_some());
    let name = topology.name();
    is_more.then(|| format!("losses and bandwidths of the network {name} are not simulated"))
}

fn report(
    config: &SimBenchConfig,
    workload: &impl Workload,
    load: &LoadArgs,
    engine: &Config,
    simulated: &SimBenchReport,
) -> Report {
    let ran = simulated;
    let of = LatencySummary::from_histogram;
    let is_stamped = ran.stamped > 0;
    let per_shard = ran.per_shard.iter().map(|one| ShardFigures {
        shard: one.shard,
        committed: one.committed,
        ops: one.ops,
        stamped: one.stamped,
        late: one.late,
        held: one.held,
    });
    Report {
        program: format!("bench {} --engine sim", workload.name()),
        shards: config.shards.into(),
        coordinators: config.coordinators as usize,
        in_flight: config.in_flight as usize,
        batch: config.batch.into(),
        rate: config.rate,
        seed: config.seed,
        duration_s: ran.duration.as_secs_f64(),
        warmup_s: ran.warmup.as_secs_f64(),
        committed: ran.committed,
        aborted: ran.aborted,
        refused: ran.refused,
        unknown: ran.unknown,
        late: ran.late,
        busy: ran.busy,
        retries: ran.retries,
        throughput_tps: ran.throughput_tps,
        latency_ns: of(&ran.latency),
        intended_latency_ns: ran.response.as_ref().map(of),
        lag_ns: ran.lag.as_ref().map(of),
        open_loop_valid: config.rate.map(|_| ran.unsent == 0),
        frames_sent: ran.frames_sent,
        messages_per_frame: ran.messages_per_frame(),
        self_check: ran.self_check.clone(),
        counters: BTreeMap::from([("sim.events".to_owned(), ran.events)]),
        cross_share: ran.cross_share(),
        stamped: ran.stamped,
        on_time_ratio: ran.on_time_ratio(),
        late_ns: is_stamped.then(|| of(&ran.lateness)),
        hold_ns: is_stamped.then(|| of(&ran.hold)),
        agreement_ns: is_stamped.then(|| of(&ran.agreement)),
        per_shard: per_shard.collect(),
        headroom_ns: nanos(config.headroom),
        estimator: engine.process.estimator.name().to_owned(),
        whole_run: WholeRun {
            submitted: ran.submitted,
            committed: ran.committed,
            aborted: ran.aborted,
            refused: ran.refused,
            unknown: ran.unknown,
        },
        arrivals: config.rate.map(|_| arrivals(config.arrivals).to_owned()),
        rates: load.rate.as_ref().map(ToString::to_string),
        network: network_figures(&config.network),
        kinds: ran.kinds.iter().map(kind_figures).collect(),
        figures: figures(ran),
        warnings: ran.warnings.clone(),
        ..Report::of(workload, environment::bare(&build(), "simulated", Cores::default(), false))
    }
}

fn arrivals(arrivals: SimArrivals) -> &'static str {
    match arrivals {
        SimArrivals::Poisson => "poisson",
        SimArrivals::Constant => "constant",
    }
}

/// The network, if there is one. It is exact: there is no error to add.
fn network_figures(network: &SimNetwork) -> Option<NetworkFigures> {
    (network.name != "none").then(|| NetworkFigures {
        name: network.name.clone(),
        delay_max_ns: network.paths.iter().map(|path| path.delay_ns).max().unwrap_or(0),
        added_error_ns: LatencySummary::default(),
        delayed: 0,
        lost: 0,
    })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn kind_figures(kind: &SimKindFigures) -> KindFigures {
    KindFigures {
        name: kind.name.to_owned(),
        committed: kind.committed,
        aborted: kind.aborted,
        latency_ns: LatencySummary::from_histogram(&kind.latency),
    }
}

/// What only this workload knows, and what only a simulation does.
fn figures(ran: &SimBenchReport) -> serde_json::Map<String, serde_json::Value> {
    let mut figures = ran.figures.clone();
    figures.insert("events".to_owned(), json!(ran.events));
    figures.insert("virtual_s".to_owned(), json!(ran.virtual_time.as_secs_f64()));
    figures.insert("coordinator_busy_mean".to_owned(), json!(ran.coordinator_busy_mean));
    figures.insert("coordinator_busy_max".to_owned(), json!(ran.coordinator_busy_max));
    if let Some(bound_ns) = ran.bound_mean_ns {
        figures.insert("network_bound_ns".to_owned(), json!(bound_ns.round()));
    }
    if let Some(ratio) = ran.latency_over_bound() {
        figures.insert("latency_over_bound".to_owned(), json!(ratio));
    }
    figures
}
