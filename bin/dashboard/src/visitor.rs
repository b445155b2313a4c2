//! Asking a dashboard that is somewhere else for its documents.

use crate::listing::TasksQuery;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::fmt;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// How long an answer may take, connecting included.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of an answer.
const ANSWER_MAX: usize = 16 << 20;

/// Asks a dashboard.
pub struct Visitor {
    /// HOST:PORT.
    address: String,
    authorization: Option<HeaderValue>,
    runtime: Runtime,
}

/// Why a dashboard cannot be asked.
#[derive(Debug, Error)]
pub enum VisitError {
    /// There is nobody.
    #[error(
        "no dashboard answers at {address} ({why}): start what is to be watched with --http, or \
         give the address that it printed"
    )]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What happened.
        why: String,
    },
    /// Somebody is there, and silent.
    #[error(
        "the dashboard at {address} did not answer within {patience:?}: look after its machine",
        patience = PATIENCE
    )]
    NoAnswer {
        /// Where it is.
        address: String,
    },
    /// It wants another token, for instance.
    #[error("the dashboard at {address} refuses: {why}")]
    Refused {
        /// Where it is.
        address: String,
        /// What it said.
        why: String,
    },
    /// The token has characters that no header may have.
    #[error("the token of the dashboard cannot be sent: it may have printable characters only")]
    Token,
    /// The system has no more file descriptors, for instance.
    #[error("the system does not let a dashboard be asked: {0}")]
    System(std::io::Error),
}

/// A refusal as the dashboard writes it.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl VisitError {
    /// Whether the user can mend it by using the program otherwise.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Refused { .. } | Self::Token)
    }
}

impl Visitor {
    /// One that asks the dashboard at HOST:PORT, and shows it a token if there is one.
    ///
    /// # Errors
    /// When the token cannot be sent, or the system does not let us.
    pub fn new(address: impl Into<String>, token: Option<&str>) -> Result<Self, VisitError> {
        let bearer = |token: &str| HeaderValue::from_bytes(format!("Bearer {token}").as_bytes());
        let authorization = token.map(bearer).transpose().map_err(|_| VisitError::Token)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(VisitError::System)?;
        Ok(Self { address: address.into(), authorization, runtime })
    }

    /// The summary as JSON.
    ///
    /// # Errors
    /// When the dashboard does not answer, or refuses.
    pub fn summary(&mut self) -> Result<Vec<u8>, VisitError> {
        self.get("/api/summary")
    }

    /// A page of tasks as JSON.
    ///
    /// # Errors
    /// When there are no such tasks, or the dashboard does not answer, or refuses.
    pub fn tasks(&mut self, query: &TasksQuery) -> Result<Vec<u8>, VisitError> {
        let query = serde_urlencoded::to_string(query)
            .map_err(|error| self.refused(format!("it cannot be asked for that: {error}")))?;
        self.get(&format!("/api/tasks?{query}"))
    }

    fn get(&mut self, path: &str) -> Result<Vec<u8>, VisitError> {
        let asked = async { timeout(PATIENCE, self.ask(path)).await };
        let (status, body) = match self.runtime.block_on(asked) {
            Ok(answer) => answer?,
            Err(_) => return Err(VisitError::NoAnswer { address: self.address.clone() }),
        };
        if status == StatusCode::OK {
            return Ok(body);
        }
        let said = serde_json::from_slice::<Refusal>(&body).ok();
        Err(self.refused(said.map_or_else(|| status.to_string(), |refusal| refusal.error)))
    }

    fn refused(&self, why: String) -> VisitError {
        VisitError::Refused { address: self.address.clone(), why }
    }

    /// Asks on a connection of its own: that is once a second, and none is left behind.
    async fn ask(&self, path: &str) -> Result<(StatusCode, Vec<u8>), VisitError> {
        let lost = |why: &dyn fmt::Display| VisitError::Unreachable {
            address: self.address.clone(),
            why: why.to_string(),
        };
        let stream = TcpStream::connect(&self.address).await.map_err(|error| lost(&error))?;
        // Without a token it answers to addresses only.
        let host = stream.peer_addr().map_err(|error| lost(&error))?;
        let mut request = Request::get(path)
            .header(header::HOST, host.to_string())
            .header(header::CONNECTION, "close");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Body::empty()).map_err(|error| lost(&error))?;
        let connected = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = connected.map_err(|error| lost(&error))?;
        // It ends with the answer, or with this runtime.
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(|error| lost(&error))?;
        let status = answer.status();
        let body = to_bytes(Body::new(answer.into_body()), ANSWER_MAX).await;
        Ok((status, body.map_err(|error| lost(&error))?.to_vec()))
    }
}

impl fmt::Debug for Visitor {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor").field("address", &self.address).finish_non_exhaustive()
    }
}
