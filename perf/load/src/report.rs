//! What a run leaves behind: one JSON document, and one line for people.
//!
//! The document is stable. Readers check `schema`; it grows by one when a field changes its meaning
//! or goes away, and new fields come at the end of their object. Units are in the names. A field
//! that does not apply to a run is `null`, never left out. All numbers must be finite: JSON has no
//! others.

mod journal;

pub use journal::{JournalFigures, RecoveryFigures};

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::summary::{LatencySummary, fmt_ns_or_dash};
use crate::workload::Workload;

/// Version of the document. The second one counts `late` transactions, not their pieces.
pub const SCHEMA: u32 = 2;

/// The generator's lag may be at most one part in this many of the response time.
const LAG_DIVISOR: u64 = 10;

/// Why a report could not be written.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The file system refused.
    #[error("cannot write the report {}; choose a writable path", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The report could not be put into JSON.
    #[error("cannot put the report into JSON")]
    Json(#[from] serde_json::Error),
}

/// The result of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this document: [`SCHEMA`].
    pub schema: u32,
    /// The command that was run, such as `bench micro`.
    pub program: String,
    /// The workload's name.
    pub workload: String,
    /// How coordinators and shards were connected; `served` where the shards were in other
    /// processes, at the addresses of the configuration.
    pub transport: String,
    /// Shards that took part.
    pub shards: usize,
    /// Coordinators that took part.
    pub coordinators: usize,
    /// Most transactions under way at a time, for each coordinator.
    pub in_flight: usize,
    /// What was chosen of the workload, each a field of its own, such as `ops` and `keys`: named as
    /// the options are.
    #[serde(flatten)]
    pub parameters: Map<String, Value>,
    /// The same for people.
    #[serde(default)]
    pub description: String,
    /// Most messages put into one frame.
    pub batch: usize,
    /// Intended arrivals a second, all coordinators together, on average; `null` in a closed loop.
    pub rate: Option<f64>,
    /// Seed of the workload.
    pub seed: u64,
    /// Length of the measured part in seconds, up to its last commit.
    pub duration_s: f64,
    /// Length of the warm-up in seconds, which no number here includes but those of the whole run:
    /// `unknown`, `bytes_per_key` and `counters`.
    pub warmup_s: f64,
    /// Transactions that changed the store, or read it, as asked.
    pub committed: u64,
    /// Transactions that were undone for a reason of their own.
    pub aborted: u64,
    /// Transactions that were turned away for want of room.
    pub refused: u64,
    /// Transactions of the whole run, warm-up included, whose outcome was not learnt in time.
    pub unknown: u64,
    /// Those of `stamped` that reached a shard after their time, which the shard therefore moved to
    /// a later one.
    pub late: u64,
    /// Times a shard answered that it was busy.
    pub busy: u64,
    /// Pieces of transactions that were sent again.
    pub retries: u64,
    /// Committed transactions a second.
    pub throughput_tps: f64,
    /// From sending to the outcome.
    pub latency_ns: LatencySummary,
    /// From the intended start to the outcome, the response time; open loop only.
    pub intended_latency_ns: Option<LatencySummary>,
    /// From the intended start to sending, the generator's lag; open loop only.
    pub lag_ns: Option<LatencySummary>,
    /// Whether the generator kept up, see [`open_loop_valid`], and sent its whole schedule; open
    /// loop only.
    pub open_loop_valid: Option<bool>,
    /// Frames that coordinators and shards sent.
    pub frames_sent: u64,
    /// Messages in a frame, on average; `null` where no frames were sent.
    pub messages_per_frame: Option<f64>,
    /// Memory of the store for each key it holds.
    pub bytes_per_key: Option<f64>,
    /// Whether the store agrees with what was committed: `ok`, `not run`, or what differed.
    pub self_check: String,
    /// Counters of every agent and core since the start, as `shard0.committed`.
    pub counters: BTreeMap<String, u64>,
    /// What it ran on.
    pub environment: Environment,
    /// What makes the numbers less than they could be, a sentence each.
    pub warnings: Vec<String>,
    /// Share of `committed` that touched several shards; `null` where nothing committed.
    pub cross_share: Option<f64>,
    /// Those of `committed` that had a stamp, because they touched several shards.
    pub stamped: u64,
    /// Share of `stamped` that was not `late` on any shard; `null` where nothing was stamped.
    pub on_time_ratio: Option<f64>,
    /// Of those that were late, by how much at the shard where they were latest.
    pub late_ns: Option<LatencySummary>,
    /// From arrival to release of stamped transactions, at the shard where that took longest.
    pub hold_ns: Option<LatencySummary>,
    /// From admission to agreement of stamped transactions, at the shard where that took longest.
    pub agreement_ns: Option<LatencySummary>,
    /// Proposals that the shards of this process sent for each frame that they sent, replies and
    /// all; `null` where no shard of this process sent a frame.
    pub proposals_per_frame: Option<f64>,
    /// The shards of this process; none where they are served elsewhere.
    pub per_shard: Vec<ShardFigures>,
    /// What a stamp has beyond the longest one-way delay.
    pub headroom_ns: u64,
    /// How one-way delays were estimated.
    pub estimator: String,
    /// Every transaction from the beginning of the warm-up to the end.
    pub whole_run: WholeRun,
    /// What the shards of this process wrote to their journals; `null` where none has one.
    pub durability: Option<JournalFigures>,
    /// How arrivals were spread, `poisson` or `constant`; `null` in a closed loop.
    #[serde(default)]
    pub arrivals: Option<String>,
    /// Their rates as they were asked for, such as `1000..5000`; `null` in a closed loop.
    #[serde(default)]
    pub rates: Option<String>,
    /// The network that was emulated; `null` where there was none.
    #[serde(default)]
    pub network: Option<NetworkFigures>,
    /// The kinds of transactions, where there are several.
    #[serde(default)]
    pub kinds: Vec<KindFigures>,
    /// What only this workload has, such as `new_orders`.
    #[serde(default)]
    pub figures: Map<String, Value>,
}

/// An emulated network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkFigures {
    /// Its name, or the file that says what it is like.
    pub name: String,
    /// The longest one-way delay between any two agents, without jitter.
    pub delay_max_ns: u64,
    /// By how much later than it should batches were delivered.
    pub added_error_ns: LatencySummary,
    /// Batches that were delayed.
    pub delayed: u64,
    /// Those that were lost and came again.
    pub lost: u64,
}

/// The transactions of one kind in the measured part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KindFigures {
    /// Its name.
    pub name: String,
    /// Those that committed.
    pub committed: u64,
    /// Those that were undone for a reason of their own.
    pub aborted: u64,
    /// From sending to the outcome; in an open loop from the intended start.
    pub latency_ns: LatencySummary,
}

/// What one shard did while measuring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardFigures {
    /// Which one.
    pub shard: u16,
    /// Transactions, and pieces of some, that committed there.
    pub committed: u64,
    /// Operations that it ran.
    pub ops: u64,
    /// Stamped pieces that it admitted.
    pub stamped: u64,
    /// Those of them that came after their time.
    pub late: u64,
    /// Entries that it held at the end of the measured part.
    pub held: u64,
}

/// How many transactions were submitted and how they ended, warm-up included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WholeRun {
    /// Taken by a coordinator.
    pub submitted: u64,
    /// Ended as done.
    pub committed: u64,
    /// Ended as undone for a reason of their own.
    pub aborted: u64,
    /// Ended as turned away.
    pub refused: u64,
    /// Ended without anybody knowing how.
    pub unknown: u64,
}

impl WholeRun {
    /// Adds the transactions of another worker.
    pub fn add(&mut self, other: &Self) {
        self.submitted += other.submitted;
        self.committed += other.committed;
        self.aborted += other.aborted;
        self.refused += other.refused;
        self.unknown += other.unknown;
    }
}

/// Where and how a run was made: what one needs to repeat it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Commit that the program was built from, where that is known.
    pub git_commit: Option<String>,
    /// Version of the program.
    pub version: String,
    /// Hash of the cluster's configuration.
    pub config_hash: Option<String>,
    /// Name of the processor.
    pub cpu_model: String,
    /// Name and release of the kernel.
    pub kernel: String,
    /// Which core each agent ran on.
    pub cores: Cores,
    /// Whether all agents were bound to their cores.
    pub pinned: bool,
    /// What an agent without work does.
    pub idle: String,
    /// What drives the agents.
    pub backend: String,
    /// How coordinators and shards were connected.
    pub transport: String,
    /// Cores that the kernel keeps free of other work.
    pub isolated: Vec<usize>,
    /// Whether the program was built without optimisation.
    pub debug_build: bool,
    /// The command line.
    pub command: Vec<String>,
}

/// Cores by their numbers, one for each agent in the order of the agents' numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cores {
    /// Cores of the shards.
    pub shards: Vec<usize>,
    /// Cores of the coordinators.
    pub coordinators: Vec<usize>,
    /// Core of the prober; `null` where there is none.
    pub prober: Option<usize>,
}

/// Whether an open loop measured the system rather than its own generator: the lag's p99 is at most
/// a tenth of the response time's. `None` when there are too few samples to tell.
#[must_use]
pub fn open_loop_valid(lag_ns: &LatencySummary, response_ns: &LatencySummary) -> Option<bool> {
    Some(lag_ns.p99?.saturating_mul(LAG_DIVISOR) <= response_ns.p99?)
}

impl Report {
    /// A report about a workload in which nothing was measured yet: what does not apply to a run
    /// stays as it is here.
    #[must_use]
    pub fn of(workload: &impl Workload, environment: Environment) -> Self {
        Self {
            schema: SCHEMA,
            program: format!("bench {}", workload.name()),
            workload: workload.name().to_owned(),
            transport: environment.transport.clone(),
            shards: 0,
            coordinators: 0,
            in_flight: 0,
            parameters: workload.parameters(),
            description: workload.describe(),
            batch: 0,
            rate: None,
            seed: 0,
            duration_s: 0.0,
            warmup_s: 0.0,
            committed: 0,
            aborted: 0,
            refused: 0,
            unknown: 0,
            late: 0,
            busy: 0,
            retries: 0,
            throughput_tps: 0.0,
            latency_ns: LatencySummary::default(),
            intended_latency_ns: None,
            lag_ns: None,
            open_loop_valid: None,
            frames_sent: 0,
            messages_per_frame: None,
            bytes_per_key: None,
            self_check: "not run".to_owned(),
            counters: BTreeMap::new(),
            environment,
            warnings: Vec::new(),
            cross_share: None,
            stamped: 0,
            on_time_ratio: None,
            late_ns: None,
            hold_ns: None,
            agreement_ns: None,
            proposals_per_frame: None,
            per_shard: Vec::new(),
            headroom_ns: 0,
            estimator: String::new(),
            whole_run: WholeRun::default(),
            durability: None,
            arrivals: None,
            rates: None,
            network: None,
            kinds: Vec::new(),
            figures: Map::new(),
        }
    }

    /// Writes the report as JSON, replacing what the file held.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_json(&self, path: &Path) -> Result<(), ReportError> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(path, text).map_err(|source| ReportError::Io { path: path.to_owned(), source })
    }

    /// The run in one line. Latency is the response time where there is one: from the intended
    /// start.
    #[must_use]
    pub fn summary_line(&self) -> String {
        let Self { program, workload, transport, committed, self_check, .. } = self;
        let Self { shards, coordinators, in_flight, batch, throughput_tps, .. } = self;
        let latency = self.intended_latency_ns.as_ref().unwrap_or(&self.latency_ns);
        let [p50, p99, p99_9, max] =
            [latency.p50, latency.p99, latency.p99_9, latency.max].map(fmt_ns_or_dash);
        let loop_kind = match self.rate {
            Some(rate) => format!("open loop at {rate:.0}/s"),
            None => "closed loop".to_owned(),
        };
        let mut line = format!(
            "{program} {workload} over {transport}: {throughput_tps:.0} txn/s, \
             p50 {p50}, p99 {p99}, p99.9 {p99_9}, max {max} \
             ({loop_kind}, {coordinators} coordinators, {shards} shards, {in_flight} in flight, \
             batch {batch}); {committed} committed{}; self-check {self_check}",
            self.failures()
        );
        if self.open_loop_valid == Some(false) {
            line.push_str("; INVALID: the generator lagged behind its schedule");
        }
        if !self.warnings.is_empty() {
            line.push_str(&format!("; warnings: {}", self.warnings.len()));
        }
        line
    }

    /// Outcomes other than commits, each with a comma before it; nothing when there were none.
    fn failures(&self) -> String {
        let unknown = ("unknown (whole run)", self.unknown);
        [("aborted", self.aborted), ("refused", self.refused), unknown]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!(", {count} {name}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p99(ns: Option<u64>) -> LatencySummary {
        LatencySummary { p99: ns, ..LatencySummary::default() }
    }

    fn environment() -> Environment {
        Environment {
            git_commit: Some("0123abc".to_owned()),
            version: "0.1.0".to_owned(),
            config_hash: None,
            cpu_model: "a processor".to_owned(),
            kernel: "Linux 6.1".to_owned(),
            cores: Cores { shards: vec![1], coordinators: vec![0], prober: None },
            pinned: true,
            idle: "backoff".to_owned(),
            backend: "threads".to_owned(),
            transport: "ring".to_owned(),
            isolated: Vec::new(),
            debug_build: false,
            command: vec!["punctual".to_owned(), "bench".to_owned()],
        }
    }

    /// A closed loop.
    fn report() -> Report {
        Report {
            schema: SCHEMA,
            program: "bench micro".to_owned(),
            workload: "transfer".to_owned(),
            transport: "ring".to_owned(),
            shards: 2,
            coordinators: 3,
            in_flight: 64,
            parameters: crate::workload::map_of(serde_json::json!({ "keys": 9, "ops": 4 })),
            description: "4 ops on 9 keys".to_owned(),
            batch: 16,
            rate: None,
            seed: 1,
            duration_s: 10.0,
            warmup_s: 2.5,
            committed: 12_345_678,
            aborted: 0,
            refused: 5,
            unknown: 0,
            late: 3,
            busy: 2,
            retries: 5,
            throughput_tps: 1_234_567.8,
            latency_ns: LatencySummary {
                mean: Some(13_000.5),
                p50: Some(12_300),
                p99: Some(45_600),
                max: Some(1_200_000),
                samples: 2_000,
                ..LatencySummary::default()
            },
            intended_latency_ns: None,
            lag_ns: None,
            open_loop_valid: None,
            frames_sent: 77,
            messages_per_frame: Some(15.5),
            bytes_per_key: None,
            self_check: "ok".to_owned(),
            counters: BTreeMap::from([("stalls".to_owned(), 9)]),
            environment: environment(),
            warnings: Vec::new(),
            cross_share: Some(0.498),
            stamped: 6_000_000,
            on_time_ratio: Some(0.999),
            late_ns: Some(p99(Some(80_000))),
            hold_ns: Some(p99(Some(210_000))),
            agreement_ns: None,
            proposals_per_frame: Some(7.5),
            per_shard: vec![ShardFigures { shard: 1, committed: 5, ..ShardFigures::default() }],
            headroom_ns: 100_000,
            estimator: "window-percentile".to_owned(),
            whole_run: WholeRun { submitted: 9, committed: 8, unknown: 1, ..WholeRun::default() },
            durability: Some(journal()),
            arrivals: None,
            rates: None,
            network: None,
            kinds: Vec::new(),
            figures: Map::new(),
        }
    }

    fn journal() -> JournalFigures {
        let self_check = "ok".to_owned();
        let recovery = RecoveryFigures { recover_s: 0.5, self_check, ..RecoveryFigures::default() };
        JournalFigures {
            mode: "journal".to_owned(),
            dir: "a/journal".to_owned(),
            backend: "auto".to_owned(),
            bytes: 4096,
            bytes_per_s: 409.6,
            bytes_per_transaction: Some(128.0),
            writes: 1,
            write_mean_us: Some(130.5),
            write_max_us: 2_000.0,
            snapshots: 0,
            lag_max_us: 900.0,
            within_us: None,
            recovery: Some(recovery),
        }
    }

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("run.json");
        report().write_json(&path).expect("a report");
        let text = fs::read_to_string(&path).expect("the file");
        assert!(text.ends_with("}\n"));
        assert_eq!(serde_json::from_str::<Report>(&text).expect("valid JSON"), report());
    }

    #[test]
    fn fields_come_in_the_documented_order() {
        let text = serde_json::to_string(&report()).expect("a report is JSON");
        let fields = "schema program workload transport shards coordinators in_flight keys ops \
            description batch rate seed duration_s warmup_s committed aborted refused \
            unknown late busy retries throughput_tps latency_ns intended_latency_ns lag_ns \
            open_loop_valid frames_sent messages_per_frame bytes_per_key self_check counters \
            environment warnings cross_share stamped on_time_ratio late_ns hold_ns \
            agreement_ns proposals_per_frame per_shard headroom_ns estimator whole_run durability \
            arrivals rates network kinds figures";
        let mut rest = text.as_str();
        for field in fields.split_whitespace() {
            let (_, after) = rest
                .split_once(&format!("\"{field}\":"))
                .unwrap_or_else(|| panic!("{field} is missing or out of order in {text}"));
            rest = after;
        }
    }

    #[test]
    fn what_does_not_apply_is_null_and_not_left_out() {
        let json = serde_json::to_value(report()).expect("a report is JSON");
        let fields = ["rate", "intended_latency_ns", "lag_ns", "open_loop_valid", "bytes_per_key"];
        for field in fields.into_iter().chain(["agreement_ns"]) {
            assert!(json.get(field).is_some_and(serde_json::Value::is_null), "{field}");
        }
    }

    #[test]
    fn an_open_loop_is_valid_up_to_a_lag_of_a_tenth() {
        let valid = |lag, response| open_loop_valid(&p99(lag), &p99(response));
        assert_eq!(valid(Some(1_000), Some(10_000)), Some(true));
        assert_eq!(valid(Some(1_001), Some(10_000)), Some(false));
        assert_eq!(valid(Some(u64::MAX), Some(10_000)), Some(false));
        assert_eq!(valid(None, Some(10_000)), None);
        assert_eq!(valid(Some(1), None), None);
    }

    #[test]
    fn the_line_of_a_closed_loop_states_its_conditions() {
        assert_eq!(
            report().summary_line(),
            "bench micro transfer over ring: 1234568 txn/s, p50 12.3 us, p99 45.6 us, p99.9 -, \
             max 1.20 ms (closed loop, 3 coordinators, 2 shards, 64 in flight, batch 16); \
             12345678 committed, 5 refused; self-check ok"
        );
    }

    #[test]
    fn the_line_of_an_open_loop_shows_response_times_and_says_when_it_is_invalid() {
        let mut report = report();
        report.rate = Some(50_000.0);
        report.intended_latency_ns = Some(p99(Some(99_000)));
        report.open_loop_valid = Some(false);
        report.warnings = vec!["agents are not pinned".to_owned()];
        let line = report.summary_line();
        assert!(line.contains("p99 99.0 us"), "{line}");
        assert!(line.contains("(open loop at 50000/s,"), "{line}");
        assert!(line.ends_with("INVALID: the generator lagged behind its schedule; warnings: 1"));
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named_in_the_error() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let error = report().write_json(&dir.path().join("missing/run.json")).expect_err("no dir");
        assert!(error.to_string().contains("missing/run.json"), "{error}");
    }
}
