//! What came of a run, and the report about it.

use super::traffic::Traffic;
use super::{DoneOf, Plan, Target, journal};
use crate::arrivals::Schedule;
use crate::drive::{KindTotals, RunTotals};
use crate::environment;
use crate::hgrm::{HdrFileError, HdrFiles};
use crate::histogram::Recorder;
use crate::report::{KindFigures, NetworkFigures, Report, open_loop_valid};
use crate::summary::LatencySummary;
use crate::workload::Workload;
use punctual_runtime::{Counter, Counters, EngineInfo};

/// What came of a run.
pub(super) struct Measured<W: Workload> {
    pub(super) totals: RunTotals,
    pub(super) done: DoneOf<W>,
    pub(super) traffic: Traffic,
    /// The emulated network, if there is one.
    pub(super) network: Option<NetworkFigures>,
    pub(super) self_check: String,
    /// Why it ended early.
    pub(super) lost: Option<String>,
}

impl<W: Workload> Measured<W> {
    /// Writes the histogram files of the whole run.
    pub(super) fn write_totals(&self, hdr: HdrFiles, plan: &Plan<W>) -> Result<(), HdrFileError> {
        let mut series = vec![("latency", self.totals.latency.total())];
        if plan.load.schedule.is_some() {
            series.push(("intended", self.totals.intended.total()));
            series.push(("lag", self.totals.lag.total()));
        }
        if let Some(punctuality) = &self.totals.punctuality {
            series.push(("late", punctuality.lateness.total()));
            series.push(("hold", punctuality.hold.total()));
            series.push(("agreement", punctuality.agreement.total()));
        }
        let kinds: Vec<_> =
            self.kinds(plan).map(|(name, kind)| (name, kind.latency.total())).collect();
        series.extend(kinds);
        let totals: Vec<_> = series.iter().map(|(name, total)| (*name, total)).collect();
        hdr.finish(&totals)
    }

    /// Kinds of transactions with their names, where there are several.
    fn kinds(&self, plan: &Plan<W>) -> impl Iterator<Item = (&'static str, &KindTotals)> {
        plan.workload.kinds().iter().copied().zip(&self.totals.kinds)
    }

    pub(super) fn report(self, plan: &Plan<W>, info: &EngineInfo, counters: &Counters) -> Report {
        let (cluster, process) = (&plan.config.cluster, &plan.config.process);
        let schedule = plan.load.schedule.as_ref();
        let open = schedule.map(|_| (summary(&self.totals.intended), summary(&self.totals.lag)));
        let kept_up = open.and_then(|(response, lag)| open_loop_valid(&lag, &response));
        let warnings = self.warnings(info, kept_up);
        let kinds = self.kinds(plan).map(|(name, kind)| figures_of_kind(name, kind)).collect();
        let Self { totals, done, traffic, network, self_check, .. } = self;
        let transport = match plan.target {
            Target::Embedded(transport) => environment::transport_name(transport),
            Target::Served => "served",
        };
        let duration_s = totals.span.map_or(0.0, |(first, last)| last.since(first).as_secs_f64());
        let measured = (totals.committed, duration_s);
        let durability = journal::figures(&plan.config, info, counters, &traffic, measured);
        let (keys, bytes) =
            (counters.sum("shard", Counter::Keys), counters.sum("shard", Counter::StoreBytes));
        let punctuality = totals.punctuality.as_deref();
        let (stamped, late) = punctuality.map_or((0, 0), |all| (all.stamped, all.late));
        let environment = environment::of_engine(&plan.build, transport, &plan.config, info);
        Report {
            shards: usize::from(cluster.shards),
            coordinators: usize::from(process.coordinators),
            in_flight: process.in_flight as usize,
            batch: usize::from(process.batch),
            rate: schedule.map(Schedule::mean_rate),
            seed: plan.load.seed,
            duration_s,
            warmup_s: plan.warmup.as_secs_f64(),
            committed: totals.committed,
            aborted: totals.aborted,
            refused: totals.refused,
            unknown: totals.whole_run.unknown,
            late,
            busy: traffic.busy,
            retries: traffic.retries,
            throughput_tps: ratio(totals.committed, duration_s).unwrap_or(0.0),
            latency_ns: summary(&totals.latency),
            open_loop_valid: if totals.unsent > 0 { Some(false) } else { kept_up },
            intended_latency_ns: open.map(|(response, _)| response),
            lag_ns: open.map(|(_, lag)| lag),
            frames_sent: traffic.frames,
            messages_per_frame: ratio(traffic.messages, as_f64(traffic.frames)),
            bytes_per_key: ratio(bytes, as_f64(keys)),
            self_check,
            counters: counters.snapshot(),
            warnings,
            cross_share: ratio(totals.cross, as_f64(totals.committed)),
            stamped,
            on_time_ratio: ratio(stamped - late, as_f64(stamped)),
            late_ns: punctuality.map(|all| summary(&all.lateness)),
            hold_ns: punctuality.map(|all| summary(&all.hold)),
            agreement_ns: punctuality.map(|all| summary(&all.agreement)),
            proposals_per_frame: ratio(traffic.proposals, as_f64(traffic.shard_frames)),
            per_shard: traffic.shards,
            headroom_ns: u64::try_from(process.headroom.as_nanos()).unwrap_or(u64::MAX),
            estimator: process.estimator.name().to_owned(),
            whole_run: totals.whole_run,
            durability,
            arrivals: schedule.map(|schedule| schedule.kind.name().to_owned()),
            rates: schedule.map(|schedule| schedule.rates.to_string()),
            network,
            kinds,
            figures: plan.workload.figures(&done),
            ..Report::of(&plan.workload, environment)
        }
    }

    /// What makes the figures worth less.
    fn warnings(&self, info: &EngineInfo, kept_up: Option<bool>) -> Vec<String> {
        let totals = &self.totals;
        let mut warnings = info.warnings.clone();
        warnings.extend(self.lost.clone());
        let mut recorders = vec![&totals.latency, &totals.intended, &totals.lag];
        if let Some(all) = &totals.punctuality {
            recorders.extend([&all.lateness, &all.hold, &all.agreement]);
        }
        let outside: u64 = recorders.iter().map(|r| r.below_range() + r.above_range()).sum();
        if outside > 0 {
            warnings.push(format!("{outside} latencies were negative or above a minute"));
        }
        if kept_up == Some(false) {
            warnings.push("invalid: the generator lagged behind its schedule".to_owned());
        }
        if totals.unsent > 0 {
            warnings.push(format!(
                "invalid: about {} transactions of the schedule were never sent; lower --rate",
                totals.unsent
            ));
        }
        warnings
    }
}

fn figures_of_kind(name: &str, kind: &KindTotals) -> KindFigures {
    KindFigures {
        name: name.to_owned(),
        committed: kind.committed,
        aborted: kind.aborted,
        latency_ns: summary(&kind.latency),
    }
}

fn summary(recorder: &Recorder) -> LatencySummary {
    LatencySummary::from_histogram(&recorder.total())
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
pub(super) fn as_f64(count: u64) -> f64 {
    count as f64
}

/// A quotient, if there is one.
pub(super) fn ratio(count: u64, by: f64) -> Option<f64> {
    (by > 0.0).then(|| as_f64(count) / by)
}
