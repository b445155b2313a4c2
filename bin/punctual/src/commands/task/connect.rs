//! Which task server, and the token for it.

use crate::commands::token::Secret;
use crate::commands::{UsageError, token};
use clap::Args;
use punctual_dashboard::TaskSource;
use punctual_link::Endpoint;
use punctual_redis::{RedisAddress, RedisError};
use punctual_runtime::Engine;
use punctual_runtime::config::{Address, parse_duration};
use punctual_runtime::tasks::TaskClient;
use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// Where a server is if nobody says otherwise.
pub(super) const DEFAULT: &str = "127.0.0.1:7470";
/// The port of an address without one.
const PORT: u16 = 7470;
/// Our addresses may begin with this.
const SCHEME: &str = "punctual://";
/// Those of a Redis begin with one of these; the second one asks for encryption, and is refused.
const REDIS_SCHEMES: [&str; 2] = ["redis://", "rediss://"];
const SERVER_VARIABLE: &str = "PUNCTUAL_TASK_SERVER";
const TOKEN_VARIABLE: &str = "PUNCTUAL_TASK_TOKEN";
const REDIS_PASSWORD_VARIABLE: &str = "PUNCTUAL_REDIS_PASSWORD";

/// Options that say which server is meant.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct ServerArgs {
    /// Address of the task server: HOST:PORT or unix:PATH; punctual:// may stand before it, and
    /// --broker is another name of this option (default: $PUNCTUAL_TASK_SERVER, else
    /// 127.0.0.1:7470)
    #[arg(long, value_name = "ADDR", alias = "broker")]
    server: Option<Secret>,

    #[command(flatten)]
    token: TokenArgs,
}

/// Options of whoever asks a server something.
#[derive(Debug, Args)]
pub(in crate::commands) struct ClientArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// How long to wait for the server, now and when the link to it is lost
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    patience: Duration,
}

impl ClientArgs {
    /// Connects.
    pub(in crate::commands) fn connect(&self) -> anyhow::Result<TaskClient> {
        let (endpoint, token) = (self.server.endpoint()?, self.server.token()?);
        Ok(TaskClient::connect(&endpoint, &token, self.patience)?)
    }

    /// The server's address, and what connects to it whenever that is wanted.
    pub(in crate::commands) fn source(&self) -> anyhow::Result<(String, TaskSource)> {
        let (endpoint, token) = (self.server.endpoint()?, self.server.token()?);
        let (address, patience) = (endpoint.to_string(), self.patience);
        let connect = move || TaskClient::connect(&endpoint, &token, patience);
        Ok((address, Box::new(connect)))
    }

    /// The Redis that is meant instead of a task server, if one is.
    pub(super) fn redis(&self) -> anyhow::Result<Option<RedisAddress>> {
        self.server.redis()
    }
}

/// Options that say the token.
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// What clients and workers must know; others on this machine can see it, unlike the next one
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<Secret>,

    /// File with the token (default: the token is $PUNCTUAL_TASK_TOKEN, else empty)
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl TokenArgs {
    /// The token; it is empty if none was given.
    pub(super) fn token(&self) -> Result<String, UsageError> {
        match (&self.token, &self.token_file) {
            (Some(token), _) => Ok(token.text().to_owned()),
            (None, Some(path)) => token::read("--token-file", path),
            (None, None) => Ok(env::var(TOKEN_VARIABLE).unwrap_or_default()),
        }
    }
}

impl ServerArgs {
    /// The address as it was given, and where.
    fn text(&self) -> (String, &'static str) {
        match &self.server {
            Some(text) => (text.text().to_owned(), "--server"),
            None => match env::var(SERVER_VARIABLE) {
                Ok(text) => (text, SERVER_VARIABLE),
                Err(_) => (DEFAULT.to_owned(), "--server"),
            },
        }
    }

    fn address(&self) -> Result<Address, UsageError> {
        let (text, from) = self.text();
        if is_redis(&text) {
            // Without the text, which may have a password in it.
            let why = "is the address of a Redis, which only task worker, task manager and task \
                       bench can work with; give that of a punctual task server";
            return Err(UsageError(format!("{from} {why}")));
        }
        parse(&text).map_err(|why| UsageError(format!("{from} {:?} {why}", shown(&text))))
    }

    /// The Redis that is meant instead of a task server, if one is.
    pub(super) fn redis(&self) -> anyhow::Result<Option<RedisAddress>> {
        let (text, _) = self.text();
        Ok(if is_redis(&text) { Some(redis_address(&text)?) } else { None })
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

/// Whether this is meant to be the address of a Redis.
pub(super) fn is_redis(text: &str) -> bool {
    REDIS_SCHEMES.iter().any(|scheme| text.starts_with(scheme))
}

/// Reads the address of a Redis. One without a password has that of the environment, if there is
/// one: others on the machine cannot see it there.
pub(super) fn redis_address(text: &str) -> Result<RedisAddress, RedisError> {
    let password = env::var(REDIS_PASSWORD_VARIABLE).unwrap_or_default();
    Ok(or_password(text.parse()?, password))
}

fn or_password(address: RedisAddress, password: String) -> RedisAddress {
    if address.password.is_empty() { RedisAddress { password, ..address } } else { address }
}

/// An address as it may be shown. What stands before an @ belongs to no address of ours, and is
/// most likely a password.
pub(super) fn shown(text: &str) -> String {
    let place = text.rsplit_once('@').map(|(_, place)| format!("...@{place}"));
    place.unwrap_or_else(|| text.to_owned())
}

/// Reads an address.
pub(super) fn parse(text: &str) -> Result<Address, String> {
    if is_redis(text) {
        return Err("is that of a Redis".to_owned());
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
    fn only_addresses_with_its_scheme_are_those_of_a_redis() {
        let server = |server: &str| ServerArgs {
            server: Some(server.to_owned().into()),
            token: TokenArgs { token: None, token_file: None },
        };
        let redis = server("redis://:secret@node0:6400/1");
        let address = redis.redis().expect("an address").expect("of a Redis");
        assert_eq!((address.port, address.db), (6400, 1));
        let error = redis.endpoint().expect_err("no task server").to_string();
        assert!(error.contains("Redis") && !error.contains("secret"), "{error}");
        assert!(server("node0:6400").redis().expect("an address").is_none());
        assert!(server("rediss://node0").redis().is_err(), "there is no encryption");
        let shown = format!("{redis:?}");
        assert!(shown.contains("(hidden)") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_password_of_the_environment_counts_where_the_address_has_none() {
        let with = |text: &str| {
            or_password(text.parse().expect("an address"), "other".to_owned()).password
        };
        assert_eq!(with("redis://node0/1"), "other");
        assert_eq!(with("redis://:secret@node0/1"), "secret");
    }

    #[test]
    fn what_may_be_a_password_is_not_in_an_error() {
        let server = ServerArgs {
            server: Some("punctual://:secret@node0:x".to_owned().into()),
            token: TokenArgs { token: None, token_file: None },
        };
        let error = server.endpoint().expect_err("no address").to_string();
        assert!(error.contains("...@node0:x") && !error.contains("secret"), "{error}");
    }
}
