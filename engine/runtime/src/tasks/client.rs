//! A client of a task server that waits for its answers.
//!
//! It has no thread: whoever calls it drives its links, one to each queue of the server, and sleeps
//! beside them. A link that is lost is connected again, and what was not answered is asked again.
//! Whoever calls it sees one server: tasks are spread over the queues here, and what the queues
//! tell is put together here.

mod calls;
mod line;
mod merge;
mod news;
mod question;
mod spread;
mod submit;
#[cfg(test)]
mod tests;
mod totals;
mod watches;
mod window;

use super::{LocalQueue, QueueAddress, TaskClientError};
use line::Line;
use punctual_core::Nanos;
use punctual_link::{Endpoint, Parker};
use spread::OpenJobs;
use std::time::Duration;
pub use submit::SubmitReport;
use totals::Totals;

/// How long a client of a queue in this process waits. Only one that has died is so silent.
const LOCAL_PATIENCE: Duration = Duration::from_secs(30);
/// The longest sleep; a lost wake-up would cost so much.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// A client of a task server.
pub struct TaskClient {
    /// One for each queue; there is a first one always.
    lines: Vec<Line>,
    parker: Parker,
    /// What it has opened, if there are several queues.
    open_jobs: OpenJobs,
    /// What it has heard of jobs, if there are several queues.
    totals: Totals,
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

impl<T> Step<T> {
    /// After a step that ended nothing, and did so much.
    fn after(work: usize, until: Nanos) -> Self {
        if work > 0 { Self::Busy } else { Self::Idle(until) }
    }
}

/// When any of these links has something to do although nothing arrives, or an earlier time.
fn deadline_or(lines: &[Line], until: Nanos) -> Nanos {
    lines.iter().fold(until, |until, line| line.deadline_or(until))
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

    /// A client of a server in this process.
    ///
    /// # Errors
    /// When the server has stopped, or the system does not let a client work.
    pub fn local(queue: &LocalQueue) -> Result<Self, TaskClientError> {
        Self::at(&QueueAddress::Local(queue.clone()), LOCAL_PATIENCE)
    }

    /// A client of the server at an address.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn at(address: &QueueAddress, patience: Duration) -> Result<Self, TaskClientError> {
        let parker = Parker::new()?;
        let lines = vec![Line::first(address, patience, parker.handle())];
        let (open_jobs, totals) = (OpenJobs::default(), Totals::default());
        let mut client = Self { lines, parker, open_jobs, totals };
        client.bring_up()?;
        if client.queues() > 1 {
            let others = (1..client.queues()).map(|queue| client.lines[0].beside(queue));
            let others: Vec<Line> = others.collect();
            client.lines.extend(others);
            client.bring_up()?;
        }
        Ok(client)
    }

    /// Waits until all links are up.
    fn bring_up(&mut self) -> Result<(), TaskClientError> {
        self.run(|lines, now| {
            let mut work = 0;
            for line in lines.iter_mut() {
                work += line.turn(now, &mut |_| {})?;
            }
            if lines.iter().all(Line::is_up) {
                return Ok(Step::Done(()));
            }
            Ok(Step::after(work, deadline_or(lines, Nanos::MAX)))
        })
    }

    /// How long this client waits for its server.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.lines[0].patience()
    }

    /// How many queues its server has.
    #[must_use]
    pub fn queues(&self) -> u16 {
        self.lines[0].queues()
    }

    /// Takes one step after the other until one of them is the last, and sleeps whenever there is
    /// nothing to do.
    fn run<T>(
        &mut self,
        mut step: impl FnMut(&mut [Line], Nanos) -> Result<Step<T>, TaskClientError>,
    ) -> Result<T, TaskClientError> {
        let Self { lines, parker, .. } = self;
        let lines = lines.as_mut_slice();
        loop {
            let now = lines[0].now();
            let until = match step(lines, now)? {
                Step::Done(value) => return Ok(value),
                Step::Busy => continue,
                Step::Idle(until) => until,
            };
            let timeout = until.since(now).min(SLEEP_MAX);
            // What arrives from now on wakes the thread; what came just before is found here.
            let mut found = None;
            parker.park(Some(timeout), || {
                let now = lines[0].now();
                match step(lines, now) {
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
        for line in &mut self.lines {
            line.say_goodbye();
        }
    }
}

impl std::fmt::Debug for TaskClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskClient").field("lines", &self.lines).finish_non_exhaustive()
    }
}
