//! What can be asked and ordered.

use super::App;
use super::reply::{JSON, Refusal, json};
use crate::documents::TaskDocument;
use crate::listing::{self, TasksQuery, selection, task_id};
use crate::metrics::{self, MEDIA_TYPE};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use punctual_runtime::tasks::{OwnedSelection, Verb};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::sync::Arc;

type Answer = Result<Response, Refusal>;

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
    let (selection, limit) = query.selection()?;
    let asker = app.asker()?;
    let mut page = asker.ask(move |client| listing::page(client, &selection, limit)).await?;
    name_jobs(&app, &mut page.tasks).await;
    Ok(json(&page))
}

/// Adds the names of jobs, which rows do not have.
async fn name_jobs(app: &App, tasks: &mut [TaskDocument]) {
    let known = app.newest.borrow().clone();
    let mut are_all_named = true;
    for task in &mut *tasks {
        match known.as_deref().and_then(|known| known.job_name(task.job_id)) {
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
            task.job = fresh.job_name(task.job_id).unwrap_or_default();
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

fn verb_of(name: &str) -> Result<Verb, Refusal> {
    let verb = Verb::ALL.into_iter().find(|verb| verb.name() == name);
    verb.ok_or_else(|| {
        let names: Vec<&str> = Verb::ALL.into_iter().map(Verb::name).collect();
        Refusal::not_found(format!("there is no order {name:?}, but {}", names.join(", ")))
    })
}
