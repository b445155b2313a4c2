//! The engine: shards and coordinator workers of one process, started, counted and stopped
//! together.

use crate::acceptor::{Acceptor, Door};
use crate::agent::Agent;
use crate::backend::{self, CoreThread};
use crate::client::{Client, ClientDriver, Entrance, RequestQueue};
use crate::clock::Clock;
use crate::config::{Address, Backend, Config, ConfigError};
use crate::core_loop::{CoreLoop, IdlePlan};
use crate::counters::{CounterBlock, Counters};
use crate::driver::Driver;
use crate::placement::{self, Agents, Plan};
use crate::shard_agent::{ShardAgent, ShardControl};
use crate::worker::{Route, ShardLinks, Worker, WorkerControl};
use punctual_core::{Coordinator, CoordinatorConfig, Procedures, Shard, ShardConfig, ShardId};
use punctual_link::{CoreWaker, Endpoint, Identity, Link, Listener, Parker, ring_pair};
use punctual_wire::{Features, TxnSequence};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Control messages that may wait for an agent, connections among them.
const CONTROL_MAX: usize = 1024;
/// A piece that met a busy shard waits this long.
const BUSY_BACKOFF: Duration = Duration::from_millis(1);
/// How long the outcomes of a vanished coordinator are kept for its return.
const SESSION_RETENTION: Duration = Duration::from_secs(60);
/// Beyond the deadline of their transactions, how long stopping workers are waited for.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Why the engine cannot start or did not end well.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A core outside the allowed mask.
    #[error(
        "core {core} in placement.{who} is not allowed; this process may use the cores \
         {allowed:?}: choose among them, or start it with another mask (taskset -c)"
    )]
    CoreNotAllowed {
        /// Which list names it.
        who: &'static str,
        /// The core.
        core: usize,
        /// The allowed ones.
        allowed: Vec<usize>,
    },
    /// An empty list of cores.
    #[error("placement.{who} names no core; give at least one, or \"auto\"")]
    NoCores {
        /// Which list.
        who: &'static str,
    },
    /// An address that is no address.
    #[error("{address} cannot be resolved: {why}")]
    Resolve {
        /// The address.
        address: Address,
        /// What the system said.
        why: String,
    },
    /// A listener that cannot be opened.
    #[error(
        "shard {shard} cannot listen at {endpoint}: {why}; stop what listens there or change its \
         address"
    )]
    Listen {
        /// The shard.
        shard: u16,
        /// Where.
        endpoint: Endpoint,
        /// What the system said.
        why: String,
    },
    /// Shards are to be served or reached, but the configuration has no addresses.
    #[error("the configuration names no shard addresses; set cluster.shards")]
    NoAddresses,
    /// Glommio was asked for and does not start.
    #[error("backend = \"glommio\" cannot start: {why}")]
    Glommio {
        /// What stands against it.
        why: String,
    },
    /// A thread that does not start.
    #[error("the thread {name} cannot start: {why}")]
    Spawn {
        /// The thread.
        name: String,
        /// What the system said.
        why: String,
    },
    /// A thread that died.
    #[error("the thread {name} died: {why}")]
    Died {
        /// The thread.
        name: String,
        /// Its last words.
        why: String,
    },
    /// A worker that does not stop.
    #[error("a coordinator worker did not stop within {0:?}")]
    StopTimeout(Duration),
}

impl EngineError {
    /// Whether the user can mend it by using the program otherwise: bad configuration rather than a
    /// failure at work.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Spawn { .. } | Self::Died { .. } | Self::StopTimeout(_))
    }
}

/// How frames travel inside one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// Through memory.
    #[default]
    Ring,
    /// Over TCP on the loopback interface.
    Tcp,
    /// Over Unix-domain sockets.
    Unix,
}

/// Which part of the cluster runs in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Embedded(Transport),
    Serve,
    Connect,
}

/// What was decided at the start, for reports.
#[derive(Debug, Clone)]
pub struct EngineInfo {
    /// The backend in use.
    pub backend: Backend,
    /// Cores of the shards of this process, in the order of their ids.
    pub shard_cores: Vec<usize>,
    /// Cores of its coordinator workers.
    pub worker_cores: Vec<usize>,
    /// Whether every thread keeps to its core.
    pub pinned: bool,
    /// Whether no core spins because there are too few.
    pub overprovisioned: bool,
    /// Where its shards listen.
    pub endpoints: Vec<(u16, Endpoint)>,
    /// What is not as it should be.
    pub warnings: Vec<String>,
}

/// Prepares an engine. See [`Engine::embedded`], [`Engine::serve`] and [`Engine::connect`].
#[derive(Debug)]
pub struct EngineBuilder {
    config: Config,
    part: Part,
    procedures: Arc<Procedures>,
}

/// A running engine. Dropping it tells everything to stop but does not wait for it; transactions in
/// flight may be cut off. [`stop`](Self::stop) ends it in order.
pub struct Engine {
    info: EngineInfo,
    counters: Counters,
    workers: Vec<(flume::Sender<WorkerControl>, Arc<CoreWaker>)>,
    shards: Vec<(flume::Sender<ShardControl>, Arc<CoreWaker>)>,
    finished: flume::Receiver<()>,
    finished_count: usize,
    acceptor: Option<Acceptor>,
    threads: Vec<CoreThread>,
    deadline: Duration,
}

impl Engine {
    /// An engine with all its shards and coordinator workers in this process.
    #[must_use]
    pub fn embedded(config: Config, transport: Transport) -> EngineBuilder {
        EngineBuilder::new(config, Part::Embedded(transport))
    }

    /// An engine that serves shards to other processes.
    #[must_use]
    pub fn serve(config: Config) -> EngineBuilder {
        EngineBuilder::new(config, Part::Serve)
    }

    /// An engine of coordinator workers that connects to served shards.
    #[must_use]
    pub fn connect(config: Config) -> EngineBuilder {
        EngineBuilder::new(config, Part::Connect)
    }

    /// Where a shard is to be found, its name resolved.
    ///
    /// # Errors
    /// When the configuration names no address for it, or the name cannot be resolved.
    pub fn endpoint_of(config: &Config, shard: u16) -> Result<Endpoint, EngineError> {
        let addresses = &config.cluster.addresses;
        let address = addresses.get(usize::from(shard)).ok_or(EngineError::NoAddresses)?;
        let failed = |why: String| EngineError::Resolve { address: address.clone(), why };
        match address {
            Address::Unix(path) => Ok(Endpoint::Unix(path.clone())),
            Address::Tcp(text) => {
                let mut found =
                    text.to_socket_addrs().map_err(|error| failed(error.to_string()))?;
                let first = found.next().ok_or_else(|| failed("no address found".to_owned()))?;
                Ok(Endpoint::Tcp(first))
            }
        }
    }

    /// What was decided at the start.
    #[must_use]
    pub fn info(&self) -> &EngineInfo {
        &self.info
    }

    /// The counters of all its cores, shards and workers.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether no core has died. One whose agents have all finished has not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.threads.iter().any(CoreThread::has_died)
    }

    /// Asks the workers to stop.
    fn tell_workers(&self) {
        for (control, core) in &self.workers {
            // A worker that has stopped already does not listen any more.
            let _ = control.try_send(WorkerControl::Stop);
            core.wake();
        }
    }

    /// Notes which threads keep to their cores.
    fn note_pins(&mut self) {
        let loose = self.threads.iter().filter(|thread| !thread.is_pinned());
        let warning = |thread: &CoreThread| format!("{} could not be pinned", thread.name());
        let warnings: Vec<String> = loose.map(warning).collect();
        self.info.pinned = warnings.is_empty();
        self.info.warnings.extend(warnings);
    }

    /// Waits until every worker has stopped by itself because its driver finished. False if that
    /// took longer than `timeout`, or a worker died.
    pub fn wait_workers(&mut self, timeout: Duration) -> bool {
        let start = std::time::Instant::now();
        while self.finished_count < self.workers.len() {
            let left = timeout.saturating_sub(start.elapsed());
            if self.finished.recv_timeout(left).is_err() {
                return false;
            }
            self.finished_count += 1;
        }
        true
    }

    /// Stops in order: workers take what is in flight, then shards send their last replies, then
    /// the threads end.
    ///
    /// # Errors
    /// When a thread died, or a worker did not stop in time.
    pub fn stop(mut self) -> Result<(), EngineError> {
        self.tell_workers();
        let timeout = self.deadline + STOP_GRACE;
        let stopped = self.wait_workers(timeout);
        let died = self.finished.is_disconnected() && !stopped;
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.stop();
        }
        for (control, core) in &self.shards {
            // A queue full of connections is emptied soon; one without a shard refuses at once.
            let _ = control.send(ShardControl::Stop);
            core.wake();
        }
        if !stopped && !died {
            return Err(EngineError::StopTimeout(timeout));
        }
        let threads = std::mem::take(&mut self.threads);
        threads.into_iter().map(CoreThread::join).fold(Ok(()), Result::and)
    }
}

impl Drop for Engine {
    /// Nothing happens to those that have stopped already.
    fn drop(&mut self) {
        self.tell_workers();
        for (control, core) in &self.shards {
            let _ = control.try_send(ShardControl::Stop);
            core.wake();
        }
    }
}

impl EngineBuilder {
    fn new(config: Config, part: Part) -> Self {
        Self { config, part, procedures: Arc::default() }
    }

    /// Registers procedures. They must be the same, under the same ids and names, on every member.
    #[must_use]
    pub fn procedures(mut self, procedures: Procedures) -> Self {
        self.procedures = Arc::new(procedures);
        self
    }

    /// Starts the engine with a client for the threads of this program.
    ///
    /// # Errors
    /// When the configuration or the machine does not allow it; the message says what to do.
    pub fn start(self) -> Result<(Engine, Client), EngineError> {
        let process = &self.config.process;
        let (in_flight, deadline) = (process.in_flight, process.deadline);
        let (shards, limits) = (self.config.cluster.shards, self.config.cluster.limits);
        let queues: Vec<_> = (0..process.coordinators).map(|_| RequestQueue::new()).collect();
        let drivers = queues
            .iter()
            .map(|queue| ClientDriver::new(Arc::clone(queue), shards, in_flight, deadline))
            .collect();
        let engine = self.start_with(drivers)?;
        let entrances = queues
            .into_iter()
            .zip(&engine.workers)
            .map(|(queue, worker)| Entrance { queue, core: Arc::clone(&worker.1) });
        let client = Client::new(entrances.collect(), shards, limits);
        Ok((engine, client))
    }

    /// Starts the shards of a serving engine.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_shards(self) -> Result<Engine, EngineError> {
        self.start_with::<ClientDriver>(Vec::new())
    }

    /// Starts the engine with a driver for each coordinator worker, which runs on the worker's own
    /// core.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with<D: Driver>(self, drivers: Vec<D>) -> Result<Engine, EngineError> {
        self.config.validate()?;
        Assembly::new(self, !drivers.is_empty())?.build(drivers)
    }
}

/// The agents of one core, before it starts.
struct CoreDraft {
    agents: Vec<Box<dyn Agent>>,
    parker: Parker,
}

/// An engine being put together.
struct Assembly {
    config: Config,
    part: Part,
    procedures: Arc<Procedures>,
    plan: Plan,
    backend: Backend,
    idle: IdlePlan,
    clock: Clock,
    identity: Identity,
    warnings: Vec<String>,
    cores: BTreeMap<usize, CoreDraft>,
}

impl Assembly {
    fn new(builder: EngineBuilder, workers_here: bool) -> Result<Self, EngineError> {
        let EngineBuilder { config, part, procedures } = builder;
        let (cluster, process) = (&config.cluster, &config.process);
        // The mask is read before anything is pinned.
        let allowed = crate::host::allowed_cores();
        let agents = Agents {
            shards: cluster.shards.into(),
            workers: process.coordinators.into(),
            shards_here: part != Part::Connect,
            workers_here,
        };
        let plan = placement::plan(&process.placement, &allowed, agents)?;
        let (backend, warning) = backend::choose(process.backend)?;
        let mut warnings: Vec<String> = warning.into_iter().collect();
        let mut used: Vec<usize> = plan.shards.iter().chain(&plan.workers).copied().collect();
        used.sort_unstable();
        used.dedup();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let overprovisioned = process.overprovisioned.unwrap_or(used.len() > cores);
        if overprovisioned {
            warnings.push("overprovisioned: no core spins while it waits".to_owned());
        }
        if cfg!(debug_assertions) {
            warnings.push("debug build: figures mean nothing; use --release".to_owned());
        }
        let checksum = cluster.checksum && part != Part::Embedded(Transport::Ring);
        let identity = Identity {
            session: 0,
            cluster: cluster_hash(cluster.hash(), &procedures),
            features: if checksum { Features::CHECKSUM } else { Features::default() },
        };
        let clock = Clock::new(cluster.clock.resolve(&cluster.addresses));
        let idle = IdlePlan { strategy: process.idle, overprovisioned };
        let cores = BTreeMap::new();
        Ok(Self { plan, backend, idle, clock, identity, warnings, cores, config, part, procedures })
    }

    fn build<D: Driver>(mut self, drivers: Vec<D>) -> Result<Engine, EngineError> {
        let served = self.served();
        let mut doors = Vec::new();
        let mut shards = Vec::new();
        let mut endpoints = Vec::new();
        for &shard in &served {
            let (control, receiver) = flume::bounded(CONTROL_MAX);
            let agent = self.shard_agent(shard, receiver);
            let core = self.place(self.plan.shards[usize::from(shard)], Box::new(agent))?;
            if let Some(listener) = self.listener(shard)? {
                if let Ok(endpoint) = listener.endpoint() {
                    endpoints.push((shard, endpoint));
                }
                let (control, core) = (control.clone(), Arc::clone(&core));
                doors.push(Door { shard, listener, control, core });
            }
            shards.push((control, core));
        }
        let (finished_sender, finished) = flume::bounded(drivers.len().max(1));
        let mut workers = Vec::new();
        for (index, driver) in drivers.into_iter().enumerate() {
            let routes = self.routes(&shards, &endpoints)?;
            let (control, receiver) = flume::bounded(CONTROL_MAX);
            let worker = self.worker(index, driver, routes, receiver, finished_sender.clone());
            let at = self.plan.workers[index % self.plan.workers.len()];
            workers.push((control, self.place(at, Box::new(worker))?));
        }
        drop(finished_sender);
        let info = EngineInfo {
            backend: self.backend,
            shard_cores: served.iter().map(|at| self.plan.shards[usize::from(*at)]).collect(),
            worker_cores: self.plan.workers.iter().copied().take(workers.len()).collect(),
            pinned: false,
            overprovisioned: self.idle.overprovisioned,
            endpoints,
            warnings: std::mem::take(&mut self.warnings),
        };
        // What waits for its shard may be sent at the end of its deadline and have another one.
        let deadline = self.config.process.deadline * 2 + self.config.process.request_timeout;
        // An error from here on drops the engine, which stops what has started already.
        let mut engine = Engine {
            info,
            counters: Counters::default(),
            workers,
            shards,
            finished,
            finished_count: 0,
            acceptor: None,
            threads: Vec::new(),
            deadline,
        };
        engine.counters = self.spawn(&mut engine.threads)?;
        engine.note_pins();
        if !doors.is_empty() {
            engine.acceptor = Some(Acceptor::start(doors)?);
        }
        Ok(engine)
    }

    /// The shards of this process.
    fn served(&self) -> Vec<u16> {
        let all = || (0..self.config.cluster.shards).collect();
        match self.part {
            Part::Connect => Vec::new(),
            Part::Embedded(_) => all(),
            Part::Serve => self.config.process.serve.clone().unwrap_or_else(all),
        }
    }

    fn shard_agent(&self, shard: u16, control: flume::Receiver<ShardControl>) -> ShardAgent {
        let (cluster, process) = (&self.config.cluster, &self.config.process);
        let config = ShardConfig {
            id: ShardId(shard),
            shards: cluster.shards,
            limits: cluster.limits,
            sessions_max: process.sessions_max,
            slots_max: TxnSequence::SLOTS_MAX,
            session_retention: SESSION_RETENTION,
            store_bytes_max: process.store_bytes_max,
            seed: random(),
            memory: crate::sys::memory_hooks(),
        };
        let shard = Shard::new(config, Arc::clone(&self.procedures));
        let identity = Identity { session: random(), ..self.identity };
        let sessions_max = process.sessions_max;
        ShardAgent::new(shard, self.clock, cluster.limits, identity, sessions_max, control)
    }

    fn worker<D: Driver>(
        &self,
        index: usize,
        driver: D,
        routes: Vec<Route>,
        control: flume::Receiver<WorkerControl>,
        finished: flume::Sender<()>,
    ) -> Worker<D> {
        let (cluster, process) = (&self.config.cluster, &self.config.process);
        let coordinator = Coordinator::new(CoordinatorConfig {
            shards: cluster.shards,
            limits: cluster.limits,
            in_flight_max: process.in_flight,
            request_timeout: process.request_timeout,
            deadline: process.deadline,
            busy_backoff: BUSY_BACKOFF,
        });
        let identity = Identity { session: random(), ..self.identity };
        let links = ShardLinks::new(
            routes,
            cluster.limits,
            process.batch,
            identity,
            process.in_flight,
            process.connect_timeout,
        );
        Worker::new(index, coordinator, driver, links, self.clock, control, finished)
    }

    /// Where a shard of this process listens, if it does.
    fn listener(&self, shard: u16) -> Result<Option<Listener>, EngineError> {
        let endpoint = match self.part {
            Part::Connect | Part::Embedded(Transport::Ring) => return Ok(None),
            Part::Embedded(Transport::Tcp) => Endpoint::Tcp(([127, 0, 0, 1], 0).into()),
            Part::Embedded(Transport::Unix) => Endpoint::Unix(private_socket(shard)),
            Part::Serve => self.endpoint_of(shard)?,
        };
        let batch = self.config.process.batch;
        match Listener::bind(&endpoint, self.config.cluster.limits, batch) {
            Ok(listener) => Ok(Some(listener)),
            Err(error) => Err(EngineError::Listen { shard, endpoint, why: error.to_string() }),
        }
    }

    fn endpoint_of(&self, shard: u16) -> Result<Endpoint, EngineError> {
        Engine::endpoint_of(&self.config, shard)
    }

    /// How one worker reaches every shard.
    fn routes(
        &self,
        shards: &[(flume::Sender<ShardControl>, Arc<CoreWaker>)],
        endpoints: &[(u16, Endpoint)],
    ) -> Result<Vec<Route>, EngineError> {
        if self.part == Part::Embedded(Transport::Ring) {
            let ring = |(control, _): &(flume::Sender<ShardControl>, _)| {
                let batch = self.config.process.batch;
                let (here, there) = ring_pair(self.config.cluster.limits, batch);
                // The queue has room for as many connections as there may be workers.
                let attached = control.try_send(ShardControl::Attach(Box::new(there)));
                Route::Ring(attached.is_ok().then(|| Box::new(here) as Box<dyn Link>))
            };
            return Ok(shards.iter().map(ring).collect());
        }
        let endpoint = |shard| match endpoints.iter().find(|(id, _)| *id == shard) {
            Some((_, endpoint)) => Ok(endpoint.clone()),
            None => self.endpoint_of(shard),
        };
        (0..self.config.cluster.shards).map(|shard| endpoint(shard).map(Route::Socket)).collect()
    }

    /// Puts an agent on a core; the waker of that core.
    fn place(&mut self, core: usize, agent: Box<dyn Agent>) -> Result<Arc<CoreWaker>, EngineError> {
        let draft = match self.cores.entry(core) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let parker = Parker::new().map_err(|error| EngineError::Spawn {
                    name: format!("core{core}"),
                    why: error.to_string(),
                })?;
                entry.insert(CoreDraft { agents: Vec::new(), parker })
            }
        };
        draft.agents.push(agent);
        Ok(Arc::clone(draft.parker.handle().waker()))
    }

    /// Starts all cores and waits until they run.
    fn spawn(self, threads: &mut Vec<CoreThread>) -> Result<Counters, EngineError> {
        let mut blocks = Vec::new();
        for (core, draft) in self.cores {
            let name = format!("core{core}");
            blocks.extend(draft.agents.iter().map(|agent| agent.counters()));
            let block = CounterBlock::new(name.clone());
            blocks.push(Arc::clone(&block));
            let CoreDraft { agents, parker } = draft;
            let core_loop = CoreLoop::new(agents, self.clock, parker, self.idle, block);
            threads.push(backend::spawn(self.backend, name, Some(core), core_loop)?);
        }
        if let Some(at) = threads.iter().position(|thread| !thread.wait_started()) {
            let thread = threads.swap_remove(at);
            let name = thread.name().to_owned();
            thread.join()?;
            let why = "it ended before its first turn".to_owned();
            return Err(EngineError::Died { name, why });
        }
        Ok(Counters::new(blocks))
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("info", &self.info).finish_non_exhaustive()
    }
}

/// The hash that all members must share: their configuration and their procedures.
fn cluster_hash(config: u64, procedures: &Procedures) -> u64 {
    procedures
        .names()
        .fold(config, |hash, (id, name)| xxh3_64_with_seed(format!("{id}={name}").as_bytes(), hash))
}

/// A number from the operating system's randomness.
fn random() -> u64 {
    RandomState::new().hash_one(std::time::SystemTime::now())
}

/// A socket file that no other process uses.
fn private_socket(shard: u16) -> PathBuf {
    let name = format!("punctual-{}-{:08x}-{shard}.sock", std::process::id(), random() >> 32);
    std::env::temp_dir().join(name)
}
