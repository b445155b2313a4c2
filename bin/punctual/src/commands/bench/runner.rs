//! Runs a workload: options into a plan, progress on standard error, and the result.

use super::args::{EngineArg, EngineArgs, LoadArgs};
use super::durability::{DurabilityArgs, Ending};
use super::observer::Observer;
use super::{Common, build, grouped, simulated, summary};
use crate::commands::http::HttpArgs;
use crate::commands::{UsageError, journal};
use crate::{eprintln_line, interrupt};
use clap::Args;
use punctual_load::arrivals::Rates;
use punctual_load::drive::LoadSettings;
use punctual_load::summary::fmt_ns_or_dash;
use punctual_load::workload::Workload;
use punctual_load::{BenchError, Plan, Progress, Report, Stage, bench};
use punctual_runtime::EngineInfo;
use punctual_runtime::config::Config;
use punctual_sim::bench::SimBenchConfig;
use std::process::ExitCode;
use std::time::Duration;

/// The options of a workload.
pub(crate) trait WorkloadArgs: Args {
    /// What they describe.
    type Workload: Workload;

    /// What was asked for.
    fn workload(&self) -> Self::Workload;

    /// Shards in this process, where nothing else is said.
    fn shards(&self) -> u16 {
        1
    }

    /// What the workload wants of the engine, where nothing else is said.
    fn adjust(&self, config: &mut Config) {
        let _ = config;
    }
}

/// A bench of a workload.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs<T: WorkloadArgs> {
    #[command(flatten)]
    workload: T,

    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    engine: EngineArgs,

    #[command(flatten)]
    load: LoadArgs,

    #[command(flatten)]
    durability: DurabilityArgs,

    #[command(flatten)]
    http: HttpArgs,
}

impl<T: WorkloadArgs> BenchArgs<T> {
    /// Runs it and says how it went.
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        self.load.check()?;
        let mut plan = self.plan()?;
        if self.engine.engine == EngineArg::Sim {
            return self.simulate(&plan);
        }
        let mut observer = Observer::new(plan.workload.name(), &self.http)?;
        let output = self.common.output()?;
        let interrupted = interrupt::install()?;
        let place = self.durability.place(&mut plan.config)?;
        let ran = bench::run(&plan, &interrupted, &mut |progress| {
            observer.see(&progress);
            show(progress);
        });
        observer.end();
        let Observer { has_started, was_interrupted, .. } = observer;
        let report = match ran {
            Ok(report) => report,
            Err(error) => {
                if let Some(place) = place {
                    place.leave_failed(has_started);
                }
                return Err(error.into());
            }
        };
        let is_good = is_good(&report);
        let ending = Ending { has_started, is_good: is_good && !was_interrupted };
        let became = place.map(|place| place.leave(ending));
        output.write(&summary::render(&report, became), &report)?;
        Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Runs it in virtual time.
    fn simulate(&self, plan: &Plan<T::Workload>) -> anyhow::Result<ExitCode> {
        let output = self.common.output()?;
        let config = self.simulation(plan)?;
        let report = simulated::run(&config, &plan.workload, &self.load, &plan.config)?;
        output.write(&summary::render(&report, None), &report)?;
        Ok(if is_good(&report) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// What is to be simulated.
    fn simulation(&self, plan: &Plan<T::Workload>) -> anyhow::Result<SimBenchConfig> {
        let Self { engine, load, common, .. } = self;
        let config = simulated::config_of(engine, load, common, &plan.config)?;
        if self.http.is_given() {
            let text = "--engine sim has nothing to watch; leave --http out";
            return Err(UsageError(text.to_owned()).into());
        }
        if self.durability.is_given() {
            let text = "--engine sim has no disks; leave --durability out";
            return Err(UsageError(text.to_owned()).into());
        }
        config.check().map_err(|error| UsageError(error.to_string()))?;
        Ok(config)
    }

    /// Says what stands against the engine and the workload.
    fn check_plan(&self) -> anyhow::Result<()> {
        let plan = self.plan()?;
        match self.engine.engine {
            EngineArg::Real => Ok(()),
            EngineArg::Sim => self.simulation(&plan).map(drop),
        }
    }

    fn plan(&self) -> anyhow::Result<Plan<T::Workload>> {
        if self.engine.engine == EngineArg::Real && self.engine.service.is_some() {
            let text = "--service is for --engine sim; here the engine takes what it takes";
            return Err(UsageError(text.to_owned()).into());
        }
        let workload = self.workload.workload();
        let adjust = |config: &mut Config| self.workload.adjust(config);
        let (config, target) =
            self.engine.config(self.workload.shards(), adjust, &self.durability)?;
        workload.check(config.cluster.shards, &config.cluster.limits).map_err(UsageError)?;
        let Common { duration, warmup, .. } = self.common;
        let load = LoadSettings {
            schedule: self.load.schedule(warmup, duration),
            seed: self.load.seed,
            burst: burst(&config, &workload),
            in_flight: config.process.in_flight,
        };
        let hdr = self.load.hdr.clone();
        let recover = self.durability.recover();
        Ok(Plan { config, target, workload, load, warmup, duration, hdr, recover, build: build() })
    }
}

/// A bench that can be run again and again, each time at another rate.
pub(super) trait Repeatable {
    /// Says what stands against running it by itself.
    fn check(&self) -> anyhow::Result<()>;

    /// Says what stands against running it in a sweep, which has some options of its own.
    fn check_in_sweep(&self) -> anyhow::Result<()>;

    /// Runs it at these rates; `None`: in a closed loop. What was interrupted is an error.
    fn measure(
        &self,
        rates: Option<Rates>,
        interrupt: &flume::Receiver<()>,
    ) -> anyhow::Result<Result<Report, BenchError>>;
}

impl<T: WorkloadArgs> Repeatable for BenchArgs<T> {
    fn check(&self) -> anyhow::Result<()> {
        self.load.check()?;
        self.check_plan()
    }

    fn check_in_sweep(&self) -> anyhow::Result<()> {
        let refused = [
            (self.load.rate.is_some(), "the rates of a sweep are its --rates; leave --rate out"),
            (self.load.hdr.is_some(), "a sweep writes no histogram files; leave --hdr out"),
            (
                self.common.json.is_some(),
                "a sweep writes one document; give --json before the workload's name",
            ),
            (self.http.is_given(), "a sweep has no dashboard; leave --http out"),
        ];
        if let Some((_, why)) = refused.into_iter().find(|(is_given, _)| *is_given) {
            return Err(UsageError(why.to_owned()).into());
        }
        self.check_plan()
    }

    fn measure(
        &self,
        rates: Option<Rates>,
        interrupt: &flume::Receiver<()>,
    ) -> anyhow::Result<Result<Report, BenchError>> {
        let mut plan = self.plan()?;
        let Common { duration, warmup, .. } = self.common;
        if self.engine.engine == EngineArg::Sim {
            let mut config = self.simulation(&plan)?;
            config.rate = rates.as_ref().and_then(Rates::steady);
            let load = self.load.at(rates);
            return Ok(Ok(simulated::run(&config, &plan.workload, &load, &plan.config)?));
        }
        plan.load.schedule = self.load.at(rates).schedule(warmup, duration);
        plan.hdr = None;
        let place = self.durability.place(&mut plan.config)?;
        let (mut has_started, mut was_interrupted) = (false, false);
        let ran = bench::run(&plan, interrupt, &mut |progress| match progress {
            Progress::Started(_) => has_started = true,
            Progress::Interrupted => was_interrupted = true,
            _ => {}
        });
        if let Some(place) = place {
            let is_good = ran.as_ref().is_ok_and(is_good) && !was_interrupted;
            place.leave(Ending { has_started, is_good });
        }
        Ok(if was_interrupted { ran.and(Err(BenchError::Interrupted)) } else { ran })
    }
}

/// Whether the store is as it should be, afterwards and after a start on the journals.
pub(super) fn is_good(report: &Report) -> bool {
    let recovery = report.durability.as_ref().and_then(|journal| journal.recovery.as_ref());
    let is_recovered = recovery.is_none_or(|recovery| recovery.self_check == "ok");
    report.self_check == "ok" && report.unknown == 0 && is_recovered
}

/// How many transactions a worker makes in one turn: as many as fill a frame for each of a few
/// shards, however few of them a transaction is on.
fn burst(config: &Config, workload: &impl Workload) -> u32 {
    const FRAMES_MAX: f64 = 3.0;
    let shards = config.cluster.shards;
    let frames = (f64::from(shards) / workload.shards_each(shards)).clamp(1.0, FRAMES_MAX);
    let batch = f64::from(config.process.batch.max(16));
    // Rounded to what is next, and far below 2^32.
    (batch * frames).round() as u32
}

/// Shows how a run goes, on standard error.
fn show(progress: Progress) {
    match progress {
        Progress::Started(info) => show_start(&info),
        Progress::Stage(Stage::Load) => eprintln_line("loading"),
        Progress::Stage(Stage::WarmUp) => eprintln_line("warming up"),
        Progress::Stage(Stage::Measure) => eprintln_line("measuring"),
        Progress::Stage(Stage::Verify) => eprintln_line("checking the store"),
        Progress::Stage(Stage::Recover) => eprintln_line("starting again on the journals"),
        Progress::Recovered(reports) => journal::show_recoveries(&reports),
        Progress::Stage(Stage::Connect | Stage::Drain) | Progress::Counting(_) => {}
        Progress::Second { stage, elapsed, rate_tps, latency } => {
            if rate_tps > 0.0 || elapsed > Duration::from_millis(500) {
                let what = if stage == Stage::Measure { "" } else { "  (warm-up)" };
                eprintln_line(&format!(
                    "{:>5.0}s {:>12} txn/s  p50 {:>8}  p99 {:>8}{what}",
                    elapsed.as_secs_f64(),
                    grouped(rate_tps),
                    fmt_ns_or_dash(latency.p50),
                    fmt_ns_or_dash(latency.p99),
                ));
            }
        }
        Progress::Waiting { why } => eprintln_line(&format!("waiting for {why}")),
        Progress::LinkDown { why } => eprintln_line(&format!("warning: link lost: {why}")),
        Progress::Interrupted => eprintln_line("interrupted: ending early (again to quit at once)"),
    }
}

fn show_start(info: &EngineInfo) {
    for warning in &info.warnings {
        eprintln_line(&format!("warning: {warning}"));
    }
    let shards = match info.shard_cores.as_slice() {
        [] => "served elsewhere".to_owned(),
        cores => format!("on cores {cores:?}"),
    };
    let prober = info.prober_core.map(|core| format!(", prober on core {core}"));
    eprintln_line(&format!(
        "shards {shards}, coordinators on cores {:?}{}, backend {}",
        info.worker_cores,
        prober.unwrap_or_default(),
        info.backend
    ));
    journal::show_recoveries(&info.recoveries);
}
