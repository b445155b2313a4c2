//! Lists of tasks: which are wanted, and a page of them.

use crate::documents::TaskDocument;
use punctual_runtime::tasks::{
    JobId, OwnedSelection, StateSet, TaskClient, TaskClientError, TaskId, UnknownState,
};
use punctual_wire::task::TEXT_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use thiserror::Error;

/// Most tasks of a page, and as many as nobody says otherwise.
const PAGE_MAX: u32 = 200;
const PAGE: u32 = 50;
/// Bytes of a command in a list of tasks. Alone, a task is shown with all of it.
const LISTED_BYTES: usize = 1_000;

/// Which tasks are to be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TasksQuery {
    /// States, separated by commas; none: all.
    pub state: String,
    /// Of this job.
    pub job: Option<u32>,
    /// With this text in the name or the command.
    pub search: String,
    /// Without this text in either.
    pub exclude: String,
    /// The worker with this name has or had them.
    pub worker: String,
    /// From this task on.
    pub from: String,
    /// So many at most; 50 unless it is said, and never more than 200.
    pub limit: Option<u32>,
}

/// A page of tasks.
#[derive(Debug, Serialize)]
pub(crate) struct TasksDocument {
    pub(crate) tasks: Vec<TaskDocument>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<String>,
}

/// Why tasks cannot be meant.
#[derive(Debug, Error)]
pub(crate) enum QueryError {
    #[error("limit = {0} is outside 1..={max}", max = PAGE_MAX)]
    Limit(u32),
    #[error("{0:?} is no number of a task")]
    Task(String),
    #[error("a text has {0} bytes; {max} are the most to look for", max = TEXT_BYTES_MAX)]
    LongText(usize),
    #[error(transparent)]
    State(#[from] UnknownState),
}

impl TasksQuery {
    /// What is asked of a queue, and how many of its answers make a page.
    pub(crate) fn selection(&self) -> Result<(OwnedSelection, u32), QueryError> {
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(QueryError::Limit(limit));
        }
        let names = self.state.split(',').filter(|name| !name.is_empty());
        let texts = [&self.search, &self.exclude, &self.worker].map(String::as_str);
        let mut selection = selection(names, self.job, texts)?;
        if !self.from.is_empty() {
            selection.from = task_id(&self.from)?;
        }
        Ok((selection, limit))
    }
}

/// The number of a task.
pub(crate) fn task_id(text: &str) -> Result<TaskId, QueryError> {
    text.parse().map_err(|_| QueryError::Task(text.to_owned()))
}

/// The tasks with something in common; no states mean all. The texts are what is searched for, what
/// is left out, and the name of a worker.
pub(crate) fn selection<'a>(
    names: impl Iterator<Item = &'a str>,
    job: Option<u32>,
    texts: [&str; 3],
) -> Result<OwnedSelection, QueryError> {
    let mut states = StateSet::NONE;
    for name in names {
        let more: StateSet = name.parse()?;
        states = StateSet(states.0 | more.0);
    }
    if states == StateSet::NONE {
        states = StateSet::ALL;
    }
    if let Some(long) = texts.into_iter().find(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(QueryError::LongText(long.len()));
    }
    let [include, exclude, worker] = texts.map(|text| text.as_bytes().to_vec());
    let job = job.map(JobId);
    Ok(OwnedSelection { states, job, include, exclude, worker, ..OwnedSelection::default() })
}

/// Asks for the tasks of a page, and for one more to know whether there is another page.
pub(crate) fn page(
    client: &mut TaskClient,
    selection: &OwnedSelection,
    limit: u32,
) -> Result<TasksDocument, TaskClientError> {
    let mut page = TasksDocument { tasks: Vec::new(), next: None };
    client.rows(selection, limit + 1, false, |row| {
        if page.tasks.len() >= limit as usize {
            page.next = Some(row.id.to_string());
            return ControlFlow::Break(());
        }
        page.tasks.push(TaskDocument::listed(row, "", LISTED_BYTES));
        ControlFlow::Continue(())
    })?;
    Ok(page)
}
