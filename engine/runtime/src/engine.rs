//! The engine: shards and coordinator workers of one process, started, counted and stopped
//! together.

mod assembly;

use crate::acceptor::Acceptor;
use crate::backend::CoreThread;
use crate::client::{Client, ClientDriver, Entrance, RequestQueue};
use crate::config::{Address, Backend, Config, ConfigError};
use crate::counters::Counters;
use crate::driver::Driver;
use crate::journal::{JournalError, RecoveryReport};
use crate::network::{NetworkInfo, NetworkReport, NetworkThread};
use crate::prober::ProberStop;
use crate::shard_agent::ShardControl;
use crate::worker::WorkerControl;
use assembly::Assembly;
pub(crate) use assembly::{identity, link_settings, prober_config, random};
use punctual_core::Procedures;
use punctual_link::{CoreWaker, Endpoint};
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Beyond the deadline of their transactions, how long stopping workers are waited for.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Why the engine cannot start or did not end well.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A journal that cannot be gone on from.
    #[error(transparent)]
    Journal(#[from] JournalError),
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
    /// The core of an emulated network is outside the allowed mask.
    #[error(
        "network.core = {core} is not allowed; this process may use the cores {allowed:?}: choose \
         among them, or \"auto\""
    )]
    NetworkCore {
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
    /// A shard is to keep to memory where it has a journal.
    #[error(
        "shard {shard} is to keep to memory, and {dir} has a journal of it: move that away to give \
         up what is in it, or set durability.mode = \"journal\" to go on from it",
        dir = dir.display()
    )]
    JournalLeft {
        /// The shard.
        shard: u16,
        /// Where its journal is.
        dir: std::path::PathBuf,
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
        match self {
            Self::Spawn { .. } | Self::Died { .. } | Self::StopTimeout(_) => false,
            Self::Journal(error) => error.is_usage(),
            _ => true,
        }
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
    /// Core of the prober, which it may share; `None` where there is none.
    pub prober_core: Option<usize>,
    /// Whether every thread keeps to its core.
    pub pinned: bool,
    /// Whether no core spins because there are too few.
    pub overprovisioned: bool,
    /// Where its shards listen.
    pub endpoints: Vec<(u16, Endpoint)>,
    /// How those of its shards that have journals went on from them.
    pub recoveries: Vec<RecoveryReport>,
    /// The directories of these journals.
    pub journals: Vec<(u16, PathBuf)>,
    /// The network that is emulated, if one is.
    pub network: Option<NetworkInfo>,
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
    prober: Option<ProberStop>,
    finished: flume::Receiver<()>,
    finished_count: usize,
    acceptor: Option<Acceptor>,
    threads: Vec<CoreThread>,
    network: Option<NetworkThread>,
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
        Self::resolve(address)
    }

    /// The first place that an address stands for.
    ///
    /// # Errors
    /// When its name cannot be resolved.
    pub fn resolve(address: &Address) -> Result<Endpoint, EngineError> {
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

    /// What the emulated network has done so far, and how exactly, if there is one. Take it before
    /// the engine is stopped; what was between two of them is their difference.
    #[must_use]
    pub fn network(&self) -> Option<NetworkReport> {
        self.network.as_ref().map(NetworkThread::report)
    }

    /// Whether no core has died. One whose agents have all finished has not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let network_died = self.network.as_ref().is_some_and(NetworkThread::has_died);
        !network_died && !self.threads.iter().any(CoreThread::has_died)
    }

    /// Asks the workers to stop.
    fn tell_workers(&self) {
        for (control, core) in &self.workers {
            // A worker that has stopped already does not listen any more.
            let _ = control.try_send(WorkerControl::Stop);
            core.wake();
        }
    }

    fn tell_prober(&self) {
        if let Some(prober) = &self.prober {
            prober.tell();
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

    /// Stops in order: workers take what is in flight, then shards decide what is undecided, make
    /// it durable and send their last replies, then the threads end.
    ///
    /// # Errors
    /// When a thread died, or a worker did not stop in time.
    pub fn stop(mut self) -> Result<(), EngineError> {
        self.tell_workers();
        let timeout = self.deadline + STOP_GRACE;
        let stopped = self.wait_workers(timeout);
        let died = self.finished.is_disconnected() && !stopped;
        self.tell_prober();
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
        let joined = threads.into_iter().map(CoreThread::join).fold(Ok(()), Result::and);
        // Last: what the others said in the end is still under way to other processes.
        let network = self.network.take().map_or(Ok(()), NetworkThread::stop);
        joined.and(network)
    }
}

impl Drop for Engine {
    /// Nothing happens to those that have stopped already.
    fn drop(&mut self) {
        self.tell_workers();
        self.tell_prober();
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

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("info", &self.info).finish_non_exhaustive()
    }
}
