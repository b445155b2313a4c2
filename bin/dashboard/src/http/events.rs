//! Server-sent events: a message with each snapshot, and a sign of life where there is none.

use super::App;
use super::reply::Refusal;
use crate::audience::Listening;
use crate::collect::Newest;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// Where they are.
pub(super) const PATH: &str = "/api/events";
/// After so long without a message there is a comment, so that dead connections are found out.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A snapshot that is no older is worth sending to a page that has just begun to listen.
const FRESH: Duration = Duration::from_secs(1);
/// What comes first: how many milliseconds to wait before connecting again.
const HELLO: &[u8] = b"retry: 1000\n\n";
const COMMENT: &[u8] = b": still here\n\n";

/// A page that listens.
struct Feed {
    newest: watch::Receiver<Newest>,
    stopping: watch::Receiver<bool>,
    has_begun: bool,
    _listening: Listening,
}

/// `GET /api/events`.
pub(super) async fn events(State(app): State<Arc<App>>) -> Response {
    let Some(listening) = app.audience.listen() else {
        return Refusal::unavailable("too many pages listen; close one").into_response();
    };
    let mut newest = app.newest.clone();
    let is_fresh = newest.borrow().as_ref().is_some_and(|newest| newest.at.elapsed() < FRESH);
    if is_fresh {
        newest.mark_changed();
    } else {
        newest.mark_unchanged();
    }
    let stopping = app.stopping.clone();
    let feed = Feed { newest, stopping, has_begun: false, _listening: listening };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // For proxies that would gather messages before they hand them on.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(stream::unfold(feed, Feed::next))).into_response()
}

impl Feed {
    /// What comes next, unless it is over.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if !self.has_begun {
            self.has_begun = true;
            return Some((Ok(Bytes::from_static(HELLO)), self));
        }
        tokio::select! {
            changed = self.newest.changed() => changed.ok()?,
            _ = self.stopping.changed() => return None,
            () = sleep(HEARTBEAT) => return Some((Ok(Bytes::from_static(COMMENT)), self)),
        }
        let newest = self.newest.borrow_and_update().clone();
        Some((Ok(newest?.event.clone()), self))
    }
}
