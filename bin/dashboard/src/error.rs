//! Why a dashboard cannot start.

use std::net::SocketAddr;
use thiserror::Error;

/// Why a dashboard cannot start.
#[derive(Debug, Error)]
pub enum DashboardError {
    /// Anybody could use it.
    #[error(
        "the dashboard at {listen} could be reached from other machines, and whoever reaches it \
         can cancel tasks; give it a token, or have it listen at 127.0.0.1"
    )]
    NoToken {
        /// Where it was to listen.
        listen: SocketAddr,
    },
    /// Somebody else listens there, or nobody may.
    #[error(
        "the dashboard cannot listen at {listen}: {why}; stop what listens there, or give it \
         another address"
    )]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// What the system said.
        why: String,
    },
    /// A thread that does not start.
    #[error("the thread {name} of the dashboard cannot start: {why}")]
    Spawn {
        /// The thread.
        name: &'static str,
        /// What the system said.
        why: String,
    },
}

impl DashboardError {
    /// Whether the user can mend it by using the program otherwise.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Spawn { .. })
    }
}
