//! What can be asked and ordered.

use super::App;
use super::reply::{JSON, Refusal, json};
use crate::documents::TaskDocument;
use crate::metrics::{self, MEDIA_TYPE};
use crate::snapshot::Snapshot;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use punctual_runtime::tasks::{
    JobId, OwnedSelection, StateSet, TaskClient, TaskClientError, TaskId, UnknownState, Verb,
};
use punctual_wire::task::TEXT_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Most tasks of a page, and as many as nobody says otherwise.
const PAGE_MAX: u32 = 200;
const PAGE: u32 = 50;
/// Bytes of a command in a list of tasks. Alone, a task is shown with all of it.
const LISTED_BYTES: usize = 1_000;

type Answer = Result<Response, Refusal>;

/// Which tasks are to be shown.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TasksQuery {
    /// States, separated by commas; none: all.
    state: String,
    job: Option<u32>,
    search: String,
    exclude: String,
    worker: String,
    /// From this task on.
    from: String,
    limit: Option<u32>,
}

/// Which tasks something is done to.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SelectBody {
    states: Vec<String>,
    job: Option<u32>,
    search: String,
    exclude: String,
    worker: String,
    /// Without this, something must be said that not all tasks have in common.
    all: bool,
}

/// A page of tasks.
#[derive(Debug, Serialize)]
struct TasksDocument {
    tasks: Vec<TaskDocument>,
    /// Where the next page begins, if there is one.
    next: Option<String>,
}

/// How many tasks, or workers, an order was about.
#[derive(Debug, Serialize)]
struct ChangedDocument {
    changed: u64,
}

/// `GET /api/summary`.
pub(super) async fn summary(State(app): State<Arc<App>>) -> Answer {
    let snapshot = app.fresh().await?;
    Ok(([(header::CONTENT_TYPE, JSON)], snapshot.json()).into_response())
}

/// `GET /metrics`.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Answer {
    let snapshot = app.fresh().await?;
    let text = metrics::metrics(&snapshot);
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response())
}

/// `GET /api/tasks`.
pub(super) async fn tasks(
    State(app): State<Arc<App>>,
    query: Result<Query<TasksQuery>, QueryRejection>,
) -> Answer {
    let Query(query) = query.map_err(|error| Refusal::bad(error.body_text()))?;
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Refusal::bad(format!("limit = {limit} is outside 1..={PAGE_MAX}")));
    }
    let names = query.state.split(',').filter(|name| !name.is_empty());
    let mut selection =
        selection(names, query.job, [&query.search, &query.exclude, &query.worker])?;
    if !query.from.is_empty() {
        selection.from = task_id(&query.from)?;
    }
    let mut page = app.asker()?.ask(move |client| page(client, &selection, limit)).await?;
    name_jobs(&app, &mut page.tasks).await;
    Ok(json(&page))
}

/// Asks for the tasks of a page, and for one more to know whether there is another page.
fn page(
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

/// Adds the names of jobs, which rows do not have.
async fn name_jobs(app: &App, tasks: &mut [TaskDocument]) {
    let name_of = |snapshot: &Snapshot, job: JobId| {
        let job = snapshot.farm()?.job(job)?;
        Some(String::from_utf8_lossy(&job.name).into_owned())
    };
    let known = app.newest.borrow().clone();
    let mut are_all_named = true;
    for task in &mut *tasks {
        match known.as_deref().and_then(|known| name_of(known, task.job_id)) {
            Some(name) => task.job = name,
            None => are_all_named = false,
        }
    }
    if are_all_named {
        return;
    }
    // One that was opened since. A task without the name of its job is better than none.
    if let Ok(fresh) = app.fresh().await {
        for task in tasks {
            task.job = name_of(&fresh, task.job_id).unwrap_or_default();
        }
    }
}

/// `GET /api/tasks/{id}`.
pub(super) async fn task(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    let id = task_id(&id)?;
    let selection = OwnedSelection { task: Some(id), ..OwnedSelection::default() };
    let found = app.asker()?.ask(move |client| {
        let mut found = Vec::new();
        client.rows(&selection, 1, true, |row| {
            found.push(TaskDocument::new(row, "", true));
            ControlFlow::Break(())
        })?;
        Ok(found)
    });
    let mut found = found.await?;
    name_jobs(&app, &mut found).await;
    match found.first() {
        Some(task) => Ok(json(task)),
        None => Err(Refusal::not_found(format!("there is no task {id}"))),
    }
}

/// `POST /api/tasks/{id}/{verb}`.
pub(super) async fn control(
    State(app): State<Arc<App>>,
    Path((id, verb)): Path<(String, String)>,
) -> Answer {
    let (id, verb) = (task_id(&id)?, verb_of(&verb)?);
    order(&app, verb, OwnedSelection { task: Some(id), ..OwnedSelection::default() }).await
}

/// `POST /api/select/{verb}`.
pub(super) async fn control_selected(
    State(app): State<Arc<App>>,
    Path(verb): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let verb = verb_of(&verb)?;
    let body = body.map_err(|error| Refusal::new(error.status(), error.body_text()))?;
    let body: SelectBody =
        serde_json::from_slice(&body).map_err(|error| Refusal::bad(error.to_string()))?;
    let SelectBody { states, job, search, exclude, worker, all } = body;
    let is_narrowed = !states.is_empty()
        || job.is_some()
        || [&search, &exclude, &worker].into_iter().any(|text| !text.is_empty());
    if !is_narrowed && !all {
        let why = "which tasks? Give states, job, search, exclude or worker; or \"all\": true";
        return Err(Refusal::bad(why));
    }
    let names = states.iter().map(String::as_str);
    order(&app, verb, selection(names, job, [&search, &exclude, &worker])?).await
}

async fn order(app: &App, verb: Verb, selection: OwnedSelection) -> Answer {
    let changed = app.asker()?.ask(move |client| client.control(verb, &selection)).await?;
    app.audience.look();
    Ok(json(&ChangedDocument { changed }))
}

/// `POST /api/workers/{name}/stop`.
pub(super) async fn stop_worker(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer {
    // An empty name would mean all of them.
    if name.is_empty() {
        return Err(Refusal::bad("which worker? Give its name"));
    }
    let changed = app.asker()?.ask(move |client| client.stop_worker(&name)).await?;
    Ok(json(&ChangedDocument { changed }))
}

fn task_id(text: &str) -> Result<TaskId, Refusal> {
    text.parse().map_err(|_| Refusal::bad(format!("{text:?} is no number of a task")))
}

fn verb_of(name: &str) -> Result<Verb, Refusal> {
    let verb = Verb::ALL.into_iter().find(|verb| verb.name() == name);
    verb.ok_or_else(|| {
        let names: Vec<&str> = Verb::ALL.into_iter().map(Verb::name).collect();
        Refusal::not_found(format!("there is no order {name:?}, but {}", names.join(", ")))
    })
}

/// The tasks with something in common; no states mean all. The texts are what is searched for, what
/// is left out, and the name of a worker.
fn selection<'a>(
    names: impl Iterator<Item = &'a str>,
    job: Option<u32>,
    texts: [&str; 3],
) -> Result<OwnedSelection, Refusal> {
    let mut states = StateSet::NONE;
    for name in names {
        states = StateSet(states.0 | states_of(name)?.0);
    }
    if states == StateSet::NONE {
        states = StateSet::ALL;
    }
    if let Some(long) = texts.into_iter().find(|text| text.len() > TEXT_BYTES_MAX) {
        let len = long.len();
        let why = format!("a text has {len} bytes; {TEXT_BYTES_MAX} are the most to look for");
        return Err(Refusal::bad(why));
    }
    let [include, exclude, worker] = texts.map(|text| text.as_bytes().to_vec());
    let job = job.map(JobId);
    Ok(OwnedSelection { states, job, include, exclude, worker, ..OwnedSelection::default() })
}

/// The states with a name of their own or together.
fn states_of(name: &str) -> Result<StateSet, Refusal> {
    name.parse().map_err(|unknown: UnknownState| Refusal::bad(unknown.to_string()))
}
