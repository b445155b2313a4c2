//! A worker at work: its rules with its links and what runs its tasks, as an agent of a thread.

mod host;
mod links;

use super::link::QueueEvent;
use super::{TaskRunner, TaskWorkerError};
use crate::agent::Agent;
use crate::clock::Clock;
use crate::counters::CounterBlock;
use crate::links::Lost;
pub use host::TaskWorkerHost;
use links::WorkerLinks;
use punctual_core::task::{Action, TaskWorker, TaskWorkerStats};
use punctual_core::{Nanos, ShardId};
use punctual_link::ParkHandle;
use punctual_wire::CloseReason;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Times that tasks which end at once make room for the next within a turn.
const ROUNDS_MAX: usize = 256;
/// How long a worker that was told to leave everything waits for those queues to hear of it that it
/// is linked to.
const ABANDON_TIMEOUT: Duration = Duration::from_secs(2);

/// What a worker is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Finish what runs, give the rest back, then end.
    Drain,
    /// End what runs, give everything back, then end.
    Abandon,
    /// Take the settings that lie ready.
    Reconfigure,
}

/// What may change while a worker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Settings {
    slots: u32,
    accept_free: u64,
    return_free: u64,
}

/// The latest settings that the worker has not taken. One order is enough for several of them.
type NewSettings = Arc<Mutex<Option<Settings>>>;

/// How things are with a worker.
#[derive(Debug, Clone, Default)]
pub struct WorkerView {
    /// What the queue calls it.
    pub name: String,
    /// Whether it is connected, to every queue of its server.
    pub is_linked: bool,
    /// Why not, while it is not.
    pub why_down: Option<String>,
    /// Tasks that run.
    pub running: usize,
    /// Tasks that wait here.
    pub waiting: usize,
    /// What it has counted.
    pub stats: TaskWorkerStats,
}

/// A worker with its links and its runner.
struct TaskWorkerAgent<R> {
    worker: TaskWorker,
    runner: R,
    /// What the runner takes for the worker's name.
    name: String,
    links: WorkerLinks,
    clock: Clock,
    orders: flume::Receiver<Order>,
    settings: NewSettings,
    /// What was not acknowledged when queues gave it up, or were no more.
    lost_before: u64,
    /// When it was told to leave everything.
    abandoned_at: Option<Nanos>,
    /// What ends it, once nothing runs any more.
    error: Option<TaskWorkerError>,
    finished: bool,
    ended: flume::Sender<Result<(), TaskWorkerError>>,
    view: Arc<Mutex<WorkerView>>,
    block: Arc<CounterBlock>,
}

impl<R: TaskRunner> TaskWorkerAgent<R> {
    fn take_orders(&mut self, now: Nanos) -> usize {
        let mut taken = 0;
        while let Ok(order) = self.orders.try_recv() {
            taken += 1;
            match order {
                Order::Drain => self.worker.drain(now),
                Order::Abandon => self.abandon(now),
                Order::Reconfigure => self.reconfigure(now),
            }
        }
        taken
    }

    fn reconfigure(&mut self, now: Nanos) {
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Settings { slots, accept_free, return_free }) = settings {
            self.worker.reconfigure(now, slots, accept_free, return_free);
        }
    }

    fn abandon(&mut self, now: Nanos) {
        self.abandoned_at.get_or_insert(now);
        self.worker.abandon(now);
    }

    /// Serves every link. Returns how much was done.
    #[inline]
    fn serve(&mut self, now: Nanos) -> usize {
        let (mut work, mut queue) = (0, 0);
        // The first may say that there are more of them now, or fewer.
        while queue < self.worker.queues() {
            work += self.serve_queue(now, queue);
            queue += 1;
        }
        work
    }

    /// Brings a link up, or takes what has arrived. Returns how much was done.
    #[inline]
    fn serve_queue(&mut self, now: Nanos, queue: u16) -> usize {
        if self.links.is_up(queue) {
            let Self { worker, links, clock, .. } = self;
            let id = ShardId(queue);
            let taken = links.link(queue).take(|frame| worker.on_frame(clock.now(), id, frame));
            return taken.unwrap_or_else(|lost| self.lose(now, queue, &lost));
        }
        match self.links.step(now, queue) {
            None => return 0,
            Some(QueueEvent::Up { queues }) => self.up(queue, queues),
            Some(QueueEvent::Down { why }) => {
                tracing::debug!(worker = self.worker.name(), queue, why, "no link yet");
            }
            Some(QueueEvent::Refused(reason)) => self.refused(now, reason),
        }
        1
    }

    /// A link is up. That to queue 0 says how many queues there are, and what each of them is told
    /// depends on that: it comes first.
    fn up(&mut self, queue: u16, queues: u16) {
        let (server, now) = (self.links.address(), self.clock.now());
        tracing::info!(worker = self.worker.name(), %server, queue, "connected");
        if queue == 0 && queues != self.worker.queues() {
            self.forget(|worker| worker.set_queues(now, queues));
            self.links.resize(self.worker.queues());
        }
        self.worker.on_link_up(now, ShardId(queue));
    }

    /// Lets the worker forget leases that are not its own any more. What is lost with them is no
    /// failure of this worker at its end.
    fn forget(&mut self, forget: impl FnOnce(&mut TaskWorker)) {
        let before = self.worker.stats().unacked_lost;
        forget(&mut self.worker);
        self.lost_before += self.worker.stats().unacked_lost - before;
    }

    /// The server will not have us, and only people can mend that. What runs could never be
    /// reported.
    fn refused(&mut self, now: Nanos, reason: CloseReason) {
        let address = self.links.address().to_string();
        self.error = Some(TaskWorkerError::Refused { address, reason });
        self.abandon(now);
    }

    /// Notes that a link is lost; it is connected again. Returns how much that was.
    fn lose(&mut self, now: Nanos, queue: u16, lost: &Lost) -> usize {
        tracing::info!(worker = self.worker.name(), queue, reason = %lost, "the link is lost");
        self.links.lose(now, queue, lost);
        let (noted, id) = (self.clock.now(), ShardId(queue));
        if let Lost::Reason(CloseReason::LeaseExpired) = lost {
            self.forget(|worker| worker.on_expired(noted, id));
            self.links.renew(queue);
        } else {
            self.worker.on_link_down(noted, id);
        }
        1
    }

    /// Passes the name on that the queue has given: it comes before the first lease.
    #[inline]
    fn pass_name_on(&mut self) {
        let name = self.worker.name();
        if self.name != name {
            name.clone_into(&mut self.name);
            self.runner.set_name(name);
        }
    }

    /// Lets tasks run: takes what has ended, and starts what has room then. Tasks that end at once
    /// make room for others in the same turn. Returns how much was done.
    #[inline]
    fn run(&mut self) -> usize {
        let now = self.clock.now();
        if let Some(usage) = self.runner.usage(now) {
            self.worker.on_usage(now, usage);
        }
        let mut work = 0;
        for _ in 0..ROUNDS_MAX {
            let now = self.clock.now();
            let Self { worker, runner, .. } = self;
            let ended = runner.poll(now, &mut |run, exit| worker.on_exit(now, run, exit));
            work += ended + worker.on_turn(now);
            let done = self.act(now);
            work += done;
            if done == 0 {
                break;
            }
        }
        work
    }

    /// Does what the rules say. Returns how much that was.
    #[inline]
    fn act(&mut self, now: Nanos) -> usize {
        let mut done = 0;
        while let Some(action) = self.worker.next_action() {
            done += 1;
            match action {
                Action::Start(run) => {
                    let Some(lease) = self.worker.lease(run) else { continue };
                    if let Err(exit) = self.runner.launch(now, lease) {
                        self.worker.on_exit(now, run, exit);
                    }
                }
                Action::Stop(run) => self.runner.stop(run),
                Action::Kill(run) => self.runner.kill(run),
            }
        }
        done
    }

    /// Tells every queue what there is to tell. Returns how much that was.
    #[inline]
    fn write(&mut self) -> usize {
        let now = self.clock.now();
        (0..self.worker.queues()).map(|queue| self.write_queue(now, queue)).sum()
    }

    #[inline]
    fn write_queue(&mut self, now: Nanos, queue: u16) -> usize {
        let Self { worker, links, .. } = self;
        let link = links.link(queue);
        let mut work = 0;
        while let Some(out) = link.out() {
            let written = worker.write(now, ShardId(queue), out);
            work += written;
            if written == 0 {
                break;
            }
        }
        match link.flush() {
            Ok(moved) => work + moved,
            Err(error) => self.lose(now, queue, &Lost::Link(error)),
        }
    }

    fn is_running(&self) -> bool {
        self.runner.running() > 0 || self.worker.running() > 0
    }

    /// Whether nothing is left to do.
    fn is_over(&self, now: Nanos) -> bool {
        if self.is_running() {
            return false;
        }
        // Whoever can be reached is to hear of what is given back, even if another queue is away or
        // refuses the worker.
        let is_waited_for =
            |queue| self.links.is_up(queue) && !self.worker.is_settled(ShardId(queue));
        let is_late = |since: Nanos| {
            now.since(since) >= ABANDON_TIMEOUT || !(0..self.worker.queues()).any(is_waited_for)
        };
        self.worker.is_finished() || self.abandoned_at.is_some_and(is_late)
    }

    fn finish(&mut self) {
        let is_delivered = self.links.all_up();
        self.links.say_goodbye();
        self.finished = true;
        self.publish();
        let lost = self.worker.stats().unacked_lost - self.lost_before;
        let outcome = match self.error.take() {
            Some(error) => Err(error),
            None if lost > 0 && !is_delivered => Err(TaskWorkerError::NotDelivered {
                address: self.links.address().to_string(),
                why: self.links.why_down().unwrap_or_default().to_owned(),
            }),
            None => Ok(()),
        };
        // There is room for the one message, and a host that was dropped does not listen.
        let _ = self.ended.try_send(outcome);
    }
}

impl<R: TaskRunner> Agent for TaskWorkerAgent<R> {
    fn start(&mut self, park: Option<&ParkHandle>) {
        self.links.set_park(park);
        self.runner.start(park);
    }

    #[inline]
    fn do_work(&mut self, now: Nanos) -> usize {
        if self.finished {
            return 0;
        }
        let mut work = self.take_orders(now);
        work += self.serve(now);
        self.pass_name_on();
        work += self.run();
        work += self.write();
        if self.is_over(now) {
            self.finish();
        }
        work
    }

    fn next_deadline(&self) -> Option<Nanos> {
        if self.finished {
            return None;
        }
        let abandoned = self.abandoned_at.filter(|_| !self.is_running());
        let abandoned = abandoned.map(|since| since + ABANDON_TIMEOUT.into());
        let own = [self.worker.next_deadline(), self.links.next_deadline()];
        let others = [self.runner.next_deadline(), abandoned];
        own.into_iter().chain(others).flatten().min()
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    fn publish(&mut self) {
        self.links.counts().publish(&self.block);
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        if view.name != self.worker.name() {
            self.worker.name().clone_into(&mut view.name);
        }
        view.is_linked = !self.finished && self.links.all_up();
        view.why_down = self.links.why_down().map(str::to_owned);
        view.running = self.worker.running();
        view.waiting = self.worker.waiting();
        view.stats = *self.worker.stats();
    }

    fn counters(&self) -> Arc<CounterBlock> {
        Arc::clone(&self.block)
    }
}
