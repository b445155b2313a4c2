//! The dashboard: a page that shows what a task farm or an engine does, the same numbers as JSON,
//! and as metrics for Prometheus.
//!
//! ```no_run
//! use punctual_dashboard::{Dashboard, DashboardConfig, Source};
//! use punctual_runtime::tasks::{TaskServer, TaskServerConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = TaskServer::start(TaskServerConfig::default())?;
//! let config = DashboardConfig::new("127.0.0.1:7471".parse()?, "my farm");
//! let dashboard = Dashboard::start(config, Source::of(&server))?;
//! println!("{}", dashboard.url());
//!
//! // The dashboard first: it has links to the server.
//! dashboard.stop();
//! server.stop()?;
//! # Ok(())
//! # }
//! ```
//!
//! Three threads, none of them a shard's: `http` answers requests and never waits for a queue,
//! `dash-collect` takes snapshots, `dash-ask` asks for tasks and gives orders. Snapshots are taken
//! while somebody looks, and at no other time: a dashboard that nobody looks at costs nothing.
//!
//! Whoever shows the numbers elsewhere has them from an [`Observer`], which looks by itself, or
//! from a [`Visitor`], which asks a dashboard for them.

#![forbid(unsafe_code)]

mod ask;
mod audience;
mod collect;
mod config;
mod dashboard;
mod document;
pub mod documents;
mod error;
mod farm;
mod history;
mod http;
mod listing;
mod look;
mod metrics;
mod observer;
mod snapshot;
mod source;
mod visitor;

pub use config::DashboardConfig;
pub use dashboard::Dashboard;
pub use error::DashboardError;
pub use listing::TasksQuery;
pub use observer::{ObserveError, Observer};
pub use source::{OwdSource, Source, TaskSource};
pub use visitor::{VisitError, Visitor};
