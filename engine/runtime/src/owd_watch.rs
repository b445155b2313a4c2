//! Watching the ways to the shards of a cluster, without an engine.

use crate::agent::Agent;
use crate::backend::{self, CoreThread};
use crate::config::{Backend, Config, IdleStrategy, Member};
use crate::core_loop::{CoreLoop, IdlePlan};
use crate::counters::{Counter, CounterBlock};
use crate::driver::LinkEvent;
use crate::engine::{self, Engine, EngineError};
use crate::links::{Route, ShardLinks};
use crate::network::{Network, NetworkThread};
use crate::prober::{Audience, ProberAgent, ProberStop, RowsQueue, Watched};
use crate::{Clock, Nanos, ShardId};
use flume::Receiver;
use punctual_core::{ProbeRow, ProbeSample, Procedures};
use punctual_link::Parker;
use punctual_wire::Role;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

/// Samples that may wait to be taken.
const SAMPLES_MAX: usize = 1 << 16;
/// Changes of links that may wait to be taken.
const EVENTS_MAX: usize = 1024;

/// A prober on a thread of its own, which shows all that it finds out. Dropping it tells the thread
/// to stop, but does not wait for it.
pub struct OwdWatch {
    samples: Receiver<ProbeSample>,
    events: Receiver<(ShardId, LinkEvent)>,
    newest: Arc<RowsQueue>,
    /// The rows that were asked for last. Only those who ask lock it.
    rows: Mutex<Vec<ProbeRow>>,
    block: Arc<CounterBlock>,
    stop: ProberStop,
    thread: Option<CoreThread>,
    network: Option<NetworkThread>,
}

impl OwdWatch {
    /// Starts to probe all shards of a configuration that have these procedures, which may be none.
    /// Shards that are not there are tried again and hold up nothing.
    ///
    /// # Errors
    /// When the configuration is wrong, an address cannot be resolved or the thread does not start.
    pub fn connect(config: &Config, procedures: &Procedures) -> Result<Self, EngineError> {
        config.validate()?;
        let endpoint = |shard| Engine::endpoint_of(config, shard).map(Route::Socket);
        let routes: Vec<Route> =
            (0..config.cluster.shards).map(endpoint).collect::<Result<_, _>>()?;
        let core = config.process.placement.prober;
        let allowed = crate::host::allowed_cores();
        if let Some(core) = core.filter(|core| !allowed.contains(core)) {
            return Err(EngineError::CoreNotAllowed { who: "prober", core, allowed });
        }
        let failed = |error: std::io::Error| EngineError::Spawn {
            name: "prober".to_owned(),
            why: error.to_string(),
        };
        let identity = engine::identity(&config.cluster, procedures, true);
        let settings = engine::link_settings(config, identity, Role::Prober);
        let mut links = ShardLinks::new(routes, settings);
        let network = Network::new(config.process.network.as_ref(), &allowed)?;
        if let Some(network) = &network {
            links.set_network(network.agent(Member::Prober, config.cluster.shards));
        }
        let network = network.map(Network::start).transpose()?;
        let clock = Clock::new(config.cluster.clock.resolve(&config.cluster.addresses));
        let (samples_sender, samples) = flume::bounded(SAMPLES_MAX);
        let (events_sender, events) = flume::bounded(EVENTS_MAX);
        let newest = Arc::new(RowsQueue::new(1));
        let watched = Watched {
            samples: samples_sender,
            events: events_sender,
            rows: Arc::clone(&newest),
            rows_at: Nanos(i64::MIN),
        };
        let audience = Audience { watched: Some(watched), ..Audience::default() };
        let flag = Arc::new(AtomicBool::new(false));
        let prober = engine::prober_config(config);
        let agent = ProberAgent::new(prober, links, clock, audience, Arc::clone(&flag));
        let parker = Parker::new().map_err(failed)?;
        let stop = ProberStop { flag, core: Arc::clone(parker.handle().waker()) };
        let block = agent.counters();
        let idle = IdlePlan { strategy: IdleStrategy::Park, overprovisioned: true };
        let of_core = CounterBlock::new("core".to_owned());
        let core_loop = CoreLoop::new(vec![Box::new(agent)], clock, parker, idle, of_core);
        let thread = backend::spawn(Backend::Threads, "prober".to_owned(), core, core_loop)?;
        // A thread that dies at once leaves its channels closed, and says why when it is joined.
        thread.wait_started();
        let (rows, thread) = (Mutex::new(Vec::new()), Some(thread));
        Ok(Self { samples, events, newest, rows, block, stop, thread, network })
    }

    /// The latest rows, one a shard.
    #[must_use]
    pub fn rows(&self) -> Vec<ProbeRow> {
        // Whoever panicked while it held the lock left whole rows behind.
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = self.newest.pop() {
            *rows = newest;
        }
        rows.clone()
    }

    /// Every answer to a probe as it came. What finds no room here is dropped and
    /// [counted](Self::samples_dropped).
    #[must_use]
    pub fn samples(&self) -> &Receiver<ProbeSample> {
        &self.samples
    }

    /// What happens to the links.
    #[must_use]
    pub fn events(&self) -> &Receiver<(ShardId, LinkEvent)> {
        &self.events
    }

    /// Samples and events that nobody took in time.
    #[must_use]
    pub fn samples_dropped(&self) -> u64 {
        self.block.get(Counter::SamplesDropped)
    }

    /// Stops probing and waits for the thread.
    pub fn stop(mut self) {
        self.stop.tell();
        if let Some(Err(error)) = self.thread.take().map(CoreThread::join) {
            tracing::warn!(%error, "the prober did not end well");
        }
        if let Some(Err(error)) = self.network.take().map(NetworkThread::stop) {
            tracing::warn!(%error, "the emulated network did not end well");
        }
    }
}

impl Drop for OwdWatch {
    fn drop(&mut self) {
        self.stop.tell();
    }
}

impl std::fmt::Debug for OwdWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwdWatch").field("rows", &self.rows).finish_non_exhaustive()
    }
}
