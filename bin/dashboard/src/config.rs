//! What a dashboard is started with.

use crate::DashboardError;
use punctual_runtime::host;
use std::fmt;
use std::net::SocketAddr;

/// What a dashboard is started with.
#[derive(Clone)]
pub struct DashboardConfig {
    /// Where it listens; with port 0 the system chooses one.
    pub listen: SocketAddr,
    /// What visitors must show. Only who listens where other machines cannot get may do without;
    /// an empty one is none.
    pub token: Option<String>,
    /// What the page is called.
    pub title: String,
    /// The cores that its threads may use; empty: any.
    pub cores: Vec<usize>,
}

impl DashboardConfig {
    /// A dashboard without a token, on any core.
    #[must_use]
    pub fn new(listen: SocketAddr, title: impl Into<String>) -> Self {
        Self { listen, token: None, title: title.into(), cores: Vec::new() }
    }

    /// The same with a token.
    #[must_use]
    pub fn with_token(self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self }
    }

    /// The same with its threads kept away from these cores, such as those of shards, as long as
    /// there are others.
    #[must_use]
    pub fn away_from(self, taken: &[usize]) -> Self {
        let mut cores = host::allowed_cores();
        cores.retain(|core| !taken.contains(core));
        Self { cores, ..self }
    }

    /// Refuses what would let anybody in.
    pub(crate) fn check(&self) -> Result<(), DashboardError> {
        let listen = self.listen;
        let has_token = self.token.as_ref().is_some_and(|token| !token.is_empty());
        if !has_token && !listen.ip().to_canonical().is_loopback() {
            return Err(DashboardError::NoToken { listen });
        }
        Ok(())
    }
}

impl fmt::Debug for DashboardConfig {
    /// Without the token: configurations find their way into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, token, title, cores } = self;
        f.debug_struct("DashboardConfig")
            .field("listen", listen)
            .field("token", &token.as_ref().map(|_| "(hidden)"))
            .field("title", title)
            .field("cores", cores)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_does_not_show_its_token() {
        let listen = "127.0.0.1:0".parse().expect("an address");
        let shown = format!("{:?}", DashboardConfig::new(listen, "farm").with_token("sesame"));
        assert!(shown.contains("farm") && shown.contains("(hidden)"), "{shown}");
        assert!(!shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn only_a_dashboard_that_others_cannot_reach_may_do_without_a_token() {
        for (listen, needs_token) in [
            ("127.0.0.1:0", false),
            ("127.9.9.9:80", false),
            ("[::1]:0", false),
            ("[::ffff:127.0.0.1]:0", false),
            ("0.0.0.0:0", true),
            ("[::]:0", true),
            ("192.0.2.1:7471", true),
        ] {
            let config = DashboardConfig::new(listen.parse().expect(listen), "");
            assert_eq!(config.check().is_err(), needs_token, "{listen}");
            assert_eq!(config.clone().with_token("").check().is_err(), needs_token, "{listen}");
            assert!(config.with_token("secret").check().is_ok(), "{listen}");
        }
    }
}
