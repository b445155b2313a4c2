//! `--http`: a dashboard beside whatever a command does.

use super::token::Secret;
use super::{UsageError, token};
use crate::eprintln_line;
use clap::Args;
use punctual_dashboard::{Dashboard, DashboardConfig, DashboardError, Source};
use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

const TOKEN_VARIABLE: &str = "PUNCTUAL_HTTP_TOKEN";

/// Options about the dashboard.
#[derive(Debug, Args)]
#[command(next_help_heading = "Dashboard")]
pub(super) struct HttpArgs {
    /// Serve a page to watch at ADDR, such as 127.0.0.1:7471, or at a PORT that only this machine
    /// can reach
    #[arg(long, value_name = "ADDR", value_parser = address)]
    http: Option<SocketAddr>,

    /// What visitors of the page must know; needed where other machines can reach it. Others on
    /// this machine can see it, unlike the next one
    #[arg(long, value_name = "TOKEN", requires = "http", conflicts_with = "http_token_file")]
    http_token: Option<Secret>,

    /// File with that token (default: the token is $PUNCTUAL_HTTP_TOKEN, else none)
    #[arg(long, value_name = "FILE", requires = "http")]
    http_token_file: Option<PathBuf>,
}

/// The token of the environment, if there is one.
pub(super) fn token_of_environment() -> Option<String> {
    env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty())
}

/// Reads where to listen.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    numeric.as_deref().unwrap_or(text).parse().map_err(|_| {
        "is no address to listen at; write it as 127.0.0.1:7471 or [::1]:7471, or as a port alone"
            .to_owned()
    })
}

impl HttpArgs {
    /// Whether a dashboard is asked for.
    pub(super) fn is_given(&self) -> bool {
        self.http.is_some()
    }

    /// The token; `None` if there is none.
    fn token(&self) -> Result<Option<String>, UsageError> {
        match (&self.http_token, &self.http_token_file) {
            (Some(token), _) => Ok(Some(token.text().to_owned())),
            (None, Some(path)) => token::read("--http-token-file", path).map(Some),
            (None, None) => Ok(token_of_environment()),
        }
    }

    /// Refuses what would let anybody in, before anything is begun.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let Some(listen) = self.http else { return Ok(()) };
        let has_token = self.token()?.is_some_and(|token| !token.is_empty());
        if !has_token && !listen.ip().to_canonical().is_loopback() {
            return Err(DashboardError::NoToken { listen }.into());
        }
        Ok(())
    }

    /// Starts the dashboard, if there is to be one, and says where it is. It keeps away from the
    /// cores that are taken, if there are others.
    pub(super) fn start(
        &self,
        title: &str,
        taken: &[usize],
        source: Source,
    ) -> anyhow::Result<Option<Dashboard>> {
        let Some(listen) = self.http else { return Ok(None) };
        let mut config = DashboardConfig::new(listen, title);
        if let Some(token) = self.token()? {
            config = config.with_token(token);
        }
        if !taken.is_empty() {
            config = config.away_from(taken);
        }
        let dashboard = Dashboard::start(config, source)?;
        eprintln_line(&format!("the dashboard is at {}", dashboard.url()));
        Ok(Some(dashboard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Options {
        #[command(flatten)]
        http: HttpArgs,
    }

    fn args(args: &[&str]) -> HttpArgs {
        Options::parse_from(std::iter::once("test").chain(args.iter().copied())).http
    }

    #[test]
    fn a_port_alone_is_of_this_machine_only() {
        for (text, expected) in [
            ("7471", "127.0.0.1:7471"),
            ("localhost:7471", "127.0.0.1:7471"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(address(text).expect(text).to_string(), expected);
        }
        for text in ["", "node0", "127.0.0.1", "99999"] {
            assert!(address(text).unwrap_err().contains("127.0.0.1:7471"), "{text}");
        }
    }

    #[test]
    fn a_page_that_others_can_reach_needs_a_token() {
        assert!(args(&[]).check().is_ok());
        assert!(args(&["--http", "0"]).check().is_ok());
        let error = args(&["--http", "0.0.0.0:0", "--http-token", ""]).check().unwrap_err();
        assert!(error.to_string().contains("give it a token"), "{error}");
        assert!(args(&["--http", "0.0.0.0:0", "--http-token", "secret"]).check().is_ok());
    }

    #[test]
    fn options_that_are_printed_do_not_show_the_token() {
        let shown = format!("{:?}", args(&["--http", "0", "--http-token", "sesame"]));
        assert!(shown.contains("(hidden)") && !shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn without_an_address_there_is_no_dashboard() {
        let dashboard = args(&[]).start("none", &[], Source::default()).expect("nothing to start");
        assert!(dashboard.is_none());
        let dashboard = args(&["--http", "0"]).start("one", &[], Source::default());
        let dashboard = dashboard.expect("a free port").expect("a dashboard");
        assert!(dashboard.address().ip().is_loopback());
        dashboard.stop();
    }
}
