//! Procedures and their times. They run as on any shard; what they cost is looked up by their name
//! in the service model, since nobody sees how much they do inside.

use super::clerk::Clerk;
use super::config::{SimBenchConfig, SimBenchError};
use super::service::{ServiceModel, picoseconds};
use super::shard::ShardNode;
use super::source::Sources;
use super::world::LOADED_FROM;
use punctual_core::{MemoryHooks, Procedure, ProcedureContext, Procedures, SessionId, Verdict};
use punctual_load::workload::Workload;
use punctual_wire::Limits;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

/// What procedures have cost since it was last read, in picoseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter(Arc<AtomicI64>);

impl Meter {
    /// Reads it and sets it back.
    pub(super) fn take(&self) -> i64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// A procedure that says on the meter what it has cost.
struct Priced {
    all: Arc<Procedures>,
    id: u16,
    cost_ps: i64,
    meter: Meter,
    calls: Arc<AtomicU64>,
}

impl Procedure for Priced {
    fn run(&self, context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
        self.meter.0.fetch_add(self.cost_ps, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        call(&self.all, self.id, context, args)
    }
}

/// Calls one that is registered.
fn call(all: &Procedures, id: u16, context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    let procedure = all.get(id).expect("it was registered under this id");
    procedure.run(context, args)
}

/// The procedures of a run.
#[derive(Debug)]
pub(super) struct PriceList {
    pub(super) procedures: Arc<Procedures>,
    pub(super) meter: Meter,
    /// Those of which the model does not know what they cost, and how often they were called.
    unknown: Vec<(String, Arc<AtomicU64>)>,
}

impl PriceList {
    /// These procedures, at the costs of a model.
    pub(super) fn new(procedures: Procedures, model: &ServiceModel) -> Self {
        let (all, meter) = (Arc::new(procedures), Meter::default());
        let (mut priced, mut unknown) = (Procedures::new(), Vec::new());
        for (id, name) in all.names() {
            let calls = Arc::new(AtomicU64::new(0));
            let known = model.procedures.get(name);
            if known.is_none() {
                unknown.push((name.to_owned(), Arc::clone(&calls)));
            }
            let cost_ps = picoseconds(*known.unwrap_or(&model.call_ns));
            let one = Priced { all: Arc::clone(&all), id, cost_ps, meter: meter.clone(), calls };
            priced.register(id, name, one).expect("their ids differ");
        }
        Self { procedures: Arc::new(priced), meter, unknown }
    }

    /// Forgets the calls so far.
    pub(super) fn forget_calls(&self) {
        self.unknown.iter().for_each(|(_, calls)| calls.store(0, Ordering::Relaxed));
    }

    /// Says which procedures were called whose time is not known, if there are any.
    pub(super) fn warning(&self, model: &ServiceModel) -> Option<String> {
        let called = self.unknown.iter().filter(|(_, calls)| calls.load(Ordering::Relaxed) > 0);
        let names: Vec<&str> = called.map(|(name, _)| name.as_str()).collect();
        let call_ns = model.call_ns;
        (!names.is_empty()).then(|| {
            format!(
                "the service model has no time for {}: each call is taken for {call_ns} ns",
                names.join(", ")
            )
        })
    }
}

/// How long a procedure takes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcedureTime {
    /// Times it was called.
    pub calls: u64,
    /// How long one call took on average.
    pub mean_ns: f64,
}

/// A procedure that is timed.
struct Timed {
    all: Arc<Procedures>,
    id: u16,
    tally: Arc<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    calls: AtomicU64,
    spent_ns: AtomicU64,
}

impl Procedure for Timed {
    fn run(&self, context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
        let start = Instant::now();
        let verdict = call(&self.all, self.id, context, args);
        let spent = start.elapsed();
        self.tally.calls.fetch_add(1, Ordering::Relaxed);
        self.tally.spent_ns.fetch_add(spent.as_nanos() as u64, Ordering::Relaxed);
        verdict
    }
}

/// Measures on this machine how long the procedures of a workload take, in so many of its
/// transactions on the shards of a configuration: for [`ServiceModel::procedures`]. Those that were
/// not called are left out. Reading the clock is part of each time, some tens of nanoseconds.
/// `memory` is that of the engine, for what a procedure needs is mostly memory: without huge pages
/// and prefetches it takes three times as long.
///
/// # Errors
/// When the workload does not fit, or fails.
pub fn time_procedures<W: Workload>(
    config: &SimBenchConfig,
    workload: &W,
    transactions: u64,
    memory: MemoryHooks,
) -> Result<BTreeMap<String, ProcedureTime>, SimBenchError> {
    config.check()?;
    workload.check(config.shards, &Limits::DEFAULT).map_err(SimBenchError::Workload)?;
    let all = Arc::new(workload.procedures());
    let (mut procedures, mut tallies) = (Procedures::new(), Vec::new());
    for (id, name) in all.names() {
        let tally = Arc::new(Tally::default());
        tallies.push((name.to_owned(), Arc::clone(&tally)));
        let timed = Timed { all: Arc::clone(&all), id, tally };
        procedures.register(id, name, timed).expect("their ids differ");
    }
    let (procedures, meter) = (Arc::new(procedures), Meter::default());
    let shard = |id: u16| {
        let session = SessionId(u64::from(id) + 1);
        ShardNode::new(id, session, config, (&procedures, &meter), memory)
    };
    let mut shards: Vec<ShardNode> = (0..config.shards).map(shard).collect();
    let mut clerk = Clerk::new(config, SessionId(0), LOADED_FROM);
    clerk.connect(&mut shards);
    let alone = SimBenchConfig { coordinators: 1, in_flight: 1, ..config.clone() };
    let mut sources = Sources::new(workload, &alone);
    for generator in sources.generators() {
        clerk.load(&mut shards, generator)?;
        for (_, tally) in &tallies {
            tally.calls.store(0, Ordering::Relaxed);
            tally.spent_ns.store(0, Ordering::Relaxed);
        }
        clerk.play(transactions, &mut shards, generator)?;
    }
    let read = |(name, tally): (String, Arc<Tally>)| {
        let calls = tally.calls.load(Ordering::Relaxed);
        let mean_ns = tally.spent_ns.load(Ordering::Relaxed) as f64 / calls.max(1) as f64;
        (name, ProcedureTime { calls, mean_ns })
    };
    Ok(tallies.into_iter().map(read).filter(|(_, time)| time.calls > 0).collect())
}
