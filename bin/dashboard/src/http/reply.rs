//! Answers in JSON, good ones and others.

use crate::ask::AskError;
use crate::listing::QueryError;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use punctual_runtime::tasks::{TaskClientError, TaskFault};
use serde::Serialize;

/// The media type of most answers.
pub(super) const JSON: &str = "application/json";

/// Why something is not done.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    why: String,
}

#[derive(Serialize)]
struct RefusalDocument<'a> {
    error: &'a str,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }

    /// The request is not understood.
    pub(super) fn bad(why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }

    pub(super) fn not_found(why: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, why)
    }

    /// Not now.
    pub(super) fn unavailable(why: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, why)
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        Self::bad(error.to_string())
    }
}

impl From<AskError> for Refusal {
    fn from(error: AskError) -> Self {
        let why = error.to_string();
        match error {
            AskError::Client(TaskClientError::Fault(fault)) => match fault {
                TaskFault::UnknownWorker | TaskFault::UnknownJob => Self::not_found(why),
                TaskFault::TooManyJobs | TaskFault::BadName | TaskFault::JobNumber => {
                    Self::bad(why)
                }
                TaskFault::Busy => Self::unavailable(why),
            },
            // It may have been done.
            AskError::Client(TaskClientError::Unsure { .. }) => {
                Self::new(StatusCode::BAD_GATEWAY, why)
            }
            _ => Self::unavailable(why),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json(&RefusalDocument { error: &self.why });
        *response.status_mut() = self.status;
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let soon = header::HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, soon);
        }
        response
    }
}

/// An answer in JSON.
pub(super) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => ([(header::CONTENT_TYPE, JSON)], bytes).into_response(),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
