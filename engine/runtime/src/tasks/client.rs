//! A client of a task queue that waits for its answers.
//!
//! It has no thread: whoever calls it drives its link and sleeps beside it. A link that is lost is
//! connected again, and what was not answered is asked again.

mod calls;
mod line;
mod submit;
mod watches;

use super::{LocalQueue, QueueAddress, TaskClientError};
use line::Line;
use punctual_core::Nanos;
use punctual_link::{Endpoint, Parker};
use std::time::Duration;
pub use submit::SubmitReport;

/// How long a client of a queue in this process waits. Only one that has died is so silent.
const LOCAL_PATIENCE: Duration = Duration::from_secs(30);
/// The longest sleep; a lost wake-up would cost so much.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// A client of a task queue.
pub struct TaskClient {
    line: Line,
    parker: Parker,
}

/// How far a step of something that takes several came.
enum Step<T> {
    /// It is over.
    Done(T),
    /// Something was done, and there may be more.
    Busy,
    /// Nothing is to be done before something arrives, or this time has come.
    Idle(Nanos),
}

impl TaskClient {
    /// Connects to a server. `patience` is how long this client waits for it, now and whenever the
    /// link is lost or an answer is due.
    ///
    /// # Errors
    /// When the server cannot be reached for so long, or will not have us.
    pub fn connect(
        endpoint: &Endpoint,
        token: &str,
        patience: Duration,
    ) -> Result<Self, TaskClientError> {
        let (endpoint, token) = (endpoint.clone(), token.into());
        Self::at(&QueueAddress::Remote { endpoint, token }, patience)
    }

    /// A client of a queue in this process.
    ///
    /// # Errors
    /// When the queue has stopped, or the system does not let a client work.
    pub fn local(queue: &LocalQueue) -> Result<Self, TaskClientError> {
        Self::at(&QueueAddress::Local(queue.clone()), LOCAL_PATIENCE)
    }

    /// A client of the queue at an address.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn at(address: &QueueAddress, patience: Duration) -> Result<Self, TaskClientError> {
        let parker = Parker::new()?;
        let line = Line::new(address, patience, parker.handle());
        let mut client = Self { line, parker };
        client.run(|line, now| {
            let work = line.turn(now, &mut |_| {})?;
            Ok(match work {
                _ if line.is_up() => Step::Done(()),
                0 => Step::Idle(Nanos::MAX),
                _ => Step::Busy,
            })
        })?;
        Ok(client)
    }

    /// How long this client waits for its server.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.line.patience()
    }

    /// Takes one step after the other until one of them is the last, and sleeps whenever there is
    /// nothing to do.
    fn run<T>(
        &mut self,
        mut step: impl FnMut(&mut Line, Nanos) -> Result<Step<T>, TaskClientError>,
    ) -> Result<T, TaskClientError> {
        let Self { line, parker } = self;
        loop {
            let now = line.now();
            let until = match step(line, now)? {
                Step::Done(value) => return Ok(value),
                Step::Busy => continue,
                Step::Idle(until) => until,
            };
            let until = line.next_deadline().map_or(until, |due| due.min(until));
            let timeout = until.since(now).min(SLEEP_MAX);
            // What arrives from now on wakes the thread; what came just before is found here.
            let mut found = None;
            parker.park(Some(timeout), || {
                let now = line.now();
                match step(line, now) {
                    Ok(Step::Idle(_)) => 0,
                    other => {
                        found = Some(other);
                        1
                    }
                }
            })?;
            if let Some(Step::Done(value)) = found.transpose()? {
                return Ok(value);
            }
        }
    }
}

impl Drop for TaskClient {
    /// The server need not wonder where it went.
    fn drop(&mut self) {
        self.line.say_goodbye();
    }
}

impl std::fmt::Debug for TaskClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskClient").field("line", &self.line).finish_non_exhaustive()
    }
}
