//! Puts an engine together: which agents there are, where they live and how they reach each other.

mod recovery;

use super::{Engine, EngineBuilder, EngineError, EngineInfo, Part, Transport};
use crate::acceptor::{Acceptor, Door};
use crate::agent::Agent;
use crate::backend::{self, CoreThread};
use crate::clock::Clock;
use crate::config::{Backend, ClusterConfig, Config, IdleStrategy, Member};
use crate::core_loop::{CoreLoop, IdlePlan};
use crate::counters::{CounterBlock, Counters};
use crate::driver::Driver;
use crate::journal::{Journal, RecoveryReport};
use crate::links::{LinkSettings, Route, ShardLinks};
use crate::network::{Network, NetworkThread};
use crate::placement::{self, Agents, Plan};
use crate::prober::{Audience, ProberAgent, ProberStop};
use crate::shard_agent::{ShardAgent, ShardControl};
use crate::worker::{SampleQueue, Worker, WorkerControl};
use punctual_core::{Coordinator, CoordinatorConfig, OwdConfig, ProberConfig, Procedures, Shard};
use punctual_link::{
    CoreWaker, Endpoint, Identity, Link, Listener, Parker, monotonic_ns, ring_pair,
};
use punctual_wire::{Features, Role};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Control messages that may wait for an agent, the connections of sockets among them.
const CONTROL_MAX: usize = 1024;
/// A piece that met a busy shard waits this long.
const BUSY_BACKOFF: Duration = Duration::from_millis(1);
/// How long the outcomes of a vanished coordinator are kept for its return.
const SESSION_RETENTION: Duration = Duration::from_secs(60);
/// What the prober has measured and a worker has not looked at yet.
const SAMPLES_MAX: usize = 1024;

/// The agents of one core, before it starts.
struct CoreDraft {
    agents: Vec<Box<dyn Agent>>,
    parker: Parker,
}

/// A shard of this process before its agent is made: others need to know first how to reach it.
struct ShardDraft {
    shard: u16,
    control: flume::Sender<ShardControl>,
    receiver: flume::Receiver<ShardControl>,
    listener: Option<Listener>,
}

/// An engine being put together.
pub(super) struct Assembly {
    config: Config,
    part: Part,
    procedures: Arc<Procedures>,
    plan: Plan,
    backend: Backend,
    idle: IdlePlan,
    clock: Clock,
    identity: Identity,
    warnings: Vec<String>,
    /// How each shard that has a journal went on from it, and where that is.
    recoveries: Vec<RecoveryReport>,
    journals: Vec<(u16, PathBuf)>,
    /// What delays messages, until its thread is started.
    network: Option<Network>,
    cores: BTreeMap<usize, CoreDraft>,
    /// Who is where, once that is known: where the shards of this process listen, and how to attach
    /// a link to them.
    endpoints: Vec<(u16, Endpoint)>,
    controls: Vec<flume::Sender<ShardControl>>,
}

/// The agents of an engine with what is needed to speak to them.
struct Agency {
    shards: Vec<(flume::Sender<ShardControl>, Arc<CoreWaker>)>,
    workers: Vec<(flume::Sender<WorkerControl>, Arc<CoreWaker>)>,
    prober: Option<ProberStop>,
    doors: Vec<Door>,
    finished: flume::Receiver<()>,
}

impl Assembly {
    pub(super) fn new(builder: EngineBuilder, workers_here: bool) -> Result<Self, EngineError> {
        let EngineBuilder { config, part, procedures } = builder;
        let (cluster, process) = (&config.cluster, &config.process);
        // The mask is read before anything is pinned.
        let allowed = crate::host::allowed_cores();
        let mode_of = |shard: &u16| process.durability.durability_of(*shard);
        let journals = served(part, &config).iter().filter(|shard| mode_of(shard).is_on()).count();
        let journals_here = journals > 0;
        let agents = Agents {
            shards: cluster.shards.into(),
            workers: process.coordinators.into(),
            shards_here: part != Part::Connect,
            workers_here,
            prober_here: workers_here && process.prober.enabled.unwrap_or(cluster.shards > 1),
            journals_here,
        };
        let plan = placement::plan(&process.placement, &allowed, agents)?;
        let network = Network::new(process.network.as_ref(), &allowed)?;
        let (backend, warning) = backend::choose(process.backend)?;
        let mut warnings: Vec<String> = warning.into_iter().collect();
        // The prober is left out: it sleeps most of the time, and never spins.
        let mut used: Vec<usize> = plan.shards.iter().chain(&plan.workers).copied().collect();
        used.sort_unstable();
        used.dedup();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // A journal is written by a thread of its own, and messages are delayed by another: those
        // who spin make no room for them.
        let busy = used.len() + journals + usize::from(network.is_some());
        let overprovisioned = process.overprovisioned.unwrap_or(busy > cores);
        if overprovisioned {
            warnings.push("overprovisioned: no core spins while it waits".to_owned());
        }
        if let Some(core) = network.as_ref().and_then(Network::core)
            && used.contains(&core)
        {
            let why = "a shard or a worker has it too, and each makes the other late";
            warnings.push(format!("network.core = {core}: {why}"));
        }
        if cfg!(debug_assertions) {
            warnings.push("debug build: figures mean nothing; use --release".to_owned());
        }
        Ok(Self {
            identity: identity(cluster, &procedures, part != Part::Embedded(Transport::Ring)),
            clock: Clock::new(cluster.clock.resolve(&cluster.addresses)),
            idle: IdlePlan { strategy: process.idle, overprovisioned },
            plan,
            backend,
            warnings,
            recoveries: Vec::new(),
            journals: Vec::new(),
            network,
            cores: BTreeMap::new(),
            endpoints: Vec::new(),
            controls: Vec::new(),
            config,
            part,
            procedures,
        })
    }

    pub(super) fn build<D: Driver>(mut self, drivers: Vec<D>) -> Result<Engine, EngineError> {
        let served = served(self.part, &self.config);
        let Agency { shards, workers, prober, doors, finished } = self.agents(&served, drivers)?;
        let info = EngineInfo {
            backend: self.backend,
            shard_cores: served.iter().map(|at| self.plan.shards[usize::from(*at)]).collect(),
            worker_cores: self.plan.workers.iter().copied().take(workers.len()).collect(),
            prober_core: self.plan.prober,
            pinned: false,
            overprovisioned: self.idle.overprovisioned,
            endpoints: std::mem::take(&mut self.endpoints),
            recoveries: std::mem::take(&mut self.recoveries),
            journals: std::mem::take(&mut self.journals),
            network: self.network.as_ref().map(Network::info),
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
            prober,
            finished,
            finished_count: 0,
            acceptor: None,
            threads: Vec::new(),
            network: None,
            deadline,
        };
        // First: nobody gets through to anybody before it runs.
        engine.network = self.network.take().map(Network::start).transpose()?;
        let blocks = engine.network.iter().map(NetworkThread::counters).collect();
        engine.counters = self.spawn(blocks, &mut engine.threads)?;
        engine.note_pins();
        if !doors.is_empty() {
            engine.acceptor = Some(Acceptor::start(doors)?);
        }
        Ok(engine)
    }

    /// Makes all agents and puts them on their cores.
    fn agents<D: Driver>(
        &mut self,
        served: &[u16],
        drivers: Vec<D>,
    ) -> Result<Agency, EngineError> {
        let drafts = self.drafts(served)?;
        let made = self.make_shards(served)?;
        let (mut doors, mut shards) = (Vec::new(), Vec::new());
        for (draft, (state, journal)) in drafts.into_iter().zip(made) {
            let ShardDraft { shard, control, receiver, listener } = draft;
            let agent = self.shard_agent(state, journal, receiver)?;
            let core = self.place(self.plan.shards[usize::from(shard)], Box::new(agent))?;
            if let Some(listener) = listener {
                let (control, core) = (control.clone(), Arc::clone(&core));
                doors.push(Door { shard, listener, control, core });
            }
            shards.push((control, core));
        }
        let (finished_sender, finished) = flume::bounded(drivers.len().max(1));
        let (mut workers, mut queues) = (Vec::new(), Vec::new());
        for (index, driver) in drivers.into_iter().enumerate() {
            let (control, receiver) = flume::bounded(CONTROL_MAX);
            let mut worker = self.worker(index, driver, receiver, finished_sender.clone())?;
            if self.plan.prober.is_some() {
                let queue = Arc::new(SampleQueue::new(SAMPLES_MAX));
                worker.set_samples(Arc::clone(&queue));
                queues.push(queue);
            }
            let at = self.plan.workers[index % self.plan.workers.len()];
            workers.push((control, self.place(at, Box::new(worker))?));
        }
        let prober = match self.plan.prober {
            Some(core) => Some(self.prober(core, queues)?),
            None => None,
        };
        Ok(Agency { shards, workers, prober, doors, finished })
    }

    /// Opens the doors of the shards of this process.
    fn drafts(&mut self, served: &[u16]) -> Result<Vec<ShardDraft>, EngineError> {
        let mut drafts = Vec::new();
        // Links within the process are attached before anybody takes them.
        let attached = usize::from(self.config.cluster.shards) + self.plan.workers.len() + 1;
        for &shard in served {
            let (control, receiver) = flume::bounded(CONTROL_MAX + attached);
            let listener = self.listener(shard)?;
            if let Some(Ok(endpoint)) = listener.as_ref().map(Listener::endpoint) {
                self.endpoints.push((shard, endpoint));
            }
            self.controls.push(control.clone());
            drafts.push(ShardDraft { shard, control, receiver, listener });
        }
        Ok(drafts)
    }

    fn shard_agent(
        &self,
        shard: Shard,
        journal: Option<Journal>,
        control: flume::Receiver<ShardControl>,
    ) -> Result<ShardAgent, EngineError> {
        let id = shard.id().0;
        let identity = Identity { session: shard.session().0, ..self.identity };
        let settings =
            LinkSettings { from: id, ..link_settings(&self.config, identity, Role::Peer) };
        let peers = self.links(Member::Shard(id), settings)?;
        let (limits, sessions_max) = (self.config.cluster.limits, self.config.process.sessions_max);
        let mut agent =
            ShardAgent::new(shard, self.clock, limits, identity, sessions_max, peers, control);
        agent.set_journal(journal);
        Ok(agent)
    }

    fn worker<D: Driver>(
        &self,
        index: usize,
        driver: D,
        control: flume::Receiver<WorkerControl>,
        finished: flume::Sender<()>,
    ) -> Result<Worker<D>, EngineError> {
        let (cluster, process) = (&self.config.cluster, &self.config.process);
        let coordinator = Coordinator::new(CoordinatorConfig {
            shards: cluster.shards,
            limits: cluster.limits,
            in_flight_max: process.in_flight,
            request_timeout: process.request_timeout,
            deadline: process.deadline,
            busy_backoff: BUSY_BACKOFF,
            headroom: process.headroom.into(),
            owd: owd_config(&self.config),
        });
        let identity = Identity { session: random(), ..self.identity };
        let settings = link_settings(&self.config, identity, Role::Coordinator);
        let links = self.links(Member::Worker(index), settings)?;
        Ok(Worker::new(index, coordinator, driver, links, self.clock, control, finished))
    }

    /// Makes the prober, whose samples go to these workers.
    fn prober(
        &mut self,
        core: usize,
        queues: Vec<Arc<SampleQueue>>,
    ) -> Result<ProberStop, EngineError> {
        let identity = Identity { session: random(), ..self.identity };
        let settings = link_settings(&self.config, identity, Role::Prober);
        let links = self.links(Member::Prober, settings)?;
        let flag = Arc::new(AtomicBool::new(false));
        let audience = Audience { queues, ..Audience::default() };
        let config = prober_config(&self.config);
        let agent = ProberAgent::new(config, links, self.clock, audience, Arc::clone(&flag));
        let core = self.place(core, Box::new(agent))?;
        Ok(ProberStop { flag, core })
    }

    /// Where a shard of this process listens, if it does.
    fn listener(&self, shard: u16) -> Result<Option<Listener>, EngineError> {
        let endpoint = match self.part {
            Part::Connect | Part::Embedded(Transport::Ring) => return Ok(None),
            Part::Embedded(Transport::Tcp) => Endpoint::Tcp(([127, 0, 0, 1], 0).into()),
            Part::Embedded(Transport::Unix) => Endpoint::Unix(private_socket(shard)),
            Part::Serve => Engine::endpoint_of(&self.config, shard)?,
        };
        let batch = self.config.process.batch;
        match Listener::bind(&endpoint, self.config.cluster.limits, batch) {
            Ok(listener) => Ok(Some(listener)),
            Err(error) => Err(EngineError::Listen { shard, endpoint, why: error.to_string() }),
        }
    }

    /// The links of an agent, with what lies between it and the shards.
    fn links(&self, own: Member, settings: LinkSettings) -> Result<ShardLinks, EngineError> {
        let shard = match own {
            Member::Shard(shard) => Some(shard),
            Member::Worker(_) | Member::Prober => None,
        };
        let mut links = ShardLinks::new(self.routes(shard)?, settings);
        if let Some(network) = &self.network {
            links.set_network(network.agent(own, self.config.cluster.shards));
        }
        Ok(links)
    }

    /// How an agent reaches every shard, or a shard those with higher ids: so any two shards have
    /// one link, which both use.
    fn routes(&self, own: Option<u16>) -> Result<Vec<Route>, EngineError> {
        let route = |shard: u16| match own {
            Some(own) if shard <= own => Ok(Route::Absent),
            _ => self.route(shard),
        };
        (0..self.config.cluster.shards).map(route).collect()
    }

    fn route(&self, shard: u16) -> Result<Route, EngineError> {
        if self.part == Part::Embedded(Transport::Ring) {
            let (here, mut there) =
                ring_pair(self.config.cluster.limits, self.config.process.batch);
            if self.network.is_some() {
                // So that what the shard sends is delayed from when it sent it.
                there.stamp_flushes(monotonic_ns);
            }
            let attach = ShardControl::Attach(Box::new(there));
            let attached = self.controls[usize::from(shard)].try_send(attach);
            let link = attached.is_ok().then(|| Box::new(here) as Box<dyn Link>);
            return Ok(Route::Ring(link));
        }
        match self.endpoints.iter().find(|(id, _)| *id == shard) {
            Some((_, endpoint)) => Ok(Route::Socket(endpoint.clone())),
            None => Engine::endpoint_of(&self.config, shard).map(Route::Socket),
        }
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

    /// Starts all cores and waits until they run. Their counters come behind those that there are.
    fn spawn(
        self,
        mut blocks: Vec<Arc<CounterBlock>>,
        threads: &mut Vec<CoreThread>,
    ) -> Result<Counters, EngineError> {
        for (core, draft) in self.cores {
            let name = format!("core{core}");
            blocks.extend(draft.agents.iter().map(|agent| agent.counters()));
            let block = CounterBlock::new(name.clone());
            blocks.push(Arc::clone(&block));
            let CoreDraft { agents, parker } = draft;
            let mut idle = self.idle;
            if self.plan.prober == Some(core) && agents.len() == 1 {
                // A prober alone has nothing to look for between its probes.
                idle.strategy = IdleStrategy::Park;
            }
            let core_loop = CoreLoop::new(agents, self.clock, parker, idle, block);
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

/// The shards that run in this process.
fn served(part: Part, config: &Config) -> Vec<u16> {
    let all = || (0..config.cluster.shards).collect();
    match part {
        Part::Connect => Vec::new(),
        Part::Embedded(_) => all(),
        Part::Serve => config.process.serve.clone().unwrap_or_else(all),
    }
}

/// What a member of the cluster says of itself. Its session is drawn at random; agents of one
/// process have one each.
pub(crate) fn identity(
    cluster: &ClusterConfig,
    procedures: &Procedures,
    over_sockets: bool,
) -> Identity {
    // Memory needs no checksum.
    let checksum = cluster.checksum && over_sockets;
    Identity {
        session: random(),
        cluster: cluster_hash(cluster.hash(), procedures),
        features: if checksum { Features::CHECKSUM } else { Features::default() },
    }
}

/// How an agent in this role connects to shards.
pub(crate) fn link_settings(config: &Config, identity: Identity, role: Role) -> LinkSettings {
    LinkSettings {
        limits: config.cluster.limits,
        batch_max: config.process.batch,
        identity,
        role,
        from: 0,
        slots: if role == Role::Coordinator { config.process.in_flight } else { 0 },
        connect_timeout: config.process.connect_timeout,
    }
}

/// How the ways to the shards are estimated.
fn owd_config(config: &Config) -> OwdConfig {
    OwdConfig {
        kind: config.process.estimator.into(),
        default_owd: config.process.default_owd.into(),
        ..OwdConfig::default()
    }
}

/// How the ways to the shards are measured.
pub(crate) fn prober_config(config: &Config) -> ProberConfig {
    let prober = &config.process.prober;
    ProberConfig {
        first_interval: prober.first_interval,
        first_for: prober.first_for,
        interval: prober.interval,
        jitter: prober.jitter,
        late_max: prober.late_max,
        lost_after: prober.lost_after,
        owd: owd_config(config),
        ..ProberConfig::new(config.cluster.shards, random())
    }
}

/// The hash that all members must share: their configuration and their procedures.
fn cluster_hash(config: u64, procedures: &Procedures) -> u64 {
    procedures
        .names()
        .fold(config, |hash, (id, name)| xxh3_64_with_seed(format!("{id}={name}").as_bytes(), hash))
}

/// A number from the operating system's randomness.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(std::time::SystemTime::now())
}

/// A socket file that no other process uses.
fn private_socket(shard: u16) -> PathBuf {
    let name = format!("punctual-{}-{:08x}-{shard}.sock", std::process::id(), random() >> 32);
    std::env::temp_dir().join(name)
}
