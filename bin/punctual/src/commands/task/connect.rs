//! Which task server, and the token for it.

use crate::commands::UsageError;
use clap::Args;
use punctual_link::Endpoint;
use punctual_runtime::Engine;
use punctual_runtime::config::{Address, parse_duration};
use punctual_runtime::tasks::TaskClient;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a server is if nobody says otherwise.
pub(super) const DEFAULT: &str = "127.0.0.1:7470";
/// The port of an address without one.
const PORT: u16 = 7470;
/// Our addresses may begin with this.
const SCHEME: &str = "punctual://";
const SERVER_VARIABLE: &str = "PUNCTUAL_TASK_SERVER";
const TOKEN_VARIABLE: &str = "PUNCTUAL_TASK_TOKEN";

/// Options that say which server is meant.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct ServerArgs {
    /// Address of the task server: HOST:PORT or unix:PATH; punctual:// may stand before it
    /// (default: $PUNCTUAL_TASK_SERVER, else 127.0.0.1:7470)
    #[arg(long, value_name = "ADDR", alias = "broker")]
    server: Option<String>,

    #[command(flatten)]
    token: TokenArgs,
}

/// Options of whoever asks a server something.
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// How long to wait for the server, now and when the link to it is lost
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    patience: Duration,
}

impl ClientArgs {
    /// Connects.
    pub(super) fn connect(&self) -> anyhow::Result<TaskClient> {
        let (endpoint, token) = (self.server.endpoint()?, self.server.token()?);
        Ok(TaskClient::connect(&endpoint, &token, self.patience)?)
    }
}

/// Options that say the token.
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// What clients and workers must know; others on this machine can see it, unlike the next one
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<String>,

    /// File with the token (default: the token is $PUNCTUAL_TASK_TOKEN, else empty)
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl TokenArgs {
    /// The token; it is empty if none was given.
    pub(super) fn token(&self) -> Result<String, UsageError> {
        match (&self.token, &self.token_file) {
            (Some(token), _) => Ok(token.clone()),
            (None, Some(path)) => read_token(path),
            (None, None) => Ok(env::var(TOKEN_VARIABLE).unwrap_or_default()),
        }
    }
}

fn read_token(path: &Path) -> Result<String, UsageError> {
    let fail = |why: &str| Err(UsageError(format!("--token-file {} {why}", path.display())));
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => fail("is empty; write the token into it"),
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => fail(&format!("cannot be read: {error}")),
    }
}

impl ServerArgs {
    /// The address as text.
    fn address(&self) -> Result<Address, UsageError> {
        let (text, from) = match &self.server {
            Some(text) => (text.clone(), "--server"),
            None => match env::var(SERVER_VARIABLE) {
                Ok(text) => (text, SERVER_VARIABLE),
                Err(_) => (DEFAULT.to_owned(), "--server"),
            },
        };
        parse(&text).map_err(|why| UsageError(format!("{from} {text:?} {why}")))
    }

    /// Where the server is, its name resolved.
    pub(super) fn endpoint(&self) -> anyhow::Result<Endpoint> {
        Ok(Engine::resolve(&self.address()?)?)
    }

    /// The token for it.
    pub(super) fn token(&self) -> Result<String, UsageError> {
        self.token.token()
    }
}

/// Reads an address.
pub(super) fn parse(text: &str) -> Result<Address, String> {
    if text.starts_with("redis://") {
        return Err("is a Redis server; give the address of a punctual task server".to_owned());
    }
    let bare = text.strip_prefix(SCHEME).unwrap_or(text).trim_end_matches('/');
    let has_port = bare.starts_with("unix:") || bare.ends_with(']') || bare.contains(':');
    let with_port =
        if has_port && !bare.ends_with(']') { bare.to_owned() } else { format!("{bare}:{PORT}") };
    with_port.parse::<Address>().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_have_a_scheme_and_need_no_port() {
        for (text, address) in [
            ("127.0.0.1:7000", "127.0.0.1:7000"),
            ("punctual://node0:7000/", "node0:7000"),
            ("node0", "node0:7470"),
            ("[::1]", "[::1]:7470"),
            ("[::1]:7000", "[::1]:7000"),
            ("unix:tasks.sock", "unix:tasks.sock"),
        ] {
            assert_eq!(parse(text).expect(text).to_string(), address);
        }
        let error = parse("redis://node0:6400/0").expect_err("no server of ours");
        assert!(error.contains("Redis"), "{error}");
        assert!(parse("").is_err());
    }

    #[test]
    fn a_token_file_may_end_with_a_line_feed_but_not_be_empty() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("token");
        fs::write(&path, "secret\n").expect("a file");
        assert_eq!(read_token(&path).expect("a token"), "secret");
        fs::write(&path, "\n").expect("a file");
        assert!(read_token(&path).is_err());
        assert!(read_token(&dir.path().join("none")).is_err());
    }
}
