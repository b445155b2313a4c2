//! What came of a run, and the report about it.

use super::traffic::Traffic;
use super::{Plan, Target, journal};
use crate::environment;
use crate::hgrm::{HdrFileError, HdrFiles};
use crate::histogram::Recorder;
use crate::micro::MicroTotals;
use crate::report::{Report, SCHEMA, open_loop_valid};
use crate::summary::LatencySummary;
use punctual_runtime::{Counter, Counters, EngineInfo};

/// What came of a run.
pub(super) struct Measured {
    pub(super) totals: MicroTotals,
    pub(super) traffic: Traffic,
    pub(super) self_check: String,
    /// Why it ended early.
    pub(super) lost: Option<String>,
}

impl Measured {
    /// Writes the histogram files of the whole run.
    pub(super) fn write_totals(&self, hdr: HdrFiles, plan: &Plan) -> Result<(), HdrFileError> {
        let mut series = vec![("latency", self.totals.latency.total())];
        if plan.micro.rate.is_some() {
            series.push(("intended", self.totals.intended.total()));
            series.push(("lag", self.totals.lag.total()));
        }
        if let Some(punctuality) = &self.totals.punctuality {
            series.push(("late", punctuality.lateness.total()));
            series.push(("hold", punctuality.hold.total()));
            series.push(("agreement", punctuality.agreement.total()));
        }
        let totals: Vec<_> = series.iter().map(|(name, total)| (*name, total)).collect();
        hdr.finish(&totals)
    }

    pub(super) fn report(self, plan: &Plan, info: &EngineInfo, counters: &Counters) -> Report {
        let (cluster, process, micro) = (&plan.config.cluster, &plan.config.process, &plan.micro);
        let open = micro.rate.map(|_| (summary(&self.totals.intended), summary(&self.totals.lag)));
        let kept_up = open.and_then(|(response, lag)| open_loop_valid(&lag, &response));
        let warnings = self.warnings(info, kept_up);
        let Self { totals, traffic, self_check, .. } = self;
        let transport = match plan.target {
            Target::Embedded(transport) => environment::transport_name(transport),
            Target::Served => "served",
        };
        let duration_s = totals.span.map_or(0.0, |(first, last)| last.since(first).as_secs_f64());
        let measured = (totals.committed, duration_s);
        let durability = journal::figures(plan, info, counters, &traffic, measured);
        let (keys, bytes) =
            (counters.sum("shard", Counter::Keys), counters.sum("shard", Counter::StoreBytes));
        let punctuality = totals.punctuality.as_deref();
        let (stamped, late) = punctuality.map_or((0, 0), |all| (all.stamped, all.late));
        Report {
            schema: SCHEMA,
            program: "bench micro".to_owned(),
            workload: "micro".to_owned(),
            transport: transport.to_owned(),
            shards: usize::from(cluster.shards),
            coordinators: usize::from(process.coordinators),
            in_flight: process.in_flight as usize,
            ops: usize::from(micro.ops),
            reads: micro.reads,
            keys: micro.keys,
            value_size: micro.value_size,
            skew: micro.skew,
            batch: usize::from(process.batch),
            rate: micro.rate,
            seed: micro.seed,
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
            environment: environment::of_engine(&plan.build, transport, &plan.config, info),
            warnings,
            cross: micro.cross,
            span: (micro.cross > 0.0).then_some(micro.span),
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
