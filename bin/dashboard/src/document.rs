//! The summary as JSON: what the page is made of, and what programs read.

use crate::documents::{CountsDocument, WorkerDocument};
use crate::farm::{Farm, Rates, Spread};
use crate::look::now_ns;
use crate::snapshot::{Block, BlockKind, EVENT_END, EVENT_START, Snapshot};
use axum::body::Bytes;
use punctual_runtime::tasks::OwnedJob;
use punctual_runtime::{Counter, Nanos, ProbeRow};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Version of the document; it changes when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;
/// Jobs and workers of a summary; their numbers are those of all.
pub(crate) const JOBS_MAX: usize = 100;
pub(crate) const WORKERS_MAX: usize = 200;

/// What does not change while a dashboard runs.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) title: String,
    pub(crate) started_ns: i64,
}

impl About {
    pub(crate) fn new(title: String) -> Self {
        Self { title, started_ns: now_ns() }
    }
}

/// Everything at one moment. Times end in `_ns` and are nanoseconds, moments since 1970.
#[derive(Serialize)]
struct Summary<'a> {
    schema: u32,
    program: &'static str,
    version: &'static str,
    title: &'a str,
    started_ns: i64,
    now_ns: i64,
    /// `null` where there is no task queue.
    tasks: Option<TasksDocument<'a>>,
    /// `null` where no shard and no coordinator is.
    engine: Option<EngineDocument>,
    blocks: Vec<BlockDocument<'a>>,
    delays: Vec<DelayDocument>,
}

#[derive(Serialize)]
struct TasksDocument<'a> {
    /// Why the queue does not answer; then there is nothing else.
    error: Option<&'a str>,
    #[serde(flatten)]
    farm: Option<FarmDocument<'a>>,
}

#[derive(Serialize)]
struct FarmDocument<'a> {
    total: u64,
    unfinished: u64,
    counts: CountsDocument,
    /// Tasks a second over the last second, and over ten.
    rates_1s: RatesDocument,
    rates_10s: RatesDocument,
    run_ns: Option<u64>,
    wait_ns: Option<u64>,
    /// Of the last ten seconds; `null` if there was none, or it is not known.
    waits_10s: Option<SpreadDocument>,
    leases_10s: Option<SpreadDocument>,
    jobs: Vec<JobDocument<'a>>,
    jobs_total: usize,
    workers: Vec<WorkerDocument>,
    workers_total: usize,
}

#[derive(Serialize)]
struct RatesDocument {
    submitted: Option<f64>,
    done: Option<f64>,
    failed: Option<f64>,
}

/// How long something took.
#[derive(Serialize)]
struct SpreadDocument {
    count: u64,
    p50_ns: u64,
    p90_ns: u64,
    p99_ns: u64,
}

#[derive(Serialize)]
struct JobDocument<'a> {
    id: u32,
    name: Cow<'a, str>,
    opened_ns: i64,
    tasks: u64,
    counts: CountsDocument,
}

/// All coordinators of the process together, or all shards where there is no coordinator.
#[derive(Serialize)]
struct EngineDocument {
    rate_1s: Option<f64>,
    in_flight: u64,
    /// How long a transaction takes on average: in flight by rate (Little's law).
    latency_ns: Option<u64>,
}

#[derive(Serialize)]
struct BlockDocument<'a> {
    name: &'a str,
    kind: &'static str,
    rate_1s: Option<f64>,
    /// Those that are not zero.
    counters: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct DelayDocument {
    shard: u16,
    is_up: bool,
    estimate_ns: i64,
    min_ns: Option<i64>,
    p50_ns: Option<i64>,
    p99_ns: Option<i64>,
    rtt_min_ns: Option<i64>,
    samples: u64,
    sent: u64,
    lost: u64,
    late: u64,
}

/// The summary as a message of an event stream.
pub(crate) fn event(about: &About, snapshot: &Snapshot) -> Bytes {
    let summary = summary(about, snapshot);
    let mut text = EVENT_START.as_bytes().to_vec();
    if let Err(error) = serde_json::to_writer(&mut text, &summary) {
        // It is made of numbers and texts; neither can be refused.
        tracing::error!(%error, "the summary cannot be written");
    }
    text.extend_from_slice(EVENT_END.as_bytes());
    text.into()
}

fn summary<'a>(about: &'a About, snapshot: &'a Snapshot) -> Summary<'a> {
    let tasks = snapshot.farm.as_ref().map(|farm| TasksDocument {
        error: farm.as_ref().err().map(String::as_str),
        farm: farm.as_ref().ok().map(farm_document),
    });
    Summary {
        schema: SCHEMA,
        program: "dashboard",
        version: env!("CARGO_PKG_VERSION"),
        title: &about.title,
        started_ns: about.started_ns,
        now_ns: snapshot.now_ns,
        tasks,
        engine: engine_document(snapshot),
        blocks: snapshot.blocks.iter().map(block_document).collect(),
        delays: snapshot.delays.iter().map(delay_document).collect(),
    }
}

fn farm_document(farm: &Farm) -> FarmDocument<'_> {
    FarmDocument {
        total: farm.counts.total(),
        unfinished: farm.counts.unfinished(),
        counts: (&farm.counts).into(),
        rates_1s: rates_document(&farm.rates[0]),
        rates_10s: rates_document(&farm.rates[1]),
        run_ns: farm.run_ns,
        wait_ns: farm.wait_ns,
        waits_10s: farm.waits.as_ref().map(spread_document),
        leases_10s: farm.leases.as_ref().map(spread_document),
        jobs: farm.foremost_jobs(JOBS_MAX).into_iter().map(job_document).collect(),
        jobs_total: farm.jobs.len(),
        workers: farm.workers.iter().take(WORKERS_MAX).map(WorkerDocument::from).collect(),
        workers_total: farm.workers.len(),
    }
}

fn rates_document(rates: &Rates) -> RatesDocument {
    RatesDocument {
        submitted: rates.submitted.map(rounded),
        done: rates.done.map(rounded),
        failed: rates.failed.map(rounded),
    }
}

fn spread_document(spread: &Spread) -> SpreadDocument {
    let Spread { count, p50_ns, p90_ns, p99_ns } = *spread;
    SpreadDocument { count, p50_ns, p90_ns, p99_ns }
}

/// No more digits than mean anything.
fn rounded(rate: f64) -> f64 {
    (rate * 100.0).round() / 100.0
}

fn job_document(job: &OwnedJob) -> JobDocument<'_> {
    JobDocument {
        id: job.job.0,
        name: String::from_utf8_lossy(&job.name),
        opened_ns: job.opened,
        tasks: job.counts.total(),
        counts: (&job.counts).into(),
    }
}

fn engine_document(snapshot: &Snapshot) -> Option<EngineDocument> {
    let of = |kind| -> Vec<&Block> { snapshot.blocks_of(kind).collect() };
    let (shards, coordinators) = (of(BlockKind::Shard), of(BlockKind::Coordinator));
    // A transaction on several shards is counted by each of them, but by one coordinator.
    let counted = if coordinators.is_empty() { &shards } else { &coordinators };
    if counted.is_empty() {
        return None;
    }
    let rate: Option<f64> = counted.iter().map(|block| block.rate).sum();
    let in_flight: u64 = coordinators.iter().map(|block| block.get(Counter::InFlight)).sum();
    let latency = rate.filter(|rate| *rate > 0.0 && in_flight > 0);
    let latency_ns = latency.map(|rate| (in_flight as f64 / rate * 1e9) as u64);
    Some(EngineDocument { rate_1s: rate.map(rounded), in_flight, latency_ns })
}

fn block_document(block: &Block) -> BlockDocument<'_> {
    let counters = block.values.iter().filter(|(_, value)| *value > 0);
    BlockDocument {
        name: &block.name,
        kind: block.kind.name(),
        rate_1s: block.rate.map(rounded),
        counters: counters.map(|(counter, value)| (counter.name(), *value)).collect(),
    }
}

fn delay_document(row: &ProbeRow) -> DelayDocument {
    let ns = |time: Option<Nanos>| time.map(|time| time.0);
    DelayDocument {
        shard: row.shard.0,
        is_up: row.is_up,
        estimate_ns: row.estimate.0,
        min_ns: ns(row.min),
        p50_ns: ns(row.p50),
        p99_ns: ns(row.p99),
        rtt_min_ns: ns(row.rtt_min),
        samples: row.samples,
        sent: row.sent,
        lost: row.lost,
        late: row.late,
    }
}
