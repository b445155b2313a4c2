//! A running dashboard: its threads, and how they end.

use crate::ask::{self, Asker};
use crate::audience::Audience;
use crate::collect::{Collector, Newest};
use crate::http::{self, App};
use crate::look::Looker;
use crate::source::SharedTasks;
use crate::{DashboardConfig, DashboardError, Source};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::watch;

/// How long to wait for a thread that waits for a task server.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// A running dashboard. Dropping it tells it to stop, but does not wait for it;
/// [`stop`](Self::stop) does.
#[derive(Debug)]
pub struct Dashboard {
    address: SocketAddr,
    audience: Arc<Audience>,
    stopping: watch::Sender<bool>,
    threads: Vec<Running>,
}

/// A thread, with a channel that closes when it has ended.
#[derive(Debug)]
struct Running {
    name: &'static str,
    ended: flume::Receiver<()>,
    thread: JoinHandle<()>,
}

impl Dashboard {
    /// Starts a dashboard.
    ///
    /// # Errors
    /// When anybody could use it, when it cannot listen, or the system gives no threads.
    pub fn start(config: DashboardConfig, source: Source) -> Result<Self, DashboardError> {
        config.check()?;
        let (listener, address) = open(config.listen).map_err(|error| DashboardError::Listen {
            listen: config.listen,
            why: error.to_string(),
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| DashboardError::Spawn { name: "http", why: error.to_string() })?;
        let DashboardConfig { token, title, cores, .. } = config;
        let Source { counters, tasks, owd } = source;
        let tasks = tasks.map(SharedTasks::new);
        let (audience, wishes) = Audience::new();
        let (snapshots, newest) = watch::channel::<Newest>(None);
        let (stopping, is_stopping) = watch::channel(false);
        let (for_collector, watched) = (Arc::clone(&audience), tasks.clone());
        // What looks stays in the thread that it was made in.
        let collect = move || {
            let looker = Looker::new(title, watched, counters, owd);
            Collector { looker, audience: for_collector, wishes, snapshots }.run();
        };
        // An error from here on drops the dashboard, which stops what has started already.
        let mut dashboard = Self { address, audience, stopping, threads: Vec::new() };
        dashboard.spawn("dash-collect", &cores, collect)?;
        let mut asker = None;
        if let Some(tasks) = tasks {
            let (new, questions) = Asker::new();
            asker = Some(new);
            dashboard.spawn("dash-ask", &cores, move || ask::answer_all(&questions, &tasks))?;
        }
        let audience = Arc::clone(&dashboard.audience);
        let app = App::new(token, address, asker, audience, newest, is_stopping);
        dashboard.spawn("http", &cores, move || http::serve(runtime, listener, app))?;
        Ok(dashboard)
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to open in a browser on this machine. A token is not part of it.
    #[must_use]
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("http://{address}/")
    }

    /// Stops and waits for the threads; for one that waits for a task server, not for long. A
    /// server of the same process is better stopped afterwards.
    pub fn stop(mut self) {
        self.tell();
        for Running { name, ended, thread } in self.threads.drain(..) {
            // Nobody ever sends: this ends with the thread, or with patience.
            if ended.recv_timeout(STOP_TIMEOUT) == Err(flume::RecvTimeoutError::Timeout) {
                tracing::debug!(name, "the thread waits for something, and is left to itself");
            } else if thread.join().is_err() {
                tracing::error!(name, "the thread died");
            }
        }
    }

    fn tell(&self) {
        self.stopping.send_replace(true);
        self.audience.stop();
    }

    /// Starts a thread that keeps to some cores, or to none in particular.
    fn spawn(
        &mut self,
        name: &'static str,
        cores: &[usize],
        run: impl FnOnce() + Send + 'static,
    ) -> Result<(), DashboardError> {
        let (alive, ended) = flume::bounded::<()>(1);
        let cores = cores.to_vec();
        let body = move || {
            let _alive = alive;
            keep_to(&cores);
            run();
        };
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(body);
        let thread =
            spawned.map_err(|error| DashboardError::Spawn { name, why: error.to_string() })?;
        self.threads.push(Running { name, ended, thread });
        Ok(())
    }
}

impl Drop for Dashboard {
    /// Nothing happens to one that has stopped already.
    fn drop(&mut self) {
        self.tell();
    }
}

/// Keeps the calling thread to some cores.
fn keep_to(cores: &[usize]) {
    if cores.is_empty() {
        return;
    }
    let mut set = CpuSet::new();
    for core in cores.iter().filter(|core| **core < CpuSet::MAX_CPU) {
        set.set(*core);
    }
    // It runs all the same, only not where it was asked to.
    if let Err(error) = sched_setaffinity(None, &set) {
        tracing::warn!(%error, ?cores, "the dashboard cannot keep to its cores");
    }
}

/// Opens the door, and says where it is.
fn open(listen: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
