//! A run of a workload: an engine, a generator on every coordinator worker, and the check of the
//! store afterwards.

mod journal;
mod measured;
mod network;
mod recover;
mod traffic;

use crate::drive::{
    BACKLOG_TIME_MAX, INTERVAL, INTERVAL_LOGGED, LoadDriver, LoadEvent, LoadSettings, Phase,
    PhaseCell, RunTotals,
};
use crate::environment::Build;
use crate::hgrm::{HdrFileError, HdrFiles};
use crate::histogram::new_histogram;
use crate::report::Report;
use crate::summary::LatencySummary;
use crate::workload::{Generator, Place, Sum, Workload};
use hdrhistogram::Histogram;
use measured::Measured;
use network::figures_of;
use punctual_runtime::config::Config;
use punctual_runtime::journal::RecoveryReport;
use punctual_runtime::{
    CloseReason, Counters, Engine, EngineError, EngineInfo, ShardId, Transport,
};
use recover::recover;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use thiserror::Error;
use traffic::Traffic;

/// Events that may wait for the bench.
const EVENTS_MAX: usize = 4096;
/// What is shown is of about so long.
const SECOND: Duration = Duration::from_secs(1);
/// A shorter part of a second is not shown by itself.
const SECOND_MIN: Duration = Duration::from_millis(500);
/// How often the bench looks whether it was interrupted.
const LOOK: Duration = Duration::from_millis(50);
/// The longest time that loading or verifying may take before the bench gives up.
const BULK_TIMEOUT: Duration = Duration::from_secs(300);

/// Where the shards are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// In this process.
    Embedded(Transport),
    /// Served elsewhere, at the addresses of the configuration.
    Served,
}

/// A bench to be run.
#[derive(Debug, Clone)]
pub struct Plan<W> {
    /// The engine's configuration.
    pub config: Config,
    /// Where the shards are.
    pub target: Target,
    /// The workload.
    pub workload: W,
    /// How its transactions are sent.
    pub load: LoadSettings,
    /// How long to run before measuring.
    pub warmup: Duration,
    /// How long to measure.
    pub duration: Duration,
    /// Where histogram files go.
    pub hdr: Option<PathBuf>,
    /// Whether the engine is started again on the journals of a good run, and the store compared
    /// once more. Every shard must have a journal.
    pub recover: bool,
    /// The program that runs it.
    pub build: Build,
}

/// Why there is no report.
#[derive(Debug, Error)]
pub enum BenchError {
    /// The engine cannot start or died.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Shards that could not be reached in time.
    #[error("not connected within {within:?}: {}", .why.join("; "))]
    NotConnected {
        /// The limit.
        within: Duration,
        /// What stood against it, shard by shard.
        why: Vec<String>,
    },
    /// The workload cannot run on this cluster.
    #[error("the workload failed: {0}")]
    Workload(String),
    /// A shard that will not have us, and will not be asked again.
    #[error("{shard} refused the link: {reason}{hint}")]
    Refused {
        /// Which shard.
        shard: ShardId,
        /// What it said.
        reason: CloseReason,
        /// What the reason leaves unsaid, or nothing.
        hint: String,
    },
    /// A shard that was lost and did not come back.
    #[error("{0}")]
    ShardLost(String),
    /// A stage that took too long.
    #[error("{0:?} did not end in time; lost links: {1}")]
    StageTimeout(Stage, String),
    /// A directory that histogram files cannot go to, known before the run.
    #[error(transparent)]
    HdrDir(HdrFileError),
    /// Histogram files that could not be written during the run or after it.
    #[error(transparent)]
    HdrFile(#[from] HdrFileError),
    /// The run was interrupted before it had measured anything.
    #[error("interrupted before anything was measured")]
    Interrupted,
}

impl BenchError {
    /// Whether the user can mend it by calling the program otherwise.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Engine(error) => error.is_usage(),
            Self::NotConnected { .. } | Self::HdrDir(_) => true,
            Self::Refused { reason, .. } => matches!(
                reason,
                CloseReason::Version
                    | CloseReason::ClusterConfig
                    | CloseReason::WrongShard
                    | CloseReason::TooManySlots
            ),
            _ => false,
        }
    }
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reaching the shards.
    Connect,
    /// Putting the keys.
    Load,
    /// Running without recording.
    WarmUp,
    /// Recording.
    Measure,
    /// Waiting for what is in flight.
    Drain,
    /// Comparing the store with what was committed.
    Verify,
    /// Starting again on the journals.
    Recover,
}

/// How a run goes.
#[derive(Debug, Clone)]
pub enum Progress {
    /// The engine runs.
    Started(EngineInfo),
    /// What it counts from now on.
    Counting(Counters),
    /// The next stage begins.
    Stage(Stage),
    /// About a second has passed.
    Second {
        /// Which stage.
        stage: Stage,
        /// Since the stage began.
        elapsed: Duration,
        /// Transactions committed a second.
        rate_tps: f64,
        /// Latency of this second.
        latency: LatencySummary,
    },
    /// A shard that cannot be reached yet.
    Waiting {
        /// Which one and why.
        why: String,
    },
    /// A link was lost or could not be brought up.
    LinkDown {
        /// Which shard and why.
        why: String,
    },
    /// The engine runs again on the journals of the run.
    Recovered(Vec<RecoveryReport>),
    /// The user has interrupted the run.
    Interrupted,
}

/// Runs a bench. A message on `interrupt` ends it early; it still reports what it has.
///
/// # Errors
/// When there is nothing to report; see [`BenchError`].
pub fn run<W: Workload>(
    plan: &Plan<W>,
    interrupt: &flume::Receiver<()>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, BenchError> {
    plan.hdr.as_deref().map_or(Ok(()), HdrFiles::prepare).map_err(BenchError::HdrDir)?;
    let Started { engine, phase, events } = start(plan, Phase::Load)?;
    progress(Progress::Started(engine.info().clone()));
    progress(Progress::Counting(engine.counters().clone()));
    let mut run = Run::new(plan, phase, events, interrupt, &mut *progress);
    let outcome = run.stages(&engine);
    run.phase.set(Phase::Done);
    let (hdr, interrupted) = (run.hdr.take(), run.interrupted);
    let info = engine.info().clone();
    let counters = engine.counters().clone();
    let stopped = engine.stop();
    // That a thread died explains everything else, and a signal may come on top.
    let measured = match (outcome, stopped) {
        (_, Err(error @ EngineError::Died { .. })) => return Err(error.into()),
        (outcome, stopped) => {
            let measured = outcome?;
            stopped?;
            measured
        }
    };
    if let Some(hdr) = hdr {
        measured.write_totals(hdr, plan)?;
    }
    let wanted = plan.recover && !interrupted && measured.self_check == "ok";
    let recovery = wanted.then(|| recover(plan, &measured.done, interrupt, progress));
    let mut report = measured.report(plan, &info, &counters);
    if let Some(journal) = &mut report.durability {
        journal.recovery = recovery;
    }
    Ok(report)
}

/// An engine with a driver on every worker.
struct Started<W: Workload> {
    engine: Engine,
    phase: PhaseCell,
    events: flume::Receiver<LoadEvent<W::Generator>>,
}

/// How often workers report.
fn interval_of<W>(plan: &Plan<W>) -> Duration {
    if plan.hdr.is_some() { INTERVAL_LOGGED } else { INTERVAL }
}

/// Starts the engine of a plan, with drivers that begin with this phase.
fn start<W: Workload>(plan: &Plan<W>, first: Phase) -> Result<Started<W>, EngineError> {
    let config = plan.config.clone();
    let builder = match plan.target {
        Target::Embedded(transport) => Engine::embedded(config, transport),
        Target::Served => Engine::connect(config),
    };
    let (sender, events) = flume::bounded(EVENTS_MAX);
    let phase = PhaseCell::default();
    phase.set(first);
    let (cluster, process) = (&plan.config.cluster, &plan.config.process);
    let drivers = (0..process.coordinators)
        .map(|worker| {
            let place = Place {
                worker: worker.into(),
                workers: process.coordinators.into(),
                shards: cluster.shards,
                slots: process.in_flight,
                limits: cluster.limits,
                seed: plan.load.seed,
            };
            let (workload, load) = (&plan.workload, &plan.load);
            let (phase, sender) = (phase.clone(), sender.clone());
            LoadDriver::new(workload, load, &place, interval_of(plan), phase, sender)
        })
        .collect();
    let engine = builder.procedures(plan.workload.procedures()).start_with(drivers)?;
    Ok(Started { engine, phase, events })
}

/// What one interval brought, from all workers.
struct Interval {
    began: Instant,
    /// Whether it belongs to the measured part.
    measured: bool,
    reports: usize,
    committed: u64,
    latency: Histogram<u64>,
    lag: Histogram<u64>,
}

impl Interval {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            measured: false,
            reports: 0,
            committed: 0,
            latency: new_histogram(),
            lag: new_histogram(),
        }
    }
}

/// What was not shown yet: some intervals that make about a second.
struct Unshown {
    began: Instant,
    committed: u64,
    latency: Histogram<u64>,
}

impl Unshown {
    fn since(began: Instant) -> Self {
        Self { began, committed: 0, latency: new_histogram() }
    }
}

/// A run under way.
struct Run<'a, W: Workload> {
    plan: &'a Plan<W>,
    phase: PhaseCell,
    events: flume::Receiver<LoadEvent<W::Generator>>,
    interrupt: &'a flume::Receiver<()>,
    progress: &'a mut dyn FnMut(Progress),
    workers: usize,
    interrupted: bool,
    /// Shards that are out of reach, since when and why.
    down: BTreeMap<u16, (Instant, String)>,
    interval: Interval,
    unshown: Unshown,
    hdr: Option<HdrFiles>,
    warmup_began: Instant,
    measure_began: Instant,
}

impl<'a, W: Workload> Run<'a, W> {
    fn new(
        plan: &'a Plan<W>,
        phase: PhaseCell,
        events: flume::Receiver<LoadEvent<W::Generator>>,
        interrupt: &'a flume::Receiver<()>,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Self {
        Self {
            plan,
            phase,
            events,
            interrupt,
            progress,
            workers: usize::from(plan.config.process.coordinators),
            interrupted: false,
            down: BTreeMap::new(),
            interval: Interval::new(),
            unshown: Unshown::since(Instant::now()),
            hdr: None,
            warmup_began: Instant::now(),
            measure_began: Instant::now(),
        }
    }

    fn stages(&mut self, engine: &Engine) -> Result<Measured<W>, BenchError> {
        self.connect()?;
        self.stage(Stage::Load);
        self.collect(Stage::Load, BULK_TIMEOUT, |event| {
            matches!(event, LoadEvent::Loaded).then_some(())
        })?;
        if self.interrupted {
            return Err(BenchError::Interrupted);
        }
        self.run_for(Stage::WarmUp, Phase::WarmUp, self.plan.warmup)?;
        if self.interrupted {
            return Err(BenchError::Interrupted);
        }
        // Intervals count from here.
        self.hdr = self.plan.hdr.as_deref().map(HdrFiles::create).transpose()?;
        let before = Traffic::read(engine.counters());
        let network = engine.network();
        self.run_for(Stage::Measure, Phase::Measure, self.plan.duration)?;
        let after = Traffic::read(engine.counters());
        let network =
            network.zip(engine.network()).map(|(before, after)| figures_of(&before, after));
        let (totals, done) = self.drain()?;
        let lost = self.lost();
        let self_check = match (totals.check_ends(), &lost) {
            (Err(why), _) => why,
            (Ok(()), Some(why)) => format!("not run: {why}"),
            (Ok(()), None) => self.verify(&done)?,
        };
        let traffic = after.since(&before);
        Ok(Measured { totals, done, traffic, network, self_check, lost })
    }

    fn stage(&mut self, stage: Stage) {
        (self.progress)(Progress::Stage(stage));
    }

    fn connect(&mut self) -> Result<(), BenchError> {
        self.stage(Stage::Connect);
        let within = self.plan.config.process.connect_timeout;
        let connected = self.collect(Stage::Connect, within, |event| {
            matches!(event, LoadEvent::Connected).then_some(())
        });
        match connected {
            Err(BenchError::StageTimeout(..)) => {
                let why = self.down.iter().map(|(shard, (_, why))| format!("shard {shard}: {why}"));
                let mut why: Vec<String> = why.collect();
                if why.is_empty() {
                    why.push("no answer; is every shard served at its address?".to_owned());
                }
                Err(BenchError::NotConnected { within, why })
            }
            outcome => outcome.map(|_| ()),
        }
    }

    /// Takes events until every worker has sent one that `take` wants, or the user interrupts.
    fn collect<T>(
        &mut self,
        stage: Stage,
        timeout: Duration,
        take: impl Fn(&LoadEvent<W::Generator>) -> Option<T>,
    ) -> Result<Vec<T>, BenchError> {
        let deadline = Instant::now() + timeout;
        let mut taken = Vec::new();
        while taken.len() < self.workers && !(self.interrupted && stage < Stage::Drain) {
            if Instant::now() >= deadline {
                let why = self.lost().unwrap_or_else(|| "none".to_owned());
                return Err(BenchError::StageTimeout(stage, why));
            }
            // Connecting has its own limit, and draining ends with the last deadline. The other
            // stages cannot go on without the shard.
            if let (Stage::Load | Stage::Verify, Some(why)) = (stage, self.lost()) {
                return Err(BenchError::ShardLost(why));
            }
            if let Some(event) = self.next_event(LOOK)? {
                taken.extend(take(&event));
                self.note(stage, event)?;
            }
        }
        Ok(taken)
    }

    /// The next event, or `None` after a while. Notices interruptions and dead workers.
    fn next_event(
        &mut self,
        wait: Duration,
    ) -> Result<Option<LoadEvent<W::Generator>>, BenchError> {
        if self.interrupt.try_recv().is_ok() && !self.interrupted {
            self.interrupted = true;
            (self.progress)(Progress::Interrupted);
        }
        match self.events.recv_timeout(wait) {
            Ok(event) => Ok(Some(event)),
            Err(flume::RecvTimeoutError::Timeout) => Ok(None),
            Err(flume::RecvTimeoutError::Disconnected) => {
                Err(BenchError::Workload("every coordinator worker has died".to_owned()))
            }
        }
    }

    fn note(&mut self, stage: Stage, event: LoadEvent<W::Generator>) -> Result<(), BenchError> {
        match event {
            LoadEvent::Failed(why) => return Err(BenchError::Workload(why)),
            LoadEvent::Refused { shard, reason } => {
                let hint = hint(reason, &self.plan.workload);
                return Err(BenchError::Refused { shard, reason, hint });
            }
            LoadEvent::LinkUp { shard } => {
                self.down.remove(&shard.0);
            }
            LoadEvent::LinkDown { shard, why } => {
                let text = format!("{shard}: {why}");
                let since = self.down.get(&shard.0).map_or_else(Instant::now, |(since, _)| *since);
                // A link that is tried again and again is reported once.
                if self.down.insert(shard.0, (since, why)).is_none() {
                    (self.progress)(match stage {
                        Stage::Connect => Progress::Waiting { why: text },
                        _ => Progress::LinkDown { why: text },
                    });
                }
            }
            LoadEvent::Interval { measured, committed, latency, lag } => {
                self.add_interval(measured, committed, &latency, lag.as_deref());
                if self.interval.reports >= self.workers {
                    self.end_interval(stage)?;
                }
            }
            LoadEvent::Connected
            | LoadEvent::Loaded
            | LoadEvent::Drained(_)
            | LoadEvent::Verified(_) => {}
        }
        Ok(())
    }

    /// Adds a worker's part of an interval.
    fn add_interval(
        &mut self,
        measured: bool,
        committed: u64,
        latency: &Histogram<u64>,
        lag: Option<&Histogram<u64>>,
    ) {
        match (measured, self.interval.measured) {
            // Workers report each at their own time: what is left of the warm-up is dropped.
            (true, false) => {
                let began = self.measure_began;
                self.interval = Interval { began, measured, ..Interval::new() };
                self.unshown = Unshown::since(began);
            }
            (false, true) => return,
            _ => {}
        }
        let interval = &mut self.interval;
        interval.reports += 1;
        interval.committed += committed;
        interval.latency.add(latency).expect("all histograms have the same bounds");
        if let Some(lag) = lag {
            interval.lag.add(lag).expect("all histograms have the same bounds");
        }
    }

    /// Writes an interval to the log once all workers have told their parts, and shows what makes
    /// about a second.
    fn end_interval(&mut self, stage: Stage) -> Result<(), BenchError> {
        let measured = self.interval.measured;
        let next = Interval { measured, ..Interval::new() };
        let interval = std::mem::replace(&mut self.interval, next);
        let len = interval.began.elapsed();
        // The last part of the warm-up arrives when the measurement has begun.
        let (of, began) = match measured {
            true => (Stage::Measure, self.measure_began),
            false => (Stage::WarmUp, self.warmup_began),
        };
        let elapsed = began.elapsed();
        if measured && let Some(hdr) = &mut self.hdr {
            let start = elapsed.saturating_sub(len);
            if self.plan.load.schedule.is_some() {
                hdr.interval("intended", start, len, &interval.latency)?;
                hdr.interval("lag", start, len, &interval.lag)?;
            } else {
                hdr.interval("latency", start, len, &interval.latency)?;
            }
        }
        let unshown = &mut self.unshown;
        unshown.committed += interval.committed;
        unshown.latency.add(&interval.latency).expect("all histograms have the same bounds");
        // Intervals end a little before or after a whole second. The rest of one at the end of a
        // stage is in the totals, but its rate says little.
        let least = if stage == of { SECOND - interval_of(self.plan) / 2 } else { SECOND_MIN };
        if unshown.began.elapsed() >= least {
            let shown = std::mem::replace(unshown, Unshown::since(Instant::now()));
            self.show(of, elapsed, &shown);
        }
        Ok(())
    }

    fn show(&mut self, stage: Stage, elapsed: Duration, shown: &Unshown) {
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 transactions a second")]
        let rate_tps = shown.committed as f64 / shown.began.elapsed().as_secs_f64().max(1e-9);
        let latency = LatencySummary::from_histogram(&shown.latency);
        (self.progress)(Progress::Second { stage, elapsed, rate_tps, latency });
    }

    fn run_for(
        &mut self,
        stage: Stage,
        phase: Phase,
        duration: Duration,
    ) -> Result<(), BenchError> {
        self.stage(stage);
        let now = Instant::now();
        if stage == Stage::WarmUp {
            self.interval = Interval::new();
            self.unshown = Unshown::since(now);
            self.warmup_began = now;
        }
        self.measure_began = now;
        self.phase.set(phase);
        let deadline = now + duration;
        while !self.interrupted && self.lost().is_none() {
            // A stage that is longer than it should be would end behind its schedule of arrivals.
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            if let Some(event) = self.next_event(left.min(LOOK))? {
                self.note(stage, event)?;
            }
        }
        Ok(())
    }

    /// What makes it pointless to go on: a shard that has been out of reach for too long.
    fn lost(&self) -> Option<String> {
        let patience = self.plan.config.process.connect_timeout;
        let lost = self.down.iter().find(|(_, (since, _))| since.elapsed() >= patience);
        lost.map(|(shard, (_, why))| format!("shard {shard} is out of reach: {why}"))
    }

    fn drain(&mut self) -> Result<(RunTotals, DoneOf<W>), BenchError> {
        self.stage(Stage::Drain);
        self.phase.set(Phase::Drain);
        let process = &self.plan.config.process;
        let mut timeout = process.deadline + process.request_timeout + Duration::from_secs(10);
        if self.plan.load.schedule.is_some() {
            timeout += BACKLOG_TIME_MAX;
        }
        let drained = self.collect(Stage::Drain, timeout, |event| match event {
            LoadEvent::Drained(both) => Some((**both).clone()),
            _ => None,
        })?;
        let (mut totals, mut done) = (RunTotals::default(), DoneOf::<W>::default());
        for (one, its) in &drained {
            totals.add(one);
            done.add(its);
        }
        Ok((totals, done))
    }

    /// Compares what the store holds with what was acknowledged.
    fn verify(&mut self, done: &DoneOf<W>) -> Result<String, BenchError> {
        self.stage(Stage::Verify);
        self.phase.set(Phase::Verify);
        let verified = self.collect(Stage::Verify, BULK_TIMEOUT, |event| match event {
            LoadEvent::Verified(found) => Some((**found).clone()),
            _ => None,
        });
        let verified = match verified {
            // The run itself was measured; that it could not be checked is part of its report.
            Err(
                BenchError::StageTimeout(_, why)
                | BenchError::ShardLost(why)
                | BenchError::Workload(why),
            ) => return Ok(format!("not run: {why}")),
            outcome => outcome?,
        };
        let mut all = <W::Generator as Generator>::Found::default();
        for found in &verified {
            all.add(found);
        }
        let checked = self.plan.workload.check_store(done, &all);
        Ok(checked.err().unwrap_or_else(|| "ok".to_owned()))
    }
}

/// What a reason leaves unsaid: procedures are part of what the members of a cluster agree on.
fn hint(reason: CloseReason, workload: &impl Workload) -> String {
    let name = workload.name();
    match (reason, workload.procedures().is_empty()) {
        (CloseReason::ClusterConfig, false) => {
            format!(", and the shards started with punctual serve --workload {name}")
        }
        (CloseReason::ClusterConfig, true) => {
            format!(", and for {name} the shards started without --workload")
        }
        _ => String::new(),
    }
}

/// What a workload's transactions have done.
type DoneOf<W> = <<W as Workload>::Generator as Generator>::Done;

impl PartialOrd for Stage {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (*self as u8).partial_cmp(&(*other as u8))
    }
}
