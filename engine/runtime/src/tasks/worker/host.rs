//! The thread of a worker, and who holds on to it.

use super::links::WorkerLinks;
use super::{NewSettings, Order, Settings, TaskWorkerAgent, WorkerView};
use crate::agent::Agent;
use crate::backend::{self, CoreThread};
use crate::clock::Clock;
use crate::config::{Backend, ClockSource, IdleStrategy};
use crate::core_loop::{CoreLoop, IdlePlan};
use crate::counters::{CounterBlock, Counters};
use crate::engine::EngineError;
use crate::tasks::{QueueAddress, TaskRunner, TaskWorkerError};
use flume::RecvTimeoutError;
use punctual_core::task::{TaskWorker, TaskWorkerConfig};
use punctual_link::{CoreWaker, Parker};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The name of a worker's thread.
const THREAD: &str = "task-worker";
/// Orders that may wait: nobody gives so many.
const ORDERS_MAX: usize = 16;

/// A worker on a thread of its own. Whatever its runner starts is a child of that thread, which
/// lives as long as the worker. Dropping this tells the worker to leave everything, but does not
/// wait for it.
pub struct TaskWorkerHost {
    orders: flume::Sender<Order>,
    settings: NewSettings,
    core: Arc<CoreWaker>,
    ended: flume::Receiver<Result<(), TaskWorkerError>>,
    view: Arc<Mutex<WorkerView>>,
    counters: Counters,
    thread: Option<CoreThread>,
}

impl TaskWorkerHost {
    /// Starts a worker for all queues of a server, which need not be there yet: it is tried again
    /// until it is.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start<R: TaskRunner>(
        config: TaskWorkerConfig,
        address: QueueAddress,
        runner: R,
    ) -> Result<Self, TaskWorkerError> {
        let parker = Parker::new().map_err(|error| EngineError::Spawn {
            name: THREAD.to_owned(),
            why: error.to_string(),
        })?;
        let core = Arc::clone(parker.handle().waker());
        let (orders, receiver) = flume::bounded(ORDERS_MAX);
        let (tell_ended, ended) = flume::bounded(1);
        let view = WorkerView { name: config.name.clone(), ..WorkerView::default() };
        let view = Arc::new(Mutex::new(view));
        let settings = NewSettings::default();
        let clock = Clock::new(ClockSource::Monotonic);
        let agent = TaskWorkerAgent {
            // Whatever it is, the runner is told once.
            name: String::new(),
            worker: TaskWorker::new(config),
            runner,
            links: WorkerLinks::new(address),
            clock,
            orders: receiver,
            settings: Arc::clone(&settings),
            lost_before: 0,
            abandoned_at: None,
            error: None,
            finished: false,
            ended: tell_ended,
            view: Arc::clone(&view),
            block: CounterBlock::new(THREAD.to_owned()),
        };
        let block = CounterBlock::new(format!("core-{THREAD}"));
        let counters = Counters::new(vec![agent.counters(), Arc::clone(&block)]);
        // The cores are for the tasks.
        let idle = IdlePlan { strategy: IdleStrategy::Park, overprovisioned: true };
        let mut core_loop = CoreLoop::new(vec![Box::new(agent)], clock, parker, idle, block);
        core_loop.sleep_longer();
        let thread = backend::spawn(Backend::Threads, THREAD.to_owned(), None, core_loop)?;
        // A thread that dies at once leaves its channels closed, and says why when it is joined.
        thread.wait_started();
        Ok(Self { orders, settings, core, ended, view, counters, thread: Some(thread) })
    }

    /// Tells it to finish what runs, to give the rest back, and to end.
    pub fn drain(&self) {
        self.order(Order::Drain);
    }

    /// Tells it to end what runs, to give everything back, and to end itself.
    pub fn abandon(&self) {
        self.order(Order::Abandon);
    }

    /// Changes its slots and the two thresholds of free memory, as in [`TaskWorkerConfig`]. What
    /// runs goes on.
    pub fn reconfigure(&self, slots: u32, accept_free: u64, return_free: u64) {
        let settings = Settings { slots, accept_free, return_free };
        let mut latest = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody was told of those before: only the latest matter.
        if latest.replace(settings).is_none() {
            self.order(Order::Reconfigure);
        }
    }

    fn order(&self, order: Order) {
        // One that has ended does not listen any more; one that has so many will end.
        let _ = self.orders.try_send(order);
        self.core.wake();
    }

    /// How things are with it, as of a moment ago.
    #[must_use]
    pub fn view(&self) -> WorkerView {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The counters of its links and its thread.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Waits until it has ended: because it was told to, here or by its server, or because it
    /// cannot go on.
    ///
    /// # Errors
    /// When it cannot go on, or ended without telling a queue everything; the message says what to
    /// do.
    pub fn wait(mut self) -> Result<(), TaskWorkerError> {
        let outcome = self.ended.recv().ok();
        self.end(outcome)
    }

    /// As [`wait`](Self::wait), but not longer than `timeout`: `None` if it is at work still.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<Result<(), TaskWorkerError>> {
        match self.ended.recv_timeout(timeout) {
            Ok(outcome) => Some(self.end(Some(outcome))),
            Err(RecvTimeoutError::Disconnected) => Some(self.end(None)),
            Err(RecvTimeoutError::Timeout) => None,
        }
    }

    /// Joins the thread. `outcome` is how the worker says that it ended, if it does.
    fn end(&mut self, outcome: Option<Result<(), TaskWorkerError>>) -> Result<(), TaskWorkerError> {
        let joined = self.thread.take().map_or(Ok(()), CoreThread::join);
        outcome.unwrap_or(Ok(())).and(joined.map_err(TaskWorkerError::from))
    }
}

impl Drop for TaskWorkerHost {
    /// Nothing happens to one that has ended already.
    fn drop(&mut self) {
        self.abandon();
    }
}

impl std::fmt::Debug for TaskWorkerHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskWorkerHost").field("view", &self.view()).finish_non_exhaustive()
    }
}
