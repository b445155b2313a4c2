//! Fitting the service model to real runs.
//!
//! What a run of the engine says is one number: how long a transaction took that was alone, or how
//! much time each took when as many as possible were under way. Both are sums of service times, of
//! which the rules say how often each occurs: of one path through the system, or of the work of the
//! core that was busiest. So each run is a row of a linear system, which is solved by least squares
//! of relative errors, with no time below zero. There are more times than runs. Where they cannot
//! tell two of them apart, both stay as near as may be to what they were at the start.
//!
//! The rows are an approximation; the simulation itself knows better how turns and batches form. So
//! each run is simulated with the solution, and the rows are corrected by what they were off, a few
//! times. The errors reported are those of the simulation.

use super::config::SimBenchError;
use super::nnls::{Row, solve};
use super::point::CalibrationPoint;
use super::run;
use super::service::{COSTS, ServiceModel};
use thiserror::Error;

/// Solutions that are tried out by simulation.
const PASSES: usize = 5;
/// Which core limits a run depends on the solution: so often it is solved again.
const SOLUTIONS_MAX: usize = 20;
/// How much it counts if a time is not what it was at the start, beside a run that is off by as
/// much.
const INERTIA: f64 = 0.03;
const NS_PER_S: f64 = 1e9;

/// Why no model could be fitted.
#[derive(Debug, Error)]
pub enum CalibrationError {
    /// There is nothing to fit it to.
    #[error("no report to fit the service model to; give some of bench micro in a closed loop")]
    NoPoints,
    /// A report says what cannot be simulated.
    #[error("{name} cannot be simulated; leave it out")]
    Point {
        /// Which one.
        name: String,
        /// Why.
        source: SimBenchError,
    },
}

/// How well the model says what a run was.
#[derive(Debug, Clone, PartialEq)]
pub struct PointFit {
    /// Which run.
    pub name: String,
    /// What it did, in committed transactions a second.
    pub measured_tps: f64,
    /// What the simulation does.
    pub predicted_tps: f64,
    /// Its median latency.
    pub measured_p50_ns: f64,
    /// That of the simulation.
    pub predicted_p50_ns: f64,
}

impl PointFit {
    /// Throughput of the simulation over that of the run.
    #[must_use]
    pub fn throughput_ratio(&self) -> f64 {
        self.predicted_tps / self.measured_tps
    }

    /// Median latency of the simulation over that of the run.
    #[must_use]
    pub fn latency_ratio(&self) -> f64 {
        self.predicted_p50_ns / self.measured_p50_ns
    }
}

/// A model, and how good it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// The model.
    pub model: ServiceModel,
    /// How well it says what each of the runs was, in their order.
    pub points: Vec<PointFit>,
}

/// Fits a service model to real runs, beginning with `start`. Four to six runs are about right: one
/// and ten operations, with and without batches, one at a time, one and two shards.
///
/// # Errors
/// When there is no run, or one that cannot be simulated.
pub fn calibrate(
    points: &[CalibrationPoint],
    start: &ServiceModel,
) -> Result<Calibration, CalibrationError> {
    if points.is_empty() {
        return Err(CalibrationError::NoPoints);
    }
    let mut corrections = vec![1.0; points.len()];
    let mut costs = start.costs();
    let mut best: Option<(f64, Calibration)> = None;
    for _ in 0..PASSES {
        costs = fit(points, &corrections, start.costs(), costs);
        let about = format!("fitted to {} runs", points.len());
        let model = ServiceModel {
            call_ns: start.call_ns,
            procedures: start.procedures.clone(),
            ..ServiceModel::from_costs(&about, costs)
        };
        let fits = points.iter().map(|point| try_out(point, &model));
        let fits = fits.collect::<Result<Vec<PointFit>, _>>()?;
        let mut error = 0.0;
        for ((point, fit), correction) in points.iter().zip(&fits).zip(&mut corrections) {
            let simulated = simulated_ns(point, fit);
            error += (simulated / point.measured_ns()).ln().powi(2);
            let (_, expected) = limit(point, &costs);
            let ratio = simulated / expected;
            if ratio.is_finite() && ratio > 0.0 {
                *correction = ratio;
            }
        }
        if best.as_ref().is_none_or(|(least, _)| error < *least) {
            best = Some((error, Calibration { model, points: fits }));
        }
    }
    best.map(|(_, calibration)| calibration).ok_or(CalibrationError::NoPoints)
}

/// Simulates a run.
fn try_out(point: &CalibrationPoint, model: &ServiceModel) -> Result<PointFit, CalibrationError> {
    let report = run(&point.config(model), &point.workload(), &mut |_| {});
    let report =
        report.map_err(|source| CalibrationError::Point { name: point.name.clone(), source })?;
    Ok(PointFit {
        name: point.name.clone(),
        measured_tps: point.throughput_tps,
        predicted_tps: report.throughput_tps,
        measured_p50_ns: point.latency_p50_ns,
        predicted_p50_ns: report.latency.value_at_quantile(0.5) as f64,
    })
}

/// What the simulation says where [`CalibrationPoint::measured_ns`] says what was measured.
fn simulated_ns(point: &CalibrationPoint, fit: &PointFit) -> f64 {
    if point.is_alone() { fit.predicted_p50_ns } else { NS_PER_S / fit.predicted_tps }
}

/// What limits a run with these costs, and what that comes to.
fn limit(point: &CalibrationPoint, costs: &[f64; COSTS]) -> (Row, f64) {
    let rows = point.rows().into_iter().map(|row| (row, row.value(costs)));
    let largest = rows.reduce(|most, row| if row.1 > most.1 { row } else { most });
    largest.expect("every run has a row")
}

/// The costs by which the rows come as near as possible to what was measured.
fn fit(
    points: &[CalibrationPoint],
    corrections: &[f64],
    start: [f64; COSTS],
    from: [f64; COSTS],
) -> [f64; COSTS] {
    let mut costs = from;
    for _ in 0..SOLUTIONS_MAX {
        let mut rows: Vec<Row> = start.iter().enumerate().map(keep).collect();
        for (point, correction) in points.iter().zip(corrections) {
            let (row, _) = limit(point, &costs);
            // The row times the correction should be what was measured; off by a part of that.
            let target = row.target / correction;
            rows.push(Row { target, ..row }.scaled(1.0 / target));
        }
        let solution = solve(&rows, costs);
        let moved = solution.iter().zip(&costs).any(|(new, old)| (new - old).abs() > 1e-6);
        costs = solution;
        if !moved {
            break;
        }
    }
    costs
}

/// The row that keeps a time near what it was at the start.
fn keep((at, time): (usize, &f64)) -> Row {
    // What was nothing at the start may as well become a nanosecond.
    let weight = INERTIA / time.max(1.0);
    let mut factors = [0.0; COSTS];
    factors[at] = weight;
    Row { factors, target: weight * time }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A run as the simulator makes it with this model.
    fn point(
        name: &str,
        model: &ServiceModel,
        (ops, in_flight, batch): (u16, u16, u16),
    ) -> CalibrationPoint {
        let mut point = CalibrationPoint {
            name: name.to_owned(),
            shards: 1,
            coordinators: 1,
            in_flight: in_flight.into(),
            batch,
            ops,
            reads: 0.5,
            cross: 0.0,
            span: 2,
            keys: 1_000,
            skew: 0.0,
            headroom: Duration::from_micros(2),
            shard_cores: 1,
            coordinator_cores: 1,
            throughput_tps: 1e6,
            latency_p50_ns: 1.0,
            messages_per_frame: f64::from(batch.min(in_flight)),
        };
        let fit = try_out(&point, model).expect("it can be simulated");
        point.throughput_tps = fit.predicted_tps;
        point.latency_p50_ns = fit.predicted_p50_ns;
        point
    }

    /// A model in which the shard is what most runs wait for, so that they tell its costs apart.
    fn rough() -> ServiceModel {
        let mut model = ServiceModel { wire_ns: 600.0, ..ServiceModel::default() };
        model.shard.turn_ns = 300.0;
        model.shard.frame_ns = 3_000.0;
        model.shard.piece_ns = 60.0;
        model.shard.op_ns = 25.0;
        model.coordinator.turn_ns = 300.0;
        model.coordinator.frame_ns = 3_000.0;
        model.coordinator.piece_ns = 80.0;
        model.coordinator.op_ns = 20.0;
        model
    }

    #[test]
    fn a_model_that_made_the_runs_is_found_again_as_far_as_they_tell() {
        let start = rough();
        let mut model = start.clone();
        model.shard.op_ns *= 2.0;
        model.shard.piece_ns *= 3.0;
        model.wire_ns *= 1.5;
        let points = [
            point("alone", &model, (1, 1, 64)),
            point("alone, ten", &model, (10, 1, 64)),
            point("batches", &model, (1, 512, 64)),
            point("batches, ten", &model, (10, 512, 64)),
            point("frames", &model, (10, 512, 1)),
        ];
        let found = calibrate(&points, &start).expect("a model");
        for fit in &found.points {
            let ratio = match fit.name.starts_with("alone") {
                true => fit.latency_ratio(),
                false => fit.throughput_ratio(),
            };
            assert!((0.85..1.18).contains(&ratio), "{fit:?}\n{:?}", found.model);
        }
        assert!(found.model.shard.op_ns > start.shard.op_ns * 1.5, "{:?}", found.model);
        assert!(found.model.check().is_ok());
    }

    #[test]
    fn without_runs_there_is_no_model() {
        let error = calibrate(&[], &ServiceModel::default()).expect_err("nothing to fit to");
        assert!(matches!(error, CalibrationError::NoPoints));
    }
}
