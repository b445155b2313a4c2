//! A real run that the service model is fitted to.

use super::config::SimBenchConfig;
use super::nnls::Row;
use super::service::{COSTS, ServiceModel};
use punctual_load::micro::Micro;
use serde_json::Value;
use std::time::Duration;
use thiserror::Error;

/// Transactions of a simulated point, at least; half as many before do not count.
const TRANSACTIONS_MIN: f64 = 5_000.0;
/// And at least so many for each that is under way.
const ROUNDS_MIN: f64 = 16.0;
/// No point is simulated for longer than this, nor for less than a thousandth of it.
const DURATION_MAX_S: f64 = 5.0;
/// Keys beyond this make no difference to a model without caches.
const KEYS_MAX: u64 = 100_000;
const NS_PER_S: f64 = 1e9;

/// Why a report cannot be used.
#[derive(Debug, Error)]
pub enum PointError {
    /// It is no JSON.
    #[error("{name} is not JSON; give a file that bench micro --json wrote")]
    Json {
        /// Which report.
        name: String,
        /// What the reader said.
        source: serde_json::Error,
    },
    /// Something is missing, or is something else than expected.
    #[error("{name}: {field} is {found}, and {wanted} was expected; give a report of bench micro")]
    Field {
        /// Which report.
        name: String,
        /// Which field.
        field: &'static str,
        /// What is there.
        found: String,
        /// What should be.
        wanted: &'static str,
    },
}

/// What a report of `bench micro` in a closed loop says about service times.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibrationPoint {
    /// What it is called in errors and tables.
    pub name: String,
    /// Shards.
    pub shards: u16,
    /// Coordinator workers.
    pub coordinators: u32,
    /// Transactions in flight, for each coordinator.
    pub in_flight: u32,
    /// Most messages in a frame.
    pub batch: u16,
    /// Operations of a transaction.
    pub ops: u16,
    /// Share of them that read.
    pub reads: f64,
    /// Share of the transactions that touched several shards.
    pub cross: f64,
    /// Shards that each of those touched.
    pub span: u16,
    /// Keys.
    pub keys: u64,
    /// Exponent of their popularity.
    pub skew: f64,
    /// What a stamp had beyond the longest one-way delay.
    pub headroom: Duration,
    /// Cores that the shards were on.
    pub shard_cores: u16,
    /// Cores that the coordinators were on.
    pub coordinator_cores: u32,
    /// Committed transactions a second.
    pub throughput_tps: f64,
    /// Median latency.
    pub latency_p50_ns: f64,
    /// Messages in a frame on average.
    pub messages_per_frame: f64,
}

/// Looks things up in a report.
struct Reader<'a> {
    name: &'a str,
    report: Value,
}

impl Reader<'_> {
    fn error(&self, field: &'static str, found: &Value, wanted: &'static str) -> PointError {
        PointError::Field { name: self.name.to_owned(), field, found: found.to_string(), wanted }
    }

    /// A field by its path, with dots.
    fn field(&self, path: &'static str) -> &Value {
        path.split('.').fold(&self.report, |value, key| &value[key])
    }

    fn number(&self, path: &'static str) -> Result<f64, PointError> {
        let found = self.field(path);
        found.as_f64().ok_or_else(|| self.error(path, found, "a number"))
    }

    fn positive(&self, path: &'static str) -> Result<f64, PointError> {
        let number = self.number(path)?;
        let error = || self.error(path, self.field(path), "a number above zero");
        if number > 0.0 { Ok(number) } else { Err(error()) }
    }

    fn absent(&self, path: &'static str, wanted: &'static str) -> Result<(), PointError> {
        match self.field(path) {
            Value::Null => Ok(()),
            found => Err(self.error(path, found, wanted)),
        }
    }

    /// Shards and coordinators must not have shared a core: here they never do.
    fn apart(&self) -> Result<(), PointError> {
        let cores = self.field("environment.cores");
        let of = |kind: &str| cores[kind].as_array().cloned().unwrap_or_default();
        match of("shards").iter().any(|core| of("coordinators").contains(core)) {
            false => Ok(()),
            true => Err(self.error("environment.cores", cores, "none that both kinds shared")),
        }
    }

    /// How many cores of a kind there were, at most `most`; each had its own if it is not known.
    fn cores(&self, path: &'static str, most: usize) -> usize {
        let Some(cores) = self.field(path).as_array() else { return most };
        let mut cores: Vec<u64> = cores.iter().filter_map(Value::as_u64).collect();
        cores.sort_unstable();
        cores.dedup();
        if cores.is_empty() { most } else { cores.len().min(most) }
    }
}

impl CalibrationPoint {
    /// Reads the JSON document that `bench micro --json` wrote.
    ///
    /// # Errors
    /// When it is something else, or was made in an open loop or over an emulated network.
    pub fn from_report(name: &str, json: &str) -> Result<Self, PointError> {
        let report = serde_json::from_str(json)
            .map_err(|source| PointError::Json { name: name.to_owned(), source })?;
        let report = Reader { name, report };
        if report.field("workload").as_str() != Some("micro") {
            return Err(report.error("workload", report.field("workload"), "\"micro\""));
        }
        // A simulation would be fitted to itself.
        if report.field("transport").as_str() == Some("simulated") {
            return Err(report.error("transport", report.field("transport"), "a real one"));
        }
        if report.field("self_check").as_str() != Some("ok") {
            return Err(report.error("self_check", report.field("self_check"), "\"ok\""));
        }
        report.absent("rate", "a closed loop")?;
        report.absent("network", "no emulated network")?;
        report.absent("durability", "shards without journals")?;
        report.apart()?;
        let shards = report.positive("shards")? as u16;
        let coordinators = report.positive("coordinators")? as u32;
        let span = report.field("span").as_u64().unwrap_or(2) as u16;
        Ok(Self {
            name: name.to_owned(),
            shards,
            coordinators,
            in_flight: report.positive("in_flight")? as u32,
            batch: report.positive("batch")? as u16,
            ops: report.positive("ops")? as u16,
            reads: report.number("reads")?,
            cross: report.number("cross")?,
            span,
            keys: report.positive("keys")? as u64,
            skew: report.number("skew")?,
            headroom: Duration::from_nanos(report.number("headroom_ns")? as u64),
            shard_cores: report.cores("environment.cores.shards", shards.into()) as u16,
            coordinator_cores: report.cores("environment.cores.coordinators", coordinators as usize)
                as u32,
            throughput_tps: report.positive("throughput_tps")?,
            latency_p50_ns: report.positive("latency_ns.p50")?,
            messages_per_frame: report.positive("messages_per_frame")?,
        })
    }

    /// The run that simulates it.
    #[must_use]
    pub fn config(&self, service: &ServiceModel) -> SimBenchConfig {
        let transactions = (self.under_way() * ROUNDS_MIN).max(TRANSACTIONS_MIN);
        let seconds = (transactions / self.throughput_tps).min(DURATION_MAX_S);
        let duration = Duration::from_secs_f64(seconds.max(DURATION_MAX_S / 1e3));
        SimBenchConfig {
            shards: self.shards,
            coordinators: self.coordinators,
            in_flight: self.in_flight,
            batch: self.batch,
            headroom: self.headroom,
            service: service.clone(),
            shard_cores: Some(self.shard_cores),
            coordinator_cores: Some(self.coordinator_cores),
            warmup: duration / 2,
            duration,
            ..SimBenchConfig::default()
        }
    }

    /// What its transactions did.
    #[must_use]
    pub fn workload(&self) -> Micro {
        let Self { ops, reads, cross, span, skew, .. } = *self;
        let keys = self.keys.min(KEYS_MAX);
        // How long values are makes no difference either.
        Micro { ops, reads, cross, span, keys, value_size: 8, skew }
    }

    /// Transactions in flight in all.
    fn under_way(&self) -> f64 {
        f64::from(self.in_flight) * f64::from(self.coordinators)
    }

    /// Whether it tells how long one transaction takes, and not how many there can be.
    pub(super) fn is_alone(&self) -> bool {
        self.in_flight == 1 && self.coordinators == 1
    }

    /// What was measured: the median latency of one at a time, else the time for each transaction.
    pub(super) fn measured_ns(&self) -> f64 {
        if self.is_alone() { self.latency_p50_ns } else { NS_PER_S / self.throughput_tps }
    }

    /// What limits it, one row for each candidate: the largest is the one that does.
    pub(super) fn rows(&self) -> Vec<Row> {
        let path = Row { factors: self.path(), target: self.measured_ns() };
        if self.is_alone() {
            return vec![path];
        }
        let factors = path.factors.map(|it| it / self.under_way());
        let paths = Row { factors, ..path };
        let row = |factors| Row { factors, target: self.measured_ns() };
        vec![row(self.shard_work()), row(self.coordinator_work()), paths]
    }

    /// What passes from the submission of a transaction to its end, if it is alone.
    fn path(&self) -> [f64; COSTS] {
        let (ops, span) = (f64::from(self.ops), f64::from(self.span));
        let peers = span - 1.0;
        // Shards on one core take their turns one after the other.
        let queue = (span / f64::from(self.shard_cores)).max(1.0);
        let single = [2.0, 1.0, 2.0, 1.0, ops, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0];
        let several = [
            3.0,
            queue * 2.0,
            queue * (span + 2.0),
            queue,
            queue * ops / span,
            queue,
            queue * 2.0 * peers,
            1.0,
            span + 1.0,
            0.0,
            0.0,
            0.0,
        ];
        let mix = |at: usize| (1.0 - self.cross) * single[at] + self.cross * several[at];
        std::array::from_fn(mix)
    }

    /// Pieces, stamped pieces and proposals of a transaction on average.
    fn messages(&self) -> (f64, f64, f64) {
        let (cross, span) = (self.cross, f64::from(self.span));
        (1.0 + cross * (span - 1.0), cross * span, cross * span * (span - 1.0))
    }

    /// What a core of shards does for each transaction.
    fn shard_work(&self) -> [f64; COSTS] {
        let (pieces, stamped, proposals) = self.messages();
        let frames = 2.0 * (pieces + proposals) / self.messages_per_frame;
        let turns = 2.0 * f64::from(self.shards) / self.under_way();
        let ops = f64::from(self.ops);
        let all = [turns, frames, pieces, ops, stamped, 2.0 * proposals];
        let mut factors = [0.0; COSTS];
        for (factor, count) in factors[1..].iter_mut().zip(all) {
            *factor = count / f64::from(self.shard_cores);
        }
        factors
    }

    /// What a core of coordinators does for each transaction.
    fn coordinator_work(&self) -> [f64; COSTS] {
        let (pieces, stamped, _) = self.messages();
        let frames = 2.0 * pieces / self.messages_per_frame;
        let turns = 2.0 / f64::from(self.in_flight);
        let all = [turns, frames, pieces, f64::from(self.ops), stamped];
        let mut factors = [0.0; COSTS];
        for (factor, count) in factors[7..].iter_mut().zip(all) {
            *factor = count / f64::from(self.coordinator_cores);
        }
        factors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Value {
        serde_json::json!({
            "workload": "micro", "transport": "ring", "self_check": "ok", "rate": null,
            "durability": null, "shards": 2, "coordinators": 1,
            "in_flight": 256, "batch": 64, "ops": 10, "reads": 0.5, "cross": 1.0, "span": 2,
            "keys": 1_000_000, "skew": 0.0, "headroom_ns": 2_000, "throughput_tps": 400_000.0,
            "latency_ns": { "p50": 600_000 }, "messages_per_frame": 20.5,
            "environment": { "cores": { "shards": [0, 0], "coordinators": [1] } },
        })
    }

    #[test]
    fn a_report_becomes_a_point_with_the_cores_that_it_ran_on() {
        let point = CalibrationPoint::from_report("two", &report().to_string()).expect("a point");
        assert_eq!((point.shards, point.shard_cores, point.coordinator_cores), (2, 1, 1));
        assert_eq!((point.span, point.headroom), (2, Duration::from_micros(2)));
        let config = point.config(&ServiceModel::default());
        config.check().expect("it can be simulated");
        assert_eq!(config.duration, Duration::from_micros(12_500));
        assert_eq!((point.workload().keys, point.workload().ops), (KEYS_MAX, 10));
        // 10 operations, 2 stamped pieces and 2 proposals, sent and taken, on one core.
        let work = point.shard_work();
        assert_eq!((work[3], work[4], work[5], work[6]), (2.0, 10.0, 2.0, 4.0));
    }

    #[test]
    fn what_is_no_report_of_a_closed_loop_is_told() {
        let read = |report: &Value| CalibrationPoint::from_report("it", &report.to_string());
        let shared = serde_json::json!({ "cores": { "shards": [0], "coordinators": [0] } });
        let cases: [(&str, Value, &str); 7] = [
            ("transport", Value::from("simulated"), "it: transport is \"simulated\", and a real"),
            ("self_check", Value::from("off by 1"), "it: self_check is \"off by 1\""),
            ("environment", shared, "it: environment.cores is {"),
            ("rate", Value::from(1e5), "it: rate is 100000.0, and a closed loop was expected"),
            ("workload", Value::from("tpcc"), "it: workload is \"tpcc\""),
            ("ops", Value::Null, "it: ops is null, and a number was expected"),
            ("throughput_tps", Value::from(0.0), "it: throughput_tps is 0.0, and a number above"),
        ];
        for (field, value, told) in cases {
            let mut wrong = report();
            wrong[field] = value;
            let error = read(&wrong).expect_err(told).to_string();
            assert!(error.starts_with(told), "{error}");
        }
        assert!(CalibrationPoint::from_report("it", "no").is_err());
    }
}
