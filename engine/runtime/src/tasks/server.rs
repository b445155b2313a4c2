//! A task server: a queue on a thread of its own, with what lets others reach it.

use super::address::hash_of;
use super::agent::TaskAgent;
use super::config::QUEUE;
use super::hosted::Hosted;
use super::{BATCH_MAX, LIMITS, LocalQueue, TaskServerConfig, TaskServerError};
use crate::acceptor::{Acceptor, Door};
use crate::agent::Agent;
use crate::backend::{self, CoreThread};
use crate::clock::Clock;
use crate::config::{Address, Backend, ClockSource};
use crate::core_loop::{CoreLoop, IdlePlan};
use crate::counters::{CounterBlock, Counters};
use crate::engine::{Engine, EngineError};
use crate::journal::RecoveryReport;
use punctual_link::{Endpoint, Listener, Parker};
use std::sync::Arc;

/// Connections that may wait for the queue's thread to take them.
const CONTROL_MAX: usize = 1024;
/// The name of that thread.
const THREAD: &str = "tasks";

/// A running task server. Dropping it tells it to stop, but does not wait for it;
/// [`stop`](Self::stop) does.
pub struct TaskServer {
    queue: LocalQueue,
    endpoint: Option<Endpoint>,
    recovery: Option<RecoveryReport>,
    warnings: Vec<String>,
    counters: Counters,
    acceptor: Option<Acceptor>,
    thread: Option<CoreThread>,
}

impl TaskServer {
    /// Starts a server: reads its journal, if it has one, opens its door and begins to work.
    ///
    /// # Errors
    /// When the configuration or the machine does not allow it; the message says what to do.
    pub fn start(config: TaskServerConfig) -> Result<Self, TaskServerError> {
        config.check()?;
        let (plan, setup) = (config.durability.plan()?, config.queue());
        let (backend, warning) = backend::choose(config.backend)?;
        let TaskServerConfig { listen, token, parties_max, core, idle, .. } = config;
        let listener = listen.as_ref().map(listen_at).transpose()?;
        let endpoint = listener.as_ref().and_then(|listener| listener.endpoint().ok());
        let mut clock = Clock::new(ClockSource::Realtime);
        let Hosted { queue: state, journal, recovery, mut warnings } =
            Hosted::open(&setup, plan, &mut clock)?;
        warnings.extend(warning);

        let hash = hash_of(&token);
        let parker = Parker::new().map_err(|error| EngineError::Spawn {
            name: THREAD.to_owned(),
            why: error.to_string(),
        })?;
        let (control, receiver) = flume::bounded(CONTROL_MAX);
        let queue = LocalQueue::new(control, Arc::clone(parker.handle().waker()), hash);
        let agent = TaskAgent::new(state, journal, clock, hash, parties_max, receiver);
        let block = CounterBlock::new(format!("core-{THREAD}"));
        let counters = Counters::new(vec![agent.counters(), Arc::clone(&block)]);
        // Whoever spins takes the core from a task: nobody does who has no core of its own.
        let idle = IdlePlan { strategy: idle, overprovisioned: core.is_none() };
        let mut core_loop = CoreLoop::new(vec![Box::new(agent)], clock, parker, idle, block);
        core_loop.sleep_longer();
        let thread = spawn(backend, core, core_loop)?;
        if core.is_some() && !thread.is_pinned() {
            warnings.push(format!("{THREAD} could not be pinned"));
        }
        let thread = Some(thread);
        // An error from here on drops the server, which stops what has started already.
        let mut server =
            Self { queue, endpoint, recovery, warnings, counters, acceptor: None, thread };
        if let Some(listener) = listener {
            let (control, core) = server.queue.control();
            let door = Door { shard: QUEUE.0, listener, control, core };
            server.acceptor = Some(Acceptor::start(vec![door])?);
        }
        Ok(server)
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref()
    }

    /// How it went on from its journal, if it has one.
    #[must_use]
    pub fn recovery(&self) -> Option<&RecoveryReport> {
        self.recovery.as_ref()
    }

    /// What is not as it should be.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The way to its queue for clients and workers of this process.
    #[must_use]
    pub fn local(&self) -> LocalQueue {
        self.queue.clone()
    }

    /// The counters of the queue and its thread.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether its thread has not died, as it does when the journal cannot be written any more.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.thread.as_ref().is_some_and(CoreThread::has_died)
    }

    /// Stops in order: makes everything durable, tells what may be told, says goodbye and closes
    /// the journal. Workers go on with what they run, for the server to come back.
    ///
    /// # Errors
    /// When its thread has died.
    pub fn stop(mut self) -> Result<(), TaskServerError> {
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.stop();
        }
        self.queue.stop();
        match self.thread.take() {
            Some(thread) => Ok(thread.join()?),
            None => Ok(()),
        }
    }
}

impl Drop for TaskServer {
    /// Nothing happens to one that has stopped already.
    fn drop(&mut self) {
        self.queue.try_stop();
    }
}

impl std::fmt::Debug for TaskServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskServer").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// Starts the queue's thread and waits until it runs.
fn spawn(
    backend: Backend,
    core: Option<usize>,
    core_loop: CoreLoop,
) -> Result<CoreThread, EngineError> {
    let thread = backend::spawn(backend, THREAD.to_owned(), core, core_loop)?;
    if thread.wait_started() {
        return Ok(thread);
    }
    thread.join()?;
    let why = "it ended before its first turn".to_owned();
    Err(EngineError::Died { name: THREAD.to_owned(), why })
}

fn listen_at(address: &Address) -> Result<Listener, TaskServerError> {
    let endpoint = Engine::resolve(address)?;
    Listener::bind(&endpoint, LIMITS, BATCH_MAX)
        .map_err(|error| TaskServerError::Listen { endpoint, why: error.to_string() })
}
