//! HTTP: connections on a thread of their own, and what is found where.
//!
//! Everything that comes from outside is bounded: connections, requests under way, pages that
//! listen, the size of heads and bodies, and the time that any of it may take.

mod api;
mod events;
mod guard;
mod page;
mod reply;

use crate::ask::Asker;
use crate::audience::Audience;
use crate::collect::{Newest, PAUSE_MIN};
use crate::snapshot::Snapshot;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};
use guard::Token;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use reply::Refusal;
use std::net::{self, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

/// Most connections at once; more wait to be accepted.
const CONNECTIONS_MAX: u32 = 256;
/// Most requests that are answered at once, pages that listen apart.
const REQUESTS_MAX: usize = 64;
/// Most bytes of the head of a request.
const HEAD_MAX: usize = 16 << 10;
/// Most bytes of the body of a request.
const BODY_MAX: usize = 16 << 10;
/// How long the head of a request may take, or the next request to come.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// A peer that acknowledges nothing for so long is gone.
const PEER_TIMEOUT_MS: u32 = 30_000;
/// How long a snapshot that was asked for may take.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a connection that could not be accepted: the system has no room for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long answers under way are waited for at the end.
const GRACE: Duration = Duration::from_millis(500);

/// What requests are answered with.
pub(crate) struct App {
    token: Option<Token>,
    asker: Option<Asker>,
    audience: Arc<Audience>,
    newest: watch::Receiver<Newest>,
    stopping: watch::Receiver<bool>,
    places: Semaphore,
}

impl App {
    pub(crate) fn new(
        token: Option<String>,
        address: SocketAddr,
        asker: Option<Asker>,
        audience: Arc<Audience>,
        newest: watch::Receiver<Newest>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let token = token.filter(|token| !token.is_empty());
        let token = token.map(|token| Token::new(&token, address.port()));
        Self { token, asker, audience, newest, stopping, places: Semaphore::new(REQUESTS_MAX) }
    }

    /// How things are: the newest snapshot, unless it is time for another.
    async fn fresh(&self) -> Result<Arc<Snapshot>, Refusal> {
        let mut newest = self.newest.clone();
        let known = newest.borrow_and_update().clone();
        if let Some(known) = known.filter(|known| known.at.elapsed() < PAUSE_MIN) {
            return Ok(known);
        }
        self.audience.look();
        let changed = timeout(SNAPSHOT_TIMEOUT, newest.changed()).await;
        let known = newest.borrow().clone();
        match (changed, known) {
            (Ok(Ok(())), Some(known)) => Ok(known),
            _ => Err(Refusal::unavailable("the task server does not answer; ask again later")),
        }
    }

    fn asker(&self) -> Result<&Asker, Refusal> {
        self.asker.as_ref().ok_or_else(|| Refusal::not_found("there is no task queue here"))
    }
}

/// Everything that is there.
fn router(app: Arc<App>) -> Router {
    let mut router: Router<Arc<App>> = Router::new().route("/", get(page::index));
    for file in page::FILES {
        router = router.route(file.path, get(move || std::future::ready(file.response())));
    }
    router
        .route("/healthz", get(|| std::future::ready("ok\n")))
        .route("/metrics", get(api::metrics))
        .route("/api/summary", get(api::summary))
        .route(events::PATH, get(events::events))
        .route("/api/tasks", get(api::tasks))
        .route("/api/tasks/{id}", get(api::task))
        .route("/api/tasks/{id}/{verb}", post(api::control))
        .route("/api/select/{verb}", post(api::control_selected))
        .route("/api/workers/{name}/stop", post(api::stop_worker))
        .fallback(|| std::future::ready(Refusal::not_found("there is nothing here")))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard::guard))
        .with_state(app)
}

/// Answers requests until the end.
pub(crate) fn serve(runtime: Runtime, listener: net::TcpListener, app: App) {
    runtime.block_on(async move {
        match TcpListener::from_std(listener) {
            Ok(listener) => accept(listener, Arc::new(app)).await,
            Err(error) => tracing::error!(%error, "the dashboard cannot listen"),
        }
    });
    // Whatever is under way still ends here.
    runtime.shutdown_background();
}

async fn accept(listener: TcpListener, app: Arc<App>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    let stopping = app.stopping.clone();
    let mut is_over = stopping.clone();
    let router = router(app);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            _ = is_over.changed() => break,
        };
        match (place, accepted) {
            (Ok(place), Ok((stream, _))) => {
                tokio::spawn(converse(stream, router.clone(), stopping.clone(), place));
            }
            (_, Err(error)) => {
                tracing::warn!(%error, "the dashboard cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
            // Nobody closes the semaphore.
            (Err(_), _) => break,
        }
    }
    // What is under way may end; what does not is cut off.
    let _ = timeout(GRACE, places.acquire_many(CONNECTIONS_MAX)).await;
}

/// Answers the requests of one connection. It keeps its place until it ends.
async fn converse(
    stream: TcpStream,
    router: Router,
    mut stopping: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    // Either only makes it a little slower, or later to notice that nobody is there.
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, PEER_TIMEOUT_MS);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_MAX);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the dashboard ended early");
    }
}
