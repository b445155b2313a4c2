//! Looking without a page: the same documents for whoever shows them elsewhere, such as in a
//! terminal.

use crate::Source;
use crate::listing::{self, TasksQuery};
use crate::look::Looker;
use crate::snapshot::Snapshot;
use crate::source::SharedTasks;
use punctual_runtime::tasks::TaskClientError;
use std::fmt;
use thiserror::Error;

/// Looks at a source whenever it is asked to. Rates are made of what it has seen within the last
/// seconds, so the first look knows none.
pub struct Observer {
    looker: Looker,
    newest: Option<Snapshot>,
}

/// Why tasks cannot be shown.
#[derive(Debug, Error)]
pub enum ObserveError {
    /// What is asked for makes no sense.
    #[error("{why}")]
    Query {
        /// What is wrong with it.
        why: String,
    },
    /// The queue does not answer.
    #[error(transparent)]
    Tasks(#[from] TaskClientError),
}

impl Observer {
    /// One that calls what it sees by a title.
    #[must_use]
    pub fn new(title: impl Into<String>, source: Source) -> Self {
        let Source { counters, tasks, owd } = source;
        let tasks = tasks.map(SharedTasks::new);
        Self { looker: Looker::new(title.into(), tasks, counters, owd), newest: None }
    }

    /// The summary as JSON: what `GET /api/summary` answers.
    pub fn summary(&mut self) -> Vec<u8> {
        let snapshot = self.looker.look();
        let json = snapshot.json().to_vec();
        self.newest = Some(snapshot);
        json
    }

    /// A page of tasks as JSON: what `GET /api/tasks` answers.
    ///
    /// # Errors
    /// When there are no such tasks, or the queue does not answer.
    pub fn tasks(&mut self, query: &TasksQuery) -> Result<Vec<u8>, ObserveError> {
        let bad = |why: String| ObserveError::Query { why };
        let (selection, limit) = query.selection().map_err(|error| bad(error.to_string()))?;
        let mut page = self.looker.ask(|client| listing::page(client, &selection, limit))?;
        for task in &mut page.tasks {
            let name = self.newest.as_ref().and_then(|newest| newest.job_name(task.job_id));
            task.job = name.unwrap_or_default();
        }
        serde_json::to_vec(&page).map_err(|error| bad(error.to_string()))
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("newest", &self.newest).finish_non_exhaustive()
    }
}
