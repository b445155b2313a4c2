//! A task server: its queues, each on a thread of its own, with what lets others reach them.

use super::address::{QueueDoor, hash_of};
use super::agent::{Farm, TaskAgent};
use super::config::FIRST;
use super::hosted::Hosted;
use super::{BATCH_MAX, LIMITS, LocalQueue, TaskServerConfig, TaskServerError, farm_dir};
use crate::acceptor::{Acceptor, Door};
use crate::agent::Agent;
use crate::backend::{self, CoreThread};
use crate::clock::Clock;
use crate::config::{Address, Backend, ClockSource};
use crate::core_loop::{CoreLoop, IdlePlan};
use crate::counters::{CounterBlock, Counters};
use crate::engine::{Engine, EngineError};
use crate::journal::RecoveryReport;
use crate::shard_agent::ShardControl;
use punctual_core::ShardId;
use punctual_link::{Endpoint, Listener, Parker};
use std::sync::Arc;

/// Connections that may wait for a queue's thread to take them.
const CONTROL_MAX: usize = 1024;
/// The name of that thread; where there are several, their numbers are behind it.
const THREAD: &str = "tasks";

/// A running task server. Dropping it tells it to stop, but does not wait for it;
/// [`stop`](Self::stop) does.
pub struct TaskServer {
    queues: LocalQueue,
    endpoint: Option<Endpoint>,
    recovery: Vec<RecoveryReport>,
    warnings: Vec<String>,
    counters: Counters,
    acceptor: Option<Acceptor>,
    threads: Vec<CoreThread>,
}

/// A queue that has what it needs, but for a thread.
struct Ready {
    hosted: Hosted,
    clock: Clock,
    parker: Parker,
    control: flume::Receiver<ShardControl>,
}

impl TaskServer {
    /// Starts a server: reads its journals, if it has any, opens its door and begins to work.
    ///
    /// # Errors
    /// When the configuration or the machine does not allow it; the message says what to do.
    pub fn start(config: TaskServerConfig) -> Result<Self, TaskServerError> {
        config.check()?;
        let (backend, warning) = backend::choose(config.backend)?;
        let listener = config.listen.as_ref().map(listen_at).transpose()?;
        let endpoint = listener.as_ref().and_then(|listener| listener.endpoint().ok());
        let (ready, doors) = open(&config)?;
        let hash = hash_of(&config.token);
        let farm = Farm { config, hash, doors };
        // An error from here on drops the server, which stops what has started already.
        let mut server = Self {
            queues: LocalQueue::new(Arc::clone(&farm.doors), hash),
            endpoint,
            recovery: Vec::new(),
            warnings: Vec::new(),
            counters: Counters::default(),
            acceptor: None,
            threads: Vec::new(),
        };
        let mut blocks = Vec::new();
        for ready in ready {
            blocks.extend(server.run(backend, &farm, ready)?);
        }
        server.counters = Counters::new(blocks);
        server.warn(warning);
        if let Some(listener) = listener {
            let QueueDoor { control, core } = farm.doors[usize::from(FIRST.0)].clone();
            let door = Door { shard: FIRST.0, listener, control, core };
            server.acceptor = Some(Acceptor::start(vec![door])?);
        }
        Ok(server)
    }

    /// Puts a queue on its thread. Returns where the counters of both are.
    fn run(
        &mut self,
        backend: Backend,
        farm: &Farm,
        ready: Ready,
    ) -> Result<[Arc<CounterBlock>; 2], TaskServerError> {
        let Ready { hosted, clock, parker, control } = ready;
        let Hosted { queue, journal, recovery, warnings } = hosted;
        let (id, config) = (queue.id(), &farm.config);
        let (name, core) = (thread_of(config, id), config.core_of(id));
        self.recovery.extend(recovery);
        // What is wrong with the machine concerns all of them, and is said once.
        self.warn(warnings);
        let agent = TaskAgent::new(queue, journal, clock, farm, control);
        let block = CounterBlock::new(format!("core-{name}"));
        let blocks = [agent.counters(), Arc::clone(&block)];
        // Whoever spins takes the core from a task: nobody does who has no core of its own.
        let idle = IdlePlan { strategy: config.idle, overprovisioned: core.is_none() };
        let mut core_loop = CoreLoop::new(vec![Box::new(agent)], clock, parker, idle, block);
        core_loop.sleep_longer();
        let thread = spawn(backend, &name, core, core_loop)?;
        if core.is_some() && !thread.is_pinned() {
            self.warnings.push(format!("{name} could not be pinned"));
        }
        self.threads.push(thread);
        Ok(blocks)
    }

    /// Notes what is not as it should be, unless that is known.
    fn warn(&mut self, warnings: impl IntoIterator<Item = String>) {
        for warning in warnings {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref()
    }

    /// How its queues went on from their journals, in order; empty if it has none.
    #[must_use]
    pub fn recovery(&self) -> &[RecoveryReport] {
        &self.recovery
    }

    /// What is not as it should be.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The way to its queues for clients and workers of this process.
    #[must_use]
    pub fn local(&self) -> LocalQueue {
        self.queues.clone()
    }

    /// The counters of the queues and their threads.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether none of its threads has died, as one does when its journal cannot be written any
    /// more.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.threads.iter().any(CoreThread::has_died)
    }

    /// Stops in order: makes everything durable, tells what may be told, says goodbye and closes
    /// the journals. Workers go on with what they run, for the server to come back.
    ///
    /// # Errors
    /// When a thread has died; the others have stopped in order all the same.
    pub fn stop(mut self) -> Result<(), TaskServerError> {
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.stop();
        }
        self.queues.stop();
        let threads = std::mem::take(&mut self.threads);
        let ended = threads.into_iter().map(CoreThread::join).fold(Ok(()), Result::and);
        Ok(ended?)
    }
}

impl Drop for TaskServer {
    /// Nothing happens to one that has stopped already.
    fn drop(&mut self) {
        self.queues.try_stop();
    }
}

impl std::fmt::Debug for TaskServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskServer").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// Goes on from the journals, or begins, and makes the doors of the queues.
fn open(config: &TaskServerConfig) -> Result<(Vec<Ready>, Arc<[QueueDoor]>), TaskServerError> {
    if let Some(dir) = config.durability.dir() {
        // Bounds of the journals are judged before anything is made.
        config.durability.plan(FIRST)?;
        farm_dir::claim(dir, config.queues)?;
    }
    let (mut ready, mut doors) = (Vec::new(), Vec::new());
    for id in config.queue_ids() {
        let mut clock = Clock::new(ClockSource::Realtime);
        let plan = config.durability.plan(id)?;
        let hosted = Hosted::open(&config.queue(id), plan, &mut clock)?;
        let parker = Parker::new().map_err(|error| EngineError::Spawn {
            name: thread_of(config, id),
            why: error.to_string(),
        })?;
        let (sender, control) = flume::bounded(CONTROL_MAX);
        doors.push(QueueDoor { control: sender, core: Arc::clone(parker.handle().waker()) });
        ready.push(Ready { hosted, clock, parker, control });
    }
    Ok((ready, doors.into()))
}

/// The name of a queue's thread.
fn thread_of(config: &TaskServerConfig, queue: ShardId) -> String {
    match config.queues {
        1 => THREAD.to_owned(),
        _ => format!("{THREAD}-{}", queue.0),
    }
}

/// Starts a queue's thread and waits until it runs.
fn spawn(
    backend: Backend,
    name: &str,
    core: Option<usize>,
    core_loop: CoreLoop,
) -> Result<CoreThread, EngineError> {
    let thread = backend::spawn(backend, name.to_owned(), core, core_loop)?;
    if thread.wait_started() {
        return Ok(thread);
    }
    thread.join()?;
    let why = "it ended before its first turn".to_owned();
    Err(EngineError::Died { name: name.to_owned(), why })
}

fn listen_at(address: &Address) -> Result<Listener, TaskServerError> {
    let endpoint = Engine::resolve(address)?;
    Listener::bind(&endpoint, LIMITS, BATCH_MAX)
        .map_err(|error| TaskServerError::Listen { endpoint, why: error.to_string() })
}
