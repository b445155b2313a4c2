//! Where a dashboard has its numbers from.

use punctual_runtime::tasks::{TaskClient, TaskClientError, TaskServer};
use punctual_runtime::{Counters, ProbeRow};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Makes a client of the task queue. It is called again whenever the last one has failed.
pub type TaskSource = Box<dyn FnMut() -> Result<TaskClient, TaskClientError> + Send>;
/// Gives the latest delays to shards, a row each.
pub type OwdSource = Box<dyn FnMut() -> Vec<ProbeRow> + Send>;
/// Where a dashboard has its numbers from: whatever there is in a process.
#[derive(Default)]
pub struct Source {
    /// Counters of the process.
    pub counters: Option<Counters>,
    /// The way to a task queue.
    pub tasks: Option<TaskSource>,
    /// Delays to shards.
    pub owd: Option<OwdSource>,
}

impl Source {
    /// A task server of this process, with its counters.
    #[must_use]
    pub fn of(server: &TaskServer) -> Self {
        let queue = server.local();
        Self::tasks(move || TaskClient::local(&queue)).with_counters(server.counters())
    }

    /// A task queue, wherever it is. `connect` should not wait for long: orders wait meanwhile.
    #[must_use]
    pub fn tasks(
        connect: impl FnMut() -> Result<TaskClient, TaskClientError> + Send + 'static,
    ) -> Self {
        Self { tasks: Some(Box::new(connect)), ..Self::default() }
    }

    /// The counters of an engine, or of whatever else counts.
    #[must_use]
    pub fn counters(counters: &Counters) -> Self {
        Self::default().with_counters(counters)
    }

    /// The same with counters.
    #[must_use]
    pub fn with_counters(self, counters: &Counters) -> Self {
        Self { counters: Some(counters.clone()), ..self }
    }

    /// The same with delays to shards, such as the rows of an
    /// [`OwdWatch`](punctual_runtime::OwdWatch).
    #[must_use]
    pub fn with_owd(self, rows: impl FnMut() -> Vec<ProbeRow> + Send + 'static) -> Self {
        Self { owd: Some(Box::new(rows)), ..self }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("counters", &self.counters.is_some())
            .field("tasks", &self.tasks.is_some())
            .field("owd", &self.owd.is_some())
            .finish()
    }
}

/// The way to the queue, for the two threads that go it.
#[derive(Clone)]
pub(crate) struct SharedTasks(Arc<Mutex<TaskSource>>);

impl SharedTasks {
    pub(crate) fn new(source: TaskSource) -> Self {
        Self(Arc::new(Mutex::new(source)))
    }

    pub(crate) fn connect(&self) -> Result<TaskClient, TaskClientError> {
        // Whoever panicked while connecting left nothing half done that would matter.
        let mut connect = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        connect()
    }
}
