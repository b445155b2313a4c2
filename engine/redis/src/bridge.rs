//! The bridge: what a task queue is to a worker of ours, on one side; a worker of the original, on
//! the other.
//!
//! One thread does it all. It sleeps until the worker says something, there is news from Redis, or
//! something is due; what it asks Redis for it waits for. Redis may come and go: whatever is under
//! way is kept, and settled with Redis when it is back.

mod crew;
mod desk;
mod handle;
mod holdings;
mod leases;
mod look;
mod name;
mod notices;
mod outbox;
mod pace;
mod todo;
mod view;
mod worker_link;

pub use handle::{RedisBridge, RedisLinks};
pub use view::{BridgeStats, BridgeView};

use crate::connection::{Connection, Failure};
use crate::layout::worker_name;
use crate::{RedisBridgeConfig, RedisError};
use crew::Crew;
use desk::Desk;
use handle::Control;
use name::Naming;
use notices::Notices;
use pace::Pace;
use punctual_link::{Link, LinkError, ParkHandle, Parker};
use punctual_wire::CloseReason;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use todo::Todo;
use worker_link::WorkerLink;

/// An answer that takes longer does not come any more.
const PATIENCE: Duration = Duration::from_secs(10);
/// First and longest pause before a lost connection is tried again.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// How long a bridge that is to stop waits for a Redis that is away.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The thread's own.
struct Bridge {
    config: RedisBridgeConfig,
    control: flume::Receiver<Control>,
    notices: Arc<Notices>,
    view: Arc<Mutex<BridgeView>>,
    park: ParkHandle,
    session: u64,
    worker: Option<WorkerLink>,
    desk: Desk,
    connection: Option<Connection>,
    retry_at: Instant,
    retry_pause: Duration,
    /// Why there is no connection; `None` while there is one.
    why_down: Option<String>,
    naming: Naming,
    /// The connection is new: what is there has to be compared with what should be.
    is_unsure: bool,
    /// Where the next look at the worker's tasks begins.
    check_from: u64,
    crew: Crew,
    todo: Todo,
    pace: Pace,
    /// Another worker has found nothing to do.
    is_peer_idle: bool,
    /// There is news while the worker has all that it can have: it is looked at then.
    news_at: Option<Instant>,
    /// It was told that this worker has nothing to do.
    has_told_idle: bool,
    /// It was said that there are lines that are no tasks.
    has_told_odd: bool,
    stopping_since: Option<Instant>,
    outcome: Option<Result<(), RedisError>>,
}

impl Bridge {
    fn new(
        config: RedisBridgeConfig,
        control: flume::Receiver<Control>,
        notices: Arc<Notices>,
        view: Arc<Mutex<BridgeView>>,
        park: ParkHandle,
        session: u64,
    ) -> Self {
        let now = Instant::now();
        Self {
            desk: Desk::new(config.limits),
            naming: Naming::new(worker_name(&config.name), now),
            pace: Pace::new(config.polling),
            todo: Todo::new(&config.name),
            config,
            control,
            notices,
            view,
            park,
            session,
            worker: None,
            connection: None,
            retry_at: now,
            retry_pause: RETRY_MIN,
            why_down: None,
            is_unsure: false,
            check_from: 0,
            crew: Crew::default(),
            is_peer_idle: false,
            news_at: None,
            has_told_idle: false,
            has_told_odd: false,
            stopping_since: None,
            outcome: None,
        }
    }

    fn run(mut self, mut parker: Parker) -> Result<(), RedisError> {
        loop {
            let now = Instant::now();
            let work = self.turn(now);
            self.publish();
            if let Some(outcome) = self.outcome.take() {
                return outcome;
            }
            if work == 0 {
                let due = self.next_deadline(now);
                let timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
                parker.park(timeout, || self.glance())?;
            }
        }
    }

    /// Does what there is to do. Returns how much that was.
    fn turn(&mut self, now: Instant) -> usize {
        let mut work = self.take_control(now);
        self.take_notices(now);
        work += self.read_worker();
        work += self.serve_redis(now);
        work += self.write_worker();
        if let Some(since) = self.stopping_since {
            self.stop(now, since);
        }
        work
    }

    /// Whether something has come since the last turn.
    fn glance(&mut self) -> usize {
        let heard = usize::from(!self.control.is_empty() || self.notices.is_any());
        heard + self.read_worker()
    }

    fn take_control(&mut self, now: Instant) -> usize {
        let mut taken = 0;
        while let Ok(control) = self.control.try_recv() {
            taken += 1;
            match control {
                Control::Attach(link) => self.attach(link),
                Control::Limits(limits) => {
                    self.desk.set_limits(limits);
                    self.pace.wake();
                }
                Control::Stop => {
                    self.stopping_since.get_or_insert(now);
                    // What it has reported by now is to count.
                    self.read_worker();
                    self.part_with_worker(CloseReason::Stopping);
                }
            }
        }
        taken
    }

    /// Takes what was heard, whether Redis can be asked about it now or not.
    fn take_notices(&mut self, now: Instant) {
        self.is_peer_idle |= self.notices.take_idle();
        if self.notices.take_tasks() {
            self.todo.mark_stale();
            self.pace.wake();
            self.news_at = Some(now);
        }
    }

    fn attach(&mut self, link: Box<dyn Link>) {
        self.part_with_worker(CloseReason::Stopping);
        if self.stopping_since.is_some() {
            return;
        }
        match WorkerLink::new(link, &self.park, self.session) {
            Ok(worker) => self.worker = Some(worker),
            Err(error) => tracing::warn!(%error, "the link of a worker cannot be watched"),
        }
    }

    /// Ends the link of the worker, if there is one: what it has goes back to the queue.
    fn part_with_worker(&mut self, reason: CloseReason) {
        if let Some(worker) = self.worker.take() {
            worker.close(reason);
        }
        self.desk.on_left();
    }

    fn read_worker(&mut self) -> usize {
        let Self { worker, desk, .. } = self;
        let Some(link) = worker else { return 0 };
        match link.read(|message| desk.on_message(message)) {
            Ok(work) => {
                if desk.take_change() {
                    // There may be room for more now.
                    self.pace.wake();
                }
                work
            }
            Err(error) => {
                self.lose_worker(&error);
                1
            }
        }
    }

    fn write_worker(&mut self) -> usize {
        let Self { worker, desk, .. } = self;
        let Some(link) = worker else { return 0 };
        match link.write(|out| desk.write(out)) {
            Ok(written) => written,
            Err(error) => {
                self.lose_worker(&error);
                1
            }
        }
    }

    fn lose_worker(&mut self, error: &LinkError) {
        tracing::info!(worker = self.desk.name(), reason = %error, "the worker has left");
        self.part_with_worker(CloseReason::Malformed);
    }

    /// Sees to the connection, and does with it what is to be done. Returns how much that was.
    fn serve_redis(&mut self, now: Instant) -> usize {
        let Some(mut connection) = self.connection.take() else {
            return if now >= self.retry_at { self.connect(now) } else { 0 };
        };
        let outcome = self.work(&mut connection, now);
        self.desk.stats.commands += connection.take_sent();
        match outcome {
            Ok(work) => {
                self.connection = Some(connection);
                self.retry_pause = RETRY_MIN;
                if self.why_down.take().is_some() {
                    tracing::warn!(address = %self.config.address, "Redis is back");
                }
                work
            }
            Err(failure) => {
                self.lose_connection(now, failure);
                1
            }
        }
    }

    fn connect(&mut self, now: Instant) -> usize {
        match Connection::open(&self.config.address, PATIENCE) {
            Ok(connection) => {
                self.connection = Some(connection);
                self.desk.stats.reconnects += 1;
                self.is_unsure = true;
                self.todo.forget();
                self.pace.wake();
                1
            }
            Err(failure) => {
                self.lose_connection(now, failure);
                0
            }
        }
    }

    /// Notes that there is no connection, which is said once, and when to try again.
    fn lose_connection(&mut self, now: Instant, failure: Failure) {
        if failure.is_no_script() {
            self.retry_at = now;
            return;
        }
        if self.why_down.is_none() {
            tracing::warn!(
                address = %self.config.address,
                why = %failure.why,
                "Redis is out of reach: it is tried again until it is back"
            );
        }
        self.why_down = Some(failure.why);
        // Connecting itself may have taken long.
        self.retry_at = now.max(Instant::now()) + self.retry_pause;
        self.retry_pause = (self.retry_pause * 2).min(RETRY_MAX);
    }

    /// Does what is to be done in Redis. Returns how much that was.
    fn work(&mut self, connection: &mut Connection, now: Instant) -> Result<usize, Failure> {
        if self.desk.name().is_empty() {
            return match self.stopping_since {
                Some(_) => Ok(0),
                None => self.find_name(connection, now),
            };
        }
        let mut work = 0;
        if now >= self.naming.beat_at() || self.is_unsure {
            work += 1;
            if !self.beat(connection, now)? {
                return Ok(work);
            }
        }
        if self.is_unsure {
            self.reconcile(connection)?;
            self.is_unsure = false;
        }
        work += self.flush(connection, now)?;
        if self.stopping_since.is_some() {
            return Ok(work);
        }
        if std::mem::take(&mut self.is_peer_idle) {
            self.lend(connection, now)?;
        }
        Ok(work + self.look(connection, now)?)
    }

    /// When something is due even if nothing wakes the thread.
    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let stop = self.stopping_since.map(|since| since + STOP_PATIENCE);
        let due = if self.connection.is_none() {
            Some(self.retry_at)
        } else if self.desk.name().is_empty() {
            Some(self.naming.next_try())
        } else {
            let look = self.may_look(now).then(|| self.pace.next().unwrap_or(now));
            let beat = Some(self.naming.beat_at());
            let hands_off = self.desk.hands_off_until(now);
            let news = self.news_at.filter(|_| self.stopping_since.is_none());
            [look, beat, hands_off, news].into_iter().flatten().min()
        };
        [stop, due].into_iter().flatten().min()
    }

    /// Ends once Redis knows everything, or is not to be waited for any longer.
    fn stop(&mut self, now: Instant, since: Instant) {
        let count = self.desk.outbox.len();
        let is_settled = self.desk.name().is_empty() || count == 0 && !self.is_unsure;
        let is_patient = now.saturating_duration_since(since) < STOP_PATIENCE;
        match self.connection.take() {
            Some(mut connection) if is_settled => {
                // Neither matters to anybody but people: who is there, and a thread that sleeps.
                let _ = self.dismiss(&mut connection);
                let farewell = redis::cmd("PUBLISH").arg(self.notices.end()).arg("").clone();
                let _ = connection.call::<i64>(&farewell);
                self.outcome = Some(Ok(()));
                return;
            }
            connection if is_patient => {
                self.connection = connection;
                return;
            }
            _ => {}
        }
        self.notices.end();
        self.outcome = Some(if count == 0 {
            Ok(())
        } else {
            let (address, name) = (self.config.address.to_string(), self.desk.name().to_owned());
            let why = self.why_down.take().unwrap_or_else(|| "it took too long".to_owned());
            Err(RedisError::NotDelivered { address, why, name, count })
        });
    }

    fn publish(&self) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        if view.name != self.desk.name() {
            self.desk.name().clone_into(&mut view.name);
        }
        view.why_down.clone_from(&self.why_down);
        view.is_ordered_to_stop = self.desk.is_ordered();
        view.running = self.desk.holdings.running();
        view.unsettled = self.desk.outbox.len();
        view.stats = self.desk.stats;
    }
}
